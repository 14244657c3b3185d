"""Strangers who mean harm: forged dialogs, descriptions that kill PJSIP, odd methods, garbage."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from harness import EngineProcess
from sipcall import Call
from sipphone import Phone
from siptext import Message, offer
from sound import sounding
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from waiting import now, pause, reactor, together
from world import World, case

pytestmark = pytest.mark.loopback

HEAD = "v=0\r\no=- 1 7 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
AUDIO = "m=audio 40000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"
LONG = "h" * 300 + ".example.org"
KILLERS: dict[str, bytes] = {
    "family": f"{HEAD}c=IN IP4 ::1\r\n{AUDIO}".encode(),
    "long": f"{HEAD}c=IN IP4 {LONG}\r\n{AUDIO}a=rtcp:40001 IN IP4 {LONG}\r\n".encode(),
    "zero": f"{HEAD}m=audio 0 RTP/AVP 0\r\n".encode(),
    "fqdn": f"{HEAD}c=IN IP4 phone.example.org\r\n{AUDIO}".encode(),
    "savp": f"{HEAD}c=IN IP4 127.0.0.1\r\n{AUDIO.replace('RTP/AVP', 'RTP/SAVP')}".encode(),
    "ipv6": f"{HEAD}c=IN IP6 2001:db8::1\r\n{AUDIO}".encode(),
}
METHODS = ("REFER", "MESSAGE", "SUBSCRIBE", "PUBLISH", "NOTIFY", "DANCE")


@pytest.fixture(scope="module")
def engine(engines: Callable[..., EngineProcess]) -> EngineProcess:
    """An engine that strangers attack."""
    return engines("media.spare_workers=3")


async def hears(call: Call, seconds: float = 0.3) -> None:
    """The call goes on hearing something."""
    begun = now()
    await call.changes.until(
        lambda: sounding(call.heard(since=begun)) >= seconds, 2.0, f"{seconds} s of sound go on"
    )
    assert call.live


async def nobody_died(world: World, before: list[int]) -> None:
    """The workers are those of before (and maybe more)."""
    assert before
    assert set(before) <= set(world.engine.workers())
    assert (await world.rest.health())["media"]["deaths"] == 0


async def playing(world: World, name: str = "voice") -> Call:
    """A call that hears a long tone."""
    call = await world.answered(await world.number(world.play(440, 20), name=name))
    await call.sound(0.1)
    return call


# ------------------------------------------------------------------ tokens


def forged(call: Call, phone: Phone, method: str, token: str, **changed: str) -> Message:
    """A request of another phone within a call, with some other token."""
    host, port = phone.engine
    uri = f"sip:{token}@{host}:{port}"
    call.cseq += 1
    made = Message(f"{method} {uri} SIP/2.0")
    fields = {"From": call.local, "To": call.remote, "Call-ID": call.call_id, **changed}
    made.headers = [("Via", phone.via(f"z9hG4bK{random.getrandbits(60):x}")), ("Max-Forwards", "70")]
    made.headers += [("Route", f"<{uri};lr>"), *fields.items()]
    made.headers += [("CSeq", f"{call.cseq} {method}"), ("Contact", phone.contact)]
    return made


def token_of(call: Call) -> str:
    return call.target.partition(":")[2].partition("@")[0]


@case
async def test_tokens_that_are_guessed_foreign_or_stolen_reach_no_call(world: World) -> None:
    victim, own = await playing(world, "one"), await playing(world, "two")
    token = token_of(victim)
    key, _, signature = token.rpartition("-")
    assert key and len(signature) == 16
    thief = await world.phone("thief")
    guesses = [f"{key}-{'0' * 16}", key, f"{key}-", "x", f"{key}-{signature[:-1]}g", token_of(own)]
    for guess in guesses:
        for method in ("BYE", "INFO", "UPDATE"):
            answer = await thief.ask(forged(victim, thief, method, guess))
            assert answer.code == 481, (guess, method, answer.start)
    for changed in (
        {"Call-ID": own.call_id},
        {"From": f"{thief.address};tag=guessed"},
        {"To": f"{victim.remote.partition(';')[0]};tag=guessed"},
    ):
        answer = await thief.ask(forged(victim, thief, "BYE", token, **changed))
        assert answer.code == 481, changed
    await hears(victim)
    await hears(own)
    metrics = await world.rest.metrics()
    assert metrics['voiceengine_sip_events_total{event="strange_tokens"}'] >= 20


@case
async def test_the_token_of_a_call_that_is_over_reaches_nobody(world: World) -> None:
    victim, other = await playing(world, "one"), await playing(world, "two")
    await victim.bye()
    await world.rest.ended((await victim.answered()).get("X-RestComm-CallSid"))
    for method in ("INFO", "UPDATE", "INVITE"):
        thief = await world.phone("thief")
        request = forged(victim, thief, method, token_of(victim))
        request.headers.append(("Content-Type", "application/sdp"))
        request.body = offer(40000)
        assert (await thief.ask(request)).code == 481, method
    await hears(other)


# ------------------------------------------------------------------ descriptions


@case
async def test_descriptions_that_kill_pjsip_are_refused_in_an_invite(world: World) -> None:
    before = world.engine.workers()
    witness = await playing(world)
    number = await world.number("<Play>nothing.wav</Play>", name="never")
    calls = {name: await world.call(number, body=body) for name, body in KILLERS.items()}
    codes = {name: (await call.final()).code for name, call in calls.items()}
    assert all(400 <= code < 500 for code in codes.values()), codes
    await hears(witness)
    await nobody_died(world, before)


@case
async def test_descriptions_that_kill_pjsip_are_refused_in_a_reinvite_and_an_update(world: World) -> None:
    before = world.engine.workers()
    call = await playing(world)
    codes: dict[str, int] = {}
    for name, body in KILLERS.items():
        codes[name] = (await call.reinvite(body)).code
        update = await call.ask("UPDATE", [("Content-Type", "application/sdp")], body)
        codes[f"{name} update"] = update.code
        await hears(call, 0.1)
    assert all(400 <= code < 500 for code in codes.values()), codes
    assert (await call.reinvite(offer(call.rtp.port, version=9))).code == 200
    await hears(call)
    await nobody_died(world, before)


@case
async def test_descriptions_that_kill_pjsip_end_an_outbound_call_and_nothing_else(world: World) -> None:
    before = world.engine.workers()
    witness = await playing(world)
    url = world.script("never", "<Hangup/>")

    async def called(name: str, body: bytes) -> None:
        phone = await world.phone(f"killer-{name}")
        row = await world.rest.start_call(From="+1", To=phone.uri, Url=url)
        call = await phone.offered()
        call.body = body
        call.answer()
        await call.request_of("ACK")
        await call.over()
        assert (await world.rest.ended(row["sid"]))["status"] == "failed", name

    await together([called(name, body) for name, body in KILLERS.items()])
    assert world.count("never") == 0
    await hears(witness)
    await nobody_died(world, before)


async def late_answer(call: Call, body: bytes) -> None:
    """A re-INVITE without a description; the answer to the engine's offer comes with the ACK."""
    request = call.compose("INVITE")
    response = await call.phone.ask(request)
    assert response.code == 200, response
    assert b"m=audio" in response.body
    kind = [("Content-Type", "application/sdp")]
    call.phone.send(call.compose("ACK", kind, body))


