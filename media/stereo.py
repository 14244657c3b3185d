"""Two recordings of one call, made into one file with two channels."""

from __future__ import annotations

import contextlib
import wave
from pathlib import Path

import numpy as np

from media.audio import repair_wav_header

BLOCK = 65536
"""Frames that are merged at once."""


def merge_stereo(left: Path, right: Path) -> float:
    """Put `right` beside `left`, as the second channel of the file `left`; `right` is removed.

    Both are 16-bit mono files of one rate; the shorter one is filled up with silence. A missing or empty
    `right` counts as silence.

    Returns:
        Length of the file, seconds.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: `left` is no such file.
    """
    for path in (left, right):
        with contextlib.suppress(OSError, ValueError):
            repair_wav_header(path)
    made = left.with_suffix(".stereo.tmp")
    with contextlib.ExitStack() as stack:
        try:
            first = stack.enter_context(wave.open(str(left)))
        except (wave.Error, EOFError) as error:
            raise ValueError(f"{left}: {error}") from None
        second = None
        with contextlib.suppress(OSError, EOFError, wave.Error):
            second = stack.enter_context(wave.open(str(right)))
        rate = first.getframerate()
        frames = max(first.getnframes(), second.getnframes() if second is not None else 0)
        target = stack.enter_context(wave.open(str(made), "wb"))
        target.setnchannels(2)
        target.setsampwidth(2)
        target.setframerate(rate)
        for start in range(0, frames, BLOCK):
            count = min(BLOCK, frames - start)
            pair = np.zeros((count, 2), "<i2")
            for channel, source in enumerate((first, second)):
                data = np.frombuffer(source.readframes(count), "<i2") if source is not None else ()
                pair[: len(data), channel] = data
            target.writeframes(pair.tobytes())
    made.replace(left)
    right.unlink(missing_ok=True)
    return float(frames / rate)
