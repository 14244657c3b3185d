"""The pool of media workers, and the engine's handle on a leg in one of them.

Placement fills workers: an idle worker costs nearly as much as a full one. A few fresh workers are
kept in reserve, whose bridge clocks do not run yet; used ones that stay empty are ended. A worker
that dies takes its own legs with it and nothing else.
"""

from __future__ import annotations

import math
import os
import signal
import socket
from collections import Counter
from typing import Any, cast

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from media import protocol
from media.bridge import Bridge, BridgeListener
from media.bridges import Bridges
from media.legs import EndReport, MediaLeg, RecordingReport
from media.link import WorkerLink
from media.news import News
from media.placement import Placement
from media.spawner import Spawner
from media.watchdog import START_SECONDS, Watchdog
from media.worker_events import Events
from media.worker_record import Worker

__all__ = ["EndReport", "MediaLeg", "NoCapacity", "Pool", "PoolConfig", "RecordingReport"]

log = Logger()

SETTLE_SECONDS = 0.05
"""A slot is taken again only when the answer to the worker's BYE has certainly reached it."""
KEEP_SECONDS = 1.0
"""How long workers may take to say goodbye when the pool stops."""
MAX_RECYCLE_LEGS = 10_000
"""A worker that served so many legs is replaced: its memory does not shrink."""


