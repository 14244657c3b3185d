"""The interpreter's leg with a worker that is played by the test, on a hand-turned clock."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import task
from twisted.internet.defer import CancelledError, Deferred

from media.pool import EndReport, RecordingReport
from rcml.ports import (
    CallStatus,
    DigitPressed,
    Ended,
    LegEnded,
    PlaybackFailed,
    PlaybackFinished,
    Prompt,
    RecordingEnd,
    RecordingFinished,
    RecordSpec,
    ReferResult,
    StoredRecording,
    TimerFired,
)
from voiceengine.calls.leg import COMMAND_SECONDS, CallLeg

pytestmark = pytest.mark.unit

FAREWELL = ("127.0.0.1", 5070, "BYE")
HEADERS = [("X-RestComm-CallSid", "CA1")]
SPEC = RecordSpec(max_seconds=10, silence_seconds=5, finish_keys="#", beep=True)
STORED = StoredRecording(sid="RE1", url="http://h/RE1.wav", seconds=1.0)


def end(code: int = 200, cause: str = "", *, lost: bool = False, phrase: str = "OK") -> EndReport:
    return EndReport(code=code, phrase=phrase, cause=cause, remote=True, headers=[], stats={}, lost=lost)


def recorded(sid: str, how: str = "silence", digit: str = "") -> RecordingReport:
    return RecordingReport(recording=sid, path="/x.wav", seconds=1.0, end=how, digit=digit, heard=True)


class Owner:
    """The call; stores recordings when the test says so."""

    def __init__(self) -> None:
        self.status = CallStatus.RINGING
        self.response_headers = HEADERS
        self.log: list[Any] = []
        self.recordings = 0
        self.storing: dict[str, Deferred[StoredRecording | None]] = {}
        self.at_once: StoredRecording | Exception | None = STORED
        self.wait = False

    def leg_rings(self) -> None:
        self.log.append("rings")

    def leg_answered(self, codec: str) -> None:
        self.log.append(("answered", codec))

    def farewell(self) -> tuple[str, int, str] | None:
        return FAREWELL

    def leg_over(self, report: EndReport, wanted: CallStatus | None) -> None:
        self.log.append(("over", report.code, wanted))

    def leg_early_media(self) -> None:
        self.log.append("early media")

    def leg_holds(self) -> None:
        self.log.append("holds")

    def leg_speaks(self, speaks: bool) -> None:
        self.log.append(("speaks", speaks))

    def leg_refers(self, target: str, result: ReferResult) -> None:
        self.log.append(("refers", target, result))

    def new_recording(self, spec: RecordSpec) -> tuple[str, Path]:
        self.recordings += 1
        return f"RE{self.recordings}", Path(f"/recordings/RE{self.recordings}.wav")

    async def recording_made(self, sid: str, report: RecordingReport | None) -> StoredRecording | None:
        self.log.append(("recording", sid, report is None))
        if self.wait:
            self.storing[sid] = Deferred()
            return await self.storing[sid]
        if isinstance(self.at_once, Exception):
            raise self.at_once
        return self.at_once


class Media:
    """Notes the commands; like a MediaLeg, does nothing once it has ended."""

    def __init__(self) -> None:
        self.listener: Any = None
        self.ended = False
        self.commands: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        def command(*args: Any, **options: Any) -> None:
            if not self.ended:
                self.commands.append((name, *args, options) if options else (name, *args))

        return command

    def over(self, report: EndReport) -> None:
        self.ended = True
        self.listener.leg_ended(report)

    def abandon(self, code: int, phrase: str) -> None:
        self.over(end(code, phrase=phrase))


class World:
    def __init__(self, *, outbound: bool = False, attached: bool = True) -> None:
        self.clock = task.Clock()
        self.owner = Owner()
        self.media = Media()
        self.leg = CallLeg(self.clock, self.owner, "/beep.wav")
        self.leg.outbound = outbound
        if attached:
            self.leg.attach(self.media)  # type: ignore[arg-type]

    def up(self) -> None:
        """An inbound leg that was answered."""
        self.leg.leg_incoming()
        start(self.leg.answer())
        self.leg.leg_media("PCMU", False)
        self.media.commands.clear()
        self.owner.log.clear()

    def taken(self) -> Any:
        """The next event, which must be there."""
        return result(self.leg.next_event())


def start(work: Coroutine[Any, Any, Any]) -> Deferred[Any]:
    return Deferred.fromCoroutine(work)


def result(work: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine gives without waiting."""
    found: list[Any] = []
    waiting = start(work)
    waiting.addBoth(found.append)
    if not found:
        waiting.addErrback(lambda f: f.trap(CancelledError))
        waiting.cancel()
        raise AssertionError("it waits")
    if hasattr(found[0], "raiseException"):
        found[0].raiseException()
    return found[0]


