"""The document that runs on a call: one at a time, the latest wins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from rcml.interpreter import Interpreter, InterpreterSettings, Outcome, Source
from rcml.ports import CallInfo, CallStatus, Ports
from voiceengine.calls.leg import CallLeg

log = Logger()


class CallFlow:
    """Runs documents on the leg of a call.

    Args:
        reactor: source of time.
        leg: of the call.
        info: of the call.
        ports: what documents act on; made when the first one begins.
        settings: of the interpreter.
        over: told whenever nothing runs any more.
    """

    def __init__(
        self,
        reactor: Any,
        leg: CallLeg,
        info: CallInfo,
        ports: Callable[[], Ports],
        settings: InterpreterSettings,
        over: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._leg = leg
        self._info = info
        self._ports = ports
        self._settings = settings
        self._over = over
        self._flow: Deferred[Any] | None = None
        self._number = 0
        self.running = False
        """Whether a document runs."""

    def run(self, source: Source) -> None:
        """Run a document flow to the end of the call; one that is running is stopped first."""
        number = self._begin()
        self._flow = Deferred.fromCoroutine(self._run(source, number))
        self._flow.addErrback(self._failed, number)

    def _begin(self) -> int:
        self._number += 1
        flow, self._flow = self._flow, None
        self.running = True
        if flow is not None:
            flow.cancel()
        return self._number

    def _end(self, number: int) -> None:
        if number == self._number:
            self._flow = None
            self.running = False
            self._over()

    async def _run(self, source: Source, number: int) -> None:
        await Interpreter(self._ports(), self._info, self._settings).run(source)
        if number == self._number and not self._leg.ended:
            await self._leg.hangup()
        self._end(number)

    def _failed(self, failure: Any, number: int) -> None:
        if number != self._number:
            return  # it was stopped, another one runs
        log.failure("flow_failed call={call}", failure=failure, call=self._info.call_sid)
        self._ports().records.journal("flow_failed", reason=str(failure.value))
        self._leg.end('SIP;cause=500;text="internal error"', wanted=CallStatus.FAILED, code=500)
        self._end(number)

    async def aside(self, source: Source, settings: InterpreterSettings, seconds: float) -> Outcome | None:
        """Run a document that leaves the call as it is (screening).

        Returns:
            None when it took longer than `seconds`, or was stopped by another document.
        """
        number = self._begin()
        flow = Deferred.fromCoroutine(Interpreter(self._ports(), self._info, settings).run(source))
        self._flow = flow
        timer = self._reactor.callLater(seconds, flow.cancel)
        try:
            return await flow
        except defer.CancelledError:
            return None
        finally:
            if timer.active():
                timer.cancel()
            self._end(number)

    def stop(self) -> None:
        """Stop the document that runs; the call goes on without one."""
        if self.running:
            number = self._begin()
            self._leg.reset()
            self._end(number)

    def switch(self, source: Source) -> None:
        """Stop the document that runs, with all that it plays and records, and run another one."""
        self._begin()
        self._leg.reset()
        self.run(source)
