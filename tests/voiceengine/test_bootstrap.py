"""What the first start creates, and what later ones keep."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor

from voiceengine.bootstrap import (
    DEMO_CLIENTS,
    DEMO_NUMBER,
    ORGANIZATION_SID,
    SUPER_ADMIN_SID,
    demo_password,
    ensure_account,
    ensure_demo,
    ensure_organization,
    make_client,
    read_credentials,
    write_private,
)
from voiceengine.store import Store
from voiceengine.store.passwords import ha1_md5, ha1_sha256
from voiceengine.store.rows import Account, Organization

pytestmark = pytest.mark.loopback
REACTOR: Any = reactor
REALM, BASE = "voiceengine", "http://127.0.0.1:8080"


@pytest_twisted.async_yield_fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "engine.db", REACTOR)
    yield opened
    await opened.close()


async def start(store: Store, known: dict[str, str], realm: str = REALM, base: str = BASE) -> dict[str, str]:
    return await ensure_demo(store, await ensure_account(store), realm, base, known, REALM)


@pytest_twisted.ensureDeferred
async def test_the_first_start_creates_account_clients_and_number(store: Store) -> None:
    account = await ensure_account(store)
    passwords = await start(store, {})

    assert account.sid == SUPER_ADMIN_SID
    assert re.fullmatch(r"[0-9a-f]{32}", account.auth_token)
    assert sorted(passwords) == sorted(DEMO_CLIENTS)
    for login, password in passwords.items():
        client = store.clients.by_login(login)
        assert client is not None
        assert client.account_sid == account.sid
        assert client.ha1_md5 == ha1_md5(login, REALM, password)
        assert client.ha1_sha256 == ha1_sha256(login, REALM, password)
    number = store.numbers.by_number(DEMO_NUMBER)
    assert number is not None
    assert (number.voice_url, number.voice_method) == (f"{BASE}/demo/menu", "GET")
    assert number.is_sip
    assert number.voice_capable


@pytest_twisted.ensureDeferred
async def test_the_second_start_keeps_everything(tmp_path: Path) -> None:
    path = tmp_path / "second.db"
    store = await Store.open(path, REACTOR)
    account = await ensure_account(store)
    passwords = await start(store, {})
    clients = [store.clients.by_login(login) for login in DEMO_CLIENTS]
    number = store.numbers.by_number(DEMO_NUMBER)
    await store.close()

    store = await Store.open(path, REACTOR)
    version = store.provisioning_version
    again = await ensure_account(store)
    known = await start(store, passwords)
    found = [store.clients.by_login(login) for login in DEMO_CLIENTS]
    same = store.numbers.by_number(DEMO_NUMBER)
    changes = store.provisioning_version - version
    await store.close()

    assert again == account
    assert known == passwords
    assert found == clients
    assert same == number
    assert changes == 0


@pytest_twisted.ensureDeferred
async def test_passwords_that_are_not_known_any_more_are_not_invented(store: Store) -> None:
    await start(store, {})
    before = store.clients.by_login("alice")

    assert await start(store, {}) == {}
    assert store.clients.by_login("alice") == before


@pytest_twisted.ensureDeferred
async def test_a_new_realm_renews_the_digests(store: Store) -> None:
    passwords = await start(store, {})
    again = await start(store, passwords, realm="example.org")
    client = store.clients.by_login("bob")

    assert again == passwords
    assert client is not None
    assert client.ha1_md5 == ha1_md5("bob", "example.org", passwords["bob"])
    assert client.ha1_sha256 == ha1_sha256("bob", "example.org", passwords["bob"])


@pytest_twisted.ensureDeferred
async def test_a_password_changed_over_rest_survives_the_next_start(store: Store) -> None:
    passwords = await start(store, {})
    client = store.clients.by_login("alice")
    assert client is not None
    new = make_client(client.account_sid, "alice", "Another-Pass1", REALM)
    await store.clients.update(attrs.evolve(client, ha1_md5=new.ha1_md5, ha1_sha256=new.ha1_sha256))
    await start(store, passwords)
    found = store.clients.by_login("alice")

    assert found is not None
    assert found.ha1_md5 == ha1_md5("alice", REALM, "Another-Pass1")


@pytest_twisted.ensureDeferred
async def test_the_number_follows_the_engine_unless_it_was_changed(store: Store) -> None:
    await start(store, {})
    await start(store, {}, base="http://127.0.0.1:9090")
    number = store.numbers.by_number(DEMO_NUMBER)
    assert number is not None
    assert number.voice_url == "http://127.0.0.1:9090/demo/menu"
    await store.numbers.update(attrs.evolve(number, voice_url="http://mine.example/app"))
    await start(store, {})
    number = store.numbers.by_number(DEMO_NUMBER)

    assert number is not None
    assert number.voice_url == "http://mine.example/app"


@pytest_twisted.ensureDeferred
async def test_an_account_that_is_there_is_used(store: Store) -> None:
    mine = Account(
        sid="AC" + "9" * 32, organization_sid="OR1", friendly_name="x", email_address="x@y", auth_token="t"
    )
    await store.accounts.add(mine)

    assert await ensure_account(store) == mine


def test_demo_passwords_are_random_and_strong() -> None:
    found = {demo_password() for _ in range(50)}

    assert len(found) == 50
    for password in found:
        assert len(password) >= 12
        for kind in (r"[a-z]", r"[A-Z]", r"[0-9]", r"[^A-Za-z0-9]"):
            assert re.search(kind, password)


@pytest.mark.parametrize("left", [False, True])
def test_a_private_file_is_the_owners_only(tmp_path: Path, left: bool) -> None:
    """Also when an interrupted start left its temporary file, with other rights."""
    path = tmp_path / "credentials.json"
    if left:
        (tmp_path / "credentials.new").write_text("old")
        (tmp_path / "credentials.new").chmod(0o644)
    before = os.umask(0)
    try:
        write_private(path, '{"a": "é"}')
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text("utf-8")) == {"a": "é"}
    assert list(tmp_path.iterdir()) == [path]
    assert read_credentials(path) == {"a": "é"}


@pytest.mark.parametrize("data", [None, b"", b"[]", b"{", b"\xff", b"null"])
def test_a_broken_credentials_file_counts_as_none(tmp_path: Path, data: bytes | None) -> None:
    path = tmp_path / "credentials.json"
    if data is not None:
        path.write_bytes(data)

    assert read_credentials(path) == {}


@pytest_twisted.ensureDeferred
async def test_the_organization_is_made_once_and_follows_the_realm(store: Store) -> None:
    first = await ensure_organization(store, "default.restcomm.com")
    same = await ensure_organization(store, "default.restcomm.com")
    moved = await ensure_organization(store, "pbx.example.com")

    assert (first.sid, first.domain_name) == (ORGANIZATION_SID, "default.restcomm.com")
    assert same == first
    assert (moved.sid, moved.domain_name) == (ORGANIZATION_SID, "pbx.example.com")
    assert len(store.organizations) == 1


@pytest_twisted.ensureDeferred
async def test_a_domain_of_another_organization_does_not_keep_the_engine_from_starting(store: Store) -> None:
    first = await ensure_organization(store, "one")
    await store.organizations.add(Organization(sid="OR" + "9" * 32, domain_name="two"))

    assert await ensure_organization(store, "two") == first
