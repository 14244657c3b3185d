"""E-mail: messages are written, and delivered in the background (RFC 5322)."""

from __future__ import annotations

import email.policy
import email.utils
import re
import ssl
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredSemaphore
from twisted.logger import Logger
from twisted.python.failure import Failure

from rcml.ports import Level, Notice
from voiceengine.calls.records import store_notice
from voiceengine.config import Mail
from voiceengine.errors import CallControlError
from voiceengine.messages.requests import SendEmail
from voiceengine.messages.smtp import Delivery, explain
from voiceengine.store.store import Store

log = Logger()

MAX_SUBJECT: Final = 160
"""Characters of a subject; the rest is cut."""
MAX_RECIPIENTS: Final = 100
AT_ONCE: Final = 4
"""Connections to the mail server."""
MAX_WAITING: Final = 1000
STOP_SECONDS: Final = 5.0
IO_FAILURE: Final = 11205
BAD_ADDRESS: Final = 11100
_ASCII: Final = "".join(map(chr, range(0x20, 0x7F))) + "\r\n"
_ADDRESS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)
_TYPE = re.compile(
    r"text/([a-z0-9][a-z0-9.+-]{0,60})\s*(?:;\s*charset=\"?([A-Za-z0-9_.:-]{1,40})\"?\s*)?", re.IGNORECASE
)


def is_address(text: str) -> bool:
    """Whether a text is a plain address: `name@host`, without display name, 254 characters at most."""
    return len(text) <= 254 and _ADDRESS.fullmatch(text) is not None


def is_text_type(text: str) -> bool:
    """Whether a content type is one of text, perhaps with a charset."""
    return _TYPE.fullmatch(text.strip()) is not None


def compose(request: SendEmail, at: float, domain: str) -> EmailMessage:
    """Write a mail (RFC 5322). Bcc is in the envelope only; no value can begin another header.

    Args:
        request: the mail.
        at: wall time, seconds.
        domain: right side of the Message-ID.
    """
    # a server need not take more than 7 bits (RFC 6152)
    message = EmailMessage(policy=email.policy.SMTP.clone(cte_type="7bit"))
    message["From"] = request.from_
    message["To"] = ", ".join(request.to)
    if request.cc:
        message["Cc"] = ", ".join(request.cc)
    message["Subject"] = _valid(" ".join(request.subject.split()))[:MAX_SUBJECT]
    message["Date"] = email.utils.formatdate(at)
    message["Message-ID"] = email.utils.make_msgid(domain=domain)
    found = _TYPE.fullmatch(request.content_type.strip())
    subtype, charset = (found[1].lower(), found[2] or "UTF-8") if found else ("plain", "UTF-8")
    body = _valid(request.body)
    if not _is_usual(charset):
        charset = "UTF-8"
    try:
        message.set_content(body, subtype=subtype, charset=charset)
    except (LookupError, UnicodeError):
        message.set_content(body, subtype=subtype, charset="UTF-8")
    return message


def _valid(text: str) -> str:
    """The text with `?` for every surrogate that stands alone."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _is_usual(charset: str) -> bool:
    """Whether mail can be written in a charset: ASCII stays ASCII in it (RFC 2046 section 4.1.2)."""
    try:
        return _ASCII.encode(charset) == _ASCII.encode("ascii")
    except (LookupError, UnicodeError):
        return False


class MailService:
    """Implements `requests.MailControl`.

    Args:
        reactor: IReactorTime, IReactorFromThreads.
        wall: wall time, seconds.
        settings: the mail server.
        store: notifications of mail that could not be delivered.
        domain: of Message-IDs.
        trust: makes the TLS context.
    """

    def __init__(
        self,
        reactor: Any,
        wall: Callable[[], float],
        settings: Mail,
        store: Store,
        domain: str,
        trust: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        self._reactor = reactor
        self._wall = wall
        self._settings = settings
        self._store = store
        self._domain = domain
        self._trust = trust
        self._gate = DeferredSemaphore(AT_ONCE)
        self._running: set[Deferred[None]] = set()
        self._stopping = False

    async def send(self, request: SendEmail) -> float:
        """Take a mail of a program."""

        def notify(notice: Notice) -> None:
            store_notice(self._store, notice, account_sid=request.account_sid, call_sid=None)

        return self.take(request, notify)

    def take(self, request: SendEmail, notify: Callable[[Notice], None]) -> float:
        """Take a mail; a failure later goes to `notify`. Returns when it was taken, wall time.

        Raises:
            CallControlError: it is not taken.
        """
        if not self._settings.server:
            raise CallControlError("No mail server is configured (setting mail.server).", status=503)
        if self._stopping or len(self._running) >= MAX_WAITING:
            raise CallControlError("No further mail is taken now.", status=503)
        recipients = (*request.to, *request.cc, *request.bcc)
        if not request.to or not all(map(is_address, (request.from_, *recipients))):
            raise CallControlError("Not a Valid Email Address", status=400, code=BAD_ADDRESS)
        if len(recipients) > MAX_RECIPIENTS:
            raise CallControlError(
                f"A mail can go to {MAX_RECIPIENTS} addresses at most.", status=400, code=BAD_ADDRESS
            )
        at = self._wall()
        message = compose(request, at, self._domain)
        name = str(message["Message-ID"])
        delivery = Delivery(
            settings=self._settings,
            sender=request.from_,
            recipients=recipients,
            message=message.as_bytes(),
            name=self._domain,
            trust=self._trust,
        )
        work: Deferred[None] = self._gate.run(self._begin, delivery)
        self._running.add(work)
        work.addCallback(
            lambda _: log.info(
                "mail_sent account={account} mail={mail}", account=request.account_sid, mail=name
            )
        )
        work.addErrback(self._failed, request, name, notify)
        work.addBoth(lambda _: self._running.discard(work))
        return at

    def _begin(self, delivery: Delivery) -> Deferred[None]:
        work = delivery.start(self._reactor)
        timer = self._reactor.callLater(self._settings.timeout, work.cancel)

        def over(result: Any) -> Any:
            if timer.active():
                timer.cancel()
            return result

        work.addBoth(over)
        return work

    def _failed(
        self, failure: Failure, request: SendEmail, name: str, notify: Callable[[Notice], None]
    ) -> None:
        if failure.check(CancelledError):
            reason = f"the mail server did not take it within {self._settings.timeout:g} s"
        else:
            reason = explain(failure)
        log.warn(
            "mail_failed account={account} mail={mail} reason={reason}",
            account=request.account_sid,
            mail=name,
            reason=reason,
        )
        notify(
            Notice(
                code=IO_FAILURE,
                level=Level.ERROR,
                message=f"The mail to {', '.join(request.to)} was not delivered: {reason}"[:500],
            )
        )

    async def stop(self) -> None:
        """Take nothing more; wait a short while for what is on its way, then give it up."""
        self._stopping = True
        works = list(self._running)
        waiting = DeferredList(works, consumeErrors=True)
        waiting.addTimeout(STOP_SECONDS, self._reactor)
        await waiting
