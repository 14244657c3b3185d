"""Text messages: taken from programs, documents and phones, handed over, and followed to their end.

A message is recorded at once and handed over in the background; `ledger` keeps its record, `client_messages`
those that wait for a client, `applications` answers the ones that come.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Final

import attrs
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.logger import Logger

from rcml.ports import CallInfo, Mail, Messages, Notice
from voiceengine.calls.routing import Router
from voiceengine.errors import CallControlError
from voiceengine.messages.applications import Applications
from voiceengine.messages.client_messages import ClientMessages, text_of
from voiceengine.messages.context import MessageContext
from voiceengine.messages.delivery import (
    UNKNOWN_ERROR,
    DeliveryReport,
    Handover,
    SmsProvider,
    extra_headers,
    failed,
)
from voiceengine.messages.documents import DocumentMail, DocumentMessages
from voiceengine.messages.inbound import MAX_HOPS, Inbound
from voiceengine.messages.ledger import Ledger, headers_of, is_client
from voiceengine.messages.mail import MailService
from voiceengine.messages.requests import BLOCKED, OVERFLOW, SUSPENDED, SendMessage
from voiceengine.messages.routing import MessageRouter, ToApplication
from voiceengine.messages.rules import Rate, check_message
from voiceengine.messages.segments import segments
from voiceengine.sip.message import InboundMessage
from voiceengine.store.rows import MessageRow, new_sid

log = Logger()

STOP_SECONDS: Final = 5.0
"""How long the end of the engine waits for messages on their way."""
COUNTERS: Final = (
    "TextMessageInboundToApp",
    "TextMessageInboundToClient",
    "TextMessageInboundToProxyOut",
    "TextMessageNotFound",
    "TextMessageOutbound",
)


@attrs.frozen
class Taken:
    """A message that was taken."""

    row: MessageRow
    handed: Deferred[Handover]
    """Fires when the next hop has answered; never fails."""


class MessageService:
    """Implements `requests.MessageControl`, `sip.message.MessageHandler` and `calls.context.Messaging`.

    Args:
        context: services and settings.
        provider: the way to the phone network.
        mail: sends the mail of documents.
    """

    def __init__(self, context: MessageContext, provider: SmsProvider, mail: MailService) -> None:
        self.context = context
        self.counters: Counter[str] = Counter(dict.fromkeys(COUNTERS, 0))
        self.stopping = False
        self._provider = provider
        self._mail = mail
        self.ledger = Ledger(context.store, context.web, context.wall)
        self._clients = ClientMessages(context, self.ledger)
        self._applications = Applications(
            context.store, context.web, context.interpreter, self._answers, self.mail
        )
        self._inbound = Inbound(self)
        self._running: set[Deferred[None]] = set()
        self._rate = Rate(context.settings.messages.per_second)

    @property
    def waiting(self) -> int:
        """Messages that wait for a client to register."""
        return self._clients.waiting

    @property
    def router(self) -> MessageRouter:
        """Decides about messages."""
        context = self.context
        return MessageRouter(
            Router(context.tables, context.base_url()), to_trunk=context.settings.messages.to_trunk
        )

    # -------------------------------------------------------------- life

    async def start(self) -> None:
        """Take up what an earlier run left waiting for clients."""
        await self._clients.start()

    async def stop(self) -> None:
        """Take nothing more, let what is on its way arrive for a short while, then close the rest."""
        self.stopping = True
        reactor = self.context.reactor
        works = (*self._running, *self._applications.running)
        waiting = DeferredList([_end_of(work) for work in works], consumeErrors=True)
        waiting.addTimeout(STOP_SECONDS, reactor)
        await waiting
        if self._running:
            log.warn("messages_not_handed_over messages={messages}", messages=len(self._running))
        self._clients.hold_on()
        self._applications.stop()
        for work in list(self._running):
            work.cancel()
        self._clients.stop()
        for row in self.ledger.live:
            if row.held_until is None:
                self.ledger.handed(row.sid, failed(UNKNOWN_ERROR, 503))
        await self.ledger.drained(reactor)

    # -------------------------------------------------------------- programs

    async def send(self, request: SendMessage) -> MessageRow:
        """Take a message of a program."""
        self.count(request.account_sid)
        return self.take(request).row

    def count(self, account_sid: str) -> None:
        """Count a message that a program or a document of an account sends.

        Raises:
            LimitReached: it is one too many in this second.
        """
        self._rate.check(account_sid, self.context.reactor.seconds())

    async def forget(self, sid: str) -> None:
        """Hand a message over no more."""
        self._clients.forget(sid)
        self.ledger.forget(sid)

    async def redact(self, row: MessageRow) -> MessageRow:
        """Forget the text of a message; one that still waits or is on its way keeps it there."""
        return self.ledger.redact(row)

    # -------------------------------------------------------------- taking

    def take(self, request: SendMessage, *, timeout: float | None = None) -> Taken:
        """Record a message and begin to hand it over.

        Args:
            request: the message.
            timeout: time the next hop has, seconds; None: as the settings say.

        Raises:
            CallControlError: it is not taken.
        """
        context = self.context
        self._check(request)
        wall = context.wall()
        to_client = is_client(request.to)
        row = MessageRow(
            sid=new_sid("SM"),
            account_sid=request.account_sid,
            from_=request.from_,
            to=request.to,
            body=request.body,
            status="sending",
            direction=request.direction,
            num_segments=None if to_client else segments(request.body, request.encoding).count,
            encoding=request.encoding,
            status_callback=request.status_callback,
            status_callback_method=request.status_callback_method,
            call_sid=request.call_sid,
            api_version=request.api_version,
            headers=json.dumps(dict(extra_headers(request.headers))),
            date_created=wall,
            date_updated=wall,
        )
        self.ledger.add(row)
        if request.direction != "outbound-call":
            self.counters["TextMessageOutbound"] += 1
        limit = context.settings.messages.answer_timeout
        handed: Deferred[Handover] = Deferred(lambda _: None)
        seconds = limit if timeout is None else min(limit, timeout)
        work: Deferred[None] = Deferred.fromCoroutine(self._hand_over(row, request.hops, seconds, handed))
        if not work.called:
            self._running.add(work)
        work.addErrback(
            lambda failure: log.failure("message_broken message={message}", failure, message=row.sid)
        )
        work.addBoth(lambda _: self._running.discard(work))
        return Taken(row, handed)

    def _check(self, request: SendMessage) -> None:
        if self.stopping:
            raise CallControlError("The engine is stopping and takes no new messages.", status=503)
        account = self.context.store.accounts.get(request.account_sid)
        if account is None or account.status != "active":
            raise CallControlError("Provided Account is not active", status=403, code=SUSPENDED)
        check_message(request, normalize=self.context.settings.calls.normalize_numbers)

    # -------------------------------------------------------------- handing over

    async def _hand_over(
        self, row: MessageRow, hops: int, timeout: float, handed: Deferred[Handover]
    ) -> None:
        try:
            handover = await self._deliver(row, hops, timeout)
        except CancelledError:
            handover = failed(UNKNOWN_ERROR, 503)
        except Exception:
            log.failure("message_not_handed_over message={message}", message=row.sid)
            handover = failed(UNKNOWN_ERROR, 500)
        self.ledger.handed(row.sid, handover)
        handed.callback(handover)

    async def _deliver(self, row: MessageRow, hops: int, timeout: float) -> Handover:
        if is_client(row.to):
            return await self._clients.send(row, timeout)
        router = self.router
        number = router.destination(row.to, row.account_sid)
        application = router.application(number) if number is not None else None
        if application is None:
            return await self._provider.send(text_of(row, row.to, hops), timeout)
        owner = self.context.store.accounts.get(application.number.account_sid)
        if owner is None or owner.status != "active":
            return failed(BLOCKED, 403, "Account is not ACTIVE")
        if hops > MAX_HOPS:
            log.warn(
                "message_loop message={message} to={to} hops={hops}", message=row.sid, to=row.to, hops=hops
            )
            return failed(BLOCKED, 483, "Too Many Hops")
        if self.applications_full:
            return failed(OVERFLOW, 503, "Too Many Messages")
        self.receive(application, row.from_, row.to, row.body, headers_of(row), hops)
        return Handover(status="delivered", code=202)

    # -------------------------------------------------------------- what comes

    def message(self, message: InboundMessage) -> None:
        """Take a MESSAGE of a phone or of a trunk."""
        self._inbound.message(message)

    @property
    def applications_full(self) -> bool:
        """Whether applications answer so many messages that no further one can be taken."""
        return self._applications.full

    def receive(
        self,
        application: ToApplication,
        from_: str,
        to: str,
        body: str,
        headers: tuple[tuple[str, str], ...],
        hops: int,
    ) -> MessageRow:
        """Record a message to a number of this platform and run its application."""
        wall = self.context.wall()
        row = MessageRow(
            sid=new_sid("SM"),
            account_sid=application.number.account_sid,
            from_=from_,
            to=to,
            body=body,
            status="received",
            direction="incoming",
            date_sent=wall,
            number_sid=application.number.sid,
            headers=json.dumps(dict(headers)),
            date_created=wall,
            date_updated=wall,
        )
        self.ledger.add(row)
        self.counters["TextMessageInboundToApp"] += 1
        log.info(
            "message_received message={message} account={account} number={number}",
            message=row.sid,
            account=row.account_sid,
            number=row.number_sid,
        )
        self._applications.begin(row, application, hops)
        return row

    def report(self, report: DeliveryReport) -> None:
        """A provider tells what became of a message."""
        work = Deferred.fromCoroutine(self.ledger.report(report))

        def told(known: bool) -> None:
            if not known:
                log.info("message_report_ignored message={message}", message=report.sid)

        work.addCallback(told)
        work.addErrback(
            lambda failure: log.failure(
                "message_report_failed message={message}", failure, message=report.sid
            )
        )

    # -------------------------------------------------------------- documents

    def messages(self, call: CallInfo) -> Messages:
        """The port that sends the text messages of a call."""
        return DocumentMessages(self, account_sid=call.account_sid, call_sid=call.call_sid, hops=0)

    def _answers(self, row: MessageRow, hops: int) -> Messages:
        return DocumentMessages(self, account_sid=row.account_sid, call_sid=None, hops=hops)

    def mail(self, account_sid: str, notify: Callable[[Notice], None]) -> Mail:
        """The port that sends mail for an account."""
        return DocumentMail(self._mail, account_sid, notify)

    def addressed(self, to: str, account_sid: str) -> str:
        """The destination of a document: the name of a client gets the prefix `client:`."""
        if is_client(to) or self._clients.find(to, account_sid) is None:
            return to
        return f"client:{to}"


def _end_of(work: Deferred[None]) -> Deferred[None]:
    """Fires when something is over; giving up to wait for it does not end it."""
    over: Deferred[None] = Deferred()

    def told(result: None) -> None:
        if not over.called:
            over.callback(None)
        return result

    work.addBoth(told)
    return over
