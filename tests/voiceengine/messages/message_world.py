"""Messaging on a real store, a real location service and a real web application; the SIP edge is scripted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import attrs
from sipmessage import URI, Request
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import Site

from rcml.interpreter import InterpreterSettings
from voiceengine.calls.fetcher import WebClient
from voiceengine.calls.tables import StoreTables
from voiceengine.config import Settings, load
from voiceengine.messages.context import MessageContext
from voiceengine.messages.mail import MailService
from voiceengine.messages.service import MessageService
from voiceengine.messages.trunk import SipTrunkProvider
from voiceengine.sip.access import Access, Location
from voiceengine.sip.invite import CallerIdentity
from voiceengine.sip.message import Answer
from voiceengine.sip.transport import Listener
from voiceengine.store import Store
from voiceengine.store.query import ListQuery
from voiceengine.store.rows import Account, BindingRow, Client, MessageRow, Number, new_sid

REACTOR: Any = reactor
ORGANIZATION = "OR" + "0" * 32
AC = "AC" + "1" * 32
OTHER = "AC" + "2" * 32
NOW = 1_700_000_000.0
PROXY = "sip:trunk.example:5080"


@attrs.define
class FakeFlow:
    """A flow as far as messaging looks at it."""

    host: str = "127.0.0.1"
    listener: Listener = attrs.Factory(
        lambda: Listener("udp://127.0.0.1:5060", "udp", "127.0.0.1", 5060, "127.0.0.1")
    )


@attrs.define
class Sent:
    """A MESSAGE that the engine sent; `answer` ends it."""

    uri: str
    options: dict[str, Any]
    done: Deferred[Answer]

    @property
    def text(self) -> str:
        return str(self.options["body"].decode())

    @property
    def headers(self) -> dict[str, str]:
        return dict(self.options["headers"])

    def answer(self, code: int, phrase: str = "") -> None:
        self.done.callback(Answer(code=code, phrase=phrase))


class FakeEdge:
    """Keeps what is sent; `codes` answers at once, by user of the Request-URI or `*`."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.codes: dict[str, int] = {}
        self.unreachable = False
        self._waiting: list[tuple[int, Deferred[None]]] = []

    async def flow_to_uri(self, uri: URI) -> Any:
        if self.unreachable:
            raise OSError("no route")
        return FakeFlow()

    async def flow_to_binding(self, binding: BindingRow) -> Any:
        return await self.flow_to_uri(URI.parse(binding.contact))

    async def request(self, method: str, uri: str, flow: Any, **options: Any) -> Answer:
        assert method == "MESSAGE"
        one = Sent(uri, options, Deferred())
        self.sent.append(one)
        user = URI.parse(uri).user or ""
        code = self.codes.get(user, self.codes.get("*"))
        if code is not None:
            one.answer(code)
        waiting, self._waiting = self._waiting, []
        for count, waiter in waiting:
            if len(self.sent) >= count:
                waiter.callback(None)
            else:
                self._waiting.append((count, waiter))
        return await one.done

    async def nth(self, count: int) -> Sent:
        """The n-th MESSAGE, once it was sent."""
        if len(self.sent) < count:
            waiter: Deferred[None] = Deferred()
            self._waiting.append((count, waiter))
            waiter.addTimeout(5, REACTOR)
            await waiter
        return self.sent[count - 1]


@attrs.define
class Inbound:
    """A MESSAGE that arrives; `answered` fires with the final response."""

    request: Request
    identity: CallerIdentity
    content_type: str
    text: str
    flow: Any = attrs.Factory(FakeFlow)
    responses: list[tuple[int, str]] = attrs.Factory(list)
    answered: Deferred[int] = attrs.Factory(Deferred)

    def respond(self, code: int, phrase: str = "", headers: Any = ()) -> None:
        self.responses.append((code, phrase))
        self.answered.callback(code)

    @property
    def code(self) -> int | None:
        return self.responses[0][0] if self.responses else None


