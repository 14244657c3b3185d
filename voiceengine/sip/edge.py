"""The SIP edge: everything between the sockets and the calls."""

from __future__ import annotations

from typing import Any

from sipmessage import URI, Request, Response
from twisted.logger import Logger

from voiceengine.config import Sip
from voiceengine.sip.core import EdgeCore, OutboundRoute
from voiceengine.sip.invite import InviteHandler
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
    """

    def __init__(self, reactor: Any, settings: Sip) -> None:
        self.core = EdgeCore(reactor, settings)
        self.counters = self.core.counters
        self._settings = settings
        self._phones: PhoneSide
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
        self._phones = PhoneSide(core, access, registrations, handler)
        for uri in self._settings.listen:
            core.transports.listen(uri, self._settings.public_address)

    async def close(self) -> None:
        """Close all sockets that are open."""
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
