"""The HTTP server: mounts, body limit, errors, health and metrics."""

# The classes of twisted.web carry no type hints.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from voiceengine.api.announcements import CACHE, cached_file
from voiceengine.api.conditional import is_unchanged, tag_of
from voiceengine.api.cors import allow_origin
from voiceengine.api.deps import ApiDeps
from voiceengine.api.dictionary import PAGES, error_page
from voiceengine.api.errors import ApiError
from voiceengine.api.openapi import DOCUMENT, document_reply
from voiceengine.api.rendering import encode_in_turns
from voiceengine.api.representation import Problem, Render, encode
from voiceengine.api.routing import Reply, Route, Router, negotiate
from voiceengine.api.twilio_shape import TWILIO_MOUNT
from voiceengine.errors import CallControlError, QueryTooLong

MOUNTS = ("/restcomm/2012-04-24", "/api/2012-04-24", "/2012-04-24")
LINGER_SECONDS = 2.0
"""How long a client may go on sending a body that was refused."""


def problem(error: Exception) -> tuple[Problem, dict[str, str]]:
    """Body and headers of an error; of an unexpected one only that it happened."""
    if isinstance(error, ApiError):
        found = Problem(error.message, error.error, error.code, error.status)
        return found, error.headers
    if isinstance(error, CallControlError):
        return Problem(error.message, "", error.code, error.status), {}
    if isinstance(error, QueryTooLong):
        return Problem(error.message, "QUERY_TOO_LONG", 0, 503), {}
    return Problem("The server failed to carry out the request.", "", 0, 500), {}


def _segments(parts: Sequence[bytes]) -> list[str]:
    return [part.decode("utf-8", "replace") for part in parts if part]


