"""SMS resource: cases 33 to 49 of the reference, the alias of Twilio, and who sees what."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
import pytest_twisted

from voiceengine.errors import CallControlError
from voiceengine.messages.requests import LimitReached, SendMessage
from voiceengine.store import Store
from voiceengine.store.rows import MessageRow, new_sid

pytestmark = pytest.mark.loopback

PATH = "~/SMS/Messages"
TWILIO = "/2010-04-01/Accounts"
GIVEN = {"From": "19876543212", "To": "13216549878", "Body": "Test SMS"}


class FakeMessages:
    """Takes messages and hands nothing over."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.sent: list[SendMessage] = []
        self.forgotten: list[str] = []
        self.failure: Exception | None = None

    async def send(self, request: SendMessage) -> MessageRow:
        if self.failure is not None:
            raise self.failure
        self.sent.append(request)
        row = MessageRow(
            sid=new_sid("SM"),
            account_sid=request.account_sid,
            from_=request.from_,
            to=request.to,
            body=request.body,
            status="sending",
            direction=request.direction,
            num_segments=1,
        )
        self._store.messages.save(row)
        return row

    async def forget(self, sid: str) -> None:
        self.forgotten.append(sid)

    async def redact(self, row: MessageRow) -> MessageRow:
        changed = attrs.evolve(row, body="")
        self._store.messages.save(changed)
        return changed


class SmsApi:
    """The API with message control."""

    def __init__(self, api: Any, control: FakeMessages) -> None:
        self.api = api
        self.control = control

    def row(self, **changes: Any) -> MessageRow:
        values: dict[str, Any] = {
            "sid": new_sid("SM"),
            "account_sid": self.api.admin.sid,
            "from_": "19876543212",
            "to": "13216549878",
            "body": "Test SMS",
            "status": "delivered",
            "direction": "outbound-api",
            "date_sent": 1562223748.0,
            "num_segments": 1,
        }
        row = MessageRow(**{**values, **changes})
        self.api.store.messages.save(row)
        return row


@pytest_twisted.async_yield_fixture
async def sms(make_api: Any) -> AsyncIterator[SmsApi]:
    made: list[FakeMessages] = []

    def parts(store: Store) -> dict[str, Any]:
        made.append(FakeMessages(store))
        return {"messages": made[0]}

    api = await make_api(parts=parts)
    yield SmsApi(api, made[0])


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


# ------------------------------------------------------------------ sending


@pytest_twisted.ensureDeferred
async def test_a_message_is_taken(sms: SmsApi) -> None:
    given = {
        **GIVEN,
        "StatusCallback": "http://a/b",
        "StatusCallbackMethod": "get",
        "Encoding": "UCS-2",
        "X-A": "1",
    }
    answer = await sms.api.post(PATH + ".json", given)
    found = answer.json
    request = sms.control.sent[0]

    assert answer.code == 200
    assert re.fullmatch(r"SM[0-9a-f]{32}", found["sid"])
    assert (found["status"], found["direction"]) == ("sending", "outbound-api")
    assert (found["from"], found["to"], found["body"]) == tuple(GIVEN.values())
    assert not {"num_segments", "date_sent", "price", "num_media"} & set(found)
    assert found["uri"].endswith(f"/SMS/Messages/{found['sid']}.json")
    assert (request.status_callback, request.status_callback_method) == ("http://a/b", "GET")
    assert (request.encoding, request.headers) == ("UCS-2", (("X-A", "1"),))


@pytest.mark.parametrize("name", ["From", "To", "Body"])
@pytest_twisted.ensureDeferred
async def test_what_is_missing_is_named(sms: SmsApi, name: str) -> None:
    answer = await sms.api.post(PATH + ".json", {**GIVEN, name: ""})

    assert (answer.code, answer.json["message"]) == (400, f"{name} can not be null.")


@pytest.mark.parametrize(
    "changes", [{"StatusCallback": "x"}, {"StatusCallbackMethod": "PUT"}, {"Encoding": "x"}]
)
@pytest_twisted.ensureDeferred
async def test_what_is_wrong_is_refused(sms: SmsApi, changes: dict[str, str]) -> None:
    assert (await sms.api.post(PATH + ".json", {**GIVEN, **changes})).code == 400


@pytest_twisted.ensureDeferred
async def test_a_text_of_several_lines_is_taken(sms: SmsApi) -> None:
    await sms.api.post(PATH + ".json", {**GIVEN, "Body": "a\nb"})

    assert sms.control.sent[0].body == "a\nb"


@pytest_twisted.ensureDeferred
async def test_limits_and_refusals_are_told(sms: SmsApi) -> None:
    sms.control.failure = LimitReached("Too fast.", status=403)
    answer = await sms.api.post(PATH + ".json", GIVEN)
    assert (answer.code, answer.json["error"]) == (403, "SMS_LIMIT_EXCEEDED")
    sms.control.failure = CallControlError("It is not a number.", status=400)
    assert (await sms.api.post(PATH + ".json", GIVEN)).code == 400


