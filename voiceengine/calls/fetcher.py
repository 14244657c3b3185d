"""HTTP requests to applications (reference: Fetching documents)."""

from __future__ import annotations

import base64
import urllib.request
from collections.abc import Callable, Sequence
from email.message import Message
from http.cookiejar import CookieJar
from typing import Any
from urllib.parse import unquote, urlencode, urljoin, urlsplit, urlunsplit

from hyperlink import EncodedURL
from OpenSSL.SSL import Error as SSLError
from twisted.internet import defer, error, protocol, ssl
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web._newclient import ParseError
from twisted.web.client import (
    Agent,
    BrowserLikePolicyForHTTPS,
    HTTPConnectionPool,
    ResponseDone,
    ResponseFailed,
)
from twisted.web.error import SchemeNotSupported
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from rcml.nouns import MAX_HEADERS
from rcml.ports import FetchedDocument, FetchError, FetchFailure
from voiceengine import __version__
from voiceengine.config import Web

ACCEPT = b"text/xml, application/xml, audio/*, text/plain, */*"
USER_AGENT = f"Restcomm/{__version__}".encode()
FORM = b"application/x-www-form-urlencoded; charset=UTF-8"
REDIRECTS = frozenset({301, 302, 303, 307, 308})
PERSISTENT_PER_HOST = 64
EXCERPT = 2000
DRAIN_BYTES = 10_000_000
X_HEADERS = 32
"""`X-...` headers of a reply that are kept at most."""
IDLE_CONNECTION_SECONDS = 1
"""Shorter than the keep-alive time of common servers: a request is not sent into a closing connection."""


@implementer(IPolicyForHTTPS)
class _AnyCertificate:
    """Accepts every certificate (setting `web.verify_tls = false`)."""

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:  # noqa: N802
        options = ssl.CertificateOptions(verify=False)
        return _Creator(options)


@implementer(IOpenSSLClientConnectionCreator)
class _Creator:
    def __init__(self, options: Any) -> None:
        self._options = options

    def clientConnectionForTLS(self, protocol: Any) -> Any:  # noqa: N802 - the name is Twisted's
        from OpenSSL import SSL

        return SSL.Connection(self._options.getContext(), None)


class _Pool(HTTPConnectionPool):
    """Keeps connections, but for those of HTTP/1.0 servers, which close them."""

    def _putConnection(self, key: Any, connection: Any) -> None:  # noqa: N802 - the name is Twisted's
        response = getattr(getattr(connection, "_parser", None), "response", None)
        if response is not None and tuple(response.version[1:]) < (1, 1):
            connection.transport.loseConnection()
            return
        super()._putConnection(key, connection)  # type: ignore[no-untyped-call]


