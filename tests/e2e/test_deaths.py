"""Processes that are killed: a worker, the zygote, the engine; what each takes with it."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from harness import EngineProcess
from processes import children, is_alive, udp_ports
from pytest_twisted import ensureDeferred
from sipcall import Call
from sound import assert_tones, read_wav, sounding, tone
from waiting import eventually, now, pause, together
from webapp import document
from world import World

pytestmark = pytest.mark.loopback


@pytest.fixture(scope="module")
def engine(engines: Callable[..., EngineProcess]) -> EngineProcess:
    """An engine that is done harm."""
    return engines("media.spare_workers=2")


def worker_of(engine: EngineProcess, call: Call, pids: list[int] | None = None) -> int:
    """Process id of the worker that a call's audio comes from."""
    assert call.rtp.remote is not None
    port = call.rtp.remote[1]
    (found,) = [pid for pid in pids or engine.workers() if is_alive(pid) and port in udp_ports(pid)]
    return found


def column(engine: EngineProcess, sid: str, name: str) -> Any:
    """A column of a call's record, which is not told over REST."""
    with sqlite3.connect(f"file:{engine.data}/voiceengine.sqlite?mode=ro", uri=True) as database:
        (found,) = database.execute(f"SELECT {name} FROM calls WHERE sid = ?", (sid,)).fetchone()
    return found


async def hears(call: Call, seconds: float = 0.5, within: float = 1.5) -> None:
    """The call goes on hearing something."""
    begun = now()
    await call.changes.until(
        lambda: sounding(call.heard(since=begun)) >= seconds, within, f"{seconds} s of sound go on"
    )
    assert call.live


async def works(world: World, name: str = "later") -> None:
    """New calls are answered and hear their prompt."""
    number = await world.number(world.play(1300, 0.4), name=name)
    calls = [await world.call(number) for _ in range(5)]
    await together([call.over(within=5) for call in calls])
    for call in calls:
        assert_tones(call.heard(), [(1300, 0.4)])


@ensureDeferred
async def test_a_worker_that_dies_takes_its_own_calls_and_nothing_else(world: World) -> None:
    engine = world.engine
    status = world.script("status", "")
    long = await world.number(world.play(440, 12), name="long", StatusCallback=status)
    action = world.script("action", "<Hangup/>")
    record = f'<Record playBeep="false" timeout="20" action="{action}"/>'
    recorded = await world.number(record, name="recorded", StatusCallback=status)
    slow = await world.number(document(world.play(440, 1), delay=5), name="slow", StatusCallback=status)

    playing = await world.answered(long)
    recording = await world.answered(recorded)
    phone = await world.phone("outbound")
    told = world.script("outbound-status", "")
    made = await world.rest.start_call(
        From="+1", To=phone.uri, Url=f"{world.app.url}{world.path('long')}", StatusCallback=told
    )
    outbound = await phone.offered()
    outbound.answer()
    ringing = await world.call(slow)
    await world.asked("slow")
    await outbound.sound(0.2)
    others = [await world.answered(long) for _ in range(2)]
    victim = worker_of(engine, playing)
    survivor = worker_of(engine, others[0])
    assert victim == worker_of(engine, recording) == worker_of(engine, outbound) != survivor
    assert survivor == worker_of(engine, others[1])
    sids = {call: (await sid_of(world, call)) for call in (playing, recording, *others)}
    slow_sid = await world.sid(slow)

    recording.rtp.say(tone(600, 2.0))
    await pause(2.3)
    killed = now()
    os.kill(victim, signal.SIGKILL)
    byes = await together([call.over(within=2) for call in (playing, recording, outbound)])
    assert now() - killed < 1.0
    for bye in byes:
        assert "media-failure" in bye.get("Reason")
    final = await ringing.final(within=2)
    assert final.code == 500
    assert "media-failure" in final.get("Reason")

    for sid in (sids[playing], sids[recording], made["sid"]):
        assert (await world.rest.ended(sid))["status"] == "completed"
        assert "media-failure" in column(engine, sid, "cause")
        notice = await world.rest.notified(12400, sid)
        assert int(notice["log"]) == 0
    assert (await world.rest.ended(slow_sid))["status"] == "failed"
    await world.rest.notified(12400, slow_sid)
    assert (await world.asked("outbound-status", 3)).form["CallStatus"] == "completed"
    await eventually_told(world, sids[playing], ["ringing", "in-progress", "completed"])
    await eventually_told(world, sids[recording], ["ringing", "in-progress", "completed"])
    await eventually_told(world, slow_sid, ["ringing", "failed"])

    (row,) = await eventually(
        lambda: world.rest.recordings(CallSid=sids[recording]), len, 3.0, "the recording of the dead worker"
    )
    samples = read_wav((await world.rest.fetch(f"{world.rest.base}/Recordings/{row['sid']}.wav")).body)
    assert 1.5 < sounding(samples) <= 2.1
    assert 1.8 < len(samples) / 8000 < 2.7
    assert abs(float(row["duration"]) - len(samples) / 8000) < 0.2

    await together([hears(call) for call in others])
    for call in others:
        assert await world.rest.notifications(CallSid=sids[call]) == []
        assert (await world.rest.call(sids[call]))["status"] == "in-progress"
    await works(world)
    assert all(call.live for call in others)
    health = await world.rest.health()
    assert health["media"]["deaths"] == 1
    assert health["calls"] == 2


