"""Looks after the workers: pings those with legs, ends those that stay idle, kills those that hang."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.logger import Logger

from media.worker_record import Worker

log = Logger()

PING_SECONDS = 2.0
MISSES = 3
"""A worker that has left so many pings unanswered is killed."""
START_SECONDS = 5.0
"""The longest a worker may take to be ready."""


class Watchdog:
    """Looks every `PING_SECONDS`."""

    def __init__(
        self,
        reactor: Any,
        *,
        workers: Callable[[], Iterable[Worker]],
        quit_worker: Callable[[Worker], None],
        kill: Callable[[Worker], None],
        spares: int,
        idle_seconds: float,
    ) -> None:
        """Set what is done to whom.

        Args:
            reactor: the clock.
            workers: all workers there are.
            quit_worker: lets a worker end itself.
            kill: ends a worker at once.
            spares: empty workers that may stay.
            idle_seconds: how long the others may stay empty.
        """
        self._reactor = reactor
        self._workers = workers
        self._quit = quit_worker
        self._kill = kill
        self._spares = spares
        self._idle_seconds = idle_seconds
        self._timer: Any = None

    def start(self) -> None:
        """Look from now on."""
        self._timer = self._reactor.callLater(PING_SECONDS, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _look(self) -> None:
        self.start()
        self._end_idle()
        for worker in list(self._workers()):
            if not worker.ready:
                if self._reactor.seconds() - worker.born > START_SECONDS:
                    log.error("worker_not_ready pid={pid}", pid=worker.pid)
                    self._kill(worker)
            elif worker.legs and worker.link is not None:
                self._ping(worker)

    def _end_idle(self) -> None:
        now = self._reactor.seconds()
        idle = [w for w in self._workers() if w.ready and not w.retired and w.taken == 0]
        # fresh ones are the better reserve: their clocks do not run
        idle.sort(key=lambda w: w.used)
        for worker in idle[self._spares :]:
            if now - worker.idle_since >= self._idle_seconds:
                self._quit(worker)

    def _ping(self, worker: Worker) -> None:
        if worker.misses >= MISSES:
            log.error("worker_hangs pid={pid} legs={legs}", pid=worker.pid, legs=len(worker.legs))
            self._kill(worker)
        elif worker.link is not None:
            worker.misses += 1
            answer = worker.link.ping()
            answer.addCallbacks(lambda _: setattr(worker, "misses", 0), lambda _: None)
