"""What routing knows, read from the store and the location service."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence

from twisted.logger import Logger

from voiceengine.calls.routing import Pattern, compile_patterns
from voiceengine.calls.trunks import proxy_for
from voiceengine.config import Sip
from voiceengine.sip.access import Access, Location
from voiceengine.store.rows import Account, Application, Client, Number
from voiceengine.store.store import Store

log = Logger()


class StoreTables:
    """Implements `routing.Tables`.

    Args:
        store: provisioning.
        access: addresses of record.
        location: bindings.
        organization_sid: the default organization.
        own_hosts: domains and addresses of this engine.
        wildcard: any numeric address counts as this engine's, as it listens on all of them.
        settings: name the outbound proxies.
    """

    def __init__(
        self,
        store: Store,
        access: Access,
        location: Location,
        *,
        organization_sid: str,
        own_hosts: Collection[str],
        wildcard: bool,
        settings: Sip,
    ) -> None:
        self._store = store
        self._access = access
        self._location = location
        self._organization_sid = organization_sid
        self._own = frozenset(host.lower().strip("[]") for host in own_hosts)
        self._wildcard = wildcard
        self._settings = settings
        self._patterns: list[Pattern] = []
        self._version = -1

    def outbound_proxy(self, account_sid: str) -> bool:
        """Whether an account can reach numbers outside."""
        return bool(proxy_for(self._settings, account_sid).uri)

    def organization(self, host: str) -> str | None:
        """Organization of a host: the default one for the engine's own domain and addresses."""
        plain = host.lower().strip("[]")
        if plain in self._own:
            return self._organization_sid
        if self._wildcard:
            try:
                ipaddress.ip_address(plain)
            except ValueError:
                return None
            return self._organization_sid
        return None

    def client(self, login: str, organization_sid: str) -> Client | None:
        """Client by login."""
        return self._store.clients.by_login(login, organization_sid)

    def numbers(self, text: str) -> Sequence[Number]:
        """Numbers with exactly this text."""
        return self._store.numbers.all_by_number(text)

    def patterns(self) -> Sequence[Pattern]:
        """Regular-expression numbers; compiled again when provisioning changed."""
        if self._version != self._store.provisioning_version:
            self._version = self._store.provisioning_version
            self._patterns, problems = compile_patterns(n for n in self._store.numbers.all() if n.is_sip)
            for problem in problems:
                log.warn("number_pattern_ignored reason={reason}", reason=problem)
        return self._patterns

    def account(self, sid: str) -> Account | None:
        """Account by sid."""
        return self._store.accounts.get(sid)

    def application(self, sid: str) -> Application | None:
        """Application by sid."""
        return self._store.applications.get(sid)

    def registered(self, client: Client) -> bool:
        """Whether a client has a valid binding."""
        return bool(self._location.of_client(self._access.aor(client), client))
