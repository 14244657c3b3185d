"""Sms in a call. Reference: Verbs, Sms (inside a call)."""

import attrs
import pytest

from rcml.interpreter import Interpreter, OutcomeKind, Source
from rcml.ports import CallStatus, Direction, Level, OutgoingMessage
from rcml.simulated_leg import ScriptedCaller, drive, parse_digits
from rcml.simulator import DOCUMENT_URL, Simulation, Simulator, call_info, simulate

pytestmark = pytest.mark.unit

NEXT = "http://app.invalid/next"
DONE = {NEXT: "<Response><Say>done</Say></Response>"}


def run(verbs: str, **options) -> Simulation:
    return simulate(f"<Response>{verbs}</Response>", **options)


def refused(verbs: str, **codes: int) -> Simulation:
    simulator = Simulator({DOCUMENT_URL: f"<Response>{verbs}</Response>", **DONE})
    simulator.messages.refused = {"1": codes["code"]}
    return simulator.run(Source(url=DOCUMENT_URL))


def test_it_goes_to_the_caller_from_the_called_number():
    done = run("<Sms>Thanks for calling</Sms>")

    assert done.messages == [OutgoingMessage(to="+15550001", from_="1111", body="Thanks for calling")]
    assert done.codes == []
    assert done.outcome.kind is OutcomeKind.ENDED


@pytest.mark.parametrize("direction", [Direction.OUTBOUND_API, Direction.OUTBOUND_DIAL])
def test_on_outbound_calls_it_goes_to_the_called_party(direction):
    done = run("<Sms>x</Sms>", call=call_info("1111", "+15550001", direction=direction), answered=True)

    assert (done.messages[0].to, done.messages[0].from_) == ("+15550001", "1111")


def test_recipient_and_sender_can_be_given():
    done = run('<Sms to=" client:bob " from="Restcomm">x</Sms>')

    assert (done.messages[0].to, done.messages[0].from_) == ("client:bob", "Restcomm")


def test_a_ringing_call_is_answered_first():
    assert run("<Sms>x</Sms>").lines()[1:3] == ["answered", 'sends to +15550001 from 1111: "x"']


def test_several_are_sent_in_order():
    done = run("<Sms>1</Sms><Sms>2</Sms><Say>x</Say><Sms>3</Sms>")

    assert [message.body for message in done.messages] == ["1", "2", "3"]


def test_text_runs_around_comments_and_elements_are_one_body():
    done = run("<Sms> a &lt; b<!-- c --> &amp;<Say>d</Say> e\nf </Sms>")

    assert [message.body for message in done.messages] == ["a < b & e\nf"]
    assert done.spoken == []


@pytest.mark.parametrize("status", ["sent", "sending", "queued", "failed"])
def test_the_action_is_told_what_is_known_of_the_message_and_its_reply_replaces(status):
    simulator = Simulator(
        {DOCUMENT_URL: '<Response><Sms action="next">x</Sms><Say>never</Say></Response>', **DONE}
    )
    simulator.messages.status = status
    done = simulator.run(Source(url=DOCUMENT_URL))

    told = done.parameters()
    sid = "SM" + "0" * 31 + "1"
    assert (done.requests[1].url, done.requests[1].method) == (NEXT, "POST")
    assert {name: told[name] for name in told if name.startswith(("Sms", "Message"))} == {
        "SmsSid": sid,
        "SmsStatus": status,
        "MessageSid": sid,
        "MessageStatus": status,
    }
    assert (told["CallSid"], told["CallStatus"]) == ("CA" + "0" * 32, "in-progress")
    assert [text for text, *_ in done.spoken] == ["done"]


def test_a_message_that_failed_does_not_end_the_call():
    simulator = Simulator({DOCUMENT_URL: "<Response><Sms>x</Sms><Say>y</Say></Response>"})
    simulator.messages.status = "failed"
    done = simulator.run(Source(url=DOCUMENT_URL))

    assert [text for text, *_ in done.spoken] == ["y"]
    assert done.codes == []


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ("", (None, "POST")),
        ('action="next"', (NEXT, "POST")),
        ('action="next" method="get"', (NEXT, "GET")),
        ('statusCallback="told"', ("http://app.invalid/told", "POST")),
        ('statusCallback="told" statusCallbackMethod="GET"', ("http://app.invalid/told", "GET")),
        ('action="next" statusCallback="http://h/t" method="GET"', ("http://h/t", "POST")),
        ('action="" statusCallback=""', (None, "POST")),
    ],
)
def test_delivery_is_told_to_the_status_callback_else_to_the_action(attributes, expected):
    done = run(f"<Sms {attributes}>x</Sms>", replies=DONE)

    message = done.messages[0]
    assert (message.status_callback, message.status_callback_method) == expected
    assert len(done.requests) == 1 + ("next" in attributes)


@pytest.mark.parametrize("name", ["method", "statusCallbackMethod"])
def test_a_wrong_method_is_a_warning_and_post_is_used(name):
    done = run(f'<Sms action="next" {name}="PUT">x</Sms>', replies=DONE)

    assert [(notice.code, notice.level) for notice in done.notices] == [(14104, Level.WARNING)]
    assert done.requests[1].method == "POST"


