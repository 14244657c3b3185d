"""Who is who: digest authentication of phones, trunks by address, and the registrar with its bindings."""

from __future__ import annotations

import ipaddress
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs
from sipmessage import Request
from twisted.logger import Logger

from voiceengine.config import Sip
from voiceengine.sip.digest import Authenticator, NonceFactory, State
from voiceengine.sip.headers import text_of_user
from voiceengine.sip.invite import CallerIdentity
from voiceengine.sip.registrar import Limits, RegisterError, Registrar, Source, ordered, parse_register
from voiceengine.sip.transport import Flow
from voiceengine.store.rows import BindingRow, Client
from voiceengine.store.store import Store

log = Logger()


class Location:
    """Bindings of all clients, in memory; written behind to the store, so that a restart keeps them.

    Args:
        store: keeps the bindings.
        wall: wall time, seconds.
        clock: IReactorTime, for `watch`; None: watchers are told at once.
    """

    def __init__(self, store: Store, wall: Callable[[], float], clock: Any = None) -> None:
        self._store = store
        self._clock = clock
        self._watchers: list[Callable[[str, Client], None]] = []
        self._wall = wall
        self._bindings: dict[str, list[BindingRow]] = {}
        self._passwords: dict[str, str] = {}
        self.instances: dict[str, str] = {}

    async def load(self) -> None:
        """Read what an earlier run left."""
        now = self._wall()
        for row in await self._store.bindings.load_all():
            if row.expires_at > now:
                self._bindings.setdefault(row.aor, []).append(row)
            else:
                self._store.bindings.delete(row.aor, row.contact)

    def of(self, aor: str) -> list[BindingRow]:
        """Valid bindings, best first."""
        return ordered(self._bindings.get(aor, ()), self._wall())

    def of_client(self, aor: str, client: Client) -> list[BindingRow]:
        """Valid bindings that this client made, if it may be called; best first."""
        if client.status != 1:
            return []
        return [row for row in self.of(aor) if row.client_sid == client.sid]

    def reconcile(self, aor_of: Callable[[Client], str]) -> None:
        """Drop bindings whose client is gone, was disabled, or got another password."""
        for aor, rows in list(self._bindings.items()):
            client = self._store.clients.get(rows[0].client_sid)
            known = self._passwords.get(aor)
            if (
                client is None
                or client.status != 1
                or aor_of(client) != aor
                or known not in (None, client.ha1_md5)
            ):
                self._passwords.pop(aor, None)
                self.drop(aor)

    def registered_with(self, aor: str, client: Client) -> None:
        """Remember the digest that a binding was made with."""
        self._passwords[aor] = client.ha1_md5

    def watch(self, callback: Callable[[str, Client], None]) -> None:
        """Tell (address of record, client) after each REGISTER that left the client with a binding.

        It is told once the REGISTER was answered.
        """
        self._watchers.append(callback)

    def announce(self, aor: str, client: Client) -> None:
        """Tell the watchers that a client can be reached."""
        for watcher in self._watchers:
            if self._clock is None:
                self._tell(watcher, aor, client)
            else:
                self._clock.callLater(0, self._tell, watcher, aor, client)

    def _tell(self, watcher: Callable[[str, Client], None], aor: str, client: Client) -> None:
        try:
            watcher(aor, client)
        except Exception:
            log.failure("registration_watcher_failed client={client}", client=client.sid)

    def all_of(self, aor: str) -> list[BindingRow]:
        """All bindings, with those that have expired."""
        return list(self._bindings.get(aor, ()))

    def update(self, aor: str, saved: Iterable[BindingRow], removed: Iterable[BindingRow]) -> None:
        """Store what the registrar decided."""
        rows = {row.contact: row for row in self._bindings.get(aor, ())}
        for row in removed:
            rows.pop(row.contact, None)
            self.instances.pop(row.contact, None)
            self._store.bindings.delete(aor, row.contact)
        for row in saved:
            rows[row.contact] = row
            self._store.bindings.save(row)
        if rows:
            self._bindings[aor] = list(rows.values())
        else:
            self._bindings.pop(aor, None)

    def drop(self, aor: str) -> None:
        """Remove all bindings of a client that is gone."""
        self.update(aor, (), self.all_of(aor))

    def sweep(self) -> None:
        """Forget what has expired."""
        now = self._wall()
        for aor, rows in list(self._bindings.items()):
            expired = [row for row in rows if row.expires_at <= now]
            if expired:
                self.update(aor, (), expired)

    def count(self) -> int:
        """Number of valid bindings."""
        now = self._wall()
        return sum(1 for rows in self._bindings.values() for row in rows if row.expires_at > now)


