"""Applications that answer messages (reference: SMS, application request and executing the reply)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from http.cookiejar import CookieJar
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from rcml.interpreter import InterpreterSettings, Source
from rcml.message_flow import MessageInfo, MessageInterpreter, MessagePorts
from rcml.ports import FetchedDocument, FetchRequest, Mail, Messages, Notice
from voiceengine.calls.fetcher import WebClient
from voiceengine.calls.records import mask, store_notice
from voiceengine.messages.delivery import HOPS_HEADER, SID_HEADER
from voiceengine.messages.ledger import headers_of
from voiceengine.messages.routing import ToApplication
from voiceengine.store.rows import MessageRow
from voiceengine.store.store import Store

log = Logger()

CONVERSATIONS: Final = 1000
"""Pairs of sender and recipient whose cookies are kept."""
MAX_RUNNING: Final = 1000
"""Messages that are being answered; nobody outside can make the engine run more."""
_INTERNAL: Final = (HOPS_HEADER.lower(), SID_HEADER.lower())


class MessageFetcher:
    """Implements `rcml.ports.Fetcher` for one message; no caller can leave."""

    def __init__(self, client: WebClient, cookies: CookieJar) -> None:
        self._client = client
        self._cookies = cookies

    async def fetch(self, request: FetchRequest, *, after_end: bool = False) -> FetchedDocument:
        """Request a document."""
        settings = self._client.settings
        return await self._client.request(
            request.method,
            request.url,
            request.parameters,
            cookies=self._cookies,
            timeout=settings.timeout,
            limit=settings.max_document_bytes,
        )


class MessageRecords:
    """Implements `rcml.ports.Records` for one message: notifications carry its sid, events are logged."""

    def __init__(self, store: Store, row: MessageRow) -> None:
        self._store = store
        self._row = row

    def notify(self, notice: Notice) -> None:
        """Store a notification."""
        store_notice(self._store, notice, account_sid=self._row.account_sid, call_sid=self._row.sid)

    def journal(self, event: str, **fields: object) -> None:
        """Log an event."""
        log.debug(
            "message_flow message={message} step={step} {detail}",
            message=self._row.sid,
            step=event,
            detail=mask(str(fields)),
        )


class Applications:
    """Runs applications for messages.

    Args:
        store: for notifications.
        web: requests the documents.
        settings: of the interpreter.
        messages: makes the port that sends the answers of a message.
        mail: makes the port that sends mail for an account.
    """

    def __init__(
        self,
        store: Store,
        web: WebClient,
        settings: InterpreterSettings,
        messages: Callable[[MessageRow, int], Messages],
        mail: Callable[[str, Callable[[Notice], None]], Mail],
    ) -> None:
        self._store = store
        self._web = web
        self._settings = settings
        self._messages = messages
        self._mail = mail
        self._running: set[Deferred[None]] = set()
        self._cookies: OrderedDict[tuple[str, str, str], CookieJar] = OrderedDict()

    @property
    def running(self) -> tuple[Deferred[None], ...]:
        """Those that run; they never fail."""
        return tuple(self._running)

    @property
    def full(self) -> bool:
        """Whether no further message can be taken now."""
        return len(self._running) >= MAX_RUNNING

    def begin(self, row: MessageRow, application: ToApplication, hops: int) -> None:
        """Run an application for a message that came, in the background.

        Args:
            row: the message.
            application: the application.
            hops: applications that the chain of answers went through before.
        """
        work: Deferred[None] = Deferred.fromCoroutine(self._run(row, application, hops))
        self._running.add(work)
        work.addErrback(self._failed, row)
        work.addBoth(lambda _: self._running.discard(work))

    def _failed(self, failure: Failure, row: MessageRow) -> None:
        if failure.check(CancelledError):
            log.warn("message_application_stopped message={message}", message=row.sid)
        else:
            log.failure("message_application_failed message={message}", failure, message=row.sid)

    async def _run(self, row: MessageRow, application: ToApplication, hops: int) -> None:
        records = MessageRecords(self._store, row)
        ports = MessagePorts(
            fetcher=MessageFetcher(self._web, self._jar(row)),
            records=records,
            messages=self._messages(row, hops + 1),
            mail=self._mail(row.account_sid, records.notify),
        )
        info = MessageInfo(
            message_sid=row.sid,
            account_sid=row.account_sid,
            from_=row.from_,
            to=row.to,
            body=row.body,
            api_version=row.api_version,
            sip_headers={n: v for n, v in headers_of(row) if n.lower() not in _INTERNAL},
        )
        outcome = await MessageInterpreter(ports, info, self._settings).run(
            Source(
                url=application.url,
                method=application.method,
                fallback_url=application.fallback_url,
                fallback_method=application.fallback_method,
            )
        )
        log.info(
            "message_answered message={message} account={account} outcome={outcome} reason={reason}",
            message=row.sid,
            account=row.account_sid,
            outcome=outcome.kind.value,
            reason=outcome.reason,
        )

    def _jar(self, row: MessageRow) -> CookieJar:
        """The cookies of a conversation: one store for each pair of sender and recipient."""
        key = (row.account_sid, row.from_, row.to)
        jar = self._cookies.pop(key, None) or CookieJar()
        self._cookies[key] = jar
        while len(self._cookies) > CONVERSATIONS:
            self._cookies.popitem(last=False)
        return jar

    def stop(self) -> None:
        """End those that run."""
        for work in self.running:
            work.cancel()
