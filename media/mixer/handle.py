"""The engine's side of the mixer: starts it when it is needed, and again when it dies."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet import protocol as transport
from twisted.logger import Logger
from twisted.protocols import amp

from media import protocol
from media.channel import Channel, handles

log = Logger()

RETRY_SECONDS = 0.2
"""Between the end of a mixer that did not live long, or could not be started, and the next one."""
SHORT_LIFE_SECONDS = 1.0
PING_SECONDS = 2.0
MISSES = 3


class MixerListener(Protocol):
    """Who hears what the mixer tells."""

    def mixer_lost(self) -> None:
        """The process is gone, and with it all rooms; what was being recorded has ended."""
        ...

    def mixer_started(self) -> None:
        """There is a process at last, after `MixerHandle.need` could not start one; it knows no rooms yet."""
        ...

    def mix_recorded(self, room: bytes, recording: bytes, path: str, seconds: float, heard: bool) -> None:
        """A recording ended."""
        ...

    def mix_failed(self, key: bytes, command: str, error: str) -> None:
        """A command failed; `key` names the recording, or else the room."""
        ...

    def mix_link_closed(self, lost: int, concealed: int) -> None:
        """A link of the mixer was closed; frames of 20 ms."""
        ...


class MixerLink(Channel):
    """The engine's end of the control connection."""

    def __init__(self, lost: Callable[[], None], listener: MixerListener) -> None:
        super().__init__()
        self._lost = lost
        self._listener = listener

    def as_factory(self) -> Any:
        """A factory that yields this protocol, for `adoptStreamConnection`."""
        factory = transport.Factory.forProtocol(lambda: self)
        factory.noisy = False
        return factory

    def connectionLost(self, reason: Any = None) -> None:  # noqa: N802 - the name is Twisted's
        """The mixer is gone."""
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        self._lost()

    def ping(self) -> Any:
        """Ask for a sign of life; a Deferred."""
        return self.callRemote(protocol.Ping)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Close the connection; the mixer ends itself then."""
        if self.transport is not None:
            self.transport.loseConnection()

    @handles(protocol.Ready)
    def _ready(self, pid: int, sip_port: int) -> None:
        log.info("mixer_ready pid={pid}", pid=pid)

    @handles(protocol.MixRecorded)
    def _recorded(self, room: bytes, recording: bytes, path: str, seconds: float, heard: bool) -> None:
        self._listener.mix_recorded(room, recording, path, seconds, heard)

    @handles(protocol.LinkClosed)
    def _link_closed(self, room: bytes, received: int, lost: int, concealed: int) -> None:
        self._listener.mix_link_closed(lost, concealed)

    @handles(protocol.CommandFailed)
    def _failed(self, key: bytes, command: str, error: str) -> None:
        log.warn(
            "mixer_command_failed key={key} command={command} error={error}",
            key=key.decode(),
            command=command,
            error=error,
        )
        self._listener.mix_failed(key, command, error)


class MixerHandle:
    """Keeps one mixer process while it is needed."""

    def __init__(
        self,
        reactor: Any,
        *,
        spawn: Callable[[], tuple[int, socket.socket]],
        listener: MixerListener,
        needed: Callable[[], bool],
    ) -> None:
        """Set how it is started.

        Args:
            reactor: the clock.
            spawn: forks a mixer; its number, and the engine's end of its control connection. Raises OSError.
            listener: who hears it.
            needed: whether there are mixed rooms; else one that could not be started is not tried again.
        """
        self._reactor = reactor
        self._spawn = spawn
        self._listener = listener
        self._needed = needed
        self._link: MixerLink | None = None
        self._number = 0
        self._born = 0.0
        self._misses = 0
        self._timer: Any = None
        self._watch: Any = None
        self._stopping = False
        self.pid = 0
        """Process id, as soon as the zygote has told it."""
        self.deaths = 0

    @property
    def running(self) -> bool:
        """Whether there is a process (it may be about to start)."""
        return self._link is not None

    def need(self) -> bool:
        """Start the process unless it runs, and say whether it does; what is told at once is not lost."""
        if self._link is None and self._timer is None:
            self._start()
        return self._link is not None

    def _start(self) -> bool:
        self._timer = None
        if self._stopping:
            return False
        try:
            self._number, control = self._spawn()
        except OSError as error:
            log.error("mixer_not_started reason={reason}", reason=str(error))
            self._later()
            return False
        self.pid = 0
        self._misses = 0
        self._born = self._reactor.seconds()
        link = MixerLink(lambda: self._lost(link), self._listener)
        self._link = link
        with control:
            self._reactor.adoptStreamConnection(control.fileno(), control.family, link.as_factory())
        if self._watch is None:
            self._watch = self._reactor.callLater(PING_SECONDS, self._look)
        return True

    def _later(self) -> None:
        if self._timer is None and not self._stopping:
            self._timer = self._reactor.callLater(RETRY_SECONDS, self._again)

    def _again(self) -> None:
        self._timer = None
        if self._link is None and self._needed() and self._start():
            self._listener.mixer_started()

    def _lost(self, link: MixerLink) -> None:
        if link is not self._link:
            return
        self._link = None
        if not self._stopping:
            self.deaths += 1
            log.error("mixer_lost pid={pid}", pid=self.pid)
        if self._reactor.seconds() - self._born < SHORT_LIFE_SECONDS:
            self._later()
        self._listener.mixer_lost()  # who needs another one asks for it

    def started(self, number: int, pid: int) -> None:
        """The zygote has forked a process."""
        if number == self._number:
            self.pid = pid

    def tell(self, command: type[amp.Command], /, **arguments: Any) -> None:
        """Send a command; dropped when there is no process."""
        if self._link is not None:
            self._link.tell(command, **arguments)

    def _look(self) -> None:
        self._watch = None
        if self._stopping or self._link is None:
            return
        self._watch = self._reactor.callLater(PING_SECONDS, self._look)
        if not self._needed():
            self._misses = 0
        elif self._misses >= MISSES:
            log.error("mixer_hangs pid={pid}", pid=self.pid)
            self.kill()
        else:
            self._misses += 1
            self._link.ping().addCallbacks(lambda _: setattr(self, "_misses", 0), lambda _: None)

    def stop(self) -> None:
        """Let it complete its recordings and end."""
        self.tell(protocol.Quit)
        self._stopping = True
        for timer in (self._timer, self._watch):
            if timer is not None and timer.active():
                timer.cancel()
        self._timer = self._watch = None

    def kill(self) -> None:
        """End the process at once."""
        if self._link is None:
            return
        if self.pid:
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._link.close()
