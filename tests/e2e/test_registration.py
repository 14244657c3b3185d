"""Registrations and digest: restarts, floods, replays, NAT, repeated INVITEs, suspended accounts."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from harness import EngineProcess
from pytest_twisted import async_yield_fixture, ensureDeferred
from sipphone import Phone
from siptext import Message, new_branch
from sound import assert_tones
from waiting import pause, stays, together
from webapp import WebApp, document
from world import World

pytestmark = pytest.mark.loopback

PASSWORD = "RestComm1234"
KEPT = "kept"
SUSPENDED = "7007"
SUSPENDED_ACCOUNT = "AC" + "5" * 32


class Restarted:
    """What was there before the restart."""

    def __init__(self) -> None:
        self.engine: EngineProcess
        self.phone: Phone
        self.before = b""
        self.after = b""


def suspend_number(data: Path, number: str) -> None:
    """Give a number to an account that is suspended; there is no REST for it."""
    with sqlite3.connect(data / "voiceengine.sqlite") as database:
        names = [row[1] for row in database.execute("PRAGMA table_info(accounts)")]
        (row,) = database.execute("SELECT * FROM accounts").fetchall()
        made = dict(zip(names, row, strict=True))
        made |= {"sid": SUSPENDED_ACCOUNT, "parent_sid": made["sid"]}
        made |= {"email_address": "suspended@example.org", "status": "suspended"}
        made = {name: value for name, value in made.items() if name in names}
        marks = ", ".join("?" * len(made))
        listed = ", ".join(f'"{name}"' for name in made)
        database.execute(f"INSERT INTO accounts ({listed}) VALUES ({marks})", tuple(made.values()))
        changed = database.execute(
            "UPDATE numbers SET account_sid = ? WHERE phone_number = ?", (SUSPENDED_ACCOUNT, number)
        )
        assert changed.rowcount == 1


@async_yield_fixture(scope="module")
async def restarted(tmp_path_factory: pytest.TempPathFactory, app: WebApp) -> AsyncIterator[Restarted]:
    """An engine that was stopped and started again, on the same ports, with the same data."""
    data = tmp_path_factory.mktemp("engine") / "data"
    first = await EngineProcess.start(data, demo=True)
    found = Restarted()
    udp, tcp = first.address(), first.address("tcp")
    await first.rest.client(KEPT, PASSWORD)
    await first.rest.number(SUSPENDED, app.script("/suspended", document("<Hangup/>")))
    phone = await Phone(udp, KEPT).open()
    assert (await phone.register(KEPT, PASSWORD)).code == 200
    found.before = (data / "credentials.json").read_bytes()
    http = first.rest.root.partition("//")[2]
    await first.stop()
    suspend_number(data, SUSPENDED)
    listen = (f"udp://127.0.0.1:{udp[1]}", f"tcp://127.0.0.1:{tcp[1]}")
    second = await EngineProcess.start(data, demo=True, listen=listen, http=http)
    found.after = (data / "credentials.json").read_bytes()
    found.engine, found.phone = second, phone
    yield found
    await phone.close()
    await second.stop()


@pytest.fixture(scope="module")
def engine(restarted: Restarted) -> EngineProcess:
    """The engine after the restart."""
    return restarted.engine


async def registrations(world: World) -> float:
    return (await world.rest.metrics())["voiceengine_registrations"]


@ensureDeferred
async def test_credentials_are_the_same_after_a_restart(restarted: Restarted) -> None:
    assert restarted.before == restarted.after


@ensureDeferred
async def test_a_registration_outlives_a_restart_and_the_client_can_be_called(
    world: World, restarted: Restarted
) -> None:
    assert await registrations(world) == 1
    url = world.script("voice", world.play(600, 0.4))
    await world.rest.start_call(From="+1", To=f"client:{KEPT}", Url=url)
    call = await restarted.phone.offered()
    call.answer()
    await call.over()

    assert_tones(call.heard(), [(600, 0.4)])


@ensureDeferred
async def test_ac24_a_number_of_a_suspended_account_is_refused_with_11005(world: World) -> None:
    call = await world.call(SUSPENDED)
    final = await call.final()
    assert final.code == 403

    accounts = world.rest.base.rpartition("/")[0]
    reply = await world.rest._ask("GET", f"{accounts}/{SUSPENDED_ACCOUNT}/Notifications.json")
    assert reply.status == 200, reply.body
    (notice,) = reply.json["notifications"]
    assert (int(notice["error_code"]), int(notice["log"])) == (11005, 0)
    assert world.app.requests("/suspended") == []


@ensureDeferred
async def test_a_flood_of_wrong_passwords_registers_nobody_and_good_ones_work_after(world: World) -> None:
    before = await registrations(world)
    await world.rest.client("flooded", PASSWORD)
    phone = await world.phone("flooded")
    for start in range(0, 300, 50):
        tries = [phone.register("flooded", f"wrong{n}") for n in range(start, start + 50)]
        answers: list[Message] = await together(tries)  # type: ignore[arg-type]
        assert {answer.code for answer in answers} == {401}
    assert await registrations(world) == before
    metrics = await world.rest.metrics()
    assert metrics['voiceengine_sip_events_total{event="wrong_credentials"}'] >= 300

    assert (await phone.register("flooded", PASSWORD)).code == 200
    assert await registrations(world) == before + 1


@ensureDeferred
async def test_credentials_that_were_used_once_are_refused_the_second_time(world: World) -> None:
    await world.rest.client("replayed", PASSWORD)
    phone = await world.phone("replayed")
    _, good = await phone.prepared("replayed", PASSWORD)
    assert (await phone.ask(good)).code == 200
    before = await registrations(world)

    thief = await world.phone("replayed")
    kept = [(n, v) for n, v in good.headers if n not in ("Via", "CSeq", "Contact")]
    stolen = Message(good.start, [("Via", thief.via(new_branch())), *kept])
    stolen.headers += [("CSeq", "3 REGISTER"), ("Contact", thief.contact)]
    answer = await thief.ask(stolen)

    assert answer.code == 401
    assert await registrations(world) == before
    await world.rest.start_call(From="+1", To="client:replayed", Url=world.script("voice", "<Hangup/>"))
    call = await phone.offered()
    call.answer()
    await call.over()
    assert thief.offers == []


@ensureDeferred
async def test_a_wrong_password_takes_no_binding_away(world: World) -> None:
    phone = await world.registered("kept-on")
    before = await registrations(world)
    thief = await world.phone("kept-on")
    assert (await thief.register("kept-on", "wrong", expires=0, contact="*")).code == 401
    assert (await thief.register("kept-on", "wrong", expires=0, contact=phone.contact)).code == 401

    assert await registrations(world) == before


@ensureDeferred
async def test_an_invite_that_is_repeated_is_one_call(world: World) -> None:
    number = await world.number(world.play(440, 0.5))
    call = await world.call(number)
    for _ in range(5):
        call.phone.send(call.invite)
        await pause(0.02)
    await call.answered()
    for _ in range(3):
        call.phone.send(call.invite)
    await call.over()
    call.phone.send(call.invite)

    await stays(lambda: world.count("voice") == 1, 0.5, "one request of the document")
    assert len(await world.rest.calls(To=number)) == 1
    assert_tones(call.heard(), [(440, 0.5)])
    tags = {r.get("To") for _, r in call.responses if r.code == 200}
    assert len(tags) == 1


class NatPhone(Phone):
    """A phone that knows only its private address."""

    @property
    def contact(self) -> str:
        """An address that nobody outside reaches."""
        return f"<sip:{self.user}@192.0.2.77:5062>"

    def via(self, branch: str) -> str:
        """A Via with that address."""
        return f"SIP/2.0/UDP 192.0.2.77:5062;rport;branch={branch}"


@ensureDeferred
async def test_a_client_behind_nat_is_called_where_its_register_came_from(world: World) -> None:
    await world.rest.client("natted", PASSWORD)
    phone = await NatPhone(world.engine.address(), "natted").open()
    world._phones.append(phone)
    response = await phone.register("natted", PASSWORD)
    assert response.code == 200
    via = response.get("Via")
    assert f"rport={phone.port}" in via
    assert "received=127.0.0.1" in via

    url = world.script("voice", world.play(600, 0.4))
    await world.rest.start_call(From="+1", To="client:natted", Url=url)
    call = await phone.offered()
    call.ring()
    call.answer()
    await call.answered()
    await call.over()
    assert_tones(call.heard(), [(600, 0.4)])

    number = await world.number(world.play(800, 0.4), name="inbound")
    inbound = phone.call(number, login=("natted", PASSWORD))
    await inbound.over(within=5)
    assert_tones(inbound.heard(), [(800, 0.4)])
