"""Bridges: what workers and the mixer are told (with fakes), and who hears whom (with real ones)."""

from __future__ import annotations

import os
import signal
import wave
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import process
from twisted.internet.task import Clock
from workerkit import Dialog, Rtp, Samples, World, until, write_wav

from media.audio import repair_wav_header
from media.bridge import Bridge
from media.bridges import Bridges
from media.legs import MediaLeg, RecordingReport
from media.tones import sine
from media.topology import mixer_end

pytestmark = pytest.mark.loopback
RATE = 8000


class Listener:
    """What a bridge tells."""

    def __init__(self) -> None:
        self.reports: list[RecordingReport] = []

    def bridge_recorded(self, report: RecordingReport) -> None:
        self.reports.append(report)


# ------------------------------------------------------------------------- with fakes


class FakeLink:
    """Keeps what is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []

    def tell(self, command: Any, /, **arguments: Any) -> None:
        self.told.append((command.__name__, arguments))

    def take(self) -> list[tuple[str, dict[str, Any]]]:
        told, self.told = self.told, []
        return told


class FakeWorker:
    """A worker with a fake link."""

    def __init__(self) -> None:
        self.sip_port = self.pid = 1
        self.link: Any = FakeLink()
        self.legs: dict[bytes, MediaLeg] = {}
        self.rooms: dict[bytes, tuple[list[Any], Any]] = {}

    def read(self) -> list[str]:
        """Take in what was told; the names of the commands."""
        told = self.link.take()
        for name, values in told:
            if name == "SetRoom":
                state = (values["members"], values["link"])
                self.rooms[values["room"]] = state
                if state == ([], None):
                    del self.rooms[values["room"]]
        return [name for name, _ in told]


class FakeMixer(FakeLink):
    """As much of a MixerHandle as bridges need."""

    running = False
    available = True
    rooms: dict[bytes, tuple[str, list[str]]]

    def __init__(self) -> None:
        super().__init__()
        self.rooms = {}

    def need(self) -> bool:
        self.running = self.available
        return self.available

    def read(self) -> list[str]:
        told = self.take()
        for name, values in told:
            if name == "SetMix":
                self.rooms[values["room"]] = (values["path"], values["peers"])
                if not values["peers"]:
                    del self.rooms[values["room"]]
        return [name for name, _ in told]

    def stop(self) -> None:
        self.running = False

    def kill(self) -> None:
        self.running = False


class Desk:
    """Bridges on a hand-turned clock, with fake workers and legs."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.bridges = Bridges(self.clock, lambda: (1, None))  # type: ignore[arg-type, return-value]
        self.mixer: Any = FakeMixer()
        self.bridges.mixer = self.mixer
        self.workers = [FakeWorker() for _ in range(5)]
        self.count = 0
        self.listener = Listener()

    def leg(self, worker: int) -> MediaLeg:
        self.count += 1
        return MediaLeg(self, self.workers[worker], b"leg%d" % self.count)  # type: ignore[arg-type]

    def bridge(self) -> Bridge:
        return self.bridges.new(self.listener)

    def turn(self) -> list[list[str]]:
        """End the turn of the reactor; what each worker was told."""
        self.clock.advance(0)
        return [worker.read() for worker in self.workers]

    def die(self, worker: int) -> None:
        """A worker dies, and with it its legs."""
        self.workers[worker].link = None


@pytest.fixture
def desk() -> Any:
    made = Desk()
    yield made
    made.bridges.remove_folder()


def test_members_in_one_worker_are_told_once(desk: Desk) -> None:
    bridge = desk.bridge()
    one, two = desk.leg(0), desk.leg(0)
    bridge.set(one)
    bridge.set(two, speak=False)
    assert one.bridge is bridge
    assert desk.workers[0].read() == []

    assert desk.turn()[0] == ["SetRoom"]
    assert list(desk.workers[0].rooms.values()) == [
        ([["leg1", True, True], ["leg2", False, True]], None),
    ]
    assert desk.bridges.counts()["bridges"] == 1


