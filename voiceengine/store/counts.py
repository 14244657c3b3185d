"""How long a list is: read from the counts of each day, and counted where these are too coarse."""

from __future__ import annotations

import math
import sqlite3
from typing import Any

import attrs

from voiceengine.store.list_schema import DAY
from voiceengine.store.query import Filter, ListQuery, Where, add_accounts, add_filter, where
from voiceengine.store.tables import Listing, Table

_FAR = 2**45
"""Above every day; an empty blob, which stands for NULL, is above every number."""


@attrs.define
class _Range:
    """Days of a time column that a query asks for; `partial`: those of which it asks for a part only."""

    first: int = -_FAR
    last: int = _FAR
    partial: set[int] = attrs.field(factory=set)

    def narrow(self, item: Filter) -> None:
        value = float(item.value)
        day, begins = int(value) // DAY, value % DAY == 0
        if item.operator == "ge":
            self.first = max(self.first, day)
        elif item.operator == "lt" and begins:
            self.last = min(self.last, day - 1)
        else:
            self.last = min(self.last, day)
        if item.operator == "le" or not begins:
            self.partial.add(day)


@attrs.frozen(kw_only=True)
class Size:
    """What is known of a list."""

    total: int
    """Rows of the list."""
    around: int
    """Rows of the days between the first and the last of the list, whatever else the query asks for."""
    first_day: int | None = None
    """Day of creation of the oldest row or a day before it; None: not known."""
    last_day: int | None = None
    """Day of creation of the newest row or a day after it; None: not known."""
    by_day: tuple[tuple[int, int], ...] = ()
    """Days of creation and their rows, oldest first; empty: not known."""


@attrs.define
class _Split:
    """The filters of a query: those that the counts know, and the rest."""

    groups: list[Filter] = attrs.field(factory=list)
    ranges: dict[str, _Range] = attrs.field(factory=dict)
    rest: list[Filter] = attrs.field(factory=list)


def _split(table: Table[Any], listing: Listing, query: ListQuery) -> _Split:
    found = _Split()
    for item in query.filters:
        column = table.column(item.field)
        if item.operator == "eq" and column in listing.groups:
            found.groups.append(item)
        elif _is_time(item) and (column == "date_created" or column in listing.days):
            found.ranges.setdefault(column, _Range()).narrow(item)
        else:
            found.rest.append(item)
    return found


def _is_time(item: Filter) -> bool:
    # What lies before the second day of 1970 is counted row by row: its days are not whole.
    value = item.value
    return (
        item.operator in ("ge", "le", "lt")
        and not isinstance(value, str)
        and math.isfinite(value)
        and DAY <= value < DAY * 10**9
    )


def _day_column(column: str) -> str:
    return "created_day" if column == "date_created" else f"{column}_day"


def measure(connection: sqlite3.Connection, table: Table[Any], listing: Listing, query: ListQuery) -> Size:
    """Count the rows of a query.

    Args:
        connection: in a transaction, so that all is counted at one time.
        table: what is counted.
        listing: of the table.
        query: its page and order do not matter.
    """
    split = _split(table, listing, query)
    asked = Where()
    add_accounts(asked, query.account_sids)
    for item in split.groups:
        asked.add(f'"{table.column(item.field)}" = ?', item.value)
    partial = Where()
    for column, days in split.ranges.items():
        name = _day_column(column)
        asked.add(f'"{name}" BETWEEN ? AND ?', days.first, days.last)
        for day in sorted(days.partial):
            partial.add(f'"{name}" = ?', day)
    # For each day of creation: the rows of days asked for as a whole, and those of days asked for in part.
    part = f"({' OR '.join(partial.conditions)})" if partial.conditions else "0"
    cells = connection.execute(
        f"SELECT created_day, SUM(total * NOT {part}), SUM(total * {part}) "  # noqa: S608
        f'FROM "{table.name}_daily"{asked} GROUP BY created_day',
        [*partial.parameters, *partial.parameters, *asked.parameters],
    ).fetchall()
    if not cells:
        return Size(total=0, around=0)
    created = [day for day, _, _ in cells]
    first: int | None = None
    last: int | None = None
    if all(isinstance(day, int) and day > 0 for day in created):
        first, last = min(created), max(created)
    around = sum(whole + cut for _, whole, cut in cells)
    by_day: tuple[tuple[int, int], ...] = ()
    day_index = f"idx_{table.name}_days" if listing.days else f"idx_{table.name}_account_sid_date_created"
    if split.rest or (first is None and partial.conditions):
        narrow = narrow_index(table, listing, query)
        index = narrow.name if narrow else day_index
        total = _count(connection, table, query, index, (first, last) if split.ranges else (None, None))
    else:
        total = sum(whole for _, whole, _ in cells)
        for day, _, cut in cells:
            total += _count_cut(connection, table, query, split, day_index, day, cut) if cut else 0
        if first is not None and not any(cut for _, _, cut in cells):
            by_day = tuple(sorted((day, whole) for day, whole, _ in cells))
    if first is not None and (split.groups or split.ranges):
        around = _around(connection, table, query, first, last)
    return Size(total=total, around=around, first_day=first, last_day=last, by_day=by_day)


