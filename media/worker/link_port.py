"""Links: the audio of a room goes to another process, and comes from there, over a unix datagram socket.

The bridge clock calls a port every 20 ms on a thread of its own. There, a frame from the bridge is sent to
the peer, and what the peer has sent goes through a jitter buffer into the bridge. Nothing on that thread
calls pjsua2, waits or raises.
"""

from __future__ import annotations

import os
import random
import socket
from typing import Any

import pjsua2 as pj

from media.frames import DATAGRAM_BYTES, SILENT, JitterBuffer, pack
from media.worker.guard import PjError, checked
from media.worker.pcm import FrameWriter, frame_format, keep_thread_state, read_frame

LONGEST_PATH = 107
"""Bytes of the name of a unix socket."""


class LinkSocket:
    """One end of a link; `send` and `take` are for the clock's thread."""

    def __init__(self, path: str, peer: str) -> None:
        """Bind `path`; whatever was there goes.

        Raises:
            PjError: it cannot be bound.
        """
        for name in (path, peer):
            if not name or "\0" in name or len(os.fsencode(name)) > LONGEST_PATH:
                raise PjError(f"{name!r} cannot be the name of a socket")
        self.path = path
        self.peer = peer
        self.buffer = JitterBuffer()
        self._sequence = random.getrandbits(32)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._unlink()
            self._socket.bind(path)
        except OSError as error:
            self._socket.close()
            raise PjError(f"{path}: {error}") from None

    def _unlink(self) -> None:
        try:
            os.unlink(self.path)  # noqa: PTH108 - a Path would be made for nothing
        except FileNotFoundError:
            pass

    def send(self, pcm: bytes) -> None:
        """Send a frame; a peer that is not there, or not listening, misses it."""
        self._sequence += 1
        try:
            self._socket.sendto(pack(self._sequence, pcm), self.peer)
        except OSError:
            pass

    def take(self) -> bytes:
        """The frame that is due."""
        try:
            while True:
                self.buffer.put(self._socket.recv(DATAGRAM_BYTES + 1))
        except OSError:
            pass
        return self.buffer.get()

    def unbind(self) -> None:
        """Take the name away: nothing more arrives."""
        try:
            self._unlink()
        except OSError:
            pass

    def close(self) -> None:
        """Close; only once the clock's thread has certainly let go of it."""
        self._socket.close()


class LinkPort(pj.AudioMediaPort):
    """A port of the bridge that a link is plugged into; without one (at its end) it is silent."""

    def __init__(self, link: LinkSocket) -> None:
        super().__init__()
        self.link: LinkSocket | None = link
        self._writer = FrameWriter()
        checked(self.createPort, "link", frame_format())

    def onFrameReceived(self, frame: Any) -> None:  # noqa: N802 - the names are pjsua2's
        """A frame from the bridge (clock thread)."""
        keep_thread_state()
        link = self.link
        if link is not None:
            link.send(read_frame(frame) or SILENT)

    def onFrameRequested(self, frame: Any) -> None:  # noqa: N802
        """A frame for the bridge (clock thread)."""
        link = self.link
        if link is None:
            frame.type = pj.PJMEDIA_FRAME_TYPE_NONE
        else:
            self._writer.write(frame, link.take())
