"""`voiceengine try`: run an RCML document in the terminal, without SIP and without audio."""

from __future__ import annotations

import argparse
import os
import select
import sys
import termios
import time
import tty
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rcml.flow import InterpreterSettings
from rcml.interpreter import Outcome, OutcomeKind, Source
from rcml.message_simulator import MessageSimulator, message_info
from rcml.parameters import encoded
from rcml.ports import FetchedDocument, FetchError, FetchFailure, FetchRequest, LegEnded, Level, Notice
from rcml.simulated_calls import parse_callees
from rcml.simulated_leg import HANGUP, Clock, Tell
from rcml.simulator import Caller, ScriptedCaller, Simulation, Simulator, call_info, parse_digits
from rcml.urls import HTTP, without_userinfo

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

MAX_BYTES = 1_048_576
MAX_REDIRECTS = 10
TIMEOUT = 6.0
"""Seconds an application has to answer."""

_TYPES = {".wav": "audio/wav", ".txt": "text/plain; charset=utf-8", ".mp3": "audio/mpeg"}
_REDIRECTS = (301, 302, 303, 307, 308)
_STANDARD = frozenset(
    "CallSid InstanceId AccountSid ApiVersion Direction CallerName ForwardedFrom CallTimestamp".split()  # noqa: SIM905
)


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "try",
        help="run an RCML document in the terminal",
        description="Run a document with the engine's interpreter, without SIP and audio: prompts and"
        " messages appear as text, digits are typed (q hangs up), requests are shown. The exit code is 0 when"
        " the call ended normally, 1 when there were errors.",
    )
    parser.add_argument("document", metavar="FILE-or-URL", help="file, or http(s) URL of the application")
    parser.add_argument(
        "--digits",
        default="",
        metavar="SCRIPT",
        help='keys of the caller, such as "2.5:1,4:23#,9:hangup" (seconds:keys); used without a terminal',
    )
    parser.add_argument(
        "--fast", action="store_true", help="do not wait in real time; keys come from --digits"
    )
    parser.add_argument("--from", dest="caller", default="+15550001", metavar="N", help="caller")
    parser.add_argument("--to", dest="called", default="1111", metavar="N", help="called number")
    parser.add_argument(
        "--method", choices=("GET", "POST"), default="POST", help="method of the first request"
    )
    parser.add_argument("--fallback", metavar="URL", help="fallback URL of the number")
    parser.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="NAME:VALUE",
        help="SIP header of the call that applications see (X-..., Diversion); may be repeated",
    )
    parser.add_argument(
        "--speech",
        type=float,
        default=2.0,
        metavar="S",
        help="seconds the caller speaks in a Record (default 2)",
    )
    parser.add_argument(
        "--callees",
        default="",
        metavar="SCRIPT",
        help="what those do who are dialed: ADDRESS=busy, no-answer, unreachable, or SECONDS[/SECONDS], ...",
    )
    parser.add_argument(
        "--sms", metavar="TEXT", help="run it for a text message with this text, instead of for a call"
    )
    parser.add_argument("--all", action="store_true", help="show all parameters of requests")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the document and print what happens."""
    try:
        script = parse_digits(args.digits)
        callees = parse_callees(args.callees)
        headers = dict(_header(text) for text in args.header)
        url = _address(args.document)
    except (ValueError, OSError) as error:
        print(f"voiceengine try: {error}", file=sys.stderr)
        return 1
    source = Source(url=url, method=args.method, fallback_url=args.fallback and _address(args.fallback))
    settings = InterpreterSettings(schemes=(*HTTP, "file") if url.startswith("file:") else HTTP)
    if args.sms is not None:
        return _message(args, source, settings, headers)
    fast = args.fast or not sys.stdin.isatty()
    shown = _Printer()
    simulator = Simulator(
        {},
        caller=ScriptedCaller(script),
        call=call_info(args.caller, args.called, sip_headers=headers),
        settings=settings,
        speech_seconds=args.speech,
        missing=_missing,
        tell=shown.line,
        callees=callees,
        fetcher=lambda leg: WebFetcher(leg, shown.line, show_all=args.all),
    )
    try:
        simulation = _run(simulator, source, None if fast else script)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 1
    return _result(simulation)


def _message(
    args: argparse.Namespace, source: Source, settings: InterpreterSettings, headers: dict[str, str]
) -> int:
    """Run the document for a text message."""
    shown = _Printer()
    simulator = MessageSimulator(
        {},
        message=message_info(args.sms, args.caller, args.called, sip_headers=headers),
        settings=settings,
        tell=shown.line,
        fetcher=lambda clock: WebFetcher(clock, shown.line, show_all=args.all),
    )
    try:
        done = simulator.run(source)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 1
    print(_told(done.outcome))
    return _code(done.outcome, done.notices)


def _run(simulator: Simulator, source: Source, script: list[tuple[float, str]] | None) -> Simulation:
    if script is None:
        return simulator.run(source)
    print("Type digits; q hangs up.")
    with _single_keys():
        simulator.leg.caller = TypingCaller(ScriptedCaller(script))
        return simulator.run(source)


def _result(simulation: Simulation) -> int:
    print(f"{_told(simulation.outcome)}, status {simulation.status.value}, {simulation.seconds:.1f} s")
    return _code(simulation.outcome, simulation.notices)


def _told(outcome: Outcome) -> str:
    return f"{outcome.kind.value} ({outcome.reason})" if outcome.reason else outcome.kind.value


def _code(outcome: Outcome, notices: Sequence[Notice]) -> int:
    errors = any(notice.level is Level.ERROR for notice in notices)
    return 1 if errors or outcome.kind is OutcomeKind.FAILED else 0


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ValueError(f"--header {text!r} is not NAME:VALUE")
    return name.strip(), value.strip()


def _address(text: str) -> str:
    """URL of the argument: an http(s) URL as it is, everything else is a file."""
    if text.startswith(("http://", "https://", "file://")):
        return text
    path = Path(text)
    if not path.is_file():
        raise ValueError(f"{text}: no such file")
    return path.resolve().as_uri()


def _path(url: str) -> Path:
    return Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path))


def _missing(source: str) -> bool:
    """Whether a local audio file is missing; remote ones are not looked at."""
    return source.startswith("file://") and not _path(source).is_file()


class _Printer:
    """Prints the timeline as it grows."""

    def line(self, at: float, text: str) -> None:
        """Print one line."""
        print(f"{at:7.2f}  {text}", flush=True)


class TypingCaller:
    """Somebody at the keyboard, in real time; a script may press keys beside them."""

    def __init__(self, script: Caller) -> None:
        self._script = script
        self._next: tuple[float, str] | None = None
        self._started: float | None = None

    def act(self, now: float, until: float) -> tuple[float, str] | None:
        """Wait in real time until `until` for a key of the script or of the keyboard."""
        if self._started is None:
            self._started = time.monotonic() - now
        if self._next is None:
            self._next = self._script.act(now, until)
        due = self._next if self._next and self._next[0] <= until else None
        end = due[0] if due else until
        while (left := end - self._clock()) > 0:
            if not select.select([sys.stdin], [], [], left)[0]:
                break
            key = os.read(sys.stdin.fileno(), 1).decode("ascii", "replace").upper()
            if key in ("Q", ""):
                return self._clock(), HANGUP
            if key in "0123456789*#ABCD":
                return max(now, min(self._clock(), end)), key
        if due:
            self._next = None
        return due

    def _clock(self) -> float:
        assert self._started is not None
        return time.monotonic() - self._started


@contextmanager
def _single_keys() -> Iterator[None]:
    """Read keys from the terminal without waiting for the end of a line."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor, termios.TCSADRAIN)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Leaves redirects to the fetcher, which keeps method and parameters."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> None:
        """Follow nothing."""


