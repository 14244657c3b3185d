"""The verbs, each on the simulator, and every notification they store."""

import pytest

from rcml.attributes import Attribute
from rcml.document import Element
from rcml.interpreter import OutcomeKind, Source
from rcml.languages import say_language
from rcml.ports import CallStatus, Level, PlaybackFailed, PlaybackId, PromptUrlError
from rcml.simulated import SimulatedPrompts
from rcml.simulated_leg import SimulatedLeg
from rcml.simulator import DOCUMENT_URL, ScriptedCaller, Simulator, simulate
from rcml.verb import VERBS, verb
from rcml.verbs import Gather, Record, Say

pytestmark = pytest.mark.unit

NEXT = "http://app.invalid/next"
AFTER = "<Say>after</Say>"
DONE = {NEXT: "<Response><Say>done</Say></Response>"}


def run(content: str, **options):
    return simulate(f"<Response>{content}</Response>", **options)


def spoken(done) -> list[str]:
    return [text for text, *_ in done.spoken]


# ------------------------------------------------------------------ Say, Play, Pause


def test_say_gives_voice_and_language_on():
    assert run('<Say voice="WOMAN" language="fr-CA">oui</Say>').spoken == [("oui", "woman", "fr-ca")]


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ("en-US", "en"),
        ("bp", "pt-br"),
        ("cf", "fr-ca"),
        ("bf", "fr"),
        ("dan", "da"),
        ("no", "nb"),
        ("tr", "tr-tr"),
        ("zh-cn", "zh-cn"),
        ("de-CH", "de"),
        ("xx", None),
        ("", None),
    ],
)
def test_languages_have_aliases(given, key):
    assert say_language(given) == key


def test_an_unsupported_language_is_english_without_notice():
    done = run('<Say language="xx">a</Say>')

    assert (done.spoken[0][2], done.codes) == ("en", [])


def test_an_empty_say_does_nothing():
    done = run("<Say> </Say><Say>x</Say>")

    assert spoken(done) == ["x"]


def test_loop_repeats_and_zero_is_endless():
    assert run('<Say loop="3">1234567890123</Say>').seconds == 3
    assert run(f'<Say loop="0">x</Say>{AFTER}', limit=50).seconds == 50


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ('<Say voice="alice">x</Say>', 13511),
        ('<Say loop="-1">x</Say>', 13510),
        ('<Play loop="abc">a.wav</Play>', 13410),
        ('<Pause length="0"/>', 13910),
        ('<Pause length="1.5"/>', 13910),
        ('<Gather method="PUT"/>', 14104),
        ('<Gather partialResultCallbackMethod="x"/>', 14104),
        ('<Gather timeout="0"/>', 13313),
        ('<Gather numDigits="0"/>', 13314),
        ('<Gather finishOnKey="a"/>', 13310),
        ('<Gather startInputKey=""/>', 13315),
        (f'<Gather hints="{",".join("abc" for _ in range(51))}"/>', 12200),
        (f'<Gather hints="{"a" * 101}"/>', 12200),
        ('<Gather><Say voice="x">a</Say></Gather>', 13321),
        ('<Gather><Say loop="x">a</Say></Gather>', 13322),
        ('<Gather><Play loop="x">a.wav</Play></Gather>', 13410),
        ('<Gather><Pause length="x"/></Gather>', 13910),
        ('<Record method="x"/>', 13610),
        ('<Record timeout="0"/>', 13612),
        ('<Record maxLength="1"/>', 13612),
        ('<Record media="tape"/>', 13612),
        ('<Record finishOnKey="x"/>', 13613),
        ('<Redirect method="PUT">next</Redirect>', 13710),
        ('<Gather input="speech"/>', 11001),
    ],
)
def test_a_wrong_value_is_a_warning_and_the_call_goes_on(content, code):
    done = run(content + AFTER, speech_seconds=0, replies=DONE)

    assert [(n.code, n.level) for n in done.notices] == [(code, Level.WARNING)]
    assert done.outcome.kind is OutcomeKind.ENDED
    assert spoken(done)[-1] in ("after", "done")


