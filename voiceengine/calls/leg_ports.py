"""What a leg needs from its call, and what may happen beside its document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from media.legs import EndReport
from rcml.ports import CallStatus, ReferResult
from voiceengine.calls.leg_recordings import RecordingOwner

DigitTap = Callable[[str, str], bool]
"""Takes a digit and its method; true: it is used up."""


class Aside(Protocol):
    """Something that happens on a leg beside its document (`voiceengine.calls.side_leg`)."""

    def playback_done(self, playback: str, error: str) -> bool:
        """A playback ended; true when it was this one's."""
        ...

    def leg_over(self) -> None:
        """The leg is over."""
        ...

    def cancel(self) -> None:
        """Another document begins on the call."""
        ...


class LegOwner(RecordingOwner, Protocol):
    """The call that a leg belongs to."""

    @property
    def status(self) -> CallStatus:
        """Current status."""
        ...

    def leg_rings(self) -> None:
        """The other side is being alerted."""
        ...

    def leg_answered(self, codec: str) -> None:
        """The leg was answered and media flows."""
        ...

    def farewell(self) -> tuple[str, int, str] | None:
        """Address and text of a BYE that the worker sends to the phone when the engine dies."""
        ...

    def leg_refers(self, target: str, result: ReferResult) -> None:
        """The party was asked to call somebody else."""
        ...

    def leg_over(self, report: EndReport, wanted: CallStatus | None) -> None:
        """The leg is over."""
        ...

    def leg_early_media(self) -> None:
        """An outbound leg that is not answered yet sends audio."""
        ...

    def leg_speaks(self, speaks: bool) -> None:
        """The party began to speak, or ended."""
        ...

    def leg_holds(self) -> None:
        """The leg was put on hold, or taken off, by us or by its party."""
        ...

    @property
    def response_headers(self) -> Sequence[tuple[str, str]]:
        """Headers of responses and requests that the engine generates."""
        ...
