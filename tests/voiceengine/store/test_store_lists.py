"""Lists against a plain evaluation in Python: the same rows, the same order, the same length."""

from __future__ import annotations

import functools
import random
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest
import sqlite_utils
from hypothesis import given, settings
from hypothesis import strategies as st

from voiceengine.errors import StoreError
from voiceengine.store.migrations import migrate, registered
from voiceengine.store.pages import read_page
from voiceengine.store.query import Filter, ListQuery, Page, end_of_range
from voiceengine.store.rows import CallRow, ConferenceRow, MessageRow, NotificationRow, RecordingRow, new_sid
from voiceengine.store.tables import (
    ALL_TABLES,
    CALLS,
    CONFERENCES,
    MESSAGES,
    NOTIFICATIONS,
    RECORDINGS,
    Table,
)

pytestmark = pytest.mark.unit

ACCOUNTS = tuple("AC" + digit * 32 for digit in "12345")
DAY = 86400.0
FIRST = 20_000 * DAY


@functools.cache
def _template() -> bytes:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(sqlite_utils.Database(connection))
    return connection.serialize()


def database() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.deserialize(_template())
    return connection


def save(connection: sqlite3.Connection, table: Table[Any], *rows: Any) -> None:
    connection.executemany(table.upsert, map(table.parameters, rows))


# Few values, so that rows are alike in some of them; times at the edges of days.
_time = st.one_of(
    st.integers(0, 4).map(lambda day: FIRST + day * DAY),
    st.integers(0, 9).map(lambda half: FIRST + half * DAY / 2 + 0.25),
    st.floats(0.0, 5 * DAY, allow_nan=False).map(lambda more: FIRST + more),
)
_party = st.sampled_from(
    ["+15126002188", "+15550002188", "88", "188", "a_b", "axb", "100%", "\U0010ffff8", ""]
)
_account = st.sampled_from(ACCOUNTS)
_sids = st.integers(0, 2**60).map(lambda number: f"{number:032x}")

_calls = st.builds(
    CallRow,
    sid=_sids,
    instance_id=st.just("ID"),
    account_sid=_account,
    parent_call_sid=st.sampled_from([None, "CAp", "CAq"]),
    conference_sid=st.sampled_from([None, "CFp"]),
    to=_party,
    from_=_party,
    direction=st.sampled_from(["inbound", "outbound-api", "outbound-dial"]),
    status=st.sampled_from(["completed", "busy", "ringing"]),
    start_time=st.none() | _time,
    end_time=st.none() | _time,
    duration=st.none() | st.integers(0, 3),
    date_created=_time,
    date_updated=_time,
)
_messages = st.builds(
    MessageRow,
    sid=_sids,
    account_sid=_account,
    from_=_party,
    to=_party,
    body=st.sampled_from(["hello", "hell", "%"]),
    status=st.sampled_from(["sent", "failed"]),
    direction=st.sampled_from(["incoming", "outbound-api"]),
    date_sent=st.none() | _time,
    date_created=_time,
    date_updated=_time,
)
_notifications = st.builds(
    NotificationRow,
    sid=_sids,
    account_sid=_account,
    call_sid=st.sampled_from([None, "CAp"]),
    log=st.integers(0, 1),
    error_code=st.sampled_from([11200, 12100]),
    message_text=st.sampled_from(["no answer", "nothing"]),
    date_created=_time,
    date_updated=_time,
)
_conferences = st.builds(
    ConferenceRow,
    sid=_sids,
    account_sid=_account,
    friendly_name=st.sampled_from(["a", "b"]),
    status=st.sampled_from(["COMPLETED", "RUNNING_MODERATOR_PRESENT"]),
    date_created=_time,
    date_updated=_time,
)
_recordings = st.builds(
    RecordingRow,
    sid=_sids,
    account_sid=_account,
    call_sid=st.sampled_from(["CAp", "CAq"]),
    duration=st.sampled_from([0.0, 1.5, 2.0]),
    date_created=_time,
    date_updated=_time,
)


def _range(*fields: str) -> st.SearchStrategy[Filter]:
    return st.builds(Filter, st.sampled_from(fields), st.sampled_from(["ge", "le", "lt"]), _time)


def _equal(field: str, *values: str | int) -> st.SearchStrategy[Filter]:
    return st.builds(Filter, st.just(field), st.just("eq"), st.sampled_from(values))


