"""Overload: how late the reactor is, and whether new calls should be refused; pure.

An engine that takes every call while it cannot keep up makes all of them late. New INVITEs get 503
with Retry-After instead, until the lateness is over (RFC 3261 section 21.5.4).
"""

from __future__ import annotations

import attrs

TICK_SECONDS = 0.1
SMOOTHING = 0.3


@attrs.define
class Overload:
    """Smoothed lateness of a periodic tick.

    Args:
        limit: lateness from which new calls are refused, seconds.
    """

    limit: float
    lateness: float = 0.0
    _last: float | None = None

    def tick(self, now: float) -> None:
        """The tick came at `now` (monotonic, seconds)."""
        if self._last is not None:
            late = max(0.0, now - self._last - TICK_SECONDS)
            self.lateness += SMOOTHING * (late - self.lateness)
        self._last = now

    @property
    def refusing(self) -> bool:
        """Whether new calls should be refused."""
        return self.lateness > self.limit
