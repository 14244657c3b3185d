from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import attrs
import pytest_twisted
import treq
import twilio.rest
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.static import Data

from voiceengine.api import ApiDeps, build_site
from voiceengine.calls.supervision import Supervision
from voiceengine.config import load
from voiceengine.store import Store
from voiceengine.store.passwords import hash_password
from voiceengine.store.rows import Account, CallRow, Organization, new_sid
from voiceengine.testing.call_control import FakeCallControl, FakeConferences

REACTOR: Any = reactor
ORGANIZATION = "OR" + "0" * 32
PASSWORD = "RestComm12"
TOKEN = "0123456789abcdef0123456789abcdef"


@attrs.define
class Answer:
    code: int
    headers: Any
    text: str
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def xml(self) -> Any:
        return ET.fromstring(self.text)

    def header(self, name: str) -> str:
        return (self.headers.getRawHeaders(name) or [""])[0]


class Gateways:
    """Notes that the rows changed; every gateway is registered."""

    def __init__(self) -> None:
        self.changes = 0

    def changed(self) -> None:
        self.changes += 1

    def state(self, sid: str) -> str:
        return "registered"


class Api:
    """A running site and the ways to ask it."""

    def __init__(self, store: Store, control: FakeCallControl, folder: Path) -> None:
        self.store = store
        self.control = control
        self.rooms = FakeConferences(store)
        self.folder = folder
        self.changes = 0
        self.live: dict[str, Any] = {}
        """Calls that the supervisor sees."""
        self.supervision = Supervision(self.live, self, REACTOR.seconds, "ID" + "0" * 32)
        self.cache = folder.parent / "cache"
        self.spoken: list[tuple[str, str, str]] = []
        self.mute: Exception | None = None
        """Raised instead of speaking, when set."""
        self.gateways = Gateways()
        self.ready: Any = True
        self.port = 0
        self.routes: tuple[Any, ...] = ()
        self.settings: Any = None
        self.pool = HTTPConnectionPool(REACTOR, persistent=False)
        self.agent = Agent(REACTOR, pool=self.pool)
        self.admin = self.account("AC" + "a" * 32, "admin@example.com", parent_sid=None)
        self.child = self.account("AC" + "b" * 32, "child@example.com")
        self.sibling = self.account("AC" + "c" * 32, "sibling@example.com")

    def account(self, sid: str, email: str, **changes: Any) -> Account:
        values: dict[str, Any] = {"parent_sid": "AC" + "a" * 32, "organization_sid": ORGANIZATION}
        return Account(
            sid=sid,
            friendly_name="Support desk",
            email_address=email,
            auth_token=TOKEN,
            **{**values, **changes},
        )

    async def ask(
        self, method: str, path: str, *, by: Any = "", accept: str | None = None, **more: Any
    ) -> Answer:
        """Ask as the admin, another account or (None) nobody; `~` is the path of the admin account."""
        if by == "":
            by = self.admin
        if by is not None:
            more["auth"] = (by.sid, by.auth_token) if isinstance(by, Account) else by
        if accept is not None:
            more["headers"] = {**more.get("headers", {}), "Accept": accept}
        path = path.replace("~", f"/restcomm/2012-04-24/Accounts/{self.admin.sid}")
        response = await treq.request(method, f"http://127.0.0.1:{self.port}{path}", agent=self.agent, **more)
        raw = await response.content()
        return Answer(response.code, response.headers, raw.decode("utf-8", "replace"), raw)

    def registrations(self) -> int:
        return 1

    def media(self) -> dict[str, int]:
        return {"legs": 4, "links": 1, "bridges": 2}

    def conferences_live(self) -> int:
        return 1

    async def speak(self, text: str, gender: str, language: str) -> Path:
        self.spoken.append((text, gender, language))
        if self.mute is not None:
            raise self.mute
        path = self.folder.parent / "spoken.wav"
        path.write_bytes(b"RIFF" + text.encode())
        return path

    async def by_twilio(self, use: Callable[[Any], None]) -> None:
        """Run a function with a client of the `twilio` library in a thread; only its base URL is changed."""
        client = twilio.rest.Client(self.admin.sid, self.admin.auth_token)
        client.api.base_url = f"http://127.0.0.1:{self.port}"
        await deferToThread(use, client)

    async def get(self, path: str, **more: Any) -> Answer:
        return await self.ask("GET", path, **more)

    async def post(self, path: str, data: Any = None, **more: Any) -> Answer:
        return await self.ask("POST", path, data=data or {}, **more)

    def call(self, **changes: Any) -> CallRow:
        values: dict[str, Any] = {
            "sid": new_sid("CA"),
            "instance_id": "ID" + "0" * 32,
            "account_sid": self.admin.sid,
            "to": "+15126002188",
            "from_": "alice",
            "direction": "inbound",
            "status": "in-progress",
        }
        row = CallRow(**{**values, **changes})
        self.store.calls.save(row)
        return row


