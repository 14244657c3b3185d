"""Obtaining documents, answering, failures, fallback, order of execution, on the simulator."""

from urllib.parse import parse_qs

import attrs
import pytest

from rcml.flow import Flow, InterpreterSettings
from rcml.interpreter import Interpreter, OutcomeKind, Source
from rcml.parameters import standard_parameters
from rcml.ports import CallStatus, Direction, FetchFailure, LegEnded, Level
from rcml.simulated_leg import SimulatedLeg
from rcml.simulator import DOCUMENT_URL, Reply, ScriptedCaller, Simulator, call_info, simulate

pytestmark = pytest.mark.unit

FALLBACK = "http://app.invalid/fallback"
SAY = "<Response><Say>x</Say></Response>"


def with_fallback(first: Reply | str, second: Reply | str = SAY, **options):
    simulator = Simulator({DOCUMENT_URL: first, FALLBACK: second}, **options)
    return simulator.run(Source(url=DOCUMENT_URL, fallback_url=FALLBACK, fallback_method="GET"))


# ------------------------------------------------------------------ requests


def test_ac01_one_request_while_ringing_then_answer_speech_and_bye():
    done = simulate("<Response><Say>hi</Say></Response>")
    parameters = done.parameters()

    assert len(done.requests) == 1
    assert done.requests[0].method == "POST"
    assert (parameters["From"], parameters["To"]) == ("+15550001", "1111")
    assert (parameters["CallStatus"], parameters["Direction"]) == ("ringing", "inbound")
    assert parameters["ApiVersion"] == "2012-04-24"
    assert set(parameters) >= {"CallSid", "InstanceId", "AccountSid", "CallTimestamp"}
    assert done.lines()[1:] == ["answered", 'plays: "hi" [0.2 s]', "hung up by the engine"]
    assert (done.outcome.kind, done.status) == (OutcomeKind.ENDED, CallStatus.COMPLETED)


def test_ac02_a_get_keeps_its_own_query_for_the_fetcher():
    simulator = Simulator({"http://h/a?x=1": SAY})
    done = simulator.run(Source(url="http://h/a?x=1", method="get"))

    assert (done.requests[0].method, done.requests[0].url) == ("GET", "http://h/a?x=1")


def test_ac03_the_url_that_was_reached_is_the_base_of_relative_urls():
    document = "<Response><Redirect>next</Redirect></Response>"
    done = simulate(Reply(body=document, url="http://other/x/y"), replies={"http://other/x/next": SAY})

    assert done.requests[1].url == "http://other/x/next"


def test_ac25_headers_of_the_invite_are_sent():
    call = call_info(
        forwarded_from="777", sip_headers={"X-Tenant": "42", "Diversion": "<sip:777@h>"}, caller_name="Al"
    )
    parameters = simulate(SAY, call=call).parameters()

    assert parameters["SipHeader_X-Tenant"] == "42"
    assert parameters["SipHeader_Diversion"] == "<sip:777@h>"
    assert (parameters["ForwardedFrom"], parameters["CallerName"]) == ("777", "Al")


def test_absent_values_are_empty_or_null_by_setting():
    call = call_info()
    plain = dict(standard_parameters(call, CallStatus.RINGING))
    legacy = dict(standard_parameters(call, CallStatus.RINGING, null_literals=True))

    assert (plain["CallerName"], plain["ForwardedFrom"]) == ("", "")
    assert (legacy["CallerName"], legacy["ForwardedFrom"]) == ("null", "null")


def test_ac78_a_call_the_engine_made_is_in_progress_when_its_document_is_requested():
    done = simulate(SAY, answered=True, call=call_info(direction=Direction.OUTBOUND_API))

    assert done.parameters()["CallStatus"] == "in-progress"
    assert done.parameters()["Direction"] == "outbound-api"


# ------------------------------------------------------------------ failures


def test_ac04_a_failed_url_leads_to_the_fallback_with_the_reason():
    done = with_fallback(Reply(status=500))

    assert [(r.method, r.url) for r in done.requests] == [("POST", DOCUMENT_URL), ("GET", FALLBACK)]
    assert (done.parameters()["ErrorCode"], done.parameters()["ErrorUrl"]) == ("11200", DOCUMENT_URL)
    assert 'plays: "x" [0.1 s]' in done.lines()
    assert done.codes == [11200]