async def sid_of(world: World, call: Call) -> str:
    """CallSid of an inbound call: the engine's answer tells it."""
    return (await call.answered()).get("X-RestComm-CallSid")


async def eventually_told(world: World, sid: str, expected: list[str]) -> None:
    """Status callbacks of one call."""

    async def told() -> list[str]:
        seen = world.app.requests(world.path("status"))
        return [one.form["CallStatus"] for one in seen if one.form["CallSid"] == sid]

    await eventually(told, lambda found: found == expected, 3.0, f"callbacks {expected} of {sid}")


@ensureDeferred
async def test_all_workers_may_die_and_new_calls_work(world: World) -> None:
    engine = world.engine
    number = await world.number(world.play(440, 12))
    calls = [await world.answered(number) for _ in range(3)]
    for pid in engine.workers():
        os.kill(pid, signal.SIGKILL)
    await together([call.over(within=2) for call in calls])
    await works(world)


@ensureDeferred
async def test_a_zygote_that_dies_leaves_live_calls_alone_and_later_calls_work(world: World) -> None:
    engine = world.engine
    number = await world.number(world.play(440, 12))
    calls = [await world.answered(number) for _ in range(2)]
    (zygote,) = [pid for pid in children(engine.pid) if children(pid)]
    old = engine.workers()
    os.kill(zygote, signal.SIGKILL)
    await together([hears(call) for call in calls])

    async def zygotes() -> list[int]:
        return children(engine.pid)

    await eventually(zygotes, lambda pids: pids and zygote not in pids, 4.0, "a new zygote")
    victim = worker_of(engine, calls[0], old)
    deaths = (await world.rest.metrics())["voiceengine_worker_deaths"]
    others = set(old) - {victim}
    for pid in others:
        os.kill(pid, signal.SIGKILL)
    # A call that meets a worker before its death was noticed would die with it.
    await eventually(
        world.rest.metrics,
        lambda found: found["voiceengine_worker_deaths"] >= deaths + len(others),
        4.0,
        "the deaths are noticed",
    )
    await works(world)
    assert set(engine.workers()) - set(old), "new workers were made"
    await together([hears(call, 0.3) for call in calls])

    os.kill(victim, signal.SIGKILL)
    await together([call.over(within=2) for call in calls])
    await works(world, "after")


@ensureDeferred
async def test_workers_say_bye_and_are_gone_soon_after_the_engine_was_killed(world: World) -> None:
    engine = world.engine
    number = await world.number(f"<Record/>{world.play(440, 12)}")
    calls = [await world.answered(number) for _ in range(5)]
    family = [*children(engine.pid), *engine.workers()]
    # four fit into a worker; legs of the test before may still hold slots
    assert len({worker_of(engine, call) for call in calls}) >= 2
    engine.kill()
    killed = now()
    byes = await together([call.over(within=2) for call in calls])
    assert await engine.ended(2.0) == -signal.SIGKILL

    async def left() -> list[int]:
        return [pid for pid in family if is_alive(pid)]

    await eventually(left, lambda pids: not pids, 2.0 - (now() - killed), "all processes are gone")
    assert all("engine died" in bye.get("Reason") for bye in byes)
    world._numbers.clear()