class ApiRequest(Request):
    """A request whose body is limited."""

    refused = False
    _received = 0

    def gotLength(self, length: int | None) -> None:  # noqa: N802
        """Refuse a body whose announced length is too large, before it is sent."""
        site = self._api_site()
        if length is not None and length > site.max_body_bytes:
            super().gotLength(0)
            self._refuse(site)
        else:
            super().gotLength(length)

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        """Take a piece of the body, or drop it when there was too much."""
        if self.refused:
            return
        site = self._api_site()
        self._received += len(data)
        if self._received > site.max_body_bytes:
            self._refuse(site)
        else:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:  # noqa: N802
        """Process the request unless it was refused."""
        if self.refused:
            self.channel.loseConnection()
            return
        # The API reads bodies itself, after authentication; resources mounted beside it expect `args`.
        first = path.partition(b"?")[0].lstrip(b"/").partition(b"/")[0]
        self._parsePOSTFormSubmission = first in self._api_site().deps.extra
        super().requestReceived(command, path, version)

    def _api_site(self) -> ApiSite:
        channel: Any = self.channel
        site: ApiSite = channel.site
        return site

    def _refuse(self, site: ApiSite) -> None:
        self.refused = True
        # Twisted would invite the client to send the body after all.
        self.requestHeaders.removeHeader(b"Expect")
        target: bytes = getattr(self.channel, "_path", b"")
        segments = _segments(target.partition(b"?")[0].split(b"/"))
        error = ApiError(413, f"The body is larger than {site.max_body_bytes} bytes.")
        _, found = negotiate(segments, self.getHeader("Accept") or "")
        body, content_type = encode(problem(error)[0], site.router.render(found))
        shared = site.router.cors.headers(self.getHeader("Origin"))
        more = "".join(f"{name}: {value}\r\n" for name, value in shared)
        head = (
            f"HTTP/1.1 413 Request Entity Too Large\r\nConnection: close\r\n{more}"
            f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        channel: Any = self.channel
        channel.transport.write(head.encode() + body)
        site.deps.reactor.callLater(LINGER_SECONDS, self._hang_up)

    def _hang_up(self) -> None:
        if self.channel is not None and self.channel.transport is not None:
            self.channel.loseConnection()


class ApiSite(Site):
    """The site; it writes no access log."""

    noisy = False

    def __init__(self, root: Resource, deps: ApiDeps, router: Router) -> None:
        self.deps = deps
        self.router = router
        self.max_body_bytes = deps.settings.http.max_body_bytes
        super().__init__(root, requestFactory=ApiRequest, reactor=deps.reactor)
        self.displayTracebacks = False

    def log(self, request: Any) -> None:
        """Write nothing: calls and errors are logged where they happen."""


class _Leaf(Resource):
    """Answers all below a path by a coroutine."""

    isLeaf = True  # noqa: N815 -- Twisted's name
    logger = Logger(namespace="voiceengine.api")

    def __init__(self, router: Router, *, twilio: bool = False) -> None:
        super().__init__()
        self._router = router
        self.twilio = twilio
        """Whether replies have the shape of Twilio."""

    async def answer(self, request: Request, segments: Sequence[str]) -> Reply:
        """Carry out the request."""
        raise ApiError(404, "The requested path was not found.")

    def render(self, request: Request) -> int:
        """Start the coroutine."""
        if allow_origin(request, self._router.cors):
            return NOT_DONE_YET
        parts = request.path.split(b"/") if not request.postpath else request.postpath
        accept = request.getHeader("Accept") or ""
        segments, found = negotiate(_segments(parts), "json" if self.twilio and not accept else accept)
        render = self._router.render(found, twilio=self.twilio)
        gone: list[Failure] = []
        request.notifyFinish().addErrback(gone.append)
        done = Deferred.fromCoroutine(self._respond(request, segments, render, gone))
        done.addErrback(lambda failure: self.logger.failure("reply_failed", failure))
        return NOT_DONE_YET

    async def _respond(
        self, request: Request, segments: Sequence[str], render: Render, gone: list[Failure]
    ) -> None:
        headers: dict[str, str] = {}
        try:
            reply = await self.answer(request, segments)
        except Exception as error:
            body, headers = problem(error)
            if body.status >= 500 and not isinstance(error, ApiError | CallControlError | QueryTooLong):
                method, path = request.method.decode("latin-1"), request.path.decode("latin-1")
                self.logger.failure("request_failed method={method} path={path}", method=method, path=path)
            reply = Reply(body, body.status)
        if gone:
            return
        if reply.deliver is not None:
            try:
                reply.deliver(request)
            except Exception:
                # Part of the reply may be on its way: only the end of the connection tells that it is broken.
                self.logger.failure("delivery_failed path={path}", path=request.path.decode("latin-1"))
                channel: Any = request.channel
                if channel is not None and channel.transport is not None:
                    channel.transport.abortConnection()
            return
        request.setResponseCode(reply.status)
        request.setHeader("Cache-Control", "no-store" if reply.modified is None else "private, no-cache")
        for name, value in headers.items():
            request.setHeader(name, value)
        if reply.content is None:
            request.setHeader(
                "Content-Type", "application/json" if render.format == "json" else "application/xml"
            )
            if reply.status != 204:
                request.setHeader("Content-Length", "0")
        else:
            shown = render if reply.only is None else attrs.evolve(render, format=reply.only)
            encoded, content_type = await encode_in_turns(reply.content, shown, self._router.reactor)
            if gone:
                return
            if reply.modified is not None and is_unchanged(request, tag_of(encoded), reply.modified):
                request.setResponseCode(304)
                request.finish()
                return
            request.setHeader("Content-Type", content_type)
            request.setHeader("Content-Length", str(len(encoded)))
            request.write(encoded)
        request.finish()


class _Document(_Leaf):
    """GET /openapi.json."""

    async def answer(self, request: Request, segments: Sequence[str]) -> Reply:
        """Describe the API below its own prefix."""
        _only_get(request)
        return document_reply(self._router, self._router.render("json").prefix)


class _Api(_Leaf):
    """The REST API below one of its prefixes."""

    def __init__(self, router: Router, prefix: str, *, twilio: bool = False) -> None:
        super().__init__(router, twilio=twilio)
        self._prefix = prefix

    async def answer(self, request: Request, segments: Sequence[str]) -> Reply:
        """Route the request."""
        if list(segments) == [DOCUMENT] and request.path.endswith(b".json"):
            _only_get(request)
            return document_reply(self._router, self._prefix)
        return await self._router.handle(request, segments, twilio=self.twilio)


Open = Callable[[ApiDeps, Sequence[str]], Awaitable[Reply]]
"""Answers a GET of a path below its mount; needs no credentials."""


class _Open(_Leaf):
    """Pages and files that anybody may read."""

    def __init__(self, router: Router, deps: ApiDeps, serve: Open) -> None:
        super().__init__(router)
        self._deps = deps
        self._serve = serve

    async def answer(self, request: Request, segments: Sequence[str]) -> Reply:
        """Find the page or file."""
        _only_get(request)
        below = [part.decode("utf-8", "replace") for part in request.postpath or () if part]
        return await self._serve(self._deps, below)


class _Node(Resource):
    """A path segment with children; anything else is a uniform 404."""

    def __init__(self, router: Router) -> None:
        super().__init__()
        self.router = router

    def getChild(self, path: bytes, request: Any) -> Resource:  # noqa: N802
        """Answer for a child that does not exist."""
        return _Leaf(self.router)

    def render(self, request: Request) -> int:
        """Answer for the segment itself."""
        return _Leaf(self.router).render(request)


@attrs.frozen
class _Details:
    """A JSON object whatever the format (health)."""

    values: dict[str, object]

    def json_value(self, render: Render) -> object:
        return self.values

    def xml_inner(self, render: Render) -> str:
        return ""


class _Health(_Leaf):
    """GET /healthz."""

    def __init__(self, router: Router, deps: ApiDeps) -> None:
        super().__init__(router)
        self._deps = deps

    async def answer(self, request: Request, segments: Sequence[str]) -> Reply:
        """Ask the engine; 200 when it is ready, else 503."""
        _only_get(request)
        try:
            found = self._deps.health()
            ok, details = await found if inspect.isawaitable(found) else found
        except Exception:
            self.logger.failure("health_check_failed")
            ok, details = False, {"error": "the health check failed"}
        body = json.dumps({"ok": ok, **details}, default=str).encode()

        def deliver(to: Request) -> None:
            to.setResponseCode(200 if ok else 503)
            _write(to, body, "application/json")

        return Reply(deliver=deliver)


class _Metrics(_Leaf):
    """GET /metrics."""

    def __init__(self, router: Router, deps: ApiDeps) -> None:
        super().__init__(router)
        self._deps = deps

    async def answer(self, request: Request, segments: Sequence[str]) -> Reply:
        """Deliver the Prometheus text."""
        _only_get(request)
        body = self._deps.metrics()
        return Reply(deliver=lambda to: _write(to, body, "text/plain; version=0.0.4; charset=utf-8"))


def _only_get(request: Request) -> None:
    if request.method not in (b"GET", b"HEAD"):
        raise ApiError(405, "Only GET is offered here.", headers={"Allow": "GET, HEAD"})


def _write(request: Request, body: bytes, content_type: str) -> None:
    request.setHeader("Content-Type", content_type)
    request.setHeader("Content-Length", str(len(body)))
    request.setHeader("Cache-Control", "no-store")
    request.write(body)
    request.finish()


def make_site(deps: ApiDeps, routes: Sequence[Route]) -> ApiSite:
    """Put the routes, health, metrics and the extra resources under one root."""
    router = Router(deps, routes)
    root = _Node(router)
    for mount in {*MOUNTS, deps.settings.http.uri_prefix.rstrip("/")}:
        _mount(root, mount, _Api(router, mount))
    _mount(root, TWILIO_MOUNT, _Api(router, TWILIO_MOUNT, twilio=True))
    root.putChild(b"openapi.json", _Document(router))
    _mount(root, PAGES, _Open(router, deps, error_page))
    _mount(root, CACHE, _Open(router, deps, cached_file))
    root.putChild(b"healthz", _Health(router, deps))
    root.putChild(b"metrics", _Metrics(router, deps))
    for name, resource in deps.extra.items():
        root.putChild(name, resource)
    return ApiSite(root, deps, router)


def _mount(root: _Node, path: str, leaf: _Leaf) -> None:
    node: Resource = root
    *above, last = [part.encode() for part in path.split("/") if part] or [b""]
    for name in above:
        child = node.children.get(name)
        if not isinstance(child, Resource):
            child = _Node(root.router)
            node.putChild(name, child)
        node = child
    node.putChild(last, leaf)


__all__ = ["MOUNTS", "ApiSite", "make_site"]
