"""List queries as values, and the SQL they become."""

from __future__ import annotations

import sys
from collections.abc import Sequence
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
    after_sid: str | None = None
    """Last row of the page before: when the list has it, the page begins after it, whatever `page` says."""


@attrs.frozen(kw_only=True)
class Page(Generic[R]):
    """A slice of a list, and how long the whole list is."""

    items: tuple[R, ...]
    total: int
    page: int
    page_size: int


@attrs.define
class Where:
    """Conditions that all hold, and their parameters."""

    conditions: list[str] = attrs.field(factory=list)
    parameters: list[Any] = attrs.field(factory=list)

    def add(self, condition: str, *parameters: object) -> None:
        """Add one condition."""
        self.conditions.append(condition)
        self.parameters.extend(parameters)

    def copy(self) -> Where:
        """The same conditions, to add more."""
        return Where(list(self.conditions), list(self.parameters))

    def __str__(self) -> str:
        return " WHERE " + " AND ".join(self.conditions) if self.conditions else ""


def end_of_range(prefix: str) -> str | None:
    """The smallest text above all that begin with `prefix`; None when there is none."""
    for at in range(len(prefix) - 1, -1, -1):
        code = ord(prefix[at])
        if code < sys.maxunicode:
            return prefix[:at] + chr(0xE000 if code == 0xD7FF else code + 1)
    return None


def add_accounts(found: Where, account_sids: Sequence[str] | None) -> None:
    """Only rows of these accounts."""
    if account_sids is None:
        return
    if len(account_sids) == 1:
        found.add("account_sid = ?", account_sids[0])
    else:
        found.add(f"account_sid IN ({', '.join('?' * len(account_sids))})", *account_sids)


def add_filter(found: Where, table: Table[Any], item: Filter) -> None:
    """Only rows that a filter lets pass.

    Raises:
        StoreError: the row has no such field.
    """
    name = table.column(item.field)
    column = f'"{name}"'
    if item.operator != "suffix" or not isinstance(item.value, str):
        found.add(_CONDITIONS[item.operator].format(column=column), item.value)
    elif item.value == "":
        found.add(f"{column} IS NOT NULL")
    elif table.listing is None or name not in table.listing.suffixes:
        found.add(_CONDITIONS["suffix"].format(column=column), item.value, item.value)
    else:
        turned = item.value[::-1]
        found.add(f'"{name}_rev" >= ?', turned)
        end = end_of_range(turned)
        if end is not None:
            found.add(f'"{name}_rev" < ?', end)


def where(table: Table[Any], query: ListQuery) -> Where:
    """The conditions of a query.

    Raises:
        StoreError: the query names a field that the row does not have.
    """
    found = Where()
    add_accounts(found, query.account_sids)
    for item in query.filters:
        add_filter(found, table, item)
    return found
