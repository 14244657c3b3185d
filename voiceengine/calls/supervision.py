"""What a supervisor sees: live calls, and counters since the start of the engine (reference: Supervisor)."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

from rcml.ports import Direction
from voiceengine.calls.requests import LiveCall

if TYPE_CHECKING:
    from voiceengine.calls.call import Call

MINUTE: Final = 60.0
HOUR_MINUTES: Final = 60
DAY_MINUTES: Final = 24 * 60

ENDS: Final = {
    "completed": "CompletedCalls",
    "no-answer": "NoAnswerCalls",
    "busy": "BusyCalls",
    "failed": "FailedCalls",
    "not-found": "NotFoundCalls",
    "canceled": "CanceledCalls",
}
"""Final status of a call -> its counter."""
TEXT_MESSAGES: Final = (
    "TextMessageInboundToApp",
    "TextMessageInboundToClient",
    "TextMessageInboundToProxyOut",
    "TextMessageNotFound",
    "TextMessageOutbound",
)
"""Counters of text messages."""


def is_inbound(call: Call) -> bool:
    """Whether somebody called the engine."""
    return call.row.direction == Direction.INBOUND.value


def is_live(call: Call) -> bool:
    """Whether the call goes on; a document may have last duties after its end."""
    return call.row.end_time is None


class Averages:
    """Average duration of the calls that ended lately, in steps of a minute.

    Args:
        seconds: monotonic time, seconds.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._minutes: deque[list[int]] = deque()
        """(minute, calls, seconds of talk), oldest first."""

    def add(self, duration: int) -> None:
        """Count a call that just ended."""
        minute = int(self._seconds() // MINUTE)
        if not self._minutes or self._minutes[-1][0] != minute:
            self._minutes.append([minute, 0, 0])
            while self._minutes[0][0] <= minute - DAY_MINUTES:
                self._minutes.popleft()
        self._minutes[-1][1] += 1
        self._minutes[-1][2] += duration

    def of(self, minutes: int) -> float:
        """Average over the last minutes, seconds; 0 without calls."""
        since = int(self._seconds() // MINUTE) - minutes
        found = [(calls, talk) for minute, calls, talk in self._minutes if minute > since]
        calls = sum(count for count, _ in found)
        return round(sum(talk for _, talk in found) / calls, 3) if calls else 0.0


class Engine(Protocol):
    """What is counted elsewhere in the engine."""

    def registrations(self) -> int:
        """Contacts that are registered."""
        ...

    def media(self) -> Mapping[str, int]:
        """Counts of the media pool: legs, links, bridges."""
        ...

    def conferences_live(self) -> int:
        """Conferences that go on."""
        ...


class Supervision:
    """Implements `voiceengine.calls.requests.Supervisor`.

    Args:
        calls: all calls of the engine; changes under its hands.
        engine: what is counted elsewhere.
        seconds: monotonic time, seconds.
        instance_id: sid of this engine.
    """

    def __init__(
        self, calls: Mapping[str, Call], engine: Engine, seconds: Callable[[], float], instance_id: str
    ) -> None:
        self._calls = calls
        self._engine = engine
        self._instance_id = instance_id
        self._begun: Counter[bool] = Counter()
        """Whether inbound -> calls since the start."""
        self._entered: Counter[bool] = Counter()
        """Whether inbound -> calls in the table; some of them may be over already."""
        self._ended: Counter[str] = Counter()
        self._maximum: Counter[bool | None] = Counter()
        """Whether inbound (None: all) -> most live calls at once."""
        self._averages = Averages(seconds)
        self.messages: Callable[[], Mapping[str, int]] = dict
        """Counters of text messages; set by whoever sends them."""

    @property
    def instance_id(self) -> str:
        """Sid of the engine."""
        return self._instance_id

    # -------------------------------------------------------------- what happens

    def began(self, call: Call) -> None:
        """A call was entered."""
        inbound = is_inbound(call)
        self._begun[inbound] += 1
        self._entered[inbound] += 1
        if self._entered[inbound] > self._maximum[inbound] or self._entered.total() > self._maximum[None]:
            live = self._live()
            self._maximum[inbound] = max(self._maximum[inbound], live[inbound])
            self._maximum[None] = max(self._maximum[None], live.total())

    def _live(self) -> Counter[bool]:
        return Counter(is_inbound(call) for call in self._calls.values() if is_live(call))

    def ended(self, call: Call) -> None:
        """A call is over."""
        self._entered[is_inbound(call)] -= 1
        self._ended[call.row.status] += 1
        if call.row.status == "completed":
            self._averages.add(call.row.duration or 0)

    # -------------------------------------------------------------- what is asked

    def live_calls(self) -> list[LiveCall]:
        """Calls that are not over, oldest first."""
        return [
            LiveCall(
                row=call.row,
                kind=call.kind,
                initial_invite=call.request_uri,
                last_response=call.leg.last_response,
            )
            for call in self._calls.values()
            if is_live(call)
        ]

    def counters(self) -> Mapping[str, float]:
        """The counters of `Supervisor/metrics`."""
        live = self._live()
        # those whose documents have last duties are over for a supervisor
        over = Counter(call.row.status for call in self._calls.values() if not is_live(call))
        messages = self.messages()
        return {
            "TotalCallsSinceUptime": self._begun.total(),
            "IncomingCallsSinceUptime": self._begun[True],
            "OutgoingCallsSinceUptime": self._begun[False],
            "RegisteredUsers": self._engine.registrations(),
            "LiveCalls": live.total(),
            "LiveIncomingCalls": live[True],
            "LiveOutgoingCalls": live[False],
            "MaximumConcurrentCalls": self._maximum[None],
            "MaximumConcurrentIncomingCalls": self._maximum[True],
            "MaximumConcurrentOutgoingCalls": self._maximum[False],
            **{name: self._ended[status] + over[status] for status, name in ENDS.items()},
            **{name: messages.get(name, 0) for name in TEXT_MESSAGES},
            "AverageCallDurationInSecondsLast24Hours": self._averages.of(DAY_MINUTES),
            "AverageCallDurationInSecondsLastHour": self._averages.of(HOUR_MINUTES),
        }

    def media(self) -> Mapping[str, int]:
        """The media counters of `Supervisor/metrics`.

        This engine has no MGCP: a leg counts as a connection with its packet relay and its IVR endpoint,
        a pair of joined calls as a bridge endpoint.
        """
        counts = self._engine.media()
        legs, conferences = counts.get("legs", 0), self._engine.conferences_live()
        bridges = max(0, counts.get("bridges", 0) - conferences)
        return {
            "MgcpConnections": legs,
            "MgcpLinks": counts.get("links", 0),
            "MgcpEndpoints": 2 * legs + bridges + conferences,
            "MgcpEndpointsBridge": bridges,
            "MgcpEndpointsIvr": legs,
            "MgcpEndpointsConference": conferences,
            "MgcpEndpointsPacketRelay": legs,
        }