FAILURES = [
    (Reply(failure=FetchFailure.IO), 11205, Level.ERROR),
    (Reply(failure=FetchFailure.PROTOCOL), 11206, Level.ERROR),
    (Reply(failure=FetchFailure.BAD_URL), 11100, Level.ERROR),
    (Reply(failure=FetchFailure.TOO_LARGE), 12100, Level.ERROR),
    (Reply(status=204), 11200, Level.ERROR),
    (Reply(status=500), 11200, Level.ERROR),
    (Reply(body="<Response><Say>"), 12100, Level.ERROR),
    (Reply(body=" "), 12100, Level.ERROR),
    (Reply(body="<response/>"), 12100, Level.ERROR),
    (Reply(body=SAY, content_type=None), 12300, Level.WARNING),
    (Reply(body="{}", content_type="application/json"), 12300, Level.WARNING),
]


@pytest.mark.parametrize(("reply", "code", "level"), FAILURES)
def test_ac05_a_failure_without_fallback_is_500_while_ringing(reply, code, level):
    done = simulate(reply)

    assert done.rejected == (500, "Problem to setup the call")
    assert done.reason.startswith("Problem_")
    assert (done.status, done.outcome.kind) == (CallStatus.FAILED, OutcomeKind.FAILED)
    assert [(n.code, n.level) for n in done.notices] == [(code, level)]
    assert "answered" not in done.lines()


@pytest.mark.parametrize(("reply", "code", "level"), FAILURES)
def test_ac08_each_failure_requests_the_fallback(reply, code, level):
    done = with_fallback(reply)

    assert done.requests[-1].url == FALLBACK
    assert done.outcome.kind is OutcomeKind.ENDED


@pytest.mark.parametrize(("reply", "code", "level"), FAILURES)
def test_a_failure_of_an_answered_call_is_a_bye_with_a_reason(reply, code, level):
    done = simulate(reply, answered=True)

    assert (done.status, done.codes, done.rejected) == (CallStatus.COMPLETED, [code], None)
    assert done.reason.startswith("Problem_")


def test_ac06_not_found_is_404_while_ringing():
    done = simulate(Reply(status=404, body="no"))

    assert done.rejected == (404, "Not Found")
    assert (done.status, done.codes) == (CallStatus.NOT_FOUND, [21402])
    assert done.notices[0].level is Level.WARNING
    assert done.notices[0].response_body == "no"


def test_ac07_a_timeout_is_500_when_the_fetcher_gives_up():
    done = simulate(Reply(failure=FetchFailure.IO, seconds=6))

    assert done.rejected == (500, "Problem to setup the call")
    assert done.seconds == pytest.approx(6)


def test_ac09_an_empty_body_names_its_reason():
    assert simulate("").reason == "Problem_to_parse_downloaded_RCML"
    assert simulate(Reply(status=500)).reason == "Problem_while_trying_to_download_RCML"


def test_ac13_another_root_is_a_parse_failure():
    assert simulate("<response/>").reason == "Problem_to_parse_downloaded_RCML"


def test_a_fallback_that_fails_ends_the_call():
    done = with_fallback(Reply(status=500), Reply(status=404))

    assert done.rejected == (404, "Not Found")
    assert done.codes == [11200, 21402]


def test_the_fallback_also_serves_later_urls_but_once():
    first = "<Response><Say>one</Say><Redirect>gone</Redirect></Response>"
    done = with_fallback(first, "<Response><Redirect>gone-too</Redirect></Response>")

    assert [r.url.rpartition("/")[2] for r in done.requests] == ["voice.xml", "gone", "fallback", "gone-too"]
    assert done.outcome.kind is OutcomeKind.FAILED
    assert done.status is CallStatus.COMPLETED


def test_ac43_a_later_404_ends_an_answered_call():
    done = simulate("<Response><Redirect>gone</Redirect></Response>")

    assert (done.codes, done.rejected, done.status) == ([21402], None, CallStatus.COMPLETED)


def test_a_url_that_cannot_be_parsed_is_never_requested():
    done = Simulator({}).run(Source(url="not a url"))

    assert (done.codes, list(done.requests)) == ([11100], [])
    assert done.rejected == (500, "Problem to setup the call")


def test_notices_name_the_request_and_hide_credentials():
    simulator = Simulator({"http://u:secret@h/a": '<Response><Pause length="x"/></Response>'})
    notice = simulator.run(Source(url="http://u:secret@h/a")).notices[0]

    assert (notice.request_url, notice.request_method) == ("http://h/a", "POST")
    assert parse_qs(notice.request_variables)["To"] == ["1111"]
    assert "secret" not in str(notice)
    assert notice.response_body.startswith("<Response>")


def test_ac22_a_cancel_while_the_document_is_fetched_ends_everything():
    done = simulate(Reply(body=SAY, seconds=5), digits="2:hangup")

    assert (done.outcome.kind, done.status) == (OutcomeKind.CALLER_LEFT, CallStatus.CANCELED)
    assert len(done.requests) == 1
    assert "answered" not in done.lines()


