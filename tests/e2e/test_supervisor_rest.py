"""Case 80 and announcements on a real engine: what a supervisor sees of real calls, and spoken texts."""

from __future__ import annotations

from typing import Any

import pytest
from sound import read_wav, sounding
from waiting import eventually
from world import World, case, dial

pytestmark = pytest.mark.loopback


async def metrics(world: World, **query: str) -> Any:
    """What the supervisor is told."""
    reply = await world.rest.get("Supervisor/metrics.json", **query)
    assert reply.status == 200, reply.body
    return reply.json


async def live(world: World, to: str, state: str) -> Any:
    """The live call to a number, once it has a state."""

    async def found() -> list[Any]:
        reply = await world.rest.get("Supervisor.json/livecalls")
        return [one for one in reply.json["LiveCallDetails"] if one["to"] == to]

    rows = await eventually(
        found, lambda rows: bool(rows) and rows[0]["State"] == state, 3.0, f"the call to {to} is {state}"
    )
    return rows[0]


@case
async def test_rest80_calls_are_counted_and_shown_while_they_live(world: World) -> None:
    before = (await metrics(world))["Metrics"]
    callee = await world.registered("super80", "RestComm1234")
    caller = await world.registered("caller80", "RestComm1234")
    number = await world.number(dial("<Client>super80</Client>"))
    call = caller.call(number, login=("caller80", "RestComm1234"))
    branch = await callee.offered()
    branch.ring()

    ringing = await live(world, "super80", "RINGING")
    assert (ringing["type"], ringing["direction"]) == ("CLIENT", "outbound-dial")
    assert ringing["Initial Invite"] == callee.uri
    assert ringing["Last Response"] == 180
    branch.answer()
    await call.answered()
    talking = await live(world, "super80", "IN_PROGRESS")
    assert talking["Last Response"] == 200
    inbound = await live(world, number, "IN_PROGRESS")
    assert (inbound["type"], inbound["direction"], inbound["from"]) == ("CLIENT", "inbound", "caller80")
    assert inbound["Initial Invite"].startswith(f"sip:{number}@")
    assert inbound["Last Response"] == 200
    assert set(inbound) == {
        *("sid", "State", "type", "direction", "date_created", "ForwardedFrom", "CallerName", "from", "to"),
        *("Initial Invite", "Last Response"),
    }

    found = await metrics(world, LiveCallDetails="true", MgcpStats="true")
    assert {inbound["sid"], talking["sid"]} <= {one["sid"] for one in found["LiveCallDetails"]}
    during = found["Metrics"]
    assert during["LiveCalls"] >= 2
    assert during["LiveIncomingCalls"] >= 1
    assert during["LiveOutgoingCalls"] >= 1
    assert during["MaximumConcurrentCalls"] >= 2
    assert during["RegisteredUsers"] >= 2
    assert during["MgcpConnections"] >= 2
    assert during["MgcpEndpointsBridge"] >= 1
    await call.bye()
    await world.row(number)

    after = (await metrics(world))["Metrics"]
    for name in ("TotalCallsSinceUptime", "CompletedCalls"):
        assert after[name] >= before[name] + 2
    for name in ("IncomingCallsSinceUptime", "OutgoingCallsSinceUptime"):
        assert after[name] >= before[name] + 1


@case
async def test_rest80_calls_to_a_uri_and_from_nobody_known_are_of_type_sip(world: World) -> None:
    phone = await world.phone("super80uri")
    number = await world.number("<Say>Hello</Say>" + dial(f"<Sip>{phone.uri}</Sip>"))
    call = await world.answered(number)
    branch = await phone.offered(within=6)
    branch.ring()
    found = await live(world, "super80uri", "RINGING")
    assert (found["type"], found["Initial Invite"]) == ("SIP", phone.uri)
    assert (await live(world, number, "IN_PROGRESS"))["type"] == "SIP"
    await call.bye()
    await world.row(number)


@case
async def test_rest80_a_subaccount_is_refused(world: World) -> None:
    own = await world.rest.below("super80@example.com", "RestComm12", "below")

    assert (await own.get("Supervisor/metrics.json")).status == 403
    assert (await own.get("Supervisor.json")).status == 403


@case
async def test_a_spoken_announcement_can_be_fetched_and_played(world: World) -> None:
    made = (await world.rest.post("Announcements.json", Text="One, two, three.", Gender="woman")).json
    audio = await world.rest.fetch(made["file_uri"])
    assert audio.status == 200
    samples = read_wav(audio.body)
    number = await world.number(f"<Play>{made['file_uri']}</Play>")
    call = await world.answered(number)
    await call.over(within=10)

    assert sounding(call.heard()) == pytest.approx(sounding(samples), rel=0.3)
    assert (await world.rest.fetch(made["file_uri"].replace(".wav", "x.wav"))).status == 404
