"""What happened: the timeline, and the JSON object that is printed at the end. Pure but for the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import attrs

Event = dict[str, Any]


@attrs.define
class Rtp:
    """Counts over all streams of the call."""

    rx_packets: int = 0
    tx_packets: int = 0
    rx_lost: int = 0
    jitter_ms: float = 0.0
    codec: str | None = None


@attrs.define
class CallReport:
    """What became of the call."""

    state: str = "idle"
    """idle, calling, ringing, answered or ended."""
    direction: str | None = None
    """outbound or inbound."""
    remote: str | None = None
    answered: bool = False
    final_code: int | None = None
    reason: str | None = None
    answer_delay_ms: int | None = None
    """From the INVITE (sent or received) to the 200."""
    provisional: list[dict[str, Any]] = attrs.field(factory=list)
    duration_seconds: float = 0.0
    """From the answer to the end."""
    hung_up_by: str | None = None
    bye_reason: str | None = None
    digits_sent: list[dict[str, Any]] = attrs.field(factory=list)
    digits_received: list[dict[str, Any]] = attrs.field(factory=list)
    rtp: Rtp = attrs.field(factory=Rtp)
    recording: str | None = None
    recording_seconds: float | None = None
    heard_seconds: float = 0.0
    """How long there was sound, not silence, from the other party."""
    headers: list[list[str]] = attrs.field(factory=list)
    """X- and Reason headers of the final response (inbound: of the INVITE)."""


class Report:
    """Collects events and results.

    Args:
        emit: told every event as it happens.
    """

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._began = time.monotonic()
        self.register: dict[str, Any] | None = None
        self.call = CallReport()
        self.errors: list[str] = []
        self.timeline: list[Event] = []
        self.ok = False

    def event(self, name: str, **fields: Any) -> None:
        """Something happened now."""
        entry = {"t": round(time.monotonic() - self._began, 3), "event": name, **fields}
        self.timeline.append(entry)
        self._emit(entry)

    def error(self, message: str) -> None:
        """Something went wrong."""
        self.errors.append(message)
        self.event("error", message=message)

    def as_dict(self) -> dict[str, Any]:
        """The object that is printed at the end."""
        return {
            "ok": self.ok,
            "register": self.register,
            "call": attrs.asdict(self.call),
            "errors": self.errors,
            "timeline": self.timeline,
        }