# ------------------------------------------------------------------ content types


@pytest.mark.parametrize("kind", ["text/xml; charset=UTF-8", "application/xml", "TEXT/HTML"])
def test_xml_types_are_read_as_rcml(kind):
    assert simulate(Reply(body=SAY, content_type=kind)).spoken[0][0] == "x"


@pytest.mark.parametrize("kind", ["audio/wav", "audio/wave", "audio/x-wav", "audio/mpeg"])
def test_ac10_an_audio_reply_is_played(kind):
    done = simulate(Reply(body=b"RIFF", content_type=kind))

    assert f"plays: {DOCUMENT_URL} [3.0 s]" in done.lines()
    assert done.outcome.kind is OutcomeKind.ENDED


@pytest.mark.parametrize(("kind", "code"), [("audio/wav", 13233), ("audio/strange", 12300)])
def test_an_audio_reply_that_cannot_be_decoded_ends_the_call(kind, code):
    done = simulate(Reply(body=b"?", content_type=kind), missing=lambda source: True)

    assert (done.codes, done.outcome.kind) == ([code], OutcomeKind.FAILED)


def test_ac11_a_plain_reply_is_spoken_as_it_is():
    done = simulate(Reply(body="a < b & c", content_type="text/plain"))

    assert done.spoken == [("a < b & c", "man", "en")]


# ------------------------------------------------------------------ order and answering


def test_ac14_unknown_elements_are_skipped_without_notice_but_their_verbs_run():
    document = "<Response><Foo a='1'/><Bar><Say>in</Say></Bar><Say>x</Say>text</Response>"
    done = simulate(document)

    assert [text for text, *_ in done.spoken] == ["in", "x"]
    assert done.codes == []
    assert ("element_unknown", {"element": "Foo", "line": 1}) in done.journal


def test_names_are_case_sensitive_and_nouns_are_no_verbs():
    done = simulate("<Response><say>a</say><Number><Say>b</Say></Number></Response>")

    assert done.spoken == []


def test_children_of_a_verb_never_run_as_verbs():
    assert simulate("<Response><Play><Say>a</Say></Play></Response>").spoken == []


@pytest.mark.parametrize("document", ["<Response/>", "<Response><Foo/></Response>"])
def test_ac15_an_empty_document_is_answered_and_ended(document):
    assert simulate(document).lines()[1:] == ["answered", "hung up by the engine"]


def test_ac19_a_pause_delays_the_answer():
    done = simulate('<Response><Pause length="2"/><Say>x</Say></Response>')

    assert done.time_of("answered") == 2


def test_ac20_a_hangup_is_answered_first():
    done = simulate("<Response><Hangup/><Say>x</Say></Response>")

    assert done.lines()[1:] == ["answered", "hung up by the engine"]
    assert done.outcome.kind is OutcomeKind.HUNG_UP


def test_a_document_given_as_text_needs_no_request():
    simulator = Simulator({"http://h/next": SAY})
    done = simulator.run(Source(text="<Response><Redirect>http://h/next</Redirect></Response>"))

    assert [request.url for request in done.requests] == ["http://h/next"]


def test_a_document_given_as_text_may_have_a_base():
    simulator = Simulator({"http://h/next": SAY})
    done = simulator.run(Source(text="<Response><Redirect>next</Redirect></Response>", url="http://h/x"))

    assert done.requests[0].url == "http://h/next"


@pytest.mark.parametrize("text", ["<Response>", "\ud800"])
def test_a_text_that_is_no_document_fails(text):
    done = Simulator({}).run(Source(text=text))

    assert (done.codes, done.rejected) == ([12100], (500, "Problem to setup the call"))


def test_a_text_that_is_no_document_leads_to_the_fallback():
    done = Simulator({FALLBACK: SAY}).run(Source(text="<", fallback_url=FALLBACK))

    assert done.requests[0].url == FALLBACK


def test_a_gather_of_a_text_without_url_goes_on_with_the_next_verb():
    simulator = Simulator({}, caller=ScriptedCaller([(1, "1")]))
    done = simulator.run(Source(text="<Response><Gather numDigits='1'/><Say>x</Say></Response>"))

    assert done.spoken[0][0] == "x"
    assert "action_missing" in [event for event, _ in done.journal]


def test_redirects_in_a_circle_end_after_the_limit():
    done = simulate(
        f"<Response><Redirect>{DOCUMENT_URL}</Redirect></Response>",
        settings=InterpreterSettings(max_switches=7),
    )

    assert len(done.requests) == 8
    assert (done.outcome.kind, done.reason) == (OutcomeKind.FAILED, "Too_many_document_switches")