@case
async def test_descriptions_that_kill_pjsip_do_no_harm_in_an_ack(world: World) -> None:
    before = world.engine.workers()
    witness = await playing(world, "witness")
    number = await world.number(world.play(440, 20), name="acked")

    async def harmed(body: bytes) -> None:
        call = await world.answered(number)
        await call.sound(0.1)
        await late_answer(call, body)
        await pause(0.5)
        if not call.over_at:  # either it goes on as it was, or it is ended in order
            assert (await call.bye()).code == 200

    await together([harmed(body) for body in KILLERS.values()])
    await hears(witness)
    await nobody_died(world, before)


@case
async def test_a_good_answer_in_an_ack_keeps_the_audio(world: World) -> None:
    call = await playing(world)
    await late_answer(call, offer(call.rtp.port, version=2))
    await hears(call, 1.0)


@case
async def test_a_long_host_in_an_attribute_alone_does_no_harm(world: World) -> None:
    before = world.engine.workers()
    number = await world.number(world.play(440, 20))
    call = await world.call(number)
    await call.answered()
    body = offer(call.rtp.port, version=2) + f"a=rtcp:40001 IN IP4 {LONG}\r\n".encode()
    assert (await call.reinvite(body)).code == 200
    await hears(call)
    await nobody_died(world, before)


