"""Usage records: what an account used, by category and span of time."""

from __future__ import annotations

import calendar
import math
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal

import attrs

from voiceengine.api.declare import Operation, Param
from voiceengine.api.errors import bad
from voiceengine.api.paging import plus
from voiceengine.api.parameters import Parameters
from voiceengine.api.representation import Field, Many, Render, Representation, plain
from voiceengine.api.routing import Context, Reply, Route
from voiceengine.store.rows import now
from voiceengine.store.usage import CATEGORIES, Counted, Step

Period = Literal["Daily", "Monthly", "Yearly", "AllTime", "Today", "Yesterday", "ThisMonth", "LastMonth"]
PERIODS: Final[tuple[Period, ...]] = (
    "Daily",
    "Monthly",
    "Yearly",
    "AllTime",
    "Today",
    "Yesterday",
    "ThisMonth",
    "LastMonth",
)

_STEPS: Final[dict[Period, Step]] = {
    "Daily": "day",
    "Monthly": "month",
    "Yearly": "year",
    "AllTime": "all",
    "Today": "day",
    "Yesterday": "day",
    "ThisMonth": "month",
    "LastMonth": "month",
}
KNOWN: Final = (
    *(category.name for category in CATEGORIES),
    "shortcodes",
    "shortcodes-vanity",
    "shortcodes-random",
    "shortcodes-customerowned",
    "calleridlookups",
    "recordingstorage",
    "totalprice",
)
"""Categories of the reference; those that the engine has no data of are never listed."""

_DESCRIPTIONS: Final = {
    "calls": "Total Calls",
    "calls-inbound": "Inbound Calls",
    "calls-inbound-local": "Inbound Calls to Local Numbers",
    "calls-inbound-tollfree": "Inbound Calls to Toll-Free Numbers",
    "calls-outbound": "Outbound Calls",
    "calls-client": "Calls of Clients",
    "calls-sip": "SIP Calls",
    "sms": "Total SMS",
    "sms-inbound": "Inbound SMS",
    "sms-inbound-shortcode": "Inbound SMS to Short Codes",
    "sms-inbound-longcode": "Inbound SMS to Long Codes",
    "sms-outbound": "Outbound SMS",
    "sms-outbound-shortcode": "Outbound SMS from Short Codes",
    "sms-outbound-longcode": "Outbound SMS from Long Codes",
    "phonenumbers": "Phone Numbers",
    "phonenumbers-tollfree": "Toll-Free Phone Numbers",
    "phonenumbers-local": "Local Phone Numbers",
    "recordings": "Recordings",
    "transcriptions": "Transcriptions",
}
_RELATIVE: Final = re.compile(r"([+-])(\d{1,5})days?", re.ASCII)
_CATEGORY: Final = Param(
    "Category", doc="One category, written `calls-inbound` or `CALLS_INBOUND`; default: all that have data."
)
_START: Final = Param(
    "StartDate",
    doc="First day, `yyyy-MM-dd` (GMT) or relative to today (`-30days`); for the first four periods.",
)
_END: Final = Param("EndDate", doc="Last day, in the same form.")
_SUB_ACCOUNTS: Final = Param("SubAccounts", "flag", doc="Also what all accounts below used.")
QUERY: Final = (_CATEGORY, _START, _END, _SUB_ACCOUNTS)


@attrs.frozen(kw_only=True)
class UsageRecord:
    """What was used of one category in one span."""

    account_sid: str
    period: Period
    counted: Counted
    start: date
    end: date

    @property
    def category(self) -> str:
        """Its name."""
        return self.counted.category

    @property
    def units(self) -> tuple[str, str]:
        """Of usage and of count."""
        kind = self.category.partition("-")[0]
        if kind == "sms":
            return "messages", "messages"
        if kind == "phonenumbers":
            return "numbers", "numbers"
        return "minutes", kind

    @property
    def usage(self) -> int:
        """Minutes, begun ones count whole; messages and numbers: their count."""
        if self.units[0] == "minutes":
            return math.ceil(self.counted.seconds / 60)
        return self.counted.count


def _uri(row: UsageRecord, render: Render) -> str:
    path = f"{render.account_path(row.account_sid)}/Usage/Records/{row.period}"
    suffix = ".json" if render.twilio else ""
    return f"{path}{suffix}?Category={row.category}&StartDate={row.start}&EndDate={row.end}"


