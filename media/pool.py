"""The pool of media workers, and the engine's handle on a leg in one of them.

Placement fills workers: an idle worker costs nearly as much as a full one. A few fresh workers are
kept in reserve, whose bridge clocks do not run yet; used ones that stay empty are ended. A worker
that dies takes its own legs with it and nothing else.
"""

from __future__ import annotations

import math
import os
import signal
from collections import Counter, deque
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from media import protocol
from media.legs import EndReport, LegListener, MediaLeg, RecordingReport
from media.link import WorkerLink
from media.spawner import Spawner

log = Logger()

RATE_WINDOW = 0.5
"""Seconds; a socket that pjsip closed can be used again only after that."""
SETTLE_SECONDS = 0.05
"""A slot is taken again only when the answer to the worker's BYE has certainly reached it."""
PING_SECONDS = 2.0
MISSES = 3
START_SECONDS = 5.0
KEEP_SECONDS = 1.0
MAX_RECYCLE_LEGS = 10_000
"""A worker that served so many legs is replaced: its memory does not shrink."""


class NoCapacity(Exception):
    """Every leg the pool may hold is in use."""


@attrs.define(eq=False)
class Worker:
    """A worker process as the pool sees it."""

    number: int
    slice_number: int
    pid: int = 0
    sip_port: int = 0
    link: WorkerLink | None = None
    ready: bool = False
    retired: bool = False
    used: bool = False
    taken: int = 0
    """Slots in use, with those that are about to be free."""
    served: int = 0
    idle_since: float = 0.0
    born: float = 0.0
    misses: int = 0
    legs: dict[bytes, MediaLeg] = attrs.field(factory=dict)
    starts: deque[float] = attrs.field(factory=deque)


@attrs.frozen(kw_only=True)
class PoolConfig:
    """Limits and the set-up of the workers."""

    edge_port: int
    rtp_address: str
    public_address: str
    rtp_ports: tuple[int, int]
    codecs: list[str]
    vad: bool = False
    inband_digits: bool = False
    max_legs: int = 600
    spare_workers: int = 2
    idle_seconds: float = 30.0
    start_rate: int = 10


