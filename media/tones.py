"""Sounds that are made rather than recorded: beep, ringback, alert, hold music, DTMF.

The files are written once into a folder of the data directory. A file there names the edition of this
module that made them, so that a newer one replaces old sounds.
"""

from __future__ import annotations

import math
from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt

from media.audio import RATE, AudioError, Samples, duration, write_atomically, write_wav

_EDITION = "1"
_Floats = npt.NDArray[np.float64]

_DTMF_ROWS = (697.0, 770.0, 852.0, 941.0)
_DTMF_COLUMNS = (1209.0, 1336.0, 1477.0, 1633.0)
_DTMF_KEYS = "123A456B789C*0#D"
DTMF_FREQUENCIES: dict[str, tuple[float, float]] = {
    key: (_DTMF_ROWS[index // 4], _DTMF_COLUMNS[index % 4]) for index, key in enumerate(_DTMF_KEYS)
}
"""Key -> low and high frequency, Hz (ITU-T Q.23)."""


MUSIC_SECONDS = 25.6
"""Length of the hold music."""
RINGING_SECONDS = 6.0
"""Length of one period of ringback."""


@attrs.frozen(kw_only=True)
class Assets:
    """The files of `ensure_assets`: 8 kHz, mono, 16-bit WAV."""

    beep: Path
    """1 kHz, 0.4 s: a recording starts."""
    ringing: Path
    """440 + 480 Hz, 2 s on and 4 s off: one period of ringback, to be looped."""
    music: Path
    """Hold music, about 26 s, loops without a seam."""
    alert: Path
    """Two short rising notes, 0.5 s: somebody left a conference."""


def ensure_assets(folder: Path) -> Assets:
    """Write the sounds that are not in `folder` yet; the folder is made if need be.

    Takes some 0.1 s the first time, next to nothing afterwards.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    makers = {"beep": beep, "ringing": ringing, "music": music, "alert": alert}
    paths = {name: folder / f"{name}.wav" for name in makers}
    edition = folder / "edition"
    current = edition.is_file() and edition.read_text("ascii", "replace") == _EDITION
    for name, maker in makers.items():
        if not (current and _usable(paths[name])):
            write_wav(paths[name], maker())
    if not current:
        write_atomically(edition, _EDITION.encode("ascii"))
    return Assets(**paths)


def _usable(path: Path) -> bool:
    try:
        return duration(path) > 0
    except (AudioError, OSError):
        return False


def beep() -> Samples:
    """The tone that tells a caller to speak: 1 kHz, 0.4 s, -12 dBFS, soft edges."""
    return _to_int16(_soft(_sine(1000, 0.4), 0.02) * _gain(-12))


def ringing() -> Samples:
    """North American ringback (440 + 480 Hz, 2 s on, 4 s off), -19 dBFS each tone; 6 s."""
    tone = _soft((_sine(440, 2.0) + _sine(480, 2.0)) * _gain(-19), 0.01)
    return _to_int16(np.concatenate([tone, np.zeros(4 * RATE)]))


def alert() -> Samples:
    """Two notes (E5, A5), 0.5 s together."""
    notes = [_bell(659.26, 0.2), _bell(880.0, 0.3)]
    return _to_int16(_soft(np.concatenate(notes) * _gain(-12), 0.005))


def music() -> Samples:
    """Hold music: slow broken chords over a bass, 25.6 s, quiet; the end leads into the start.

    Written for this project; nobody else has rights in it.
    """
    chords = (
        (130.81, (261.63, 329.63, 392.00, 493.88)),  # C major 7
        (110.00, (261.63, 329.63, 392.00, 440.00)),  # A minor 7
        (87.31, (261.63, 349.23, 440.00, 523.25)),  # F major
        (98.00, (246.94, 293.66, 392.00, 440.00)),  # G 9
    )
    pattern = (0, 1, 2, 3, 2, 1, 2, 1)
    step = 0.4
    total = round(2 * len(chords) * len(pattern) * step * RATE)
    mix = np.zeros(total)
    for bar in range(2 * len(chords)):
        bass, notes = chords[bar % len(chords)]
        start = bar * len(pattern) * step
        _add(mix, start, 0.5 * _bell(2 * bass, len(pattern) * step, decay=1.2))
        for index, which in enumerate(pattern):
            higher = 2.0 if bar >= len(chords) and index in (3, 6) else 1.0
            _add(mix, start + index * step, 0.35 * _bell(higher * notes[which], 1.6, decay=0.5))
    return _to_int16(mix / np.max(np.abs(mix)) * _gain(-14))


def dtmf(
    digits: str,
    *,
    rate: int = RATE,
    on_seconds: float = 0.1,
    off_seconds: float = 0.1,
    level_dbfs: float = -12,
) -> Samples:
    """DTMF tones (ITU-T Q.23), each followed by silence.

    Args:
        digits: keys `0-9 * # A-D`.
        rate: samples per second.
        on_seconds: length of a tone.
        off_seconds: silence after a tone.
        level_dbfs: peak of each of the two tones.

    Raises:
        ValueError: a key that does not exist.
    """
    parts: list[_Floats] = [np.zeros(0)]
    for digit in digits.upper():
        if digit not in DTMF_FREQUENCIES:
            raise ValueError(f"DTMF digit {digit!r}; allowed: 0-9 * # A-D")
        low, high = DTMF_FREQUENCIES[digit]
        parts.append((_sine(low, on_seconds, rate) + _sine(high, on_seconds, rate)) * _gain(level_dbfs))
        parts.append(np.zeros(round(off_seconds * rate)))
    return _to_int16(np.concatenate(parts))


def sine(frequency: float, seconds: float, *, rate: int = RATE, level_dbfs: float = -6) -> Samples:
    """A steady tone; `level_dbfs` is its peak."""
    return _to_int16(_sine(frequency, seconds, rate) * _gain(level_dbfs))


def dominant_frequencies(samples: Samples, rate: int = RATE, count: int = 1) -> list[float]:
    """The strongest frequencies, strongest first, in Hz.

    Peaks closer together than 25 Hz (or two bins, for short audio) count as one; fewer than `count` are
    returned when the rest is 40 dB below the strongest.
    """
    if not len(samples) or not np.any(samples):
        return []
    size = max(len(samples), 4096)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), size))
    resolution = rate / size
    apart = max(1, round(max(25.0, 2.0 * rate / len(samples)) / resolution))
    floor = float(np.max(spectrum)) * 0.01
    found: list[float] = []
    while len(found) < count:
        peak = int(np.argmax(spectrum))
        if spectrum[peak] <= floor:
            break
        found.append(peak * resolution)
        spectrum[max(0, peak - apart) : peak + apart + 1] = 0
    return found


# ---------------------------------------------------------------- parts


def _gain(decibels: float) -> float:
    return math.pow(10, decibels / 20)


def _sine(frequency: float, seconds: float, rate: int = RATE) -> _Floats:
    return np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def _soft(samples: _Floats, seconds: float) -> _Floats:
    edge = round(seconds * RATE)
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(edge) / edge)
    shaped = samples.copy()
    shaped[:edge] *= ramp
    shaped[-edge:] *= ramp[::-1]
    return shaped


def _bell(frequency: float, seconds: float, decay: float = 0.25) -> _Floats:
    """A struck note: a few harmonics, soft onset, exponential decay (`decay`: seconds to 1/e)."""
    time = np.arange(round(seconds * RATE)) / RATE
    tone = np.sin(2 * np.pi * frequency * time)
    tone += 0.3 * np.sin(4 * np.pi * frequency * time) * np.exp(-time / decay)
    tone += 0.1 * np.sin(6 * np.pi * frequency * time) * np.exp(-2 * time / decay)
    shape = np.minimum(1, time / 0.02) * np.exp(-time / decay) * np.minimum(1, (seconds - time) / 0.1)
    return np.asarray(tone * shape / 1.4)


def _add(mix: _Floats, start: float, note: _Floats) -> None:
    """Add a note at `start` seconds; what goes past the end sounds at the beginning."""
    places = (round(start * RATE) + np.arange(len(note))) % len(mix)
    mix[places] += note


def _to_int16(samples: _Floats) -> Samples:
    return np.rint(np.clip(samples, -1, 1) * 32767).astype(np.int16)
