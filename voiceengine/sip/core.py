"""What both sides of the edge share: sockets, tables of dialogs and transactions, timers."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
from sipmessage import URI, Request, Response
from twisted.internet import protocol
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from voiceengine.config import Sip
from voiceengine.sip.dialog import Dialog, Tokens
from voiceengine.sip.relay import Relay
from voiceengine.sip.transaction import ClientTransaction, InviteServer, Linger
from voiceengine.sip.transport import RECEIVE_BUFFER, Flow, Transports
from voiceengine.sip.wire import new_branch, response_to

if TYPE_CHECKING:
    from voiceengine.sip.message import MessageHandler
    from voiceengine.sip.transfer import TransferHandler

log = Logger()

SWEEP_SECONDS = 1.0

UNDERSTOOD = frozenset({"timer", "100rel", "norefersub"})


@attrs.define(eq=False)
class OutboundRoute:
    """Where the INVITE of an outbound leg goes, noted before the worker sends it."""

    key: str
    media_leg: Any
    flow: Flow
    identity: str = ""
    """P-Asserted-Identity for the phone."""


@attrs.define(eq=False)
class Pending:
    """A request passed on without a transaction of our own; its responses go back this way."""

    request: Request
    """As it arrived."""
    reply: Callable[[Response], None]


class _Internal(protocol.DatagramProtocol):
    """The socket on 127.0.0.1 that workers speak to."""

    noisy = False

    def __init__(self, received: Callable[[bytes, int], None], limit: int) -> None:
        self._received = received
        self._limit = limit

    def startProtocol(self) -> None:  # noqa: N802 - the name is Twisted's
        """Make the receive buffer large enough for a burst."""
        import socket

        transport: Any = self.transport
        try:
            transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        except OSError:
            log.debug("receive_buffer_not_set")

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:  # noqa: N802 - the name is Twisted's
        """One datagram of a worker."""
        if len(datagram) <= self._limit:
            self._received(datagram, addr[1])

    def send(self, data: bytes, port: int) -> None:
        """Send to a worker."""
        if self.transport is not None:
            self.transport.write(data, ("127.0.0.1", port))

    def connectionRefused(self) -> None:  # noqa: N802 - the name is Twisted's
        """A worker has just died; the pool tells its legs."""


class EdgeCore:
    """State and helpers of the edge; no decisions."""

    def __init__(self, reactor: Any, settings: Sip) -> None:
        self.reactor = reactor
        self.settings = settings
        self.counters: Counter[str] = Counter()
        self.tokens = Tokens(secrets.token_bytes(32))
        self.secret = secrets.token_bytes(16)
        self.dialogs: dict[str, Dialog] = {}
        self.routes: dict[str, OutboundRoute] = {}
        self.servers: dict[tuple[str, str], InviteServer] = {}
        self.clients: dict[str, ClientTransaction] = {}
        self.pending: Linger[str, Pending] = Linger(reactor)
        self.replies: Linger[tuple[str, str, str], bytes] = Linger(reactor)
        """Answers to requests other than INVITE, for repetitions (authenticated senders and calls only);
        empty while the answer is still to come."""
        self._old_dialogs: Linger[str, Dialog] = Linger(reactor)
        self._old_clients: Linger[str, None] = Linger(reactor)
        self._old_servers: Linger[tuple[str, str], None] = Linger(reactor)
        self.transports: Transports
        self.relay = Relay()
        self.on_transfer: TransferHandler | None = None
        self.on_message: MessageHandler | None = None
        self._internal: _Internal
        self._internal_port: Any = None
        self._sweeper: Any = None

    def open_internal(self, received: Callable[[bytes, int], None]) -> int:
        """Open the workers' socket; returns its port."""
        self._internal = _Internal(received, 65535)
        self._internal_port = self.reactor.listenUDP(
            0, self._internal, interface="127.0.0.1", maxPacketSize=65536
        )
        port = int(self._internal_port.getHost().port)
        self.relay.internal_port = port
        self._sweep()
        return port

    async def close(self) -> None:
        """Close all sockets and timers."""
        if self._sweeper is not None and self._sweeper.active():
            self._sweeper.cancel()
        for client in self.clients.values():
            client.stop()
        for server in self.servers.values():
            server.stop()
        if self._internal_port is not None:
            await self._internal_port.stopListening()
        await self.transports.close()

    def _sweep(self) -> None:
        self._sweeper = self.reactor.callLater(SWEEP_SECONDS, self._sweep)
        self.pending.sweep()
        self.replies.sweep()
        for name, dialog in self._old_dialogs.sweep():
            if self.dialogs.get(name) is dialog:
                del self.dialogs[name]
        for branch, _ in self._old_clients.sweep():
            self.clients.pop(branch, None)
        for key, _ in self._old_servers.sweep():
            self.servers.pop(key, None)

    # -------------------------------------------------------------- sending

    def to_worker(self, message: Request | Response, dialog: Dialog) -> None:
        """Send to the worker of a dialog."""
        self._internal.send(bytes(message), dialog.media_leg.sip_port)

    def to_port(self, data: bytes, port: int) -> None:
        """Send bytes to a worker's port."""
        self._internal.send(data, port)

    def to_phone(self, dialog: Dialog, data: bytes) -> None:
        """Send to the phone of a dialog, connecting anew when its TCP connection is gone."""
        if dialog.flow.alive:
            dialog.flow.send(data)
            return
        again = Deferred.fromCoroutine(self._reconnect(dialog, data))
        again.addErrback(
            lambda f: log.info(
                "phone_unreachable leg={leg} reason={reason}", leg=dialog.key, reason=str(f.value)
            )
        )

    async def _reconnect(self, dialog: Dialog, data: bytes) -> None:
        hop = dialog.route_set[0] if dialog.route_set else f"<{dialog.remote_target}>"
        flow = await self.flow_to_uri(URI.parse(hop.partition("<")[2].partition(">")[0]))
        dialog.flow = flow
        flow.send(data)

    async def flow_to_uri(self, uri: URI) -> Flow:
        """The way to a SIP URI.

        Raises:
            OSError: it cannot be reached (no address, no connection, no listener of that kind).
        """
        transport = (uri.parameters.get("transport") or "udp").lower()
        if uri.scheme.lower() != "sip" or transport not in ("udp", "tcp"):
            raise OSError(f"{uri.scheme}/{transport} is not supported")
        if uri.port is not None and not 0 < uri.port < 65536:
            raise OSError(f"port {uri.port} does not exist")
        host = await self.transports.resolve(uri.host)
        return await self.transports.flow_to(transport, host, uri.port or 5060)

    def reply(
        self, request: Request, flow: Flow, code: int, phrase: str = "", *headers: tuple[str, str]
    ) -> None:
        """Answer a request of a phone, without a transaction."""
        flow.send(bytes(response_to(request, code, phrase, headers)))

    # -------------------------------------------------------------- transactions

    def client(
        self,
        request: Request,
        branch: str,
        send: Callable[[bytes], None],
        *,
        reliable: bool,
        answered: Callable[[Response], None],
        timed_out: Callable[[], None],
        in_dialog: bool = False,
    ) -> ClientTransaction:
        """Send a request that is repeated until it is answered."""

        def done() -> None:
            self._old_clients.put(branch, None)

        def on_response(response: Response) -> None:
            if response.code >= 200:
                done()
            answered(response)

        def on_timeout() -> None:
            done()
            timed_out()

        transaction = ClientTransaction(
            self.reactor,
            request,
            send,
            reliable=reliable,
            answered=on_response,
            timed_out=on_timeout,
            in_dialog=in_dialog,
        )
        self.clients[branch] = transaction
        transaction.start()
        return transaction

    def forget_client(self, branch: str) -> None:
        """Stop a transaction that nobody waits for any more."""
        transaction = self.clients.get(branch)
        if transaction is not None:
            transaction.stop()
            self._old_clients.put(branch, None)

    def server(self, key: tuple[str, str], server: InviteServer) -> None:
        """Enter an INVITE."""
        self.servers[key] = server

    def server_done(self, key: tuple[str, str]) -> None:
        """An INVITE got its final response; it is remembered for repetitions for a while."""
        self._old_servers.put(key, None)

    def response(self, response: Response) -> None:
        """Give a response to what waits for it, by the branch of its top Via."""
        branch = response.via[0].parameters.get("branch") or ""
        transaction = self.clients.get(branch)
        method = response.headers["CSeq"].split()[-1]
        if transaction is not None and method != transaction.request.method:
            if method == "CANCEL" and response.code >= 200:
                transaction.cancel_answered()  # it has the branch of its INVITE
            return
        if transaction is not None:
            transaction.received(response)
            return
        waiting = self.pending.get(branch)
        if waiting is not None:
            if response.code > 100:
                waiting.reply(response)
            return
        self.counters["stray_responses"] += 1

    # -------------------------------------------------------------- dialogs

    def dialog_ended(self, dialog: Dialog) -> None:
        """The leg is over; the dialog stays for what is still on the wire."""
        if not dialog.ended:
            dialog.ended = True
            self.routes.pop(dialog.call_id, None)
        self._old_dialogs.put(dialog.key, dialog)

    def bye(self, dialog: Dialog, reason: str = "") -> None:
        """End a dialog towards the phone without the worker."""
        if not (dialog.established and dialog.remote_target):
            return
        branch = new_branch()
        headers = [("Reason", reason)] if reason else []
        try:
            request = self.relay.own_request("BYE", dialog, branch, headers)
        except ValueError:
            return
        self.client(
            request,
            branch,
            lambda data: self.to_phone(dialog, data),
            reliable=dialog.flow.transport == "tcp",
            answered=lambda _: None,
            timed_out=lambda: None,
        )
