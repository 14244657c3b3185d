"""Listeners and flows on real sockets; only the idle timer runs on a hand-turned clock."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import protocol, reactor, task
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, connectProtocol
from twisted.internet.error import CannotListenError
from twisted.internet.testing import StringTransport

from voiceengine.sip import transport as transport_module
from voiceengine.sip.transport import (
    IDLE_SECONDS,
    MAX_UNSENT,
    STRANGER_SECONDS,
    Flow,
    Listener,
    TcpConnection,
    Transports,
    default_address,
    make_listener,
)

pytestmark = pytest.mark.loopback
REACTOR: Any = reactor
OPTIONS = b"OPTIONS sip:x SIP/2.0\r\nContent-Length: 0\r\n\r\n"
REPLY = b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"


class TimedReactor:
    """The real reactor with the time of a clock."""

    def __init__(self) -> None:
        self.clock = task.Clock()
        self.callLater = self.clock.callLater
        self.seconds = self.clock.seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(REACTOR, name)


class Inbox:
    """Keeps what was received."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, Flow]] = []

    def received(self, data: bytes, flow: Flow) -> None:
        self.messages.append((data, flow))


class Peer(protocol.Protocol):
    """The other end of a TCP connection."""

    transport: Any

    def __init__(self) -> None:
        self.got = b""
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.got += data

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(None)


class Datagrams(protocol.DatagramProtocol):
    noisy = False

    def __init__(self) -> None:
        self.got: list[bytes] = []

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.got.append(datagram)


class World:
    def __init__(self, max_connections: int = 100, limit: int = 4000) -> None:
        self.timed = TimedReactor()
        self.inbox = Inbox()
        self.counters: Counter[str] = Counter()
        self.made = Transports(
            self.timed, self.inbox, limit=limit, max_connections=max_connections, counters=self.counters
        )
        self.peers: list[Peer] = []
        self.accepted: list[Peer] = []
        self.ports: list[Any] = []

    def listen(self, uri: str, public: str = "") -> Listener:
        return self.made.listen(uri, public)

    async def connect(self, listener: Listener, peer: Peer | None = None) -> Peer:
        kind = TCP6ClientEndpoint if listener.is_v6 else TCP4ClientEndpoint
        found: Peer = await connectProtocol(kind(REACTOR, listener.host, listener.port), peer or Peer())
        self.peers.append(found)
        return found

    def datagrams(self, host: str) -> tuple[Datagrams, int]:
        made = Datagrams()
        port = REACTOR.listenUDP(0, made, interface=host, maxPacketSize=65536)
        self.ports.append(port)
        return made, port.getHost().port

    def server(self) -> tuple[list[Peer], int]:
        """A TCP server that is not of the engine."""
        accepted = self.accepted

        def build() -> Peer:
            accepted.append(Peer())
            return accepted[-1]

        factory = protocol.Factory.forProtocol(build)
        factory.noisy = False
        port = REACTOR.listenTCP(0, factory, interface="127.0.0.1")
        self.ports.append(port)
        return accepted, port.getHost().port

    async def close(self) -> None:
        for peer in [*self.peers, *self.accepted]:
            if not peer.lost.called and peer.transport is not None:
                peer.transport.abortConnection()
                await peer.lost
        await self.made.close()
        for port in self.ports:
            await port.stopListening()
        await task.deferLater(REACTOR, 0.01, lambda: None)


Make = Callable[..., World]


@pytest_twisted.async_yield_fixture
async def make() -> AsyncIterator[Make]:
    worlds: list[World] = []

    def new(**options: Any) -> World:
        worlds.append(World(**options))
        return worlds[-1]

    yield new
    for world in worlds:
        await world.close()


async def until(condition: Callable[[], Any], seconds: float = 3.0) -> None:
    deadline = REACTOR.seconds() + seconds
    while not condition():
        assert REACTOR.seconds() < deadline, "it did not happen"
        await task.deferLater(REACTOR, 0.005, lambda: None)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
