"""What REFER and the NOTIFY about it say (RFC 3515, 3891, 4488): headers read strictly, bodies kept small.

Pure.
"""

from __future__ import annotations

import dataclasses
import re
from urllib.parse import unquote

import attrs
from sipmessage import URI, Request
from sipmessage.parameters import Parameters

from voiceengine.sip.headers import clean, parameters, split_list

MAX_SIPFRAG = 1_024
"""Largest body of a NOTIFY that is passed on, bytes; its first line is all that counts."""
MAX_EXTRA = 16
"""X- headers that are taken from a Refer-To."""
_MAX_EXTRA_VALUE = 512

_NAME_ADDR = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^"<>]*)\s*<([^<>]+)>\s*((?:;.*)?)')
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_EXTRA = re.compile(r"X-[A-Za-z0-9.!%*_+`'~-]{1,62}", re.IGNORECASE)
_STATUS = re.compile(rb"SIP/2\.0 [1-6][0-9]{2}(?: [^\r\n]*)?(?:\r\n|$)")
_TEXT = re.compile(rb"[\r\n\t\x20-\x7e\x80-\xff]*")
_EVENT = re.compile(r"refer(?:\s*;.*)?", re.IGNORECASE)
_EVENT_ID = re.compile(r";\s*id\s*=\s*([0-9]{1,10})(?=\s*(?:;|$))", re.IGNORECASE)


class ReferError(ValueError):
    """A REFER or NOTIFY that cannot be used.

    Args:
        message: a sentence that says why.
        status: the SIP status that tells it.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


@attrs.frozen
class Replaces:
    """The dialog that a call is to take over (RFC 3891), as the party that is asked to do so sees it."""

    call_id: str
    to_tag: str
    from_tag: str

    @classmethod
    def parse(cls, value: str) -> Replaces:
        """Read the value of a Replaces header.

        Raises:
            ReferError: Call-ID or a tag is missing.
        """
        call_id, _, rest = value.strip().partition(";")
        given = parameters(f";{rest}")
        tags = given.get("to-tag", ""), given.get("from-tag", "")
        if not (call_id.strip() and all(tags)):
            raise ReferError("Replaces needs a Call-ID, a to-tag and a from-tag.")
        return cls(call_id.strip(), *tags)


@attrs.frozen
class ReferTo:
    """Where a call is to go."""

    target: URI
    """Without headers and method."""
    headers: tuple[tuple[str, str], ...] = ()
    """X- headers for the INVITE; others are not taken over (RFC 3261 section 19.1.5)."""
    replaces: Replaces | None = None

    @classmethod
    def parse(cls, values: list[str]) -> ReferTo:
        """Read the Refer-To headers of a REFER; there must be one (RFC 3515 section 2.4.1).

        Raises:
            ReferError: 400 malformed, 416 another scheme, 501 another method than INVITE.
        """
        try:
            items = [item for value in values for item in split_list(value)]
        except ValueError:
            raise ReferError("Refer-To is not valid.") from None
        if len(items) != 1:
            raise ReferError("REFER needs one Refer-To.")
        bracketed = _NAME_ADDR.fullmatch(items[0])
        text = bracketed[1] if bracketed is not None else items[0]
        base, _, query = text.strip().partition("?")
        headers, replaces = _embedded(query)
        return cls(_target(base), headers, replaces)


def _target(text: str) -> URI:
    scheme = _SCHEME.match(text)
    if scheme is None:
        raise ReferError("Refer-To is not valid.")
    if scheme[1].lower() not in ("sip", "sips", "tel"):
        raise ReferError("Refer-To has a scheme that cannot be called.", 416)
    try:
        uri = URI.parse(scheme[1].lower() + text[scheme.end(1) :])
    except (ValueError, AssertionError):
        raise ReferError("Refer-To is not valid.") from None
    if clean(uri.user or "") != (uri.user or "") or (uri.port is not None and not 0 < uri.port < 65536):
        raise ReferError("Refer-To is not valid.")
    kept = {name: value for name, value in uri.parameters.items() if name.lower() != "method"}
    methods = [value for name, value in uri.parameters.items() if name.lower() == "method"]
    if any((method or "").upper() != "INVITE" for method in methods):
        raise ReferError("Only INVITE can be referred to.", 501)
    return dataclasses.replace(uri, parameters=Parameters(**kept))


def _embedded(query: str) -> tuple[tuple[tuple[str, str], ...], Replaces | None]:
    extra: list[tuple[str, str]] = []
    replaces: list[Replaces] = []
    for item in query.split("&"):
        name, _, value = item.partition("=")
        name, value = unquote(name), unquote(value)
        if name.lower() == "replaces":
            replaces.append(Replaces.parse(clean(value)))
        elif _EXTRA.fullmatch(name) and len(extra) < MAX_EXTRA:
            extra.append((name, clean(value, _MAX_EXTRA_VALUE)))
    if len(replaces) > 1:
        raise ReferError("Refer-To has more than one Replaces.")
    return tuple(extra), replaces[0] if replaces else None


def silent(request: Request) -> bool:
    """Whether the sender of a REFER wants no NOTIFY (`Refer-Sub: false`, RFC 4488 section 4)."""
    value = request.headers.get("Refer-Sub") or ""
    return value.partition(";")[0].strip().lower() == "false"


def sipfrag(code: int, phrase: str) -> bytes:
    """Body of a NOTIFY (RFC 3515 section 2.4.5)."""
    return f"SIP/2.0 {code} {clean(phrase, 128)}\r\n".encode()


def check_notify(request: Request) -> None:
    """Check a NOTIFY of a phone before the worker sees it.

    Raises:
        ReferError: 489 another event, 415 another body, 413 too large, 400 no status line.
    """
    if not _EVENT.fullmatch(request.headers.get("Event") or ""):
        raise ReferError("Only the event refer is known here.", 489)
    body = request.body
    if not body:
        return
    kind = (request.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
    if kind != "message/sipfrag":
        raise ReferError("The body of a NOTIFY must be message/sipfrag.", 415)
    if len(body) > MAX_SIPFRAG:
        raise ReferError("The body of the NOTIFY is too large.", 413)
    if not (_STATUS.match(body) and _TEXT.fullmatch(body)):
        raise ReferError("The body of the NOTIFY does not begin with a status line.")


def event_number(event: str) -> int | None:
    """The id of an Event header: the CSeq of the REFER that it is about (RFC 3515 section 2.4.6)."""
    found = _EVENT_ID.search(event)
    return int(found[1]) if found is not None else None
