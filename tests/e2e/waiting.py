"""Waiting for events with deadlines; nothing in these tests sleeps for luck."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred

reactor: Any = installed

T = TypeVar("T")


def now() -> float:
    """Monotonic seconds; all times in these tests are of this clock."""
    return float(reactor.seconds())


def pause(seconds: float) -> Deferred[None]:
    """A step of a scenario that takes time (a caller who thinks); never used to wait for the engine."""
    done: Deferred[None] = Deferred()
    reactor.callLater(seconds, done.callback, None)
    return done


class Changes:
    """Lets coroutines wait until something is true; whoever changes it calls `tell`."""

    def __init__(self) -> None:
        self._waiting: list[Deferred[None]] = []

    def tell(self) -> None:
        """Let all waiters look again."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.called:
                waiter.callback(None)

    async def until(self, condition: Callable[[], T], within: float, what: str | Callable[[], str]) -> T:
        """Wait until the condition holds and return its value.

        Raises:
            AssertionError: it does not hold within so many seconds; `what` says what was missing.
        """
        deadline = now() + within
        while not (found := condition()):
            left = deadline - now()
            if left <= 0:
                text = what() if callable(what) else what
                raise AssertionError(f"not within {within:g} s: {text}")
            waiter: Deferred[None] = Deferred()
            self._waiting.append(waiter)
            timer = reactor.callLater(left, lambda w=waiter: None if w.called else w.callback(None))
            try:
                await waiter
            finally:
                if timer.active():
                    timer.cancel()
        return found


async def eventually(
    ask: Callable[[], Awaitable[T]], condition: Callable[[T], Any], within: float, what: str
) -> T:
    """Ask (over REST, of /proc) until the answer fulfils the condition; returns that answer.

    Raises:
        AssertionError: it does not within so many seconds.
    """
    deadline = now() + within
    while True:
        answer = await ask()
        if condition(answer):
            return answer
        if now() >= deadline:
            raise AssertionError(f"not within {within:g} s: {what}; last answer: {answer!r}")
        await pause(0.05)


async def stays(condition: Callable[[], Any], seconds: float, what: str) -> None:
    """Watch that something remains true for a while.

    Raises:
        AssertionError: it does not.
    """
    deadline = now() + seconds
    while now() < deadline:
        assert condition(), f"did not stay so for {seconds:g} s: {what}"
        await pause(0.02)


async def together(works: list[Awaitable[T]]) -> list[T]:
    """Run coroutines at the same time; the first failure is raised after all have ended."""
    started = [Deferred.fromCoroutine(work) for work in works]  # type: ignore[arg-type]
    results: list[Any] = []
    problems: list[BaseException] = []
    for work in started:
        try:
            results.append(await work)
        except BaseException as problem:
            problems.append(problem)
    if problems:
        raise problems[0]
    return results