@pytest_twisted.ensureDeferred
async def test_a_datagram_comes_in_and_the_reply_goes_back(make: Make, host: str) -> None:
    world = make()
    listener = world.listen(f"udp://{host}:0")
    peer, port = world.datagrams(host.strip("[]"))
    peer.transport.write(OPTIONS, (listener.host, listener.port))  # type: ignore[union-attr]
    await until(lambda: world.inbox.messages)

    data, flow = world.inbox.messages[0]
    flow.send(REPLY)
    await until(lambda: peer.got)

    assert data == OPTIONS
    assert (flow.transport, flow.host, flow.port) == ("udp", host.strip("[]"), port)
    assert flow.listener is listener
    assert flow.alive
    assert peer.got == [REPLY]
    assert listener.sent_by == f"{host}:{listener.port}"
    assert listener.port != 0


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
@pytest_twisted.ensureDeferred
async def test_a_message_on_tcp_comes_in_and_the_reply_goes_back(make: Make, host: str) -> None:
    world = make()
    listener = world.listen(f"tcp://{host}:0")
    peer = await world.connect(listener)
    peer.transport.write(OPTIONS[:10])
    peer.transport.write(OPTIONS[10:] + OPTIONS)
    await until(lambda: len(world.inbox.messages) == 2)

    data, flow = world.inbox.messages[0]
    flow.send(REPLY)
    await until(lambda: peer.got)

    assert data == OPTIONS
    assert (flow.transport, flow.host, flow.port) == (
        "tcp",
        host.strip("[]"),
        peer.transport.getHost().port,
    )
    assert flow.listener is listener
    assert peer.got == REPLY


@pytest.mark.parametrize("data", [b"\r\n\r\n", b"\r\n", b"\0", b"\0\0\0\0", b"  ", b""])
@pytest_twisted.ensureDeferred
async def test_keep_alive_datagrams_are_swallowed(make: Make, data: bytes) -> None:
    world = make()
    listener = world.listen("udp://127.0.0.1:0")
    peer, _ = world.datagrams("127.0.0.1")
    address = (listener.host, listener.port)
    peer.transport.write(data, address)  # type: ignore[union-attr]
    peer.transport.write(OPTIONS, address)  # type: ignore[union-attr]
    await until(lambda: world.inbox.messages)

    assert [data for data, _ in world.inbox.messages] == [OPTIONS]
    assert not world.counters


@pytest_twisted.ensureDeferred
async def test_a_ping_is_answered_by_a_pong(make: Make) -> None:
    """RFC 5626 section 4.4.1."""
    world = make()
    peer = await world.connect(world.listen("tcp://127.0.0.1:0"))
    peer.transport.write(b"\r\n\r\n")
    await until(lambda: peer.got)

    assert peer.got == b"\r\n"
    assert world.inbox.messages == []


@pytest_twisted.ensureDeferred
async def test_a_datagram_over_the_limit_is_counted_and_dropped(make: Make) -> None:
    world = make(limit=2000)
    listener = world.listen("udp://127.0.0.1:0")
    peer, _ = world.datagrams("127.0.0.1")
    peer.transport.write(b"x" * 2001, (listener.host, listener.port))  # type: ignore[union-attr]
    peer.transport.write(b"y" * 2000, (listener.host, listener.port))  # type: ignore[union-attr]
    await until(lambda: world.inbox.messages)

    assert [data[:1] for data, _ in world.inbox.messages] == [b"y"]
    assert world.counters["too_large"] == 1


@pytest_twisted.ensureDeferred
async def test_a_datagram_the_kernel_refuses_is_counted(make: Make) -> None:
    world = make()
    world.listen("udp://127.0.0.1:0")
    flow = world.made.known_flow("udp", "127.0.0.1", 9)
    assert flow is not None

    flow.send(b"x" * 70_000)

    assert world.counters["send_failed"] == 1


@pytest_twisted.ensureDeferred
async def test_a_flow_of_a_closed_listener_is_dead_and_drops(make: Make) -> None:
    world = make()
    world.listen("udp://127.0.0.1:0")
    flow = world.made.known_flow("udp", "127.0.0.1", 9)
    assert flow is not None
    await world.made._ports.pop().stopListening()

    flow.send(OPTIONS)

    assert not flow.alive


