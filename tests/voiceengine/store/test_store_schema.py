from __future__ import annotations

import sqlite3

import pytest
import sqlite_utils

from voiceengine.errors import StoreError
from voiceengine.store.migrations import Migration, migrate, registered
from voiceengine.store.query import Filter, ListQuery, where
from voiceengine.store.tables import ALL_TABLES, CALLS

pytestmark = pytest.mark.unit


def database() -> sqlite_utils.Database:
    return sqlite_utils.Database(sqlite3.connect(":memory:", isolation_level=None))


def test_the_schema_has_a_column_for_each_field_of_each_row() -> None:
    found = database()
    migrate(found)

    for table in ALL_TABLES:
        columns = {column.name for column in found[table.name].columns}
        assert columns - {"id"} == set(table.stored), table.name


def test_each_migration_runs_once() -> None:
    found = database()

    assert migrate(found) == [step.name for step in registered()]
    assert migrate(found) == []


def test_rows_of_the_first_version_get_the_new_columns() -> None:
    found = database()
    first, *_ = registered()
    migrate(found, (first,))
    found["calls"].insert({"sid": "CA1", "account_sid": "AC1"})
    found["recordings"].insert({"sid": "RE1", "account_sid": "AC1", "call_sid": "CA1", "duration": 1.5})
    migrate(found)

    (call,) = found.query(
        "SELECT on_hold, start_conference_on_enter, end_conference_on_exit, beep FROM calls"
    )
    assert tuple(call.values()) == (0, None, None, None)
    (recording,) = found.query("SELECT status, channels, conference_sid FROM recordings")
    assert tuple(recording.values()) == ("completed", 1, None)


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("calls", ["conference_sid"]),
        ("recordings", ["conference_sid"]),
        ("conferences", ["account_sid", "date_created"]),
        ("conferences", ["account_sid", "friendly_name", "date_created"]),
        ("refers", ["account_sid", "date_created"]),
    ],
)
def test_what_is_looked_up_often_has_an_index(table: str, columns: list[str]) -> None:
    found = database()
    migrate(found)

    assert columns in [index.columns for index in found.table(table).indexes]


def test_a_failing_migration_leaves_nothing_behind() -> None:
    found = database()

    def half(db: sqlite_utils.Database) -> None:
        db.create_table("half", {"id": int})
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        migrate(found, (Migration("half", half),))

    assert "half" not in found.table_names()
    assert migrate(found, ()) == []


def test_a_database_of_a_newer_version_is_refused() -> None:
    found = database()
    migrate(found, (*registered(), Migration("m9999_future", lambda _: None)))

    with pytest.raises(StoreError, match=r"newer version.*m9999_future"):
        migrate(found)


def test_a_query_can_only_name_fields() -> None:
    with pytest.raises(StoreError, match="no field"):
        where(CALLS, ListQuery(filters=(Filter('"; DROP TABLE calls; --', "eq", 1),)))
