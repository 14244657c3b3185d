"""The mixer: the sum without oneself, its clock, and a real process driven over its control connection."""

from __future__ import annotations

import os
import socket
import tempfile
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import process, reactor, task
from workerkit import near, pause, until, write_wav

from media import protocol
from media.audio import repair_wav_header
from media.frames import FRAME_BYTES, SILENT, pack, unpack
from media.mixer.handle import MixerLink
from media.mixer.main import CATCH_UP_FRAMES, Metronome
from media.mixer.mixing import mix_minus
from media.mixer.sound import Player, Recorder
from media.spawner import Spawner
from media.tones import sine
from media.topology import mixer_end

pytestmark = pytest.mark.loopback
REACTOR: Any = reactor
Samples = npt.NDArray[np.int16]
RATE = 8000


# ------------------------------------------------------------------------- the sum (pure)

FRAMES = st.lists(st.integers(-32768, 32767), min_size=1, max_size=6)


def flat(value: int) -> bytes:
    return np.full(160, value, "<i2").tobytes()


def value(frame: bytes) -> int:
    return int(np.frombuffer(frame, "<i2")[0])


@given(FRAMES)
def test_everybody_gets_the_sum_of_all_others_within_16_bits(values: list[int]) -> None:
    each, total = mix_minus([flat(item) for item in values], [])

    assert [value(frame) for frame in each] == [
        max(-32768, min(32767, sum(values) - item)) for item in values
    ]
    assert total[0] == max(-32768, min(32767, sum(values)))
    assert all(len(frame) == FRAME_BYTES for frame in each)


def test_what_is_played_is_heard_by_all() -> None:
    each, total = mix_minus([flat(5), SILENT], [np.full(160, 100, np.int16), np.full(160, 10, np.int16)])

    assert ([value(frame) for frame in each], total[0]) == ([110, 115], 115)


def test_silence_stays_silence() -> None:
    each, total = mix_minus([SILENT] * 3, [])

    assert each == [SILENT] * 3
    assert not total.any()
    assert mix_minus([], [])[0] == []


# ------------------------------------------------------------------------- the clock (pure)


def test_one_frame_is_due_every_20_ms() -> None:
    clock = Metronome(10.0)

    assert [clock.due(10.0 + step / 1000) for step in (0, 19, 21, 39, 41, 61)] == [0, 0, 1, 0, 1, 1]


def test_the_clock_does_not_drift_when_it_is_looked_at_late() -> None:
    clock = Metronome(0.0)
    made = sum(clock.due(0.0271 * turn) for turn in range(1, 1001))

    assert abs(made - 27.1 / 0.02) <= 1
    assert clock.skipped == 0


def test_a_long_stall_makes_no_burst() -> None:
    clock = Metronome(0.0)

    assert clock.due(1.0) == CATCH_UP_FRAMES
    assert clock.due(1.0) == 0
    assert clock.due(1.021) == 1
    assert clock.skipped > 40


# ------------------------------------------------------------------------- files


def test_a_file_is_complete_when_its_recorder_is_closed(tmp_path: Path) -> None:
    recorder = Recorder(str(tmp_path / "r.wav"))
    for number in range(60):
        recorder.write(np.full(160, number, np.int16))
    recorder.close()

    with wave.open(str(tmp_path / "r.wav")) as file:
        assert file.getnframes() == 60 * 160
    assert recorder.seconds == pytest.approx(1.2)
    assert not recorder.heard


def test_a_file_whose_recorder_was_killed_can_be_repaired(tmp_path: Path) -> None:
    path = tmp_path / "r.wav"
    recorder = Recorder(str(path))
    for _ in range(60):
        recorder.write(np.full(160, -32768, np.int16))

    assert recorder.heard
    assert repair_wav_header(path) == pytest.approx(1.0, abs=0.001)  # it writes half a second at a time
    with wave.open(str(path)) as file:
        assert file.getnframes() == 8000
    recorder.close()


def test_nothing_is_written_while_a_recording_pauses(tmp_path: Path) -> None:
    recorder = Recorder(str(tmp_path / "r.wav"))
    recorder.write(np.zeros(160, np.int16))
    recorder.paused = True
    recorder.write(np.full(160, 3000, np.int16))
    recorder.close()

    assert (recorder.seconds, recorder.heard) == (pytest.approx(0.02), False)


