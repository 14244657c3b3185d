"""Decoding, resampling and WAV files: everything becomes 8 kHz, mono, 16-bit.

Prompts are converted before a worker sees them, because the players of the media library accept few
formats and abort the process on some (11025 Hz). All functions here block; call them in a thread when
the audio is longer than a moment.
"""

from __future__ import annotations

import array
import functools
import io
import math
import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import miniaudio
import numpy as np
import numpy.typing as npt
import soundfile

Samples = npt.NDArray[np.int16]
"""One channel of 16-bit samples, shape (n,)."""

RATE = 8000
"""Samples per second of everything that is played to a leg."""
MINIMUM_SECONDS = 0.04
"""Shortest file that is written; players refuse files below about 20 ms."""
SILENCE_DBFS = -120.0
"""What the level functions return for digital silence."""
Floats = npt.NDArray[np.float32]
"""One channel of samples from -1 to 1, shape (n,)."""

_BLOCK = 65536
_CROSSINGS = 32
"""Zero crossings of the filter on either side; the transition band is 7 % of the lower rate."""
_CUTOFF = 0.925
"""Of half the lower rate: the middle of the transition band."""
_BETA = 7.0
_GRID = 25
"""Rates are rounded to this many Hz (at most 0.2 % at 8 kHz), so that the ratio stays small."""
_MINIMUM_BLOCK = 512
LOWEST, HIGHEST = 2000, 384_000
"""Rates that are accepted, Hz."""
_UNKNOWN_SIZES = (0, 0xFFFFFFFF, 0x7FFFFFFF)


class AudioError(Exception):
    """Audio that cannot be used: not decodable, empty or too long."""


def decode(data: bytes, *, limit_seconds: float = 3600) -> Samples:
    """Decode a sound file to 8 kHz mono.

    WAV of any width, rate and channel count (u-law, A-law, ADPCM, GSM too), AIFF, AU, FLAC, OGG and
    MP3 are read. Channels are averaged; the rate is converted behind a low-pass filter.

    Args:
        data: the whole file.
        limit_seconds: longest audio that is accepted.

    Returns:
        int16 array of shape (n,), n > 0, at 8000 Hz.

    Raises:
        AudioError: not a sound file that is known, no sample in it, or longer than the limit.
    """
    if not data:
        raise AudioError("the audio is empty: 0 bytes")
    decoders = [_decode_with_soundfile, _decode_with_miniaudio]
    if data[:3] == b"ID3" or (data[0] == 0xFF and data[1:2] >= b"\xe0"):
        decoders.reverse()  # libsndfile guesses the length of an MP3 without a Xing frame, and stops there
    reasons: list[str] = []
    for decoder in decoders:
        try:
            samples = decoder(data, limit_seconds)
            break
        except (soundfile.LibsndfileError, miniaudio.MiniaudioError, ValueError, TypeError) as error:
            reasons.append(str(error))
    else:
        raise AudioError(f"the audio cannot be decoded: {' / '.join(reasons)}")
    if not len(samples):
        raise AudioError("the audio is empty: it holds no samples")
    return samples


def _decode_with_soundfile(data: bytes, limit_seconds: float) -> Samples:
    with soundfile.SoundFile(io.BytesIO(data)) as source:
        return _convert(_blocks(source), source.samplerate, limit_seconds)


def _blocks(source: Any) -> Iterator[Floats]:
    # Not `SoundFile.blocks`: it refuses formats that cannot seek (GSM).
    while len(block := source.read(_BLOCK, dtype="float32", always_2d=True)):
        yield block.mean(axis=1)


def _decode_with_miniaudio(data: bytes, limit_seconds: float) -> Samples:
    try:
        info: Any = miniaudio.mp3_get_info(data)
    except miniaudio.MiniaudioError:
        decoded = miniaudio.decode(data, miniaudio.SampleFormat.FLOAT32, 1, 48000)
        return _convert(iter([_floats(decoded.samples)]), 48000, limit_seconds)
    stream = miniaudio.stream_memory(
        data, miniaudio.SampleFormat.FLOAT32, info.nchannels, info.sample_rate, frames_to_read=_BLOCK
    )
    blocks = (_floats(block).reshape(-1, info.nchannels).mean(axis=1) for block in stream)
    return _convert(blocks, info.sample_rate, limit_seconds)


def _floats(samples: array.array[float]) -> Floats:
    return np.frombuffer(samples, dtype=np.float32)