def test_ac42_a_wrong_loop_plays_once():
    assert run('<Play loop="abc">a.wav</Play>').seconds == 3


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("<Play>http://</Play>", 11100),
        ("<Play>ftp://h/a.wav</Play>", 11100),
        ("<Play>a b.wav</Play>", 11100),
        ("<Gather><Play>http://[</Play></Gather>", 13325),
        ("<Redirect>http://h:x/</Redirect>", 11100),
        ('<Record transcribeCallback="mailto:x"/>', 11100),
        ('<Record action="http://"/>', 11100),
    ],
)
def test_a_url_that_cannot_be_parsed_is_an_error_and_ends_the_call(content, code):
    done = run(content + AFTER)

    assert [(n.code, n.level) for n in done.notices] == [(code, Level.ERROR)]
    assert done.outcome.kind is OutcomeKind.FAILED
    assert "after" not in spoken(done)


@pytest.mark.parametrize("content", ["<Play>a.wav</Play>", "<Gather><Play>a.wav</Play></Gather>"])
def test_ac40_a_missing_file_is_13233_and_the_end(content):
    done = run(content + AFTER, missing=lambda source: source.endswith("a.wav"))

    assert (done.codes, done.outcome.kind, done.status) == ([13233], OutcomeKind.FAILED, CallStatus.COMPLETED)


@pytest.mark.parametrize("content", ["<Play>a.wav</Play>", "<Gather><Play>a.wav</Play></Gather>"])
def test_audio_that_breaks_while_it_is_heard_is_13233_and_the_end(content):
    done = run(content + AFTER, broken=["http://app.invalid/a.wav"])

    assert (done.codes, done.outcome.kind) == ([13233], OutcomeKind.FAILED)


@pytest.mark.parametrize("options", [{"missing": lambda source: True}, {"broken": ['"x"']}])
def test_speech_that_fails_ends_the_call(options):
    done = run("<Say>x</Say>", **options)

    assert done.outcome.kind is OutcomeKind.FAILED
    assert "prompt_failed" in [event for event, _ in done.journal]


def test_play_is_relative_to_the_document_and_without_text_does_nothing():
    done = run("<Play/><Play> sounds/a.wav?x=1&y=2 </Play>")

    assert "plays: http://app.invalid/sounds/a.wav?x=1&y=2 [3.0 s]" in done.lines()
    assert done.seconds == 3


def test_play_sends_digits():
    assert "sends keys: 1w#" in run('<Play digits="1w#"/>').lines()


def test_digits_that_are_none_are_passed_over():
    assert run('<Play digits="1z">a.wav</Play>').lines()[2].startswith("plays: ")


def test_keys_during_a_pause_are_lost():
    assert spoken(run("<Say>x</Say><Pause length='3'/>" + AFTER, digits="1:5")) == ["x", "after"]


def test_a_url_that_the_media_side_refuses_is_11100(monkeypatch):
    monkeypatch.setattr(SimulatedPrompts, "from_url", refuse)
    done = run("<Play>a.wav</Play>" + AFTER)

    assert (done.codes, done.outcome.kind) == ([11100], OutcomeKind.FAILED)


async def refuse(self, url):
    raise PromptUrlError("The URL is strange.")


def test_digits_that_cannot_be_sent_end_the_call(monkeypatch):
    def fail(leg, digits):
        leg._schedule(0, PlaybackFailed(PlaybackId("P"), "no"))
        return PlaybackId("P")

    monkeypatch.setattr(SimulatedLeg, "send_digits", fail)

    assert run("<Play digits='1'/>").outcome.kind is OutcomeKind.FAILED


def test_keys_during_say_are_lost():
    done = run(
        "<Say>a long text is spoken here</Say><Gather numDigits='1' timeout='1'/>" + AFTER, digits="1:5"
    )

    assert spoken(done)[-1] == "after"


# ------------------------------------------------------------------ Gather


def test_ac26_the_number_of_keys_sends_them_at_once():
    done = run('<Gather numDigits="2" action="next"/>' + AFTER, digits="1:1,2:2", replies=DONE)

    assert (done.parameters()["Digits"], done.parameters()["SpeechResult"]) == ("12", "")
    assert (done.requests[1].method, done.requests[1].url) == ("POST", NEXT)
    assert done.time_of(f"requests: POST {NEXT}") == 2
    assert spoken(done) == ["done"]


def test_ac27_the_finish_key_is_left_out():
    assert run('<Gather action="next"/>', digits="1:123#", replies=DONE).parameters()["Digits"] == "123"