def test_what_cannot_be_played_is_left_out(tmp_path: Path) -> None:
    good = write_wav(tmp_path / "good.wav", np.full(200, 7, np.int16))
    other = write_wav(tmp_path / "rate.wav", np.full(200, 7, np.int16), rate=16000)
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    player = Player([str(tmp_path / "none.wav"), other, good, str(tmp_path / "bad.wav")])
    frames = []
    while (frame := player.frame()) is not None:
        frames.append(frame)

    assert [int(np.count_nonzero(frame)) for frame in frames] == [160, 40]
    assert [text.partition(":")[0].rpartition("/")[2] for text in player.errors] == [
        "none.wav",
        "rate.wav",
        "bad.wav",
    ]


# ------------------------------------------------------------------------- a real process


class Peer:
    """A worker's end of a link: says a tone, keeps what it hears."""

    def __init__(self, path: str, hub: str) -> None:
        self.path = path
        self.hub = mixer_end(hub, path)
        self.tone: Samples = np.zeros(RATE, np.int16)
        self.heard: list[bytes] = []
        self.sent = 0
        self.missed = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(path)

    def tick(self) -> None:
        start = self.sent * 160 % len(self.tone)
        try:
            self._socket.sendto(pack(self.sent, self.tone[start : start + 160].tobytes()), self.hub)
        except OSError:
            self.missed += 1
        self.sent += 1
        try:
            while True:
                found = unpack(self._socket.recv(2000))
                assert found is not None
                self.heard.append(found[1])
        except BlockingIOError:
            pass

    def samples(self, seconds: float = 0.5) -> Samples:
        """The last that was heard."""
        return np.frombuffer(b"".join(self.heard[-round(seconds * 50) :]), "<i2")

    def close(self) -> None:
        self._socket.close()


