"""Entering conferences with a leg."""

from __future__ import annotations

from typing import Protocol

import attrs

from rcml.ports.dialing import CallbackSpec
from rcml.ports.events import StoredRecording


@attrs.frozen(kw_only=True)
class ConferenceSpec:
    """The Conference noun of a Dial."""

    name: str
    muted: bool = False
    beep: bool = True
    start_on_enter: bool = True
    end_on_exit: bool = False
    wait_url: str | None = None
    """What a waiting participant hears: None the built-in music, empty silence, else an absolute URL."""
    wait_method: str = "POST"
    max_participants: int = 40
    record: bool = False
    """Record the room, when this participant starts it."""
    callback: CallbackSpec | None = None


class ConferenceFull(Exception):
    """The room holds as many participants as it may."""


class Conferences(Protocol):
    """Joins a leg with a conference; one per call."""

    async def join(self, spec: ConferenceSpec) -> str:
        """Enter a conference, which is made when there is none of that name; `ConferenceLeft` may follow.

        Wait music, mute, hold and beeps are not the caller's business.

        Returns:
            Sid of the conference.

        Raises:
            ConferenceFull: there is no room.
            LegEnded: the leg ended meanwhile.
        """
        ...

    async def leave(self) -> StoredRecording | None:
        """Leave the conference (also after ConferenceLeft, and after the leg's end).

        Returns:
            The recording of the room, when this participant's leaving ended it and it was recorded.
        """
        ...
