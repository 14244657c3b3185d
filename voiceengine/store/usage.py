"""What accounts used, counted by SQL over the rows that are there anyway."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import attrs

from voiceengine.store.thread import DatabaseThread

Step = Literal["day", "month", "year", "all"]
TableName = Literal["calls", "messages", "numbers", "recordings", "transcriptions"]

_FORMATS: Final[dict[Step, str]] = {"day": "%Y-%m-%d", "month": "%Y-%m", "year": "%Y", "all": ""}


_LASTED: Final[dict[TableName, tuple[str, str]]] = {
    # `duration` of a call is whole seconds, and there is none while it goes on.
    "calls": ("coalesce(duration, 0)", "CAST(price AS REAL)"),
    "messages": ("0", "0"),
    "numbers": ("0", "0"),
    "recordings": ("duration", "0"),
    "transcriptions": ("duration", "CAST(price AS REAL)"),
}
"""SQL of how many seconds a row lasted and of what it cost."""


@attrs.frozen(kw_only=True)
class Category:
    """Rows that are counted under one name."""

    name: str
    table: TableName
    condition: str = "1"
    """SQL on a row of the table, never NULL."""


@attrs.frozen(kw_only=True)
class Counted:
    """A category in one span of time."""

    category: str
    bucket: str
    """`2026-01-31`, `2026-01` or `2026` (UTC); empty: all time."""
    count: int
    seconds: float
    price: float
    earliest: float
    """When the first of its rows was made, wall time."""


def _toll_free(column: str) -> str:
    codes = ", ".join(f"'1{code}'" for code in (800, 833, 844, 855, 866, 877, 888))
    return f"(length(ltrim({column}, '+')) = 11 AND substr(ltrim({column}, '+'), 1, 4) IN ({codes}))"


def _plain_number(column: str) -> str:
    return f"({column} GLOB '*[0-9]*' AND {column} NOT GLOB '*[^0-9+]*')"


def _short(column: str) -> str:
    return f"({_plain_number(column)} AND length(ltrim({column}, '+')) <= 6)"


def _long(column: str) -> str:
    return f"({_plain_number(column)} AND length(ltrim({column}, '+')) > 6)"


def _client(column: str) -> str:
    return f"(account_sid, {column}) IN (SELECT account_sid, login FROM clients)"  # noqa: S608


def _sip(column: str) -> str:
    return f"(NOT {_plain_number(column)} AND {column} != 'anonymous' AND NOT ({_client(column)}))"


def _calls(name: str, condition: str) -> Category:
    return Category(name=name, table="calls", condition=condition)


def _messages(name: str, condition: str) -> Category:
    return Category(name=name, table="messages", condition=condition)


_TO: Final = '"to"'
_FROM: Final = '"from"'
_INBOUND: Final = "direction = 'inbound'"
_OUTBOUND: Final = "direction LIKE 'outbound%'"
_SMS_IN: Final = "direction = 'incoming'"
_SMS_OUT: Final = "direction LIKE 'outbound%'"

CATEGORIES: Final = (
    _calls("calls", "1"),
    _calls("calls-inbound", _INBOUND),
    _calls("calls-inbound-local", f"{_INBOUND} AND {_plain_number(_TO)} AND NOT {_toll_free(_TO)}"),
    _calls("calls-inbound-tollfree", f"{_INBOUND} AND {_toll_free(_TO)}"),
    _calls("calls-outbound", _OUTBOUND),
    # The other party: a client of the account as it is now, or somebody who is neither that nor a number.
    _calls(
        "calls-client",
        f"""({_INBOUND} AND {_client(_FROM)}) OR ({_OUTBOUND} AND {_client(_TO)})""",
    ),
    _calls("calls-sip", f"""({_INBOUND} AND {_sip(_FROM)}) OR ({_OUTBOUND} AND {_sip(_TO)})"""),
    _messages("sms", "1"),
    _messages("sms-inbound", _SMS_IN),
    _messages("sms-inbound-shortcode", f"{_SMS_IN} AND {_short(_TO)}"),
    _messages("sms-inbound-longcode", f"{_SMS_IN} AND {_long(_TO)}"),
    _messages("sms-outbound", _SMS_OUT),
    _messages("sms-outbound-shortcode", f"{_SMS_OUT} AND {_short(_FROM)}"),
    _messages("sms-outbound-longcode", f"{_SMS_OUT} AND {_long(_FROM)}"),
    Category(name="phonenumbers", table="numbers"),
    Category(name="phonenumbers-tollfree", table="numbers", condition=_toll_free("phone_number")),
    Category(name="phonenumbers-local", table="numbers", condition=f"NOT {_toll_free('phone_number')}"),
    Category(name="recordings", table="recordings"),
    Category(name="transcriptions", table="transcriptions", condition="status != 'failed'"),
)
"""Everything that can be counted, in the order of the reference."""


def statement(categories: Sequence[Category], accounts: int) -> str:
    """One pass over the table of these categories, between two moments.

    Its records are a bucket and, for each category, how many rows, their seconds, their price and the
    earliest. Every text comes from this module; what a request gives is bound: the format of the bucket, the
    accounts and the two moments.
    """
    table = categories[0].table
    seconds, price = _LASTED[table]
    flags = [f"({category.condition}) AS c{at}" for at, category in enumerate(categories)]
    sums = [
        f"SUM(c{at}), SUM(c{at} * seconds), SUM(c{at} * price), MIN(CASE WHEN c{at} THEN made END)"
        for at in range(len(categories))
    ]
    # Materialized, so that each condition is looked at once for a row.
    return (
        "WITH found AS MATERIALIZED (SELECT strftime(?, date_created, 'unixepoch') AS bucket, "  # noqa: S608
        f"date_created AS made, {seconds} AS seconds, {price} AS price, {', '.join(flags)} "
        f'FROM "{table}" WHERE account_sid IN ({_marks(accounts)}) '
        "AND date_created >= ? AND date_created < ?) "
        f"SELECT bucket, {', '.join(sums)} FROM found GROUP BY bucket"
    )


def _marks(count: int) -> str:
    return ", ".join("?" * count)


def months(first: float, last: float) -> Iterator[tuple[float, float]]:
    """Start and end of each calendar month (UTC) from that of one moment to that of another."""
    at = datetime.fromtimestamp(first, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while at.timestamp() <= last:
        following = (at + timedelta(days=32)).replace(day=1)
        yield at.timestamp(), following.timestamp()
        at = following


class Usage:
    """Counts on the database thread, one table and one month at a time, so that others get in between."""

    def __init__(self, thread: DatabaseThread) -> None:
        self._thread = thread

    async def count(
        self,
        names: Sequence[str],
        *,
        account_sids: Sequence[str],
        step: Step,
        since: float | None = None,
        until: float | None = None,
    ) -> list[Counted]:
        """What accounts used, by category and span; what was not used is left out.

        Args:
            names: of categories; others than those of `CATEGORIES` count nothing.
            account_sids: whose rows.
            step: length of the spans (UTC calendar).
            since: wall time; rows made from it on; None: all.
            until: wall time; rows made before it; None: all.

        Raises:
            StoreError: the database failed.
        """
        found: dict[tuple[str, str], Counted] = {}
        wanted = [category for category in CATEGORIES if category.name in names]
        for table in dict.fromkeys(category.table for category in wanted):
            same = [category for category in wanted if category.table == table]
            extent = await self._extent(table, account_sids)
            if extent is None:
                continue
            first = extent[0] if since is None else max(extent[0], since)
            for start, end in months(first, extent[1]):
                span = max(start, first), end if until is None else min(end, until)
                if span[0] >= span[1]:
                    break
                for row in await self._span(same, account_sids, step, span):
                    key = row.bucket, row.category
                    found[key] = _sum(found[key], row) if key in found else row
        place = {category.name: at for at, category in enumerate(CATEGORIES)}
        return sorted(found.values(), key=lambda row: (row.bucket, place[row.category]))

    async def _extent(self, table: TableName, account_sids: Sequence[str]) -> tuple[float, float] | None:
        """When the first and the last row were made."""
        text = (
            f'SELECT MIN(date_created), MAX(date_created) FROM "{table}" '  # noqa: S608
            f"WHERE account_sid IN ({_marks(len(account_sids))})"
        )

        def run(connection: sqlite3.Connection) -> tuple[float, float] | None:
            first, last = connection.execute(text, tuple(account_sids)).fetchone()
            return None if first is None else (first, last)

        return await self._thread.read(run)

    async def _span(
        self,
        categories: Sequence[Category],
        account_sids: Sequence[str],
        step: Step,
        span: tuple[float, float],
    ) -> list[Counted]:
        text = statement(categories, len(account_sids))
        parameters = [_FORMATS[step], *account_sids, *span]

        def run(connection: sqlite3.Connection) -> list[Counted]:
            return [
                Counted(
                    category=category.name,
                    bucket=bucket or "",
                    count=values[0],
                    seconds=values[1],
                    price=values[2],
                    earliest=values[3],
                )
                for bucket, *sums in connection.execute(text, parameters)
                for at, category in enumerate(categories)
                if (values := sums[at * 4 : at * 4 + 4])[0]
            ]

        return await self._thread.read(run)


def _sum(one: Counted, other: Counted) -> Counted:
    return attrs.evolve(
        one,
        count=one.count + other.count,
        seconds=one.seconds + other.seconds,
        price=one.price + other.price,
        earliest=min(one.earliest, other.earliest),
    )
