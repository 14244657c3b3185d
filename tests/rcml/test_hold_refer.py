"""Hold, Resume and Refer."""

import pytest

from rcml.interpreter import OutcomeKind, Source
from rcml.ports import Level, ReferResult
from rcml.simulator import DOCUMENT_URL, ScriptedCaller, Simulator, parse_digits
from rcml.verbs.refer import refer_status

pytestmark = pytest.mark.unit

AFTER = "<Say>after</Say>"
NEXT = "http://app.invalid/next"


def run(content, hold=200, resume=200, refer=None, digits="", **options):
    simulator = Simulator(
        {
            DOCUMENT_URL: f"<Response>{content}{AFTER}</Response>",
            NEXT: "<Response><Say>done</Say></Response>",
        },
        caller=ScriptedCaller(parse_digits(digits)),
        **options,
    )
    leg = simulator.leg
    leg.hold_code, leg.resume_code = hold, resume
    if refer is not None:
        leg.refer_result = refer
    return simulator.run(Source(url=DOCUMENT_URL))


def words(done):
    return [text for text, *_ in done.spoken]


# ------------------------------------------------------------------ Hold and Resume

CODES = [(200, "held"), (202, "held"), (0, "no-answer"), (408, "no-answer"), (488, "failed"), (603, "failed")]


@pytest.mark.parametrize(("code", "status"), CODES)
def test_hold_tells_what_the_device_answered(code, status):
    done = run('<Hold action="next"/>', hold=code)

    assert done.parameters()["HoldStatus"] == status
    assert done.parameters()["HoldSipResponseCode"] == (str(code) if code else "")
    assert words(done) == ["done"]


@pytest.mark.parametrize(("code", "status"), CODES)
def test_resume_tells_what_the_device_answered(code, status):
    done = run('<Hold/><Resume action="next" method="GET"/>', resume=code)

    assert done.parameters()["ResumeStatus"] == status.replace("held", "resumed")
    assert done.parameters()["ResumeSipResponseCode"] == (str(code) if code else "")
    assert done.requests[1].method == "GET"


def test_without_action_the_next_verb_runs():
    done = run("<Hold/><Resume/>")

    assert (words(done), len(done.requests)) == (["after"], 1)
    assert done.lines()[2:4] == ["holds the caller, with silence: 200", "resumes the caller: 200"]


def test_hold_plays_music():
    assert "holds the caller, with http://app.invalid/a.wav: 200" in run('<Hold holdMusic="a.wav"/>').lines()


@pytest.mark.parametrize("url", ["gone.wav", "http://"])
def test_music_that_is_not_obtained_is_a_warning_and_silence(url):
    done = run(f'<Hold holdMusic="{url}"/>', missing=lambda source: source.endswith("gone.wav"))

    assert [(notice.code, notice.level) for notice in done.notices] == [(13233, Level.WARNING)]
    assert "holds the caller, with silence: 200" in done.lines()
    assert words(done) == ["after"]


def test_a_caller_who_is_not_held_goes_on_without_an_action():
    done = run('<Resume action="next"/>')

    assert (words(done), len(done.requests)) == (["after"], 1)


def test_wrong_methods_are_warnings():
    done = run('<Hold method="x"/><Resume method="x"/><Refer method="x"/>')

    assert done.codes == [12200] * 3


# ------------------------------------------------------------------ Refer


@pytest.mark.parametrize(
    ("code", "notified", "status"),
    [
        (202, 200, "completed"),
        (202, 486, "busy"),
        (202, 600, "busy"),
        (202, 603, "busy"),
        (202, 408, "no-answer"),
        (202, 480, "no-answer"),
        (202, 487, "canceled"),
        (202, 404, "failed"),
        (202, 180, "failed"),
        (202, 0, "failed"),
        (603, 0, "failed"),
        (0, 0, "failed"),
    ],
)
def test_what_a_notify_says_of_the_new_call(code, notified, status):
    assert refer_status(ReferResult(code=code, notify_code=notified)) == status


def test_a_transfer_that_fails_leads_to_the_action():
    done = run(
        '<Refer action="next"><Sip>sip:b@h?X-A=1</Sip></Refer>', refer=ReferResult(code=202, notify_code=486)
    )

    assert done.parameters()["ReferCallStatus"] == "busy"
    assert done.parameters()["ReferSipResponseCode"] == "202"
    assert done.parameters()["NotifySipResponseCode"] == "486"
    assert done.lines()[2:4] == ["refers the caller to sip:b@h: 202, 486", "  with X-A: 1"]
    assert words(done) == ["done"]


def test_a_transfer_that_was_refused_leads_to_the_next_verb():
    assert words(run("<Refer><Sip>sip:b@h</Sip></Refer>", refer=ReferResult(code=603))) == ["after"]


def test_after_a_transfer_the_action_is_requested_for_a_call_that_is_over():
    done = run('<Refer action="next"><Sip>sip:b@h</Sip></Refer>')

    assert (done.parameters()["ReferCallStatus"], done.parameters()["CallStatus"]) == (
        "completed",
        "completed",
    )
    assert (words(done), done.outcome.kind) == ([], OutcomeKind.CALLER_LEFT)


def test_after_a_transfer_without_action_nothing_follows():
    done = run("<Refer><Sip>sip:b@h</Sip></Refer>")

    assert (words(done), len(done.requests), done.outcome.kind) == ([], 1, OutcomeKind.CALLER_LEFT)


@pytest.mark.parametrize("inside", ["", "<Sip/>", "<Number>1</Number>"])
def test_a_refer_that_names_nobody_is_passed_over(inside):
    done = run(f'<Refer action="next">{inside}</Refer>')

    assert (words(done), done.codes) == (["after"], [])


def test_a_target_that_cannot_be_called_fails():
    done = run('<Refer action="next"><Sip>b@h</Sip></Refer>')

    assert done.parameters()["ReferCallStatus"] == "failed"
    assert done.parameters()["ReferSipResponseCode"] == done.parameters()["NotifySipResponseCode"] == ""
    assert [(notice.code, notice.level) for notice in done.notices] == [(11008, Level.ERROR)]
