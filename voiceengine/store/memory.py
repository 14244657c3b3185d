"""Provisioning: rows that are few, read on every call, and therefore kept in memory as well.

A write is visible in memory at once and taken back when the database refuses it, so two requests that follow
each other closely never work on the same old row. Call everything on the reactor thread.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from voiceengine.errors import StoreError
from voiceengine.store.rows import Account, Application, CallerId, Client, Gateway, Number, Organization
from voiceengine.store.tables import (
    ACCOUNTS,
    APPLICATIONS,
    CALLER_IDS,
    CLIENTS,
    GATEWAYS,
    NUMBERS,
    ORGANIZATIONS,
    Table,
)
from voiceengine.store.thread import DatabaseThread


class _Owned(Protocol):
    @property
    def sid(self) -> str: ...


R = TypeVar("R", bound=_Owned)


class Version:
    """Counts changes of provisioning."""

    def __init__(self) -> None:
        self.value = 0


class _Index(Generic[R]):
    """Rows by some key, in the order in which they came to it."""

    def __init__(self) -> None:
        self._rows: dict[Any, dict[str, R]] = {}

    def put(self, key: object, row: R) -> None:
        self._rows.setdefault(key, {})[row.sid] = row

    def drop(self, key: object, row: R) -> None:
        found = self._rows.get(key)
        if found is not None and found.pop(row.sid, None) is not None and not found:
            del self._rows[key]

    def of(self, key: object) -> tuple[R, ...]:
        return tuple(self._rows.get(key, {}).values())


def _execute(connection: sqlite3.Connection, statement: str, parameters: Sequence[tuple[Any, ...]]) -> None:
    """Execute a statement with each of these parameters, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.executemany(statement, parameters)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


