"""Requests of scripts of web pages (cross-origin resource sharing)."""

# The classes of twisted.web carry no type hints.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from twisted.web.server import Request

METHODS: Final = "GET, POST, PUT, DELETE, OPTIONS, HEAD"
HEADERS: Final = "Authorization, Content-Type, Accept, If-None-Match, If-Modified-Since, If-Range, Range"
EXPOSED: Final = "ETag, Last-Modified, Content-Range, Accept-Ranges, Content-Length, Link, Retry-After"
MAX_AGE: Final = 1209600
"""How long a browser may remember what is allowed, seconds."""


def _normal(origin: str) -> str:
    return origin.strip().rstrip("/").lower()


class Cors:
    """Which web pages may use the API.

    Args:
        origins: scheme, host and port of pages; `*`: all, which then send no credentials of the browser.
    """

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(map(_normal, origins))

    def allows(self, origin: str | None) -> bool:
        """Whether the scripts of a page may use the API."""
        return origin is not None and ("*" in self._origins or _normal(origin) in self._origins)

    def headers(self, origin: str | None) -> list[tuple[str, str]]:
        """Headers of a reply to a page; only Vary for one that may not use the API."""
        if not self._origins:
            return []
        found = [("Vary", "Origin")]
        if origin is None or not self.allows(origin):
            return found
        if _normal(origin) in self._origins:
            found += [
                ("Access-Control-Allow-Origin", origin.strip()),
                ("Access-Control-Allow-Credentials", "true"),
            ]
        else:
            found.append(("Access-Control-Allow-Origin", "*"))
        return [*found, ("Access-Control-Expose-Headers", EXPOSED)]


def allow_origin(request: Request, cors: Cors) -> bool:
    """Set the headers for the page that asks; True: it only asked what is allowed, and has its answer."""
    origin = request.getHeader("Origin")
    for name, value in cors.headers(origin):
        request.setHeader(name, value)
    asks = request.method == b"OPTIONS" and request.getHeader("Access-Control-Request-Method") is not None
    if not asks or not cors.allows(origin):
        return False
    request.setHeader("Access-Control-Allow-Methods", METHODS)
    request.setHeader("Access-Control-Allow-Headers", HEADERS)
    request.setHeader("Access-Control-Max-Age", str(MAX_AGE))
    request.setResponseCode(204)
    request.finish()
    return True
