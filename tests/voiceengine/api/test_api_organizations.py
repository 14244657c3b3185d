"""Acceptance cases 82 and 83: organizations."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import pytest_twisted

from voiceengine.store.rows import Organization

pytestmark = pytest.mark.loopback

Api = Any
BASE = "/restcomm/2012-04-24/Organizations"


@pytest_twisted.ensureDeferred
async def test_the_super_admin_makes_organizations(api: Api) -> None:
    made = await api.ask("PUT", f"{BASE}/acme.json?HostedZoneId=Z1")
    again = await api.ask("PUT", f"{BASE}/ACME.json")
    foreign = await api.ask("PUT", f"{BASE}/other.json", by=api.child)
    listed = (await api.get(f"{BASE}.json")).json

    assert made.code == 200
    assert list(made.json) == ["sid", "domain_name", "status", "date_created", "date_updated"]
    assert (made.json["domain_name"], made.json["status"]) == ("acme", "active")
    assert (again.code, foreign.code) == (409, 403)
    assert [row["domain_name"] for row in listed] == ["example.com", "acme"]


@pytest.mark.parametrize("name", ["a_b", "a.b.example", "x" * 256, "ä", "a%20b"])
@pytest_twisted.ensureDeferred
async def test_a_domain_is_a_label(api: Api, name: str) -> None:
    assert (await api.ask("PUT", f"{BASE}/{name}")).code == 400
    assert len(api.store.organizations) == 1


@pytest_twisted.ensureDeferred
async def test_organizations_are_listed_by_status(api: Api) -> None:
    closed = Organization(sid="OR" + "9" * 32, domain_name="gone", status="closed")
    empty = await api.get(f"{BASE}.json?Status=closed")
    await api.store.organizations.add(closed)
    found = (await api.get(f"{BASE}.json?Status=Closed")).json

    assert empty.code == 404
    assert [row["sid"] for row in found] == [closed.sid]
    assert (await api.get(f"{BASE}.json?Status=asleep")).code == 400
    assert (await api.get(f"{BASE}.json", by=api.child)).code == 403


@pytest_twisted.ensureDeferred
async def test_an_administrator_reads_its_own_organization_only(api: Api) -> None:
    other = Organization(sid="OR" + "9" * 32, domain_name="other")
    await api.store.organizations.add(other)
    own = f"{BASE}/{api.admin.organization_sid}"

    assert (await api.get(f"{own}.json", by=api.child)).json["domain_name"] == "example.com"
    assert (await api.get(f"{BASE}/{other.sid}.json", by=api.child)).code == 403
    assert (await api.get(f"{BASE}/OR{'8' * 32}.json", by=api.child)).code == 403
    assert (await api.get(f"{BASE}/{other.sid}.json")).code == 200
    assert (await api.get(f"{BASE}/OR{'8' * 32}.json")).code == 404
    assert (await api.get(f"{BASE}/acme.json")).code == 400
    tags = [item.tag for item in (await api.get(f"{own}.xml")).xml[0]]
    assert tags == ["Sid", "DomainName", "Status", "DateCreated", "DateUpdated"]
    await api.store.accounts.update(attrs.evolve(api.child, role="Developer"))
    assert (await api.get(f"{own}.json", by=api.child)).code == 403


@pytest_twisted.ensureDeferred
async def test_there_are_no_clear_passwords_to_migrate(api: Api) -> None:
    path = f"{BASE}/{api.admin.organization_sid}/Migrate"

    assert (await api.ask("PUT", f"{path}.json")).json == {}
    assert (await api.ask("PUT", f"{path}.xml")).xml.tag == "RestcommResponse"
    assert (await api.ask("PUT", f"{BASE}/OR{'8' * 32}/Migrate.json")).code == 404
    assert (await api.ask("PUT", f"{path}.json", by=api.child)).code == 403
