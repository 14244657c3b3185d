"""What the phone is asked to do: arguments of the command line, checked before pjsua2 is touched."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs

from voiceengine.errors import ConfigError

DESCRIPTION = (
    "A headless SIP phone. It registers, calls or waits for one call, plays, records and sends digits, "
    "and prints one JSON object that says what happened."
)

CODECS = {
    "PCMU": "PCMU/8000/1",
    "PCMA": "PCMA/8000/1",
    "G722": "G722/16000/1",
    "GSM": "GSM/8000/1",
    "speex": "speex/8000/1",
    "iLBC": "iLBC/8000/1",
}
"""Names on the command line, and what pjsua2 calls them."""

DIGIT_METHODS = ("rfc4733", "info", "inband")
KEYS = "0123456789*#ABCD"
PASSWORD_VARIABLE = "SOFTPHONE_PASSWORD"  # noqa: S105 - the name of a variable
SIP_USER_SAFE = "-_.!~*'()&=+$,;?/"
"""What may stand in the user part of a SIP URI besides letters and digits (RFC 3261 §25.1)."""

_TARGET_URI = re.compile(
    r"sip:([^@\s<>\"]{1,200}@)?(?P<host>[A-Za-z0-9.-]{1,200})(:\d{1,5})?(;[^\s<>\"]{0,200})?"
)
_NUMBER = re.compile(r"[A-Za-z0-9+*#._-]{1,100}")
_HEADER = re.compile(r"(?P<name>[A-Za-z0-9_.-]{1,64})\s*:\s*(?P<value>[^\r\n]{0,1000})")
_HOST_PORT = re.compile(r"(?P<host>[A-Za-z0-9.-]{1,200})(:(?P<port>\d{1,5}))?")


class OptionError(ConfigError):
    """Arguments the phone cannot work with; the message says which and why."""


@attrs.frozen(kw_only=True)
class PhoneOptions:
    """What the phone is asked to do. Times are seconds; empty or None means not asked for."""

    server: str = ""
    """`host:port` of the SIP server; empty for direct calls."""
    transport: str = "udp"
    user: str = "softphone"
    password: str = ""
    realm: str = "*"
    register: bool = False
    expires: int = 300
    dial: str = ""
    """Number or SIP URI."""
    wait: float | None = None
    """Wait for a call this long; 0 as long as `timeout` allows."""
    play: str = ""
    loop: bool = False
    digits: tuple[tuple[float, str], ...] = ()
    """(seconds after the answer, digits)."""
    digit_method: str = "rfc4733"
    detect_inband: bool = False
    hangup_after: float | None = None
    cancel_after: float | None = None
    record: str = ""
    answer_delay: float = 0.0
    answer_code: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    timeout: float = 120.0
    local_address: str = ""
    local_port: int = 0
    rtp_low: int = 0
    rtp_high: int = 0
    codecs: tuple[str, ...] = ("PCMU", "PCMA", "G722")
    events: bool = False
    control: bool = False
    log: str = ""

    def target(self) -> str:
        """SIP URI that is dialled."""
        uri = self.dial if self.dial.startswith("sip:") else ""
        if not uri:
            uri = f"sip:{quote(self.dial, safe=SIP_USER_SAFE)}@{self.server}"
        if self.transport == "tcp" and "transport=" not in uri:
            uri += ";transport=tcp"
        return uri

    def route(self) -> str:
        """SIP URI of the server as a route, or empty when there is none."""
        if not self.server:
            return ""
        return f"sip:{self.server};lr" + (";transport=tcp" if self.transport == "tcp" else "")

    def first_host(self) -> str:
        """Host the phone will talk to first; 127.0.0.1 when it only waits."""
        if self.server:
            return self.server.rsplit(":", 1)[0]
        found = _TARGET_URI.fullmatch(self.dial)
        return found["host"] if found else "127.0.0.1"


def _server(text: str) -> str:
    found = _HOST_PORT.fullmatch(text)
    if found is None or not 0 < int(found["port"] or 5060) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return f"{found['host']}:{found['port'] or 5060}"


def _target(text: str) -> str:
    if not (_TARGET_URI.fullmatch(text) or _NUMBER.fullmatch(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor a URI like sip:user@host:port")
    return text


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to 86400")
    return value


def _digits(text: str) -> tuple[tuple[float, str], ...]:
    schedule = []
    for part in text.split(","):
        at, colon, keys = part.strip().partition(":")
        keys = keys.strip().upper()
        if not colon or not keys or any(key not in KEYS for key in keys):
            raise argparse.ArgumentTypeError(f"{part!r} is not SECONDS:DIGITS with digits of {KEYS}")
        schedule.append((_seconds(at), keys))
    return tuple(sorted(schedule))


def _header(text: str) -> tuple[str, str]:
    found = _HEADER.fullmatch(text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a header like 'X-Name: value'")
    if found["name"].lower() in {
        "from",
        "to",
        "via",
        "contact",
        "call-id",
        "cseq",
        "content-length",
        "route",
    }:
        raise argparse.ArgumentTypeError(f"{found['name']} is the phone's own header")
    return found["name"], found["value"].strip()


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


def _port_range(text: str) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    ports = (_port(low), _port(high if dash else low))
    if ports[0] < 1024 or ports[1] < ports[0] + 3:
        raise argparse.ArgumentTypeError(f"{text!r} is not LOW-HIGH with at least four ports from 1024 on")
    return ports


def _codec_list(text: str) -> tuple[str, ...]:
    known = {name.lower(): name for name in CODECS}
    wanted = [name.strip().lower() for name in text.split(",")]
    for name in wanted:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(CODECS)}")
    return tuple(known[name] for name in wanted)


def _answer_code(text: str) -> int:
    if not text.isdecimal() or not 200 <= int(text) <= 699:
        raise argparse.ArgumentTypeError(f"{text!r} is not a final SIP response code (200 to 699)")
    return int(text)


def _text(text: str) -> str:
    if not text or any(char < " " or char in '"<>@' for char in text):
        raise argparse.ArgumentTypeError(f"{text!r} is empty or has characters that cannot be used")
    return text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add = parser.add_argument
    add("--server", type=_server, metavar="HOST:PORT", help="SIP server; none for direct calls")
    add("--transport", choices=("udp", "tcp"), default="udp")
    add("--user", type=_text, default="softphone", help="user name, also for authentication")
    add("--password", default="", help=f"password; better in the environment as {PASSWORD_VARIABLE}")
    add("--realm", type=_text, default="*", help="answer challenges of this realm only")
    add("--register", action="store_true", help="register with the server first")
    add("--expires", type=int, default=300, metavar="N", help="seconds of a registration (300)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dial", type=_target, metavar="NUMBER|URI", help="call this")
    what.add_argument(
        "--wait", type=_seconds, nargs="?", const=0.0, metavar="SECONDS", help="wait for one call"
    )
    add("--play", default="", metavar="WAV", help="play this file after the answer")
    add("--loop", action="store_true", help="play it again and again")
    add("--digits", type=_digits, default=(), help='when to send what, after the answer: "2.0:1,3.5:42#"')
    add("--digit-method", choices=DIGIT_METHODS, default="rfc4733")
    add("--detect-inband", action="store_true", help="also find digits in the sound that is heard")
    add("--hangup-after", type=_seconds, metavar="S", help="hang up this long after the answer")
    add("--cancel-after", type=_seconds, metavar="S", help="give up this long after dialling if unanswered")
    add("--record", default="", metavar="WAV", help="record what is heard, from the first audio on")
    add("--answer-delay", type=_seconds, default=0.0, metavar="S", help="ring this long before answering")
    add("--answer-code", type=_answer_code, default=200, metavar="CODE", help="answer with this (200)")
    add("--header", type=_header, action="append", default=[], metavar="'X-Name: v'", help="repeatable")
    add("--timeout", type=_seconds, default=120.0, metavar="S", help="longest time of it all (120)")
    add("--local-address", default="", metavar="IP", help="bind here (default: as the server needs it)")
    add("--local-port", type=_port, default=0, metavar="N", help="SIP port (default: any)")
    add("--rtp-ports", type=_port_range, default=(0, 0), metavar="LOW-HIGH", help="ports for RTP")
    add("--codec", type=_codec_list, default=("PCMU", "PCMA", "G722"), metavar="NAME,...")
    add("--events", action="store_true", help="print events as JSON lines while they happen")
    add("--control", action="store_true", help="take commands as JSON lines on standard input")
    add("--log", default="", metavar="FILE", help="write SIP messages and the log of the library here")


def options_from(args: argparse.Namespace) -> PhoneOptions:
    """Check what belongs together.

    Raises:
        OptionError: the arguments contradict each other, or a file cannot be used.
    """
    values: dict[str, Any] = {k: v for k, v in vars(args).items() if k in attrs.fields_dict(PhoneOptions)}
    values["server"], values["dial"] = args.server or "", args.dial or ""
    values["headers"] = tuple(args.header)
    values["rtp_low"], values["rtp_high"] = args.rtp_ports
    values["codecs"] = args.codec
    values["password"] = args.password or os.environ.get(PASSWORD_VARIABLE, "")
    options = PhoneOptions(**values)
    if not (options.register or options.dial or options.wait is not None):
        raise OptionError("one of --register, --dial and --wait is needed")
    if options.register and not options.server:
        raise OptionError("--register needs --server")
    if options.dial and not options.server and not options.dial.startswith("sip:"):
        raise OptionError("--dial with a number needs --server; without one give a URI (sip:user@host:port)")
    if not 1 <= options.expires <= 86400:
        raise OptionError("--expires is a number of seconds from 1 to 86400")
    if options.loop and not options.play:
        raise OptionError("--loop needs --play")
    if options.play:
        check_play(options.play)
    for option, path in (("--record", options.record), ("--log", options.log)):
        _check_written(option, path)
    if options.record and not options.record.endswith(".wav"):
        raise OptionError(f"--record: {options.record}: recordings are .wav files")
    return options


def _check_written(option: str, path: str) -> None:
    if not path:
        return
    folder = Path(path).parent
    if not folder.is_dir():
        raise OptionError(f"{option}: {path}: no such folder")
    if Path(path).is_dir() or not os.access(path if Path(path).exists() else folder, os.W_OK):
        raise OptionError(f"{option}: {path}: cannot be written")


def check_play(path: str) -> None:
    """Refuse a file that pjsua2 would abort on.

    Raises:
        OptionError: not a WAV file of 16-bit PCM, or of a rate that cannot be played.
    """
    from media.worker.guard import PjError, check_wav

    try:
        check_wav(path)
    except PjError as error:
        raise OptionError(f"--play: {error}") from None
