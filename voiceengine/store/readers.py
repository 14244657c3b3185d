"""Threads that read the database, beside the one that writes it (WAL: neither waits for the other)."""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred

from voiceengine.errors import QueryTooLong, StoreError

THREADS: Final = 2
"""So that one long read does not hold up all others."""
CACHE_KIB: Final = 32 * 1024
"""Pages that a connection keeps in memory."""
_STEPS: Final = 20_000
"""Instructions of SQLite between two looks at the clock, some milliseconds."""

Deliver = Callable[[Callable[[Any], object], Any], None]


@attrs.frozen(eq=False)
class Job:
    """A function of a connection, and where its result goes."""

    work: Callable[[sqlite3.Connection], Any]
    result: Deferred[Any]


class Readers:
    """Carries out jobs that only read.

    Args:
        path: of the database file, which must exist when the first job arrives.
        deliver: calls a function on the reactor thread.
        explain: makes a StoreError of an error of SQLite.
        busy_seconds: how long to wait for another process that holds the file.
        read_seconds: a job that takes longer is stopped.
    """

    def __init__(
        self,
        path: Path,
        deliver: Deliver,
        explain: Callable[[sqlite3.Error, Path], StoreError],
        busy_seconds: float,
        read_seconds: float,
    ) -> None:
        self._path = path
        self._deliver = deliver
        self._explain = explain
        self._busy_seconds = busy_seconds
        self._read_seconds = read_seconds
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"voiceengine-store-reader-{number}", daemon=True)
            for number in range(THREADS)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def put(self, job: Job) -> None:
        """Hand over a job."""
        self._jobs.put(job)

    def close(self) -> None:
        """Finish the jobs that wait and end the threads; returns when they have ended."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    # On a reader's thread from here on.

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        while (job := self._jobs.get()) is not None:
            try:
                connection = connection or self._connect()
                value = self._within_time(connection, job)
            except sqlite3.Error as error:
                self._deliver(job.result.errback, self._failure(error))
            except Exception as error:
                self._deliver(job.result.errback, error)
            else:
                self._deliver(job.result.callback, value)
        if connection is not None:
            connection.close()

    def _within_time(self, connection: sqlite3.Connection, job: Job) -> Any:
        ends = time.monotonic() + self._read_seconds
        connection.set_progress_handler(lambda: time.monotonic() > ends, _STEPS)
        return job.work(connection)

    def _failure(self, error: sqlite3.Error) -> StoreError:
        if str(error) == "interrupted":
            return QueryTooLong(
                f"The query was stopped after {self._read_seconds:g} seconds; "
                "ask for fewer rows by more filters, or for another order."
            )
        return self._explain(error, self._path)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=self._busy_seconds, isolation_level=None, cached_statements=256
        )
        connection.execute("PRAGMA query_only = ON")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute("PRAGMA temp_store = MEMORY")
        return connection