class WebFetcher:
    """Reads documents from files and, blocking, from the web; keeps cookies for one call.

    Args:
        clock: of the simulated call or message; requests after its end need `after_end`.
        tell: takes lines of the timeline.
        show_all: show all parameters, not only those that differ from call to call.
    """

    def __init__(self, clock: Clock, tell: Tell, *, show_all: bool = False) -> None:
        self._clock = clock
        self._tell = tell
        self._show_all = show_all
        self._opener = urllib.request.build_opener(_NoRedirect(), urllib.request.HTTPCookieProcessor())

    async def fetch(self, request: FetchRequest, *, after_end: bool = False) -> FetchedDocument:
        """Request a document; see `rcml.ports.Fetcher`."""
        if self._clock.ended and not after_end:
            raise LegEnded("the caller left")
        parameters = [p for p in request.parameters if self._show_all or p[0] not in _STANDARD]
        shown = " ".join(f"{name}={value}" for name, value in parameters)
        self._tell(
            self._clock.now, f"requests: {request.method} {without_userinfo(request.url)} {shown}".rstrip()
        )
        if request.url.startswith("file:"):
            return self._file(request.url)
        return self._web(request)

    def _file(self, url: str) -> FetchedDocument:
        path = _path(url)
        try:
            body = path.read_bytes()
        except FileNotFoundError as error:
            raise FetchError(FetchFailure.NOT_FOUND, f"{path} does not exist", url=url, status=404) from error
        except OSError as error:
            raise FetchError(FetchFailure.IO, f"{path}: {error.strerror}", url=url) from error
        return FetchedDocument(url=url, content_type=_TYPES.get(path.suffix.lower(), "text/xml"), body=body)

    def _web(self, request: FetchRequest) -> FetchedDocument:
        url = request.url
        for _ in range(MAX_REDIRECTS + 1):
            status, headers, body = self._exchange(url, request)
            if status not in _REDIRECTS or not headers.get("Location"):
                break
            url = urllib.parse.urljoin(url, headers["Location"])
        else:
            raise FetchError(FetchFailure.IO, "too many redirects", url=request.url)
        text = body.decode("utf-8", "replace")
        if status != 200:
            failure = FetchFailure.NOT_FOUND if status == 404 else FetchFailure.BAD_STATUS
            message = f"the application answered {status}"
            raise FetchError(failure, message, url=url, status=status, headers=str(headers), body=text)
        if len(body) > MAX_BYTES:
            raise FetchError(FetchFailure.TOO_LARGE, f"more than {MAX_BYTES} bytes", url=url, status=200)
        copied = tuple((name, value) for name, value in headers.items() if name.lower().startswith("x-"))
        content_type = headers.get("Content-Type")
        return FetchedDocument(url=url, content_type=content_type, body=body, headers=copied)

    def _exchange(self, url: str, request: FetchRequest) -> tuple[int, Any, bytes]:
        data = encoded(request.parameters)
        if request.method == "GET":
            parts = urllib.parse.urlsplit(url)
            query = "&".join(filter(None, (parts.query, data)))
            target = urllib.request.Request(urllib.parse.urlunsplit(parts._replace(query=query)))  # noqa: S310
        else:
            target = urllib.request.Request(url, data.encode("ascii"))  # noqa: S310
        try:
            if target.type not in ("http", "https"):
                raise FetchError(FetchFailure.BAD_URL, f"{url} is not an http(s) URL", url=url)
            with self._opener.open(target, timeout=TIMEOUT) as reply:
                return reply.status, reply.headers, reply.read(MAX_BYTES + 1)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read(MAX_BYTES + 1)
        except HTTPException as error:
            raise FetchError(FetchFailure.PROTOCOL, f"{type(error).__name__}: {error}", url=url) from error
        except OSError as error:
            raise FetchError(FetchFailure.IO, str(getattr(error, "reason", error)), url=url) from error
        except ValueError as error:
            raise FetchError(FetchFailure.BAD_URL, str(error), url=url) from error
