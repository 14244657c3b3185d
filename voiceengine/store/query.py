"""List queries as values, and the SQL they become."""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

import attrs

from voiceengine.store.tables import Table

R = TypeVar("R")

Operator = Literal["eq", "ge", "le", "lt", "suffix", "contains"]

_CONDITIONS: dict[str, str] = {
    "eq": "{column} = ?",
    "ge": "{column} >= ?",
    "le": "{column} <= ?",
    "lt": "{column} < ?",
    # No LIKE: % and _ of the value stay literal and case is kept.
    "suffix": "substr({column}, -length(?)) = ?",
    "contains": "instr({column}, ?) > 0",
}


@attrs.frozen
class Filter:
    """One condition; `field` is the name of a row's field or of its column."""

    field: str
    operator: Operator
    value: str | int | float


@attrs.frozen(kw_only=True)
class ListQuery:
    """What a list shall contain."""

    filters: tuple[Filter, ...] = ()
    sort: str = "date_created"
    descending: bool = True
    """Direction of `sort`; equal values are ordered newest first."""
    page: int = 0
    """Zero-based."""
    page_size: int = 50
    account_sids: tuple[str, ...] | None = None
    """Rows of these accounts only; None: of all accounts."""


@attrs.frozen(kw_only=True)
class Page(Generic[R]):
    """A slice of a list, and how long the whole list is."""

    items: tuple[R, ...]
    total: int
    page: int
    page_size: int


def where(table: Table[Any], query: ListQuery) -> tuple[str, list[Any]]:
    """Make the WHERE clause of a query and its parameters."""
    conditions: list[str] = []
    parameters: list[Any] = []
    if query.account_sids is not None:
        marks = ", ".join("?" * len(query.account_sids))
        conditions.append(f"account_sid IN ({marks})")
        parameters.extend(query.account_sids)
    for item in query.filters:
        column = f'"{table.column(item.field)}"'
        conditions.append(_CONDITIONS[item.operator].format(column=column))
        parameters.extend([item.value] * (2 if item.operator == "suffix" else 1))
    return (" WHERE " + " AND ".join(conditions) if conditions else ""), parameters


def order(table: Table[Any], query: ListQuery) -> str:
    """Make the ORDER BY clause of a query."""
    direction = "DESC" if query.descending else "ASC"
    column = table.column(query.sort)
    if column == "date_created":
        return f" ORDER BY date_created {direction}, rowid {direction}"
    return f' ORDER BY "{column}" {direction}, date_created DESC, rowid DESC'
