"""What the machine of a Dial takes and gives: events and effects. The machine is `rcml.dial`."""

from __future__ import annotations

import enum

import attrs

from rcml.ports import BranchId, BranchInfo, CallStatus


class DialEnd(enum.Enum):
    """Why a Dial is over."""

    NO_TARGET = "no-target"
    """No leg could be created."""
    NO_ANSWER = "no-answer"
    """All legs ended before the bridge."""
    TIMEOUT = "timeout"
    REFUSED = "refused"
    """The screening refused the call, or the callee left before the bridge."""
    CALLEE_LEFT = "callee-left"
    MOVED = "moved"
    """The bridged leg was taken away."""
    STAR = "star"
    LIMIT = "limit"
    CALLER_LEFT = "caller-left"


# ---------------------------------------------------------------- events


@attrs.frozen
class Forked:
    """The legs are being called.

    Args:
        branches: in the order of the document.
        screened: those that are screened; their early audio is not for the caller.
    """

    branches: tuple[BranchId, ...]
    screened: frozenset[BranchId] = frozenset()


@attrs.frozen
class Ringing:
    """A leg is being alerted; `early`: it sends audio already."""

    branch: BranchId
    early: bool = False


@attrs.frozen
class Answered:
    """A leg answered."""

    branch: BranchId


@attrs.frozen
class Ready:
    """A leg may be bridged."""

    branch: BranchId


@attrs.frozen
class Refused:
    """The screening of a leg refused the call; the leg is being ended already."""

    branch: BranchId


@attrs.frozen
class BranchOver:
    """A leg is over, or was taken away (`moved`)."""

    info: BranchInfo
    moved: bool = False


@attrs.frozen
class TimedOut:
    """Nobody answered in time."""


@attrs.frozen
class LimitReached:
    """The bridge lasted as long as it may."""


@attrs.frozen
class KeyPressed:
    """The caller pressed a key."""

    key: str


@attrs.frozen
class CallerLeft:
    """The caller's leg is over."""


DialEvent = (
    Forked
    | Ringing
    | Answered
    | Ready
    | Refused
    | BranchOver
    | TimedOut
    | LimitReached
    | KeyPressed
    | CallerLeft
)


# ---------------------------------------------------------------- effects


@attrs.frozen
class StartRinging:
    """Let the caller hear ringing, without end."""


@attrs.frozen
class StopRinging:
    """Let the caller's ringing stop."""


@attrs.frozen
class StartDialTimer:
    """Start the timer whose end is `TimedOut`."""

    seconds: float


@attrs.frozen
class StopDialTimer:
    """Cancel it."""


@attrs.frozen
class StartLimitTimer:
    """Start the timer whose end is `LimitReached`."""

    seconds: float


@attrs.frozen
class StopLimitTimer:
    """Cancel it."""


@attrs.frozen
class CancelBranch:
    """Cancel a leg that was not answered; `status` is to be its final one."""

    branch: BranchId
    status: CallStatus


@attrs.frozen
class EndBranch:
    """End a leg that was answered."""

    branch: BranchId


@attrs.frozen
class Prepare:
    """Send the winner its digits and screen it."""

    branch: BranchId


@attrs.frozen
class BridgeEarly:
    """Let the caller hear the audio of a leg that rings."""

    branch: BranchId


@attrs.frozen
class Bridge:
    """Join caller and leg."""

    branch: BranchId


@attrs.frozen
class RelayKey:
    """Hand a key on to the bridged leg."""

    branch: BranchId
    key: str


@attrs.frozen
class StartRecording:
    """Record both sides."""


@attrs.frozen
class StopRecording:
    """End the recording."""


@attrs.frozen(kw_only=True)
class DialFinished:
    """The Dial is over; nothing follows."""

    end: DialEnd
    status: CallStatus
    """The DialCallStatus."""
    branch: BranchId | None = None
    """The leg that is told of: the winner, else the one that ended last; None: there was none."""


DialEffect = (
    StartRinging
    | StopRinging
    | StartDialTimer
    | StopDialTimer
    | StartLimitTimer
    | StopLimitTimer
    | CancelBranch
    | EndBranch
    | Prepare
    | BridgeEarly
    | Bridge
    | RelayKey
    | StartRecording
    | StopRecording
    | DialFinished
)
Effects = tuple[DialEffect, ...]