# ------------------------------------------------------------------ methods


@case
async def test_odd_methods_are_refused_inside_and_outside_of_calls(world: World) -> None:
    before = world.engine.workers()
    call = await playing(world)
    phone = call.phone
    host, port = phone.engine
    codes: dict[str, int] = {}
    extra = [("Refer-To", "<sip:x@192.0.2.1>"), ("Event", "presence"), ("Content-Type", "text/plain")]
    for method in METHODS:
        codes[f"{method} in"] = (await call.ask(method, extra, b"hello")).code
        request = phone.request(method, f"sip:x@{host}:{port}", f"<sip:x@{host}>", extra)
        codes[f"{method} out"] = (await phone.ask(request)).code
    assert all(400 <= code < 600 for code in codes.values()), codes
    await hears(call)
    await nobody_died(world, before)


@case
async def test_replaces_takes_no_call_over(world: World) -> None:
    call = await playing(world)
    number = await world.number("<Hangup/>", name="other")
    to_tag, from_tag = (text.rpartition("tag=")[2] for text in (call.remote, call.local))
    replaces = ("Replaces", f"{call.call_id};to-tag={to_tag};from-tag={from_tag}")
    thief = await world.call(number, headers=[replaces, ("Require", "replaces")])
    assert (await thief.final()).code == 420
    second = await world.call(number, headers=[replaces])
    final = await second.final()
    if final.code == 200:  # the header is not understood: an ordinary call
        await second.over()
    else:
        assert 400 <= final.code < 500
    await hears(call)


# ------------------------------------------------------------------ garbage


def rubbish() -> list[bytes]:
    """Texts that are no SIP, or nearly."""
    chance = random.Random(7)
    found = [chance.randbytes(chance.randrange(1, 2000)) for _ in range(200)]
    found += [b"\r\n\r\n", b"\0" * 1000, b"INVITE", b"INVITE sip:x SIP/2.0\r\n\r\n", b"A" * 60000]
    line = b"OPTIONS sip:a@127.0.0.1 SIP/2.0\r\n"
    via = b"Via: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKg\r\n"
    for odd in (
        b"Content-Length: -5\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"CSeq: 999999999999999 OPTIONS\r\n",
        b"From: <<<<>>>>\r\nTo: \xff\xfe\r\nCall-ID:\r\n",
        b"Via: " + b"v," * 5000 + b"\r\n",
        b"Route: <sip:" + b"[" * 3000 + b">\r\n",
        b"Max-Forwards: x\r\n",
        b"X: " + b"y" * 50000 + b"\r\n",
    ):
        found.append(line + via + odd + b"\r\n")
        found.append(b"SIP/2.0 200 OK\r\n" + via + odd + b"\r\n")
    return found


@case
async def test_garbage_over_udp_and_tcp_does_no_harm(world: World) -> None:
    before = world.engine.workers()
    call = await playing(world)
    phone = await world.phone("garbage")
    for number, text in enumerate(rubbish()):
        phone.send(text)
        if number % 20 == 0:
            await pause(0.02)
    endpoint = TCP4ClientEndpoint(reactor, *world.engine.address("tcp"))
    links = []
    for text in rubbish()[190:]:
        link = await connectProtocol(endpoint, Protocol())
        link.transport.write(text)
        links.append(link)
    await hears(call)
    tcp = await world.phone("fine", "tcp")
    fine = tcp.call(await world.number("<Hangup/>", name="fine"))
    await fine.over()
    for link in links:
        link.transport.abortConnection()
    await hears(call)
    await nobody_died(world, before)


@case
async def test_forty_digits_in_a_row_all_arrive(world: World) -> None:
    digits = "0123456789*1234567890123456789012345678#"[:39] + "7"
    action = world.script("action", "<Hangup/>")
    verb = f'<Gather numDigits="40" finishOnKey="" timeout="5" action="{action}"/>'
    call = await world.answered(await world.number(verb))
    call.rtp.press(digits)
    asked = await world.asked("action", within=14)
    assert asked.form["Digits"] == digits
    await call.over()