def test_what_did_not_change_is_not_told_again(desk: Desk) -> None:
    bridge = desk.bridge()
    one, two = desk.leg(0), desk.leg(1)
    bridge.set(one)
    bridge.set(two)
    desk.turn()
    bridge.set(one)
    bridge.set(two, hear=False)
    bridge.set(two)
    assert desk.turn() == [[]] * 5
    bridge.set(two, hear=False)

    assert desk.turn() == [[], ["SetRoom"], [], [], []]


def test_two_workers_link_and_a_third_brings_the_mixer(desk: Desk) -> None:
    bridge = desk.bridge()
    for worker in (0, 1):
        bridge.set(desk.leg(worker))
    desk.turn()
    ends = [next(iter(worker.rooms.values()))[1] for worker in desk.workers[:2]]
    assert ends[0] == ends[1][::-1]
    assert desk.bridges.counts()["links"] == 2
    assert not desk.mixer.running
    bridge.set(desk.leg(2))
    assert desk.turn()[:3] == [["SetRoom"]] * 3
    assert desk.mixer.read() == ["SetMix"]

    (path, peers) = next(iter(desk.mixer.rooms.values()))
    ends = [next(iter(worker.rooms.values()))[1] for worker in desk.workers[:3]]
    assert sorted(end[0] for end in ends) == sorted(peers)
    assert all(end[1] == mixer_end(path, end[0]) for end in ends)
    assert desk.bridges.counts()["links"] == 3


def test_the_last_in_a_worker_ends_its_room(desk: Desk) -> None:
    bridge = desk.bridge()
    legs = [desk.leg(worker) for worker in (0, 1, 2)]
    for leg in legs:
        bridge.set(leg)
    desk.turn()
    bridge.remove(legs[2])
    bridge.remove(legs[2])
    desk.turn()
    assert legs[2].bridge is None
    assert desk.workers[2].rooms == {}
    desk.mixer.read()
    assert desk.mixer.rooms == {}
    bridge.remove(legs[1])
    desk.turn()

    assert next(iter(desk.workers[0].rooms.values())) == ([["leg1", True, True]], None)
    assert desk.workers[1].rooms == {}


def test_a_link_that_comes_back_has_other_names(desk: Desk) -> None:
    """The old socket may be closed a moment later."""
    bridge = desk.bridge()
    one, two = desk.leg(0), desk.leg(1)
    seen = []
    for _ in range(3):
        bridge.set(one)
        bridge.set(two)
        desk.turn()
        seen.append(next(iter(desk.workers[0].rooms.values()))[1][0])
        bridge.remove(two)
        desk.turn()

    assert len(set(seen)) == 3


def test_a_leg_moves_to_another_bridge_in_the_right_order(desk: Desk) -> None:
    first, second = desk.bridge(), desk.bridge()
    leg = desk.leg(0)
    second.set(desk.leg(0))
    first.set(leg)
    desk.turn()
    second.set(desk.leg(0))  # it will be flushed before the first
    second.set(leg)
    desk.clock.advance(0)
    told = [(values["room"], len(values["members"])) for _, values in desk.workers[0].link.take()]

    assert told == [(b"b1", 0), (b"b2", 3)]
    assert leg.bridge is second


def test_a_leg_taken_out_and_put_elsewhere_in_one_turn_moves_in_the_right_order(desk: Desk) -> None:
    first, second = desk.bridge(), desk.bridge()
    leg = desk.leg(0)
    first.set(leg)
    desk.turn()
    second.set(desk.leg(0))
    first.remove(leg)
    second.set(leg)
    desk.clock.advance(0)
    told = [(values["room"], len(values["members"])) for _, values in desk.workers[0].link.take()]

    assert told == [(b"b1", 0), (b"b2", 2)]


