"""Status callbacks: order, one at a time, and what they tell."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from rcml.ports import CallInfo, CallStatus, Direction, FetchedDocument, FetchError, FetchFailure
from voiceengine.calls.callbacks import (
    EVENTS,
    CallbackQueue,
    event_of,
    is_outbound,
    progress_parameters,
)
from voiceengine.calls.fetcher import WebClient
from voiceengine.config import Web

pytestmark = pytest.mark.loopback
REACTOR: Any = reactor
URL = "http://app.example/status"


class Client:
    """Requests wait until the test answers them; with `at_once` they are answered immediately."""

    settings = Web(callback_timeout=3.0, max_document_bytes=5000)

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any, dict[str, Any]]] = []
        self.waiting: list[Deferred[FetchedDocument]] = []
        self.at_once: list[FetchedDocument | Exception] = []

    async def request(self, method: str, url: str, parameters: Any, **options: Any) -> FetchedDocument:
        self.asked.append((method, url, parameters, options))
        if self.at_once:
            found = self.at_once.pop(0)
            if isinstance(found, Exception):
                raise found
            return found
        self.waiting.append(Deferred())
        return await self.waiting[-1]


DOCUMENT = FetchedDocument(url=URL, content_type=None, body=b"")


class World:
    def __init__(self) -> None:
        self.client = Client()
        self.journal: list[tuple[str, dict[str, Any]]] = []
        self.queue = CallbackQueue(self.client, "CA1", self.note)  # type: ignore[arg-type]

    def note(self, event: str, **fields: Any) -> None:
        self.journal.append((event, fields))

    def send(self, *statuses: str) -> None:
        for status in statuses:
            self.queue.send(URL, "POST", [("CallStatus", status)])

    @property
    def asked(self) -> list[str]:
        return [dict(parameters)["CallStatus"] for _, _, parameters, _ in self.client.asked]


def failed(status: int | None = None) -> FetchError:
    return FetchError(FetchFailure.IO, "connection refused", url=URL, status=status)


@pytest.fixture
def world() -> World:
    return World()


def test_one_at_a_time_and_in_order(world: World) -> None:
    world.send("ringing", "in-progress", "completed")
    assert world.asked == ["ringing"]
    world.client.waiting[0].callback(DOCUMENT)
    assert world.asked == ["ringing", "in-progress"]
    world.client.waiting[1].callback(DOCUMENT)
    world.client.waiting[2].callback(DOCUMENT)
    world.send("late")

    assert world.asked == ["ringing", "in-progress", "completed", "late"]
    assert [fields["call_status"] for _, fields in world.journal] == ["ringing", "in-progress", "completed"]


def test_a_request_has_the_limits_of_callbacks(world: World) -> None:
    world.queue.send(URL, "get", [("CallStatus", "x")])
    world.queue.send(URL, "PUT", [("CallStatus", "x")])
    world.client.waiting[0].callback(DOCUMENT)

    assert [method for method, _, _, _ in world.client.asked] == ["GET", "POST"]
    assert world.client.asked[0][3] == {"cookies": None, "timeout": 3.0, "limit": 5000}


@pytest.mark.parametrize("error", [failed(), failed(500), ValueError("unexpected"), RuntimeError("broken")])
def test_a_failure_does_not_stop_the_rest(world: World, error: Exception) -> None:
    world.send("one", "two", "three")
    world.client.waiting[0].errback(error)

    assert world.asked == ["one", "two"]
    world.client.waiting[1].callback(DOCUMENT)
    assert world.asked == ["one", "two", "three"]


def test_what_became_of_each_is_in_the_journal(world: World) -> None:
    world.send("one", "two", "three")
    world.client.waiting[0].errback(failed())
    world.client.waiting[1].errback(failed(503))
    world.client.waiting[2].callback(DOCUMENT)

    assert world.journal == [
        ("callback_failed", {"url": URL, "call_status": "one", "reason": "connection refused"}),
        ("callback_sent", {"url": URL, "call_status": "two", "reply": 503}),
        ("callback_sent", {"url": URL, "call_status": "three"}),
    ]


def test_drained_waits_for_all(world: World) -> None:
    assert Deferred.fromCoroutine(world.queue.drained()).called
    world.send("one", "two")
    waiters = [Deferred.fromCoroutine(world.queue.drained()) for _ in range(2)]
    world.client.waiting[0].errback(failed())
    assert not any(waiter.called for waiter in waiters)
    world.client.waiting[1].callback(DOCUMENT)

    assert all(waiter.called for waiter in waiters)
    assert Deferred.fromCoroutine(world.queue.drained()).called


@pytest.mark.parametrize("outcome", [DOCUMENT, failed()])
def test_a_request_that_is_over_at_once_does_not_block_the_queue(
    world: World, outcome: FetchedDocument | Exception
) -> None:
    """The client refuses a URL it cannot use without waiting for anything."""
    world.client.at_once = [outcome]
    world.send("one")
    assert Deferred.fromCoroutine(world.queue.drained()).called
    world.send("two")

    assert world.asked == ["one", "two"]


@pytest_twisted.ensureDeferred
async def test_a_url_that_cannot_be_used_leaves_the_queue_empty(world: World) -> None:
    """The same with the real client."""
    client = WebClient(REACTOR, Web())
    queue = CallbackQueue(client, "CA1", world.note)
    queue.send("nowhere", "POST", [("CallStatus", "ringing")])
    queue.send("ftp://h/", "POST", [("CallStatus", "completed")])

    await Deferred.fromCoroutine(queue.drained()).addTimeout(2, REACTOR)
    await client.close()

    assert [event for event, _ in world.journal] == ["callback_failed"] * 2


INFO = CallInfo(
    call_sid="CA1",
    instance_id="ID1",
    account_sid="AC1",
    from_="alice",
    to="+1000",
    direction=Direction.OUTBOUND_API,
    timestamp="2026-01-02T03:04:05.678Z",
    caller_name="Alice",
    forwarded_from="+1999",
)


def test_the_parameters_of_each_event() -> None:
    at = 1_700_000_000.0
    common = {
        "InstanceId": "ID1",
        "AccountSid": "AC1",
        "CallSid": "CA1",
        "From": "alice",
        "To": "+1000",
        "Direction": "outbound-api",
        "CallerName": "Alice",
        "ForwardedFrom": "+1999",
        "Timestamp": "Tue, 14 Nov 2023 22:13:20 +0000",
        "CallbackSource": "call-progress-events",
        "ApiVersion": "2012-04-24",
        "CallTimestamp": "2026-01-02T03:04:05.678Z",
    }
    statuses = [CallStatus.QUEUED, CallStatus.RINGING, CallStatus.IN_PROGRESS, CallStatus.COMPLETED]
    told = ["initiated", "ringing", "in-progress", "completed"]
    for number, (event, status, text) in enumerate(zip(EVENTS, statuses, told, strict=True)):
        found = progress_parameters(INFO, event, status=status, at=at)
        expected = {**common, "CallStatus": text, "StatusCallbackEvent": event, "SequenceNumber": str(number)}
        if event == "completed":
            expected["CallDuration"] = "0"

        assert dict(found) == expected
        assert len(found) == len(expected), "a name comes twice"


def test_the_last_event_has_duration_parent_and_recording() -> None:
    found = dict(
        progress_parameters(
            INFO,
            "completed",
            status=CallStatus.BUSY,
            at=0,
            parent_call_sid="CA0",
            duration=7,
            recording=[("RecordingUrl", "u"), ("RecordingSid", "RE1"), ("RecordingDuration", "7")],
        )
    )

    assert (found["CallStatus"], found["StatusCallbackEvent"]) == ("busy", "completed")
    assert (found["ParentCallSid"], found["CallDuration"], found["RecordingSid"]) == ("CA0", "7", "RE1")


@pytest.mark.parametrize("status", CallStatus)
def test_every_status_is_an_event(status: CallStatus) -> None:
    expected = {
        CallStatus.QUEUED: "initiated",
        CallStatus.RINGING: "ringing",
        CallStatus.IN_PROGRESS: "answered",
    }

    assert event_of(status) == expected.get(status, "completed")
    assert event_of(status) in EVENTS


def test_outbound_is_what_the_engine_made() -> None:
    assert [is_outbound(attrs.evolve(INFO, direction=direction)) for direction in Direction] == [
        False,
        True,
        True,
    ]
