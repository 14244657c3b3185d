"""SDP that is read from strangers and written anew (RFC 8866, offers and answers of RFC 3264).

Nothing of a phone's body reaches a worker as it came: PJSIP aborts on an address of the wrong family, on
hosts of 254 characters and more, and on `m=audio 0` without `c=`. A body is parsed, one audio line is chosen,
and a fresh body is written from whitelisted values only. The m-lines of a phone are kept as a `Layout`:
an answer must name all of them in their order (RFC 3264 section 6), and so must later offers (section 8).

Pure: bytes in, bytes out. `is_safe` checks results independently of the code that writes them.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping

import attrs

MAX_BODY = 16_384
"""Largest body that is read, bytes."""
MAX_OUTPUT = 1_500
"""Every written body is smaller than this, bytes."""
_MAX_LINE = 2_000
_MAX_LINES = 500
_MAX_MEDIA = 16
_MAX_FORMATS = 128
_MAX_REJECTED = 480  # bytes of m-lines beside the chosen one; with the largest audio section < MAX_OUTPUT

TELEPHONE_EVENT = "telephone-event"
_RATES: Mapping[str, tuple[int, ...]] = {
    "PCMU": (8000,),
    "PCMA": (8000,),
    "G722": (8000,),
    "GSM": (8000,),
    "iLBC": (8000,),
    "speex": (8000, 16000, 32000),
    TELEPHONE_EVENT: (8000, 16000, 32000, 48000),
}
_RTPMAPS: Mapping[str, tuple[str, int]] = {
    f"{name.lower()}/{rate}{end}": (name, rate)
    for name, rates in _RATES.items()
    for rate in rates
    for end in ("", "/1")
}
_STATIC: Mapping[str, tuple[str, int]] = {
    "0": ("PCMU", 8000),
    "3": ("GSM", 8000),
    "8": ("PCMA", 8000),
    "9": ("G722", 8000),
}  # RFC 3551 section 6
_FMTP: Mapping[str, re.Pattern[str]] = {
    "iLBC": re.compile(r"mode=(?:20|30)"),  # RFC 3952 section 5
    "speex": re.compile(r"[a-z]{1,8}=[A-Za-z0-9.]{1,8}(?:; ?[a-z]{1,8}=[A-Za-z0-9.]{1,8}){0,2}"),  # RFC 5574
    TELEPHONE_EVENT: re.compile(
        r"[0-9]{1,3}(?:-[0-9]{1,3})?(?:,[0-9]{1,3}(?:-[0-9]{1,3})?){0,7}"
    ),  # RFC 4733
}
_MAX_FMTP = 40
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_QUAD = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")
_PORT = re.compile(r"([0-9]{1,5})(?:/([0-9]{1,5}))?")
_NUMBER = re.compile(r"[0-9]{1,20}")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]{1,32}")
_PROTO = re.compile(r"[A-Za-z0-9.+_/-]{1,32}")
_PTIME = re.compile(r"(?:[1-6]0)(?:\.0+)?")


class SdpError(ValueError):
    """A body that cannot be used.

    Args:
        message: a sentence that says why.
        status: the SIP status that tells it: 400 malformed, 488 not acceptable here.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


@attrs.frozen
class Codec:
    """A payload type whose codec is known."""

    payload: int
    name: str
    """Canonical: PCMU, PCMA, G722, GSM, speex, iLBC, telephone-event."""
    rate: int
    """RTP clock rate, hertz."""
    fmtp: str = ""


@attrs.frozen
class Audio:
    """The audio stream that was chosen, valid in every field."""

    index: int
    """Position of its m-line."""
    address: str
    """IPv4, dotted quad; 0.0.0.0 only together with `inactive` (hold of RFC 2543)."""
    port: int
    codecs: tuple[Codec, ...]
    """In the sender's order; at least one that is not telephone-event."""
    direction: str = "sendrecv"
    """As seen by the sender of the body."""
    ptime: int | None = None
    maxptime: int | None = None

    @property
    def has_telephone_event(self) -> bool:
        """Whether digits can be sent as RFC 4733 events."""
        return any(codec.name == TELEPHONE_EVENT for codec in self.codecs)


@attrs.define
class Media:
    """One m-line and what is of interest below it, unjudged."""

    kind: str
    port: int
    ports: int
    proto: str
    formats: tuple[str, ...]
    connection: tuple[str, str] | None = None
    """Address type and address."""
    direction: str | None = None
    rtpmap: dict[str, str] = attrs.Factory(dict)
    fmtp: dict[str, str] = attrs.Factory(dict)
    ptime: int | None = None
    maxptime: int | None = None