class NoCapacity(Exception):
    """Every leg the pool may hold is in use."""


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
        self._news = News(reactor)
        self._stopping = False
        self._bridges = Bridges(reactor, self._spawn_mixer)
        self._watchdog = Watchdog(
            reactor,
            workers=self._workers.values,
            quit_worker=self._quit,
            kill=self._kill,
            spares=config.spare_workers,
            idle_seconds=config.idle_seconds,
        )
        self._placement = Placement(0, config.start_rate)
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
        self._placement = Placement(self.capacity, self._config.start_rate)
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
        self._watchdog.start()

    async def _one_ready(self) -> None:
        deadline = self._reactor.seconds() + START_SECONDS
        while not any(w.ready for w in self._workers.values()):
            if self._reactor.seconds() > deadline:
                raise RuntimeError("no media worker became ready")
            await self._news.wait(0.5)

    async def stop(self) -> None:
        """End all workers and the zygote; legs that are up get BYE."""
        self._stopping = True
        self._watchdog.stop()
        self._bridges.stop()
        for worker in list(self._workers.values()):
            if worker.link is not None:
                worker.link.tell(protocol.Quit)
        deadline = self._reactor.seconds() + KEEP_SECONDS
        while (self._workers or self._bridges.mixer.running) and self._reactor.seconds() < deadline:
            await self._news.wait(0.1)
        self._spawner.stop()
        for worker in list(self._workers.values()):
            self._kill(worker)
        self._bridges.remove_folder()

    # -------------------------------------------------------------- slots

    async def reserve(
        self, key: bytes, *, wait: float = 2.0, near: MediaLeg | None = None, keep: int = 0
    ) -> MediaLeg:
        """Take a slot for a leg; waits while a worker is being started.

        Args:
            key: name of the leg, unique among live legs.
            wait: longest wait, seconds.
            near: take a slot in the worker of this leg, when one is free there or kept for it.
            keep: the leg will probably need so many others near it: hold slots for them, until it ends, uses
                them, or `unkeep` is called. They are taken away when there is no other place for a call.

        Raises:
            NoCapacity: the pool is full.
        """
        deadline = self._reactor.seconds() + wait
        while True:
            if self._stopping or self.legs >= self._config.max_legs:
                raise NoCapacity
            left = deadline - self._reactor.seconds()
            worker = self._choose(near, keep)
            if worker is None:
                self._refill()
                if left <= 0 or not self._starting:
                    worker = self._make_do(keep)
            if worker is not None:
                return self._take(worker, key, keep)
            if left <= 0 or not self._workers:
                raise NoCapacity
            await self._news.wait(min(left, 0.1))

    def _choose(self, near: MediaLeg | None, keep: int) -> Worker | None:
        """The place that was asked for."""
        workers, now = self._workers.values(), self._reactor.seconds()
        if near is not None and (found := self._placement.near(near, workers, now)):
            return found
        return self._placement.choose(workers, now, room=1 + min(keep, self.capacity - 1))

    def _make_do(self, keep: int) -> Worker | None:
        """Another place, when no better one comes soon: without room beside it, or one kept for others."""
        workers, now = self._workers.values(), self._reactor.seconds()
        if keep and (found := self._placement.choose(workers, now)):
            return found
        return self._placement.give_away(workers, now)

    @property
    def _starting(self) -> bool:
        """Whether there will be another worker soon."""
        return any(not worker.ready for worker in self._workers.values())

    def unkeep(self, leg: MediaLeg) -> None:
        """Give up the slots that are kept for a leg."""
        if cast(Worker, leg.worker).kept.pop(leg, None):
            self._news.happened()

    def _take(self, worker: Worker, key: bytes, keep: int) -> MediaLeg:
        worker.starts.append(self._reactor.seconds())
        worker.taken += 1
        worker.served += 1
        worker.used = True
        self.legs += 1
        leg = MediaLeg(self, worker, key)
        worker.legs[key] = leg
        self._placement.keep(leg, worker, keep)
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
        if leg.bridge is not None:
            leg.bridge.remove(leg)
        worker = cast(Worker, leg.worker)
        self.unkeep(leg)
        worker.legs.pop(leg.key, None)
        self._reactor.callLater(max(SETTLE_SECONDS, busy), self._free, worker)

    def _free(self, worker: Worker) -> None:
        worker.taken -= 1
        if worker.taken == 0:
            worker.idle_since = self._reactor.seconds()
            if worker.retired:
                self._quit(worker)
        self._news.happened()

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
        worker.link = WorkerLink(lambda: self._link_lost(worker), Events(self, worker))
        factory = worker.link.as_factory()
        with control:
            self._reactor.adoptStreamConnection(control.fileno(), control.family, factory)

    def _spawn_mixer(self) -> tuple[int, socket.socket]:
        self._number += 1
        return self._number, self._spawner.spawn_mixer(self._number)

    def worker_started(self, number: int, pid: int) -> None:
        """The zygote has forked a worker, or the mixer."""
        self._bridges.mixer.started(number, pid)
        if number in self._workers:
            self._workers[number].pid = pid

    def worker_exited(self, pid: int, status: int) -> None:
        """A process is gone."""
        if status != 0 and not self._stopping:
            log.warn("worker_exited pid={pid} status={status}", pid=pid, status=status)
        for worker in list(self._workers.values()):
            if worker.pid == pid:
                self._gone(worker)

    def worker_ready(self, worker: Worker, pid: int, sip_port: int) -> None:
        """A worker can take legs."""
        worker.pid, worker.sip_port, worker.ready = pid, sip_port, True
        worker.idle_since = self._reactor.seconds()
        self._news.happened()

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
            worker.link = None  # nothing must be told to it
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
        self._news.happened()

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

    # -------------------------------------------------------------- bridges

    def new_bridge(self, listener: BridgeListener | None = None) -> Bridge:
        """A bridge without members; it lasts until it is closed or the pool stops."""
        return self._bridges.new(listener)

    def link_closed(self, lost: int, concealed: int) -> None:
        """The link of a room was closed; frames of 20 ms."""
        self._bridges.link_closed(lost, concealed)

    # -------------------------------------------------------------- counting

    def counts(self) -> dict[str, int]:
        """Counts for metrics; `frames_` are frames of 20 ms on links that were closed."""
        ready = [w for w in self._workers.values() if w.ready]
        return {
            "workers": len(ready),
            "workers_max": self.max_workers,
            "workers_spare": sum(1 for w in ready if w.taken == 0),
            "slots": len(ready) * self.capacity,
            "slots_used": sum(w.taken for w in ready),
            "legs": self.legs,
            "slots_kept": sum(w.held - w.taken for w in ready),
            "deaths": self.deaths,
            **self._bridges.counts(),
        }

    @property
    def ready(self) -> bool:
        """Whether at least one worker can take legs."""
        return any(w.ready for w in self._workers.values())

    def pids(self) -> dict[int, int]:
        """Process id of each ready worker -> its legs (for operations and tests)."""
        return {w.pid: len(w.legs) for w in self._workers.values() if w.ready}