@pytest_twisted.ensureDeferred
async def test_an_engine_without_messages_says_so(api: Any) -> None:
    assert (await api.post(PATH + ".json", GIVEN)).code == 503


# ------------------------------------------------------------------ lists


@pytest_twisted.ensureDeferred
async def test_pages_and_limit(sms: SmsApi) -> None:
    for number in range(34):
        sms.row(date_created=1000.0 + number)
    first = (await sms.api.get(PATH + ".json?PageSize=10")).json
    tenth = first["messages"][9]["sid"]
    last = (await sms.api.get(PATH + ".json?PageSize=10&Page=3")).json
    few = (await sms.api.get(PATH + ".json?Limit=5")).json
    cut = (await sms.api.get(PATH + ".json?Limit=15&PageSize=10&Page=1")).json

    assert list(first)[:7] == ["page", "num_pages", "page_size", "total", "limit", "start", "end"]
    assert (first["num_pages"], first["total"], first["limit"], first["end"]) == (3, 34, 10000, "9")
    assert first["previous_page_uri"] == "null"
    assert first["next_page_uri"].endswith(f"?Page=1&PageSize=10&AfterSid={tenth}&Limit=10000")
    assert first["last_page_uri"].endswith("?Page=3&PageSize=10&Limit=10000")
    assert (len(last["messages"]), last["start"], last["end"], last["next_page_uri"]) == (
        4,
        "30",
        "34",
        "null",
    )
    assert (await sms.api.get(PATH + ".json?PageSize=10&Page=4")).code == 400
    assert (few["total"], few["limit"], len(few["messages"])) == (5, 5, 5)
    assert (cut["total"], len(cut["messages"])) == (15, 5)
    assert (await sms.api.get(PATH + ".json?Limit=0")).code == 400


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("StartTime=2018-05-30&EndTime=2018-06-09", 1),
        ("StartTime=2018-06-09T00:00:01", 1),
        ("StartTime=2018-10-05T22:45:32", 0),
        ("To=878", 2),
        ("From=%2B1", 1),
        ("Body=hidden", 1),
        ("Status=FAILED", 1),
        ("Direction=inbound", 1),
        ("Direction=incoming", 1),
        ("Direction=outbound-api", 2),
        ("SubAccounts=true", 4),
    ],
)
@pytest_twisted.ensureDeferred
async def test_filters(sms: SmsApi, query: str, count: int) -> None:
    sms.row(date_sent=at("2018-06-09T00:00:00"))
    sms.row(date_sent=at("2018-06-09T00:00:01"), status="failed", body="a hidden word")
    sms.row(date_sent=None, direction="incoming", from_="+1", to="9")
    sms.row(date_sent=None, account_sid=sms.api.child.sid)

    assert (await sms.api.get(f"{PATH}.json?{query}")).json["total"] == count


@pytest.mark.parametrize("query", ["StartTime=yesterday", "SortBy=DateCreated:up", "SortBy=:asc"])
@pytest_twisted.ensureDeferred
async def test_wrong_filters(sms: SmsApi, query: str) -> None:
    assert (await sms.api.get(f"{PATH}.json?{query}")).code == 400


@pytest_twisted.ensureDeferred
async def test_sort_order(sms: SmsApi) -> None:
    old = sms.row(date_created=1.0, from_="b").sid
    new = sms.row(date_created=2.0, from_="a").sid

    async def order(query: str) -> list[str]:
        found = (await sms.api.get(f"{PATH}.json?{query}")).json["messages"]
        return [row["sid"] for row in found]

    assert await order("") == [new, old]
    assert await order("SortBy=DateCreated:asc") == await order("SortBy=DateCreated") == [old, new]
    assert await order("SortBy=From:desc") == [old, new]


# ------------------------------------------------------------------ one


@pytest_twisted.ensureDeferred
async def test_one_message(sms: SmsApi) -> None:
    row = sms.row(date_sent=1562223748.0)
    found = (await sms.api.get(f"{PATH}/{row.sid}.json")).json

    assert list(found) == [
        *("sid", "date_created", "date_updated", "date_sent", "account_sid", "from", "to", "body", "status"),
        *("direction", "num_segments", "error_code", "error_message", "api_version", "uri"),
    ]
    assert found["date_sent"] == "2019-07-04T07:02:28.000Z"
    assert (found["num_segments"], found["error_code"]) == (1, None)


@pytest_twisted.ensureDeferred
async def test_xml(sms: SmsApi) -> None:
    sms.row(status="failed", error_code=30005, error_message="Unknown destination handset")
    found = (await sms.api.get(PATH + ".xml")).xml[0]

    assert (found.tag, found[0].tag, found.attrib["total"]) == ("SMSMessages", "SMSMessage", "1")
    assert [child.tag for child in found[0]] == [
        *("Sid", "DateCreated", "DateUpdated", "DateSent", "AccountSid", "From", "To", "Body", "Status"),
        *("Direction", "NumSegments", "Error", "ApiVersion", "Uri"),
    ]
    assert [child.tag for child in found[0].find("Error")] == ["ErrorCode", "ErrorMessage"]


