"""What programs ask of call control (over REST or from within)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import attrs

from voiceengine.store.rows import CallRow, RecordingRow

CALL_EVENTS: Final = frozenset({"initiated", "ringing", "answered", "completed"})
"""The progress events that a status callback can report."""


@attrs.frozen(kw_only=True)
class CreateCall:
    """A call that an application asks for. `url` or `rcml` is given, or both (`rcml` wins)."""

    account_sid: str
    from_: str
    to: str
    """As given, without the header suffix: a number, `client:NAME` or a SIP URI."""
    url: str | None = None
    rcml: str | None = None
    """An inline document, run instead of fetching `url`."""
    method: str = "POST"
    fallback_url: str | None = None
    fallback_method: str = "POST"
    status_callback: str | None = None
    status_callback_method: str = "POST"
    status_callback_events: frozenset[str] = CALL_EVENTS
    timeout: int = 60
    """Ring time, seconds."""
    record: bool = False
    username: str | None = None
    """Digest user of the outbound leg."""
    password: str | None = attrs.field(default=None, repr=False)
    headers: tuple[tuple[str, str], ...] = ()
    """SIP headers of the INVITE; names are tokens, values hold no control characters."""


@attrs.frozen(kw_only=True)
class ModifyCall:
    """What shall change in a live call; None: leave as it is."""

    url: str | None = None
    method: str = "POST"
    fallback_url: str | None = None
    fallback_method: str = "POST"
    status: str | None = None
    """canceled or completed."""
    status_callback: str | None = None
    status_callback_method: str = "POST"
    rcml: str | None = None
    """An inline document, run instead of fetching `url`."""
    mute: bool | None = None
    move_connected_leg: bool = False
    """Run the document on the leg that this one is connected with as well; otherwise that leg is ended."""


# ---------------------------------------------------------------- operations on a live call


@attrs.frozen(kw_only=True)
class SayText:
    """Speak a text to the party, on top of whatever else it hears."""

    text: str
    voice: str = "man"
    language: str = "en"
    loop: int = 1


@attrs.frozen(kw_only=True)
class PlayAudio:
    """Play an audio file to the party, on top of whatever else it hears."""

    url: str
    loop: int = 1


@attrs.frozen(kw_only=True)
class GatherInput:
    """Collect keys of the party; while this lasts, the keys go nowhere else."""

    action: str | None = None
    """URL whose reply replaces the call's document, unless that is empty."""
    status_callback: str | None = None
    """URL that is told the outcome; its reply is ignored."""
    method: str = "POST"
    timeout: int = 5
    finish_on_key: str = "#"
    num_digits: int | None = None
    text: str | None = None
    """Prompt that is spoken."""
    url: str | None = None
    """Prompt that is played."""
    language: str = "en"


@attrs.frozen(kw_only=True)
class HoldCall:
    """Put the party on hold."""

    music: str | None = None
    """URL; None: silence."""
    action: str | None = None
    """URL that is told the outcome (HoldStatus, HoldSipResponseCode); its reply is ignored."""
    method: str = "POST"


@attrs.frozen(kw_only=True)
class ResumeCall:
    """Take the party off hold; nothing happens when it is not held."""

    action: str | None = None
    """URL that is told the outcome (ResumeStatus, ResumeSipResponseCode); its reply is ignored."""
    method: str = "POST"


@attrs.frozen(kw_only=True)
class ReferCall:
    """Ask the party to call somebody else (SIP REFER)."""

    to: str
    """SIP URI, or a number (sent as a SIP URI at the outbound proxy, or at the engine)."""
    action: str | None = None
    """URL that is told the outcome (ReferCallStatus, ...); its reply is ignored."""
    method: str = "POST"


Operation = SayText | PlayAudio | GatherInput | HoldCall | ResumeCall | ReferCall
"""What can be done to a live call besides modifying it."""


@attrs.frozen(kw_only=True)
class StartRecording:
    """Record a live call from now on (both sides)."""

    max_seconds: float | None = None
    """None: until it is stopped or the call ends."""
    channels: int = 1
    """1: mixed; 2: the party left, what it hears right."""
    beep: bool = False
    status_callback: str | None = None
    """URL that is told RecordingSid, RecordingUrl, RecordingStatus and RecordingDuration at the end."""
    status_callback_method: str = "POST"