def test_a_leg_that_ended_is_not_taken(desk: Desk) -> None:
    bridge = desk.bridge()
    leg = desk.leg(0)
    leg.ended = True
    bridge.set(leg)

    assert desk.turn() == [[]] * 5


def test_files_are_played_in_every_worker_or_by_the_mixer(desk: Desk) -> None:
    bridge = desk.bridge()
    for worker in (0, 1):
        bridge.set(desk.leg(worker))
    bridge.play(["/a.wav"])
    assert desk.turn()[:2] == [["SetRoom", "PlayRoom"]] * 2
    bridge.set(desk.leg(2))
    bridge.play(["/a.wav"])

    assert [told[-1] for told in desk.turn()[:3]] == ["SetRoom"] * 3
    assert desk.mixer.read() == ["SetMix", "PlayMix"]


def test_a_recording_makes_everybody_link_to_the_mixer(desk: Desk) -> None:
    bridge = desk.bridge()
    bridge.set(desk.leg(0))
    bridge.record("RE1", "/r.wav")
    bridge.pause_recording("RE1", True)
    bridge.pause_recording("RE1", True)
    bridge.record("RE1", "/other.wav")
    assert desk.mixer.read() == ["SetMix", "RecordMix", "PauseMix"]
    desk.turn()
    assert next(iter(desk.workers[0].rooms.values()))[1] is not None
    bridge.stop_recording("RE1")
    bridge.stop_recording("RE1")
    desk.turn()
    assert desk.mixer.read() == ["StopMix", "SetMix"]
    desk.bridges.mix_recorded(b"b1", b"RE1", "/r.wav", 2.0, True)

    assert next(iter(desk.workers[0].rooms.values()))[1] is None
    assert desk.listener.reports == [
        RecordingReport(recording="RE1", path="/r.wav", seconds=2.0, end="stopped", digit="", heard=True)
    ]


def test_a_recording_goes_on_while_nobody_is_there(desk: Desk) -> None:
    bridge = desk.bridge()
    leg = desk.leg(0)
    bridge.set(leg)
    bridge.record("RE1", "/r.wav")
    bridge.remove(leg)
    desk.turn()
    desk.mixer.read()

    assert len(desk.mixer.rooms[b"b1"][1]) == 1


def test_a_closed_bridge_lets_all_go_and_reports_its_recordings(desk: Desk) -> None:
    bridge = desk.bridge()
    leg = desk.leg(0)
    bridge.set(leg)
    bridge.record("RE1", "/r.wav")
    desk.turn()
    bridge.close()
    bridge.close()
    desk.turn()
    desk.mixer.read()
    assert leg.bridge is None
    assert desk.workers[0].rooms == desk.mixer.rooms == {}
    desk.bridges.mix_recorded(b"b1", b"RE1", "/r.wav", 2.0, True)
    desk.turn()
    bridge.set(leg)
    bridge.record("RE2", "/r.wav")
    desk.turn()

    assert [report.recording for report in desk.listener.reports] == ["RE1"]
    assert desk.bridges.counts()["bridges"] == 0
    assert desk.bridges._bridges == {}
    assert leg.bridge is None


def test_a_recording_that_cannot_be_written_is_reported_as_failed(desk: Desk) -> None:
    desk.bridge().record("RE1", "/none/r.wav")
    desk.bridges.mix_failed(b"RE1", "RecordMix", "no such folder")
    desk.bridges.mix_recorded(b"b1", b"RE1", "/none/r.wav", 0.0, False)

    assert [report.end for report in desk.listener.reports] == ["failed"]


def test_when_a_worker_dies_the_others_go_on(desk: Desk) -> None:
    bridge = desk.bridge()
    legs = [desk.leg(worker) for worker in (0, 1)]
    for leg in legs:
        bridge.set(leg)
    desk.turn()
    path = next(iter(desk.workers[1].rooms.values()))[1][0]
    Path(path).write_bytes(b"")
    desk.workers[1].link = None
    bridge.remove(legs[1])
    desk.clock.advance(0)
    desk.workers[0].read()

    assert next(iter(desk.workers[0].rooms.values())) == ([["leg1", True, True]], None)
    assert not os.path.exists(path), "nobody else removes what a dead worker leaves"


