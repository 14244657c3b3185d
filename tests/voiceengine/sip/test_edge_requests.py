"""Requests of the engine itself outside of calls: REGISTER and MESSAGE on real sockets."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from edge_world import REACTOR, Socket, Stream, World, quiet, reply_to, until
from sipmessage import Request
from twisted.internet import protocol
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError

from voiceengine.sip.digest import Authenticator, NonceFactory, ha1
from voiceengine.sip.message import Answer
from voiceengine.sip.own_requests import CannotSend

pytestmark = pytest.mark.loopback

REALM = "provider"


def flow_of(world: World) -> Any:
    return world.edge.core.transports.known_flow("udp", "127.0.0.1", world.phone.port)


def ask(world: World, **options: Any) -> Deferred[Answer]:
    given: dict[str, Any] = {"from_": "sip:1111@voiceengine", "to": "<sip:bob@provider>", "body": b"Hello"}
    method = options.pop("method", "MESSAGE")
    flow = options.pop("flow", None) or flow_of(world)
    uri = options.pop("uri", f"sip:bob@127.0.0.1:{world.phone.port}")
    return Deferred.fromCoroutine(world.edge.request(method, uri, flow, **(given | options)))


class Guard:
    """Challenges and checks, with the authenticator of the engine."""

    def __init__(self, password: str = "secret") -> None:
        self.now = 1000.0
        self.password = password
        self._check = Authenticator(NonceFactory(b"k" * 32, 60))

    def challenge(self, *, stale: bool = False, name: str = "WWW-Authenticate") -> list[tuple[str, str]]:
        return [(name, value) for value in self._check.challenge(REALM, self.now, stale=stale)]

    def ok(self, request: Request, name: str = "Authorization") -> bool:
        verdict = self._check.verify(
            request.headers[name],
            request.method,
            str(request.uri),
            lambda user, realm, algorithm: ha1(user, realm, self.password, algorithm),
            self.now,
            REALM,
        )
        return verdict.ok


def cseq(request: Request) -> int:
    return request.cseq.sequence


@pytest_twisted.ensureDeferred
async def test_a_request_is_sent_and_its_answer_told(world: World) -> None:
    waiting = ask(world, headers=(("X-One", "1"),), content_type="text/plain;charset=UTF-8", call_id="c1")
    request = await world.phone.inbox.request("MESSAGE")
    world.say(reply_to(request, 100))
    world.say(reply_to(request, 202, ("X-Said", "a"), ("X-Said", "b"), tag="t"))
    answer = await waiting

    assert (answer.code, answer.phrase, answer.all("x-said")) == (202, "Said", ["a", "b"])
    assert request.body == b"Hello"
    headers = request.headers
    assert headers["Content-Type"] == "text/plain;charset=UTF-8"
    assert headers["To"] == "<sip:bob@provider>"
    assert headers["From"].startswith("<sip:1111@voiceengine>;tag=")
    assert (headers["Call-ID"], headers["CSeq"], headers["X-One"]) == ("c1", "1 MESSAGE", "1")
    assert headers["Max-Forwards"] == "70"
    assert headers["User-Agent"] == "voiceengine"
    assert headers["Content-Length"] == "5"
    assert f"127.0.0.1:{world.ports['udp']}" in headers["Via"]


@pytest.mark.parametrize(
    ("code", "challenge", "credentials"),
    [
        (401, "WWW-Authenticate", "Authorization"),
        (407, "Proxy-Authenticate", "Proxy-Authorization"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_challenge_is_answered_once(
    world: World, code: int, challenge: str, credentials: str
) -> None:
    guard = Guard()

    waiting = ask(world, username="trunk", password="secret", cseq=7)
    first = await world.phone.inbox.request("MESSAGE")
    world.say(reply_to(first, code, *guard.challenge(name=challenge)))
    second = await world.phone.inbox.request("MESSAGE")
    world.say(reply_to(second, code, *guard.challenge(name=challenge)))

    assert (await waiting).code == code
    assert guard.ok(second, credentials)
    assert (cseq(first), cseq(second)) == (7, 8)
    assert first.headers["Via"] != second.headers["Via"]
    assert first.headers["From"] == second.headers["From"]
    await quiet(world.phone.inbox)


@pytest_twisted.ensureDeferred
async def test_a_stale_nonce_is_renewed_once(world: World) -> None:
    guard = Guard()

    waiting = ask(world, username="trunk", password="secret")
    for stale in (False, True, True):
        request = await world.phone.inbox.request("MESSAGE")
        world.say(reply_to(request, 401, *guard.challenge(stale=stale)))

    assert (await waiting).code == 401
    await quiet(world.phone.inbox)


@pytest_twisted.ensureDeferred
async def test_a_proxy_and_a_server_may_both_challenge(world: World) -> None:
    guard = Guard()

    waiting = ask(world, username="trunk", password="secret")
    request = await world.phone.inbox.request("MESSAGE")
    world.say(reply_to(request, 407, *guard.challenge(name="Proxy-Authenticate")))
    request = await world.phone.inbox.request("MESSAGE")
    world.say(reply_to(request, 401, *guard.challenge()))
    request = await world.phone.inbox.request("MESSAGE")
    world.say(reply_to(request, 200))

    assert (await waiting).code == 200
    assert guard.ok(request, "Authorization")
    assert guard.ok(request, "Proxy-Authorization")


@pytest.mark.parametrize("options", [{}, {"username": "trunk", "password": "x"}])
@pytest_twisted.ensureDeferred
async def test_a_challenge_that_cannot_be_answered_is_the_answer(
    world: World, options: dict[str, str]
) -> None:
    waiting = ask(world, **options)
    request = await world.phone.inbox.request("MESSAGE")
    world.say(reply_to(request, 401, ("WWW-Authenticate", "Bearer x")))

    assert (await waiting).code == 401
    await quiet(world.phone.inbox)


@pytest_twisted.ensureDeferred
async def test_no_answer_is_408_and_nothing_is_left(world: World) -> None:
    answer = await ask(world, timeout=0.05)

    assert answer.code == 408
    first = await world.phone.inbox.raw()
    await quiet(world.phone.inbox, 0.7)  # no repetition after the end
    assert first.startswith(b"MESSAGE ")


@pytest_twisted.ensureDeferred
async def test_a_cancelled_request_is_not_repeated(world: World) -> None:
    waiting = ask(world)
    await world.phone.inbox.request("MESSAGE")
    waiting.cancel()

    with pytest.raises(CancelledError):
        await waiting
    await quiet(world.phone.inbox, 0.7)


@pytest_twisted.ensureDeferred
async def test_it_is_repeated_over_udp(world: World) -> None:
    waiting = ask(world)
    first = await world.phone.inbox.request("MESSAGE")
    second = await world.phone.inbox.request("MESSAGE")
    world.say(reply_to(second, 200))

    assert bytes(first) == bytes(second)
    assert (await waiting).code == 200


@pytest_twisted.ensureDeferred
async def test_closing_the_edge_ends_what_waits() -> None:
    world = World(["udp://127.0.0.1:0"])
    waiting = ask(world)
    await world.phone.inbox.request("MESSAGE")
    await world.close()

    assert (await waiting).code == 503


@pytest.mark.parametrize(
    "options",
    [
        {"headers": (("X-One", "a\r\nX-Two: b"),)},
        {"headers": (("X-One: a\r\nX-Two", "b"),)},
        {"headers": (("Content-Length", "4"),)},
        {"from_": "<sip:a@b>\r\nX: y"},
        {"to": "<sip:a@b>\n"},
        {"uri": "sip:a@b\r\nX: y"},
        {"uri": "mailto:x"},
        {"call_id": "a\rb"},
        {"contact": "<sip:a>\0"},
        {"content_type": "text/plain\r\n"},
        {"headers": (("X-One", "\ud800"),)},
        {"method": "INVITE"},
        {"method": "MESSAGE sip:x SIP/2.0\r\nX"},
    ],
)
@pytest_twisted.ensureDeferred
async def test_nothing_can_be_smuggled_in(world: World, options: dict[str, Any]) -> None:
    with pytest.raises(CannotSend):
        await ask(world, **options)

    assert world.phone.inbox.waiting == []


# ------------------------------------------------------------------------- large ones


async def listen_beside_the_phone(world: World, factory: protocol.ServerFactory) -> Any:
    """Listen on the phone's port by TCP as well; the phone moves when somebody else has it."""
    for _ in range(20):
        try:
            return REACTOR.listenTCP(world.phone.port, factory, interface="127.0.0.1")
        except CannotListenError:
            await world.phone.handle.stopListening()
            world.phone = Socket("127.0.0.1")
    raise AssertionError("no port is free for both")


