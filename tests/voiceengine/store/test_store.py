from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.utils import getProcessValue

from voiceengine.errors import StoreError
from voiceengine.store import Filter, ListQuery, Store, new_sid
from voiceengine.store.rows import (
    Account,
    Application,
    BindingRow,
    CallRow,
    Client,
    ConferenceRow,
    JournalEvent,
    NotificationRow,
    Number,
    RecordingRow,
    ReferRow,
)

pytestmark = pytest.mark.loopback

AC = "AC" + "1" * 32
AC2 = "AC" + "2" * 32
REACTOR: Any = reactor


def account(sid: str = AC, **changes: Any) -> Account:
    values = {
        "organization_sid": "OR" + "0" * 32,
        "friendly_name": "x",
        "email_address": f"{sid}@example.com",
    }
    return Account(sid=sid, auth_token="t", **{**values, **changes})


def call(**changes: Any) -> CallRow:
    values: dict[str, Any] = {
        "sid": new_sid("CA"),
        "instance_id": "ID" + "0" * 32,
        "account_sid": AC,
        "to": "+15126002188",
        "from_": "alice",
        "direction": "inbound",
        "status": "ringing",
    }
    return CallRow(**{**values, **changes})


def binding(**changes: Any) -> BindingRow:
    values: dict[str, Any] = {
        "aor": "alice@example.com",
        "contact": "sip:alice@127.0.0.1:5070",
        "client_sid": new_sid("CL"),
        "call_id": "1@x",
        "cseq": 1,
        "expires_at": 10.0,
        "transport": "udp",
        "remote_host": "127.0.0.1",
        "remote_port": 5070,
        "listener": "udp://127.0.0.1:5060",
    }
    return BindingRow(**{**values, **changes})


def client(login: str, account_sid: str = AC) -> Client:
    return Client(
        sid=new_sid("CL"),
        account_sid=account_sid,
        login=login,
        friendly_name=login,
        ha1_md5="m",
        ha1_sha256="s",
    )


@pytest_twisted.async_yield_fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "engine.db", REACTOR)
    yield opened
    await opened.close()


@pytest_twisted.ensureDeferred
async def test_provisioning_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "engine.db"
    store = await Store.open(path, REACTOR)
    rows = (
        account(),
        client("alice"),
        Number(sid=new_sid("PN"), account_sid=AC, phone_number="1234", friendly_name="n", is_sip=True),
        Application(sid=new_sid("AP"), account_sid=AC, friendly_name="a", voice_caller_id_lookup=True),
    )
    repositories = ("accounts", "clients", "numbers", "applications")
    for name, row in zip(repositories, rows, strict=True):
        await getattr(store, name).add(row)
    await store.close()

    again = await Store.open(path, REACTOR)
    found = [getattr(again, name).get(row.sid) for name, row in zip(repositories, rows, strict=True)]
    await again.close()

    assert found == list(rows)


@pytest_twisted.ensureDeferred
async def test_accounts_form_a_tree(store: Store) -> None:
    admin, child, grandchild = (
        account(AC),
        account(AC2, parent_sid=AC),
        account("AC" + "3" * 32, parent_sid=AC2),
    )
    for row in (admin, child, grandchild):
        await store.accounts.add(row)

    assert store.accounts.by_email(admin.email_address.upper()) == admin
    assert store.accounts.children(AC) == (child,)
    assert store.accounts.descendants(AC) == (child, grandchild)
    assert store.accounts.super_admin() == admin
    assert store.accounts.is_ancestor(AC, grandchild.sid)
    assert not store.accounts.is_ancestor(grandchild.sid, AC)
    assert not store.accounts.is_ancestor(AC, AC)


@pytest_twisted.ensureDeferred
async def test_lookups_follow_updates_and_deletes(store: Store) -> None:
    row = await store.clients.add(client("alice"))
    before = store.provisioning_version
    await store.clients.update(attrs.evolve(row, login="bob"))

    assert store.clients.by_login("alice") is None
    assert store.clients.by_login("bob") is not None
    assert store.provisioning_version > before
    assert await store.clients.delete(row.sid)
    assert not await store.clients.delete(row.sid)
    assert store.clients.of_account(AC) == ()
    with pytest.raises(StoreError, match="no Client"):
        await store.clients.update(row)


@pytest_twisted.ensureDeferred
async def test_names_are_looked_up_per_organization(store: Store) -> None:
    await store.accounts.add(account(AC))
    await store.accounts.add(account(AC2, organization_sid="OR" + "9" * 32))
    first, second = await store.clients.add(client("alice")), await store.clients.add(client("alice", AC2))

    assert store.clients.by_login("alice", "OR" + "0" * 32) == first
    assert store.clients.by_login("alice", "OR" + "9" * 32) == second
    assert store.clients.by_login("alice", "OR" + "8" * 32) is None
    assert store.clients.by_login("alice") == first


