"""Waiting for something to happen in the pool."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred


class News:
    """Lets those who wait look again."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._waiting: list[Deferred[None]] = []

    def happened(self) -> None:
        """Let everybody who waits look again, in the order in which they came."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.called:
                waiter.callback(None)

    async def wait(self, seconds: float) -> None:
        """Wait until something happened, at most `seconds`."""
        waiter: Deferred[None] = Deferred()
        self._waiting.append(waiter)
        timer = self._reactor.callLater(seconds, lambda: None if waiter.called else waiter.callback(None))
        try:
            await waiter
        finally:
            if timer.active():
                timer.cancel()