@pytest.mark.parametrize("kept", [False, True])
@pytest_twisted.ensureDeferred
async def test_an_idle_connection_is_closed_and_traffic_postpones_it(make: Make, kept: bool) -> None:
    """One that has neither registered nor called is closed sooner."""
    world = make()
    peer = await world.connect(world.listen("tcp://127.0.0.1:0"))
    await until(lambda: world.made._connections)
    connection = next(iter(world.made._connections.values()))
    if kept:
        connection.as_flow().keep()
    seconds = IDLE_SECONDS if kept else STRANGER_SECONDS
    world.timed.clock.advance(seconds - 1)
    peer.transport.write(b"\r\n\r\n")
    await until(lambda: peer.got)
    world.timed.clock.advance(seconds - 1)
    assert connection.alive

    world.timed.clock.advance(1)
    await peer.lost.addTimeout(2, REACTOR)

    assert not connection.alive
    assert world.timed.clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_an_idle_connection_with_unsent_bytes_is_closed_as_well(make: Make) -> None:
    """A peer that has gone silently never takes what waits for it."""
    world = make()
    listener = world.listen("tcp://127.0.0.1:0")
    with socket.create_connection((listener.host, listener.port)):
        await until(lambda: world.made._connections)
        connection = next(iter(world.made._connections.values()))
        while not connection._paused:
            connection.write(b"x" * 60_000)
            await task.deferLater(REACTOR, 0, lambda: None)

        world.timed.clock.advance(IDLE_SECONDS)
        await until(lambda: not world.made._connections)

        assert not connection.alive


@pytest_twisted.ensureDeferred
async def test_one_connection_too_many_is_closed_and_counted(make: Make) -> None:
    world = make(max_connections=2)
    listener = world.listen("tcp://127.0.0.1:0")
    first, _second = await world.connect(listener), await world.connect(listener)
    await until(lambda: len(world.made._connections) == 2)
    third = await world.connect(listener)
    await third.lost.addTimeout(2, REACTOR)

    assert world.counters["connections_refused"] == 1
    first.transport.abortConnection()
    await until(lambda: len(world.made._connections) == 1)
    await world.connect(listener)
    await until(lambda: len(world.made._connections) == 2)
    assert world.counters["connections_refused"] == 1


@pytest_twisted.ensureDeferred
async def test_a_reader_that_is_too_slow_is_cut_off(make: Make) -> None:
    world = make()
    listener = world.listen("tcp://127.0.0.1:0")
    with socket.create_connection((listener.host, listener.port)):
        await until(lambda: world.made._connections)
        connection = next(iter(world.made._connections.values()))
        flow = connection.as_flow()
        while not connection._paused:
            flow.send(b"x" * 10_000)
            await task.deferLater(REACTOR, 0, lambda: None)
        sent = 0
        while flow.alive:
            flow.send(b"x" * 10_000)
            sent += 10_000
            assert sent <= MAX_UNSENT + 20_000
            await task.deferLater(REACTOR, 0, lambda: None)

    assert world.counters["slow_readers"] == 1
    assert world.made._connections == {}


@pytest_twisted.ensureDeferred
async def test_a_reader_that_catches_up_is_kept(make: Make) -> None:
    world = make()
    listener = world.listen("tcp://127.0.0.1:0")
    with socket.create_connection((listener.host, listener.port)) as peer:
        peer.setblocking(False)
        await until(lambda: world.made._connections)
        connection = next(iter(world.made._connections.values()))
        for _ in range(3):
            while not connection._paused:
                connection.write(b"x" * 60_000)
                await task.deferLater(REACTOR, 0, lambda: None)
            connection.write(b"x" * 600_000)

            def caught_up() -> bool:
                try:
                    while peer.recv(1_000_000):
                        pass
                except BlockingIOError:
                    pass
                return not connection._paused

            await until(caught_up)

        assert connection.alive
        assert connection._unsent == 0
    assert not world.counters["slow_readers"]


