"""The status of a call: what its end means; pure (reference: Call status).

| leg | how it ended | status |
|---|---|---|
| any | after it was answered | completed |
| inbound | caller sent CANCEL (487) | canceled |
| inbound | refused by 486, 600, 603 | busy |
| inbound | any other refusal, or the worker died | failed |
| outbound | peer answered 486, 600, 603 | busy |
| outbound | the ring timer ran out | no-answer |
| outbound | cancelled by the engine or over REST | canceled |
| outbound | any other refusal, no reply, or the worker died | failed |
"""

from __future__ import annotations

from rcml.ports import CallStatus

BUSY_CODES = frozenset({486, 600, 603})


def final_status(
    *, answered: bool, code: int, lost: bool = False, wanted: CallStatus | None = None
) -> CallStatus:
    """Status of a call whose leg ended.

    Args:
        answered: whether it ever was.
        code: final SIP code of the INVITE (or of whatever ended it).
        lost: whether its worker died.
        wanted: status that whoever ended an unanswered leg asked for.
    """
    if answered:
        return CallStatus.COMPLETED
    if wanted is not None:
        return wanted
    if lost:
        return CallStatus.FAILED
    if code in BUSY_CODES:
        return CallStatus.BUSY
    if code == 487:
        return CallStatus.CANCELED
    return CallStatus.FAILED


def can_change(current: CallStatus, new: CallStatus) -> bool:
    """Whether a call may go from one status to the other; the same status never comes twice."""
    order = [CallStatus.QUEUED, CallStatus.RINGING, CallStatus.IN_PROGRESS]
    if current.terminal or current is new:
        return False
    if new.terminal:
        return True
    return order.index(new) > order.index(current)