class WebClient:
    """The engine's HTTP client: one connection pool for all requests to applications.

    Args:
        reactor: the reactor.
        settings: time limits, size limits, TLS.
        observe: told the seconds each request took and how it ended, for metrics.
    """

    def __init__(
        self, reactor: Any, settings: Web, observe: Callable[[float, str], None] | None = None
    ) -> None:
        self.reactor = reactor
        self.settings = settings
        self._observe = observe or (lambda _seconds, _result: None)
        self._pool: Any = _Pool(reactor, persistent=True)  # type: ignore[no-untyped-call]
        self._pool.maxPersistentPerHost = PERSISTENT_PER_HOST
        self._pool.retryAutomatically = False
        self._pool.cachedConnectionTimeout = IDLE_CONNECTION_SECONDS
        policy: Any = BrowserLikePolicyForHTTPS() if settings.verify_tls else _AnyCertificate()
        self.agent = Agent(reactor, policy, connectTimeout=settings.timeout, pool=self._pool)

    async def close(self) -> None:
        """Close idle connections."""
        await self._pool.closeCachedConnections()

    async def request(
        self,
        method: str,
        url: str,
        parameters: Sequence[tuple[str, str]],
        *,
        cookies: CookieJar | None,
        timeout: float,
        limit: int,
    ) -> FetchedDocument:
        """Make one request, following redirects with the same method and parameters.

        Raises:
            FetchError: anything but a reply with status 200 within the limits.
        """
        started = self.reactor.seconds()
        work = Deferred.fromCoroutine(self._follow(method, url, parameters, cookies, limit))
        work.addTimeout(timeout, self.reactor)
        stopped = False

        def stop(_: object) -> None:
            nonlocal stopped
            stopped = True
            work.cancel()

        told: Deferred[FetchedDocument] = Deferred(stop)
        work.chainDeferred(told)
        result = "ok"
        try:
            return await told
        except FetchError as failure:
            if stopped:  # what a connection says that was broken off is no news
                result = "cancelled"
                raise defer.CancelledError from None
            result = failure.failure.value
            raise
        except defer.TimeoutError:
            result = "timeout"
            message = f"No complete answer within {timeout:g} s"
            raise FetchError(FetchFailure.IO, message, url=_plain(url)) from None
        except defer.CancelledError:
            result = "cancelled"
            raise
        finally:
            self._observe(self.reactor.seconds() - started, result)

    async def _follow(
        self,
        method: str,
        url: str,
        parameters: Sequence[tuple[str, str]],
        cookies: CookieJar | None,
        limit: int,
    ) -> FetchedDocument:
        for _ in range(self.settings.max_redirects + 1):
            response, body = await self._once(method, url, parameters, cookies, limit)
            if response.code in REDIRECTS:
                location = response.headers.getRawHeaders("Location")
                if not location:
                    raise FetchError(
                        FetchFailure.IO, "Redirect without Location", url=_plain(url), status=response.code
                    )
                try:
                    url = urljoin(url, location[0])
                except ValueError as problem:
                    raise FetchError(FetchFailure.BAD_URL, str(problem), url=_plain(url)) from None
                continue
            return self._finish(response, body, url)
        raise FetchError(
            FetchFailure.IO, f"More than {self.settings.max_redirects} redirects", url=_plain(url)
        )

    async def _once(
        self,
        method: str,
        url: str,
        parameters: Sequence[tuple[str, str]],
        cookies: CookieJar | None,
        limit: int,
    ) -> tuple[IResponse, bytes]:
        try:
            target, authorization = split_credentials(url)
            headers = Headers({b"User-Agent": [USER_AGENT], b"Accept": [ACCEPT]})
            if authorization:
                headers.addRawHeader(b"Authorization", authorization)
            encoded = urlencode(parameters)
            producer = None
            if method == "GET":
                target = with_query(target, encoded)
            else:
                headers.addRawHeader(b"Content-Type", FORM)
                producer = _Body(encoded.encode())
            uri = ascii_url(target)
            parts = urlsplit(target)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
                raise ValueError("It is not an absolute http or https URL")
            if cookies:
                sent = urllib.request.Request(target)  # noqa: S310 - the agent makes the request, not urllib
                cookies.add_cookie_header(sent)
                if value := sent.get_header("Cookie"):
                    headers.addRawHeader(b"Cookie", value.encode("latin-1"))
        except (ValueError, UnicodeError) as problem:
            raise FetchError(FetchFailure.BAD_URL, str(problem), url=_plain(url)) from None
        try:
            response = await self.agent.request(method.encode(), uri, headers, producer)
            if cookies is not None and response.headers.hasHeader(b"Set-Cookie"):
                cookies.extract_cookies(_CookieSource(response), urllib.request.Request(target))  # type: ignore[arg-type]  # noqa: S310
            return response, await _read(response, limit, url)
        except (FetchError, defer.CancelledError):
            raise
        except Exception as problem:
            raise _failure(problem, url) from None

    def _finish(self, response: Any, body: bytes, url: str) -> FetchedDocument:
        content_type = response.headers.getRawHeaders("Content-Type")
        if response.code == 200:
            return FetchedDocument(
                url=url,
                content_type=content_type[0] if content_type else None,
                body=body,
                headers=x_headers(response.headers),
            )
        raise FetchError(
            FetchFailure.NOT_FOUND if response.code == 404 else FetchFailure.BAD_STATUS,
            f"The application answered {response.code}",
            url=_plain(url),
            status=response.code,
            headers=_header_text(response),
            body=body[:EXCERPT].decode("utf-8", "replace"),
        )


class _CookieSource:
    """The Set-Cookie headers of a response, as http.cookiejar reads them."""

    def __init__(self, response: IResponse) -> None:
        self._message = Message()
        for value in response.headers.getRawHeaders(b"Set-Cookie") or ():
            self._message["Set-Cookie"] = value.decode("latin-1")

    def info(self) -> Message:
        """The headers."""
        return self._message