@pytest.mark.parametrize("text", ["", "  \n ", "<![CDATA[]]>", "<Say>x</Say>"])
def test_ac74_an_empty_body_is_an_error_and_the_call_gets_bye(text):
    done = run(f'<Sms action="next">{text}</Sms><Say>never</Say>', replies=DONE)

    assert [(notice.code, notice.level) for notice in done.notices] == [(14103, Level.ERROR)]
    assert done.notices[0].message == "Sms (line 1): A message needs a text. The call is ended."
    assert (done.outcome.kind, done.reason) == (OutcomeKind.FAILED, "Message_not_sent")
    assert done.status is CallStatus.COMPLETED
    assert (done.messages, done.spoken, len(done.requests)) == ([], [], 1)


@pytest.mark.parametrize(
    ("code", "level"), [(14101, Level.ERROR), (14102, Level.ERROR), (11001, Level.WARNING)]
)
def test_a_message_that_is_refused_ends_the_call(code, level):
    done = refused('<Sms to="1" action="next">x</Sms><Say>never</Say>', code=code)

    assert [(notice.code, notice.level) for notice in done.notices] == [(code, level)]
    assert done.notices[0].request_url == DOCUMENT_URL
    assert (done.outcome.kind, done.status) == (OutcomeKind.FAILED, CallStatus.COMPLETED)
    assert (done.spoken, len(done.requests)) == ([], 1)


@pytest.mark.parametrize(("caller", "called", "code"), [("", "1111", 14101), ("alice", "", 14102)])
def test_a_call_without_numbers_needs_them_in_the_document(caller, called, code):
    call = call_info(caller, called)

    assert run("<Sms>x</Sms>", call=call).codes == [code]
    assert len(run('<Sms to="1" from="2">x</Sms>', call=call).messages) == 1


@pytest.mark.parametrize("name", ["action", "statusCallback"])
def test_a_url_that_cannot_be_parsed_ends_the_call_before_anything_is_sent(name):
    done = run(f'<Sms {name}="http://[">x</Sms><Say>never</Say>')

    assert done.codes == [11100]
    assert f"Sms {name}: " in done.notices[0].message
    assert (done.messages, done.spoken, done.reason) == ([], [], "Invalid_URL_in_RCML")


def test_where_no_messages_can_be_sent_it_is_skipped_with_a_warning():
    simulator = Simulator({DOCUMENT_URL: "<Response><Sms/><Say>x</Say></Response>"})
    ports = attrs.evolve(simulator.ports, messages=None)
    drive(Interpreter(ports, simulator.call).run(Source(url=DOCUMENT_URL)))

    assert [(n.code, n.level) for n in simulator.records.notices] == [(11001, Level.WARNING)]
    assert [text for text, *_ in simulator.prompts.spoken] == ["x"]


def test_it_is_sent_when_the_caller_has_hung_up_and_its_action_is_requested():
    replies = {
        NEXT: '<Response><Say>no</Say><Sms action="last">bye</Sms></Response>',
        "http://app.invalid/last": "<Response><Sms>again</Sms><Say>no</Say></Response>",
    }
    done = run('<Record action="next"/>', digits="4:hangup", speech_seconds=9, replies=replies)

    assert [message.body for message in done.messages] == ["bye", "again"]
    assert done.parameters()["CallStatus"] == "completed"
    assert done.spoken == []
    assert done.outcome.kind is OutcomeKind.CALLER_LEFT


def test_an_empty_body_after_the_call_ends_the_document_only():
    replies = {NEXT: "<Response><Sms/><Sms>x</Sms></Response>"}
    done = run('<Record action="next"/>', digits="4:hangup", speech_seconds=9, replies=replies)

    assert (done.codes, done.messages) == ([14103], [])
    assert done.outcome.kind is OutcomeKind.FAILED


@pytest.mark.parametrize("action", ["", 'action="next"'])
def test_a_caller_who_leaves_while_it_is_handed_over_still_causes_the_action(action):
    simulator = Simulator(
        {
            DOCUMENT_URL: f"<Response><Sms {action}>x</Sms><Say>no</Say><Sms>no</Sms></Response>",
            NEXT: "<Response><Say>no</Say><Sms>y</Sms></Response>",
        },
        caller=ScriptedCaller(parse_digits("1:hangup")),
    )
    simulator.messages.seconds = 3
    done = simulator.run(Source(url=DOCUMENT_URL))

    assert [message.body for message in done.messages] == (["x", "y"] if action else ["x"])
    assert len(done.requests) == 1 + bool(action)
    assert done.spoken == []
    assert done.outcome.kind is OutcomeKind.CALLER_LEFT


def test_a_document_that_sends_to_itself_is_stopped():
    done = run('<Sms action="">x</Sms><Redirect>voice.xml</Redirect>')

    assert len(done.messages) == 101
    assert done.reason == "Too_many_document_switches"


def test_headers_of_the_call_are_not_copied():
    done = run("<Sms>x</Sms>", call=call_info(sip_headers={"X-A": "1"}))

    assert done.messages[0].headers == ()
