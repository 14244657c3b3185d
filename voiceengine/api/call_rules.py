"""Parameters of calls, checked and turned into the requests of the port."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

import attrs

from voiceengine.api.errors import ApiError, bad, missing
from voiceengine.api.number_rules import to_e164
from voiceengine.api.parameters import Parameters
from voiceengine.api.ports import CALL_EVENTS, CreateCall, ModifyCall
from voiceengine.api.rooms import room_document
from voiceengine.config import Settings

MAX_TIMEOUT: Final = 600
"""Longest ring time, seconds."""
MAX_HEADERS: Final = 20
MAX_HEADER_LENGTH: Final = 1024

NOTHING_TO_DO: Final = (
    'You can either redirect a running call using "Url" or change the state of a Call with "Status" '
    'or mute a call using "Mute=true"'
)

_HEADER_NAME = re.compile(r"(?:[Xx]-[A-Za-z0-9!%*_+`'~.-]+|[Uu]ser-to-[Uu]ser)")
_CONTROL = re.compile("[\x00-\x1f\x7f]")


def parse_headers(text: str) -> tuple[tuple[str, str], ...]:
    """SIP headers of a `?X-A=1&X-B=2` suffix; values may be percent-encoded.

    Raises:
        ApiError: a name that may not be set, or a value with control characters.
    """
    found = []
    for pair in text.split("&"):
        if not pair:
            continue
        name, _, raw = pair.partition("=")
        name = unquote(name)
        if not _HEADER_NAME.fullmatch(name):
            raise bad(f"To may only add SIP headers whose names begin with X-; {name!r} is not one.")
        try:
            value = unquote(raw, errors="strict")
        except UnicodeDecodeError as error:
            raise bad(f"The value of the SIP header {name} in To is not UTF-8.") from error
        if _CONTROL.search(value) or len(value) > MAX_HEADER_LENGTH:
            raise bad(
                f"The value of the SIP header {name} in To must have at most {MAX_HEADER_LENGTH} characters "
                "and no control characters."
            )
        found.append((name, value))
    if len(found) > MAX_HEADERS:
        raise bad(f"To may add at most {MAX_HEADERS} SIP headers.")
    return tuple(found)


def parse_events(body: Parameters) -> frozenset[str]:
    """Events of the status callback: repeated, or separated by commas or blanks; none given: all."""
    given = [
        event.lower() for value in body.all("StatusCallbackEvent") for event in re.split(r"[,\s]+", value)
    ]
    events = frozenset(event for event in given if event)
    unknown = sorted(events - CALL_EVENTS)
    if unknown:
        raise bad(f"StatusCallbackEvent knows initiated, ringing, answered and completed, not {unknown[0]}.")
    return events or CALL_EVENTS


def _normalised(to: str, settings: Settings) -> str:
    if not settings.calls.normalize_numbers or "@" in to or to.startswith("sip:"):
        return to
    if to.startswith("client"):
        if to.count(":") > 1:
            raise bad(f"{to} is an invalid client identifier.")
        return to
    number = to_e164(to)
    if number is None:
        raise bad(f"{to} is not a phone number.")
    return number


def parse_callee(body: Parameters, account_sid: str, settings: Settings) -> CreateCall:
    """Read whom to call and how; the document is the caller's."""
    from_ = body.required("From", "From can not be null.").strip()
    to, _, suffix = body.required("To", "To can not be null.").strip().partition("?")
    if not from_ or not to:
        raise missing(f"{'To' if from_ else 'From'} can not be null.")
    return CreateCall(
        account_sid=account_sid,
        from_=from_,
        to=_normalised(to, settings),
        status_callback=body.url("StatusCallback"),
        status_callback_method=body.method("StatusCallbackMethod"),
        status_callback_events=parse_events(body),
        timeout=body.integer("Timeout", int(settings.sip.ring_timeout), 1, MAX_TIMEOUT),
        record=bool(body.flag("Record")),
        username=body.text("Username"),
        password=body.text("Password"),
        headers=parse_headers(suffix),
    )


def parse_create(body: Parameters, account_sid: str, settings: Settings) -> CreateCall:
    """Read the parameters of a new call."""
    request = parse_callee(body, account_sid, settings)
    url, rcml = body.url("Url"), body.document("Rcml") or body.document("Twiml")
    if url is None and rcml is None:
        raise missing("Url can not be null.")
    return attrs.evolve(
        request,
        url=url,
        rcml=rcml,
        method=body.method("Method"),
        fallback_url=body.url("FallbackUrl"),
        fallback_method=body.method("FallbackMethod"),
    )


def parse_modify(body: Parameters, room: str | None = None) -> ModifyCall:
    """Read the instructions for a live call.

    Args:
        body: the parameters.
        room: name of the conference that the call shall enter, when it is asked to.

    Raises:
        ApiError: 409 without any instruction, 400 for one that cannot be carried out.
    """
    url, rcml = body.url("Url"), body.document("Rcml") or body.document("Twiml")
    status, mute, moves = body.text("Status"), body.flag("Mute"), bool(body.flag("MoveConnectedCallLeg"))
    if url is None and rcml is None and room is None and status is None and mute is None:
        raise ApiError(409, NOTHING_TO_DO)
    if status is not None and status.lower() not in ("canceled", "completed"):
        raise bad("Status must be canceled or completed.")
    if room is not None:
        if url is not None or rcml is not None:
            raise bad("Give either a document (Url or Rcml) or a conference (ConferenceSid or FriendlyName).")
        rcml = room_document(room)
    if moves and url is None and rcml is None:
        raise bad("MoveConnectedCallLeg needs a document: give Url, Rcml, ConferenceSid or FriendlyName too.")
    return ModifyCall(
        url=url,
        rcml=rcml,
        method=body.method("Method"),
        fallback_url=body.url("FallbackUrl"),
        fallback_method=body.method("FallbackMethod"),
        status=status and status.lower(),
        status_callback=body.url("StatusCallback"),
        status_callback_method=body.method("StatusCallbackMethod"),
        mute=mute,
        move_connected_leg=moves,
    )
