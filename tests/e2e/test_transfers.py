"""Transfers that phones ask for by REFER: blind to the number's document or between clients, attended."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

import pytest
from harness import EngineProcess
from pytest_twisted import ensureDeferred
from session import idle
from sipcall import Call
from sipphone import Phone, _Udp
from siptext import Message, offer, tag_of
from sound import tones
from waiting import eventually, reactor, together
from webapp import WebApp
from world import World, case, dial, element, run_scenario

pytestmark = pytest.mark.loopback

PATIENT = 15.0
"""Seconds that the engine gets where its speed is not what is tested."""
ALICE, BOB, CAROL = 600.0, 1000.0, 1400.0
"""Frequencies of the voices."""
PASSWORD = "RestComm1234"


@pytest.fixture(scope="module")
def engine(engines: Callable[..., EngineProcess]) -> EngineProcess:
    """An engine of this module's own, with workers enough for all scenarios."""
    return engines("media.spare_workers=2")


def to_phone(phone: Phone) -> str:
    """A Dial of a phone, directly."""
    return dial(element("Sip", phone.uri))


async def taken(phone: Phone, number: int = 1) -> Call:
    """The n-th call to a phone, which answers at once."""
    call = await phone.offered(number, PATIENT)
    call.ring()
    call.answer()
    await call.answered(PATIENT)
    return call


async def talk(one: Call, one_says: float, other: Call, other_says: float) -> None:
    """Both speak, hear the other one, and not themselves."""
    one.hum(one_says)
    other.hum(other_says)
    await together([one.hears(other_says, within=PATIENT), other.hears(one_says, within=PATIENT)])
    await together([one.hears_none_of(one_says), other.hears_none_of(other_says)])


async def bridged(world: World, bob: Phone, after: str = "", **settings: str) -> tuple[str, Call, Call]:
    """Somebody calls a number, and is joined with Bob: the number, and both calls."""
    number = await world.number(to_phone(bob) + after, **settings)
    alice = await world.answered(number)
    bobs = await taken(bob)
    await talk(alice, ALICE, bobs, BOB)
    return number, alice, bobs


def played(call: Call, frequency: float) -> float:
    """Seconds of a tone that were heard; not for use while many calls run, it takes its time."""
    return sum(tone.seconds for tone in tones(call.heard()) if abs(tone.frequency - frequency) < 40)


async def told(call: Call, expected: str = "SIP/2.0 200 OK") -> None:
    """The transferor is told that all is well, and the call is taken from it."""
    await call.changes.until(
        lambda: bool(call.news) and call.news[-1][1] == "terminated",
        PATIENT,
        lambda: f"the last of {call.news}",
    )
    assert call.news == [("SIP/2.0 100 Trying", "active"), (expected, "terminated")]
    for _, notify in call.requests:
        if notify.method == "NOTIFY":
            assert notify.get("Event").partition(";")[0] == "refer"
            assert notify.get("Content-Type").startswith("message/sipfrag")
    bye = await call.over(PATIENT)
    assert "transferred" in bye.get("Reason")


def reason_of(refused: Message, code: int) -> str:
    """The text of the Reason of a refused REFER."""
    assert refused.code == code, refused
    reason = refused.get("Reason")
    assert f"cause={code}" in reason, reason
    return reason.partition('text="')[2].rstrip('"')


def replacing(call: Call) -> str:
    """The Refer-To that asks a target to take over a call of the same phone."""
    value = f"{call.call_id};to-tag={tag_of(call.remote)};from-tag={tag_of(call.local)}"
    return f"<{call.target}?Replaces={quote(value, safe='')}>"


async def statuses(world: World, *sids: str) -> list[str]:
    """Statuses of calls, once all are over."""
    return [(await world.rest.ended(sid, PATIENT))["status"] for sid in sids]


