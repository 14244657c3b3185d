"""The nouns of Dial: whom a call is made to, or which conference is entered.

Reference: Dial, nouns and target resolution; Conference.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import unquote

from rcml.attributes import Attribute, boolean, choice, http_method, integer, text, url
from rcml.document import Element
from rcml.ports import (
    CALL_EVENTS,
    CONFERENCE_EVENTS,
    CallbackSpec,
    ConferenceSpec,
    DialError,
    DialTarget,
    Screening,
    TargetKind,
)
from rcml.verb import Noun, Text, noun

if TYPE_CHECKING:
    from rcml.flow import Flow

LONGEST_ROOM = 255
"""Characters of the name of a conference; what is longer is cut."""
MAX_NOUNS = 10
"""Nouns of one Dial; those beyond are ignored."""
MAX_ADDRESS = 255
"""A URI must be shorter."""
MAX_HEADERS = 1024
"""The text of the headers behind a `?` must be shorter."""
MAX_PARTICIPANTS = 100

CLIENT_PREFIX = "client:"

_SEPARATORS = re.compile(r"[\s,]+")
_PUNCTUATION = re.compile(r"[\s().\-/]+")
_NUMBER = re.compile(r"[+0-9A-Za-z*#_!~]+", re.ASCII)
_CLIENT = re.compile(r"[^\s<>\"\x00-\x1f\x7f]+")
_SIP = re.compile(r"sips?:[^\s<>\"\x00-\x1f\x7f]+", re.IGNORECASE)
_TOKEN = re.compile(r"[A-Za-z0-9!%*_+`'~.-]+", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_KEYS = re.compile(r"[0-9*#A-DwW]*", re.ASCII)


def split_headers(text: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Split a target such as `sip:a@h?X-A=1&b=2` into the address and the headers of the INVITE.

    A header whose name lacks `X-` gets it. Names and values are percent-decoded.

    Raises:
        DialError: the address or the headers are too long, or a header cannot be sent.
    """
    address, _, query = text.partition("?")
    address = address.strip()
    if len(address) >= MAX_ADDRESS:
        raise DialError(f"The address has {len(address)} characters; fewer than {MAX_ADDRESS} are allowed.")
    if len(query) >= MAX_HEADERS:
        raise DialError(f"The headers have {len(query)} characters; fewer than {MAX_HEADERS} are allowed.")
    headers: list[tuple[str, str]] = []
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        name, value = unquote(name).strip(), unquote(value).strip()
        if not _TOKEN.fullmatch(name) or _CONTROL.search(value):
            raise DialError(f"The header {name!r} cannot be sent.")
        headers.append((name if name[:2].upper() == "X-" else f"X-{name}", value))
    return address, tuple(headers)


def noun_of(text: str) -> Element:
    """Make the noun that the text of a Dial stands for."""
    lowered = text.lower()
    if lowered.startswith(("sip:", "sips:")):
        return Element("Sip", text=text)
    if text.startswith("client"):
        return Element("Client", text=text)
    if "@" in text.partition("?")[0]:
        return Element("Sip", text=f"sip:{text}")
    return Element("Number", text=text)


def _events(known: frozenset[str], default: frozenset[str]) -> Attribute[frozenset[str]]:
    """Declare a list of events, separated by blanks or commas; unknown ones are ignored."""
    names = " ".join(sorted(known))
    return Attribute(
        "statusCallbackEvent",
        lambda value: frozenset(_SEPARATORS.split(value)) & known,
        default,
        kind="words",
        allowed=f"words of: {names}; separated by blanks or commas",
        doc="Events that are told to the status callback.",
        shown=" ".join(sorted(default)),
        source="Call-progress callbacks",
    )


def _keys(value: str) -> str:
    if not _KEYS.fullmatch(value):
        raise ValueError(value)
    return value.replace("W", "ww")


def _participants(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value, re.ASCII) or int(value) < 1:
        raise ValueError(value)
    return min(int(value), MAX_PARTICIPANTS)


