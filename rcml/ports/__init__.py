"""What the interpreter needs from the world.

Everything the interpreter does to a call goes through these protocols. Commands to a leg return at
once; what happens comes back as events from `Leg.next_event`, one mailbox per leg, in the order in
which it happened. Time is part of the leg (`start_timer`), so a document can be run against a
simulated caller with a virtual clock.
"""

from __future__ import annotations

import attrs

from rcml.ports.calls import (
    CallInfo,
    CallStatus,
    Direction,
)
from rcml.ports.conferences import (
    ConferenceFull,
    Conferences,
    ConferenceSpec,
)
from rcml.ports.dialing import (
    CALL_EVENTS,
    CONFERENCE_EVENTS,
    CallbackSpec,
    Dialer,
    DialError,
    DialTarget,
    Screening,
    TargetKind,
)
from rcml.ports.events import (
    BranchAnswered,
    BranchEnded,
    BranchId,
    BranchInfo,
    BranchMoved,
    BranchReady,
    BranchRefused,
    BranchRinging,
    ConferenceEnd,
    ConferenceLeft,
    DigitPressed,
    Ended,
    LegEvent,
    PlaybackFailed,
    PlaybackFinished,
    PlaybackId,
    Prompt,
    RecordingEnd,
    RecordingFinished,
    RecordingId,
    RecordSpec,
    StoredRecording,
    TimerFired,
)
from rcml.ports.leg import (
    Leg,
    LegEnded,
    ReferResult,
)
from rcml.ports.messages import (
    Mail,
    MessageReceipt,
    MessageRefused,
    Messages,
    OutgoingEmail,
    OutgoingMessage,
)
from rcml.ports.records import (
    Level,
    Notice,
    Records,
)
from rcml.ports.web import (
    FetchedDocument,
    Fetcher,
    FetchError,
    FetchFailure,
    FetchRequest,
    PromptError,
    Prompts,
    PromptUrlError,
)

__all__ = [
    "CALL_EVENTS",
    "CONFERENCE_EVENTS",
    "BranchAnswered",
    "BranchEnded",
    "BranchId",
    "BranchInfo",
    "BranchMoved",
    "BranchReady",
    "BranchRefused",
    "BranchRinging",
    "CallInfo",
    "CallStatus",
    "CallbackSpec",
    "ConferenceEnd",
    "ConferenceFull",
    "ConferenceLeft",
    "ConferenceSpec",
    "Conferences",
    "DialError",
    "DialTarget",
    "Dialer",
    "DigitPressed",
    "Direction",
    "Ended",
    "FetchError",
    "FetchFailure",
    "FetchRequest",
    "FetchedDocument",
    "Fetcher",
    "Leg",
    "LegEnded",
    "LegEvent",
    "Level",
    "Mail",
    "MessageReceipt",
    "MessageRefused",
    "Messages",
    "Notice",
    "OutgoingEmail",
    "OutgoingMessage",
    "PlaybackFailed",
    "PlaybackFinished",
    "PlaybackId",
    "Ports",
    "Prompt",
    "PromptError",
    "PromptUrlError",
    "Prompts",
    "RecordSpec",
    "RecordingEnd",
    "RecordingFinished",
    "RecordingId",
    "Records",
    "ReferResult",
    "Screening",
    "StoredRecording",
    "TargetKind",
    "TimerFired",
]


@attrs.frozen(kw_only=True)
class Ports:
    """All ports of one call."""

    leg: Leg
    fetcher: Fetcher
    prompts: Prompts
    records: Records
    dialer: Dialer | None = None
    """None: this leg cannot dial; Dial is then skipped with warning 11001."""
    conferences: Conferences | None = None
    """None: this leg cannot enter a conference."""
    messages: Messages | None = None
    """None: no text messages can be sent; Sms is then skipped with warning 11001."""
    mail: Mail | None = None
    """None: no mail can be sent; Email is then skipped with warning 11001."""