@pytest_twisted.ensureDeferred
async def test_a_large_request_goes_by_tcp_when_the_peer_listens_there(world: World) -> None:
    accepted: Deferred[Stream] = Deferred()

    class Factory(protocol.ServerFactory):
        noisy = False

        def buildProtocol(self, addr: Any) -> Stream:
            stream = Stream()
            world.streams.append(stream)
            REACTOR.callLater(0, accepted.callback, stream)
            return stream

    port = await listen_beside_the_phone(world, Factory())
    try:
        waiting = ask(world, body=b"x" * 5_000)
        stream = await accepted
        request = await stream.inbox.request("MESSAGE")
        stream.transport.write(reply_to(request, 200))

        assert (await waiting).code == 200
        assert request.headers["Via"].startswith("SIP/2.0/TCP ")
        assert len(request.body) == 5_000
    finally:
        await port.stopListening()
    await quiet(world.phone.inbox)


@pytest_twisted.ensureDeferred
async def test_a_large_request_goes_by_udp_when_there_is_no_tcp(world: World) -> None:
    waiting = ask(world, body=b"x" * 5_000)
    request = await world.phone.inbox.request("MESSAGE")
    world.say(reply_to(request, 200))

    assert (await waiting).code == 200
    assert request.headers["Via"].startswith("SIP/2.0/UDP ")
    assert len(request.body) == 5_000


@pytest_twisted.ensureDeferred
async def test_what_no_datagram_holds_is_513(world: World) -> None:
    assert (await ask(world, body=b"x" * 70_000)).code == 513


@pytest_twisted.ensureDeferred
async def test_a_closed_connection_is_503(world: World) -> None:
    stream = await world.connect()
    where = stream.transport.getHost()
    stream.transport.write(world.request("OPTIONS", via=world.phone_via("TCP")))
    await stream.inbox.response(200)
    flow = world.edge.core.transports.known_flow("tcp", "127.0.0.1", where.port)
    assert flow is not None
    stream.transport.abortConnection()
    await stream.lost
    await until(lambda: not flow.alive)

    assert (await ask(world, flow=flow)).code == 503


@pytest_twisted.ensureDeferred
async def test_a_request_that_is_cancelled_while_it_connects_is_not_sent(world: World) -> None:
    connecting: Deferred[Any] = Deferred()
    world.edge.core.transports.flow_to = lambda *_: _waiting_for(connecting)  # type: ignore[method-assign]
    waiting = ask(world, body=b"x" * 5_000)
    waiting.cancel()

    with pytest.raises(CancelledError):
        await waiting
    await quiet(world.phone.inbox)


async def _waiting_for(connecting: Deferred[Any]) -> Any:
    try:
        return await connecting
    except CancelledError:
        raise OSError("cannot connect") from None  # as the real one does