async def child_of(world: World, parent: str, count: int = 1) -> str:
    """CallSid of the call that a call dialed; there are so many, and the latest is given."""
    rows = await eventually(
        lambda: world.rest.calls(ParentCallSid=parent),
        lambda rows: len(rows) == count,
        PATIENT,
        f"{count} calls dialed by {parent}",
    )
    return str(max(rows, key=lambda row: row["date_created"])["sid"]) if count > 1 else str(rows[0]["sid"])


# ------------------------------------------------------------------ blind, to the document of the number


@case
async def test_ac80_the_caller_runs_the_document_when_the_callee_transfers(world: World) -> None:
    bob = await world.phone("bob")
    action = world.script("action", "<Hangup/>")
    refer = world.script("refer", world.play(800, 0.8))
    number = await world.number(dial(element("Sip", bob.uri), action=action), ReferUrl=refer)
    alice = await world.answered(number)
    bobs = await taken(bob)
    await talk(alice, ALICE, bobs, BOB)
    parent = await world.sid(number)
    child = await child_of(world, parent)

    accepted = await bobs.refer("<sip:4711@elsewhere.example>")
    assert accepted.code == 202
    assert accepted.get("Contact")
    await told(bobs)
    seen = await world.asked("refer", within=PATIENT)
    row = await world.rest.call(parent)
    assert seen.method == "POST"
    assert seen.form["ReferTarget"] == "4711"
    assert (seen.form["Transferor"], seen.form["Transferee"]) == (
        (await world.rest.call(child))["to"],
        alice.phone.user,
    )
    standard = {
        "CallSid": parent,
        "AccountSid": row["account_sid"],
        "From": alice.phone.user,
        "To": number,
        "CallStatus": "in-progress",
        "Direction": "inbound",
    }
    assert {name: seen.form.get(name) for name in standard} == standard
    await alice.over(PATIENT)
    assert played(alice, 800) > 0.25

    assert await statuses(world, parent, child) == ["completed", "completed"]
    assert (world.count("voice"), world.count("refer"), world.count("action")) == (1, 1, 0)


@case
async def test_ac80_the_callee_is_joined_with_another_when_the_caller_transfers(world: World) -> None:
    bob = await world.phone("bob")
    carol = await world.registered("ac80carol")
    refer = world.script("refer", dial(element("Client", "ac80carol")))
    action = world.script("action", "<Say>never</Say>")
    number = await world.number(dial(element("Sip", bob.uri), action=action), ReferUrl=refer)
    alice = await world.answered(number)
    bobs = await taken(bob)
    await talk(alice, ALICE, bobs, BOB)
    parent = await world.sid(number)
    child = await child_of(world, parent)

    assert (await alice.refer("<sip:ac80carol@127.0.0.1>")).code == 202
    await told(alice)
    seen = await world.asked("refer", within=PATIENT)
    assert seen.form["ReferTarget"] == "ac80carol"
    assert seen.form["Transferor"] == alice.phone.user
    assert (seen.form["CallSid"], seen.form["Direction"]) == (child, "outbound-dial")
    carols = await taken(carol)
    await talk(bobs, BOB, carols, CAROL)
    assert (await world.rest.ended(parent, PATIENT))["status"] == "completed"
    assert (await world.rest.call(child))["status"] == "in-progress"
    grandchild = await child_of(world, child)
    last = (await world.asked("action", within=PATIENT)).form
    assert (last["DialCallSid"], last["DialCallStatus"]) == (child, "completed")
    carols.rtp.press("5")
    await bobs.keys("5", PATIENT)
    await carols.bye()
    await bobs.over(PATIENT)

    assert await statuses(world, child, grandchild) == ["completed", "completed"]
    assert (world.count("voice"), world.count("refer")) == (1, 1)


@case
async def test_the_document_is_requested_by_the_method_of_the_number(world: World) -> None:
    bob = await world.phone("bob")
    refer = world.script("refer", world.play(800, 0.5))
    _, alice, bobs = await bridged(world, bob, ReferUrl=refer, ReferMethod="GET")
    assert (await bobs.refer(f"<{alice.phone.uri}>")).code == 202
    await told(bobs)
    seen = await world.asked("refer", within=PATIENT)
    assert (seen.method, seen.query["ReferTarget"]) == ("GET", alice.phone.user)
    await alice.over(PATIENT)
    assert played(alice, 800) > 0.25


