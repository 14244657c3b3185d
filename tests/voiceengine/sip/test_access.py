"""Digest, trunks and registrations with a real store; time is a number that the tests change."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from sipmessage import Request
from twisted.internet import reactor
from twisted.internet.task import Clock

from voiceengine.bootstrap import make_client
from voiceengine.config import Sip
from voiceengine.sip.access import Access, Location
from voiceengine.sip.digest import authorization
from voiceengine.sip.invite import CallerIdentity
from voiceengine.sip.transport import Listener
from voiceengine.store import Store
from voiceengine.store.rows import Account, Client

pytestmark = pytest.mark.loopback
REACTOR: Any = reactor
REALM = "voiceengine"
AC = "AC" + "1" * 32
NOW = 1_700_000_000.0
CONTACT = "<sip:alice@127.0.0.1:5070>"
ALICE = ("alice", "secret-A1")
BOB = ("bob", "secret-B2")
Answer = tuple[int, dict[str, list[str]], bool]


@attrs.define
class FakeFlow:
    """A flow as far as access looks at it."""

    host: str = "127.0.0.1"
    port: int = 5070
    transport: str = "udp"
    alive: bool = True
    listener: Listener = attrs.Factory(
        lambda: Listener("udp://127.0.0.1:5060", "udp", "127.0.0.1", 5060, "127.0.0.1")
    )

    def send(self, data: bytes) -> None:
        raise AssertionError("access sends nothing")


class World:
    def __init__(self, store: Store, **settings: Any) -> None:
        self.store = store
        self.wall = NOW
        self.cseq = 0
        self.location = Location(store, lambda: self.wall)
        self.counters: Counter[str] = Counter()
        self.access = Access(Sip(**settings), store, self.location, lambda: self.wall, self.counters)

    def request(self, method: str, *more: tuple[str, str], user: str = "alice", uri: str = "") -> Request:
        self.cseq += 1
        headers = [
            ("Via", "SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK1"),
            ("From", f"<sip:{user}@{REALM}>;tag=1"),
            ("To", f"<sip:{user if method == 'REGISTER' else '1000'}@{REALM}>"),
            ("Call-ID", "reg@phone"),
            ("CSeq", f"{self.cseq} {method}"),
            *more,
        ]
        uri = uri or (f"sip:{REALM}" if method == "REGISTER" else f"sip:1000@{REALM}")
        lines = [f"{method} {uri} SIP/2.0", *(f"{name}: {value}" for name, value in headers)]
        found = Request.parse(("\r\n".join(lines) + "\r\n\r\n").encode())
        assert isinstance(found, Request)
        return found

    def send(self, *more: tuple[str, str], user: str = "alice", flow: FakeFlow | None = None) -> Answer:
        code, headers, proven = self.access.register(
            self.request("REGISTER", *more, user=user), flow or FakeFlow()
        )
        found: dict[str, list[str]] = {}
        for name, value in headers:
            found.setdefault(name, []).append(value)
        return code, found, proven

    def challenges(self) -> list[str]:
        return self.send()[1]["WWW-Authenticate"]

    def credentials(
        self, login: tuple[str, str] = ALICE, challenges: list[str] | None = None, nc: int = 1
    ) -> tuple[str, str]:
        asked = challenges if challenges is not None else self.challenges()
        return "Authorization", authorization(asked, "REGISTER", f"sip:{REALM}", *login, nc=nc)

    def register(
        self,
        *contacts: str,
        login: tuple[str, str] = ALICE,
        expires: str = "",
        flow: FakeFlow | None = None,
        more: tuple[tuple[str, str], ...] = (),
    ) -> Answer:
        headers = [("Contact", contact) for contact in contacts]
        if expires:
            headers.append(("Expires", expires))
        return self.send(self.credentials(login), *headers, *more, user=login[0], flow=flow)

    def contacts(self, user: str = "alice") -> list[str]:
        return [row.contact for row in self.location.of(f"{user}@{REALM}")]

    def identify(self, *more: tuple[str, str], user: str = "alice", host: str = "192.0.2.1") -> Any:
        return self.access.identify(self.request("INVITE", *more, user=user), FakeFlow(host=host))

    def invite_credentials(self, login: tuple[str, str] = ALICE) -> tuple[str, str]:
        asked = [value for _, value in self.identify()]
        return "Proxy-Authorization", authorization(asked, "INVITE", f"sip:1000@{REALM}", *login)


async def provision(store: Store) -> None:
    await store.accounts.add(
        Account(
            sid=AC,
            organization_sid="OR" + "0" * 32,
            friendly_name="x",
            email_address="x@example.com",
            auth_token="t",
        )
    )
    for login, password in (ALICE, BOB):
        await store.clients.add(make_client(AC, login, password, REALM))


@pytest_twisted.async_yield_fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "engine.db", REACTOR)
    await provision(opened)
    yield opened
    await opened.close()


@pytest.fixture
def world(store: Store) -> World:
    return World(store)


# ------------------------------------------------------------------------- digest


def test_a_register_is_challenged_twice(world: World) -> None:
    """RFC 8760 section 2.3: one header for each algorithm, the preferred one first."""
    code, headers, proven = world.send(("Contact", CONTACT))

    assert (code, proven) == (401, False)
    first, second = headers["WWW-Authenticate"]
    assert "algorithm=SHA-256" in first
    assert "algorithm=MD5" in second
    assert all(f'realm="{REALM}"' in value for value in (first, second))
    assert all("stale" not in value for value in (first, second))
    assert world.contacts() == []
    assert not world.counters


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
def test_a_good_answer_registers(world: World, algorithm: str) -> None:
    asked = [value for value in world.challenges() if f"algorithm={algorithm}" in value]
    code, headers, proven = world.send(
        world.credentials(challenges=asked), ("Contact", CONTACT), ("User-Agent", "phone/1 " + "x" * 300)
    )

    assert (code, proven) == (200, True)
    assert headers["Contact"] == [f"{CONTACT};expires=3600"]
    assert headers["Date"] == ["Tue, 14 Nov 2023 22:13:20 GMT"]
    (row,) = world.location.of(f"alice@{REALM}")
    client = world.store.clients.by_login("alice")
    assert client is not None
    assert (row.client_sid, row.transport, row.remote_host, row.remote_port, row.listener) == (
        client.sid,
        "udp",
        "127.0.0.1",
        5070,
        "udp://127.0.0.1:5060",
    )
    assert row.user_agent.startswith("phone/1 ")
    assert len(row.user_agent) == 200


@pytest.mark.parametrize("login", [("alice", "wrong"), ("nobody", "secret-A1")])
def test_a_wrong_password_and_an_unknown_user_are_challenged_again(
    world: World, login: tuple[str, str]
) -> None:
    code, headers, _ = world.register(CONTACT, login=login)

    assert code == 401
    assert all("stale" not in value for value in headers["WWW-Authenticate"])
    assert world.counters["wrong_credentials"] == 1
    assert world.location.count() == 0


def test_a_nonce_that_is_too_old_is_stale(world: World) -> None:
    credentials = world.credentials()
    world.wall += 301
    code, headers, _ = world.send(credentials, ("Contact", CONTACT))

    assert code == 401
    assert all("stale=true" in value for value in headers["WWW-Authenticate"])
    assert not world.counters["wrong_credentials"]
    again = world.credentials(challenges=headers["WWW-Authenticate"])
    assert world.send(again, ("Contact", CONTACT))[0] == 200


def test_a_nonce_of_another_engine_is_stale(world: World, store: Store) -> None:
    """As after a restart: the phone asks its user nothing."""
    credentials = World(store).credentials()
    code, headers, _ = world.send(credentials, ("Contact", CONTACT))

    assert code == 401
    assert "stale=true" in headers["WWW-Authenticate"][0]


def test_a_nonce_serves_again_with_a_higher_count_only(world: World) -> None:
    asked = world.challenges()
    codes = [
        world.send(world.credentials(challenges=asked, nc=nc), ("Contact", CONTACT))[0]
        for nc in (1, 2, 2, 1, 3)
    ]

    assert codes == [200, 200, 401, 401, 200]
    code, headers, _ = world.send(world.credentials(challenges=asked, nc=3))
    assert code == 401
    assert "stale=true" in headers["WWW-Authenticate"][0]


def test_somebody_else_cannot_be_registered(world: World) -> None:
    code, _, proven = world.send(world.credentials(BOB), ("Contact", CONTACT), user="alice")

    assert (code, proven) == (403, True)
    assert world.counters["wrong_credentials"] == 1
    assert world.location.count() == 0


@pytest.mark.parametrize(
    "value", ["Digest", "Basic YTpi", 'Digest username="alice"', "Digest a=" + "x" * 5000]
)
def test_credentials_that_cannot_be_read_are_400(world: World, value: str) -> None:
    code, headers, _ = world.send(("Authorization", value), ("Contact", CONTACT))

    assert code == 400
    assert headers["Reason"][0].startswith("SIP;cause=400;text=")


@pytest.mark.parametrize("contact", ["<tel:1>", "nonsense", "<sip:a@h>;q=7"])
def test_a_contact_that_cannot_be_read_is_400(world: World, contact: str) -> None:
    assert world.register(contact)[0] == 400


@pytest_twisted.ensureDeferred
async def test_a_disabled_client_is_refused(world: World) -> None:
    client = world.store.clients.by_login("alice")
    assert client is not None
    await world.store.clients.update(attrs.evolve(client, status=0))

    assert world.register(CONTACT)[0] == 401
    found = world.identify(world.invite_credentials())
    assert isinstance(found, list)
    assert world.register("<sip:bob@127.0.0.1:5071>", login=BOB)[0] == 200


@pytest.mark.parametrize("status", ["suspended", "closed", "inactive"])
@pytest_twisted.ensureDeferred
async def test_a_client_of_an_account_that_is_not_active_is_refused(world: World, status: str) -> None:
    account = world.store.accounts.get(AC)
    assert account is not None
    await world.store.accounts.update(attrs.evolve(account, status=status))

    assert world.register(CONTACT)[0] == 401
    assert isinstance(world.identify(world.invite_credentials()), list)


# ------------------------------------------------------------------------- bindings


def test_a_register_without_contacts_lists_them(world: World) -> None:
    world.register(CONTACT)
    world.wall += 100
    code, headers, _ = world.register()

    assert code == 200
    assert headers["Contact"] == [f"{CONTACT};expires=3500"]


def test_a_registration_too_brief_is_423(world: World) -> None:
    code, headers, proven = world.register(CONTACT, expires="59")

    assert (code, proven) == (423, True)
    assert headers["Min-Expires"] == ["60"]
    assert world.contacts() == []


def test_a_registration_too_long_is_shortened(world: World) -> None:
    assert world.register(CONTACT, expires="999999")[1]["Contact"] == [f"{CONTACT};expires=3600"]


def test_several_contacts_come_by_preference(world: World) -> None:
    world.register("<sip:a@h:1>;q=0.2;expires=100, <sip:b@h:2>;q=0.9", "<sip:c@h:3>;q=0.5")

    assert world.contacts() == ["sip:b@h:2", "sip:c@h:3", "sip:a@h:1"]
    assert world.location.count() == 3


def test_too_many_contacts_are_403(world: World) -> None:
    contacts = [f"<sip:a@h:{port}>" for port in range(1, 12)]

    assert world.register(*contacts)[0] == 403
    assert world.register(*contacts[:10])[0] == 200
    assert world.register(contacts[10])[0] == 403
    assert world.register(contacts[0])[0] == 200
    assert world.location.count() == 10


def test_expires_zero_removes_one_contact(world: World) -> None:
    world.register("<sip:a@h:1>", "<sip:b@h:2>")
    code, headers, _ = world.register("<sip:a@h:1>;expires=0")

    assert code == 200
    assert headers["Contact"] == ["<sip:b@h:2>;expires=3600"]


def test_the_star_removes_all(world: World) -> None:
    world.register("<sip:a@h:1>", "<sip:b@h:2>")
    world.register("<sip:bob@h:3>", login=BOB)
    assert world.register("*")[0] == 400
    assert world.register("*", "<sip:a@h:1>", expires="0")[0] == 400
    assert len(world.contacts()) == 2

    code, headers, _ = world.register("*", expires="0")

    assert code == 200
    assert "Contact" not in headers
    assert world.contacts() == []
    assert world.contacts("bob") == ["sip:bob@h:3"]


def test_a_device_that_changes_its_address_keeps_one_binding(world: World) -> None:
    instance = ';+sip.instance="<urn:uuid:1>"'
    world.register(f"<sip:a@h:1>{instance}")
    world.register(f"<sip:a@h:2>{instance}")

    assert world.contacts() == ["sip:a@h:2"]
    assert list(world.location.instances) == ["sip:a@h:2"]


def test_the_domain_of_to_does_not_matter(world: World) -> None:
    """Phones write the address of the engine or its domain; the client is the same."""
    request = world.request("REGISTER", world.credentials(), ("Contact", CONTACT))
    request.headers.set("To", "<sip:alice@127.0.0.1:5060>")

    assert world.access.register(request, FakeFlow())[0] == 200
    assert world.contacts() == ["sip:alice@127.0.0.1:5070"]


def test_expired_bindings_are_not_found_and_swept(world: World) -> None:
    world.register("<sip:a@h:1>;expires=100", "<sip:b@h:2>;expires=200")
    world.register("<sip:bob@h:3>;expires=100", login=BOB)
    world.wall += 150

    assert world.contacts() == ["sip:b@h:2"]
    assert world.location.count() == 1
    assert len(world.location.all_of(f"alice@{REALM}")) == 2

    world.location.sweep()

    assert len(world.location.all_of(f"alice@{REALM}")) == 1
    assert world.location.all_of(f"bob@{REALM}") == []


@pytest_twisted.ensureDeferred
async def test_bindings_survive_a_restart_until_they_expire(tmp_path: Path) -> None:
    path = tmp_path / "second.db"
    store = await Store.open(path, REACTOR)
    await provision(store)
    first = World(store)
    first.register("<sip:a@h:1>;expires=100", "<sip:b@h:2>;q=0.5", flow=FakeFlow(transport="tcp"))
    first.register("<sip:c@h:3>")
    first.register("<sip:c@h:3>;expires=0")
    before = first.location.of(f"alice@{REALM}")
    await store.close()

    store = await Store.open(path, REACTOR)
    again = World(store)
    await again.location.load()
    later = World(store)
    later.wall += 150
    await later.location.load()
    await store.flush()
    left = await store.bindings.load_all()
    await store.close()

    assert again.location.of(f"alice@{REALM}") == before
    assert [row.contact for row in before] == ["sip:a@h:1", "sip:b@h:2"]
    assert later.contacts() == ["sip:b@h:2"]
    assert [row.contact for row in left] == ["sip:b@h:2"]


@pytest_twisted.ensureDeferred
async def test_the_bindings_of_a_client_that_is_gone_are_dropped(world: World) -> None:
    world.register("<sip:a@h:1>", "<sip:b@h:2>")
    world.location.drop(f"alice@{REALM}")
    world.location.drop(f"nobody@{REALM}")

    assert world.location.count() == 0
    assert await world.store.bindings.load_all() == ()


# ------------------------------------------------------------------------- callers


def test_an_invite_from_a_client_is_challenged(world: World) -> None:
    headers = world.identify()

    assert [name for name, _ in headers] == ["Proxy-Authenticate"] * 2
    assert not world.counters


def test_an_invite_from_a_client_who_proves_it_is_accepted(world: World) -> None:
    client = world.store.clients.by_login("alice")
    assert client is not None

    assert world.identify(world.invite_credentials()) == CallerIdentity(client_sid=client.sid)


@pytest.mark.parametrize("user", ["alice;x=1", "%20alice", "ali%63e", "al%0Aice", "alice%3B"])
def test_no_way_of_writing_a_client_needs_no_digest(world: World, user: str) -> None:
    client = world.store.clients.by_login("alice")
    assert client is not None

    assert isinstance(world.identify(user=user), list)
    proven = world.identify(world.invite_credentials(), user=user)
    assert proven == CallerIdentity(client_sid=client.sid)


@pytest.mark.parametrize("login", [("alice", "wrong"), BOB])
def test_an_invite_with_other_credentials_is_challenged_again(world: World, login: tuple[str, str]) -> None:
    assert isinstance(world.identify(world.invite_credentials(login)), list)
    assert world.counters["wrong_credentials"] == 1


def test_an_invite_with_a_stale_nonce_is_told_so(world: World) -> None:
    credentials = world.invite_credentials()
    world.wall += 301
    headers = world.identify(credentials)

    assert all("stale=true" in value for _, value in headers)
    assert not world.counters


def test_a_stranger_is_anonymous_unless_that_is_off(store: Store) -> None:
    assert World(store).identify(user="stranger") == CallerIdentity()
    closed = World(store, anonymous_calls=False)
    assert isinstance(closed.identify(user="stranger"), list)
    assert isinstance(closed.identify(closed.invite_credentials(BOB), user="stranger"), list)


def test_trunks_need_no_digest(store: Store) -> None:
    trunks = ["192.0.2.0/24", "2001:db8::/32", "198.51.100.7"]
    world = World(store, trunks=trunks, anonymous_calls=False)

    assert world.identify(host="192.0.2.200") == CallerIdentity(trunk="192.0.2.0/24")
    assert world.identify(host="2001:db8::9") == CallerIdentity(trunk="2001:db8::/32")
    assert world.identify(host="198.51.100.7") == CallerIdentity(trunk="198.51.100.7/32")
    for host in ("192.0.3.1", "198.51.100.8", "2001:db9::1"):
        assert isinstance(world.identify(host=host), list)
    assert world.access.trunk("192.0.3.1") is None


def test_the_address_of_a_gateway_is_a_trunk_while_it_is_registered(world: World) -> None:
    registered = {"192.0.2.1": "GW1"}
    world.access.gateway_at = registered.get

    assert world.identify() == CallerIdentity(trunk="GW1")
    assert isinstance(world.identify(host="192.0.2.2"), list)
    registered.clear()
    assert isinstance(world.identify(), list)


# ------------------------------------------------------------------------- who can be reached again


def test_watchers_are_told_of_each_registration_once_it_was_answered(store: Store) -> None:
    clock = Clock()
    world = World(store)
    world.location = Location(store, lambda: world.wall, clock)
    world.access = Access(Sip(), store, world.location, lambda: world.wall, world.counters)
    told: list[tuple[str, str]] = []

    def broken(aor: str, client: Client) -> None:
        raise RuntimeError("a defect")

    world.location.watch(broken)
    world.location.watch(lambda aor, client: told.append((aor, client.login)))

    world.challenges()
    assert world.register(CONTACT)[0] == 200
    assert told == []
    clock.advance(0)
    assert world.register(CONTACT)[0] == 200
    assert world.register("<sip:alice@127.0.0.1:5071>", expires="0")[0] == 200  # another one is left
    clock.advance(0)
    assert world.register("*", expires="0")[0] == 200
    clock.advance(0)

    assert told == [(f"alice@{REALM}", "alice")] * 3
