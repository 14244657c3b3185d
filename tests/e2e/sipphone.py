"""A phone that tests hold in their hands: raw SIP over UDP or TCP, exact about what it is told."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import Any

from sipcall import Call
from siptext import Message, credentials, new_branch, reply_to
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import DatagramProtocol, Protocol
from waiting import Changes, now, reactor

T1 = 0.5
OUTSIDE = "+15550001"


class _Udp(DatagramProtocol):
    noisy = False

    def __init__(self, received: Callable[[bytes], None]) -> None:
        self._received = received

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._received(datagram)

    def connectionRefused(self) -> None:
        """The engine is not there any more."""


class _Tcp(Protocol):
    def __init__(self, received: Callable[[bytes], None]) -> None:
        self._received = received
        self._data = b""

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        while True:
            head, end, rest = self._data.partition(b"\r\n\r\n")
            if not end:
                return
            lengths = [x for x in head.split(b"\r\n") if x.lower().startswith(b"content-length:")]
            length = int(lengths[0].partition(b":")[2]) if lengths else 0
            if len(rest) < length:
                return
            self._data = rest[length:]
            if head.strip():
                self._received(head + end + rest[:length])


class Phone:
    """A SIP user agent at 127.0.0.1.

    Args:
        engine: address of the engine's listener.
        user: user part of From and Contact.
        transport: udp or tcp.
    """

    def __init__(self, engine: tuple[str, int], user: str = OUTSIDE, transport: str = "udp") -> None:
        self.engine = engine
        self.user = user
        self.transport = transport
        self.changes = Changes()
        self.calls: dict[str, Call] = {}
        self.offers: list[Call] = []
        self.messages: list[tuple[float, Message]] = []
        """All that came."""
        self.texts: list[Message] = []
        """MESSAGE requests that came, without repetitions."""
        self.text_codes: list[int] = [200]
        """How they are answered: one code after the other, the last one for ever; 0: not at all."""
        self._text_answers: dict[str, int] = {}
        self._answers: dict[tuple[str, str], Callable[[Message], None]] = {}
        self._socket: Any = None
        self._link: Any = None
        self.port = 0

    async def open(self) -> Phone:
        """Open the socket."""
        if self.transport == "udp":
            self._link = _Udp(self._received)
            self._socket = reactor.listenUDP(0, self._link, interface="127.0.0.1", maxPacketSize=65536)
            self.port = self._socket.getHost().port
            return self
        endpoint = TCP4ClientEndpoint(reactor, *self.engine, bindAddress=("127.0.0.1", 0))
        self._link = await connectProtocol(endpoint, _Tcp(self._received))
        self.port = self._link.transport.getHost().port
        return self

    async def close(self) -> None:
        """End what is up, and close the socket."""
        for call in list(self.calls.values()):
            if call.live:
                try:
                    await (call.bye() if call.answered_at else call.cancel())
                except AssertionError:  # the test has failed anyway, or the engine is gone
                    pass
            call.close()
        if self._socket is not None:
            await self._socket.stopListening()
        elif self._link is not None:
            self._link.transport.abortConnection()

    # -------------------------------------------------------------- addresses

    @property
    def address(self) -> str:
        """The From of this phone, without a tag."""
        return f"<sip:{self.user}@127.0.0.1:{self.port}>"

    @property
    def contact(self) -> str:
        """The Contact of this phone."""
        suffix = ";transport=tcp" if self.transport == "tcp" else ""
        return f"<sip:{self.user}@127.0.0.1:{self.port}{suffix}>"

    @property
    def uri(self) -> str:
        """The URI at which this phone can be called directly."""
        return self.contact[1:-1]

    def via(self, branch: str) -> str:
        """A Via."""
        return f"SIP/2.0/{self.transport.upper()} 127.0.0.1:{self.port};rport;branch={branch}"

    # -------------------------------------------------------------- messages

    def send(self, message: Message | bytes) -> None:
        """Send once."""
        if self.transport == "udp":
            if self._link.transport is not None:
                self._link.transport.write(bytes(message), self.engine)
        else:
            self._link.transport.write(bytes(message))

    def transmit(self, request: Message, answered: Callable[[Message], None], key: str = "") -> None:
        """Send a request, over UDP again until anything answers it."""
        place = (request.branch, key or request.method)
        interval = T1
        timer: Any = None

        def again() -> None:
            nonlocal interval, timer
            self.send(request)
            interval *= 2
            timer = reactor.callLater(interval, again) if interval < 8 else None

        def got(response: Message) -> None:
            if timer is not None and timer.active():
                timer.cancel()
            answered(response)

        self._answers[place] = got
        self.send(request)
        if self.transport == "udp":
            timer = reactor.callLater(interval, again)

    async def ask(self, request: Message, within: float = 3.0, key: str = "") -> Message:
        """Send a request and wait for its final response."""
        done: Deferred[Message] = Deferred()
        codes: list[int] = []

        def got(response: Message) -> None:
            codes.append(response.code)
            if response.code >= 200 and not done.called:
                done.callback(response)

        def late() -> None:
            if not done.called:
                done.errback(AssertionError(f"no answer to {request.start} within {within:g} s; got {codes}"))

        timer = reactor.callLater(within, late)
        self.transmit(request, got, key)
        try:
            return await done
        finally:
            if timer.active():
                timer.cancel()

    def _received(self, data: bytes) -> None:
        if not data.strip():
            return
        message = Message.parse(data)
        self.messages.append((now(), message))
        if message.code:
            answer = self._answers.get((message.branch, message.method))
            if answer is not None:
                answer(message)
        else:
            self._request(message)
        self.changes.tell()

    def _request(self, request: Message) -> None:
        call = self.calls.get(request.get("Call-ID"))
        if call is not None:
            if request.method == "INVITE" and "tag=" not in request.get("To"):
                return  # a repetition; the answer is repeated by whoever waits for it
            call.received(request)
        elif request.method == "INVITE":
            call = Call(self, request.get("Call-ID"), outgoing=False)
            call.offered(request)
            self.calls[call.call_id] = call
            self.offers.append(call)
        elif request.method == "MESSAGE":
            self._text(request)
        else:
            self.send(reply_to(request, 200 if request.method == "OPTIONS" else 481))

    def _text(self, request: Message) -> None:
        code = self._text_answers.get(request.branch)
        if code is None:
            code = self.text_codes.pop(0) if len(self.text_codes) > 1 else self.text_codes[0]
            self._text_answers[request.branch] = code
            self.texts.append(request)
        if code:
            self.send(reply_to(request, code, tag=secrets.token_hex(4)))

    # -------------------------------------------------------------- what a phone does

    def call(
        self,
        to: str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
        sender: str = "",
        login: tuple[str, str] = ("", ""),
    ) -> Call:
        """Call somebody; `login` answers a challenge."""
        call = Call(self, f"{secrets.token_hex(8)}@e2e", outgoing=True)
        call.login = login
        self.calls[call.call_id] = call
        call.start(to, headers, body, sender)
        return call

    async def offered(self, number: int = 1, within: float = 3.0) -> Call:
        """The n-th call of the engine to this phone."""
        found = await self.changes.until(
            lambda: self.offers[number - 1] if len(self.offers) >= number else None,
            within,
            f"call {number} to {self.user}",
        )
        assert found is not None
        return found

    async def text(self, number: int = 1, within: float = 3.0) -> Message:
        """The n-th MESSAGE to this phone."""
        found = await self.changes.until(
            lambda: self.texts[number - 1] if len(self.texts) >= number else None,
            within,
            f"message {number} to {self.user}",
        )
        assert found is not None
        return found

    async def send_text(
        self,
        to: str,
        text: str,
        *,
        login: tuple[str, str] = ("", ""),
        headers: Iterable[tuple[str, str]] = (),
        content_type: str = "text/plain",
        within: float = 3.0,
    ) -> Message:
        """Send a MESSAGE to a number or name at the engine; `login` answers a challenge.

        Returns:
            The final response (to the request with credentials, if it was challenged).
        """
        host, port = self.engine
        uri = f"sip:{to}@{host}:{port}"
        request = self.request(
            "MESSAGE", uri, f"<sip:{to}@{host}>", [("Content-Type", content_type), *headers]
        )
        request.headers = [(n, v) for n, v in request.headers if n != "Contact"]
        request.body = text.encode()
        response = await self.ask(request, within)
        if response.code not in (401, 407) or not login[0]:
            return response
        challenge, name = "WWW-Authenticate", "Authorization"
        if response.code == 407:
            challenge, name = "Proxy-Authenticate", "Proxy-Authorization"
        answer = credentials(response.all(challenge), "MESSAGE", uri, *login)
        kept = [(n, v) for n, v in request.headers if n not in ("Via", "CSeq")]
        again = Message(request.start, [("Via", self.via(new_branch())), *kept], request.body)
        again.headers += [("CSeq", "2 MESSAGE"), (name, answer)]
        return await self.ask(again, within)

    def request(self, method: str, uri: str, to: str, headers: Iterable[tuple[str, str]] = ()) -> Message:
        """A request outside of calls."""
        made = Message(f"{method} {uri} SIP/2.0")
        made.headers = [
            ("Via", self.via(new_branch())),
            ("Max-Forwards", "70"),
            ("From", f"{self.address};tag={secrets.token_hex(6)}"),
            ("To", to),
            ("Call-ID", f"{secrets.token_hex(8)}@e2e"),
            ("CSeq", f"1 {method}"),
            ("Contact", self.contact),
            *headers,
        ]
        return made

    async def register(self, login: str, password: str, expires: int = 600, contact: str = "") -> Message:
        """Register; returns the response to the REGISTER with credentials."""
        challenge, again = await self.prepared(login, password, expires, contact)
        assert challenge.code == 401, challenge
        return await self.ask(again)

    async def prepared(
        self, login: str, password: str, expires: int = 600, contact: str = ""
    ) -> tuple[Message, Message]:
        """Ask for a challenge; returns it and the REGISTER with credentials, which was not sent."""
        host, port = self.engine
        uri = f"sip:{host}:{port}"
        aor = f"<sip:{login}@{host}>"
        request = self.request("REGISTER", uri, aor, [("Expires", str(expires))])
        request.headers = [(n, f"{aor};tag=r" if n == "From" else v) for n, v in request.headers]
        if contact:
            request.headers = [(n, contact if n == "Contact" else v) for n, v in request.headers]
        challenge = await self.ask(request)
        answer = credentials(challenge.all("WWW-Authenticate"), "REGISTER", uri, login, password)
        kept = [(n, v) for n, v in request.headers if n not in ("Via", "CSeq")]
        again = Message(request.start, [("Via", self.via(new_branch())), *kept])
        again.headers += [("CSeq", "2 REGISTER"), ("Authorization", answer)]
        return challenge, again