def test_ac28_no_key_leads_to_the_next_verb_after_the_timeout():
    done = run('<Gather action="next"/>' + AFTER)

    assert len(done.requests) == 1
    assert done.time_of('plays: "after"') == 5


def test_the_timeout_begins_behind_the_prompts():
    done = run(
        '<Gather timeout="2"><Play>a.wav</Play><Pause length="4"/><Say loop="2">1234567890123</Say></Gather>'
    )

    assert done.seconds == 3 + 4 + 2 + 2


def test_ac29_a_key_during_the_prompt_stops_it():
    done = run("<Gather><Play>a.wav</Play></Gather>" + AFTER, digits="1:#")

    assert done.time_of("stops playing") == 1
    assert done.time_of('plays: "after"') == 1


def test_a_key_during_a_nested_pause_ends_it_and_what_follows():
    done = run(
        '<Gather timeout="1" action="next"><Pause length="9"/><Say>x</Say></Gather>',
        digits="1:5",
        replies=DONE,
    )

    assert done.time_of(f"requests: POST {NEXT}") == 2
    assert 'plays: "x" [0.1 s]' not in done.lines()


def test_ac30_only_the_finish_key_is_no_input():
    done = run('<Gather action="next"/>' + AFTER, digits="1:#")

    assert len(done.requests) == 1
    assert spoken(done) == ["after"]


def test_ac31_without_finish_key_every_key_counts():
    done = run('<Gather finishOnKey="" action="next"/>', digits="1:1#", replies=DONE)

    assert done.parameters()["Digits"] == "1#"
    assert done.time_of(f"requests: POST {NEXT}") == 1.5 + 5


def test_ac32_a_wrong_method_is_post():
    done = run('<Gather method="PUT" action="next"/>', digits="1:1#", replies=DONE)

    assert (done.requests[1].method, done.codes) == ("POST", [14104])


def test_the_method_may_be_get_in_any_case():
    assert (
        run('<Gather method="get" action="next"/>', digits="1:1#", replies=DONE).requests[1].method == "GET"
    )


def test_ac35_a_relative_action_is_resolved_by_the_document():
    done = simulate(
        "<Response><Redirect>http://h/a/b.xml</Redirect></Response>",
        digits="1:1#",
        replies={"http://h/a/b.xml": '<Response><Gather action="next"/></Response>'},
    )

    assert done.requests[2].url == "http://h/a/next"


@pytest.mark.parametrize("action", ["", 'action=""', 'action="  "'])
def test_without_action_the_document_itself_is_requested(action):
    done = run(f"<Gather {action} numDigits='1'/>", digits="1:1")

    assert (done.requests[1].url, done.parameters(1)["Digits"]) == (DOCUMENT_URL, "1")


def test_a_bad_action_matters_only_with_input():
    assert run('<Gather action="http://"/>').codes == []
    assert run('<Gather action="http://"/>', digits="1:1#").codes == [11100]


def test_keys_that_may_not_come_first_are_ignored():
    done = run('<Gather startInputKey="5" numDigits="2" action="next"/>', digits="1:1257", replies=DONE)

    assert done.parameters()["Digits"] == "57"


def test_a_caller_who_leaves_a_gather_causes_no_request():
    done = run('<Gather action="next"/>', digits="1:1,2:hangup", replies=DONE)

    assert len(done.requests) == 1
    assert done.outcome.kind is OutcomeKind.CALLER_LEFT


def test_the_action_may_be_asked_for_without_input():
    done = run('<Gather actionOnEmptyResult="true" action="next"/>', replies=DONE)

    assert done.parameters()["Digits"] == ""


def test_speech_alone_hears_the_prompts_and_is_no_input():
    done = run('<Gather input="speech" action="next"><Say>say it</Say></Gather>' + AFTER, digits="0.1:1")

    assert (done.codes, len(done.requests)) == ([11001], 1)
    assert spoken(done) == ["say it", "after"]


@pytest.mark.parametrize("words", ["dtmf speech", "SPEECH,DTMF", "speech , dtmf"])
def test_both_inputs_collect_keys(words):
    done = run(f'<Gather input="{words}" numDigits="1" action="next"/>', digits="1:4", replies=DONE)

    assert (done.parameters()["Digits"], done.codes) == ("4", [])


