"""Reads beside writes: what they see, what they hold up, and how they end."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import gatherResults

from voiceengine.errors import StoreError
from voiceengine.store import ListQuery, Store, new_sid
from voiceengine.store.hot import AT_ONCE
from voiceengine.store.rows import CallRow, JournalEvent
from voiceengine.store.thread import DatabaseThread

pytestmark = pytest.mark.loopback

REACTOR: Any = reactor
AC = "AC" + "1" * 32
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT COUNT(*) FROM n"


def call(**changes: Any) -> CallRow:
    values: dict[str, Any] = {"to": "1", "from_": "2", "direction": "inbound", "status": "ringing"}
    return CallRow(**{"sid": new_sid("CA"), "instance_id": "ID", "account_sid": AC, **values, **changes})


@pytest_twisted.async_yield_fixture
async def thread(tmp_path: Path) -> AsyncIterator[DatabaseThread]:
    opened = DatabaseThread(tmp_path / "engine.db", REACTOR, read_seconds=0.05)
    opened.start()
    await opened.submit(lambda connection: connection.execute("CREATE TABLE things (name TEXT)"))
    yield opened
    await opened.close()


def names(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM things ORDER BY rowid")]


def add(connection: sqlite3.Connection, values: list[str]) -> None:
    connection.executemany("INSERT INTO things VALUES (?)", [(value,) for value in values])


@pytest_twisted.ensureDeferred
async def test_a_slow_read_holds_up_neither_writes_nor_other_reads(thread: DatabaseThread) -> None:
    go_on = threading.Event()

    def slow(connection: sqlite3.Connection) -> bool:
        return go_on.wait(30)

    waiting = thread.read(slow)
    thread.write(add, "a")
    await thread.submit(lambda connection: connection.execute("INSERT INTO things VALUES ('b')"))
    seen = await thread.read(names)
    finished = waiting.called
    go_on.set()

    assert await waiting
    assert seen == ["a", "b"]
    assert not finished


@pytest_twisted.ensureDeferred
async def test_each_read_sees_what_was_handed_over_before_it(thread: DatabaseThread) -> None:
    reads = []
    for number in range(300):
        thread.write(add, str(number))
        reads.append(thread.read(lambda connection: len(names(connection))))
        if number % 50 == 0:
            assert await thread.read(lambda connection: len(names(connection))) == number + 1
    found = await gatherResults(reads)

    assert all(count >= number + 1 for number, count in enumerate(found))


@pytest_twisted.ensureDeferred
async def test_a_read_that_takes_too_long_is_stopped(thread: DatabaseThread) -> None:
    with pytest.raises(StoreError, match=r"stopped after 0\.05 seconds"):
        await thread.read(lambda connection: connection.execute(ENDLESS).fetchone())

    assert await thread.read(names) == []


@pytest_twisted.ensureDeferred
async def test_what_reads_cannot_write(thread: DatabaseThread) -> None:
    with pytest.raises(StoreError, match="read-only"):
        await thread.read(lambda connection: add(connection, ["a"]))


@pytest_twisted.ensureDeferred
async def test_closing_lets_reads_finish(thread: DatabaseThread) -> None:
    thread.write(add, "a")
    asked = thread.read(names)
    await thread.close()

    assert asked.called
    assert await asked == ["a"]
    with pytest.raises(StoreError, match="closed"):
        await thread.read(names)


@pytest_twisted.ensureDeferred
async def test_all_rows_of_an_account_are_deleted_in_parts(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "engine.db", REACTOR)
    other = call(account_sid="AC2")
    rows = [call() for _ in range(AT_ONCE + 5)]
    for row in [other, *rows]:
        store.calls.save(row)
    gone = await store.calls.delete_of_accounts([AC])
    page = await store.calls.list(ListQuery())
    left = await store.calls.list(ListQuery(account_sids=(AC,)))
    await store.close()

    assert sorted(gone) == sorted(row.sid for row in rows)
    assert (page.items, page.total) == ((other,), 1)
    assert left.total == 0


@pytest_twisted.ensureDeferred
async def test_a_row_may_change_in_everything_but_its_sid(tmp_path: Path) -> None:
    """Saving again looks whether columns that hardly ever change are the same; also when they are not."""
    store = await Store.open(tmp_path / "engine.db", REACTOR)
    row = call(parent_call_sid=None)
    for changed in (
        row,
        attrs.evolve(row, status="completed", duration=3),
        attrs.evolve(row, to="99", account_sid="AC2", parent_call_sid="CAp", date_created=5.0),
    ):
        store.calls.save(changed)
        assert await store.calls.get(row.sid) == changed
        page = await store.calls.list(ListQuery(account_sids=(changed.account_sid,)))
        assert page.items == (changed,)

    assert (await store.calls.list(ListQuery())).total == 1
    await store.close()


@pytest_twisted.ensureDeferred
async def test_what_a_dead_engine_left_open_is_found_among_many(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "engine.db", REACTOR)
    for status in ("completed", "ringing", "in-progress", "busy"):
        store.calls.save(call(status=status))
    store.journal.append(JournalEvent(call_sid="CA1", at=1.0, event="e", fields="{}"))

    assert await store.calls.close_unfinished(9.0) == 2
    assert await store.calls.close_unfinished(9.0) == 0
    page = await store.calls.list(ListQuery(account_sids=(AC,), descending=False))
    assert [row.status for row in page.items] == ["completed", "failed", "completed", "busy"]
    assert len(await store.journal.of_call("CA1")) == 1
    await store.close()