class Pool:
    """All workers. Everything runs in the reactor's thread."""

    def __init__(self, reactor: Any, config: PoolConfig) -> None:
        self._reactor = reactor
        self._config = config
        self._spawner = Spawner(reactor, self)
        self._workers: dict[int, Worker] = {}
        self._slices: list[int] = []
        self._number = 0
        self._waiting: deque[Deferred[None]] = deque()
        self._stopping = False
        self._timer: Any = None
        self.capacity = 0
        self.max_workers = 0
        self.legs = 0
        self.deaths = 0
        self.ended_causes: Counter[str] = Counter()

    # -------------------------------------------------------------- life

    async def start(self) -> None:
        """Start the zygote and the reserve; returns when one worker is ready.

        Raises:
            RuntimeError: no worker can be started.
        """
        self.capacity = await self._spawner.start()
        low, high = self._config.rtp_ports
        wanted = math.ceil(self._config.max_legs / self.capacity) + self._config.spare_workers
        # each call has two ports; as many again, because ports rest after use
        ports_each = max(8 * self.capacity, 32)
        self.max_workers = max(1, min(wanted, (high - low + 1) // ports_each))
        if self.max_workers < wanted:
            log.warn(
                "media_ports_too_few ports={low}-{high} legs={legs} wanted={wanted}",
                low=low,
                high=high,
                legs=self.max_workers * self.capacity,
                wanted=self._config.max_legs,
            )
        self._ports_each = min(200, (high - low + 1) // self.max_workers) // 2 * 2
        self._slices = list(range(self.max_workers - 1, -1, -1))
        self._refill()
        await self._one_ready()
        self._timer = self._reactor.callLater(PING_SECONDS, self._watch)

    async def _one_ready(self) -> None:
        deadline = self._reactor.seconds() + START_SECONDS
        while not any(w.ready for w in self._workers.values()):
            if self._reactor.seconds() > deadline:
                raise RuntimeError("no media worker became ready")
            await self._change(0.5)

    async def stop(self) -> None:
        """End all workers and the zygote; legs that are up get BYE."""
        self._stopping = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        for worker in list(self._workers.values()):
            if worker.link is not None:
                worker.link.tell(protocol.Quit)
        deadline = self._reactor.seconds() + KEEP_SECONDS
        while self._workers and self._reactor.seconds() < deadline:
            await self._change(0.1)
        self._spawner.stop()
        for worker in list(self._workers.values()):
            self._kill(worker)

    # -------------------------------------------------------------- slots

    async def reserve(self, key: bytes, *, wait: float = 2.0) -> MediaLeg:
        """Take a slot for a leg; waits while a worker is being started.

        Args:
            key: name of the leg, unique among live legs.
            wait: longest wait, seconds.

        Raises:
            NoCapacity: the pool is full.
        """
        deadline = self._reactor.seconds() + wait
        while True:
            if self._stopping or self.legs >= self._config.max_legs:
                raise NoCapacity
            worker = self._choose()
            if worker is not None:
                return self._take(worker, key)
            self._refill()
            left = deadline - self._reactor.seconds()
            if left <= 0 or not self._workers:
                raise NoCapacity
            await self._change(min(left, 0.1))

    def _choose(self) -> Worker | None:
        now = self._reactor.seconds()
        best: Worker | None = None
        for worker in self._workers.values():
            if not worker.ready or worker.retired or worker.taken >= self.capacity:
                continue
            if best is not None and (worker.taken, worker.used) <= (best.taken, best.used):
                continue
            starts = worker.starts
            while starts and now - starts[0] > RATE_WINDOW:
                starts.popleft()
            if len(starts) < self._config.start_rate:
                best = worker
        return best

    def _take(self, worker: Worker, key: bytes) -> MediaLeg:
        worker.starts.append(self._reactor.seconds())
        worker.taken += 1
        worker.served += 1
        worker.used = True
        self.legs += 1
        leg = MediaLeg(self, worker, key)
        worker.legs[key] = leg
        if worker.served >= MAX_RECYCLE_LEGS:
            worker.retired = True
        self._refill()
        return leg

    def release(self, leg: MediaLeg) -> None:
        """Give back a slot whose leg never came to be (the INVITE was not sent)."""
        self._forget(leg)

    def _forget(self, leg: MediaLeg, busy: float = 0.0) -> None:
        if leg.ended:
            return
        leg.ended = True
        self.legs -= 1
        worker = leg.worker
        worker.legs.pop(leg.key, None)
        self._reactor.callLater(max(SETTLE_SECONDS, busy), self._free, worker)

    def _free(self, worker: Worker) -> None:
        worker.taken -= 1
        if worker.taken == 0:
            worker.idle_since = self._reactor.seconds()
            if worker.retired:
                self._quit(worker)
        self._changed()

    # -------------------------------------------------------------- workers

    def _spares(self) -> int:
        return sum(1 for w in self._workers.values() if not w.retired and w.taken == 0)

    def _refill(self) -> None:
        """Start workers until the reserve is complete."""
        if self._stopping or not self._slices:
            return
        wanted = self._config.spare_workers - self._spares()
        for _ in range(min(wanted, len(self._slices))):
            self._spawn()

    def _spawn(self) -> None:
        self._number += 1
        place = self._slices.pop()
        worker = Worker(self._number, place, born=self._reactor.seconds())
        config = protocol.WorkerConfig(
            edge_port=self._config.edge_port,
            rtp_address=self._config.rtp_address,
            public_address=self._config.public_address,
            rtp_low=self._config.rtp_ports[0] + place * self._ports_each,
            rtp_count=self._ports_each,
            codecs=self._config.codecs,
            vad=self._config.vad,
            inband_digits=self._config.inband_digits,
            capacity=self.capacity,
        )
        try:
            control = self._spawner.spawn(worker.number, config)
        except OSError as error:
            self._slices.append(place)
            log.error("worker_not_started reason={reason}", reason=str(error))
            return
        self._workers[worker.number] = worker
        worker.link = WorkerLink(lambda: self._link_lost(worker), _Events(self, worker))
        factory = worker.link.as_factory()
        with control:
            self._reactor.adoptStreamConnection(control.fileno(), control.family, factory)

    def worker_started(self, number: int, pid: int) -> None:
        """The zygote has forked a worker."""
        if number in self._workers:
            self._workers[number].pid = pid

    def worker_exited(self, pid: int, status: int) -> None:
        """A worker process is gone."""
        if status != 0 and not self._stopping:
            log.warn("worker_exited pid={pid} status={status}", pid=pid, status=status)
        for worker in list(self._workers.values()):
            if worker.pid == pid:
                self._gone(worker)

    def worker_ready(self, worker: Worker, pid: int, sip_port: int) -> None:
        """A worker can take legs."""
        worker.pid, worker.sip_port, worker.ready = pid, sip_port, True
        worker.idle_since = self._reactor.seconds()
        self._changed()

    def zygote_lost(self) -> None:
        """Start another zygote; the workers of the old one go on."""
        if self._stopping:
            return
        log.error("zygote_lost workers={workers}", workers=len(self._workers))
        self._spawner = Spawner(self._reactor, self)
        started = Deferred.fromCoroutine(self._spawner.start())
        started.addCallbacks(
            lambda _: self._refill(), lambda f: log.failure("zygote_not_restarted", failure=f)
        )

    def _link_lost(self, worker: Worker) -> None:
        worker.link = None
        self._gone(worker)

    def _gone(self, worker: Worker) -> None:
        if self._workers.pop(worker.number, None) is None:
            return
        self._slices.append(worker.slice_number)
        worker.ready = False
        if worker.link is not None:
            worker.link.close()
        lost = list(worker.legs.values())
        if lost or not (worker.retired or self._stopping):
            self.deaths += 1
            log.error("worker_lost pid={pid} legs={legs}", pid=worker.pid, legs=len(lost))
        for leg in lost:
            self.leg_ended(
                leg,
                EndReport(
                    code=500, phrase="", cause="media-failure", remote=False, headers=[], stats={}, lost=True
                ),
            )
        self._refill()
        self._changed()

    def leg_ended(self, leg: MediaLeg, report: EndReport) -> None:
        """A leg is over: free its slot and tell its listener."""
        if leg.ended:
            return
        self._forget(leg, report.slot_busy)
        if leg.listener is not None:
            leg.listener.leg_ended(report)

    def _quit(self, worker: Worker) -> None:
        worker.retired = True
        if worker.link is not None:
            worker.link.tell(protocol.Quit)

    def _kill(self, worker: Worker) -> None:
        if worker.pid:
            try:
                os.kill(worker.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._gone(worker)

    # -------------------------------------------------------------- watching

    def _watch(self) -> None:
        self._timer = self._reactor.callLater(PING_SECONDS, self._watch)
        now = self._reactor.seconds()
        idle = [w for w in self._workers.values() if w.ready and not w.retired and w.taken == 0]
        # fresh ones are the better reserve: their clocks do not run
        idle.sort(key=lambda w: w.used)
        for worker in idle[self._config.spare_workers :]:
            if now - worker.idle_since >= self._config.idle_seconds:
                self._quit(worker)
        for worker in list(self._workers.values()):
            if not worker.ready and now - worker.born > START_SECONDS:
                log.error("worker_not_ready pid={pid}", pid=worker.pid)
                self._kill(worker)
                continue
            if worker.legs and worker.link is not None:
                if worker.misses >= MISSES:
                    log.error("worker_hangs pid={pid} legs={legs}", pid=worker.pid, legs=len(worker.legs))
                    self._kill(worker)
                    continue
                worker.misses += 1
                answer = worker.link.ping()
                answer.addCallbacks(lambda _, w=worker: setattr(w, "misses", 0), lambda _: None)

    def _changed(self) -> None:
        """Let one waiter look again (it lets the next one look when it leaves a slot)."""
        waiting, self._waiting = self._waiting, deque()
        for waiter in waiting:
            if not waiter.called:
                waiter.callback(None)

    async def _change(self, seconds: float) -> None:
        """Wait until something changed, at most `seconds`."""
        waiter: Deferred[None] = Deferred()
        self._waiting.append(waiter)
        timer = self._reactor.callLater(seconds, lambda: None if waiter.called else waiter.callback(None))
        try:
            await waiter
        finally:
            if timer.active():
                timer.cancel()

    def counts(self) -> dict[str, int]:
        """Counts for metrics."""
        ready = [w for w in self._workers.values() if w.ready]
        return {
            "workers": len(ready),
            "workers_max": self.max_workers,
            "workers_spare": sum(1 for w in ready if w.taken == 0),
            "slots": len(ready) * self.capacity,
            "slots_used": sum(w.taken for w in ready),
            "legs": self.legs,
            "deaths": self.deaths,
        }

    @property
    def ready(self) -> bool:
        """Whether at least one worker can take legs."""
        return any(w.ready for w in self._workers.values())

    def pids(self) -> dict[int, int]:
        """Process id of each ready worker -> its legs (for operations and tests)."""
        return {w.pid: len(w.legs) for w in self._workers.values() if w.ready}


class _Events:
    """What a worker tells, on its way to the listeners of its legs."""

    def __init__(self, pool: Pool, worker: Worker) -> None:
        self._pool = pool
        self._worker = worker

    def _listener(self, key: bytes) -> LegListener | None:
        leg = self._worker.legs.get(key)
        return leg.listener if leg is not None else None

    def ready(self, pid: int, sip_port: int) -> None:
        self._pool.worker_ready(self._worker, pid, sip_port)

    def incoming(self, key: bytes) -> None:
        if listener := self._listener(key):
            listener.leg_incoming()

    def progress(self, key: bytes, code: int, phrase: str, headers: list[list[str]]) -> None:
        if listener := self._listener(key):
            listener.leg_progress(code, phrase, headers)

    def media(self, key: bytes, codec: str, held: bool) -> None:
        if listener := self._listener(key):
            listener.leg_media(codec, held)

    def digit(self, key: bytes, digit: str, method: str) -> None:
        if listener := self._listener(key):
            listener.leg_digit(digit, method)

    def playback_done(self, key: bytes, playback: str, error: str) -> None:
        if listener := self._listener(key):
            listener.leg_playback_done(playback, error)

    def recording_done(self, key: bytes, report: RecordingReport) -> None:
        if listener := self._listener(key):
            listener.leg_recording_done(report)

    def ended(self, key: bytes, report: EndReport) -> None:
        leg = self._worker.legs.get(key)
        if leg is not None:
            self._pool.leg_ended(leg, report)

    def failed(self, key: bytes, command: str, error: str) -> None:
        log.warn(
            "media_command_failed leg={leg} command={command} error={error}",
            leg=key.decode("ascii", "replace"),
            command=command,
            error=error,
        )
