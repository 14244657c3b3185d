"""What fixtures and tests share: running a coroutine from outside the reactor, and an engine at rest."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from harness import EngineProcess
from pytest_twisted import blockon
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from waiting import eventually

reactor: Any = installed


def run(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine from a fixture that is no coroutine (those of a session)."""
    done: Deferred[Any] = Deferred()
    reactor.callLater(0, lambda: Deferred.fromCoroutine(work()).chainDeferred(done))
    return blockon(done)


async def idle(engine: EngineProcess) -> None:
    """No call, leg, conference, bridge, link or kept slot may be left, and no file that is half done."""

    def left(found: dict[str, Any]) -> dict[str, Any]:
        counts = {"calls": found["calls"], "conferences": found["conferences"]}
        names = ("legs", "bridges", "links", "slots_kept")
        return {**counts, **{name: found["media"].get(name, 0) for name in names}}

    await eventually(
        engine.rest.health,
        lambda found: not any(left(found).values()),
        5.0,
        "no call, leg, conference, bridge, link or kept slot is left in the engine",
    )
    halves = [*engine.data.glob("recordings/*.heard.wav"), *engine.data.glob("recordings/*.tmp")]
    assert halves == []
