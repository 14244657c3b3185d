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


@attrs.frozen(kw_only=True)
class Listing:
    """What lists of a table filter and sort by; the database has an index for each (migration m0004).

    All lists know `account_sid` and `date_created`. Names are those of columns.
    """

    groups: tuple[str, ...] = ()
    """Few values, compared for equality: rows are counted by them for each day."""
    days: tuple[str, ...] = ()
    """Times that follow `date_created` closely: rows are counted by their days."""
    suffixes: tuple[str, ...] = ()
    """Compared by their ends: also kept back to front."""
    sorts: tuple[str, ...] = ()
    """Sorted by, besides `date_created`."""
    lookups: tuple[str, ...] = ()
    """Compared for equality; few rows have the same value."""
    fixed: tuple[str, ...] = ()
    """What hardly ever changes: as long as it is the same, a saved row leaves the indexes of it alone."""
    across: bool = False
    """Whether rows of all accounts are listed together."""


def backwards(value: object) -> object:
    """What the column of a suffix filter holds."""
    return value[::-1] if isinstance(value, str) else value


class Table(Generic[R]):
    """One table: its row class, its SQL, and the conversion both ways.

    Args:
        name: of the table.
        row: an attrs class; a field's name without trailing underscore is its column.
        key: columns of the primary key; empty: an automatic `id` that the row does not have.
        listing: what its lists filter and sort by; None: it is not listed.
    """

    def __init__(self, name: str, row: type[R], key: Sequence[str], listing: Listing | None = None) -> None:
        self.name = name
        self.row = row
        self.key = tuple(key)
        self.listing = listing
        self.fields = tuple(field.name for field in attrs.fields(typing.cast(Any, row)))
        self.columns = tuple(field.removesuffix("_") for field in self.fields)
        hints = typing.get_type_hints(row)
        self._booleans = tuple(
            at for at, field in enumerate(self.fields) if hints[field] in (bool, bool | None)
        )
        self._by_name: dict[str, str] = dict(
            zip((*self.columns, *self.fields), self.columns * 2, strict=True)
        )
        self._values: Callable[[R], tuple[Any, ...]] = operator.attrgetter(*self.fields)
        suffixes = listing.suffixes if listing else ()
        self._turned = tuple(self.columns.index(column) for column in suffixes)
        self.stored = (*self.columns, *(f"{column}_rev" for column in suffixes))
        """Columns of the table."""
        quoted = [f'"{column}"' for column in self.columns]
        self.listed = ", ".join(quoted)
        """Columns of the row, quoted."""
        written = [f'"{column}"' for column in self.stored]
        marks = ", ".join("?" * len(written))
        updates = ", ".join(f"{c} = excluded.{c}" for c in written if c.strip('"') not in self.key)
        self.insert = f'INSERT INTO "{name}" ({", ".join(written)}) VALUES ({marks})'  # noqa: S608
        self.upsert = f"{self.insert} ON CONFLICT ({', '.join(self.key)}) DO UPDATE SET {updates}"
        fixed = listing.fixed if listing else ()
        changed = [at for at, name in enumerate(self.stored) if name not in (*self.key, *fixed)]
        same = [at for at, name in enumerate(self.stored) if name in (*self.key, *fixed)]
        settings = ", ".join(f"{written[at]} = ?" for at in changed)
        unchanged = " AND ".join(f"{written[at]} IS ?" for at in same)
        self.change = f'UPDATE "{name}" SET {settings} WHERE {unchanged}' if fixed else ""  # noqa: S608
        """Changes a row whose `fixed` columns are the same; empty: the table has none."""
        self.in_change: Callable[[tuple[Any, ...]], tuple[Any, ...]] = operator.itemgetter(*changed, *same)
        """The values of `parameters` in the order of `change`."""
        self.select = f'SELECT {self.listed} FROM "{name}"'  # noqa: S608
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

    def parameters(self, row: R) -> tuple[Any, ...]:
        """The row's values in the order of `stored`."""
        values = self._values(row)
        return (*values, *(backwards(values[at]) for at in self._turned)) if self._turned else values

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
CALLS = Table(
    "calls",
    rows.CallRow,
    ["sid"],
    Listing(
        groups=("status",),
        days=("start_time", "end_time"),
        suffixes=("to", "from"),
        sorts=("from", "to", "direction", "status", "duration", "price"),
        lookups=("parent_call_sid", "conference_sid"),
        fixed=("account_sid", "date_created", "parent_call_sid", "to", "from", "direction", "price"),
        across=True,
    ),
)
RECORDINGS = Table(
    "recordings",
    rows.RecordingRow,
    ["sid"],
    Listing(sorts=("duration", "call_sid"), lookups=("call_sid", "conference_sid")),
)
CONFERENCES = Table(
    "conferences",
    rows.ConferenceRow,
    ["sid"],
    Listing(groups=("status",), days=("date_updated",), sorts=("friendly_name", "status", "date_updated")),
)
REFERS = Table("refers", rows.ReferRow, ["sid"], Listing(sorts=("call_sid",), lookups=("call_sid",)))
NOTIFICATIONS = Table(
    "notifications",
    rows.NotificationRow,
    ["sid"],
    Listing(groups=("log", "error_code"), sorts=("log", "error_code", "call_sid"), lookups=("call_sid",)),
)
TRANSCRIPTIONS = Table("transcriptions", rows.TranscriptionRow, ["sid"], Listing(lookups=("recording_sid",)))
MESSAGES = Table(
    "messages",
    rows.MessageRow,
    ["sid"],
    Listing(
        groups=("status",),
        days=("date_sent",),
        suffixes=("to", "from"),
        sorts=("from", "to", "direction", "status"),
        fixed=("account_sid", "date_created", "to", "from", "direction"),
    ),
)
ANNOUNCEMENTS = Table("announcements", rows.AnnouncementRow, ["sid"], Listing())
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
