"""SIGTERM while calls are up."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from harness import EngineProcess
from processes import children, is_alive
from pytest_twisted import async_yield_fixture, ensureDeferred
from sound import assert_tones
from waiting import eventually, now, together
from webapp import WebApp
from world import World

pytestmark = pytest.mark.loopback


@async_yield_fixture
async def two(tmp_path: Path) -> AsyncIterator[list[EngineProcess]]:
    """Two engines, to be ended in two ways at the same time."""
    settings = ("media.spare_workers=2", "calls.drain_seconds=8")
    works = [EngineProcess.start(tmp_path / name / "data", *settings) for name in ("one", "all")]
    engines = await together(works)
    yield engines
    for engine in engines:
        await engine.stop()


async def drained(engine: EngineProcess, app: WebApp, name: str, *, group: bool) -> None:
    """End an engine while it has a call; the call goes on to its end, new ones are refused."""
    world = World(engine, app, name)
    number = await world.number(world.play(440, 2.5))
    live = await world.answered(number)
    await live.sound(0.2)
    family = [*children(engine.pid), *engine.workers()]
    for pid in [engine.pid, *(family if group else ())]:
        os.kill(pid, signal.SIGTERM)
    begun = now()
    phone = await world.phone()

    async def refused() -> int:
        return (await phone.call(number).final()).code

    # the signal and the INVITE may cross
    await eventually(refused, lambda code: code == 503, 1.0, "new calls are refused")
    assert (await phone.ask(phone.request("OPTIONS", "sip:127.0.0.1", "<sip:127.0.0.1>"))).code == 503
    assert live.live
    await live.over(within=4)
    assert_tones(live.heard(), [(440, 2.5)], tolerance=0.2)
    assert await engine.ended(4.0) == 0
    assert now() - begun < 5.0

    async def left() -> list[int]:
        return [pid for pid in family if is_alive(pid)]

    await eventually(left, lambda pids: not pids, 2.0, "all processes are gone")
    assert not engine.problems
    world._numbers.clear()
    await world.close()


@ensureDeferred
async def test_a_live_call_finishes_and_new_ones_get_503(two: list[EngineProcess], app: WebApp) -> None:
    one, all_of_it = two
    works = [drained(one, app, "drained", group=False), drained(all_of_it, app, "drained-all", group=True)]
    await together(works)
