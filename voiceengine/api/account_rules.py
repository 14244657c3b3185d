"""What an account may be: its parameters, checked; and which clients stand for it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

import attrs
from twisted.internet.threads import deferToThreadPool

from voiceengine.api.auth import is_administrator
from voiceengine.api.declare import Param
from voiceengine.api.deps import ApiDeps
from voiceengine.api.errors import ApiError, bad, forbidden
from voiceengine.api.parameters import Parameters
from voiceengine.store import Store
from voiceengine.store.passwords import ha1_md5, ha1_sha256, hash_password, is_strong, make_client
from voiceengine.store.rows import Account, Client, Organization, now

ROLES: Final = ("Administrator", "Developer", "ProvisioningAgent")
STATUSES: Final = ("active", "closed", "suspended", "inactive", "uninitialized")
LEVELS: Final = 3
"""Depth of the account tree."""
SUPER_ADMIN_EMAIL: Final = "administrator@company.com"
"""Of the account that the first start makes; nobody else gets it."""

WEAK: Final = "Password too weak"
MAX_PASSWORD: Final = 256
"""Longest password, characters."""
EMAIL_TAKEN: Final = "The email address used for the new account is already in use."
NO_ORGANIZATION: Final = "Missing Organization SID or Domain Name"

EMAIL = Param(
    "EmailAddress",
    required="Email address can not be null.",
    doc="Stored in lower case, unique; the part before the @ becomes the login of a client.",
)
PASSWORD = Param(
    "Password",
    required="Password can not be null.",
    secret=True,
    doc="Its score must be 50 or more, its length 256 at most. A salted hash is kept; it is never returned.",
)
NAME = Param("FriendlyName", "name", doc="Up to 64 characters; the e-mail address when it is not given.")
STATUS = Param("Status", doc="active, closed, suspended, inactive or uninitialized, in any letter case.")
ROLE = Param("Role", doc="Administrator, Developer or ProvisioningAgent; that of the parent when not given.")
ORGANIZATION_SID = Param(
    "OrganizationSid",
    doc="That of the parent when it is not given; another one needs the super admin.",
)
NEW_NAME = Param("FriendlyName", "name", doc="Also copied to the linked client.")
NEW_PASSWORD = Param(
    "Password",
    secret=True,
    doc="As on creation; an uninitialized account becomes active, the linked client follows.",
)
NEW_STATUS = Param(
    "Status",
    doc="active, closed, suspended, inactive or uninitialized; it goes to all accounts below as well.",
)
NEW_ROLE = Param("Role", doc="Administrator, Developer or ProvisioningAgent; for administrators only.")
ROTATE = Param(
    "RotateAuthToken",
    "flag",
    doc="true: the account gets a new random AuthToken at once, the old one is refused from now on.",
)
ORGANIZATION = Param("Organization", doc="Sid or domain name of the organization that the account moves to.")

_EMAIL = re.compile(r"([^\s\x00-\x1f\x7f]{1,128})@((?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z0-9-]{1,63})", re.ASCII)
_LOCAL = re.compile(r"[^\x00-\x20\x7f]{1,128}")
# The reference forbids ? = @; the others cannot stand in an address of record unescaped.
FORBIDDEN_IN_LOGIN: Final = re.compile(r"[?=@\s<>\":;,/\\%\x00-\x1f\x7f]")


def read_email(body: Parameters) -> str:
    """The e-mail address in lower case.

    Raises:
        ApiError: it is missing, is none, or its local part cannot be a login.
    """
    text: str = body.read(EMAIL)
    local, _, domain = text.rpartition("@")
    if len(text) > 254 or not _LOCAL.fullmatch(local) or not _EMAIL.fullmatch(f"x@{domain}"):
        raise bad(f"Provided email address {text} is not valid")
    if FORBIDDEN_IN_LOGIN.search(local):
        raise bad(f"Login {local} contains invalid character(s) ")
    return text.lower()


def read_status(body: Parameters, default: str) -> str:
    """The wanted status."""
    text = body.text("Status")
    if text is None:
        return default
    if text.lower() not in STATUSES:
        raise bad(f"{text} is not a valid account status.")
    return text.lower()


def read_role(body: Parameters, default: str) -> str:
    """The wanted role, spelled as it is stored."""
    text = body.text("Role")
    if text is None:
        return default
    for role in ROLES:
        if role.lower() == text.lower():
            return role
    raise bad(f"Role must be {', '.join(ROLES[:-1])} or {ROLES[-1]}.")


def read_new_role(body: Parameters, row: Account, acting: Account) -> str:
    """The role after an update.

    Raises:
        ApiError: one who is no administrator asks for a role, or it is none.
    """
    if body.text("Role") is not None and not is_administrator(acting):
        raise forbidden("Only Administrator allowed")
    return read_role(body, row.role)


def sid_of_email(email: str) -> str:
    """Sid of the account with an e-mail address: `AC` and MD5 of the address in lower case."""
    return "AC" + hashlib.md5(email.lower().encode(), usedforsecurity=False).hexdigest()


def check_free(store: Store, email: str) -> None:
    """Refuse an e-mail address that an account has or (closed) had.

    Raises:
        ApiError: 409.
    """
    taken = store.accounts.by_email(email) is not None or store.accounts.get(sid_of_email(email)) is not None
    if taken or email == SUPER_ADMIN_EMAIL:
        raise ApiError(409, EMAIL_TAKEN)


def level(store: Store, account: Account) -> int:
    """Level of an account in the tree, from 1."""
    found, seen = 1, {account.sid}
    while account.parent_sid is not None and account.parent_sid not in seen:
        above = store.accounts.get(account.parent_sid)
        if above is None:
            break
        seen.add(above.sid)
        account = above
        found += 1
    return found


def find_organization(store: Store, text: str | None) -> Organization | None:
    """The active organization with this sid or domain name."""
    if not text:
        return None
    found = store.organizations.get(text) or store.organizations.by_domain(text)
    return found if found is not None and found.status == "active" else None


def check_strong(password: str) -> None:
    """Refuse a password that is too weak, or so long that its score would take long.

    Raises:
        ApiError: 400.
    """
    if len(password) > MAX_PASSWORD:
        raise bad(f"Password must not be longer than {MAX_PASSWORD} characters.")
    if not is_strong(password):
        raise bad(WEAK)


async def hashed(deps: ApiDeps, password: str) -> str:
    """Hash a password in a thread.

    Raises:
        ApiError: it is too weak or too long.
    """
    check_strong(password)
    return await deferToThreadPool(deps.reactor, deps.reactor.getThreadPool(), hash_password, password)


def linked_client(store: Store, account: Account) -> Client | None:
    """The client that was made with the account: its login is the local part of the e-mail address."""
    login = account.email_address.rpartition("@")[0]
    return next((row for row in store.clients.of_account(account.sid) if row.login == login), None)


async def add_linked_client(deps: ApiDeps, account: Account, password: str) -> bool:
    """Make the linked client unless its login exists in the organization or the account is closed.

    Tells whether it did.
    """
    login = account.email_address.rpartition("@")[0]
    current = deps.store.accounts.get(account.sid)
    if current is None or current.status == "closed":
        return False
    if deps.store.clients.by_login(login, current.organization_sid) is not None:
        return False
    client = make_client(account.sid, login, password, deps.realm)
    await deps.store.clients.add(attrs.evolve(client, friendly_name=account.friendly_name))
    return True


async def follow(deps: ApiDeps, account: Account, name: str | None, password: str | None) -> None:
    """Give the linked client the new name and the new password of its account."""
    client = linked_client(deps.store, account)
    if client is None or (name is None and password is None):
        return
    changes: dict[str, Any] = {}
    if name is not None:
        changes["friendly_name"] = name
    if password is not None:
        changes["ha1_md5"] = ha1_md5(client.login, deps.realm, password)
        changes["ha1_sha256"] = ha1_sha256(client.login, deps.realm, password)
    await deps.store.clients.update(attrs.evolve(client, **changes, date_updated=now()))


def conflicts(store: Store, moving: Mapping[str, Account], organization_sid: str) -> str | None:
    """What keeps accounts from moving to an organization: a login or a number that it has already."""
    for account_sid in moving:
        for client in store.clients.of_account(account_sid):
            other = store.clients.by_login(client.login, organization_sid)
            if other is not None and other.account_sid not in moving:
                return f"The organization has a client with the login {client.login} already."
        for number in store.numbers.of_account(account_sid):
            for same in store.numbers.all_by_number(number.phone_number):
                owner = store.accounts.get(same.account_sid)
                if owner and owner.sid not in moving and owner.organization_sid == organization_sid:
                    return f"The organization has the number {number.phone_number} already."
    return None
