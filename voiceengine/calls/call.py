"""One call: its record, its status, its leg, the document flow that runs on it."""

from __future__ import annotations

import datetime
import math
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import attrs
from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from media.legs import EndReport, RecordingReport
from rcml.interpreter import Source
from rcml.ports import (
    CallInfo,
    CallStatus,
    Conferences,
    Dialer,
    Ports,
    RecordSpec,
    ReferResult,
    StoredRecording,
)
from rcml.verbs.refer import refer_status
from voiceengine.calls.call_fetcher import CallFetcher
from voiceengine.calls.call_flow import CallFlow
from voiceengine.calls.call_progress import CallProgress
from voiceengine.calls.call_recordings import CallRecordings
from voiceengine.calls.callbacks import (
    CallbackQueue,
    ProgressCallback,
    StatusCallback,
    event_of,
    is_outbound,
)
from voiceengine.calls.leg import CallLeg
from voiceengine.calls.prompts import CallPrompts
from voiceengine.calls.quality import media_columns
from voiceengine.calls.records import CallRecords
from voiceengine.calls.status import can_change, final_status
from voiceengine.store.rows import API_VERSION, CallRow, ReferRow, new_sid

if TYPE_CHECKING:
    from voiceengine.calls.context import CallContext

log = Logger()


def timestamp(at: float) -> str:
    """ISO 8601 with milliseconds, UTC."""
    moment = datetime.datetime.fromtimestamp(at, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class CallWatcher(Protocol):
    """Who follows an outbound leg besides its callbacks: the Dial that made it."""

    def branch_rings(self, call: Call, *, early_media: bool) -> None:
        """It is being alerted, or sends audio before its answer."""
        ...

    def branch_answered(self, call: Call) -> None:
        """It was answered."""
        ...

    def branch_ended(self, call: Call) -> None:
        """It is over; its record is complete."""
        ...

    def branch_taken(self, call: Call, *, quietly: bool = False) -> None:
        """It goes its own way from now on (transfer, live modification).

        `quietly`: the document that dialed it must not go on: it is about to be stopped, or its call ended.
        """
        ...


class Joined(Protocol):
    """What joins a call with others: a pair, or a conference."""

    def holds(self, call: Call) -> None:
        """The call was put on hold, or taken off."""
        ...

    def mute(self, call: Call, muted: bool) -> None:
        """The call shall not be heard, or be heard again."""
        ...

    def speaks(self, call: Call, speaks: bool) -> None:
        """The party of the call began to speak, or ended."""
        ...


class CallServices(Protocol):
    """What a call gets from all calls together."""

    def dialer(self, call: Call) -> Dialer:
        """Makes the port that dials for a call."""
        ...

    def conferences(self, call: Call) -> Conferences:
        """Makes the port that joins a call with conferences."""
        ...

    def ended(self, call: Call) -> None:
        """A call is over, and its flow has done its last duties."""
        ...


class Call:
    """A live call; implements `voiceengine.calls.leg.LegOwner`.

    Args:
        context: what all calls share.
        row: its record; saved with every change.
        info: what applications are told of it.
        callback: where its progress is told.
        services: what it gets from all calls together.
    """

    def __init__(
        self,
        context: CallContext,
        row: CallRow,
        info: CallInfo,
        callback: StatusCallback | ProgressCallback | None,
        services: CallServices,
    ) -> None:
        self._context = context
        self.row = row
        self.key = secrets.token_hex(6)
        """Name of its leg in the edge and in the workers."""
        self.info = info
        self.progress = CallProgress(context, self, callback)
        self._services = services
        self._status = CallStatus(row.status)
        self.records = CallRecords(context.store, row.account_sid, row.sid, context.wall)
        self.recordings = CallRecordings(context, self)
        self.records.on_transcription = self.recordings.transcribe
        self.callbacks = CallbackQueue(context.web, row.sid, self.records.journal)
        self.leg = CallLeg(
            context.reactor, self, str(context.assets.beep), context.settings.media.answer_timeout
        )
        self.leg.outbound = is_outbound(info)
        self.lock = DeferredLock()
        self.next_source: Source | None = None
        """A document that was asked for before the first one was begun."""
        self.on_answered: Callable[[], None] | None = None
        self.watcher: CallWatcher | None = None
        self.joined: Joined | None = None
        self.application = ""
        """URL of its first document."""
        self.conference_account_sid = row.account_sid
        """Names of conferences are looked up here."""
        self.final_headers: dict[str, str] = {}
        """X- headers of the final response or BYE of the other side."""
        self.dialed = False
        """Whether it dialed somebody."""
        self.is_client = False
        """Whether its party is a client of this engine, who proved it."""
        self.kind = "SIP"
        """Who its party is: CLIENT, SIP or PSTN."""
        self.request_uri = ""
        """Request-URI of its INVITE."""
        self.implicit = False
        """Whether its document is nobody's: it dials what the caller dialed."""
        self.flow = CallFlow(
            context.reactor, self.leg, info, lambda: self.ports, context.interpreter, self._finish
        )
        self._ports: Ports | None = None
        self._created = context.reactor.seconds()
        self._answered_at: float | None = None
        self._limit: Any = None
        self._closed = False
        context.store.calls.save(row)
        context.metrics.call_started(info.direction.value)
        self.records.journal(
            "call_created",
            leg=self.key,
            direction=info.direction.value,
            account=row.account_sid,
            **{"from": info.from_, "to": info.to},
        )

    # -------------------------------------------------------------- status

    @property
    def sid(self) -> str:
        """The CallSid."""
        return self.row.sid

    @property
    def status(self) -> CallStatus:
        """Current status."""
        return self._status

    @property
    def response_headers(self) -> Sequence[tuple[str, str]]:
        """Headers of SIP messages that the engine generates for this call."""
        return (
            ("X-RestComm-ApiVersion", API_VERSION),
            ("X-RestComm-AccountSid", self.row.account_sid),
            ("X-RestComm-CallSid", self.row.sid),
        )

    def save(self, **changes: Any) -> None:
        """Change the record."""
        self.row = attrs.evolve(self.row, date_updated=self._context.wall(), **changes)
        self._context.store.calls.save(self.row)

    def change(self, status: CallStatus) -> bool:
        """Enter a status, tell the callbacks; false when the call cannot enter it."""
        if not can_change(self._status, status):
            return False
        self._context.metrics.call_changed(self._status.value, status.value)
        self._status = status
        self.records.journal("status", status=status.value)
        self.save(status=status.value)
        self.tell(event_of(status))
        return True

    def tell(self, event: str) -> None:
        """Send the callback for an event, if one is configured for it."""
        self.progress.tell(event)

    # -------------------------------------------------------------- flow

    @property
    def ports(self) -> Ports:
        """What documents act on."""
        if self._ports is None:
            context, messaging = self._context, self._context.messaging
            account, notify = self.row.account_sid, self.records.notify
            self._ports = Ports(
                leg=self.leg,
                fetcher=CallFetcher(context.web, self.leg),
                prompts=CallPrompts(
                    context.speech, context.audio, self.leg, self.row.account_sid, self.records
                ),
                records=self.records,
                dialer=self._services.dialer(self),
                conferences=self._services.conferences(self),
                messages=messaging.messages(self.info) if messaging else None,
                mail=messaging.mail(account, notify) if messaging else None,
            )
        return self._ports

    def run(self, source: Source) -> None:
        """Run a document flow on the leg to the end of the call; one that is running is stopped first."""
        self.flow.run(source)

    async def switch(self, source: Source) -> None:
        """Stop the running document and run another one (live modification)."""
        self.records.journal("modified", url=source.url)
        if self.leg.unattached or (self.leg.outbound and not self.leg.answered):
            self.next_source = source  # it has not begun; it begins with this one
            return
        self.flow.switch(source)

    async def stop(self, why: str, *, code: int) -> None:
        """End the call because a program asked for it (live modification)."""
        self.records.journal("stopped", reason=why)
        if self.leg.unattached:
            self.never_came(CallStatus.CANCELED, code=487, cause=why)
            return
        reason = f'RESTCOMM;cause={code};text="{why}"'
        self.leg.end(reason, wanted=CallStatus.CANCELED, code=603)
        await self.leg.hangup()

    def give_up(self, status: CallStatus, why: str) -> None:
        """End an outbound leg that nobody waits for any more; `status` is that of one not answered."""
        if self.leg.unattached:
            self.never_came(status, code=487, cause=why)
        else:
            self.leg.end(wanted=status)

    def start_ring_timer(self, seconds: float) -> None:
        """Give up an outbound leg that is not answered in time."""
        self._limit = self._context.reactor.callLater(seconds, self._not_answered)

    def _not_answered(self) -> None:
        self.records.journal("ring_timeout")
        self.leg.end(wanted=CallStatus.NO_ANSWER)

    # -------------------------------------------------------------- what the leg tells

    def farewell(self) -> tuple[str, int, str] | None:
        """Address and text of a BYE that the worker sends to the phone when the engine dies."""
        return self._context.edge.farewell(self.key)

    def leg_rings(self) -> None:
        """An outbound leg is being alerted."""
        self.change(CallStatus.RINGING)
        if self.watcher is not None:
            self.watcher.branch_rings(self, early_media=False)

    def leg_early_media(self) -> None:
        """An outbound leg sends audio before its answer."""
        self.change(CallStatus.RINGING)
        if self.watcher is not None:
            self.watcher.branch_rings(self, early_media=True)

    def leg_holds(self) -> None:
        """The leg was put on hold or taken off, by us or by its party."""
        if self.row.on_hold != self.leg.on_hold:
            self.save(on_hold=self.leg.on_hold)
        self.records.journal("hold", by_us=self.leg.on_hold, by_party=self.leg.held)
        if self.joined is not None:
            self.joined.holds(self)

    def leg_speaks(self, speaks: bool) -> None:
        """The party began to speak, or ended."""
        if self.joined is not None:
            self.joined.speaks(self, speaks)

    def leg_refers(self, target: str, result: ReferResult) -> None:
        """The party was asked to call somebody else: keep a record of it."""
        context = self._context
        account = context.store.accounts.get(self.row.account_sid)
        notified = result.notify_code or None
        context.store.refers.save(
            ReferRow(
                sid=new_sid("RF"),
                account_sid=self.row.account_sid,
                org_sid=account.organization_sid if account is not None else "",
                call_sid=self.sid,
                from_=self.info.from_ if not self.leg.outbound else self.info.to,
                to=target,
                call_status=refer_status(result) if notified is not None else None,
                refer_sip_response_code=result.code or None,
                notify_sip_response_code=notified,
            )
        )
        self.records.journal("referred", target=target, code=result.code, notify_code=result.notify_code)

    def mute(self, muted: bool) -> None:
        """Let nobody (and no recording) hear the party, or let it be heard again."""
        if self.row.muted == muted:
            return
        self.save(muted=muted)
        self.records.journal("mute", muted=muted)
        if self.joined is not None:
            self.joined.mute(self, muted)
        self.leg.mute(muted)

    def leg_answered(self, codec: str) -> None:
        """The leg was answered."""
        context = self._context
        wall = context.wall()
        self._answered_at = context.reactor.seconds()
        setup = self._answered_at - self._created
        context.metrics.answered(setup)
        self.save(start_time=wall, answer_time=wall, ring_duration=round(setup), codec=codec)
        if self._limit is not None and self._limit.active():
            self._limit.cancel()
        self._limit = context.reactor.callLater(context.max_seconds, self._too_long)
        self.change(CallStatus.IN_PROGRESS)
        if self.on_answered is not None:
            self.on_answered()
        if self.watcher is not None:
            self.watcher.branch_answered(self)

    @property
    def ring_seconds(self) -> int:
        """From its creation to its answer or end, or until now."""
        if self.row.ring_duration is not None:
            return self.row.ring_duration
        return int(self._context.reactor.seconds() - self._created + 0.5)

    @property
    def talk_seconds(self) -> int:
        """From its answer until now, or to its end; 0 when never answered."""
        if self.row.duration is not None:
            return self.row.duration
        if self._answered_at is None:
            return 0
        return int(self._context.reactor.seconds() - self._answered_at + 0.5)

    def _too_long(self) -> None:
        self.records.journal("call_limit", seconds=self._context.max_seconds)
        self.leg.end('SIP;cause=480;text="maximum call duration"')

    def leg_over(self, report: EndReport, wanted: CallStatus | None) -> None:
        """The leg is over: close the record, tell the callbacks."""
        context = self._context
        if self._limit is not None and self._limit.active():
            self._limit.cancel()
        answered = self._answered_at is not None
        status = final_status(answered=answered, code=report.code, lost=report.lost, wanted=wanted)
        seconds = context.reactor.seconds() - self._answered_at if self._answered_at is not None else 0.0
        cause = report.cause or report.phrase
        self.save(
            end_time=context.wall(),
            duration=math.floor(seconds + 0.5) if answered else 0,
            ring_duration=self.ring_seconds,
            cause=cause[:200] or None,
            sip_code=report.code or None,
            **media_columns(report.stats),
        )
        self.records.journal(
            "leg_ended", code=report.code, cause=cause, remote=report.remote, lost=report.lost, **report.stats
        )
        if report.lost:
            context.media_lost(self)
        context.edge.leg_over(self.key, self.row.sip_call_id or "", lost=report.lost)
        self.final_headers = {name: value for name, value in report.headers if name[:2].lower() == "x-"}
        self.change(status)
        watcher, self.watcher = self.watcher, None
        if watcher is not None:
            watcher.branch_ended(self)
        if not self.flow.running:
            self._finish()

    def never_came(self, status: CallStatus, *, code: int, cause: str) -> None:
        """End a call that never got a leg in a worker."""
        self.leg.never_came(
            EndReport(code=code, phrase="", cause=cause, remote=False, headers=[], stats={}), status
        )

    def _finish(self) -> None:
        if not self._closed and self.leg.ended:
            self._closed = True
            if self.application and not self.dialed:
                self._context.placement.learn(self.application, dials=False)
            self._context.metrics.call_ended(self._status.value)
            self._services.ended(self)

    # -------------------------------------------------------------- recordings

    def new_recording(self, spec: RecordSpec) -> tuple[str, Path]:
        """Sid and path for a recording."""
        return self.recordings.new(spec)

    async def recording_made(self, sid: str, report: RecordingReport | None) -> StoredRecording | None:
        """Store a recording, or drop one that holds nothing."""
        return await self.recordings.made(sid, report)
