"""The mailbox of a leg: order, waiting, timers; and the leg beside the leg, which has one of its own."""

from __future__ import annotations

from typing import Any, cast

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from rcml.ports import (
    DigitPressed,
    Ended,
    LegEvent,
    PlaybackFailed,
    PlaybackFinished,
    PlaybackId,
    Prompt,
    TimerFired,
)
from voiceengine.calls.leg import CallLeg
from voiceengine.calls.mailbox import Mailbox
from voiceengine.calls.side_leg import SideLeg

pytestmark = pytest.mark.unit


def key(digit: str) -> DigitPressed:
    return DigitPressed(digit, "rfc4733")


def is_awaited(box: Mailbox) -> bool:
    return box.awaited


def taking(box: Mailbox | SideLeg) -> Deferred[LegEvent]:
    """Begin to take."""
    return Deferred.fromCoroutine(box.take() if isinstance(box, Mailbox) else box.next_event())


def now(task: Deferred[Any]) -> Any:
    """What a deferred has come to already."""
    found: list[Any] = []
    task.addBoth(found.append)
    assert found, "it still waits"
    return found[0]


def all_of(box: Mailbox) -> list[LegEvent]:
    """Take all that is there."""
    found = []
    while box:
        found.append(now(taking(box)))
    return found


# ---------------------------------------------------------------- order


def test_events_come_in_the_order_in_which_they_happened() -> None:
    box = Mailbox(Clock())
    for digit in "123":
        box.post(key(digit))
    assert all_of(box) == [key("1"), key("2"), key("3")]
    assert not box


def test_one_who_stopped_waiting_does_not_take_the_events_of_the_next_one() -> None:
    """A coroutine that nobody holds any more ends whenever it is collected."""
    box = Mailbox(Clock())
    first = box.take()
    first.send(None)
    second = taking(box)
    first.close()
    box.post(key("1"))
    assert now(second) == key("1")


def test_who_waits_gets_the_next_event_at_once_and_it_is_not_kept() -> None:
    box = Mailbox(Clock())
    task = taking(box)
    assert is_awaited(box)
    box.post(key("1"))
    assert now(task) == key("1")
    assert not box
    assert not is_awaited(box)


def test_of_two_events_for_one_who_waits_the_second_is_kept() -> None:
    box = Mailbox(Clock())
    task: Deferred[LegEvent] = taking(box)
    box.post(key("1"))
    box.post(key("2"))
    assert now(task) == key("1")
    assert all_of(box) == [key("2")]


def test_who_gave_up_waiting_takes_no_event_away() -> None:
    box = Mailbox(Clock())
    task = taking(box)
    task.cancel()
    assert now(task).check(CancelledError)
    assert not is_awaited(box)
    box.post(key("1"))
    assert all_of(box) == [key("1")]


def test_nobody_waits_when_something_is_there() -> None:
    box = Mailbox(Clock())
    assert not is_awaited(box)
    box.post(key("1"))
    assert not is_awaited(box)


def test_digits_alone_are_cleared() -> None:
    box = Mailbox(Clock())
    for event in (key("1"), TimerFired("t"), key("2"), Ended("x")):
        box.post(event)
    box.clear_digits()
    assert all_of(box) == [TimerFired("t"), Ended("x")]


# ---------------------------------------------------------------- timers


def test_a_timer_fires_once_after_its_time() -> None:
    clock = Clock()
    box = Mailbox(clock)
    box.start_timer("t", 2.0)
    clock.advance(1.9)
    assert not box
    clock.advance(0.2)
    clock.advance(10)
    assert all_of(box) == [TimerFired("t")]


def test_a_timer_that_is_started_again_begins_anew() -> None:
    clock = Clock()
    box = Mailbox(clock)
    box.start_timer("t", 2.0)
    clock.advance(1.5)
    box.start_timer("t", 2.0)
    clock.advance(1.5)
    assert not box
    clock.advance(0.6)
    assert all_of(box) == [TimerFired("t")]


def test_a_cancelled_timer_is_never_heard_of_even_when_it_had_fired() -> None:
    clock = Clock()
    box = Mailbox(clock)
    box.start_timer("early", 1.0)
    box.start_timer("late", 5.0)
    box.start_timer("other", 1.0)
    clock.advance(1.0)
    for name in ("early", "late", "unknown"):
        box.cancel_timer(name)
    clock.advance(10)
    assert all_of(box) == [TimerFired("other")]
    assert clock.getDelayedCalls() == []


def test_stopped_timers_keep_what_they_posted() -> None:
    clock = Clock()
    box = Mailbox(clock)
    box.start_timer("a", 1.0)
    box.start_timer("b", 5.0)
    clock.advance(1.0)
    box.stop_timers()
    assert clock.getDelayedCalls() == []
    assert all_of(box) == [TimerFired("a")]


def test_clear_leaves_neither_events_nor_timers() -> None:
    clock = Clock()
    box = Mailbox(clock)
    box.post(key("1"))
    box.start_timer("a", 1.0)
    box.clear()
    clock.advance(5)
    assert not box
    assert clock.getDelayedCalls() == []


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("post"), st.sampled_from("0123456789")),
        st.tuples(st.just("start"), st.sampled_from("ab"), st.sampled_from([0.5, 1.0, 2.0])),
        st.tuples(st.just("cancel"), st.sampled_from("ab")),
        st.tuples(st.just("advance"), st.sampled_from([0.1, 0.6, 3.0])),
        st.tuples(st.just("take")),
        st.tuples(st.just("give up")),
        st.tuples(st.just("digits")),
    )
)