def waits(work: Deferred[Any]) -> bool:
    return not work.called


@pytest.fixture
def world() -> World:
    return World()


# ------------------------------------------------------------------------- answering


def test_answer_waits_for_the_invite_and_for_media(world: World) -> None:
    answering = start(world.leg.answer())
    assert world.media.commands == []
    world.leg.leg_incoming()
    assert world.media.commands == [("answer", 200, "", HEADERS, FAREWELL)]
    world.leg.leg_progress(200, "OK", [])
    assert waits(answering)
    assert not world.leg.answered

    world.leg.leg_media("PCMU", False)

    assert not waits(answering)
    assert world.leg.answered
    assert world.owner.log == [("answered", "PCMU")]
    assert world.clock.getDelayedCalls() == []


def test_answering_again_does_nothing(world: World) -> None:
    world.up()

    result(world.leg.answer())

    assert world.media.commands == []


def test_a_caller_who_leaves_while_being_answered_ends_the_wait(world: World) -> None:
    world.leg.leg_incoming()
    answering = start(world.leg.answer())
    world.media.over(end(487))

    with pytest.raises(LegEnded):
        answering.result.raiseException()  # type: ignore[union-attr]
    assert world.owner.log == [("over", 487, None)]
    with pytest.raises(LegEnded):
        result(world.leg.answer())
    assert world.clock.getDelayedCalls() == []


@pytest.mark.parametrize("incoming", [False, True])
def test_a_silent_worker_ends_the_leg(world: World, incoming: bool) -> None:
    if incoming:
        world.leg.leg_incoming()
    answering = start(world.leg.answer())
    world.clock.advance(COMMAND_SECONDS - 0.1)
    assert waits(answering)
    world.clock.advance(0.2)

    with pytest.raises(LegEnded):
        answering.result.raiseException()  # type: ignore[union-attr]
    assert world.media.commands[-1] == (
        "hangup",
        603,
        [*HEADERS, ("Reason", 'SIP;cause=500;text="media-failure"')],
    )


def test_early_media_of_an_outbound_leg_is_no_answer() -> None:
    world = World(outbound=True)
    world.leg.leg_progress(183, "Session Progress", [])
    world.leg.leg_media("PCMA", False, True)
    assert not world.leg.answered

    world.leg.leg_progress(200, "OK", [])

    assert world.leg.answered
    assert world.owner.log == ["rings", "early media", ("answered", "PCMA")]
    assert world.media.commands == [("farewell", FAREWELL)]
    result(world.leg.answer())
    assert world.media.commands == [("farewell", FAREWELL)]


@pytest.mark.parametrize("media_first", [False, True])
def test_an_outbound_leg_is_answered_when_confirmed_with_media(media_first: bool) -> None:
    """Confirmation and media may be told in either order."""
    world = World(outbound=True)
    told: list[Callable[[], None]] = [
        lambda: world.leg.leg_progress(200, "OK", []),
        lambda: world.leg.leg_media("PCMU", False),
    ]
    for tell in reversed(told) if media_first else told:
        tell()

    assert world.leg.answered


def test_hold_is_noted(world: World) -> None:
    world.up()
    world.leg.leg_media("PCMU", True)
    assert world.leg.held
    world.leg.leg_media("PCMU", False)

    assert not world.leg.held
    assert world.owner.log == ["holds", "holds"]


# ------------------------------------------------------------------------- ending


def test_reject_answers_and_waits_for_the_end(world: World) -> None:
    rejecting = start(world.leg.reject(486, "Busy Here", "because", CallStatus.BUSY))
    assert world.media.commands == []
    world.leg.leg_incoming()
    assert world.media.commands == [("answer", 486, "Busy Here", [*HEADERS, ("Reason", "because")])]
    assert waits(rejecting)
    world.media.over(end(486))

    assert not waits(rejecting)
    assert world.owner.log == [("over", 486, CallStatus.BUSY)]
    result(world.leg.reject(603, "Decline"))