@attrs.frozen
class Session:
    """A parsed body."""

    id: int
    """Session id, below 2**31 (PJSIP keeps 32 bits)."""
    version: int
    origin_address: str
    connection: tuple[str, str] | None
    direction: str | None
    media: tuple[Media, ...]

    @property
    def audio(self) -> Audio:
        """The first acceptable audio stream.

        Raises:
            SdpError: 488, there is none; the sentence tells about the first audio line.
        """
        first: SdpError | None = None
        for index, media in enumerate(self.media):
            if media.kind == "audio":
                try:
                    return _audio(self, index)
                except SdpError as error:
                    first = first or error
        raise first or SdpError("The description has no audio.", 488)


@attrs.frozen
class Layout:
    """The m-lines of the body on the phone's side; keep the latest one per dialog."""

    media: tuple[tuple[str, str, str], ...] = (("audio", "RTP/AVP", "0"),)
    """Kind, protocol and first format of each."""
    chosen: int = 0


def _origin(value: str) -> tuple[int, int, str]:
    fields = value.split()
    if len(fields) < 6:
        raise SdpError("The o= line needs six fields.")
    numbers = [
        (int(text) if _NUMBER.fullmatch(text) else zlib.crc32(text.encode("latin-1"))) & 0x7FFFFFFF
        for text in fields[-5:-3]
    ]
    return numbers[0], numbers[1], fields[-1]


def _connection(value: str) -> tuple[str, str]:
    fields = value.split()
    if len(fields) != 3 or fields[0] != "IN":
        raise SdpError("The c= line is not of the form `IN <type> <address>`.")
    return fields[1], fields[2]


def _media(value: str) -> Media:
    fields = value.split()
    if len(fields) < 4 or len(fields) > _MAX_FORMATS + 3:
        raise SdpError("An m= line needs kind, port, protocol and 1 to 128 formats.")
    port = _PORT.fullmatch(fields[1])
    if port is None or int(port[1]) > 65535:
        raise SdpError("The port of an m= line is not a number up to 65535.")
    if not (_TOKEN.fullmatch(fields[0]) and _PROTO.fullmatch(fields[2]) and _TOKEN.fullmatch(fields[3])):
        raise SdpError("An m= line has characters that are not allowed, or a field of more than 32.")
    return Media(fields[0].lower(), int(port[1]), int(port[2] or 1), fields[2], tuple(fields[3:]))


def _attribute(media: Media, value: str) -> None:
    name, _, rest = value.partition(":")
    if name in DIRECTIONS:
        media.direction = name
    elif name == "rtpmap" or name == "fmtp":
        payload, _, text = rest.strip().partition(" ")
        (media.rtpmap if name == "rtpmap" else media.fmtp).setdefault(payload, text.strip())
    elif (name == "ptime" or name == "maxptime") and _PTIME.fullmatch(rest.strip()):
        setattr(media, name, int(rest.strip()[:2]))


def _lines(body: bytes) -> list[str]:
    if len(body) > MAX_BODY or b"\0" in body:
        raise SdpError("The description is too long or contains NUL.")
    lines = body.decode("latin-1").replace("\r\n", "\n").rstrip("\n").split("\n")
    if lines[0].rstrip() != "v=0" or len(lines) > _MAX_LINES:
        raise SdpError("The description does not begin with v=0, or has too many lines.")
    for line in lines:
        if line[1:2] != "=" or not "a" <= line[0] <= "z" or len(line) > _MAX_LINE or "\r" in line:
            raise SdpError("A line is not of the form `x=value`, or too long.")
    return lines


def parse(body: bytes) -> Session:
    """Read a session description (RFC 8866); bare LF line ends are tolerated, missing s= and t= too.

    Raises:
        SdpError: 400, it is malformed.
    """
    origin: tuple[int, int, str] | None = None
    top = Media("", 0, 0, "", ())  # what stands above the first m-line
    media: list[Media] = []
    for line in _lines(body):
        kind, value = line[0], line[2:]
        level = media[-1] if media else top
        if kind == "a":
            _attribute(level, value.strip())
        elif kind == "m":
            media.append(_media(value))
        elif kind == "c":
            if level.connection is not None:
                raise SdpError("There is more than one c= line at one level.")
            level.connection = _connection(value)
        elif kind == "o":
            if origin is not None or media:
                raise SdpError("The o= line is repeated or misplaced.")
            origin = _origin(value)
    if origin is None:
        raise SdpError("There is no o= line.")
    if len(media) > _MAX_MEDIA:
        raise SdpError("There are too many m= lines.")
    return Session(*origin, top.connection, top.direction, tuple(media))