def test_a_verb_that_takes_time_starts_the_limit_over():
    done = simulate(
        f"<Response><Pause/><Redirect>{DOCUMENT_URL}</Redirect></Response>",
        settings=InterpreterSettings(max_switches=3),
        limit=20,
    )

    assert len(done.requests) == 20
    assert done.outcome.kind is OutcomeKind.CALLER_LEFT


def test_the_end_of_the_document_can_be_left_to_others():
    done = simulate(SAY, settings=InterpreterSettings(hang_up_at_end=False))

    assert done.outcome.kind is OutcomeKind.ENDED
    assert "hung up by the engine" not in done.lines()


@pytest.mark.parametrize(
    "name",
    ["Fax", "Message", "Enqueue", "Leave"],
)
def test_verbs_of_later_versions_are_answered_skipped_and_reported(name):
    done = simulate(f"<Response><{name}><Say>no</Say></{name}><Say>yes</Say></Response>")

    assert done.lines()[1] == "answered"
    assert [text for text, *_ in done.spoken] == ["yes"]
    assert [(n.code, n.level) for n in done.notices] == [(11001, Level.WARNING)]
    assert "verb not available in this engine version; skipped" in done.notices[0].message


def test_a_caller_who_leaves_ends_the_document():
    done = simulate("<Response><Say>a very long text</Say><Say>b</Say></Response>", digits="0.5:hangup")

    assert (done.outcome.kind, done.status) == (OutcomeKind.CALLER_LEFT, CallStatus.COMPLETED)
    assert [text for text, *_ in done.spoken] == ["a very long text"]


@pytest.mark.parametrize("rest", ["<Dial>1</Dial><Say>b</Say>", "<Dial>1</Dial>", ""])
def test_a_caller_who_leaves_between_verbs_ends_the_document(rest, monkeypatch):
    simulator = Simulator({DOCUMENT_URL: f"<Response><Play digits='1'/>{rest}</Response>"})
    monkeypatch.setattr(Flow, "until_played", leave)
    done = simulator.run(Source(url=DOCUMENT_URL))

    assert (done.outcome.kind, done.codes, done.spoken) == (OutcomeKind.CALLER_LEFT, [], [])


async def leave(flow, playback):
    flow.ports.leg._act("hangup")


def test_a_caller_who_leaves_while_a_failure_is_answered_does_no_harm(monkeypatch):
    monkeypatch.setattr(SimulatedLeg, "reject", gone)
    done = simulate(Reply(status=500))

    assert done.outcome.kind is OutcomeKind.FAILED
    assert "leg_gone" in [event for event, _ in done.journal]


async def gone(leg, *args):
    raise LegEnded


def test_a_failure_after_the_end_sends_nothing():
    reply = "<Response><Record action='http://'/></Response>"
    done = simulate(reply, digits="1:hangup")

    assert (done.outcome.kind, done.codes) == (OutcomeKind.FAILED, [11100])


def test_the_journal_tells_what_was_done():
    done = simulate("<Response><Say loop='2'>x</Say></Response>")

    assert [event for event, _ in done.journal] == [
        "document_requested",
        "document_fetched",
        "verb_started",
        "prompt",
        "verb_finished",
        "flow_ended",
    ]
    assert done.journal[2][1] == {"verb": "Say", "line": 1, "attributes": {"loop": "2"}}


# ------------------------------------------------------------------ breaking off


class Stop(BaseException):
    """What a runtime throws into a flow that is replaced."""


class Suspending:
    """A leg that hands control out at the wait for an event."""

    def __init__(self, leg):
        self._leg = leg
        self.stopped = []

    def __getattr__(self, name):
        return getattr(self._leg, name)

    async def next_event(self):
        await _Suspend()
        return await self._leg.next_event()

    def stop(self, playback):
        self.stopped.append("playback")

    def stop_recording(self, recording):
        self.stopped.append("recording")

    def cancel_timer(self, name):
        self.stopped.append(name)


class _Suspend:
    def __await__(self):
        yield


