"""Small rules about SIP headers: sanity of what arrives, cleanliness of what is sent (RFC 3261 section 20).

Pure. `sipmessage` parses leniently: it keeps single CR and LF inside values and does not count headers, so
every parsed message passes `check` before anything else looks at it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from urllib.parse import unquote

import attrs
from sipmessage import URI, Request, Response

SUPPORTED: frozenset[str] = frozenset({"100rel", "timer"})
"""Option tags that a worker (PJSIP) understands in Require."""

MAX_HEADERS = 200
"""Header values per message."""
MAX_VALUE = 8_192
"""Longest header value, characters."""
_MAX_NAME = 64
_MAX_VIA = 70
_MAX_CALL_ID = 512

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029]+")
_NAME = re.compile(r"[A-Za-z0-9.!%*_+`'~-]+")
_CSEQ = re.compile(r"([0-9]{1,10})[ \t]+([A-Za-z0-9.!%*_+`'~-]{1,64})")
_NUMBER = re.compile(r"[0-9]{1,10}")
_TAG = re.compile(r";\s*tag\s*=\s*[^\s;,]", re.IGNORECASE)
_MANDATORY = ("Via", "From", "To", "Call-ID", "CSeq")
_SINGLE = frozenset(
    (
        "from",
        "to",
        "call-id",
        "cseq",
        "max-forwards",
        "content-length",
        "content-type",
        "expires",
        "min-expires",
    )
)
_NUMERIC = {"max-forwards": 255, "content-length": 2**31, "expires": 2**32}


class HeaderError(ValueError):
    """A header value that cannot be read."""


@attrs.frozen
class Problem:
    """Why a message is not processed."""

    status: int
    """SIP status to refuse a request with."""
    reason: str
    """Reason phrase."""


def check(message: Request | Response) -> Problem | None:
    """Sanity of a parsed message (RFC 3261 sections 8.1.1 and 16.3).

    Exactly one From, To, Call-ID and CSeq, at least one Via, the method of CSeq that of the request, a tag in
    From, numbers that are numbers, no control characters, bounded lengths.

    Returns:
        None when it may be processed. Responses with a problem are dropped, requests refused with it.
    """
    total = 0
    names = message.headers.keys()
    if len(names) > MAX_HEADERS:
        return Problem(400, "Too many headers")
    for name in names:
        values = message.headers.getlist(name)
        total += len(values)
        problem = _check_header(name, values)
        if problem is not None:
            return problem
    if total > MAX_HEADERS:
        return Problem(400, "Too many headers")
    for name in _MANDATORY:
        if not message.headers.get(name):
            return Problem(400, f"Missing {name} header")
    if len(message.headers.getlist("Via")) > _MAX_VIA:
        return Problem(482, "Loop Detected")
    if len(message.headers["Call-ID"]) > _MAX_CALL_ID:
        return Problem(400, "Call-ID too long")
    cseq = _CSEQ.fullmatch(message.headers["CSeq"])
    if cseq is None or int(cseq[1]) >= 2**31:
        return Problem(400, "Invalid CSeq header")
    return _check_start(message, cseq[2])


def _check_start(message: Request | Response, cseq_method: str) -> Problem | None:
    if isinstance(message, Request):
        if cseq_method != message.method:
            return Problem(400, "CSeq method does not match")
        if not _TAG.search(message.headers["From"]):
            return Problem(400, "Missing tag in From header")
        if _CONTROL.search(message.uri.user or "") or _CONTROL.search(message.uri.host):
            return Problem(400, "Invalid Request-URI")
    elif not 100 <= message.code <= 699 or _CONTROL.search(message.phrase):
        return Problem(400, "Invalid status line")
    return None


def _check_header(name: str, values: list[str]) -> Problem | None:
    key = name.lower()
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        return Problem(400, "Invalid header name")
    if key in _SINGLE and len(values) != 1:
        return Problem(400, f"More than one {name} header")
    for value in values:
        if len(value) > MAX_VALUE:
            return Problem(513, f"{name} header too long")
        if _CONTROL.search(value):
            return Problem(400, f"Invalid character in {name} header")
    if key in _NUMERIC and (not _NUMBER.fullmatch(values[0]) or int(values[0]) > _NUMERIC[key]):
        return Problem(400, f"Invalid {name} header")
    return None


def unsupported(required: Iterable[str], supported: Collection[str] = SUPPORTED) -> list[str]:
    """Option tags of Require that are not understood, for 420 and its Unsupported header (8.2.2.3)."""
    known = {tag.lower() for tag in supported}
    return [tag for tag in required if tag and tag.lower() not in known]


def clean(value: str, limit: int = MAX_VALUE) -> str:
    """Make a text fit for a header value: line breaks and control characters become one space."""
    return _CONTROLS.sub(" ", value)[:limit].encode("utf-8", "replace").decode("utf-8").strip()


def quote(value: str) -> str:
    """Write a text as a quoted-string (section 25.1)."""
    return '"' + clean(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def reason_value(text: str, cause: int | None = None, protocol: str = "SIP") -> str:
    """Value of a Reason header (RFC 3326): `SIP;cause=486;text="Busy Here"`."""
    middle = f";cause={cause}" if cause is not None else ""
    return f"{protocol}{middle};text={quote(text)}"


def text_of_user(uri: URI | str) -> str:
    """User part of a URI as plain text: percent-decoded, user parameters removed, control characters too.

    A text that is no URI of the form `scheme:user@host` gives the empty text; `tel:` URIs give the number.
    """
    if isinstance(uri, URI):
        user = uri.user or ""
    else:
        scheme, colon, rest = uri.strip().strip("<>").partition(":")
        if not colon:
            return ""
        if scheme.lower() == "tel":
            user = rest
        else:
            before, at, _ = rest.rpartition("@")
            user = unquote(before.partition(":")[0]) if at else ""
    return _CONTROLS.sub("", user.partition(";")[0]).strip()


def split_list(value: str, separator: str = ",") -> list[str]:
    """Split at separators outside of quotes and angle brackets; empty items are dropped.

    Raises:
        HeaderError: a quote or bracket is not closed.
    """
    if separator not in value:
        stripped = value.strip()
        return [stripped] if stripped else []
    items: list[str] = []
    start = 0
    quoted = bracketed = escaped = False
    for position, char in enumerate(value):
        if escaped:
            escaped = False
        elif quoted:
            escaped = char == "\\"
            quoted = char != '"'
        elif bracketed:
            bracketed = char != ">"
        elif char == '"':
            quoted = True
        elif char == "<":
            bracketed = True
        elif char == separator:
            items.append(value[start:position].strip())
            start = position + 1
    if quoted or bracketed:
        raise HeaderError("A quoted text or an angle bracket is not closed.")
    items.append(value[start:].strip())
    return [item for item in items if item]


def parameters(text: str) -> dict[str, str]:
    """Read `;name=value;flag` after an address: names in lower case, no quotes, the first of equals wins.

    Raises:
        HeaderError: it does not begin with a semicolon, or a quote is not closed.
    """
    text = text.strip()
    if text and not text.startswith(";"):
        raise HeaderError("Parameters begin with a semicolon.")
    found: dict[str, str] = {}
    for item in split_list(text, ";"):
        name, _, value = item.partition("=")
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] == '"':
            value = re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL)
        found.setdefault(name.strip().lower(), value)
    return found