@case
async def test_a_transferred_party_is_hung_up_on_when_there_is_no_document(world: World) -> None:
    bob = await world.phone("bob")
    number, alice, bobs = await bridged(world, bob, ReferUrl=f"{world.app.url}{world.path('missing')}")
    assert (await bobs.refer("<sip:4711@127.0.0.1>")).code == 202
    await told(bobs)
    await alice.over(PATIENT)
    parent = await world.sid(number)
    assert await statuses(world, parent) == ["completed"]
    assert await world.rest.notifications(CallSid=parent)


@case
async def test_a_caller_may_be_transferred_again_and_again(world: World) -> None:
    bob, carol, dave = [await world.phone(user) for user in ("bob", "carol", "dave")]
    refer = world.script("refer", to_phone(carol), to_phone(dave))
    number, alice, bobs = await bridged(world, bob, ReferUrl=refer)
    assert (await bobs.refer("<sip:carol@127.0.0.1>")).code == 202
    await told(bobs)
    carols = await taken(carol)
    await talk(alice, ALICE, carols, CAROL)
    assert (await carols.refer("<sip:dave@127.0.0.1>")).code == 202
    await told(carols)
    daves = await taken(dave)
    await talk(alice, ALICE, daves, BOB)
    await alice.bye()
    await daves.over(PATIENT)

    rows = await world.dialed(number, 3, PATIENT)
    assert [row["status"] for row in rows] == ["completed"] * 3
    asked = [await world.asked("refer", n) for n in (1, 2)]
    assert [seen.form["ReferTarget"] for seen in asked] == ["carol", "dave"]
    assert {seen.form["Transferee"] for seen in asked} == {alice.phone.user}


@case
async def test_a_phone_that_hangs_up_itself_after_its_transfer_does_no_harm(world: World) -> None:
    bob = await world.phone("bob")
    refer = world.script("refer", world.play(800, 1.0))
    number, alice, bobs = await bridged(world, bob, ReferUrl=refer)
    assert (await bobs.refer("<sip:4711@127.0.0.1>")).code == 202
    assert (await bobs.bye()).code in (200, 481)
    await alice.over(PATIENT)
    assert played(alice, 800) > 0.25
    assert (await world.row(number, PATIENT))["status"] == "completed"
    (row,) = await world.dialed(number)
    assert row["status"] == "completed"


@case
async def test_without_a_subscription_nothing_is_told_and_the_call_is_transferred(world: World) -> None:
    bob = await world.phone("bob")
    refer = world.script("refer", world.play(800, 0.6))
    _, alice, bobs = await bridged(world, bob, ReferUrl=refer)
    accepted = await bobs.refer(
        "<sip:4711@127.0.0.1>", headers=[("Refer-Sub", "false"), ("Supported", "norefersub")]
    )
    assert (accepted.code, accepted.get("Refer-Sub")) == (202, "false")
    await bobs.over(PATIENT)
    await alice.over(PATIENT)
    assert played(alice, 800) > 0.25
    assert bobs.news == []
    assert (await world.asked("refer")).form["ReferTarget"] == "4711"


# ------------------------------------------------------------------ refused


@case
async def test_ac81_without_a_document_of_the_number_the_call_goes_on(world: World) -> None:
    bob = await world.phone("bob")
    number, alice, bobs = await bridged(world, bob)
    for call in (bobs, alice):
        assert reason_of(await call.refer("<sip:4711@127.0.0.1>"), 404)
        await talk(alice, ALICE, bobs, BOB)
    assert (alice.news, bobs.news) == ([], [])
    await alice.bye()
    await bobs.over(PATIENT)
    assert (await world.row(number, PATIENT))["status"] == "completed"


