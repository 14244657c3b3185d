"""Runs documents about a text message in memory, with the production interpreter."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import attrs

from rcml.flow import InterpreterSettings
from rcml.message_flow import MessageInfo, MessageInterpreter, MessagePorts
from rcml.navigation import Outcome, Source
from rcml.ports import Fetcher, FetchRequest, Notice, OutgoingEmail, OutgoingMessage
from rcml.simulated import (
    Replies,
    Reply,
    SimulatedFetcher,
    SimulatedMail,
    SimulatedMessages,
    SimulatedRecords,
)
from rcml.simulated_leg import Clock, drive

__all__ = [
    "MESSAGE_URL",
    "MessageSimulation",
    "MessageSimulator",
    "Reply",
    "message_info",
    "simulate_message",
]

MESSAGE_URL = "http://app.invalid/sms.xml"
"""Where `simulate_message` puts the document."""


def message_info(body: str = "hello", from_: str = "+15550001", to: str = "1111", **more: Any) -> MessageInfo:
    """Make the facts of a simulated message."""
    sid, account = "SM" + "0" * 32, "AC" + "0" * 32
    return MessageInfo(message_sid=sid, account_sid=account, from_=from_, to=to, body=body, **more)


@attrs.define
class _Time:
    """Time that passes only while the application takes some; a message is never over."""

    now: float = 0.0
    ended: bool = False

    def let_pass(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@attrs.frozen(kw_only=True)
class MessageSimulation:
    """What happened."""

    outcome: Outcome
    timeline: Sequence[tuple[float, str]]
    """(seconds from the arrival of the message, what happened)."""
    requests: Sequence[FetchRequest]
    notices: Sequence[Notice]
    journal: Sequence[tuple[str, dict[str, object]]]
    messages: Sequence[OutgoingMessage]
    """Text messages that were sent."""
    mails: Sequence[OutgoingEmail]
    seconds: float

    @property
    def codes(self) -> list[int]:
        """Codes of the notices."""
        return [notice.code for notice in self.notices]

    def parameters(self, index: int = -1) -> dict[str, str]:
        """Give the parameters of a request."""
        return dict(self.requests[index].parameters)


class MessageSimulator:
    """A message in memory.

    Args:
        replies: what the application answers.
        message: facts of the message.
        settings: settings of the interpreter.
        status: of each message that is sent, when it was handed over.
        refused: code of the refusal, by recipient or sender.
        mail: whether mail can be sent.
        tell: takes each line of the timeline as it happens.
        fetcher: makes the fetcher, when it is not the application in memory.
    """

    def __init__(
        self,
        replies: Replies,
        *,
        message: MessageInfo | None = None,
        settings: InterpreterSettings | None = None,
        status: str = "sent",
        refused: Mapping[str, int] | None = None,
        mail: bool = True,
        tell: Callable[[float, str], None] | None = None,
        fetcher: Callable[[Clock], Fetcher] | None = None,
    ) -> None:
        self.timeline: list[tuple[float, str]] = []
        self._tell_also = tell
        self.message = message or message_info()
        self.settings = settings or InterpreterSettings()
        self.clock = _Time()
        self.application = SimulatedFetcher(replies, self.clock, self._tell)
        self.records = SimulatedRecords(self.clock, self._tell)
        self.messages = SimulatedMessages(self.clock, self._tell, status=status, refused=refused)
        self.mail = SimulatedMail(self.clock, self._tell)
        self.ports = MessagePorts(
            fetcher=fetcher(self.clock) if fetcher else self.application,
            records=self.records,
            messages=self.messages,
            mail=self.mail if mail else None,
        )

    def start(self, source: Source) -> Coroutine[Any, Any, Outcome]:
        """Give the coroutine of the flow, not begun."""
        return MessageInterpreter(self.ports, self.message, self.settings).run(source)

    def run(self, source: Source) -> MessageSimulation:
        """Run to the end."""
        outcome = drive(self.start(source))
        return MessageSimulation(
            outcome=outcome,
            timeline=self.timeline,
            requests=self.application.requests,
            notices=self.records.notices,
            journal=self.records.entries,
            messages=self.messages.sent,
            mails=self.mail.sent,
            seconds=self.clock.now,
        )

    def _tell(self, at: float, text: str) -> None:
        self.timeline.append((at, text))
        if self._tell_also is not None:
            self._tell_also(at, text)


def simulate_message(
    document: str | Reply,
    *,
    replies: dict[str, Reply | str] | None = None,
    fallback_url: str | None = None,
    **options: Any,
) -> MessageSimulation:
    """Run one document, put at `MESSAGE_URL`.

    Args:
        document: the document, or the reply.
        replies: further replies by URL.
        fallback_url: fallback URL of the number.
        options: as for `MessageSimulator`.
    """
    simulator = MessageSimulator({MESSAGE_URL: document, **(replies or {})}, **options)
    return simulator.run(Source(url=MESSAGE_URL, fallback_url=fallback_url))
