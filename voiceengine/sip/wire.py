"""SIP messages as bytes: reading with limits, salvage of what can still be answered, responses."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable

from sipmessage import Message, Request, Response

from voiceengine.sip import grammar  # noqa: F401 - widens what sipmessage takes
from voiceengine.sip.headers import split_list

PHRASES = {
    100: "Trying",
    180: "Ringing",
    183: "Session Progress",
    200: "OK",
    202: "Accepted",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    423: "Interval Too Brief",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    489: "Bad Event",
    500: "Server Internal Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "Version Not Supported",
    513: "Message Too Large",
    603: "Decline",
}

MAX_LINES = 256
MAX_VALUE = 4096

_FOLD = re.compile(rb"\r\n[ \t]+")
_SALVAGE = {
    "Via": re.compile(rb"^(?:via|v)[ \t]*:[ \t]*([^\r\n]+)", re.IGNORECASE | re.MULTILINE),
    "From": re.compile(rb"^(?:from|f)[ \t]*:[ \t]*([^\r\n]+)", re.IGNORECASE | re.MULTILINE),
    "To": re.compile(rb"^(?:to|t)[ \t]*:[ \t]*([^\r\n]+)", re.IGNORECASE | re.MULTILINE),
    "Call-ID": re.compile(rb"^(?:call-id|i)[ \t]*:[ \t]*([^\r\n]+)", re.IGNORECASE | re.MULTILINE),
    "CSeq": re.compile(rb"^cseq[ \t]*:[ \t]*([^\r\n]+)", re.IGNORECASE | re.MULTILINE),
}
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?!\n)")
_TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
_RECEIVED = re.compile(r";\s*received\s*(?:=[^;]*)?(?=;|$)", re.IGNORECASE)
_RPORT = re.compile(r";\s*rport\s*(?:=[^;]*)?(?=;|$)", re.IGNORECASE)
_BRANCH = re.compile(r";\s*branch\s*=\s*([^;\s]+)", re.IGNORECASE)
_METHOD = re.compile(rb"^[A-Z]{3,16} ")


class BadMessage(ValueError):
    """Bytes that are no SIP message this engine reads."""


def parse(data: bytes) -> Request | Response:
    """Read one message.

    Raises:
        BadMessage: the bytes are not a complete SIP/2.0 message within the limits.
    """
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        raise BadMessage("no end of the header section")
    if b"\r\n " in head or b"\r\n\t" in head:
        head = _FOLD.sub(b" ", head)
    if _CONTROL.search(head):
        raise BadMessage("a control character in the header section")
    if head.count(b"\r\n") > MAX_LINES:
        raise BadMessage("too many header lines")
    try:
        message = Message.parse(head.lstrip(b"\r\n") + b"\r\n\r\n" + body)
        length = message.headers.get("Content-Length")
        if length is not None:
            if not length.isascii() or not length.isdigit():
                raise BadMessage("Content-Length is not a number")
            if int(length) > len(body):
                raise BadMessage("the body is shorter than Content-Length")
            message.body = body[: int(length)]
        check(message)
    except BadMessage:
        raise
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError) as error:
        raise BadMessage(str(error) or type(error).__name__) from None
    return message


def check(message: Request | Response) -> None:
    """Check what every message must have (RFC 3261 section 8.1.1).

    Raises:
        BadMessage: a header is missing, doubled, too long or malformed.
    """
    headers = message.headers
    for name in ("From", "To", "Call-ID", "CSeq"):
        values = headers.getlist(name)
        if len(values) != 1 or not values[0]:
            raise BadMessage(f"{name} must occur once")
    for name in headers.keys():
        if not _TOKEN.fullmatch(name):
            raise BadMessage("a header name is not valid")
        for value in headers.getlist(name):
            if len(value) > MAX_VALUE:
                raise BadMessage(f"{name} is too long")
    if not headers.get("Via"):
        raise BadMessage("Via is missing")
    number, _, method = headers["CSeq"].partition(" ")
    if not number.isascii() or not number.isdigit() or int(number) >= 2**31:
        raise BadMessage("CSeq is not valid")
    message.to_address  # noqa: B018 - raises when malformed
    _check_via(message)
    if isinstance(message, Response):
        if not 100 <= message.code <= 699:
            raise BadMessage("the status code is not valid")
        return
    if not _TOKEN.fullmatch(message.method) or method.strip() != message.method:
        raise BadMessage("CSeq does not name the method")
    if "tag" not in message.from_address.parameters:
        raise BadMessage("From has no tag")


def _check_via(message: Request | Response) -> None:
    top = message.via[0]
    split_list(message.headers["Via"])
    if not top.parameters.get("branch"):
        raise BadMessage("Via has no branch")
    if top.port is not None and not 0 < top.port < 65536:
        raise BadMessage("the port of Via is not valid")


def salvage(data: bytes) -> Request | None:
    """Read just enough of a broken request to answer it; None when that is impossible."""
    if not _METHOD.match(data) or data.startswith(b"ACK "):
        return None
    found: dict[str, str] = {}
    for name, pattern in _SALVAGE.items():
        match = pattern.search(data[:8192])
        if match is None:
            return None
        try:
            found[name] = match[1].decode("utf8").strip()
        except UnicodeDecodeError:
            return None
    method = data.split(b" ", 1)[0].decode()
    text = "".join(f"{name}: {value}\r\n" for name, value in found.items())
    try:
        message = Message.parse(f"{method} sip:invalid SIP/2.0\r\n{text}\r\n".encode())
        if len(message.via) != 1 or not isinstance(message, Request):
            return None
        top = message.via[0]
        if not top.parameters.get("branch") or not 0 < (top.port or 5060) < 65536:
            return None
        message.to_address  # noqa: B018 - raises when malformed
    except (ValueError, KeyError, AssertionError, TypeError, IndexError, AttributeError):
        return None
    return message


def new_branch() -> str:
    """A Via branch (RFC 3261 section 8.1.1.7)."""
    return "z9hG4bK" + secrets.token_hex(8)


def new_tag() -> str:
    """A From or To tag."""
    return secrets.token_hex(6)


def response_to(
    request: Request,
    code: int,
    phrase: str = "",
    headers: Iterable[tuple[str, str]] = (),
    *,
    to_tag: str | None = None,
) -> Response:
    """Build a response (RFC 3261 section 8.2.6); a To tag is added to all but 100."""
    response = Response(code, phrase or PHRASES.get(code, "Error"))
    response.headers.setlist("Via", list(request.headers.getlist("Via")))
    response.headers.set("From", request.headers["From"])
    to = request.headers["To"]
    if code != 100 and ";tag=" not in to.rsplit(">", 1)[-1].lower():
        to += f";tag={to_tag or new_tag()}"
    response.headers.set("To", to)
    response.headers.set("Call-ID", request.headers["Call-ID"])
    response.headers.set("CSeq", request.headers["CSeq"])
    for name, value in headers:
        response.headers.add(name, value)
    response.headers.set("Content-Length", "0")
    return response


_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


def tag_of(value: str) -> str:
    """The tag of a From or To header value, or ''."""
    tail = _QUOTED.sub('""', value).rsplit(">", 1)[-1]
    for part in tail.split(";")[1:]:
        name, _, tag = part.partition("=")
        if name.strip().lower() == "tag":
            return tag.strip()
    return ""


def with_tag(value: str, tag: str) -> str:
    """The From or To header value with a tag, unless it has one."""
    return value if not tag or tag_of(value) else f"{value};tag={tag}"


def stamp_via(request: Request, host: str, port: int) -> tuple[str, bool]:
    """Note the real source in the top Via (RFC 3261 section 18.2.1, RFC 3581).

    The header is edited as text: its branch must go back to the letter.

    Returns:
        The branch, and whether the sender asked for `rport`.
    """
    values = [value for line in request.headers.getlist("Via") for value in split_list(line)]
    top = values[0]
    wants_rport = _RPORT.search(top) is not None
    sent_by = request.via[0].host.strip("[]")
    if wants_rport or sent_by != host or "received" in top.lower():
        top = _RPORT.sub("", _RECEIVED.sub("", top))  # only we know where it came from
        if wants_rport or sent_by != host:
            top += f";received={host}"
        if wants_rport:
            top += f";rport={port}"
    request.headers.setlist("Via", [top, *values[1:]])
    branch = _BRANCH.search(top)
    return branch[1] if branch is not None else "", wants_rport