@case
async def test_a_refer_that_is_not_valid_is_refused_and_the_call_goes_on(world: World) -> None:
    bob = await world.phone("bob")
    refer = world.script("refer", "<Hangup/>")
    _, alice, bobs = await bridged(world, bob, ReferUrl=refer)
    for refer_to in (
        [],
        ["<sip:1@127.0.0.1>", "<sip:2@127.0.0.1>"],
        ["nobody"],
        ["<sip:>"],
        ["<sip:1@127.0.0.1"],
    ):
        assert reason_of(await bobs.refer(*refer_to), 400), refer_to
    assert reason_of(await bobs.refer("<sip:1@127.0.0.1?Replaces=abc>"), 400)
    assert reason_of(await bobs.refer("<mailto:carol@example.org>"), 416)
    assert reason_of(await bobs.refer("<sip:1@127.0.0.1;method=MESSAGE>"), 501)
    await talk(alice, ALICE, bobs, BOB)
    await bobs.bye()
    await alice.over(PATIENT)
    assert world.count("refer") == 0


@case
async def test_a_refer_in_a_conference_is_refused_and_the_conference_goes_on(world: World) -> None:
    refer = world.script("refer", "<Hangup/>")
    number = await world.number(dial(element("Conference", world.name, beep="false")), ReferUrl=refer)
    one, other = await world.answered(number), await world.answered(number)
    await talk(one, ALICE, other, BOB)
    assert reason_of(await one.refer("<sip:4711@127.0.0.1>"), 404)
    await talk(one, ALICE, other, BOB)
    assert world.count("refer") == 0


@case
async def test_a_refer_by_somebody_who_talks_with_a_document_is_refused(world: World) -> None:
    number = await world.number(world.play(800, 20), ReferUrl=world.script("refer", "<Hangup/>"))
    call = await world.answered(number)
    assert reason_of(await call.refer("<sip:4711@127.0.0.1>"), 404)
    await call.hears(800, within=PATIENT)
    assert world.count("refer") == 0


@case
async def test_a_refer_outside_of_any_call_is_refused(world: World) -> None:
    phone = await world.phone()
    number = await world.number("<Hangup/>", ReferUrl=world.script("refer", "<Hangup/>"))
    host, port = phone.engine
    uri = f"sip:{number}@{host}:{port}"
    refused = await phone.ask(phone.request("REFER", uri, f"<{uri}>", [("Refer-To", "<sip:1@127.0.0.1>")]))
    assert reason_of(refused, 404)
    foreign = phone.request("REFER", uri, f"<{uri}>;tag=unknown", [("Refer-To", "<sip:1@127.0.0.1>")])
    assert reason_of(await phone.ask(foreign), 404)
    assert world.count("refer") == 0


@case
async def test_a_refer_while_it_rings_is_refused_and_the_call_is_answered(world: World) -> None:
    bob = await world.phone("bob")
    refer = world.script("refer", "<Hangup/>")
    number = await world.number(dial(element("Sip", bob.uri), answerOnBridge="true"), ReferUrl=refer)
    alice = await world.call(number)
    bobs = await bob.offered(1, PATIENT)
    bobs.ring()
    ringing = await alice.response(180, PATIENT)
    alice.remote = ringing.get("To")
    early = alice.compose("REFER", [("Refer-To", "<sip:4711@127.0.0.1>")])
    alice.cseq -= 1
    assert reason_of(await alice.phone.ask(early), 404)
    assert reason_of(await bobs.refer("<sip:4711@127.0.0.1>"), 404)
    bobs.answer()
    await together([alice.answered(PATIENT), bobs.answered(PATIENT)])
    await talk(alice, ALICE, bobs, BOB)
    await bobs.bye()
    await alice.over(PATIENT)
    assert world.count("refer") == 0


