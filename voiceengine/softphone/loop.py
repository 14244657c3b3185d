"""The phone's main loop: what other threads post, and timers. No pjsua2 in here."""

from __future__ import annotations

import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable
from typing import Any

Job = Callable[..., None]


class Loop:
    """Runs jobs in the thread that calls `run_pending`."""

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._inbox: deque[tuple[Job, tuple[Any, ...]]] = deque()
        self._timers: list[tuple[float, int, Job, tuple[Any, ...]]] = []
        self._number = itertools.count()

    @staticmethod
    def now() -> float:
        """Seconds, monotonic."""
        return time.monotonic()

    def post(self, job: Job, *args: Any) -> None:
        """Have `job` run soon; may be called on any thread and inside callbacks of pjsua2."""
        self._inbox.append((job, args))

    def after(self, seconds: float, job: Job, *args: Any) -> None:
        """Have `job` run in `seconds`; jobs check for themselves whether they are still wanted."""
        heapq.heappush(self._timers, (self.now() + seconds, next(self._number), job, args))

    def run_pending(self) -> None:
        """Run what is due. A job that fails is reported and does not stop the loop."""
        now = self.now()
        while self._timers and self._timers[0][0] <= now:
            _, _, job, args = heapq.heappop(self._timers)
            self.post(job, *args)
        while self._inbox:
            job, args = self._inbox.popleft()
            try:
                job(*args)
            except Exception as error:  # a phone reports what went wrong, whatever it was
                self._failed(error)
