"""The sections of the settings: what exists, its default, and what is allowed."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

_LISTENER = re.compile(r"^(udp|tcp)://(\[[0-9A-Fa-f:.]+\]|[0-9.]+):(\d{1,5})$")
_E164 = re.compile(r"^\+[1-9][0-9]{6,14}\Z")
_HOST_PORT = re.compile(r"^(\[[0-9A-Fa-f:.]+\]|[^:/\s]+):(\d{1,5})$")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


def _address(value: str) -> str:
    if value and not _is_address(value):
        raise ValueError("allowed: a numeric IPv4 or IPv6 address, or empty")
    return value


def _ipv4(value: str) -> str:
    if value and (":" in value or not _is_address(value)):
        raise ValueError("allowed: an IPv4 address, or empty")
    return value


def _network(value: str) -> str:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError("allowed: an address or a network such as 192.0.2.0/24") from None
    return value


def _listener(value: str) -> str:
    match = _LISTENER.match(value)
    if not match or int(match[3]) > 65535 or not _is_address(match[2]):
        raise ValueError("allowed: udp://ADDRESS:PORT or tcp://ADDRESS:PORT (IPv6 addresses in brackets)")
    return value


def _host_port(value: str) -> str:
    match = _HOST_PORT.match(value)
    if not match or int(match[2]) > 65535:
        raise ValueError("allowed: HOST:PORT, for example 127.0.0.1:8080")
    return value


def _port_range(value: tuple[int, int]) -> tuple[int, int]:
    low, high = value
    if not (1024 <= low < high <= 65535):
        raise ValueError("allowed: [LOW, HIGH] with 1024 <= LOW < HIGH <= 65535")
    return value


Listener = Annotated[str, AfterValidator(_listener)]
HostPort = Annotated[str, AfterValidator(_host_port)]
Address = Annotated[str, AfterValidator(_address)]
IPv4 = Annotated[str, AfterValidator(_ipv4)]
Network = Annotated[str, AfterValidator(_network)]
PortRange = Annotated[tuple[int, int], AfterValidator(_port_range)]
Codec = Literal["PCMU", "PCMA", "G722", "GSM", "speex", "iLBC"]


class Section(BaseModel):
    """Settings that belong together; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OutboundProxy(Section):
    """The SIP peer that numbers are sent to."""

    uri: str = Field(default="", description="sip:HOST[:PORT][;transport=udp|tcp]; empty: none")
    username: str = Field(default="", description="digest user, when the proxy asks")
    password: str = Field(default="", description="digest password, when the proxy asks")
    number_format: Literal["as-dialed", "e164", "digits", "national"] = Field(
        default="as-dialed",
        description="how numbers are written: as they were dialed, +15125550100, 15125550100 or 5125550100",
    )
    from_host: Literal["proxy", "own"] = Field(
        default="proxy", description="host of From: the proxy's, or the engine's own"
    )
    from_user: Literal["caller", "username"] = Field(
        default="caller", description="user of From: the caller's number, or the digest user"
    )
    asserted_identity: bool = Field(
        default=False, description="tell the caller in P-Asserted-Identity as well (RFC 3325)"
    )


class Sip(Section):
    """The SIP edge."""

    listen: list[Listener] = Field(
        default=["udp://127.0.0.1:5060", "tcp://127.0.0.1:5060"],
        min_length=1,
        description="listeners for phones and trunks",
    )
    public_address: Address = Field(
        default="",
        description="address that phones are told (Contact, Record-Route, SDP); empty: the listener's own",
    )
    domain: str = Field(
        default="voiceengine",
        min_length=1,
        description="domain and digest realm of clients; their passwords are bound to it",
    )
    anonymous_calls: bool = Field(
        default=True,
        description="callers who are neither clients nor trunks may call numbers of this platform",
    )
    trunks: list[Network] = Field(
        default=[], description="source addresses (or networks) whose INVITEs are accepted without digest"
    )
    outbound_proxy: OutboundProxy = Field(default_factory=OutboundProxy)
    account_proxies: dict[str, OutboundProxy] = Field(
        default={}, description="outbound proxies of accounts that have their own: account sid -> proxy"
    )
    digest_algorithms: list[Literal["SHA-256", "MD5"]] = Field(
        default=["SHA-256", "MD5"],
        min_length=1,
        description="digest algorithms that are offered, in this order",
    )
    nonce_seconds: float = Field(default=300, gt=0, description="life of a digest nonce, seconds")
    min_expires: int = Field(
        default=60, ge=1, description="shortest registration, seconds; less is answered 423"
    )
    max_expires: int = Field(
        default=3600, ge=60, description="longest registration, seconds; more is shortened"
    )
    default_expires: int = Field(
        default=3600, ge=60, description="registration when the phone names none, seconds"
    )
    max_contacts: int = Field(default=10, ge=1, description="contacts per client")
    max_message_bytes: int = Field(
        default=65000, ge=1500, description="largest SIP message that is read, bytes"
    )
    max_connections: int = Field(default=10000, ge=1, description="TCP connections at once")

    @model_validator(mode="after")
    def _expires_in_order(self) -> Sip:
        if not self.min_expires <= self.default_expires <= self.max_expires:
            raise ValueError("allowed: min_expires <= default_expires <= max_expires")
        return self

    use_to: bool = Field(
        default=True, description="route by the user of To (true) or of the Request-URI (false)"
    )
    ring_timeout: float = Field(
        default=60, gt=0, description="ring time of outbound legs when none is given, seconds"
    )


