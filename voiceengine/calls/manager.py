"""All calls: takes new INVITEs, creates and modifies calls for programs."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from media.pool import NoCapacity
from rcml.interpreter import Source
from rcml.ports import CallInfo, CallStatus, Conferences, Dialer, Direction, Level
from rcml.ports import Notice as StoredNotice
from voiceengine.calls.call import Call, timestamp
from voiceengine.calls.callbacks import CallbackQueue, ProgressCallback, StatusCallback
from voiceengine.calls.conferences import CallConferences, ConferenceBook
from voiceengine.calls.context import CallContext
from voiceengine.calls.dialer import CallDialer
from voiceengine.calls.implicit import dial_document
from voiceengine.calls.live import LiveControl
from voiceengine.calls.originate import Originator
from voiceengine.calls.outbound import Outbound
from voiceengine.calls.overload import TICK_SECONDS, Overload
from voiceengine.calls.records import store_notice
from voiceengine.calls.requests import CreateCall, ModifyCall, Operation, StartRecording
from voiceengine.calls.routing import Caller, ImplicitDial, Notice, Refuse, Router
from voiceengine.calls.supervision import Supervision
from voiceengine.calls.transfer import Transfers
from voiceengine.errors import CallControlError
from voiceengine.sip.invite import InboundInvite
from voiceengine.sip.sdp import SdpError
from voiceengine.store.rows import CallRow, RecordingRow, new_sid

log = Logger()

X_HEADERS = 32
CALLBACK_SECONDS = 5.0
"""How long the end of the engine waits for the last callbacks."""
_LEVELS = {"error": Level.ERROR, "warning": Level.WARNING}


def caller_headers(invite: InboundInvite) -> dict[str, str]:
    """Headers of an INVITE that applications are told: `X-...` and Diversion."""
    found: dict[str, str] = {}
    headers = invite.request.headers
    for name in headers.keys():
        if name.lower().startswith("x-") and len(found) < X_HEADERS:
            found[name] = headers[name]
        elif name.lower() == "diversion":
            found["Diversion"] = headers[name]
    return found


def forwarded_from(headers: Mapping[str, str]) -> str:
    """User part of a Diversion header."""
    value = headers.get("Diversion", "")
    uri = value.partition("<")[2].partition(">")[0] or value.partition(";")[0]
    user = uri.partition(":")[2].partition("@")
    return user[0].strip() if user[1] else ""


class CallManager:
    """Implements `sip.invite.InviteHandler`, `call.CallServices` and `calls.requests.CallControl`."""

    def __init__(self, context: CallContext, router: Router) -> None:
        self._context = context
        self._router = router
        self.calls: dict[str, Call] = {}
        self._draining = False
        self._empty: list[Deferred[None]] = []
        self.overload = Overload(context.settings.calls.max_lateness)
        self._ticker = LoopingCall(lambda: self.overload.tick(context.reactor.seconds()))
        self._ticker.clock = context.reactor
        self._telling: set[CallbackQueue] = set()
        """Queues of calls that are over, whose last callbacks are still on their way."""
        self._by_key: dict[str, Call] = {}
        self._outbound = Outbound(context, self)
        self._originator = Originator(context, self._outbound)
        self._live = LiveControl(context, self.calls)
        self.conference_book = ConferenceBook(context, self._keep_telling)
        self.supervision = Supervision(
            self.calls, self, lambda: float(context.reactor.seconds()), context.instance_id
        )
        context.edge.on_transfer = Transfers(context, self._by_key.get, lambda: self._router)

    def use_router(self, router: Router) -> None:
        """Route by another router from now on."""
        self._router = router

    # -------------------------------------------------------------- inbound

    @property
    def accepting(self) -> bool:
        """False while the engine drains or cannot keep up."""
        return not self._draining and not self.overload.refusing

    def start(self) -> None:
        """Watch how late the reactor is."""
        self._ticker.start(TICK_SECONDS, now=False)

    def stop(self) -> None:
        """Stop watching."""
        if self._ticker.running:
            self._ticker.stop()

    def invite(self, invite: InboundInvite) -> None:
        """A new INVITE from an identified caller."""
        context = self._context
        request = invite.request
        to = request.to_address.uri
        dialed = (to.user if context.settings.sip.use_to else request.uri.user) or request.uri.user or ""
        host = request.uri.host or to.host
        route = self._router.route(self._caller(invite), dialed, host)
        if isinstance(route, Refuse):
            self._notices(route.notices, route.account_sid)
            invite.refuse(route.code, route.phrase)
        elif isinstance(route, ImplicitDial):
            self._notices(route.notices, route.account_sid)
            ring = context.settings.sip.ring_timeout
            text = dial_document(route.kind, route.target, ring, caller_headers(invite))
            call = self._enter(invite, route.account_sid, dialed)
            call.implicit = True
            self._start(invite, call, Source(text=text), keep=1)
        else:
            callback = None
            if route.status_callback:
                callback = StatusCallback(url=route.status_callback, method=route.status_callback_method)
            call = self._enter(invite, route.account_sid, dialed, route.number_sid, callback)
            call.application = route.url
            call.conference_account_sid = route.number_account_sid or route.account_sid
            source = Source(
                url=route.url,
                method=route.method,
                fallback_url=route.fallback_url,
                fallback_method=route.fallback_method,
            )
            self._start(invite, call, source, keep=context.placement.keep(route.url))

    def _caller(self, invite: InboundInvite) -> Caller:
        identity = invite.identity
        if identity.client_sid is not None:
            client = self._context.store.clients.get(identity.client_sid)
            return Caller("client", client, invite.flow.host)
        return Caller("trunk" if identity.trunk else "outside", None, invite.flow.host)

    def _notices(self, notices: tuple[Notice, ...], account_sid: str | None) -> None:
        store = self._context.store
        owner = account_sid
        if owner is None:
            admin = store.accounts.super_admin()
            owner = admin.sid if admin is not None else ""
        for notice in notices:
            level = _LEVELS.get(notice.level)
            if level is None:
                log.info("notice code={code} message={message}", code=notice.code, message=notice.message)
                continue
            stored = StoredNotice(code=notice.code, level=level, message=notice.message)
            store_notice(store, stored, account_sid=owner, call_sid=None)

    def _enter(
        self,
        invite: InboundInvite,
        account_sid: str,
        dialed: str,
        number_sid: str | None = None,
        callback: StatusCallback | None = None,
    ) -> Call:
        """Enter the call of an INVITE."""
        context = self._context
        request = invite.request
        sender = request.from_address
        headers = caller_headers(invite)
        wall = context.wall()
        row = CallRow(
            sid=new_sid("CA"),
            instance_id=context.instance_id,
            account_sid=account_sid,
            phone_number_sid=number_sid,
            from_=sender.uri.user or "anonymous",
            to=dialed,
            caller_name=sender.name or None,
            forwarded_from=forwarded_from(headers) or None,
            direction=Direction.INBOUND.value,
            status=CallStatus.RINGING.value,
            sip_call_id=invite.call_id[:200],
            start_time=wall,
            date_created=wall,
            date_updated=wall,
        )
        info = CallInfo(
            call_sid=row.sid,
            instance_id=row.instance_id,
            account_sid=row.account_sid,
            from_=row.from_,
            to=dialed,
            direction=Direction.INBOUND,
            timestamp=timestamp(wall),
            caller_name=sender.name,
            forwarded_from=row.forwarded_from or "",
            sip_headers=headers,
        )
        call = self.new_call(row, info, callback)
        call.is_client = invite.identity.client_sid is not None
        call.kind = "CLIENT" if call.is_client else "PSTN" if invite.identity.trunk else "SIP"
        call.request_uri = str(request.uri)
        return call

    def _start(self, invite: InboundInvite, call: Call, source: Source, *, keep: int) -> None:
        call.tell("ringing")
        started = Deferred.fromCoroutine(self._connect(invite, call, source, keep))
        started.addErrback(self._not_started, invite, call)

    def _not_started(self, failure: Failure, invite: InboundInvite, call: Call) -> None:
        log.failure("call_not_started call={call}", failure=failure, call=call.sid)
        invite.refuse(500)
        if call.leg.unattached:
            call.never_came(CallStatus.FAILED, code=500, cause="internal error")
        else:
            call.leg.end(wanted=CallStatus.FAILED, code=500)

    async def _connect(self, invite: InboundInvite, call: Call, source: Source, keep: int) -> None:
        """Get a slot in a worker, pass the INVITE on, run the application."""
        pool = self._context.pool
        invite.on_cancel = lambda: call.never_came(CallStatus.CANCELED, code=487, cause="caller canceled")
        try:
            media = await pool.reserve(call.key.encode(), keep=keep)
        except NoCapacity:
            if not invite.cancelled and not call.leg.ended:
                invite.refuse(503, "", [("Retry-After", "5")])
                call.never_came(CallStatus.FAILED, code=503, cause="no media capacity")
            return
        if invite.cancelled:
            pool.release(media)
            return
        if call.leg.ended:  # ended over REST while it waited
            pool.release(media)
            invite.refuse(487)
            return
        invite.on_cancel = None
        call.leg.attach(media)
        invite.on_refused = call.leg.refused
        try:
            invite.forward(call.key, media)
        except SdpError as error:
            pool.release(media)
            text = str(error).replace('"', "'")
            invite.refuse(error.status, "", [("Warning", f'399 voiceengine "{text}"')])
            call.never_came(CallStatus.FAILED, code=error.status, cause=str(error))
            return
        call.run(call.next_source or source)

    # -------------------------------------------------------------- the table of calls

    def new_call(
        self, row: CallRow, info: CallInfo, callback: ProgressCallback | StatusCallback | None
    ) -> Call:
        """Enter a call."""
        call = Call(self._context, row, info, callback, self)
        self.calls[row.sid] = self._by_key[call.key] = call
        self.supervision.began(call)
        return call

    def dialer(self, call: Call) -> Dialer:
        """The port that dials for a call."""
        return CallDialer(self._context, self._outbound, call)

    def conferences(self, call: Call) -> Conferences:
        """The port that joins a call with conferences."""
        return CallConferences(self.conference_book, call)

    def _keep_telling(self, queue: CallbackQueue) -> None:
        """Let the last callbacks be delivered even when the engine stops."""
        if queue.busy:
            self._telling.add(queue)
            queue.when_drained(lambda: self._telling.discard(queue))

    def ended(self, call: Call) -> None:
        """A call is over."""
        self.supervision.ended(call)
        self.calls.pop(call.sid, None)
        self._by_key.pop(call.key, None)
        self._keep_telling(call.callbacks)
        if not self.calls:
            empty, self._empty = self._empty, []
            for waiter in empty:
                waiter.callback(None)

    async def drain(self, seconds: float) -> None:
        """Refuse new calls, let live ones finish for a while, then end them."""
        self._draining = True
        if self.calls:
            log.info("draining calls={calls} seconds={seconds}", calls=len(self.calls), seconds=seconds)
            await self._until_empty(seconds)
        for call in list(self.calls.values()):
            if call.leg.unattached:
                call.never_came(CallStatus.FAILED, code=503, cause="engine stops")
                continue
            call.leg.end('SIP;cause=503;text="engine stops"', wanted=CallStatus.FAILED, code=503)
        self.conference_book.close()
        if self.calls:
            await self._until_empty(2.0)
        for call in list(self.calls.values()):
            log.warn("call_abandoned call={call}", call=call.sid)
        waiting = DeferredList([Deferred.fromCoroutine(queue.drained()) for queue in self._telling])
        waiting.addTimeout(CALLBACK_SECONDS, self._context.reactor)
        try:
            await waiting
        except defer.TimeoutError:
            log.warn("callbacks_not_delivered calls={calls}", calls=len(self._telling))

    async def _until_empty(self, seconds: float) -> None:
        waiter: Deferred[None] = Deferred()
        self._empty.append(waiter)
        timer = self._context.reactor.callLater(
            seconds, lambda: None if waiter.called else waiter.callback(None)
        )
        try:
            await waiter
        finally:
            if timer.active():
                timer.cancel()
            if waiter in self._empty:
                self._empty.remove(waiter)

    # -------------------------------------------------------------- what is counted elsewhere

    def registrations(self) -> int:
        """Contacts that are registered."""
        return self._context.location.count()

    def media(self) -> Mapping[str, int]:
        """Counts of the media pool."""
        return self._context.pool.counts()

    def conferences_live(self) -> int:
        """Conferences that go on."""
        return len(self.conference_book.live)

    # -------------------------------------------------------------- programs

    async def create(self, request: CreateCall) -> list[CallRow]:
        """Start a call."""
        if self._draining:
            raise CallControlError("The engine is stopping and takes no new calls.", status=503)
        return await self._originator.create(request)

    async def modify(self, call_sid: str, change: ModifyCall) -> CallRow:
        """Change a live call."""
        return await self._live.modify(call_sid, change)

    async def operate(self, call_sid: str, operation: Operation) -> CallRow:
        """Do something to a call that is in progress."""
        return await self._live.operate(call_sid, operation)

    async def start_recording(self, call_sid: str, request: StartRecording) -> RecordingRow:
        """Record a call that is in progress."""
        return await self._live.start_recording(call_sid, request)

    async def change_recording(self, call_sid: str, recording_sid: str, status: str) -> RecordingRow:
        """Stop, pause or resume a recording that goes on."""
        return await self._live.change_recording(call_sid, recording_sid, status)
