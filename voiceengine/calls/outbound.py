"""Outbound legs: where they go, and how they are started."""

from __future__ import annotations

import dataclasses
import secrets
from typing import TYPE_CHECKING

import attrs
from sipmessage import URI, Address
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from media.legs import MediaLeg
from media.pool import NoCapacity
from media.protocol import LEG_HEADER
from rcml.ports import CallInfo, CallStatus, Direction
from voiceengine.calls.call import Call, timestamp
from voiceengine.calls.callbacks import ProgressCallback
from voiceengine.calls.trunks import number_for, proxy_for
from voiceengine.errors import CallControlError
from voiceengine.sip.transport import Flow
from voiceengine.store.rows import CallRow, new_sid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voiceengine.calls.context import CallContext
    from voiceengine.calls.manager import CallManager

log = Logger()

MAX_URI = 255
OURS = (LEG_HEADER.lower(), "x-restcomm-")
"""Headers that only the engine writes."""
NOT_REACHED = 11008


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
    from_host: str = ""
    """Host of From; empty: the engine's own."""
    from_user: str = ""
    """User of From; empty: the caller's."""
    asserted: bool = False
    """Whether the caller is told in P-Asserted-Identity as well."""
    client: bool = False
    """Whether it is a device of a client, which registered."""
    kind: str = "SIP"
    """Whom it reaches: CLIENT, SIP or PSTN."""


@attrs.frozen(kw_only=True)
class Sender:
    """Who an outbound leg comes from."""

    user: str
    name: str = ""


