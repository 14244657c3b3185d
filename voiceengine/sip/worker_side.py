"""Requests of workers: outbound calls, and what they send inside dialogs."""

from __future__ import annotations

import hashlib

from sipmessage import Request, Response
from twisted.logger import Logger

from voiceengine.sip import relay, sdp
from voiceengine.sip.core import EdgeCore, OutboundRoute, Pending
from voiceengine.sip.dialog import Dialog, contact_uri
from voiceengine.sip.headers import clean
from voiceengine.sip.numbers import Numbers
from voiceengine.sip.transaction import ClientTransaction, InviteServer
from voiceengine.sip.wire import new_branch, response_to, tag_of

log = Logger()


class OutboundInvite:
    """An INVITE of a worker on its way to a phone."""

    def __init__(
        self, core: EdgeCore, request: Request, server: InviteServer, dialog: Dialog, identity: str
    ) -> None:
        self._core = core
        self._request = request
        self._server = server
        self.dialog = dialog
        self._identity = identity
        self._client: ClientTransaction | None = None
        self._cancelled = False

    def start(self) -> None:
        """Send it.

        Raises:
            sdp.SdpError: the worker's offer cannot be used.
        """
        core, dialog = self._core, self.dialog
        body = relay.body_from_worker(self._request, dialog, offer=True)
        branch = new_branch()
        flow = dialog.flow
        invite = core.relay.request_to_phone(self._request, dialog, branch, body)
        if self._identity:
            invite.headers.set("P-Asserted-Identity", self._identity)
        self._client = core.client(
            invite,
            branch,
            flow.send,
            reliable=flow.transport == "tcp",
            answered=self._answered,
            timed_out=lambda: self._server.respond(response_to(self._request, 408)),
        )

    def _answered(self, response: Response) -> None:
        dialog = self.dialog
        if self._cancelled or dialog.ended:
            if response.code < 300:
                self._undo(response)
            return
        if response.code < 300 and not self._learn(response):
            return
        try:
            body = relay.body_from_phone(response, dialog, offer=False)
        except sdp.SdpError as error:
            if response.code >= 200:
                self._undo(response)
                self._server.respond(response_to(self._request, 488, error.args[0][:64]))
                return
            body = b""
        self._server.respond(self._core.relay.response_to_worker(response, self._request, dialog, body))

    def _learn(self, response: Response) -> bool:
        """Take tag, target and route set from a response; False for a second answer (a fork)."""
        dialog = self.dialog
        tag = tag_of(response.headers["To"])
        if dialog.established and tag != dialog.phone_tag:
            self._undo(response)
            return False
        try:
            target = contact_uri(response.contact)
        except ValueError:
            target = ""
        own = dialog.token
        routes = [r for r in response.headers.getlist("Record-Route") if own not in r]
        dialog.phone_tag = tag
        dialog.phone_address = response.headers["To"]
        dialog.remote_target = target or dialog.remote_target
        dialog.route_set = list(reversed(routes))
        if response.code >= 200:
            dialog.established = True
        return True

    def _undo(self, response: Response) -> None:
        """Acknowledge and end an answer that nobody waits for any more."""
        dialog, core = self.dialog, self._core
        try:
            target = contact_uri(response.contact) or dialog.remote_target
        except ValueError:
            target = dialog.remote_target
        stray = Dialog(
            key=dialog.key,
            call_id=dialog.call_id,
            media_leg=dialog.media_leg,
            flow=dialog.flow,
            outbound=True,
            token=dialog.token,
            remote_target=target,
            phone_address=response.headers["To"],
            engine_address=response.headers["From"],
            numbers=Numbers(dialog.numbers.of_worker(self._request.cseq.sequence) - 1),  # that of the ACK
            established=True,
        )
        try:
            ack = core.relay.own_request("ACK", stray, new_branch(), [])
        except ValueError:
            return
        dialog.flow.send(bytes(ack))
        core.bye(stray)

    def cancel(self) -> None:
        """The worker (or its death) ends the attempt."""
        if not self._cancelled and not (self._client is not None and self._client.final):
            self._cancelled = True
            if self._client is not None:
                self._client.cancel()

    def close(self) -> None:
        """The leg is over: the worker asks for nothing any more."""
        self._server.close()


