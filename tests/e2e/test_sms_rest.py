"""Text messages over REST: sending, status callbacks, records and lists."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from harness import EngineProcess, RestReply
from pytest_twisted import ensureDeferred
from session import run
from texting import (
    PASSWORD,
    PATIENT,
    Carrier,
    carrier_of,
    outside,
    reaches,
    row,
    rows,
    send,
    sms,
    sms_number,
    start_with_carrier,
    told,
    user_of,
)
from waiting import eventually, pause, together
from webapp import Reply, WebApp, document
from world import World, case

pytestmark = pytest.mark.loopback

SECOND = "%Y-%m-%dT%H:%M:%S"


@pytest.fixture(scope="module")
def carrier() -> Iterator[Carrier]:
    """Where messages to numbers outside go."""
    made: Carrier = run(lambda: Carrier().open())
    yield made
    run(made.close)


@pytest.fixture(scope="module")
def engine(engines: Callable[..., EngineProcess], carrier: Carrier) -> EngineProcess:
    """An engine with a way out."""
    return start_with_carrier(engines, carrier)


async def post(world: World, **form: str) -> RestReply:
    """Send a message; the answer as it comes."""
    return await world.rest.post("SMS/Messages.json", **form)


# ------------------------------------------------------------------ sending


@case
async def test_a_message_is_taken_with_the_keys_of_the_reference(world: World) -> None:
    to = outside()
    found = await send(world, from_="19876543212", To=to, Body="Test SMS")
    text = await carrier_of(world).to(to)
    base = f"/restcomm/2012-04-24/Accounts/{world.rest.account_sid}/SMS/Messages"

    assert list(found) == [
        "sid",
        "date_created",
        "date_updated",
        "account_sid",
        "from",
        "to",
        "body",
        "status",
        "direction",
        "api_version",
        "uri",
    ]
    assert re.fullmatch(r"SM[0-9a-f]{32}", found["sid"])
    assert (found["from"], found["to"], found["body"]) == ("19876543212", to, "Test SMS")
    assert (found["status"], found["direction"]) == ("sending", "outbound-api")
    assert found["uri"] == f"{base}/{found['sid']}.json"
    assert found["api_version"] == "2012-04-24"
    assert (text.body, user_of(text.get("From"))) == (b"Test SMS", "19876543212")
    assert text.get("Content-Type").lower().startswith("text/plain")


@case
async def test_what_is_missing_or_wrong_is_refused_and_nothing_is_sent(world: World) -> None:
    to = outside()
    good = {"From": "+15550100", "To": to, "Body": "x"}
    refused = {
        "From can not be null.": {**good, "From": ""},
        "To can not be null.": {**good, "To": ""},
        "Body can not be null.": {**good, "Body": ""},
    }
    for message, form in refused.items():
        for given in (form, {name: value for name, value in form.items() if value}):
            reply = await post(world, **given)
            assert (reply.status, message in reply.body.decode()) == (400, True), reply.body
    for bad in (
        {"Body": "x" * 10_001},
        {"Encoding": "EBCDIC"},
        {"StatusCallbackMethod": "PUT"},
        {"StatusCallback": "ftp://127.0.0.1/x"},
    ):
        reply = await post(world, **{**good, **bad})
        assert reply.status == 400, (bad, reply.body)
    huge = await post(world, **{**good, "Body": "x" * 11_000_000})
    assert huge.status == 413

    assert await rows(world, To=to) == []
    assert carrier_of(world).got(to) == []


@case
async def test_a_message_to_a_client_reaches_it_and_tells_no_callback(world: World) -> None:
    alice, callback = await world.registered("restalice"), world.script("status", "")
    form = {"X-Order": "4711", "StatusCallback": callback, "To": "client:restalice", "Body": "Zoë 😀"}
    found = await send(world, **form)
    text = await alice.text(within=PATIENT)
    ended = await reaches(world, found["sid"], "delivered")

    assert (found["to"], found["status"]) == ("client:restalice", "sending")
    assert text.body.decode() == "Zoë 😀"
    assert text.get("X-Order") == "4711"
    assert (user_of(text.get("From")), user_of(text.get("To"))) == ("+15550100", "restalice")
    assert ended["to"] == "client:restalice"
    assert "num_segments" not in ended
    await pause(0.3)
    assert world.count("status") == 0


@case
async def test_a_message_to_nobody_fails(world: World) -> None:
    await world.rest.client("restnobody", PASSWORD)
    offline = await send(world, To="client:restnobody", Body="x")
    unknown = await send(world, To="client:rest-does-not-exist", Body="x")
    ended = [await reaches(world, one["sid"], "failed") for one in (offline, unknown)]

    assert [(one["error_code"], one["error_message"]) for one in ended] == [
        (30003, "Unreachable destination handset"),
        (30005, "Unknown destination handset"),
    ]


@case
async def test_a_client_that_refuses_makes_a_failed_message(world: World) -> None:
    alice = await world.registered("restbusy")
    alice.text_codes = [486]
    found = await send(world, To="client:restbusy", Body="x")
    assert (await reaches(world, found["sid"], "failed"))["error_code"] == 30003


# ------------------------------------------------------------------ status callbacks


async def callbacks(world: World, method: str) -> None:
    """Cases 36 and 38: sent, then delivered, with all parameters."""
    to, callback = outside(), world.script("status", "")
    form = {"StatusCallbackMethod": method} if method else {}
    found = await send(world, To=to, Body="Tëst & more", StatusCallback=f"{callback}?order=7", **form)
    seen = await told(world, 2)
    ended = await reaches(world, found["sid"], "delivered")

    assert [one.method for one in seen] == [method or "POST"] * 2
    given = [one.query if method == "GET" else one.form for one in seen]
    expected = {
        "MessageSid": found["sid"],
        "AccountSid": world.rest.account_sid,
        "From": "+15550100",
        "To": to,
        "Body": "Tëst & more",
        **({"order": "7"} if method == "GET" else {}),
    }
    assert given == [{**expected, "MessageStatus": status} for status in ("sent", "delivered")]
    assert [one.query["order"] for one in seen] == ["7", "7"]
    assert seen[0].form == {} or method != "GET"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", ended["date_sent"])
    assert (ended["num_segments"], ended["error_code"], ended["error_message"]) == (1, None, None)
    await pause(0.2)
    assert world.count("status") == 2


@case
async def test_a_callback_tells_sent_then_delivered(world: World) -> None:
    await callbacks(world, "")


@case
async def test_a_callback_by_get_has_its_parameters_in_the_query(world: World) -> None:
    await callbacks(world, "GET")


@case
async def test_a_provider_that_rejects_makes_one_failed_callback(world: World) -> None:
    codes = {403: 30004, 404: 30005, 480: 30003, 486: 30003, 500: 30008, 603: 30007}
    numbers = {code: outside() for code in codes}
    for code, number in numbers.items():
        carrier_of(world).codes[number] = [code]
        callback = world.script(f"status-{code}", "")
        found = await send(world, To=number, Body="x", StatusCallback=callback)
        (seen,) = await told(world, 1, f"status-{code}")
        ended = await reaches(world, found["sid"], "failed")
        assert (seen.form["MessageStatus"], seen.form["ErrorCode"]) == ("failed", str(codes[code]))
        assert ended["error_code"] == codes[code]
        assert len(ended["error_message"]) > 5
        assert "date_sent" not in ended
    await pause(0.3)
    assert [world.count(f"status-{code}") for code in codes] == [1] * len(codes)


@case
async def test_no_delivery_is_told_after_a_failure(world: World) -> None:
    to, callback, carrier = outside(), world.script("status", ""), carrier_of(world)
    carrier.codes[to] = [500]
    found = await send(world, To=to, Body="x", StatusCallback=callback)
    await reaches(world, found["sid"], "failed")
    assert (await carrier.report(found["sid"], "delivered")).code == 200
    await pause(0.3)

    assert world.count("status") == 1
    assert (await row(world, found["sid"]))["status"] == "failed"


@case
async def test_a_callback_that_cannot_be_told_changes_nothing(world: World) -> None:
    to = outside()
    found = await send(
        world, To=to, Body="x", StatusCallback=world.script("status", Reply(b"no", status=500))
    )
    lost = await send(world, To=to, Body="y", StatusCallback="http://127.0.0.1:9/nobody")
    for one in (found, lost):
        await reaches(world, one["sid"], "delivered")


@case
async def test_two_messages_at_once_keep_their_callbacks_in_order(world: World) -> None:
    carrier, numbers = carrier_of(world), [outside() for _ in range(6)]
    urls = [world.script(f"status-{n}", document("", delay=0.3), document("")) for n in range(6)]
    await together(
        [send(world, To=to, Body="x", StatusCallback=url) for to, url in zip(numbers, urls, strict=True)]
    )
    for n in range(6):
        seen = await told(world, 2, f"status-{n}")
        assert [one.form["MessageStatus"] for one in seen] == ["sent", "delivered"]
        assert {one.form["To"] for one in seen} == {numbers[n]}
        assert seen[1].at - seen[0].at >= 0.29
    assert [len(carrier.got(number)) for number in numbers] == [1] * 6


@case
async def test_a_report_that_overtakes_the_answer_is_kept(world: World) -> None:
    to, callback, carrier = outside(), world.script("status", ""), carrier_of(world)
    carrier.codes[to] = [0]
    found = await send(world, To=to, Body="x", StatusCallback=callback)
    await carrier.to(to)
    assert (await carrier.report(found["sid"], "failed")).code == 200
    assert (await row(world, found["sid"]))["status"] == "sending"
    carrier.answer(to, 202)
    seen = await told(world, 2)

    assert [one.form["MessageStatus"] for one in seen] == ["sent", "undelivered"]
    assert (await reaches(world, found["sid"], "undelivered"))["error_code"] == 30003


# ------------------------------------------------------------------ parts


@case
async def test_parts_are_counted_and_the_text_is_stored_whole(world: World) -> None:
    cases = [
        ("x" * 160, "", 1),
        ("x" * 161, "", 2),
        ("x" * 306, "", 2),
        ("x" * 307, "", 3),
        ("€" * 80, "", 1),
        ("€" * 81, "", 2),
        ("я" * 70, "", 1),
        ("я" * 71, "", 2),
        ("😀" * 35, "", 1),
        ("😀" * 36, "", 2),
        ("x" * 71, "UCS-2", 2),
        ("x" * 71, "UTF-8", 1),
        ("x" * 10_000, "", 66),
    ]

    async def one(text: str, encoding: str, parts: int) -> None:
        to = outside()
        form = {"Encoding": encoding} if encoding else {}
        found = await send(world, To=to, Body=text, **form)
        assert found.get("num_segments") is None
        assert (await carrier_of(world).to(to)).body.decode() == text
        ended = await reaches(world, found["sid"], "delivered")
        assert (ended["num_segments"], ended["body"] == text) == (parts, True), (text[:5], encoding, ended)

    for given in cases:
        await one(*given)


# ------------------------------------------------------------------ numbers of the engine


@case
async def test_a_message_to_a_number_of_the_engine_is_delivered_inside(world: World) -> None:
    callback, sender = world.script("status", ""), outside()
    number = await sms_number(world, sms("from inside"))
    found = await send(world, from_=sender, To=number, Body="in", StatusCallback=callback, **{"X-Order": "5"})
    application = await world.asked("sms", within=PATIENT)
    seen = await told(world, 2)
    reply = await carrier_of(world).to(sender)
    both = await rows(world, To=number)

    assert application.form["SmsSid"] != found["sid"]
    assert (application.form["From"], application.form["Body"]) == (sender, "in")
    assert application.form["SipHeader_X-Order"] == "5"
    assert [one.form["MessageStatus"] for one in seen] == ["sent", "delivered"]
    assert sorted((one["direction"], one["status"]) for one in both) == [
        ("incoming", "received"),
        ("outbound-api", "delivered"),
    ]
    assert reply.body == b"from inside"
    assert carrier_of(world).got(number) == []


@case
async def test_two_numbers_that_answer_each_other_come_to_an_end(world: World) -> None:
    first = await sms_number(world, sms("ping"), name="first")
    second = await sms_number(world, sms("pong"), name="second")
    await send(world, from_=second, To=first, Body="go")
    seen = -1
    while seen != (seen := world.count("first") + world.count("second")):
        await pause(0.5)
    last = (await rows(world, To=first)) + (await rows(world, To=second))
    failed = [one for one in last if one["status"] == "failed"]

    assert 2 < seen <= 12
    assert [one["error_code"] for one in failed] == [30004]


# ------------------------------------------------------------------ records


@case
async def test_a_record_has_the_attributes_of_the_reference_in_order(world: World) -> None:
    to = outside()
    found = await send(world, from_="dev-test", To=to, Body="Another test from CPaaS")
    ended = await reaches(world, found["sid"], "delivered")
    unknown = await world.rest.get(f"SMS/Messages/SM{'0' * 32}.json")

    assert list(ended) == [
        "sid",
        "date_created",
        "date_updated",
        "date_sent",
        "account_sid",
        "from",
        "to",
        "body",
        "status",
        "direction",
        "num_segments",
        "error_code",
        "error_message",
        "api_version",
        "uri",
    ]
    assert ended["from"] == "dev-test"
    assert unknown.status == 404


@case
async def test_the_list_as_xml_has_its_elements_in_order(world: World) -> None:
    to, lost = outside(), outside()
    carrier_of(world).codes[lost] = [404]
    await reaches(world, (await send(world, To=to, Body="a <b> & c"))["sid"], "delivered")
    await reaches(world, (await send(world, To=lost, Body="x"))["sid"], "failed")
    reply = await world.rest.get("SMS/Messages.xml", To=to)
    failed = await world.rest.get("SMS/Messages.xml", To=lost)
    root = ElementTree.fromstring(reply.body)
    (message,) = root.findall("SMSMessages/SMSMessage")
    error = ElementTree.fromstring(failed.body).find("SMSMessages/SMSMessage/Error")

    assert root.tag == "RestcommResponse"
    names = [child.tag for child in message]
    assert names == [
        "Sid",
        "DateCreated",
        "DateUpdated",
        "DateSent",
        "AccountSid",
        "From",
        "To",
        "Body",
        "Status",
        "Direction",
        "NumSegments",
        "ApiVersion",
        "Uri",
    ]
    assert message.findtext("Body") == "a <b> & c"
    assert error is not None
    assert [(child.tag, child.text) for child in error] == [
        ("ErrorCode", "30005"),
        ("ErrorMessage", "Unknown destination handset"),
    ]


@case
async def test_a_message_belongs_to_its_account(world: World) -> None:
    desk = await world.rest.below("smsrestdesk@example.com", PASSWORD, "Desk")
    other = await world.rest.below("smsrestother@example.com", PASSWORD, "Other")
    to = outside()
    found = await send(world, desk, To=to, Body="theirs")
    ended = await reaches(world, found["sid"], "delivered", desk)
    stranger = await other.get(f"SMS/Messages/{found['sid']}.json")
    parents = f"{world.rest.base_url}/Accounts/{desk.account_sid}/SMS/Messages.json"
    above = await world.rest._ask("GET", parents)

    assert ended["account_sid"] == desk.account_sid
    assert stranger.status == 403
    assert [one["sid"] for one in above.json["messages"]] == [found["sid"]]
    assert await rows(world, other) == []


@case
async def test_34_messages_are_listed_page_by_page(world: World) -> None:
    desk = await world.rest.below("smspages@example.com", PASSWORD, "Pages")
    to = outside()
    sids = [(await send(world, desk, To=to, Body=f"text {n}"))["sid"] for n in range(34)]
    newest = list(reversed(sids))

    async def page(**query: str) -> dict[str, Any]:
        reply = await desk.get("SMS/Messages.json", **query)
        assert reply.status == 200, reply.body
        found: dict[str, Any] = reply.json
        return found

    first = await page(PageSize="10")
    base = f"/restcomm/2012-04-24/Accounts/{desk.account_sid}/SMS/Messages"
    assert [one["sid"] for one in first["messages"]] == newest[:10]
    assert {name: value for name, value in first.items() if name != "messages"} == {
        "page": 0,
        "num_pages": 3,
        "page_size": 10,
        "total": 34,
        "limit": 10000,
        "start": "0",
        "end": "9",
        "uri": base,
        "first_page_uri": f"{base}?Page=0&PageSize=10&Limit=10000",
        "previous_page_uri": "null",
        "next_page_uri": f"{base}?Page=1&PageSize=10&AfterSid={newest[9]}&Limit=10000",
        "last_page_uri": f"{base}?Page=3&PageSize=10&Limit=10000",
    }
    third, last = await page(PageSize="10", Page="2"), await page(PageSize="10", Page="3")
    assert (third["start"], third["end"], [x["sid"] for x in third["messages"]]) == (
        "20",
        "29",
        newest[20:30],
    )
    assert (last["start"], last["end"], len(last["messages"])) == ("30", "34", 4)
    assert last["next_page_uri"] == "null"
    assert (await desk.get("SMS/Messages.json", PageSize="10", Page="4")).status == 400
    limited = await page(Limit="5")
    assert (limited["total"], limited["limit"]) == (5, 5)
    assert [one["sid"] for one in limited["messages"]] == newest[:5]
    followed = await desk.get("SMS/Messages.json" + first["next_page_uri"].partition("Messages")[2])
    assert [one["sid"] for one in followed.json["messages"]] == newest[10:20]


@case
async def test_messages_are_sorted_by_every_attribute(world: World) -> None:
    desk = await world.rest.below("smssort@example.com", PASSWORD, "Sort")
    await desk.number("88790", world.script("voice", ""), SmsUrl=world.script("sms", document("")))
    lost = outside()
    carrier_of(world).codes[lost] = [500]
    for sender, to, body in (
        ("+15550103", outside(), "b"),
        ("+15550101", lost, "c"),
        ("+15550102", "88790", "a"),
    ):
        found = await send(world, desk, from_=sender, To=to, Body=body)
        await reaches(world, found["sid"], "failed" if to == lost else "delivered", desk)
    columns = {
        "DateCreated": "date_created",
        "From": "from",
        "To": "to",
        "Direction": "direction",
        "Status": "status",
        "Body": "body",
    }
    for name, column in columns.items():
        up = [one[column] for one in await rows(world, desk, SortBy=f"{name}:asc")]
        plain = [one[column] for one in await rows(world, desk, SortBy=name)]
        down = [one[column] for one in await rows(world, desk, SortBy=f"{name}:desc")]
        assert len(up) == 4
        if name == "DateCreated":
            assert up == plain == list(reversed(down))
        else:
            assert (up, plain, down) == (sorted(up), sorted(up), sorted(up, reverse=True)), name
    newest = [one["sid"] for one in await rows(world, desk)]
    assert [one["sid"] for one in await rows(world, desk, SortBy="DateCreated:asc")] == newest[::-1]
    assert [one["sid"] for one in await rows(world, desk, SortBy="Nothing:asc")] == newest  # as without
    for bad in ("DateCreated:up", ":asc"):
        assert (await desk.get("SMS/Messages.json", SortBy=bad)).status == 400, bad


@case
async def test_messages_are_filtered(world: World) -> None:
    desk = await world.rest.below("smsfilter@example.com", PASSWORD, "Filter")
    first, second = outside(), outside()
    carrier_of(world).codes[second] = [500]
    one = await send(world, desk, from_="+15550107", To=first, Body="red apple")
    two = await send(world, desk, from_="dev-test", To=second, Body="green pear")
    await reaches(world, one["sid"], "delivered", desk)
    await reaches(world, two["sid"], "failed", desk)
    for query, count in (
        ({"To": first}, 1),
        ({"To": first[-7:]}, 1),
        ({"From": "dev-test"}, 1),
        ({"From": "15550107"}, 1),
        ({"From": "+15550107", "To": second}, 0),
        ({"Body": "apple"}, 1),
        ({"Status": "failed"}, 1),
        ({"Direction": "outbound-api"}, 2),
        ({"Direction": "incoming"}, 0),
        ({"StartTime": "2018-10-05T22:45:32", "EndTime": "2030-01-01"}, 1),
        ({"EndTime": "2018-10-05"}, 0),
    ):
        assert len(await rows(world, desk, **query)) == count, query
    for bad in ({"StartTime": "yesterday"}, {"EndTime": "2018-13-01"}):
        assert (await desk.get("SMS/Messages.json", **bad)).status == 400, bad
    above = await rows(world, SubAccounts="true", To=first)
    assert [message["sid"] for message in above] == [one["sid"]]
    sent = (await row(world, one["sid"], desk))["date_sent"]
    begin = time.mktime(time.strptime(sent[:19], SECOND))
    earlier, at, later = (time.strftime(SECOND, time.localtime(begin + x)) for x in (-1, 0, 1))
    for query, count in (
        ({"StartTime": at}, 1),
        ({"StartTime": later}, 0),
        ({"EndTime": later}, 1),
        ({"EndTime": earlier}, 0),
    ):
        assert len(await rows(world, desk, To=first, **query)) == count, (query, sent)


# ------------------------------------------------------------------ engines of their own


@ensureDeferred
async def test_an_end_date_is_its_first_second(app: WebApp, tmp_path: Path) -> None:
    data = tmp_path / "data"
    engine = await EngineProcess.start(data, "media.spare_workers=1")
    world = World(engine, app, "an_end_date")
    await world.registered("datealice")
    found = await send(world, To="client:datealice", Body="x")
    await reaches(world, found["sid"], "delivered")
    await world.close()
    await engine.stop()
    moments = {"a": 1527638400.0, "b": 1528502400.0, "c": 1528502401.0}  # 2018-05-30, 2018-06-09, one second
    with sqlite3.connect(data / "voiceengine.sqlite") as database:
        names = [name for _, name, *_ in database.execute("PRAGMA table_info(messages)")]
        (values,) = database.execute("SELECT * FROM messages WHERE sid = ?", (found["sid"],)).fetchall()
        kept = dict(zip(names, values, strict=True))
        for letter, moment in moments.items():
            one = {**kept, "sid": "SM" + letter * 32, "date_sent": moment, "date_created": moment}
            columns, marks = ", ".join(f"[{name}]" for name in one), ", ".join("?" * len(one))
            database.execute(f"INSERT INTO messages ({columns}) VALUES ({marks})", list(one.values()))
    database.close()
    engine = await EngineProcess.start(data, "media.spare_workers=1")
    try:
        world = World(engine, app, "an_end_date")
        listed = await rows(world, StartTime="2018-05-30", EndTime="2018-06-09", SortBy="DateCreated:asc")
        later = await rows(world, StartTime="2018-06-09T00:00:01", EndTime="2018-06-10")
    finally:
        await engine.stop()

    assert [one["sid"][2] for one in listed] == ["a", "b"]
    assert [one["sid"][2] for one in later] == ["c"]
    assert not engine.problems


@ensureDeferred
async def test_a_silent_trunk_and_an_account_that_sends_too_fast(app: WebApp, tmp_path: Path) -> None:
    carrier = await Carrier().open()
    settings = ("messages.answer_timeout=1", "messages.per_second=3", "media.spare_workers=1")
    engine = await EngineProcess.start(tmp_path / "data", *settings, *carrier.settings)
    carrier.engine = engine.address()
    world = World(engine, app, "a_silent_trunk")
    try:
        to, callback = outside(), world.script("status", "")
        carrier.codes[to] = [0]
        alice = await world.registered("silentalice")
        alice.text_codes = [0]
        found = await send(world, To=to, Body="x", StatusCallback=callback)
        silent = await send(world, To="client:silentalice", Body="z")
        answer = await alice.send_text(to, "y", login=("silentalice", PASSWORD))
        ended = await reaches(world, found["sid"], "failed")
        client = await reaches(world, silent["sid"], "failed")
        (seen,) = await told(world, 1)
        await pause(1.0)  # a new second begins
        replies = await together([post(world, From="+1", To=outside(), Body="x") for _ in range(6)])
        limited = [reply for reply in replies if reply.status != 200]
        await eventually(
            lambda: post(world, From="+1", To=outside(), Body="x"),
            lambda reply: reply.status == 200,
            PATIENT,
            "the next second begins",
        )
    finally:
        await world.close()
        await engine.stop()
        await carrier.close()

    assert (ended["error_code"], client["error_code"], answer.code) == (30003, 30003, 408)
    assert (seen.form["MessageStatus"], seen.form["ErrorCode"]) == ("failed", "30003")
    assert [reply.status for reply in limited] == [403] * 3
    assert "SMS_LIMIT_EXCEEDED" in limited[0].body.decode()
    assert not engine.problems


@ensureDeferred
async def test_numbers_are_checked_when_they_are_normalised_and_there_is_no_way_out(
    app: WebApp, tmp_path: Path
) -> None:
    engine = await EngineProcess.start(
        tmp_path / "data", "calls.normalize_numbers=true", "media.spare_workers=1"
    )
    world = World(engine, app, "normalised")
    try:
        bad = await post(world, From="+15125550100", To="nonsense", Body="x")
        sender = await post(world, From="12", To="+15125550101", Body="x")
        name = await send(world, from_="dev-test", To="+15125550101", Body="x")
        failed = await reaches(world, name["sid"], "failed")
        alice = await world.registered("noway")
        answer = await alice.send_text("+15125550101", "x", login=("noway", PASSWORD))
    finally:
        await world.close()
        await engine.stop()

    assert bad.status == 400
    assert "nonsense" in bad.body.decode()
    assert sender.status in (200, 400)
    assert failed["error_code"] == 30006
    assert answer.code == 404
