"""Framing of SIP on streams by Content-Length (RFC 3261 section 18.3); pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

_LENGTH = re.compile(rb"^(?:content-length|l)[ \t]*:[ \t]*(\d{1,9})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)


class FramingError(ValueError):
    """The stream cannot be read any further."""


class Framer:
    r"""Cuts a byte stream into messages.

    Yields `b"\r\n\r\n"` for a keep-alive ping (RFC 5626 section 4.4.1), otherwise whole messages.
    """

    PING = b"\r\n\r\n"

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take bytes; yield what is complete.

        Raises:
            FramingError: a message without Content-Length, or larger than the limit.
        """
        self._buffer += data
        while self._buffer:
            if self._buffer.startswith(b"\r\n\r\n"):
                del self._buffer[:4]
                yield self.PING
                continue
            if self._buffer.startswith(b"\r\n"):
                if len(self._buffer) < 4:
                    return
                del self._buffer[:2]
                continue
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > self._limit:
                    raise FramingError("the header section is too long")
                return
            found = _LENGTH.search(self._buffer, 0, end + 2)
            if found is None:
                raise FramingError("Content-Length is missing")
            whole = end + 4 + int(found[1])
            if whole > self._limit:
                raise FramingError("the message is too long")
            if len(self._buffer) < whole:
                return
            message = bytes(self._buffer[:whole])
            del self._buffer[:whole]
            yield message
