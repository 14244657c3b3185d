"""The mixer process: a clock of 20 ms, the rooms, and the engine's commands over AMP.

It has no endpoint of pjsua2 and does not wait for anybody: a peer that is gone is left out of the sum, and
a frame that cannot be delivered is dropped.
"""

from __future__ import annotations

import os
import resource
import sys
import time
import traceback
from typing import Any

from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)

from media import protocol
from media.channel import Channel, handles
from media.mixer.room import Room
from media.mixer.sound import FRAME_SECONDS

CATCH_UP_FRAMES = 3
"""After a stall so many frames are made up for; the links' buffers would only drop the others."""


class Metronome:
    """Says how many frames are due; a long stall is forgotten, a short one made up for."""

    def __init__(self, now: float) -> None:
        self.next = now + FRAME_SECONDS
        """When the next frame is due, seconds (monotonic)."""
        self.skipped = 0

    def due(self, now: float) -> int:
        """Frames to make now."""
        if now < self.next:
            return 0
        count = int((now - self.next) / FRAME_SECONDS) + 1
        self.next += count * FRAME_SECONDS
        made = min(count, CATCH_UP_FRAMES)
        self.skipped += count - made
        return made


class Mixer(Channel):
    """The mixer's end of the control connection; see `media.protocol` for what each command does."""

    def __init__(self, reactor: Any) -> None:
        super().__init__()
        self._reactor = reactor
        self._rooms: dict[bytes, Room] = {}
        self._broken: set[bytes] = set()
        self._metronome: Metronome | None = None

    # -------------------------------------------------------------- life

    def connectionMade(self) -> None:  # noqa: N802 - the name is Twisted's
        """Tell the engine that there is a mixer."""
        super().connectionMade()  # type: ignore[no-untyped-call]
        self.tell(protocol.Ready, pid=os.getpid(), sip_port=0)

    def connectionLost(self, reason: Any = None) -> None:  # noqa: N802 - the name is Twisted's
        """The engine is gone: complete the recordings and go."""
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        self._close()
        os._exit(0)

    @handles(protocol.Quit)
    def _quit(self) -> None:
        self._close()
        # what was told of the recordings goes out first, then connectionLost ends the process
        if self.transport is not None:
            self.transport.loseConnection()

    def _close(self) -> None:
        for room in self._rooms.values():
            room.close()
        self._rooms.clear()

    @protocol.Ping.responder
    def _ping(self) -> dict[str, object]:
        return {"legs": len(self._rooms), "rss_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}

    # -------------------------------------------------------------- the clock

    def _tick(self) -> None:
        if self._metronome is None:
            return
        if not self._rooms:
            self._metronome = None  # an idle mixer costs nothing
            return
        for _ in range(self._metronome.due(self._reactor.seconds())):
            for name, room in list(self._rooms.items()):
                try:
                    room.tick()
                except Exception as error:
                    # one room must not silence the others, nor fill the log 50 times a second
                    if name not in self._broken:
                        self._broken.add(name)
                        traceback.print_exc(file=sys.stderr)
                        self.tell(protocol.CommandFailed, key=name, command="tick", error=repr(error))
        self._reactor.callLater(max(0.0, self._metronome.next - self._reactor.seconds()), self._tick)

    # -------------------------------------------------------------- commands

    @handles(protocol.SetMix)
    def _set_mix(self, room: bytes, path: str, peers: list[str]) -> None:
        self._broken.discard(room)
        if not peers:
            gone = self._rooms.pop(room, None)
            if gone is not None:
                gone.close()
            return
        if room not in self._rooms:
            self._rooms[room] = Room(room, self.tell)
        self._rooms[room].link(path, peers)
        if self._metronome is None:
            self._metronome = Metronome(self._reactor.seconds())
            self._tick()

    @handles(protocol.PlayMix)
    def _play_mix(self, room: bytes, paths: list[str]) -> None:
        if found := self._rooms.get(room):
            found.play(paths)

    @handles(protocol.RecordMix)
    def _record_mix(self, room: bytes, recording: bytes, path: str) -> None:
        if found := self._rooms.get(room):
            found.record(recording, path)

    @handles(protocol.PauseMix)
    def _pause_mix(self, room: bytes, recording: bytes, paused: bool) -> None:
        if found := self._rooms.get(room):
            found.pause(recording, paused)

    @handles(protocol.StopMix)
    def _stop_mix(self, room: bytes, recording: bytes) -> None:
        if found := self._rooms.get(room):
            found.stop(recording)


def run(control_fd: int) -> None:
    """Run the mixer on an inherited, connected unix stream socket; does not return."""
    from socket import AF_UNIX

    from twisted.internet import protocol as transport
    from twisted.internet import reactor

    errors = FilteringLogObserver(textFileLogObserver(sys.stderr), [LogLevelFilterPredicate(LogLevel.error)])
    globalLogBeginner.beginLoggingTo([errors], redirectStandardIO=False)
    loop: Any = reactor
    # Twisted counts wall time: setting the machine's clock would stop the audio
    loop.seconds = time.monotonic
    mixer = Mixer(loop)
    try:
        factory = transport.Factory.forProtocol(lambda: mixer)
        factory.noisy = False
        loop.adoptStreamConnection(control_fd, AF_UNIX, factory)
        os.close(control_fd)
        loop.run(installSignalHandlers=False)
    except Exception:
        traceback.print_exc(file=sys.stderr)
    finally:
        os._exit(1)
