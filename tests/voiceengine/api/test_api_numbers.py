"""Acceptance cases 71 to 74: incoming phone numbers."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from voiceengine.api.number_ranges import RangeProvider
from voiceengine.store.rows import Account, Application, Organization, new_sid

pytestmark = pytest.mark.loopback

Api = Any
OTHER_ORGANIZATION = "OR" + "9" * 32


def path_of(account: Account) -> str:
    return f"/2012-04-24/Accounts/{account.sid}"


@pytest_twisted.ensureDeferred
async def test_a_virtual_number(api: Api) -> None:
    number = {"PhoneNumber": "1234", "isSIP": "true", "VoiceCapable": "true"}
    made = await api.post("~/IncomingPhoneNumbers.json", number)
    again = await api.post(path_of(api.child) + "/IncomingPhoneNumbers.json", number)
    await api.store.accounts.update(attrs.evolve(api.child, organization_sid="OR" + "9" * 32))
    elsewhere = await api.post(path_of(api.child) + "/IncomingPhoneNumbers.json", number)

    assert made.code == 200
    assert made.json["voice_url"] is None
    assert made.json["capabilities"] == {
        "voice_capable": True,
        "sms_capable": False,
        "mms_capable": False,
        "fax_capable": False,
    }
    assert "voice_application_name" not in made.json
    assert (again.code, again.json["message"], elsewhere.code) == (400, "21452", 200)


@pytest_twisted.ensureDeferred
async def test_real_numbers_are_unique_everywhere(api: Api) -> None:
    await api.store.accounts.update(attrs.evolve(api.child, organization_sid="OR" + "9" * 32))
    first = await api.post("~/IncomingPhoneNumbers.json", {"PhoneNumber": "(510) 555-0100"})
    second = await api.post(
        path_of(api.child) + "/IncomingPhoneNumbers/Local.json", {"PhoneNumber": "+15105550100"}
    )

    assert first.json["phone_number"] == "+15105550100"
    assert second.json["message"] == "21452"


@pytest.mark.parametrize(
    ("number", "kept"),
    [
        ("16.*", "16.*"),
        ("*98", "*98"),
        ("#31", "#31"),
        ("**61*1*11#", "**61*1*11#"),
        ("^1[0-9]+$", "^1[0-9]+$"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_patterns_and_codes_are_kept_as_they_are(api: Api, number: str, kept: str) -> None:
    assert (await api.post("~/IncomingPhoneNumbers.json", {"PhoneNumber": number})).json[
        "phone_number"
    ] == kept


@pytest.mark.parametrize(
    "number",
    [
        "[",
        "(a.+)+$",
        "a*.*.*.*.*b",
        "x" * 129,
        "+1510.*[",
        ".{5}{5}{5}{5}{5}",
        ".?.?.?.?.?x",
        "(.|.)" * 9 + "$",
        r"(.)\1",
        "1" * 64 + "$",
    ],
)
@pytest_twisted.ensureDeferred
async def test_patterns_that_routing_would_ignore_are_refused(api: Api, number: str) -> None:
    answer = await api.post("~/IncomingPhoneNumbers.json", {"PhoneNumber": number, "isSIP": "true"})

    assert answer.code == 400
    assert api.store.numbers.all() == ()


@pytest_twisted.ensureDeferred
async def test_numbers_need_a_number(api: Api) -> None:
    missing = await api.post("~/IncomingPhoneNumbers.json", {"VoiceUrl": "http://x/"})
    area = await api.post("~/IncomingPhoneNumbers.json", {"AreaCode": "510", "PhoneNumber": "1"})

    assert missing.json["message"] == "Phone number can not be null."
    assert area.json["message"] == "21452"


@pytest_twisted.ensureDeferred
async def test_a_number_is_changed_moved_and_removed(api: Api) -> None:
    application = Application(sid=new_sid("AP"), account_sid=api.admin.sid, friendly_name="Menu")
    await api.store.applications.add(application)
    made = (await api.post("~/IncomingPhoneNumbers.json", {"PhoneNumber": "1", "VoiceUrl": "http://a/"})).json
    path = f"~/IncomingPhoneNumbers/{made['sid']}.json"
    changed = (
        await api.post(path, {"VoiceUrl": "", "SmsMethod": "get", "VoiceApplicationSid": application.sid})
    ).json
    moved = (await api.ask("PUT", path, data={"AccountSid": api.child.sid})).json

    assert made["voice_url"] == "http://a/"
    assert (changed["voice_url"], changed["sms_method"]) == (None, "GET")
    assert changed["voice_application_name"] == "Menu"
    keys = list(changed)
    assert keys.index("voice_application_name") == keys.index("voice_application_sid") + 1
    assert moved["account_sid"] == api.child.sid
    assert (await api.get(path)).code == 403
    path = f"{path_of(api.child)}/IncomingPhoneNumbers/{made['sid']}.json"
    assert (await api.post(path, {"AccountSid": api.sibling.sid}, by=api.child)).code == 403
    assert (await api.post(path, {"AccountSid": "AC" + "9" * 32})).code == 404
    deleted = await api.ask("DELETE", path)
    assert (deleted.code, deleted.raw) == (204, b"")
    assert (await api.get(path)).code == 404


@pytest_twisted.ensureDeferred
async def test_numbers_are_filtered_sorted_and_paged(api: Api) -> None:
    for number, name in (
        ("+15105550100", "b"),
        ("+15105550101", "a"),
        ("+18005550199", "c"),
        ("77", "d [x]?"),
    ):
        await api.post("~/IncomingPhoneNumbers.json", {"PhoneNumber": number, "FriendlyName": name})

    async def found(query: str, kind: str = "") -> list[str]:
        answer = (await api.get(f"~/IncomingPhoneNumbers{kind}.json{query}")).json
        assert answer["total"] >= len(answer["incomingPhoneNumbers"])
        return [row["friendly_name"] for row in answer["incomingPhoneNumbers"]]

    assert await found("") == ["b", "a", "c", "d [x]?"]
    assert await found("?PhoneNumber=%2B1510*") == ["b", "a"]
    assert await found("?PhoneNumber=+1510*") == ["b", "a"]
    assert await found("?PhoneNumber=*0100") == ["b"]
    assert await found("?FriendlyName=d%20[x]*") == ["d [x]?"]
    assert await found("?FriendlyName=[a]") == []
    assert await found("?SortBy=FriendlyName") == ["a", "b", "c", "d [x]?"]
    assert await found("?Reverse=true") == ["d [x]?", "c", "a", "b"]
    assert await found("?PageSize=3&Page=1") == ["d [x]?"]
    assert await found("", "/TollFree") == ["c"]
    assert await found("", "/Local") == ["b", "a", "d [x]?"]
    assert await found("", "/Mobile") == ["b", "a"]
    assert (await api.get("~/IncomingPhoneNumbers.json?Page=5")).code == 400
    assert (await api.get("~/IncomingPhoneNumbers.json?Page=99999999999&PageSize=1")).code == 400
    assert (await api.get("~/IncomingPhoneNumbers/AvailableCountries.json")).json == ["US"]
    root = (await api.get("~/IncomingPhoneNumbers.xml?PhoneNumber=77")).xml[0]
    assert (root.tag, root[0].tag) == ("IncomingPhoneNumbers", "IncomingPhoneNumber")
    assert root[0].find("VoiceUrl") is None
    assert [item.tag for item in root[0].find("Capabilities")] == ["Voice", "Sms", "Mms", "Fax"]


RANGES = [
    {"type": "tollfree", "first": "+18005550100", "last": "+18005550109", "sms": False},
    {"first": "+15125550100", "last": "+15125550109", "fax": True, "mms": True},
    {"country": "GB", "type": "mobile", "first": "+447700900000", "last": "+447700900009"},
]


async def application(api: Api, account: Account, name: str = "Menu") -> Application:
    row = Application(sid=new_sid("AP"), account_sid=account.sid, friendly_name=name)
    await api.store.applications.add(row)
    return row


@pytest_twisted.ensureDeferred
async def test_every_setting_of_a_number(api: Api) -> None:
    menu = await application(api, api.admin)
    settings: dict[str, str] = {"FriendlyName": "Desk", "ApiVersion": "2010-04-01"}
    for kind in ("Voice", "Sms", "Ussd"):
        settings |= {
            f"{kind}Url": f"http://app/{kind}",
            f"{kind}Method": "GET",
            f"{kind}FallbackUrl": f"/{kind}",
            f"{kind}FallbackMethod": "get",
            f"{kind}ApplicationSid": menu.sid,
        }
    settings |= {"ReferUrl": "http://app/refer", "ReferMethod": "GET", "ReferApplicationSid": menu.sid}
    settings |= {"StatusCallback": "http://app/status", "StatusCallbackMethod": "GET"}
    settings |= {"VoiceCallerIdLookup": "true", "SmsCapable": "true", "FaxCapable": "TRUE"}
    made = (await api.post("~/IncomingPhoneNumbers.json", {"PhoneNumber": "+15105550100", **settings})).json

    assert [made[f"{kind}_application_name"] for kind in ("voice", "sms", "ussd", "refer")] == ["Menu"] * 4
    assert [made[f"{kind}_fallback_url"] for kind in ("voice", "sms", "ussd")] == ["/Voice", "/Sms", "/Ussd"]
    assert {made[key] for key in made if key.endswith("_method")} == {"GET"}
    assert (made["refer_url"], made["status_callback"]) == ("http://app/refer", "http://app/status")
    assert (made["voice_caller_id_lookup"], made["api_version"]) == (True, "2010-04-01")
    assert list(made["capabilities"].values()) == [False, True, False, True]
    again = (await api.get(f"~/IncomingPhoneNumbers/{made['sid']}.json")).json
    assert again == made


@pytest_twisted.ensureDeferred
async def test_an_application_must_be_of_the_account(api: Api) -> None:
    foreign = await application(api, api.child)
    menu = await application(api, api.admin)
    number = {"PhoneNumber": "77", "isSIP": "true"}
    refused = await api.post("~/IncomingPhoneNumbers.json", {**number, "SmsApplicationSid": foreign.sid})
    unknown = await api.post("~/IncomingPhoneNumbers.json", {**number, "ReferApplicationSid": new_sid("AP")})
    made = (await api.post("~/IncomingPhoneNumbers.json", {**number, "VoiceApplicationSid": menu.sid})).json
    path = f"~/IncomingPhoneNumbers/{made['sid']}.json"
    changed = await api.post(path, {"UssdApplicationSid": foreign.sid})

    assert (refused.code, refused.json["message"]) == (
        400,
        "SmsApplicationSid does not name an application of this account.",
    )
    assert (unknown.code, changed.code) == (400, 400)
    assert len(api.store.numbers) == 1
    # The account that gets the number has no access to the application.
    moved = (await api.post(path, {"AccountSid": api.child.sid})).json
    assert (moved["account_sid"], moved["voice_application_sid"]) == (api.child.sid, None)
    assert "voice_application_name" not in moved


@pytest_twisted.ensureDeferred
async def test_a_number_does_not_move_to_another_organization_or_a_closed_account(api: Api) -> None:
    made = (await api.post("~/IncomingPhoneNumbers.json", {"PhoneNumber": "77"})).json
    path = f"~/IncomingPhoneNumbers/{made['sid']}.json"
    await api.store.accounts.update(attrs.evolve(api.child, organization_sid=OTHER_ORGANIZATION))
    await api.store.accounts.update(attrs.evolve(api.sibling, status="closed"))

    assert (await api.post(path, {"AccountSid": api.child.sid})).code == 400
    assert (await api.post(path, {"AccountSid": api.sibling.sid})).code == 400
    assert (await api.post(path, {"AccountSid": api.admin.sid})).code == 200


@pytest_twisted.ensureDeferred
async def test_numbers_come_from_the_ranges(make_api: Any) -> None:
    api = await make_api(**{"numbers.ranges": RANGES})
    base = "~/IncomingPhoneNumbers"
    free = (await api.post(f"{base}.json", {"PhoneNumber": "+15125550100", "SmsCapable": "false"})).json
    picked = (await api.post(f"{base}.json", {"AreaCode": "512", "PhoneNumber": "+447700900000"})).json
    toll_free = (await api.post(f"{base}/TollFree.json", {"AreaCode": "800"})).json

    assert list(free["capabilities"].values()) == [True, False, True, True]
    assert (picked["phone_number"], picked["friendly_name"]) == ("+15125550101", "+15125550101")
    assert list(picked["capabilities"].values()) == [True, True, True, True]
    assert toll_free["phone_number"] == "+18005550100"
    for path, form in (
        (f"{base}.json", {"PhoneNumber": "512 555 0100"}),
        (f"{base}.json", {"AreaCode": "510"}),
        (f"{base}/Local.json", {"AreaCode": "800"}),
        (f"{base}/Local.json", {"PhoneNumber": "+18005550101"}),
        (f"{base}/Mobile.json", {"PhoneNumber": "+15125550105"}),
    ):
        answer = await api.post(path, form)
        assert (answer.code, answer.json["message"]) == (400, "21452"), form
    assert (await api.post(f"{base}.json", {"AreaCode": "51"})).json[
        "message"
    ] == "AreaCode must have 3 digits."
    # What is no number of the ranges may still be had.
    assert (await api.post(f"{base}.json", {"PhoneNumber": "+15105550100"})).code == 200
    mobile = (await api.post(f"{base}/Mobile.json", {"PhoneNumber": "+447700900001"})).json
    listed = (await api.get(f"{base}/Mobile.json?PhoneNumber=%2B44*")).json["incomingPhoneNumbers"]
    assert [row["sid"] for row in listed] == [mobile["sid"]]
    # A number that is given back can be taken again.
    assert (await api.ask("DELETE", f"{base}/{free['sid']}.json")).code == 204
    assert (await api.post(f"{base}.json", {"AreaCode": "512"})).json["phone_number"] == "+15125550100"
    countries = await api.get(f"{base}/AvailableCountries.json")
    assert countries.json == ["GB", "US"]
    root = (await api.get(f"{base}/AvailableCountries.xml")).xml[0]
    assert [(item.tag, item.text) for item in root] == [
        ("AvailableCountry", "GB"),
        ("AvailableCountry", "US"),
    ]


@pytest_twisted.ensureDeferred
async def test_a_range_that_is_used_up(make_api: Any) -> None:
    api = await make_api(**{"numbers.ranges": [{"first": "+15125550100", "last": "+15125550101"}]})
    answers = [await api.post("~/IncomingPhoneNumbers.json", {"AreaCode": "512"}) for _ in range(3)]

    assert [answer.code for answer in answers] == [200, 200, 400]
    assert answers[2].json["message"] == "21452"


@pytest_twisted.ensureDeferred
async def test_two_requests_at_once_get_two_numbers(make_api: Any) -> None:
    api = await make_api(**{"numbers.ranges": RANGES})
    forms = [{"AreaCode": "512"}] * 4 + [{"PhoneNumber": "+447700900000"}] * 4
    asked = [Deferred.fromCoroutine(api.post("~/IncomingPhoneNumbers.json", form)) for form in forms]
    answers = await gatherResults(asked)
    got = [answer.json["phone_number"] for answer in answers if answer.code == 200]

    assert [answer.code for answer in answers].count(400) == 3
    assert sorted(got) == [f"+1512555010{digit}" for digit in range(4)] + ["+447700900000"]


@pytest_twisted.ensureDeferred
async def test_an_account_that_is_closed_while_a_number_is_taken_gets_none(
    make_api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = await make_api(**{"numbers.ranges": RANGES})
    path = f"/restcomm/2012-04-24/Accounts/{api.child.sid}"

    async def take(provider: RangeProvider, number: str) -> None:
        assert (await api.ask("PUT", f"{path}.json", data={"Status": "closed"})).code == 200

    monkeypatch.setattr(RangeProvider, "take", take)
    answer = await api.post(f"{path}/IncomingPhoneNumbers.json", {"PhoneNumber": "+15125550100"})

    assert (answer.code, answer.json["message"]) == (400, "Account is closed")
    assert api.store.numbers.all() == ()


@pytest_twisted.ensureDeferred
async def test_only_numbers_of_the_ranges(make_api: Any) -> None:
    api = await make_api(**{"numbers.ranges": RANGES, "numbers.only_ranges": True})
    base = "~/IncomingPhoneNumbers.json"

    assert (await api.post(base, {"PhoneNumber": "+15105550100"})).json["message"] == "21452"
    assert (await api.post(base, {"PhoneNumber": "+15125550100"})).code == 200
    assert (await api.post(base, {"PhoneNumber": "1234", "isSIP": "true"})).code == 200
    assert (await api.post(base, {"PhoneNumber": "16.*", "isSIP": "true"})).code == 200


@pytest_twisted.ensureDeferred
async def test_numbers_follow_their_account_into_another_organization(api: Api) -> None:
    path = path_of(api.child) + "/IncomingPhoneNumbers/migrate.json"
    organization = Organization(sid=OTHER_ORGANIZATION, domain_name="other.example")

    async def migrate(sid: str, where: str = path, **more: Any) -> tuple[int, str]:
        answer = await api.post(where, {"OrganizationSid": sid}, **more)
        return answer.code, answer.json["message"] if answer.text else ""

    assert await migrate("") == (400, "OrganizationSid cannot be null")
    assert await migrate("OR1") == (400, "OrganizationSid is not valid")
    assert await migrate(organization.sid) == (404, "Destination organization not found")
    await api.store.organizations.add(organization)
    assert (await migrate(organization.sid))[0] == 409
    assert (await migrate(organization.sid, by=api.child))[0] == 403
    assert (await migrate(organization.sid, "~/IncomingPhoneNumbers/migrate.json"))[0] == 400
    assert (await api.post(f"/2012-04-24/Accounts/AC{'9' * 32}/IncomingPhoneNumbers/migrate")).code == 404
    await api.store.accounts.update(attrs.evolve(api.child, organization_sid=organization.sid))
    assert await migrate(organization.sid) == (200, "")


@pytest_twisted.ensureDeferred
async def test_wildcards_do_not_hang_the_list(api: Api) -> None:
    await api.post("~/IncomingPhoneNumbers.json", {"PhoneNumber": "77", "FriendlyName": "a" * 64})
    found = await api.get("~/IncomingPhoneNumbers.json?FriendlyName=" + "*a" * 40 + "*b")

    assert found.json["total"] == 0


@pytest_twisted.ensureDeferred
async def test_page_uris_keep_filters_and_order(api: Api) -> None:
    for number in ("+15105550100", "+15105550101", "+15105550102"):
        await api.post("~/IncomingPhoneNumbers.json", {"PhoneNumber": number})
    query = "?PhoneNumber=%2B1510*&SortBy=PhoneNumber:desc&PageSize=2"
    page = (await api.get(f"~/IncomingPhoneNumbers.json{query}")).json
    rest = (
        await api.get(page["next_page_uri"].replace("IncomingPhoneNumbers", "IncomingPhoneNumbers.json"))
    ).json

    assert (page["num_pages"], page["total"], page["start"], page["end"]) == (1, 3, "0", "1")
    assert [row["phone_number"][-1] for row in page["incomingPhoneNumbers"]] == ["2", "1"]
    assert [row["phone_number"][-1] for row in rest["incomingPhoneNumbers"]] == ["0"]
    assert (rest["next_page_uri"], rest["end"]) == ("null", "3")
    xml = (await api.get(f"~/IncomingPhoneNumbers.xml{query}")).xml[0]
    assert (xml.get("total"), xml.get("numpages"), len(xml)) == ("3", "1", 2)


@pytest_twisted.ensureDeferred
async def test_numbers_of_the_accounts_below(api: Api) -> None:
    await api.post("~/IncomingPhoneNumbers.json", {"PhoneNumber": "77"})
    await api.post(path_of(api.child) + "/IncomingPhoneNumbers.json", {"PhoneNumber": "88"})

    assert (await api.get("~/IncomingPhoneNumbers.json")).json["total"] == 1
    assert (await api.get("~/IncomingPhoneNumbers.json?SubAccounts=true")).json["total"] == 2


@pytest_twisted.ensureDeferred
async def test_the_library_of_twilio_manages_numbers(make_api: Any) -> None:
    api = await make_api(**{"numbers.ranges": RANGES})

    def use(client: Any) -> None:
        local = client.available_phone_numbers("US").local.list(area_code="512", contains="555010*", limit=3)
        assert [found.phone_number for found in local] == ["+15125550100", "+15125550101", "+15125550102"]
        assert local[0].capabilities == {"voice": True, "SMS": True, "MMS": True, "fax": True}
        assert len(client.available_phone_numbers("US").local.list()) == 10
        assert client.available_phone_numbers("US").toll_free.list(sms_enabled=True) == []
        bought = client.incoming_phone_numbers.create(
            phone_number=local[0].phone_number, voice_url="http://app/", friendly_name="Desk"
        )
        assert bought.capabilities == {"voice": True, "sms": True, "mms": True, "fax": True}
        picked = client.incoming_phone_numbers.create(area_code="512")
        assert picked.phone_number == "+15125550101"
        assert {row.sid for row in client.incoming_phone_numbers.list()} == {bought.sid, picked.sid}
        assert [row.sid for row in client.incoming_phone_numbers.list(phone_number="5125550100")] == [
            bought.sid
        ]
        assert [row.sid for row in client.incoming_phone_numbers.list(friendly_name="Desk")] == [bought.sid]
        assert [row.sid for row in client.incoming_phone_numbers.list(page_size=1)] == [
            bought.sid,
            picked.sid,
        ]
        changed = client.incoming_phone_numbers(bought.sid).update(voice_url="", sms_method="GET")
        assert (changed.voice_url, changed.sms_method, changed.date_created is None) == (None, "GET", False)
        assert client.incoming_phone_numbers(bought.sid).fetch().friendly_name == "Desk"
        moved = client.incoming_phone_numbers(bought.sid).update(account_sid=api.child.sid)
        assert moved.account_sid == api.child.sid
        assert client.incoming_phone_numbers(picked.sid).delete()

    await api.by_twilio(use)
    assert [row.phone_number for row in api.store.numbers.all()] == ["+15125550100"]
