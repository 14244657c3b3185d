"""The events of a leg, in the order in which they happened, and its timers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from rcml.ports import DigitPressed, LegEvent, TimerFired


class Mailbox:
    """What waits for the interpreter.

    Args:
        reactor: source of time.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._events: deque[LegEvent] = deque()
        self._waiter: Deferred[LegEvent] | None = None
        self._timers: dict[str, Any] = {}

    def __bool__(self) -> bool:
        return bool(self._events)

    def post(self, event: LegEvent) -> None:
        """Give an event to who waits, or keep it."""
        waiter = self._waiter
        if waiter is not None and not waiter.called:
            waiter.callback(event)
        else:
            self._events.append(event)

    @property
    def awaited(self) -> bool:
        """Whether somebody waits, and nothing is there."""
        return self._waiter is not None and not self._waiter.called and not self._events

    async def take(self) -> LegEvent:
        """Take the next event, waiting for it if need be."""
        if self._events:
            return self._events.popleft()
        waiter = self._waiter = Deferred()
        try:
            return await waiter
        finally:
            if self._waiter is waiter:  # else somebody else waits by now
                self._waiter = None

    def remove(self, gone: Callable[[LegEvent], bool]) -> None:
        """Drop events that wait."""
        if self._events:
            self._events = deque(e for e in self._events if not gone(e))

    def clear_digits(self) -> None:
        """Drop digits that wait."""
        self.remove(lambda e: isinstance(e, DigitPressed))

    def clear(self) -> None:
        """Drop everything that waits, and all timers."""
        self.stop_timers()
        self._events.clear()

    # -------------------------------------------------------------- timers

    def start_timer(self, name: str, seconds: float) -> None:
        """(Re)start a timer; TimerFired comes after `seconds`."""
        self.cancel_timer(name)
        self._timers[name] = self._reactor.callLater(seconds, self._fire, name)

    def cancel_timer(self, name: str) -> None:
        """Cancel a timer, even one that has fired into the mailbox."""
        self._stop(name)
        self.remove(lambda e: isinstance(e, TimerFired) and e.name == name)

    def stop_timers(self) -> None:
        """Stop all timers; what they posted stays."""
        for name in list(self._timers):
            self._stop(name)

    def _stop(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None and timer.active():
            timer.cancel()

    def _fire(self, name: str) -> None:
        self._timers.pop(name, None)
        self.post(TimerFired(name))