@pytest_twisted.ensureDeferred
async def test_a_refused_write_is_taken_back(store: Store) -> None:
    await store.accounts.add(account(AC, email_address="a@example.com"))
    with pytest.raises(StoreError, match="exists already"):
        await store.accounts.add(account(AC2, email_address="a@example.com"))
    with pytest.raises(StoreError, match="exists already"):
        await store.accounts.add(account(AC))

    assert store.accounts.get(AC2) is None
    found = store.accounts.by_email("a@example.com")
    assert found is not None and found.sid == AC


@pytest_twisted.ensureDeferred
async def test_a_row_that_changes_keeps_its_place_in_the_lists(store: Store) -> None:
    first, second, third = [await store.clients.add(client(name)) for name in ("alice", "bob", "carol")]
    changed = await store.clients.update(attrs.evolve(first, friendly_name="Alice"))
    moved = await store.clients.update(attrs.evolve(second, account_sid=AC2))

    assert store.clients.of_account(AC) == (changed, third)
    assert store.clients.of_account(AC2) == (moved,)
    assert store.clients.all() == (changed, moved, third)


@pytest_twisted.ensureDeferred
async def test_of_writes_that_are_refused_together_nothing_is_left(store: Store) -> None:
    await store.accounts.add(account(AC2, email_address="taken@example.com"))
    row = await store.accounts.add(account(AC))
    wrong = attrs.evolve(row, email_address="taken@example.com")
    tries = [wrong, attrs.evolve(wrong, friendly_name="later")]
    results = await DeferredList(
        [Deferred.fromCoroutine(store.accounts.update(one)) for one in tries], consumeErrors=True
    )

    assert [success for success, _ in results] == [False, False]
    assert store.accounts.get(AC) == row
    found = store.accounts.by_email("taken@example.com")
    assert found is not None and found.sid == AC2


@pytest_twisted.ensureDeferred
async def test_several_rows_change_together_or_not_at_all(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "engine.db", REACTOR)
    rows = [await store.clients.add(client(name)) for name in ("alice", "bob", "carol")]
    stranger = client("dave")
    with pytest.raises(StoreError, match="no Client"):
        await store.clients.update_all([attrs.evolve(rows[0], login="x"), stranger])
    assert store.clients.all() == tuple(rows)
    changed = [attrs.evolve(row, status=0) for row in rows]
    await store.clients.update_all(changed)
    await store.clients.update_all([])
    assert store.clients.all() == tuple(changed)
    assert await store.clients.delete_all([rows[0].sid, rows[2].sid, stranger.sid]) == 2
    await store.close()

    store = await Store.open(tmp_path / "engine.db", REACTOR)
    assert store.clients.all() == (changed[1],)
    await store.close()


@pytest_twisted.ensureDeferred
async def test_a_read_sees_every_write_before_it(store: Store) -> None:
    row = call()
    for number in range(200):
        row = attrs.evolve(row, duration=number, muted=bool(number % 2))
        store.calls.save(row)
        if number % 20 == 0:
            assert await store.calls.get(row.sid) == row

    assert await store.calls.get(row.sid) == row
    assert (await store.calls.list(ListQuery())).total == 1
    assert await store.calls.get("CA" + "0" * 32) is None


@pytest_twisted.ensureDeferred
async def test_suffix_filters_take_percent_and_underscore_literally(store: Store) -> None:
    for to in ("+15126002188", "100%", "1000", "a_b", "axb"):
        store.calls.save(call(to=to))

    async def found(suffix: str) -> list[str]:
        page = await store.calls.list(ListQuery(filters=(Filter("to", "suffix", suffix),)))
        return [row.to for row in page.items]

    assert await found("6002188") == ["+15126002188"]
    assert await found("15126002188") == ["+15126002188"]
    assert await found("%") == ["100%"]
    assert await found("_b") == ["a_b"]
    assert await found("0+15126002188") == []


@pytest_twisted.ensureDeferred
async def test_lists_are_sorted_and_cut_into_pages(store: Store) -> None:
    for number in range(25):
        store.calls.save(
            call(date_created=float(number), from_=f"{number % 2}", account_sid=(AC, AC2)[number % 2])
        )

    newest = await store.calls.list(ListQuery(page_size=10))
    oldest = await store.calls.list(ListQuery(page_size=10, page=2, descending=False))
    by_from = await store.calls.list(ListQuery(sort="from", descending=True, page_size=2))
    own = await store.calls.list(ListQuery(account_sids=(AC2,), filters=(Filter("date_created", "ge", 5),)))

    assert [row.date_created for row in newest.items] == [float(n) for n in range(24, 14, -1)]
    assert newest.total == 25
    assert [row.date_created for row in oldest.items] == [20.0, 21.0, 22.0, 23.0, 24.0]
    assert [row.date_created for row in by_from.items] == [23.0, 21.0]
    assert own.total == 10
    assert (await store.calls.list(ListQuery(account_sids=()))).total == 0
    assert (await store.calls.list(ListQuery(page=10**30))).items == ()


