"""Documents about text messages. Reference: SMS (application request, executing the reply)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rcml.flow import InterpreterSettings
from rcml.interpreter import Interpreter, OutcomeKind, Source
from rcml.message_simulator import (
    MESSAGE_URL,
    MessageSimulation,
    MessageSimulator,
    Reply,
    message_info,
    simulate_message,
)
from rcml.ports import FetchFailure, Level, OutgoingMessage
from rcml.simulator import Simulator

pytestmark = pytest.mark.unit

NEXT = "http://app.invalid/next"
FALLBACK = "http://app.invalid/fallback"
SID = "SM" + "0" * 32
SENT = "SM" + "0" * 31 + "1"
STANDARD = {
    "SmsSid": SID,
    "MessageSid": SID,
    "AccountSid": "AC" + "0" * 32,
    "From": "+15550001",
    "To": "1111",
    "Body": "hello",
    "SmsStatus": "received",
    "ApiVersion": "2012-04-24",
}
ANSWER = "<Response><Sms>hi</Sms></Response>"


def run(verbs: str, **options) -> MessageSimulation:
    return simulate_message(f"<Response>{verbs}</Response>", **options)


def bodies(done: MessageSimulation) -> list[str]:
    return [message.body for message in done.messages]


# ------------------------------------------------------------------------- requests


def test_the_application_is_told_of_the_message_and_its_headers():
    done = run("", message=message_info(sip_headers={"X-Tenant": "42"}))

    assert done.parameters() == {**STANDARD, "SipHeader_X-Tenant": "42"}
    assert done.requests[0].method == "POST"
    assert (done.outcome.kind, done.messages, done.codes) == (OutcomeKind.ENDED, [], [])


def test_the_first_request_takes_the_method_of_the_number():
    done = MessageSimulator({MESSAGE_URL: ANSWER}).run(Source(url=MESSAGE_URL, method="get"))

    assert done.requests[0].method == "GET"


def test_redirect_has_the_same_parameters_without_headers():
    done = run(
        '<Redirect method="GET">next</Redirect><Sms>never</Sms>',
        replies={NEXT: ANSWER},
        message=message_info(sip_headers={"X-Tenant": "42"}),
    )

    assert (done.requests[1].url, done.requests[1].method) == (NEXT, "GET")
    assert done.parameters(1) == STANDARD
    assert bodies(done) == ["hi"]


def test_redirect_without_text_is_passed_over():
    assert bodies(run("<Redirect/><Sms>x</Sms>")) == ["x"]


def test_a_wrong_method_of_redirect_is_a_warning():
    assert run('<Redirect method="PUT">next</Redirect>', replies={NEXT: ANSWER}).codes == [13710]


def test_documents_that_lead_to_each_other_are_stopped():
    done = run("<Sms>x</Sms><Redirect>sms.xml</Redirect>", settings=InterpreterSettings(max_switches=5))

    assert bodies(done) == ["x"] * 6
    assert (done.outcome.kind, done.outcome.reason) == (OutcomeKind.FAILED, "Too_many_document_switches")


def test_a_document_may_be_given_as_text():
    done = MessageSimulator({NEXT: ANSWER}).run(
        Source(text="<Response><Redirect>next</Redirect></Response>", url=MESSAGE_URL)
    )

    assert bodies(done) == ["hi"]


# ------------------------------------------------------------------------- verbs


def test_the_answer_goes_to_the_sender_from_the_number():
    assert run("<Sms>hi</Sms>").messages == [OutgoingMessage(to="+15550001", from_="1111", body="hi")]


def test_several_answers_are_sent_in_order():
    done = run('<Sms>1</Sms><Sms to="client:bob" from="Shop">2</Sms>')

    assert bodies(done) == ["1", "2"]
    assert (done.messages[1].to, done.messages[1].from_) == ("client:bob", "Shop")


def test_headers_of_the_reply_are_copied_to_the_answer():
    first = Reply(body="<Response><Sms>1</Sms><Redirect>next</Redirect></Response>", headers=(("X-A", "1"),))
    done = simulate_message(first, replies={NEXT: ANSWER})

    assert [message.headers for message in done.messages] == [(("X-A", "1"),), ()]


@pytest.mark.parametrize(
    "other",
    ["Say", "Dial", "Reject", "Play", "Hangup", "Gather", "Fax", "Message", "Number", "Unknown", "sms"],
)
def test_ac71_other_verbs_are_reported_and_the_next_one_runs(other):
    done = run(f"<{other}>x<Sms>inside</Sms></{other}><Sms>hi</Sms>")

    assert [(notice.code, notice.level) for notice in done.notices] == [(14110, Level.WARNING)]
    assert done.notices[0].message == f"{other} (line 1) is no verb for messages; skipped."
    assert done.notices[0].request_url == MESSAGE_URL
    assert bodies(done) == ["hi"]
    assert done.outcome.kind is OutcomeKind.ENDED


def test_ac73_the_action_gets_the_status_and_its_document_runs():
    done = run(
        '<Sms action="next">one</Sms><Sms>never</Sms>',
        replies={NEXT: ANSWER},
        status="sending",
        message=message_info(sip_headers={"X-Tenant": "42"}),
    )

    assert done.parameters(1) == STANDARD | {
        "SmsStatus": "sending",
        "MessageSid": SENT,
        "MessageStatus": "sending",
    }
    assert bodies(done) == ["one", "hi"]
    assert done.messages[0].status_callback == NEXT
    assert done.outcome.kind is OutcomeKind.ENDED


def test_an_empty_body_stops():
    done = run("<Sms>1</Sms><Sms/><Sms>3</Sms>", fallback_url=FALLBACK, replies={FALLBACK: ANSWER})

    assert [(notice.code, notice.level) for notice in done.notices] == [(14103, Level.ERROR)]
    assert "The message gets no further answer." in done.notices[0].message
    assert bodies(done) == ["1"]
    assert (done.outcome.kind, done.outcome.reason) == (OutcomeKind.FAILED, "Message_not_sent")


@pytest.mark.parametrize("code", [14101, 14102, 11001])
def test_a_refused_message_stops(code):
    done = run('<Sms to="1">x</Sms><Sms>y</Sms>', refused={"1": code})

    assert (done.codes, done.messages) == ([code], [])
    assert done.outcome.kind is OutcomeKind.FAILED


def test_a_url_that_cannot_be_parsed_stops():
    done = run("<Redirect>http://[</Redirect><Sms>y</Sms>")

    assert (done.codes, done.messages) == ([11100], [])
    assert done.outcome.kind is OutcomeKind.FAILED


def test_a_failed_message_does_not_stop():
    assert bodies(run("<Sms>x</Sms><Sms>y</Sms>", status="failed")) == ["x", "y"]


def test_email_is_sent_and_an_incomplete_one_passed_over():
    done = run('<Email to="a@h">no</Email><Email to="a@h" from="b@h">yes</Email><Sms>x</Sms>')

    assert [mail.body for mail in done.mails] == ["yes"]
    assert bodies(done) == ["x"]


def test_email_without_a_mail_server_is_a_warning():
    done = run('<Email to="a@h" from="b@h">yes</Email><Sms>x</Sms>', mail=False)

    assert (done.codes, bodies(done)) == ([11001], ["x"])


# ------------------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(status=500), 11200),
        (Reply(status=204), 11200),
        (Reply(status=404), 21402),
        (Reply(failure=FetchFailure.IO), 11205),
        (Reply(failure=FetchFailure.PROTOCOL), 11206),
        (Reply(failure=FetchFailure.BAD_URL), 11100),
        (Reply(failure=FetchFailure.TOO_LARGE), 12100),
        ("<Response><Sms>", 12100),
        ("<Sms>x</Sms>", 12100),
        ("", 12100),
    ],
)
def test_ac77_the_fallback_is_requested_with_the_same_parameters(reply, code):
    message = message_info(sip_headers={"X-Tenant": "42"})
    done = simulate_message(reply, fallback_url=FALLBACK, replies={FALLBACK: ANSWER}, message=message)

    assert done.codes == [code]
    assert [request.url for request in done.requests] == [MESSAGE_URL, FALLBACK]
    error = {"ErrorCode": str(code), "ErrorUrl": MESSAGE_URL}
    assert done.parameters(1) == {**done.parameters(0), **error}
    assert "SipHeader_X-Tenant" in done.parameters(1)
    assert bodies(done) == ["hi"]


def test_without_a_fallback_nothing_is_sent():
    done = simulate_message(Reply(status=404))

    assert (done.codes, done.messages) == ([21402], [])
    assert done.outcome.kind is OutcomeKind.FAILED


def test_a_fallback_that_fails_is_the_end():
    done = simulate_message(Reply(status=500), fallback_url=FALLBACK, replies={FALLBACK: Reply(status=404)})

    assert (done.codes, done.messages, len(done.requests)) == ([11200, 21402], [], 2)
    assert done.outcome.kind is OutcomeKind.FAILED


def test_a_later_document_that_fails_causes_the_fallback_once():
    replies = {FALLBACK: "<Response><Sms>1</Sms><Redirect>gone</Redirect></Response>"}
    message = message_info(sip_headers={"X-Tenant": "42"})
    done = run("<Redirect>gone</Redirect>", fallback_url=FALLBACK, replies=replies, message=message)

    assert [request.url.rpartition("/")[2] for request in done.requests] == [
        "sms.xml",
        "gone",
        "fallback",
        "gone",
    ]
    assert done.parameters(2) == {
        **STANDARD,
        "ErrorCode": "21402",
        "ErrorUrl": "http://app.invalid/gone",
    }
    assert bodies(done) == ["1"]


@pytest.mark.parametrize(
    "content_type", ["text/plain", "audio/wav", "audio/mpeg", "application/json", "", None]
)
@pytest.mark.parametrize("body", ["hello", "", ANSWER])
def test_ac72_a_reply_that_is_no_xml_is_a_warning_and_no_message(content_type, body):
    reply = Reply(body=body, content_type=content_type)
    done = simulate_message(reply, fallback_url=FALLBACK, replies={FALLBACK: ANSWER})

    assert [(notice.code, notice.level) for notice in done.notices] == [(12300, Level.WARNING)]
    assert "XML is needed" in done.notices[0].message
    assert (done.messages, len(done.requests)) == ([], 1)
    assert done.outcome.kind is OutcomeKind.FAILED


@pytest.mark.parametrize("content_type", ["text/xml; charset=UTF-8", "application/xml", "TEXT/HTML"])
def test_xml_and_html_are_read(content_type):
    assert bodies(simulate_message(Reply(body=ANSWER, content_type=content_type))) == ["hi"]


# ------------------------------------------------------------------------- any document

NAMES = st.sampled_from(["Sms", "Redirect", "Email", "Say", "Dial", "Number", "Foo", "Response"])
ATTRIBUTES = st.dictionaries(
    st.sampled_from(
        ["to", "from", "action", "method", "statusCallback", "statusCallbackMethod", "cc", "Bcc", "subject"]
    ),
    st.sampled_from(["", "next", "sms.xml", "gone", "GET", "x", "1", "a@h, b@h", "http://[", "ftp://h"]),
    max_size=4,
)
TEXTS = st.sampled_from(["", "hello", "next", "gone", "http://[", "&lt;&amp;", " \n "])


def _element(name: str, attributes: dict[str, str], text: str, inner: list[str]) -> str:
    given_attributes = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f"<{name}{given_attributes}>{text}{''.join(inner)}</{name}>"


ELEMENTS = st.builds(
    _element,
    NAMES,
    ATTRIBUTES,
    TEXTS,
    st.lists(st.builds(_element, NAMES, ATTRIBUTES, TEXTS, st.just([])), max_size=2),
)
REPLIES = st.lists(ELEMENTS, max_size=4).map(lambda verbs: f"<Response>{''.join(verbs)}</Response>") | (
    st.sampled_from(
        [
            Reply(status=404),
            Reply(failure=FetchFailure.IO),
            Reply(body="x", content_type="text/plain"),
            Reply(body=b"\xff\xfe\x00", content_type="text/xml"),
            "<",
            "",
        ]
    )
)


@settings(max_examples=200, deadline=None)
@given(REPLIES, REPLIES, st.none() | st.just(FALLBACK), REPLIES, st.sampled_from([0, 14101, 14102, 11001]))
def test_every_flow_ends_and_never_sends_an_empty_message(first, other, fallback, last, code):
    done = simulate_message(
        first,
        replies={NEXT: other, FALLBACK: last},
        fallback_url=fallback,
        refused={"1": code},
        settings=InterpreterSettings(max_switches=10),
    )

    assert done.outcome.kind in (OutcomeKind.ENDED, OutcomeKind.FAILED)
    assert (done.outcome.kind is OutcomeKind.FAILED) is bool(done.outcome.reason)
    assert len(done.requests) <= 13
    assert all(message.body and message.to and message.from_ for message in done.messages)
    assert all(mail.to and mail.from_ for mail in done.mails)
    assert all(request.parameters[0] == ("SmsSid", SID) for request in done.requests)
    assert all(len(dict(request.parameters)) == len(request.parameters) for request in done.requests)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200))
def test_whatever_bytes_come_nothing_is_raised(body):
    done = simulate_message(Reply(body=body))

    assert done.outcome.kind in (OutcomeKind.ENDED, OutcomeKind.FAILED)


@settings(max_examples=50, deadline=None)
@given(st.lists(ELEMENTS, max_size=3))
def test_messages_of_a_call_and_of_a_message_are_read_alike(verbs):
    """The same Sms elements in both give the same messages, as long as nothing leads elsewhere."""
    document = f"<Response>{''.join(verb for verb in verbs if verb.startswith('<Sms'))}</Response>"
    call = Simulator({MESSAGE_URL: document})
    message = MessageSimulator({MESSAGE_URL: document})
    message.run(Source(url=MESSAGE_URL))
    coroutine = Interpreter(call.ports, call.call).run(Source(url=MESSAGE_URL))
    with pytest.raises(StopIteration):
        coroutine.send(None)

    assert call.messages.sent == message.messages.sent