def test_reject_of_a_caller_who_has_left_does_nothing(world: World) -> None:
    rejecting = start(world.leg.reject(486, "Busy Here", status=CallStatus.BUSY))
    world.media.over(end(487))

    assert rejecting.result is None
    assert world.owner.log == [("over", 487, None)]


def test_hangup_waits_for_the_end(world: World) -> None:
    world.up()
    hanging = start(world.leg.hangup("done"))
    assert world.media.commands == [("hangup", 603, [*HEADERS, ("Reason", "done")])]
    assert waits(hanging)
    world.media.over(end())

    assert not waits(hanging)
    assert world.leg.ended
    assert world.taken() == Ended("OK")


def test_hangup_of_a_worker_that_does_not_react_returns(world: World) -> None:
    world.up()
    hanging = start(world.leg.hangup())
    world.clock.advance(COMMAND_SECONDS + 1)

    assert not waits(hanging)


def test_the_end_is_told_once(world: World) -> None:
    world.up()
    world.leg.leg_ended(end(200))
    world.leg.leg_ended(end(500))

    assert world.owner.log == [("over", 200, None)]


def test_hangup_before_the_leg_has_its_slot_waits_for_it() -> None:
    """Nobody answers for a leg without a slot: who placed the call ends it with `never_came`."""
    world = World(attached=False)
    assert world.leg.unattached
    hanging = start(world.leg.hangup())
    assert waits(hanging)

    world.leg.never_came(end(503), CallStatus.FAILED)

    assert not waits(hanging)
    assert world.owner.log == [("over", 503, CallStatus.FAILED)]
    assert world.taken() == Ended("OK")


def test_a_leg_that_never_came_ends_with_the_status_it_is_given() -> None:
    world = World(attached=False, outbound=True)
    answering = start(world.leg.answer())
    world.leg.never_came(end(0, "no capacity"), CallStatus.NO_ANSWER)

    with pytest.raises(LegEnded):
        answering.result.raiseException()  # type: ignore[union-attr]
    assert world.owner.log == [("over", 0, CallStatus.NO_ANSWER)]
    assert world.taken() == Ended("no capacity")


def test_commands_before_the_slot_is_there_raise() -> None:
    leg = World(attached=False).leg
    for command in (
        lambda: leg.play([]),
        lambda: leg.send_digits("1"),
        lambda: leg.record(SPEC),
    ):
        with pytest.raises(LegEnded):
            command()


def test_an_invite_refused_on_its_way_ends_the_leg(world: World) -> None:
    world.leg.refused(503, "Service Unavailable")

    assert world.leg.ended
    assert world.owner.log == [("over", 503, None)]
    assert world.taken() == Ended("Service Unavailable")
    world.leg.refused(503, "again")


def test_a_leg_the_worker_knows_ends_by_the_worker_only(world: World) -> None:
    world.leg.leg_incoming()
    world.leg.refused(503, "Service Unavailable")

    assert not world.leg.ended


# ------------------------------------------------------------------------- events


def test_events_come_in_the_order_of_things(world: World) -> None:
    world.up()
    playback = world.leg.play([Prompt(source="/a.wav", seconds=1), Prompt(source="/b.wav", seconds=1)], 2)
    keys = world.leg.send_digits("12")
    assert world.media.commands == [
        ("play", "p1", ["/a.wav", "/b.wav"], 2),
        ("send_digits", "d2", "12"),
    ]
    world.leg.leg_digit("1", "rfc4733")
    world.leg.start_timer("t", 1.0)
    world.clock.advance(1)
    world.leg.leg_playback_done(playback, "")
    world.leg.leg_playback_done(keys, "no such file")
    world.leg.leg_digit("2", "info")
    world.media.over(end(200, "bye"))

    assert [world.taken() for _ in range(7)] == [
        DigitPressed("1"),
        TimerFired("t"),
        PlaybackFinished(playback),
        PlaybackFailed(keys, "no such file"),
        DigitPressed("2", "info"),
        Ended("bye"),
        Ended("bye"),
    ]


def test_a_waiting_reader_gets_the_event_at_once(world: World) -> None:
    world.up()
    for tell, event in (
        (lambda: world.leg.leg_digit("1", "inband"), DigitPressed("1", "inband")),
        (lambda: world.media.over(end(200, "bye")), Ended("bye")),
    ):
        waiting = start(world.leg.next_event())
        assert waits(waiting)
        tell()
        assert waiting.result == event


