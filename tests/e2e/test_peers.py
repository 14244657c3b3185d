"""Peers that others wrote: sipp and the softphone; and an outbound proxy that asks for a password."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import EngineProcess
from processes import Program
from pytest_twisted import async_yield_fixture
from sipcall import Call
from sipphone import Phone
from siptext import Message
from sound import RATE, assert_tones, read_wav, silence, tone, tones, wav
from waiting import eventually, reactor, together
from world import World, case

from voiceengine.softphone.process import SoftphoneProcess

pytestmark = pytest.mark.loopback

SCENARIOS = Path(__file__).parent / "sipp"
REALM, USER, SECRET = "carrier.example", "trunkuser", "trunk-secret"


@async_yield_fixture(scope="module")
async def proxy() -> AsyncIterator[Phone]:
    """The outbound proxy."""
    phone = await Phone(("127.0.0.1", 9), "proxy").open()
    yield phone
    await phone.close()


@pytest.fixture(scope="module")
def engine(engines: Callable[..., EngineProcess], proxy: Phone) -> EngineProcess:
    """An engine with everything these peers need."""
    made = engines(
        "media.spare_workers=3",
        "media.inband_digits=true",
        f"sip.outbound_proxy.uri=sip:127.0.0.1:{proxy.port}",
        f"sip.outbound_proxy.username={USER}",
        f"sip.outbound_proxy.password={SECRET}",
    )
    proxy.engine = made.address()
    PROXY.append(proxy)
    return made


PROXY: list[Phone] = []


# ------------------------------------------------------------------ sipp


@case
async def test_sipp_makes_20_calls_at_10_a_second_without_a_failure(world: World) -> None:
    action = world.script("action", world.play(800, 0.3))
    number = await world.number(f'<Gather numDigits="1" timeout="6" action="{action}"/>')
    host, port = world.engine.address()
    folder = world.engine.data.parent / "sipp"
    folder.mkdir()
    command = [shutil.which("sipp") or "sipp", f"{host}:{port}", "-sf", str(SCENARIOS / "digit_then_bye.xml")]
    command += ["-s", number, "-m", "20", "-r", "10", "-l", "20", "-i", "127.0.0.1", "-nostdin"]
    command += ["-mi", "127.0.0.1", "-mp", "41000", "-trace_err", "-timeout", "25"]
    sipp = Program(command, folder, TERM="dumb")
    try:
        code = await sipp.ended(25.0)
    finally:
        await sipp.end()
    errors = [file.read_text() for file in folder.glob("*errors.log")]
    assert code == 0, (errors, sipp.output[-3000:])
    assert errors == []
    assert [seen.form["Digits"] for seen in world.app.requests(world.path("action"))] == ["1"] * 20
    rows = await eventually(
        lambda: world.rest.calls(To=number),
        lambda rows: [row["status"] for row in rows] == ["completed"] * 20,
        3.0,
        "20 completed calls",
    )
    assert len(rows) == 20


# ------------------------------------------------------------------ the softphone


async def softphone(world: World, method: str) -> None:
    """Register, dial, press keys, hear a tone, be hung up on."""
    login = f"soft-{method}"
    await world.rest.client(login, "RestComm1234")
    action = world.script(f"{method}-action", world.play(800, 1.0))
    verb = f'<Gather numDigits="4" timeout="5" action="{action}"/>'
    number = await world.number(verb, name=f"{method}-voice")
    host, port = world.engine.address()
    heard = world.engine.data.parent / f"{method}.wav"
    phone = SoftphoneProcess(
        reactor,
        server=f"{host}:{port}",
        user=login,
        password="RestComm1234",
        register=True,
        dial=number,
        digits="0.5:19*#" if method != "inband" else "0.5:1958",
        digit_method=method,
        record=str(heard),
        timeout=20,
    )
    try:
        await phone.wait_for("registered")
        await phone.wait_for("answered")
        asked = await world.asked(f"{method}-action", within=8)
        report = await phone.result(timeout=12)
    finally:
        phone.kill()
    expected = "1958" if method == "inband" else "19*#"
    assert asked.form["Digits"] == expected.partition("#")[0], (method, asked.form)
    assert asked.form["From"] == login
    assert (phone.exit_code, report["errors"]) == (0, [])
    assert report["call"]["hung_up_by"] == "remote"
    samples = read_wav(heard.read_bytes())
    print(method, "heard", tones(samples), len(samples) / RATE, report["call"]["rtp"], report["timeline"])
    assert_tones(samples, [(800, 1.0)], tolerance=0.15)


@case
async def test_the_softphone_dials_with_rfc4733_digits(world: World) -> None:
    await softphone(world, "rfc4733")


@case
async def test_the_softphone_dials_with_info_digits(world: World) -> None:
    await softphone(world, "info")


@case
async def test_the_softphone_dials_with_inband_digits(world: World) -> None:
    await softphone(world, "inband")


@case
async def test_what_the_softphone_plays_is_in_the_recording(world: World) -> None:
    file = world.engine.data.parent / "said.wav"
    file.write_bytes(wav(np.concatenate([silence(0.6), tone(600, 1.5)])))
    action = world.script("action", "<Hangup/>")
    number = await world.number(f'<Record playBeep="false" timeout="2" action="{action}"/>')
    host, port = world.engine.address()
    phone = SoftphoneProcess(reactor, server=f"{host}:{port}", dial=number, play=str(file), timeout=20)
    try:
        asked = await world.asked("action", within=8)
        report = await phone.result(timeout=8)
    finally:
        phone.kill()
    assert report["call"]["answered"]
    samples = read_wav((await world.rest.fetch(asked.form["RecordingUrl"])).body)
    assert_tones(samples, [(600, 1.5)])


@case
async def test_a_rest_call_reaches_a_registered_softphone(world: World) -> None:
    await world.rest.client("softcallee", "RestComm1234")
    host, port = world.engine.address()
    heard = world.engine.data.parent / "callee.wav"
    phone = SoftphoneProcess(
        reactor,
        server=f"{host}:{port}",
        user="softcallee",
        password="RestComm1234",
        register=True,
        wait=True,
        record=str(heard),
        timeout=20,
    )
    try:
        await phone.wait_for("registered")
        url = world.script("voice", world.play(1000, 1.0))
        row = await world.rest.start_call(From="+1", To="client:softcallee", Url=url)
        report = await phone.result(timeout=10)
    finally:
        phone.kill()
    assert (report["call"]["direction"], report["call"]["hung_up_by"]) == ("inbound", "remote")
    assert_tones(read_wav(heard.read_bytes()), [(1000, 1.0)], tolerance=0.15)
    assert (await world.rest.ended(row["sid"]))["status"] == "completed"


# ------------------------------------------------------------------ the outbound proxy


def digest_is_right(header: str, uri: str) -> bool:
    """Whether a Proxy-Authorization answers our challenge."""
    given = {k: v.strip('"') for k, v in re.findall(r'(\w+)=("[^"]*"|[^,\s]+)', header)}

    def md5(*parts: str) -> str:
        return hashlib.md5(":".join(parts).encode(), usedforsecurity=False).hexdigest()

    assert given["uri"] == uri, json.dumps(given)
    ha1, ha2 = md5(USER, REALM, SECRET), md5("INVITE", uri)
    expected = md5(ha1, given["nonce"], given["nc"], given["cnonce"], given["qop"], ha2)
    return given["username"] == USER and given["response"] == expected


async def at_proxy(proxy: Phone, number: str) -> Call:
    """The call to a number that came to the proxy."""

    def found() -> Call | None:
        return next((c for c in proxy.offers if c.invite.uri.startswith(f"sip:{number}@")), None)

    call: Any = await proxy.changes.until(found, 3.0, f"an INVITE to {number}")
    return call  # type: ignore[no-any-return]


async def challenged(call: Call, number: str) -> Message:
    """Ask for the password; returns the second INVITE."""
    challenge = f'Digest realm="{REALM}", nonce="n-{number}", algorithm=MD5, qop="auth"'
    call.refuse(407, [("Proxy-Authenticate", challenge)])
    phone = call.phone

    def again() -> Message | None:
        for _, message in phone.messages:
            if message.get("Call-ID") == call.call_id and message.get("Proxy-Authorization"):
                return message
        return None

    found: Any = await phone.changes.until(again, 3.0, "an INVITE with credentials")
    return found  # type: ignore[no-any-return]


@case
async def test_a_number_is_called_through_the_outbound_proxy_with_its_password(world: World) -> None:
    (proxy,) = PROXY
    number = "+15557770001"
    url, status = world.script("voice", world.play(600, 0.5)), world.script("status", "")
    row = await world.rest.start_call(From="+15550001", To=number, Url=url, StatusCallback=status)
    call = await at_proxy(proxy, number)
    assert "<sip:+15550001@" in call.invite.get("From")
    first = call.invite
    second = await challenged(call, number)
    assert int(second.get("CSeq").split()[0]) > int(first.get("CSeq").split()[0])
    assert digest_is_right(second.get("Proxy-Authorization"), second.uri)
    assert second.uri == f"sip:{number}@127.0.0.1:{proxy.port}"
    call.offered(second)
    call.ring()
    call.answer()
    await call.over()

    assert_tones(call.heard(), [(600, 0.5)])
    ended = await world.rest.ended(row["sid"])
    assert (ended["status"], ended["to"]) == ("completed", number)
    assert await world.statuses(4) == ["initiated", "ringing", "in-progress", "completed"]


@case
async def test_a_proxy_that_refuses_the_password_ends_the_call(world: World) -> None:
    (proxy,) = PROXY
    number = "+15557770002"
    row = await world.rest.start_call(From="+1", To=number, Url=world.script("voice", "<Hangup/>"))
    call = await at_proxy(proxy, number)
    call.offered(await challenged(call, number))
    challenge = f'Digest realm="{REALM}", nonce="n-{number}", algorithm=MD5, qop="auth"'
    call.refuse(407, [("Proxy-Authenticate", challenge)])
    assert (await world.rest.ended(row["sid"]))["status"] == "failed"
    mine = [m for _, m in proxy.messages if m.get("Call-ID") == call.call_id and m.method == "INVITE"]
    assert len({m.get("CSeq") for m in mine}) == 2
    assert world.count("voice") == 0


@case
async def test_a_proxy_that_is_busy_makes_a_busy_call(world: World) -> None:
    (proxy,) = PROXY
    numbers = ["+15557770003", "+15557770004"]

    async def refused(number: str, code: int, status: str) -> None:
        row = await world.rest.start_call(From="+1", To=number, Url=world.script("voice", "<Hangup/>"))
        call = await at_proxy(proxy, number)
        call.refuse(code)
        assert (await world.rest.ended(row["sid"]))["status"] == status

    await together([refused(numbers[0], 486, "busy"), refused(numbers[1], 404, "failed")])
