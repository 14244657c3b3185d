"""The demo application's documents and the timeline."""

import datetime

import pytest

from rcml.linter import lint
from voiceengine.demo import pages
from voiceengine.demo.timeline import describe_event, describe_journal, render

pytestmark = pytest.mark.unit

NOON = datetime.datetime(2026, 1, 2, 12, 5, tzinfo=datetime.UTC)


@pytest.mark.parametrize("digit", ["1", "2", "3", "9", "7", "<", ""])
def test_every_key_leads_to_a_document_without_errors(digit):
    body = pages.document(pages.choice({"Digits": digit}, lambda: NOON))

    assert not [finding for finding in lint(body) if finding.level == "error"]


def test_the_time_is_told():
    assert "It is 12 05" in pages.choice({"Digits": "3"}, lambda: NOON)


def test_what_was_recorded_is_played_back():
    body = pages.recorded({"RecordingUrl": "http://h/a.wav?x=1&y=2"})

    assert "<Play>http://h/a.wav?x=1&amp;y=2</Play>" in body


def test_nothing_recorded_asks_again_unless_the_caller_left():
    assert "<Record" in pages.recorded({})
    assert "<Hangup/>" in pages.recorded({"Digits": "hangup"})


def test_the_timeline_counts_from_its_first_line():
    lines = [
        describe_event(100.0, {"t": 0, "event": "calling", "to": "sip:1@h"}),
        describe_journal(100.5, "prompt", {"label": "hello", "seconds": 1.25, "loop": 1}),
    ]

    text = render(line for line in lines if line is not None)

    assert text.splitlines() == [
        "   0.00 s  phone   sends INVITE sip:1@h",
        '   0.50 s  prompt  says "hello" (1.2 s)',
    ]


def test_events_that_only_their_author_would_read_are_left_out():
    assert describe_event(1.0, {"t": 0, "event": "media"}) is None
    assert describe_journal(1.0, "verb_started", {}) is None
