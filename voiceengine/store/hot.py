"""Rows that every call writes: written behind, read in the threads of the database."""

from __future__ import annotations

import operator
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Generic, TypeVar

from voiceengine.store.pages import read_page
from voiceengine.store.query import ListQuery, Page
from voiceengine.store.rows import (
    AnnouncementRow,
    BindingRow,
    CallRow,
    ConferenceRow,
    JournalEvent,
    MessageRow,
    NotificationRow,
    RecordingRow,
    ReferRow,
    TranscriptionRow,
)
from voiceengine.store.tables import (
    ANNOUNCEMENTS,
    BINDINGS,
    CALLS,
    CONFERENCES,
    JOURNAL,
    MESSAGES,
    NOTIFICATIONS,
    RECORDINGS,
    REFERS,
    TRANSCRIPTIONS,
    Table,
)
from voiceengine.store.thread import DatabaseThread

R = TypeVar("R")

AT_ONCE: Final = 1000
"""Rows that are deleted before other writes get their turn."""

_sid: Callable[[Any], str] = operator.attrgetter("sid")


class BehindRepository(Generic[R]):
    """Rows with a sid that are written behind."""

    def __init__(self, table: Table[R], thread: DatabaseThread) -> None:
        self._table = table
        self._thread = thread
        self._sink = self._write_rows  # one bound method: the thread groups values by it

    def _write_rows(self, connection: sqlite3.Connection, rows: list[R]) -> None:
        latest = {_sid(row): row for row in rows}
        table = self._table
        new = []
        for row in latest.values():
            values = table.parameters(row)
            if not table.change or not connection.execute(table.change, table.in_change(values)).rowcount:
                new.append(values)
        connection.executemany(table.upsert, new)

    def save(self, row: R) -> None:
        """Insert or replace, soon; of several rows with one sid in a batch only the last is written."""
        self._thread.write(self._sink, row)

    async def delete(self, sid: str) -> bool:
        """Remove the row; False when there was none. A file that belongs to it is the caller's."""

        def run(connection: sqlite3.Connection) -> bool:
            return connection.execute(self._table.delete, (sid,)).rowcount > 0

        return await self._thread.submit(run)

    async def delete_of_accounts(self, account_sids: Sequence[str]) -> tuple[str, ...]:
        """Remove all rows of these accounts; returns their sids. Files are the caller's."""
        marks = ", ".join("?" * len(account_sids))
        name = self._table.name
        statement = (
            f'DELETE FROM "{name}" WHERE rowid IN '  # noqa: S608
            f'(SELECT rowid FROM "{name}" WHERE account_sid IN ({marks}) LIMIT {AT_ONCE}) RETURNING sid'
        )

        def run(connection: sqlite3.Connection) -> list[str]:
            return [sid for (sid,) in connection.execute(statement, tuple(account_sids))]

        gone: list[str] = []
        while part := await self._thread.submit(run):
            gone.extend(part)
        return tuple(gone)

    async def get(self, sid: str) -> R | None:
        """The row, or None; sees every row handed over before."""

        def run(connection: sqlite3.Connection) -> R | None:
            found = connection.execute(f"{self._table.select} WHERE sid = ?", (sid,)).fetchone()
            return None if found is None else self._table.load(found)

        return await self._thread.read(run)

    async def list(self, query: ListQuery) -> Page[R]:
        """A page of rows; a page past the end is empty.

        Raises:
            StoreError: the query names a field that the row does not have, or the database failed.
        """
        return await self._thread.read(lambda connection: read_page(connection, self._table, query))


class Calls(BehindRepository[CallRow]):
    """Call records."""

    def __init__(self, thread: DatabaseThread) -> None:
        super().__init__(CALLS, thread)

    async def close_unfinished(self, at: float) -> int:
        """Close the rows that an earlier run left open because it died; returns how many there were."""

        def run(connection: sqlite3.Connection) -> int:
            cursor = connection.execute(
                "UPDATE calls SET "
                "status = CASE status WHEN 'in-progress' THEN 'completed' ELSE 'failed' END, "
                "end_time = ?, date_updated = ?, cause = 'engine died', "
                "duration = CASE WHEN answer_time IS NULL THEN 0 ELSE duration END "
                "WHERE status IN ('queued', 'ringing', 'in-progress') AND account_sid IN "
                "(SELECT account_sid FROM calls_daily WHERE status IN ('queued', 'ringing', 'in-progress'))",
                (at, at),
            )
            return cursor.rowcount

        return await self._thread.submit(run)


class Conferences(BehindRepository[ConferenceRow]):
    """Conferences."""

    def __init__(self, thread: DatabaseThread) -> None:
        super().__init__(CONFERENCES, thread)

    async def close_unfinished(self, at: float) -> int:
        """Complete the rows that an earlier run left open because it died; returns how many there were."""

        def run(connection: sqlite3.Connection) -> int:
            cursor = connection.execute(
                "UPDATE conferences SET status = 'COMPLETED', date_updated = ? WHERE status != 'COMPLETED'",
                (at,),
            )
            return cursor.rowcount

        return await self._thread.submit(run)


