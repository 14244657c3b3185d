"""The records of messages: one place that changes them, and tells their changes to applications."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from voiceengine.calls.callbacks import CallbackQueue
from voiceengine.calls.fetcher import WebClient
from voiceengine.calls.records import mask
from voiceengine.messages.delivery import DeliveryReport, Handover
from voiceengine.messages.requests import ERRORS
from voiceengine.store.rows import MessageRow
from voiceengine.store.store import Store

log = Logger()

CALLBACK_SECONDS: Final = 5.0
"""How long the end of the engine waits for the last callbacks."""

_RANK: Final = {"queued": 0, "sending": 1, "sent": 2}
_FINAL: Final = 3
_TOLD: Final = frozenset({"sent", "failed", "delivered", "undelivered"})


def is_client(to: str) -> bool:
    """Whether a destination is a client of this platform."""
    return to.lower().startswith("client:")


def callback_parameters(row: MessageRow) -> list[tuple[str, str]]:
    """Parameters of a status callback (reference: SMS, status callback)."""
    pairs = [("MessageSid", row.sid), ("MessageStatus", row.status)]
    if row.error_code is not None:
        pairs.append(("ErrorCode", str(row.error_code)))
    return [
        *pairs,
        ("AccountSid", row.account_sid),
        ("From", row.from_),
        ("To", row.to),
        ("Body", row.body),
    ]


class Ledger:
    """Messages on their way. A status never goes back; what is over is only in the store.

    Args:
        store: where the records are kept.
        web: requests the status callbacks.
        wall: wall time, seconds.
    """

    def __init__(self, store: Store, web: WebClient, wall: Callable[[], float]) -> None:
        self._store = store
        self._web = web
        self._wall = wall
        self._live: dict[str, MessageRow] = {}
        self._early: dict[str, DeliveryReport] = {}
        """Reports that came before the answer of the next hop."""
        self._reported: dict[str, bool] = {}
        """Messages whose record is being read for a report, and whether their text was removed meanwhile."""
        self._queues: dict[str, CallbackQueue] = {}

    @property
    def live(self) -> tuple[MessageRow, ...]:
        """Messages that are queued, held or being sent."""
        return tuple(self._live.values())

    def get(self, sid: str) -> MessageRow | None:
        """A message on its way."""
        return self._live.get(sid)

    def add(self, row: MessageRow) -> None:
        """Enter a message; one that was received is over at once."""
        self._store.messages.save(row)
        if row.status in _RANK:
            self._live[row.sid] = row

    def adopt(self, row: MessageRow) -> None:
        """Take a message that an earlier run left."""
        self._live[row.sid] = row

    def forget(self, sid: str) -> None:
        """Write a message no more: its record is being removed."""
        self._live.pop(sid, None)
        self._early.pop(sid, None)
        self._reported.pop(sid, None)

    def change(self, sid: str, **changes: Any) -> MessageRow | None:
        """Change the record of a message on its way."""
        row = self._live.get(sid)
        if row is None:
            return None
        self._live[sid] = row = attrs.evolve(row, date_updated=self._wall(), **changes)
        self._store.messages.save(row)
        return row

    def redact(self, row: MessageRow) -> MessageRow:
        """Forget the text of a message; returns its record."""
        changed = self.change(row.sid, body="")
        if changed is None:
            changed = attrs.evolve(row, body="", date_updated=self._wall())
            self._store.messages.save(changed)
            if row.sid in self._reported:
                self._reported[row.sid] = True
        return changed

    def hold(self, sid: str, until: float) -> None:
        """Let a message wait for a client."""
        self.change(sid, status="queued", held_until=until)

    def sending(self, sid: str) -> MessageRow | None:
        """A message that waited goes out."""
        return self.change(sid, status="sending", held_until=None)

    def handed(self, sid: str, handover: Handover) -> None:
        """The next hop has answered."""
        row = self._live.get(sid)
        if row is None or handover.status == "held":
            return
        if handover.status == "failed":
            self._status(row, "failed", handover.error)
            return
        row = self._status(attrs.evolve(row, date_sent=self._wall()), "sent")
        report = self._early.pop(sid, None)
        if handover.status == "delivered":
            self._status(row, "delivered")
        elif report is not None:
            self._report(row, report)
        self._live.pop(sid, None)

    async def report(self, report: DeliveryReport) -> bool:
        """A delivery report came; returns whether it said something new of a message that is known."""
        row = self._live.get(report.sid)
        if row is not None:
            return self._early.setdefault(report.sid, report) is report
        if report.sid in self._reported:
            return False  # the first one counts
        self._reported[report.sid] = False
        try:
            row = await self._store.messages.get(report.sid)
            if row is None or row.status != "sent" or report.sid not in self._reported:
                return False
            self._report(attrs.evolve(row, body="") if self._reported[report.sid] else row, report)
            return True
        finally:
            self._reported.pop(report.sid, None)

    def _report(self, row: MessageRow, report: DeliveryReport) -> None:
        if report.delivered:
            self._status(row, "delivered")
        else:
            self._status(row, "undelivered", report.error)

    def _status(self, row: MessageRow, status: str, error: int | None = None) -> MessageRow:
        old, new = _RANK.get(row.status, _FINAL), _RANK.get(status, _FINAL)
        if new <= old:
            return row
        row = attrs.evolve(
            row,
            status=status,
            error_code=error,
            error_message=None if error is None else ERRORS.get(error, ERRORS[30008]),
            held_until=None,
            date_updated=self._wall(),
        )
        self._store.messages.save(row)
        if new == _FINAL:
            self.forget(row.sid)
        else:
            self._live[row.sid] = row
        log.info(
            "message_status message={message} account={account} status={status} error={error}",
            message=row.sid,
            account=row.account_sid,
            status=status,
            error=error,
        )
        self._tell(row)
        return row

    # -------------------------------------------------------------- callbacks

    def _tell(self, row: MessageRow) -> None:
        if not row.status_callback or is_client(row.to) or row.status not in _TOLD:
            return
        queue = self._queues.get(row.sid)
        if queue is None:

            def note(event: str, **fields: object) -> None:
                log.debug(
                    "message_callback message={message} step={step} {detail}",
                    message=row.sid,
                    step=event,
                    detail=mask(str(fields)),
                )

            queue = self._queues[row.sid] = CallbackQueue(self._web, row.sid, note)
        queue.send(row.status_callback, row.status_callback_method, callback_parameters(row))
        queue.when_drained(lambda: self._told(row.sid))

    def _told(self, sid: str) -> None:
        queue = self._queues.get(sid)
        if queue is not None and not queue.busy:
            del self._queues[sid]

    async def drained(self, reactor: Any) -> None:
        """Wait a while until the last callbacks were sent."""
        queues = list(self._queues.values())
        waiting = DeferredList([Deferred.fromCoroutine(x.drained()) for x in queues], consumeErrors=True)
        waiting.addTimeout(CALLBACK_SECONDS, reactor)
        await waiting
        if self._queues:
            log.warn("message_callbacks_not_delivered messages={messages}", messages=len(self._queues))


def headers_of(row: MessageRow) -> tuple[tuple[str, str], ...]:
    """The `X-` headers that a record keeps."""
    try:
        found = json.loads(row.headers)
    except ValueError:
        return ()
    if not isinstance(found, dict):
        return ()
    return tuple((str(name), str(value)) for name, value in found.items())
