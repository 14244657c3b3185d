"""Text messages to the registered phones of a client (RFC 3428)."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from voiceengine.messages.delivery import (
    TEXT,
    Handover,
    OutboundText,
    SipRequests,
    extra_headers,
    failed,
    outcome,
    own_address,
)
from voiceengine.sip.access import Access, Location
from voiceengine.sip.message import Answer
from voiceengine.store.rows import BindingRow, Client

log = Logger()

UNREACHABLE = 30003


class ClientDelivery:
    """Sends to every phone of a client at once; the first that takes the text decides.

    Args:
        edge: sends.
        access: addresses of record.
        location: bindings.
    """

    def __init__(self, edge: SipRequests, access: Access, location: Location) -> None:
        self._edge = edge
        self._access = access
        self._location = location
        self._sending: set[Deferred[Answer]] = set()

    def bindings(self, client: Client) -> list[BindingRow]:
        """Phones that can be reached."""
        return self._location.of_client(self._access.aor(client), client)

    async def send(self, text: OutboundText, client: Client, timeout: float) -> Handover:
        """Send to all phones; returns at the first success, else when all have answered."""
        phones = self.bindings(client)
        if not phones:
            return failed(UNREACHABLE, 404, "Client Is Not Registered")
        found: Deferred[Handover] = Deferred(lambda _: self._cancel(works))
        answers: list[Answer] = []

        def told(answer: Answer) -> None:
            answers.append(answer)
            if found.called:
                return
            if answer.code < 300:
                found.callback(Handover(status="delivered", code=answer.code, phrase=answer.phrase))
            elif len(answers) == len(phones):
                found.callback(outcome(_best(answers)))

        works = [Deferred.fromCoroutine(self._one(text, phone, client, timeout)) for phone in phones]
        for work in works:
            self._sending.add(work)
            work.addBoth(self._done, work)
            work.addErrback(self._broken, text)
            work.addCallback(lambda answer: told(answer) if answer is not None else None)
        return await found

    def _done(self, result: object, work: Deferred[Answer]) -> object:
        self._sending.discard(work)
        return result

    def _broken(self, failure: Failure, text: OutboundText) -> Answer | None:
        """What a phone counts as whose request raised; None when it was cancelled."""
        if failure.check(CancelledError):
            return None
        log.failure("message_phone_failed message={message}", failure, message=text.sid)
        return Answer(code=500)

    def _cancel(self, works: Sequence[Deferred[Answer]]) -> None:
        for work in works:
            work.cancel()

    def stop(self) -> None:
        """Give up what is still on its way to further phones."""
        self._cancel(list(self._sending))

    async def _one(self, text: OutboundText, phone: BindingRow, client: Client, timeout: float) -> Answer:
        try:
            flow = await self._edge.flow_to_binding(phone)
            return await self._edge.request(
                "MESSAGE",
                phone.contact,
                flow,
                from_=own_address(text.from_.removeprefix("client:"), flow.listener.public_host),
                to=f"<sip:{self._access.aor(client)}>",
                headers=extra_headers(text.headers),
                body=text.body.encode("utf-8", "replace"),
                content_type=TEXT,
                timeout=timeout,
            )
        except (OSError, ValueError) as error:
            log.info(
                "message_phone_unreachable message={message} contact={contact} reason={reason}",
                message=text.sid,
                contact=phone.contact,
                reason=str(error),
            )
            return Answer(code=480, phrase="Temporarily Unavailable")


def _best(answers: Sequence[Answer]) -> Answer:
    """The refusal that tells most: a global one, else any that is no timeout (RFC 3261 section 16.7)."""
    return min(answers, key=lambda answer: (answer.code < 600, answer.code == 408, answer.code))
