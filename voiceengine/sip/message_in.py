"""MESSAGE of phones and trunks (RFC 3428): checked, identified, and handed over to be answered."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from sipmessage import Request
from twisted.logger import Logger

from voiceengine.config import Messages as Settings
from voiceengine.sip.headers import HeaderError, clean, parameters, reason_value, text_of_user
from voiceengine.sip.invite import CallerIdentity
from voiceengine.sip.transaction import TIMEOUT
from voiceengine.sip.wire import response_to, tag_of

if TYPE_CHECKING:
    from voiceengine.sip.core import EdgeCore
    from voiceengine.sip.transport import Flow

log = Logger()

MAX_PENDING: Final = 1_000
"""Messages that wait for their answer; more are refused with 503."""
MAX_REMEMBERED: Final = 100_000
"""Answers that are kept for repetitions; beyond that messages are refused with 503."""
ANSWER_SECONDS: Final = TIMEOUT - 2.0
"""An answer after this time comes too late for the sender's Timer F (RFC 4320 section 4.1)."""
RETRY_AFTER: Final = ("Retry-After", "5")

REPORT: Final = "message/imdn+xml"
"""A delivery report (RFC 5438): always taken, as it is no message."""
_COMPOSING: Final = "application/im-iscomposing+xml"
_CHARSETS: Final = frozenset(
    codecs.lookup(name).name
    for name in (
        "utf-8",
        "us-ascii",
        "utf-16",
        "utf-16-le",
        "utf-16-be",
        *(f"iso-8859-{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 16)),
        *(f"windows-{page}" for page in range(1250, 1259)),
    )
)
_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Refusal(Exception):
    """A MESSAGE that is answered without asking anybody.

    Args:
        code: the SIP status.
        reason: a sentence for the Reason header.
        headers: further headers of the answer.
    """

    def __init__(self, code: int, reason: str = "", *headers: tuple[str, str]) -> None:
        super().__init__(reason)
        self.code = code
        said = [("Reason", reason_value(reason, code))] if reason else []
        self.headers = [*said, *headers]


def media_type(request: Request) -> tuple[str, dict[str, str]]:
    """Media type in lower case, and its parameters.

    Raises:
        Refusal: 400 for a header that cannot be read.
    """
    base, semicolon, rest = (request.headers.get("Content-Type") or "").partition(";")
    try:
        return base.strip().lower(), parameters(semicolon + rest)
    except HeaderError:
        raise Refusal(400, "Content-Type is not valid") from None


def text_of(request: Request, settings: Settings) -> tuple[str, str]:
    """The content type and the decoded body of a MESSAGE.

    Raises:
        Refusal: 200 for what is of no interest (RFC 3994), 400, 406, 413 or 415 for what is not taken.
    """
    kind, options = media_type(request)
    if kind == _COMPOSING:
        raise Refusal(200)
    if not request.body:
        raise Refusal(406, "Content Type is not text plain")
    if kind not in {REPORT, *(known.lower() for known in settings.content_types)}:
        raise Refusal(415, "", ("Accept", ", ".join(settings.content_types)))
    encoding = (request.headers.get("Content-Encoding") or "identity").strip().lower()
    if encoding != "identity":
        raise Refusal(415, "", ("Accept-Encoding", "identity"))
    if len(request.body) > settings.max_bytes:
        raise Refusal(413)
    charset = options.get("charset") or "utf-8"
    try:
        if codecs.lookup(charset).name not in _CHARSETS:
            raise LookupError
        text = request.body.decode(charset)
    except (LookupError, UnicodeError, ValueError):
        raise Refusal(400, f"The body is not {clean(charset, 32)}") from None
    if not text or _CONTROL.search(text):
        raise Refusal(400, "The body is not a text")
    return kind, text


class MessageRequest:
    """A MESSAGE that waits for its answer; implements `message.InboundMessage`."""

    def __init__(
        self,
        request: Request,
        flow: Flow,
        identity: CallerIdentity,
        content_type: str,
        text: str,
        answer: Callable[[bytes], None],
    ) -> None:
        self.request = request
        self.flow = flow
        self.identity = identity
        self.content_type = content_type
        self.text = text
        self._answer: Callable[[bytes], None] | None = answer

    @property
    def answered(self) -> bool:
        """Whether it got its final response."""
        return self._answer is None

    def respond(self, code: int, phrase: str = "", headers: Iterable[tuple[str, str]] = ()) -> None:
        """Send the final response; without effect after the first."""
        answer, self._answer = self._answer, None
        if answer is not None:
            answer(bytes(response_to(self.request, code, phrase, headers)))


class Messages:
    """Takes MESSAGE from phones and trunks.

    Args:
        core: the edge.
        settings: what bodies are taken.
        identify: tells the sender, or the headers of a 407.
        accepting: False while the engine drains.
        refuse: answers without remembering anything.
    """

    def __init__(
        self,
        core: EdgeCore,
        settings: Settings,
        identify: Callable[[Request, Flow], CallerIdentity | list[tuple[str, str]]],
        accepting: Callable[[], bool],
        refuse: Callable[[Request, Flow, int, list[tuple[str, str]]], None],
    ) -> None:
        self._core = core
        self._settings = settings
        self._identify = identify
        self._accepting = accepting
        self._refuse = refuse
        self._timers: dict[tuple[str, str, str], Any] = {}
        """Of the messages that wait for their answer."""

    @property
    def accepts(self) -> str:
        """Content types that are taken, for Accept."""
        return ", ".join(self._settings.content_types)

    def message(self, request: Request, flow: Flow, transaction: tuple[str, str, str]) -> None:
        """Take a MESSAGE that is no repetition, outside of calls or inside one."""
        core = self._core
        handler = core.on_message
        if handler is None:
            self._refuse(request, flow, 405, [("Allow", core.relay.allow)])
            return
        if not self._accepting() or self._full():
            self._refuse(request, flow, 503, [RETRY_AFTER])
            return
        try:
            kind, text = text_of(request, self._settings)
        except Refusal as refusal:
            self._refuse(request, flow, refusal.code, refusal.headers)
            return
        identity = self._identify(request, flow)
        if isinstance(identity, list):
            self._refuse(request, flow, 407, identity)
            return
        if tag_of(request.headers["To"]):
            # the Request-URI of a call is the token of its dialog; To is who the phone talks with
            request.uri = request.to_address.uri
        if not text_of_user(request.uri) and not text_of_user(request.to_address.uri):
            self._refuse(request, flow, 404, [])
            return
        message = MessageRequest(
            request, flow, identity, kind, text, lambda data: self._answer(transaction, flow, data)
        )
        self._enter(message, transaction)
        try:
            handler.message(message)
        except Exception:
            log.failure("message_handler_failed call_id={call_id}", call_id=request.headers["Call-ID"])
            message.respond(500)

    def _full(self) -> bool:
        core = self._core
        if len(self._timers) < MAX_PENDING and len(core.replies) < MAX_REMEMBERED:
            return False
        core.counters["messages_refused"] += 1
        return True

    def _enter(self, message: MessageRequest, transaction: tuple[str, str, str]) -> None:
        """Watch over a message until it is answered."""
        core = self._core

        def late() -> None:
            log.warn("message_not_answered call_id={call_id}", call_id=message.request.headers["Call-ID"])
            message.respond(500)

        core.replies.put(transaction, b"")  # a repetition is not another message
        self._timers[transaction] = core.reactor.callLater(ANSWER_SECONDS, late)

    def _answer(self, transaction: tuple[str, str, str], flow: Flow, data: bytes) -> None:
        timer = self._timers.pop(transaction, None)
        if timer is None:
            return  # the edge was closed
        if timer.active():
            timer.cancel()
        self._core.replies.put(transaction, data)
        flow.send(data)

    def close(self) -> None:
        """Answer nothing any more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