_end = st.builds(
    Filter,
    st.sampled_from(["to", "from_"]),
    st.just("suffix"),
    st.sampled_from(["8", "188", "+15126002188", "%", "_b", "b", "0+15126002188", "\U0010ffff8", "x", ""]),
)
_KINDS: dict[str, tuple[Table[Any], Any, Any, list[str]]] = {
    "calls": (
        CALLS,
        _calls,
        st.one_of(
            _end,
            _range("start_time", "end_time", "date_created"),
            _equal("status", "completed", "busy", "canceled"),
            _equal("parent_call_sid", "CAp"),
            _equal("conference_sid", "CFp"),
            _equal("direction", "inbound"),
        ),
        ["date_created", "from_", "to", "direction", "status", "duration", "price", "end_time"],
    ),
    "messages": (
        MESSAGES,
        _messages,
        st.one_of(
            _end,
            _range("date_sent", "date_created"),
            _equal("status", "sent"),
            st.just(Filter("body", "contains", "ello")),
        ),
        ["date_created", "from_", "to", "status", "body"],
    ),
    "notifications": (
        NOTIFICATIONS,
        _notifications,
        st.one_of(
            _range("date_created"),
            _equal("log", 0, 1),
            _equal("error_code", 11200),
            _equal("call_sid", "CAp"),
            st.just(Filter("message_text", "contains", "no ")),
        ),
        ["date_created", "log", "error_code", "call_sid", "message_text"],
    ),
    "conferences": (
        CONFERENCES,
        _conferences,
        st.one_of(
            _range("date_created", "date_updated"),
            _equal("status", "COMPLETED"),
            _equal("friendly_name", "a"),
        ),
        ["date_created", "date_updated", "friendly_name", "status"],
    ),
    "recordings": (
        RECORDINGS,
        _recordings,
        st.one_of(_range("date_created"), _equal("call_sid", "CAp"), _equal("duration", 1)),
        ["date_created", "duration", "call_sid"],
    ),
}

_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda value, wanted: value == wanted,
    "ge": lambda value, wanted: value >= wanted,
    "le": lambda value, wanted: value <= wanted,
    "lt": lambda value, wanted: value < wanted,
    "suffix": lambda value, wanted: value.endswith(wanted),
    "contains": lambda value, wanted: wanted in value,
}


def _field(row: Any, name: str) -> Any:
    return getattr(row, name)


def _key(value: Any) -> tuple[bool, Any]:
    return (value is not None, value if value is not None else 0)


def plainly(rows: list[Any], query: ListQuery) -> tuple[list[Any], int]:
    """The rows of a page (rows are in the order of their insertion) and the length of the list."""
    found = [
        (number, row)
        for number, row in enumerate(rows)
        if (query.account_sids is None or row.account_sid in query.account_sids)
        and all(
            _field(row, item.field) is not None and _TESTS[item.operator](_field(row, item.field), item.value)
            for item in query.filters
        )
    ]
    newest_first = query.descending or query.sort != "date_created"
    found.sort(key=lambda pair: (pair[1].date_created, pair[0]), reverse=newest_first)
    # Sorting by the value keeps the order of equal ones, also in reverse.
    found.sort(key=lambda pair: _key(_field(pair[1], query.sort)), reverse=query.descending)
    ordered = [row for _, row in found]
    start = query.page * query.page_size
    after = [at for at, row in enumerate(ordered) if row.sid == query.after_sid]
    if after:
        start = after[0] + 1
    return ordered[start : start + query.page_size], len(ordered)


@st.composite
def _worlds(draw: st.DrawFn, kind: str) -> tuple[list[Any], list[ListQuery]]:
    _, row, item, sorts = _KINDS[kind]
    rows = draw(st.lists(row, min_size=5, max_size=40, unique_by=lambda found: found.sid))
    accounts = st.lists(_account, max_size=4).map(tuple)
    query = st.builds(
        ListQuery,
        filters=st.lists(item, max_size=3).map(tuple),
        sort=st.sampled_from(sorts),
        descending=st.booleans(),
        page=st.sampled_from([0, 0, 1, 2, 7]),
        page_size=st.sampled_from([1, 3, 10]),
        account_sids=st.none() | accounts | st.just(ACCOUNTS[:1]),
        after_sid=st.none() | st.sampled_from([row.sid for row in rows]) | st.just("none"),
    )
    return rows, draw(st.lists(query, min_size=5, max_size=10))


