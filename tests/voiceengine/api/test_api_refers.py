"""Refers: the records of transfers."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from voiceengine.store.rows import ReferRow, new_sid

pytestmark = pytest.mark.loopback

Api = Any


def child_path(api: Api) -> str:
    return f"/restcomm/2012-04-24/Accounts/{api.child.sid}"


def refer(api: Api, **changes: Any) -> ReferRow:
    values: dict[str, Any] = {
        "sid": new_sid("RF"),
        "account_sid": api.admin.sid,
        "org_sid": api.admin.organization_sid,
        "call_sid": new_sid("CA"),
        "from_": "alice",
        "to": "sip:bob@example.com",
    }
    row = ReferRow(**{**values, **changes})
    api.store.refers.save(row)
    return row


@pytest_twisted.ensureDeferred
async def test_a_refer_is_shown_in_json_only(api: Api) -> None:
    row = refer(
        api,
        date_created=1489572657.0,
        call_status="completed",
        refer_sip_response_code=202,
        notify_sip_response_code=200,
    )
    answers = [await api.get(f"~/Refers/{row.sid}{suffix}") for suffix in (".json", "", ".xml")]

    assert {answer.header("Content-Type") for answer in answers} == {"application/json"}
    assert answers[0].json == answers[1].json == answers[2].json
    assert list(answers[1].json.items()) == [
        ("api_version", "2012-04-24"),
        ("sid", row.sid),
        ("date_created", "Wed, 15 Mar 2017 10:10:57 +0000"),
        ("account_sid", api.admin.sid),
        ("org_sid", api.admin.organization_sid),
        ("call_sid", row.call_sid),
        ("uri", f"/restcomm/2012-04-24/Accounts/{api.admin.sid}/Refers/{row.sid}.json"),
        ("from", "alice"),
        ("to", "sip:bob@example.com"),
        ("call_status", "completed"),
        ("refer_sip_response_code", 202),
        ("notify_sip_response_code", 200),
    ]


@pytest_twisted.ensureDeferred
async def test_refers_are_listed_newest_first(api: Api) -> None:
    rows = [refer(api, date_created=float(number)) for number in range(3)]
    refer(api, account_sid=api.child.sid)
    found = (await api.get("~/Refers")).json
    one = (await api.get(f"~/Refers.json?CallSid={rows[0].call_sid}")).json

    assert found["total"] == 3
    assert [item["sid"] for item in found["refers"]] == [row.sid for row in reversed(rows)]
    assert "call_status" not in found["refers"][0]
    assert [item["sid"] for item in one["refers"]] == [rows[0].sid]
    assert (await api.get("~/Refers.json?EndTime=1970-01-01T00:00:01")).json["total"] == 2
    assert (await api.get("~/Refers.json?Page=1")).code == 400


@pytest_twisted.ensureDeferred
async def test_refers_of_others_are_403_and_unknown_ones_404(api: Api) -> None:
    row = refer(api)

    assert (await api.get(f"~/Refers/{row.sid}.json", by=None)).code == 401
    assert (await api.get(f"~/Refers/{row.sid}.json", by=api.child)).code == 403
    assert (await api.get(f"{child_path(api)}/Refers/{row.sid}.json", by=api.child)).code == 403
    assert (await api.get(f"~/Refers/{new_sid('RF')}.json")).code == 404
    assert (await api.get("~/Refers/nonsense.json")).code == 404
    for method in ("POST", "PUT", "DELETE"):
        assert (await api.ask(method, "~/Refers.json")).code == 405
        assert (await api.ask(method, f"~/Refers/{row.sid}.json")).code == 405
