"""Session timers (RFC 4028): what the engine promises, and that a phone's refreshes are answered."""

from __future__ import annotations

import re

import pytest
from sipcall import Call
from siptext import Message
from world import World, case

pytestmark = pytest.mark.loopback

SUPPORTED = ("Supported", "timer")


async def timed(world: World, expires: str, *more: tuple[str, str]) -> tuple[Call, Message]:
    """A call with a session timer, and the 200."""
    number = await world.number(world.play(440, 12))
    call = await world.answered(number, headers=[SUPPORTED, ("Session-Expires", expires), *more])
    return call, await call.answered()


def promised(response: Message) -> tuple[int, str]:
    """Seconds and refresher of a response."""
    found = re.fullmatch(r"(\d+);refresher=(uac|uas)", response.get("Session-Expires"))
    assert found, response.headers
    assert "timer" in response.get("Supported")
    if found[2] == "uac":
        assert "timer" in response.get("Require")
    return int(found[1]), found[2]


@case
async def test_a_phone_that_refreshes_may_do_so_by_update_and_by_reinvite(world: World) -> None:
    call, answer = await timed(world, "1800;refresher=uac")
    assert promised(answer) == (1800, "uac")
    assert "UPDATE" in answer.get("Allow")

    timer = [SUPPORTED, ("Session-Expires", "1800;refresher=uac")]
    update = await call.ask("UPDATE", timer)
    assert update.code == 200
    assert promised(update) == (1800, "uac")
    assert update.body == b""

    request = call.compose("INVITE", [("Content-Type", "application/sdp"), *timer], call.body)
    refreshed = await call.phone.ask(request)
    call.phone.send(call.compose("ACK"))
    assert refreshed.code == 200
    assert promised(refreshed) == (1800, "uac")
    assert b"a=sendrecv" in refreshed.body
    assert (await call.bye()).code == 200


@case
async def test_the_engine_refreshes_when_the_phone_leaves_it_to_it(world: World) -> None:
    call, answer = await timed(world, "600;refresher=uas")
    assert promised(answer) == (600, "uas")
    assert (await call.bye()).code == 200


@case
async def test_a_phone_that_only_knows_session_timers_may_call(world: World) -> None:
    number = await world.number(world.play(440, 12))
    call = await world.answered(number, headers=[SUPPORTED])
    assert (await call.ask("UPDATE", [SUPPORTED])).code == 200
    assert (await call.bye()).code == 200


@case
async def test_a_phone_without_session_timers_is_not_told_of_any(world: World) -> None:
    call = await world.answered(await world.number(world.play(440, 12)))
    answer = await call.answered()
    assert "timer" not in answer.get("Require")
    assert (await call.bye()).code == 200


@case
async def test_an_interval_that_is_too_short_is_refused_with_the_shortest(world: World) -> None:
    number = await world.number(world.play(440, 12))
    call = await world.call(number, headers=[SUPPORTED, ("Session-Expires", "30")])
    refused = await call.final()
    assert refused.code == 422
    assert refused.get("Min-SE") == "90"