class WorkerSide:
    """Dispatches what workers send."""

    def __init__(self, core: EdgeCore) -> None:
        self._core = core
        self._invites: dict[str, OutboundInvite] = {}

    def request(self, request: Request, port: int) -> None:
        """Take one request of the worker at `port`."""
        core = self._core
        key = (request.via[0].parameters.get("branch") or "", str(port))
        method = request.method
        if method == "ACK":
            self._ack(request, key)
            return
        server = core.servers.get(key)
        if method == "CANCEL":
            self._cancel(request, port, key)
            return
        if server is not None:
            server.repeated()
            return
        if method == "INVITE" and not tag_of(request.headers["To"]):
            self._invite(request, port, key)
            return
        dialog = self._dialog(request, port)
        if dialog is None:
            core.to_port(bytes(response_to(request, 481)), port)
        elif method == "BYE":
            self._bye(request, port, dialog)
        elif method == "INVITE":
            self._reinvite(request, port, key, dialog)
        else:
            self._pass(request, port, dialog)

    def _dialog(self, request: Request, port: int) -> Dialog | None:
        dialog = self._core.dialogs.get(request.uri.user or "")
        if dialog is None:
            route = self._core.routes.get(request.headers["Call-ID"])
            dialog = self._core.dialogs.get(route.key) if route is not None else None
        if (
            dialog is None
            or dialog.media_leg.sip_port != port
            or dialog.call_id != request.headers["Call-ID"]
        ):
            return None
        return dialog

    def _server(self, request: Request, port: int, key: tuple[str, str]) -> InviteServer:
        core = self._core
        server = InviteServer(
            core.reactor,
            request,
            lambda data: core.to_port(data, port),
            reliable=False,
            finished=lambda: core.server_done(key),
        )
        core.server(key, server)
        server.respond(response_to(request, 100))
        return server

    def _invite(self, request: Request, port: int, key: tuple[str, str]) -> None:
        core = self._core
        route: OutboundRoute | None = core.routes.get(request.headers["Call-ID"])
        server = self._server(request, port, key)
        if route is None or route.media_leg.sip_port != port:
            server.respond(response_to(request, 403))
            return
        dialog = Dialog(
            key=route.key,
            call_id=request.headers["Call-ID"],
            media_leg=route.media_leg,
            flow=route.flow,
            outbound=True,
            token=core.tokens.make(route.key, request.headers["Call-ID"]),
            worker_tag=tag_of(request.headers["From"]),
            engine_address=request.headers["From"],
            numbers=Numbers(request.cseq.sequence - 1),  # an INVITE with credentials comes after the first
        )
        core.dialogs[route.key] = dialog
        invite = OutboundInvite(core, request, server, dialog, clean(route.identity))
        self._invites[route.key] = invite
        try:
            invite.start()
        except (sdp.SdpError, ValueError) as error:
            log.warn("offer_unusable leg={leg} reason={reason}", leg=route.key, reason=str(error))
            server.respond(response_to(request, 500))

    def _cancel(self, request: Request, port: int, key: tuple[str, str]) -> None:
        """Answer for the phone at once, so that the worker's slot is free; the phone is told as well."""
        core = self._core
        core.to_port(bytes(response_to(request, 200)), port)
        server = core.servers.get(key)
        if server is not None:
            server.respond(response_to(server.request, 487))
        route = core.routes.get(request.headers["Call-ID"])
        if route is not None:
            self.abandon(route.key)

    def abandon(self, key: str) -> None:
        """End an outbound attempt towards the phone."""
        invite = self._invites.get(key)
        if invite is not None:
            invite.cancel()

    def forget(self, key: str) -> None:
        """Drop the INVITE of a leg that is over."""
        invite = self._invites.pop(key, None)
        if invite is not None:
            invite.close()

    def _ack(self, request: Request, key: tuple[str, str]) -> None:
        core = self._core
        server = core.servers.get(key)
        if server is not None and server.final >= 300:
            server.ack()
            return
        dialog = core.dialogs.get(request.uri.user or "")
        if dialog is None or dialog.call_id != request.headers["Call-ID"]:
            return
        try:
            body = relay.body_from_worker(request, dialog, offer=False)
        except sdp.SdpError:
            body = b""
        core.to_phone(dialog, bytes(core.relay.request_to_phone(request, dialog, new_branch(), body)))

    def _bye(self, request: Request, port: int, dialog: Dialog) -> None:
        """Answer the worker at once, so that its slot is free; repeat towards the phone until it answers."""
        core = self._core
        core.to_port(bytes(response_to(request, 200)), port)
        if dialog.ended and not dialog.established:
            return
        branch = new_branch()
        core.client(
            core.relay.request_to_phone(request, dialog, branch, b""),
            branch,
            lambda data: core.to_phone(dialog, data),
            reliable=dialog.flow.transport == "tcp",
            answered=lambda _: None,
            timed_out=lambda: None,
        )

    def _pass(self, request: Request, port: int, dialog: Dialog) -> None:
        core = self._core
        try:
            body = relay.body_from_worker(request, dialog, offer=True)
        except sdp.SdpError:
            core.to_port(bytes(response_to(request, 488)), port)
            return
        if request.method == "REFER":
            dialog.referred = dialog.numbers.of_worker(request.cseq.sequence)
        # a repetition gets the same branch again
        seed = (request.via[0].parameters.get("branch") or "").encode() + dialog.key.encode()
        branch = "z9hG4bK" + hashlib.blake2b(seed, key=core.secret, digest_size=10).hexdigest()

        def reply(response: Response) -> None:
            if request.method == "UPDATE" and 200 <= response.code < 300:
                dialog.refresh(response)
            try:
                answer = relay.body_from_phone(response, dialog, offer=False)
            except sdp.SdpError:
                answer = b""
            core.to_port(bytes(core.relay.response_to_worker(response, request, dialog, answer)), port)

        core.pending.put(branch, Pending(request, reply))
        core.to_phone(dialog, bytes(core.relay.request_to_phone(request, dialog, branch, body)))

    def _reinvite(self, request: Request, port: int, key: tuple[str, str], dialog: Dialog) -> None:
        core = self._core
        server = self._server(request, port, key)
        offered = bool(request.body)

        def answered(response: Response) -> None:
            if 200 <= response.code < 300:
                dialog.refresh(response)
            try:
                answer = relay.body_from_phone(response, dialog, offer=not offered)
            except sdp.SdpError as error:
                server.respond(response_to(request, error.status))
                return
            server.respond(core.relay.response_to_worker(response, request, dialog, answer))

        try:
            body = relay.body_from_worker(request, dialog, offer=True)
        except sdp.SdpError:
            server.respond(response_to(request, 500))
            return
        branch = new_branch()
        core.client(
            core.relay.request_to_phone(request, dialog, branch, body),
            branch,
            lambda data: core.to_phone(dialog, data),
            reliable=dialog.flow.transport == "tcp",
            answered=answered,
            timed_out=lambda: server.respond(response_to(request, 408)),
            in_dialog=True,
        )