def test_an_unknown_input_is_dtmf():
    done = run('<Gather input="mind" numDigits="1" action="next"/>', digits="1:4", replies=DONE)

    assert (done.parameters()["Digits"], done.codes) == ("4", [])


def test_an_endless_nested_prompt_waits_for_a_key():
    done = run(
        '<Gather numDigits="1" action="next"><Say loop="0">x</Say></Gather>', digits="90:4", replies=DONE
    )

    assert done.parameters()["Digits"] == "4"


def test_a_long_nested_loop_is_played_as_often_as_asked():
    assert run('<Gather timeout="1"><Play loop="100">a.wav</Play></Gather>').seconds == 301


def test_other_elements_in_a_gather_are_ignored():
    assert spoken(run("<Gather timeout='1'><Redirect>next</Redirect><Say>x</Say></Gather>")) == ["x"]


def test_the_number_of_keys_does_not_leak_into_the_next_gather():
    done = run(
        '<Gather numDigits="1" action="next"/>',
        digits="1:1,2:234#",
        replies={
            NEXT: '<Response><Gather action="last"/></Response>',
            "http://app.invalid/last": "<Response/>",
        },
    )

    assert done.parameters()["Digits"] == "234"


# ------------------------------------------------------------------ Record


def test_ac36_the_longest_recording_is_told_to_the_action():
    done = run('<Record maxLength="3" action="next"/>' + AFTER, speech_seconds=60, replies=DONE)
    parameters = done.parameters()

    assert done.time_of(f"requests: POST {NEXT}") == 3
    assert (parameters["RecordingDuration"], parameters["Digits"]) == ("3", "")
    assert parameters["RecordingUrl"] == parameters["PublicRecordingUrl"]
    assert parameters["RecordingUrl"].endswith(".wav")
    assert spoken(done) == ["done"]


def test_ac37_any_key_ends_a_recording():
    done = run('<Record action="next"/>', digits="1.2:5", speech_seconds=9, replies=DONE)

    assert (done.parameters()["Digits"], done.parameters()["RecordingDuration"]) == ("5", "2")


@pytest.mark.parametrize(("keys", "ending"), [("12", "1"), ("", "#"), ("x", "#")])
def test_only_the_listed_keys_end_a_recording(keys, ending):
    done = run(
        f'<Record finishOnKey="{keys}" action="next"/>', digits="1:9*1#", speech_seconds=9, replies=DONE
    )

    assert done.parameters()["Digits"] == ending


def test_minus_one_means_no_key_ends_a_recording():
    done = run('<Record finishOnKey="-1" action="next"/>', digits="1:9*1#", speech_seconds=4, replies=DONE)

    assert done.parameters()["Digits"] == ""


def test_silence_ends_a_recording():
    done = run('<Record timeout="2" action="next"/>', speech_seconds=3, replies=DONE)

    assert done.time_of(f"requests: POST {NEXT}") == 5


def test_ac38_a_caller_who_leaves_a_recording_still_causes_the_action():
    reply = "<Response><Say>no</Say><Sms>text</Sms><Redirect>x</Redirect></Response>"
    done = run('<Record action="next"/>', digits="4:hangup", speech_seconds=9, replies={NEXT: reply})

    assert (done.parameters()["Digits"], done.parameters()["CallStatus"]) == ("hangup", "completed")
    assert done.parameters()["RecordingDuration"] == "4"
    assert len(done.requests) == 2
    assert done.spoken == []
    assert [message.body for message in done.messages] == ["text"]
    assert done.outcome.kind is OutcomeKind.CALLER_LEFT


def test_a_caller_who_said_nothing_and_left_causes_the_action_without_url():
    done = run('<Record action="next"/>', digits="2:hangup", speech_seconds=0, replies=DONE)

    assert done.parameters()["Digits"] == "hangup"
    assert "RecordingUrl" not in done.parameters()


def test_an_action_that_fails_after_the_end_is_reported():
    done = run('<Record action="next"/>', digits="2:hangup")

    assert done.codes == [21402]


def test_ac39_without_sound_the_next_verb_runs():
    done = run('<Record action="next" timeout="5"/>' + AFTER, speech_seconds=0)

    assert len(done.requests) == 1
    assert done.time_of('plays: "after"') == 5


