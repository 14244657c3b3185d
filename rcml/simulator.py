"""The simulator: runs documents in memory, with the production interpreter, and tells what would be heard.

It is used by the tests, and by people who want to know what a document does before a phone rings.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import attrs

from rcml.flow import InterpreterSettings
from rcml.interpreter import Interpreter, Outcome, Source
from rcml.ports import (
    CallInfo,
    CallStatus,
    Direction,
    Fetcher,
    FetchRequest,
    Notice,
    OutgoingEmail,
    OutgoingMessage,
    Ports,
)
from rcml.simulated import (
    Replies,
    Reply,
    SimulatedFetcher,
    SimulatedMail,
    SimulatedMessages,
    SimulatedPrompts,
    SimulatedRecords,
)
from rcml.simulated_calls import Callee, Callees, Room, SimulatedConferences, SimulatedDialer
from rcml.simulated_leg import Caller, ScriptedCaller, SimulatedLeg, drive, parse_digits

__all__ = [
    "DOCUMENT_URL",
    "Callee",
    "Caller",
    "Reply",
    "Room",
    "ScriptedCaller",
    "Simulation",
    "Simulator",
    "call_info",
    "drive",
    "parse_digits",
    "simulate",
]

DOCUMENT_URL = "http://app.invalid/voice.xml"
"""Where `simulate` puts the document."""


def call_info(from_: str = "+15550001", to: str = "1111", **changes: Any) -> CallInfo:
    """Make the facts of a simulated call."""
    facts: dict[str, Any] = {
        "call_sid": "CA" + "0" * 32,
        "instance_id": "ID" + "0" * 32,
        "account_sid": "AC" + "0" * 32,
        "direction": Direction.INBOUND,
        "timestamp": "2026-01-01T00:00:00.000Z",
    }
    return CallInfo(from_=from_, to=to, **{**facts, **changes})


@attrs.frozen(kw_only=True)
class Simulation:
    """What happened."""

    outcome: Outcome
    timeline: Sequence[tuple[float, str]]
    """(seconds from the start of the call, what happened)."""
    requests: Sequence[FetchRequest]
    notices: Sequence[Notice]
    journal: Sequence[tuple[str, dict[str, object]]]
    spoken: Sequence[tuple[str, str, str]]
    """(text, voice, language) of everything that was made ready to be spoken."""
    messages: Sequence[OutgoingMessage]
    """Text messages that were sent."""
    mails: Sequence[OutgoingEmail]
    status: CallStatus
    rejected: tuple[int, str] | None
    reason: str
    """Text of the last Reason header."""
    seconds: float

    @property
    def codes(self) -> list[int]:
        """Codes of the notices."""
        return [notice.code for notice in self.notices]

    def parameters(self, index: int = -1) -> dict[str, str]:
        """Give the parameters of a request."""
        return dict(self.requests[index].parameters)

    def lines(self) -> list[str]:
        """Give the timeline without times."""
        return [text for _, text in self.timeline]

    def time_of(self, beginning: str) -> float:
        """When the first thing happened whose text begins so. Raises LookupError."""
        for at, text in self.timeline:
            if text.startswith(beginning):
                return at
        raise LookupError(beginning)


class Simulator:
    """A call in memory.

    Args:
        replies: what the application answers.
        caller: who calls; None: somebody who only listens.
        call: facts of the call.
        settings: settings of the interpreter.
        answered: whether the call is answered already.
        speech_seconds: how long the caller speaks in each recording.
        limit: seconds after which the caller hangs up in any case.
        missing: says of a URL or a text that no prompt can be made of it.
        broken: labels of prompts that fail when played.
        tell: takes each line of the timeline as it happens.
        fetcher: makes the fetcher, when it is not the application in memory.
        callees: what the called parties do, by address; see `SimulatedDialer`.
        rooms: what happens in conferences, by name; see `SimulatedConferences`.
    """

    def __init__(
        self,
        replies: Replies,
        *,
        caller: Caller | None = None,
        call: CallInfo | None = None,
        settings: InterpreterSettings | None = None,
        answered: bool = False,
        speech_seconds: float = 2.0,
        limit: float = 3600.0,
        missing: Callable[[str], bool] = lambda _: False,
        broken: Sequence[str] = (),
        tell: Callable[[float, str], None] | None = None,
        fetcher: Callable[[SimulatedLeg], Fetcher] | None = None,
        callees: Callees | None = None,
        rooms: Mapping[str, Room] | None = None,
    ) -> None:
        self.timeline: list[tuple[float, str]] = []
        self._tell_also = tell
        self.call = call or call_info()
        self.settings = settings or InterpreterSettings()
        self.leg = SimulatedLeg(
            caller or ScriptedCaller(),
            self._tell,
            answered=answered,
            speech_seconds=speech_seconds,
            limit=limit,
            broken=broken,
        )
        self.application = SimulatedFetcher(replies, self.leg, self._tell)
        self.prompts = SimulatedPrompts(missing, self.settings.schemes)
        self.records = SimulatedRecords(self.leg, self._tell)
        self.dialer = SimulatedDialer(self.leg, self._tell, callees)
        self.conferences = SimulatedConferences(self.leg, self._tell, rooms)
        self.messages = SimulatedMessages(self.leg, self._tell)
        self.mail = SimulatedMail(self.leg, self._tell)
        self.ports = Ports(
            leg=self.leg,
            fetcher=fetcher(self.leg) if fetcher else self.application,
            prompts=self.prompts,
            records=self.records,
            dialer=self.dialer,
            conferences=self.conferences,
            messages=self.messages,
            mail=self.mail,
        )

    def start(self, source: Source) -> Coroutine[Any, Any, Outcome]:
        """Give the coroutine of the flow, not begun."""
        return Interpreter(self.ports, self.call, self.settings).run(source)

    def run(self, source: Source) -> Simulation:
        """Run to the end."""
        outcome = drive(self.start(source))
        return Simulation(
            outcome=outcome,
            timeline=self.timeline,
            requests=self.application.requests,
            notices=self.records.notices,
            journal=self.records.entries,
            spoken=self.prompts.spoken,
            messages=self.messages.sent,
            mails=self.mail.sent,
            status=self.leg.status,
            rejected=self.leg.rejected,
            reason=self.leg.reason,
            seconds=self.leg.now,
        )

    def _tell(self, at: float, text: str) -> None:
        self.timeline.append((at, text))
        if self._tell_also is not None:
            self._tell_also(at, text)


def simulate(
    document: str | Reply,
    *,
    digits: str = "",
    replies: dict[str, Reply | str] | None = None,
    **options: Any,
) -> Simulation:
    """Run one document, put at `DOCUMENT_URL`, with a scripted caller.

    Args:
        document: the document, or the reply.
        digits: script of the caller, as `parse_digits` takes it.
        replies: further replies by URL.
        options: as for `Simulator`.
    """
    all_replies = {DOCUMENT_URL: document, **(replies or {})}
    simulator = Simulator(all_replies, caller=ScriptedCaller(parse_digits(digits)), **options)
    return simulator.run(Source(url=DOCUMENT_URL))
