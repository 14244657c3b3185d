"""`voiceengine demo`: an engine on free ports, a softphone that calls its demo number, and what happened."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet import protocol
from twisted.internet.defer import Deferred

from voiceengine import logs
from voiceengine.config import load
from voiceengine.demo.timeline import Line, describe_event, describe_journal, render

if TYPE_CHECKING:
    from voiceengine.app import Engine

MESSAGE = "This is a message of the caller. It is being recorded by the engine."
DIGITS = "2.5:2,11.5:#,20.5:9"
"""Ask for the recording, end it, hang up (seconds after the answer)."""
LIMIT_SECONDS = 60


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("demo", help="start an engine, call its demo number, print what happened")
    parser.add_argument(
        "--keep", metavar="DIR", help="keep the engine's data here (default: a temporary folder)"
    )
    parser.add_argument(
        "--json", action="store_true", help="print the softphone's report and the journal as JSON"
    )
    parser.set_defaults(run=run)


class _Phone(protocol.ProcessProtocol):
    """The softphone's process: its events as they happen, its report at the end."""

    def __init__(self) -> None:
        self._buffer = b""
        self._errors = b""
        self.events: list[tuple[float, dict[str, Any]]] = []
        self.report: dict[str, Any] = {}
        self.ended: Deferred[None] = Deferred()

    def outReceived(self, data: bytes) -> None:  # noqa: N802 - the names are Twisted's
        """Lines of JSON: events, and the report as the last one."""
        self._buffer += data
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if found.get("event") == "result":
                self.report = found
            else:
                self.events.append((time.time(), found))

    def errReceived(self, data: bytes) -> None:  # noqa: N802
        """Kept for the case that it fails."""
        self._errors += data

    def processEnded(self, reason: Any) -> None:  # noqa: N802
        """The phone is done."""
        if self._buffer:
            self.outReceived(b"\n")
        if not self.report:
            text = self._errors.decode("utf-8", "replace").strip()
            print(f"The softphone gave no report. {text}", file=sys.stderr)
        self.ended.callback(None)


async def _call(engine: Engine, reactor: Any, folder: Path) -> _Phone:
    spoken = await engine.speak(MESSAGE)
    message = folder / "caller.wav"
    shutil.copyfile(spoken, message)
    server = engine.sip_addresses[0].partition("://")[2]
    arguments = ["--server", server, "--user", "alice", "--register", "--dial", "+1000"]
    arguments += ["--digits", DIGITS, "--play", str(message), "--loop", "--record", str(folder / "heard.wav")]
    arguments += ["--timeout", str(LIMIT_SECONDS), "--events"]
    environment = {**os.environ, "SOFTPHONE_PASSWORD": engine.credentials["clients"]["alice"]}
    phone = _Phone()
    command = [sys.executable, "-m", "voiceengine", "softphone", *arguments]
    reactor.spawnProcess(phone, sys.executable, command, env=environment)
    await phone.ended
    return phone


async def _journal(engine: Engine) -> list[tuple[float, str, dict[str, Any]]]:
    await engine.store.flush()
    events = []
    for sid in await engine.recent_calls():
        found = await engine.store.journal.of_call(sid)
        events += [(event.at, event.event, json.loads(event.fields)) for event in found]
    return events


def _lines(phone: _Phone, journal: list[tuple[float, str, dict[str, Any]]]) -> list[Line]:
    lines = [line for at, event in phone.events if (line := describe_event(at, event)) is not None]
    lines += [
        line for at, name, fields in journal if (line := describe_journal(at, name, fields)) is not None
    ]
    return sorted(lines, key=lambda line: line.at)


def _summary(folder: Path, report: dict[str, Any]) -> str:
    call = report.get("call", {})
    rtp = call.get("rtp", {})
    recordings = sorted((folder / "recordings").glob("*.wav"))
    where = str(recordings[0]) if recordings else "none was made"
    quality = (
        f"Answered after {call.get('answer_delay_ms')} ms, {call.get('duration_seconds', 0):.1f} s long, "
        f"{rtp.get('codec')}, {rtp.get('rx_packets')} packets received, {rtp.get('rx_lost')} lost."
    )
    said = f"What the caller said (recorded by the engine): {where}"
    heard = f"What the caller heard (recorded by the softphone): {folder / 'heard.wav'}"
    return "\n".join([quality, said, heard])


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; 0 when the call was answered and recorded."""
    folder = Path(arguments.keep or tempfile.mkdtemp(prefix="voiceengine-demo-")).absolute()
    settings, _ = load(
        None,
        {
            "data.directory": str(folder),
            "sip.listen": ["udp://127.0.0.1:0"],
            "http.listen": "127.0.0.1:0",
            "media.spare_workers": 1,
        },
        {},
    )
    logs.begin("error")
    os.umask(0o077)  # records, recordings and credentials are the owner's
    from twisted.internet import reactor as installed

    from voiceengine.app import Engine

    reactor: Any = installed
    engine = Engine(reactor, settings)
    code = 1

    async def show() -> None:
        nonlocal code
        await engine.start()
        if not arguments.json:
            print(
                f"An engine listens on {engine.sip_addresses[0]}; a softphone registers and dials +1000 ...\n"
            )
            sys.stdout.flush()
        phone = await _call(engine, reactor, folder)
        journal = await _journal(engine)
        recorded = any(name == "recording_stored" for _, name, _ in journal)
        code = 0 if phone.report.get("call", {}).get("answered") and recorded else 1
        if arguments.json:
            print(json.dumps({"softphone": phone.report, "journal": journal}, indent=2))
            return
        print(render(_lines(phone, journal)))
        print()
        print(_summary(folder, phone.report))

    def done(result: Any) -> None:
        if result is not None:
            result.printTraceback(sys.stderr)
        stopped = Deferred.fromCoroutine(engine.stop())
        stopped.addBoth(lambda _: reactor.stop())

    def begin() -> None:
        shown = Deferred.fromCoroutine(show())
        shown.addTimeout(LIMIT_SECONDS + 30, reactor)
        shown.addBoth(done)

    reactor.callWhenRunning(begin)
    reactor.run()
    return code