@implementer(IBodyProducer)
class _Body:
    """A request body that is there as a whole."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: Any) -> Deferred[None]:  # noqa: N802 - the names are Twisted's
        consumer.write(self._body)
        return defer.succeed(None)

    def pauseProducing(self) -> None:  # noqa: N802
        pass

    def resumeProducing(self) -> None:  # noqa: N802
        pass

    def stopProducing(self) -> None:  # noqa: N802
        pass


class _Reader(protocol.Protocol):
    """Collects a body up to a limit."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._chunks: list[bytes] = []
        self.done: Deferred[bytes | None] = Deferred(lambda _: self._stop())

    def _stop(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - the names are Twisted's
        self._left -= len(data)
        if self._left >= 0:
            self._chunks.append(data)
            return
        self._chunks.clear()
        if not self.done.called:
            self.done.callback(None)
        if self._left < -DRAIN_BYTES:
            # the connection is closed only when much is left: one whose reply has just ended would
            # be given to the next request while it closes
            self._stop()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        if self.done.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.done.callback(b"".join(self._chunks))
        else:
            self.done.errback(reason)


def _failure(problem: Exception, url: str) -> Exception:
    """What an exception of the agent means: cancelled, unreachable, or not HTTP."""
    causes = [reason.value for reason in getattr(problem, "reasons", None) or ()] or [problem]
    if any(isinstance(cause, defer.CancelledError | error.ConnectingCancelledError) for cause in causes):
        return defer.CancelledError()
    kind = FetchFailure.PROTOCOL
    broken = (error.ConnectError, error.ConnectionLost, error.ConnectionDone, OSError, SSLError)
    if isinstance(problem, SchemeNotSupported):
        kind = FetchFailure.BAD_URL
    elif not any(isinstance(cause, ParseError) for cause in causes) and isinstance(
        problem, (ResponseFailed, *broken)
    ):
        kind = FetchFailure.IO
    return FetchError(kind, _sentence(causes[0]), url=_plain(url))


async def _read(response: IResponse, limit: int, url: str) -> bytes:
    reader = _Reader(limit)
    response.deliverBody(reader)
    body = await reader.done
    if body is None:
        raise FetchError(FetchFailure.TOO_LARGE, f"The reply is larger than {limit} bytes", url=_plain(url))
    return body


def with_query(url: str, encoded: str) -> str:
    """Add encoded parameters to the query of a URL."""
    if not encoded:
        return url
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=f"{parts.query}&{encoded}" if parts.query else encoded))


def ascii_url(url: str) -> bytes:
    """A URL as it goes on the wire: other characters percent-encoded, host in IDNA, no fragment.

    Raises:
        ValueError: it is no absolute http(s) URL.
    """
    url = url.partition("#")[0]
    if not url.isascii() or " " in url:
        return EncodedURL.from_text(url).to_uri().to_text().encode("ascii")
    if any(c <= " " or c == "\x7f" for c in url):
        raise ValueError("The URL holds control characters")
    return url.encode("ascii")


def split_credentials(url: str) -> tuple[str, bytes]:
    """Take user information out of a URL.

    Returns:
        The URL without it, and the value for an Authorization header ('' when there is none).
    """
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url, b""
    user_info, _, host = parts.netloc.rpartition("@")
    token = base64.b64encode(unquote(user_info).encode())
    return urlunsplit(parts._replace(netloc=host)), b"Basic " + token


def _plain(url: str) -> str:
    """The URL without credentials, as it may be logged."""
    try:
        return split_credentials(url)[0]
    except ValueError:
        return ""


def _sentence(problem: BaseException) -> str:
    reasons = getattr(problem, "reasons", None)
    if reasons:
        problem = reasons[0].value
    return str(problem) or type(problem).__name__


def x_headers(headers: Headers) -> tuple[tuple[str, str], ...]:
    """The `X-...` headers that a message may take over: not the engine's own, as many as there is room."""
    found: list[tuple[str, str]] = []
    room = MAX_HEADERS
    for raw, values in headers.getAllRawHeaders():
        name = raw.decode("latin-1")
        if not name.lower().startswith("x-") or name.lower().startswith("x-restcomm-"):
            continue
        for value in values:
            text = value.decode("utf-8", "replace").strip()
            length = len(name) + len(text)
            if text.isprintable() and length <= room and len(found) < X_HEADERS:
                room -= length
                found.append((name, text))
    return tuple(found)


def _header_text(response: Any) -> str:
    lines = []
    for name, values in response.headers.getAllRawHeaders():
        lines += [f"{name.decode('latin-1')}: {value.decode('latin-1')}" for value in values]
    return "\n".join(lines)[:EXCERPT]
