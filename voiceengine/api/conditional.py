"""Validators of a reply and the conditions of a request (RFC 9110 sections 8.8, 13 and 14)."""

# The classes of twisted.web carry no type hints.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import hashlib
import re
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from typing import Final

from twisted.web.server import NOT_DONE_YET, Request
from twisted.web.static import File

_SUFFIX = re.compile(rb"(?:^|[=,])\s*-\s*([0-9]+)")

MAX_RANGES: Final = 8
"""More ranges of one request are ignored: together they could be far larger than the file."""

_TAG = re.compile(r'(?:W/)?("[^"]*")')


def is_unchanged(request: Request, etag: str, modified: float | None = None) -> bool:
    """Set ETag and Last-Modified (when it is known); tell whether the client has this version already (304).

    Args:
        request: a GET or HEAD.
        etag: strong, with its quotes.
        modified: seconds since the epoch.
    """
    request.setHeader("ETag", etag)
    if modified is not None:
        request.setHeader("Last-Modified", formatdate(modified, usegmt=True))
    known = request.getHeader("If-None-Match")
    if known is not None:
        return known.strip() == "*" or etag in _TAG.findall(known)
    since = _date(request.getHeader("If-Modified-Since"))
    return since is not None and modified is not None and int(modified) <= since


def tag_of(body: bytes) -> str:
    """A strong ETag of these bytes."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _date(text: str | None) -> float | None:
    try:
        return None if text is None else parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _forget_unusable_range(request: Request, etag: str, size: int) -> None:
    """Leave out a Range that is for another version, or that no one needs.

    Suffixes of nothing or of more than the file are left out, too: twisted.web would seek before its start.
    """
    headers = request.requestHeaders
    wanted = headers.getRawHeaders(b"Range", [])
    condition = request.getHeader("If-Range")
    good = all(
        value.isascii()
        and value.count(b",") < MAX_RANGES
        and all(len(last) < 16 and 0 < int(last) <= size for last in _SUFFIX.findall(value))
        for value in wanted
    )
    if not good or (condition is not None and condition.strip() != etag):
        headers.removeHeader(b"Range")


def deliver_file(request: Request, path: Path, content_type: str, etag: str, modified: float) -> None:
    """Send a file, or the ranges of it that are asked for, piece by piece."""
    if is_unchanged(request, etag, modified):
        request.setResponseCode(304)
        request.finish()
        return
    _forget_unusable_range(request, etag, path.stat().st_size)
    # The conditions were answered above; the file would answer If-Modified-Since again, by itself.
    request.requestHeaders.removeHeader(b"If-Modified-Since")
    file = File(str(path))
    file.type, file.encoding = content_type, None
    body = file.render_GET(request)
    if body is NOT_DONE_YET:
        return
    if isinstance(body, bytes):
        request.write(body)
    request.finish()
