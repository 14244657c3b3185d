"""Listeners and flows: UDP sockets and TCP connections that carry SIP."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

import attrs
from twisted.internet import protocol
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, connectProtocol
from twisted.internet.error import MessageLengthError
from twisted.logger import Logger

from voiceengine.sip.framing import Framer, FramingError

log = Logger()

RECEIVE_BUFFER = 8 * 1024 * 1024
RESOLVE_SECONDS = 4.0
STRANGER_SECONDS = 32.0
"""The same for a peer that has neither registered nor called."""
MAX_UNSENT = 1_000_000
"""Bytes that may wait for a peer that does not read, beyond the transport's own buffer."""
IDLE_SECONDS = 3700.0
"""A TCP connection without any traffic is closed; registrations and keep-alives are more frequent."""

_NAME = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})\.)*[A-Za-z0-9_][A-Za-z0-9_-]{0,62}\.?")
_URI = re.compile(r"^(udp|tcp)://(\[?[0-9A-Fa-f:.]+\]?):(\d+)$")


class Flow(Protocol):
    """Where a message came from, and the way back to it."""

    @property
    def transport(self) -> str:
        """`udp` or `tcp`."""
        ...

    @property
    def host(self) -> str:
        """Numeric address of the peer."""
        ...

    @property
    def port(self) -> int:
        """Port of the peer."""
        ...

    @property
    def listener(self) -> Listener:
        """The listener it belongs to."""
        ...

    @property
    def alive(self) -> bool:
        """Whether something can be sent on it."""
        ...

    def send(self, data: bytes) -> None:
        """Send one message; a dead flow drops it."""
        ...

    def keep(self) -> None:
        """The peer proved to be somebody: let an idle connection stand."""
        ...


class Receiver(Protocol):
    """Who takes what arrives."""

    def received(self, data: bytes, flow: Flow) -> None:
        """One datagram or one framed message."""
        ...


@attrs.define(eq=False)
class Listener:
    """One configured listener."""

    uri: str
    transport: str
    host: str
    port: int
    public_host: str
    """Host as phones are told it; IPv6 in brackets."""

    @property
    def sent_by(self) -> str:
        """Host and port for Via, Contact and Record-Route."""
        return f"{self.public_host}:{self.port}"

    @property
    def is_v6(self) -> bool:
        """Whether it listens on an IPv6 address."""
        return ":" in self.host


def default_address(host: str) -> str:
    """The address of this machine that a wildcard listener is best known by."""
    v6 = ":" in host
    if host not in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return host
    family, probe = (socket.AF_INET6, "2001:db8::1") if v6 else (socket.AF_INET, "192.0.2.1")
    with socket.socket(family, socket.SOCK_DGRAM) as trial:
        try:
            trial.connect((probe, 9))
            return str(trial.getsockname()[0])
        except OSError:
            return "::1" if v6 else "127.0.0.1"


def make_listener(uri: str, public_address: str) -> Listener:
    """Build a listener from its setting (`udp://ADDRESS:PORT`)."""
    match = _URI.match(uri)
    if match is None:
        raise ValueError(f"{uri} is not a listener")
    host = match[2].strip("[]")
    public = public_address or default_address(host)
    if ":" in public and not public.startswith("["):
        public = f"[{public}]"
    return Listener(uri, match[1], host, int(match[3]), public)


@attrs.frozen(eq=False)
class UdpFlow:
    """A peer's address behind a UDP listener."""

    socket: UdpPort
    host: str
    port: int
    transport: str = "udp"

    @property
    def listener(self) -> Listener:
        """The listener it belongs to."""
        return self.socket.listener

    @property
    def alive(self) -> bool:
        """UDP always is, while the listener is open."""
        return self.socket.transport is not None

    def send(self, data: bytes) -> None:
        """Send one datagram."""
        self.socket.send(data, (self.host, self.port))

    def keep(self) -> None:
        """Nothing to keep."""


