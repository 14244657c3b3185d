"""A real web application for tests: scripted replies by path, and a record of every request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

import attrs
from sound import Samples, tone, wav
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from waiting import Changes, now, reactor


@attrs.frozen
class Reply:
    """What a path answers."""

    body: bytes = b""
    type: str | None = "text/xml"
    status: int = 200
    delay: float = 0.0
    """Seconds before the answer; what hangs longer than the engine waits is dropped by it."""
    headers: tuple[tuple[str, str], ...] = ()


def document(inner: str, **options: Any) -> Reply:
    """An RCML document with these verbs."""
    return Reply(f"<Response>{inner}</Response>".encode(), **options)


def audio(samples: Samples, rate: int = 8000) -> Reply:
    """A WAV file."""
    return Reply(wav(samples, rate), type="audio/wav")


def redirect(to: str, status: int = 302) -> Reply:
    """A redirect."""
    return Reply(status=status, headers=(("Location", to),))


@attrs.frozen
class Seen:
    """One request of the engine."""

    method: str
    path: str
    query: dict[str, str]
    form: dict[str, str]
    """Parameters of the body."""
    headers: dict[str, str]
    """Names in lower case."""
    at: float
    pairs: tuple[tuple[str, str], ...]
    """Parameters of the body as they came, with repetitions."""

    @property
    def parameters(self) -> dict[str, str]:
        """Parameters of query and body."""
        return {**self.query, **self.form}


class _Everything(Resource):
    isLeaf = True

    def __init__(self, app: WebApp) -> None:
        super().__init__()
        self._app = app

    def render(self, request: Request) -> int:
        """Answer every method and path."""
        self._app.asked(request)
        return NOT_DONE_YET


class _QuietSite(Site):
    noisy = False

    def log(self, request: Any) -> None:
        """Write nothing."""


class WebApp:
    """The application; `url` is its base, without a slash at the end."""

    def __init__(self) -> None:
        self.changes = Changes()
        self.seen: list[Seen] = []
        self._scripts: dict[str, list[Reply]] = {}
        self._port: Any = reactor.listenTCP(
            0, _QuietSite(_Everything(self)), backlog=512, interface="127.0.0.1"
        )
        self.url = f"http://127.0.0.1:{self._port.getHost().port}"

    async def close(self) -> None:
        """Stop serving."""
        await self._port.stopListening()

    def script(self, path: str, *replies: Reply) -> str:
        """Set what a path answers: one reply after the other, the last one for ever. Returns the URL."""
        self._scripts[path] = list(replies)
        return f"{self.url}{path}"

    def asked(self, request: Any) -> None:
        """A request came."""
        path = request.path.decode()
        body = request.content.read().decode("utf-8", "replace")
        pairs = tuple(parse_qsl(body, keep_blank_values=True))
        query = request.uri.decode().partition("?")[2]
        headers = {
            name.decode("latin-1").lower(): values[0].decode("latin-1")
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        self.seen.append(
            Seen(
                request.method.decode(),
                path,
                dict(parse_qsl(query, keep_blank_values=True)),
                dict(pairs),
                headers,
                now(),
                pairs,
            )
        )
        replies = self._scripts.get(path)
        reply = Reply(b"nothing is here", "text/plain", 404)
        if replies:
            reply = replies.pop(0) if len(replies) > 1 else replies[0]
        gone: Deferred[None] = request.notifyFinish()
        timer = reactor.callLater(reply.delay, self._answer, request, reply)
        gone.addErrback(lambda _: timer.cancel() if timer.active() else None)
        self.changes.tell()

    def _answer(self, request: Any, reply: Reply) -> None:
        request.setResponseCode(reply.status)
        request.defaultContentType = None
        if reply.type is not None:
            request.setHeader("Content-Type", reply.type)
        for name, value in reply.headers:
            request.setHeader(name, value)
        request.setHeader("Content-Length", str(len(reply.body)))
        request.write(reply.body)
        request.finish()

    # -------------------------------------------------------------- what was asked

    def requests(self, path: str) -> Sequence[Seen]:
        """Requests of a path so far."""
        return [seen for seen in self.seen if seen.path == path]

    async def request(self, path: str, number: int = 1, within: float = 3.0) -> Seen:
        """The n-th request of a path.

        Raises:
            AssertionError: it does not come in time.
        """

        def found() -> Seen | None:
            seen = self.requests(path)
            return seen[number - 1] if len(seen) >= number else None

        def missing() -> str:
            return f"request {number} of {path}; there were {[(s.method, s.path) for s in self.seen[-8:]]}"

        result = await self.changes.until(found, within, missing)
        assert result is not None
        return result


def prompt(frequency: float, seconds: float, rate: int = 8000) -> Reply:
    """A tone as a prompt: its frequency tells which one was heard."""
    return audio(tone(frequency, seconds, rate), rate)
