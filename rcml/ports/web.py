"""Documents and audio from applications."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Protocol

import attrs

from rcml.ports.events import Prompt


@attrs.frozen(kw_only=True)
class FetchRequest:
    """One HTTP request to the application."""

    url: str
    """Absolute URL; may hold a query and user information."""
    method: str
    """`GET` or `POST`."""
    parameters: Sequence[tuple[str, str]] = ()


@attrs.frozen(kw_only=True)
class FetchedDocument:
    """A reply with status 200."""

    url: str
    """The URL finally reached, after redirects; base for relative URLs."""
    content_type: str | None
    """Value of the Content-Type header as received, None when missing."""
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    """The `X-...` headers of the reply."""


class FetchFailure(enum.Enum):
    """Why no document was obtained."""

    BAD_URL = "bad-url"
    IO = "io"
    """Connect error, timeout, too many redirects."""
    PROTOCOL = "protocol"
    NOT_FOUND = "not-found"
    """HTTP 404."""
    BAD_STATUS = "bad-status"
    TOO_LARGE = "too-large"


class FetchError(Exception):
    """A request that brought no document."""

    def __init__(
        self,
        failure: FetchFailure,
        message: str,
        *,
        url: str,
        status: int | None = None,
        headers: str = "",
        body: str = "",
    ) -> None:
        super().__init__(message)
        self.failure = failure
        self.message = message
        self.url = url
        self.status = status
        self.headers = headers
        self.body = body


class Fetcher(Protocol):
    """HTTP requests to applications; one per call (it keeps the call's cookies)."""

    async def fetch(self, request: FetchRequest, *, after_end: bool = False) -> FetchedDocument:
        """Request a document.

        A caller who leaves meanwhile ends the wait, unless `after_end` says that the request is one of
        those made for a call that is over.

        Raises:
            FetchError: no document was obtained.
            LegEnded: the caller left and `after_end` is False.
        """
        ...


class PromptError(Exception):
    """A prompt could not be made ready (fetch, decoding or synthesis failed)."""


class PromptUrlError(PromptError):
    """The URL of a prompt cannot be parsed."""


class Prompts(Protocol):
    """Makes audio ready to be played."""

    async def from_url(self, url: str) -> Prompt:
        """Fetch (or take from the cache) and convert an audio file.

        Raises:
            PromptUrlError: `url` is not an absolute http(s) URL.
            PromptError: it could not be fetched or decoded.
            LegEnded: the caller left meanwhile.
        """
        ...

    async def from_text(self, text: str, *, voice: str, language: str) -> Prompt:
        """Speak `text` (`voice`: man or woman; `language`: a key of the Say languages).

        Raises:
            PromptError: no engine could speak it.
            LegEnded: the caller left meanwhile.
        """
        ...