@pytest_twisted.ensureDeferred
async def test_recordings_and_notifications_are_kept(store: Store) -> None:
    recording = RecordingRow(sid=new_sid("RE"), account_sid=AC, call_sid=new_sid("CA"), duration=1.5)
    notification = NotificationRow(
        sid=new_sid("NO"), account_sid=AC, log=0, error_code=11205, message_text="m"
    )
    store.recordings.add(recording)
    store.notifications.add(notification)

    assert await store.recordings.get(recording.sid) == recording
    assert await store.notifications.get(notification.sid) == notification
    assert await store.recordings.delete(recording.sid)
    assert not await store.recordings.delete(recording.sid)
    assert await store.recordings.get(recording.sid) is None


@pytest_twisted.ensureDeferred
async def test_what_a_call_is_in_its_conference_is_kept(store: Store) -> None:
    rows = [
        call(),
        call(
            start_conference_on_enter=True, end_conference_on_exit=False, beep=True, on_hold=True, muted=True
        ),
    ]
    for row in rows:
        store.calls.save(row)

    for row in rows:
        assert await store.calls.get(row.sid) == row
    assert rows[0].beep is None


@pytest_twisted.ensureDeferred
async def test_a_recording_is_saved_again_when_it_ends(store: Store) -> None:
    row = RecordingRow(
        sid=new_sid("RE"),
        account_sid=AC,
        call_sid=new_sid("CA"),
        conference_sid=new_sid("CF"),
        status="in-progress",
        channels=2,
        duration=0.0,
    )
    store.recordings.save(row)
    assert await store.recordings.get(row.sid) == row
    done = attrs.evolve(row, status="completed", duration=2.5)
    store.recordings.save(done)

    assert await store.recordings.get(row.sid) == done
    assert (await store.recordings.list(ListQuery())).total == 1


@pytest_twisted.ensureDeferred
async def test_conferences_are_kept_and_listed(store: Store) -> None:
    rows = [
        ConferenceRow(sid=new_sid("CF"), account_sid=AC, friendly_name=name, date_created=float(at))
        for at, name in enumerate(("a", "b"))
    ]
    for row in rows:
        store.conferences.save(row)
    found = await store.conferences.list(ListQuery(filters=(Filter("friendly_name", "eq", "b"),)))

    assert await store.conferences.get(rows[0].sid) == rows[0]
    assert found.items == (rows[1],)


@pytest_twisted.ensureDeferred
async def test_what_a_dead_engine_left_open_is_completed(store: Store) -> None:
    statuses = ("RUNNING_MODERATOR_ABSENT", "RUNNING_MODERATOR_PRESENT", "COMPLETED")
    rooms = [
        ConferenceRow(sid=new_sid("CF"), account_sid=AC, friendly_name="a", status=status, date_updated=1.0)
        for status in statuses
    ]
    for room in rooms:
        store.conferences.save(room)
    recordings = [
        RecordingRow(
            sid=new_sid("RE"),
            account_sid=AC,
            call_sid=new_sid("CA"),
            status=status,
            duration=0.0,
            date_updated=1.0,
        )
        for status in ("in-progress", "paused", "completed")
    ]
    for recording in recordings:
        store.recordings.save(recording)

    assert await store.conferences.close_unfinished(9.0) == 2
    assert await store.recordings.close_unfinished(9.0) == 2
    assert await store.conferences.close_unfinished(10.0) == 0
    for repository in (store.conferences, store.recordings):
        found: Any = (await repository.list(ListQuery(descending=False))).items
        assert [(row.status.lower(), row.date_updated) for row in found] == [
            ("completed", 9.0),
            ("completed", 9.0),
            ("completed", 1.0),
        ]


@pytest_twisted.ensureDeferred
async def test_refers_are_kept(store: Store) -> None:
    values: dict[str, Any] = {
        "account_sid": AC,
        "org_sid": "OR",
        "call_sid": "CA",
        "from_": "a",
        "to": "sip:b@c",
    }
    asked = ReferRow(sid=new_sid("RF"), **values)
    told = attrs.evolve(asked, call_status="completed", refer_sip_response_code=202)
    store.refers.save(asked)
    store.refers.save(told)

    assert await store.refers.get(asked.sid) == told
    assert (await store.refers.list(ListQuery())).items == (told,)


