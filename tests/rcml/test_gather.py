"""The machine that collects keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcml.gather import (
    Digit,
    Finish,
    GatherEnd,
    GatherMachine,
    GatherSpec,
    GatherState,
    HungUp,
    PromptsFinished,
    StartTimer,
    StopPrompts,
    StopTimer,
    TimerExpired,
)

pytestmark = pytest.mark.unit


def keys(machine: GatherMachine, text: str) -> list:
    return [effect for key in text for effect in machine.step(Digit(key))]


def test_the_wait_for_the_first_key_begins_when_the_prompts_end():
    assert GatherMachine(GatherSpec(timeout=7)).step(PromptsFinished()) == (StartTimer(7),)


def test_the_first_key_stops_the_prompts_and_starts_the_timer():
    assert GatherMachine(GatherSpec()).step(Digit("1")) == (StopPrompts(), StartTimer(5))


def test_each_key_starts_the_timer_over():
    machine = GatherMachine(GatherSpec(timeout=3))
    machine.step(PromptsFinished())

    assert keys(machine, "12") == [StartTimer(3), StartTimer(3)]


def test_the_finish_key_ends_and_is_not_part_of_the_result():
    machine = GatherMachine(GatherSpec())

    assert keys(machine, "12#")[-2:] == [StopTimer(), Finish("12", GatherEnd.FINISH_KEY)]


def test_the_number_of_keys_ends_at_once():
    assert keys(GatherMachine(GatherSpec(max_digits=2)), "12")[-1] == Finish("12", GatherEnd.COMPLETE)


def test_a_single_key_during_the_prompts_stops_them_and_ends():
    machine = GatherMachine(GatherSpec(max_digits=1))

    assert machine.step(Digit("7")) == (StopPrompts(), Finish("7", GatherEnd.COMPLETE))


def test_only_the_finish_key_is_no_input():
    assert keys(GatherMachine(GatherSpec()), "#")[-1] == Finish("", GatherEnd.FINISH_KEY)


def test_without_finish_keys_every_key_counts():
    machine = GatherMachine(GatherSpec(finish_keys=frozenset()))
    keys(machine, "1#")

    assert machine.step(TimerExpired()) == (Finish("1#", GatherEnd.TIMEOUT),)


def test_each_of_several_finish_keys_ends():
    spec = GatherSpec(finish_keys=frozenset("*9"))

    assert [keys(GatherMachine(spec), text)[-1] for text in ("1*", "19")] == [
        Finish("1", GatherEnd.FINISH_KEY)
    ] * 2


def test_a_key_that_may_not_come_first_is_ignored():
    machine = GatherMachine(GatherSpec(first_keys=frozenset("5")))

    assert keys(machine, "12") == []
    assert machine.state is GatherState.PROMPTING
    assert keys(machine, "51") == [StopPrompts(), StartTimer(5), StartTimer(5)]


def test_letters_are_ignored():
    assert keys(GatherMachine(GatherSpec()), "ABCD") == []


def test_a_timer_during_the_prompts_means_nothing():
    assert GatherMachine(GatherSpec()).step(TimerExpired()) == ()


def test_hangup_ends_in_every_state():
    waiting = GatherMachine(GatherSpec())
    waiting.step(PromptsFinished())

    assert GatherMachine(GatherSpec()).step(HungUp()) == (StopPrompts(), Finish("", GatherEnd.HANGUP))
    assert waiting.step(HungUp()) == (StopTimer(), Finish("", GatherEnd.HANGUP))


SPECS = st.builds(
    GatherSpec,
    finish_keys=st.frozensets(st.sampled_from("0123456789*#")),
    max_digits=st.none() | st.integers(1, 4),
    first_keys=st.frozensets(st.sampled_from("0123456789*#"), min_size=1),
)
EVENTS = st.lists(
    st.builds(Digit, st.sampled_from("0123456789*#ABCDx"))
    | st.sampled_from([PromptsFinished(), TimerExpired(), HungUp()])
)


@given(SPECS, EVENTS)
def test_no_order_of_events_raises_and_a_hangup_always_ends_it(spec, events):
    machine = GatherMachine(spec)
    effects = [effect for event in [*events, HungUp()] for effect in machine.step(event)]
    finishes = [effect for effect in effects if isinstance(effect, Finish)]

    assert machine.state is GatherState.DONE
    assert len(finishes) == 1
    assert effects[-1] is finishes[0]
    assert not set(finishes[0].digits) & spec.finish_keys
    assert machine.step(Digit("1")) == ()
