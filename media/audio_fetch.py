"""Fetching sound files over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

from treq.client import HTTPClient
from twisted.internet import defer
from twisted.internet import protocol as internet_protocol
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionLost, DNSLookupError
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.client import BrowserLikeRedirectAgent, ResponseDone, ResponseFailed
from twisted.web.error import Error as WebError
from twisted.web.error import SchemeNotSupported
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IAgent, IResponse


class PromptFetchError(Exception):
    """A sound file could not be fetched or cannot be used."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        """A sentence that says what was wrong."""
        self.status = status
        """HTTP status when there was an answer; None: an I/O error (connect, timeout, broken connection)."""


class PromptUrlError(PromptFetchError):
    """The URL is not an absolute http or https URL."""


class FetchReply(NamedTuple):
    """An answer to a GET."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case; of a repeated header the last value."""
    body: bytes


class AudioFetch(Protocol):
    """GET of a sound file, redirects followed."""

    async def __call__(self, url: str, headers: Mapping[str, str]) -> FetchReply:
        """Fetch.

        Args:
            url: absolute.
            headers: conditional headers (`If-None-Match`, `If-Modified-Since`); may be empty.

        Returns:
            The last answer, whatever its status.

        Raises:
            PromptFetchError: no answer (status None), or one that is too large (its status).
        """
        ...


def check_url(url: str) -> None:
    """Raise PromptUrlError unless `url` is an absolute http(s) URL with a host and a sensible port."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(ord(character) <= 32 or ord(character) == 127 for character in url):
        raise PromptUrlError(f"{url!r} is not an absolute http or https URL")


class _Body(internet_protocol.Protocol):
    """Collects a body up to a limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self.done: Deferred[bytes] = Deferred(lambda _: self._close())

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - the name is Twisted's
        self._size += len(data)
        if self._size <= self._limit:
            self._parts.append(data)
            return
        self._parts.clear()
        if not self.done.called:
            self.done.errback(_TooLargeError())
        self._close()

    def _close(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = internet_protocol.connectionDone) -> None:  # noqa: N802
        if self.done.called:
            return
        if isinstance(reason.value, ResponseDone | PotentialDataLoss):
            self.done.callback(b"".join(self._parts))
        else:
            self.done.errback(reason)


class _TooLargeError(Exception):
    pass


class TreqAudioFetch:
    """`AudioFetch` with treq on an agent."""

    def __init__(
        self,
        reactor: IReactorTime,
        agent: IAgent,
        *,
        timeout: float = 6.0,
        total_timeout: float = 30.0,
        max_bytes: int = 50_000_000,
        max_redirects: int = 10,
        user_agent: str = "voiceengine",
    ) -> None:
        """Prepare.

        Args:
            reactor: the clock of the time limits.
            agent: makes single requests; its connect timeout and TLS policy hold.
            timeout: time until the head of the last answer is there, redirects included, seconds.
            total_timeout: time until the body is complete, counted from its head, seconds.
            max_bytes: longest body.
            max_redirects: redirects that are followed.
            user_agent: value of that header.
        """
        self._reactor = reactor
        self._agent = BrowserLikeRedirectAgent(agent, max_redirects)
        self._timeout = timeout
        self._total_timeout = total_timeout
        self._max_bytes = max_bytes
        self._user_agent = user_agent

    async def __call__(self, url: str, headers: Mapping[str, str]) -> FetchReply:
        """See `AudioFetch`."""
        check_url(url)
        response = await self._head(url, headers)
        status = int(response.code)
        body = b""
        if response.length != 0:
            body = await self._body(url, response, status)
        return FetchReply(status, _plain(response), body)

    async def _head(self, url: str, headers: Mapping[str, str]) -> IResponse:
        bare, credentials = _without_credentials(url)
        options: dict[str, Any] = {"auth": credentials} if credentials else {}
        sent: dict[bytes | str, bytes | str] = {
            "User-Agent": self._user_agent,
            "Accept": "audio/*, */*;q=0.5",
        }
        sent.update(headers)
        try:
            request: Deferred[Any] = HTTPClient(self._agent).get(
                bare,
                headers=sent,
                allow_redirects=False,  # by treq: the agent below follows them, and counts
                unbuffered=True,
                **options,
            )
            response: IResponse = await request.addTimeout(self._timeout, self._reactor, _timed_out)
        except defer.TimeoutError as error:
            raise PromptFetchError(f"no answer within {self._timeout:g} s from {url}") from error
        except ResponseFailed as error:
            raise PromptFetchError(f"{url} cannot be fetched: {_reasons(error)}") from error
        except (ConnectError, ConnectionLost, DNSLookupError, OSError) as error:
            raise PromptFetchError(f"{url} cannot be reached: {error}") from error
        except (SchemeNotSupported, WebError, ValueError) as error:
            raise PromptFetchError(f"{url} cannot be fetched: {error}") from error
        return response

    async def _body(self, url: str, response: Any, status: int) -> bytes:
        collector = _Body(self._max_bytes)
        response.deliverBody(collector)
        try:
            return await collector.done.addTimeout(self._total_timeout, self._reactor)
        except defer.TimeoutError as error:
            raise PromptFetchError(f"{url} did not end within {self._total_timeout:g} s") from error
        except _TooLargeError as error:
            message = f"{url} is longer than {self._max_bytes} bytes"
            raise PromptFetchError(message, status) from error
        except (ResponseFailed, ConnectionLost, OSError) as error:
            raise PromptFetchError(f"{url} broke off: {_reasons(error)}") from error


def _timed_out(result: Any, seconds: float) -> Any:
    # A request that is cancelled fails in several ways, depending on how far it got.
    if isinstance(result, Failure):
        raise defer.TimeoutError(seconds)
    return result


def _reasons(error: BaseException) -> str:
    reasons = getattr(error, "reasons", None) or []
    return "; ".join(failure.getErrorMessage() for failure in reasons) or str(error) or type(error).__name__


def _without_credentials(url: str) -> tuple[str, tuple[str, str] | None]:
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url, None
    credentials = (unquote(parts.username or ""), unquote(parts.password or ""))
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])), credentials


def _plain(response: IResponse) -> dict[str, str]:
    return {
        name.decode("latin-1").lower(): values[-1].decode("latin-1")
        for name, values in response.headers.getAllRawHeaders()
        if values
    }
