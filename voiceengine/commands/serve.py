"""`voiceengine serve`: run the engine in the foreground."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
from typing import Any

from twisted.internet.defer import Deferred

from voiceengine import logs
from voiceengine.commands.options import add_settings, settings_of
from voiceengine.errors import EngineError

GC_THRESHOLDS = (20_000, 20, 50)
"""Full collections stop the reactor for tens of milliseconds; they are made rare."""


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("serve", help="run the engine")
    add_settings(parser)
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warn", "error"])
    parser.add_argument("--log-json", action="store_true", help="log lines as JSON")
    parser.set_defaults(run=run)


def _greeting(engine: Any) -> str:
    found = engine.credentials
    path = engine.settings.data.directory / "credentials.json"
    lines = [
        "voiceengine is ready.",
        f"  SIP        {'  '.join(found['sip'])}",
        f"  REST API   {found['base_url']}",
        f"  Account    {found['account_sid']} (token and passwords: {path})",
        f"  Health     {engine.base_url}/healthz   metrics: {engine.base_url}/metrics",
    ]
    if found["demo_number"]:
        lines.append(f"  Demo       register alice or bob, dial {found['demo_number']}; or: voiceengine demo")
    return "\n".join(lines)


def run(arguments: argparse.Namespace) -> int:
    """Run until SIGTERM or SIGINT; a second signal ends at once."""
    settings, _ = settings_of(arguments)
    logs.begin(arguments.log_level, as_json=arguments.log_json)
    os.umask(0o077)  # records, recordings and credentials are the owner's
    from twisted.internet import reactor as installed

    from voiceengine.app import Engine

    reactor: Any = installed
    engine = Engine(reactor, settings)
    outcome = {"code": 0, "stopping": False}

    def failed(failure: Any) -> None:
        outcome["code"] = 1
        if failure.check(EngineError):
            print(f"voiceengine: {failure.value.message}", file=sys.stderr)
        else:
            failure.printTraceback(sys.stderr)
        stop(0.0)

    def ready(_: None) -> None:
        # what lives as long as the process need not be looked at again; calls make little garbage in cycles
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        print(_greeting(engine), flush=True)

    def stop(drain: float) -> None:
        if outcome["stopping"]:
            return
        outcome["stopping"] = True
        done = Deferred.fromCoroutine(engine.stop(drain))
        done.addErrback(lambda f: f.printTraceback(sys.stderr))
        done.addBoth(lambda _: reactor.stop() if reactor.running else None)

    def on_signal(number: int, frame: object) -> None:
        if outcome["stopping"]:
            reactor.callFromThread(reactor.stop)
        else:
            reactor.callFromThread(stop, settings.calls.drain_seconds)

    def begin() -> None:
        signal.signal(signal.SIGTERM, on_signal)
        signal.signal(signal.SIGINT, on_signal)
        started = Deferred.fromCoroutine(engine.start())
        started.addCallbacks(ready, failed)

    reactor.callWhenRunning(begin)
    reactor.run(installSignalHandlers=True)
    return int(outcome["code"])