class Refers(BehindRepository[ReferRow]):
    """Executed Refers."""

    def __init__(self, thread: DatabaseThread) -> None:
        super().__init__(REFERS, thread)


class Recordings(BehindRepository[RecordingRow]):
    """Recordings, also those that are going on."""

    def __init__(self, thread: DatabaseThread) -> None:
        super().__init__(RECORDINGS, thread)

    def add(self, row: RecordingRow) -> None:
        """Insert or replace, soon (older name of `save`)."""
        self.save(row)

    async def close_unfinished(self, at: float) -> int:
        """Complete the rows that an earlier run left open because it died; returns how many there were.

        Their duration stays 0: nobody measured the files.
        """

        def run(connection: sqlite3.Connection) -> int:
            cursor = connection.execute(
                "UPDATE recordings SET status = 'completed', date_updated = ? WHERE status != 'completed'",
                (at,),
            )
            return cursor.rowcount

        return await self._thread.submit(run)


class Notifications(BehindRepository[NotificationRow]):
    """Notifications."""

    def __init__(self, thread: DatabaseThread) -> None:
        super().__init__(NOTIFICATIONS, thread)

    def add(self, row: NotificationRow) -> None:
        """Insert or replace, soon."""
        self._thread.write(self._sink, row)


class Transcriptions(BehindRepository[TranscriptionRow]):
    """Transcriptions of recordings."""

    def __init__(self, thread: DatabaseThread) -> None:
        super().__init__(TRANSCRIPTIONS, thread)


class Announcements(BehindRepository[AnnouncementRow]):
    """Texts that were spoken on request."""

    def __init__(self, thread: DatabaseThread) -> None:
        super().__init__(ANNOUNCEMENTS, thread)


class Messages(BehindRepository[MessageRow]):
    """Text messages."""

    def __init__(self, thread: DatabaseThread) -> None:
        super().__init__(MESSAGES, thread)

    async def held(self) -> tuple[MessageRow, ...]:
        """Messages that wait for a client to register, oldest first."""

        def run(connection: sqlite3.Connection) -> tuple[MessageRow, ...]:
            found = connection.execute(f"{MESSAGES.select} WHERE held_until IS NOT NULL ORDER BY rowid")
            return tuple(map(MESSAGES.load, found))

        return await self._thread.read(run)

    async def close_unfinished(self, at: float) -> int:
        """Fail what an earlier run left on its way because it died; returns how many there were."""

        def run(connection: sqlite3.Connection) -> int:
            cursor = connection.execute(
                "UPDATE messages SET status = 'failed', date_updated = ?, error_code = 30008, "
                "error_message = 'Unknown error' "
                "WHERE status IN ('queued', 'sending') AND held_until IS NULL AND account_sid IN "
                "(SELECT account_sid FROM messages_daily WHERE status IN ('queued', 'sending'))",
                (at,),
            )
            return cursor.rowcount

        return await self._thread.submit(run)


class Journal:
    """Events of calls, in the order in which they were appended."""

    def __init__(self, thread: DatabaseThread) -> None:
        self._thread = thread
        self._sink = self._write_events

    def _write_events(self, connection: sqlite3.Connection, events: list[JournalEvent]) -> None:
        connection.executemany(JOURNAL.insert, map(JOURNAL.parameters, events))

    def append(self, event: JournalEvent) -> None:
        """Append an event, soon."""
        self._thread.write(self._sink, event)

    def append_many(self, events: Iterable[JournalEvent]) -> None:
        """Append events, soon."""
        self._thread.write_many(self._sink, events)

    async def of_call(self, sid: str) -> tuple[JournalEvent, ...]:
        """Events of a call, oldest first."""

        def run(connection: sqlite3.Connection) -> tuple[JournalEvent, ...]:
            found = connection.execute(f"{JOURNAL.select} WHERE call_sid = ? ORDER BY id", (sid,))
            return tuple(map(JOURNAL.load, found))

        return await self._thread.read(run)


class Bindings:
    """Registered contacts; the registrar keeps them in memory and loads them at its start."""

    def __init__(self, thread: DatabaseThread) -> None:
        self._thread = thread
        self._sink = self._write_changes

    def _write_changes(
        self, connection: sqlite3.Connection, changes: list[tuple[str, str, BindingRow | None]]
    ) -> None:
        latest = {(aor, contact): row for aor, contact, row in changes}
        kept = [BINDINGS.parameters(row) for row in latest.values() if row is not None]
        connection.executemany(BINDINGS.upsert, kept)
        connection.executemany(BINDINGS.delete, [key for key, row in latest.items() if row is None])

    def save(self, row: BindingRow) -> None:
        """Insert or replace, soon."""
        self._thread.write(self._sink, (row.aor, row.contact, row))

    def delete(self, aor: str, contact: str) -> None:
        """Remove, soon."""
        self._thread.write(self._sink, (aor, contact, None))

    async def load_all(self) -> tuple[BindingRow, ...]:
        """All bindings, also expired ones."""

        def run(connection: sqlite3.Connection) -> tuple[BindingRow, ...]:
            return tuple(map(BINDINGS.load, connection.execute(f"{BINDINGS.select} ORDER BY rowid")))

        return await self._thread.read(run)
