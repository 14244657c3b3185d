"""Outgoing caller ids, and queues, which do not exist yet."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import pytest_twisted

pytestmark = pytest.mark.loopback

Api = Any
BASE = "~/OutgoingCallerIds"


@pytest_twisted.ensureDeferred
async def test_a_caller_id_is_made_renamed_and_removed(api: Api) -> None:
    made = await api.post(f"{BASE}.json", {"PhoneNumber": "510 555 0100"})
    sid = made.json["sid"]
    again = await api.post(f"{BASE}.json", {"PhoneNumber": "+447700900123", "FriendlyName": "London"})
    renamed = await api.ask("PUT", f"{BASE}/{sid}.json", data={"FriendlyName": "Desk", "PhoneNumber": "1"})
    posted = await api.post(f"{BASE}/{sid}.json", {"FriendlyName": "Front desk"})

    assert made.code == 200
    assert list(made.json) == [
        "sid",
        "account_sid",
        "friendly_name",
        "phone_number",
        "date_created",
        "date_updated",
        "uri",
    ]
    assert (made.json["friendly_name"], made.json["phone_number"]) == ("(510) 555-0100", "+15105550100")
    assert made.json["uri"] == f"/restcomm/2012-04-24/Accounts/{api.admin.sid}/OutgoingCallerIds/{sid}.json"
    assert again.json["friendly_name"] == "London"
    assert (renamed.json["friendly_name"], renamed.json["phone_number"]) == ("Desk", "+15105550100")
    assert posted.json["friendly_name"] == "Front desk"
    assert [row["friendly_name"] for row in (await api.get(f"{BASE}.json")).json] == ["Front desk", "London"]
    assert [row["sid"] for row in (await api.get(f"{BASE}.json?PhoneNumber=5105550100")).json] == [sid]
    assert (await api.get(f"{BASE}.json?FriendlyName=nobody")).json == []
    assert (await api.get(f"{BASE}/{sid}.json")).json == posted.json
    deleted = await api.ask("DELETE", f"{BASE}/{sid}.json")
    assert (deleted.code, deleted.raw) == (200, b"")
    assert (await api.ask("DELETE", f"{BASE}/{sid}.json")).code == 404
    assert (await api.get(f"{BASE}/{sid}.json")).code == 404


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({}, "Phone number can not be null."),
        ({"PhoneNumber": ""}, "Phone number can not be null."),
        ({"PhoneNumber": "abc"}, "Invalid phone number."),
        ({"PhoneNumber": "1"}, "Invalid phone number."),
        (
            {"PhoneNumber": "+15105550100", "FriendlyName": "x" * 65},
            "FriendlyName must not be longer than 64 characters.",
        ),
    ],
)
@pytest_twisted.ensureDeferred
async def test_caller_ids_that_cannot_be_made(api: Api, form: dict[str, str], message: str) -> None:
    answer = await api.post(f"{BASE}.json", form)

    assert (answer.code, answer.json["message"]) == (400, message)


@pytest_twisted.ensureDeferred
async def test_caller_ids_belong_to_their_account(api: Api) -> None:
    sid = (await api.post(f"{BASE}.json", {"PhoneNumber": "+15105550100"})).json["sid"]
    other = f"/2012-04-24/Accounts/{api.child.sid}/OutgoingCallerIds"

    assert (await api.get(f"{other}/{sid}.json")).code == 403
    assert (await api.ask("DELETE", f"{other}/{sid}.json")).code == 403
    assert (await api.get(f"{other}.json")).json == []
    assert (await api.get(f"{BASE}.json", by=api.child)).code == 403
    await api.store.accounts.update(attrs.evolve(api.child, role="Developer"))
    assert (await api.post(f"{other}.json", {"PhoneNumber": "+15105550100"}, by=api.child)).code == 200


@pytest_twisted.ensureDeferred
async def test_the_xml_of_caller_ids(api: Api) -> None:
    made = (await api.post(BASE, {"PhoneNumber": "+15105550100"})).xml[0]
    listed = (await api.get(f"{BASE}.xml")).xml[0]

    assert (made.tag, listed.tag, listed[0].tag) == (
        "OutgoingCallerId",
        "OutgoingCallerIds",
        "OutgoingCallerId",
    )
    assert " ".join(item.tag for item in listed[0]) == (
        "Sid AccountSid FriendlyName PhoneNumber DateCreated DateUpdated Uri"
    )


@pytest_twisted.ensureDeferred
async def test_the_library_of_twilio_manages_caller_ids(api: Api) -> None:
    def use(client: Any) -> None:
        asked = client.validation_requests.create(phone_number="+15105550100", friendly_name="Desk")
        assert (asked.phone_number, asked.friendly_name) == ("+15105550100", "Desk")
        client.validation_requests.create(phone_number="+15105550101")
        assert len(client.outgoing_caller_ids.list()) == 2
        assert len(client.outgoing_caller_ids.list(page_size=1)) == 2
        (found,) = client.outgoing_caller_ids.list(phone_number="+15105550100")
        assert found.date_created is not None
        assert client.outgoing_caller_ids(found.sid).update(friendly_name="Front").friendly_name == "Front"
        assert client.outgoing_caller_ids(found.sid).fetch().friendly_name == "Front"
        assert client.outgoing_caller_ids(found.sid).delete()

    await api.by_twilio(use)
    assert len(api.store.caller_ids) == 1


@pytest.mark.parametrize(
    "path", ["", "/QU" + "0" * 32, f"/QU{'0' * 32}/Members", f"/QU{'0' * 32}/Members/Front"]
)
@pytest_twisted.ensureDeferred
async def test_queues_are_planned(api: Api, path: str) -> None:
    for method in ("GET", "POST", "PUT", "DELETE"):
        answer = await api.ask(method, f"~/Queues{path}.json")
        assert (answer.code, answer.json["error"]) == (501, "NOT_IMPLEMENTED")
        assert answer.json["message"] == "Queues are planned and not offered yet."
    assert (await api.get("~/Queues.json", by=None)).code == 401
