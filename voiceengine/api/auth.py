"""Who acts, and what that account may do."""

# The classes of twisted.web carry no type hints.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from twisted.internet.defer import DeferredSemaphore
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.web.server import Request

from voiceengine.api.errors import ApiError
from voiceengine.store import Store
from voiceengine.store.passwords import verify_password
from voiceengine.store.rows import Account

Action = Literal["Create", "Read", "Modify", "Delete"]

log = Logger()

REALM: Final = "Restcomm realm"
CACHE_SECONDS: Final = 300.0
CACHE_SIZE: Final = 1000
MAX_WAITING: Final = 32
"""Clear passwords that wait to be checked."""
MAX_OF_ONE: Final = 4
"""Of one account: who guesses its password must not shut out the others."""

_ALL: Final = frozenset({"Create", "Read", "Modify", "Delete"})
_READ: Final = frozenset({"Read"})
_NONE: Final[frozenset[str]] = frozenset()
_DEVELOPER: Final[Mapping[str, frozenset[str]]] = {
    "Accounts": _ALL,
    "Announcements": _ALL,
    "Applications": _ALL,
    "AvailablePhoneNumbers": _READ,
    "Calls": _ALL,
    "Clients": _ALL,
    "Conferences": _ALL,
    "EmailMessages": _ALL,
    "Gateways": _NONE,
    "IncomingPhoneNumbers": _ALL,
    "Notifications": _READ,
    "Organizations": _NONE,
    "OutboundProxies": _ALL,
    "OutgoingCallerIds": _ALL,
    "Queues": _ALL,
    "Recordings": frozenset({"Read", "Delete"}),
    "Refers": _READ,
    "SmsMessages": frozenset({"Create", "Read"}),
    "Supervisor": _NONE,
    "Transcriptions": _READ,
    "Usage": _ALL,
    "Version": _READ,
}
PERMISSIONS: Final[Mapping[str, Mapping[str, frozenset[str]]]] = {
    "developer": _DEVELOPER,
    "provisioningagent": {**_DEVELOPER, "Recordings": _READ},
}
"""Role (lower-case) -> resource -> actions. Administrators are not asked. Of Accounts, other roles reach
their own object only; what is for the super admin is refused by its route whatever stands here."""


def hides_message_text(account: Account) -> bool:
    """Whether the role of the acting account may not see the text of messages."""
    return account.role.lower() == "provisioningagent"


def is_administrator(account: Account) -> bool:
    """Whether the account may do everything inside its tree."""
    return account.role.lower() == "administrator"


def permitted(account: Account, resource: str, action: Action) -> bool:
    """Whether the role of the account allows an action on a resource."""
    if is_administrator(account):
        return True
    return action in PERMISSIONS.get(account.role.lower(), {}).get(resource, frozenset())


def unauthorized() -> ApiError:
    """The 401 that asks for credentials."""
    return ApiError(
        401,
        "Authenticate with the sid or e-mail address of an account and its AuthToken.",
        headers={"WWW-Authenticate": f'Basic realm="{REALM}"'},
    )


def credentials(request: Request) -> tuple[str, str] | None:
    """User and password of HTTP Basic, None when there are none that can be read."""
    user, password = request.getUser(), request.getPassword()
    if not user:
        return None
    try:
        return user.decode("utf-8"), password.decode("utf-8")
    except UnicodeDecodeError:
        return None


class Authenticator:
    """Checks credentials against the accounts.

    Clear passwords are checked by scrypt in a thread, one at a time; a right one is remembered for a while
    (as an HMAC under a key of this process) so that a client that sends it each time does not wait each time.

    Args:
        store: holds the accounts.
        reactor: IReactorTime and IReactorThreads.
        verify: compares a clear password with a stored hash; runs in a thread.
    """

    def __init__(
        self, store: Store, reactor: Any, verify: Callable[[str, str], bool] = verify_password
    ) -> None:
        self._store = store
        self._reactor = reactor
        self._verify = verify
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, float] = OrderedDict()
        self._one_at_a_time = DeferredSemaphore(1)
        self._checking: Counter[str] = Counter()

    async def authenticate(self, user: str, password: str) -> Account | None:
        """The account whose credentials these are, whatever its status.

        Raises:
            ApiError: too many clear passwords wait to be checked (503).
        """
        account = self._store.accounts.by_email(user) or self._store.accounts.get(user)
        if account is None or not password:
            return None
        if hmac.compare_digest(password.encode(), account.auth_token.encode()):
            return account
        stored = account.password_hash
        if stored is None:
            return None
        fingerprint = self._fingerprint(account.sid, stored, password)
        if self._is_known(fingerprint):
            return account
        if not await self._is_right(account.sid, password, stored):
            log.info("api_password_refused account={account}", account=account.sid)
            return None
        self._remember(fingerprint)
        # Others ran while the password was checked: the account as it is now counts.
        account = self._store.accounts.get(account.sid)
        return account if account is not None and account.password_hash == stored else None

    async def _is_right(self, sid: str, password: str, stored: str) -> bool:
        waiting = len(self._one_at_a_time.waiting)
        if waiting >= MAX_WAITING or self._checking[sid] >= MAX_OF_ONE:
            raise ApiError(
                503, "Too many passwords are being checked; try again.", headers={"Retry-After": "2"}
            )
        pool = self._reactor.getThreadPool()
        self._checking[sid] += 1
        try:
            good: bool = await self._one_at_a_time.run(
                deferToThreadPool, self._reactor, pool, self._verify, password, stored
            )
        finally:
            self._checking[sid] -= 1
            if not self._checking[sid]:
                del self._checking[sid]
        return good

    def _fingerprint(self, *parts: str) -> bytes:
        return hmac.digest(self._key, "\0".join(parts).encode(), hashlib.sha256)

    def _is_known(self, fingerprint: bytes) -> bool:
        until = self._known.get(fingerprint)
        if until is None:
            return False
        if until < self._reactor.seconds():
            del self._known[fingerprint]
            return False
        return True

    def _remember(self, fingerprint: bytes) -> None:
        self._known[fingerprint] = self._reactor.seconds() + CACHE_SECONDS
        while len(self._known) > CACHE_SIZE:
            self._known.popitem(last=False)
