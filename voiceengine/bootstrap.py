"""What a first start creates: the organization, the super-admin account, its credentials file, the demo."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

import attrs
from twisted.logger import Logger

from voiceengine.api.account_rules import SUPER_ADMIN_EMAIL
from voiceengine.store.passwords import ha1_md5, ha1_sha256, make_client
from voiceengine.store.rows import Account, Number, Organization, new_sid, now
from voiceengine.store.store import Store

log = Logger()

ORGANIZATION_SID = "ORafbe225ad37541eba518a74248f0ac4c"
SUPER_ADMIN_SID = "ACae6e420f425248d6a26948c17a9e2acf"
DEMO_CLIENTS = ("alice", "bob")
DEMO_NUMBER = "+1000"


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)  # one that an interrupted start left may have another mode
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)


def read_credentials(path: Path) -> dict[str, Any]:
    """Contents of the credentials file; empty when there is none."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


async def ensure_account(store: Store) -> Account:
    """The super-admin account, created on the first start."""
    found = store.accounts.super_admin()
    if found is not None:
        return found
    account = Account(
        sid=SUPER_ADMIN_SID,
        organization_sid=ORGANIZATION_SID,
        friendly_name="Default Administrator Account",
        email_address=SUPER_ADMIN_EMAIL,
        auth_token=secrets.token_hex(16),
    )
    await store.accounts.add(account)
    return account


async def ensure_organization(store: Store, domain: str) -> Organization:
    """The default organization, created on the first start; its domain follows the digest realm.

    Args:
        store: the store.
        domain: the engine's SIP domain, which is the digest realm.
    """
    found = store.organizations.get(ORGANIZATION_SID)
    if found is None:
        return await store.organizations.add(Organization(sid=ORGANIZATION_SID, domain_name=domain))
    if found.domain_name == domain:
        return found
    other = store.organizations.by_domain(domain)
    if other is not None and other.sid != found.sid:
        log.warn(
            "organization_keeps_its_domain sid={sid} domain={domain} wanted_by={other}",
            sid=found.sid,
            domain=found.domain_name,
            other=other.sid,
        )
        return found
    return await store.organizations.update(attrs.evolve(found, domain_name=domain, date_updated=now()))


def demo_password() -> str:
    """A random password that passes the strength rule."""
    return f"{secrets.token_urlsafe(9)}aZ7-"


async def ensure_demo(
    store: Store,
    account: Account,
    realm: str,
    base_url: str,
    known: dict[str, str],
    known_realm: str = "",
) -> dict[str, str]:
    """Demo clients and number, created where they are missing.

    Args:
        store: the store.
        account: their owner.
        realm: digest realm.
        base_url: base of the engine's own HTTP listener; the number's URLs follow it.
        known: passwords that were given out before.
        known_realm: the realm they were given out for; the digests follow a realm that was changed.

    Returns:
        Passwords of the demo clients that are known.
    """
    passwords = {}
    for login in DEMO_CLIENTS:
        client = store.clients.by_login(login, account.organization_sid)
        if client is None:
            passwords[login] = demo_password()
            await store.clients.add(make_client(account.sid, login, passwords[login], realm))
        elif login in known:
            digest = ha1_md5(login, realm, known[login])
            if client.ha1_md5 == ha1_md5(login, known_realm or realm, known[login]) != digest:
                client = attrs.evolve(
                    client, ha1_md5=digest, ha1_sha256=ha1_sha256(login, realm, known[login])
                )
                await store.clients.update(client)
            if client.ha1_md5 == digest:  # else it was changed over REST and is not ours to tell
                passwords[login] = known[login]
    url = f"{base_url}/demo/menu"
    number = store.numbers.by_number(DEMO_NUMBER)
    if number is None:
        await store.numbers.add(
            Number(
                sid=new_sid("PN"),
                account_sid=account.sid,
                phone_number=DEMO_NUMBER,
                friendly_name="Demo menu",
                is_sip=True,
                voice_url=url,
                voice_method="GET",
                voice_capable=True,
            )
        )
    elif number.voice_url != url and (number.voice_url or "").endswith("/demo/menu"):
        await store.numbers.update(attrs.evolve(number, voice_url=url))
    return passwords
