"""The one thread that writes the database, and the way to those that read it.

Jobs are functions of the connection; their results come back as Deferreds. Write-behind values only cost the
caller an append: the thread gathers them and commits a batch at most every `COMMIT_SECONDS`. A job, also one
that reads, waits until all that was handed over before it is written, so a read after a write sees it.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

from voiceengine.errors import StoreError
from voiceengine.store.readers import CACHE_KIB, Job, Readers

T = TypeVar("T")

Sink = Callable[[sqlite3.Connection, list[Any]], None]
"""Writes many values of one kind inside an open transaction (runs on the database thread)."""

COMMIT_SECONDS: Final = 0.1
BATCH: Final = 2000
"""Values per transaction at most."""


WAL_BYTES: Final = 64 * 1024 * 1024
"""To this size the log of SQLite is cut when a long transaction (a migration) made it larger."""


@attrs.frozen(eq=False)
class _Write(Job):
    """A job for the writing connection."""


@attrs.frozen(eq=False)
class _Close:
    """Close the connections and end."""

    result: Deferred[None]


class DatabaseThread:
    """Owns the connections.

    Args:
        path: of the database file; its folder must exist.
        reactor: where results are delivered.
        busy_seconds: how long to wait for another process that holds the file.
        read_seconds: a read that takes longer is stopped.
    """

    log = Logger()

    def __init__(
        self,
        path: Path,
        reactor: IReactorFromThreads,
        busy_seconds: float = 5.0,
        read_seconds: float = 5.0,
    ) -> None:
        self._path = path
        self._reactor = reactor
        self._busy_seconds = busy_seconds
        self._jobs: queue.SimpleQueue[Job | _Close | None] = queue.SimpleQueue()
        self._readers = Readers(path, self._deliver, explain, busy_seconds, read_seconds)
        # Counted on the reactor thread, and by the writing thread when it is done with them.
        self._submitted = self._finished = 0
        self._handed = self._written = 0
        self._behind: deque[tuple[Sink, Any]] = deque()
        self._armed = False
        self._closed = False
        self.failed_writes = 0
        """Write-behind values that were lost."""
        self._thread = threading.Thread(target=self._run, name="voiceengine-store", daemon=True)

    @property
    def waiting(self) -> int:
        """Write-behind values that are not written yet."""
        return len(self._behind)

    def start(self) -> None:
        """Start the threads; the first job finds the connection open."""
        self._thread.start()
        self._readers.start()

    def submit(self, work: Callable[[sqlite3.Connection], T]) -> Deferred[T]:
        """Run a function that writes, after all that was handed over before.

        Errors of SQLite arrive as StoreError.
        """
        result: Deferred[T] = Deferred()
        if self._closed:
            result.errback(StoreError("The database is closed."))
            return result
        self._submitted += 1
        self._jobs.put(_Write(work, result))
        return result

    def read(self, work: Callable[[sqlite3.Connection], T]) -> Deferred[T]:
        """Run a function that only reads; it sees all that was handed over before, and delays no write.

        Errors of SQLite arrive as StoreError.
        """
        result: Deferred[T] = Deferred()
        if self._closed:
            result.errback(StoreError("The database is closed."))
            return result
        job = Job(work, result)
        if self._finished == self._submitted and self._written == self._handed:
            self._readers.put(job)
        else:
            self._jobs.put(job)
        return result

    def write(self, sink: Sink, value: object) -> None:
        """Hand over a value to be written soon; never raises, never waits."""
        self._behind.append((sink, value))
        self._handed += 1  # after the append: what is counted as written was in the queue
        if not self._armed:
            self._arm()

    def write_many(self, sink: Sink, values: Iterable[object]) -> None:
        """Hand over several values of one kind."""
        handed = [(sink, value) for value in values]
        self._behind.extend(handed)
        self._handed += len(handed)
        if not self._armed:
            self._arm()

    def _arm(self) -> None:
        if self._closed:
            self._lost(len(self._behind), "the database is closed")
            self._behind.clear()
            return
        self._armed = True
        self._jobs.put(None)

    def close(self) -> Deferred[None]:
        """Write what waits, close the connections and end the threads. A second call does nothing."""
        result: Deferred[None] = Deferred()
        if self._closed:
            result.callback(None)
        else:
            self._closed = True
            self._jobs.put(_Close(result))
        return result

    # On the database thread from here on.

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        while True:
            job = self._jobs.get()
            if job is None:
                try:
                    job = self._jobs.get(timeout=COMMIT_SECONDS)
                except queue.Empty:
                    job = None
            self._armed = False
            if connection is not None:
                handed = self._handed
                self._drain(connection)
                self._written = handed
            if job is None:
                continue
            if isinstance(job, _Close):
                self._readers.close()
                if connection is not None:
                    connection.close()
                self._deliver(job.result.callback, None)
                return
            if not isinstance(job, _Write):
                self._readers.put(job)
                continue
            deliver: Callable[[Any], object] = job.result.errback
            value: Any
            try:
                connection = connection or self._connect()
                value = job.work(connection)
                deliver = job.result.callback
            except sqlite3.Error as error:
                value = explain(error, self._path)
            except Exception as error:
                value = error
            self._finished += 1
            self._deliver(deliver, value)

    def _connect(self) -> sqlite3.Connection:
        if not self._path.parent.is_dir():
            raise StoreError(f"The folder of the database, {self._path.parent}, does not exist.")
        connection = sqlite3.connect(
            self._path, timeout=self._busy_seconds, isolation_level=None, cached_statements=256
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
        return connection

    def _deliver(self, function: Callable[[Any], object], value: object) -> None:
        self._reactor.callFromThread(function, value)

    def _drain(self, connection: sqlite3.Connection) -> None:
        while self._behind:
            batch: dict[Sink, list[Any]] = {}
            for _ in range(min(BATCH, len(self._behind))):
                sink, value = self._behind.popleft()
                batch.setdefault(sink, []).append(value)
            try:
                connection.execute("BEGIN IMMEDIATE")
                for sink, values in batch.items():
                    sink(connection, values)
                connection.execute("COMMIT")
            except Exception as error:
                self._rescue(connection, batch, error)

    def _rescue(self, connection: sqlite3.Connection, batch: dict[Sink, list[Any]], error: Exception) -> None:
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        if isinstance(error, sqlite3.OperationalError):  # the file itself: locked, full, read-only
            self._deliver_loss(sum(map(len, batch.values())), str(explain(error, self._path)))
            return
        for sink, values in batch.items():  # one bad value must not take the others along
            for value in values:
                try:
                    sink(connection, [value])
                except Exception as reason:
                    self._deliver_loss(1, f"{type(value).__name__}: {reason}")

    def _deliver_loss(self, count: int, reason: str) -> None:
        self._reactor.callFromThread(self._lost, count, reason)

    def _lost(self, count: int, reason: str) -> None:
        self.failed_writes += count
        self.log.error("store_write_failed rows={count} reason={reason}", count=count, reason=reason)


def explain(error: sqlite3.Error, path: Path) -> StoreError:
    """Say in a sentence what SQLite could not do."""
    text = str(error)
    if isinstance(error, sqlite3.IntegrityError):
        return StoreError(f"A row like this exists already ({text}).")
    if "locked" in text or "busy" in text:
        return StoreError(
            f"The database {path} is locked by another process; end that process or use another folder."
        )
    if "readonly" in text:
        return StoreError(f"The database {path} is read-only; make the file and its folder writable.")
    if "not a database" in text or "malformed" in text:
        return StoreError(
            f"The database {path} is damaged or is no SQLite file ({text}); restore it from a backup."
        )
    if "full" in text:
        return StoreError(f"There is no room left for the database {path}.")
    if "unable to open" in text:
        return StoreError(
            f"The database {path} cannot be opened; check that it is a writable file in a writable folder."
        )
    return StoreError(f"The database {path} failed: {text}.")