class Media(Section):
    """Workers and their audio."""

    rtp_address: IPv4 = Field(
        default="", description="IPv4 address RTP is bound to; empty: that of the first IPv4 listener"
    )
    rtp_ports: PortRange = Field(
        default=(20000, 39999), description="UDP ports for RTP and RTCP, shared out among the workers"
    )
    codecs: list[Codec] = Field(
        default=["PCMU", "PCMA"], min_length=1, description="audio codecs, preferred first"
    )
    vad: bool = Field(default=False, description="send nothing during silence")
    max_legs: int = Field(default=600, ge=1, description="legs at once; more INVITEs get 503")
    spare_workers: int = Field(default=8, ge=1, description="warm workers kept in reserve")
    worker_idle_seconds: float = Field(
        default=30, ge=1, description="an empty worker beyond the reserve is ended after this time"
    )
    inband_digits: bool = Field(default=False, description="also detect DTMF tones in the audio")
    start_rate: int = Field(
        default=10, ge=1, le=10, description="calls that may start on one worker within 500 ms"
    )
    answer_timeout: float = Field(
        default=10, gt=0, description="time a worker has to act on a command, seconds"
    )


class Speech(Section):
    """Speech synthesis."""

    engines: list[Literal["gtts", "espeak"]] = Field(
        default=["espeak"], min_length=1, description="engines in order; the next one is tried when one fails"
    )
    gtts_timeout: float = Field(default=4, gt=0, description="time a gTTS request may take, seconds")
    gtts_base_url: str = Field(
        default="", description="base of the gTTS service, for a stand-in; empty: the real one"
    )
    max_characters: int = Field(default=5000, ge=1, description="longest text that is spoken")


class Web(Section):
    """Requests to applications."""

    timeout: float = Field(
        default=6, gt=0, description="time an application has to answer, seconds (connect and read)"
    )
    max_redirects: int = Field(default=10, ge=0, description="redirects that are followed")
    max_document_bytes: int = Field(
        default=1_048_576, ge=1024, le=1_048_576, description="largest RCML document, bytes"
    )
    max_audio_bytes: int = Field(default=50_000_000, ge=1024, description="largest audio file, bytes")
    verify_tls: bool = Field(default=True, description="verify certificates of https applications")
    null_literals: bool = Field(
        default=False, description="send the text `null` for absent CallerName and ForwardedFrom (legacy)"
    )
    cache_no_wav: bool = Field(default=False, description="do not cache audio files")
    cache_seconds: float = Field(
        default=300, ge=0, description="age after which a cached audio file is checked again, seconds"
    )
    callback_timeout: float = Field(default=10, gt=0, description="time a status callback may take, seconds")


class Http(Section):
    """The engine's own HTTP listener."""

    listen: HostPort = Field(default="127.0.0.1:8080", description="REST API, recordings, health and metrics")
    public_url: str = Field(
        default="", description="base of URLs given to applications; empty: http://LISTEN"
    )
    uri_prefix: str = Field(
        default="/restcomm/2012-04-24", description="prefix of `uri` values in the REST API"
    )
    recordings_need_auth: bool = Field(
        default=False, description="require credentials for the media of recordings"
    )
    max_body_bytes: int = Field(default=10_000_000, ge=1024, description="largest request body, bytes")
    cors_origins: list[str] = Field(
        default=[], description="origins of web pages whose scripts may use the API; `*`: all"
    )
    error_dictionary: str = Field(
        default="", description="base of `more_info` of notifications; empty: the engine's own pages"
    )


