"""Text messages to clients that are not registered: they fail, or wait (`messages.offline`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import EngineProcess
from pytest_twisted import ensureDeferred
from sipphone import Phone
from texting import PASSWORD, PATIENT, reaches, row, rows, send, sms, sms_number
from waiting import eventually, pause
from webapp import WebApp
from world import World, case

pytestmark = pytest.mark.loopback


@pytest.fixture(scope="module")
def engine(engines: Callable[..., EngineProcess]) -> EngineProcess:
    """An engine that lets messages wait."""
    return engines("messages.offline=hold", "messages.hold_limit=4", "media.spare_workers=1")


async def offline(world: World, login: str) -> str:
    """A client that is not registered."""
    await world.rest.client(login, PASSWORD)
    return f"client:{login}"


async def leave(phone: Phone) -> None:
    """Unregister."""
    assert (await phone.register(phone.user, PASSWORD, expires=0)).code == 200


def bodies(phone: Phone) -> list[str]:
    """Texts of the messages that came."""
    return [text.body.decode() for text in phone.texts]


@case
async def test_messages_wait_and_arrive_in_order_at_the_registration(world: World) -> None:
    to, alice = await offline(world, "holdbob"), await world.registered("holdalice")
    callback = world.script("status", "")
    first = await send(world, To=to, Body="one", StatusCallback=callback, **{"X-Order": "1"})
    answer = await alice.send_text("holdbob", "two 😀", login=("holdalice", PASSWORD))
    third = await send(world, To=to, Body="three")
    waiting = [await reaches(world, one["sid"], "queued") for one in (first, third)]
    assert (answer.code, first["status"]) == (202, "sending")
    assert not [one for one in waiting if "date_sent" in one]

    bob = await world.device("holdbob")
    await bob.text(3, PATIENT)
    ended = [await reaches(world, one["sid"], "delivered") for one in (first, third)]
    assert bodies(bob) == ["one", "two 😀", "three"]
    assert bob.texts[0].get("X-Order") == "1"
    assert all(one["date_sent"] for one in ended)
    relayed = (await rows(world, From="holdalice"))[0]
    assert (relayed["status"], relayed["direction"]) == ("delivered", "outbound-call")
    await send(world, To=to, Body="four")
    assert (await bob.text(4, PATIENT)).body == b"four"
    assert (await bob.register("holdbob", PASSWORD)).code == 200
    await pause(0.3)
    assert len(bob.texts) == 4
    assert world.count("status") == 0


@case
async def test_messages_wait_again_when_the_phone_has_gone(world: World) -> None:
    to = await offline(world, "gonebob")
    bob = await world.device("gonebob")
    await send(world, To=to, Body="one")
    await bob.text(within=PATIENT)
    await leave(bob)
    found = await send(world, To=to, Body="two")
    await reaches(world, found["sid"], "queued")
    again = await world.device("gonebob")

    assert (await again.text(within=PATIENT)).body == b"two"
    assert bodies(bob) == ["one"]


@case
async def test_what_the_phone_refuses_is_lost_and_the_next_one_is_delivered(world: World) -> None:
    to = await offline(world, "refusebob")
    sids = [(await send(world, To=to, Body=text))["sid"] for text in ("one", "two", "three")]
    for sid in sids:
        await reaches(world, sid, "queued")
    bob = await world.phone("refusebob")
    bob.text_codes = [403, 200]
    assert (await bob.register("refusebob", PASSWORD)).code == 200
    await bob.text(3, PATIENT)
    statuses = ("failed", "delivered", "delivered")
    ended = [await reaches(world, sid, status) for sid, status in zip(sids, statuses, strict=True)]

    assert bodies(bob) == ["one", "two", "three"]
    assert [one["error_code"] for one in ended] == [30004, None, None]


@case
async def test_a_phone_that_cannot_be_reached_after_all_keeps_them_waiting(world: World) -> None:
    to = await offline(world, "busybob")
    found = await send(world, To=to, Body="one")
    await reaches(world, found["sid"], "queued")
    bob = await world.phone("busybob")
    bob.text_codes = [480, 200]
    assert (await bob.register("busybob", PASSWORD)).code == 200
    await bob.text(1, PATIENT)
    await reaches(world, found["sid"], "queued")
    assert (await bob.register("busybob", PASSWORD)).code == 200
    await bob.text(2, PATIENT)

    assert bodies(bob) == ["one", "one"]
    await reaches(world, found["sid"], "delivered")


@case
async def test_no_more_than_the_limit_wait(world: World) -> None:
    to, alice = await offline(world, "limitbob"), await world.registered("limitalice")
    made = [await send(world, To=to, Body=f"{n}") for n in range(5)]
    answer = await alice.send_text("limitbob", "x", login=("limitalice", PASSWORD))
    for one in made[:4]:
        await reaches(world, one["sid"], "queued")
    lost = await reaches(world, made[4]["sid"], "failed")
    bob = await world.device("limitbob")
    await bob.text(4, PATIENT)
    await reaches(world, made[3]["sid"], "delivered")

    assert (lost["error_code"], lost["error_message"]) == (30001, "Queue overflow")
    assert answer.code == 480
    assert bodies(bob) == ["0", "1", "2", "3"]


@case
async def test_a_waiting_message_that_is_deleted_is_not_sent(world: World) -> None:
    to = await offline(world, "deletebob")
    gone, kept = [await send(world, To=to, Body=text) for text in ("gone", "kept")]
    blank = await send(world, To=to, Body="secret")
    for one in (gone, kept, blank):
        await reaches(world, one["sid"], "queued")
    assert (await world.rest.delete(f"SMS/Messages/{gone['sid']}.json")).status == 204
    assert (await world.rest.post(f"SMS/Messages/{blank['sid']}.json", Body="")).status == 200
    assert (await row(world, blank["sid"]))["body"] == ""
    bob = await world.device("deletebob")
    await bob.text(2, PATIENT)
    await reaches(world, blank["sid"], "delivered")

    assert bodies(bob) == ["kept", "secret"]  # the record forgets the text, the phone still gets it
    assert (await world.rest.get(f"SMS/Messages/{gone['sid']}.json")).status == 404
    assert (await row(world, blank["sid"]))["body"] == ""


@case
async def test_an_answer_of_an_application_waits_too(world: World) -> None:
    await offline(world, "answerbob")
    number = await sms_number(world, sms("later"))
    bob = await world.phone("answerbob")
    assert (await bob.send_text(number, "x", login=("answerbob", PASSWORD))).code == 202
    waiting = await eventually(
        lambda: rows(world, To="answerbob"),
        lambda found: found and found[0]["status"] == "queued",
        PATIENT,
        "it waits",
    )
    assert (await bob.register("answerbob", PASSWORD)).code == 200

    assert (await bob.text(within=PATIENT)).body == b"later"
    assert waiting[0]["direction"] == "outbound-reply"


@case
async def test_nothing_waits_for_a_client_that_does_not_exist(world: World) -> None:
    found = await send(world, To="client:no-such-client-at-all", Body="x")
    assert (await reaches(world, found["sid"], "failed"))["error_code"] == 30005


# ------------------------------------------------------------------ engines of their own


async def run_engine(app: WebApp, data: Path, *settings: str) -> World:
    """An engine, and surroundings in it."""
    engine = await EngineProcess.start(data, "media.spare_workers=1", *settings)
    return World(engine, app, data.parent.name)


async def end(world: World) -> None:
    """Stop an engine; it must have logged no problem."""
    await world.close()
    await world.engine.stop()
    assert not world.engine.problems


@ensureDeferred
async def test_waiting_messages_survive_a_restart_and_a_crash(app: WebApp, tmp_path: Path) -> None:
    data = tmp_path / "data"
    world = await run_engine(app, data, "messages.offline=hold")
    to = await offline(world, "restartbob")
    sids = [(await send(world, To=to, Body=text))["sid"] for text in ("one", "two")]
    for sid in sids:
        await reaches(world, sid, "queued")
    await end(world)

    world = await run_engine(app, data, "messages.offline=hold")
    sids.append((await send(world, To=to, Body="three"))["sid"])
    blank = await send(world, To=to, Body="secret")
    await reaches(world, blank["sid"], "queued")
    assert (await world.rest.post(f"SMS/Messages/{blank['sid']}.json", Body="")).status == 200
    listed = [(await reaches(world, sid, "queued"))["body"] for sid in sids]
    await pause(0.5)  # what was told is written by then
    world.engine.kill()
    await world.engine.ended(5.0)
    await world.close()

    world = await run_engine(app, data, "messages.offline=hold")
    bob = await world.device("restartbob")
    await bob.text(3, PATIENT)
    for sid in sids:
        await reaches(world, sid, "delivered")
    lost = await reaches(world, blank["sid"], "failed")  # nobody knows its text any more
    await end(world)

    assert lost["error_code"] == 30004
    assert listed == ["one", "two", "three"]
    assert bodies(bob) == ["one", "two", "three"]


@ensureDeferred
async def test_a_message_that_waits_too_long_fails(app: WebApp, tmp_path: Path) -> None:
    data = tmp_path / "data"
    world = await run_engine(app, data, "messages.offline=hold", f"messages.hold_hours={1.0 / 3600}")
    to = await offline(world, "expirebob")
    found = await send(world, To=to, Body="old")
    await reaches(world, found["sid"], "queued")
    ended = await reaches(world, found["sid"], "failed")
    late = await send(world, To=to, Body="while it stands still")
    await reaches(world, late["sid"], "queued")
    await end(world)
    await pause(1.0)
    world = await run_engine(app, data, "messages.offline=hold")
    lost = await reaches(world, late["sid"], "failed")
    fresh = await send(world, To=to, Body="fresh")
    await reaches(world, fresh["sid"], "queued")
    bob = await world.device("expirebob")
    await bob.text(within=PATIENT)
    await end(world)

    assert (ended["error_code"], lost["error_code"]) == (30003, 30003)
    assert bodies(bob) == ["fresh"]


@ensureDeferred
async def test_without_hold_messages_fail_at_once(world: World, shared_engine: EngineProcess) -> None:
    plain: Any = World(shared_engine, world.app, "without_hold")
    to, alice = await offline(plain, "failbob"), await plain.registered("failalice")
    found = await send(plain, To=to, Body="x")
    failed = await reaches(plain, found["sid"], "failed")
    answer = await alice.send_text("failbob", "x", login=("failalice", PASSWORD))
    bob = await plain.device("failbob")
    await pause(0.3)
    await plain.close()

    assert (found["status"], failed["error_code"]) == ("sending", 30003)
    assert answer.code == 404
    assert bob.texts == []
