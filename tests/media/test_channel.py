"""One-way boxes over a real socketpair, and what AMP does beside them."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import protocol as transport
from twisted.internet import reactor, task
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.protocols import amp

from media import protocol
from media.channel import Channel, handles
from media.link import WorkerLink
from media.pool import EndReport, RecordingReport

pytestmark = pytest.mark.loopback
REACTOR: Any = reactor


class Far(Channel):
    """The worker's end."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Any] = []
        self.lost: Deferred[None] = Deferred()

    @handles(protocol.Play)
    def _play(self, **values: Any) -> None:
        self.got.append(values)
        if values["playback"] == b"bad":
            raise RuntimeError("a mistake")

    @handles(protocol.Answer)
    def _answer(self, **values: Any) -> None:
        self.got.append(values)

    @handles(protocol.Record)
    def _record(self, **values: Any) -> None:
        self.got.append(values)

    @handles(protocol.Quit)
    def _quit(self) -> None:
        self.got.append("quit")

    @protocol.Ping.responder
    def _ping(self) -> dict[str, object]:
        return {"legs": 3, "rss_kb": 4}

    def connectionLost(self, reason: Any = None) -> None:
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        self.lost.callback(None)


class Events:
    """Notes what the link tells."""

    def __init__(self) -> None:
        self.got: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *values: self.got.append((name, *values))


class World:
    def __init__(self) -> None:
        near, far = socket.socketpair()
        self.losses = 0
        self.events = Events()
        self.link = WorkerLink(self._lost, self.events)  # type: ignore[arg-type]
        self.far = Far()
        factory = transport.Factory.forProtocol(lambda: self.far)
        factory.noisy = False
        for end, made in ((near, self.link.as_factory()), (far, factory)):
            end.setblocking(False)
            with end:
                REACTOR.adoptStreamConnection(end.fileno(), end.family, made)

    def _lost(self) -> None:
        self.losses += 1

    async def close(self) -> None:
        self.link.close()
        if not self.far.lost.called:
            await self.far.lost
        await until(lambda: self.losses)


@pytest_twisted.async_yield_fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.close()


@pytest.fixture
def failures() -> Any:
    found: list[Any] = []

    def observe(event: Any) -> None:
        if event.get("log_failure") is not None:
            found.append(event)

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)


async def until(condition: Callable[[], Any]) -> None:
    deadline = REACTOR.seconds() + 3
    while not condition():
        assert REACTOR.seconds() < deadline, "it did not happen"
        await task.deferLater(REACTOR, 0.005, lambda: None)


@pytest_twisted.ensureDeferred
async def test_commands_arrive_in_order_with_their_values(world: World) -> None:
    answer = {"key": b"k", "code": 200, "phrase": "Grüße", "headers": [["X-A", "ü"]], "farewell": None}
    play = {"key": b"k", "playback": b"p1", "paths": ["/a é.wav", "/b.wav"], "loop": 0}
    record = {
        "key": b"k",
        "recording": b"RE1",
        "path": "/x.wav",
        "beep": "",
        "max_seconds": 1.5,
        "silence_seconds": 2.0,
        "finish_keys": "#*",
        "both": True,
        "stereo": False,
    }
    world.link.tell(protocol.Answer, **answer)
    world.link.tell(protocol.Play, **play)
    world.link.tell(protocol.Record, **record)
    world.link.tell(protocol.Quit)
    await until(lambda: len(world.far.got) == 4)

    assert world.far.got == [answer, play, record, "quit"]


@pytest_twisted.ensureDeferred
async def test_events_come_back_in_order_with_their_values(world: World) -> None:
    tell = world.far.tell
    stats = {"codec": "PCMU", "jitter_ms": 0.5}
    tell(protocol.Ready, pid=7, sip_port=9)
    tell(protocol.Incoming, key=b"k")
    tell(protocol.Progress, key=b"k", code=180, phrase="Ringing", headers=[["X-A", "b"]])
    tell(protocol.MediaUp, key=b"k", codec="PCMU", held=False, early=True)
    tell(protocol.Digit, key=b"k", digit="#", method="info")
    tell(protocol.PlaybackDone, key=b"k", playback=b"p1", error="")
    recording = {"path": "/x.wav", "seconds": 1.5, "end": "key", "digit": "#", "heard": True}
    tell(protocol.RecordingDone, key=b"k", recording=b"RE1", **recording)
    tell(protocol.CommandFailed, key=b"k", command="Play", error="no")
    ended = {"code": 200, "phrase": "OK", "cause": "", "remote": True, "headers": [], "stats": stats}
    tell(protocol.LegEnded, key=b"k", slot_busy=0.0, **ended)
    await until(lambda: len(world.events.got) == 9)

    assert world.events.got == [
        ("ready", 7, 9),
        ("incoming", b"k"),
        ("progress", b"k", 180, "Ringing", [["X-A", "b"]]),
        ("media", b"k", "PCMU", False, True),
        ("digit", b"k", "#", "info"),
        ("playback_done", b"k", "p1", ""),
        ("recording_done", b"k", RecordingReport(recording="RE1", **recording)),  # type: ignore[arg-type]
        ("failed", b"k", "Play", "no"),
        ("ended", b"k", EndReport(**ended)),  # type: ignore[arg-type]
    ]


