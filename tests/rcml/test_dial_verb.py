"""The verb Dial on simulated parties."""

import attrs
import pytest

from rcml.flow import InterpreterSettings
from rcml.interpreter import Interpreter, OutcomeKind, Source
from rcml.parameters import dial_parameters
from rcml.ports import BranchId, BranchInfo, CallStatus, LegEnded, Level, Prompt, TargetKind
from rcml.simulated import SimulatedPrompts
from rcml.simulated_calls import BUSY, NO_ANSWER, UNREACHABLE, Callee
from rcml.simulated_leg import SimulatedLeg, drive
from rcml.simulator import DOCUMENT_URL, ScriptedCaller, Simulator, parse_digits

pytestmark = pytest.mark.unit

NEXT = "http://app.invalid/next"
AFTER = "<Say>after</Say>"
DONE = "<Response><Say>done</Say></Response>"
TONE = Prompt(source="ringing.wav", seconds=4, label="ringing")


class Dialed:
    """A document that was run: the simulation and the simulator it ran in."""

    def __init__(self, content, digits="", replies=None, ringing=True, **options):
        settings = InterpreterSettings(ringing=TONE if ringing else None)
        self.simulator = Simulator(
            {DOCUMENT_URL: f"<Response>{content}</Response>", NEXT: DONE, **(replies or {})},
            caller=ScriptedCaller(parse_digits(digits)),
            settings=settings,
            **options,
        )
        self.done = self.simulator.run(Source(url=DOCUMENT_URL))
        self.dialer = self.simulator.dialer

    def __getattr__(self, name):
        return getattr(self.done, name)

    @property
    def words(self):
        return [text for text, *_ in self.done.spoken]

    @property
    def dial(self):
        """The parameters that the Dial added to the last request."""
        own = ("Dial", "Recording", "PublicRecording")
        return {name: value for name, value in self.done.parameters().items() if name.startswith(own)}

    @property
    def target(self):
        return self.dialer.targets[0][0]


def dial(inside, attributes="", after=AFTER, **options) -> Dialed:
    return Dialed(f"<Dial {attributes}>{inside}</Dial>{after}", **options)


SID = "CA" + "0" * 31 + "1"
ACTION = 'action="next"'


# ------------------------------------------------------------------ how it goes


def test_ac44_the_callee_hanging_up_never_ends_the_call_of_the_caller():
    done = dial("<Client>bob</Client>")

    assert done.words == ["after"]
    assert done.time_of('plays: "after"') == 24
    assert done.outcome.kind is OutcomeKind.ENDED
    assert len(done.requests) == 1


def test_the_action_gets_what_became_of_the_call():
    done = dial("<Client>bob</Client>", ACTION)

    assert done.dial == {
        "DialRingDuration": "4",
        "DialCallSid": SID,
        "DialCallStatus": "completed",
        "DialCallDuration": "20",
    }
    assert done.parameters()["OutboundCallSid"] == SID
    assert done.words == ["done"]
    assert len(done.requests) == 2


def test_ac45_a_busy_callee():
    done = dial("<Client>bob</Client>", ACTION, callees={"bob": BUSY})

    assert (done.dial["DialCallStatus"], done.dial["DialCallDuration"]) == ("busy", "0")
    assert done.time_of("requests: POST http://app.invalid/next") == 2


def test_ac46_nobody_answers_in_time():
    done = dial("1234", f'{ACTION} timeout="5"', callees={"1234": NO_ANSWER})

    assert done.time_of("cancels 1234") == 5
    assert (done.dial["DialCallStatus"], done.dial["DialRingDuration"]) == ("no-answer", "5")


def test_ac47_a_target_that_cannot_be_called_fails():
    done = dial("<Client>bob</Client>", ACTION, callees={"bob": UNREACHABLE})

    assert done.dial == {"DialCallSid": "", "DialCallStatus": "failed", "DialCallDuration": "0"}
    assert "OutboundCallSid" not in done.parameters()
    assert [(notice.code, notice.level) for notice in done.notices] == [(11008, Level.ERROR)]
    assert "plays: ringing [4.0 s] (endlessly)" not in done.lines()


def test_ac48_a_target_that_cannot_be_called_leads_to_the_next_verb():
    assert dial("<Client>bob</Client>", callees={"bob": UNREACHABLE}).words == ["after"]


def test_a_dialer_that_is_not_allowed_is_a_warning():
    done = dial("1", callees={"1": Callee(error=11001)})

    assert [(notice.code, notice.level) for notice in done.notices] == [(11001, Level.WARNING)]


