"""When a gateway is registered again: the pure part of keeping a registration.

    registering --2xx--> registered     the next REGISTER after 80 to 90 % of what was granted
                --423--> registering    at once, with the interval that was asked for
                --401 403 404 ...--> refused      the next after 15 minutes
                --408 5xx nothing--> unreachable  the next after 30 s, 60 s ... 15 minutes

Every state takes every outcome. Time is an argument: monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import attrs

State = Literal["registered", "registering", "refused", "unreachable", "off"]

FIRST_BACKOFF: Final = 30.0
MAX_BACKOFF: Final = 900.0
MAX_RETRY_AFTER: Final = 3_600.0
MAX_INTERVAL: Final = 86_400
"""Longest interval that is asked for or believed, seconds."""
MIN_DELAY: Final = 0.5

_TEMPORARY: Final = frozenset({0, 408, 423, 480, 491})


@attrs.frozen(kw_only=True)
class Outcome:
    """What became of a REGISTER."""

    code: int
    """Of the final response; 0: it could not be sent."""
    granted: int | None = None
    """Seconds that a 2xx grants; None: it does not say."""
    min_expires: int | None = None
    """Min-Expires of a 423."""
    retry_after: float | None = None
    """Retry-After, seconds."""


@attrs.define
class Schedule:
    """State of one registration.

    Args:
        interval: what to ask for, seconds.
        jitter: gives numbers from 0 to 1, so that many gateways do not come at once.
    """

    interval: int
    jitter: Callable[[], float]
    state: State = "registering"
    failures: int = 0
    """Attempts that failed, one after another."""
    _until: float = 0.0
    _brief: bool = False

    @property
    def until(self) -> float:
        """When the registration ends that the provider last granted."""
        return self._until

    def live(self, now: float) -> bool:
        """Whether the provider still holds a registration, whatever the last attempt said."""
        return self._until > now

    def step(self, outcome: Outcome, now: float) -> float:
        """Take an outcome; returns the seconds until the next REGISTER."""
        brief, self._brief = self._brief, False
        if 200 <= outcome.code < 300:
            return self._granted(outcome, now)
        if outcome.code == 423 and not brief and self.interval < (outcome.min_expires or 0) <= MAX_INTERVAL:
            self._brief = True  # a second one in a row is a failure
            self.interval = outcome.min_expires or self.interval
            return 0.0
        self.failures += 1
        if outcome.code in _TEMPORARY or 500 <= outcome.code < 600:
            return self._unreachable(outcome, now)
        self.state = "refused"
        self._until = 0.0
        return MAX_BACKOFF * (0.9 + 0.2 * self.jitter())

    def _granted(self, outcome: Outcome, now: float) -> float:
        granted = self.interval if outcome.granted is None else min(outcome.granted, MAX_INTERVAL)
        self.failures = 0
        if granted <= 0:
            self.state, self._until = "refused", 0.0  # 200, and yet it holds nothing
            return MAX_BACKOFF * (0.9 + 0.2 * self.jitter())
        self.state = "registered"
        self._until = now + granted
        return max(MIN_DELAY, granted * (0.8 + 0.1 * self.jitter()))

    def _unreachable(self, outcome: Outcome, now: float) -> float:
        self.state = "unreachable"
        backoff = min(MAX_BACKOFF, FIRST_BACKOFF * 2.0 ** min(self.failures - 1, 10))
        delay = backoff * (0.8 + 0.2 * self.jitter())
        if self.live(now):
            # there is still something to save
            delay = min(delay, max(1.0, (self._until - now) / 2))
        wished = min(outcome.retry_after or 0.0, MAX_RETRY_AFTER)
        return max(delay, wished)

    def ended(self) -> None:
        """The registration was taken back, or nobody wants it."""
        self.state = "off"
        self._until = 0.0
