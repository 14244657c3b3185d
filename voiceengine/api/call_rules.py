"""Parameters of calls, checked and turned into the requests of the port."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

import attrs

from voiceengine.api.declare import Param
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

URL: Final = Param(
    "Url", "url", doc="Document that runs once the callee has answered; this or Rcml is required."
)
METHOD: Final = Param("Method", "method", default="POST", doc="How Url is requested.")
FALLBACK_URL: Final = Param("FallbackUrl", "url", doc="Requested when Url fails.")
FALLBACK_METHOD: Final = Param(
    "FallbackMethod", "method", default="POST", doc="How FallbackUrl is requested."
)
RCML: Final = Param("Rcml", "document", doc="A document that runs instead of fetching Url.")
TWIML: Final = Param("Twiml", "document", doc="Another name of Rcml.")
DOCUMENT: Final = (URL, METHOD, FALLBACK_URL, FALLBACK_METHOD, RCML, TWIML)

FROM: Final = Param("From", required="From can not be null.", doc="Caller id: a number, a name or a SIP URI.")
TO: Final = Param(
    "To",
    required="To can not be null.",
    doc="A number, `client:name` or a SIP URI; `?X-Name=value&…` after it adds SIP headers whose names begin "
    "with X- (or are User-to-User).",
)
STATUS_CALLBACK: Final = Param("StatusCallback", "url", doc="Told how the call proceeds.")
STATUS_CALLBACK_METHOD: Final = Param(
    "StatusCallbackMethod", "method", default="POST", doc="How StatusCallback is requested."
)
STATUS_CALLBACK_EVENT: Final = Param(
    "StatusCallbackEvent",
    repeated=True,
    doc="initiated, ringing, answered, completed: repeated, or separated by commas or blanks; none: all.",
)
TIMEOUT: Final = Param(
    "Timeout",
    "integer",
    minimum=1,
    maximum=MAX_TIMEOUT,
    doc="Ring time, seconds; not given: `sip.ring_timeout`.",
)
RECORD: Final = Param("Record", "flag", default=False, doc="Records the call from the answer on.")
USERNAME: Final = Param("Username", doc="Digest user of the outbound leg.")
PASSWORD: Final = Param("Password", secret=True, doc="Digest password of the outbound leg.")
SIP_USERNAME: Final = Param("SipAuthUsername", doc="Another name of Username.")
SIP_PASSWORD: Final = Param("SipAuthPassword", secret=True, doc="Another name of Password.")
CALLEE: Final = (
    FROM,
    TO,
    STATUS_CALLBACK,
    STATUS_CALLBACK_METHOD,
    STATUS_CALLBACK_EVENT,
    TIMEOUT,
    RECORD,
    USERNAME,
    PASSWORD,
    SIP_USERNAME,
    SIP_PASSWORD,
)
"""Whom to call and how."""
APPLICATION: Final = Param(
    "ApplicationSid",
    "sid",
    allowed=("AP",),
    doc="Application whose RcmlUrl runs when neither Url nor a document is given.",
)
CREATE: Final = (FROM, TO, *DOCUMENT, APPLICATION, *CALLEE[2:])
"""Of a new call."""

NEW_URL: Final = attrs.evolve(URL, doc="Document that replaces the one that runs.")
STATUS: Final = Param(
    "Status",
    "choice",
    allowed=("canceled", "completed"),
    doc="`canceled` ends a call that rings, `completed` ends it in any case.",
)
MUTE: Final = Param("Mute", "flag", doc="Mutes the party or not; not given: as it is.")
MOVE: Final = Param(
    "MoveConnectedCallLeg",
    "flag",
    default=False,
    doc="The connected leg runs the document too; otherwise it is ended.",
)
CONFERENCE_SID: Final = Param("ConferenceSid", doc="Instead of a document: the conference that it enters.")
FRIENDLY_NAME: Final = Param("FriendlyName", doc="Instead of a document: the name of the room.")
MODIFY: Final = (
    NEW_URL,
    *DOCUMENT[1:],
    STATUS,
    attrs.evolve(STATUS_CALLBACK, doc="Replaces the callback that is told of the end."),
    STATUS_CALLBACK_METHOD,
    MUTE,
    MOVE,
    CONFERENCE_SID,
    FRIENDLY_NAME,
)
"""Of a live call; at least one instruction is needed."""

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
    from_ = body.read(FROM).strip()
    to, _, suffix = body.read(TO).strip().partition("?")
    if not from_ or not to:
        raise missing(f"{'To' if from_ else 'From'} can not be null.")
    return CreateCall(
        account_sid=account_sid,
        from_=from_,
        to=_normalised(to, settings),
        status_callback=body.read(STATUS_CALLBACK),
        status_callback_method=body.read(STATUS_CALLBACK_METHOD),
        status_callback_events=parse_events(body),
        timeout=body.read(TIMEOUT) or int(settings.sip.ring_timeout),
        record=body.read(RECORD),
        username=body.read(USERNAME) or body.read(SIP_USERNAME),
        password=body.read(PASSWORD) or body.read(SIP_PASSWORD),
        headers=parse_headers(suffix),
    )


def parse_create(
    body: Parameters, account_sid: str, settings: Settings, application_url: str | None = None
) -> CreateCall:
    """Read the parameters of a new call.

    Args:
        body: the parameters.
        account_sid: whose call it is.
        settings: of the engine.
        application_url: absolute URL of the application that ApplicationSid names.
    """
    request = parse_callee(body, account_sid, settings)
    url, rcml = body.read(URL) or application_url, body.read(RCML) or body.read(TWIML)
    if url is None and rcml is None:
        raise missing("Url can not be null.")
    return attrs.evolve(
        request,
        url=url,
        rcml=rcml,
        method=body.read(METHOD),
        fallback_url=body.read(FALLBACK_URL),
        fallback_method=body.read(FALLBACK_METHOD),
    )


def parse_modify(body: Parameters, room: str | None = None) -> ModifyCall:
    """Read the instructions for a live call.

    Args:
        body: the parameters.
        room: name of the conference that the call shall enter, when it is asked to.

    Raises:
        ApiError: 409 without any instruction, 400 for one that cannot be carried out.
    """
    url, rcml = body.read(NEW_URL), body.read(RCML) or body.read(TWIML)
    status, mute, moves = body.read(STATUS), body.read(MUTE), body.read(MOVE)
    if url is None and rcml is None and room is None and status is None and mute is None:
        raise ApiError(409, NOTHING_TO_DO)
    if room is not None:
        if url is not None or rcml is not None:
            raise bad("Give either a document (Url or Rcml) or a conference (ConferenceSid or FriendlyName).")
        rcml = room_document(room)
    if moves and url is None and rcml is None:
        raise bad("MoveConnectedCallLeg needs a document: give Url, Rcml, ConferenceSid or FriendlyName too.")
    return ModifyCall(
        url=url,
        rcml=rcml,
        method=body.read(METHOD),
        fallback_url=body.read(FALLBACK_URL),
        fallback_method=body.read(FALLBACK_METHOD),
        status=status,
        status_callback=body.read(STATUS_CALLBACK),
        status_callback_method=body.read(STATUS_CALLBACK_METHOD),
        mute=mute,
        move_connected_leg=moves,
    )
