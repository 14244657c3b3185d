"""Attends a conference for a Dial with the noun Conference. Reference: Conference."""

from __future__ import annotations

import attrs

from rcml.dial import STAR
from rcml.flow import REASON_MEDIA, Flow, HangUpError
from rcml.ports import (
    CallStatus,
    ConferenceEnd,
    ConferenceFull,
    ConferenceLeft,
    Conferences,
    ConferenceSpec,
    DigitPressed,
    Ended,
    LegEnded,
    StoredRecording,
    TimerFired,
)

LIMIT_TIMER = "conference-limit"
STAYED_TIMER = "conference-stayed"
STAYED_SECONDS = 1.0
"""Who is out before this has not spent any time, as far as the guard against loops is concerned."""
CALLER_LEFT = "caller-left"


@attrs.frozen(kw_only=True)
class Attendance:
    """How a participant's time in a conference ended."""

    status: CallStatus
    """The DialCallStatus."""
    stored: StoredRecording | None = None
    caller_left: bool = False


async def attend(
    flow: Flow,
    conferences: Conferences,
    spec: ConferenceSpec,
    *,
    time_limit: float,
    leave_on_star: bool,
) -> Attendance:
    """Enter a conference and stay until it ends, the participant is removed, or leaves.

    Args:
        flow: the flow.
        conferences: the port.
        spec: which one, and how.
        time_limit: seconds after which the participant is taken out.
        leave_on_star: whether the key `*` leaves it.

    Raises:
        HangUpError: what should be heard while waiting is invalid; the port has stored the notification.
    """
    leg = flow.ports.leg
    leg.clear_digits()
    why = "broken-off"
    inside = True
    try:
        sid = await conferences.join(spec)
        flow.journal("conference_joined", conference=spec.name, sid=sid)
        leg.start_timer(LIMIT_TIMER, time_limit)
        leg.start_timer(STAYED_TIMER, STAYED_SECONDS)
        why = await _until_out(flow, leave_on_star)
    except ConferenceFull:
        why, inside = "full", False
        return Attendance(status=CallStatus.FAILED)
    except LegEnded:
        why = CALLER_LEFT
    finally:
        leg.cancel_timer(LIMIT_TIMER)
        leg.cancel_timer(STAYED_TIMER)
        stored = await conferences.leave() if inside else None
        flow.journal("conference_left", conference=spec.name, why=why)
    if why == ConferenceEnd.FAILED.value:
        raise HangUpError(REASON_MEDIA)
    return Attendance(status=CallStatus.COMPLETED, stored=stored, caller_left=why == CALLER_LEFT)


async def _until_out(flow: Flow, leave_on_star: bool) -> str:
    """Wait in the conference; give why that is over."""
    while True:
        match await flow.ports.leg.next_event():
            case ConferenceLeft(end):
                return end.value
            case TimerFired(name) if name == LIMIT_TIMER:
                return "limit"
            case TimerFired(name) if name == STAYED_TIMER:
                flow.took_time = True
            case DigitPressed(key) if key == STAR and leave_on_star:
                return "star"
            case Ended():
                return CALLER_LEFT
