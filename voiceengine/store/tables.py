"""How rows become records of SQLite and back."""

from __future__ import annotations

import operator
import typing
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import attrs

from voiceengine.errors import StoreError
from voiceengine.store import rows

R = TypeVar("R")


class Table(Generic[R]):
    """One table: its row class, its SQL, and the conversion both ways.

    Args:
        name: of the table.
        row: an attrs class; a field's name without trailing underscore is its column.
        key: columns of the primary key; empty: an automatic `id` that the row does not have.
    """

    def __init__(self, name: str, row: type[R], key: Sequence[str]) -> None:
        self.name = name
        self.row = row
        self.key = tuple(key)
        self.fields = tuple(field.name for field in attrs.fields(typing.cast(Any, row)))
        self.columns = tuple(field.removesuffix("_") for field in self.fields)
        hints = typing.get_type_hints(row)
        self._booleans = tuple(
            at for at, field in enumerate(self.fields) if hints[field] in (bool, bool | None)
        )
        self._by_name: dict[str, str] = dict(
            zip((*self.columns, *self.fields), self.columns * 2, strict=True)
        )
        self.parameters: Callable[[R], tuple[Any, ...]] = operator.attrgetter(*self.fields)
        """The row's values in the order of `columns`."""
        quoted = [f'"{column}"' for column in self.columns]
        self._listed = ", ".join(quoted)
        marks = ", ".join("?" * len(quoted))
        updates = ", ".join(f"{c} = excluded.{c}" for c in quoted if c.strip('"') not in self.key)
        self.insert = f'INSERT INTO "{name}" ({self._listed}) VALUES ({marks})'  # noqa: S608
        self.upsert = f"{self.insert} ON CONFLICT ({', '.join(self.key)}) DO UPDATE SET {updates}"
        self.select = f'SELECT {self._listed} FROM "{name}"'  # noqa: S608
        self.count = f'SELECT COUNT(*) FROM "{name}"'  # noqa: S608
        matched = " AND ".join(f'"{column}" = ?' for column in self.key)
        self.delete = f'DELETE FROM "{name}" WHERE {matched}'  # noqa: S608

    def column(self, name: str) -> str:
        """Name the column of a field.

        Raises:
            StoreError: the row has no such field.
        """
        try:
            return self._by_name[name]
        except KeyError:
            raise StoreError(f"{self.row.__name__} has no field {name!r} to select or sort by.") from None

    def load(self, record: Sequence[Any]) -> R:
        """Make a row from a record of `select`."""
        values = list(record)
        for at in self._booleans:
            values[at] = None if values[at] is None else bool(values[at])
        return self.row(**dict(zip(self.fields, values, strict=True)))


ACCOUNTS = Table("accounts", rows.Account, ["sid"])
CLIENTS = Table("clients", rows.Client, ["sid"])
NUMBERS = Table("numbers", rows.Number, ["sid"])
APPLICATIONS = Table("applications", rows.Application, ["sid"])
CALLS = Table("calls", rows.CallRow, ["sid"])
RECORDINGS = Table("recordings", rows.RecordingRow, ["sid"])
CONFERENCES = Table("conferences", rows.ConferenceRow, ["sid"])
REFERS = Table("refers", rows.ReferRow, ["sid"])
NOTIFICATIONS = Table("notifications", rows.NotificationRow, ["sid"])
TRANSCRIPTIONS = Table("transcriptions", rows.TranscriptionRow, ["sid"])
MESSAGES = Table("messages", rows.MessageRow, ["sid"])
ANNOUNCEMENTS = Table("announcements", rows.AnnouncementRow, ["sid"])
CALLER_IDS = Table("caller_ids", rows.CallerId, ["sid"])
GATEWAYS = Table("gateways", rows.Gateway, ["sid"])
ORGANIZATIONS = Table("organizations", rows.Organization, ["sid"])
BINDINGS = Table("bindings", rows.BindingRow, ["aor", "contact"])
JOURNAL = Table("journal", rows.JournalEvent, [])

ALL_TABLES: tuple[Table[Any], ...] = (
    ACCOUNTS,
    CLIENTS,
    NUMBERS,
    APPLICATIONS,
    CALLS,
    RECORDINGS,
    CONFERENCES,
    REFERS,
    NOTIFICATIONS,
    TRANSCRIPTIONS,
    MESSAGES,
    ANNOUNCEMENTS,
    CALLER_IDS,
    GATEWAYS,
    ORGANIZATIONS,
    BINDINGS,
    JOURNAL,
)
