"""Requests of phones and trunks."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Protocol

from sipmessage import Request, Response
from twisted.logger import Logger

from voiceengine.config import Messages as MessageSettings
from voiceengine.sip import refer, relay, sdp
from voiceengine.sip.core import UNDERSTOOD, EdgeCore, Pending
from voiceengine.sip.dialog import Dialog, token_in
from voiceengine.sip.invite import CallerIdentity, InboundInvite, InviteHandler
from voiceengine.sip.message_in import Messages
from voiceengine.sip.refer import ReferError
from voiceengine.sip.transaction import InviteServer
from voiceengine.sip.transfer import Transfers
from voiceengine.sip.transport import Flow
from voiceengine.sip.wire import PHRASES, new_branch, response_to, stamp_via, tag_of

log = Logger()

_KNOWN = "INVITE ACK CANCEL BYE OPTIONS REGISTER INFO UPDATE PRACK NOTIFY REFER MESSAGE"
KNOWN = frozenset(_KNOWN.split())
_SIGNAL = re.compile(r"^[ \t]*Signal[ \t]*=[ \t]*([0-9*#A-Da-d])[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
RETRY_AFTER = ("Retry-After", "5")


class AccessControl(Protocol):
    """Decides who somebody is."""

    def identify(self, request: Request, flow: Flow) -> CallerIdentity | list[tuple[str, str]]:
        """The caller, or the headers of a 407 that asks who it is."""
        ...


class Registrations(Protocol):
    """Answers REGISTER."""

    def register(self, request: Request, flow: Flow) -> tuple[int, list[tuple[str, str]], bool]:
        """Code, headers, and whether the sender was authenticated."""
        ...


def wants(request: Request, name: str) -> list[str]:
    """Option tags in a header such as Require."""
    tags = (tag.strip() for value in request.headers.getlist(name) for tag in value.split(","))
    return [tag for tag in tags if tag]


class PhoneSide:
    """Dispatches what phones send."""

    def __init__(
        self,
        core: EdgeCore,
        access: AccessControl,
        registrations: Registrations,
        handler: InviteHandler,
        messages: MessageSettings,
    ) -> None:
        self._core = core
        self._access = access
        self._registrations = registrations
        self._handler = handler
        self._transfers = Transfers(core)
        self._messages = Messages(core, messages, access.identify, lambda: handler.accepting, self._stateless)
        self._invites: dict[tuple[str, str], InboundInvite] = {}
        self._of_leg: dict[str, tuple[str, str]] = {}
        self._methods: dict[str, Callable[[Request, Flow, tuple[str, str]], None]] = {
            "INVITE": self._invite,
            "REGISTER": self._register,
            "OPTIONS": self._options,
            "REFER": self._refer,
            "MESSAGE": self._message,
        }

    def close(self) -> None:
        """Answer nothing any more."""
        self._messages.close()

    def invite_for(self, key: str) -> InboundInvite | None:
        """The INVITE of an inbound leg that lives."""
        found = self._of_leg.get(key)
        return self._invites.get(found) if found is not None else None

    def forget_key(self, key: str) -> None:
        """Drop the INVITE of a leg that is over."""
        found = self._of_leg.pop(key, None)
        if found is not None:
            self._invites.pop(found, None)

    def forwarded(self, key: str, invite: InboundInvite) -> None:
        """An INVITE was given to a leg."""
        self._of_leg[key] = invite.server_key

    def refused(self, invite: InboundInvite) -> None:
        """An INVITE was refused without a leg."""
        self._invites.pop(invite.server_key, None)

    # -------------------------------------------------------------- dispatch

    def request(self, request: Request, flow: Flow) -> None:
        """Take one request."""
        core = self._core
        branch, rport = stamp_via(request, flow.host, flow.port)
        if flow.transport == "udp" and not rport:
            top = request.via[0]
            known = core.transports.known_flow("udp", flow.host, top.port or 5060, flow.listener.uri)
            flow = known or flow
        top = request.via[0]
        key = (branch, f"{top.host}:{top.port}")
        method = request.method
        if method == "ACK":
            self._ack(request, flow, key)
            return
        server = core.servers.get(key)
        if method == "CANCEL":
            self._cancel(request, flow, key)
            return
        if server is not None and method == "INVITE":
            server.repeated()
            return
        said = core.replies.get((*key, method))
        if said is not None:
            if said:
                flow.send(said)
            return
        if not self._sane(request, flow):
            return
        if tag_of(request.headers["To"]):
            self._in_dialog(request, flow, key)
            return
        action = self._methods.get(method)
        if action is None:
            core.reply(request, flow, 481)
        else:
            action(request, flow, key)

    def _sane(self, request: Request, flow: Flow) -> bool:
        """Checks that hold for every request (RFC 3261 sections 8.2 and 16.3)."""
        core = self._core
        hops = request.headers.get("Max-Forwards")
        if hops is not None and not (hops.isascii() and hops.isdigit() and int(hops) <= 255):
            core.reply(request, flow, 400, "Max-Forwards is not valid")
        elif hops is not None and int(hops) == 0:
            core.reply(request, flow, 483)
        elif request.method not in KNOWN:
            core.reply(request, flow, 405, "", ("Allow", core.relay.allow))
        elif request.uri.scheme.lower() not in ("sip", "sips", "tel"):
            core.reply(request, flow, 416)
        else:
            unknown = [tag for tag in wants(request, "Require") if tag.lower() not in UNDERSTOOD]
            if not unknown:
                return True
            core.reply(request, flow, 420, "", ("Unsupported", ", ".join(unknown)))
        return False

    def _options(self, request: Request, flow: Flow, key: tuple[str, str]) -> None:
        texts = f", {self._messages.accepts}" if self._core.on_message is not None else ""
        self._core.reply(
            request,
            flow,
            200 if self._handler.accepting else 503,
            "",
            ("Allow", self._core.relay.allow),
            ("Accept", f"application/sdp{texts}"),
            ("Supported", self._core.relay.supported),
        )

    def _message(self, request: Request, flow: Flow, key: tuple[str, str]) -> None:
        self._messages.message(request, flow, (*key, "MESSAGE"))

    def _refer(self, request: Request, flow: Flow, key: tuple[str, str]) -> None:
        self._transfers.refer(request, flow, (*key, "REFER"), None)

    def _register(self, request: Request, flow: Flow, key: tuple[str, str]) -> None:
        code, headers, authenticated = self._registrations.register(request, flow)
        data = bytes(response_to(request, code, "", headers))
        if authenticated:
            self._core.replies.put((*key, "REGISTER"), data)
            if code == 200:
                flow.keep()
        flow.send(data)

    # -------------------------------------------------------------- new calls

    def _stateless(self, request: Request, flow: Flow, code: int, headers: list[tuple[str, str]]) -> None:
        """Answer without remembering anything: the To tag follows from the request."""
        seed = request.headers["Call-ID"].encode() + request.via[0].parameters["branch"].encode()  # type: ignore[union-attr]
        tag = hashlib.blake2b(seed, key=self._core.secret, digest_size=6).hexdigest()
        flow.send(bytes(response_to(request, code, "", headers, to_tag=tag)))

    def _invite(self, request: Request, flow: Flow, key: tuple[str, str]) -> None:
        core = self._core
        if not self._handler.accepting:
            self._stateless(request, flow, 503, [RETRY_AFTER])
            return
        problem = self._invite_problem(request)
        if problem:
            self._stateless(request, flow, *problem)
            return
        identity = self._access.identify(request, flow)
        if isinstance(identity, list):
            self._stateless(request, flow, 407, identity)
            return
        flow.keep()
        server = InviteServer(core.reactor, request, flow.send, reliable=flow.transport == "tcp")
        core.server(key, server)
        server.respond(response_to(request, 100))
        invite = InboundInvite(core, request, flow, key, server, identity, self)
        self._invites[key] = invite
        self._handler.invite(invite)

    def _invite_problem(self, request: Request) -> tuple[int, list[tuple[str, str]]] | None:
        try:
            if not request.contact:
                return 400, [("Reason", 'SIP;cause=400;text="Contact is missing"')]
            for value in request.headers.getlist("Record-Route"):
                if len(value) > 1024:
                    return 400, []
        except ValueError:
            return 400, [("Reason", 'SIP;cause=400;text="Contact is not valid"')]
        if not request.body:
            return 400, [("Reason", 'SIP;cause=400;text="INVITE without SDP"')]
        if not relay.is_sdp(request):
            return 415, [("Accept", "application/sdp")]
        return None

    def _cancel(self, request: Request, flow: Flow, key: tuple[str, str]) -> None:
        invite = self._invites.get(key)
        if invite is None or key not in self._core.servers:
            self._core.reply(request, flow, 481)
            return
        self._core.reply(request, flow, 200)
        invite.cancel(request.headers.get("Reason") or "")

    # -------------------------------------------------------------- inside dialogs

    def _dialog(self, request: Request) -> Dialog | None:
        token = token_in(request)
        key = self._core.tokens.check(token, request.headers["Call-ID"]) if token else None
        dialog = self._core.dialogs.get(key) if key else None
        if dialog is None or not dialog.fits(request):
            if request.method != "ACK":  # the ACK of a 407 has no token
                self._core.counters["strange_tokens"] += 1
            return None
        return dialog

    def _ack(self, request: Request, flow: Flow, key: tuple[str, str]) -> None:
        server = self._core.servers.get(key)
        if server is not None and server.final >= 300:
            server.ack()
            return
        dialog = self._dialog(request) if tag_of(request.headers["To"]) else None
        if dialog is None:
            return
        # also for a leg that is over: the worker may not send BYE before the ACK
        try:
            body = relay.body_from_phone(request, dialog, offer=False)
        except sdp.SdpError:
            body = b""
        self._core.to_worker(self._core.relay.request_to_worker(request, dialog, new_branch(), body), dialog)
        self._moved(request, dialog, flow)

    def _in_dialog(self, request: Request, flow: Flow, key: tuple[str, str]) -> None:
        core = self._core
        dialog = self._dialog(request)
        if request.method == "REFER":
            self._transfers.refer(request, flow, (*key, "REFER"), dialog)
        elif dialog is None:
            core.reply(request, flow, 481)
        elif dialog.ended:
            core.reply(request, flow, 200 if request.method == "BYE" else 481)
        elif request.method == "OPTIONS":
            offered = [("Allow", core.relay.allow), ("Supported", core.relay.supported)]
            core.reply(request, flow, 200, "", *offered)
        elif request.method == "INVITE":
            self._reinvite(request, flow, key, dialog)
        elif request.method == "INFO":
            self._info(request, flow, dialog)
        elif request.method == "NOTIFY":
            self._notify(request, flow, dialog)
        elif request.method == "MESSAGE":
            self._message(request, flow, key)
        elif request.method in ("BYE", "UPDATE", "PRACK"):
            self._pass(request, flow, dialog)
        else:
            core.reply(request, flow, 405, "", ("Allow", core.relay.allow))

    def _moved(self, request: Request, dialog: Dialog, flow: Flow) -> None:
        """Follow a phone whose address changed (target refresh, NAT rebinding)."""
        if flow.transport == dialog.flow.transport:
            dialog.flow = flow
        if request.method in ("INVITE", "UPDATE"):
            dialog.refresh(request)

    def _notify(self, request: Request, flow: Flow, dialog: Dialog) -> None:
        """News of the phone about a REFER of the worker (RFC 3515 section 2.4.4)."""
        try:
            refer.check_notify(request)
        except ReferError as error:
            known = {489: ("Allow-Events", "refer"), 415: ("Accept", "message/sipfrag")}.get(error.status)
            self._core.reply(request, flow, error.status, "", *([known] if known else []))
            return
        about = refer.event_number(request.headers["Event"]) or dialog.referred
        if not dialog.referred or (about != dialog.referred and dialog.numbers.to_worker(about) is not None):
            self._core.reply(request, flow, 481)  # nobody asked, or about an earlier REFER
            return
        # pjsip wants the same id, or none, in all of them, whatever the phone does
        request.headers.set("Event", "refer")
        self._pass(request, flow, dialog)

    def _info(self, request: Request, flow: Flow, dialog: Dialog) -> None:
        kind = (request.headers.get("Content-Type") or "").split(";")[0].strip().lower()
        if kind == "application/dtmf":
            # one character; workers know only the form with Signal and Duration lines
            digit = request.body.decode("ascii", "replace").strip()
            request.headers.set("Content-Type", "application/dtmf-relay")
            request.body = f"Signal={digit}\r\nDuration=160\r\n".encode()
            kind = "application/dtmf-relay"
        if kind == "application/dtmf-relay":
            found = _SIGNAL.search(request.body.decode("ascii", "replace"))
            if found is None:
                self._core.reply(request, flow, 400, "Signal is not a digit")
                return
            request.body = f"Signal={found[1]}\r\nDuration=160\r\n".encode()
            self._pass(request, flow, dialog)
        elif not request.body:
            self._core.reply(request, flow, 200)
        else:
            accept = ("Accept", "application/dtmf-relay, application/dtmf")
            self._core.reply(request, flow, 415, "", accept)

    def _pass(self, request: Request, flow: Flow, dialog: Dialog) -> None:
        """Pass a request on without state; a repetition gets the same branch again."""
        core = self._core
        try:
            body = relay.body_from_phone(request, dialog, offer=True)
        except sdp.SdpError as error:
            core.reply(request, flow, error.status)
            return
        if request.method in ("INFO", "NOTIFY"):
            body = request.body  # checked before
        seed = (request.via[0].parameters.get("branch") or "").encode()
        branch = "z9hG4bK" + hashlib.blake2b(seed + dialog.key.encode(), digest_size=10).hexdigest()
        passed = core.relay.request_to_worker(request, dialog, branch, body)

        def reply(response: Response) -> None:
            try:
                answer = relay.body_from_worker(response, dialog, offer=False)
            except sdp.SdpError:
                answer = b""
            flow.send(bytes(core.relay.response_to_phone(response, request, dialog, answer)))

        core.pending.put(branch, Pending(request, reply))
        core.to_worker(passed, dialog)
        self._moved(request, dialog, flow)

    def _reinvite(self, request: Request, flow: Flow, key: tuple[str, str], dialog: Dialog) -> None:
        core = self._core
        offered = bool(request.body)
        server = InviteServer(core.reactor, request, flow.send, reliable=flow.transport == "tcp")
        core.server(key, server)

        def respond(response: Response) -> None:
            server.respond(response)
            if response.code >= 200:
                core.server_done(key)

        try:
            body = relay.body_from_phone(request, dialog, offer=True)
        except sdp.SdpError as error:
            respond(response_to(request, error.status, PHRASES.get(error.status, "")))
            return
        respond(response_to(request, 100))

        def answered(response: Response) -> None:
            try:
                answer = relay.body_from_worker(response, dialog, offer=not offered)
            except sdp.SdpError:
                respond(response_to(request, 500))
                return
            respond(core.relay.response_to_phone(response, request, dialog, answer))

        branch = new_branch()
        port = dialog.media_leg.sip_port
        core.client(
            core.relay.request_to_worker(request, dialog, branch, body),
            branch,
            lambda data: core.to_port(data, port),
            reliable=False,
            answered=answered,
            timed_out=lambda: respond(response_to(request, 408)),
            in_dialog=True,
        )
        self._moved(request, dialog, flow)
