"""Which worker gets the next leg.

Workers are filled one after the other. Slots that are kept for a leg count as taken for all others, until
nothing else is left: a call is never refused for the sake of one that may come.
"""

from __future__ import annotations

from collections.abc import Iterable

from media.legs import MediaLeg
from media.worker_record import Worker

RATE_WINDOW = 0.5
"""Seconds; a socket that pjsip closed can be used again only after that."""


class Placement:
    """The rules; they look at workers and change only who has a kept slot."""

    def __init__(self, capacity: int, start_rate: int) -> None:
        """Set the limits.

        Args:
            capacity: legs that a worker holds.
            start_rate: most legs that one worker starts within `RATE_WINDOW`.
        """
        self._capacity = capacity
        self._start_rate = start_rate

    def near(self, leg: MediaLeg, workers: Iterable[Worker], now: float) -> Worker | None:
        """The worker of a leg, when it has a slot free or kept for it; the kept one is used up."""
        worker = next((w for w in workers if w is leg.worker), None)
        if worker is None or leg.ended or not worker.ready or worker.taken >= self._capacity:
            return None
        if not self._may_start(worker, now):
            return None
        if worker.use_kept(leg) or (worker.held < self._capacity and not worker.retired):
            return worker
        return None

    def choose(self, workers: Iterable[Worker], now: float, room: int = 1) -> Worker | None:
        """The fullest worker that has `room` slots neither taken nor kept."""
        best: Worker | None = None
        for worker in workers:
            if not worker.ready or worker.retired or worker.held > self._capacity - room:
                continue
            if best is not None and (worker.held, worker.used) <= (best.held, best.used):
                continue
            if self._may_start(worker, now):
                best = worker
        return best

    def give_away(self, workers: Iterable[Worker], now: float) -> Worker | None:
        """A worker whose only free slots are kept; one is taken from the leg that has not used it longest."""
        for worker in workers:
            usable = worker.ready and not worker.retired and worker.taken < self._capacity
            if worker.kept and usable and self._may_start(worker, now):
                worker.use_kept(next(iter(worker.kept)))
                return worker
        return None

    def keep(self, leg: MediaLeg, worker: Worker, count: int) -> None:
        """Hold up to `count` free slots for a leg that has just taken its own."""
        count = min(count, self._capacity - worker.held)
        if count > 0:
            worker.kept[leg] = count

    def _may_start(self, worker: Worker, now: float) -> bool:
        starts = worker.starts
        while starts and now - starts[0] > RATE_WINDOW:
            starts.popleft()
        return len(starts) < self._start_rate