class Outbound:
    """Finds targets and starts legs."""

    def __init__(self, context: CallContext, manager: CallManager) -> None:
        self._context = context
        self._manager = manager

    # -------------------------------------------------------------- targets

    async def to_uri(self, to: str, username: str = "", password: str = "") -> Target:
        """Reach a SIP URI.

        Raises:
            CallControlError: it is malformed or cannot be reached.
        """
        text = to if to.lower().startswith(("sip:", "sips:")) else f"sip:{to}"
        try:
            if len(text) > MAX_URI:
                raise ValueError("it is too long")
            uri = URI.parse(text)
        except ValueError as error:
            raise CallControlError(f"{to} is not a valid SIP URI: {error}", status=400) from None
        flow = await self._reach(uri)
        return Target(
            uri=str(uri), flow=flow, shown=uri.user or uri.host, username=username, password=password
        )

    async def _reach(self, uri: URI) -> Flow:
        try:
            return await self._context.edge.flow_to_uri(uri)
        except OSError as error:
            raise CallControlError(
                f"{uri} cannot be reached: {error}", status=500, code=NOT_REACHED
            ) from None

    async def to_client(self, name: str, account_sid: str) -> list[Target]:
        """Reach a client: every device that is registered.

        Raises:
            CallControlError: there is no such client in the account's organization, or it has no device.
        """
        context = self._context
        account = context.store.accounts.get(account_sid)
        organization = account.organization_sid if account is not None else None
        client = context.store.clients.by_login(name, organization) if organization is not None else None
        bindings = (
            context.location.of_client(context.access.aor(client), client)
            if client is not None and client.status == 1
            else []
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
            targets.append(Target(uri=binding.contact, flow=flow, shown=name, client=True, kind="CLIENT"))
        if not targets:
            raise CallControlError(
                f"The SIP Client {name} is not registered or does not exist", status=404, code=NOT_REACHED
            )
        return targets

    async def to_number(self, to: str, account_sid: str, username: str = "", password: str = "") -> Target:
        """Reach a number through the outbound proxy of the account.

        Raises:
            CallControlError: there is no proxy, or the number cannot be written as the proxy wants it.
        """
        settings = self._context.settings
        number = number_for(to, settings.calls.normalize_numbers, "as-dialed")
        proxy = proxy_for(settings.sip, account_sid)
        if number is None:
            raise CallControlError(f"{to} is not a valid phone number.", status=400)
        if not proxy.uri:
            raise CallControlError(
                f"{to} cannot be called: no outbound proxy is configured (setting sip.outbound_proxy.uri).",
                status=500,
                code=NOT_REACHED,
            )
        dialed = number_for(number, False, proxy.number_format)
        if dialed is None:
            raise CallControlError(
                f"{to} cannot be written as the outbound proxy wants it ({proxy.number_format}).",
                status=400,
                code=NOT_REACHED,
            )
        try:
            target = dataclasses.replace(URI.parse(proxy.uri), user=dialed)
        except ValueError as error:
            raise CallControlError(
                f"The outbound proxy {proxy.uri} is no SIP URI: {error}", status=500
            ) from None
        return Target(
            uri=str(target),
            flow=await self._reach(target),
            shown=number,
            username=username or proxy.username,
            password=password or proxy.password,
            from_host=target.host if proxy.from_host == "proxy" else "",
            from_user=proxy.username if proxy.from_user == "username" else "",
            asserted=proxy.asserted_identity,
            kind="PSTN",
        )

    # -------------------------------------------------------------- legs

    def new_call(
        self,
        target: Target,
        *,
        account_sid: str,
        sender: Sender,
        direction: Direction,
        callback: ProgressCallback | None = None,
        parent: Call | None = None,
    ) -> Call:
        """Enter the call of an outbound leg."""
        context = self._context
        wall = context.wall()
        row = CallRow(
            sid=new_sid("CA"),
            instance_id=context.instance_id,
            account_sid=account_sid,
            parent_call_sid=parent.sid if parent is not None else None,
            from_=sender.user,
            to=target.shown,
            caller_name=sender.name or None,
            forwarded_from=(parent.row.forwarded_from if parent is not None else None),
            direction=direction.value,
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
            from_=sender.user,
            to=target.shown,
            direction=direction,
            timestamp=timestamp(wall),
            caller_name=sender.name,
            forwarded_from=row.forwarded_from or "",
        )
        call = self._manager.new_call(row, info, callback)
        call.is_client = target.client
        call.kind, call.request_uri = target.kind, target.uri
        return call

    async def start(
        self,
        call: Call,
        target: Target,
        *,
        headers: Sequence[tuple[str, str]] = (),
        ring_seconds: float | None = None,
        near: MediaLeg | None = None,
        keep: int = 0,
    ) -> None:
        """Send the INVITE of a new call.

        Args:
            call: made by `new_call`.
            target: where it goes.
            headers: extra headers of the INVITE.
            ring_seconds: give up when it is not answered in this time; None: somebody else does.
            near: a leg that this one will be joined with.
            keep: legs that will be joined with this one.
        """
        context = self._context
        call_id = call.row.sip_call_id or ""
        try:
            media = await context.pool.reserve(call.key.encode(), near=near, keep=keep)
        except NoCapacity:
            call.never_came(CallStatus.FAILED, code=503, cause="no media capacity")
            return
        if call.leg.ended:
            context.pool.release(media)
            return
        call.leg.attach(media)
        host = target.from_host or target.flow.listener.public_host
        own = Address(uri=URI(scheme="sip", user=call.info.from_, host=host), name=call.info.caller_name)
        sender = own
        if target.from_user:
            sender = Address(
                uri=URI(scheme="sip", user=target.from_user, host=host), name=call.info.caller_name
            )
        context.edge.expect(
            call_id, call.key, media, target.flow, identity=str(own) if target.asserted else ""
        )
        call.tell("initiated")
        media.originate(
            target.uri,
            str(sender),
            call_id,
            [*call.response_headers, *(h for h in headers if not h[0].lower().startswith(OURS))],
            target.username,
            target.password,
        )
        if ring_seconds is not None:
            call.start_ring_timer(ring_seconds)

    def begin(self, call: Call, target: Target, **options: object) -> None:
        """As `start`, in the background."""
        started = Deferred.fromCoroutine(self.start(call, target, **options))  # type: ignore[arg-type]

        def failed(failure: Failure) -> None:
            log.failure("call_not_dialed call={call}", failure=failure, call=call.sid)
            media = call.leg.media
            if media is None:
                call.never_came(CallStatus.FAILED, code=500, cause="internal error")
            else:
                media.hangup()
                media.abandon(500, "internal error")

        started.addErrback(failed)
