"""What migration m0004 adds to a table that is listed. Never changed once released.

For a table `t` with suffix filters: columns `<column>_rev`, the texts back to front, so that the end of a
text is the start of a range. A table `t_daily` counts the rows of each account by the day (UTC) of their
creation, by the days of other times and by columns with few values; triggers keep it. Then the indexes that
lists are read by.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import attrs

DAY = 86400


@attrs.frozen(kw_only=True)
class ListSchema:
    """One table; the words are those of `tables.Listing`."""

    table: str
    groups: Sequence[str] = ()
    days: Sequence[str] = ()
    suffixes: Sequence[str] = ()
    sorts: Sequence[str] = ()
    lookups: Sequence[str] = ()
    across: bool = False


def _reverse(value: str | None) -> str | None:
    return value[::-1] if isinstance(value, str) else value


def _day(value: str) -> str:
    """Whole days since the epoch. An empty blob stands for NULL: keys have none, and no value equals it."""
    return f"IFNULL(CAST({value} AS INTEGER) / {DAY}, x'')"


def _keys(schema: ListSchema, record: str) -> list[tuple[str, str]]:
    """Columns of the counts and what they are for a record (`NEW`, `OLD` or the table)."""
    return [
        ("account_sid", f"IFNULL({record}.account_sid, x'')"),
        ("created_day", _day(f"{record}.date_created")),
        *((name, f"IFNULL({record}.\"{name}\", x'')") for name in schema.groups),
        *((f"{name}_day", _day(f'{record}."{name}"')) for name in schema.days),
    ]


def add(connection: sqlite3.Connection, schema: ListSchema) -> None:
    """Add columns, counts, triggers and indexes, and fill them from the rows that are there."""
    _add_reversed(connection, schema)
    _add_counts(connection, schema)
    _add_indexes(connection, schema)


def _add_reversed(connection: sqlite3.Connection, schema: ListSchema) -> None:
    if not schema.suffixes:
        return
    for name in schema.suffixes:
        connection.execute(f'ALTER TABLE "{schema.table}" ADD COLUMN "{name}_rev" TEXT')
    connection.create_function("text_backwards", 1, _reverse, deterministic=True)
    values = ", ".join(f'"{name}_rev" = text_backwards("{name}")' for name in schema.suffixes)
    connection.execute(f'UPDATE "{schema.table}" SET {values}')  # noqa: S608


def _add_counts(connection: sqlite3.Connection, schema: ListSchema) -> None:
    table, counts = schema.table, f"{schema.table}_daily"
    types = {name: kind for _, name, kind, *_ in connection.execute(f'PRAGMA table_info("{table}")')}
    names = [name for name, _ in _keys(schema, "NEW")]
    columns = ", ".join(f'"{name}" {types.get(name, "INTEGER")} NOT NULL' for name in names)
    listed = ", ".join(f'"{name}"' for name in names)
    connection.execute(
        f'CREATE TABLE "{counts}" ({columns}, total INTEGER NOT NULL, PRIMARY KEY ({listed})) WITHOUT ROWID'
    )
    values = ", ".join(value for _, value in _keys(schema, f'"{table}"'))
    connection.execute(
        f'INSERT INTO "{counts}" SELECT {values}, COUNT(*) FROM "{table}" GROUP BY {values}'  # noqa: S608
    )
    new = ", ".join(value for _, value in _keys(schema, "NEW"))
    old = " AND ".join(f'"{name}" = {value}' for name, value in _keys(schema, "OLD"))
    more = (
        f'INSERT INTO "{counts}" VALUES ({new}, 1) '  # noqa: S608
        f"ON CONFLICT ({listed}) DO UPDATE SET total = total + 1;"
    )
    less = (
        f'UPDATE "{counts}" SET total = total - 1 WHERE {old}; '  # noqa: S608
        f'DELETE FROM "{counts}" WHERE {old} AND total = 0;'
    )
    pairs = zip(_keys(schema, "OLD"), _keys(schema, "NEW"), strict=True)
    differs = " OR ".join(f"{before} IS NOT {after}" for (_, before), (_, after) in pairs)
    connection.execute(f'CREATE TRIGGER "{counts}_insert" AFTER INSERT ON "{table}" BEGIN {more} END')
    connection.execute(f'CREATE TRIGGER "{counts}_delete" AFTER DELETE ON "{table}" BEGIN {less} END')
    connection.execute(
        f'CREATE TRIGGER "{counts}_update" AFTER UPDATE ON "{table}" WHEN {differs} BEGIN {less} {more} END'
    )


def _add_indexes(connection: sqlite3.Connection, schema: ListSchema) -> None:
    table = schema.table
    counted = (*schema.groups, *schema.days)
    ends = [f"{name}_rev" for name in schema.suffixes]
    indexes: dict[str, tuple[str, ...]] = {
        f"{table}_account_sid_date_created": ("account_sid", "date_created")
    }
    for name in dict.fromkeys((*schema.groups, *schema.sorts)):
        indexes[f"{table}_account_sid_{name}_date_created"] = ("account_sid", name, "date_created")
    for name in schema.lookups:
        indexes[f"{table}_{name}"] = (name,)
    for end in ends:
        others = [other for other in ends if other != end]
        indexes[f"{table}_{end}"] = ("account_sid", end, "date_created", *counted, *others)
    if schema.days:
        indexes[f"{table}_days"] = ("account_sid", "date_created", *counted)
    if schema.across:
        indexes[f"{table}_date_created"] = ("date_created",)
    for index, names in indexes.items():
        columns = ", ".join(f'"{name}"' for name in names)
        connection.execute(f'CREATE INDEX IF NOT EXISTS "idx_{index}" ON "{table}" ({columns})')
