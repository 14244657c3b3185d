"""Digits: the in-band detector (pure) and its port in the bridge, and the sending of digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pjsua2 as pj

from media.worker.guard import checked
from media.worker.pcm import frame_format, read_frame

RATE = 8000
FRAME = 160
"""Samples in a frame of 20 ms."""

_LOW = (697.0, 770.0, 852.0, 941.0)
_HIGH = (1209.0, 1336.0, 1477.0, 1633.0)
_KEYS = ("123A", "456B", "789C", "*0#D")

DIGIT_MS = 240
"""Spacing of sent RFC 4733 digits, milliseconds."""
PAUSE_MS = 500


class ToneDetector:
    """Finds DTMF in 20 ms frames by the Goertzel correlation at the eight frequencies.

    A digit counts when two frames in a row show one low and one high tone, near each other in level
    (twist), that hold most of the energy of the frame (ITU-T Q.24).
    """

    _FLOOR = 90.0
    """Least RMS amplitude of a frame, 16-bit units."""
    _SHARE = 0.75
    """Least share of the energy in the two tones."""
    _TWIST = 8.0
    """Most ratio of the tones' powers (9 dB)."""

    def __init__(self) -> None:
        time = np.arange(FRAME) / RATE
        window = np.hanning(FRAME)
        waves = [np.exp(-2j * np.pi * f * time) * window for f in (*_LOW, *_HIGH)]
        self._waves = np.array(waves, dtype=np.complex64)
        self._scale = float(np.sum(window) ** 2 / 2.0)
        self._last = ""
        self._reported = ""

    def _key(self, frame: npt.NDArray[np.float32]) -> str:
        energy = float(np.dot(frame, frame)) / FRAME
        if energy < self._FLOOR**2:
            return ""
        power = np.abs(self._waves @ frame) ** 2 / self._scale
        low, high = int(np.argmax(power[:4])), int(np.argmax(power[4:]))
        a, b = float(power[low]), float(power[4 + high])
        if min(a, b) * self._TWIST < max(a, b) or a + b < self._SHARE * energy:
            return ""
        return _KEYS[low][high]

    def feed(self, pcm: bytes) -> str:
        """Take one frame (160 samples, 16-bit little-endian); return a digit when one begins, or ''."""
        frame = np.frombuffer(pcm, dtype="<i2").astype(np.float32)
        if len(frame) != FRAME:
            return ""
        key = self._key(frame)
        found = ""
        if key and key == self._last and key != self._reported:
            self._reported = found = key
        elif not key and not self._last:
            self._reported = ""
        self._last = key
        return found


class DetectorPort(pj.AudioMediaPort):
    """A listener in the bridge that feeds a ToneDetector; `found` is called on the clock thread."""

    def __init__(self, found: Callable[[str], None]) -> None:
        super().__init__()
        self._detector = ToneDetector()
        self._found = found
        checked(self.createPort, "digits", frame_format())

    def onFrameReceived(self, frame: Any) -> None:  # noqa: N802 - the name is pjsua2's
        """One frame from the party (clock thread)."""
        pcm = read_frame(frame)
        if pcm:
            digit = self._detector.feed(pcm)
            if digit:
                self._found(digit)


def split_digits(digits: str) -> list[tuple[str, int]]:
    """Split `12w3` into what is sent at once and how long that takes: [("12", 480), ("", 500), ...].

    At most 8 digits are sent at once; other characters are left out.
    """
    parts: list[tuple[str, int]] = []
    run = ""
    for char in digits:
        if char in "wW":
            if run:
                parts.append((run, len(run) * DIGIT_MS))
                run = ""
            parts.append(("", PAUSE_MS))
        elif char in "0123456789*#ABCDabcd":
            run += char.upper()
            if len(run) == 8:
                parts.append((run, len(run) * DIGIT_MS))
                run = ""
    if run:
        parts.append((run, len(run) * DIGIT_MS))
    return parts
