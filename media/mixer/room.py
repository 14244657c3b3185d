"""One mixed room: its links, what is played into it, and its recordings."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from media import protocol
from media.frames import JitterBuffer, pack
from media.mixer.mixing import mix_minus
from media.mixer.sound import Player, Recorder
from media.topology import mixer_end

Emit = Callable[..., None]

_LONGEST = 1024
_MOST_PLAYERS = 8
"""Files that play at once into a room; more would be noise."""


class Link:
    """The mixer's end of one link: a datagram socket, and the buffer for what comes from there."""

    def __init__(self, path: str, peer: str) -> None:
        """Bind the socket.

        Raises:
            OSError: it cannot be bound.
        """
        self._path = path
        self._peer = peer
        self._sequence = 0
        self.buffer = JitterBuffer()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            _unlink(path)
            self._socket.bind(path)
        except OSError:
            self._socket.close()
            raise

    def receive(self) -> bytes:
        """Take in what has come, and give the frame that is due."""
        try:
            while True:
                self.buffer.put(self._socket.recv(_LONGEST))
        except OSError:  # nothing more
            pass
        return self.buffer.get()

    def send(self, frame: bytes) -> None:
        """Send a frame; a peer that is not there, or does not read, gets nothing."""
        try:
            self._socket.sendto(pack(self._sequence, frame), self._peer)
        except OSError:
            pass
        self._sequence += 1

    def close(self) -> None:
        """Close the socket and remove its name."""
        self._socket.close()
        _unlink(self._path)


class Room:
    """What the mixer does for one bridge; see the commands of `media.protocol` ending in Mix."""

    def __init__(self, name: bytes, emit: Emit) -> None:
        self._name = name
        self._emit = emit
        self._links: dict[str, Link] = {}
        self._players: list[Player] = []
        self._recorders: dict[bytes, Recorder] = {}

    def link(self, path: str, peers: Sequence[str]) -> None:
        """Link to these peers and no others."""
        for peer in [peer for peer in self._links if peer not in peers]:
            self._unlink(peer)
        for peer in peers:
            if peer not in self._links:
                try:
                    self._links[peer] = Link(mixer_end(path, peer), peer)
                except OSError as error:
                    self._failed(self._name, "SetMix", f"{peer}: {error}")

    def _unlink(self, peer: str) -> None:
        link = self._links.pop(peer)
        link.close()
        buffer = link.buffer
        self._emit(
            protocol.LinkClosed,
            room=self._name,
            received=buffer.received,
            lost=buffer.lost,
            concealed=buffer.concealed,
        )

    def play(self, paths: Sequence[str]) -> None:
        """Play files beside what plays already."""
        if len(self._players) < _MOST_PLAYERS:
            self._players.append(Player(paths))

    def record(self, recording: bytes, path: str) -> None:
        """Begin a recording."""
        if recording in self._recorders:
            return
        try:
            self._recorders[recording] = Recorder(path)
        except OSError as error:
            self._failed(recording, "RecordMix", str(error))
            self._recorded(recording, path, 0.0, heard=False)

    def pause(self, recording: bytes, paused: bool) -> None:
        """Let a recording pause or go on."""
        if recorder := self._recorders.get(recording):
            recorder.paused = paused

    def stop(self, recording: bytes) -> None:
        """End a recording."""
        recorder = self._recorders.pop(recording, None)
        if recorder is None:
            return
        try:
            recorder.close()
        except OSError as error:
            self._failed(recording, "RecordMix", str(error))
        self._recorded(recording, recorder.path, recorder.seconds, heard=recorder.heard)

    def _recorded(self, recording: bytes, path: str, seconds: float, *, heard: bool) -> None:
        self._emit(
            protocol.MixRecorded,
            room=self._name,
            recording=recording,
            path=path,
            seconds=seconds,
            heard=heard,
        )

    def _failed(self, key: bytes, command: str, error: str) -> None:
        self._emit(protocol.CommandFailed, key=key, command=command, error=error)

    def tick(self) -> None:
        """Mix 20 ms."""
        links = list(self._links.values())
        frames = [link.receive() for link in links]
        each, total = mix_minus(frames, self._played())
        for link, frame in zip(links, each, strict=True):
            link.send(frame)
        for recording, recorder in list(self._recorders.items()):
            try:
                recorder.write(total)
            except OSError as error:
                self._failed(recording, "RecordMix", str(error))
                self.stop(recording)

    def _played(self) -> list[Any]:
        played = []
        for player in list(self._players):
            frame = player.frame()
            while player.errors:
                self._failed(self._name, "PlayMix", player.errors.pop(0))
            if frame is None:
                self._players.remove(player)
            else:
                played.append(frame)
        return played

    def close(self) -> None:
        """End the recordings and the links."""
        for recording in list(self._recorders):
            self.stop(recording)
        for peer in list(self._links):
            self._unlink(peer)
        for player in self._players:
            player.close()


def _unlink(path: str) -> None:
    try:
        os.unlink(path)  # noqa: PTH108 - as short as it is
    except OSError:
        pass