def test_without_action_a_recording_repeats_its_document_until_the_caller_leaves():
    done = run("<Record/>", limit=20)

    assert {request.url for request in done.requests} == {DOCUMENT_URL}
    assert done.parameters()["Digits"] == "hangup"


def test_a_key_before_the_hangup_is_told_even_when_both_came_at_once():
    simulator = Simulator(
        {DOCUMENT_URL: '<Response><Record action="next"/></Response>', **DONE},
        caller=ScriptedCaller([(1, "5")]),
    )
    leg = simulator.leg
    end_recording = leg._end_recording

    def end_both(end, digit=""):
        end_recording(end, digit)
        leg._end(CallStatus.COMPLETED, "caller")

    leg._end_recording = end_both
    done = simulator.run(Source(url=DOCUMENT_URL))

    assert (done.parameters()["Digits"], done.spoken) == ("5", [])


def test_a_leg_that_ends_without_word_of_its_recording_counts_as_hangup(monkeypatch):
    monkeypatch.setattr(SimulatedLeg, "_end_recording", lambda leg, end, digit="": None)
    done = run('<Record action="next"/>', digits="1:A,2:hangup", replies=DONE)

    assert done.parameters()["Digits"] == "hangup"


def test_the_beep_can_be_left_out():
    assert "beeps and records" in run("<Record/>", speech_seconds=0).lines()
    assert "records" in run('<Record playBeep="no"/>', speech_seconds=0).lines()


@pytest.mark.parametrize("how", ['transcribe="TRUE"', 'transcribeCallback="text"'])
def test_a_transcription_is_asked_for_in_the_journal(how):
    done = run(f'<Record action="next" {how}/>', replies=DONE)

    assert "transcription_requested" in [event for event, _ in done.journal]


# ------------------------------------------------------------------ Redirect, Reject, Hangup


def test_redirect_replaces_the_document():
    done = run("<Redirect method='GET'>next</Redirect>" + AFTER, replies=DONE)

    assert (done.requests[1].method, spoken(done)) == ("GET", ["done"])


def test_an_empty_redirect_is_passed_over():
    assert spoken(run("<Redirect/>" + AFTER)) == ["after"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("<Reject/>", 603),
        ('<Reject reason="BUSY"/>', 486),
        ('<Reject reason="whatever"/>', 603),
        ('<Reject reason="forbidden"/>', 403),
        ('<Reject reason="anonymity_disallowed"/>', 433),
        ('<Reject reason="address_incomplete"/>', 484),
        ('<Reject reason="no_route"/>', 404),
        ('<Reject reason="service_unavailable"/>', 503),
        ('<Reject reason="unwanted"/>', 607),
    ],
)
def test_ac16_ac17_reject_sends_its_response_and_the_status_is_busy(content, code):
    done = run(content + AFTER)

    assert done.rejected is not None
    assert (done.rejected[0], done.status) == (code, CallStatus.BUSY)
    assert (done.outcome.kind, done.spoken, done.codes) == (OutcomeKind.REJECTED, [], [])


def test_ac18_a_pause_delays_the_reject():
    assert run('<Pause length="3"/><Reject/>').time_of("rejected") == 3


def test_reject_hangs_up_an_answered_call():
    done = run("<Say>x</Say><Reject/>")

    assert (done.rejected, done.status) == (None, CallStatus.COMPLETED)


def test_a_cancel_during_a_pause_ends_the_flow():
    done = run('<Pause length="3"/><Say>x</Say>', digits="1:hangup")

    assert (done.status, done.outcome.kind) == (CallStatus.CANCELED, OutcomeKind.CALLER_LEFT)


# ------------------------------------------------------------------ declarations


def test_every_attribute_says_what_it_is():
    for cls in VERBS.values():
        for attribute in cls.attributes:
            assert attribute.doc.endswith(".")
            assert attribute.allowed
            assert attribute.kind


def test_a_declaration_is_reachable_on_the_class_and_a_value_on_the_instance():
    assert isinstance(Say.loop, Attribute)
    assert Say(Element("Say", attributes={"loop": "4"})).loop == 4
    assert Gather(Element("Gather")).num_digits is None
    assert Record(Element("Record")).max_length == 3600


def test_a_verb_cannot_be_declared_twice():
    with pytest.raises(ValueError, match="declared twice"):
        verb("Say")(Say)