class UdpPort(protocol.DatagramProtocol):
    """A UDP socket that carries SIP."""

    noisy = False

    def __init__(self, listener: Listener, receiver: Receiver, counters: Counter[str], limit: int) -> None:
        self.listener = listener
        self._receiver = receiver
        self._counters = counters
        self._limit = limit

    def startProtocol(self) -> None:  # noqa: N802 - the name is Twisted's
        """Make the receive buffer large enough for a burst."""
        transport: Any = self.transport
        for option in (getattr(socket, "SO_RCVBUFFORCE", 33), socket.SO_RCVBUF):
            try:
                transport.socket.setsockopt(socket.SOL_SOCKET, option, RECEIVE_BUFFER)
                break
            except OSError:
                continue

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:  # noqa: N802 - the name is Twisted's
        """One datagram; keep-alives (only line ends or NULs) are swallowed."""
        if len(datagram) <= 8 and not datagram.strip(b"\r\n\0 "):
            return
        if len(datagram) > self._limit:
            self._counters["too_large"] += 1
            return
        self._receiver.received(datagram, UdpFlow(self, addr[0], addr[1]))

    def send(self, data: bytes, address: tuple[str, int]) -> None:
        """Send one datagram; what the kernel refuses is counted."""
        if self.transport is None:
            return
        try:
            self.transport.write(data, address)
        except (OSError, OverflowError, MessageLengthError):
            self._counters["send_failed"] += 1

    def connectionRefused(self) -> None:  # noqa: N802 - the name is Twisted's
        """An ICMP error; retransmission and timeouts deal with it."""