@settings(max_examples=250, deadline=None)
@given(kind=st.sampled_from(["calls", "calls", *_KINDS]), data=st.data())
def test_a_list_is_what_a_plain_evaluation_says(kind: str, data: st.DataObject) -> None:
    table = _KINDS[kind][0]
    rows, queries = data.draw(_worlds(kind))
    connection = database()
    save(connection, table, *rows)

    for query in queries:
        wanted, total = plainly(rows, query)
        page: Page[Any] = read_page(connection, table, query)
        assert page.total == total, query
        assert list(page.items) == wanted, query
    connection.close()


def counts(connection: sqlite3.Connection, name: str) -> list[tuple[Any, ...]]:
    """The counts of each day as they stand, without the lines of nothing."""
    return sorted(map(tuple, connection.execute(f'SELECT * FROM "{name}_daily"')), key=repr)


def counted_again(connection: sqlite3.Connection, table: Table[Any]) -> list[tuple[Any, ...]]:
    """The counts of each day as they should be."""
    assert table.listing is not None
    groups = "".join(f', "{name}"' for name in table.listing.groups)
    days = "".join(f", IFNULL(CAST(\"{name}\" AS INTEGER) / 86400, x'')" for name in table.listing.days)
    keys = f"account_sid, CAST(date_created AS INTEGER) / 86400{groups}{days}"
    found = connection.execute(f'SELECT {keys}, COUNT(*) FROM "{table.name}" GROUP BY {keys}')
    return sorted(map(tuple, found), key=repr)


@settings(max_examples=100, deadline=None)
@given(kind=st.sampled_from(list(_KINDS)), data=st.data())
def test_triggers_keep_the_counts_of_each_day(kind: str, data: st.DataObject) -> None:
    table, rows, _, _ = _KINDS[kind]
    connection = database()
    known: dict[str, Any] = {}
    for _ in range(data.draw(st.integers(1, 12))):
        row = data.draw(rows)
        if known and data.draw(st.booleans()):
            row = attrs.evolve(row, sid=data.draw(st.sampled_from(sorted(known))))
        known[row.sid] = row
        save(connection, table, row)
        if data.draw(st.integers(0, 3)) == 0:
            gone = data.draw(st.sampled_from(sorted(known)))
            connection.execute(table.delete, (known.pop(gone).sid,))

        assert counts(connection, table.name) == counted_again(connection, table)
    connection.close()


def call(**changes: Any) -> CallRow:
    values: dict[str, Any] = {
        "sid": new_sid("CA"),
        "instance_id": "ID",
        "account_sid": ACCOUNTS[0],
        "to": "+15126002188",
        "from_": "alice",
        "direction": "inbound",
        "status": "completed",
        "date_created": FIRST,
    }
    return CallRow(**{**values, **changes})


def pages(connection: sqlite3.Connection, query: ListQuery) -> Iterator[Page[CallRow]]:
    """All pages, each after the last row of the one before."""
    while True:
        page = read_page(connection, CALLS, query)
        if not page.items:
            return
        yield page
        query = attrs.evolve(query, page=query.page + 1, after_sid=page.items[-1].sid)


@pytest.mark.parametrize("sort", ["date_created", "duration", "status", "to", "end_time"])
@pytest.mark.parametrize("descending", [True, False])
def test_following_the_last_row_visits_every_row_once(sort: str, descending: bool) -> None:
    chance = random.Random(1)
    connection = database()
    rows = [
        call(
            date_created=FIRST + chance.randrange(3),
            duration=chance.choice([None, 0, 1]),
            status=chance.choice(["completed", "busy"]),
            account_sid=chance.choice(ACCOUNTS),
        )
        for _ in range(200)
    ]
    save(connection, CALLS, *rows)
    query = ListQuery(sort=sort, descending=descending, page_size=7, account_sids=ACCOUNTS)
    found = [row.sid for page in pages(connection, query) for row in page.items]

    assert len(found) == 200
    assert set(found) == {row.sid for row in rows}


def test_rows_that_come_while_a_list_is_read_do_not_move_its_pages() -> None:
    connection = database()
    rows = [call(date_created=FIRST + number) for number in range(20)]
    save(connection, CALLS, *rows)
    first = read_page(connection, CALLS, ListQuery(page_size=5))
    save(connection, CALLS, *(call(date_created=FIRST + 100 + number) for number in range(3)))
    second = read_page(connection, CALLS, ListQuery(page=1, page_size=5, after_sid=first.items[-1].sid))

    assert [row.date_created - FIRST for row in second.items] == [14, 13, 12, 11, 10]
    assert second.total == 23


