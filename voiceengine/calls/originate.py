"""Outbound calls: to clients, numbers and SIP URIs."""

from __future__ import annotations

import dataclasses
import secrets
from typing import TYPE_CHECKING

import attrs
from sipmessage import URI, Address
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from media.pool import NoCapacity
from media.protocol import LEG_HEADER
from rcml.interpreter import Source
from rcml.ports import CallInfo, CallStatus, Direction
from voiceengine.calls.call import Call, timestamp
from voiceengine.calls.callbacks import ProgressCallback
from voiceengine.calls.requests import CreateCall
from voiceengine.calls.routing import e164
from voiceengine.errors import CallControlError
from voiceengine.sip.transport import Flow
from voiceengine.store.rows import CallRow, new_sid

if TYPE_CHECKING:
    from voiceengine.calls.context import CallContext
    from voiceengine.calls.manager import CallManager

log = Logger()

MAX_URI = 255


@attrs.frozen(kw_only=True)
class Target:
    """Where one outbound leg goes."""

    uri: str
    """Request-URI."""
    flow: Flow
    shown: str
    """The `to` of the record: the user part."""
    username: str = ""
    password: str = attrs.field(default="", repr=False)


class Originator:
    """Creates outbound calls."""

    def __init__(self, context: CallContext, manager: CallManager) -> None:
        self._context = context
        self._manager = manager

    async def create(self, request: CreateCall) -> list[CallRow]:
        """Start a call; one leg per device of a client, of which the first to answer wins.

        Raises:
            CallControlError: the target cannot be reached or is malformed.
        """
        targets = await self._targets(request)
        calls = [self._call(request, target) for target in targets]
        won: list[Call] = []
        for call, target in zip(calls, targets, strict=True):
            others = [other for other in calls if other is not call]
            call.on_answered = lambda call=call, others=others: self._answered(call, others, won, request)
            started = Deferred.fromCoroutine(self._dial(call, target, request))
            started.addErrback(_not_dialed, call.sid)
        return [call.row for call in calls]

    # -------------------------------------------------------------- targets

    async def _targets(self, request: CreateCall) -> list[Target]:
        to = request.to.strip()
        if "@" in to:
            return [await self._to_uri(to, request)]
        if to.startswith("client"):
            return await self._to_client(to.partition(":")[2] or to, request)
        return [await self._to_number(to, request)]

    async def _to_uri(self, to: str, request: CreateCall) -> Target:
        text = to if to.lower().startswith(("sip:", "sips:")) else f"sip:{to}"
        try:
            if len(text) > MAX_URI:
                raise ValueError("it is too long")
            uri = URI.parse(text)
        except ValueError as error:
            raise CallControlError(f"{to} is not a valid SIP URI: {error}", status=400) from None
        flow = await self._reach(uri)
        return Target(
            uri=str(uri),
            flow=flow,
            shown=uri.user or uri.host,
            username=request.username or "",
            password=request.password or "",
        )

    async def _reach(self, uri: URI) -> Flow:
        try:
            return await self._context.edge.flow_to_uri(uri)
        except OSError as error:
            raise CallControlError(f"{uri} cannot be reached: {error}", status=500, code=11008) from None

    async def _to_client(self, name: str, request: CreateCall) -> list[Target]:
        context = self._context
        if name.count(":"):
            raise CallControlError(f"{request.to} is an invalid client identifier.", status=400)
        client = context.store.clients.by_login(name)
        bindings = (
            context.location.of_client(context.access.aor(client), client) if client is not None else []
        )
        targets = []
        for binding in bindings:
            try:
                flow = await context.edge.flow_to_binding(binding)
            except (OSError, ValueError) as error:
                log.info(
                    "binding_unreachable contact={contact} reason={reason}",
                    contact=binding.contact,
                    reason=str(error),
                )
                continue
            targets.append(Target(uri=binding.contact, flow=flow, shown=name))
        if not targets:
            raise CallControlError(
                f"The SIP Client {name} is not registered or does not exist", status=404, code=11008
            )
        return targets

    async def _to_number(self, to: str, request: CreateCall) -> Target:
        context = self._context
        proxy = context.settings.sip.outbound_proxy
        number = to
        if context.settings.calls.normalize_numbers:
            number = e164(to) or ""
            if not number:
                raise CallControlError(f"{to} is not a valid phone number.", status=400)
        if not proxy.uri:
            raise CallControlError(
                f"{to} cannot be called: no outbound proxy is configured (setting sip.outbound_proxy.uri).",
                status=500,
                code=11008,
            )
        try:
            target = dataclasses.replace(URI.parse(proxy.uri), user=number)
        except ValueError as error:
            raise CallControlError(
                f"The outbound proxy {proxy.uri} is no SIP URI: {error}", status=500
            ) from None
        return Target(
            uri=str(target),
            flow=await self._reach(target),
            shown=number,
            username=request.username or proxy.username,
            password=request.password or proxy.password,
        )

    # -------------------------------------------------------------- legs

    def _call(self, request: CreateCall, target: Target) -> Call:
        context = self._context
        wall = context.wall()
        from_user, name = caller(request.from_)
        row = CallRow(
            sid=new_sid("CA"),
            instance_id=context.instance_id,
            account_sid=request.account_sid,
            from_=from_user,
            to=target.shown,
            caller_name=name or None,
            direction=Direction.OUTBOUND_API.value,
            status=CallStatus.QUEUED.value,
            sip_call_id=f"{secrets.token_hex(12)}@{context.access.realm}",
            start_time=wall,
            date_created=wall,
            date_updated=wall,
        )
        info = CallInfo(
            call_sid=row.sid,
            instance_id=row.instance_id,
            account_sid=row.account_sid,
            from_=from_user,
            to=target.shown,
            direction=Direction.OUTBOUND_API,
            timestamp=timestamp(wall),
            caller_name=name,
        )
        callback = None
        if request.status_callback:
            callback = ProgressCallback(
                url=request.status_callback,
                method=request.status_callback_method,
                events=request.status_callback_events,
            )
        return self._manager.new_call(row, info, callback)

    async def _dial(self, call: Call, target: Target, request: CreateCall) -> None:
        context = self._context
        call_id = call.row.sip_call_id or ""
        try:
            media = await context.pool.reserve(call.key.encode())
        except NoCapacity:
            call.never_came(CallStatus.FAILED, code=503, cause="no media capacity")
            return
        if call.leg.ended:
            context.pool.release(media)
            return
        call.leg.attach(media)
        context.edge.expect(call_id, call.key, media, target.flow)
        host = target.flow.listener.public_host
        sender = Address(uri=URI(scheme="sip", user=call.info.from_, host=host), name=call.info.caller_name)
        call.tell("initiated")
        media.originate(
            target.uri,
            str(sender),
            call_id,
            [*call.response_headers, *(h for h in request.headers if h[0].lower() != LEG_HEADER.lower())],
            target.username,
            target.password,
        )
        call.start_ring_timer(request.timeout)

    def _answered(self, call: Call, others: list[Call], won: list[Call], request: CreateCall) -> None:
        if won:  # another device was first, by a moment
            call.leg.end()
            return
        won.append(call)
        for other in others:
            if other.leg.unattached:
                other.never_came(CallStatus.CANCELED, code=487, cause="answered by another device")
            else:
                other.leg.end(wanted=CallStatus.CANCELED)
        if request.record:
            call.record_all()
        source = Source(
            url=request.url or "",
            method=request.method,
            fallback_url=request.fallback_url,
            fallback_method=request.fallback_method,
            text=request.rcml,
        )
        call.run(call.next_source or source)


def _not_dialed(failure: Failure, sid: str) -> None:
    log.failure("call_not_dialed call={call}", failure=failure, call=sid)


def caller(text: str) -> tuple[str, str]:
    """User part and display name of a From as programs give it: a number, a name or a SIP URI."""
    text = text.strip()
    name = ""
    if "<" in text and text.endswith(">"):
        name, _, text = text[:-1].partition("<")
        name = name.strip().strip('"')
    if text.lower().startswith(("sip:", "sips:")):
        try:
            return URI.parse(text).user or "anonymous", name
        except ValueError:
            text = text.partition(":")[2].partition("@")[0]
    if text.startswith("client:"):
        text = text.partition(":")[2]
    return text.partition("@")[0] or "anonymous", name
