"""Dial with a Conference, on simulated rooms."""

import pytest

from rcml.interpreter import OutcomeKind, Source
from rcml.ports import CallbackSpec, ConferenceEnd, Level
from rcml.simulator import DOCUMENT_URL, Room, ScriptedCaller, Simulator, parse_digits

pytestmark = pytest.mark.unit

NEXT = "http://app.invalid/next"


def enter(noun="<Conference>r</Conference>", attributes="", digits="", rooms=None, **options):
    """Run a Dial with a conference and a Say behind it; give the simulation and the port."""
    simulator = Simulator(
        {
            DOCUMENT_URL: f"<Response><Dial {attributes}>{noun}</Dial><Say>after</Say></Response>",
            NEXT: "<Response><Say>done</Say></Response>",
        },
        caller=ScriptedCaller(parse_digits(digits)),
        rooms=rooms,
        **options,
    )
    return simulator.run(Source(url=DOCUMENT_URL)), simulator.conferences


def words(done):
    return [text for text, *_ in done.spoken]


@pytest.mark.parametrize("how", [ConferenceEnd.ENDED, ConferenceEnd.REMOVED])
def test_ac62_one_who_is_out_of_the_conference_goes_on_with_the_document(how):
    done, conferences = enter(rooms={"r": Room(ends=7, how=how)})

    assert words(done) == ["after"]
    assert done.time_of('plays: "after"') == 7
    assert conferences.left == 1


def test_the_action_is_requested_then():
    done, _ = enter(attributes='action="next" method="GET"')

    assert (done.requests[1].method, done.parameters()["DialCallStatus"]) == ("GET", "completed")
    assert not {"DialCallSid", "DialCallDuration", "RecordingUrl"} & set(done.parameters())
    assert words(done) == ["done"]


def test_ac63_a_full_room_leads_to_the_next_verb():
    done, conferences = enter(rooms={"r": Room(full=True)})

    assert (words(done), conferences.left, done.codes) == (["after"], 0, [])


def test_a_full_room_is_told_to_the_action():
    done, _ = enter(attributes='action="next"', rooms={"r": Room(full=True)})

    assert done.parameters()["DialCallStatus"] == "failed"


def test_one_who_hangs_up_leaves_and_the_action_is_requested():
    done, conferences = enter(attributes='action="next"', digits="3:hangup")

    assert (done.parameters()["DialCallStatus"], done.parameters()["CallStatus"]) == (
        "completed",
        "completed",
    )
    assert (words(done), conferences.left) == ([], 1)
    assert done.outcome.kind is OutcomeKind.CALLER_LEFT


def test_one_who_hangs_up_without_action_causes_no_request():
    done, _ = enter(digits="3:hangup")

    assert (len(done.requests), done.outcome.kind) == (1, OutcomeKind.CALLER_LEFT)


def test_one_who_left_before_the_join_still_leaves(monkeypatch):
    simulator = Simulator(
        {DOCUMENT_URL: '<Response><Dial action="next"><Conference>r</Conference></Dial></Response>'}
    )
    real = simulator.conferences.join

    async def join(spec):
        simulator.leg._act("hangup")
        return await real(spec)

    monkeypatch.setattr(simulator.conferences, "join", join)
    done = simulator.run(Source(url=DOCUMENT_URL))

    assert simulator.conferences.left == 1
    assert done.requests[-1].url == NEXT


def test_the_time_limit_takes_the_participant_out():
    done, conferences = enter(attributes='timeLimit="5"', rooms={"r": Room(ends=None)})

    assert done.time_of('plays: "after"') == 5
    assert conferences.left == 1


def test_the_star_leaves_when_asked_for():
    done, _ = enter(attributes='hangupOnStar="true"', digits="2:1*", rooms={"r": Room(ends=None)})

    assert done.time_of('plays: "after"') == 2.5


def test_the_star_is_a_key_like_others_otherwise():
    assert enter(digits="2:*")[0].time_of('plays: "after"') == 10


def test_wait_music_that_is_invalid_ends_the_call():
    done, conferences = enter(rooms={"r": Room(how=ConferenceEnd.FAILED)})

    assert (done.outcome.kind, words(done), conferences.left) == (OutcomeKind.FAILED, [], 1)


def test_a_recording_of_the_room_is_told():
    done, conferences = enter(attributes='record="true" action="next"')

    assert conferences.joined[0].record
    assert done.parameters()["RecordingUrl"] == done.parameters()["PublicRecordingUrl"]


def test_the_defaults():
    spec = enter()[1].joined[0]

    assert (spec.name, spec.muted, spec.beep, spec.start_on_enter, spec.end_on_exit) == (
        "r",
        False,
        True,
        True,
        False,
    )
    assert (spec.wait_url, spec.wait_method, spec.max_participants) == (None, "POST", 40)
    assert (spec.record, spec.callback) == (False, None)


def test_the_attributes():
    noun = (
        '<Conference name="x" muted="true" beep="false" startConferenceOnEnter="false"'
        ' endConferenceOnExit="TRUE" waitUrl="wait.xml" waitMethod="get" maxParticipants="200"'
        ' statusCallback="told" statusCallbackMethod="GET" statusCallbackEvent="join,leave start">'
        "<Video/></Conference>"
    )
    spec = enter(noun)[1].joined[0]

    assert (spec.name, spec.muted, spec.beep, spec.start_on_enter, spec.end_on_exit) == (
        "x",
        True,
        False,
        False,
        True,
    )
    assert (spec.wait_url, spec.wait_method, spec.max_participants) == (
        "http://app.invalid/wait.xml",
        "GET",
        100,
    )
    assert spec.callback == CallbackSpec(
        url="http://app.invalid/told", method="GET", events=frozenset({"join", "leave", "start"})
    )


def test_an_empty_wait_url_is_silence():
    assert enter('<Conference waitUrl="">r</Conference>')[1].joined[0].wait_url == ""


def test_a_bad_wait_url_is_an_error_and_the_end():
    done, conferences = enter('<Conference waitUrl="http://">r</Conference>')

    assert [(notice.code, notice.level) for notice in done.notices] == [(13233, Level.ERROR)]
    assert (done.outcome.kind, conferences.joined) == (OutcomeKind.FAILED, [])


def test_a_bad_wait_method_is_a_warning():
    done, conferences = enter('<Conference waitMethod="PUT">r</Conference>')

    assert (done.codes, conferences.joined[0].wait_method) == ([13234], "POST")


def test_a_conference_without_a_name_is_passed_over():
    done, conferences = enter("<Conference> </Conference>", attributes='action="next"')

    assert (words(done), conferences.joined) == (["after"], [])


def test_other_nouns_beside_a_conference_are_ignored():
    done, conferences = enter("<Number>1</Number><Conference>r</Conference><Client>b</Client>")

    assert [spec.name for spec in conferences.joined] == ["r"]
    assert not any(line.startswith("calls") for line in done.lines())


def test_a_conference_that_is_over_at_once_does_not_defeat_the_guard_against_loops():
    done, _ = enter(attributes=f'action="{DOCUMENT_URL}"', rooms={"r": Room(ends=0)})

    assert done.reason == "Too_many_document_switches"