USAGE_RECORD: Representation[UsageRecord] = Representation(
    item="UsageRecord",
    items="UsageRecords",
    list_key="usage_records",
    doc="What an account used of one category in one span of time (GMT).",
    fields=(
        plain("category", doc="Name of the category."),
        Field("description", lambda row, _: _DESCRIPTIONS[row.category], doc="The category in words."),
        plain("account_sid", doc="The account."),
        Field("start_date", lambda row, _: row.start.isoformat(), doc="First day of the span."),
        Field("end_date", lambda row, _: row.end.isoformat(), doc="Last day of the span."),
        Field("usage", lambda row, _: str(row.usage), doc="How much, in usage_unit, as text."),
        Field("usage_unit", lambda row, _: row.units[0], doc="`minutes`, `messages` or `numbers`."),
        Field("count", lambda row, _: str(row.counted.count), doc="How many, in count_unit, as text."),
        Field("count_unit", lambda row, _: row.units[1], doc="What is counted."),
        Field("price", lambda row, _: str(round(float(row.counted.price), 4)), doc="What it cost, as text."),
        Field("price_unit", lambda row, _: "USD", doc="Currency of the price."),
        Field("uri", _uri, doc="Path of this record alone."),
    ),
)


def parse_day(name: str, text: str, today: date) -> date:
    """A day: `2026-01-31`, or `-30days` from today.

    Raises:
        ApiError: it is neither.
    """
    text = plus(text)
    relative = _RELATIVE.fullmatch(text)
    try:
        if relative:
            return today + timedelta(days=int(relative[1] + relative[2]))
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
            return date.fromisoformat(text)
    except (ValueError, OverflowError):
        pass
    raise bad(f"{name} must be a day, yyyy-MM-dd, or relative to today, such as -30days.")


def month_of(day: date) -> tuple[date, date]:
    """First and last day of the month of a day."""
    return day.replace(day=1), day.replace(day=calendar.monthrange(day.year, day.month)[1])


def span(period: Period, query: Parameters, today: date) -> tuple[date | None, date | None]:
    """First and last day that are asked for; None: unbounded.

    Raises:
        ApiError: a date cannot be read.
    """
    match period:
        case "Today":
            return today, today
        case "Yesterday":
            return today - timedelta(days=1), today - timedelta(days=1)
        case "ThisMonth":
            return month_of(today)
        case "LastMonth":
            return month_of(today.replace(day=1) - timedelta(days=1))
        case _:
            start, end = query.read(_START), query.read(_END)
            return (
                None if start is None else parse_day("StartDate", start, today),
                None if end is None else parse_day("EndDate", end, today),
            )


def _midnight(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def _day(seconds: float) -> date:
    return datetime.fromtimestamp(seconds, UTC).date()


def bucket_days(bucket: str) -> tuple[date, date]:
    """First and last day of a span: `2026`, `2026-01` or `2026-01-31`."""
    if len(bucket) == 4:
        return date(int(bucket), 1, 1), date(int(bucket), 12, 31)
    if len(bucket) == 7:
        return month_of(date.fromisoformat(f"{bucket}-01"))
    day = date.fromisoformat(bucket)
    return day, day


def _category(context: Context) -> str | None:
    """The wanted category in its plain spelling; empty: one that Twilio knows and this engine does not."""
    text = context.query.read(_CATEGORY)
    if text is None:
        return None
    name: str = text.strip().lower().replace("_", "-")
    if name in KNOWN:
        return name
    if context.twilio:
        return ""
    raise bad(f"Category must be one of {', '.join(KNOWN)}.")


def _period(name: str) -> Period:
    """The period of a path; an unknown one means all time."""
    return next((period for period in PERIODS if period.lower() == name.lower()), "AllTime")


async def _list(context: Context) -> Reply:
    period, today = _period(context.variables.get("period", "")), _day(now())
    category = _category(context)
    first, last = span(period, context.query, today)
    names = [known.name for known in CATEGORIES if category in (None, known.name)]
    found = await context.deps.store.usage.count(
        names,
        account_sids=context.account_sids(),
        step=_STEPS[period],
        since=None if first is None else _midnight(first),
        until=None if last is None else _midnight(last) + 86400,
    )
    records = []
    for counted in found:
        if counted.bucket:
            start, end = bucket_days(counted.bucket)
        else:
            start, end = first or _day(counted.earliest), last or today
        records.append(
            UsageRecord(account_sid=context.account.sid, period=period, counted=counted, start=start, end=end)
        )
    return Reply(Many(USAGE_RECORD, records))


def routes() -> Sequence[Route]:
    """Routes of this resource."""
    base = "Accounts/{account}/Usage/Records"
    read = Operation(
        run=_list,
        summary="List what an account used, by category; all time when the period is not known.",
        query=QUERY,
        returns=USAGE_RECORD,
        shape="list",
    )
    return (
        Route(path=base, resource="Usage", handlers={"GET": read}),
        Route(path=base + "/{period}", resource="Usage", handlers={"GET": read}),
    )
