"""The error dictionary, the version and the end of a login."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

import voiceengine
from voiceengine.api.dictionary import ENTRIES, NOTIFICATIONS
from voiceengine.messages.requests import ERRORS
from voiceengine.store.rows import NotificationRow, new_sid

pytestmark = pytest.mark.loopback

Api = Any
PROJECT = Path(__file__).parents[3]


def documented_codes() -> set[int]:
    page = (PROJECT / "docs" / "reference" / "applications.md").read_text("utf-8")
    rows = re.findall(r"^\| ([0-9, ]+) \|", page.partition("\n## Notifications")[2], re.MULTILINE)
    return {int(code) for row in rows for code in row.split(",")}


def test_the_dictionary_has_the_codes_of_the_reference() -> None:
    assert sorted(NOTIFICATIONS) == sorted(documented_codes())
    assert set(ENTRIES) == {*NOTIFICATIONS, *ERRORS}


def test_every_entry_says_what_and_why_and_how() -> None:
    for code, entry in ENTRIES.items():
        assert all((entry.title, entry.cause.endswith("."), entry.remedy)), code


@pytest_twisted.ensureDeferred
async def test_a_code_has_a_page(api: Api) -> None:
    found = await api.get("/restcomm/errors/12100.html", by=None)

    assert (found.code, found.header("Content-Type")) == (200, "text/html; charset=utf-8")
    assert "<h1>Error 12100: Document cannot be read</h1>" in found.text
    assert "voiceengine lint" in found.text
    assert (await api.ask("HEAD", "/restcomm/errors/12100.html", by=None)).raw == b""


@pytest_twisted.ensureDeferred
async def test_the_index_leads_to_all_pages(api: Api) -> None:
    for path in ("/restcomm/errors/", "/restcomm/errors"):
        found = await api.get(path, by=None)
        links = re.findall(r'href="https://host(/restcomm/errors/(\d+)\.html)"', found.text)
        assert [int(code) for _, code in links] == sorted(ENTRIES)
    for link, _ in links:
        assert (await api.get(link, by=None)).code == 200


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("path", ["99999.html", "<b>.html", "12100.txt", "12100.html/x", "..%2f"])
async def test_other_pages_do_not_exist(api: Api, path: str) -> None:
    found = await api.get(f"/restcomm/errors/{path}", by=None)

    assert found.code == 404
    assert "<b>" not in found.text
    assert (await api.post("/restcomm/errors/12100.html", by=None)).code == 405


@pytest_twisted.ensureDeferred
async def test_notifications_lead_to_the_page_of_their_code(api: Api) -> None:
    row = NotificationRow(
        sid=new_sid("NO"), account_sid=api.admin.sid, log=0, error_code=11200, message_text="no"
    )
    api.store.notifications.add(row)
    more = (await api.get(f"~/Notifications/{row.sid}.json")).json["more_info"]

    assert more == "https://host/restcomm/errors/11200.html"
    assert (await api.get(more.removeprefix("https://host"), by=None)).code == 200


@pytest_twisted.ensureDeferred
async def test_the_dictionary_may_be_elsewhere(elsewhere_api: Api) -> None:
    row = NotificationRow(
        sid=new_sid("NO"), account_sid=elsewhere_api.admin.sid, log=0, error_code=11200, message_text="no"
    )
    elsewhere_api.store.notifications.add(row)
    found = (await elsewhere_api.get(f"~/Notifications/{row.sid}.json")).json

    assert found["more_info"] == "https://example.com/errors/11200.html"


@pytest_twisted.ensureDeferred
async def test_the_version_is_told(api: Api) -> None:
    found = (await api.get("~/Version.json")).json
    xml = (await api.get("~/Version.xml")).xml.find("Version")

    assert list(found) == ["Name", "Version", "Revision", "Date"]
    assert found["Version"] == voiceengine.__version__.partition("+")[0]
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", found["Date"])
    assert {child.tag: child.text for child in xml} == found
    assert (await api.get("~/Version.json", by=None)).code == 401
    assert (await api.get("~/Version.json", by=api.child)).code == 403


@pytest_twisted.ensureDeferred
async def test_logout_needs_no_credentials_under_any_mount(api: Api) -> None:
    mounts = ("/restcomm/2012-04-24", "/api/2012-04-24", "/2012-04-24", "/2010-04-01")
    for mount in mounts:
        found = await api.get(f"{mount}/Logout", by=None)
        assert (found.code, found.raw, found.header("Cache-Control")) == (200, b"", "no-store")
    assert (await api.get("/2012-04-24/Logout", by=("nobody", "wrong"))).code == 200
    assert (await api.post("/2012-04-24/Logout", by=None)).code == 405
