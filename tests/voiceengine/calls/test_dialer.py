"""The port that dials, with legs that are played by the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher

from rcml.ports import (
    BranchId,
    BranchMoved,
    BranchRefused,
    CallStatus,
    DialTarget,
    Direction,
    LegEvent,
    PlaybackId,
    Screening,
    TargetKind,
)
from voiceengine.calls.dialer import CallDialer
from voiceengine.calls.mailbox import Mailbox
from voiceengine.calls.outbound import Outbound
from voiceengine.calls.pair import Pair

pytestmark = pytest.mark.unit


@pytest.fixture
def logged_failures() -> Iterator[Callable[[], int]]:
    """How many failures were logged."""
    logged: list[LogEvent] = []
    globalLogPublisher.addObserver(logged.append)
    yield lambda: sum("log_failure" in event for event in logged)
    globalLogPublisher.removeObserver(logged.append)


class Leg:
    """A leg; notes what is asked of it."""

    def __init__(self) -> None:
        self.mailbox = Mailbox(Clock())
        self.next_event = self.mailbox.take
        self.answered = True
        self.ended = self.unattached = False
        self.media: Any = None
        self.asked: list[Any] = []
        self.posted: list[LegEvent] = []
        self.taps: list[Any] = []

    def send_digits(self, digits: str) -> PlaybackId:
        self.asked.append(("digits", digits))
        return PlaybackId("d1")

    def start_timer(self, name: str, seconds: float) -> None:
        self.mailbox.start_timer(name, seconds)

    def end(self, *_: object, **__: object) -> None:
        self.asked.append("end")

    def post(self, event: LegEvent) -> None:
        self.posted.append(event)

    async def unless_ended(self, work: Any) -> Any:
        return await work


class FakeCall(SimpleNamespace):
    """A call; is its own record."""

    __hash__ = object.__hash__

    def __init__(self, sid: str) -> None:
        super().__init__(
            sid=sid,
            leg=Leg(),
            status=CallStatus.IN_PROGRESS,
            info=SimpleNamespace(from_="alice", to="bob", caller_name="", direction=Direction.INBOUND),
            row=SimpleNamespace(sid=sid, account_sid="AC1", sip_call_id="", sip_code=None),
            records=SimpleNamespace(journal=lambda *_, **__: None),
            ring_seconds=0,
            talk_seconds=0,
            final_headers={},
            joined=None,
            watcher=None,
            application="",
            conference_account_sid="AC1",
        )

    def give_up(self, status: CallStatus, why: str) -> None:
        self.leg.asked.append("give up")


class Phones:
    """Where all targets lead to a leg."""

    def __init__(self) -> None:
        self.made: list[FakeCall] = []

    async def to_uri(self, *_: str) -> Any:
        return SimpleNamespace(shown="bob")

    def new_call(self, *_: object, **__: object) -> FakeCall:
        self.made.append(FakeCall(f"CA{len(self.made) + 2}"))
        return self.made[-1]

    def begin(self, *_: object, **__: object) -> None:
        """It rings."""


async def dialed(**target: Any) -> tuple[CallDialer, FakeCall, FakeCall]:
    """A dialer, its call, and the leg that it dialed."""
    context: Any = SimpleNamespace(
        placement=SimpleNamespace(learn=lambda *_, **__: None),
        settings=SimpleNamespace(calls=SimpleNamespace(normalize_numbers=False)),
        null_literals=False,
    )
    phones: Any = Phones()
    parent: Any = FakeCall("CA1")
    dialer = CallDialer(context, phones, parent)
    await dialer.dial(DialTarget(kind=TargetKind.SIP, address="sip:bob@h", **target))
    return dialer, parent, phones.made[0]


@pytest_twisted.ensureDeferred
async def test_a_document_on_a_leg_that_is_sent_digits_gets_the_events_of_the_leg() -> None:
    dialer, parent, branch = await dialed(send_digits="1ww2")
    call: Any = branch
    dialer.prepare(BranchId(call.sid))
    assert call.leg.asked == [("digits", "1ww2")]
    assert bool(call.leg.mailbox.awaited)
    dialer.branch_taken(call)
    assert [type(event) for event in parent.leg.posted] == [BranchMoved]
    assert not call.leg.mailbox.awaited
    assert "end" not in call.leg.asked


@pytest_twisted.ensureDeferred
async def test_a_leg_whose_preparation_breaks_down_is_refused_and_ended(
    logged_failures: Callable[[], int],
) -> None:
    screening = Screening(url="http://h/screen", method="POST", seconds=60)
    dialer, parent, branch = await dialed(screening=screening)
    call: Any = branch
    dialer.prepare(BranchId(call.sid))  # a call without a flow, among other things
    assert parent.leg.posted == [BranchRefused(BranchId(call.sid))]
    assert call.leg.asked == ["end"]
    assert logged_failures() == 1


@pytest_twisted.ensureDeferred
async def test_a_dial_that_is_over_is_forgotten() -> None:
    dialer, parent, branch = await dialed()
    call: Any = branch
    dialer.close()
    assert "end" in call.leg.asked
    assert not dialer._branches
    told = list(parent.leg.posted)
    dialer.branch_answered(call)  # too late
    dialer.branch_ended(call)
    assert call.leg.asked == ["end", "end"]
    assert parent.leg.posted == told


class Manager:
    """Notes how calls that never came ended."""

    def __init__(self, leg: Any) -> None:
        self.ends: list[Any] = []
        self.call: Any = SimpleNamespace(
            sid="CA1",
            leg=leg,
            key="k",
            row=SimpleNamespace(sip_call_id="c"),
            never_came=lambda status, **how: self.ends.append((status, how["code"])),
        )


@pytest_twisted.ensureDeferred
async def test_a_call_whose_start_breaks_down_is_over(logged_failures: Callable[[], int]) -> None:
    manager = Manager(Leg())

    def reserve(*_: object, **__: object) -> Deferred[Any]:
        raise RuntimeError("no way")

    context: Any = SimpleNamespace(pool=SimpleNamespace(reserve=reserve))
    Outbound(context, manager).begin(manager.call, None)  # type: ignore[arg-type]
    assert manager.ends == [(CallStatus.FAILED, 500)]
    assert logged_failures() == 1


def test_two_of_whom_one_is_gone_are_a_pair_no_more() -> None:
    """A document that waits for a recording takes them apart a little later; no transfer until then."""
    first, second = Leg(), Leg()
    context: Any = SimpleNamespace(pool=SimpleNamespace(new_bridge=lambda: None))
    calls: list[Any] = [SimpleNamespace(leg=leg) for leg in (first, second)]
    pair = Pair(context, *calls)
    assert not pair.over
    second.ended = True
    assert pair.over
