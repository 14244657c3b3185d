"""What a first start creates: the super-admin account, its credentials file, demo clients and numbers."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

import attrs

from voiceengine.store.passwords import ha1_md5, ha1_sha256
from voiceengine.store.rows import Account, Client, Number, new_sid
from voiceengine.store.store import Store

ORGANIZATION_SID = "ORafbe225ad37541eba518a74248f0ac4c"
SUPER_ADMIN_SID = "ACae6e420f425248d6a26948c17a9e2acf"
SUPER_ADMIN_EMAIL = "administrator@company.com"
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


def make_client(account_sid: str, login: str, password: str, realm: str) -> Client:
    """A client row; only digests of the password are in it."""
    return Client(
        sid=new_sid("CL"),
        account_sid=account_sid,
        login=login,
        friendly_name=login,
        ha1_md5=ha1_md5(login, realm, password),
        ha1_sha256=ha1_sha256(login, realm, password),
    )


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
        client = store.clients.by_login(login)
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
