"""Acceptance cases 50 to 64 (with a stand-in for call control)."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import pytest_twisted

from voiceengine.errors import CallControlError
from voiceengine.store.rows import Application, CallRow, NotificationRow, RecordingRow, new_sid

pytestmark = pytest.mark.loopback

Api = Any
CALL = {"From": "alice", "To": "sip:bob@127.0.0.1:5060", "Url": "http://app.example.com/voice"}
NOTHING = (
    'You can either redirect a running call using "Url" or change the state of a Call with "Status" '
    'or mute a call using "Mute=true"'
)


@pytest_twisted.ensureDeferred
async def test_a_call_is_created(api: Api) -> None:
    answer = await api.post("~/Calls.json", CALL)
    asked = api.control.created[0]

    assert answer.code == 200
    assert (answer.json["direction"], answer.json["status"]) == ("outbound-api", "queued")
    assert (await api.get(f"~/Calls/{answer.json['sid']}.json")).json == answer.json
    assert (asked.account_sid, asked.from_, asked.to) == (api.admin.sid, "alice", CALL["To"])
    assert (asked.url, asked.method, asked.timeout, asked.record) == (CALL["Url"], "POST", 60, False)
    assert asked.status_callback_events == {"initiated", "ringing", "answered", "completed"}


@pytest_twisted.ensureDeferred
async def test_missing_parameters_are_named(api: Api) -> None:
    for name in ("From", "To", "Url"):
        for data in ({key: value for key, value in CALL.items() if key != name}, {**CALL, name: ""}):
            answer = await api.post("~/Calls.json", data)
            expected = {
                "message": f"{name} can not be null.",
                "error": "MISSING_PARAMETER",
                "code": 1000,
                "status": 400,
            }
            assert answer.json == expected
    xml = await api.post("~/Calls", {})
    assert xml.text == (
        "<RestcommResponse><Message>From can not be null.</Message><Error>MISSING_PARAMETER</Error>"
        "<Code>1000</Code><Status>400</Status></RestcommResponse>"
    )


@pytest_twisted.ensureDeferred
async def test_a_suffix_of_to_adds_headers(api: Api) -> None:
    answer = await api.post("~/Calls.json", {**CALL, "To": "client:alice?X-A=1&X-B=a%20b"})

    assert answer.json["to"] == "alice"
    assert api.control.created[0].to == "client:alice"
    assert api.control.created[0].headers == (("X-A", "1"), ("X-B", "a b"))


@pytest.mark.parametrize(
    "changes",
    [
        {"To": "client:alice?X-A=1\r\nVia: x"},
        {"To": "client:alice?X-A=1%0d%0aVia:%20x"},
        {"To": "client:alice?X-A=%ff"},
        {"To": "client:alice?Via=x"},
        {"To": "client:alice?X-A%0d%0aVia=x"},
        {"To": "client:alice?X-A: b%0a=x"},
        {"To": "client:alice?" + "&".join(f"X-{n}=1" for n in range(21))},
        {"To": "client:alice?X-A=" + "a" * 1025},
        {"To": "?X-A=1"},
        {"From": "alice\r\nRoute: <sip:evil>"},
        {"Username": "a\nb"},
        {"Url": "ftp://x/"},
        {"Url": "/relative"},
        {"Url": "http://"},
        {"Url": "http://[x"},
        {"Url": "http://x/ y"},
        {"Url": "javascript:alert(1)"},
        {"Method": "PATCH"},
        {"StatusCallback": "nowhere"},
        {"StatusCallbackEvent": "started"},
        {"Timeout": "soon"},
        {"Timeout": "0"},
        {"Timeout": "9" * 5000},
        {"Rcml": "<Response>\0</Response>"},
    ],
)
@pytest_twisted.ensureDeferred
async def test_parameters_that_cannot_be_used_are_400(api: Api, changes: dict[str, str]) -> None:
    answer = await api.post("~/Calls.json", {**CALL, **changes})

    assert (answer.code, answer.json["status"]) == (400, 400)
    assert api.control.created == []


@pytest_twisted.ensureDeferred
async def test_events_come_repeated_or_separated(api: Api) -> None:
    lists: list[Any] = [
        ["initiated", "completed"],
        "initiated completed",
        "initiated,completed",
        "Initiated, completed",
    ]
    for events in lists:
        await api.post("~/Calls.json", {**CALL, "StatusCallbackEvent": events})
    await api.post("~/Calls.json", {**CALL, "StatusCallbackEvent": "completed"})

    found = [asked.status_callback_events for asked in api.control.created]
    assert found == [{"initiated", "completed"}] * 4 + [{"completed"}]


@pytest_twisted.ensureDeferred
async def test_an_inline_document_stands_in_for_url(api: Api) -> None:
    document = "<Response>\n\t<Say>hi</Say>\n</Response>"
    answer = await api.post("~/Calls.json", {"From": "a", "To": "b", "Rcml": document, "Record": "TRUE"})

    assert answer.code == 200
    assert (api.control.created[0].rcml, api.control.created[0].url) == (document, None)
    assert api.control.created[0].record


@pytest_twisted.ensureDeferred
async def test_several_devices_are_a_list(api: Api) -> None:
    api.control.devices = 2

    assert len((await api.post("~/Calls.json", CALL)).json) == 2
    root = (await api.post("~/Calls", CALL)).xml
    assert (root[0].tag, [item.tag for item in root[0]]) == ("Calls", ["Call", "Call"])


@pytest_twisted.ensureDeferred
async def test_errors_of_call_control_keep_status_and_text(api: Api) -> None:
    text = "The SIP Client bob is not registered or does not exist"
    api.control.failure = CallControlError(text, status=404, code=1001)

    assert (await api.post("~/Calls.json", CALL)).json == {"message": text, "code": 1001, "status": 404}


@pytest_twisted.ensureDeferred
async def test_numbers_are_normalised_when_asked(guarded_api: Api) -> None:
    api = guarded_api
    await api.post("~/Calls.json", {**CALL, "To": "(510) 555-0100"})
    bad = await api.post("~/Calls.json", {**CALL, "To": "not a number"})
    colons = await api.post("~/Calls.json", {**CALL, "To": "client:a:b"})

    assert api.control.created[0].to == "+15105550100"
    assert bad.code == 400
    assert colons.json["message"] == "client:a:b is an invalid client identifier."


@pytest_twisted.ensureDeferred
async def test_an_account_that_is_not_active_cannot_call(api: Api) -> None:
    await api.store.accounts.update(attrs.evolve(api.child, status="suspended"))
    answer = await api.post(f"/2012-04-24/Accounts/{api.child.sid}/Calls.json", CALL)

    assert (answer.code, answer.json["message"]) == (403, "Provided Account is not active")


@pytest_twisted.ensureDeferred
async def test_a_live_call_is_modified(api: Api) -> None:
    row = api.call()
    redirect = await api.post(f"~/Calls/{row.sid}.json", {"Url": "http://app/2", "Method": "get"})
    canceled = await api.post(f"~/Calls/{row.sid}.json", {"Status": "canceled"})
    unmuted = await api.post(f"~/Calls/{row.sid}.json", {"Mute": "false"})
    ended = await api.post(
        f"~/Calls/{row.sid}.json", {"Status": "Completed", "MoveConnectedCallLeg": "false"}
    )

    assert [answer.code for answer in (redirect, canceled, unmuted, ended)] == [200] * 4
    assert (canceled.json["status"], ended.json["status"]) == ("in-progress", "completed")
    sid, change = api.control.modified[0]
    assert (sid, change.url, change.method, change.status) == (row.sid, "http://app/2", "GET", None)
    assert [change.mute for _, change in api.control.modified] == [None, None, False, None]


@pytest_twisted.ensureDeferred
async def test_instructions_that_cannot_be_carried_out(api: Api) -> None:
    path = f"~/Calls/{api.call().sid}.json"
    nothing = await api.post(path, {"StatusCallback": "http://app/s"})

    assert (nothing.code, nothing.json["message"]) == (409, NOTHING)
    for data in (
        {"Mute": "true", "MoveConnectedCallLeg": "true"},
        {"Status": "completed", "MoveConnectedCallLeg": "true"},
        {"Url": "http://a/", "FriendlyName": "room1"},
        {"Rcml": "<Response/>", "FriendlyName": "room1"},
        {"ConferenceSid": "CF" + "0" * 32, "FriendlyName": "room1"},
        {"FriendlyName": "  "},
        {"FriendlyName": "a" * 256},
        {"FriendlyName": "\ufffe"},
        {"Status": "busy"},
        {"Url": "x"},
    ):
        assert (await api.post(path, data)).code == 400
    assert api.control.modified == []


@pytest_twisted.ensureDeferred
async def test_calls_that_are_over_unknown_or_foreign(api: Api) -> None:
    over, foreign = api.call(status="completed"), api.call(account_sid=api.child.sid)
    gone = await api.post(f"~/Calls/{over.sid}.json", {"Status": "completed"})

    assert (gone.code, gone.json["message"]) == (410, "Call is already completed.")
    assert (await api.post(f"~/Calls/{new_sid('CA')}.json", {"Status": "completed"})).code == 404
    assert (await api.get("~/Calls/nonsense.json")).code == 404
    # The super admin may reach any call; others only those of the account in the path.
    assert (await api.get(f"~/Calls/{foreign.sid}.json")).code == 200
    path = f"/2012-04-24/Accounts/{api.child.sid}/Calls/{over.sid}.json"
    assert (await api.get(path, by=api.child)).code == 403


@pytest_twisted.ensureDeferred
async def test_the_long_form_of_a_call_sid_is_accepted(api: Api) -> None:
    row = api.call()

    assert (await api.get(f"~/Calls/ID{'0' * 32}-{row.sid}.json")).json["sid"] == row.sid


@pytest_twisted.ensureDeferred
async def test_durations_and_times_are_shown(api: Api) -> None:
    done = api.call(
        status="completed",
        start_time=1562223748.0,
        end_time=1562223756.5,
        duration=8,
        ring_duration=3,
        caller_name="a",
    )
    found = (await api.get(f"~/Calls/{done.sid}.json")).json

    assert (found["start_time"], found["end_time"]) == (
        "2019-07-04T07:02:28.000Z",
        "2019-07-04T07:02:36.500Z",
    )
    assert (found["duration"], found["ring_duration"]) == (8, 3)
    assert "answered_by" not in found and "price" not in found


@pytest_twisted.ensureDeferred
async def test_the_xml_of_a_call_has_the_order_of_the_reference(api: Api) -> None:
    row = api.call(from_="<&>\x01", instance_id="")
    call = (await api.get(f"~/Calls/{row.sid}")).xml[0]

    assert " ".join([item.tag for item in call]) == (
        "Sid DateCreated DateUpdated ParentCallSid AccountSid To From PhoneNumberSid Status "
        "StartTime EndTime Duration Price PriceUnit Direction AnsweredBy ApiVersion "
        "ForwardedFrom CallerName Uri SubresourceUris Ring_duration"
    )
    assert call.find("From").text == "<&>"
    assert call.find("Uri").text == f"/restcomm/2012-04-24/Accounts/{api.admin.sid}/Calls/{row.sid}"
    assert [item.tag for item in call.find("SubresourceUris")] == ["Notifications", "Recordings"]


@pytest_twisted.ensureDeferred
async def test_filters_reduce_the_total(api: Api) -> None:
    parent = api.call(to="+15126002188", from_="100%", start_time=1562223748.0, end_time=1562223800.0)
    api.call(to="+15126002189", from_="1000", parent_call_sid=parent.sid, status="completed")
    api.call(to="bob", from_="+15105550100", conference_sid="CF" + "0" * 32, status="busy")
    cases = {
        "From=0100": 1,
        "To=6002188": 1,
        "To=15126002188": 1,
        "To=%2B15126002188": 1,
        "To=+15126002188": 1,
        "From=%25": 1,
        "From=0_": 0,
        "Status=in-progress": 1,
        "Status=IN_PROGRESS": 1,
        f"ParentCallSid={parent.sid}": 1,
        f"ParentCallSid=ID{'0' * 32}-{parent.sid}": 1,
        "ConferenceSid=CF" + "0" * 32: 1,
        "StartTime=2019-07-04": 1,
        "StartTime=2019-07-04T07:02:29": 0,
        "EndTime=2019-07-04": 1,
        "EndTime=2019-07-03": 0,
        "EndTime=2019-07-04T07:03:20": 1,
        "To=&Whatever=1&localOnly=false&AfterSid=x": 3,
    }
    for query, total in cases.items():
        assert (await api.get(f"~/Calls.json?{query}")).json["total"] == total, query


@pytest_twisted.ensureDeferred
async def test_pages_count_as_the_reference_says(api: Api) -> None:
    for number in range(448):
        api.call(date_created=float(number))
    first = (await api.get("~/Calls.json")).json
    last = (await api.get("~/Calls.json?Page=8")).json
    middle = (await api.get("~/Calls.json?Page=1&PageSize=100&SortBy=DateCreated:asc&From=alice")).json
    clamped = (await api.get("~/Calls.json?PageSize=5000")).json

    assert (first["num_pages"], first["total"], len(first["calls"]), first["end"]) == (8, 448, 50, "49")
    assert first["previous_page_uri"] == "null"
    assert (last["start"], last["end"], len(last["calls"]), last["next_page_uri"]) == (
        "400",
        "448",
        48,
        "null",
    )
    uri = f"/restcomm/2012-04-24/Accounts/{api.admin.sid}/Calls"
    assert first["next_page_uri"] == f"{uri}?Page=1&PageSize=50&AfterSid={first['calls'][-1]['sid']}"
    after, rest = middle["calls"][-1]["sid"], "From=alice&SortBy=DateCreated%3Aasc"
    assert middle["next_page_uri"] == f"{uri}?Page=2&PageSize=100&AfterSid={after}&{rest}"
    assert middle["previous_page_uri"] == f"{uri}?Page=0&PageSize=100&{rest}"
    assert middle["uri"] == uri
    assert (clamped["page_size"], len(clamped["calls"])) == (1000, 448)
    assert " ".join(first) == (
        "page num_pages page_size total start end uri first_page_uri previous_page_uri "
        "next_page_uri last_page_uri calls"
    )


@pytest_twisted.ensureDeferred
async def test_a_full_last_page_is_followed_by_an_empty_one(api: Api) -> None:
    for number in range(4):
        api.call(date_created=float(number))
    found = (await api.get("~/Calls.json?Page=2&PageSize=2")).json

    assert (found["num_pages"], found["calls"], found["start"], found["end"]) == (2, [], "4", "4")
    attributes = (await api.get("~/Calls?PageSize=2")).xml[0].attrib
    assert " ".join(attributes) == (
        "page numpages pagesize total start end uri firstpageuri previouspageuri nextpageuri lastpageuri"
    )
    assert attributes["total"] == "4"


@pytest.mark.parametrize(
    "query",
    [
        "Page=1",
        "Page=-1",
        "Page=x",
        "Page=99999999999999",
        "Page=" + "9" * 400,
        "PageSize=0",
        "PageSize=-5",
        "PageSize=" + "9" * 400,
        "Page=\u0661",
        "StartTime=yesterday",
        "EndTime=2019-13-01",
        "StartTime=2019-07-04T07:02",
    ],
)
@pytest_twisted.ensureDeferred
async def test_pages_and_dates_that_do_not_exist_are_400(api: Api, query: str) -> None:
    name, _, value = query.partition("=")

    assert (await api.get("~/Calls.json", params={name: value})).code == 400


@pytest_twisted.ensureDeferred
async def test_sorting(api: Api) -> None:
    for number, (sender, length) in enumerate([("b", 1), ("a", 3), ("a", 2)]):
        api.call(date_created=float(number), from_=sender, duration=length)

    async def order(query: str) -> list[int]:
        return [row["duration"] for row in (await api.get(f"~/Calls.json?{query}")).json["calls"]]

    assert await order("") == [2, 3, 1]
    assert await order("SortBy=DateCreated:asc") == [1, 3, 2]
    assert await order("SortBy=DateCreated") == [1, 3, 2]
    assert await order("SortBy=From:ASC") == [2, 3, 1]
    assert await order("SortBy=From:desc") == [1, 2, 3]
    assert await order("SortBy=Duration:desc") == [3, 2, 1]
    assert await order("SortBy=Unknown:asc") == [2, 3, 1]
    assert await order("Reverse=true") == [2, 3, 1]
    assert await order("Reverse=false") == [1, 3, 2]
    missing, wrong = [(await api.get(f"~/Calls.json?SortBy={value}")) for value in (":asc", "DateCreated:up")]
    assert (missing.code, missing.json["message"]) == (
        400,
        "Error parsing the SortBy parameter: missing field to sort by",
    )
    assert (wrong.code, wrong.json["message"]) == (
        400,
        "Error parsing the SortBy parameter: sort direction needs to be either ASC or DESC",
    )


@pytest_twisted.ensureDeferred
async def test_sub_accounts_are_included_when_asked(api: Api) -> None:
    api.call()
    api.call(account_sid=api.child.sid)

    assert (await api.get("~/Calls.json")).json["total"] == 1
    assert (await api.get("~/Calls.json?SubAccounts=true")).json["total"] == 2
    assert "SubAccounts=true" in (await api.get("~/Calls.json?SubAccounts=true")).json["first_page_uri"]


@pytest_twisted.ensureDeferred
async def test_recordings_and_notifications_of_a_call(api: Api) -> None:
    row: CallRow = api.call()
    empty = await api.get(f"~/Calls/{row.sid}/Recordings.json")
    api.store.recordings.add(
        RecordingRow(sid=new_sid("RE"), account_sid=api.admin.sid, call_sid=row.sid, duration=3.0)
    )
    for call_sid in (row.sid, new_sid("CA")):
        notification = NotificationRow(
            sid=new_sid("NO"),
            account_sid=api.admin.sid,
            call_sid=call_sid,
            log=0,
            error_code=1,
            message_text="x",
        )
        api.store.notifications.add(notification)

    assert (empty.code, empty.json) == (200, [])
    assert [item["duration"] for item in (await api.get(f"~/Calls/{row.sid}/Recordings.json")).json] == [
        "3.0"
    ]
    assert (await api.get(f"~/Calls/{row.sid}/Notifications.json")).json["total"] == 1
    assert (await api.get(f"~/Calls/{new_sid('CA')}/Recordings.json")).code == 404


@pytest_twisted.ensureDeferred
async def test_the_record_of_a_call_that_is_over_can_be_removed(api: Api) -> None:
    over, live = api.call(status="completed"), api.call(status="in-progress")
    foreign = api.call(status="completed", account_sid=api.child.sid)
    removed = await api.ask("DELETE", f"~/Calls/{over.sid}.json")

    assert (removed.code, removed.raw) == (204, b"")
    assert (await api.get(f"~/Calls/{over.sid}.json")).code == 404
    assert (await api.ask("DELETE", f"~/Calls/{over.sid}.json")).code == 404
    assert (await api.ask("DELETE", f"~/Calls/{live.sid}.json")).code == 409
    assert (await api.get("~/Calls.json")).json["total"] == 1
    twilio = f"/2010-04-01/Accounts/{api.child.sid}/Calls/{foreign.sid}.json"
    assert (await api.ask("DELETE", twilio, by=api.sibling)).code == 403
    assert (await api.ask("DELETE", twilio, by=api.child)).code == 204


@pytest_twisted.ensureDeferred
async def test_calls_in_the_shape_of_twilio(api: Api) -> None:
    base = f"/2010-04-01/Accounts/{api.admin.sid}/Calls"
    start = 1489572657.0
    over = api.call(status="completed", duration=8, start_time=start, end_time=start + 8, instance_id="ID1")
    api.call(status="in-progress", start_time=start + 86400)
    found = (await api.get(f"{base}/{over.sid}.json")).json

    assert (found["duration"], found["price"], found["parent_call_sid"]) == ("8", "0.00", None)
    assert found["start_time"] == "Wed, 15 Mar 2017 10:10:57 +0000"
    assert "InstanceId" not in found
    for query, total in (
        ({"StartTime": "2017-03-15"}, 1),
        ({"StartTime>": "2017-03-15"}, 2),
        ({"StartTime<": "2017-03-15"}, 1),
        ({"StartTime>": "2017-03-15", "StartTime<": "2017-03-15T10:10:57Z"}, 1),
        ({"EndTime": "2017-03-15"}, 1),
        ({"EndTime>": "2017-03-16"}, 0),
    ):
        assert (await api.get(f"{base}.json", params=query)).json["total"] == total, query
    first = (await api.get(f"{base}.json", params={"StartTime>": "2017-03-15", "PageSize": "1"})).json
    second = (await api.get(first["next_page_uri"])).json
    assert "StartTime%3E=2017-03-15" in first["next_page_uri"]
    assert {first["calls"][0]["sid"], second["calls"][0]["sid"]} >= {over.sid}
    api.control.devices = 2
    created = await api.post(f"{base}.json", {"From": "a", "To": "client:bob", "Twiml": "<Response/>"})
    assert (created.code, created.json["to"]) == (201, "bob")


@pytest_twisted.ensureDeferred
async def test_digest_credentials_have_the_names_of_twilio_too(api: Api) -> None:
    data = {"From": "a", "To": "b", "Url": "http://app/", "SipAuthUsername": "u", "SipAuthPassword": "p"}
    assert (await api.post("~/Calls.json", data)).code == 200
    assert (api.control.created[-1].username, api.control.created[-1].password) == ("u", "p")


@pytest_twisted.ensureDeferred
async def test_an_application_can_name_the_document(api: Api) -> None:
    own = Application(
        sid=new_sid("AP"), account_sid=api.admin.sid, friendly_name="menu", rcml_url="/apps/menu"
    )
    empty = Application(sid=new_sid("AP"), account_sid=api.admin.sid, friendly_name="empty")
    foreign = attrs.evolve(own, sid=new_sid("AP"), account_sid=api.child.sid)
    for application in (own, empty, foreign):
        await api.store.applications.add(application)
    call = {key: value for key, value in CALL.items() if key != "Url"}

    taken = await api.post("~/Calls.json", {**call, "ApplicationSid": own.sid})
    over = await api.post("~/Calls.json", {**CALL, "ApplicationSid": own.sid})
    refused = [await api.post("~/Calls.json", {**call, "ApplicationSid": x.sid}) for x in (empty, foreign)]

    assert (taken.code, over.code) == (200, 200)
    assert [asked.url for asked in api.control.created] == ["https://host/apps/menu", CALL["Url"]]
    assert [answer.code for answer in refused] == [400, 400]
    assert "no RcmlUrl" in refused[0].json["message"]