def test_a_caller_id_that_the_dialer_refuses_is_told_once():
    done = dial("<Number>1</Number><Number>2</Number>", ACTION, callees={"1": Callee(error=13214)})

    assert [(notice.code, notice.level) for notice in done.notices] == [(13214, Level.ERROR)]
    assert done.dial["DialCallStatus"] == "failed"


def test_ac49_of_a_number_and_a_client_the_first_answer_wins():
    done = dial("<Number>1234</Number><Client>bob</Client>", callees={"bob": Callee(answers=2)})

    assert done.time_of("cancels 1234") == 2
    assert done.dialer.bridged == [("B2", False)]


def test_a_fork_goes_on_without_those_that_fail():
    done = dial(
        "<Number>1</Number><Number>2</Number><Client>bob</Client>",
        ACTION,
        callees={"1": UNREACHABLE, "2": BUSY},
    )

    assert done.dialer.bridged == [("B2", False)]
    assert done.dial["DialCallStatus"] == "completed"


def test_of_a_fork_that_fails_the_last_end_is_told():
    done = dial(
        "<Number>1</Number><Number>2</Number>",
        ACTION,
        callees={"1": Callee(answers=6, code=404), "2": BUSY},
    )

    assert (done.dial["DialCallStatus"], done.dial["DialCallSid"]) == ("failed", SID)


def test_all_devices_of_a_client_ring():
    done = dial("<Client>bob</Client>", callees={"bob": Callee(devices=2)})

    assert len(done.dialer.bridged) == 1
    assert "cancels bob" in done.lines()


def test_ac50_the_time_limit_ends_both_calls():
    done = dial("<Client>bob</Client>", 'timeLimit="10"')

    assert (done.time_of("ends bob"), done.seconds) == (14, 14)
    assert done.reason == "Dial_time_limit_reached"
    assert (done.words, done.outcome.kind) == ([], OutcomeKind.HUNG_UP)


def test_after_the_time_limit_the_action_is_requested_for_a_call_that_is_over():
    done = dial("<Client>bob</Client>", f'{ACTION} timeLimit="10"')

    assert (done.dial["DialCallStatus"], done.dial["DialCallDuration"]) == ("completed", "10")
    assert done.parameters()["CallStatus"] == "completed"
    assert (done.words, done.outcome.kind) == ([], OutcomeKind.CALLER_LEFT)


@pytest.mark.parametrize(
    ("digits", "line", "status"),
    [("2:hangup", "cancels bob", "canceled"), ("9:hangup", "ends bob", "completed")],
)
def test_a_caller_who_leaves_ends_the_other_side_and_the_action_is_requested(digits, line, status):
    done = dial("<Client>bob</Client>", ACTION, digits=digits)

    assert line in done.lines()
    assert (done.dial["DialCallStatus"], done.dial["DialCallSid"]) == (status, SID)
    assert (done.parameters()["CallStatus"], done.words) == ("completed", [])


def test_a_caller_who_leaves_a_dial_without_action_causes_no_request():
    done = dial("<Client>bob</Client>", digits="9:hangup")

    assert (len(done.requests), done.outcome.kind) == (1, OutcomeKind.CALLER_LEFT)


def test_a_caller_who_leaves_while_the_music_is_fetched_is_a_canceled_dial(monkeypatch):
    async def leave(prompts, url):
        raise LegEnded

    monkeypatch.setattr(SimulatedPrompts, "from_url", leave)
    done = dial("1", f'{ACTION} dialMusic="a.wav"')

    assert (done.dial["DialCallStatus"], done.dialer.targets) == ("canceled", [])


@pytest.mark.parametrize(("number", "sid"), [(0, ""), (1, SID)])
def test_a_caller_who_leaves_while_others_are_called_is_a_canceled_dial(number, sid, monkeypatch):
    simulator = Simulator(
        {DOCUMENT_URL: f"<Response><Dial {ACTION}><Number>1</Number><Number>2</Number></Dial></Response>"}
    )
    dialer, real = simulator.dialer, simulator.dialer.dial

    async def leave(target, **options):
        if len(dialer.targets) == number:
            simulator.leg._act("hangup")
        return await real(target, **options)

    monkeypatch.setattr(dialer, "dial", leave)
    parameters = simulator.run(Source(url=DOCUMENT_URL)).parameters()

    assert (parameters["DialCallStatus"], parameters["DialCallSid"]) == ("canceled", sid)
    assert dialer.live == []