def _fmtp(name: str, text: str) -> str:
    pattern = _FMTP.get(name)
    if pattern is None or len(text) > _MAX_FMTP or not pattern.fullmatch(text):
        return ""
    if name == TELEPHONE_EVENT and any(int(number) > 255 for number in re.findall("[0-9]+", text)):
        return ""
    return text


def _codecs(media: Media) -> tuple[Codec, ...]:
    codecs: list[Codec] = []
    seen: set[tuple[str, int]] = set()
    used: set[str] = set()
    for payload in media.formats:
        mapped = media.rtpmap.get(payload)
        if payload in _STATIC:
            known: tuple[str, int] | None = _STATIC[payload]
            if mapped is not None and _RTPMAPS.get(mapped.lower()) != known:
                known = None
        elif mapped is not None and len(payload) <= 3 and payload.isascii() and payload.isdigit():
            known = _RTPMAPS.get(mapped.lower()) if 96 <= int(payload) <= 127 else None
        else:
            known = None
        if known is None or known in seen or payload in used:
            continue
        seen.add(known)
        used.add(payload)
        codecs.append(Codec(int(payload), *known, _fmtp(known[0], media.fmtp.get(payload, ""))))
    return tuple(codecs)


def _usable_address(connection: tuple[str, str] | None) -> str:
    if connection is None:
        raise SdpError("The audio line has no address.", 488)
    family, address = connection
    if family != "IP4":
        raise SdpError("Only IPv4 media is possible here.", 488)
    if not _QUAD.fullmatch(address):
        raise SdpError("The media address is not a numeric IPv4 address.", 488)
    first = int(address.split(".", 1)[0])
    if first >= 224 or (first == 0 and address != "0.0.0.0"):  # noqa: S104 - the hold of RFC 2543
        raise SdpError("The media address is a multicast, broadcast or reserved one.", 488)
    return address


def _audio(session: Session, index: int) -> Audio:
    media = session.media[index]
    if media.kind != "audio":
        raise SdpError("The stream is not audio.", 488)
    if media.proto != "RTP/AVP":
        raise SdpError("Only plain RTP (RTP/AVP) is possible here.", 488)
    if not 0 < media.port < 65535 or media.ports != 1:
        raise SdpError("The audio line is switched off, or its port leaves no room for RTCP.", 488)
    address = _usable_address(media.connection or session.connection)
    codecs = _codecs(media)
    if all(codec.name == TELEPHONE_EVENT for codec in codecs):
        raise SdpError("None of the codecs is known here.", 488)
    direction = media.direction or session.direction or "sendrecv"
    if address == "0.0.0.0":  # noqa: S104 - RFC 3264 section 8.4: neither direction
        direction = "inactive"
    maxptime = media.maxptime if media.maxptime and (media.ptime or 0) <= media.maxptime else None
    return Audio(index, address, media.port, codecs, direction, media.ptime, maxptime)


def _audio_lines(audio: Audio) -> Iterable[str]:
    yield f"m=audio {audio.port} RTP/AVP {' '.join(str(codec.payload) for codec in audio.codecs)}"
    for codec in audio.codecs:
        yield f"a=rtpmap:{codec.payload} {codec.name}/{codec.rate}"
        if codec.fmtp:
            yield f"a=fmtp:{codec.payload} {codec.fmtp}"
    if audio.ptime:
        yield f"a=ptime:{audio.ptime}"
    if audio.maxptime:
        yield f"a=maxptime:{audio.maxptime}"
    yield f"a={audio.direction}"


def _rejected(line: tuple[str, str, str]) -> str:
    return f"m={line[0]} 0 {line[1]} {line[2]}"


def _write(session: Session, audio: Audio, address: str | None, layout: Layout) -> bytes:
    origin = address or session.origin_address
    if not _QUAD.fullmatch(origin):
        origin = audio.address
    lines = [f"v=0\r\no=- {session.id} {session.version} IN IP4 {origin}\r\ns=-"]
    lines.append(f"c=IN IP4 {audio.address}\r\nt=0 0")
    for index, line in enumerate(layout.media):
        if index == layout.chosen:
            lines.extend(_audio_lines(audio))
        else:
            lines.append(_rejected(line))
    return ("\r\n".join(lines) + "\r\n").encode("ascii")


def _layout(session: Session, audio: Audio) -> Layout:
    media = tuple((m.kind, m.proto, m.formats[0]) for m in session.media)
    if sum(len(_rejected(line)) + 2 for i, line in enumerate(media) if i != audio.index) > _MAX_REJECTED:
        raise SdpError("The description has too many streams beside the audio.", 488)
    return Layout(media, audio.index)


