"""Reads a page of a list by the index that has to look at the fewest rows.

Two ways: *along* the order, testing each row until the page is full, or from one *narrow* filter, sorting
what it finds. Which is shorter follows from the exact length of the list. The page is found as row ids first,
and whole rows are fetched for these only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, TypeVar

import attrs

from voiceengine.store.counts import Size, between_days, measure, narrow_index
from voiceengine.store.list_schema import DAY
from voiceengine.store.query import Filter, ListQuery, Page, Where, add_filter, where
from voiceengine.store.tables import Listing, Table

R = TypeVar("R")

_ARMS = 30
"""So many accounts are read each by its own index and merged; of more, all are sorted."""
_FETCH = 500
"""Rows that are fetched by one statement."""
_IN_INDEX = 0.15
"""What looking at an entry of an index costs, where looking at a row costs 1."""


def read_page(connection: sqlite3.Connection, table: Table[R], query: ListQuery) -> Page[R]:
    """Read a page and the length of its list, both of one moment.

    Raises:
        StoreError: the query names a field that the row does not have.
    """
    listing = table.listing
    if listing is None:
        raise ValueError(f"{table.name} is not listed")
    if query.account_sids is not None:
        query = attrs.evolve(query, account_sids=tuple(dict.fromkeys(query.account_sids)))
    table.column(query.sort)
    where(table, query)  # names that do not exist are told even when there is nothing to read
    connection.execute("BEGIN")
    try:
        size = measure(connection, table, listing, query)
        ids = _Reader(connection, table, listing, query, size).ids() if size.total else []
        items = _fetch(connection, table, ids)
    finally:
        connection.execute("ROLLBACK")
    return Page(items=items, total=size.total, page=query.page, page_size=query.page_size)


def _fetch(connection: sqlite3.Connection, table: Table[R], ids: Sequence[int]) -> tuple[R, ...]:
    found: dict[int, R] = {}
    for start in range(0, len(ids), _FETCH):
        part = ids[start : start + _FETCH]
        marks = ", ".join("?" * len(part))
        statement = f'SELECT rowid, {table.listed} FROM "{table.name}" WHERE rowid IN ({marks})'  # noqa: S608
        for number, *record in connection.execute(statement, part):
            found[number] = table.load(record)
    return tuple(found[number] for number in ids)


class _Reader:
    """Finds the row ids of a page."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        table: Table[Any],
        listing: Listing,
        query: ListQuery,
        size: Size,
    ) -> None:
        self._connection = connection
        self._table = table
        self._listing = listing
        self._query = query
        self._size = size
        self._equal = [table.column(item.field) for item in query.filters if item.operator == "eq"]
        sort = table.column(query.sort)
        # One value only: all are equal, and ordered newest first.
        single = sort != "date_created" and sort in self._equal
        self._sort = "date_created" if single else sort
        self._descending = query.descending or single
        self._where = self._conditions(query.filters)

    def _conditions(self, filters: Sequence[Filter]) -> Where:
        found = Where()
        for item in filters:
            add_filter(found, self._table, item)
        if any(self._table.column(item.field) in self._listing.days for item in filters):
            between_days(found, self._size.first_day, self._size.last_day)
        return found

    def ids(self) -> list[int]:
        query, total = self._query, self._size.total
        last = self._last_row()
        offset = 0 if last else query.page * query.page_size
        count = min(query.page_size, total - offset)
        if count <= 0:
            return []
        if self._sort != "date_created" and not self._descending:
            index = self._index(count + offset)
            if index is not None and index == self._along("")[0]:
                return self._by_values(index, last, count, offset)
        if last is not None:
            return self._after(last)
        if offset <= total // 2:
            return self._select(self._where, count, offset)
        # The nearer end of the list is the last row.
        return self._select(self._where, count, total - offset - count, backwards=True)[::-1]

    def _by_values(
        self, index: str, last: tuple[Any, float, int] | None, count: int, offset: int
    ) -> list[int]:
        """Read one value of the sort column after the other, of each value the newest rows first."""
        column = f'"{self._sort}"'
        ids: list[int] = []
        value: Any = None
        start = self._where.copy()
        if last is not None:
            value = last[0]
            start.add("(date_created, rowid) < (?, ?)", *last[1:])
        while True:
            found, start = start, self._where.copy()
            found.add(f"{column} IS ?", value)
            part = self._select(found, count - len(ids), offset)
            ids.extend(part)
            if len(ids) >= count:
                return ids
            if offset:
                offset = 0 if part else offset - self._count(index, found)
            value = self._next_value(index, value)
            if value is None:
                return ids

    def _count(self, index: str, found: Where) -> int:
        statement = f'SELECT COUNT(*) FROM "{self._table.name}" INDEXED BY "{index}"'  # noqa: S608
        total = 0
        for account in self._query.account_sids or ():
            one = Where(["account_sid = ?", *found.conditions], [account, *found.parameters])
            total += self._connection.execute(f"{statement}{one}", one.parameters).fetchone()[0]
        return total

    def _next_value(self, index: str, value: Any) -> Any:
        """The smallest value of the sort column above one (None: of all); None when there is none."""
        above = f' AND "{self._sort}" > ?' if value is not None else ""
        statement = (
            f'SELECT MIN("{self._sort}") FROM "{self._table.name}" INDEXED BY "{index}" '  # noqa: S608
            f"WHERE account_sid = ?{above}"
        )
        rest = [] if value is None else [value]
        values = [
            self._connection.execute(statement, [account, *rest]).fetchone()[0]
            for account in self._query.account_sids or ()
        ]
        return min((found for found in values if found is not None), default=None)

    def _last_row(self) -> tuple[Any, float, int] | None:
        """Sort value, date and row id of the row that the page comes after, when the list has it."""
        query = self._query
        if query.after_sid is None:
            return None
        found = where(self._table, query)
        found.add("sid = ?", query.after_sid)
        statement = f'SELECT "{self._sort}", date_created, rowid FROM "{self._table.name}"{found}'  # noqa: S608
        row = self._connection.execute(statement, found.parameters).fetchone()
        return None if row is None or row[1] is None else tuple(row)

    def _after(self, last: tuple[Any, float, int]) -> list[int]:
        ids: list[int] = []
        for condition, parameters in self._stretches(*last):
            found = self._where.copy()
            found.add(condition, *parameters)
            left = self._query.page_size - len(ids)
            if left > 0:
                ids.extend(self._select(found, left, 0))
        return ids

    def _stretches(self, value: Any, date: float, number: int) -> list[tuple[str, tuple[Any, ...]]]:
        """What comes after a row, in order; each is one range of the index. NULL is below all values."""
        descending = self._descending
        if self._sort == "date_created":
            return [(f"(date_created, rowid) {'<' if descending else '>'} (?, ?)", (date, number))]
        column = f'"{self._sort}"'
        same: tuple[str, tuple[Any, ...]] = (
            f"{column} IS ? AND (date_created, rowid) < (?, ?)",
            (value, date, number),
        )
        if descending:
            return [same] if value is None else [same, (f"{column} < ?", (value,)), (f"{column} IS NULL", ())]
        return [same, (f"{column} IS NOT NULL", ()) if value is None else (f"{column} > ?", (value,))]

    def _select(self, found: Where, count: int, offset: int, *, backwards: bool = False) -> list[int]:
        """Row ids in order (or backwards), `count` of them after the first `offset`."""
        descending = self._descending is not backwards
        by_date = self._sort == "date_created"
        newest_first = descending if by_date else not backwards
        columns = ["date_created", "rowid"]
        directions = [newest_first, newest_first]
        if not by_date:
            columns.insert(0, f'"{self._sort}"')
            directions.insert(0, descending)
        if by_date and offset:
            found, offset = self._skip_days(found, descending, offset)
        index = self._index(count + offset)
        pinned = "" if index is None else f' INDEXED BY "{index}"'
        arm = f'SELECT {", ".join(columns)} FROM "{self._table.name}"{pinned}'  # noqa: S608
        accounts = self._query.account_sids
        parameters: list[Any] = []
        if accounts is None or len(accounts) > _ARMS:
            if accounts is not None:
                found = found.copy()
                found.add(f"account_sid IN ({', '.join('?' * len(accounts))})", *accounts)
            statement = f"{arm}{found}"
            parameters.extend(found.parameters)
        else:
            arms = []
            for account in accounts:
                one = Where(["account_sid = ?", *found.conditions], [account, *found.parameters])
                arms.append(f"{arm}{one}")
                parameters.extend(one.parameters)
            statement = " UNION ALL ".join(arms)
        order = ", ".join(f"{at} {'DESC' if down else 'ASC'}" for at, down in enumerate(directions, 1))
        cursor = self._connection.execute(
            f"{statement} ORDER BY {order} LIMIT ? OFFSET ?", [*parameters, count, offset]
        )
        return [record[-1] for record in cursor]

    def _skip_days(self, found: Where, descending: bool, offset: int) -> tuple[Where, int]:
        """Leave out whole days before the page, as far as their numbers of rows are known."""
        by_day = self._size.by_day
        skipped: int | None = None
        for day, rows in reversed(by_day) if descending else by_day:
            if offset < rows:
                break
            offset -= rows
            skipped = day
        if skipped is None:
            return found, offset
        found = found.copy()
        if descending:
            found.add("date_created < ?", skipped * DAY)
        else:
            found.add("date_created >= ?", (skipped + 1) * DAY)
        return found, offset

    def _index(self, rows: int) -> str | None:
        """The index to read the first `rows` rows by; None: SQLite shall choose."""
        table, listing, size = self._table.name, self._listing, self._size
        accounts = self._query.account_sids
        if accounts is None or len(accounts) > _ARMS:
            return f"idx_{table}_date_created" if listing.across and self._sort == "date_created" else None
        plain = f"idx_{table}_account_sid_date_created"
        along, exact = self._along(plain)
        around = max(size.around, size.total)
        steps = min(rows * around / size.total, around)
        cost_along = steps * (_IN_INDEX if exact else 1.0)
        narrow = narrow_index(self._table, listing, self._query)
        if narrow is not None:
            in_index = narrow.complete and self._sort == "date_created"
            cost_narrow = size.total * (_IN_INDEX if in_index else 1.0)
            if along is None or cost_narrow < cost_along:
                return narrow.name
        return along or plain

    def _along(self, plain: str) -> tuple[str | None, bool]:
        """The index in the order of the list, and whether it finds exactly the rows of the list."""
        table, listing = self._table, self._listing
        if self._sort != "date_created":
            known = self._sort in (*listing.sorts, *listing.groups)
            name = f"idx_{table.name}_account_sid_{self._sort}_date_created" if known else None
            return name, not self._query.filters
        others = [item for item in self._query.filters if table.column(item.field) != "date_created"]
        if others and all(table.column(item.field) in listing.days for item in others):
            return f"idx_{table.name}_days", False  # holds the times that have to be looked at
        for item in others:
            column = table.column(item.field)
            if item.operator == "eq" and column in (*listing.groups, *listing.sorts):
                return f"idx_{table.name}_account_sid_{column}_date_created", len(others) == 1
        return plain, not others