@pytest_twisted.ensureDeferred
async def test_a_handler_that_raises_does_not_end_the_connection(world: World, failures: list[Any]) -> None:
    for playback in (b"bad", b"good"):
        world.link.tell(protocol.Play, key=b"k", playback=playback, paths=[], loop=1)
    await until(lambda: len(world.far.got) == 2)

    assert world.far.got[1]["playback"] == b"good"
    assert len(failures) == 1
    assert await world.link.ping() == {"legs": 3, "rss_kb": 4}


@pytest.mark.parametrize(
    "changes", [{b"loop": b"many"}, {b"paths": b"{"}, {b"loop": None}, {b"key": None, b"extra": b"1"}]
)
@pytest_twisted.ensureDeferred
async def test_a_box_that_cannot_be_read_does_not_end_the_connection(
    world: World, failures: list[Any], changes: dict[bytes, bytes | None]
) -> None:
    values: dict[bytes, bytes | None] = {b"key": b"k", b"playback": b"p", b"paths": b"[]", b"loop": b"1"}
    box: Any = amp.AmpBox()
    box[b"_command"] = b"Play"
    for name, value in {**values, **changes}.items():
        if value is not None:
            box[name] = value
    world.link.boxSender.sendBox(box)  # type: ignore[union-attr]

    assert await world.link.ping() == {"legs": 3, "rss_kb": 4}
    assert world.far.got == []
    assert len(failures) == 1


@pytest_twisted.ensureDeferred
async def test_pings_are_answered_between_commands(world: World) -> None:
    answers = []
    for number in range(50):
        world.link.tell(protocol.Play, key=b"k", playback=b"%d" % number, paths=[], loop=1)
        answers.append(world.link.ping())
    for answer in answers:
        assert (await answer)["legs"] == 3

    assert [values["playback"] for values in world.far.got] == [b"%d" % number for number in range(50)]


@pytest_twisted.ensureDeferred
async def test_a_command_with_an_answer_may_be_asked_without_wanting_it(world: World) -> None:
    """Plain AMP from the other side is understood: what is said on the wire is plain AMP."""
    world.link.callRemote(protocol.Play, key=b"k", playback=b"p", paths=["/a.wav"], loop=2)  # type: ignore[no-untyped-call]
    await until(lambda: world.far.got)

    assert world.far.got == [{"key": b"k", "playback": b"p", "paths": ["/a.wav"], "loop": 2}]


@pytest_twisted.ensureDeferred
async def test_the_loss_is_told_once_and_later_commands_are_dropped(world: World) -> None:
    pending = world.link.ping()
    pending.addErrback(lambda _: "failed")
    world.far.transport.abortConnection()  # type: ignore[union-attr]
    await until(lambda: world.losses)
    world.link.tell(protocol.Quit)
    world.link.close()
    await task.deferLater(REACTOR, 0.02, lambda: None)

    assert world.losses == 1
    assert await pending == "failed" or world.far.got == []


def test_commands_before_the_connection_are_dropped() -> None:
    WorkerLink(lambda: None, Events()).tell(protocol.Quit)  # type: ignore[arg-type]


@pytest_twisted.ensureDeferred
async def test_a_list_of_many_prompts_is_carried(world: World) -> None:
    """A document of the largest size allowed can hold thousands of prompts; a value of a box holds 64 kB."""
    paths = [f"/data/cache/speech/{number:064x}.wav" for number in range(1000)]
    world.link.tell(protocol.Play, key=b"k", playback=b"p", paths=paths, loop=1)
    await until(lambda: world.far.got)

    assert world.far.got[0]["paths"] == paths