# ---------------------------------------------------------------- conferences


@attrs.frozen(kw_only=True)
class Participant:
    """A live participant of a conference, as shown over REST."""

    call_sid: str
    conference_sid: str
    account_sid: str
    muted: bool
    hold: bool
    start_conference_on_enter: bool
    end_conference_on_exit: bool
    date_created: float
    """When the call was created, wall time."""
    date_updated: float


@attrs.frozen(kw_only=True)
class ChangeParticipant:
    """What shall change for a participant; None: leave as it is."""

    muted: bool | None = None
    hold: bool | None = None
    hold_url: str | None = None
    """What a held participant hears: an audio file, or a document with Say and Play; None: built-in music."""
    hold_method: str = "POST"
    announce_url: str | None = None
    """Audio file, or document with Say and Play, that only this participant hears."""
    announce_method: str = "POST"
    end_conference_on_exit: bool | None = None


@attrs.frozen(kw_only=True)
class ChangeConference:
    """What shall change in a live conference."""

    end: bool = False
    announce_url: str | None = None
    """Audio file, or document with Say and Play, that everybody hears."""
    announce_method: str = "POST"
    record: bool | None = None
    """True: record from now on; False: stop."""


class ConferenceControl(Protocol):
    """Shows and changes live conferences; raises `voiceengine.errors.CallControlError` when it cannot.

    A conference that is over (or never was) is refused with status 410 (404), a participant who is not in the
    room with 404.
    """

    async def participants(self, conference_sid: str) -> list[Participant]:
        """Those who are in the room, in the order they came; empty when it is over."""
        ...

    async def change_participant(
        self, conference_sid: str, call_sid: str, change: ChangeParticipant
    ) -> Participant:
        """Change one participant; returns it as it is now."""
        ...

    async def remove_participant(self, conference_sid: str, call_sid: str) -> None:
        """Take a participant out of the room; its document goes on."""
        ...

    async def change_conference(self, conference_sid: str, change: ChangeConference) -> None:
        """Change the room."""
        ...


class CallControl(Protocol):
    """Creates and modifies calls; raises `voiceengine.errors.CallControlError` when it cannot.

    A call that is over is refused with status 410 and code 1100, an operation that its present phase does not
    allow with 409 and code 1103.
    """

    async def create(self, request: CreateCall) -> list[CallRow]:
        """Start a call; several rows when the callee has several devices."""
        ...

    async def modify(self, call_sid: str, change: ModifyCall) -> CallRow:
        """Change a live call; returns its record as it is now."""
        ...

    async def operate(self, call_sid: str, operation: Operation) -> CallRow:
        """Do something to a call that is in progress; returns its record as it is now."""
        ...

    async def start_recording(self, call_sid: str, request: StartRecording) -> RecordingRow:
        """Record a call that is in progress; several recordings may go on at once."""
        ...

    async def change_recording(self, call_sid: str, recording_sid: str, status: str) -> RecordingRow:
        """Stop, pause or resume a recording that goes on.

        Args:
            call_sid: its call.
            recording_sid: of the recording.
            status: stopped, paused or in-progress.

        Raises:
            CallControlError: 404 for one that is not going on.
        """
        ...


# ---------------------------------------------------------------- supervision


@attrs.frozen(kw_only=True)
class LiveCall:
    """A call that is not over, as a supervisor sees it."""

    row: CallRow
    kind: str
    """CLIENT, SIP or PSTN."""
    initial_invite: str
    """Request-URI of its INVITE."""
    last_response: int
    """SIP status code that was sent or received last for the INVITE; 0: none yet."""


class Supervisor(Protocol):
    """Counts what the engine does; everything starts at 0 with the engine."""

    @property
    def instance_id(self) -> str:
        """Sid of the engine."""
        ...

    def live_calls(self) -> list[LiveCall]:
        """Calls that are not over, oldest first."""
        ...

    def counters(self) -> Mapping[str, float]:
        """The counters of `Supervisor/metrics` by their names there (TotalCallsSinceUptime, ...)."""
        ...

    def media(self) -> Mapping[str, int]:
        """The media counters by their names there (MgcpConnections, MgcpEndpoints, ...)."""
        ...
