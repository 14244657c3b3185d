"""Identical work that is asked for at the same time is done once."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


@attrs.define(eq=False)
class _Flight(Generic[T]):
    waiters: list[Deferred[T]] = attrs.Factory(list)
    work: Deferred[T] | None = None


class Collapse(Generic[T]):
    """Work under way, by key. Those who ask for a key that is under way share its result.

    A waiter that is cancelled just leaves; the work goes on for the others, and for the cache when there
    are none. Failures are shared as well, and forgotten.
    """

    def __init__(self) -> None:
        self._flights: dict[str, _Flight[T]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    async def run(self, key: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do `work`, or wait for the one with this key that is under way."""
        flight = self._flights.get(key)
        waiter: Deferred[T] = Deferred()
        if flight is not None:
            flight.waiters.append(waiter)
            return await waiter
        flight = self._flights[key] = _Flight([waiter])
        flight.work = Deferred.fromCoroutine(work())
        flight.work.addBoth(self._done, key, flight)
        return await waiter

    def _done(self, result: T | Failure, key: str, flight: _Flight[T]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        for waiter in flight.waiters:
            if waiter.called:
                continue
            if isinstance(result, Failure):
                waiter.errback(result)
            else:
                waiter.callback(result)

    def cancel(self) -> None:
        """Give up everything that is under way; those who wait get a CancelledError."""
        for flight in list(self._flights.values()):
            if flight.work is not None:
                flight.work.cancel()