async def transfers_are_declined(world: World) -> None:
    """A scenario for an engine that does not take them."""
    bob = await world.phone("bob")
    _, alice, bobs = await bridged(world, bob, ReferUrl=world.script("refer", "<Hangup/>"))
    assert reason_of(await bobs.refer("<sip:4711@127.0.0.1>"), 603)
    assert reason_of(await alice.refer(replacing(alice)), 603)
    await talk(alice, ALICE, bobs, BOB)
    await alice.bye()
    await bobs.over(PATIENT)
    assert world.count("refer") == 0


@pytest.fixture(scope="module")
def declining(engines: Callable[..., EngineProcess]) -> EngineProcess:
    """An engine that takes no transfers."""
    return engines("calls.refer=false")


@ensureDeferred
async def test_transfers_that_are_switched_off_are_declined(declining: EngineProcess, app: WebApp) -> None:
    await run_scenario(transfers_are_declined, declining, app)
    await idle(declining)
    assert not declining.problems


# ------------------------------------------------------------------ blind, between clients


async def client_call(
    world: World, caller: Phone, callee: Phone, says: float, other_says: float
) -> tuple[Call, Call]:
    """A client calls another one, and they talk: both calls."""
    calls = caller.call(callee.user, login=(caller.user, PASSWORD))
    taken_calls = await taken(callee, len(callee.offers) + 1)
    await calls.answered(PATIENT)
    await talk(calls, says, taken_calls, other_says)
    return calls, taken_calls


@case
async def test_a_client_who_was_called_transfers_the_caller_to_a_third_one(world: World) -> None:
    alice, bob, carol = [await world.registered(f"third{name}") for name in ("alice", "bob", "carol")]
    alices, bobs = await client_call(world, alice, bob, ALICE, BOB)
    assert (await bobs.refer(f'"Carol" <sip:{carol.user}@LocalHost>;x=1')).code == 202
    await told(bobs)
    carols = await taken(carol)
    await talk(alices, ALICE, carols, CAROL)
    alices.rtp.press("12")
    await carols.keys("12", PATIENT)
    await carols.bye()
    await alices.over(PATIENT)

    parent = (await alices.answered()).get("X-RestComm-CallSid")
    rows = await world.children(parent, 2, PATIENT)
    assert [(row["to"], row["status"]) for row in rows] == [
        (bob.user, "completed"),
        (carol.user, "completed"),
    ]
    assert (await world.rest.ended(parent, PATIENT))["status"] == "completed"
    assert rows[1]["from"] == alice.user
    assert not [seen for seen in world.app.seen if world.name in seen.path]


@case
async def test_a_client_who_called_transfers_the_callee_to_a_third_one(world: World) -> None:
    alice, bob, carol = [await world.registered(f"onward{name}") for name in ("alice", "bob", "carol")]
    alices, bobs = await client_call(world, alice, bob, ALICE, BOB)
    parent = (await alices.answered()).get("X-RestComm-CallSid")
    child = await child_of(world, parent)
    host, port = alice.engine
    assert (await alices.refer(f"<sip:{carol.user}@{host}:{port}>")).code == 202
    await told(alices)
    carols = await taken(carol)
    await talk(bobs, BOB, carols, CAROL)
    grandchild = await child_of(world, child)
    await bobs.bye()
    await carols.over(PATIENT)
    assert await statuses(world, parent, child, grandchild) == ["completed"] * 3


class PhoneElsewhere(Phone):
    """A phone at an address that is not the engine's own; its audio is."""

    async def open(self) -> PhoneElsewhere:
        """Open the socket at 127.0.0.2."""
        self._link = _Udp(self._received)
        self._socket = reactor.listenUDP(0, self._link, interface="127.0.0.2", maxPacketSize=65536)
        self.port = self._socket.getHost().port
        return self

    @property
    def contact(self) -> str:
        """The Contact."""
        return f"<sip:{self.user}@127.0.0.2:{self.port}>"

    def via(self, branch: str) -> str:
        """A Via."""
        return f"SIP/2.0/UDP 127.0.0.2:{self.port};rport;branch={branch}"