class TcpConnection(protocol.Protocol):
    """A TCP connection, itself a flow."""

    transport: Any

    def __init__(self, manager: Transports, listener: Listener) -> None:
        self._manager = manager
        self._listener = listener
        self._framer = Framer(manager.limit)
        self._idle: Any = None
        self.host = ""
        self.port = 0
        self._peer_transport: Any = None
        self._paused = False
        self._unsent = 0
        self._kept = False

    @property
    def listener(self) -> Listener:
        """The listener it belongs to."""
        return self._listener

    @property
    def alive(self) -> bool:
        """Whether it is connected."""
        return self._peer_transport is not None

    def connectionMade(self) -> None:  # noqa: N802 - the names are Twisted's
        """Take part in the table of flows."""
        peer: Any = self.transport.getPeer()
        self.host, self.port = peer.host, peer.port
        if not self._manager.admit(self):
            self.transport.abortConnection()
            return
        self._peer_transport = self.transport
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, streaming=True)  # tells how much waits to be sent
        self._touch()

    def _touch(self) -> None:
        seconds = IDLE_SECONDS if self._kept else STRANGER_SECONDS
        if self._idle is not None and self._idle.active():
            self._idle.reset(seconds)
        else:
            self._idle = self._manager.reactor.callLater(seconds, self.transport.abortConnection)

    def keep(self) -> None:
        """The peer proved to be somebody."""
        if not self._kept:
            self._kept = True
            if self.alive:
                self._touch()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Cut into messages; a stream that cannot be framed is closed."""
        self._touch()
        try:
            for message in self._framer.feed(data):
                if message is Framer.PING:
                    self.write(b"\r\n")
                else:
                    self._manager.receiver.received(message, self.as_flow())
        except FramingError as error:
            self._manager.counters["unframed"] += 1
            log.info("stream_unreadable peer={peer} reason={reason}", peer=self.host, reason=str(error))
            self.transport.loseConnection()

    def as_flow(self) -> TcpFlow:
        """The flow of this connection."""
        return TcpFlow(self, self.host, self.port)

    def write(self, data: bytes) -> None:
        """Send; a slow reader is cut off rather than filling the memory."""
        if self._peer_transport is None:
            return
        if self._paused:
            self._unsent += len(data)
            if self._unsent > MAX_UNSENT:
                self._manager.counters["slow_readers"] += 1
                log.info("slow_reader_cut_off peer={peer}", peer=self.host)
                self._peer_transport.abortConnection()
                return
        self._peer_transport.write(data)

    def pauseProducing(self) -> None:  # noqa: N802 - the names are Twisted's
        """The peer reads slower than we write."""
        self._paused = True

    def resumeProducing(self) -> None:  # noqa: N802
        """The peer has caught up."""
        self._paused = False
        self._unsent = 0

    def stopProducing(self) -> None:  # noqa: N802
        """The connection is lost."""

    def connectionLost(self, reason: Any = None) -> None:  # noqa: N802
        """Leave the table."""
        self._peer_transport = None
        if self._idle is not None and self._idle.active():
            self._idle.cancel()
        self._manager.lost(self)


@attrs.frozen(eq=False)
class TcpFlow:
    """The way back over a TCP connection."""

    connection: TcpConnection
    host: str
    port: int
    transport: str = "tcp"

    @property
    def listener(self) -> Listener:
        """The listener it belongs to."""
        return self.connection.listener

    @property
    def alive(self) -> bool:
        """Whether the connection stands."""
        return self.connection.alive

    def send(self, data: bytes) -> None:
        """Send one message."""
        self.connection.write(data)

    def keep(self) -> None:
        """Let the connection stand while it is idle."""
        self.connection.keep()


class Transports:
    """All listeners and connections."""

    def __init__(
        self, reactor: Any, receiver: Receiver, *, limit: int, max_connections: int, counters: Counter[str]
    ) -> None:
        self.reactor = reactor
        self.receiver = receiver
        self.limit = limit
        self.counters = counters
        self.listeners: list[Listener] = []
        self._max_connections = max_connections
        self._udp: dict[str, UdpPort] = {}
        self._ports: list[Any] = []
        self._connections: dict[tuple[str, int], TcpConnection] = {}

    def listen(self, uri: str, public_address: str) -> Listener:
        """Open a listener.

        Raises:
            twisted.internet.error.CannotListenError: the address is taken or not this machine's.
        """
        listener = make_listener(uri, public_address)
        if listener.transport == "udp":
            udp = UdpPort(listener, self.receiver, self.counters, self.limit)
            port = self.reactor.listenUDP(listener.port, udp, interface=listener.host, maxPacketSize=65536)
        else:
            factory = protocol.Factory.forProtocol(lambda: TcpConnection(self, listener))
            factory.noisy = False
            port = self.reactor.listenTCP(listener.port, factory, backlog=512, interface=listener.host)
        listener.port = port.getHost().port
        if listener.transport == "udp":
            self._udp[listener.uri] = udp
        self._ports.append(port)
        self.listeners.append(listener)
        return listener

    async def close(self) -> None:
        """Close everything."""
        for port in self._ports:
            await port.stopListening()
        for connection in list(self._connections.values()):
            connection.transport.abortConnection()

    def admit(self, connection: TcpConnection) -> bool:
        """Whether one more connection is allowed; enters it."""
        if len(self._connections) >= self._max_connections:
            self.counters["connections_refused"] += 1
            return False
        self._connections[connection.host, connection.port] = connection
        return True

    def lost(self, connection: TcpConnection) -> None:
        """Remove a connection."""
        if self._connections.get((connection.host, connection.port)) is connection:
            del self._connections[connection.host, connection.port]

    def _listener_for(self, transport: str, host: str, preferred: str = "") -> Listener | None:
        v6 = ":" in host
        fitting = [x for x in self.listeners if x.transport == transport and x.is_v6 == v6]
        for listener in fitting:
            if listener.uri == preferred:
                return listener
        loopback = ipaddress.ip_address(host).is_loopback
        fitting.sort(key=lambda x: ipaddress.ip_address(x.host).is_loopback != loopback)
        return fitting[0] if fitting else None

    def known_flow(self, transport: str, host: str, port: int, listener_uri: str = "") -> Flow | None:
        """A flow that needs no connecting: UDP, or a TCP connection that stands."""
        if transport == "tcp":
            connection = self._connections.get((host, port))
            return connection.as_flow() if connection is not None and connection.alive else None
        listener = self._listener_for("udp", host, listener_uri)
        return UdpFlow(self._udp[listener.uri], host, port) if listener is not None else None

    async def flow_to(self, transport: str, host: str, port: int, timeout: float = 5.0) -> Flow:
        """A flow to a numeric address, connecting if need be.

        Raises:
            OSError: it cannot be reached.
        """
        known = self.known_flow(transport, host, port)
        if known is not None:
            return known
        listener = self._listener_for(transport, host)
        if transport != "tcp" or listener is None:
            raise OSError(f"no listener for {transport} to {host}")
        kind: Callable[..., Any] = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
        endpoint = kind(self.reactor, host, port, timeout=timeout)
        try:
            connection: TcpConnection = await connectProtocol(endpoint, TcpConnection(self, listener))
        except Exception as error:
            raise OSError(f"cannot connect to {host}:{port}: {error}") from None
        if not connection.alive:
            raise OSError(f"no more connections are allowed, or {host}:{port} closed at once")
        connection.keep()
        return connection.as_flow()

    async def resolve(self, host: str) -> str:
        """Numeric address of a host name.

        Raises:
            OSError: there is none.
        """
        plain = host.strip("[]")
        try:
            ipaddress.ip_address(plain)
        except ValueError:
            if len(plain) > 253 or not _NAME.fullmatch(plain):
                raise OSError(f"{plain[:64]} has no address: it is not a host name") from None
            found: Deferred[str] = self.reactor.resolve(plain, timeout=(1, 3))
            found.addTimeout(RESOLVE_SECONDS, self.reactor)
            try:
                return await found
            except Exception as error:
                raise OSError(f"{plain} has no address: {error}") from None
        return plain