class Called(Noun):
    """What all nouns have in common that name somebody who is called."""

    __slots__ = ()

    kind: ClassVar[TargetKind]

    screening_url = url(
        "url",
        doc="A document that is run on the called leg before it is bridged (screening).",
        source="Dial, nouns",
    )
    screening_method = http_method(13210, of="the screening document", source="Dial, nouns")
    screening_seconds = integer(
        "timeout",
        60,
        minimum=1,
        unit="seconds",
        doc="Longest time the screening may take.",
        code=13212,
        source="Dial, nouns",
    )
    status_callback = url(
        "statusCallback", doc="Where the progress of the called leg is told.", source="Dial, nouns"
    )
    status_callback_event = _events(CALL_EVENTS, CALL_EVENTS)
    status_callback_method = http_method(
        13210, "statusCallbackMethod", of="the status callback", source="Dial, nouns"
    )

    def address(self) -> str:
        """Give the text that names the target."""
        return self.text

    def checked(self, address: str) -> str:
        """Give the address as it is called, without headers. Raises DialError when it is of another kind."""
        return address

    def whom(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """Give the address and the headers of the INVITE. Raises DialError."""
        text = self.address()
        if not text:
            raise DialError("The element names nobody.")
        address, headers = split_headers(text)
        return self.checked(address), headers

    def target(self, flow: Flow) -> DialTarget:
        """Make what the dialer calls.

        Raises:
            DialError: the target cannot be called.
            HangUpError: one of its URLs cannot be parsed; the notification was stored.
        """
        screening, callback = self._screening(flow), _callback(self, flow)
        address, headers = self.whom()
        return DialTarget(
            kind=self.kind,
            address=address,
            headers=headers,
            username=self.values.get("username", ""),
            password=self.values.get("password", ""),
            callback=callback,
            screening=screening,
            send_digits=self.values.get("sendDigits", ""),
        )

    def _screening(self, flow: Flow) -> Screening | None:
        if not self.screening_url:
            return None
        return Screening(
            url=flow.resolve(f"{self.name} url", self.screening_url),
            method=self.screening_method,
            seconds=self.screening_seconds,
        )


@noun("Number", source="Dial, nouns")
class Number(Called):
    """A telephone number, called through the outbound proxy. Punctuation is left out.

    `?X-A=1&X-B=2` behind the number become headers of the INVITE.
    """

    kind = TargetKind.NUMBER

    send_digits = Attribute(
        "sendDigits",
        _keys,
        "",
        kind="keys",
        allowed="keys 0-9 * # A-D, w for half a second and W for a second of silence",
        doc="Keys that are sent after the answer and before the bridge.",
        code=12200,
        source="Dial, nouns (TwiML convention)",
    )

    def checked(self, address: str) -> str:
        """Leave out punctuation."""
        number = _PUNCTUATION.sub("", address)
        if not _NUMBER.fullmatch(number):
            raise DialError(f"{address!r} is not a telephone number.")
        return number


class Named(Called):
    """A noun whose target may stand in an attribute."""

    __slots__ = ()

    name_ = text("name", doc="The target, when the element has no text.", source="Dial, nouns")

    def address(self) -> str:
        """Give the text, or the name."""
        return self.text or self.name_


@noun("Client", children=("Video",), source="Dial, nouns")
class Client(Named):
    """A softphone account by its login, with or without `client:`; all its devices ring.

    `?X-A=1` behind the login becomes a header of the INVITE.
    """

    kind = TargetKind.CLIENT

    def checked(self, address: str) -> str:
        """Leave out the prefix."""
        login = address.removeprefix(CLIENT_PREFIX).strip()
        if not _CLIENT.fullmatch(login):
            raise DialError(f"{address!r} is not the login of a client.")
        return login


@noun("Sip", children=("Video",), source="Dial, nouns")
class Sip(Named):
    """A SIP URI. `?name=value&other=value` behind it become headers of the INVITE.

    A header whose name lacks `X-` gets it: `sip:a@h?tenant=4` sends `X-tenant: 4`.
    """

    kind = TargetKind.SIP

    username = text("username", doc="User name for a peer that asks for it.", source="Dial, nouns")
    password = text("password", doc="Its password.", source="Dial, nouns")

    def checked(self, address: str) -> str:
        """Give the URI as it is."""
        if not _SIP.fullmatch(address):
            raise DialError(f"{address!r} is not a sip: or sips: URI.")
        return address


@noun("Uri", children=("Video",), source="Dial, nouns")
class Uri(Sip):
    """The old name of Sip."""


@noun("Conference", children=("Video",), text=Text.NAME, source="Conference")
class Conference(Noun):
    """A room where all who enter hear each other. An empty name enters none: the next verb runs.

    A Dial with a Conference calls nobody: other nouns are ignored.
    """

    name_ = text("name", doc="Name of the room, when the element has no text.", source="Conference")
    muted = boolean("muted", False, doc="Listen only.", source="Conference")
    beep = boolean("beep", True, doc="A tone to the room at join and leave.", source="Conference")
    start_on_enter = boolean(
        "startConferenceOnEnter",
        True,
        doc="The conference begins when this participant enters; until then all wait.",
        source="Conference",
    )
    end_on_exit = boolean(
        "endConferenceOnExit", False, doc="The room ends when this participant leaves.", source="Conference"
    )
    wait_url = Attribute[str | None](
        "waitUrl",
        lambda value: value,
        None,
        kind="URL",
        allowed="an absolute http(s) URL or a reference relative to the document, or empty for silence",
        doc="What is heard while waiting: a WAV file, or a document of Play and Say, without end.",
        shown="built-in music",
        source="Conference",
    )
    wait_method = http_method(13234, "waitMethod", of="the wait document", source="Conference")
    max_participants = Attribute(
        "maxParticipants",
        _participants,
        40,
        kind="integer",
        allowed=f"a whole number from 1 to {MAX_PARTICIPANTS}; more means {MAX_PARTICIPANTS}",
        doc="How many the room holds; one who finds it full goes on with the document.",
        shown="40",
        source="Conference",
    )
    status_callback = url("statusCallback", doc="Where the conference is told about.", source="Conference")
    status_callback_event = _events(CONFERENCE_EVENTS, CONFERENCE_EVENTS - {"speaker"})
    status_callback_method = http_method(
        13210, "statusCallbackMethod", of="the status callback", source="Conference"
    )

    @property
    def room(self) -> str:
        """Name of the room."""
        return (self.text or self.name_)[:LONGEST_ROOM]

    def spec(self, flow: Flow, *, record: bool) -> ConferenceSpec:
        """Make what is joined.

        Args:
            flow: the flow.
            record: whether the Dial asks for a recording.

        Raises:
            HangUpError: one of its URLs cannot be parsed; the notification was stored.
        """
        wait = self.wait_url
        return ConferenceSpec(
            name=self.room,
            muted=self.muted,
            beep=self.beep,
            start_on_enter=self.start_on_enter,
            end_on_exit=self.end_on_exit,
            wait_url=flow.resolve("Conference waitUrl", wait, 13233) if wait else wait,
            wait_method=self.wait_method,
            max_participants=self.max_participants,
            record=record,
            callback=_callback(self, flow),
        )


@noun("Queue", text=Text.NAME, source="Dial, nouns")
class Queue(Noun):
    """Not available in this build; skipped."""

    available = False


@noun("Video", text=Text.NONE, source="Dial, nouns")
class Video(Noun):
    """Not available in this build; skipped."""

    available = False

    enable = boolean("enable", True, doc="Offer video.", source="Dial, nouns")
    mode = choice("mode", "mcu", ("mcu", "sfu"), doc="Who mixes.", source="Dial, nouns")
    resolution = choice(
        "resolution",
        "720p",
        ("QCIF", "CIF", "4CIF", "16CIF", "VGA", "720p"),
        doc="Size of the picture.",
        source="Dial, nouns",
    )
    layout = choice("layout", "tile", ("tile", "linear"), doc="Order of the pictures.", source="Dial, nouns")
    overlay = text("overlay", doc="Text over the picture.", source="Dial, nouns")


def _callback(noun: Called | Conference, flow: Flow) -> CallbackSpec | None:
    if not noun.status_callback:
        return None
    return CallbackSpec(
        url=flow.resolve(f"{noun.name} statusCallback", noun.status_callback),
        method=noun.status_callback_method,
        events=noun.status_callback_event,
    )
