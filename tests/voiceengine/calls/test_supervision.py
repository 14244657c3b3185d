"""Counters and live calls of a supervisor."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from twisted.internet.task import Clock

from voiceengine.calls.supervision import DAY_MINUTES, HOUR_MINUTES, Averages, Supervision
from voiceengine.store.rows import CallRow, new_sid

pytestmark = pytest.mark.unit


class Rest:
    """The rest of the engine."""

    def registrations(self) -> int:
        return 3

    def media(self) -> dict[str, int]:
        return {"legs": 5, "links": 2, "bridges": 3}

    def conferences_live(self) -> int:
        return 1


class Calls:
    """Calls that come and go."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.table: dict[str, Any] = {}
        self.seen = Supervision(self.table, Rest(), self.clock.seconds, "ID" + "1" * 32)

    def begin(self, direction: str = "inbound", kind: str = "CLIENT") -> Any:
        row = CallRow(
            sid=new_sid("CA"),
            instance_id="ID" + "1" * 32,
            account_sid="AC" + "a" * 32,
            to="1310",
            from_="bob",
            direction=direction,
            status="in-progress",
        )
        call = SimpleNamespace(
            row=row, kind=kind, request_uri="sip:1310@host", leg=SimpleNamespace(last_response=180)
        )
        self.table[row.sid] = call
        self.seen.began(call)
        return call

    def over(self, call: Any, status: str = "completed", duration: int = 0) -> None:
        """Its leg is over."""
        call.row = attrs.evolve(call.row, status=status, duration=duration, end_time=1.0)

    def end(self, call: Any, status: str = "completed", duration: int = 0) -> None:
        """Its document has done its last duties as well."""
        self.over(call, status, duration)
        self.seen.ended(call)
        del self.table[call.row.sid]

    def counts(self, *names: str) -> list[float]:
        found = self.seen.counters()
        return [found[name] for name in names]


def test_everything_starts_at_zero() -> None:
    found = dict(Calls().seen.counters())

    assert found.pop("RegisteredUsers") == 3
    assert len(found) == 22
    assert set(found.values()) == {0}


def test_calls_are_counted_by_direction() -> None:
    calls = Calls()
    first = calls.begin()
    calls.begin("outbound-api")
    calls.begin("outbound-dial")

    assert calls.counts("TotalCallsSinceUptime", "IncomingCallsSinceUptime", "OutgoingCallsSinceUptime") == [
        3,
        1,
        2,
    ]
    assert calls.counts("LiveCalls", "LiveIncomingCalls", "LiveOutgoingCalls") == [3, 1, 2]
    calls.end(first)
    assert calls.counts("LiveCalls", "LiveIncomingCalls", "LiveOutgoingCalls") == [2, 0, 2]
    assert calls.counts("TotalCallsSinceUptime", "IncomingCallsSinceUptime") == [3, 1]


def test_maxima_are_those_of_calls_at_the_same_time() -> None:
    names = "MaximumConcurrentCalls", "MaximumConcurrentIncomingCalls", "MaximumConcurrentOutgoingCalls"
    calls = Calls()
    ringing = [calls.begin() for _ in range(3)]
    for call in ringing:
        calls.end(call)
    for _ in range(2):
        calls.end(calls.begin("outbound-api"))

    assert calls.counts(*names) == [3, 3, 1]
    calls.begin("outbound-api")
    calls.begin("outbound-api")
    calls.begin()
    calls.begin()
    assert calls.counts(*names) == [4, 3, 2]


def test_a_call_whose_document_has_last_duties_is_over() -> None:
    calls = Calls()
    call = calls.begin()
    calls.over(call)

    assert calls.counts("LiveCalls", "CompletedCalls") == [0, 1]
    assert calls.seen.live_calls() == []
    calls.begin()
    assert calls.counts("MaximumConcurrentCalls") == [1]
    calls.end(call)
    assert calls.counts("LiveCalls", "CompletedCalls") == [1, 1]


@pytest.mark.parametrize(
    ("status", "name"),
    [
        ("completed", "CompletedCalls"),
        ("no-answer", "NoAnswerCalls"),
        ("busy", "BusyCalls"),
        ("failed", "FailedCalls"),
        ("not-found", "NotFoundCalls"),
        ("canceled", "CanceledCalls"),
    ],
)
def test_ends_are_counted(status: str, name: str) -> None:
    calls = Calls()
    calls.end(calls.begin(), status)
    found = calls.seen.counters()

    assert {key for key, value in found.items() if key.endswith("Calls") and value} == {
        name,
        "MaximumConcurrentCalls",
        "MaximumConcurrentIncomingCalls",
    }


def test_averages_are_those_of_completed_calls_of_the_last_hour_and_day() -> None:
    names = "AverageCallDurationInSecondsLastHour", "AverageCallDurationInSecondsLast24Hours"
    calls = Calls()
    calls.end(calls.begin(), duration=10)
    calls.end(calls.begin(), "busy")

    assert calls.counts(*names) == [10.0, 10.0]
    calls.clock.advance(3600)
    calls.end(calls.begin(), duration=21)
    assert calls.counts(*names) == [21.0, 15.5]
    calls.clock.advance(86400)
    assert calls.counts(*names) == [0.0, 0.0]


def test_averages_keep_no_more_than_a_day_of_minutes() -> None:
    clock = Clock()
    averages = Averages(clock.seconds)
    for _ in range(2 * DAY_MINUTES):
        averages.add(1)
        clock.advance(60)

    assert len(averages._minutes) == DAY_MINUTES
    assert averages.of(HOUR_MINUTES) == 1.0


def test_text_messages_are_counted_elsewhere() -> None:
    calls = Calls()
    calls.seen.messages = lambda: {"TextMessageOutbound": 2, "SomethingElse": 9}
    found = calls.seen.counters()

    assert (found["TextMessageOutbound"], found["TextMessageNotFound"]) == (2, 0)
    assert "SomethingElse" not in found


def test_live_calls_are_shown_with_their_signalling() -> None:
    calls = Calls()
    first, second = calls.begin(), calls.begin("outbound-api", "PSTN")
    found = calls.seen.live_calls()

    assert [live.row.sid for live in found] == [first.row.sid, second.row.sid]
    assert [(live.kind, live.initial_invite, live.last_response) for live in found] == [
        ("CLIENT", "sip:1310@host", 180),
        ("PSTN", "sip:1310@host", 180),
    ]


def test_media_counters() -> None:
    assert Calls().seen.media() == {
        "MgcpConnections": 5,
        "MgcpLinks": 2,
        "MgcpEndpoints": 13,
        "MgcpEndpointsBridge": 2,
        "MgcpEndpointsIvr": 5,
        "MgcpEndpointsConference": 1,
        "MgcpEndpointsPacketRelay": 5,
    }
