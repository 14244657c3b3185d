"""MESSAGE requests (RFC 3428): what is handed to messaging, and what an answer to one of ours says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import attrs
from sipmessage import Request

from voiceengine.sip.invite import CallerIdentity
from voiceengine.sip.transport import Flow


class InboundMessage(Protocol):
    """A MESSAGE outside dialogs whose sender is known and whose body may be read."""

    request: Request
    flow: Flow
    identity: CallerIdentity
    """An authenticated client, a trunk, or an outside sender."""
    content_type: str
    """Media type in lower case, without parameters."""
    text: str
    """The body, decoded; not empty."""

    def respond(self, code: int, phrase: str = "", headers: Iterable[tuple[str, str]] = ()) -> None:
        """Send the final response, once; repetitions of the request get the same again."""
        ...


class MessageHandler(Protocol):
    """Decides about MESSAGE requests."""

    def message(self, message: InboundMessage) -> None:
        """Take a message; it is answered by `message.respond`, at once or later (within 32 s)."""
        ...


@attrs.frozen(kw_only=True)
class Answer:
    """The final response to a request of ours."""

    code: int
    """408 when none came in time."""
    phrase: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    """All headers of the response."""

    def header(self, name: str) -> str:
        """First value of a header, '' without one."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    def all(self, name: str) -> list[str]:
        """All values of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]
