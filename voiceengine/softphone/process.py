"""A softphone as a child process on a Twisted reactor: for tests, demos and tools."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.process import reapAllProcesses
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from voiceengine.errors import EngineError
from voiceengine.softphone.report import Event

REAP_SECONDS = 0.02


class SoftphoneError(EngineError):
    """The phone did not do what was waited for; the message has what it said last."""


class _Waiter:
    def __init__(self, name: str, fields: dict[str, Any]) -> None:
        self.name = name
        self.fields = fields
        self.deferred: Deferred[Event] = Deferred()

    def matches(self, event: Event) -> bool:
        return event["event"] == self.name and all(event.get(k) == v for k, v in self.fields.items())


class SoftphoneProcess(ProcessProtocol):
    """A phone. Options are those of the command line, with underscores.

    `SoftphoneProcess(reactor, wait=True, local_port=5070, header=["X-A: 1"])` starts it at once.

    Args:
        reactor: runs the process and the timeouts.
        options: True gives the bare option, None and False leave it out, a list repeats it.
    """

    def __init__(self, reactor: Any, **options: Any) -> None:
        self._reactor = reactor
        self.events: list[Event] = []
        """Every event so far."""
        self.exit_code: int | None = None
        """Known after the end; negative for a signal."""
        self.stderr = ""
        self._result: dict[str, Any] | None = None
        self._taken: set[int] = set()
        self._waiters: list[_Waiter] = []
        self._ended: list[Deferred[None]] = []
        self._over = False
        self._rest = b""
        self._arguments = arguments(**options)
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "voiceengine.softphone", "--events", "--control", *self._arguments]
        self._process = reactor.spawnProcess(self, sys.executable, command, env=environment)

    # -------------------------------------------------------------- what the phone says

    def outReceived(self, data: bytes) -> None:  # noqa: N802 - the names are Twisted's
        """Events, one on a line."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                self.stderr += line.decode("utf-8", "replace") + "\n"
                continue
            self._take(event)

    def errReceived(self, data: bytes) -> None:  # noqa: N802
        """What it complains about."""
        self.stderr += data.decode("utf-8", "replace")

    def _take(self, event: Event) -> None:
        if event.get("event") == "result":
            self._result = {key: value for key, value in event.items() if key != "event"}
            return
        self.events.append(event)
        for waiter in self._waiters:
            if waiter.matches(event):
                self._waiters.remove(waiter)
                self._taken.add(len(self.events) - 1)
                waiter.deferred.callback(event)
                return

    def outConnectionLost(self) -> None:  # noqa: N802
        """Its output is closed: it is about to end."""
        self._reap()

    def _reap(self) -> None:
        """Collect the process even where the reactor has no handler for SIGCHLD, as in test runs."""
        if not self._over:
            reapAllProcesses()
        if not self._over:
            self._reactor.callLater(REAP_SECONDS, self._reap)

    def processEnded(self, reason: Failure) -> None:  # noqa: N802
        """The process is gone and its output is read."""
        value: Any = reason.value
        self.exit_code = value.exitCode if value.signal is None else -value.signal
        self._over = True
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.deferred.errback(Failure(self._error(f"the phone ended without {waiter.name!r}")))
        ended, self._ended = self._ended, []
        for deferred in ended:
            deferred.callback(None)

    def _error(self, text: str) -> SoftphoneError:
        last = "; ".join(json.dumps(event) for event in self.events[-4:])
        stderr = self.stderr.strip()
        return SoftphoneError(f"{text}; exit code {self.exit_code}; last events: {last}; {stderr}")

    # -------------------------------------------------------------- for the one who started it

    async def wait_for(self, name: str, timeout: float = 10.0, **fields: Any) -> Event:
        """Wait for an event, and take it: the next wait of this kind gets a later one.

        Args:
            name: name of the event.
            timeout: seconds.
            fields: values the event must have, such as `digit="5"`.

        Raises:
            SoftphoneError: it did not come in time, or the phone ended before.
        """
        waiter = _Waiter(name, fields)
        for index, event in enumerate(self.events):
            if index not in self._taken and waiter.matches(event):
                self._taken.add(index)
                return event
        if self._over:
            raise self._error(f"the phone ended without {name!r}")
        self._waiters.append(waiter)
        timer = self._reactor.callLater(timeout, self._too_late, waiter)
        try:
            return await waiter.deferred
        finally:
            if timer.active():
                timer.cancel()

    def _too_late(self, waiter: _Waiter) -> None:
        self._waiters.remove(waiter)
        waiter.deferred.errback(Failure(self._error(f"no event {waiter.name!r} in time")))

    async def result(self, timeout: float = 60.0) -> dict[str, Any]:
        """Wait for the end of the process and return what it printed.

        Raises:
            SoftphoneError: it did not end in time (then it is killed), or printed nothing: the arguments
                were wrong and the message says why.
        """
        if not self._over:
            ended: Deferred[None] = Deferred()
            self._ended.append(ended)
            timer = self._reactor.callLater(timeout, self.kill)
            try:
                await ended
            finally:
                if timer.active():
                    timer.cancel()
        if self._result is None:
            raise self._error("the phone gave no result")
        return self._result

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._over

    def command(self, cmd: str, **fields: Any) -> None:
        """Send a command on the control channel; a phone that ended takes none."""
        if not self._over and self.transport is not None:
            self.transport.write(json.dumps({"cmd": cmd, **fields}).encode() + b"\n")

    def answer(self) -> None:
        """Answer now, without waiting for `answer_delay`."""
        self.command("answer")

    def hangup(self) -> None:
        """End the call."""
        self.command("hangup")

    def send_digits(self, digits: str) -> None:
        """Send digits."""
        self.command("digits", digits=digits)

    def play(self, path: str) -> None:
        """Play a file, instead of the one that is playing."""
        self.command("play", file=path)

    def quit(self) -> None:
        """Hang up, unregister and end."""
        self.command("quit")

    def signal(self, name: str) -> None:
        """Send a signal, such as `TERM`."""
        if not self._over:
            with suppress(ProcessExitedAlready):
                self._process.signalProcess(name)

    def kill(self) -> None:
        """End the process at once, without SIP."""
        self.signal("KILL")


def arguments(**options: Any) -> list[str]:
    """Words of the command line for keyword options; `wait=True` is `--wait`, `wait=5` is `--wait=5`."""
    words = []
    for name, value in options.items():
        option = "--" + name.replace("_", "-")
        for item in value if isinstance(value, list | tuple) else [value]:
            if item is True:
                words.append(option)
            elif item is not None and item is not False:
                words.append(f"{option}={item}")
    return words
