"""Obtaining a document: the request, the content type of the reply, and what a failure means.

Reference: Documents (fetch lifecycle, content type of the reply, failures).
"""

from __future__ import annotations

from collections.abc import Collection

import attrs

from rcml.document import DEFAULT_LIMITS, Document, Element, Limits, decode, parse
from rcml.errors import DocumentError, UrlError
from rcml.parameters import encoded
from rcml.ports import (
    FetchedDocument,
    Fetcher,
    FetchError,
    FetchFailure,
    FetchRequest,
    Level,
    Notice,
    Records,
)
from rcml.urls import HTTP, resolve, without_userinfo

REASON_DOWNLOAD = "Problem_while_trying_to_download_RCML"
REASON_PARSE = "Problem_to_parse_downloaded_RCML"

MAX_NOTICE_BODY = 4000
"""Characters of a reply that are kept with a notification."""

_XML = ("text/xml", "application/xml", "text/html")
_WAV = ("audio/wav", "audio/wave", "audio/x-wav")

_CODES = {
    FetchFailure.BAD_URL: (11100, Level.ERROR),
    FetchFailure.IO: (11205, Level.ERROR),
    FetchFailure.PROTOCOL: (11206, Level.ERROR),
    FetchFailure.NOT_FOUND: (21402, Level.WARNING),
    FetchFailure.BAD_STATUS: (11200, Level.ERROR),
    FetchFailure.TOO_LARGE: (12100, Level.ERROR),
}


@attrs.frozen(kw_only=True)
class Context:
    """The request a document came from, as far as a notification tells it."""

    request: FetchRequest | None = None
    response_headers: str = ""
    response_body: str = ""

    def notice(self, code: int, level: Level, message: str) -> Notice:
        """Make a notification that names this request."""
        request = self.request
        return Notice(
            code=code,
            level=level,
            message=message,
            request_url=without_userinfo(request.url) if request else "",
            request_method=request.method if request else "",
            request_variables=encoded(request.parameters) if request else "",
            response_headers=self.response_headers,
            response_body=self.response_body[:MAX_NOTICE_BODY],
        )


@attrs.frozen(kw_only=True)
class Loaded:
    """A document that can be executed and where it came from."""

    document: Document
    url: str
    """Base of relative URLs, and the action of verbs without one; empty for a text without a URL."""
    context: Context = Context()
    unusual_audio: bool = False
    """The reply was itself audio of a kind other than WAV, which the media side may not know."""
    headers: tuple[tuple[str, str], ...] = ()
    """`X-...` headers of the reply."""


class LoadError(Exception):
    """No document was obtained.

    Args:
        notice: what to tell the owner.
        reason: text of the `Reason` header.
        url: the URL that failed.
        not_found: the application answered 404.
        final: no fallback is requested for it.
    """

    def __init__(
        self, notice: Notice, *, reason: str, url: str, not_found: bool = False, final: bool = False
    ) -> None:
        super().__init__(notice.message)
        self.notice = notice
        self.reason = reason
        self.url = url
        self.not_found = not_found
        self.final = final


