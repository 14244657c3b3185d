"""Calls that change while they run: hold, another port, INFO in all its forms, TCP and IPv6 signalling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from harness import EngineProcess
from sipcall import Call
from sipphone import Phone
from siptext import offer
from sound import read_wav, tone, tones
from waiting import now, pause, reactor
from world import World, case

pytestmark = pytest.mark.loopback


@pytest.fixture(scope="module")
def engine(engines: Callable[..., EngineProcess]) -> EngineProcess:
    """An engine that also listens on IPv6."""
    return engines(
        "media.spare_workers=3", listen=("udp://127.0.0.1:0", "tcp://127.0.0.1:0", "udp://[::1]:0")
    )


def direction_of(body: bytes) -> str:
    """Direction of a description."""
    lines = body.decode().split("\r\n")
    return next((x[2:] for x in lines if x in ("a=sendonly", "a=recvonly", "a=inactive")), "sendrecv")


async def hears(call: Call, frequency: float, seconds: float = 0.3) -> None:
    """The call goes on hearing a tone."""
    begun = now()

    def heard() -> bool:
        found = [t for t in tones(call.heard(since=begun)) if abs(t.frequency - frequency) < 40]
        return sum(t.seconds for t in found) >= seconds

    await call.changes.until(heard, 2.5, f"{seconds} s of {frequency} Hz go on")
    assert call.live


async def reinvite(call: Call, direction: str, version: int) -> str:
    """Offer a direction; returns the one that was answered."""
    response = await call.reinvite(offer(call.rtp.port, direction=direction, version=version))
    assert response.code == 200, response
    return direction_of(response.body)


# ------------------------------------------------------------------ hold and ports


@case
async def test_a_caller_who_holds_hears_nothing_and_then_the_prompt_again(world: World) -> None:
    call = await world.answered(await world.number(world.play(440, 12)))
    await hears(call, 440)
    assert await reinvite(call, "sendonly", 2) in ("recvonly", "inactive")
    await pause(0.2)
    begun = now()
    await pause(0.5)
    assert tones(call.heard(since=begun)) == []
    assert await reinvite(call, "sendrecv", 3) == "sendrecv"
    await hears(call, 440)
    assert await reinvite(call, "inactive", 4) == "inactive"
    await pause(0.3)
    assert await reinvite(call, "sendrecv", 5) == "sendrecv"
    await hears(call, 440)
    assert (await call.bye()).code == 200
    assert (await world.rest.ended(await the_sid(call)))["status"] == "completed"


async def the_sid(call: Call) -> str:
    """CallSid that the engine told."""
    return (await call.answered()).get("X-RestComm-CallSid")


@case
async def test_a_caller_who_moves_to_another_port_hears_the_prompt_there(world: World) -> None:
    call = await world.answered(await world.number(world.play(440, 12)))
    await hears(call, 440)
    old = call.rtp.port
    call.move()
    assert call.rtp.port != old
    assert (await call.reinvite(call.body)).code == 200
    await hears(call, 440)


@case
async def test_a_document_goes_on_after_a_hold(world: World) -> None:
    call = await world.answered(await world.number(world.play(440, 1.5) + world.play(800, 0.5)))
    await hears(call, 440, 0.2)
    await reinvite(call, "sendonly", 2)
    await pause(0.4)
    await reinvite(call, "sendrecv", 3)
    await hears(call, 800)
    await call.over(within=5)


@case
async def test_a_recording_goes_on_after_a_hold_and_on_another_port(world: World) -> None:
    action = world.script("action", "<Hangup/>")
    verb = f'<Record playBeep="false" timeout="8" finishOnKey="#" action="{action}"/>'
    call = await world.answered(await world.number(verb))
    call.rtp.say(tone(440, 1.0))
    await pause(1.1)
    await reinvite(call, "sendonly", 2)
    await pause(0.3)
    await reinvite(call, "sendrecv", 3)
    call.rtp.say(tone(800, 1.0))
    await pause(1.1)
    call.move()
    assert (await call.reinvite(call.body)).code == 200
    call.rtp.say(tone(1300, 1.0))
    await pause(1.2)
    call.rtp.press("#")
    asked = await world.asked("action")
    await call.over()

    samples = read_wav((await world.rest.fetch(asked.form["RecordingUrl"])).body)
    found = [(round(t.frequency), round(t.seconds, 2)) for t in tones(samples)]
    for frequency in (440, 800, 1300):
        seconds = sum(s for f, s in found if abs(f - frequency) < 30)
        assert 0.75 < seconds < 1.1, found
    assert asked.form["Digits"] == "#"


@case
async def test_digits_arrive_after_a_move_to_another_port(world: World) -> None:
    action = world.script("action", "<Hangup/>")
    verb = f'<Gather numDigits="2" action="{action}">{world.play(440, 8)}</Gather>'
    call = await world.answered(await world.number(verb))
    await hears(call, 440, 0.2)
    call.move()
    assert (await call.reinvite(call.body)).code == 200
    call.rtp.press("42")
    assert (await world.asked("action")).form["Digits"] == "42"
    await call.over()


# ------------------------------------------------------------------ INFO


@case
async def test_all_forms_of_info_are_digits_and_others_are_refused(world: World) -> None:
    action = world.script("action", "<Hangup/>")
    verb = f'<Gather numDigits="7" finishOnKey="" timeout="4" action="{action}"/>'
    call = await world.answered(await world.number(verb))

    async def info(kind: str, body: str) -> int:
        headers = [("Content-Type", kind)] if kind else []
        return (await call.ask("INFO", headers, body.encode())).code

    assert await info("application/dtmf-relay", "Signal=1\r\nDuration=160\r\n") == 200
    assert await info("application/dtmf-relay", "Signal= 2\nDuration= 250\n") == 200
    assert await info("application/dtmf-relay", "Signal=*\r\n") == 200
    assert await info("application/dtmf", "4") == 200
    assert await info("Application/DTMF-Relay; charset=utf-8", "Signal=5\r\nDuration=100\r\n") == 200
    assert await info("application/dtmf-relay", "Signal=#\r\nDuration=160\r\n") == 200
    assert await info("", "") == 200
    assert await info("text/plain", "7") == 415
    assert await info("application/dtmf-relay", "Signal=pound\r\n") == 400
    assert await info("application/dtmf", "x") == 400
    assert world.count("action") == 0
    assert await info("application/dtmf", "7\r\n") == 200
    assert (await world.asked("action")).form["Digits"] == "12*45#7"
    await call.over()


# ------------------------------------------------------------------ TCP


@case
async def test_a_call_over_tcp_is_ended_by_the_engine_on_the_same_connection(world: World) -> None:
    phone = await world.phone(transport="tcp")
    call = phone.call(await world.number(world.play(440, 0.6)))
    answer = await call.answered()
    assert "transport=tcp" in answer.get("Contact").lower()
    bye = await call.over()
    assert bye.get("Via").startswith("SIP/2.0/TCP")
    assert tones(call.heard())[0].frequency == pytest.approx(440, abs=30)
    assert (await world.rest.ended(answer.get("X-RestComm-CallSid")))["status"] == "completed"


@case
async def test_a_call_over_tcp_is_held_and_ended_by_the_caller(world: World) -> None:
    phone = await world.phone(transport="tcp")
    call = phone.call(await world.number(world.play(440, 12)))
    sid = (await call.answered()).get("X-RestComm-CallSid")
    await hears(call, 440)
    await reinvite(call, "sendonly", 2)
    await reinvite(call, "sendrecv", 3)
    await hears(call, 440)
    assert (await call.bye()).code == 200
    assert (await world.rest.ended(sid))["status"] == "completed"


@case
async def test_a_cancel_over_tcp_is_a_canceled_call(world: World) -> None:
    phone = await world.phone(transport="tcp")
    number = await world.number("<Pause length='5'/><Reject/>")
    call = phone.call(number)
    await call.response(180)
    assert (await call.cancel()).code == 200
    assert (await call.final()).code == 487
    assert (await world.row(number))["status"] == "canceled"


# ------------------------------------------------------------------ IPv6


class Phone6(Phone):
    """A phone whose signalling is IPv6; its audio is IPv4."""

    async def open(self) -> Phone6:
        """Open the socket at ::1."""
        from sipphone import _Udp

        self._link = _Udp(self._received)
        self._socket = reactor.listenUDP(0, self._link, interface="::1", maxPacketSize=65536)
        self.port = self._socket.getHost().port
        return self

    @property
    def address(self) -> str:
        """The From."""
        return f"<sip:{self.user}@[::1]:{self.port}>"

    @property
    def contact(self) -> str:
        """The Contact."""
        return f"<sip:{self.user}@[::1]:{self.port}>"

    def via(self, branch: str) -> str:
        """A Via."""
        return f"SIP/2.0/UDP [::1]:{self.port};rport;branch={branch}"

    def send(self, message: Any) -> None:
        """Send once."""
        if self._link.transport is not None:
            self._link.transport.write(bytes(message), ("::1", self.engine[1]))


async def phone6(world: World, user: str) -> Phone6:
    """A phone at ::1."""
    uri = next(x for x in world.engine.credentials["sip"] if x.startswith("udp://[::1]"))
    phone = await Phone6(("[::1]", int(uri.rpartition(":")[2])), user).open()
    world._phones.append(phone)
    return phone


@case
async def test_a_call_over_ipv6_has_its_audio_over_ipv4(world: World) -> None:
    phone = await phone6(world, "+15550006")
    call = phone.call(await world.number(world.play(440, 0.6) + "<Gather numDigits='1' timeout='1'/>"))
    answer = await call.answered()
    assert b"c=IN IP4 127.0.0.1" in answer.body
    assert "[::1]" in answer.get("Contact")
    await hears(call, 440)
    await reinvite(call, "sendonly", 2)
    await reinvite(call, "sendrecv", 3)
    bye = await call.over()
    assert bye.get("Via").startswith("SIP/2.0/UDP [::1]:")
    assert (await world.asked("voice")).form["From"] == "+15550006"


@case
async def test_a_client_registered_over_ipv6_can_be_called(world: World) -> None:
    await world.rest.client("six", "RestComm1234")
    phone = await phone6(world, "six")
    assert (await phone.register("six", "RestComm1234")).code == 200
    url = world.script("voice", world.play(600, 0.4))
    row = await world.rest.start_call(From="+1", To="client:six", Url=url)
    call = await phone.offered()
    call.answer()
    await call.over()
    assert [round(t.frequency / 50) for t in tones(call.heard())] == [12]
    assert (await world.rest.ended(row["sid"]))["status"] == "completed"