def test_when_the_mixer_dies_links_are_made_anew(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "r.wav"
    path.write_bytes(bytes(44 + 32000))
    bridge = desk.bridge()
    for worker in (0, 1, 2):
        bridge.set(desk.leg(worker))
    bridge.record("RE1", str(path))
    desk.turn()
    desk.mixer.read()
    before = desk.mixer.rooms.pop(b"b1")
    desk.bridges.mixer_lost()

    assert desk.turn()[:3] == [["SetRoom"]] * 3
    assert desk.mixer.read() == ["SetMix"]
    assert not set(before[1]) & set(desk.mixer.rooms[b"b1"][1])
    assert [(r.end, r.seconds, r.heard) for r in desk.listener.reports] == [("failed", 2.0, True)]


def test_when_the_mixer_dies_with_a_recording_only_two_workers_link_directly(desk: Desk) -> None:
    bridge = desk.bridge()
    for worker in (0, 1):
        bridge.set(desk.leg(worker))
    bridge.record("RE1", "/none/r.wav")
    desk.turn()
    desk.bridges.mixer_lost()
    desk.turn()
    ends = [next(iter(worker.rooms.values()))[1] for worker in desk.workers[:2]]

    assert ends[0] == ends[1][::-1]


def test_a_recording_begins_when_there_is_a_mixer_again(desk: Desk) -> None:
    desk.mixer.available = False
    bridge = desk.bridge()
    bridge.set(desk.leg(0))
    bridge.record("RE1", "/r.wav")
    bridge.record("RE2", "/r2.wav")
    bridge.stop_recording("RE2")
    desk.turn()
    assert desk.mixer.read() == []
    desk.mixer.available = True
    desk.bridges.mixer_started()

    assert desk.turn()[0] == ["SetRoom"]
    assert desk.mixer.read() == ["SetMix", "RecordMix"]
    assert [(r.recording, r.end) for r in desk.listener.reports] == [("RE2", "failed")]


def test_a_listener_that_fails_does_not_stop_others(desk: Desk) -> None:
    class Broken:
        def bridge_recorded(self, report: RecordingReport) -> None:
            raise ValueError

    desk.bridges.new(Broken()).record("RE1", "/r.wav")
    desk.bridge().record("RE2", "/r.wav")
    desk.bridges.mixer_lost()

    assert [report.recording for report in desk.listener.reports] == ["RE2"]


def test_all_is_closed_when_the_pool_stops(desk: Desk) -> None:
    bridge = desk.bridge()
    for worker in (0, 1, 2):
        bridge.set(desk.leg(worker))
    desk.turn()
    folder = desk.bridges.folder
    assert os.stat(folder).st_mode & 0o777 == 0o700
    desk.bridges.stop()
    desk.bridges.remove_folder()

    assert all(worker.read()[-1] == "SetRoom" and worker.rooms == {} for worker in desk.workers[:3])
    assert not os.path.exists(folder)
    assert desk.clock.getDelayedCalls() == []


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 9), st.integers(0, 1), st.booleans(), st.booleans()),
        st.tuples(st.just("remove"), st.integers(0, 9), st.integers(0, 1)),
        st.tuples(st.just("record"), st.integers(0, 1)),
        st.tuples(st.just("stop"), st.integers(0, 1)),
        st.tuples(st.just("turn")),
        st.tuples(st.just("mixer")),
    ),
    max_size=30,
)