def test_a_leg_that_is_taken_away_leads_onward():
    done = dial("<Client>bob</Client>", ACTION, callees={"bob": Callee(moved=5)})

    assert done.dial["DialCallStatus"] == "completed"
    assert done.time_of("requests: POST http://app.invalid/next") == 9


def test_the_first_dialed_leg_stays_in_all_later_requests():
    done = dial("1", after="<Dial action='next'>2</Dial>")

    assert done.parameters()["OutboundCallSid"] == SID
    assert done.dial["DialCallSid"] != SID


def test_the_dialer_is_closed_after_each_dial():
    assert dial("1", after="<Dial>2</Dial>").dialer.closed == 2


@pytest.mark.parametrize("callee", [UNREACHABLE, Callee(answers=0, talks=0), Callee(answers=0, code=486)])
def test_a_dial_that_is_over_at_once_again_and_again_is_stopped(callee):
    done = Dialed(f'<Dial action="{DOCUMENT_URL}">1</Dial>', callees={"1": callee})

    assert (done.outcome.kind, done.reason) == (OutcomeKind.FAILED, "Too_many_document_switches")


def test_a_timer_of_something_else_means_nothing():
    simulator = Simulator({DOCUMENT_URL: f"<Response><Dial>1</Dial>{AFTER}</Response>"})
    simulator.leg.start_timer("other", 1)
    done = simulator.run(Source(url=DOCUMENT_URL))

    assert done.time_of('plays: "after"') == 24


# ------------------------------------------------------------------ keys


def test_keys_go_to_the_callee_once_joined():
    done = dial("<Client>bob</Client>", digits="1:1,10:2*")

    assert done.dialer.relayed == [("B1", "2"), ("B1", "*")]


def test_the_star_ends_the_callee_when_asked_for():
    done = dial("<Client>bob</Client>", f'{ACTION} hangupOnStar="true"', digits="1:*,10:2*")

    assert done.dialer.relayed == [("B1", "2")]
    assert done.time_of("ends bob") == 10.5
    assert (done.dial["DialCallStatus"], done.words) == ("completed", ["done"])


# ------------------------------------------------------------------ ringing


def test_the_caller_hears_ringing_until_the_bridge():
    done = dial("<Client>bob</Client>")

    assert done.time_of("plays: ringing [4.0 s] (endlessly)") == 0
    assert done.lines().index("joined with bob") == done.lines().index("bob answers") + 1


def test_without_a_built_in_tone_there_is_silence():
    assert not any(line.startswith("plays: ringing") for line in dial("1", ringing=False).lines())


@pytest.mark.parametrize("name", ["dialMusic", "ringTone"])
def test_music_takes_the_place_of_the_ringing(name):
    done = dial("1", f'{name}="wait.wav"')

    assert "plays: http://app.invalid/wait.wav [3.0 s] (endlessly)" in done.lines()
    assert not any(line.startswith("plays: ringing") for line in done.lines())


@pytest.mark.parametrize("value", ["us", "automatic", "at"])
def test_the_tone_of_a_country_is_the_built_in_one(value):
    assert "plays: ringing [4.0 s] (endlessly)" in dial("1", f'ringTone="{value}"').lines()


def test_the_ringing_can_be_switched_off():
    assert not any("endlessly" in line for line in dial("1", 'dialMusic="disabled"').lines())


@pytest.mark.parametrize("url", ["gone.wav", "http://", "mailto:x"])
def test_music_that_is_not_obtained_is_a_warning_and_the_ringing_tone(url):
    done = dial("1", f'dialMusic="{url}"', missing=lambda source: source.endswith("gone.wav"))

    assert [(notice.code, notice.level) for notice in done.notices] == [(13233, Level.WARNING)]
    assert "plays: ringing [4.0 s] (endlessly)" in done.lines()
    assert done.words == ["after"]


def test_music_that_breaks_is_followed_by_the_ringing_tone():
    done = dial("1", 'dialMusic="a.wav"', broken=["http://app.invalid/a.wav", "ringing"])

    assert "plays: ringing [4.0 s] (endlessly)" in done.lines()
    assert done.words == ["after"]


def test_early_audio_replaces_the_ringing():
    done = dial("1", callees={"1": Callee(early_media=True)})

    assert done.dialer.bridged == [("B1", True), ("B1", False)]
    assert done.time_of("hears the ringing of 1") == 0.5


# ------------------------------------------------------------------ digits and screening


def test_digits_are_sent_before_the_bridge():
    done = dial('<Number sendDigits="1w#W">1</Number>')

    assert done.target.send_digits == "1w#ww"
    assert done.time_of("joined with 1") == pytest.approx(4 + 0.4 + 1.5)