class Calls(Section):
    """Calls."""

    max_seconds: float = Field(default=14400, gt=0, description="longest call, seconds")
    max_switches: int = Field(
        default=100,
        ge=1,
        description="document switches without any time-consuming verb before a call is ended",
    )
    max_lateness: float = Field(
        default=0.5,
        gt=0,
        description="when the reactor is later than this on average, new INVITEs get 503, seconds",
    )
    normalize_numbers: bool = Field(
        default=False, description="normalise numbers of REST calls to E.164 (region US)"
    )
    answer_on_bridge: bool = Field(
        default=False,
        description="a Dial answers a ringing caller only when the called side answers (`answerOnBridge`)",
    )
    hold_music: bool = Field(
        default=True, description="a party whose other side holds the call hears music instead of silence"
    )
    refer: bool = Field(
        default=True, description="phones may transfer calls by REFER; false: it is answered 603"
    )
    conference_seconds: float = Field(
        default=14400, gt=0, description="longest conference; its room ends then, seconds"
    )
    conference_lone_music: bool = Field(
        default=False, description="a moderator who is alone in a conference hears music instead of silence"
    )
    drain_seconds: float = Field(default=30, ge=0, description="time live calls get after SIGTERM, seconds")


class Messages(Section):
    """Text messages."""

    offline: Literal["fail", "hold"] = Field(
        default="fail",
        description="a message to a client without registration: fail, or hold until it registers",
    )
    hold_hours: float = Field(default=24, gt=0, description="how long a message is held, hours")
    hold_limit: int = Field(default=100, ge=1, description="messages held for one client at most")
    content_types: list[str] = Field(
        default=["text/plain"],
        min_length=1,
        description="content types of MESSAGE that are taken; others are answered 415",
    )
    max_bytes: int = Field(
        default=20_000, ge=160, description="largest body of a MESSAGE, bytes; more is answered 413"
    )
    to_trunk: bool = Field(
        default=True,
        description="clients may send messages to numbers outside, through the outbound proxy",
    )
    per_second: int = Field(
        default=0,
        ge=0,
        description="messages that programs and documents of an account may send in one second; 0: no limit",
    )
    answer_timeout: float = Field(
        default=32, gt=0, description="time the next hop has to answer a MESSAGE, seconds"
    )


class Mail(Section):
    """E-mail."""

    server: str = Field(
        default="", description="HOST or HOST:PORT of the SMTP server; empty: no mail is sent"
    )
    security: Literal["none", "starttls", "tls"] = Field(
        default="starttls", description="none, STARTTLS (needed), or TLS from the start"
    )
    username: str = Field(default="", description="SMTP user; empty: no authentication")
    password: str = Field(default="", description="SMTP password")
    timeout: float = Field(default=30, gt=0, description="time a delivery may take, seconds")


class NumberRange(Section):
    """Numbers that accounts can take."""

    country: str = Field(default="US", min_length=2, max_length=2, description="ISO code")
    type: Literal["local", "mobile", "tollfree"] = Field(default="local", description="kind of number")
    first: str = Field(description="first number, E.164 (+15125550100)")
    last: str = Field(description="last number, E.164, not before the first")
    region: str = Field(default="", description="state or province, such as TX")
    rate_center: str = Field(default="", description="rate center")
    lata: str = Field(default="", description="LATA")
    postal_code: str = Field(default="", description="postal code")
    latitude: float | None = Field(default=None, description="degrees north")
    longitude: float | None = Field(default=None, description="degrees east")
    voice: bool = Field(default=True, description="calls can come")
    sms: bool = Field(default=True, description="text messages can come")
    mms: bool = Field(default=False, description="multimedia messages can come")
    fax: bool = Field(default=False, description="faxes can come")

    @model_validator(mode="after")
    def _whole(self) -> NumberRange:
        if not (_E164.match(self.first) and _E164.match(self.last)):
            raise ValueError("first and last must be E.164 numbers such as +15125550100")
        if len(self.first) != len(self.last) or self.first > self.last:
            raise ValueError("last must have as many digits as first and must not be before it")
        if (self.latitude is None) != (self.longitude is None):
            raise ValueError("latitude and longitude belong together")
        return self


class Numbers(Section):
    """Phone numbers."""

    ranges: list[NumberRange] = Field(
        default=[], description="numbers of this platform that accounts can find and take"
    )
    only_ranges: bool = Field(
        default=False, description="real numbers can be taken from the ranges only; false: any number"
    )


class Data(Section):
    """Where things are kept."""

    directory: Path = Field(
        default=Path("./var"), description="folder of the database, recordings, caches and credentials"
    )


class Demo(Section):
    """The built-in demo."""

    enabled: bool = Field(
        default=True, description="create demo clients and numbers and serve their documents"
    )
