"""A leg, as verbs drive it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import attrs

from rcml.ports.calls import CallStatus
from rcml.ports.events import LegEvent, PlaybackId, Prompt, RecordingId, RecordSpec


class LegEnded(Exception):
    """The leg ended while something was being done on it."""


class Leg(Protocol):
    """One SIP dialog of the engine with one party, as verbs drive it.

    Commands on a leg that has ended do nothing; the awaited ones raise `LegEnded`.
    """

    @property
    def status(self) -> CallStatus:
        """Current status, as told to applications."""
        ...

    @property
    def answered(self) -> bool:
        """Whether the call was answered (and media can flow)."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the leg is over."""
        ...

    async def answer(self) -> None:
        """Answer if still ringing, and wait until media flows. Raises LegEnded."""
        ...

    async def reject(
        self, code: int, phrase: str, reason: str = "", status: CallStatus | None = None
    ) -> None:
        """End a ringing leg by a final SIP response.

        Args:
            code: SIP status code, 300-699.
            phrase: reason phrase.
            reason: text for a `Reason` header; empty: none.
            status: final call status, when the code alone does not tell it.
        """
        ...

    async def hangup(self, reason: str = "") -> None:
        """End the leg: BYE when answered, otherwise a final response. `reason`: text of a Reason header."""
        ...

    def play(self, prompts: Sequence[Prompt], loop: int = 1) -> PlaybackId:
        """Play prompts one after the other, `loop` times; 0 = until stopped."""
        ...

    def send_digits(self, digits: str) -> PlaybackId:
        """Send keys (`0-9*#A-D`, `w` = 0.5 s pause); ends with PlaybackFinished."""
        ...

    def stop(self, playback: PlaybackId) -> None:
        """Stop a playback; no event follows. Unknown or finished ids are ignored."""
        ...

    def record(self, spec: RecordSpec) -> RecordingId:
        """Record what the party says; ends with RecordingFinished."""
        ...

    def stop_recording(self, recording: RecordingId) -> None:
        """End a recording early; RecordingFinished follows."""
        ...

    def start_timer(self, name: str, seconds: float) -> None:
        """(Re)start the timer `name`; TimerFired follows after `seconds`."""
        ...

    def cancel_timer(self, name: str) -> None:
        """Cancel a timer; a firing already in the mailbox is removed as well."""
        ...

    def clear_digits(self) -> None:
        """Drop digits that wait in the mailbox."""
        ...

    async def next_event(self) -> LegEvent:
        """Take the next event from the mailbox, waiting for it if need be. Never raises LegEnded."""
        ...

    async def hold(self, music: Sequence[Prompt]) -> int:
        """Put the party on hold (re-INVITE, sendonly); it hears `music` without end, or silence.

        Returns:
            The final SIP code of the re-INVITE (200: held), 0 when the party did not answer it.

        Raises:
            LegEnded: the leg ended meanwhile.
        """
        ...

    async def resume(self) -> int | None:
        """Take the party off hold (re-INVITE, sendrecv).

        Returns:
            As `hold`; None when the party was not held by `hold`.

        Raises:
            LegEnded: the leg ended meanwhile.
        """
        ...

    async def refer(self, target: str, headers: Sequence[tuple[str, str]] = ()) -> ReferResult:
        """Ask the party to call somebody else (SIP REFER, RFC 3515), and wait for what it tells of that.

        A party that ends the call after a successful transfer ends the wait as well: the result is then
        what was told last.

        Args:
            target: SIP URI.
            headers: `X-...` headers of the REFER.
        """
        ...


@attrs.frozen(kw_only=True)
class ReferResult:
    """What became of a REFER."""

    code: int
    """Final SIP code of the REFER, 0 when it was not answered."""
    notify_code: int = 0
    """The last SIP code that a NOTIFY reported of the new call, 0: none came."""