@pytest_twisted.ensureDeferred
async def test_the_journal_keeps_the_order(store: Store) -> None:
    sid = new_sid("CA")
    events = [JournalEvent(call_sid=sid, at=5.0, event=f"e{number}", fields="{}") for number in range(50)]
    store.journal.append(events[0])
    store.journal.append_many(events[1:])

    assert await store.journal.of_call(sid) == tuple(events)
    assert await store.journal.of_call("CA") == ()


@pytest_twisted.ensureDeferred
async def test_the_last_change_of_a_binding_wins(store: Store) -> None:
    kept, gone = binding(), binding(contact="sip:alice@127.0.0.1:5071")
    store.bindings.save(gone)
    store.bindings.delete(kept.aor, kept.contact)
    store.bindings.save(kept)
    store.bindings.delete(gone.aor, gone.contact)

    assert await store.bindings.load_all() == (kept,)
    store.bindings.delete(kept.aor, kept.contact)
    assert await store.bindings.load_all() == ()


@pytest_twisted.ensureDeferred
async def test_one_bad_row_does_not_take_its_batch_along(store: Store) -> None:
    good, bad = call(), call(cause=object())
    store.calls.save(bad)
    store.calls.save(good)
    await store.flush()
    await store.flush()

    assert await store.calls.get(good.sid) == good
    assert await store.calls.get(bad.sid) is None
    assert store.failed_writes == 1


@pytest_twisted.ensureDeferred
async def test_a_locked_database_costs_the_rows_but_not_the_engine(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "engine.db", REACTOR, busy_seconds=0.01)
    other = sqlite3.connect(tmp_path / "engine.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store.calls.save(call())
    await store.flush()
    with pytest.raises(StoreError, match="locked by another process"):
        await store.clients.add(client("alice"))
    other.execute("ROLLBACK")
    row = call()
    store.calls.save(row)

    assert await store.calls.get(row.sid) == row
    assert store.failed_writes == 1
    assert store.clients.by_login("alice") is None
    other.close()
    await store.close()


@pytest_twisted.ensureDeferred
async def test_a_database_that_cannot_be_used_is_explained(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"folder of the database, .*missing, does not exist"):
        await Store.open(tmp_path / "missing" / "engine.db", REACTOR)
    with pytest.raises(StoreError, match="cannot be opened"):
        await Store.open(tmp_path, REACTOR)
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"this is no database, " * 100)
    with pytest.raises(StoreError, match="damaged or is no SQLite file"):
        await Store.open(broken, REACTOR)
    held = tmp_path / "held.db"
    other = sqlite3.connect(held, isolation_level=None)
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked by another process"):
        await Store.open(held, REACTOR, busy_seconds=0.01)
    other.close()


@pytest_twisted.ensureDeferred
async def test_a_read_only_database_is_explained(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root writes read-only files")
    path = tmp_path / "engine.db"
    await (await Store.open(path, REACTOR)).close()
    path.chmod(0o400)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StoreError, match=r"read-only|cannot be opened"):
            await Store.open(path, REACTOR)
    finally:
        tmp_path.chmod(0o700)


@pytest_twisted.ensureDeferred
async def test_after_close_reads_fail_and_writes_are_counted(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "engine.db", REACTOR)
    await store.close()
    await store.close()
    store.calls.save(call())

    assert store.failed_writes == 1
    with pytest.raises(StoreError, match="closed"):
        await store.calls.get("CA")


_KILLED = """
import os, sys
from pathlib import Path
from twisted.internet import defer, task
sys.path.insert(0, sys.argv[2])
from voiceengine.store import Store
from voiceengine.store.rows import JournalEvent

async def main(reactor):
    store = await Store.open(Path(sys.argv[1]), reactor)
    events = [JournalEvent(call_sid="CA1", at=1.0, event=str(n), fields="{}") for n in range(500)]
    store.journal.append_many(events)
    await store.flush()
    store.journal.append_many(events)
    os._exit(9)

task.react(lambda reactor: defer.Deferred.fromCoroutine(main(reactor)))
"""


@pytest_twisted.ensureDeferred
async def test_what_was_flushed_survives_a_killed_process(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[3])
    command = [sys.executable, "-c", _KILLED, str(tmp_path / "engine.db"), root]
    code = await getProcessValue(command[0], command[1:], env=dict(os.environ))
    store = await Store.open(tmp_path / "engine.db", REACTOR)
    events = await store.journal.of_call("CA1")
    await store.close()

    assert code == 9
    assert len(events) in (500, 1000)
