"""Email in a call. Reference: Verbs, Email."""

import attrs
import pytest

from rcml.interpreter import Interpreter, OutcomeKind, Source
from rcml.ports import Level, OutgoingEmail
from rcml.simulated_leg import drive
from rcml.simulator import DOCUMENT_URL, Simulation, Simulator, simulate
from rcml.verbs.email import addresses

pytestmark = pytest.mark.unit

NEXT = "http://app.invalid/next"
BOTH = 'to="a@example.org" from="b@example.org"'


def run(verbs: str, **options) -> Simulation:
    return simulate(f"<Response>{verbs}</Response>", **options)


def test_a_mail_is_handed_over_and_the_document_goes_on():
    done = run(f'<Email {BOTH} cc="c@example.org" subject="News">Line 1\nLine 2</Email><Say>x</Say>')

    assert done.mails == [
        OutgoingEmail(
            to=("a@example.org",),
            from_="b@example.org",
            cc=("c@example.org",),
            subject="News",
            body="Line 1\nLine 2",
        )
    ]
    assert [text for text, *_ in done.spoken] == ["x"]
    assert (len(done.requests), done.codes) == (1, [])


@pytest.mark.parametrize(
    ("attributes", "bcc", "subject"),
    [
        ("", (), "Restcomm Email Service"),
        ('subject=""', (), "Restcomm Email Service"),
        ('bcc="x@h" subject="S"', ("x@h",), "S"),
        ('Bcc="x@h,y@h" Subject="S"', ("x@h", "y@h"), "S"),
        ('Bcc="y@h" bcc="x@h" Subject="T" subject="S"', ("x@h",), "S"),
        ('subject="a&#13;&#10;Bcc: z@h"', (), "a Bcc: z@h"),
    ],
)
def test_both_spellings_of_bcc_and_subject(attributes, bcc, subject):
    mail = run(f"<Email {BOTH} {attributes}>x</Email>").mails[0]

    assert (mail.bcc, mail.subject) == (bcc, subject)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        (" , ", ()),
        ("a@h", ("a@h",)),
        (" a@h ,b@h,", ("a@h", "b@h")),
        ('"Smith, Ann" <a@h>, b@h', ('"Smith, Ann" <a@h>', "b@h")),
        ("a@h\r\nBcc: c@h, b@h", ("a@h Bcc: c@h", "b@h")),
        ('"open, a@h, b@h', ('"open', "a@h", "b@h")),
    ],
)
def test_lists_of_addresses(text, expected):
    assert addresses(text) == expected


def test_a_long_list_is_read_in_one_pass():
    assert len(addresses("a@b," * 200_000 + '"')) == 200_001


@pytest.mark.parametrize(
    ("attributes", "missing"),
    [("", "to"), ('to="a@h"', "from"), ('from="a@h"', "to"), ('to="," from="a@h"', "to")],
)
def test_without_recipient_or_sender_it_is_left_out_with_a_log_line(attributes, missing):
    done = run(f"<Email {attributes}>x</Email><Say>x</Say>")

    assert [fields["missing"] for event, fields in done.journal if event == "email_incomplete"] == [missing]
    assert (done.mails, done.codes) == ([], [])
    assert [text for text, *_ in done.spoken] == ["x"]
    assert done.outcome.kind is OutcomeKind.ENDED


def test_where_no_mail_can_be_sent_it_is_skipped_with_a_warning():
    simulator = Simulator({DOCUMENT_URL: f"<Response><Email {BOTH}>x</Email><Say>x</Say></Response>"})
    ports = attrs.evolve(simulator.ports, mail=None)
    drive(Interpreter(ports, simulator.call).run(Source(url=DOCUMENT_URL)))

    assert [(n.code, n.level) for n in simulator.records.notices] == [(11001, Level.WARNING)]
    assert [text for text, *_ in simulator.prompts.spoken] == ["x"]


def test_it_is_sent_when_the_caller_has_hung_up():
    replies = {NEXT: f"<Response><Say>no</Say><Email {BOTH}>x</Email></Response>"}
    done = run('<Record action="next"/>', digits="4:hangup", speech_seconds=9, replies=replies)

    assert [mail.body for mail in done.mails] == ["x"]
    assert done.spoken == []
