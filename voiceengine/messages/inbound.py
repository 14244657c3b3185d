"""MESSAGE requests that arrive: answered, relayed, or given to an application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from rcml.ports import Level
from rcml.ports import Notice as StoredNotice
from voiceengine.calls.records import store_notice
from voiceengine.calls.routing import Caller, Notice
from voiceengine.errors import CallControlError
from voiceengine.messages.delivery import HOPS_HEADER, Handover, extra_headers
from voiceengine.messages.requests import MAX_BODY, SendMessage
from voiceengine.messages.routing import Refuse, ToApplication, ToClient, ToTrunk
from voiceengine.messages.trunk import REPORT_TYPE, read_report
from voiceengine.sip.headers import text_of_user
from voiceengine.sip.message import InboundMessage

if TYPE_CHECKING:
    from voiceengine.messages.service import MessageService

log = Logger()

RELAY_SECONDS: Final = 20.0
"""How long the next hop has when a sender waits for its answer.

Less than the 30 s that the edge waits for the answer, by what finding the way may take (DNS, a connection);
a sender that was told 500 would send what arrived once more.
"""
MAX_HOPS: Final = 10
"""Applications of this platform that a chain of answers may go through."""
_LEVELS: Final = {"error": Level.ERROR, "warning": Level.WARNING}


class Inbound:
    """Implements `sip.message.MessageHandler`."""

    def __init__(self, service: MessageService) -> None:
        self._service = service
        self._context = service.context
        self._running: set[Deferred[None]] = set()

    def message(self, message: InboundMessage) -> None:
        """Take a MESSAGE whose sender is known and whose body may be read."""
        service = self._service
        if service.stopping:
            message.respond(503, "", [("Retry-After", "30")])
            return
        if message.content_type == REPORT_TYPE:
            self._report(message)
            return
        uri = message.request.uri
        to = text_of_user(uri) or text_of_user(message.request.to_address.uri)
        decision = service.router.route(self._sender(message), to, uri.host)
        self._notify(decision.notices, decision.account_sid)
        match decision.route:
            case Refuse(code=code, phrase=phrase):
                if code == 404:
                    service.counters["TextMessageNotFound"] += 1
                message.respond(code, phrase)
            case ToApplication() as application:
                self._to_application(message, application, to)
            case ToClient(client=client, sender=sender):
                service.counters["TextMessageInboundToClient"] += 1
                wanted = self._wanted(message, sender.login, sender.account_sid, f"client:{client.login}")
                self._relay(message, wanted)
            case ToTrunk(sender=sender):
                service.counters["TextMessageInboundToProxyOut"] += 1
                self._relay(message, self._wanted(message, sender.login, sender.account_sid, to))

    def _sender(self, message: InboundMessage) -> Caller:
        identity = message.identity
        if identity.client_sid is not None:
            client = self._context.store.clients.get(identity.client_sid)
            return Caller("client", client, message.flow.host)
        return Caller("trunk" if identity.trunk else "outside", None, message.flow.host)

    def _notify(self, notices: tuple[Notice, ...], account_sid: str | None) -> None:
        store = self._context.store
        admin = store.accounts.super_admin()
        owner = account_sid or (admin.sid if admin is not None else "")
        for notice in notices:
            level = _LEVELS.get(notice.level, Level.WARNING)
            stored = StoredNotice(code=notice.code, level=level, message=notice.message)
            store_notice(store, stored, account_sid=owner, call_sid=None)

    def _report(self, message: InboundMessage) -> None:
        if message.identity.trunk is None:
            message.respond(403)
            return
        report = read_report(message.text)
        message.respond(200 if report is not None else 400)
        if report is not None:
            self._service.report(report)

    # -------------------------------------------------------------- to an application

    def _to_application(self, message: InboundMessage, application: ToApplication, to: str) -> None:
        text = message.request.headers.get(HOPS_HEADER, "0") or "0"
        hops = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0
        if hops > MAX_HOPS:
            log.warn("message_loop to={to} hops={hops}", to=to, hops=hops)
            message.respond(483, "Too Many Hops")
            return
        if self._service.applications_full:
            message.respond(503, "", [("Retry-After", "5")])
            return
        sender = text_of_user(message.request.from_address.uri) or "anonymous"
        self._service.receive(application, sender, to, message.text, _headers(message), hops)
        message.respond(202)

    # -------------------------------------------------------------- to somebody else

    def _wanted(self, message: InboundMessage, login: str, account_sid: str, to: str) -> SendMessage:
        return SendMessage(
            account_sid=account_sid,
            from_=login,
            to=to,
            body=message.text,
            direction="outbound-call",
            headers=_headers(message),
        )

    def _relay(self, message: InboundMessage, wanted: SendMessage) -> None:
        """Send for a client, and pass the final answer back to it."""
        try:
            taken = self._service.take(wanted, timeout=RELAY_SECONDS)
        except CallControlError as refusal:
            code = refusal.status if refusal.status in (403, 503) else 400
            message.respond(413 if len(wanted.body) > MAX_BODY else code)
            return
        work: Deferred[None] = Deferred.fromCoroutine(self._answer(message, wanted, taken.handed))
        self._running.add(work)
        work.addErrback(self._failed, message)
        work.addBoth(lambda _: self._running.discard(work))

    async def _answer(self, message: InboundMessage, wanted: SendMessage, handed: Deferred[Handover]) -> None:
        handover = await handed
        if handover.code == 404 and wanted.to.startswith("client:"):
            login = wanted.to.removeprefix("client:")
            notice = Notice(11001, "warning", f"The client {login!r} is not registered.")
            self._notify((notice,), wanted.account_sid)
        code = _passed(handover.code)
        message.respond(code, handover.phrase if code == handover.code else "")

    def _failed(self, failure: Failure, message: InboundMessage) -> None:
        if not failure.check(CancelledError):
            log.failure("message_relay_failed", failure)
        message.respond(503 if failure.check(CancelledError) else 500)


def _passed(code: int) -> int:
    """The code that a sender gets; what only the engine could act on becomes a plain refusal.

    A challenge without its header (RFC 3261 section 22.3), a redirection without Contact (section 8.1.3.4).
    """
    if code in (401, 407):
        return 403
    if 300 <= code < 400:
        return 480
    return code or 500


def _headers(message: InboundMessage) -> tuple[tuple[str, str], ...]:
    headers = message.request.headers
    return tuple(extra_headers((name, headers[name]) for name in headers.keys()))