class MemoryRepository(Generic[R]):
    """Rows of one table by sid, and by further keys in the subclasses."""

    def __init__(self, table: Table[R], thread: DatabaseThread, version: Version) -> None:
        self._table = table
        self._thread = thread
        self._version = version
        self._rows: dict[str, R] = {}
        self._indexes: dict[str, _Index[R]] = {}
        self._waiting: Counter[str] = Counter()
        """Sid -> writes that are on their way."""
        self._stored: dict[str, R | None] = {}
        """Of these sids: what the database has."""

    def _keys(self, row: R) -> Iterator[tuple[str, object]]:
        """Yield (index, key) for each index that the row belongs to."""
        yield from ()

    def _of(self, index: str, key: object) -> tuple[R, ...]:
        found = self._indexes.get(index)
        return found.of(key) if found else ()

    def fill(self, rows: Iterable[R]) -> None:
        """Take the rows read at the start."""
        for row in rows:
            self._replace(row.sid, row)

    def get(self, sid: str) -> R | None:
        """The row, or None."""
        return self._rows.get(sid)

    def all(self) -> tuple[R, ...]:
        """All rows, oldest first."""
        return tuple(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    async def add(self, row: R) -> R:
        """Add a row; returns after the commit.

        Raises:
            StoreError: the sid (or another unique value) is taken, or the database failed.
        """
        if row.sid in self._rows:
            raise StoreError(f"A {self._table.row.__name__} with sid {row.sid} exists already.")
        await self._write({row.sid: row}, self._table.insert, [self._table.parameters(row)])
        return row

    async def update(self, row: R) -> R:
        """Replace the row of the same sid; returns after the commit.

        Raises:
            StoreError: there is no such row, or the database failed.
        """
        await self.update_all([row])
        return row

    async def update_all(self, rows: Iterable[R]) -> None:
        """Replace several rows, all or none; nothing else can happen between the first and the last.

        Raises:
            StoreError: there is no such row, or the database failed.
        """
        changes = {row.sid: row for row in rows}
        for sid in changes:
            if sid not in self._rows:
                raise StoreError(f"There is no {self._table.row.__name__} with sid {sid}.")
        await self._write(changes, self._table.upsert, map(self._table.parameters, changes.values()))

    async def delete(self, sid: str) -> bool:
        """Remove a row; False when there was none."""
        return await self.delete_all([sid]) > 0

    async def delete_all(self, sids: Iterable[str]) -> int:
        """Remove rows, all or none; returns how many there were.

        Raises:
            StoreError: the database failed.
        """
        found = {sid: None for sid in sids if sid in self._rows}
        await self._write(found, self._table.delete, ((sid,) for sid in found))
        return len(found)

    async def _write(
        self, changes: Mapping[str, R | None], statement: str, parameters: Iterable[tuple[Any, ...]]
    ) -> None:
        """Change rows here (None: remove) and in the database, by one statement for each."""
        if not changes:
            return
        bound = list(parameters)
        for sid, row in changes.items():
            # What a refusal goes back to: an earlier write that still waits may be refused as well.
            self._stored.setdefault(sid, self._rows.get(sid))
            self._waiting[sid] += 1
            self._replace(sid, row)
        try:
            await self._thread.submit(lambda connection: _execute(connection, statement, bound))
        except StoreError:
            for sid, row in changes.items():
                if self._rows.get(sid) is row:
                    self._replace(sid, self._stored[sid])
            raise
        else:
            self._stored.update(changes)
        finally:
            for sid in changes:
                self._waiting[sid] -= 1
                if not self._waiting[sid]:
                    del self._waiting[sid], self._stored[sid]

    def _replace(self, sid: str, row: R | None) -> None:
        old = self._rows.get(sid)
        keys = [] if row is None else list(self._keys(row))
        if old is not None:
            for name, key in self._keys(old):
                if (name, key) not in keys:  # where the key is the same the row keeps its place
                    self._indexes[name].drop(key, old)
        if row is None:
            self._rows.pop(sid, None)
        else:
            self._rows[sid] = row
            for name, key in keys:
                self._indexes.setdefault(name, _Index()).put(key, row)
        self._version.value += 1


class Accounts(MemoryRepository[Account]):
    """The account tree."""

    def __init__(self, thread: DatabaseThread, version: Version) -> None:
        super().__init__(ACCOUNTS, thread, version)

    def _keys(self, row: Account) -> Iterator[tuple[str, object]]:
        yield "email", row.email_address.lower()
        yield "parent", row.parent_sid

    def by_email(self, email: str) -> Account | None:
        """The account with this e-mail address (letter case does not matter)."""
        return next(iter(self._of("email", email.lower())), None)

    def children(self, sid: str) -> tuple[Account, ...]:
        """Direct children, oldest first."""
        return self._of("parent", sid)

    def descendants(self, sid: str) -> tuple[Account, ...]:
        """Children, their children and so on."""
        found: dict[str, Account] = {}
        pending = list(self.children(sid))
        while pending:
            account = pending.pop(0)
            if account.sid not in found:
                found[account.sid] = account
                pending.extend(self.children(account.sid))
        return tuple(found.values())

    def is_ancestor(self, ancestor: str, sid: str) -> bool:
        """Whether `ancestor` stands above `sid` in the tree."""
        seen: set[str] = set()
        account = self.get(sid)
        while account is not None and account.parent_sid is not None and account.sid not in seen:
            if account.parent_sid == ancestor:
                return True
            seen.add(account.sid)
            account = self.get(account.parent_sid)
        return False

    def super_admin(self) -> Account | None:
        """The oldest active account without parent."""
        return next((account for account in self._of("parent", None) if account.status == "active"), None)

    def is_super_admin(self, sid: str) -> bool:
        """Whether this is the sid of the super admin."""
        admin = self.super_admin()
        return admin is not None and admin.sid == sid


class _OfAccount(MemoryRepository[R]):
    """Rows that an account owns."""

    def of_account(self, sid: str) -> tuple[R, ...]:
        """Rows of an account."""
        return self._of("account", sid)


class _Organized(_OfAccount[R]):
    """Rows whose names are unique in an organization."""

    def __init__(self, table: Table[R], thread: DatabaseThread, version: Version, accounts: Accounts) -> None:
        super().__init__(table, thread, version)
        self._accounts = accounts

    def _organization(self, account_sid: str) -> str | None:
        account = self._accounts.get(account_sid)
        return account.organization_sid if account else None


class Clients(_Organized[Client]):
    """Softphone accounts."""

    def __init__(self, thread: DatabaseThread, version: Version, accounts: Accounts) -> None:
        super().__init__(CLIENTS, thread, version, accounts)

    def _keys(self, row: Client) -> Iterator[tuple[str, object]]:
        yield "account", row.account_sid
        yield "login", row.login

    def by_login(self, login: str, organization_sid: str | None = None) -> Client | None:
        """The client with this login, of this organization or (None) of any."""
        for row in self._of("login", login):
            if organization_sid is None or self._organization(row.account_sid) == organization_sid:
                return row
        return None


class Numbers(_Organized[Number]):
    """Incoming phone numbers."""

    def __init__(self, thread: DatabaseThread, version: Version, accounts: Accounts) -> None:
        super().__init__(NUMBERS, thread, version, accounts)

    def _keys(self, row: Number) -> Iterator[tuple[str, object]]:
        yield "account", row.account_sid
        yield "number", row.phone_number

    def by_number(self, text: str, organization_sid: str | None = None) -> Number | None:
        """The row whose number is exactly this text, of this organization or (None) of any."""
        for row in self.all_by_number(text):
            if organization_sid is None or self._organization(row.account_sid) == organization_sid:
                return row
        return None

    def all_by_number(self, text: str) -> tuple[Number, ...]:
        """The rows of all organizations whose number is exactly this text."""
        return self._of("number", text)


class Applications(_OfAccount[Application]):
    """Bundles of URLs."""

    def __init__(self, thread: DatabaseThread, version: Version) -> None:
        super().__init__(APPLICATIONS, thread, version)

    def _keys(self, row: Application) -> Iterator[tuple[str, object]]:
        yield "account", row.account_sid


class CallerIds(_OfAccount[CallerId]):
    """Outgoing caller ids."""

    def __init__(self, thread: DatabaseThread, version: Version) -> None:
        super().__init__(CALLER_IDS, thread, version)

    def _keys(self, row: CallerId) -> Iterator[tuple[str, object]]:
        yield "account", row.account_sid


class Gateways(MemoryRepository[Gateway]):
    """Providers that the engine registers with."""

    def __init__(self, thread: DatabaseThread, version: Version) -> None:
        super().__init__(GATEWAYS, thread, version)


class Organizations(MemoryRepository[Organization]):
    """Tenant domains."""

    def __init__(self, thread: DatabaseThread, version: Version) -> None:
        super().__init__(ORGANIZATIONS, thread, version)

    def _keys(self, row: Organization) -> Iterator[tuple[str, object]]:
        yield "domain", row.domain_name.lower()

    def by_domain(self, domain: str) -> Organization | None:
        """The organization with this domain (letter case does not matter)."""
        return next(iter(self._of("domain", domain.lower())), None)