class App(Resource):
    """The web application: keeps its requests, answers by path."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.replies: dict[str, tuple[int, bytes]] = {}
        self.headers: dict[str, list[tuple[str, str]]] = {}
        self.cookies: list[str] = []
        self._waiting: list[tuple[str, int, Deferred[None]]] = []

    def render(self, request: Any) -> bytes:
        path = request.path.decode()
        text = request.content.read().decode() or request.uri.decode().partition("?")[2]
        self.seen.append((request.method.decode(), path, dict(parse_qsl(text, keep_blank_values=True))))
        self.cookies.append(request.getHeader("Cookie") or "")
        waiting, self._waiting = self._waiting, []
        for where, count, waiter in waiting:
            if len(self.asked(where)) >= count:
                waiter.callback(None)
            else:
                self._waiting.append((where, count, waiter))
        code, body = self.replies.get(path, (200, b"<Response/>"))
        request.setResponseCode(code)
        request.setHeader("Content-Type", "text/xml")
        for name, value in self.headers.get(path, ()):
            request.setHeader(name, value)
        return body

    def asked(self, path: str) -> list[dict[str, str]]:
        return [parameters for _, where, parameters in self.seen if where == path]

    async def nth(self, path: str, count: int = 1) -> dict[str, str]:
        """Parameters of the n-th request of a path, once it came."""
        if len(self.asked(path)) < count:
            waiter: Deferred[None] = Deferred()
            self._waiting.append((path, count, waiter))
            waiter.addTimeout(5, REACTOR)
            await waiter
        return self.asked(path)[count - 1]


class World:
    """Everything around a MessageService; the clock stands still until a test advances it."""

    def __init__(self, store: Store, **overrides: Any) -> None:
        values = {"sip.outbound_proxy.uri": PROXY, **overrides}
        self.settings: Settings = load(overrides=values, environ={})[0]
        self.store = store
        self.clock = Clock()
        self.edge = FakeEdge()
        self.app = App()
        self.port = REACTOR.listenTCP(0, Site(self.app), interface="127.0.0.1")
        self.url = f"http://127.0.0.1:{self.port.getHost().port}"
        self.web = WebClient(REACTOR, self.settings.web)
        self.location = Location(store, self.wall)
        self.access = Access(self.settings.sip, store, self.location, self.wall, Counter())
        self.service = self.make()

    def make(self) -> MessageService:
        """A service, as after a start of the engine."""
        tables = StoreTables(
            self.store,
            self.access,
            self.location,
            organization_sid=ORGANIZATION,
            own_hosts=["voiceengine"],
            wildcard=False,
            settings=self.settings.sip,
        )
        context = MessageContext(
            reactor=self.clock,
            wall=self.wall,
            settings=self.settings,
            store=self.store,
            edge=self.edge,
            access=self.access,
            location=self.location,
            web=self.web,
            tables=tables,
            interpreter=InterpreterSettings(),
            base_url=lambda: self.url,
        )
        mail = MailService(self.clock, self.wall, self.settings.mail, self.store, "example.org")
        return MessageService(context, SipTrunkProvider(self.edge, self.settings), mail)

    def wall(self) -> float:
        return NOW + self.clock.seconds()

    async def fill(self) -> None:
        """Two accounts, clients alice and bob."""
        for sid, name in ((AC, "one"), (OTHER, "two")):
            await self.store.accounts.add(
                Account(
                    sid=sid,
                    organization_sid=ORGANIZATION,
                    friendly_name=name,
                    email_address=f"{name}@example.com",
                    auth_token="",
                )
            )
        for login in ("alice", "bob"):
            await self.client(login)
        await self.service.start()

    async def client(self, login: str) -> Client:
        return await self.store.clients.add(
            Client(
                sid=new_sid("CL"),
                account_sid=AC,
                login=login,
                friendly_name=login,
                ha1_md5="",
                ha1_sha256="",
            )
        )

    async def number(self, text: str, account_sid: str = AC, **changes: Any) -> Number:
        values = {"sms_url": f"{self.url}/sms", "is_sip": True, **changes}
        row = Number(
            sid=new_sid("PN"), account_sid=account_sid, phone_number=text, friendly_name=text, **values
        )
        return await self.store.numbers.add(row)

    def register(self, login: str, *ports: int) -> Client:
        """Register phones, and tell the watchers."""
        client = self.store.clients.by_login(login)
        assert client is not None
        aor = self.access.aor(client)
        rows = [
            BindingRow(
                aor=aor,
                contact=f"sip:{login}@127.0.0.1:{port}",
                client_sid=client.sid,
                call_id="c",
                cseq=1,
                expires_at=self.wall() + 1e6,
                transport="udp",
                remote_host="127.0.0.1",
                remote_port=port,
                listener="udp://127.0.0.1:5060",
            )
            for port in ports or (6001,)
        ]
        self.location.update(aor, rows, ())
        self.location.announce(aor, client)
        return client

    def arrives(
        self,
        to: str,
        text: str = "hello",
        by: str = "",
        *,
        trunk: bool = False,
        content_type: str = "text/plain",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> Inbound:
        """A MESSAGE arrives; `by` is the login of a client, '' somebody outside."""
        client = self.store.clients.by_login(by) if by else None
        identity = CallerIdentity(
            client_sid=client.sid if client is not None else None, trunk="127.0.0.1" if trunk else None
        )
        lines = [
            f"MESSAGE sip:{to}@voiceengine SIP/2.0",
            "Via: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK1",
            f"From: <sip:{by or '+15550001'}@voiceengine>;tag=1",
            f"To: <sip:{to}@voiceengine>",
            "Call-ID: m@phone",
            "CSeq: 1 MESSAGE",
            *(f"{name}: {value}" for name, value in headers),
        ]
        request = Request.parse(("\r\n".join(lines) + "\r\n\r\n").encode())
        assert isinstance(request, Request)
        message = Inbound(request, identity, content_type, text)
        self.service.message(message)
        return message

    async def rows(self) -> list[MessageRow]:
        """All records, oldest first."""
        page = await self.store.messages.list(ListQuery(descending=False))
        return list(page.items)

    async def row(self, sid: str) -> MessageRow:
        found = await self.store.messages.get(sid)
        assert found is not None
        return found

    async def notices(self) -> list[int]:
        page = await self.store.notifications.list(ListQuery(descending=False))
        return [row.error_code for row in page.items]

    async def until(self, ready: Callable[[], bool]) -> None:
        """Turn the reactor until something is so."""
        for _ in range(500):
            if ready():
                return
            turn: Deferred[None] = Deferred()
            REACTOR.callLater(0.01, turn.callback, None)
            await turn
        raise AssertionError("it did not happen")

    async def stop(self) -> None:
        """Stop the service; its clock goes on until it has."""
        done = Deferred.fromCoroutine(self.service.stop())
        for _ in range(20):
            if done.called:
                break
            turn: Deferred[None] = Deferred()
            REACTOR.callLater(0.02, turn.callback, None)
            await turn
            self.clock.advance(1)
        await done

    async def close(self) -> None:
        await self.stop()
        await self.web.close()
        await self.port.stopListening()
        await self.store.close()


def headers_of(row: MessageRow) -> dict[str, str]:
    found: dict[str, str] = json.loads(row.headers)
    return found
