"""The engine's end of a worker's control connection: AMP boxes become plain calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet import protocol as transport

from media import protocol
from media.channel import Channel, handles
from media.legs import EndReport, RecordingReport


class WorkerEvents(Protocol):
    """Who hears a worker; see the events of `media.protocol`."""

    def ready(self, pid: int, sip_port: int) -> None: ...  # noqa: D102

    def incoming(self, key: bytes) -> None: ...  # noqa: D102

    def progress(self, key: bytes, code: int, phrase: str, headers: list[list[str]]) -> None: ...  # noqa: D102

    def media(self, key: bytes, codec: str, held: bool, early: bool) -> None: ...  # noqa: D102

    def digit(self, key: bytes, digit: str, method: str) -> None: ...  # noqa: D102

    def playback_done(self, key: bytes, playback: str, error: str) -> None: ...  # noqa: D102

    def recording_done(self, key: bytes, report: Any) -> None: ...  # noqa: D102

    def speaking(self, key: bytes, speaks: bool) -> None: ...  # noqa: D102

    def reinvited(self, key: bytes, held: bool, code: int) -> None: ...  # noqa: D102

    def referred(self, key: bytes, code: int, notify_code: int, final: bool) -> None: ...  # noqa: D102

    def link_closed(self, room: bytes, received: int, lost: int, concealed: int) -> None: ...  # noqa: D102

    def ended(self, key: bytes, report: Any) -> None: ...  # noqa: D102

    def failed(self, key: bytes, command: str, error: str) -> None: ...  # noqa: D102


class WorkerLink(Channel):
    """Reads a worker's events; commands go out by `tell`."""

    def __init__(self, lost: Callable[[], None], events: WorkerEvents) -> None:
        super().__init__()
        self._lost = lost
        self._events = events

    def as_factory(self) -> Any:
        """A factory that yields this protocol, for `adoptStreamConnection`."""
        factory = transport.Factory.forProtocol(lambda: self)
        factory.noisy = False
        return factory

    def ping(self) -> Any:
        """Ask for a sign of life; a Deferred."""
        return self.callRemote(protocol.Ping)  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Any = None) -> None:  # noqa: N802 - the name is Twisted's
        """The worker is gone."""
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        self._lost()

    def close(self) -> None:
        """Close the connection; the worker ends itself then."""
        if self.transport is not None:
            self.transport.loseConnection()

    @handles(protocol.Ready)
    def _ready(self, pid: int, sip_port: int) -> None:
        self._events.ready(pid, sip_port)

    @handles(protocol.Incoming)
    def _incoming(self, key: bytes) -> None:
        self._events.incoming(key)

    @handles(protocol.Progress)
    def _progress(self, key: bytes, code: int, phrase: str, headers: list[list[str]]) -> None:
        self._events.progress(key, code, phrase, headers)

    @handles(protocol.MediaUp)
    def _media(self, key: bytes, codec: str, held: bool, early: bool) -> None:
        self._events.media(key, codec, held, early)

    @handles(protocol.Digit)
    def _digit(self, key: bytes, digit: str, method: str) -> None:
        self._events.digit(key, digit, method)

    @handles(protocol.PlaybackDone)
    def _playback_done(self, key: bytes, playback: bytes, error: str) -> None:
        self._events.playback_done(key, playback.decode(), error)

    @handles(protocol.RecordingDone)
    def _recording_done(self, key: bytes, recording: bytes, **rest: Any) -> None:
        self._events.recording_done(key, RecordingReport(recording=recording.decode(), **rest))

    @handles(protocol.Speaking)
    def _speaking(self, key: bytes, speaks: bool) -> None:
        self._events.speaking(key, speaks)

    @handles(protocol.Reinvited)
    def _reinvited(self, key: bytes, held: bool, code: int) -> None:
        self._events.reinvited(key, held, code)

    @handles(protocol.Referred)
    def _referred(self, key: bytes, code: int, notify_code: int, final: bool) -> None:
        self._events.referred(key, code, notify_code, final)

    @handles(protocol.LinkClosed)
    def _link_closed(self, room: bytes, received: int, lost: int, concealed: int) -> None:
        self._events.link_closed(room, received, lost, concealed)

    @handles(protocol.LegEnded)
    def _ended(self, key: bytes, **rest: Any) -> None:
        self._events.ended(key, EndReport(**rest))

    @handles(protocol.CommandFailed)
    def _failed(self, key: bytes, command: str, error: str) -> None:
        self._events.failed(key, command, error)
