"""The store: repositories on one database thread."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import sqlite_utils
from twisted.internet.interfaces import IReactorFromThreads

from voiceengine.store.hot import (
    Announcements,
    Bindings,
    Calls,
    Conferences,
    Journal,
    Messages,
    Notifications,
    Recordings,
    Refers,
    Transcriptions,
)
from voiceengine.store.memory import (
    Accounts,
    Applications,
    CallerIds,
    Clients,
    Gateways,
    MemoryRepository,
    Numbers,
    Organizations,
    Version,
)
from voiceengine.store.migrations import migrate
from voiceengine.store.tables import (
    ACCOUNTS,
    APPLICATIONS,
    CALLER_IDS,
    CLIENTS,
    GATEWAYS,
    NUMBERS,
    ORGANIZATIONS,
)
from voiceengine.store.thread import DatabaseThread
from voiceengine.store.usage import Usage


class Store:
    """All that is kept. Use on the reactor thread only; make one by `await Store.open(path, reactor)`.

    `accounts`, `clients`, `numbers`, `applications`, `caller_ids`, `gateways` and `organizations` are looked
    up synchronously and changed by awaited calls; all others are written behind and read by awaited calls.
    """

    def __init__(self, thread: DatabaseThread) -> None:
        self._thread = thread
        self._version = Version()
        self.accounts = Accounts(thread, self._version)
        self.clients = Clients(thread, self._version, self.accounts)
        self.numbers = Numbers(thread, self._version, self.accounts)
        self.applications = Applications(thread, self._version)
        self.caller_ids = CallerIds(thread, self._version)
        self.gateways = Gateways(thread, self._version)
        self.organizations = Organizations(thread, self._version)
        self.calls = Calls(thread)
        self.recordings = Recordings(thread)
        self.conferences = Conferences(thread)
        self.refers = Refers(thread)
        self.notifications = Notifications(thread)
        self.messages = Messages(thread)
        self.transcriptions = Transcriptions(thread)
        self.usage = Usage(thread)
        self.announcements = Announcements(thread)
        self.journal = Journal(thread)
        self.bindings = Bindings(thread)

    @classmethod
    async def open(cls, path: Path, reactor: IReactorFromThreads, *, busy_seconds: float = 5.0) -> Store:
        """Open (or create) the database and bring its schema up to date.

        Args:
            path: the file; its folder must exist.
            reactor: where results are delivered.
            busy_seconds: how long to wait for another process that holds the file.

        Raises:
            StoreError: the file cannot be used; the message says why.
        """
        thread = DatabaseThread(path, reactor, busy_seconds)
        store = cls(thread)
        repositories: list[MemoryRepository[Any]] = [
            store.accounts,
            store.clients,
            store.numbers,
            store.applications,
            store.caller_ids,
            store.gateways,
            store.organizations,
        ]
        tables = (ACCOUNTS, CLIENTS, NUMBERS, APPLICATIONS, CALLER_IDS, GATEWAYS, ORGANIZATIONS)

        def prepare(connection: sqlite3.Connection) -> list[list[Any]]:
            # Taking the write lock once tells a read-only or locked file before the first call does.
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("COMMIT")
            migrate(sqlite_utils.Database(connection))
            return [
                [table.load(record) for record in connection.execute(f"{table.select} ORDER BY rowid")]
                for table in tables
            ]

        thread.start()
        try:
            loaded = await thread.submit(prepare)
        except BaseException:
            await thread.close()
            raise
        for repository, rows in zip(repositories, loaded, strict=True):
            repository.fill(rows)
        return store

    @property
    def provisioning_version(self) -> int:
        """Grows with each change of an account, client, number or application."""
        return self._version.value

    @property
    def failed_writes(self) -> int:
        """Write-behind rows that could not be written since the start."""
        return self._thread.failed_writes

    @property
    def waiting_writes(self) -> int:
        """Write-behind rows that are not written yet."""
        return self._thread.waiting

    async def flush(self) -> None:
        """Return when all that was handed over is committed."""
        await self._thread.submit(lambda _: None)

    async def close(self) -> None:
        """Write what waits and close the file. A second call does nothing."""
        await self._thread.close()