async def serve(
    tmp_path: Path,
    *,
    conferences: bool = True,
    parts: Callable[[Store], dict[str, Any]] = lambda _: {},
    **overrides: Any,
) -> AsyncIterator[Api]:
    """Serve the API; `parts` makes further parts of `ApiDeps`."""
    store = await Store.open(tmp_path / "engine.db", REACTOR)
    folder = tmp_path / "recordings"
    folder.mkdir()
    api = Api(store, FakeCallControl(store), folder)
    for account in (attrs.evolve(api.admin, password_hash=hash_password(PASSWORD)), api.child, api.sibling):
        await store.accounts.add(account)
    await store.organizations.add(Organization(sid=ORGANIZATION, domain_name="example.com"))
    settings, _ = load(overrides=overrides, environ={})

    def changed() -> None:
        api.changes += 1

    def health() -> Any:
        if isinstance(api.ready, Exception):
            raise api.ready
        return api.ready, {"workers": 1}

    site = build_site(
        ApiDeps(
            store=store,
            settings=settings,
            control=api.control,
            conferences=api.rooms if conferences else None,
            supervisor=api.supervision if conferences else None,
            gateways=api.gateways if conferences else None,
            speak=api.speak if conferences else None,
            cache_folder=api.cache if conferences else None,
            recordings_folder=folder,
            health=health,
            metrics=lambda: b"calls_total 1\n",
            reactor=REACTOR,
            realm="example.com",
            provisioning_changed=changed,
            extra={b"demo": Data(b"<Response/>", "text/xml")},
            base_url=lambda: "https://host",
            **parts(store),
        )
    )
    api.routes, api.settings = site.router.routes, settings
    port = REACTOR.listenTCP(0, site, interface="127.0.0.1")
    api.port = port.getHost().port
    try:
        yield api
    finally:
        await port.stopListening()
        await api.pool.closeCachedConnections()
        await store.close()


@pytest_twisted.async_yield_fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async for found in serve(tmp_path):
        yield found


@pytest_twisted.async_yield_fixture
async def make_api(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Api]]]:
    """Serves an API with other settings (dotted keys)."""
    async with AsyncExitStack() as stack:

        async def make(**overrides: Any) -> Api:
            return await stack.enter_async_context(asynccontextmanager(serve)(tmp_path, **overrides))

        yield make


@pytest_twisted.async_yield_fixture
async def roomless_api(tmp_path: Path) -> AsyncIterator[Api]:
    """Of an engine without live conferences."""
    async for found in serve(tmp_path, conferences=False):
        yield found


@pytest_twisted.async_yield_fixture
async def guarded_api(tmp_path: Path) -> AsyncIterator[Api]:
    """With credentials for media, number normalisation and a small body limit."""
    overrides = {
        "http.recordings_need_auth": True,
        "calls.normalize_numbers": True,
        "http.max_body_bytes": 2000,
        "http.uri_prefix": "/voice/v1",
    }
    async for found in serve(tmp_path, **overrides):
        yield found


@pytest_twisted.async_yield_fixture
async def elsewhere_api(tmp_path: Path) -> AsyncIterator[Api]:
    """Whose error dictionary is elsewhere."""
    async for found in serve(tmp_path, **{"http.error_dictionary": "https://example.com/errors/"}):
        yield found


@pytest_twisted.async_yield_fixture
async def shared_api(tmp_path: Path) -> AsyncIterator[Api]:
    """That the scripts of one web page may use."""
    overrides = {"http.cors_origins": ["https://designer.example.com"], "http.max_body_bytes": 2000}
    async for found in serve(tmp_path, **overrides):
        yield found