def _convert(blocks: Iterator[Floats], rate: int, limit_seconds: float) -> Samples:
    try:
        resampler = Resampler(rate, RATE)
    except ValueError as error:
        raise AudioError(f"the audio has a sample rate of {rate} Hz, which is not supported") from error
    parts: list[Samples] = []
    taken = 0
    for block in blocks:
        taken += len(block)
        if taken > limit_seconds * rate:
            raise AudioError(f"the audio is longer than {limit_seconds:g} s")
        parts.append(_to_int16(resampler.push(block)))
    parts.append(_to_int16(resampler.finish()))
    return np.concatenate(parts)


def _to_int16(samples: Floats) -> Samples:
    clean = np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0)
    limited: Samples = np.clip(np.rint(clean * 32768.0), -32768, 32767).astype(np.int16)
    return limited


# ---------------------------------------------------------------- sample rates


@functools.lru_cache(maxsize=6)
def _filter(up: int, down: int, ratio: float, half: int) -> Floats:
    """Filter of shape (inputs of a window, outputs of a block); costs some 20 ms, so it is kept."""
    lower = min(1.0, ratio)
    centres = np.arange(up) / ratio + half
    distance = (np.arange(down + 2 * half)[:, None] - centres[None, :]) * lower
    shape = np.sqrt(np.clip(1 - (distance / _CROSSINGS) ** 2, 0, 1))
    taper = np.where(np.abs(distance) < _CROSSINGS, np.i0(_BETA * shape) / np.i0(_BETA), 0)
    weights = np.sinc(distance * _CUTOFF) * taper
    weights /= weights.sum(axis=0, keepdims=True)
    return weights.astype(np.float32)


class Resampler:
    """One stream of samples at one rate, turned into another rate.

    The delay of the filter is taken out: output sample n belongs to the time n / `to`.
    """

    def __init__(self, rate: int, to: int) -> None:
        """Prepare the filter; ValueError when `rate` is outside 2-384 kHz."""
        if not LOWEST <= rate <= HIGHEST:
            raise ValueError(f"sample rate {rate} Hz; allowed: {LOWEST}-{HIGHEST}")
        near = rate if rate % _GRID == 0 else round(rate / _GRID) * _GRID
        common = math.gcd(near, to)
        up, down = to // common, near // common
        self._same = up == down
        repeat = max(1, math.ceil(_MINIMUM_BLOCK / down))
        self._up, self._down = up * repeat, down * repeat
        self._ratio = to / near
        self._taken = 0
        self._given = 0
        if self._same:
            return
        lower = min(1.0, self._ratio)
        self._half = math.ceil(_CROSSINGS / lower)
        self._filter = _filter(self._up, self._down, self._ratio, self._half)
        self._waiting: Floats = np.zeros(self._half, np.float32)

    def push(self, samples: Floats) -> Floats:
        """Take input; returns the output that can be told already (may be empty)."""
        if self._same:
            return samples
        self._taken += len(samples)
        self._waiting = np.concatenate([self._waiting, samples])
        window = len(self._filter)
        blocks = (len(self._waiting) - window) // self._down + 1
        if blocks <= 0:
            return np.zeros(0, np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(self._waiting, window)[:: self._down][:blocks]
        out: Floats = (np.ascontiguousarray(windows) @ self._filter).reshape(-1)
        self._waiting = self._waiting[blocks * self._down :]
        self._given += len(out)
        return out

    def finish(self) -> Floats:
        """Return the rest of the output; the stream is over."""
        if self._same:
            return np.zeros(0, np.float32)
        total = round(self._taken * self._ratio)
        missing = total - self._given
        taken = self._taken
        out = self.push(np.zeros(self._down + 2 * self._half + self._down, np.float32))
        self._taken = taken
        return out[: max(0, missing)]


# ---------------------------------------------------------------- files


def wav_bytes(samples: Samples, rate: int = RATE) -> bytes:
    """A WAV file (PCM, mono, 16-bit) as bytes."""
    body = samples.astype("<i2", copy=False).tobytes()
    return wav_header(len(body), rate) + body


def wav_header(data_bytes: int, rate: int = RATE) -> bytes:
    """The 44 bytes in front of `data_bytes` bytes of mono 16-bit PCM."""
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", 36 + data_bytes, b"WAVE"),
        *(b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16),
        *(b"data", data_bytes),
    )


