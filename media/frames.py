"""Audio between processes: the datagrams of links, and the buffer that takes them (pure).

A datagram is a sequence number (4 bytes, big-endian, counting up by one and wrapping around) and one
frame: 20 ms of 16-bit little-endian mono PCM at 8 kHz, 320 bytes.
"""

from __future__ import annotations

import struct
from collections import deque

import numpy as np

FRAME_BYTES = 320
"""One frame: 160 samples of 16 bits, 20 ms."""
FRAMES_PER_SECOND = 50
DATAGRAM_BYTES = 4 + FRAME_BYTES
SILENT = bytes(FRAME_BYTES)

_LAYOUT = struct.Struct(f"!I{FRAME_BYTES}s")
_CYCLE = 1 << 32

LONGEST_GAP = 2 * FRAMES_PER_SECOND
"""A greater step of the sequence number is another beginning, not a loss."""
FADE_FRAMES = 3
"""A missing frame is the last one again, fainter each time; after so many there is silence."""
PAUSE_FRAMES = FRAMES_PER_SECOND
"""After so many missing frames in a row the sender is taken to have stopped; its silence is no loss."""
MARGIN = 3
"""Frames beyond the target depth that may wait; older ones are dropped."""
DEEPEST = 2
CALM_FRAMES = 5 * FRAMES_PER_SECOND
"""So long without a missing frame, and the buffer gets shallower again (twice as long after each relapse)."""
LOOK_FRAMES = 10
"""So often it is looked at whether more waits than needs to."""
LONGEST_CALM = 32 * CALM_FRAMES


def pack(sequence: int, frame: bytes) -> bytes:
    """A datagram; a frame of another length is cut, or filled up with silence."""
    return _LAYOUT.pack(sequence % _CYCLE, frame)


def unpack(datagram: bytes) -> tuple[int, bytes] | None:
    """The sequence number and the frame, or None when it is no such datagram."""
    if len(datagram) != DATAGRAM_BYTES:
        return None
    sequence, frame = _LAYOUT.unpack(datagram)
    return sequence, frame


class JitterBuffer:
    """Takes datagrams as they come, and gives one frame every 20 ms.

    Frames wait until `depth` of them are there: one at first, two once a frame was missed, and one again
    after some calm seconds. What is missing is made up from the last frame. One thread at a time may use
    it; the counts may be read from any.
    """

    def __init__(self) -> None:
        self.received = 0
        """Frames that came."""
        self.lost = 0
        """Frames that never came, as the sequence numbers tell."""
        self.concealed = 0
        """Frames made up, for lost ones and for late ones."""
        self.dropped = 0
        """Frames that came, and were thrown away because too many waited."""
        self.depth = 1
        """Frames that should wait."""
        self._waiting: deque[bytes | None] = deque()
        self._expected = -1
        self._primed = False
        self._last = SILENT
        self._missed = 0
        """Frames in a row that were made up, or silent."""
        self._owed = 0
        """Frames made up for an empty buffer since the last datagram: a gap that shows is theirs."""
        self._calm = 0
        self._calm_wanted = CALM_FRAMES
        self._shrunk = False
        self._spare = DEEPEST + MARGIN
        """Fewest frames that were left over since it was looked at."""

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, datagram: bytes) -> None:
        """Take what came; anything that is no datagram of a link, or comes twice or late, is left out."""
        found = unpack(datagram)
        if found is None:
            return
        sequence, frame = found
        gap = 0
        if self._expected >= 0:
            gap = (sequence - self._expected) % _CYCLE
            if gap >= _CYCLE - LONGEST_GAP:
                return
            if gap > LONGEST_GAP:
                gap = 0
        self._expected = (sequence + 1) % _CYCLE
        self.received += 1
        self.lost += gap
        self._waiting.extend([None] * min(MARGIN, max(0, gap - self._owed)))
        self._waiting.append(frame)
        self._owed = 0
        while len(self._waiting) > self.depth + MARGIN:
            self._drop()

    def get(self) -> bytes:
        """The next frame."""
        waiting = self._waiting
        if not waiting:
            self._owed += 1
        if not self._primed and waiting and len(waiting) >= self.depth:
            self._primed = True
        if not self._primed:
            return self._made_up()
        if not waiting:
            self._underrun()
            return self._made_up()
        frame = waiting.popleft()
        self._settle()
        if frame is None:
            return self._made_up()
        self._last = frame
        self._missed = 0
        return frame

    def _underrun(self) -> None:
        self._primed = False
        if self._shrunk and self.depth == 1:
            self._calm_wanted = min(2 * self._calm_wanted, LONGEST_CALM)
        self.depth = DEEPEST
        self._calm = 0
        self._spare = DEEPEST + MARGIN

    def _settle(self) -> None:
        """Drop what was waiting all the time, beyond the target; after calm seconds the target is lower."""
        self._calm += 1
        self._spare = min(self._spare, len(self._waiting))
        if self._calm % LOOK_FRAMES:
            return
        if self.depth > 1 and self._calm >= self._calm_wanted:
            self.depth = 1
            self._shrunk = True
        for _ in range(self._spare - self.depth + 1):
            self._drop()
        self._spare = DEEPEST + MARGIN

    def _drop(self) -> None:
        if self._waiting.popleft() is not None:
            self.dropped += 1

    def _made_up(self) -> bytes:
        if self._expected < 0:
            return SILENT
        if self._missed >= PAUSE_FRAMES:
            self._expected = -1  # it may be another sender that begins
            self._missed = self._owed = 0
            self._shrunk = False
            self.depth = 1
            return SILENT
        self._missed += 1
        self.concealed += 1
        if self._missed > FADE_FRAMES:
            return SILENT
        ramp = np.linspace(
            1 - (self._missed - 1) / FADE_FRAMES, 1 - self._missed / FADE_FRAMES, FRAME_BYTES // 2
        )
        return (np.frombuffer(self._last, "<i2") * ramp).astype("<i2").tobytes()
