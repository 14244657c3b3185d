"""Acceptance case 79: usage records."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import pytest_twisted

from voiceengine.api.errors import ApiError
from voiceengine.api.usage import _DESCRIPTIONS, bucket_days, month_of, parse_day
from voiceengine.store.rows import (
    Client,
    MessageRow,
    Number,
    RecordingRow,
    TranscriptionRow,
    new_sid,
    now,
)
from voiceengine.store.usage import CATEGORIES, months

pytestmark = pytest.mark.loopback

Api = Any
DAY = 86400.0


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def call(api: Api, when: float, duration: int | None = 20, **changes: Any) -> None:
    values = {"date_created": when, "start_time": when, "status": "completed", "duration": duration}
    api.call(**{**values, **changes})


async def records(api: Api, path: str, **more: Any) -> Any:
    answer = await api.get(f"~/Usage/Records{path}", **more)
    assert answer.code == 200, answer.text
    return answer.json


def test_days() -> None:
    today = date(2026, 3, 1)

    assert parse_day("StartDate", "2026-01-31", today) == date(2026, 1, 31)
    assert parse_day("StartDate", "-1day", today) == date(2026, 2, 28)
    assert parse_day("StartDate", " 30days", today) == date(2026, 3, 31)
    assert month_of(date(2024, 2, 10)) == (date(2024, 2, 1), date(2024, 2, 29))
    assert bucket_days("2026") == (date(2026, 1, 1), date(2026, 12, 31))
    assert bucket_days("2026-02") == (date(2026, 2, 1), date(2026, 2, 28))
    assert bucket_days("2026-02-03") == (date(2026, 2, 3), date(2026, 2, 3))
    for text in ("2026-02-30", "yesterday", "2026-2-3", "-99999999days", "-99999days" * 2, "+99999999days"):
        with pytest.raises(ApiError):
            parse_day("StartDate", text, today)
    with pytest.raises(ApiError):
        parse_day("EndDate", "-99999days", date(1, 1, 2))


def test_months() -> None:
    spans = list(months(at("2025-12-31T23:59:59"), at("2026-02-01")))

    assert spans == [
        (at("2025-12-01"), at("2026-01-01")),
        (at("2026-01-01"), at("2026-02-01")),
        (at("2026-02-01"), at("2026-03-01")),
    ]


def test_every_category_has_a_description() -> None:
    assert list(_DESCRIPTIONS) == [category.name for category in CATEGORIES]


@pytest_twisted.ensureDeferred
async def test_calls_by_day_and_by_month(api: Api) -> None:
    for _ in range(3):
        call(api, at("2016-01-31T23:59:59"))
    call(api, at("2016-02-01T00:00:00"), 61)
    call(api, at("2016-02-01T12:00:00"), None, status="in-progress")
    daily = await records(api, "/Daily.json?Category=calls")
    monthly = await records(api, "/Monthly.json?Category=calls&EndDate=2016-01-31")

    assert [(row["start_date"], row["end_date"], row["count"], row["usage"]) for row in daily] == [
        ("2016-01-31", "2016-01-31", "3", "1"),
        ("2016-02-01", "2016-02-01", "2", "2"),
    ]
    uri = f"/restcomm/2012-04-24/Accounts/{api.admin.sid}/Usage/Records/Monthly"
    assert monthly == [
        {
            "category": "calls",
            "description": "Total Calls",
            "account_sid": api.admin.sid,
            "start_date": "2016-01-01",
            "end_date": "2016-01-31",
            "usage": "1",
            "usage_unit": "minutes",
            "count": "3",
            "count_unit": "calls",
            "price": "0.0",
            "price_unit": "USD",
            "uri": f"{uri}?Category=calls&StartDate=2016-01-01&EndDate=2016-01-31",
        }
    ]
    assert (await api.get(monthly[0]["uri"].replace("Monthly", "Monthly.json"))).json == monthly
    yearly = await records(api, "/yearly.json?Category=CALLS")
    assert [(row["start_date"], row["end_date"], row["count"]) for row in yearly] == [
        ("2016-01-01", "2016-12-31", "5")
    ]
    for path in (".json", "/AllTime.json", "/Whatever.json"):
        (row,) = await records(api, f"{path}?Category=calls")
        assert (row["start_date"], row["count"]) == ("2016-01-31", "5")
    assert await records(api, "/Daily.json?StartDate=2016-02-02") == []
    assert await records(api, "/Daily.json?EndDate=2016-01-30") == []
    assert await records(api, "/Daily.json?StartDate=2016-02-01&EndDate=2016-01-31") == []
    (row,) = await records(api, ".json?Category=calls&StartDate=2016-02-01&EndDate=2016-12-31")
    assert (row["start_date"], row["end_date"], row["count"]) == ("2016-02-01", "2016-12-31", "2")


@pytest_twisted.ensureDeferred
async def test_periods_that_count_from_today(api: Api) -> None:
    moment = now()
    today = datetime.fromtimestamp(moment, UTC).date()
    call(api, moment)
    call(api, moment - DAY)
    call(api, moment - 400 * DAY)

    async def counts(path: str) -> list[tuple[str, str]]:
        found = await records(
            api, f"{path}Category=calls&StartDate=1999-01-01" if "Days" not in path else path
        )
        return [(row["start_date"], row["count"]) for row in found]

    assert await counts("/Today.json?") == [(str(today), "1")]
    assert await counts("/Yesterday.json?") == [(str(today - timedelta(days=1)), "1")]
    first, last = month_of(today)
    (this,) = await records(api, "/ThisMonth.json?Category=calls")
    assert (this["start_date"], this["end_date"]) == (str(first), str(last))
    before = month_of(first - timedelta(days=1))
    call(api, at(f"{before[0]}T12:00:00"))
    (previous,) = await records(api, "/LastMonth.json?Category=calls")
    assert (previous["start_date"], previous["end_date"]) == tuple(map(str, before))
    assert len(await records(api, "/Daily.json?Category=calls&StartDate=-1days&EndDate=%2B1days")) == 2
    assert len(await records(api, "/Daily.json?Category=calls&StartDate=-0days")) == 1


@pytest_twisted.ensureDeferred
async def test_the_categories_of_calls(api: Api) -> None:
    client = Client(
        sid=new_sid("CL"),
        account_sid=api.admin.sid,
        login="alice",
        friendly_name="Alice",
        ha1_md5="",
        ha1_sha256="",
    )
    await api.store.clients.add(client)
    when = at("2026-01-05T12:00:00")
    call(api, when, to="+18005550100", from_="+15105550100")
    call(api, when, to="+15125550100", from_="alice")
    call(api, when, to="support", from_="anonymous")
    call(api, when, direction="outbound-api", to="alice", from_="+15105550100")
    call(api, when, direction="outbound-dial", to="bob", from_="+15105550100")
    call(api, when, direction="outbound-dial", to="+15105550101", from_="alice")
    found = {row["category"]: row["count"] for row in await records(api, ".json")}

    assert found == {
        "calls": "6",
        "calls-inbound": "3",
        "calls-inbound-local": "1",
        "calls-inbound-tollfree": "1",
        "calls-outbound": "3",
        "calls-client": "2",
        "calls-sip": "1",
    }
    assert [row["count"] for row in await records(api, ".json?Category=CALLS_INBOUND")] == ["3"]
    assert [row["count"] for row in await records(api, ".json?Category=calls-outbound")] == ["3"]


@pytest_twisted.ensureDeferred
async def test_the_other_categories(api: Api) -> None:
    store, owner, when = api.store, api.admin.sid, at("2026-01-05T12:00:00")
    dates = {"date_created": when, "date_updated": when}
    for number in ("+15105550100", "+18665550100"):
        await store.numbers.add(
            Number(sid=new_sid("PN"), account_sid=owner, phone_number=number, friendly_name=number, **dates)
        )
    for direction, from_, to in (
        ("incoming", "+15105550199", "12345"),
        ("incoming", "+15105550199", "+15105550100"),
        ("outbound-api", "12345", "client:alice"),
        ("outbound-reply", "+15105550100", "+15105550199"),
        ("outbound-call", "alice", "+15105550199"),
    ):
        store.messages.save(
            MessageRow(
                sid=new_sid("SM"),
                account_sid=owner,
                from_=from_,
                to=to,
                body="hello",
                status="sent",
                direction=direction,
                **dates,
            )
        )
    recording = RecordingRow(sid=new_sid("RE"), account_sid=owner, call_sid="CA1", duration=61.5, **dates)
    store.recordings.save(recording)
    for status in ("completed", "failed"):
        store.transcriptions.save(
            TranscriptionRow(
                sid=new_sid("TR"),
                account_sid=owner,
                recording_sid=recording.sid,
                status=status,
                duration=61.5,
                price="0.05",
                **dates,
            )
        )
    found = await records(api, "/Monthly.json")

    assert [(row["category"], row["usage"], row["count"], row["usage_unit"]) for row in found] == [
        ("sms", "5", "5", "messages"),
        ("sms-inbound", "2", "2", "messages"),
        ("sms-inbound-shortcode", "1", "1", "messages"),
        ("sms-inbound-longcode", "1", "1", "messages"),
        ("sms-outbound", "3", "3", "messages"),
        ("sms-outbound-shortcode", "1", "1", "messages"),
        ("sms-outbound-longcode", "1", "1", "messages"),
        ("phonenumbers", "2", "2", "numbers"),
        ("phonenumbers-tollfree", "1", "1", "numbers"),
        ("phonenumbers-local", "1", "1", "numbers"),
        ("recordings", "2", "1", "minutes"),
        ("transcriptions", "2", "1", "minutes"),
    ]
    assert (found[-1]["count_unit"], found[-1]["price"]) == ("transcriptions", "0.05")
    assert await records(api, ".json?Category=calleridlookups") == []
    assert (await api.get("~/Usage/Records.json?Category=faxes")).code == 400


@pytest_twisted.ensureDeferred
async def test_usage_belongs_to_its_account(api: Api) -> None:
    call(api, at("2026-01-05T12:00:00"))
    call(api, at("2026-01-06T12:00:00"), account_sid=api.child.sid)
    child = f"/2012-04-24/Accounts/{api.child.sid}/Usage/Records"

    assert [row["count"] for row in await records(api, ".json?Category=calls")] == ["1"]
    assert [row["count"] for row in await records(api, ".json?Category=calls&SubAccounts=true")] == ["2"]
    assert [row["start_date"] for row in (await api.get(f"{child}.json?Category=calls")).json] == [
        "2026-01-06"
    ]
    assert (await api.get("~/Usage/Records.json", by=api.child)).code == 403
    assert (await api.post("~/Usage/Records.json")).code == 405
    for query in ("StartDate=2026-13-01", "EndDate=now"):
        assert (await api.get(f"~/Usage/Records.json?{query}")).code == 400


@pytest_twisted.ensureDeferred
async def test_the_xml_of_usage(api: Api) -> None:
    call(api, at("2026-01-05T12:00:00"))
    listed = (await api.get("~/Usage/Records/Daily.xml?Category=calls")).xml[0]

    assert (listed.tag, listed[0].tag) == ("UsageRecords", "UsageRecord")
    assert " ".join(item.tag for item in listed[0]) == (
        "Category Description AccountSid StartDate EndDate Usage UsageUnit Count CountUnit Price "
        "PriceUnit Uri"
    )
    assert (
        listed[0].find("Uri").text.endswith("/Daily?Category=calls&StartDate=2026-01-05&EndDate=2026-01-05")
    )


@pytest_twisted.ensureDeferred
async def test_the_library_of_twilio_reads_usage(api: Api) -> None:
    for day in range(1, 4):
        call(api, at(f"2026-01-0{day}T12:00:00"))

    def use(client: Any) -> None:
        days = client.usage.records.daily.list(category="calls", start_date=date(2026, 1, 2), page_size=1)
        assert [(row.start_date, row.count, row.usage) for row in days] == [
            (date(2026, 1, 2), "1", "1"),
            (date(2026, 1, 3), "1", "1"),
        ]
        assert days[0].uri.startswith(f"/2010-04-01/Accounts/{api.admin.sid}/Usage/Records/Daily.json?")
        # Calls, inbound ones, those of local numbers and those from SIP on each day.
        assert len(client.usage.records.daily.list(page_size=5)) == 12
        (total,) = client.usage.records.list(category="calls-inbound")
        assert (total.count, total.usage_unit, total.price) == ("3", "minutes", 0)
        assert client.usage.records.all_time.list(category="calls-inbound-mobile") == []
        for period in ("monthly", "yearly", "today", "yesterday", "this_month", "last_month"):
            getattr(client.usage.records, period).list(limit=5)

    await api.by_twilio(use)