def write_wav(path: Path, samples: Samples, rate: int = RATE) -> float:
    """Write a mono 16-bit WAV file; readers see the old file or the whole new one.

    Args:
        path: the file; its folder exists.
        samples: shape (n,); silence is added up to 40 ms, since players refuse shorter files.
        rate: samples per second.

    Returns:
        Seconds of audio in the file.

    Raises:
        OSError: the file cannot be written; nothing is left behind.
    """
    shortest = math.ceil(rate * MINIMUM_SECONDS)
    if len(samples) < shortest:
        samples = np.concatenate([samples, np.zeros(shortest - len(samples), np.int16)])
    write_atomically(path, wav_bytes(samples, rate))
    return len(samples) / rate


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file beside its place, then rename it. Raises OSError and leaves nothing behind."""
    descriptor, name = tempfile.mkstemp(prefix=path.stem[:40] + ".", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_wav(path: Path) -> tuple[Samples, int]:
    """Read a sound file at its own rate; channels are averaged.

    Returns:
        int16 array of shape (n,), and the rate in samples per second.

    Raises:
        AudioError: not a sound file.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as source:
            samples = source.read(dtype="int16", always_2d=True)
            rate = int(source.samplerate)
    except (soundfile.LibsndfileError, ValueError, TypeError) as error:
        raise AudioError(f"{path.name} is not a sound file: {error}") from error
    if samples.shape[1] == 1:
        return samples[:, 0], rate
    return np.rint(samples.mean(axis=1)).astype(np.int16), rate


class _Layout:
    """Where things are in a WAV file; sizes are those that the bytes bear out."""

    def __init__(self, path: Path) -> None:
        self.file_size = path.stat().st_size
        self.byte_rate = 0
        self.block = 1
        self.fact_at = 0
        self.data_size_at = 0
        self.stated = 0
        with path.open("rb") as file:
            head = file.read(4096)
        if len(head) < 12 or head[:4] != b"RIFF" or head[8:12] != b"WAVE":
            raise AudioError(f"{path.name} is not a WAV file")
        self.riff_stated = int.from_bytes(head[4:8], "little")
        self._walk(head)
        if not self.byte_rate or not self.data_size_at:
            raise AudioError(f"{path.name} has no complete WAV header")
        available = max(0, self.file_size - self.data_size_at - 4)
        self.broken = self.stated in _UNKNOWN_SIZES or self.stated > available
        size = available if self.broken else self.stated
        self.data_size = size - size % self.block
        self.seconds = self.data_size / self.byte_rate

    def _walk(self, head: bytes) -> None:
        at = 12
        while at + 8 <= len(head):
            name = head[at : at + 4]
            size = int.from_bytes(head[at + 4 : at + 8], "little")
            if name == b"data":
                self.data_size_at, self.stated = at + 4, size
                return
            if name == b"fmt " and at + 24 <= len(head):
                self.byte_rate, self.block = struct.unpack_from("<IH", head, at + 16)
                self.block = max(1, self.block)
            elif name == b"fact":
                self.fact_at = at + 8
            at += 8 + size + size % 2


def duration(path: Path) -> float:
    """Seconds of audio in a WAV file, from its header and size only.

    Raises:
        AudioError: not a WAV file.
        OSError: it cannot be read.
    """
    return _Layout(path).seconds


def repair_wav_header(path: Path) -> float:
    """Make a WAV file whole whose recorder was killed before it wrote the sizes.

    The sizes are taken from the length of the file. A header whose sizes fit the file is left alone.

    Returns:
        Seconds of audio in the file.

    Raises:
        AudioError: not a WAV file, or killed before the header was there.
        OSError: it cannot be read or written.
    """
    layout = _Layout(path)
    if layout.broken:
        with path.open("r+b") as file:
            file.seek(layout.data_size_at)
            file.write(struct.pack("<I", layout.data_size))
            if layout.fact_at:
                file.seek(layout.fact_at)
                file.write(struct.pack("<I", layout.data_size // layout.block))
            file.seek(4)
            file.write(struct.pack("<I", layout.data_size_at + 4 + layout.data_size - 8))
            file.truncate(layout.data_size_at + 4 + layout.data_size)
    return layout.seconds


# ---------------------------------------------------------------- levels


def rms_dbfs(samples: Samples) -> float:
    """Mean level in dB relative to full scale (a full-scale sine is -3.0); silence: -120.0."""
    if not len(samples):
        return SILENCE_DBFS
    square = float(np.mean(np.square(samples.astype(np.float64) / 32768.0)))
    return max(SILENCE_DBFS, 10 * math.log10(square)) if square > 0 else SILENCE_DBFS


def peak_dbfs(samples: Samples) -> float:
    """Largest sample in dB relative to full scale; silence: -120.0."""
    peak = float(np.max(np.abs(samples.astype(np.float64)))) if len(samples) else 0.0
    return 20 * math.log10(peak / 32768.0) if peak > 0 else SILENCE_DBFS


def is_silent(samples: Samples, threshold_dbfs: float = -60.0) -> bool:
    """Whether no sample is louder than the threshold (dBFS, peak)."""
    return peak_dbfs(samples) < threshold_dbfs
