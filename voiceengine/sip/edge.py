"""The SIP edge: everything between the sockets and the calls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sipmessage import URI, Request, Response
from twisted.logger import Logger

from voiceengine.config import Messages, Sip
from voiceengine.sip.core import EdgeCore, OutboundRoute
from voiceengine.sip.invite import InviteHandler
from voiceengine.sip.message import Answer, MessageHandler
from voiceengine.sip.own_requests import OwnRequest, OwnRequests
from voiceengine.sip.phone_side import AccessControl, PhoneSide, Registrations
from voiceengine.sip.transfer import TransferHandler
from voiceengine.sip.transport import Flow, Transports
from voiceengine.sip.wire import BadMessage, new_branch, parse, response_to, salvage
from voiceengine.sip.worker_side import WorkerSide
from voiceengine.store.rows import BindingRow

log = Logger()

FAREWELL_CSEQ = 1000
"""Beyond what can be sent in the dialog until then (the numbers grow by one, see `numbers`)."""


class Edge:
    """Ties sockets, transactions and dialogs together.

    Args:
        reactor: the reactor.
        settings: listeners and limits.
        messages: what bodies of MESSAGE are taken; None: the defaults.
    """

    def __init__(self, reactor: Any, settings: Sip, messages: Messages | None = None) -> None:
        self.core = EdgeCore(reactor, settings)
        self.counters = self.core.counters
        self._settings = settings
        self._message_settings = messages or Messages()
        self._phones: PhoneSide
        self._requests = OwnRequests(self.core)
        self._workers = WorkerSide(self.core)
        self.core.transports = Transports(
            reactor,
            self,
            limit=settings.max_message_bytes,
            max_connections=settings.max_connections,
            counters=self.counters,
        )

    def open_internal(self) -> int:
        """Open the workers' socket; returns its port."""
        return self.core.open_internal(self._from_worker)

    def listen(self, access: AccessControl, registrations: Registrations, handler: InviteHandler) -> None:
        """Open all listeners.

        Raises:
            twisted.internet.error.CannotListenError: an address cannot be used.
        """
        core = self.core
        self._phones = PhoneSide(core, access, registrations, handler, self._message_settings)
        for uri in self._settings.listen:
            core.transports.listen(uri, self._settings.public_address)

    async def close(self) -> None:
        """Close all sockets that are open; requests of the engine's own end with 503."""
        self._requests.close()
        if hasattr(self, "_phones"):
            self._phones.close()
        await self.core.close()

    # -------------------------------------------------------------- what arrives

    def received(self, data: bytes, flow: Flow) -> None:
        """One message of a phone; nothing it holds may raise out of here."""
        self.counters["received"] += 1
        try:
            message = parse(data)
        except BadMessage as error:
            self._bad(data, flow, str(error))
            return
        try:
            if isinstance(message, Request):
                self._phones.request(message, flow)
            else:
                self.core.response(message)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            # a header that only its reader could find malformed
            self.counters["malformed"] += 1
            log.info("message_refused from={host} reason={reason}", host=flow.host, reason=str(error))
            if isinstance(message, Request) and message.method != "ACK":
                self.core.reply(message, flow, 400)

    def _bad(self, data: bytes, flow: Flow, reason: str) -> None:
        self.counters["malformed"] += 1
        request = salvage(data)
        if request is None:
            self.counters["dropped"] += 1
            return
        text = reason.replace('"', "'")[:80]
        text = "".join(c for c in text if " " <= c <= "~")
        flow.send(
            bytes(response_to(request, 400, "Bad Request", [("Reason", f'SIP;cause=400;text="{text}"')]))
        )

    def _from_worker(self, data: bytes, port: int) -> None:
        try:
            message = parse(data)
            if isinstance(message, Response):
                self.core.response(message)
            else:
                self._workers.request(message, port)
        except (BadMessage, ValueError, KeyError, TypeError, IndexError) as error:
            self.counters["internal_malformed"] += 1
            log.warn("worker_message_refused port={port} reason={reason}", port=port, reason=str(error))

    # -------------------------------------------------------------- outbound calls

    async def flow_to_uri(self, uri: URI) -> Flow:
        """The way to a SIP URI.

        Raises:
            OSError: it cannot be reached.
        """
        return await self.core.flow_to_uri(uri)

    async def flow_to_binding(self, binding: BindingRow) -> Flow:
        """The way to a registered contact: the very flow that registered it, while it stands.

        Raises:
            OSError: it cannot be reached.
        """
        flow = self.core.transports.known_flow(
            binding.transport, binding.remote_host, binding.remote_port, binding.listener
        )
        if flow is not None:
            return flow
        return await self.flow_to_uri(URI.parse(binding.contact))

    def expect(self, call_id: str, key: str, media_leg: Any, flow: Flow, identity: str = "") -> None:
        """Note where the INVITE goes that a worker is about to send.

        Args:
            call_id: its Call-ID.
            key: name of the leg.
            media_leg: the leg's slot in the worker.
            flow: the way to the phone.
            identity: value of P-Asserted-Identity for the phone (RFC 3325), '' for none.
        """
        self.core.routes[call_id] = OutboundRoute(key, media_leg, flow, identity)

    # -------------------------------------------------------------- requests outside of calls

    async def request(
        self,
        method: str,
        uri: str,
        flow: Flow,
        *,
        from_: str,
        to: str = "",
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str = "",
        username: str = "",
        password: str = "",
        timeout: float = 32.0,
        call_id: str = "",
        cseq: int = 1,
        contact: str = "",
    ) -> Answer:
        """Send a request outside of calls (not INVITE) and wait for its final response.

        A challenge is answered once when there are credentials, and once more when it says `stale=true`; each
        time with the next CSeq. Cancelling the Deferred of this coroutine ends the repetitions.

        Args:
            method: REGISTER, MESSAGE, OPTIONS ...
            uri: Request-URI.
            flow: the way; a request above 1300 bytes goes by TCP to the same address if that can be reached.
            from_: URI or name-addr; a tag is added.
            to: URI or name-addr; empty: the Request-URI.
            headers: further headers, not those that have an argument here.
            body: body.
            content_type: of the body; empty: text/plain.
            username: digest user; empty: challenges are final.
            password: digest password, clear.
            timeout: for all attempts together, seconds.
            call_id: empty: a new one.
            cseq: of the first attempt.
            contact: value of Contact; empty: none.

        Returns:
            The final response; 408, 503 or 513 of our own when there was none (see `Answer`).

        Raises:
            own_requests.CannotSend: a header or the URI cannot be sent.
        """
        wanted = OwnRequest(
            method=method,
            uri=uri,
            from_=from_,
            to=to,
            headers=tuple(headers),
            body=body,
            content_type=content_type,
            call_id=call_id,
            contact=contact,
        )
        return await self._requests.send(
            wanted, flow, username=username, password=password, timeout=timeout, cseq=cseq
        )

    @property
    def on_message(self) -> MessageHandler | None:
        """Who takes MESSAGE of phones and trunks; without one they are answered 405."""
        return self.core.on_message

    @on_message.setter
    def on_message(self, handler: MessageHandler) -> None:
        self.core.on_message = handler
        self.core.relay.takes_messages()

    # -------------------------------------------------------------- transfers

    @property
    def on_transfer(self) -> TransferHandler | None:
        """Who decides about REFER of phones; without one they are refused."""
        return self.core.on_transfer

    @on_transfer.setter
    def on_transfer(self, handler: TransferHandler) -> None:
        self.core.on_transfer = handler
        self.core.relay.takes_transfers()

    def leg_of_dialog(self, call_id: str, tag_a: str, tag_b: str) -> str | None:
        """The leg whose live, answered dialog has this Call-ID and these tags, in either order.

        Both sides see the same: Call-ID and tags pass between phones and workers as they are.
        """
        found = (d.key for d in self.core.dialogs.values() if d.named(call_id, (tag_a, tag_b)))
        return next(found, None)

    # -------------------------------------------------------------- ends

    def farewell(self, key: str) -> tuple[str, int, str] | None:
        """A BYE that a worker can send to the phone of a leg by itself, once the engine is dead.

        Returns:
            Address, UDP port and text; None when the phone is not on UDP.
        """
        dialog = self.core.dialogs.get(key)
        if dialog is None or dialog.flow.transport != "udp" or not dialog.remote_target:
            return None
        if not dialog.worker_tag or not dialog.phone_tag:
            return None  # the worker was not heard of yet
        reason = ("Reason", 'SIP;cause=500;text="engine died"')
        last = dialog.numbers.last
        try:
            bye = self.core.relay.own_request("BYE", dialog, new_branch(), [reason])
        except ValueError:
            return None
        finally:
            dialog.numbers.last = last  # nothing was sent
        bye.headers.set("CSeq", f"{last + FAREWELL_CSEQ} BYE")
        return dialog.flow.host, dialog.flow.port, bytes(bye).decode()

    def leg_over(self, key: str, call_id: str, *, lost: bool) -> None:
        """A leg is over; with `lost` its worker died and the phone must be told from here."""
        core = self.core
        dialog = core.dialogs.get(key)
        reason = 'SIP;cause=500;text="media-failure"'
        self._workers.abandon(key)  # without effect once it was answered
        if dialog is not None:
            if lost and not dialog.outbound:
                invite = self._phones.invite_for(key)
                if invite is not None and not dialog.established:
                    invite.abandon(reason)
            if lost:
                core.bye(dialog, reason)
            core.dialog_ended(dialog)
        core.routes.pop(call_id, None)
        self._workers.forget(key)
        self._phones.forget_key(key)
