"""Files of a mixed room: those that are played into it, and those it is recorded to.

Both work frame by frame, 20 ms of 16-bit little-endian mono at 8 kHz, in the thread of the mixer.
"""

from __future__ import annotations

import os
import wave
from collections import deque
from collections.abc import Sequence

import numpy as np

from media.audio import RATE, Samples, wav_header
from media.frames import FRAME_BYTES, FRAMES_PER_SECOND

FRAME_SAMPLES = FRAME_BYTES // 2
FRAME_SECONDS = 1 / FRAMES_PER_SECOND
SOUND_PEAK = 300
"""A sample of this size counts as sound, as in the recordings of a leg."""
_UNKNOWN_BYTES = 0
"""Length in the header until the end; `media.audio.repair_wav_header` takes it for "unknown"."""
_WRITE_FRAMES = 25
"""Frames that are written at once: what a kill may cost."""


class Player:
    """Plays WAV files (8 kHz, mono, 16 bits) one after the other, once."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = deque(paths)
        self._file: wave.Wave_read | None = None
        self.errors: list[str] = []
        """What could not be played, since somebody looked last."""

    def frame(self) -> Samples | None:
        """The next 20 ms, shape (160,); None at the end."""
        while True:
            if self._file is None and not self._open_next():
                return None
            data = b""
            if self._file is not None:
                data = self._file.readframes(FRAME_SAMPLES)
            if data:
                return np.frombuffer(data.ljust(FRAME_BYTES, b"\0"), "<i2")
            self.close()

    def _open_next(self) -> bool:
        while self._paths:
            path = self._paths.popleft()
            try:
                file = wave.open(path, "rb")  # noqa: SIM115 - it stays open while it plays
            except (OSError, EOFError, wave.Error) as error:
                self.errors.append(f"{path}: {error}")
                continue
            if (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2):
                self._file = file
                return True
            file.close()
            self.errors.append(f"{path}: not 8 kHz, mono, 16 bits")
        return False

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            self._file.close()
            self._file = None


class Recorder:
    """Writes frames to a WAV file as they come. The header says the length at the end only."""

    def __init__(self, path: str) -> None:
        """Begin the file.

        Raises:
            OSError: it cannot be written.
        """
        self.path = path
        self.paused = False
        self.heard = False
        self._frames: list[bytes] = []
        self._written = 0
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            os.write(self._file, wav_header(_UNKNOWN_BYTES))
        except OSError:
            os.close(self._file)
            raise

    @property
    def seconds(self) -> float:
        """Seconds that are in the file, or about to be."""
        return self._written / (2 * RATE) + len(self._frames) * FRAME_SECONDS

    def write(self, frame: Samples) -> None:
        """Add 20 ms, unless the recording pauses.

        Raises:
            OSError: the disk is full or gone.
        """
        if self.paused:
            return
        # not abs: that of -32768 is no int16
        if not self.heard and (int(frame.max()) >= SOUND_PEAK or int(frame.min()) <= -SOUND_PEAK):
            self.heard = True
        self._frames.append(frame.tobytes())
        if len(self._frames) >= _WRITE_FRAMES:
            self._flush()

    def _flush(self) -> None:
        data, self._frames = b"".join(self._frames), []
        while data:
            count = os.write(self._file, data)
            self._written += count
            data = data[count:]

    def close(self) -> None:
        """Complete the file.

        Raises:
            OSError: it could not be; the descriptor is closed all the same.
        """
        try:
            self._flush()
            os.pwrite(self._file, wav_header(self._written), 0)
        finally:
            os.close(self._file)
