"""Sounds that tests make and hear: 16-bit mono numpy arrays, G.711 mu-law, tones by frequency."""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence

import attrs
import numpy as np
import numpy.typing as npt

RATE = 8000
FRAME = 160
"""Samples of 20 ms."""
LOUD = 300
"""RMS above which a window counts as sound."""

Samples = npt.NDArray[np.int16]


def tone(frequency: float, seconds: float, rate: int = RATE, amplitude: int = 9000) -> Samples:
    """A sine."""
    times = np.arange(round(seconds * rate)) / rate
    return np.rint(np.sin(2 * np.pi * frequency * times) * amplitude).astype(np.int16)


def silence(seconds: float) -> Samples:
    """Nothing."""
    return np.zeros(round(seconds * RATE), np.int16)


def wav(samples: Samples, rate: int = RATE) -> bytes:
    """A WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(samples.tobytes())
    return file.getvalue()


def read_wav(data: bytes) -> Samples:
    """Samples of an 8 kHz, 16-bit, mono WAV file."""
    with wave.open(io.BytesIO(data)) as file:
        shape = (file.getframerate(), file.getsampwidth(), file.getnchannels())
        assert shape == (RATE, 2, 1), f"not an 8 kHz 16-bit mono WAV: {shape}"
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def _decode_table() -> Samples:
    code = ~np.arange(256, dtype=np.uint8)
    exponent = ((code >> 4) & 7).astype(np.int32)
    magnitude = ((((code & 15).astype(np.int32) << 3) + 132) << exponent) - 132
    return np.where(code & 128, -magnitude, magnitude).astype(np.int16)


_DECODE = _decode_table()


def _encode_table() -> npt.NDArray[np.uint8]:
    levels = _DECODE.astype(np.int32)
    order = np.argsort(levels, kind="stable")
    middles = (levels[order][1:] + levels[order][:-1]) / 2
    values = np.arange(-32768, 32768)
    return order[np.searchsorted(middles, values)].astype(np.uint8)


_ENCODE = _encode_table()


def to_ulaw(samples: Samples) -> bytes:
    """Encode (ITU-T G.711)."""
    return _ENCODE[samples.astype(np.int32) + 32768].tobytes()


def from_ulaw(payload: bytes) -> Samples:
    """Decode (ITU-T G.711)."""
    return _DECODE[np.frombuffer(payload, np.uint8)]


QUIET_FRAME = to_ulaw(np.zeros(FRAME, np.int16))


def level(samples: Samples) -> float:
    """RMS."""
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2))) if len(samples) else 0.0


def dominant(samples: Samples) -> float:
    """The strongest frequency, Hz."""
    assert len(samples), "there is no audio"
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 16384))
    return float(np.argmax(spectrum) * RATE / 16384)


@attrs.frozen
class Tone:
    """A stretch of sound with one frequency; times in seconds."""

    frequency: float
    start: float
    seconds: float


def tones(samples: Samples, shortest: float = 0.06) -> list[Tone]:
    """Stretches of sound, in order; what is shorter than `shortest` seconds is left out."""
    found: list[Tone] = []
    begin, frequencies = 0, list[float]()

    def close(end: int) -> None:
        seconds = (end - begin) * FRAME / RATE
        if frequencies and seconds >= shortest:
            found.append(Tone(float(np.median(frequencies)), begin * FRAME / RATE, seconds))
        frequencies.clear()

    for index in range(len(samples) // FRAME):
        window = samples[index * FRAME : index * FRAME + FRAME]
        frequency = dominant(window) if level(window) >= LOUD else None
        if frequency is None:
            close(index)
            continue
        if frequencies and abs(frequency - float(np.median(frequencies))) > 40:
            close(index)
        if not frequencies:
            begin = index
        frequencies.append(frequency)
    close(len(samples) // FRAME)
    return found


def sounding(samples: Samples) -> float:
    """Seconds of sound."""
    windows = len(samples) // FRAME
    loud = sum(level(samples[i * FRAME : (i + 1) * FRAME]) >= LOUD for i in range(windows))
    return loud * FRAME / RATE


def assert_tones(samples: Samples, expected: Sequence[tuple[float, float]], tolerance: float = 0.12) -> None:
    """Check frequencies and durations of all that is heard, in order."""
    found = tones(samples)
    shown = [(round(t.frequency), round(t.seconds, 2)) for t in found]
    assert len(found) == len(expected), f"expected {expected}, heard {shown}"
    for heard, (frequency, seconds) in zip(found, expected, strict=True):
        assert abs(heard.frequency - frequency) < 30, f"expected {expected}, heard {shown}"
        assert abs(heard.seconds - seconds) <= tolerance, f"expected {expected}, heard {shown}"


def likeness(heard: Samples, prompt: Samples) -> float:
    """Best correlation of a prompt with what is heard, at any place: 1 is the same."""
    first, second = heard.astype(np.float64), prompt.astype(np.float64)
    if len(first) < len(second):
        first = np.concatenate([first, np.zeros(len(second) - len(first))])
    size = 1 << (len(first) + len(second)).bit_length()
    product = np.fft.rfft(first, size) * np.conj(np.fft.rfft(second, size))
    crossed = np.fft.irfft(product, size)[: len(first) - len(second) + 1]
    sums = np.concatenate([[0.0], np.cumsum(first**2)])
    energy = sums[len(second) :][: len(crossed)] - sums[: len(crossed)]
    scale = np.sqrt(np.maximum(energy, 1.0) * max(float(np.sum(second**2)), 1.0))
    return float(np.max(crossed / scale))
