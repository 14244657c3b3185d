"""Gateways and outbound proxies over REST; for the super admin alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted

pytestmark = pytest.mark.loopback

Api = Any

PATH = "~/Management/Gateways"
GOOD = {"UserName": "trunk", "Password": "secret", "Proxy": "sip.example.net", "Register": "true"}


async def made(api: Api, **changes: str) -> dict[str, object]:
    answer = await api.post(f"{PATH}.json", {**GOOD, **changes})
    assert answer.code == 200, answer.text
    found: dict[str, object] = answer.json
    return found


@pytest_twisted.ensureDeferred
async def test_a_gateway_is_made_and_looks_as_the_reference_says(api: Api) -> None:
    found = await made(api)

    assert list(found) == [
        "sid",
        "date_created",
        "date_updated",
        "friendly_name",
        "password",
        "proxy",
        "register",
        "user_name",
        "time_to_live",
        "uri",
        "status",
    ]
    assert found["friendly_name"] == found["user_name"] == "trunk"
    assert (found["password"], found["proxy"]) == ("secret", "sip.example.net")
    assert (found["register"], found["time_to_live"], found["status"]) == (True, 3600, "registered")
    assert found["uri"] == f"/restcomm/2012-04-24/Management/Gateways/{found['sid']}.json"
    assert str(found["sid"]).startswith("GW")
    assert api.gateways.changes == 1

    (row,) = api.store.gateways.all()
    assert (row.sid, row.password, row.register) == (found["sid"], "secret", True)


@pytest_twisted.ensureDeferred
async def test_all_one_and_the_one_of_the_uri(api: Api) -> None:
    first = await made(api, FriendlyName="mygateway", TTL="600")
    second = await made(api, Register="FALSE")

    assert (await api.get(f"{PATH}.json")).json == [first, second]
    assert (await api.get(f"{PATH}/{first['sid']}.json")).json == first
    assert (await api.get(str(first["uri"]))).json == first
    assert (await api.get("/restcomm/2012-04-24/Management/Gateways.json")).json == [first, second]
    assert (first["friendly_name"], first["time_to_live"]) == ("mygateway", 600)
    assert second["register"] is False


@pytest_twisted.ensureDeferred
async def test_xml(api: Api) -> None:
    found = await made(api)

    one = (await api.get(f"{PATH}/{found['sid']}")).xml.find("Gateway")
    many = (await api.get(PATH)).xml.findall("Gateways/Gateway")

    assert [child.tag for child in one] == [
        "Sid",
        "DateCreated",
        "DateUpdated",
        "FriendlyName",
        "Password",
        "Proxy",
        "Register",
        "UserName",
        "TimeToLive",
        "Uri",
        "Status",
    ]
    assert one.findtext("Register") == "true"
    assert len(many) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"UserName": ""}, "UserName can not be null."),
        ({"Password": ""}, "Password can not be null."),
        ({"Proxy": ""}, "The Proxy can not be null"),
        ({"Register": ""}, "Register must be true or false"),
        ({"Register": "yes"}, "Register must be true or false"),
        ({"Proxy": "a b"}, "The Proxy must be a host, host:port or a SIP URI."),
        ({"Proxy": "sips:a"}, "The Proxy must be a SIP URI, UDP or TCP."),
        ({"TTL": "59"}, "TTL must be a whole number from 60 to 86400."),
        ({"UserName": "a\nb"}, "UserName must not contain control characters."),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_refused(api: Api, changes: dict[str, str], message: str) -> None:
    answer = await api.post(f"{PATH}.json", {**GOOD, **changes})

    assert (answer.code, answer.json["message"]) == (400, message)
    assert api.store.gateways.all() == ()
    assert api.gateways.changes == 0


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest_twisted.ensureDeferred
async def test_a_change_keeps_what_is_not_sent(api: Api, method: str) -> None:
    found = await made(api, TTL="600", FriendlyName="mygateway")
    path = f"{PATH}/{found['sid']}.json"

    answer = await api.ask(method, path, data={"Register": "false", "Proxy": "192.0.2.1:5070"})
    wrong = await api.ask(method, path, data={"Register": "maybe"})

    changed = answer.json
    assert (changed["register"], changed["proxy"]) == (False, "192.0.2.1:5070")
    assert {**changed, "register": True, "proxy": "sip.example.net"} == {
        **found,
        "date_updated": changed["date_updated"],
    }
    assert wrong.code == 400
    assert api.gateways.changes == 2


@pytest_twisted.ensureDeferred
async def test_one_that_is_removed_is_gone(api: Api) -> None:
    path = f"{PATH}/{(await made(api))['sid']}.json"

    assert (await api.ask("DELETE", path)).code == 200
    assert api.gateways.changes == 2
    assert (await api.get(path)).code == 404
    assert (await api.ask("DELETE", path)).code == 404
    assert (await api.post(path, GOOD)).code == 404


@pytest_twisted.ensureDeferred
async def test_nobody_but_the_super_admin_sees_them(api: Api) -> None:
    found = await made(api)
    base = f"/restcomm/2012-04-24/Accounts/{api.child.sid}/Management/Gateways"

    for path in (base, f"{base}/{found['sid']}", f"/restcomm/2012-04-24/Management/Gateways/{found['sid']}"):
        answer = await api.get(f"{path}.json", by=api.child)
        assert answer.code == 403
        assert "secret" not in answer.text
    assert (await api.post(f"{base}.json", GOOD, by=api.child)).code == 403
    assert (await api.get(f"{base}.json", by=None)).code == 401
    assert (await api.get(f"{base}.json")).code == 200


@pytest_twisted.ensureDeferred
async def test_without_a_keeper_rows_are_kept_all_the_same(roomless_api: Api) -> None:
    found = await made(roomless_api)

    assert found["status"] == "off"


# ------------------------------------------------------------------------- outbound proxies


@pytest_twisted.ensureDeferred
async def test_the_proxy_of_an_account_is_shown_without_its_secrets(
    make_api: Callable[..., Awaitable[Api]],
) -> None:
    child = "AC" + "b" * 32
    api = await make_api(
        **{
            "sip.outbound_proxy": {
                "uri": "sip:user:hidden@192.0.2.10",
                "username": "u",
                "password": "hidden",
            },
            "sip.account_proxies": {child: {"uri": "sip:sbc.example.com;transport=tcp"}},
        }
    )

    everything = await api.get("~/OutboundProxy.json")
    active = await api.get("~/OutboundProxy/getActiveProxy.json")
    of_child = await api.get(f"/restcomm/2012-04-24/Accounts/{child}/OutboundProxy/getActiveProxy.json")

    assert everything.json == {
        "ActiveProxy": "sip:192.0.2.10",
        "PrimaryProxy": "sip:192.0.2.10",
        "FallbackProxy": "",
        "UsingFallBackProxy": False,
        "AllowFallback": False,
        "AllowFallbackToPrimary": False,
    }
    assert active.json == {"ActiveProxy": "sip:192.0.2.10"}
    assert of_child.json == {"ActiveProxy": "sip:sbc.example.com;transport=tcp"}
    assert "hidden" not in everything.text + active.text


@pytest_twisted.ensureDeferred
async def test_there_may_be_none_and_there_is_nothing_to_switch_to(api: Api) -> None:
    active = await api.get("~/OutboundProxy/getActiveProxy")
    switched = await api.get("~/OutboundProxy/switchProxy.json")
    forbidden = await api.get(
        f"/restcomm/2012-04-24/Accounts/{api.child.sid}/OutboundProxy.json", by=api.child
    )

    assert active.xml.findtext("OutboundProxy/ActiveProxy") == ""
    assert (switched.code, switched.json["message"]) == (409, "There is no fallback proxy to switch to.")
    assert forbidden.code == 403
