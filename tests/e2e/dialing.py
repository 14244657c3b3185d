"""What tests of Dial have in common: nouns, a caller and a callee who talk, music on hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import EngineProcess
from session import idle
from sipcall import Call
from sipphone import Phone
from siptext import offer
from sound import RATE, sounding
from waiting import now, pause, together
from webapp import WebApp
from world import World, element, run_scenario

PATIENT = 8.0
"""Seconds that the engine gets where its speed is not what is tested."""
CALLER, CALLEE = 600.0, 1000.0
"""Frequencies of the voices."""


def sip(phone: Phone, suffix: str = "", **attributes: object) -> str:
    """A Sip noun that calls a phone directly."""
    return element("Sip", f"{phone.uri}{suffix}", **attributes)


def client(login: str, **attributes: object) -> str:
    """A Client noun."""
    return element("Client", login, **attributes)


async def talk(call: Call, callee: Call) -> None:
    """Both speak, each with its own tone, and hear the other one and not themselves."""
    call.hum(CALLER)
    callee.hum(CALLEE)
    await together([call.hears(CALLEE), callee.hears(CALLER)])
    await together([call.hears_none_of(CALLER, 440, 480), callee.hears_none_of(CALLEE, 440, 480)])


async def answers(phone: Phone, number: int = 1, within: float = PATIENT) -> Call:
    """The n-th call to a phone, which rings and is answered."""
    callee = await phone.offered(number, within)
    callee.ring()
    callee.answer()
    await callee.answered(within)
    return callee


async def bridged(world: World, inner: str, phone: Phone, after: str = "") -> tuple[str, Call, Call]:
    """A caller who is joined with a phone; returns the number, the caller and the callee."""
    number = await world.number(inner + after)
    call = await world.call(number)
    await call.answered(PATIENT)
    callee = await answers(phone)
    await talk(call, callee)
    return number, call, callee


async def hears_music(call: Call) -> None:
    """Hold music is heard: sound that is nobody's tone."""
    begun = now()

    def heard() -> bool:
        samples = call.heard(since=max(begun, now() - 1.2))
        return len(samples) >= RATE and sounding(samples) > 0.5

    await call.changes.until(heard, PATIENT, f"{call.phone.user} hears music")
    await call.hears_none_of(CALLER, CALLEE, seconds=0.6)


async def silence(call: Call) -> None:
    """Nothing is heard, or nothing comes at all."""
    await pause(0.3)
    begun = now()
    await pause(0.5)
    assert sounding(call.heard(since=begun)) < 0.05


async def put_on_hold(call: Call, other: Call) -> None:
    """One side holds and takes the call back; the other one hears music meanwhile."""
    call.hush()
    held = await call.reinvite(offer(call.rtp.port, direction="sendonly", version=2))
    assert held.code == 200
    assert b"a=recvonly" in held.body or b"a=inactive" in held.body
    await hears_music(other)
    await silence(call)
    assert (await call.reinvite(offer(call.rtp.port, version=3))).code == 200


async def with_engine(
    app: WebApp, data: Path, name: str, scenario: Callable[[World], Any], *settings: str
) -> dict[str, Any]:
    """Run a scenario in an engine of its own; returns the engine's credentials."""
    engine = await EngineProcess.start(data, "media.spare_workers=1", *settings)
    try:

        async def named(world: World) -> None:
            await scenario(world)

        named.__name__ = name
        await run_scenario(named, engine, app)
        await idle(engine)
        assert not engine.problems
    finally:
        await engine.stop()
    return engine.credentials