def offer_for_worker(body: bytes) -> tuple[bytes, Layout]:
    """Rebuild a phone's offer with nothing but its first acceptable audio stream.

    Returns:
        The body for the worker, and the layout that `answer_for_phone` needs.

    Raises:
        SdpError: with the status to refuse the offer with.
    """
    session = parse(body)
    audio = session.audio
    return _write(session, audio, None, Layout()), _layout(session, audio)


def answer_for_phone(body: bytes, layout: Layout, *, address: str | None = None) -> bytes:
    """Rebuild a worker's answer: every m-line of the phone's offer in its order, the others at port 0.

    Args:
        body: the worker's answer.
        layout: from `offer_for_worker`.
        address: IPv4 address for the o= line, None: the worker's own.

    Raises:
        SdpError: the worker's answer has no usable audio.
    """
    session = parse(body)
    return _write(session, session.audio, address, layout)


def offer_for_phone(
    body: bytes, previous: Layout | None = None, *, address: str | None = None
) -> tuple[bytes, Layout]:
    """Rebuild a worker's offer.

    Args:
        body: the worker's offer.
        previous: latest layout of the dialog; its m-lines are repeated (RFC 3264 section 8).
        address: IPv4 address for the o= line, None: the worker's own.

    Returns:
        The body for the phone, and the layout that `answer_for_worker` needs.

    Raises:
        SdpError: the worker's offer has no usable audio.
    """
    session = parse(body)
    layout = previous or Layout()
    return _write(session, session.audio, address, layout), layout


def answer_for_worker(body: bytes, layout: Layout) -> bytes:
    """Rebuild a phone's answer to `offer_for_phone`.

    Raises:
        SdpError: the number of m-lines differs from the offer's, or the audio was refused or is unusable.
    """
    session = parse(body)
    if len(session.media) != len(layout.media):
        raise SdpError("The answer has another number of m= lines than the offer.", 488)
    return _write(session, _audio(session, layout.chosen), None, Layout())


def media_address(body: bytes) -> Audio:
    """Read the chosen audio stream of a body: address, port, codecs, direction.

    Raises:
        SdpError: it is malformed or has no acceptable audio.
    """
    return parse(body).audio


_SAFE = re.compile(
    r"v=0\r\no=- [0-9]{1,10} [0-9]{1,10} IN IP4 (?P<origin>[0-9.]{7,15})\r\ns=-\r\n"
    r"c=IN IP4 (?P<address>[0-9.]{7,15})\r\nt=0 0\r\n"
    r"(?P<before>(?:m=[^\s]{1,32} 0 [^\s]{1,32} [^\s]{1,32}\r\n)*)"
    r"m=audio (?P<port>[1-9][0-9]{0,4}) RTP/AVP(?P<formats>(?: [0-9]{1,3})+)\r\n"
    r"(?P<maps>(?:a=(?:rtpmap|fmtp):[0-9]{1,3} [A-Za-z0-9/=;,. -]{1,40}\r\n)+)"
    r"(?:a=ptime:[1-6]0\r\n)?(?:a=maxptime:[1-6]0\r\n)?"
    r"a=(?P<direction>sendrecv|sendonly|recvonly|inactive)\r\n"
    r"(?P<after>(?:m=[^\s]{1,32} 0 [^\s]{1,32} [^\s]{1,32}\r\n)*)"
)


def is_safe(body: bytes, *, rejected: bool = False) -> bool:
    """Check a written body against the rules of `pjsua2.md` section 9, independently of the writer.

    Args:
        body: the body.
        rejected: allow m-lines at port 0 beside the audio (towards phones; never towards a worker).
    """
    try:
        match = _SAFE.fullmatch(body.decode("ascii"))
    except UnicodeDecodeError:
        return False
    if match is None or len(body) >= MAX_OUTPUT or (not rejected and (match["before"] or match["after"])):
        return False
    for address in (match["origin"], match["address"]):
        octets = address.split(".")
        if len(octets) != 4 or any(not o or int(o) > 255 or str(int(o)) != o for o in octets):
            return False
    octets = match["address"].split(".")
    if int(octets[0]) >= 224 or (
        octets[0] == "0" and (octets != ["0"] * 4 or match["direction"] != "inactive")
    ):
        return False
    formats = match["formats"].split()
    mapped = re.findall(r"a=rtpmap:([0-9]+) (\S+)\r\n", match["maps"])
    return (
        formats == [payload for payload, _ in mapped]
        and len(set(formats)) == len(formats) <= 32
        and all(int(payload) <= 127 for payload in formats)
        and all(name.lower() in _RTPMAPS for _, name in mapped)
        and int(match["port"]) < 65535
    )
