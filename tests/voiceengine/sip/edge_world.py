"""An edge between a phone and a worker: both are sockets of the test, everything between is real."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from sipmessage import URI, Message, Request, Response
from twisted.internet import protocol, reactor, task
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

from voiceengine.config import Sip
from voiceengine.sip.edge import Edge
from voiceengine.sip.framing import Framer
from voiceengine.sip.invite import CallerIdentity, InboundInvite
from voiceengine.sip.transport import Flow

REACTOR: Any = reactor

PHONE_SDP = (
    "v=0\r\no=alice 5 1 IN IP4 127.0.0.1\r\ns=call\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=x-secret:1\r\n"
)
WORKER_SDP = (
    "v=0\r\no=- 7 1 IN IP4 127.0.0.1\r\ns=pjmedia\r\nb=AS:84\r\nt=0 0\r\na=X-nat:0\r\n"
    "m=audio 20000 RTP/AVP 0 101\r\nc=IN IP4 127.0.0.1\r\na=rtcp:20001 IN IP4 127.0.0.1\r\n"
    "a=sendrecv\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
)
SDP_TYPE = ("Content-Type", "application/sdp")
KEY = "leg1"


def text_of(first: str, headers: list[tuple[str, str]], body: str = "") -> bytes:
    lines = [first, *(f"{name}: {value}" for name, value in headers), f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


class Inbox:
    """What arrived at a socket, one message at a time."""

    def __init__(self) -> None:
        self.waiting: list[bytes] = []
        self._waiter: Deferred[bytes] | None = None

    def arrived(self, data: bytes) -> None:
        if self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            waiter.callback(data)
        else:
            self.waiting.append(data)

    async def raw(self, seconds: float = 2.0) -> bytes:
        if self.waiting:
            return self.waiting.pop(0)
        self._waiter = Deferred()
        return await self._waiter.addTimeout(seconds, REACTOR)

    async def next(self, seconds: float = 2.0) -> Any:
        return Message.parse(await self.raw(seconds))

    async def response(self, code: int, seconds: float = 2.0) -> Response:
        found = await self.next(seconds)
        assert isinstance(found, Response), found.method
        assert found.code == code, bytes(found)
        return found

    async def request(self, method: str, seconds: float = 2.0) -> Request:
        found = await self.next(seconds)
        assert isinstance(found, Request), bytes(found)
        assert found.method == method
        return found


class Socket(protocol.DatagramProtocol):
    noisy = False

    def __init__(self, interface: str = "127.0.0.1") -> None:
        self.inbox = Inbox()
        self.handle = REACTOR.listenUDP(0, self, interface=interface, maxPacketSize=65536)
        self.port: int = self.handle.getHost().port
        self.host = interface

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.inbox.arrived(datagram)

    def send(self, data: bytes, port: int) -> None:
        self.transport.write(data, (self.host, port))  # type: ignore[union-attr]


class Stream(protocol.Protocol):
    transport: Any

    def __init__(self) -> None:
        self.inbox = Inbox()
        self.raw = Inbox()
        self.framed = True
        self._framer = Framer(65536)
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        if not self.framed:
            self.raw.arrived(data)
            return
        for message in self._framer.feed(data):
            self.inbox.arrived(message)

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(None)


@attrs.define
class Leg:
    """As much of a MediaLeg as the edge uses."""

    sip_port: int


class Handler:
    """Forwards every INVITE to the worker at once, unless told otherwise."""

    def __init__(self, leg: Leg) -> None:
        self.accepting = True
        self.leg = leg
        self.decide: Callable[[InboundInvite], None] = lambda invite: invite.forward(KEY, self.leg)
        self.invites: list[InboundInvite] = []
        self.refused: list[tuple[int, str]] = []

    def invite(self, invite: InboundInvite) -> None:
        self.invites.append(invite)
        invite.on_refused = lambda code, phrase: self.refused.append((code, phrase))
        self.decide(invite)


class Open:
    """Lets everybody in."""

    def identify(self, request: Request, flow: Flow) -> CallerIdentity | list[tuple[str, str]]:
        return CallerIdentity()

    def register(self, request: Request, flow: Flow) -> tuple[int, list[tuple[str, str]], bool]:
        return 200, [], True


class World:
    """An edge, a phone, a worker."""

    def __init__(self, listen: list[str], **settings: Any) -> None:
        self.edge = Edge(REACTOR, Sip(listen=listen, **settings))
        self.internal = self.edge.open_internal()
        self.worker = Socket()
        self.leg = Leg(self.worker.port)
        self.handler = Handler(self.leg)
        self.edge.listen(Open(), Open(), self.handler)
        listeners = self.edge.core.transports.listeners
        self.ports = {listener.transport: listener.port for listener in listeners}
        self.phone = Socket("::1" if listeners[0].is_v6 else "127.0.0.1")
        self.branch = 0
        self.streams: list[Stream] = []

    async def close(self) -> None:
        for stream in self.streams:
            if not stream.lost.called:
                stream.transport.abortConnection()
                await stream.lost
        await self.edge.close()
        for item in (self.worker, self.phone):
            await item.handle.stopListening()
        await task.deferLater(REACTOR, 0, lambda: None)

    async def connect(self) -> Stream:
        endpoint = TCP4ClientEndpoint(REACTOR, "127.0.0.1", self.ports["tcp"])
        stream: Stream = await connectProtocol(endpoint, Stream())
        self.streams.append(stream)
        return stream

    # ------------------------------------------------ what the phone sends

    def phone_via(self, transport: str = "UDP", branch: str = "") -> str:
        self.branch += 1
        host = "[::1]" if ":" in self.phone.host else self.phone.host
        branch = branch or f"z9hG4bKp{self.branch}"
        return f"SIP/2.0/{transport} {host}:{self.phone.port};rport;branch={branch}"

    def request(
        self,
        method: str,
        *more: tuple[str, str],
        uri: str = "sip:1111@voiceengine",
        to: str = "<sip:1111@voiceengine>",
        cseq: int = 1,
        body: str = "",
        via: str = "",
        without: tuple[str, ...] = (),
    ) -> bytes:
        host = "[::1]" if ":" in self.phone.host else self.phone.host
        headers = [
            ("Via", via or self.phone_via()),
            ("Max-Forwards", "70"),
            ("From", '"Alice" <sip:alice@voiceengine>;tag=phone'),
            ("To", to),
            ("Call-ID", "call@phone"),
            ("CSeq", f"{cseq} {method}"),
            ("Contact", f"<sip:alice@{host}:{self.phone.port}>"),
        ]
        names = {name for name, _ in more} | set(without)
        headers = [pair for pair in headers if pair[0] not in names] + list(more)
        return text_of(f"{method} {uri} SIP/2.0", headers, body)

    def say(self, data: bytes) -> None:
        self.phone.send(data, self.ports["udp"])

    def invite(self, *more: tuple[str, str], body: str = PHONE_SDP, via: str = "", **options: Any) -> bytes:
        if "Content-Type" not in {name for name, _ in more} and body:
            more = (*more, SDP_TYPE)
        return self.request("INVITE", *more, body=body, via=via, **options)

    # ------------------------------------------------ what the worker sends

    def answer(self, request: Request, code: int, body: str = "", *more: tuple[str, str]) -> None:
        """Like pjsip: From and To are written anew."""
        to = request.headers["To"]
        headers = [("Via", value) for value in request.headers.getlist("Via")]
        if code > 100 and "tag=" not in to:
            to += ";tag=worker"
        headers += [
            ("Call-ID", request.headers["Call-ID"]),
            ("From", request.headers["From"].replace('"Alice" ', "")),
            ("To", to),
            ("CSeq", request.headers["CSeq"]),
            ("Contact", f"<sip:worker@127.0.0.1:{self.worker.port}>"),
            *more,
        ]
        if body:
            headers.append(SDP_TYPE)
        self.worker.send(text_of(f"SIP/2.0 {code} Said", headers, body), self.internal)

    def worker_request(
        self,
        method: str,
        uri: str,
        *more: tuple[str, str],
        to: str,
        from_: str = "<sip:1111@voiceengine>;tag=worker",
        cseq: int = 1,
        branch: str = "",
        call_id: str = "call@phone",
        body: str = "",
    ) -> bytes:
        self.branch += 1
        headers = [
            (
                "Via",
                f"SIP/2.0/UDP 127.0.0.1:{self.worker.port};rport;branch={branch or f'z9hG4bKw{self.branch}'}",
            ),
            ("Max-Forwards", "70"),
            ("From", from_),
            ("To", to),
            ("Call-ID", call_id),
            ("CSeq", f"{cseq} {method}"),
            *more,
        ]
        if body:
            headers.append(SDP_TYPE)
        return text_of(f"{method} {uri} SIP/2.0", headers, body)

    async def established(self) -> tuple[Response, Request]:
        """An inbound call that is up; the 200 the phone got and the INVITE the worker got."""
        self.say(self.invite())
        await self.phone.inbox.response(100)
        forwarded = await self.worker.inbox.request("INVITE")
        self.answer(forwarded, 200, WORKER_SDP)
        ok = await self.phone.inbox.response(200)
        self.say(self.inside(ok, "ACK", cseq=1))
        await self.worker.inbox.request("ACK")
        return ok, forwarded

    def inside(
        self, ok: Response, method: str, *more: tuple[str, str], cseq: int = 2, body: str = "", via: str = ""
    ) -> bytes:
        """A request of the phone inside the dialog that `ok` made."""
        target = str(ok.contact[0].uri)
        route = ok.headers["Record-Route"]
        return self.request(
            method, ("Route", route), *more, uri=target, to=ok.headers["To"], cseq=cseq, body=body, via=via
        )


async def quiet(inbox: Inbox, seconds: float = 0.1) -> None:
    """Nothing arrives for a while."""
    waited = Deferred[None]()
    REACTOR.callLater(seconds, waited.callback, None)
    await waited
    assert inbox.waiting == []


async def until(condition: Callable[[], bool], seconds: float = 2.0) -> None:
    """Wait for a state of the edge that nothing on the wire tells."""
    deadline = REACTOR.seconds() + seconds
    while not condition():
        assert REACTOR.seconds() < deadline, "it did not happen"
        await task.deferLater(REACTOR, 0.005, lambda: None)


def reply_to(request: Request, code: int, *more: tuple[str, str], tag: str = "", body: str = "") -> bytes:
    """A response of the phone to a request that it got."""
    headers = [("Via", value) for value in request.headers.getlist("Via")]
    headers += [("Record-Route", value) for value in request.headers.getlist("Record-Route")]
    to = request.headers["To"] + (f";tag={tag}" if tag else "")
    headers += [("From", request.headers["From"]), ("To", to)]
    headers += [(name, request.headers[name]) for name in ("Call-ID", "CSeq")] + list(more)
    if body:
        headers.append(SDP_TYPE)
    return text_of(f"SIP/2.0 {code} Said", headers, body)


async def outbound(world: World, stream: Stream | None = None, identity: str = "") -> tuple[Request, bytes]:
    """The worker's INVITE as the phone got it, and the worker's own bytes."""
    if stream is not None:
        where = stream.transport.getHost()
        flow: Any = world.edge.core.transports.known_flow("tcp", "127.0.0.1", where.port)
    else:
        flow = await world.edge.flow_to_uri(URI.parse(f"sip:bob@127.0.0.1:{world.phone.port}"))
    world.edge.expect("out@engine", KEY, world.leg, flow, identity)
    data = world.worker_request(
        "INVITE",
        f"sip:bob@127.0.0.1:{world.phone.port}",
        ("Contact", f"<sip:worker@127.0.0.1:{world.worker.port}>"),
        ("X-RestComm-CallSid", "CA1"),
        to=f"<sip:bob@127.0.0.1:{world.phone.port}>",
        from_="<sip:1000@127.0.0.1>;tag=wtag",
        branch="z9hG4bKout",
        call_id="out@engine",
        body=WORKER_SDP,
    )
    world.worker.send(data, world.internal)
    await world.worker.inbox.response(100)
    inbox = stream.inbox if stream is not None else world.phone.inbox
    return await inbox.request("INVITE"), data


def contact_of(world: World) -> tuple[str, str]:
    return ("Contact", f"<sip:bob@127.0.0.1:{world.phone.port};x=1>")
