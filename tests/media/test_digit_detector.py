"""The in-band detector, and the splitting of digits that are sent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.tones import DTMF_FREQUENCIES, dtmf
from media.worker.digits import FRAME, ToneDetector, split_digits

pytestmark = pytest.mark.unit

RATE = 8000
KEYS = "123A456B789C*0#D"


def found(samples: np.ndarray, offset: int = 0) -> str:  # type: ignore[type-arg]
    detector = ToneDetector()
    padded = np.concatenate([np.zeros(offset), samples, np.zeros(4 * FRAME)])
    pcm = np.clip(np.rint(padded), -32768, 32767).astype("<i2")
    frames = [pcm[i : i + FRAME].tobytes() for i in range(0, len(pcm) - FRAME + 1, FRAME)]
    return "".join(detector.feed(frame) for frame in frames)


def pair(key: str, seconds: float, low: float, high: float) -> np.ndarray:  # type: ignore[type-arg]
    time = np.arange(round(seconds * RATE)) / RATE
    a, b = DTMF_FREQUENCIES[key]
    return low * np.sin(2 * np.pi * a * time) + high * np.sin(2 * np.pi * b * time)  # type: ignore[no-any-return]


@pytest.mark.parametrize("milliseconds", [60, 70, 80, 250])
@pytest.mark.parametrize("offset", [0, 37, 80, 123])
@pytest.mark.parametrize("level", [-12, -30])
def test_every_key_is_found_once(milliseconds: int, offset: int, level: int) -> None:
    samples = dtmf(KEYS, on_seconds=milliseconds / 1000, off_seconds=0.07, level_dbfs=level)

    assert found(samples.astype(float), offset) == KEYS


def test_a_repeated_key_is_found_each_time() -> None:
    samples = dtmf("1133", on_seconds=0.08, off_seconds=0.08).astype(float)

    for offset in range(0, FRAME, 20):
        assert found(samples, offset) == "1133"


def test_a_long_key_is_found_once() -> None:
    assert found(pair("5", 2.0, 5000, 5000)) == "5"


@pytest.mark.parametrize("decibels", [-8, -4, 4])
def test_twist_within_the_standard_is_accepted(decibels: float) -> None:
    """ITU-T Q.24: the high tone up to 4 dB stronger, up to 8 dB weaker."""
    for key in KEYS:
        assert found(pair(key, 0.1, 4000, 4000 * 10 ** (decibels / 20))) == key


@pytest.mark.parametrize("decibels", [-14, 14])
def test_more_twist_is_refused(decibels: float) -> None:
    assert found(pair("5", 0.2, 2000, 2000 * 10 ** (decibels / 20))) == ""


@pytest.mark.parametrize("deviation", [-0.015, 0.015])
def test_tones_that_are_a_little_off_are_accepted(deviation: float) -> None:
    """Q.24: 1.5 percent."""
    time = np.arange(round(0.1 * RATE)) / RATE
    for key in KEYS:
        low, high = (f * (1 + deviation) for f in DTMF_FREQUENCIES[key])
        tones = 4000 * (np.sin(2 * np.pi * low * time) + np.sin(2 * np.pi * high * time))
        assert found(tones) == key


@pytest.mark.parametrize("frequency", [350, 440, 480, 697, 941, 1000, 1209, 1400, 2100])
def test_a_single_tone_is_no_digit(frequency: float) -> None:
    time = np.arange(RATE) / RATE

    assert found(8000 * np.sin(2 * np.pi * frequency * time)) == ""


@pytest.mark.parametrize(
    "tones", [(350, 440), (440, 480), (480, 620), (697, 770), (1209, 1336), (1100, 2100)]
)
def test_call_progress_tones_are_no_digits(tones: tuple[float, float]) -> None:
    time = np.arange(RATE) / RATE

    assert found(sum(5000 * np.sin(2 * np.pi * f * time) for f in tones)) == ""


def test_a_blip_is_no_digit() -> None:
    assert found(pair("5", 0.02, 8000, 8000), 40) == ""


def test_noise_is_no_digit() -> None:
    random = np.random.default_rng(1)

    assert found(random.normal(0, 3000, 60 * RATE)) == ""


def test_speech_is_no_digit() -> None:
    """Harmonics of a wandering pitch under wandering formants, with pauses: 60 s."""
    random = np.random.default_rng(2)
    length = 60 * RATE
    time = np.arange(length) / RATE
    pitch = 140 + 40 * np.sin(2 * np.pi * 0.7 * time) + 20 * np.sin(2 * np.pi * 2.3 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    first = 500 + 250 * np.sin(2 * np.pi * 1.9 * time)
    second = 1500 + 600 * np.sin(2 * np.pi * 1.3 * time + 1)
    voice = np.zeros(length)
    for n in range(1, 24):
        f = n * pitch
        voice += (np.exp(-(((f - first) / 150) ** 2)) + 0.7 * np.exp(-(((f - second) / 200) ** 2))) * np.sin(
            n * phase
        )
    voice *= 6000 * np.clip(np.sin(2 * np.pi * 3 * time), 0, 1)

    assert found(voice + random.normal(0, 50, length)) == ""


def test_digits_are_found_under_noise() -> None:
    random = np.random.default_rng(3)
    samples = dtmf(KEYS, on_seconds=0.08, off_seconds=0.08).astype(float)

    assert found(samples + random.normal(0, 400, len(samples))) == KEYS


@given(st.binary(max_size=700))
def test_a_frame_of_another_size_is_ignored(pcm: bytes) -> None:
    if len(pcm) % 2 == 0:
        assert ToneDetector().feed(pcm) == ""


def test_digits_are_sent_in_groups_with_pauses() -> None:
    assert split_digits("12w3") == [("12", 480), ("", 500), ("3", 240)]
    assert split_digits("123456789") == [("12345678", 1920), ("9", 240)]
    assert split_digits("ww") == [("", 500), ("", 500)]
    assert split_digits("a-b x*#") == [("AB*#", 960)]
    assert split_digits("") == []


@given(st.text("0123456789*#ABCDw ,x", max_size=60))
def test_no_digit_is_lost_or_sent_in_too_large_a_group(digits: str) -> None:
    parts = split_digits(digits)

    assert "".join(part for part, _ in parts) == "".join(c for c in digits if c not in "w ,x")
    assert all(len(part) <= 8 for part, _ in parts)
    assert sum(1 for part, _ in parts if not part) == digits.count("w")