def test_a_row_that_left_the_list_is_no_place_in_it() -> None:
    connection = database()
    rows = [call(date_created=FIRST + number, status="ringing") for number in range(6)]
    save(connection, CALLS, *rows)
    save(connection, CALLS, attrs.evolve(rows[4], status="completed"))
    ringing = ListQuery(filters=(Filter("status", "eq", "ringing"),), page=1, page_size=2)
    page = read_page(connection, CALLS, attrs.evolve(ringing, after_sid=rows[4].sid))

    assert page.items == read_page(connection, CALLS, ringing).items == (rows[2], rows[1])


def test_many_accounts_are_listed_as_well() -> None:
    connection = database()
    rows = [call(account_sid=f"AC{number % 60}", date_created=FIRST + number) for number in range(180)]
    save(connection, CALLS, *rows)
    accounts = tuple(f"AC{number}" for number in range(50))
    for sort in ("date_created", "from_"):
        query = ListQuery(account_sids=accounts, sort=sort, page_size=10, page=3)
        page = read_page(connection, CALLS, query)
        wanted, total = plainly(rows, query)

        assert (list(page.items), page.total) == (wanted, total)


def test_rows_of_an_older_database_are_listed() -> None:
    """Rows of before m0004 get their counts and their texts back to front; its indexes replace older ones."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    old = sqlite_utils.Database(connection)
    migrate(old, tuple(step for step in registered() if step.name < "m0004"))
    row = call(to="+1555%", start_time=FIRST + 1, end_time=FIRST + DAY)
    values = attrs.asdict(row)
    old["calls"].insert({name.removesuffix("_"): value for name, value in values.items()})
    old["calls"].insert({"sid": "CAbare", "account_sid": ACCOUNTS[0], "date_created": FIRST - 5})
    message = {"sid": "SM1", "account_sid": ACCOUNTS[0], "from": "a", "to": "bc", "status": "sent"}
    old["messages"].insert({**message, "date_created": FIRST, "date_sent": FIRST})
    old["conferences"].insert({"sid": "CF1", "account_sid": ACCOUNTS[0], "date_created": FIRST})
    migrate(old)

    def found(*filters: Filter) -> tuple[CallRow, ...]:
        return read_page(connection, CALLS, ListQuery(filters=filters, account_sids=ACCOUNTS[:1])).items

    assert found(Filter("to", "suffix", "555%")) == (row,)
    assert found(Filter("end_time", "ge", FIRST + 2)) == (row,)
    assert found(Filter("status", "eq", "")) == ()
    assert read_page(connection, CALLS, ListQuery(account_sids=ACCOUNTS[:1])).total == 2
    assert read_page(connection, MESSAGES, ListQuery(filters=(Filter("to", "suffix", "c"),))).total == 1
    assert read_page(connection, CONFERENCES, ListQuery(account_sids=ACCOUNTS)).total == 1
    assert [tuple(line) for line in connection.execute("SELECT total FROM calls_daily ORDER BY 1")] == [
        (1,),
        (1,),
    ]


def test_every_index_that_a_list_may_name_exists() -> None:
    connection = database()
    found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
    for table in ALL_TABLES:
        listing = table.listing
        if listing is None:
            continue
        names = ["account_sid_date_created", *listing.lookups, *(f"{name}_rev" for name in listing.suffixes)]
        names += [f"account_sid_{name}_date_created" for name in (*listing.groups, *listing.sorts)]
        names += ["days"] if listing.days else []
        names += ["date_created"] if listing.across else []

        assert {f"idx_{table.name}_{name}" for name in names} <= found


def test_the_end_of_a_range_is_above_all_that_begin_with_it() -> None:
    assert end_of_range("12") == "13"
    assert end_of_range("1\U0010ffff") == "2"
    assert end_of_range("\ud7ff") == "\ue000"
    assert end_of_range("\U0010ffff") is None


def test_a_name_that_is_no_field_is_told_even_when_nothing_is_listed() -> None:
    connection = database()
    for query in (ListQuery(sort="1; DROP TABLE calls"), ListQuery(filters=(Filter("x", "eq", 1),))):
        with pytest.raises(StoreError, match="no field"):
            read_page(connection, CALLS, query)
