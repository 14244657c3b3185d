"""What a worker tells, on its way to the listeners of its legs."""

from __future__ import annotations

from typing import Protocol

from twisted.logger import Logger

from media.legs import EndReport, LegListener, MediaLeg, RecordingReport
from media.worker_record import Worker

log = Logger()


class EventPool(Protocol):
    """Who counts workers, slots and frames."""

    def worker_ready(self, worker: Worker, pid: int, sip_port: int) -> None:
        """A worker can take legs."""
        ...

    def leg_ended(self, leg: MediaLeg, report: EndReport) -> None:
        """A leg is over."""
        ...

    def link_closed(self, lost: int, concealed: int) -> None:
        """The link of a room was closed; frames of 20 ms."""
        ...


class Events:
    """Implements `media.link.WorkerEvents` for one worker."""

    def __init__(self, pool: EventPool, worker: Worker) -> None:
        self._pool = pool
        self._worker = worker

    def _listener(self, key: bytes) -> LegListener | None:
        leg = self._worker.legs.get(key)
        return leg.listener if leg is not None else None

    def ready(self, pid: int, sip_port: int) -> None:  # noqa: D102 - see media.link
        self._pool.worker_ready(self._worker, pid, sip_port)

    def incoming(self, key: bytes) -> None:  # noqa: D102
        if listener := self._listener(key):
            listener.leg_incoming()

    def progress(self, key: bytes, code: int, phrase: str, headers: list[list[str]]) -> None:  # noqa: D102
        if listener := self._listener(key):
            listener.leg_progress(code, phrase, headers)

    def media(self, key: bytes, codec: str, held: bool, early: bool) -> None:  # noqa: D102
        if listener := self._listener(key):
            listener.leg_media(codec, held, early)

    def digit(self, key: bytes, digit: str, method: str) -> None:  # noqa: D102
        if listener := self._listener(key):
            listener.leg_digit(digit, method)

    def playback_done(self, key: bytes, playback: str, error: str) -> None:  # noqa: D102
        if listener := self._listener(key):
            listener.leg_playback_done(playback, error)

    def recording_done(self, key: bytes, report: RecordingReport) -> None:  # noqa: D102
        if listener := self._listener(key):
            listener.leg_recording_done(report)

    def speaking(self, key: bytes, speaks: bool) -> None:  # noqa: D102
        if listener := self._listener(key):
            listener.leg_speaks(speaks)

    def reinvited(self, key: bytes, held: bool, code: int) -> None:  # noqa: D102
        if listener := self._listener(key):
            listener.leg_reinvited(held, code)

    def referred(self, key: bytes, code: int, notify_code: int, final: bool) -> None:  # noqa: D102
        if listener := self._listener(key):
            listener.leg_referred(code, notify_code, final)

    def link_closed(self, room: bytes, received: int, lost: int, concealed: int) -> None:  # noqa: D102
        self._pool.link_closed(lost, concealed)

    def ended(self, key: bytes, report: EndReport) -> None:  # noqa: D102
        leg = self._worker.legs.get(key)
        if leg is not None:
            self._pool.leg_ended(leg, report)

    def failed(self, key: bytes, command: str, error: str) -> None:  # noqa: D102
        log.warn(
            "media_command_failed leg={leg} command={command} error={error}",
            leg=key.decode("ascii", "replace"),
            command=command,
            error=error,
        )
