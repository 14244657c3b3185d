"""The interpreter of documents about a text message: executes one flow of documents for it.

Reference: SMS (application request, executing the reply).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import attrs

from rcml.flow import DocumentFlow, HangUpError, InterpreterSettings
from rcml.loading import Loaded, Loader
from rcml.navigation import Navigator, Outcome, OutcomeKind, Source
from rcml.parameters import Parameters, sms_parameters
from rcml.ports import Fetcher, Level, Mail, MessageReceipt, Messages, Records
from rcml.verb import Jump
from rcml.verbs import Email, Redirect, Sms

VERBS: dict[str, type[Sms | Redirect | Email]] = {"Sms": Sms, "Redirect": Redirect, "Email": Email}
"""The verbs of documents about messages."""

NOT_VALID = 14110


@attrs.frozen(kw_only=True)
class MessageInfo:
    """What applications are told of a message with each request."""

    message_sid: str
    account_sid: str
    from_: str
    """User part of the sender."""
    to: str
    """User part of the recipient."""
    body: str
    api_version: str = "2012-04-24"
    sip_headers: Mapping[str, str] = attrs.field(factory=dict)
    """`X-...` headers of the MESSAGE: name as received -> value; told with the first request only."""


@attrs.frozen(kw_only=True)
class MessagePorts:
    """All ports of one message."""

    fetcher: Fetcher
    records: Records
    messages: Messages
    mail: Mail | None = None
    """None: no mail can be sent; Email is then skipped with warning 11001."""


@attrs.define(kw_only=True)
class MessageFlow(DocumentFlow):
    """One document being executed for a message."""

    CONSEQUENCE: ClassVar[str] = "The message gets no further answer."

    ports: MessagePorts
    message: MessageInfo

    @property
    def parties(self) -> tuple[str, str]:
        """The sender of the message, and the number it was sent to."""
        return self.message.from_, self.message.to

    @property
    def message_headers(self) -> tuple[tuple[str, str], ...]:
        """Those of the reply that brought the document."""
        return self.loaded.headers

    def message_parameters(self, receipt: MessageReceipt) -> Parameters:
        """As in a call, but SmsSid stays that of the message that is being answered."""
        return [(name, value) for name, value in sms_parameters(receipt) if name != "SmsSid"]


class MessageInterpreter:
    """Runs documents for one message.

    One instance serves one message: a fallback URL is used at most once in its life.
    """

    def __init__(
        self, ports: MessagePorts, message: MessageInfo, settings: InterpreterSettings | None = None
    ) -> None:
        self._ports = ports
        self._message = message
        self._settings = settings or InterpreterSettings()
        loader = Loader(
            fetcher=ports.fetcher, records=ports.records, schemes=self._settings.schemes, xml_only=True
        )
        self._documents = Navigator(loader, self._settings, self._parameters)
        self._first = True

    async def run(self, source: Source) -> Outcome:
        """Obtain the first document and run until the flow ends: `ENDED`, or `FAILED` with the reason."""
        self._documents.begin(source)
        try:
            await self._run(source)
            outcome = Outcome(OutcomeKind.ENDED)
        except HangUpError as failure:
            outcome = Outcome(OutcomeKind.FAILED, failure.reason)
        self._ports.records.journal("flow_ended", outcome=outcome.kind.value, reason=outcome.reason)
        return outcome

    async def _run(self, source: Source) -> None:
        jump = await self._execute(await self._documents.first(source))
        while jump is not None:
            jump = await self._execute(await self._documents.follow(jump))

    def _parameters(self) -> Parameters:
        """Those of every request, and the headers until a document was obtained."""
        message = self._message
        parameters = [
            ("SmsSid", message.message_sid),
            ("MessageSid", message.message_sid),
            ("AccountSid", message.account_sid),
            ("From", message.from_),
            ("To", message.to),
            ("Body", message.body),
            ("SmsStatus", "received"),
            ("ApiVersion", message.api_version),
        ]
        if self._first:
            parameters += [(f"SipHeader_{name}", value) for name, value in message.sip_headers.items()]
        return parameters

    async def _execute(self, loaded: Loaded) -> Jump | None:
        self._first = False
        flow = MessageFlow(ports=self._ports, settings=self._settings, loaded=loaded, message=self._message)
        for element in loaded.document.root.children:
            cls = VERBS.get(element.name)
            if cls is None:
                what = f"{element.name} (line {element.line}) is no verb for messages; skipped."
                flow.notify(NOT_VALID, Level.WARNING, what)
                continue
            jump = await self._perform(cls(element), flow)
            if jump is not None:
                return jump
        return None

    async def _perform(self, verb: Sms | Redirect | Email, flow: MessageFlow) -> Jump | None:
        line = verb.element.line
        flow.journal("verb_started", verb=verb.name, line=line, attributes=dict(verb.element.attributes))
        flow.warn(f"{verb.name} (line {line})", verb.problems)
        step = await verb.run(flow)
        flow.journal("verb_finished", verb=verb.name, line=line)
        return step