@attrs.frozen(kw_only=True)
class Loader:
    """Requests documents and reads them."""

    fetcher: Fetcher
    records: Records
    schemes: Collection[str] = HTTP
    limits: Limits = DEFAULT_LIMITS
    xml_only: bool = False
    """A reply that is audio or plain text, or has no type, is refused for good (documents about messages)."""

    async def load(self, request: FetchRequest, *, after_end: bool = False) -> Loaded:
        """Request a document and read it.

        Raises:
            LoadError: no document was obtained.
            LegEnded: the caller left meanwhile and `after_end` is False.
        """
        shown = without_userinfo(request.url)
        try:
            resolve("", request.url, self.schemes)
        except UrlError as error:
            failure = FetchError(FetchFailure.BAD_URL, error.message, url=request.url)
            raise self._not_fetched(request, failure) from error
        self.records.journal(
            "document_requested", url=shown, method=request.method, parameters=list(request.parameters)
        )
        try:
            fetched = await self.fetcher.fetch(request, after_end=after_end)
        except FetchError as error:
            raise self._not_fetched(request, error) from error
        self.records.journal(
            "document_fetched",
            url=without_userinfo(fetched.url),
            status=200,
            content_type=fetched.content_type,
            bytes=len(fetched.body),
        )
        return self._read(request, fetched)

    def read_text(self, text: str, url: str = "") -> Loaded:
        """Read a document that was given as text. Raises LoadError."""
        context = Context(response_body=text)
        try:
            return Loaded(
                document=parse(text.encode("utf-8"), "utf-8", self.limits), url=url, context=context
            )
        except DocumentError as error:
            raise _unreadable(context, error, url) from error
        except UnicodeEncodeError as error:
            notice = context.notice(12100, Level.ERROR, "The document is not valid text.")
            raise LoadError(notice, reason=REASON_PARSE, url=url) from error

    def _not_fetched(self, request: FetchRequest, error: FetchError) -> LoadError:
        code, level = _CODES[error.failure]
        url = without_userinfo(error.url)
        self.records.journal(
            "document_failed",
            url=url,
            failure=error.failure.value,
            status=error.status,
            message=error.message,
        )
        context = Context(request=request, response_headers=error.headers, response_body=error.body)
        too_large = error.failure is FetchFailure.TOO_LARGE
        return LoadError(
            context.notice(code, level, f"No document was obtained from {url}: {error.message}"),
            reason=REASON_PARSE if too_large else REASON_DOWNLOAD,
            url=url,
            not_found=error.failure is FetchFailure.NOT_FOUND,
        )

    def _read(self, request: FetchRequest, fetched: FetchedDocument) -> Loaded:
        kind = (fetched.content_type or "").lower()
        if not self.xml_only and "audio/" in kind and not any(name in kind for name in _XML):
            return Loaded(
                document=Document.of(Element("Play", text=fetched.url)),
                url=fetched.url,
                context=Context(request=request, response_headers=f"Content-Type: {kind}"),
                unusual_audio=not any(name in kind for name in _WAV),
            )
        context = Context(
            request=request,
            response_headers=f"Content-Type: {fetched.content_type}" if fetched.content_type else "",
            response_body=fetched.body[:MAX_NOTICE_BODY].decode("utf-8", "replace"),
        )
        try:
            document = self._document(context, kind, fetched)
        except DocumentError as error:
            raise _unreadable(context, error, without_userinfo(fetched.url)) from error
        return Loaded(document=document, url=fetched.url, context=context, headers=fetched.headers)

    def _document(self, context: Context, kind: str, fetched: FetchedDocument) -> Document:
        empty = bool(kind) and not fetched.body.strip()
        if any(name in kind for name in _XML) or (empty and not self.xml_only):
            return parse(fetched.body, charset_of(kind), self.limits)
        if "text/plain" in kind and not self.xml_only:
            return Document.of(Element("Say", text=decode(fetched.body, charset_of(kind)).strip()))
        what = f"has the content type {fetched.content_type!r}" if kind else "has no content type"
        needed = "XML" if self.xml_only else "XML, audio or plain text"
        message = f"The reply of {without_userinfo(fetched.url)} {what}; {needed} is needed."
        raise LoadError(
            context.notice(12300, Level.WARNING, message),
            reason=REASON_PARSE,
            url=without_userinfo(fetched.url),
            final=self.xml_only,
        )


def charset_of(content_type: str) -> str | None:
    """Charset of a Content-Type value, or None."""
    for part in content_type.split(";")[1:]:
        name, _, value = part.partition("=")
        if name.strip().lower() == "charset" and value.strip():
            return value.strip().strip("\"'")
    return None


def _unreadable(context: Context, error: DocumentError, url: str) -> LoadError:
    place = f" of {url}" if url else ""
    return LoadError(
        context.notice(error.code, Level.ERROR, f"The document{place} cannot be read: {error}"),
        reason=REASON_PARSE,
        url=url,
    )
