"""The machine of a Dial: races, timers, and what is always true."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcml.dial import DialMachine, DialSpec, DialState, dial_status
from rcml.dial_steps import (
    Answered,
    BranchOver,
    Bridge,
    BridgeEarly,
    CallerLeft,
    CancelBranch,
    DialEnd,
    DialFinished,
    EndBranch,
    Forked,
    KeyPressed,
    LimitReached,
    Prepare,
    Ready,
    Refused,
    RelayKey,
    Ringing,
    StartDialTimer,
    StartLimitTimer,
    StartRecording,
    StartRinging,
    StopDialTimer,
    StopLimitTimer,
    StopRecording,
    StopRinging,
    TimedOut,
)
from rcml.ports import BranchId, BranchInfo, CallStatus

pytestmark = pytest.mark.unit

A, B, C = BranchId("A"), BranchId("B"), BranchId("C")
PLAIN = DialSpec(timeout=20, time_limit=100)


def over(branch: BranchId, status: CallStatus = CallStatus.COMPLETED, moved: bool = False) -> BranchOver:
    return BranchOver(BranchInfo(branch=branch, call_sid=f"CA{branch}", status=status), moved)


def finish(end: DialEnd, status: CallStatus, branch: BranchId | None = A) -> DialFinished:
    return DialFinished(end=end, status=status, branch=branch)


def machine(*events, spec: DialSpec = PLAIN, branches=(A,)) -> DialMachine:
    made = DialMachine(spec)
    for event in (Forked(branches), *events):
        made.step(event)
    return made


FORKED = ()
PREPARING = (Answered(A),)
BRIDGED = (Answered(A), Ready(A))
NO_ANSWER, CANCELED = CallStatus.NO_ANSWER, CallStatus.CANCELED
COMPLETED = CallStatus.COMPLETED
RINGING_ENDS = (StopRinging(), StopDialTimer())


@pytest.mark.parametrize(
    ("before", "event", "effects", "state"),
    [
        (FORKED, Ringing(A), (), DialState.RINGING),
        (FORKED, Ringing(A, early=True), (StopRinging(), BridgeEarly(A)), DialState.RINGING),
        (FORKED, Answered(A), (StopDialTimer(), Prepare(A)), DialState.PREPARING),
        (FORKED, Answered(C), (), DialState.RINGING),
        (FORKED, KeyPressed("1"), (), DialState.RINGING),
        (FORKED, Ready(A), (), DialState.RINGING),
        (FORKED, LimitReached(), (), DialState.RINGING),
        (FORKED, Forked((B,)), (), DialState.RINGING),
        (
            FORKED,
            TimedOut(),
            (StopRinging(), CancelBranch(A, NO_ANSWER), finish(DialEnd.TIMEOUT, NO_ANSWER)),
            DialState.DONE,
        ),
        (
            FORKED,
            over(A, CallStatus.BUSY),
            (*RINGING_ENDS, finish(DialEnd.NO_ANSWER, CallStatus.BUSY)),
            DialState.DONE,
        ),
        (
            FORKED,
            over(A, CallStatus.IN_PROGRESS, moved=True),
            (*RINGING_ENDS, finish(DialEnd.NO_ANSWER, CANCELED)),
            DialState.DONE,
        ),
        (
            FORKED,
            Refused(A),
            (*RINGING_ENDS, finish(DialEnd.NO_ANSWER, NO_ANSWER)),
            DialState.DONE,
        ),
        (
            FORKED,
            CallerLeft(),
            (*RINGING_ENDS, CancelBranch(A, CANCELED), finish(DialEnd.CALLER_LEFT, CANCELED)),
            DialState.DONE,
        ),
        (PREPARING, Ready(A), (StopRinging(), Bridge(A), StartLimitTimer(100)), DialState.BRIDGED),
        (PREPARING, TimedOut(), (), DialState.PREPARING),
        (PREPARING, KeyPressed("*"), (), DialState.PREPARING),
        (PREPARING, over(B), (), DialState.PREPARING),
        (PREPARING, Refused(A), (StopRinging(), finish(DialEnd.REFUSED, NO_ANSWER)), DialState.DONE),
        (PREPARING, over(A), (StopRinging(), finish(DialEnd.REFUSED, NO_ANSWER)), DialState.DONE),
        (
            PREPARING,
            over(A, CallStatus.IN_PROGRESS, moved=True),
            (StopRinging(), finish(DialEnd.REFUSED, CANCELED)),
            DialState.DONE,
        ),
        (
            PREPARING,
            CallerLeft(),
            (StopRinging(), EndBranch(A), finish(DialEnd.CALLER_LEFT, CANCELED)),
            DialState.DONE,
        ),
        (BRIDGED, KeyPressed("*"), (RelayKey(A, "*"),), DialState.BRIDGED),
        (BRIDGED, TimedOut(), (), DialState.BRIDGED),
        (
            BRIDGED,
            LimitReached(),
            (EndBranch(A), finish(DialEnd.LIMIT, COMPLETED)),
            DialState.DONE,
        ),
        (
            BRIDGED,
            over(A),
            (StopLimitTimer(), finish(DialEnd.CALLEE_LEFT, COMPLETED)),
            DialState.DONE,
        ),
        (
            BRIDGED,
            over(A, CallStatus.IN_PROGRESS, moved=True),
            (StopLimitTimer(), finish(DialEnd.MOVED, COMPLETED)),
            DialState.DONE,
        ),
        (
            BRIDGED,
            CallerLeft(),
            (StopLimitTimer(), EndBranch(A), finish(DialEnd.CALLER_LEFT, COMPLETED)),
            DialState.DONE,
        ),
    ],
)
def test_one_leg_follows_the_table(before, event, effects, state):
    dial = machine(*before)

    assert dial.step(event) == effects
    assert dial.state is state


def test_the_fork_starts_ringing_and_the_timer():
    assert DialMachine(PLAIN).step(Forked((A, B))) == (StartRinging(), StartDialTimer(20))


def test_a_fork_without_legs_fails_at_once():
    dial = DialMachine(PLAIN)

    assert dial.step(Forked(())) == (finish(DialEnd.NO_TARGET, CallStatus.FAILED, None),)
    assert dial.state is DialState.DONE


def test_nothing_happens_before_the_fork_but_the_caller_leaving():
    dial = DialMachine(PLAIN)

    assert dial.step(Answered(A)) == ()
    assert dial.step(CallerLeft()) == (finish(DialEnd.CALLER_LEFT, CANCELED, None),)
    assert dial.step(Forked((A,))) == (CancelBranch(A, CANCELED),)


def test_the_first_answer_wins_and_the_others_are_cancelled():
    dial = machine(branches=(A, B, C))

    assert dial.step(Answered(B)) == (
        StopDialTimer(),
        CancelBranch(A, CANCELED),
        CancelBranch(C, CANCELED),
        Prepare(B),
    )
    assert dial.winner == B


def test_a_late_answer_of_a_loser_is_ended_once():
    dial = machine(Answered(B), branches=(A, B))

    assert dial.step(Answered(A)) == (EndBranch(A),)
    assert dial.step(Answered(A)) == ()
    assert dial.step(Ready(A)) == ()
    assert dial.step(Ready(B))[1] == Bridge(B)


def test_a_loser_that_answers_after_the_end_is_ended_too():
    assert machine(TimedOut(), branches=(A, B)).step(Answered(B)) == (EndBranch(B),)


def test_the_end_of_a_loser_means_nothing():
    dial = machine(Answered(B), Ready(B), branches=(A, B))

    assert dial.step(over(A, CANCELED)) == ()
    assert dial.state is DialState.BRIDGED


def test_a_leg_that_fails_leaves_the_others_ringing():
    dial = machine(over(A, CallStatus.BUSY), branches=(A, B))

    assert dial.state is DialState.RINGING
    assert dial.step(over(B, CallStatus.FAILED))[-1] == finish(DialEnd.NO_ANSWER, CallStatus.FAILED, B)


def test_of_a_timeout_the_last_leg_is_told():
    effects = machine(branches=(A, B)).step(TimedOut())

    assert effects[-1].branch == B
    assert set(effects[1:-1]) == {CancelBranch(A, NO_ANSWER), CancelBranch(B, NO_ANSWER)}


def test_early_audio_is_heard_only_when_it_is_clear_whose():
    dial = machine(branches=(A, B))

    assert dial.step(Ringing(A, early=True)) == ()
    assert dial.step(over(B, CallStatus.BUSY)) == (StopRinging(), BridgeEarly(A))
    assert dial.step(Ringing(A, early=True)) == ()
    assert dial.step(Answered(A)) == (StopDialTimer(), Prepare(A))
    assert dial.step(Ready(A)) == (Bridge(A), StartLimitTimer(100))


def test_early_audio_of_a_leg_that_is_screened_is_not_heard():
    dial = DialMachine(PLAIN)
    dial.step(Forked((A,), frozenset({A})))

    assert dial.step(Ringing(A, early=True)) == ()


def test_the_star_ends_the_called_side_when_asked_for():
    dial = machine(*BRIDGED, spec=attrs.evolve(PLAIN, hangup_on_star=True))

    assert dial.step(KeyPressed("5")) == (RelayKey(A, "5"),)
    assert dial.step(KeyPressed("*")) == (StopLimitTimer(), EndBranch(A), finish(DialEnd.STAR, COMPLETED))


def test_a_recording_runs_from_the_bridge_to_the_end():
    dial = machine(Answered(A), spec=attrs.evolve(PLAIN, record=True))

    assert dial.step(Ready(A)) == (StopRinging(), Bridge(A), StartRecording(), StartLimitTimer(100))
    assert dial.step(over(A))[-2:] == (StopRecording(), finish(DialEnd.CALLEE_LEFT, COMPLETED))


def test_a_recording_may_run_from_the_ringing_on():
    dial = DialMachine(attrs.evolve(PLAIN, record=True, record_ringing=True))

    assert dial.step(Forked((A,)))[0] == StartRecording()
    assert StartRecording() not in (*dial.step(Answered(A)), *dial.step(Ready(A)))
    assert StopRecording() in dial.step(over(A))


def test_nothing_is_recorded_when_nobody_answered():
    effects = machine(spec=attrs.evolve(PLAIN, record=True)).step(TimedOut())

    assert StopRecording() not in effects


@pytest.mark.parametrize(
    ("leg", "told"),
    [
        ("busy", "busy"),
        ("no-answer", "no-answer"),
        ("canceled", "canceled"),
        ("failed", "failed"),
        ("not-found", "failed"),
        ("completed", "no-answer"),
    ],
)
def test_the_status_of_a_leg_that_never_was_bridged(leg, told):
    assert dial_status(CallStatus(leg)) is CallStatus(told)


# ------------------------------------------------------------------ always true

BRANCHES = st.sampled_from([A, B, C])
EVENTS = st.lists(
    st.one_of(
        st.builds(Ringing, BRANCHES, st.booleans()),
        st.builds(Answered, BRANCHES),
        st.builds(Ready, BRANCHES),
        st.builds(Refused, BRANCHES),
        st.builds(over, BRANCHES, st.sampled_from(CallStatus), st.booleans()),
        st.builds(KeyPressed, st.sampled_from("1*#")),
        st.sampled_from([TimedOut(), LimitReached(), CallerLeft(), Forked((A,)), Forked((A, B, C))]),
    ),
    max_size=15,
)
SPECS = st.builds(DialSpec, hangup_on_star=st.booleans(), record=st.booleans(), record_ringing=st.booleans())
FORKS = st.builds(Forked, st.sampled_from([(), (A,), (A, B), (A, B, C)]), st.frozensets(BRANCHES, max_size=3))


@given(SPECS, EVENTS, FORKS, EVENTS)
def test_no_order_of_events_raises_and_the_caller_leaving_ends_it(spec, early, fork, events):
    dial = DialMachine(spec)
    effects = [effect for event in [*early, fork, *events, CallerLeft()] for effect in dial.step(event)]

    assert dial.state is DialState.DONE
    assert sum(isinstance(effect, DialFinished) for effect in effects) == 1
    assert sum(isinstance(effect, Bridge) for effect in effects) <= 1
    assert sum(isinstance(effect, BridgeEarly) for effect in effects) <= 1


@given(SPECS, FORKS, EVENTS)
def test_every_leg_is_ended_in_the_end_and_what_runs_is_stopped(spec, fork, events):
    dial = DialMachine(spec)
    ended, running = set(), set()
    pairs = {
        StartRinging: StopRinging,
        StartDialTimer: StopDialTimer,
        StartLimitTimer: StopLimitTimer,
        StartRecording: StopRecording,
    }
    starts = {stop: start for start, stop in pairs.items()}
    for event in [fork, *(e for e in events if not isinstance(e, Forked)), CallerLeft()]:
        match event:
            case BranchOver(info):
                ended.add(info.branch)
            case Refused(branch):
                ended.add(branch)
            case TimedOut():
                running.discard(StartDialTimer)
            case LimitReached():
                running.discard(StartLimitTimer)
        for effect in dial.step(event):
            if isinstance(effect, EndBranch | CancelBranch):
                ended.add(effect.branch)
            elif type(effect) in pairs:
                assert type(effect) not in running
                running.add(type(effect))
            elif type(effect) in starts:
                running.discard(starts[type(effect)])

    assert ended >= set(fork.branches)
    assert running == set()


@given(SPECS, FORKS, EVENTS)
def test_the_bridged_leg_answered_and_no_other_is_alive_with_it(spec, fork, events):
    dial = DialMachine(spec)
    dial.step(fork)
    answered, alive = set(), set(fork.branches)
    for event in events:
        match event:
            case Forked():
                continue
            case Answered(branch):
                answered.add(branch)
            case BranchOver(info):
                alive.discard(info.branch)
            case Refused(branch):
                alive.discard(branch)  # the dialer ends it
        for effect in dial.step(event):
            match effect:
                case EndBranch(branch) | CancelBranch(branch, _):
                    alive.discard(branch)
                case Bridge(branch):
                    assert branch in answered
                    assert alive <= {branch}
