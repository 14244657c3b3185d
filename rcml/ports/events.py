"""What happens on a leg, and what is played and recorded there."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NewType

import attrs

from rcml.ports.calls import CallStatus

PlaybackId = NewType("PlaybackId", str)
RecordingId = NewType("RecordingId", str)
BranchId = NewType("BranchId", str)


@attrs.frozen(kw_only=True)
class Prompt:
    """Audio that is ready to be heard. Opaque to the interpreter but for its length."""

    source: str
    """What the media layer plays: the path of an 8 kHz, mono, 16-bit WAV file."""
    seconds: float
    """Length, seconds."""
    label: str = ""
    """For people: the text that is spoken, or the URL of the file."""


@attrs.frozen(kw_only=True)
class RecordSpec:
    """How a recording is made."""

    max_seconds: float
    silence_seconds: float
    """Silence before the first sound, and after a sound, that ends the recording."""
    finish_keys: str
    """Keys that end the recording; empty: none."""
    beep: bool
    both: bool = False
    """Also record what the party hears (a bridge)."""
    stereo: bool = False
    """With `both`: the party on the left channel, what it hears on the right one."""


@attrs.frozen(kw_only=True)
class StoredRecording:
    """A recording that can be fetched."""

    sid: str
    url: str
    """Public URL of the WAV file."""
    seconds: float


@attrs.frozen
class DigitPressed:
    """The other party pressed a key."""

    digit: str
    """One of `0-9 * # A-D`."""
    method: str = "rfc4733"
    """`rfc4733`, `info` or `inband`."""


@attrs.frozen
class PlaybackFinished:
    """A playback ended by itself; one that was stopped ends without an event."""

    playback: PlaybackId


@attrs.frozen
class PlaybackFailed:
    """A playback could not be started or went wrong."""

    playback: PlaybackId
    reason: str


class RecordingEnd(enum.Enum):
    """Why a recording ended."""

    SILENCE = "silence"
    MAX_LENGTH = "max-length"
    KEY = "key"
    STOPPED = "stopped"
    HANGUP = "hangup"
    FAILED = "failed"


@attrs.frozen(kw_only=True)
class RecordingFinished:
    """A recording ended. Also delivered, before `Ended`, when the caller hangs up."""

    recording: RecordingId
    end: RecordingEnd
    digit: str = ""
    """The key that ended it."""
    stored: StoredRecording | None = None
    """None when nothing but silence was recorded; nothing is kept then."""


@attrs.frozen
class TimerFired:
    """A timer that was started on this leg ran out."""

    name: str


@attrs.frozen
class Ended:
    """The leg is over. The last event of a leg; `next_event` repeats it from then on."""

    cause: str = ""


@attrs.frozen(kw_only=True)
class BranchInfo:
    """What is known of a dialed leg; what an action is told of it."""

    branch: BranchId
    call_sid: str
    status: CallStatus = CallStatus.QUEUED
    """Its call status; terminal once it ended."""
    ring_seconds: int = 0
    """From its creation to its answer, or to its end."""
    talk_seconds: int = 0
    """From its answer to its end (or to now); 0 when never answered."""
    sip: bool = False
    """Whether a Sip noun (or Uri) made it; only then applications are told the SIP facts below."""
    sip_call_id: str = ""
    sip_code: int = 0
    """Final code of its INVITE, 0 while there is none."""
    sip_headers: Mapping[str, str] = attrs.field(factory=dict)
    """`X-...` headers of the final response (or of the BYE)."""


@attrs.frozen(kw_only=True)
class BranchRinging:
    """A dialed leg is being alerted. `early_media`: it sends audio already, which can be bridged."""

    branch: BranchId
    early_media: bool = False


@attrs.frozen
class BranchAnswered:
    """A dialed leg answered, and its media flow. It waits for `Dialer.prepare`."""

    branch: BranchId


@attrs.frozen
class BranchReady:
    """A dialed leg got its digits and passed its screening; it may be bridged."""

    branch: BranchId


@attrs.frozen
class BranchRefused:
    """The screening of a dialed leg refused the call; the leg is being ended by the dialer."""

    branch: BranchId


@attrs.frozen
class BranchEnded:
    """A dialed leg is over; the last event of a branch."""

    info: BranchInfo


@attrs.frozen
class BranchMoved:
    """A dialed leg was taken away (transfer, live modification); the last event of a branch."""

    info: BranchInfo


class ConferenceEnd(enum.Enum):
    """Why a participant is no longer in a conference."""

    ENDED = "ended"
    """The room ended."""
    REMOVED = "removed"
    """This participant was removed."""
    FAILED = "failed"
    """Its wait music or document is invalid."""


@attrs.frozen
class ConferenceLeft:
    """The leg was taken out of its conference, and lives on."""

    end: ConferenceEnd


LegEvent = (
    DigitPressed
    | PlaybackFinished
    | PlaybackFailed
    | RecordingFinished
    | TimerFired
    | BranchRinging
    | BranchAnswered
    | BranchReady
    | BranchRefused
    | BranchEnded
    | BranchMoved
    | ConferenceLeft
    | Ended
)
