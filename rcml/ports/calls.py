"""What applications are told of a call."""

from __future__ import annotations

import enum
from collections.abc import Mapping

import attrs


class CallStatus(enum.Enum):
    """Status of a call as applications see it (reference: Call status)."""

    QUEUED = "queued"
    RINGING = "ringing"
    IN_PROGRESS = "in-progress"
    COMPLETED = "completed"
    BUSY = "busy"
    FAILED = "failed"
    NO_ANSWER = "no-answer"
    CANCELED = "canceled"
    NOT_FOUND = "not-found"

    @property
    def terminal(self) -> bool:
        """Whether no other status can follow."""
        return self not in (CallStatus.QUEUED, CallStatus.RINGING, CallStatus.IN_PROGRESS)


class Direction(enum.Enum):
    """Which side started the call."""

    INBOUND = "inbound"
    OUTBOUND_API = "outbound-api"
    OUTBOUND_DIAL = "outbound-dial"


@attrs.frozen(kw_only=True)
class CallInfo:
    """What does not change while a call lives, and is told to the application with each request."""

    call_sid: str
    instance_id: str
    account_sid: str
    from_: str
    """User part of the caller."""
    to: str
    """User part of the called party."""
    direction: Direction
    timestamp: str
    """Creation time, ISO 8601 with milliseconds and offset."""
    api_version: str = "2012-04-24"
    caller_name: str = ""
    forwarded_from: str = ""
    sip_headers: Mapping[str, str] = attrs.field(factory=dict)
    """Headers of the INVITE that are handed on: name as received (`X-...`, `Diversion`) -> value."""
