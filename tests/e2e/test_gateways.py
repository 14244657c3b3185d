"""Registrations of the engine with a provider: digest, refresh, restarts, refusals; calls from there."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from harness import EngineProcess
from pytest_twisted import async_yield_fixture, ensureDeferred
from sipphone import Phone, _Udp
from siptext import Message, reply_to, uri_of
from waiting import eventually, reactor
from world import World

pytestmark = pytest.mark.loopback

REALM = "provider.example"
PASSWORD = "trunk-secret"


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


class Registrar(Phone):
    """A provider: takes registrations with digest, and calls from its address."""

    def __init__(self, engine: tuple[str, int], granted: int = 600) -> None:
        super().__init__(engine, "provider")
        self.granted = granted
        self.bindings: dict[str, int] = {}
        """Contact -> seconds that were granted."""
        self.accepted: list[Message] = []
        """REGISTERs with good credentials."""
        self.refused = 0
        """REGISTERs with wrong credentials."""
        self._nonces: set[str] = set()

    async def open(self, port: int = 0) -> Registrar:
        """Open the socket, on the port of an earlier one to be that again."""
        self._link = _Udp(self._received)
        self._socket = reactor.listenUDP(port, self._link, interface="127.0.0.1", maxPacketSize=65536)
        self.port = self._socket.getHost().port
        return self

    def _request(self, request: Message) -> None:
        if request.method != "REGISTER":
            super()._request(request)
            return
        given = request.get("Authorization")
        if not given or not self._good(request, given):
            self.refused += bool(given)
            nonce = secrets.token_hex(8)
            self._nonces.add(nonce)
            asked = f'Digest realm="{REALM}", nonce="{nonce}", algorithm=MD5, qop="auth"'
            self.send(reply_to(request, 401, tag="r", headers=[("WWW-Authenticate", asked)]))
            return
        self.accepted.append(request)
        contact, expires = uri_of(request.get("Contact")), int(request.get("Expires"))
        self.bindings.pop(contact, None)
        if expires:
            self.bindings[contact] = min(expires, self.granted)
        values = [("Contact", f"<{uri}>;expires={seconds}") for uri, seconds in self.bindings.items()]
        self.send(reply_to(request, 200, tag="r", headers=values))
        self.changes.tell()

    def _good(self, request: Message, given: str) -> bool:
        fields = dict(re.findall(r'(\w+)="?([^",]+)"?', given.partition(" ")[2]))
        secret = md5(f"{fields['username']}:{REALM}:{PASSWORD}")
        asked = md5(f"REGISTER:{fields['uri']}")
        middle = f"{fields['nonce']}:{fields['nc']}:{fields['cnonce']}:auth"
        return fields["nonce"] in self._nonces and fields["response"] == md5(f"{secret}:{middle}:{asked}")

    async def has(self, what: Callable[[Registrar], bool], within: float, text: str) -> None:
        """Wait for a state."""
        await self.changes.until(lambda: what(self), within, lambda: f"{text}; {self.messages[-3:]}")


@pytest.fixture(scope="module")
def engine(engines: Callable[..., EngineProcess]) -> EngineProcess:
    """An engine that takes calls of clients and trunks only."""
    return engines("sip.anonymous_calls=false")


@async_yield_fixture
async def registrar(engine: EngineProcess) -> AsyncIterator[Registrar]:
    """A provider."""
    made = await Registrar(engine.address()).open()
    yield made
    await made.close()


async def gateway(world: World, registrar: Registrar, **changes: str) -> dict[str, Any]:
    """Add a gateway over REST."""
    settings = {
        "UserName": "trunk",
        "Password": PASSWORD,
        "Proxy": f"127.0.0.1:{registrar.port}",
        "Register": "true",
    }
    reply = await world.rest.post("Management/Gateways.json", **{**settings, **changes})
    assert reply.status == 200, reply.body
    found: dict[str, Any] = reply.json
    return found


async def state(world: World, sid: str, wanted: str, within: float = 3.0) -> None:
    """Wait for a state as REST shows it."""

    async def ask() -> str:
        return str((await world.rest.get(f"Management/Gateways/{sid}.json")).json["status"])

    await eventually(ask, lambda found: found == wanted, within, f"the gateway is {wanted}")


async def remove(world: World, sid: str) -> None:
    reply = await world.rest._ask("DELETE", f"{world.rest.base}/Management/Gateways/{sid}.json")
    assert reply.status == 200


async def gauge(world: World) -> float:
    return (await world.rest.metrics())["voiceengine_gateways_registered"]


@ensureDeferred
async def test_it_registers_refreshes_and_unregisters(world: World, registrar: Registrar) -> None:
    registrar.granted = 2
    sid = (await gateway(world, registrar))["sid"]
    await state(world, sid, "registered")
    assert await gauge(world) == 1
    host, port = world.engine.address()
    assert registrar.bindings == {f"sip:trunk@{host}:{port}": 2}

    await registrar.has(lambda r: len(r.accepted) >= 3, 6.0, "two refreshes")
    first, second, third = registrar.accepted[:3]
    assert first.get("Call-ID") == second.get("Call-ID") == third.get("Call-ID")
    numbers = [int(one.get("CSeq").split()[0]) for one in registrar.accepted[:3]]
    assert numbers == sorted(set(numbers))
    assert first.get("Expires") == "3600"
    assert first.start == f"REGISTER sip:127.0.0.1:{registrar.port} SIP/2.0"

    await remove(world, sid)
    await registrar.has(lambda r: not r.bindings, 3.0, "the gateway unregistered")
    assert registrar.accepted[-1].get("Expires") == "0"
    assert await gauge(world) == 0


@ensureDeferred
async def test_a_provider_that_restarts_is_registered_with_again(world: World, registrar: Registrar) -> None:
    registrar.granted = 2
    sid = (await gateway(world, registrar))["sid"]
    await state(world, sid, "registered")
    port = registrar.port
    await registrar.close()

    again = await Registrar(world.engine.address()).open(port)
    try:
        await again.has(lambda r: bool(r.bindings), 8.0, "the new provider knows the gateway")
        await state(world, sid, "registered")
        await remove(world, sid)
        await again.has(lambda r: not r.bindings, 3.0, "the gateway unregistered")
    finally:
        await again.close()
        await registrar.open()  # for its fixture


@ensureDeferred
async def test_a_wrong_password_is_refused_until_it_is_changed(world: World, registrar: Registrar) -> None:
    sid = (await gateway(world, registrar, Password="wrong"))["sid"]
    await state(world, sid, "refused")
    assert (registrar.refused, registrar.bindings) == (1, {})
    assert await gauge(world) == 0

    reply = await world.rest.post(f"Management/Gateways/{sid}.json", Password=PASSWORD)
    assert reply.status == 200
    await state(world, sid, "registered")
    assert "wrong" not in world.engine.log
    assert PASSWORD not in world.engine.log
    await remove(world, sid)
    await registrar.has(lambda r: not r.bindings, 3.0, "the gateway unregistered")


@ensureDeferred
async def test_switching_it_off_and_on(world: World, registrar: Registrar) -> None:
    sid = (await gateway(world, registrar, Register="false"))["sid"]
    await state(world, sid, "off")
    assert registrar.messages == []

    await world.rest.post(f"Management/Gateways/{sid}.json", Register="true")
    await state(world, sid, "registered")
    await world.rest.post(f"Management/Gateways/{sid}.json", Register="false")
    await state(world, sid, "off")
    await registrar.has(lambda r: not r.bindings, 3.0, "the gateway unregistered")
    await remove(world, sid)


@ensureDeferred
async def test_calls_from_a_gateway_reach_numbers_while_it_is_registered(
    world: World, registrar: Registrar
) -> None:
    number = await world.number("<Hangup/>")
    assert (await registrar.call(number).final()).code == 407

    sid = (await gateway(world, registrar))["sid"]
    await state(world, sid, "registered")
    call = registrar.call(number)
    await call.answered()
    await call.over()
    seen = await world.asked("voice")
    assert seen.parameters["To"] == number

    await remove(world, sid)
    await registrar.has(lambda r: not r.bindings, 3.0, "the gateway unregistered")
    assert (await registrar.call(number).final()).code == 407


@ensureDeferred
async def test_rows_are_registered_at_the_start_and_unregistered_at_the_end(tmp_path: Path) -> None:
    engine = await EngineProcess.start(tmp_path / "data")
    registrar = await Registrar(engine.address()).open()
    app: Any = None
    try:
        await gateway(World(engine, app, "kept"), registrar)
        await registrar.has(lambda r: bool(r.bindings), 3.0, "the gateway is registered")
        await engine.stop()
        assert registrar.bindings == {}

        listen = tuple(f"{kind}://127.0.0.1:{engine.address(kind)[1]}" for kind in ("udp", "tcp"))
        engine = await EngineProcess.start(tmp_path / "data", listen=listen)
        await registrar.has(lambda r: bool(r.bindings), 3.0, "the gateway is registered again")
    finally:
        await engine.stop()
        await registrar.close()
    assert registrar.bindings == {}
    assert not engine.problems
