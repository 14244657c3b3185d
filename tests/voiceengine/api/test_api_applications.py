"""Acceptance cases 26 to 32: applications."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from voiceengine.store.rows import Number, new_sid

pytestmark = pytest.mark.loopback

Api = Any
TWILIO = "/2010-04-01/Accounts"


@pytest_twisted.ensureDeferred
async def test_a_name_is_all_that_is_needed(api: Api) -> None:
    answer = await api.post("~/Applications.json", {"FriendlyName": "Menu"})
    found = answer.json

    assert answer.code == 200
    assert list(found) == [
        "sid",
        "date_created",
        "date_updated",
        "friendly_name",
        "account_sid",
        "api_version",
        "voice_caller_id_lookup",
        "uri",
    ]
    assert found["sid"].startswith("AP")
    assert found["voice_caller_id_lookup"] is False
    assert found["uri"] == f"/restcomm/2012-04-24/Accounts/{api.admin.sid}/Applications/{found['sid']}.json"
    assert (await api.get("~/Applications.json")).json == [found]


@pytest_twisted.ensureDeferred
async def test_an_application_is_changed_and_removed(api: Api) -> None:
    data = {
        "FriendlyName": "Menu",
        "HasVoiceCallerIdLookup": "true",
        "RcmlUrl": "/apps/menu",
        "Kind": "SMS",
        "ApiVersion": "2010",
    }
    made = (await api.post("~/Applications.json", data)).json
    path = f"~/Applications/{made['sid']}"
    changed = (
        await api.post(f"{path}.json", {"VoiceCallerIdLookup": "false", "RcmlUrl": "https://app/x"})
    ).json
    cleared = (await api.ask("PUT", f"{path}.json", data={"RcmlUrl": "", "Kind": "voice"})).json
    tags = [item.tag for item in (await api.get(f"{path}.xml")).xml[0]]
    deleted = await api.ask("DELETE", f"{path}.json")

    assert (made["voice_caller_id_lookup"], made["rcml_url"], made["kind"]) == (True, "/apps/menu", "sms")
    assert (made["api_version"], list(made)[-2:]) == ("2010", ["rcml_url", "kind"])
    assert (changed["voice_caller_id_lookup"], changed["rcml_url"]) == (False, "https://app/x")
    assert ("rcml_url" in cleared, cleared["kind"], cleared["friendly_name"]) == (False, "voice", "Menu")
    assert " ".join(tags) == (
        "Sid DateCreated DateUpdated FriendlyName AccountSid ApiVersion VoiceCallerIdLookup Uri Kind"
    )
    assert (deleted.code, deleted.raw) == (204, b"")
    assert (await api.get(f"{path}.json")).code == 404
    assert (await api.ask("DELETE", f"{path}.json")).code == 404
    for method in ("PUT", "DELETE"):
        assert (await api.ask(method, "~/Applications.json")).code == 405


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "Friendly name can not be null."),
        ({"FriendlyName": ""}, "Friendly name can not be null."),
        ({"FriendlyName": "x", "Kind": "fax"}, "fax is not a valid application kind."),
        (
            {"FriendlyName": "x", "RcmlUrl": "app"},
            "RcmlUrl must be an absolute http or https URL or a path that begins with /.",
        ),
    ],
)
@pytest_twisted.ensureDeferred
async def test_applications_that_cannot_be_made(api: Api, data: dict[str, str], message: str) -> None:
    answer = await api.post("~/Applications.json", data)

    assert (answer.code, answer.json["message"]) == (400, message)
    assert api.store.applications.all() == ()


@pytest_twisted.ensureDeferred
async def test_nobody_but_the_owner_comes_near(api: Api) -> None:
    base = f"/2012-04-24/Accounts/{api.child.sid}/Applications"
    made = (await api.post(f"{base}.json", {"FriendlyName": "Menu"}, by=api.child)).json
    path = f"{base}/{made['sid']}.json"

    for by in (api.admin, api.sibling):
        for method in ("GET", "POST", "PUT", "DELETE"):
            assert (await api.ask(method, path, by=by, data={"FriendlyName": "x"})).code == 403
        assert (await api.get(f"{base}.json", by=by)).code == 403
    assert (await api.get(f"~/Applications/{made['sid']}.json")).code == 403
    assert (await api.get(path, by=api.child)).json == made


async def bound(api: Api) -> tuple[str, Number]:
    """An application, and a number and a client that refer to it."""
    sid = (await api.post("~/Applications.json", {"FriendlyName": "Menu"})).json["sid"]
    number = Number(
        sid=new_sid("PN"),
        account_sid=api.admin.sid,
        phone_number="1234",
        friendly_name="Front desk",
        voice_application_sid=sid,
        refer_application_sid=sid,
    )
    await api.store.numbers.add(number)
    client = {"Login": "alice", "Password": "RestComm12", "VoiceApplicationSid": sid}
    assert (await api.post("~/Clients.json", client)).code == 200
    return sid, number


@pytest_twisted.ensureDeferred
async def test_the_list_tells_bound_numbers_when_asked_to(api: Api) -> None:
    sid, number = await bound(api)
    await api.post("~/Applications.json", {"FriendlyName": "Unbound"})
    first, second = (await api.get("~/Applications.json?includeNumbers=true")).json
    tree = (await api.get("~/Applications.xml?includeNumbers=true")).xml[0]

    assert first["numbers"] == [
        {
            "sid": number.sid,
            "friendly_name": "Front desk",
            "phone_number": "1234",
            "voice_application_sid": sid,
            "refer_application_sid": sid,
        }
    ]
    assert second["numbers"] == []
    assert tree[0].find("Numbers/Number/PhoneNumber").text == "1234"
    assert tree[0].find("Numbers/Number/ReferApplicationSid").text == sid
    assert "numbers" not in (await api.get("~/Applications.json")).text


@pytest_twisted.ensureDeferred
async def test_references_go_with_the_application(api: Api) -> None:
    sid, number = await bound(api)
    changes = api.changes
    await api.ask("DELETE", f"~/Applications/{sid}.json")
    found = api.store.numbers.get(number.sid)

    assert (found.voice_application_sid, found.refer_application_sid) == (None, None)
    assert api.store.clients.by_login("alice").voice_application_sid is None
    assert api.changes == changes + 1


@pytest_twisted.ensureDeferred
async def test_in_the_shape_of_twilio(api: Api) -> None:
    base = f"{TWILIO}/{api.admin.sid}/Applications"
    voice = await api.post(
        f"{base}.json",
        {
            "FriendlyName": "Menu",
            "VoiceUrl": "https://app/v",
            "SmsUrl": "https://app/s",
            "VoiceMethod": "GET",
        },
    )
    text = (await api.post(f"{base}.json", {"FriendlyName": "Text", "SmsUrl": "https://app/s"})).json
    path = f"{base}/{voice.json['sid']}.json"
    listed = (await api.get(f"{base}.json?FriendlyName=Text")).json
    moved = await api.post(path, {"VoiceUrl": "https://app/w"})
    cleared = (await api.post(path, {"VoiceUrl": ""})).json
    plain = (await api.post("~/Applications.json", {"FriendlyName": "x", "VoiceUrl": "https://app/"})).json

    assert voice.code == 201
    assert (voice.json["voice_url"], voice.json["sms_url"]) == ("https://app/v", None)
    assert (voice.json["voice_method"], voice.json["kind"]) == ("POST", "voice")
    assert (text["voice_url"], text["sms_url"]) == (None, "https://app/s")
    assert [row["sid"] for row in listed["applications"]] == [text["sid"]]
    assert (moved.code, moved.json["voice_url"]) == (200, "https://app/w")
    assert cleared["voice_url"] is None
    assert "rcml_url" not in plain
    assert (await api.ask("DELETE", path)).code == 204
    assert (await api.post(f"{base}.json", {"FriendlyName": "x", "VoiceMethod": "PUT"})).code == 400


@pytest_twisted.ensureDeferred
async def test_what_changes_while_references_are_dropped_is_kept(api: Api) -> None:
    sid = (await api.post("~/Applications.json", {"FriendlyName": "Menu"})).json["sid"]
    rows = []
    for name in ("one", "two", "three"):
        row = Number(
            sid=new_sid("PN"),
            account_sid=api.admin.sid,
            phone_number=name,
            friendly_name=name,
            is_sip=True,
            voice_application_sid=sid,
        )
        rows.append(await api.store.numbers.add(row))
    removing = Deferred.fromCoroutine(api.ask("DELETE", f"~/Applications/{sid}.json"))
    while api.store.applications.get(sid) is not None:
        await deferLater(reactor, 0)
    # The application is gone for everybody else; its references are about to go.
    gone = Deferred.fromCoroutine(api.store.numbers.delete(rows[0].sid))
    named = Deferred.fromCoroutine(api.store.numbers.update(attrs.evolve(rows[2], friendly_name="new")))
    answer = await removing
    await gone
    await named

    assert answer.code == 204
    assert [row.friendly_name for row in api.store.numbers.all()] == ["two", "new"]
    assert [row.voice_application_sid for row in api.store.numbers.all()] == [None, None]
