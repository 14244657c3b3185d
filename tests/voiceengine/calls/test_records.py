"""Notifications and the journal of a call, in a real store."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.logger import globalLogPublisher

from rcml.ports import Level, Notice
from voiceengine.calls.records import CallRecords, mask, store_notice
from voiceengine.store import ListQuery, Store
from voiceengine.store.rows import NotificationRow

pytestmark = pytest.mark.loopback
REACTOR: Any = reactor
AC, CA = "AC" + "1" * 32, "CA" + "2" * 32


@pytest_twisted.async_yield_fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "engine.db", REACTOR)
    yield opened
    await opened.close()


@pytest.fixture
def records(store: Store) -> CallRecords:
    return CallRecords(store, AC, CA, lambda: 1000.5)


async def notifications(store: Store) -> list[NotificationRow]:
    return list((await store.notifications.list(ListQuery())).items)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("http://user:secret@host/a", "http://host/a"),
        ("https://user@host/a", "https://host/a"),
        ("GET http://a:b@h/ and http://c:d@i/ failed", "GET http://h/ and http://i/ failed"),
        ("http://host/a?mail=x@y.org", "http://host/a?mail=x@y.org"),
        ("http://host/x@y", "http://host/x@y"),
        ("sip:alice@host", "sip:alice@host"),
        ("no address", "no address"),
        ("http://u:p@ss@host/a", "http://host/a"),
        ("http://u:p?q#r@host/a", "http://host/a"),
    ],
)
def test_credentials_in_urls_are_taken_out(text: str, masked: str) -> None:
    """The last @ before the path counts, as for the client that splits them off."""
    assert mask(text) == masked


@pytest_twisted.ensureDeferred
async def test_the_journal_keeps_order_time_and_plain_values(store: Store, records: CallRecords) -> None:
    records.journal("fetched", url="http://u:p@h/a", status=200, took=0.25, again=None)
    records.journal("spoken", text='Grüße "x"\n', path=Path("/a"))
    found = await store.journal.of_call(CA)

    assert [(e.call_sid, e.at, e.event) for e in found] == [(CA, 1000.5, "fetched"), (CA, 1000.5, "spoken")]
    assert json.loads(found[0].fields) == {"url": "http://h/a", "status": 200, "took": 0.25, "again": None}
    assert json.loads(found[1].fields) == {"text": 'Grüße "x"\n', "path": "/a"}


@pytest_twisted.ensureDeferred
async def test_a_notification_is_stored_journalled_and_logged(store: Store, records: CallRecords) -> None:
    logged: list[dict[str, Any]] = []
    globalLogPublisher.addObserver(logged.append)
    try:
        records.notify(
            Notice(
                code=11200,
                level=Level.ERROR,
                message="http://user:secret@host/a did not answer.",
                request_url="http://user:secret@host/a",
                request_method="POST",
                request_variables="CallSid=CA1",
                response_headers="X: 1",
                response_body="<x/>",
            )
        )
    finally:
        globalLogPublisher.removeObserver(logged.append)
    (row,) = await notifications(store)
    (event,) = await store.journal.of_call(CA)

    assert row.sid.startswith("NO")
    assert (row.account_sid, row.call_sid, row.log, row.error_code) == (AC, CA, 0, 11200)
    assert (row.message_text, row.request_url) == ("http://host/a did not answer.", "http://host/a")
    assert (row.request_method, row.request_variables) == ("POST", "CallSid=CA1")
    assert (row.response_headers, row.response_body) == ("X: 1", "<x/>")
    assert event.event == "notification"
    assert json.loads(event.fields) == {"code": 11200, "message": "http://host/a did not answer."}
    (line,) = [found for found in logged if "notification" in (found.get("log_format") or "")]
    assert line["log_level"].name == "error"
    assert "secret" not in str({key: line[key] for key in ("message", "call", "account", "code")})


@pytest_twisted.ensureDeferred
async def test_a_warning_without_a_call(store: Store) -> None:
    notice = Notice(code=1, level=Level.WARNING, message="m")
    store_notice(store, notice, account_sid=AC, call_sid=None)
    (row,) = await notifications(store)

    assert (row.log, row.call_sid) == (1, None)


@pytest_twisted.ensureDeferred
async def test_a_transcription_that_is_asked_for_is_told(store: Store, records: CallRecords) -> None:
    asked: list[str] = []
    records.journal("transcription_requested", recording="RE0")
    records.on_transcription = asked.append
    records.journal("transcription_requested", recording="RE1")
    records.journal("other", recording="RE2")

    assert asked == ["RE1"]
    assert len(await store.journal.of_call(CA)) == 3