@given(STEPS)
def test_in_whatever_order_workers_and_mixer_know_in_the_end_what_is_wanted(steps: list[Any]) -> None:
    desk = Desk()
    pair = [desk.bridge(), desk.bridge()]
    legs = [desk.leg(number % 5) for number in range(10)]
    wanted: dict[int, tuple[int, bool, bool]] = {}
    for name, *values in steps:
        if name == "set":
            number, where, speak, hear = values
            pair[where].set(legs[number], speak=speak, hear=hear)
            wanted[number] = (where, speak, hear)
        elif name == "remove":
            number, where = values
            pair[where].remove(legs[number])
            if wanted.get(number, (None,))[0] == where:
                del wanted[number]
        elif name == "record":
            pair[values[0]].record(f"RE{values[0]}", "/r.wav")
        elif name == "stop":
            pair[values[0]].stop_recording(f"RE{values[0]}")
        elif name == "turn":
            desk.turn()
        else:
            desk.mixer.take()
            desk.mixer.rooms.clear()
            desk.bridges.mixer_lost()
    desk.turn()
    desk.mixer.read()

    for place, worker in enumerate(desk.workers):
        for where in (0, 1):
            room = worker.rooms.get(b"b%d" % (where + 1))
            expected = {
                (f"leg{number + 1}", speak, hear)
                for number, (at, speak, hear) in wanted.items()
                if at == where and number % 5 == place
            }
            assert {tuple(member) for member in (room[0] if room else [])} == expected
    for where in (0, 1):
        links = [room[1] for w in desk.workers if (room := w.rooms.get(b"b%d" % (where + 1))) and room[1]]
        mix = desk.mixer.rooms.get(b"b%d" % (where + 1))
        if mix is None:
            assert dict(links) == {peer: end for end, peer in links}
        else:
            assert links == [] or sorted(end for end, _ in links) == sorted(mix[1])
            assert all(peer == mixer_end(mix[0], end) for end, peer in links)
    desk.bridges.remove_folder()


# ------------------------------------------------------------------------- with real workers

TONES = (400, 700, 1000, 1300)


class Party:
    """A phone in its own worker, that says its tone all the time."""

    def __init__(self, dialog: Dialog, frequency: int) -> None:
        self.dialog = dialog
        self.leg = dialog.leg
        self.frequency = frequency
        dialog.rtp.say(sine(frequency, 30))

    def heard(self) -> Samples:
        """The last 0.3 seconds."""
        return self.dialog.rtp.heard()[-2400:]

    def hears(self) -> set[int]:
        """Which of the tones."""
        samples = self.heard()
        turns = np.arange(len(samples)) / RATE
        loud = set()
        for frequency in TONES:
            part = np.dot(samples.astype(np.float64), np.exp(-2j * np.pi * frequency * turns))
            if 2 * abs(part) / max(1, len(samples)) > 500:
                loud.add(frequency)
        return loud