def _around(
    connection: sqlite3.Connection, table: Table[Any], query: ListQuery, first: int, last: int | None
) -> int:
    asked = Where()
    add_accounts(asked, query.account_sids)
    asked.add("created_day BETWEEN ? AND ?", first, last)
    counted = connection.execute(f'SELECT SUM(total) FROM "{table.name}_daily"{asked}', asked.parameters)  # noqa: S608
    return int(counted.fetchone()[0])


def between_days(found: Where, first: int | None, last: int | None) -> None:
    """Only rows that were created on these days."""
    if first is not None and last is not None:
        found.add("date_created >= ? AND date_created < ?", first * DAY, (last + 1) * DAY)


@attrs.frozen
class NarrowIndex:
    """An index that finds the rows of one filter."""

    name: str
    complete: bool
    """Whether it holds what the columns `groups` and `days` and the order by date need."""


def narrow_index(table: Table[Any], listing: Listing, query: ListQuery) -> NarrowIndex | None:
    """The index for the most telling filter of a query: a lookup, then the longest suffix.

    None when no filter has one.
    """
    suffixes: dict[int, str] = {}
    equal: str | None = None
    for item in query.filters:
        column = table.column(item.field)
        if item.operator == "eq" and column in listing.lookups:
            return NarrowIndex(f"idx_{table.name}_{column}", complete=False)
        if item.operator == "suffix" and column in listing.suffixes and item.value != "":
            suffixes.setdefault(len(str(item.value)), column)
        elif item.operator == "eq" and column in (*listing.sorts, *listing.groups):
            equal = column
    if suffixes:
        return NarrowIndex(f"idx_{table.name}_{suffixes[max(suffixes)]}_rev", complete=True)
    if equal is not None:
        return NarrowIndex(f"idx_{table.name}_account_sid_{equal}_date_created", complete=False)
    return None


def _count(
    connection: sqlite3.Connection,
    table: Table[Any],
    query: ListQuery,
    index: str,
    days: tuple[int | None, int | None],
) -> int:
    """Count row by row."""
    found = where(table, query)
    between_days(found, *days)
    pinned = "" if query.account_sids is None else f' INDEXED BY "{index}"'
    counted = connection.execute(f'SELECT COUNT(*) FROM "{table.name}"{pinned}{found}', found.parameters)  # noqa: S608
    return int(counted.fetchone()[0])


def _count_cut(
    connection: sqlite3.Connection,
    table: Table[Any],
    query: ListQuery,
    split: _Split,
    index: str,
    day: int,
    rows: int,
) -> int:
    """Of the `rows` rows created on `day` that have a time on a day asked for in part, count those asked for.

    Reading from the end of the day stops when all have been seen: when only the end of a call lies on the day
    after, this is soon.
    """
    found = Where()
    for item in split.groups:
        add_filter(found, table, item)
    between_days(found, day, day)
    alternatives = Where()
    for column, days in split.ranges.items():
        for part in sorted(days.partial):
            alternatives.add(f'("{column}" >= ? AND "{column}" < ?)', part * DAY, (part + 1) * DAY)
    found.add(f"({' OR '.join(alternatives.conditions)})", *alternatives.parameters)
    for column, days in split.ranges.items():
        found.add(f'"{column}" >= ? AND "{column}" < ?', days.first * DAY, (days.last + 1) * DAY)
    exact = Where()
    for item in query.filters:
        if item not in split.groups:
            add_filter(exact, table, item)
    columns = ", ".join(f'"{column}"' for column in split.ranges)
    accounts = query.account_sids
    ordered = accounts is not None and len(accounts) == 1
    add_accounts(found, accounts)
    pinned = "" if accounts is None else f' INDEXED BY "{index}"'
    limit = f" ORDER BY date_created DESC LIMIT {rows:d}" if ordered else ""
    counted = connection.execute(
        f'SELECT COUNT(*) FROM (SELECT {columns} FROM "{table.name}"{pinned}{found}{limit}){exact}',  # noqa: S608
        [*found.parameters, *exact.parameters],
    )
    return int(counted.fetchone()[0])
