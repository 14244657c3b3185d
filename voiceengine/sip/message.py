"""MESSAGE requests (RFC 3428): what is handed to messaging, and what an answer to one of ours says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import attrs
from sipmessage import Request, Response

from voiceengine.sip.invite import CallerIdentity
from voiceengine.sip.transport import Flow


class InboundMessage(Protocol):
    """A MESSAGE whose sender is known and whose body may be read (made by `message_in.MessageRequest`).

    One that came inside a call has the URI of To as its Request-URI.
    """

    request: Request
    """Its Request-URI or its To names a user."""
    flow: Flow
    identity: CallerIdentity
    """An authenticated client, a trunk, or an outside sender."""
    content_type: str
    """Media type in lower case, without parameters."""
    text: str
    """The body, decoded; not empty, without control characters but tabs and line ends."""

    def respond(self, code: int, phrase: str = "", headers: Iterable[tuple[str, str]] = ()) -> None:
        """Send the final response, once; repetitions of the request get the same again."""
        ...


class MessageHandler(Protocol):
    """Decides about MESSAGE requests."""

    def message(self, message: InboundMessage) -> None:
        """Take a message; answer it by `message.respond`, at once or later (after 30 s it gets 500)."""
        ...


@attrs.frozen(kw_only=True)
class Answer:
    """The final response to a request of ours."""

    code: int
    """408 when none came in time, 503 when it could not be sent, 513 when it is too large for the way."""
    phrase: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    """All headers of the response."""

    @classmethod
    def of(cls, response: Response) -> Answer:
        """The answer that a response is."""
        headers = response.headers
        pairs = tuple((name, value) for name in headers.keys() for value in headers.getlist(name))
        return cls(code=response.code, phrase=response.phrase, headers=pairs)

    def header(self, name: str) -> str:
        """First value of a header, '' without one."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    def all(self, name: str) -> list[str]:
        """All values of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]