def test_two_events_in_one_turn_are_both_kept(world: World) -> None:
    world.up()
    waiting = start(world.leg.next_event())
    world.leg.leg_digit("1", "rfc4733")
    world.leg.leg_digit("2", "rfc4733")

    assert waiting.result == DigitPressed("1")
    assert world.taken() == DigitPressed("2")


def test_a_reader_that_is_cancelled_loses_nothing(world: World) -> None:
    world.up()
    waiting = start(world.leg.next_event())
    waiting.addErrback(lambda f: f.trap(CancelledError))
    waiting.cancel()
    world.leg.leg_digit("1", "rfc4733")

    assert world.taken() == DigitPressed("1")


def test_a_stopped_playback_leaves_no_event(world: World) -> None:
    world.up()
    one, two, three = (world.leg.play([]) for _ in range(3))
    world.leg.leg_playback_done(one, "")
    world.leg.leg_playback_done(two, "broken")
    world.leg.leg_digit("1", "rfc4733")
    world.media.commands.clear()
    for playback in (one, two, three, three):
        world.leg.stop(playback)

    assert world.taken() == DigitPressed("1")
    assert world.media.commands == [("stop_playback", three)], "of those that play"
    world.media.over(end())
    world.leg.stop(one)
    assert world.taken() == Ended("OK")


def test_waiting_digits_can_be_dropped(world: World) -> None:
    world.up()
    playback = world.leg.play([])
    world.leg.leg_digit("1", "rfc4733")
    world.leg.leg_playback_done(playback, "")
    world.leg.leg_digit("2", "rfc4733")
    world.leg.clear_digits()

    assert isinstance(world.taken(), PlaybackFinished)
    assert waits(start(world.leg.next_event()))


# ------------------------------------------------------------------------- timers


def test_a_timer_started_again_fires_once(world: World) -> None:
    world.leg.start_timer("t", 1.0)
    world.clock.advance(0.9)
    world.leg.start_timer("t", 1.0)
    world.clock.advance(0.9)
    waiting = start(world.leg.next_event())
    assert waits(waiting)
    world.clock.advance(0.2)

    assert waiting.result == TimerFired("t")
    assert world.clock.getDelayedCalls() == []


def test_a_cancelled_timer_does_not_fire_even_from_the_mailbox(world: World) -> None:
    for name in ("early", "late", "other"):
        world.leg.start_timer(name, 1.0)
    world.leg.cancel_timer("early")
    world.clock.advance(1)
    world.leg.cancel_timer("late")
    world.leg.cancel_timer("unknown")

    assert world.taken() == TimerFired("other")
    assert waits(start(world.leg.next_event()))


def test_starting_a_timer_takes_back_its_firing(world: World) -> None:
    world.leg.start_timer("t", 1.0)
    world.clock.advance(1)
    world.leg.start_timer("t", 5.0)

    assert waits(start(world.leg.next_event()))


def test_the_end_stops_all_timers(world: World) -> None:
    world.leg.start_timer("t", 1.0)
    world.media.over(end())
    world.leg.start_timer("u", 1.0)

    assert world.clock.getDelayedCalls() == []
    assert world.taken() == Ended("OK")


def test_another_document_begins_with_nothing(world: World) -> None:
    world.up()
    world.leg.start_timer("t", 1.0)
    world.leg.start_timer("fired", 0.5)
    world.clock.advance(0.5)
    world.leg.leg_digit("1", "rfc4733")
    world.leg.reset()

    assert world.clock.getDelayedCalls() == []
    assert world.media.commands == [("reset",)]
    assert waits(start(world.leg.next_event()))


# ------------------------------------------------------------------------- recordings


def test_a_recording_is_stored_before_it_is_told(world: World) -> None:
    world.up()
    world.owner.wait = True
    recording = world.leg.record(SPEC)
    assert world.media.commands == [
        (
            "record",
            "RE1",
            "/recordings/RE1.wav",
            {
                "beep": "/beep.wav",
                "max_seconds": 10,
                "silence_seconds": 5,
                "finish_keys": "#",
                "both": False,
                "stereo": False,
            },
        )
    ]
    world.leg.leg_recording_done(recorded("RE1", "key", "#"))
    waiting = start(world.leg.next_event())
    assert waits(waiting)
    world.owner.storing["RE1"].callback(STORED)

    assert waiting.result == RecordingFinished(
        recording=recording, end=RecordingEnd.KEY, digit="#", stored=STORED
    )