def test_ac56_the_caller_hears_ringing_during_the_screening():
    done = dial('<Client url="screen" method="GET" timeout="9">bob</Client>')

    assert attrs.astuple(done.target.screening) == ("http://app.invalid/screen", "GET", 9)
    assert done.time_of("joined with bob") == 6


def test_ac57_a_refused_screening_is_no_answer_and_the_caller_goes_on():
    done = dial('<Client url="screen">bob</Client>', ACTION, callees={"bob": Callee(accepts=False)})

    assert done.dial["DialCallStatus"] == "no-answer"
    assert (done.dialer.bridged, done.words) == ([], ["done"])


def test_a_callee_who_leaves_the_screening_is_no_answer():
    done = dial('<Client url="screen">bob</Client>', ACTION, callees={"bob": Callee(talks=1)})

    assert (done.dial["DialCallStatus"], done.dial["DialCallDuration"]) == ("no-answer", "1")


# ------------------------------------------------------------------ recording


@pytest.mark.parametrize(
    ("value", "begins"),
    [
        ("TRUE", 4),
        ("record-from-answer", 4),
        ("record-from-answer-dual", 4),
        ("record-from-ringing", 0),
        ("record-from-ringing-dual", 0),
    ],
)
def test_ac51_a_recording_is_told_to_the_action(value, begins, monkeypatch):
    specs = []
    record = SimulatedLeg.record
    monkeypatch.setattr(SimulatedLeg, "record", lambda leg, spec: specs.append(spec) or record(leg, spec))
    done = dial("1", f'{ACTION} record="{value}" timeLimit="50"')

    assert done.time_of("records both sides") == begins
    assert done.dial["RecordingUrl"] == done.dial["PublicRecordingUrl"]
    assert done.dial["RecordingUrl"].endswith(".wav")
    assert (specs[0].both, specs[0].stereo, specs[0].beep) == (True, value.endswith("-dual"), False)
    assert specs[0].max_seconds == specs[0].silence_seconds == (80 if begins == 0 else 50)


@pytest.mark.parametrize("value", ["false", "do-not-record", "maybe"])
def test_without_record_nothing_is_recorded(value):
    done = dial("1", f'{ACTION} record="{value}"')

    assert "RecordingUrl" not in done.dial
    assert "records both sides" not in done.lines()


def test_a_recording_that_holds_nothing_has_no_url():
    assert "RecordingUrl" not in dial("1", f'{ACTION} record="true"', speech_seconds=0).dial


def test_the_recording_is_told_when_the_caller_left():
    done = dial("1", f'{ACTION} record="true"', digits="9:hangup")

    assert "RecordingUrl" in done.dial


def test_the_recording_of_a_call_that_reached_its_limit_is_told():
    assert "RecordingUrl" in dial("1", f'{ACTION} record="true" timeLimit="5"').dial


def test_a_recording_whose_end_is_never_told_does_not_hold_the_caller(monkeypatch):
    monkeypatch.setattr(SimulatedLeg, "stop_recording", lambda leg, recording: leg._act("hangup"))
    monkeypatch.setattr(SimulatedLeg, "_end_recording", lambda leg, end, digit="": None)
    done = dial("1", f'{ACTION} record="true"')

    assert (done.dial["DialCallStatus"], done.status) == ("completed", CallStatus.COMPLETED)


# ------------------------------------------------------------------ SIP facts


def test_for_sip_nouns_the_facts_of_sip_are_told():
    callee = Callee(answers=1, code=486, headers={"X-Why": "lunch"})
    done = dial("<Sip>sip:a@h</Sip>", ACTION, callees={"sip:a@h": callee})

    assert done.dial["DialSipCallId"] == "call-1@simulated"
    assert done.dial["DialSipResponseCode"] == "486"
    assert done.dial["DialSipHeader_X-Why"] == "lunch"


def test_a_response_code_that_is_not_known_is_left_out():
    info = BranchInfo(branch=BranchId("B"), call_sid="CA", sip=True)

    assert "DialSipResponseCode" not in dict(dial_parameters(info, CallStatus.NO_ANSWER))


def test_for_other_nouns_they_are_not():
    assert not any(name.startswith("DialSip") for name in dial("1", ACTION).dial)


def test_a_sip_leg_that_was_cancelled_has_the_code_of_that():
    done = dial("sip:a@h", ACTION, callees={"sip:a@h": NO_ANSWER}, digits="3:hangup")

    assert done.dial["DialSipResponseCode"] == "487"


