"""The port that dials for a call: branches, their screening, their joining with the caller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from rcml.interpreter import OutcomeKind, Source
from rcml.parameters import standard_parameters
from rcml.ports import (
    CALL_EVENTS,
    BranchAnswered,
    BranchEnded,
    BranchId,
    BranchInfo,
    BranchMoved,
    BranchReady,
    BranchRefused,
    BranchRinging,
    CallStatus,
    DialError,
    DialTarget,
    Direction,
    Ended,
    LegEvent,
    PlaybackFailed,
    PlaybackFinished,
    Screening,
    TargetKind,
    TimerFired,
)
from voiceengine.calls.call import Call
from voiceengine.calls.callbacks import ProgressCallback
from voiceengine.calls.outbound import Outbound, Sender, Target
from voiceengine.calls.pair import Pair
from voiceengine.calls.routing import e164
from voiceengine.errors import CallControlError

if TYPE_CHECKING:
    from voiceengine.calls.context import CallContext

log = Logger()

BAD_CALLER = 13214
SENDING = "send-digits"
SENDING_SECONDS = 10.0
"""A key takes a quarter of a second, a pause half a one; a worker that tells nothing is not waited for."""
REFUSED = frozenset({"Dial", "Enqueue", "Refer"})
"""Verbs that a screening document may not have."""
NOT_SCREENED = frozenset({"InstanceId", "CallTimestamp"})
"""Standard parameters that a screening request lacks."""


@attrs.define(eq=False)
class _Branch:
    """One dialed leg."""

    call: Call
    target: DialTarget
    pair: Pair | None = None
    gone: bool = False
    """Ended, moved away, or no longer of interest: nothing more is told of it."""
    preparing: Deferred[None] | None = None


class CallDialer:
    """Implements `rcml.ports.Dialer` and `call.CallWatcher` for one call."""

    def __init__(self, context: CallContext, outbound: Outbound, call: Call) -> None:
        self._context = context
        self._outbound = outbound
        self._call = call
        self._branches: dict[BranchId, _Branch] = {}

    # -------------------------------------------------------------- what the verb asks for

    async def dial(
        self, target: DialTarget, *, caller_id: str | None = None, caller_name: str | None = None
    ) -> Sequence[BranchInfo]:
        """Start calling a target."""
        parent = self._call
        sender = self._sender(caller_id, caller_name)
        try:
            ways = await parent.leg.unless_ended(self._ways(target))
        except CallControlError as error:
            raise DialError(error.message, code=error.code or 11008) from None
        parent.dialed = True
        self._context.placement.learn(parent.application, dials=True)
        callback = None
        if target.callback is not None:
            callback = ProgressCallback(
                url=target.callback.url,
                method=target.callback.method,
                events=target.callback.events or CALL_EVENTS,
            )
        made = []
        for way in ways:
            call = self._outbound.new_call(
                way,
                account_sid=parent.row.account_sid,
                sender=sender,
                direction=Direction.OUTBOUND_DIAL,
                callback=callback,
                parent=parent,
            )
            call.conference_account_sid = parent.conference_account_sid
            call.watcher = self
            branch = BranchId(call.sid)
            self._branches[branch] = _Branch(call, target)
            parent.records.journal("dialed", call=call.sid, to=way.shown, kind=target.kind.value)
            made.append((call, way))
        near = parent.leg.media
        for call, way in made:
            self._outbound.begin(call, way, headers=target.headers, near=near)
        return [self.info(BranchId(call.sid)) for call, _ in made]

    def _sender(self, caller_id: str | None, caller_name: str | None) -> Sender:
        info = self._call.info
        user = info.from_
        if info.direction is not Direction.INBOUND and caller_id is None:
            user = info.to if info.direction is Direction.OUTBOUND_DIAL else info.from_
        if caller_id is not None:
            user = caller_id
            if self._context.settings.calls.normalize_numbers and any(c.isdigit() for c in caller_id):
                normal = e164(caller_id)
                if normal is None:
                    raise DialError(f"callerId {caller_id!r} is not a valid phone number.", code=BAD_CALLER)
                user = normal
        name = info.caller_name if caller_id is None else ""
        return Sender(user=user or "anonymous", name=name if caller_name is None else caller_name)

    async def _ways(self, target: DialTarget) -> list[Target]:
        account = self._call.row.account_sid
        if target.kind is TargetKind.CLIENT:
            return await self._outbound.to_client(target.address, account)
        if target.kind is TargetKind.NUMBER:
            return [await self._outbound.to_number(target.address, account, target.username, target.password)]
        return [await self._outbound.to_uri(target.address, target.username, target.password)]

    def prepare(self, branch: BranchId) -> None:
        """Send an answered leg its digits and screen it."""
        found = self._branches.get(branch)
        if found is None or found.gone:
            return
        if not found.target.send_digits and found.target.screening is None:
            self._tell(found, BranchReady(branch))
            return

        def failed(failure: Failure) -> None:
            if failure.check(CancelledError):
                return
            log.failure("branch_not_prepared call={call}", failure=failure, call=found.call.sid)
            self._tell(found, BranchRefused(branch))  # or the caller would hear ringing without end
            found.call.leg.end()

        found.preparing = Deferred.fromCoroutine(self._prepare(branch, found))
        found.preparing.addErrback(failed)

    async def _prepare(self, name: BranchId, branch: _Branch) -> None:
        call, target = branch.call, branch.target
        if target.send_digits:
            await _send_digits(call, target.send_digits)
        accepted = True
        if target.screening is not None and not (call.leg.ended or branch.gone):
            accepted = await self._screen(branch, target.screening)
        if branch.gone or call.leg.ended:
            return
        if accepted:
            self._tell(branch, BranchReady(name))
            return
        self._tell(branch, BranchRefused(name))
        call.leg.end()

    async def _screen(self, branch: _Branch, screening: Screening) -> bool:
        call = branch.call
        parameters = [
            pair
            for pair in standard_parameters(call.info, call.status, self._context.null_literals)
            if pair[0] not in NOT_SCREENED
        ]
        if branch.target.kind is TargetKind.SIP:
            parameters.append(("SipCallId", call.row.sip_call_id or ""))
            parameters += [(f"SipHeader_{n}", v) for n, v in call.leg.answer_headers.items()]
        settings = attrs.evolve(
            self._context.interpreter, hang_up_at_end=False, refused_verbs=REFUSED, ringing=None
        )
        source = Source(url=screening.url, method=screening.method, parameters=tuple(parameters))
        outcome = await call.flow.aside(source, settings, screening.seconds)
        kind = outcome.kind if outcome is not None else None
        call.records.journal("screened", outcome=kind.value if kind is not None else "stopped")
        return kind is OutcomeKind.ENDED

    def bridge(self, branch: BranchId, *, early: bool = False) -> None:
        """Let caller and dialed leg hear each other."""
        found = self._branches.get(branch)
        if found is None or found.gone or self._call.leg.ended:
            return
        if found.pair is None:
            found.pair = Pair(self._context, self._call, found.call)
        found.pair.join(early=early)

    def relay_digit(self, branch: BranchId, digit: str) -> None:
        """Send a key of the caller on to a bridged leg."""
        found = self._branches.get(branch)
        if found is not None and found.pair is not None:
            found.pair.send_digit(digit)

    def end(self, branch: BranchId, reason: str = "") -> None:
        """End a dialed leg."""
        found = self._branches.get(branch)
        if found is not None and not found.gone and not found.call.leg.ended:
            if found.call.leg.unattached:
                found.call.give_up(CallStatus.CANCELED, reason or "dial ended")
            else:
                found.call.leg.end(reason, wanted=CallStatus.CANCELED)

    def cancel(self, branch: BranchId, status: CallStatus) -> None:
        """CANCEL a ringing leg."""
        found = self._branches.get(branch)
        if found is not None and not found.gone and not found.call.leg.ended:
            found.call.give_up(status, "not answered" if status is CallStatus.NO_ANSWER else "canceled")

    def info(self, branch: BranchId) -> BranchInfo:
        """What is known of a branch."""
        found = self._branches[branch]
        row = found.call.row
        sip = found.target.kind is TargetKind.SIP
        return BranchInfo(
            branch=branch,
            call_sid=row.sid,
            status=found.call.status,
            ring_seconds=found.call.ring_seconds,
            talk_seconds=found.call.talk_seconds,
            sip=sip,
            sip_call_id=(row.sip_call_id or "") if sip else "",
            sip_code=row.sip_code or (200 if found.call.leg.answered else 0),
            sip_headers=dict(found.call.final_headers) if sip else {},
        )

    def close(self) -> None:
        """The Dial is over."""
        for branch, found in list(self._branches.items()):
            self._split(found)
            self.end(branch)
            found.gone = True
        self._branches.clear()  # a call may dial again and again

    # -------------------------------------------------------------- what the legs tell

    def _tell(self, branch: _Branch, event: LegEvent) -> None:
        if not branch.gone:
            self._call.leg.post(event)

    def _of(self, call: Call) -> _Branch | None:
        return self._branches.get(BranchId(call.sid))

    def _split(self, branch: _Branch) -> None:
        pair, branch.pair = branch.pair, None
        if pair is not None:
            pair.split()

    def branch_rings(self, call: Call, *, early_media: bool) -> None:
        """A dialed leg is being alerted."""
        if branch := self._of(call):
            self._tell(branch, BranchRinging(branch=BranchId(call.sid), early_media=early_media))

    def branch_answered(self, call: Call) -> None:
        """A dialed leg was answered; too late for one that nobody waits for any more."""
        branch = self._of(call)
        if branch is None or branch.gone:
            call.leg.end()
        else:
            self._tell(branch, BranchAnswered(BranchId(call.sid)))

    def branch_ended(self, call: Call) -> None:
        """A dialed leg is over."""
        if branch := self._of(call):
            self._split(branch)
            self._tell(branch, BranchEnded(self.info(BranchId(call.sid))))
            branch.gone = True

    def branch_taken(self, call: Call, *, quietly: bool = False) -> None:
        """Let a dialed leg go its own way; the Dial is told that it moved, unless its own end is near."""
        branch = self._of(call)
        if branch is None or branch.gone:
            return
        branch.gone = True  # the Dial goes on at once, and must not end this leg
        self._split(branch)
        call.watcher = None
        if branch.preparing is not None:
            branch.preparing.cancel()  # a document that is run on the leg gets its events
        if not quietly:
            self._call.leg.post(BranchMoved(self.info(BranchId(call.sid))))


async def _send_digits(call: Call, digits: str) -> None:
    """Send keys on a leg that no document reads, and wait until they are sent."""
    playback = call.leg.send_digits(digits)
    call.leg.start_timer(SENDING, len(digits) + SENDING_SECONDS)
    while True:
        event = await call.leg.next_event()
        if isinstance(event, Ended) or event == TimerFired(SENDING):
            return
        if isinstance(event, PlaybackFinished | PlaybackFailed) and event.playback == playback:
            return