def test_a_recording_without_beep(world: World) -> None:
    world.up()
    world.leg.record(RecordSpec(max_seconds=1, silence_seconds=1, finish_keys="", beep=False))

    assert world.media.commands[0][-1]["beep"] == ""


def test_the_end_comes_after_the_last_recording(world: World) -> None:
    world.up()
    world.owner.wait = True
    one = world.leg.record(SPEC)
    two = world.leg.record(SPEC)
    world.leg.leg_recording_done(recorded("RE1", "hangup"))
    world.leg.leg_recording_done(recorded("RE2", "hangup"))
    world.media.over(end())
    waiting = start(world.leg.next_event())
    assert waits(waiting)
    world.owner.storing["RE2"].callback(None)
    assert waiting.result == RecordingFinished(recording=two, end=RecordingEnd.HANGUP)
    waiting = start(world.leg.next_event())
    assert waits(waiting)
    world.owner.storing["RE1"].callback(STORED)

    assert waiting.result.recording == one
    assert world.taken() == Ended("OK")


def test_the_recordings_of_a_dead_worker_are_repaired_then_the_end_comes(world: World) -> None:
    world.up()
    recording = world.leg.record(SPEC)
    world.media.over(end(500, "media-failure", lost=True))

    assert world.owner.log == [("recording", "RE1", True), ("over", 500, None)]
    assert world.taken() == RecordingFinished(recording=recording, end=RecordingEnd.HANGUP, stored=STORED)
    assert world.taken() == Ended("media-failure")


def test_a_recording_that_cannot_be_stored_is_told_as_empty(world: World) -> None:
    world.up()
    world.owner.at_once = OSError("disk full")
    recording = world.leg.record(SPEC)
    world.leg.leg_recording_done(recorded("RE1"))
    world.media.over(end())

    assert world.taken() == RecordingFinished(recording=recording, end=RecordingEnd.SILENCE)
    assert world.taken() == Ended("OK")


def test_the_end_comes_though_the_worker_never_knew_the_recording(world: World) -> None:
    """The command crossed the end of the leg: the worker ignores it and reports nothing."""
    world.up()
    recording = world.leg.record(SPEC)
    world.media.over(end())

    assert world.taken() == RecordingFinished(recording=recording, end=RecordingEnd.HANGUP, stored=STORED)
    assert world.taken() == Ended("OK")


def test_the_end_comes_though_a_recording_was_asked_for_after_it(world: World) -> None:
    """Commands on a leg that has ended do nothing."""
    world.up()
    world.media.over(end())
    world.leg.record(SPEC)

    assert isinstance(world.taken(), RecordingFinished | Ended)


def test_a_whole_call_recording_is_stored_but_not_told(world: World) -> None:
    world.up()
    sid = world.leg.record_all(3600)
    assert world.media.commands[0] == (
        "record",
        sid,
        "/recordings/RE1.wav",
        {
            "beep": "",
            "max_seconds": 3600,
            "silence_seconds": 3600,
            "finish_keys": "",
            "both": True,
            "stereo": False,
        },
    )
    world.leg.leg_recording_done(recorded(sid, "hangup"))
    world.media.over(end())

    assert world.owner.log == [("recording", sid, False), ("over", 200, None)]
    assert world.taken() == Ended("OK")


def test_only_a_running_recording_is_stopped(world: World) -> None:
    world.up()
    recording = world.leg.record(SPEC)
    world.leg.stop_recording(recording)
    world.leg.leg_recording_done(recorded("RE1", "stopped"))
    world.leg.stop_recording(recording)

    assert [command[0] for command in world.media.commands] == ["record", "stop_recording"]


# ------------------------------------------------------------------------- work beside the leg


def test_work_gives_its_result_while_the_leg_lives(world: World) -> None:
    inner: Deferred[str] = Deferred()

    async def work() -> str:
        return await inner

    outer = start(world.leg.unless_ended(work()))
    inner.callback("done")

    assert outer.result == "done"


def test_work_keeps_its_own_error_while_the_leg_lives(world: World) -> None:
    async def work() -> str:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        result(world.leg.unless_ended(work()))


