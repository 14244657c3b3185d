"""All calls: takes new INVITEs, creates and modifies calls for programs."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from media.pool import NoCapacity
from rcml.interpreter import Source
from rcml.ports import CallInfo, CallStatus, Direction, Level
from rcml.ports import Notice as StoredNotice
from voiceengine.calls.call import Call, timestamp
from voiceengine.calls.callbacks import CallbackQueue, StatusCallback
from voiceengine.calls.context import CallContext
from voiceengine.calls.originate import Originator
from voiceengine.calls.overload import TICK_SECONDS, Overload
from voiceengine.calls.records import store_notice
from voiceengine.calls.requests import CreateCall, ModifyCall
from voiceengine.calls.routing import Caller, ImplicitDial, Notice, Refuse, Router, RunApplication
from voiceengine.errors import CallControlError
from voiceengine.sip.invite import InboundInvite
from voiceengine.sip.sdp import SdpError
from voiceengine.store.rows import CallRow, new_sid

log = Logger()

X_HEADERS = 32
CALLBACK_SECONDS = 5.0
"""How long the end of the engine waits for the last callbacks."""
OVER = "Call is already completed."
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
    """Implements `sip.invite.InviteHandler` and `calls.requests.CallControl`."""

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
        self._originator = Originator(context, self)

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
        if isinstance(route, ImplicitDial):
            self._notices(route.notices, route.account_sid)
            notice = Notice(
                11001,
                "warning",
                f"Calls to {route.kind} {route.target!r} need Dial, which this version lacks.",
            )
            route = Refuse(501, "Dial Is Not Available", (notice,), route.account_sid)
        if isinstance(route, Refuse):
            self._notices(route.notices, route.account_sid)
            invite.refuse(route.code, route.phrase)
            return
        self._start(invite, route, dialed)

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

    def _start(self, invite: InboundInvite, route: RunApplication, dialed: str) -> None:
        context = self._context
        request = invite.request
        sender = request.from_address
        headers = caller_headers(invite)
        wall = context.wall()
        row = CallRow(
            sid=new_sid("CA"),
            instance_id=context.instance_id,
            account_sid=route.account_sid,
            phone_number_sid=route.number_sid,
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
        callback = None
        if route.status_callback:
            callback = StatusCallback(url=route.status_callback, method=route.status_callback_method)
        call = self.new_call(row, info, callback)
        call.tell("ringing")
        source = Source(
            url=route.url,
            method=route.method,
            fallback_url=route.fallback_url,
            fallback_method=route.fallback_method,
        )
        started = Deferred.fromCoroutine(self._connect(invite, call, source))
        started.addErrback(lambda f: log.failure("call_not_started call={call}", failure=f, call=call.sid))

    async def _connect(self, invite: InboundInvite, call: Call, source: Source) -> None:
        """Get a slot in a worker, pass the INVITE on, run the application."""
        pool = self._context.pool
        invite.on_cancel = lambda: call.never_came(CallStatus.CANCELED, code=487, cause="caller canceled")
        try:
            media = await pool.reserve(call.key.encode())
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
        self,
        row: CallRow,
        info: CallInfo,
        callback: object,
    ) -> Call:
        """Enter a call."""
        call = Call(self._context, row, info, callback, self._ended)  # type: ignore[arg-type]
        self.calls[row.sid] = call
        return call

    def _ended(self, call: Call) -> None:
        self.calls.pop(call.sid, None)
        if call.callbacks.busy:
            self._telling.add(call.callbacks)
            call.callbacks.when_drained(lambda: self._telling.discard(call.callbacks))
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

    # -------------------------------------------------------------- programs

    async def create(self, request: CreateCall) -> list[CallRow]:
        """Start a call."""
        if self._draining:
            raise CallControlError("The engine is stopping and takes no new calls.", status=503)
        return await self._originator.create(request)

    async def modify(self, call_sid: str, change: ModifyCall) -> CallRow:
        """Change a live call: Status first, then Url."""
        call = self.calls.get(call_sid)
        if call is None or call.leg.ended:
            raise CallControlError(OVER, status=410, code=1100)
        await call.lock.acquire()
        try:
            return await self._modify(call, change)
        finally:
            call.lock.release()

    async def _modify(self, call: Call, change: ModifyCall) -> CallRow:
        if call.leg.ended:
            raise CallControlError(OVER, status=410, code=1100)
        if change.status_callback:
            call.replace_callback(change.status_callback, change.status_callback_method)
        if change.status == "canceled" and call.status in (CallStatus.QUEUED, CallStatus.RINGING):
            await call.stop("call canceled by request", code=1102)
        elif change.status == "completed":
            await call.stop("call ended by request", code=1101)
        elif change.rcml is not None or change.url:
            source = Source(
                url=change.url or "",
                method=change.method,
                fallback_url=change.fallback_url,
                fallback_method=change.fallback_method,
                text=change.rcml,
            )
            await call.switch(source)
        return call.row