@pytest.mark.parametrize(
    ("verb", "stopped"),
    [
        ("<Say>x</Say>", ["playback"]),
        ("<Play loop='0'>http://h/a.wav</Play>", ["playback"]),
        ("<Play digits='1'/>", ["playback"]),
        ("<Pause/>", ["pause"]),
        ("<Gather><Say>x</Say></Gather>", ["playback"]),
        ("<Gather><Pause/></Gather>", ["gather-pause"]),
        ("<Gather/>", ["gather"]),
        ("<Record/>", ["recording"]),
        (
            "<Dial dialMusic='a.wav' record='record-from-ringing'>1</Dial>",
            ["playback", "dial-timeout", "recording"],
        ),
        ("<Dial><Conference>r</Conference></Dial>", ["conference-limit", "conference-stayed"]),
    ],
)
def test_breaking_off_stops_what_is_heard_and_recorded(verb, stopped):
    simulator = Simulator({DOCUMENT_URL: f"<Response>{verb}</Response>"}, answered=True)
    leg = Suspending(simulator.leg)
    ports = attrs.evolve(simulator.ports, leg=leg)
    flow = Interpreter(ports, simulator.call).run(Source(url=DOCUMENT_URL))
    flow.send(None)
    with pytest.raises(Stop):
        flow.throw(Stop())

    assert leg.stopped == stopped
    assert simulator.dialer.live == []
    assert simulator.conferences.left == len(simulator.conferences.joined)


def test_a_second_flow_may_run_on_an_answered_leg():
    simulator = Simulator({DOCUMENT_URL: SAY}, answered=True, caller=ScriptedCaller())
    done = simulator.run(Source(url=DOCUMENT_URL))

    assert done.parameters()["CallStatus"] == "in-progress"


# ------------------------------------------------------------------ sources and settings of other flows


def test_a_source_adds_parameters_to_its_first_request_only():
    document = "<Response><Redirect>next</Redirect></Response>"
    simulator = Simulator({DOCUMENT_URL: document, "http://app.invalid/next": SAY})
    done = simulator.run(Source(url=DOCUMENT_URL, extra=(("ReferTarget", "bob"),)))

    assert done.parameters(0)["ReferTarget"] == "bob"
    assert done.parameters(0)["To"] == "1111"
    assert "ReferTarget" not in done.parameters(1)


def test_a_source_may_replace_the_parameters_of_its_first_request():
    document = "<Response><Redirect>next</Redirect></Response>"
    simulator = Simulator({DOCUMENT_URL: document, "http://app.invalid/next": SAY})
    done = simulator.run(Source(url=DOCUMENT_URL, parameters=(("CallSid", "CA2"),), extra=(("a", "b"),)))

    assert list(done.requests[0].parameters) == [("CallSid", "CA2"), ("a", "b")]
    assert done.parameters(1)["To"] == "1111"


def test_only_some_verbs_may_be_run_and_others_are_passed_over():
    document = "<Response><Dial>1</Dial><Hangup/><Say>x</Say><Sms>y</Sms></Response>"
    done = simulate(document, settings=InterpreterSettings(only_verbs=frozenset({"Say", "Play"})))

    assert [text for text, *_ in done.spoken] == ["x"]
    assert done.outcome.kind is OutcomeKind.ENDED
    assert [fields["verb"] for event, fields in done.journal if event == "verb_skipped"] == [
        "Dial",
        "Hangup",
        "Sms",
    ]
    assert done.codes == []


def test_ac58_a_refused_verb_fails_the_flow_and_ends_the_call():
    document = "<Response><Say>a</Say><Dial>1</Dial><Say>b</Say></Response>"
    settings = InterpreterSettings(refused_verbs=frozenset({"Dial"}), hang_up_at_end=False)
    done = simulate(document, settings=settings)

    assert (done.outcome.kind, done.reason) == (OutcomeKind.FAILED, "Verb_not_allowed")
    assert done.status is CallStatus.COMPLETED
    assert [text for text, *_ in done.spoken] == ["a"]


def test_a_refused_verb_that_is_not_reached_does_no_harm():
    document = "<Response><Hangup/><Dial>1</Dial></Response>"
    done = simulate(document, settings=InterpreterSettings(refused_verbs=frozenset({"Dial"})))

    assert done.outcome.kind is OutcomeKind.HUNG_UP


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ("<Response><Say>x</Say></Response>", OutcomeKind.ENDED),
        ("<Response/>", OutcomeKind.ENDED),
        ("<Response><Hangup/></Response>", OutcomeKind.HUNG_UP),
        ("<Response><Reject/></Response>", OutcomeKind.HUNG_UP),
        ("<Response><Redirect>gone</Redirect></Response>", OutcomeKind.FAILED),
        ('<Response><Say loop="0">x</Say></Response>', OutcomeKind.CALLER_LEFT),
    ],
)
def test_whoever_started_a_flow_can_tell_how_it_ended(document, kind):
    done = simulate(document, answered=True, settings=InterpreterSettings(hang_up_at_end=False), limit=60)

    assert done.outcome.kind is kind
    assert done.status.terminal is (kind is not OutcomeKind.ENDED)
