"""The engine: makes every part and ties them together."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TextIO

from twisted.internet import error, task
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from media.pool import Pool
from media.speech.request import SpeechError, SpeechRequest
from media.speech.service import SpeechService
from media.tones import ensure_assets
from voiceengine.api import ApiDeps, build_site
from voiceengine.api.closing import finish_closing
from voiceengine.assembly import (
    interpreter_settings,
    listens_everywhere,
    make_audio,
    make_speech,
    own_hosts,
    pool_config,
)
from voiceengine.bootstrap import (
    DEMO_NUMBER,
    ORGANIZATION_SID,
    ensure_account,
    ensure_demo,
    ensure_organization,
    read_credentials,
    write_private,
)
from voiceengine.calls.context import CallContext
from voiceengine.calls.fetcher import WebClient
from voiceengine.calls.manager import CallManager
from voiceengine.calls.routing import Router
from voiceengine.calls.tables import StoreTables
from voiceengine.config import Settings
from voiceengine.demo.pages import demo_resource
from voiceengine.errors import CallControlError, ConfigError, EngineError
from voiceengine.gateways.keeper import GatewayKeeper
from voiceengine.gauges import register_gauges
from voiceengine.messages.context import MessageContext
from voiceengine.messages.mail import MailService
from voiceengine.messages.service import MessageService
from voiceengine.messages.trunk import SipTrunkProvider
from voiceengine.metrics import Metrics
from voiceengine.sip.access import Access, Location
from voiceengine.sip.edge import Edge
from voiceengine.store.query import ListQuery
from voiceengine.store.rows import new_sid
from voiceengine.store.store import Store

log = Logger()

SWEEP_SECONDS = 30.0
THREADS = 4


class Engine:
    """A whole engine in one process (and its workers).

    Args:
        reactor: the reactor.
        settings: all settings.
    """

    def __init__(self, reactor: Any, settings: Settings) -> None:
        self._reactor = reactor
        self.settings = settings
        self.metrics = Metrics()
        self.edge = Edge(reactor, settings.sip, settings.messages)
        self.instance_id = ""
        self.store: Store
        self.pool: Pool
        self.manager: CallManager
        self.location: Location
        self.messages: MessageService
        self.mail: MailService
        self.gateways: GatewayKeeper
        self.http_port = 0
        self.credentials: dict[str, Any] = {}
        self._threads = ThreadPool(1, THREADS, "voiceengine-files")
        self._one_writes = DeferredLock()
        self._speech: SpeechService
        self._web: WebClient
        self._http: Any = None
        self._sweeper: Any = None
        self._lock_file: TextIO | None = None
        self._started = False

    # -------------------------------------------------------------- start

    async def start(self) -> None:
        """Bring everything up; returns when calls can come.

        Raises:
            EngineError: a listener, the database or the media workers cannot be used.
        """
        settings = self.settings
        folder = settings.data.directory
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "recordings").mkdir(exist_ok=True)
        except OSError as problem:
            raise ConfigError(f"data.directory = {folder} cannot be used: {problem.strerror}") from problem
        self._threads.start()
        self._lock(folder / "lock")
        # the zygote comes first: it must not inherit sockets
        edge_port = self.edge.open_internal()
        self.pool = Pool(self._reactor, pool_config(settings, edge_port))
        try:
            await self.pool.start()
        except (RuntimeError, OSError) as problem:
            raise EngineError(f"The media workers do not start: {problem}") from problem
        self.store = await Store.open(folder / "voiceengine.sqlite", self._reactor)
        closed = await self.store.calls.close_unfinished(time.time())
        await self.store.conferences.close_unfinished(time.time())
        await self.store.messages.close_unfinished(time.time())
        await self.store.recordings.close_unfinished(time.time())
        if closed:
            log.warn("calls_of_an_earlier_run_closed calls={calls}", calls=closed)
        self.location = Location(self.store, time.time, self._reactor)
        await self.location.load()
        self.instance_id = self._instance_id(folder / "instance")
        await ensure_organization(self.store, self.settings.sip.domain)
        account = await ensure_account(self.store)
        announcements = folder / "cache" / "announcements"
        await finish_closing(self.store, folder / "recordings", announcements, self._reactor)
        self._make_calls(folder)
        self._listen_http(folder)
        access, manager = self._context.access, self.manager
        try:
            self.edge.listen(access, access, manager)
        except error.CannotListenError as problem:
            raise ConfigError(f"sip.listen: {problem}") from problem
        await self._write_credentials(folder / "credentials.json", account)
        register_gauges(self)
        manager.start()
        self.gateways.start()
        await self.messages.start()
        self._sweeper = task.LoopingCall(self.location.sweep)
        self._sweeper.clock = self._reactor
        self._sweeper.start(SWEEP_SECONDS, now=False)
        self._started = True

    def _lock(self, path: Path) -> None:
        """Take the data folder; two engines on one would spoil each other's records."""
        self._lock_file = path.open("w")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock_file.close()
            raise ConfigError(
                f"data.directory = {path.parent} is in use by another engine; give this one its own folder"
            ) from None

    def _instance_id(self, path: Path) -> str:
        try:
            found = path.read_text("ascii").strip()
        except OSError:
            found = ""
        if len(found) != 34:
            found = new_sid("ID")
            path.write_text(found, "ascii")
        return found

    def _make_calls(self, folder: Path) -> None:
        settings = self.settings
        self._web = WebClient(self._reactor, settings.web, self.metrics.fetched)
        cache = folder / "cache"
        self._speech = make_speech(self._reactor, settings, cache, self._threads)
        audio = make_audio(self._reactor, settings, cache, self._threads, self._web)
        hosts = sorted(own_hosts(settings.sip))
        access = Access(
            settings.sip, self.store, self.location, time.time, self.edge.counters, hosts, ORGANIZATION_SID
        )
        self.gateways = GatewayKeeper(self._reactor, self.store, self.edge)
        access.gateway_at = self.gateways.at
        assets = ensure_assets(folder / "assets")
        self._context = CallContext(
            reactor=self._reactor,
            wall=time.time,
            settings=settings,
            instance_id=self.instance_id,
            store=self.store,
            pool=self.pool,
            edge=self.edge,
            access=access,
            location=self.location,
            web=self._web,
            speech=self._speech,
            audio=audio,
            assets=assets,
            threads=self._threads,
            recordings=(folder / "recordings").absolute(),
            api_url="",
            metrics=self.metrics,
            interpreter=interpreter_settings(settings, assets),
        )
        self._tables = StoreTables(
            self.store,
            access,
            self.location,
            organization_sid=ORGANIZATION_SID,
            own_hosts=hosts,
            wildcard=listens_everywhere(settings.sip),
            settings=settings.sip,
        )
        self.manager = CallManager(self._context, Router(self._tables))
        self._make_messages(access)

    def _make_messages(self, access: Access) -> None:
        settings = self.settings
        self.mail = MailService(self._reactor, time.time, settings.mail, self.store, settings.sip.domain)
        context = MessageContext(
            reactor=self._reactor,
            wall=time.time,
            settings=settings,
            store=self.store,
            edge=self.edge,
            access=access,
            location=self.location,
            web=self._web,
            tables=self._tables,
            interpreter=self._context.interpreter,
            base_url=lambda: self._context.base_url,
        )
        self.messages = MessageService(context, SipTrunkProvider(self.edge, settings), self.mail)
        self._context.messaging = self.messages
        self.edge.on_message = self.messages
        self.manager.supervision.messages = lambda: self.messages.counters

    def _listen_http(self, folder: Path) -> None:
        http = self.settings.http
        host, _, port = http.listen.rpartition(":")
        extra: dict[bytes, Any] = {}
        if self.settings.demo.enabled:
            extra[b"demo"] = demo_resource(str(self._context.assets.music))
        site = build_site(
            ApiDeps(
                store=self.store,
                settings=self.settings,
                control=self.manager,
                conferences=self.manager.conference_book,
                messages=self.messages,
                mail=self.mail,
                gateways=self.gateways,
                supervisor=self.manager.supervision,
                speak=self._speak_for_api,
                cache_folder=folder.absolute() / "cache" / "announcements",
                recordings_folder=self._context.recordings,
                health=self.health,
                metrics=self.metrics.render,
                reactor=self._reactor,
                realm=self._context.access.realm,
                provisioning_changed=self._provisioning_changed,
                extra=extra,
                base_url=lambda: self.base_url,
            )
        )
        try:
            self._http = self._reactor.listenTCP(int(port), site, backlog=512, interface=host.strip("[]"))
        except error.CannotListenError as problem:
            raise ConfigError(f"http.listen = {http.listen}: {problem}") from problem
        self.http_port = self._http.getHost().port
        self._context.api_url = f"{self.base_url}{http.uri_prefix}"
        # relative URLs of applications lead to this listener, whose port is known only now
        self._context.base_url = self.base_url
        self.manager.use_router(Router(self._tables, self.base_url))

    @property
    def base_url(self) -> str:
        """Base of URLs that lead to this engine's HTTP listener."""
        http = self.settings.http
        host = http.listen.rpartition(":")[0]
        if host == "0.0.0.0":  # noqa: S104 - compared, not bound
            host = self.settings.sip.public_address or "127.0.0.1"
        return http.public_url.rstrip("/") or f"http://{host}:{self.http_port}"

    @property
    def sip_addresses(self) -> list[str]:
        """Listeners as they are, with real ports."""
        return [f"{x.transport}://{x.sent_by}" for x in self.edge.core.transports.listeners]

    async def _write_credentials(self, path: Path, account: Any) -> None:
        known = read_credentials(path)
        clients: dict[str, str] = {}
        if self.settings.demo.enabled:
            clients = await ensure_demo(
                self.store,
                account,
                self._context.access.realm,
                self.base_url,
                known.get("clients", {}),
                known.get("realm", ""),
            )
        self.credentials = {
            "account_sid": account.sid,
            "auth_token": account.auth_token,
            "base_url": f"{self.base_url}{self.settings.http.uri_prefix}",
            "sip": self.sip_addresses,
            "clients": clients,
            "realm": self._context.access.realm,
            "demo_number": DEMO_NUMBER if self.settings.demo.enabled else None,
        }
        write_private(path, json.dumps(self.credentials, indent=2) + "\n")

    def _provisioning_changed(self) -> None:
        """Drop registrations that are not valid any more; keep the credentials file true."""
        self.location.reconcile(self._context.access.aor)
        account = self.store.accounts.super_admin()
        if account is None or self.credentials.get("auth_token") in (None, account.auth_token):
            return
        self.credentials["auth_token"] = account.auth_token
        path = self.settings.data.directory / "credentials.json"
        text = json.dumps(self.credentials, indent=2) + "\n"
        # One after the other: of two changes the later one stays.
        written = self._one_writes.run(
            deferToThreadPool, self._reactor, self._threads, write_private, path, text
        )
        written.addErrback(lambda failure: log.failure("credentials_not_written", failure))

    # -------------------------------------------------------------- state

    def health(self) -> tuple[bool, dict[str, object]]:
        """Whether calls can come, and counts."""
        ready = self._started and self.pool.ready and self.manager.accepting
        return ready, {
            "status": "ok" if ready else "unavailable",
            "sip": self.sip_addresses if self._started else [],
            "calls": len(self.manager.calls) if self._started else 0,
            "conferences": len(self.manager.conference_book.live) if self._started else 0,
            "registrations": self.location.count() if self._started else 0,
            "media": self.pool.counts() if self._started else {},
        }

    async def speak(self, text: str) -> Path:
        """Speak a text; returns the path of a WAV file that is only to be read."""
        spoken = await self._speech.synthesize(SpeechRequest(text))
        return spoken.path

    async def _speak_for_api(self, text: str, gender: str, language: str) -> Path:
        """As `speak`, with a voice and a language.

        Raises:
            CallControlError: it cannot be spoken.
        """
        try:
            spoken = await self._speech.synthesize(SpeechRequest(text, gender, language))
        except SpeechError as problem:
            raise CallControlError(f"The text cannot be spoken: {problem}.", status=500) from problem
        return spoken.path

    async def recent_calls(self, count: int = 10) -> list[str]:
        """Sids of the latest calls, oldest first."""
        page = await self.store.calls.list(ListQuery(page_size=count))
        return [row.sid for row in reversed(page.items)]

    # -------------------------------------------------------------- stop

    async def stop(self, drain_seconds: float = 0.0) -> None:
        """Drain and stop everything; what was begun is undone even if the start failed half way."""
        if hasattr(self, "manager"):
            self.manager.stop()
            await self._step(self.gateways.stop())  # no new calls come from there any more
            await self._step(self.manager.drain(drain_seconds))
        if hasattr(self, "messages"):
            await self._step(self.messages.stop())
            await self._step(self.mail.stop())
        if self._sweeper is not None and self._sweeper.running:
            self._sweeper.stop()
        if hasattr(self, "pool"):
            await self._step(self.pool.stop())
        if self._http is not None:
            await self._step(self._stop_http())
        if hasattr(self, "_context"):
            self._context.audio.stop()
        if hasattr(self, "_speech"):
            await self._step(self._speech.stop())
        if hasattr(self, "_web"):
            await self._step(self._web.close())
        await self._step(self.edge.close())
        if hasattr(self, "store"):
            await self._step(self.store.close())
        done: Deferred[None] = task.deferLater(self._reactor, 0, lambda: None)
        await done
        if self._threads.started:
            self._threads.stop()
        if self._lock_file is not None:
            self._lock_file.close()

    async def _stop_http(self) -> None:
        await self._http.stopListening()

    async def _step(self, work: Coroutine[Any, Any, None]) -> None:
        """One step of stopping; its failure must not keep the others from being done."""
        try:
            await work
        except Exception:
            log.failure("stop_step_failed")
