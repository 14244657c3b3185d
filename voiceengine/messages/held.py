"""Messages that wait for a client to register (setting `messages.offline = hold`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from voiceengine.store.rows import MessageRow

log = Logger()


class Held:
    """Waiting messages by address of record, oldest first.

    Args:
        reactor: IReactorTime.
        wall: wall time, seconds.
        limit: messages for one client at most.
        deliver: sends one; returns False when the client cannot be reached after all, and it goes on waiting.
        expire: ends one that waited too long.
    """

    def __init__(
        self,
        reactor: Any,
        wall: Callable[[], float],
        limit: int,
        deliver: Callable[[MessageRow], Coroutine[Any, Any, bool]],
        expire: Callable[[MessageRow], None],
    ) -> None:
        self._reactor = reactor
        self._wall = wall
        self._limit = limit
        self._deliver = deliver
        self._expire = expire
        self._waiting: dict[str, deque[MessageRow]] = {}
        self._flushing: dict[str, Deferred[None]] = {}
        self._again: set[str] = set()
        """Who registered while their messages were being delivered, perhaps with another phone."""
        self._timer: Any = None
        self._due = 0.0
        """When the timer fires, wall time."""

    def waits(self, aor: str) -> bool:
        """Whether messages wait for this address; later ones go behind them."""
        return bool(self._waiting.get(aor)) or aor in self._flushing

    def count(self) -> int:
        """How many messages wait."""
        return sum(map(len, self._waiting.values()))

    def add(self, aor: str, row: MessageRow) -> bool:
        """Let one wait until its `held_until`; False when too many wait already."""
        waiting = self._waiting.setdefault(aor, deque())
        if len(waiting) >= self._limit:
            return False
        waiting.append(row)
        self._arm(row.held_until or 0.0)
        return True

    def remove(self, sid: str) -> None:
        """Forget one that is being removed."""
        for aor, waiting in list(self._waiting.items()):
            kept = deque(row for row in waiting if row.sid != sid)
            self._put(aor, kept)

    def registered(self, aor: str) -> None:
        """A client has registered: deliver what waits for it, one after the other."""
        if not self._waiting.get(aor):
            return
        if aor in self._flushing:
            self._again.add(aor)
            return
        work: Deferred[None] = Deferred.fromCoroutine(self._flush(aor))
        if not work.called:
            self._flushing[aor] = work
        work.addErrback(self._failed, aor)
        work.addBoth(self._flushed, aor)

    def _flushed(self, _: object, aor: str) -> None:
        self._flushing.pop(aor, None)
        self._again.discard(aor)

    def _failed(self, failure: Failure, aor: str) -> None:
        if not failure.check(CancelledError):
            log.failure("held_messages_failed aor={aor}", failure, aor=aor)

    async def _flush(self, aor: str) -> None:
        while waiting := self._waiting.get(aor):
            row = waiting[0]
            self._again.discard(aor)
            if not await self._deliver(row):
                if aor in self._again:
                    continue
                return
            current = self._waiting.get(aor)
            if current and current[0].sid == row.sid:
                current.popleft()
                self._put(aor, current)

    def _put(self, aor: str, waiting: deque[MessageRow]) -> None:
        if waiting:
            self._waiting[aor] = waiting
        else:
            self._waiting.pop(aor, None)

    # -------------------------------------------------------------- time

    def _arm(self, due: float) -> None:
        if self._timer is not None and self._timer.active():
            if self._due <= due:
                return
            self._timer.cancel()
        self._due = due
        self._timer = self._reactor.callLater(max(0.0, due - self._wall()), self._sweep)

    def _sweep(self) -> None:
        now = self._wall()
        due: list[float] = []
        for aor, waiting in list(self._waiting.items()):
            busy = waiting[0].sid if aor in self._flushing else ""
            over = [row for row in waiting if (row.held_until or 0.0) <= now and row.sid != busy]
            gone = {row.sid for row in over}
            kept = deque(row for row in waiting if row.sid not in gone)
            self._put(aor, kept)
            due += [max(row.held_until or 0.0, now + 1.0) for row in kept]
            for row in over:
                self._expire(row)
        if due:
            self._arm(min(due))

    def stop(self) -> None:
        """Stop; what waits stays in the store."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        for work in list(self._flushing.values()):
            work.cancel()
        self._waiting.clear()