@pytest_twisted.ensureDeferred
async def test_whose_message_it_is(sms: SmsApi) -> None:
    row = sms.row(account_sid=sms.api.child.sid)

    assert (await sms.api.get(f"{PATH}/{row.sid}.json")).code == 403
    assert (await sms.api.get(f"{PATH}/{new_sid('SM')}.json")).code == 404
    assert (await sms.api.get(f"{PATH}/{row.sid}.json", by=sms.api.sibling)).code == 403


@pytest_twisted.ensureDeferred
async def test_a_message_is_removed(sms: SmsApi) -> None:
    row = sms.row()

    assert (await sms.api.ask("DELETE", f"{PATH}/{row.sid}.json")).code == 204
    assert sms.control.forgotten == [row.sid]
    assert (await sms.api.get(f"{PATH}/{row.sid}.json")).code == 404


@pytest_twisted.ensureDeferred
async def test_a_provisioning_agent_sees_no_text(sms: SmsApi) -> None:
    agent = sms.api.account("AC" + "d" * 32, "agent@example.com", role="ProvisioningAgent")
    await sms.api.store.accounts.add(agent)
    row = sms.row(account_sid=agent.sid)
    path = f"/restcomm/2012-04-24/Accounts/{agent.sid}/SMS/Messages"
    one = (await sms.api.get(f"{path}/{row.sid}.json", by=agent)).json
    many = (await sms.api.get(f"{path}.json", by=agent)).json["messages"]

    assert (one["body"], many[0]["body"]) == ("", "")
    assert (await sms.api.get(f"{path}.json?Body=T", by=agent)).code == 403
    assert (await sms.api.get(f"{path}/{row.sid}.json")).json["body"] == "Test SMS"


# ------------------------------------------------------------------ the shape of Twilio


@pytest_twisted.ensureDeferred
async def test_the_alias_and_the_shape_of_twilio(sms: SmsApi) -> None:
    base = f"{TWILIO}/{sms.api.admin.sid}/Messages"
    made = await sms.api.post(base + ".json", GIVEN)
    row = sms.row(direction="incoming", num_segments=None, date_sent=at("2018-06-09T12:00:00"))
    found = (await sms.api.get(f"{base}/{row.sid}.json")).json
    listed = (await sms.api.get(f"{base}.json?DateSent=2018-06-09")).json
    after = (await sms.api.get(f"{base}.json?DateSent%3E=2018-06-10T00:00:00Z")).json

    assert made.code == 201
    assert made.json["uri"] == f"{base}/{made.json['sid']}.json"
    assert (found["direction"], found["num_segments"], found["num_media"]) == ("inbound", "1", "0")
    assert found["date_sent"] == "Sat, 9 Jun 2018 12:00:00 +0000"
    assert ([one["sid"] for one in listed["messages"]], listed["next_page_uri"]) == ([row.sid], None)
    assert "limit" not in listed
    assert after["messages"] == []
    assert (await sms.api.post(f"{base}/{row.sid}.json", {"Body": ""})).json["body"] == ""
    assert (await sms.api.post(f"{base}/{row.sid}.json", {"Body": "x"})).code == 400
    assert (await sms.api.ask("DELETE", f"{base}/{row.sid}.json")).code == 204
    plain = (await sms.api.get(f"~/Messages/{made.json['sid']}.json")).json
    assert plain["uri"].endswith(f"/SMS/Messages/{made.json['sid']}.json")


@pytest_twisted.ensureDeferred
async def test_the_library_of_twilio(sms: SmsApi) -> None:
    def use(client: Any) -> None:
        made = client.messages.create(
            to="+13216549878", from_="+19876543212", body="hi", status_callback="http://a/b"
        )
        assert (made.status, made.direction, made.num_segments) == ("sending", "outbound-api", "1")
        assert client.messages(made.sid).fetch().body == "hi"
        assert [row.sid for row in client.messages.list(to="+13216549878", from_="+19876543212")] == [
            made.sid
        ]
        assert client.messages.list(date_sent=datetime(2019, 7, 4, tzinfo=UTC))[0].date_sent is not None
        assert len(client.messages.list(date_sent_after=datetime(2019, 7, 4, tzinfo=UTC))) == 1
        assert client.messages.list(date_sent_before=datetime(2019, 7, 3, tzinfo=UTC)) == []
        assert len(client.messages.list(page_size=1)) == 2
        assert client.messages(made.sid).update(body="").body == ""
        assert client.messages(made.sid).delete()

    sms.row(date_sent=at("2019-07-04T00:00:00"))
    await sms.api.by_twilio(use)
    assert sms.control.sent[0].status_callback == "http://a/b"