class Meeting:
    """A pool, and a bridge of phones in several workers."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.pool = world.pool
        self.listener = Listener()
        self.bridge = self.pool.new_bridge(self.listener)
        self.parties: list[Party] = []

    async def join(self, *, keep: int = 3) -> Party:
        """One more phone; in a worker of its own, since all other slots there are kept for it."""
        number = len(self.parties)
        leg = await self.pool.reserve(b"leg%d" % number, keep=keep)
        dialog = Dialog(self.world.edge, Rtp(), f"meeting-{number}@test", leg)
        leg.listener = dialog.ears
        self.world.dialogs.append(dialog)
        self.bridge.set(leg)
        await dialog.up()
        self.parties.append(Party(dialog, TONES[number]))
        return self.parties[-1]

    async def all_hear(self, *frequencies: int, seconds: float = 4.0) -> None:
        """Wait until everybody hears these, and not itself."""

        def heard() -> bool:
            return all(p.hears() == set(frequencies) - {p.frequency} for p in self.parties)

        try:
            await until(heard, seconds)
        except AssertionError:
            raise AssertionError([sorted(party.hears()) for party in self.parties]) from None


@pytest_twisted.async_yield_fixture
async def meet() -> AsyncIterator[Callable[..., Any]]:
    worlds: list[World] = []

    async def make(count: int, keep: int = 3) -> Meeting:
        worlds.append(World(rtp_ports=(34000, 35999), max_legs=20, spare_workers=2))
        await worlds[-1].pool.start()
        meeting = Meeting(worlds[-1])
        for _ in range(count):
            await meeting.join(keep=keep)
        return meeting

    yield make
    for world in worlds:
        folder = world.pool._bridges._folder
        await world.close()
        assert not folder or not os.path.exists(folder)
        process.reapAllProcesses()  # type: ignore[no-untyped-call]


@pytest_twisted.ensureDeferred
async def test_two_in_one_worker_hear_each_other(meet: Any) -> None:
    meeting = await meet(2, keep=0)
    await meeting.all_hear(400, 700)

    assert meeting.parties[0].leg.worker is meeting.parties[1].leg.worker
    assert meeting.pool.counts()["links"] == 0


@pytest_twisted.ensureDeferred
async def test_two_in_two_workers_hear_each_other(meet: Any) -> None:
    meeting = await meet(2)
    await meeting.all_hear(400, 700)

    assert meeting.parties[0].leg.worker is not meeting.parties[1].leg.worker
    counts = meeting.pool.counts()
    assert (counts["bridges"], counts["links"], counts["mixers"]) == (1, 2, 0)


@pytest_twisted.ensureDeferred
async def test_three_workers_meet_in_the_mixer_and_part_again(meet: Any) -> None:
    meeting = await meet(3)
    await meeting.all_hear(400, 700, 1000)
    counts = meeting.pool.counts()
    assert (counts["links"], counts["mixers"]) == (3, 1)
    last = meeting.parties.pop()
    await last.dialog.hang_up()
    await meeting.all_hear(400, 700)
    assert meeting.pool.counts()["links"] == 2
    meeting.bridge.set(meeting.parties[0].leg, speak=False)
    await until(lambda: not meeting.parties[1].hears())
    assert meeting.parties[0].hears() == {700}
    meeting.bridge.close()
    await meeting.all_hear()


@pytest_twisted.ensureDeferred
async def test_a_bridge_is_recorded_and_goes_back_to_a_direct_link(meet: Any, tmp_path: Path) -> None:
    meeting = await meet(2)
    await meeting.all_hear(400, 700)
    meeting.bridge.record("RE1", str(tmp_path / "r.wav"))
    await until(lambda: (tmp_path / "r.wav").exists() and (tmp_path / "r.wav").stat().st_size > 20000)
    await meeting.all_hear(400, 700)
    meeting.bridge.stop_recording("RE1")
    await until(lambda: meeting.listener.reports)
    await meeting.all_hear(400, 700)

    with wave.open(str(tmp_path / "r.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    report = meeting.listener.reports[0]
    assert (report.end, report.heard) == ("stopped", True)
    assert report.seconds == pytest.approx(len(samples) / RATE)
    middle = samples[len(samples) // 2 :][:2400]
    for frequency in (400, 700):
        turns = np.exp(-2j * np.pi * frequency * np.arange(len(middle)) / RATE)
        assert abs(np.dot(middle.astype(np.float64), turns)) * 2 / len(middle) > 500


@pytest.mark.parametrize("count", [1, 3])
@pytest_twisted.ensureDeferred
async def test_a_bridge_plays_to_everybody(meet: Any, tmp_path: Path, count: int) -> None:
    path = write_wav(tmp_path / "a.wav", sine(1300, 0.6))
    meeting = await meet(count)
    await meeting.all_hear(*TONES[:count])
    meeting.bridge.play([path])
    await meeting.all_hear(*TONES[:count], 1300)
    await meeting.all_hear(*TONES[:count])


@pytest_twisted.ensureDeferred
async def test_a_killed_mixer_is_replaced_within_a_second(meet: Any, tmp_path: Path) -> None:
    meeting = await meet(3)
    meeting.bridge.record("RE1", str(tmp_path / "r.wav"))
    await meeting.all_hear(400, 700, 1000)
    await until(lambda: (tmp_path / "r.wav").stat().st_size > 10000)
    mixer = meeting.pool._bridges.mixer
    await until(lambda: mixer._reactor.seconds() - mixer._born > 1)
    old = mixer.pid
    os.kill(old, signal.SIGKILL)
    await until(lambda: meeting.listener.reports, 1)
    await until(lambda: mixer.pid not in (0, old), 1)
    for party in meeting.parties:
        party.dialog.rtp.packets.clear()
    await meeting.all_hear(400, 700, 1000, seconds=1.0)

    report = meeting.listener.reports[0]
    assert report.end == "failed"
    assert report.seconds > 0.5
    assert repair_wav_header(tmp_path / "r.wav") == pytest.approx(report.seconds)
    assert mixer.deaths == 1
    assert meeting.pool.deaths == 0


@pytest_twisted.ensureDeferred
async def test_a_mixer_that_dies_at_once_is_started_again_a_little_later(meet: Any) -> None:
    meeting = await meet(3)
    mixer = meeting.pool._bridges.mixer
    for _ in range(2):
        old = await until(lambda: mixer.running and mixer.pid)
        os.kill(old, signal.SIGKILL)
        await until(lambda old=old: mixer.pid not in (0, old))
    await meeting.all_hear(400, 700, 1000)

    assert mixer.deaths == 2


@pytest_twisted.ensureDeferred
async def test_a_mixer_that_hangs_is_replaced(meet: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("media.mixer.handle.PING_SECONDS", 0.1)
    meeting = await meet(3)
    mixer = meeting.pool._bridges.mixer
    old = await until(lambda: mixer.pid)
    os.kill(old, signal.SIGSTOP)
    await until(lambda: mixer.pid not in (0, old))
    for party in meeting.parties:
        party.dialog.rtp.packets.clear()

    await meeting.all_hear(400, 700, 1000)


@pytest_twisted.ensureDeferred
async def test_a_killed_worker_takes_its_party_and_the_others_talk_on(meet: Any) -> None:
    meeting = await meet(3)
    await meeting.all_hear(400, 700, 1000)
    victim = meeting.parties.pop()
    os.kill(victim.leg.worker.pid, signal.SIGKILL)
    await until(lambda: "ended" in victim.dialog.ears.names())
    await meeting.all_hear(400, 700)

    assert victim.leg.bridge is None
    assert meeting.pool.counts()["links"] == 2
    sockets = os.listdir(meeting.pool._bridges.folder)
    assert len(sockets) == 2, sockets


@pytest_twisted.ensureDeferred
async def test_a_pool_that_stops_completes_recordings(meet: Any, tmp_path: Path) -> None:
    meeting = await meet(1)
    meeting.bridge.record("RE1", str(tmp_path / "r.wav"))
    await until(lambda: (tmp_path / "r.wav").exists() and (tmp_path / "r.wav").stat().st_size > 5000)
    await meeting.parties[0].dialog.hang_up()
    await meeting.pool.stop()

    assert [report.end for report in meeting.listener.reports] == ["stopped"]
    with wave.open(str(tmp_path / "r.wav")) as file:
        assert file.getnframes() / RATE == pytest.approx(meeting.listener.reports[0].seconds)


@pytest_twisted.ensureDeferred
async def test_frames_are_counted_when_links_close(meet: Any) -> None:
    meeting = await meet(2)
    await meeting.all_hear(400, 700)
    lost: list[int] = []
    monitor = meeting.pool._bridges.link_closed
    meeting.pool._bridges.link_closed = lambda *counts: (lost.append(counts[0]), monitor(*counts))
    meeting.bridge.close()
    await until(lambda: len(lost) == 2)

    assert meeting.pool.counts()["frames_lost"] == sum(lost)
