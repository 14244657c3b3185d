"""What a verb may use while it runs: the ports, the current document, and the waits most verbs need."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Protocol

import attrs

from rcml.attributes import Problem
from rcml.errors import UrlError
from rcml.loading import Loaded
from rcml.parameters import Parameters, sms_parameters
from rcml.ports import (
    CallInfo,
    CallStatus,
    Direction,
    Ended,
    LegEnded,
    Level,
    Mail,
    MessageReceipt,
    Messages,
    PlaybackFailed,
    PlaybackFinished,
    PlaybackId,
    Ports,
    Prompt,
    Records,
    TimerFired,
)
from rcml.urls import HTTP, resolve
from rcml.verb import Jump

REASON_MEDIA = "Problem_while_playing_media"
REASON_URL = "Invalid_URL_in_RCML"


@attrs.frozen(kw_only=True)
class InterpreterSettings:
    """Settings of the interpreter."""

    max_switches: int = 100
    """Document switches without any time-consuming verb in between before the call is ended."""
    null_literals: bool = False
    """Send the text `null` for absent CallerName and ForwardedFrom (legacy)."""
    schemes: tuple[str, ...] = HTTP
    """URL schemes a document may name."""
    answer_on_bridge: bool = False
    """A ringing call that dials is answered when the dialed side answers (`answerOnBridge` of all Dials)."""
    hang_up_at_end: bool = True
    """End the call at the end of the document; False leaves that to the one who started the flow."""
    only_verbs: frozenset[str] | None = None
    """Verbs that are run, others are passed over (wait documents, announcements); None: all are."""
    refused_verbs: frozenset[str] = frozenset()
    """Verbs that must not be reached: the flow fails and the call is ended (screening)."""
    ringing: Prompt | None = None
    """What a caller hears, again and again, while a Dial rings; None: silence."""


@attrs.frozen
class Refusal:
    """The final response that a Dial got, for a caller who was not answered."""

    code: int
    phrase: str
    status: CallStatus


class HangUpError(Exception):
    """The flow must end because of a failure, and the call with it; a message gets no further answer.

    Args:
        reason: text of the `Reason` header.
        not_found: the initial document does not exist; a ringing call is then answered 404.
    """

    def __init__(self, reason: str, *, not_found: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.not_found = not_found


class PlaybackError(Exception):
    """A prompt could not be heard."""


class FlowPorts(Protocol):
    """Ports that every document has, whether a call runs it or a message."""

    @property
    def records(self) -> Records:
        """Where it is written what happens."""
        ...

    @property
    def messages(self) -> Messages | None:
        """Sends text messages, if anything does."""
        ...

    @property
    def mail(self) -> Mail | None:
        """Sends mail, if anything does."""
        ...


@attrs.define(kw_only=True)
class DocumentFlow(ABC):
    """One document being executed, for a call or for a text message."""

    CONSEQUENCE: ClassVar[str] = ""
    """What an error that ends the flow means, a sentence for notifications."""

    ports: FlowPorts
    settings: InterpreterSettings
    loaded: Loaded

    @property
    @abstractmethod
    def parties(self) -> tuple[str, str]:
        """Recipient and sender of a message whose Sms names none."""

    @property
    def over(self) -> bool:
        """Whether the call is over; a message never is."""
        return False

    @property
    def message_headers(self) -> tuple[tuple[str, str], ...]:
        """`X-...` headers for messages that go out by SIP."""
        return ()

    def message_parameters(self, receipt: MessageReceipt) -> Parameters:
        """Build what the action of an Sms adds."""
        return sms_parameters(receipt)

    def notify(self, code: int, level: Level, message: str) -> None:
        """Store a notification together with the request that brought the current document."""
        self.ports.records.notify(self.loaded.context.notice(code, level, message))

    def warn(self, verb: str, problems: Sequence[Problem], *, nested: bool = False) -> None:
        """Store a warning for each attribute value that was replaced by its default."""
        for problem in problems:
            code = problem.attribute.nested_code if nested else problem.attribute.code
            if code is not None:
                self.notify(code, Level.WARNING, f"{verb}: {problem.message}")

    def journal(self, event: str, **fields: object) -> None:
        """Append to the journal of the call or message."""
        self.ports.records.journal(event, **fields)

    def resolve(self, verb: str, text: str, code: int = 11100) -> str:
        """Make a URL of the document absolute.

        Raises:
            HangUpError: it cannot be parsed; the notification `code` was stored.
        """
        try:
            return resolve(self.loaded.url, text, self.settings.schemes)
        except UrlError as error:
            self.notify(code, Level.ERROR, f"{verb}: {error.message} {self.CONSEQUENCE}")
            raise HangUpError(REASON_URL) from error

    def action(
        self,
        verb: str,
        target: str | None,
        method: str,
        extra: Sequence[tuple[str, str]] = (),
        *,
        after_end: bool = False,
        ends_soon: bool = False,
    ) -> Jump | None:
        """Make the jump to an action URL.

        Args:
            verb: name of the verb, for messages.
            target: the attribute; None stands for the URL of the current document.
            method: HTTP method.
            extra: parameters beyond the standard ones.
            after_end: the call is over.
            ends_soon: the call may end while it is requested.

        Returns:
            None when there is no URL at all (a document that was given as text and names none).

        Raises:
            HangUpError: the URL cannot be parsed.
        """
        url = self.resolve(verb, target) if target else self.loaded.url
        if not url:
            self.journal("action_missing", verb=verb)
            return None
        return Jump(url=url, method=method, extra=tuple(extra), after_end=after_end, ends_soon=ends_soon)


@attrs.define(kw_only=True)
class Flow(DocumentFlow):
    """One document being executed on one leg."""

    CONSEQUENCE: ClassVar[str] = "The call is ended."

    ports: Ports
    call: CallInfo
    standing: Parameters
    """Parameters that later requests of this call carry besides the standard ones (a Dial adds to it)."""
    refusal: Refusal | None = None
    """What a call that is still ringing is told when the document ends here."""
    took_time: bool = False
    """Whether a verb of this document kept the caller busy; lets the loop guard start over."""

    @property
    def parties(self) -> tuple[str, str]:
        """The other party, and the number of this side: on outbound calls the other one was called."""
        # Differs: Restcomm always takes From as recipient and To as sender, so that the called party of an
        # outbound call would be made the sender of a message to the engine's own number.
        call = self.call
        return (call.from_, call.to) if call.direction is Direction.INBOUND else (call.to, call.from_)

    @property
    def over(self) -> bool:
        """Whether the call is over."""
        return self.ports.leg.ended

    async def play(self, prompts: Sequence[Prompt], loop: int = 1) -> None:
        """Play prompts to their end; keys that are pressed meanwhile are lost.

        Args:
            prompts: at least one.
            loop: how often; 0 = until the caller leaves.

        Raises:
            PlaybackError: it could not be played.
            LegEnded: the caller left.
        """
        self.took_time = True
        for prompt in prompts:
            self.journal("prompt", label=prompt.label, seconds=prompt.seconds, loop=loop)
        await self.until_played(self.ports.leg.play(prompts, loop))

    async def until_played(self, playback: PlaybackId) -> None:
        """Wait for the end of a playback; it is stopped when the wait is broken off.

        Raises:
            PlaybackError: it could not be played.
            LegEnded: the caller left.
        """
        leg = self.ports.leg
        over = False
        try:
            while not over:
                match await leg.next_event():
                    case PlaybackFinished(finished) if finished == playback:
                        over = True
                    case PlaybackFailed(failed, reason) if failed == playback:
                        over = True
                        raise PlaybackError(reason)
                    case Ended(cause):
                        raise LegEnded(cause)
                    case _:
                        pass
        finally:
            if not over:
                leg.stop(playback)

    async def until_ended(self) -> None:
        """Wait for the end of the leg, which is known to be near."""
        while not isinstance(await self.ports.leg.next_event(), Ended):
            pass

    async def wait(self, seconds: float, timer: str = "pause") -> None:
        """Wait in silence; keys that are pressed meanwhile are lost. Raises LegEnded."""
        self.took_time = True
        leg = self.ports.leg
        leg.start_timer(timer, seconds)
        over = False
        try:
            while not over:
                match await leg.next_event():
                    case TimerFired(name) if name == timer:
                        over = True
                    case Ended(cause):
                        raise LegEnded(cause)
                    case _:
                        pass
        finally:
            if not over:
                leg.cancel_timer(timer)