class Bench:
    """A mixer and its peers."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.hub = f"{folder}/m"
        self.spawner = Spawner(REACTOR, self)
        self.pid = 0
        self.exits: list[tuple[int, int]] = []
        self.events: list[tuple[Any, ...]] = []
        self.link = MixerLink(lambda: self.events.append(("lost",)), self)
        self.peers: list[Peer] = []
        self._ticker = task.LoopingCall(self._tick)
        self._ticker.clock = REACTOR

    async def start(self) -> None:
        await self.spawner.start()
        control = self.spawner.spawn_mixer(1)
        with control:
            REACTOR.adoptStreamConnection(control.fileno(), control.family, self.link.as_factory())
        await until(lambda: self.pid)
        self._ticker.start(0.02)

    def _tick(self) -> None:
        for peer in self.peers:
            peer.tick()

    def room(self, count: int, *more: str) -> list[Peer]:
        """A room with peers, and paths where nobody is."""
        self.peers = [Peer(f"{self.folder}/p{number}", self.hub) for number in range(count)]
        self.set([*(peer.path for peer in self.peers), *more])
        return self.peers

    def set(self, paths: list[str]) -> None:
        self.link.tell(protocol.SetMix, room=b"r", path=self.hub, peers=paths)

    async def hear(self, frames: int = 50) -> None:
        """Wait until everybody has heard so much."""
        for peer in self.peers:
            peer.heard.clear()
        await until(lambda: all(len(peer.heard) >= frames for peer in self.peers), 8)

    async def recorded(self) -> tuple[Any, ...]:
        found: tuple[Any, ...] = (await until(lambda: [e for e in self.events if e[0] == "recorded"]))[0]
        return found

    async def close(self) -> None:
        self._ticker.stop()
        self.link.tell(protocol.Quit)
        await until(lambda: ("lost",) in self.events)
        self.spawner.stop()
        for peer in self.peers:
            peer.close()
        process.reapAllProcesses()  # type: ignore[no-untyped-call]

    # what the spawner and the link tell

    def worker_started(self, number: int, pid: int) -> None:
        self.pid = pid

    def worker_exited(self, pid: int, status: int) -> None:
        self.exits.append((pid, status))

    def zygote_lost(self) -> None:
        pass

    def mixer_lost(self) -> None:
        pass

    def mixer_started(self) -> None:
        pass

    def mix_recorded(self, room: bytes, recording: bytes, path: str, seconds: float, heard: bool) -> None:
        self.events.append(("recorded", room, recording, path, seconds, heard))

    def mix_failed(self, key: bytes, command: str, error: str) -> None:
        self.events.append(("failed", key, command, error))

    def mix_link_closed(self, lost: int, concealed: int) -> None:
        self.events.append(("closed", lost, concealed))


@pytest_twisted.async_yield_fixture
async def bench() -> AsyncIterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="vt-", dir="/tmp") as folder:
        made = Bench(folder)
        await made.start()
        yield made
        await made.close()


def level(samples: Samples, frequency: float) -> float:
    """Amplitude of one frequency."""
    turns = np.exp(-2j * np.pi * frequency * np.arange(len(samples)) / RATE)
    return float(2 * abs(np.dot(samples.astype(np.float64), turns)) / len(samples))


def tone(frequency: float, amplitude: float = 3000) -> Samples:
    turns = 2 * np.pi * frequency * np.arange(RATE) / RATE
    return (amplitude * np.sin(turns)).astype(np.int16)


@pytest_twisted.ensureDeferred
async def test_everybody_hears_all_others_and_not_itself(bench: Bench) -> None:
    tones = (400, 700, 1000)
    peers = bench.room(3)
    for peer, frequency in zip(peers, tones, strict=True):
        peer.tone = tone(frequency)
    await bench.hear(20)
    await bench.hear(60)

    for peer, own in zip(peers, tones, strict=True):
        heard = peer.samples()
        for frequency in tones:
            if frequency == own:
                assert level(heard, frequency) < 60
            else:
                assert abs(level(heard, frequency) - 3000) < 200


@pytest_twisted.ensureDeferred
async def test_what_is_too_loud_is_clipped(bench: Bench) -> None:
    peers = bench.room(3)
    for peer in peers[:2]:
        peer.tone = np.full(RATE, 30000, np.int16)
    await bench.hear(20)
    await bench.hear(20)

    assert int(peers[2].samples(0.2).max()) == int(peers[2].samples(0.2).min()) == 32767
    assert int(peers[0].samples(0.2).max()) == 30000


@pytest_twisted.ensureDeferred
async def test_a_peer_that_is_missing_disturbs_nobody(bench: Bench) -> None:
    peers = bench.room(2, bench.folder + "/nobody", "/none/at/all")
    peers[0].tone = tone(700)
    await bench.hear(20)
    await bench.hear(50)

    assert near(peers[1].samples(), 700)
    failed = [event for event in bench.events if event[0] == "failed"]
    assert failed == []


@pytest_twisted.ensureDeferred
async def test_a_peer_that_does_not_read_disturbs_nobody(bench: Bench) -> None:
    peers = bench.room(3)
    bench.peers = peers[:2]
    peers[0].tone = tone(700)
    await bench.hear(50)

    assert near(peers[1].samples(), 700)
    peers[2].close()


@pytest_twisted.ensureDeferred
async def test_a_peer_that_left_is_not_heard_and_hears_nothing(bench: Bench) -> None:
    peers = bench.room(3)
    peers[0].tone = tone(700)
    await bench.hear(20)
    bench.set([peer.path for peer in peers[1:]])
    await until(lambda: [event for event in bench.events if event[0] == "closed"])
    count = len(peers[0].heard)
    bench.peers = peers[1:]
    await bench.hear(20)
    peers[0].tick()

    assert not os.path.exists(peers[0].hub)
    assert peers[0].missed >= 1
    assert not peers[1].samples(0.2).any()
    assert len(peers[0].heard) <= count + 1
    peers[0].close()


@pytest_twisted.ensureDeferred
async def test_forty_peers_hear_each_other_without_loss(bench: Bench) -> None:
    """A datagram socket queues 10 datagrams: with one for all of them, most would be lost."""
    peers = bench.room(40)
    peers[7].tone = tone(700)
    await bench.hear(20)
    await bench.hear(60)
    bench.set([])
    await until(lambda: len([event for event in bench.events if event[0] == "closed"]) == 40)

    assert all(near(peer.samples(), 700) for peer in peers if peer is not peers[7])
    assert not peers[7].samples().any()
    assert sum(event[1] for event in bench.events if event[0] == "closed") == 0


@pytest_twisted.ensureDeferred
async def test_the_clock_of_the_mixer_keeps_time(bench: Bench) -> None:
    bench.room(1)
    await bench.hear(5)
    begin, count = REACTOR.seconds(), len(bench.peers[0].heard)
    await pause(1.5)
    seconds = REACTOR.seconds() - begin

    assert abs((len(bench.peers[0].heard) - count) / 50 - seconds) < 0.1


@pytest_twisted.ensureDeferred
async def test_files_are_played_into_a_room_and_its_recordings(bench: Bench, tmp_path: Path) -> None:
    one = write_wav(tmp_path / "one.wav", sine(440, 0.5))
    two = write_wav(tmp_path / "two.wav", sine(1000, 0.5))
    path = str(tmp_path / "r.wav")
    peers = bench.room(2)
    await bench.hear(10)
    bench.link.tell(protocol.RecordMix, room=b"r", recording=b"RE1", path=path)
    bench.link.tell(protocol.PlayMix, room=b"r", paths=[one, str(tmp_path / "none.wav"), two])
    await bench.hear(70)
    bench.link.tell(protocol.StopMix, room=b"r", recording=b"RE1")
    done = await bench.recorded()

    with wave.open(path) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert done[:4] == ("recorded", b"r", b"RE1", path)
    assert done[5]
    assert done[4] == pytest.approx(len(samples) / RATE)
    for heard in (peers[0].samples(2), peers[1].samples(2), samples):
        loud = np.flatnonzero(np.abs(heard.astype(np.int32)) > 500)
        middle = (loud[0] + loud[-1]) // 2
        assert near(heard[loud[0] : middle - 200], 440)
        assert near(heard[middle + 200 : loud[-1]], 1000)
    assert [event[2] for event in bench.events if event[0] == "failed"] == ["PlayMix"]


@pytest_twisted.ensureDeferred
async def test_a_recording_holds_all_who_speak_except_while_it_pauses(bench: Bench, tmp_path: Path) -> None:
    path = str(tmp_path / "r.wav")
    peers = bench.room(2)
    peers[0].tone, peers[1].tone = tone(400), tone(700)
    await bench.hear(10)
    bench.link.tell(protocol.RecordMix, room=b"r", recording=b"RE1", path=path)
    await bench.hear(30)
    bench.link.tell(protocol.PauseMix, room=b"r", recording=b"RE1", paused=True)
    await bench.link.ping()
    await bench.hear(30)
    peers[1].tone = tone(1000)
    await bench.hear(20)
    bench.link.tell(protocol.PauseMix, room=b"r", recording=b"RE1", paused=False)
    await bench.hear(30)
    bench.set([])
    done = await bench.recorded()

    with wave.open(path) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert abs(done[4] - 1.2) < 0.2
    begin, end = samples[: RATE // 4], samples[-RATE // 4 :]
    assert [level(begin, frequency) > 2000 for frequency in (400, 700, 1000)] == [True, True, False]
    assert [level(end, frequency) > 2000 for frequency in (400, 700, 1000)] == [True, False, True]


@pytest_twisted.ensureDeferred
async def test_a_recording_that_cannot_be_written_is_told(bench: Bench, tmp_path: Path) -> None:
    bench.room(1)
    bench.link.tell(protocol.RecordMix, room=b"r", recording=b"RE1", path=str(tmp_path / "none" / "r.wav"))
    done = await bench.recorded()

    assert done[4:] == (0.0, False)
    assert [event[1:3] for event in bench.events if event[0] == "failed"] == [(b"RE1", "RecordMix")]


@pytest_twisted.ensureDeferred
async def test_the_mixer_completes_its_recordings_and_ends_when_the_engine_is_gone(
    bench: Bench, tmp_path: Path
) -> None:
    path = str(tmp_path / "r.wav")
    peers = bench.room(1)
    peers[0].tone = tone(700)
    bench.link.tell(protocol.RecordMix, room=b"r", recording=b"RE1", path=path)
    await bench.hear(30)
    bench.link.transport.abortConnection()  # type: ignore[union-attr]
    await until(lambda: bench.exits)

    assert bench.exits == [(bench.pid, 0)]
    with wave.open(path) as file:
        assert file.getnframes() > 3000
    assert not os.path.exists(peers[0].hub)


@pytest_twisted.ensureDeferred
async def test_what_is_told_of_unknown_rooms_is_ignored(bench: Bench) -> None:
    bench.set([])
    bench.link.tell(protocol.PlayMix, room=b"x", paths=["/none"])
    bench.link.tell(protocol.RecordMix, room=b"x", recording=b"RE1", path="/none")
    bench.link.tell(protocol.PauseMix, room=b"x", recording=b"RE1", paused=True)
    bench.link.tell(protocol.StopMix, room=b"x", recording=b"RE1")
    await bench.link.ping()

    assert bench.events == []