@case
async def test_a_client_is_transferred_to_a_phone_elsewhere(world: World) -> None:
    alice, bob = [await world.registered(f"away{name}") for name in ("alice", "bob")]
    alices, bobs = await client_call(world, alice, bob, ALICE, BOB)
    away = await PhoneElsewhere(world.engine.address(), "away").open()
    world._phones.append(away)
    assert (await bobs.refer(f"<{away.uri}>")).code == 202
    await told(bobs)
    aways = await taken(away)
    await talk(alices, ALICE, aways, CAROL)
    await aways.bye()
    await alices.over(PATIENT)


@case
async def test_a_client_who_is_transferred_to_nobody_is_hung_up_on(world: World) -> None:
    alice, bob = [await world.registered(f"gone{name}") for name in ("alice", "bob")]
    alices, bobs = await client_call(world, alice, bob, ALICE, BOB)
    parent = (await alices.answered()).get("X-RestComm-CallSid")
    host, port = bob.engine
    await world.rest.client("gonecarol", PASSWORD)
    assert (await bobs.refer(f"<sip:gonecarol@{host}:{port}>")).code == 202
    await bobs.over(PATIENT)
    await alices.over(PATIENT)
    assert await statuses(world, parent) == ["completed"]


@case
async def test_somebody_from_outside_transfers_a_client_within_the_engine_only(world: World) -> None:
    """Who could not call out must not make a client call out, at the expense of its account."""
    bob, carol = [await world.registered(f"inside{name}") for name in ("bob", "carol")]
    stranger = await world.phone()
    call = stranger.call(bob.user)
    bobs = await taken(bob)
    await call.answered(PATIENT)
    await talk(call, ALICE, bobs, BOB)
    host, port = stranger.engine
    for target in (f"<sip:+19005550100@{host}:{port}>", "<sip:x@127.0.0.2:9>"):
        assert (await call.refer(target)).code == 404
    await talk(call, ALICE, bobs, BOB)
    assert (await call.refer(f"<sip:{carol.user}@{host}:{port}>")).code == 202
    carols = await taken(carol)
    await talk(bobs, BOB, carols, CAROL)
    await carols.bye()
    await bobs.over(PATIENT)


# ------------------------------------------------------------------ attended


async def joined(bobs: Call, carols: Call) -> None:
    """Both talk with each other, and their keys pass."""
    await talk(bobs, BOB, carols, CAROL)
    bobs.rtp.press("47")
    await carols.keys("47", PATIENT)
    carols.rtp.press("11")
    await bobs.keys("11", PATIENT)


@case
async def test_a_caller_of_two_joins_them_with_each_other(world: World) -> None:
    bob, carol, alice = [await world.phone(user) for user in ("bob", "carol", "+15550007")]
    numbers = [
        await world.number(to_phone(phone) + "<Say>never</Say>", name=phone.user) for phone in (bob, carol)
    ]
    first = alice.call(numbers[0])
    bobs = await taken(bob)
    await first.answered(PATIENT)
    await talk(first, ALICE, bobs, BOB)
    second = alice.call(numbers[1])
    carols = await taken(carol)
    await second.answered(PATIENT)
    await talk(second, ALICE, carols, CAROL)

    assert (await first.refer(replacing(second))).code == 202
    await told(first)
    await second.over(PATIENT)
    await joined(bobs, carols)
    parents = [await world.sid(number) for number in numbers]
    assert await statuses(world, *parents) == ["completed", "completed"]
    children = [await child_of(world, parent) for parent in parents]
    assert [(await world.rest.call(sid))["status"] for sid in children] == ["in-progress", "in-progress"]
    await bobs.bye()
    bye = await carols.over(PATIENT)
    assert bye.method == "BYE"
    assert await statuses(world, *children) == ["completed", "completed"]


