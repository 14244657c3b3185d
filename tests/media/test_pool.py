"""The pool with real workers: placement, deaths, hangs, the zygote, pacing."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from sipmessage import Response
from twisted.internet import process, reactor
from twisted.internet.defer import Deferred
from workerkit import Dialog, Ears, Rtp, World, pause, until

from media import pool as pool_module
from media import protocol, watchdog
from media.link import WorkerLink
from media.placement import Placement
from media.pool import EndReport, MediaLeg, NoCapacity
from media.spawner import Spawner
from media.worker_events import Events
from media.worker_record import Worker

pytestmark = pytest.mark.loopback
REACTOR: Any = reactor
Make = Callable[..., Any]


@pytest_twisted.async_yield_fixture
async def make(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    """Make started pools; the watchdog looks more often than in life."""
    monkeypatch.setattr(watchdog, "PING_SECONDS", 0.2)
    worlds: list[World] = []

    async def new(**settings: Any) -> World:
        worlds.append(World(**{"rtp_ports": (38000, 39999), **settings}))
        await worlds[-1].pool.start()
        return worlds[-1]

    yield new
    for world in worlds:
        for pid in world.pool.pids():
            if alive(pid):
                os.kill(pid, signal.SIGCONT)
        await world.close()
        process.reapAllProcesses()  # type: ignore[no-untyped-call]


def alive(pid: int) -> bool:
    """Whether a process runs (one that was not reaped yet does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def reserve(world: World, *keys: str) -> list[MediaLeg]:
    legs = [await world.pool.reserve(key.encode()) for key in keys]
    for leg in legs:
        leg.listener = Ears()
    return legs


def ends(leg: MediaLeg) -> list[EndReport]:
    ears: Any = leg.listener
    return [event[1] for event in ears.events if event[0] == "ended"]


# ------------------------------------------------------------------------- placement


@pytest_twisted.ensureDeferred
async def test_workers_are_filled_one_after_the_other(make: Make) -> None:
    """This build of pjsua2 holds four calls; nobody wrote that number down, it was found."""
    world = await make()
    assert world.pool.capacity == 4
    assert world.pool.ready
    legs = await reserve(world, "a", "b", "c", "d", "e")
    await until(lambda: world.pool.counts()["workers_spare"] == 1)

    assert [leg.worker.number for leg in legs[:4]] == [legs[0].worker.number] * 4
    assert legs[4].worker is not legs[0].worker
    counts = world.pool.counts()
    assert (counts["legs"], counts["slots_used"], counts["workers"]) == (5, 5, 3)
    assert sorted(world.pool.pids().values()) == [0, 1, 4]
    assert len({leg.sip_port for leg in legs}) == 2


@pytest_twisted.ensureDeferred
async def test_a_slot_is_free_again_a_moment_after_its_leg(make: Make) -> None:
    world = await make(max_legs=4)
    legs = await reserve(world, "a", "b", "c", "d")
    with pytest.raises(NoCapacity):
        await world.pool.reserve(b"e")
    world.pool.release(legs[1])
    world.pool.release(legs[1])
    assert world.pool.legs == 3
    assert world.pool.counts()["slots_used"] == 4
    await pause(0.1)
    assert world.pool.counts()["slots_used"] == 3
    again = await world.pool.reserve(b"e")

    assert again.worker is legs[0].worker
    assert world.pool.counts()["slots_used"] == 4


@pytest_twisted.ensureDeferred
async def test_reserve_waits_for_a_worker_that_is_being_started(make: Make) -> None:
    world = await make(spare_workers=1, max_legs=8)
    await reserve(world, *"abcd")
    assert world.pool.counts()["slots"] == 4, "the second worker is not ready yet"

    (leg,) = await reserve(world, "e")

    assert leg.worker.ready


@pytest_twisted.ensureDeferred
async def test_reserve_gives_up_after_the_wait(make: Make) -> None:
    world = await make(spare_workers=1, max_legs=8)
    await reserve(world, *"abcd")
    with pytest.raises(NoCapacity):
        await world.pool.reserve(b"e", wait=0)


@pytest_twisted.ensureDeferred
async def test_no_more_legs_than_allowed(make: Make) -> None:
    world = await make(max_legs=2)
    await reserve(world, "a", "b")
    begin = REACTOR.seconds()
    with pytest.raises(NoCapacity):
        await world.pool.reserve(b"c")

    assert REACTOR.seconds() - begin < 0.1


@pytest_twisted.ensureDeferred
async def test_no_more_workers_than_ports(make: Make) -> None:
    world = await make(max_legs=100, rtp_ports=(38000, 38063))

    assert world.pool.max_workers == 2
    legs = await reserve(world, *"abcdefgh")
    with pytest.raises(NoCapacity):
        await world.pool.reserve(b"i", wait=0.3)
    assert len({leg.worker.slice_number for leg in legs}) == 2


# ------------------------------------------------------------------------- near and kept slots


async def spread(world: World, count: int) -> list[MediaLeg]:
    """Legs in workers of their own, that keep no slots any more."""
    legs = [await world.pool.reserve(b"spread%d" % number, keep=3) for number in range(count)]
    for leg in legs:
        world.pool.unkeep(leg)
    assert len({leg.worker for leg in legs}) == count
    return legs


@pytest_twisted.ensureDeferred
async def test_a_leg_near_another_gets_a_slot_in_its_worker(make: Make) -> None:
    world = await make(max_legs=12)
    one, two = await spread(world, 2)
    near = [await world.pool.reserve(b"near%d" % number, near=two) for number in range(3)]
    elsewhere = await world.pool.reserve(b"elsewhere", near=two)

    assert {leg.worker for leg in near} == {two.worker}
    assert elsewhere.worker is one.worker


@pytest_twisted.ensureDeferred
async def test_near_a_leg_that_ended_is_anywhere(make: Make) -> None:
    world = await make(max_legs=12)
    one, two = await spread(world, 2)
    await reserve(world, "a")
    world.pool.release(two)
    await pause(0.1)

    assert (await world.pool.reserve(b"b", near=two)).worker is one.worker


@pytest_twisted.ensureDeferred
async def test_kept_slots_are_taken_for_others_and_used_by_those_near(make: Make) -> None:
    world = await make(max_legs=12)
    caller = await world.pool.reserve(b"caller", keep=2)
    others = await reserve(world, "a", "b")
    assert world.pool.counts()["slots_kept"] == 2
    assert world.pool.legs == 3, "kept slots are not legs"
    callee = await world.pool.reserve(b"callee", near=caller)
    assert world.pool.counts()["slots_kept"] == 1
    second = await world.pool.reserve(b"second", near=caller)
    assert world.pool.counts()["slots_kept"] == 0

    assert [leg.worker is caller.worker for leg in others] == [True, False]
    assert callee.worker is second.worker is caller.worker


@pytest_twisted.ensureDeferred
async def test_a_call_that_keeps_slots_goes_where_they_are_free(make: Make) -> None:
    world = await make(max_legs=12)
    legs = await reserve(world, "a", "b", "c")
    caller = await world.pool.reserve(b"caller", keep=1)
    last = await world.pool.reserve(b"d")

    assert caller.worker is not legs[0].worker
    assert last.worker is legs[0].worker


@pytest.mark.parametrize("how", ["unkeep", "end"])
@pytest_twisted.ensureDeferred
async def test_kept_slots_are_free_again_when_nobody_needs_them(make: Make, how: str) -> None:
    world = await make(max_legs=12)
    caller = await world.pool.reserve(b"caller", keep=3)
    if how == "unkeep":
        world.pool.unkeep(caller)
        world.pool.unkeep(caller)
    else:
        world.pool.release(caller)
    assert world.pool.counts()["slots_kept"] == 0
    legs = await reserve(world, "a", "b", "c")

    assert {leg.worker for leg in legs} == {caller.worker}


@pytest_twisted.ensureDeferred
async def test_kept_slots_are_given_away_rather_than_refusing_a_call(make: Make) -> None:
    world = await make(max_legs=8, rtp_ports=(38000, 38063))
    assert world.pool.max_workers == 2
    callers = [await world.pool.reserve(b"caller%d" % number, keep=3) for number in range(2)]
    assert world.pool.counts()["slots_kept"] == 6
    begin = REACTOR.seconds()
    legs = [await world.pool.reserve(b"leg%d" % number) for number in range(5)]
    callee = await world.pool.reserve(b"callee", near=callers[1])

    assert REACTOR.seconds() - begin < 0.1, "nothing better can come"
    assert [leg.worker for leg in legs[:3]] == [callers[0].worker] * 3
    assert callee.worker is callers[1].worker
    assert world.pool.counts()["slots_kept"] == 0
    with pytest.raises(NoCapacity):
        await world.pool.reserve(b"more")


@pytest_twisted.ensureDeferred
async def test_a_call_is_not_refused_when_slots_cannot_be_kept(make: Make) -> None:
    world = await make(max_legs=8, rtp_ports=(38000, 38063))
    await reserve(world, *"abcdef")
    callers = [await world.pool.reserve(b"caller%d" % number, keep=3) for number in range(2)]

    assert {leg.worker.held for leg in callers} == {4}
    with pytest.raises(NoCapacity):
        await world.pool.reserve(b"more")


@pytest_twisted.ensureDeferred
async def test_another_worker_is_started_rather_than_kept_slots_given_away(make: Make) -> None:
    world = await make(max_legs=12, spare_workers=1)
    caller = await world.pool.reserve(b"caller", keep=3)
    other = await world.pool.reserve(b"other", keep=3)

    assert other.worker is not caller.worker
    assert world.pool.counts()["slots_kept"] == 6


@pytest_twisted.ensureDeferred
async def test_a_worker_with_kept_slots_is_retired_when_it_is_empty(make: Make) -> None:
    world = await make(idle_seconds=0.3, max_legs=12, spare_workers=1)
    caller = await world.pool.reserve(b"caller", keep=3)
    await until(lambda: world.pool.counts()["workers"] == 2)
    world.pool.release(caller)
    await until(lambda: world.pool.counts()["workers"] == 1)

    assert caller.worker.pid not in world.pool.pids()
    assert world.pool.deaths == 0


@pytest_twisted.ensureDeferred
async def test_a_worker_that_served_its_time_still_has_the_slots_it_keeps(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "MAX_RECYCLE_LEGS", 1)
    world = await make(max_legs=12)
    caller = await world.pool.reserve(b"caller", keep=1)
    callee = await world.pool.reserve(b"callee", near=caller)
    other = await world.pool.reserve(b"other", near=caller)

    assert callee.worker is caller.worker
    assert other.worker is not caller.worker


# ------------------------------------------------------------------------- deaths


@pytest_twisted.ensureDeferred
async def test_a_killed_worker_takes_its_own_legs_and_is_replaced(make: Make) -> None:
    world = await make()
    legs = await reserve(world, *"abcde")
    victim, other = legs[0].worker, legs[4].worker
    os.kill(victim.pid, signal.SIGKILL)
    await until(lambda: ends(legs[0]))
    await until(lambda: world.pool.counts()["workers_spare"] == 1)

    assert [len(ends(leg)) for leg in legs] == [1, 1, 1, 1, 0]
    report = ends(legs[0])[0]
    assert (report.lost, report.cause, report.code) == (True, "media-failure", 500)
    assert all(leg.ended for leg in legs[:4])
    assert world.pool.deaths == 1
    assert world.pool.legs == 1
    assert victim.pid not in world.pool.pids()
    assert other.pid in world.pool.pids()
    await until(lambda: not alive(victim.pid))
    new = await reserve(world, *"fgh")
    assert all(leg.worker is other for leg in new)
    legs[0].hangup()
    legs[0].play("p", [], 1)


@pytest_twisted.ensureDeferred
async def test_a_call_ends_when_its_worker_is_killed_while_others_talk_on(make: Make) -> None:
    world = await make()
    calls = [await world.dialog() for _ in range(2)]
    for call in calls:
        await call.up()
    extra = await reserve(world, *"cd")
    far = await world.dialog()
    await far.up()
    os.kill(calls[0].leg.worker.pid, signal.SIGKILL)
    for call in calls:
        await call.ears.wait("ended")
    count = len(far.rtp.packets)
    await until(lambda: len(far.rtp.packets) > count + 10)

    assert "ended" not in far.ears.names()
    assert all(ends(leg) for leg in extra)


@pytest_twisted.ensureDeferred
async def test_a_worker_that_hangs_is_killed(make: Make) -> None:
    world = await make()
    (leg,) = await reserve(world, "a")
    pid = leg.worker.pid
    os.kill(pid, signal.SIGSTOP)
    await until(lambda: ends(leg))
    await until(lambda: not alive(pid))
    await until(lambda: world.pool.ready)

    assert ends(leg)[0].lost
    assert world.pool.deaths == 1


@pytest_twisted.ensureDeferred
async def test_a_worker_that_answers_is_left_alone(make: Make) -> None:
    world = await make()
    (leg,) = await reserve(world, "a")
    await pause(1.2)

    assert not leg.ended
    assert leg.worker.misses <= 1


@pytest_twisted.ensureDeferred
async def test_without_its_zygote_a_pool_goes_on_and_gets_another(make: Make) -> None:
    world = await make()
    (leg,) = await reserve(world, "a")
    await until(lambda: world.pool.counts()["workers_spare"] == 1)
    zygote = world.pool._spawner.pid
    assert zygote is not None
    os.kill(zygote, signal.SIGKILL)

    def replaced() -> bool:
        process.reapAllProcesses()  # type: ignore[no-untyped-call]
        return world.pool._spawner.pid not in (None, zygote)

    await until(replaced)
    assert not leg.ended
    assert world.pool.deaths == 0
    more = await reserve(world, *"bcdef")
    assert more[-1].worker is not leg.worker
    os.kill(leg.worker.pid, signal.SIGKILL)
    await until(lambda: ends(leg))
    await until(lambda: world.pool.counts()["workers_spare"] >= 1)


@pytest_twisted.ensureDeferred
async def test_used_workers_that_are_idle_are_ended(make: Make) -> None:
    world = await make(idle_seconds=0.3, max_legs=12)
    legs = await reserve(world, *"abcdefghi")
    await until(lambda: world.pool.counts()["workers"] == 4)
    used = {leg.worker.pid for leg in legs}
    for leg in legs:
        world.pool.release(leg)
    await until(lambda: world.pool.counts()["workers"] == 1)
    await until(lambda: not any(alive(pid) for pid in used))

    assert not used & set(world.pool.pids()), "the fresh one is the better reserve"
    assert world.pool.deaths == 0


@pytest_twisted.ensureDeferred
async def test_a_worker_that_served_its_time_is_replaced(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "MAX_RECYCLE_LEGS", 2)
    world = await make()
    legs = await reserve(world, "a", "b", "c")
    assert legs[1].worker is legs[0].worker
    assert legs[2].worker is not legs[0].worker
    old = legs[0].worker.pid
    world.pool.release(legs[0])
    await pause(0.1)
    assert alive(old)
    world.pool.release(legs[1])
    await until(lambda: not alive(old))

    assert world.pool.deaths == 0


# ------------------------------------------------------------------------- ends


@pytest_twisted.ensureDeferred
async def test_a_pool_that_stops_says_bye_and_leaves_nothing(make: Make) -> None:
    world = await make()
    call = await world.dialog()
    await call.up()
    await reserve(world, "b")
    pids, zygote = list(world.pool.pids()), world.pool._spawner.pid
    stopping = Deferred.fromCoroutine(world.pool.stop())
    bye = await call.asked("BYE")
    call.reply(bye, 200)
    await stopping
    await until(lambda: not any(alive(pid) for pid in [*pids, zygote or 0]))

    assert bye.headers["Reason"] == 'SIP;cause=480;text="engine stopped"'
    with pytest.raises(NoCapacity):
        await world.pool.reserve(b"c")


async def alone(world: World) -> tuple[WorkerLink, Any, int]:
    """A worker that the test itself speaks with; the link, its events and its process id."""

    class Events(Ears):
        started: tuple[int, int] | None = None

        def ready(self, pid: int, sip_port: int) -> None:
            self.started = (pid, sip_port)

        def incoming(self, key: bytes) -> None:
            self.leg_incoming()

        def media(self, key: bytes, codec: str, held: bool, early: bool) -> None:
            self.leg_media(codec, held)

        def ended(self, key: bytes, report: EndReport) -> None:
            self.leg_ended(report)

        def progress(self, *values: Any) -> None:
            pass

    events = Events()
    link = WorkerLink(lambda: events.events.append(("lost",)), events)  # type: ignore[arg-type]
    config = protocol.WorkerConfig(
        edge_port=world.edge.port,
        rtp_address="127.0.0.1",
        public_address="",
        rtp_low=39000,
        rtp_count=64,
        codecs=["PCMU"],
        vad=False,
        inband_digits=False,
        capacity=4,
    )
    control = world.pool._spawner.spawn(9999, config)
    with control:
        REACTOR.adoptStreamConnection(control.fileno(), control.family, link.as_factory())
    await until(lambda: events.started)
    assert events.started is not None
    return link, events, events.started[0]


class FakeLeg:
    """As much of a MediaLeg as a dialog needs."""

    def __init__(self, port: int) -> None:
        self.sip_port = port
        self.key = b"solo"
        self.ended = True


async def talking(world: World, link: WorkerLink, events: Any) -> Dialog:
    call = Dialog(world.edge, Rtp(), "solo@test", FakeLeg(events.started[1]), events)  # type: ignore[arg-type]
    await call.ring()
    link.tell(protocol.Answer, key=b"solo", code=200, phrase="", headers=[], farewell=None)
    call.learn(await call.response(200))
    call.request("ACK")
    await events.wait("media")
    return call


@pytest.mark.parametrize("how", ["closed", "quit"])
@pytest.mark.parametrize("busy", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_worker_ends_when_it_is_told_or_left_alone(make: Make, how: str, busy: bool) -> None:
    world = await make()
    link, events, pid = await alone(world)
    call = await talking(world, link, events) if busy else None
    if how == "closed":
        link.transport.abortConnection()  # type: ignore[union-attr]
    else:
        link.tell(protocol.Quit)
    if call is not None:
        bye = await call.asked("BYE")
        call.reply(bye, 200)
        await call.rtp.close()

    await until(lambda: not alive(pid), 2)
    await until(lambda: ("lost",) in events.events)


@pytest_twisted.ensureDeferred
async def test_a_worker_whose_engine_died_says_bye_to_the_phone_itself(make: Make) -> None:
    world = await make()
    link, events, pid = await alone(world)
    call = await talking(world, link, events)
    phone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    phone.bind(("127.0.0.1", 0))
    phone.setblocking(False)
    farewell = ["127.0.0.1", phone.getsockname()[1], "BYE sip:alice SIP/2.0\r\n\r\n"]
    link.tell(protocol.Farewell, key=b"solo", farewell=farewell)
    await link.ping()
    link.transport.abortConnection()  # type: ignore[union-attr]
    await until(lambda: not alive(pid), 2)

    assert phone.recv(2000) == b"BYE sip:alice SIP/2.0\r\n\r\n"
    phone.close()
    await call.rtp.close()


# ------------------------------------------------------------------------- pace


@pytest.mark.timeout(60)
@pytest_twisted.ensureDeferred
async def test_a_burst_of_calls_is_spread_so_that_no_worker_aborts(make: Make) -> None:
    """pjsip reuses a closed socket only after 500 ms: the 32nd call in that time would abort a worker."""
    world = await make(max_legs=8)
    begin = REACTOR.seconds()
    starts: dict[int, list[float]] = {}

    async def one(number: int) -> int:
        while True:
            try:
                call = await world.dialog(f"burst{number}")
                break
            except NoCapacity:
                await pause(0.02)
        starts.setdefault(call.leg.worker.pid, []).append(REACTOR.seconds())
        call.request("INVITE", ("X-Engine-Leg", f"burst{number}"), body=call.sdp())
        await call.ears.wait("incoming")
        call.leg.answer(486)
        found = await call.next()
        while found.code < 200:
            found = await call.next()
        assert isinstance(found, Response)
        call.remote = found.headers["To"]
        call.request("ACK", refused=True)
        await call.ears.wait("ended")
        return int(found.code)

    works = [Deferred.fromCoroutine(one(number)) for number in range(33)]
    codes = [await work for work in works]

    assert codes == [486] * 33
    assert world.pool.deaths == 0
    for times in starts.values():
        for at in times:
            assert sum(at <= other < at + 0.49 for other in times) <= 10
    assert REACTOR.seconds() - begin < 10


def test_a_worker_gets_no_more_starts_than_its_rate() -> None:
    placement = Placement(10, 3)
    worker = Worker(1, 0)
    assert placement.choose([worker], 0.0) is None, "it is not ready"
    worker.ready = True
    for _ in range(3):
        assert placement.choose([worker], 1.0) is worker
        worker.starts.append(1.0)
    assert placement.choose([worker], 1.4) is None

    assert placement.choose([worker], 1.6) is worker


# ------------------------------------------------------------------------- events


def test_what_a_worker_tells_reaches_the_listener_of_the_leg() -> None:
    told: list[tuple[Any, ...]] = []

    class Listener:
        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *values: told.append((name, *values))

    class Counts:
        def link_closed(self, lost: int, concealed: int) -> None:
            told.append(("link_closed", lost, concealed))

    pool: Any = Counts()
    worker = Worker(1, 0)
    leg = worker.legs[b"a"] = MediaLeg(pool, worker, b"a")
    leg.listener = Listener()  # type: ignore[assignment]
    events = Events(pool, worker)
    for key in (b"a", b"unknown"):
        events.reinvited(key, True, 200)
        events.referred(key, 202, 180, False)
        events.digit(key, "1", "info")
    events.link_closed(b"b1", 100, 2, 3)

    assert told == [
        ("leg_reinvited", True, 200),
        ("leg_referred", 202, 180, False),
        ("leg_digit", "1", "info"),
        ("link_closed", 2, 3),
    ]


# ------------------------------------------------------------------------- the zygote


@pytest_twisted.ensureDeferred
async def test_a_zygote_that_cannot_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("media.spawner.sys.executable", "/bin/false")
    spawner = Spawner(REACTOR, World())  # type: ignore[arg-type]
    started = Deferred.fromCoroutine(spawner.start())

    def over() -> bool:
        process.reapAllProcesses()  # type: ignore[no-untyped-call]
        return started.called

    await until(over)

    with pytest.raises(RuntimeError, match="ended before it was ready"):
        await started
    with pytest.raises(OSError, match="not running"):
        spawner.spawn(1, None)  # type: ignore[arg-type]