# ------------------------------------------------------------------ attributes


@pytest.mark.parametrize(
    ("value", "user"),
    [
        ("1234", "1234"),
        ("+1 (555) 000-1", "+15550001"),
        ("client:thomas", "thomas"),
        ("thomas", "thomas"),
        ("", None),
        ("client:", None),
    ],
)
def test_ac59_the_caller_id(value, user):
    assert dial("1", f'callerId="{value}" callerName="Tom"').dialer.targets[0][1:] == (user, "Tom")


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ('method="PUT"', 13210),
        ('timeout="0"', 13212),
        ('timeLimit="x"', 13216),
        ('callerId="a&lt;b"', 13214),
    ],
)
def test_a_wrong_value_is_a_warning_and_the_default(attributes, code):
    done = dial("1", attributes)

    assert [(notice.code, notice.level) for notice in done.notices] == [(code, Level.WARNING)]
    assert done.dialer.bridged


def test_a_name_that_cannot_be_sent_is_left_out():
    assert dial("1", 'callerName="a&#9;b"').dialer.targets[0][2] is None


def test_the_method_of_the_action():
    assert dial("1", f'{ACTION} method="get"').requests[1].method == "GET"


def test_an_empty_action_is_none():
    assert dial("1", 'action=""').words == ["after"]


def test_an_action_that_cannot_be_parsed_ends_the_call():
    done = dial("1", 'action="http://"')

    assert (done.codes, done.outcome.kind) == ([11100], OutcomeKind.FAILED)


# ------------------------------------------------------------------ whom


@pytest.mark.parametrize("inside", ["", "<Queue>q</Queue>", "<Foo/>", "<Video/>", "<Conference/>"])
def test_a_dial_that_names_nobody_is_passed_over(inside):
    done = dial(inside, ACTION)

    assert (done.words, done.codes, done.dialer.targets) == (["after"], [], [])


def test_nouns_win_over_the_text():
    done = dial("5555<Number>1</Number>")

    assert [target.address for target, *_ in done.dialer.targets] == ["1"]
    assert "text_ignored" in [event for event, _ in done.journal]


def test_the_text_counts_beside_elements_that_are_no_targets():
    done = dial("5555<Queue>q</Queue>")

    assert done.target.address == "5555"
    assert "noun_ignored" in [event for event, _ in done.journal]


def test_at_most_ten_nouns_are_called():
    done = dial("".join(f"<Number>{n}</Number>" for n in range(12)))

    assert len(done.dialer.targets) == 10
    assert done.codes == [12200]


@pytest.mark.parametrize(
    "noun",
    [
        '<Number url="http://">1</Number>',
        '<Client statusCallback="mailto:x">bob</Client>',
        '<Conference waitUrl="http://[">r</Conference>',
    ],
)
def test_a_bad_url_in_a_noun_calls_nobody_and_ends_the_call(noun):
    done = dial(f"<Number>2</Number>{noun}")

    assert done.codes == [13233 if "waitUrl" in noun else 11100]
    assert (done.outcome.kind, done.dialer.targets) == (OutcomeKind.FAILED, [])


def test_a_noun_that_cannot_be_read_fails_and_the_others_are_called():
    done = dial("<Sip>bob</Sip><Number/><Number>1</Number>")

    assert (done.codes, done.target.address) == ([11008, 11008], "1")


def test_a_wrong_attribute_of_a_noun_is_a_warning():
    assert dial('<Number sendDigits="x" method="PUT" timeout="a">1</Number>').codes == [13210, 13212, 12200]


def test_a_sip_noun_has_headers_and_credentials():
    done = dial('<Sip username="u" password="p">sip:a@h;transport=tcp?mycustomheader=foo</Sip>')

    assert done.target.kind is TargetKind.SIP
    assert done.target.address == "sip:a@h;transport=tcp"
    assert done.target.headers == (("X-mycustomheader", "foo"),)
    assert (done.target.username, done.target.password) == ("u", "p")
    assert "password" not in repr(done.target)


def test_a_call_that_cannot_dial_skips_the_verb():
    simulator = Simulator({})
    source = f"<Response><Dial>1</Dial><Dial><Conference>r</Conference></Dial>{AFTER}</Response>"
    ports = attrs.evolve(simulator.ports, dialer=None, conferences=None)
    outcome = drive(Interpreter(ports, simulator.call).run(Source(text=source)))

    assert outcome.kind is OutcomeKind.ENDED
    assert [notice.code for notice in simulator.records.notices] == [11001, 11001]
    assert simulator.prompts.spoken[0][0] == "after"