class Access:
    """Implements `phone_side.AccessControl` and `phone_side.Registrations`.

    Args:
        settings: realm, algorithms, limits, trunks.
        store: clients and accounts.
        location: bindings.
        wall: wall time, seconds.
        counters: failures are counted there.
        own_hosts: domains and addresses of this engine.
        organization_sid: only clients of this organization may register and call; None: of any. Logins are
            unique in an organization only, and one realm serves one.
    """

    def __init__(
        self,
        settings: Sip,
        store: Store,
        location: Location,
        wall: Callable[[], float],
        counters: Counter[str],
        own_hosts: Sequence[str] = (),
        organization_sid: str | None = None,
    ) -> None:
        self._settings = settings
        self._organization_sid = organization_sid
        self._store = store
        self._location = location
        self._wall = wall
        self._counters = counters
        self.realm = settings.domain
        self._digest = Authenticator(
            NonceFactory(secrets.token_bytes(32), settings.nonce_seconds),
            algorithms=settings.digest_algorithms,
            own_hosts=own_hosts,
        )
        self._registrar = Registrar(
            Limits(
                min_expires=settings.min_expires,
                max_expires=settings.max_expires,
                default_expires=settings.default_expires,
                max_contacts=settings.max_contacts,
            )
        )
        self.gateway_at: Callable[[str], str | None] = lambda _: None
        """The gateway that the engine is registered with at a numeric address; its calls need no digest."""
        self._trunks = [ipaddress.ip_network(text, strict=False) for text in settings.trunks]

    def aor(self, client: Client) -> str:
        """Address of record of a client."""
        return f"{client.login}@{self.realm}"

    def _client(self, login: str) -> Client | None:
        return self._store.clients.by_login(login, self._organization_sid)

    def _ha1(self, user: str, realm: str, algorithm: str) -> str | None:
        client = self._client(user)
        if client is None or client.status != 1:
            return None
        account = self._store.accounts.get(client.account_sid)
        if account is None or account.status != "active":
            return None
        return client.ha1_sha256 if algorithm == "SHA-256" else client.ha1_md5

    def trunk(self, host: str) -> str | None:
        """The trunk at an address: a configured one, or a gateway that the engine is registered with."""
        if self._trunks:
            address = ipaddress.ip_address(host)
            for network in self._trunks:
                if address.version == network.version and address in network:
                    return str(network)
        return self.gateway_at(host)

    # -------------------------------------------------------------- calls

    def identify(self, request: Request, flow: Flow) -> CallerIdentity | list[tuple[str, str]]:
        """The sender of an INVITE or MESSAGE, or the headers of a 407."""
        trunk = self.trunk(flow.host)
        if trunk is not None:
            return CallerIdentity(trunk=trunk)
        # As applications are told it: `alice;x` and `%20alice` pass for alice there, and must prove it here.
        user = text_of_user(request.from_address.uri)
        client = self._client(user) if user else None
        if client is None and self._settings.anonymous_calls:
            return CallerIdentity()
        credentials = request.headers.get("Proxy-Authorization")
        if credentials is None:
            return self._challenge("Proxy-Authenticate")
        verdict = self._digest.verify(
            credentials, request.method, str(request.uri), self._ha1, self._wall(), self.realm
        )
        if verdict.state is State.STALE:
            return self._challenge("Proxy-Authenticate", stale=True)
        if not verdict.ok or client is None or verdict.username != user:
            self._counters["wrong_credentials"] += 1
            log.info(
                "invite_not_authenticated method={method} user={user} from={host} reason={reason}",
                method=request.method,
                user=user,
                host=flow.host,
                reason=verdict.reason or "another user",
            )
            return self._challenge("Proxy-Authenticate")
        return CallerIdentity(client_sid=client.sid)

    def _challenge(self, name: str, *, stale: bool = False) -> list[tuple[str, str]]:
        return [(name, value) for value in self._digest.challenge(self.realm, self._wall(), stale=stale)]

    # -------------------------------------------------------------- registrations

    def register(self, request: Request, flow: Flow) -> tuple[int, list[tuple[str, str]], bool]:
        """Answer a REGISTER (RFC 3261 section 10.3)."""
        try:
            wanted = parse_register(request)
        except RegisterError as error:
            return 400, [("Reason", f'SIP;cause=400;text="{error}"')], False
        credentials = request.headers.get("Authorization")
        if credentials is None:
            return 401, self._challenge("WWW-Authenticate"), False
        now = self._wall()
        verdict = self._digest.verify(
            credentials, request.method, str(request.uri), self._ha1, now, self.realm
        )
        if verdict.state is State.MALFORMED:
            return 400, [("Reason", f'SIP;cause=400;text="{verdict.reason}"')], False
        if not verdict.ok:
            stale = verdict.state is State.STALE
            if not stale:
                self._counters["wrong_credentials"] += 1
            return 401, self._challenge("WWW-Authenticate", stale=stale), False
        user = wanted.aor.partition("@")[0]
        client = self._client(user)
        if client is None or verdict.username != user:
            self._counters["wrong_credentials"] += 1
            return 403, [], True
        return self._decide(attrs.evolve(wanted, aor=self.aor(client)), client, request, flow, now)

    def _decide(
        self, wanted: object, client: Client, request: Request, flow: Flow, now: float
    ) -> tuple[int, list[tuple[str, str]], bool]:
        aor = self.aor(client)
        source = Source(
            client_sid=client.sid,
            transport=flow.transport,
            remote_host=flow.host,
            remote_port=flow.port,
            listener=flow.listener.uri,
            user_agent=(request.headers.get("User-Agent") or "")[:200],
        )
        decision = self._registrar.process(
            wanted,  # type: ignore[arg-type]
            self._location.all_of(aor),
            now,
            source,
            self._location.instances,
        )
        if decision.code != 200:
            headers = [("Min-Expires", str(decision.min_expires))] if decision.min_expires else []
            return decision.code, headers, True
        self._location.update(aor, decision.saved, decision.removed)
        self._location.registered_with(aor, client)
        self._location.instances.update(decision.instances)
        if decision.bindings:
            self._location.announce(aor, client)
        headers = [("Contact", value) for value in decision.contact_values()]
        return 200, [*headers, ("Date", _date(now))], True


def _date(now: float) -> str:
    from email.utils import formatdate

    return formatdate(now, usegmt=True)
