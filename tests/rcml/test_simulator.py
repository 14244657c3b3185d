"""The simulated ports: their clock, their caller and their application."""

import pytest

from rcml.ports import (
    CallStatus,
    DigitPressed,
    Ended,
    LegEnded,
    Prompt,
    RecordingEnd,
    RecordingFinished,
    RecordSpec,
    TimerFired,
)
from rcml.simulated_calls import BUSY, NO_ANSWER, UNREACHABLE, Callee, parse_callees
from rcml.simulated_leg import ScriptedCaller, SimulatedLeg, drive, parse_digits
from rcml.simulator import simulate

pytestmark = pytest.mark.unit

PROMPT = Prompt(source="x", seconds=2, label="x")


def leg(script: str = "", **options) -> SimulatedLeg:
    return SimulatedLeg(ScriptedCaller(parse_digits(script)), lambda at, text: None, **options)


def test_a_script_names_seconds_and_keys():
    assert parse_digits("2.5:1, 4:23#,9:hangup") == [
        (2.5, "1"),
        (4.0, "2"),
        (4.5, "3"),
        (5.0, "#"),
        (9.0, "hangup"),
    ]


@pytest.mark.parametrize("text", ["1", "x:1", "1:", "1:x", "1:hangup2"])
def test_a_wrong_script_is_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        parse_digits(text)


def test_time_passes_only_while_something_is_waited_for():
    line = leg()
    line.start_timer("a", 3)
    line.play([PROMPT], 2)

    assert line.now == 0
    assert drive(line.next_event()) == TimerFired("a")
    assert line.now == 3


def test_a_timer_can_be_started_over_and_cancelled():
    line = leg("9:hangup")
    line.start_timer("a", 3)
    line.start_timer("a", 5)
    line.start_timer("b", 4)
    line.cancel_timer("b")

    assert drive(line.next_event()) == TimerFired("a")
    assert line.now == 5


def test_a_stopped_playback_ends_without_event():
    line = leg("5:hangup")
    line.stop(line.play([PROMPT]))

    assert drive(line.next_event()) == Ended("caller")


def test_keys_that_wait_can_be_dropped():
    line = leg("1:12,3:3")
    line.let_pass(2)
    line.clear_digits()

    assert drive(line.next_event()) == DigitPressed("3")


def test_a_hangup_ends_the_recording_before_the_leg():
    line = leg("1.5:hangup", answered=True)
    spec = RecordSpec(max_seconds=10, silence_seconds=5, finish_keys="", beep=True)
    recording = line.record(spec)
    finished = drive(line.next_event())

    assert isinstance(finished, RecordingFinished)
    assert (finished.recording, finished.end) == (recording, RecordingEnd.HANGUP)
    assert finished.stored is not None
    assert finished.stored.seconds == 1.5
    assert [drive(line.next_event()) for _ in range(3)] == [Ended("caller"), Ended("over"), Ended("over")]
    assert line.status is CallStatus.COMPLETED


def test_a_recording_can_be_stopped():
    line = leg()
    spec = RecordSpec(max_seconds=10, silence_seconds=5, finish_keys="#", beep=False)
    line.stop_recording(line.record(spec))
    finished = drive(line.next_event())

    assert isinstance(finished, RecordingFinished)
    assert finished.end is RecordingEnd.STOPPED


def test_commands_on_a_leg_that_is_over_raise():
    line = leg("0:hangup")
    drive(line.next_event())

    for command in (line.answer(), line.hangup(), line.reject(486, "Busy Here")):
        with pytest.raises(LegEnded):
            drive(command)


def test_the_caller_hangs_up_at_the_limit():
    assert simulate('<Response><Play loop="0">a.wav</Play></Response>', limit=30).seconds == 30


def test_a_coroutine_that_waits_for_something_else_is_refused():
    class Outside:
        def __await__(self):
            yield

    async def wait():
        await Outside()

    with pytest.raises(RuntimeError, match="not simulated"):
        drive(wait())


def test_the_timeline_has_times():
    done = simulate("<Response><Pause length='2'/><Say>x</Say></Response>")

    assert (2.0, "answered") in done.timeline
    with pytest.raises(LookupError):
        done.time_of("never")


# ------------------------------------------------------------------ other parties


def test_a_script_says_what_called_parties_do():
    assert parse_callees("bob=busy, 1=no-answer,2=unreachable,sip:a@h?x=1=3/10,3=2.5") == {
        "bob": BUSY,
        "1": NO_ANSWER,
        "2": UNREACHABLE,
        "sip:a@h?x=1": Callee(answers=3, talks=10),
        "3": Callee(answers=2.5, talks=None),
    }


@pytest.mark.parametrize("text", ["bob", "=busy", "bob=", "bob=often", "bob=3/x"])
def test_a_wrong_script_of_called_parties_is_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        parse_callees(text)


def test_a_called_party_answers_after_four_seconds_and_talks_for_twenty():
    done = simulate("<Response><Dial>1234</Dial></Response>")

    assert [(at, text) for at, text in done.timeline if "1234" in text] == [
        (0.0, "calls number 1234"),
        (0.5, "1234 rings"),
        (4.0, "1234 answers"),
        (4.0, "joined with 1234"),
        (24.0, "1234 hangs up"),
    ]


def test_a_party_that_stays_is_ended_with_the_call():
    done = simulate(
        "<Response><Dial>1234</Dial></Response>", callees=parse_callees("1234=2"), digits="9:hangup"
    )

    assert done.lines()[-2:] == ["caller hangs up", "ends 1234"]


def test_a_conference_ends_after_ten_seconds():
    done = simulate("<Response><Dial><Conference>r</Conference></Dial></Response>")

    assert (10.0, "conference r: ended") in done.timeline


def test_hold_and_resume_need_a_caller():
    line = leg("0:hangup")
    drive(line.next_event())

    for command in (line.hold([]), line.resume()):
        with pytest.raises(LegEnded):
            drive(command)
