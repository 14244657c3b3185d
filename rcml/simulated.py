"""The application, the prompts and the records in memory, beside `rcml.simulated_leg`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from rcml.ports import (
    FetchedDocument,
    FetchError,
    FetchFailure,
    FetchRequest,
    LegEnded,
    MessageReceipt,
    MessageRefused,
    Notice,
    OutgoingEmail,
    OutgoingMessage,
    Prompt,
    PromptError,
    PromptUrlError,
)
from rcml.simulated_leg import Clock, Tell
from rcml.urls import HTTP

CHARACTERS_PER_SECOND = 13.0
FILE_SECONDS = 3.0


@attrs.frozen(kw_only=True)
class Reply:
    """A reply of the simulated application, or a failure."""

    body: bytes | str = b""
    content_type: str | None = "text/xml"
    status: int = 200
    failure: FetchFailure | None = None
    seconds: float = 0.0
    """How long the application takes."""
    url: str = ""
    """The URL finally reached; empty: the one that was requested."""
    headers: tuple[tuple[str, str], ...] = ()
    """`X-...` headers of the reply."""


Replies = Mapping[str, Reply | str] | Callable[[FetchRequest], Reply | str | None]
"""Replies by URL (a text is an XML document), or a function."""


class SimulatedFetcher:
    """An application in memory; keeps the requests it got."""

    def __init__(self, replies: Replies, clock: Clock, tell: Tell) -> None:
        self.requests: list[FetchRequest] = []
        self._replies = replies
        self._clock = clock
        self._tell = tell

    async def fetch(self, request: FetchRequest, *, after_end: bool = False) -> FetchedDocument:
        """Give the reply that is set for the URL; 404 when there is none."""
        if self._clock.ended and not after_end:
            raise LegEnded("the caller left")
        self.requests.append(request)
        self._tell(self._clock.now, f"requests: {request.method} {request.url}")
        found = self._replies(request) if callable(self._replies) else self._replies.get(request.url)
        reply = Reply(body=found) if isinstance(found, str) else found or Reply(status=404)
        if reply.seconds:
            self._clock.let_pass(reply.seconds)
            if self._clock.ended and not after_end:
                raise LegEnded("the caller left")
        body = reply.body.encode("utf-8") if isinstance(reply.body, str) else reply.body
        failure = reply.failure
        if failure is None and reply.status != 200:
            failure = FetchFailure.NOT_FOUND if reply.status == 404 else FetchFailure.BAD_STATUS
        if failure is not None:
            message = f"the application answered {reply.status}" if reply.status != 200 else failure.value
            raise FetchError(
                failure, message, url=request.url, status=reply.status, body=body.decode("utf-8", "replace")
            )
        return FetchedDocument(
            url=reply.url or request.url,
            content_type=reply.content_type,
            body=body,
            headers=reply.headers,
        )


class SimulatedPrompts:
    """Prompts with an estimated length: 13 characters a second, files 3 seconds.

    Args:
        missing: says of a URL or a text that it cannot be obtained.
        schemes: schemes a file may have.
    """

    def __init__(
        self, missing: Callable[[str], bool] = lambda _: False, schemes: Sequence[str] = HTTP
    ) -> None:
        self._missing = missing
        self._schemes = tuple(f"{scheme}://" for scheme in schemes)
        self.spoken: list[tuple[str, str, str]] = []
        """(text, voice, language) of each text."""

    async def from_url(self, url: str) -> Prompt:
        """Give a prompt of 3 seconds."""
        if not url.startswith(self._schemes):
            raise PromptUrlError(f"{url} is not an absolute URL.")
        if self._missing(url):
            raise PromptError("the file was not found")
        return Prompt(source=url, seconds=FILE_SECONDS, label=url)

    async def from_text(self, text: str, *, voice: str, language: str) -> Prompt:
        """Give a prompt as long as the text."""
        if self._missing(text):
            raise PromptError("no engine could speak it")
        self.spoken.append((text, voice, language))
        return Prompt(source="", seconds=max(len(text) / CHARACTERS_PER_SECOND, 0.1), label=f'"{text}"')


class SimulatedRecords:
    """Keeps notices and the journal."""

    def __init__(self, clock: Clock, tell: Tell) -> None:
        self.notices: list[Notice] = []
        self.entries: list[tuple[str, dict[str, object]]] = []
        self._clock = clock
        self._tell = tell

    def notify(self, notice: Notice) -> None:
        """Keep a notice."""
        self.notices.append(notice)
        self._tell(self._clock.now, f"{notice.level.name.lower()} {notice.code}: {notice.message}")

    def journal(self, event: str, **fields: object) -> None:
        """Keep an entry."""
        self.entries.append((event, fields))


class SimulatedMessages:
    """Takes every text message; keeps them.

    Args:
        clock: of the simulation.
        tell: takes lines of the timeline.
        status: of each message when it was handed over.
        refused: code of the refusal, by recipient or sender.
        seconds: how long handing over takes.
    """

    def __init__(
        self,
        clock: Clock,
        tell: Tell,
        *,
        status: str = "sent",
        refused: Mapping[str, int] | None = None,
        seconds: float = 0.0,
    ) -> None:
        self.sent: list[OutgoingMessage] = []
        self.status = status
        self.refused = dict(refused or {})
        self.seconds = seconds
        self._clock = clock
        self._tell = tell

    async def send(self, message: OutgoingMessage) -> MessageReceipt:
        """Keep a message."""
        code = self.refused.get(message.to) or self.refused.get(message.from_)
        if code:
            raise MessageRefused("The message is refused.", code)
        self.sent.append(message)
        self._tell(self._clock.now, f'sends to {message.to} from {message.from_}: "{message.body}"')
        for name, value in message.headers:
            self._tell(self._clock.now, f"  with {name}: {value}")
        self._clock.let_pass(self.seconds)
        return MessageReceipt(sid=f"SM{len(self.sent):032x}", status=self.status)


class SimulatedMail:
    """Takes every mail; keeps them."""

    def __init__(self, clock: Clock, tell: Tell) -> None:
        self.sent: list[OutgoingEmail] = []
        self._clock = clock
        self._tell = tell

    def send(self, mail: OutgoingEmail) -> None:
        """Keep a mail."""
        self.sent.append(mail)
        everybody = ", ".join((*mail.to, *mail.cc, *mail.bcc))
        self._tell(self._clock.now, f'mails to {everybody} from {mail.from_}: "{mail.subject}"')