def paused(counters: Counter[str]) -> tuple[TcpConnection, StringTransport]:
    """A connection whose peer does not read."""
    made = Transports(task.Clock(), Inbox(), limit=4000, max_connections=10, counters=counters)
    connection = TcpConnection(made, make_listener("tcp://127.0.0.1:5060", ""))
    wire: Any = StringTransport()
    wire.setTcpNoDelay = lambda on: None
    connection.makeConnection(wire)
    connection.pauseProducing()
    return connection, wire


@pytest.mark.timeout(60)
def test_pings_of_a_peer_that_does_not_read_do_not_fill_the_memory() -> None:
    counters: Counter[str] = Counter()
    connection, wire = paused(counters)

    for _ in range(100):
        if wire.disconnecting or wire.disconnected:
            break
        connection.dataReceived(b"\r\n\r\n" * 10_000)

    assert len(wire.value()) <= MAX_UNSENT
    assert wire.disconnecting or wire.disconnected


@pytest_twisted.ensureDeferred
async def test_a_stream_that_cannot_be_framed_is_closed_and_counted(make: Make) -> None:
    world = make()
    peer = await world.connect(world.listen("tcp://127.0.0.1:0"))
    peer.transport.write(OPTIONS + b"OPTIONS sip:x SIP/2.0\r\n\r\n" + OPTIONS)
    await peer.lost.addTimeout(2, REACTOR)

    assert [data for data, _ in world.inbox.messages] == [OPTIONS]
    assert world.counters["unframed"] == 1


@pytest_twisted.ensureDeferred
async def test_flow_to_connects_and_uses_the_connection_again(make: Make) -> None:
    world = make()
    listener = world.listen("tcp://127.0.0.1:0")
    accepted, port = world.server()
    assert world.made.known_flow("tcp", "127.0.0.1", port) is None

    flow = await world.made.flow_to("tcp", "127.0.0.1", port)
    again = await world.made.flow_to("tcp", "127.0.0.1", port)
    flow.send(OPTIONS)
    again.send(OPTIONS)
    await until(lambda: accepted and len(accepted[0].got) == 2 * len(OPTIONS))

    assert len(accepted) == 1
    assert flow.listener is listener
    known = world.made.known_flow("tcp", "127.0.0.1", port)
    assert known is not None
    accepted[0].transport.write(REPLY)
    await until(lambda: world.inbox.messages)
    assert world.inbox.messages[0][0] == REPLY

    accepted[0].transport.loseConnection()
    await until(lambda: not flow.alive)
    flow.send(OPTIONS)
    assert world.made.known_flow("tcp", "127.0.0.1", port) is None
    assert (await world.made.flow_to("tcp", "127.0.0.1", port)).alive


@pytest_twisted.ensureDeferred
async def test_a_connection_a_phone_made_is_used_to_reach_it(make: Make) -> None:
    world = make()
    listener = world.listen("tcp://127.0.0.1:0")
    peer = await world.connect(listener)
    await until(lambda: world.made._connections)
    port = peer.transport.getHost().port

    flow = world.made.known_flow("tcp", "127.0.0.1", port)

    assert flow is not None
    flow.send(OPTIONS)
    await until(lambda: peer.got == OPTIONS)


@pytest_twisted.ensureDeferred
async def test_a_port_nobody_listens_at_is_an_os_error(make: Make) -> None:
    world = make()
    world.listen("tcp://127.0.0.1:0")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="cannot connect"):
            await world.made.flow_to("tcp", "127.0.0.1", unused.getsockname()[1])


@pytest_twisted.ensureDeferred
async def test_flow_to_at_the_connection_limit_is_an_os_error(make: Make) -> None:
    world = make(max_connections=1)
    listener = world.listen("tcp://127.0.0.1:0")
    _, port = world.server()
    await world.connect(listener)
    await until(lambda: world.made._connections)

    with pytest.raises(OSError):
        await world.made.flow_to("tcp", "127.0.0.1", port)

    assert world.counters["connections_refused"] == 1


@pytest_twisted.ensureDeferred
async def test_a_transport_without_a_listener_is_an_os_error(make: Make) -> None:
    world = make()
    world.listen("udp://127.0.0.1:0")

    for transport, host in (("tcp", "127.0.0.1"), ("udp", "::1")):
        with pytest.raises(OSError, match="no listener"):
            await world.made.flow_to(transport, host, 5060)


