"""Status callbacks: requests to the application that tell the progress of a call.

They are sent in order, one at a time for each call, in the background; their failure is logged and
never affects the call (reference: Status callbacks).
"""

from __future__ import annotations

import email.utils
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from rcml.ports import CallInfo, CallStatus, Direction, FetchError
from voiceengine.calls.fetcher import WebClient

log = Logger()

EVENTS = ("initiated", "ringing", "answered", "completed")
"""Call-progress events; the index is the SequenceNumber."""


@attrs.frozen(kw_only=True)
class ProgressCallback:
    """Where the progress of an outbound leg is told, and which events."""

    url: str
    method: str = "POST"
    events: frozenset[str] = frozenset(EVENTS)


@attrs.frozen(kw_only=True)
class StatusCallback:
    """Where the status of an inbound call is told."""

    url: str
    method: str = "POST"


class CallbackQueue:
    """The callbacks of one call, in order.

    Args:
        client: makes the requests.
        call_sid: for logs.
        journal: writes what was sent into the journal of the call.
    """

    def __init__(self, client: WebClient, call_sid: str, journal: Callable[..., None]) -> None:
        self._client = client
        self._call_sid = call_sid
        self._journal = journal
        self._waiting: deque[tuple[str, str, Sequence[tuple[str, str]]]] = deque()
        self._running = False
        self._task: Deferred[None] | None = None
        self._idle: list[Deferred[None]] = []

    def send(self, url: str, method: str, parameters: Sequence[tuple[str, str]]) -> None:
        """Queue one request."""
        self._waiting.append((url, "GET" if method.upper() == "GET" else "POST", parameters))
        if not self._running:
            self._running = True
            self._task = Deferred.fromCoroutine(self._work())
            self._task.addErrback(lambda f: log.failure("callbacks_failed", failure=f))

    async def _work(self) -> None:
        try:
            while self._waiting:
                try:
                    await self._one(*self._waiting.popleft())
                except Exception:
                    log.failure("callback_broken call={call}", call=self._call_sid)
        finally:
            self._running = False
            idle, self._idle = self._idle, []
            for waiter in idle:
                waiter.callback(None)

    async def _one(self, url: str, method: str, parameters: Sequence[tuple[str, str]]) -> None:
        settings = self._client.settings
        status = dict(parameters).get("CallStatus", "")
        try:
            await self._client.request(
                method,
                url,
                parameters,
                cookies=None,
                timeout=settings.callback_timeout,
                limit=settings.max_document_bytes,
            )
            self._journal("callback_sent", url=url, call_status=status)
        except FetchError as error:
            # any reply will do; what could not be delivered at all is worth a line
            if error.status is not None:
                self._journal("callback_sent", url=url, call_status=status, reply=error.status)
                return
            log.warn(
                "callback_failed call={call} url={url} reason={reason}",
                call=self._call_sid,
                url=error.url,
                reason=error.message,
            )
            self._journal("callback_failed", url=url, call_status=status, reason=error.message)

    @property
    def waiting(self) -> int:
        """How many wait for the one that is on its way."""
        return len(self._waiting)

    @property
    def busy(self) -> bool:
        """Whether something is on its way or waits."""
        return self._running

    def when_drained(self, told: Callable[[], None]) -> None:
        """Call back once nothing is waiting any more."""
        waiter: Deferred[None] = Deferred()
        waiter.addCallback(lambda _: told())
        self._idle.append(waiter)

    async def drained(self) -> None:
        """Wait until nothing is waiting any more."""
        if self._running:
            waiter: Deferred[None] = Deferred()
            self._idle.append(waiter)
            await waiter


def progress_parameters(
    info: CallInfo,
    event: str,
    *,
    status: CallStatus,
    at: float,
    parent_call_sid: str | None = None,
    duration: int | None = None,
    recording: Sequence[tuple[str, str]] = (),
) -> list[tuple[str, str]]:
    """Parameters of a call-progress callback (reference: Status callbacks).

    Args:
        info: the reported leg.
        event: one of EVENTS.
        status: its real status; `initiated` is told while it is still queued.
        at: time of the event, wall time in seconds.
        parent_call_sid: the call that dialed it, if any.
        duration: seconds of talk, for `completed`.
        recording: RecordingUrl and its companions, for `completed`.
    """
    real = "initiated" if event == "initiated" else status.value
    pairs = [
        ("InstanceId", info.instance_id),
        ("AccountSid", info.account_sid),
        ("CallSid", info.call_sid),
        ("From", info.from_),
        ("To", info.to),
        ("Direction", info.direction.value),
        ("CallerName", info.caller_name),
        ("ForwardedFrom", info.forwarded_from),
    ]
    if parent_call_sid:
        pairs.append(("ParentCallSid", parent_call_sid))
    pairs += [("CallStatus", real), ("StatusCallbackEvent", event)]
    if event == "completed":
        pairs.append(("CallDuration", str(duration or 0)))
        pairs += recording
    pairs += [
        ("Timestamp", rfc2822(at)),
        ("CallbackSource", "call-progress-events"),
        ("SequenceNumber", str(EVENTS.index(event))),
        ("ApiVersion", info.api_version),
        ("CallTimestamp", info.timestamp),
    ]
    return pairs


def event_of(status: CallStatus) -> str:
    """The progress event that a status stands for."""
    if status.terminal:
        return "completed"
    return {CallStatus.RINGING: "ringing", CallStatus.IN_PROGRESS: "answered"}.get(status, "initiated")


def is_outbound(info: CallInfo) -> bool:
    """Whether the engine made the leg."""
    return info.direction is not Direction.INBOUND


def rfc2822(at: float) -> str:
    """A Timestamp parameter."""
    return email.utils.format_datetime(datetime.fromtimestamp(at, UTC))
