"""The child process that drives espeak-ng: `python -m media.speech.espeak_worker`.

The library keeps global state and can crash, so it lives alone. Frames on stdin and stdout are a
4-byte big-endian length and a body. On start the child sends one frame with its sample rate in decimal.
A request is a JSON object with `voice`, `text` and `limit` (seconds); the reply is `A` and signed 16-bit
little-endian mono samples, or `E` and a message. One request at a time. The child ends when its stdin
ends. Nothing heavy is imported here: it starts in some 50 ms.
"""

from __future__ import annotations

import ctypes
import json
import os
import struct
import sys
import tempfile
from typing import Any, BinaryIO

MAXIMUM_FRAME = 400_000_000
"""Bytes; more than an hour and a half of samples."""
_PATH_LIMIT = 150
"""espeak-ng keeps its data path in a buffer of 160 bytes and cuts it silently."""

_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000
_UTF8 = 1
_BY_CHARACTER = 1
_RATE_PARAMETER = 1
_WORDS_PER_MINUTE = 160

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


class EspeakError(Exception):
    """The library refused."""


def read_frame(stream: BinaryIO) -> bytes | None:
    """Read one frame; None at the end of the stream."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    body = stream.read(int.from_bytes(head, "big"))
    return body if len(body) == int.from_bytes(head, "big") else None


def frame(body: bytes) -> bytes:
    """A body with its length in front."""
    return struct.pack(">I", len(body)) + body


class Espeak:
    """The library, loaded and initialised. One per process; not to be used by two threads."""

    def __init__(self, library: str, data: str) -> None:
        """Load. Raises EspeakError or OSError."""
        self._lib: Any = ctypes.CDLL(library)
        self._link = ""
        self.rate = int(self._lib.espeak_Initialize(_SYNCHRONOUS, 0, self._short(data).encode(), _DONT_EXIT))
        if self.rate <= 0:
            raise EspeakError(f"espeak_Initialize returned {self.rate}")
        self._samples = bytearray()
        self._limit = 0
        self._too_long = False
        self._callback = _Callback(self._collect)
        self._lib.espeak_SetSynthCallback(self._callback)
        self._voice = ""

    def _short(self, data: str) -> str:
        if len(os.fsencode(data)) <= _PATH_LIMIT:
            return data
        folder = tempfile.mkdtemp(prefix="espeak-")
        self._link = os.path.join(folder, "espeak-ng-data")  # noqa: PTH118 - pathlib is not worth its import
        os.symlink(data, self._link)  # noqa: PTH211
        return self._link

    def close(self) -> None:
        """Remove what was made on disk."""
        if self._link:
            os.unlink(self._link)  # noqa: PTH108
            os.rmdir(os.path.dirname(self._link))  # noqa: PTH106, PTH120

    def _collect(self, wave: int | None, count: int, _events: int | None) -> int:
        if wave and count > 0:
            self._samples += ctypes.string_at(wave, count * 2)
        self._too_long = len(self._samples) > self._limit
        return 1 if self._too_long else 0

    def speak(self, text: str, voice: str, limit_seconds: float) -> bytes:
        """Speak; signed 16-bit native mono samples at `rate`. Raises EspeakError."""
        if voice != self._voice:
            self._voice = ""
            if (code := self._lib.espeak_SetVoiceByName(voice.encode())) != 0:
                raise EspeakError(f"no voice {voice!r} (code {code})")
            self._voice = voice
            self._lib.espeak_SetParameter(_RATE_PARAMETER, _WORDS_PER_MINUTE, 0)
        self._samples.clear()
        self._limit = int(limit_seconds * self.rate) * 2
        self._too_long = False
        data = text.encode("utf-8", "replace").replace(b"\0", b" ")
        code = self._lib.espeak_Synth(data, len(data) + 1, 0, _BY_CHARACTER, 0, _UTF8, None, None)
        if code == 0:
            code = self._lib.espeak_Synchronize()
        if code != 0:
            raise EspeakError(f"espeak_Synth failed (code {code})")
        if self._too_long:
            raise EspeakError(f"the speech is longer than {limit_seconds:g} s")
        return bytes(self._samples)


def serve(espeak: Espeak, requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests until the stream ends."""
    replies.write(frame(str(espeak.rate).encode()))
    replies.flush()
    while (body := read_frame(requests)) is not None:
        try:
            request = json.loads(body)
            reply = b"A" + espeak.speak(request["text"], request["voice"], request["limit"])
        except (EspeakError, KeyError, TypeError, ValueError) as error:
            reply = b"E" + str(error).encode("utf-8", "replace")
        replies.write(frame(reply))
        replies.flush()


def main() -> int:
    """Run the child."""
    from espeakng_loader import get_data_path, get_library_path

    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the library prints must not come between the frames
    try:
        espeak = Espeak(get_library_path(), get_data_path())
    except (EspeakError, OSError, RuntimeError) as error:
        print(f"espeak-ng cannot be used: {error}", file=sys.stderr)
        return 1
    try:
        serve(espeak, sys.stdin.buffer, replies)
    except BrokenPipeError:
        return 0
    finally:
        espeak.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