@case
async def test_a_callee_joins_its_caller_with_somebody_it_asked_first(world: World) -> None:
    bob, carol = [await world.registered(f"ask{name}") for name in ("bob", "carol")]
    number = await world.number(dial(element("Client", bob.user)) + "<Say>never</Say>")
    alice = await world.answered(number)
    first = await taken(bob)
    await talk(alice, ALICE, first, BOB)
    second, carols = await client_call(world, bob, carol, BOB, CAROL)

    assert (
        await first.refer(replacing(second), headers=[("Referred-By", f"<sip:{bob.user}@127.0.0.1>")])
    ).code == 202
    await told(first)
    await second.over(PATIENT)
    alice.hum(ALICE)
    carols.hum(CAROL)
    await together([alice.hears(CAROL, within=PATIENT), carols.hears(ALICE, within=PATIENT)])
    alice.rtp.press("3")
    await carols.keys("3", PATIENT)
    await alice.bye()
    await carols.over(PATIENT)

    parent = await world.sid(number)
    other = (await second.answered()).get("X-RestComm-CallSid")
    sids = [parent, await child_of(world, parent), other, await child_of(world, other)]
    assert await statuses(world, *sids) == ["completed"] * 4
    assert world.count("voice") == 1


@case
async def test_the_second_call_may_be_the_one_that_is_transferred(world: World) -> None:
    alice, bob, carol = [await world.registered(f"late{name}") for name in ("alice", "bob", "carol")]
    first, bobs = await client_call(world, alice, bob, ALICE, BOB)
    second, carols = await client_call(world, alice, carol, ALICE, CAROL)
    assert (await second.refer(replacing(first))).code == 202
    await told(second)
    await first.over(PATIENT)
    await joined(bobs, carols)
    await carols.bye()
    await bobs.over(PATIENT)


@case
async def test_a_party_on_hold_is_joined_like_any_other(world: World) -> None:
    alice, bob, carol = [await world.registered(f"held{name}") for name in ("alice", "bob", "carol")]
    first, bobs = await client_call(world, alice, bob, ALICE, BOB)
    assert (await first.reinvite(offer(first.rtp.port, direction="sendonly", version=2))).code == 200
    second, carols = await client_call(world, alice, carol, ALICE, CAROL)
    assert (await second.reinvite(offer(second.rtp.port, direction="sendonly", version=2))).code == 200
    assert (await first.refer(replacing(second))).code == 202
    await told(first)
    await second.over(PATIENT)
    await joined(bobs, carols)
    await bobs.bye()
    await carols.over(PATIENT)


@case
async def test_a_dialog_that_is_unknown_cannot_be_replaced_and_the_call_goes_on(world: World) -> None:
    bob = await world.phone("bob")
    _, alice, bobs = await bridged(world, bob, ReferUrl=world.script("refer", "<Hangup/>"))
    unknown = quote("nobody@nowhere;to-tag=1;from-tag=2", safe="")
    assert reason_of(await alice.refer(f"<sip:carol@127.0.0.1?Replaces={unknown}>"), 404)
    wrong = quote(f"{alice.call_id};to-tag=1;from-tag={tag_of(alice.local)}", safe="")
    assert reason_of(await bobs.refer(f"<sip:carol@127.0.0.1?Replaces={wrong}>"), 404)
    assert (await alice.refer(replacing(alice))).code == 404
    assert (await bobs.refer(replacing(alice))).code == 400
    await talk(alice, ALICE, bobs, BOB)
    await alice.bye()
    await bobs.over(PATIENT)
    assert world.count("refer") == 0


@case
async def test_a_call_that_talks_with_a_document_cannot_be_replaced(world: World) -> None:
    bob = await world.phone("bob")
    _, alice, bobs = await bridged(world, bob)
    second = alice.phone.call(await world.number(world.play(800, 20), name="other"))
    await second.answered(PATIENT)
    assert reason_of(await alice.refer(replacing(second)), 404)
    await talk(alice, ALICE, bobs, BOB)
    await second.hears(800, within=PATIENT)
