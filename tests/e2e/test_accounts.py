"""What the status of an account does to its phones and calls; a token that is rotated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from harness import EngineProcess, Rest, RestReply
from pytest_twisted import ensureDeferred
from sound import tone
from waiting import eventually, pause
from world import World, case

pytestmark = pytest.mark.loopback

PASSWORD = "RestComm1234"


async def set_status(world: World, account: Rest, status: str) -> RestReply:
    """Change the status of an account below as the super admin."""
    url = f"{world.rest.base_url}/Accounts/{account.account_sid}.json"
    return await world.rest._ask("POST", url, data={"Status": status})


async def shown(world: World, account: Rest, path: str) -> Any:
    """What the super admin reads below an account."""
    url = f"{world.rest.base_url}/Accounts/{account.account_sid}/{path}"
    reply = await world.rest._ask("GET", url)
    assert reply.status == 200, reply.body
    return reply.json


@case
async def test_a_suspended_account_neither_registers_nor_calls_nor_answers(world: World) -> None:
    desk = await world.rest.below("suspendeddesk@example.com", PASSWORD, "Desk")
    await desk.number("88001", world.script("voice", "<Hangup/>"))
    phone = await world.device("suspendeddesk", PASSWORD)  # the client that came with the account
    assert (await set_status(world, desk, "suspended")).status == 200
    registered = await phone.register("suspendeddesk", PASSWORD)
    called = await (await world.call("88001")).final()
    refused = await desk.get("Calls.json")
    assert (await set_status(world, desk, "active")).status == 200
    again = await phone.register("suspendeddesk", PASSWORD)

    assert (registered.code, called.code, refused.status) == (401, 403, 403)
    assert again.code == 200
    assert world.count("voice") == 0


@case
async def test_closing_an_account_ends_its_calls_and_takes_what_it_owned(world: World) -> None:
    desk = await world.rest.below("closeddesk@example.com", PASSWORD, "Desk")
    await desk.number("88002", world.script("voice", '<Record playBeep="false" timeout="60"/>'))
    await world.device("closeddesk", PASSWORD)
    folder = world.engine.data / "recordings"
    before = set(folder.iterdir())
    call = await world.answered("88002")
    call.rtp.say(tone(440, 5))

    async def made() -> set[Path]:
        return set(folder.iterdir()) - before

    await eventually(made, bool, 3.0, "it is recorded")
    await pause(1.0)
    closed = await set_status(world, desk, "closed")
    await call.over()
    (row,) = (await shown(world, desk, "Calls.json"))["calls"]
    files = await made()
    await pause(1.0)
    late = await made()
    after = await (await world.call("88002")).final()
    phone = await world.phone("closeddesk")

    assert (closed.status, closed.json["status"]) == (200, "closed")
    assert row["status"] == "completed"
    assert (await shown(world, desk, "Recordings.json"))["recordings"] == []
    assert (files, late) == (set(), set())
    assert await shown(world, desk, "Clients.json") == []
    assert after.code == 404
    assert (await phone.register("closeddesk", PASSWORD)).code == 401
    assert (await desk.get("Calls.json")).status == 403


@ensureDeferred
async def test_a_rotated_token_of_the_super_admin_stands_in_the_credentials_file(tmp_path: Path) -> None:
    engine = await EngineProcess.start(tmp_path / "data")
    try:
        rest, path = engine.rest, engine.data / "credentials.json"
        url = f"{rest.base_url}/Accounts/{rest.account_sid}.json"
        token = (await rest._ask("POST", url, data={"RotateAuthToken": "true"})).json["auth_token"]

        async def kept() -> str:
            return str(json.loads(path.read_text("utf-8"))["auth_token"])

        await eventually(kept, lambda found: found == token, 3.0, "the new token is in the file")
        assert token != rest.auth_token
        assert (await rest.get("Calls.json")).status == 401
        assert (await Rest(rest.base_url, rest.account_sid, token).get("Calls.json")).status == 200
        assert path.stat().st_mode & 0o777 == 0o600
    finally:
        await engine.stop()
