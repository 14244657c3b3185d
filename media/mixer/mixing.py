"""The sum of a room: everybody hears all others and what is played, nobody hears itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from media.audio import Samples
from media.frames import FRAME_BYTES, SILENT

FRAME_SAMPLES = FRAME_BYTES // 2

_LOWEST, _HIGHEST = -32768, 32767


def mix_minus(frames: Sequence[bytes], played: Sequence[Samples]) -> tuple[list[bytes], Samples]:
    """Add up 20 ms of a room.

    Args:
        frames: what each link sent, 320 bytes of 16-bit little-endian mono.
        played: what is played into the room, each of shape (160,).

    Returns:
        What each link gets, in the order of `frames`, and the sum of all, of shape (160,). Sums too large
        for 16 bits are clipped.
    """
    if not played and all(frame is SILENT for frame in frames):
        return [SILENT] * len(frames), np.zeros(FRAME_SAMPLES, np.int16)
    own = np.frombuffer(b"".join(frames), "<i2").reshape(-1, FRAME_SAMPLES)
    total = own.sum(axis=0, dtype=np.int32)
    for samples in played:
        total += samples
    each = _clip(total - own).tobytes()
    return [each[at : at + FRAME_BYTES] for at in range(0, len(each), FRAME_BYTES)], _clip(total)


def _clip(sums: npt.NDArray[np.int32]) -> Samples:
    return np.clip(sums, _LOWEST, _HIGHEST).astype("<i2")
