"""URLs of documents: resolution by RFC 3986 and what may be shown of them."""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import urljoin, urlsplit

from rcml.errors import UrlError

HTTP = ("http", "https")

_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_USERINFO = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)[^/?#]*@")
_FORBIDDEN = re.compile(r'[\x00-\x20\x7f<>"\\]')


def resolve(base: str, text: str, schemes: Collection[str] = HTTP) -> str:
    """Make the absolute URL of a text found in the document at `base`.

    Args:
        base: URL of the document; empty when it has none.
        text: the URL as written; blanks around it are removed.
        schemes: schemes that are allowed.

    Raises:
        UrlError: it cannot be parsed, or is not absolute with one of `schemes`.
    """
    reference = text.strip()
    if _FORBIDDEN.search(reference):
        raise UrlError(text, f"The URL {reference!r} holds characters that are not allowed in a URL.")
    try:
        url = reference if _ABSOLUTE.match(reference) else urljoin(base, reference)
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UrlError(text, f"The URL {reference!r} cannot be parsed: {error}.") from error
    if parts.scheme not in schemes:
        raise UrlError(text, f"The URL {reference!r} is not an absolute {' or '.join(schemes)} URL.")
    if not host and parts.scheme in HTTP:
        raise UrlError(text, f"The URL {reference!r} names no host.")
    return url


def without_userinfo(url: str) -> str:
    """Leave out user and password of a URL, for records and logs."""
    return _USERINFO.sub(r"\1", url)