@pytest_twisted.ensureDeferred
async def test_a_udp_flow_leaves_by_the_listener_of_its_family(make: Make) -> None:
    world = make()
    four = world.listen("udp://127.0.0.1:0")
    six = world.listen("udp://[::1]:0")

    flows = [await world.made.flow_to("udp", host, 5060) for host in ("127.0.0.1", "::1")]

    assert [flow.listener for flow in flows] == [four, six]


@pytest_twisted.ensureDeferred
async def test_a_udp_flow_prefers_the_listener_that_is_named_then_the_nearer_one(make: Make) -> None:
    world = make()
    world.listen("udp://0.0.0.0:0")
    loopback = world.listen("udp://127.0.0.1:0")

    flows = [
        world.made.known_flow("udp", "127.0.0.1", 5060),
        world.made.known_flow("udp", "192.0.2.1", 5060),
        world.made.known_flow("udp", "127.0.0.1", 5060, "udp://0.0.0.0:0"),
        world.made.known_flow("udp", "127.0.0.1", 5060, "udp://192.0.2.7:5060"),
    ]

    found = [flow.listener.uri for flow in flows if flow is not None]
    assert found == [loopback.uri, "udp://0.0.0.0:0", "udp://0.0.0.0:0", loopback.uri]


@pytest_twisted.ensureDeferred
async def test_names_are_resolved(make: Make) -> None:
    resolve = make().made.resolve

    assert await resolve("localhost") == "127.0.0.1"
    assert await resolve("192.0.2.1") == "192.0.2.1"
    assert await resolve("[2001:db8::1]") == "2001:db8::1"


@pytest.mark.parametrize("name", ["no-such-host.invalid", "a..b", "x" * 300, "é.invalid", "%41"])
@pytest_twisted.ensureDeferred
async def test_a_name_without_address_is_an_os_error(make: Make, name: str) -> None:
    """A caller, or an API user, writes it: nobody may wait for it for ever."""
    world = make()
    begin = REACTOR.seconds()
    found = Deferred.fromCoroutine(world.made.resolve(name)).addTimeout(6, REACTOR)
    with pytest.raises(OSError, match="has no address"):
        await found

    assert REACTOR.seconds() - begin < 5.5


@pytest_twisted.ensureDeferred
async def test_an_address_that_is_taken_is_refused(make: Make) -> None:
    world = make()
    listener = world.listen("udp://127.0.0.1:0")

    with pytest.raises(CannotListenError):
        make().listen(f"udp://127.0.0.1:{listener.port}")


@pytest.mark.parametrize(
    ("uri", "public", "sent_by"),
    [
        ("udp://127.0.0.1:5060", "", "127.0.0.1:5060"),
        ("tcp://[::1]:5062", "", "[::1]:5062"),
        ("udp://0.0.0.0:5060", "203.0.113.5", "203.0.113.5:5060"),
        ("udp://[::]:5060", "2001:db8::5", "[2001:db8::5]:5060"),
        ("udp://[::]:5060", "[2001:db8::5]", "[2001:db8::5]:5060"),
        ("udp://10.0.0.1:5060", "sip.example.org", "sip.example.org:5060"),
    ],
)
def test_a_listener_says_the_public_address(uri: str, public: str, sent_by: str) -> None:
    assert make_listener(uri, public).sent_by == sent_by


@pytest.mark.parametrize("uri", ["tls://127.0.0.1:5061", "udp://example.org:5060", "udp://127.0.0.1", ""])
def test_what_is_not_a_listener_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="is not a listener"):
        make_listener(uri, "")


def test_a_wildcard_is_known_by_an_address_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_address("192.0.2.9") == "192.0.2.9"
    assert default_address("0.0.0.0") != "0.0.0.0"
    assert default_address("::") != "::"

    class Offline(socket.socket):
        def connect(self, address: Any) -> None:
            raise OSError("unreachable")

    monkeypatch.setattr(transport_module.socket, "socket", Offline)

    assert [default_address("0.0.0.0"), default_address("::")] == ["127.0.0.1", "::1"]