@pytest.mark.parametrize("reaction", ["cancelled", "own error"])
def test_the_end_of_the_leg_breaks_work_off(world: World, reaction: str) -> None:
    cancelled: list[bool] = []
    inner: Deferred[str] = Deferred(lambda _: cancelled.append(True))

    async def work() -> str:
        try:
            return await inner
        except CancelledError:
            if reaction == "own error":
                raise ValueError("no answer") from None
            raise

    outer = start(world.leg.unless_ended(work()))
    world.media.over(end())

    assert cancelled == [True]
    with pytest.raises(LegEnded):
        outer.result.raiseException()  # type: ignore[attr-defined]


def test_work_for_a_leg_that_has_ended_is_not_waited_for(world: World) -> None:
    world.media.over(end())
    inner: Deferred[str] = Deferred()

    async def work() -> str:
        return await inner

    with pytest.raises(LegEnded):
        result(world.leg.unless_ended(work()))
    assert inner.called


def test_two_works_are_broken_off_together(world: World) -> None:
    async def work() -> None:
        await Deferred()

    both = [start(world.leg.unless_ended(work())) for _ in range(2)]
    world.media.over(end())

    for outer in both:
        with pytest.raises(LegEnded):
            outer.result.raiseException()  # type: ignore[union-attr]


# ------------------------------------------------------------------------- any order

STEPS = st.lists(
    st.sampled_from(
        [
            "incoming",
            "media",
            "confirmed",
            "rings",
            "digit",
            "played",
            "answer",
            "reject",
            "hangup",
            "record",
            "recorded",
            "timer",
            "time",
            "reset",
            "end",
            "lost",
            "refused",
        ]
    ),
    max_size=14,
)


@given(steps=STEPS, outbound=st.booleans())
def test_no_order_of_events_raises_and_the_end_is_told_last(steps: list[str], outbound: bool) -> None:
    world = World(outbound=outbound)
    leg, media = world.leg, world.media
    open_recordings: list[str] = []

    def finish(report: EndReport) -> None:
        if not leg.ended:
            while open_recordings and not report.lost:
                leg.leg_recording_done(recorded(open_recordings.pop(), "hangup"))
            media.over(report)

    def started(work: Coroutine[Any, Any, Any]) -> None:
        start(work).addErrback(lambda f: f.trap(LegEnded))

    def record() -> None:
        if not leg.ended:
            open_recordings.append(leg.record(SPEC))

    def record_over() -> None:
        if open_recordings and not leg.ended:
            leg.leg_recording_done(recorded(open_recordings.pop()))

    def told(tell: Callable[[], None]) -> Callable[[], None]:
        return lambda: None if leg.ended else tell()

    actions: dict[str, Callable[[], Any]] = {
        "incoming": told(leg.leg_incoming),
        "media": told(lambda: leg.leg_media("PCMU", False)),
        "confirmed": told(lambda: leg.leg_progress(200, "OK", [])),
        "rings": told(lambda: leg.leg_progress(180, "Ringing", [])),
        "digit": told(lambda: leg.leg_digit("1", "rfc4733")),
        "played": told(lambda: leg.leg_playback_done("p1", "")),
        "answer": lambda: started(leg.answer()),
        "reject": lambda: started(leg.reject(486, "Busy")),
        "hangup": lambda: started(leg.hangup()),
        "record": record,
        "recorded": record_over,
        "timer": lambda: leg.start_timer("t", 1.0),
        "time": lambda: world.clock.advance(3),
        "reset": leg.reset,
        "end": lambda: finish(end()),
        "lost": lambda: finish(end(500, lost=True)),
        "refused": lambda: leg.refused(503, "no") if not open_recordings else None,
    }
    for step in steps:
        actions[step]()
    finish(end())
    world.clock.advance(60)

    events = [world.taken() for _ in range(len(steps) + 2)]
    assert isinstance(events[-1], Ended)
    first = next(i for i, event in enumerate(events) if isinstance(event, Ended))
    assert all(isinstance(event, Ended) for event in events[first:])
    assert sum(isinstance(event, RecordingFinished) for event in events) <= steps.count("record")
    assert world.clock.getDelayedCalls() == []
    assert sum(isinstance(item, tuple) and item[0] == "over" for item in world.owner.log) == 1