@given(STEPS)
def test_whatever_happens_no_event_is_lost_doubled_or_out_of_order(steps: list[Any]) -> None:
    clock = Clock()
    box = Mailbox(clock)
    expected: list[LegEvent] = []
    taken: list[LegEvent] = []
    due: dict[str, float] = {}
    waiting: Deferred[LegEvent] | None = None

    def hand_over() -> None:
        nonlocal waiting
        if waiting is not None and waiting.called:
            waiting.addCallback(taken.append)
            assert taken[-1] == expected.pop(0)
            waiting = None

    for step in steps:
        match step:
            case ("post", digit):
                expected.append(key(digit))
                box.post(key(digit))
            case ("start", name, seconds):
                expected = [e for e in expected if e != TimerFired(name)]
                due[name] = clock.seconds() + seconds
                box.start_timer(name, seconds)
            case ("cancel", name):
                expected = [e for e in expected if e != TimerFired(name)]
                due.pop(name, None)
                box.cancel_timer(name)
            case ("advance", seconds):
                fired = sorted((at, n) for n, at in due.items() if at <= clock.seconds() + seconds)
                if len({at for at, _ in fired}) < len(fired):
                    continue  # timers of the same moment may come in either order
                for _, name in fired:
                    expected.append(TimerFired(name))
                    del due[name]
                clock.advance(seconds)
            case ("take",) if waiting is None:
                waiting = taking(box)
            case ("give up",) if waiting is not None:
                waiting.cancel()
                waiting.addErrback(lambda failure: failure.trap(CancelledError) and None)
                waiting = None
            case ("digits",):
                expected = [e for e in expected if not isinstance(e, DigitPressed)]
                box.clear_digits()
        hand_over()
        assert is_awaited(box) == (waiting is not None)
        assert bool(box) == bool(expected)
    assert all_of(box) == expected


# ---------------------------------------------------------------- the leg beside the leg


@attrs.define(eq=False)
class FakeLeg:
    """A leg that only remembers what is played on it."""

    ended: bool = False
    asides: list[Any] = attrs.Factory(list)
    taps: list[Any] = attrs.Factory(list)
    played: list[str] = attrs.Factory(list)
    stopped: list[str] = attrs.Factory(list)

    def play_aside(self, prompts: list[Prompt], loop: int = 1) -> str:
        self.played.append(f"a{len(self.played) + 1}")
        return self.played[-1]

    digits_aside = play_aside

    def stop_aside(self, playback: str) -> None:
        self.stopped.append(playback)


def side_leg(*, takes_keys: bool = False) -> tuple[SideLeg, FakeLeg, Clock]:
    leg, clock = FakeLeg(), Clock()
    return SideLeg(clock, cast(CallLeg, leg), takes_keys=takes_keys), leg, clock


def test_a_document_beside_another_hears_of_its_own_playbacks_only() -> None:
    side, _, _ = side_leg()
    one, two = side.play([]), side.play([])
    assert not side.playback_done("p1", "")
    assert side.playback_done(one, "")
    assert side.playback_done(two, "gone")
    assert not side.playback_done(one, ""), "it was told already"
    assert now(taking(side)) == PlaybackFinished(one)
    assert now(taking(side)) == PlaybackFailed(two, "gone")


def test_of_a_playback_that_it_stopped_it_hears_nothing() -> None:
    side, leg, _ = side_leg()
    one, two = side.play([]), side.play([])
    side.playback_done(one, "")
    side.stop(one)
    side.stop(two)
    assert leg.stopped == [two], "the first was over by itself"
    assert not side.playback_done(two, "")
    assert not taking(side).called


def test_it_takes_keys_only_when_asked_to_and_only_while_it_lives() -> None:
    deaf, leg, _ = side_leg()
    assert leg.taps == []
    side, leg, _ = side_leg(takes_keys=True)
    assert leg.taps[0]("5", "info")
    assert now(taking(side)) == DigitPressed("5", "info")
    side.close()
    deaf.close()
    assert leg.taps == leg.asides == []


def test_when_it_is_closed_what_it_plays_stops_and_no_timer_is_left() -> None:
    side, leg, clock = side_leg()
    one, two = side.play([]), side.play([])
    side.playback_done(one, "")
    side.start_timer("t", 5)
    side.close()
    assert leg.stopped == [two]
    assert clock.getDelayedCalls() == []
    side.close()
    assert leg.stopped == [two]


def test_the_end_of_the_leg_reaches_a_document_that_waits_and_one_that_asks_later() -> None:
    side, leg, clock = side_leg()
    task = taking(side)
    side.start_timer("t", 1)
    side.leg_over()
    assert isinstance(now(task), Ended)
    assert isinstance(now(taking(side)), Ended)
    assert clock.getDelayedCalls() == []
    leg.ended = True
    side.start_timer("t", 1)
    assert clock.getDelayedCalls() == []
    side.close()
    assert leg.stopped == []


def test_a_cancelled_document_sees_the_end_although_the_call_lives() -> None:
    side, leg, _ = side_leg()
    side.cancel()
    assert not leg.ended
    assert isinstance(now(taking(side)), Ended)


def test_it_cannot_end_the_call_record_it_or_hold_it() -> None:
    side, leg, _ = side_leg()
    one: PlaybackId = side.play([])
    for work in (side.hangup("x"), side.reject(603, "Decline"), side.answer()):
        assert now(Deferred.fromCoroutine(cast(Any, work))) is None
    assert now(Deferred.fromCoroutine(cast(Any, side.hold([])))) == 0
    assert now(Deferred.fromCoroutine(cast(Any, side.resume()))) is None
    assert leg.stopped == []
    assert side.answered
    assert not side.ended
    assert side.playback_done(one, "")
