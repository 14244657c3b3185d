"""What documents send with: the ports `rcml.ports.Messages` and `rcml.ports.Mail`."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import parseaddr
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from rcml.ports import Level, MessageReceipt, MessageRefused, Notice, OutgoingEmail, OutgoingMessage
from voiceengine.errors import CallControlError
from voiceengine.messages.delivery import Handover
from voiceengine.messages.requests import SendEmail, SendMessage

if TYPE_CHECKING:
    from voiceengine.messages.mail import MailService
    from voiceengine.messages.service import MessageService

log = Logger()

RECEIPT_SECONDS: Final = 4.0
"""How long a document waits for the next hop before it goes on."""
NOT_ALLOWED: Final = 11001
"""Notification code: the action is not possible for the account."""
_STATUSES: Final = {"delivered": "sent", "sent": "sent", "held": "queued", "failed": "failed"}


class DocumentMessages:
    """Implements `rcml.ports.Messages`.

    Args:
        service: sends.
        account_sid: the sender.
        call_sid: the call whose document sends, None for answers to messages.
        hops: applications that the chain of answers went through.
    """

    def __init__(self, service: MessageService, *, account_sid: str, call_sid: str | None, hops: int) -> None:
        self._service = service
        self._account_sid = account_sid
        self._call_sid = call_sid
        self._hops = hops

    async def send(self, message: OutgoingMessage) -> MessageReceipt:
        """Send a message; returns when the next hop has answered, and after a few seconds in any case."""
        service = self._service
        request = SendMessage(
            account_sid=self._account_sid,
            from_=message.from_,
            to=service.addressed(message.to, self._account_sid),
            body=message.body,
            direction="outbound-reply",
            status_callback=message.status_callback,
            status_callback_method=message.status_callback_method,
            headers=message.headers,
            call_sid=self._call_sid,
            hops=self._hops,
        )
        try:
            service.count(self._account_sid)
            taken = service.take(request)
        except CallControlError as refusal:
            raise MessageRefused(
                refusal.message, refusal.code if refusal.status == 400 else NOT_ALLOWED
            ) from None
        handover = await within(service.context.reactor, taken.handed, RECEIPT_SECONDS)
        status = "sending" if handover is None else _STATUSES[handover.status]
        return MessageReceipt(sid=taken.row.sid, status=status)


async def within(reactor: Any, handed: Deferred[Handover], seconds: float) -> Handover | None:
    """The answer of the next hop, None when it takes longer; nothing is cancelled."""
    told: Deferred[Handover | None] = Deferred()

    def tell(handover: Handover) -> Handover:
        if not told.called:
            told.callback(handover)
        return handover

    handed.addCallback(tell)
    timer = reactor.callLater(seconds, lambda: None if told.called else told.callback(None))
    try:
        return await told
    finally:
        if timer.active():
            timer.cancel()


def _plain(address: str) -> str:
    """The address alone: a name in front of it is left out."""
    return parseaddr(address)[1] or address


class DocumentMail:
    """Implements `rcml.ports.Mail`.

    Args:
        service: sends.
        account_sid: the sender.
        notify: told what went wrong.
    """

    def __init__(self, service: MailService, account_sid: str, notify: Callable[[Notice], None]) -> None:
        self._service = service
        self._account_sid = account_sid
        self._notify = notify

    def send(self, mail: OutgoingEmail) -> None:
        """Send in the background."""
        request = SendEmail(
            account_sid=self._account_sid,
            from_=_plain(mail.from_),
            to=tuple(map(_plain, mail.to)),
            cc=tuple(map(_plain, mail.cc)),
            bcc=tuple(map(_plain, mail.bcc)),
            subject=mail.subject,
            body=mail.body,
        )
        try:
            self._service.take(request, self._notify)
        except CallControlError as refusal:
            self._notify(
                Notice(
                    code=refusal.code or NOT_ALLOWED,
                    level=Level.WARNING,
                    message=f"The mail was not sent: {refusal.message}",
                )
            )
