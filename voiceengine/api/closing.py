"""What goes with an account when it is closed; its calls and messages stay on record."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from voiceengine.api.deps import ApiDeps
from voiceengine.api.paging import MAX_SIZE
from voiceengine.api.ports import ModifyCall
from voiceengine.errors import CallControlError
from voiceengine.store import Store
from voiceengine.store.memory import MemoryRepository
from voiceengine.store.query import Filter, ListQuery
from voiceengine.store.rows import CallRow

log = Logger()

LIVE: Final = ("queued", "ringing", "in-progress")
WAIT_SECONDS: Final = 5.0
"""How long ended calls have to write what they recorded, before recordings are removed."""
LOOK_SECONDS: Final = 0.1
AT_ONCE: Final = 500
"""Accounts whose rows are removed by one statement."""


async def close_accounts(deps: ApiDeps, account_sids: Sequence[str]) -> None:
    """End the calls of accounts and remove what they own.

    The accounts have the status `closed` already, so nothing new comes.
    """
    if not account_sids:
        return
    await _end_calls(deps, account_sids)
    await _remove_owned(deps.store, account_sids, deps.recordings_folder, deps.cache_folder, deps.reactor)
    for sid in account_sids:
        log.info("account_closed account={account}", account=sid)


async def finish_closing(store: Store, recordings_folder: Path, cache_folder: Path, reactor: Any) -> None:
    """Remove what closed accounts still own: an earlier run may have ended while it closed them.

    Args:
        store: the store; no call of an earlier run is live any more.
        recordings_folder: of the media of recordings.
        cache_folder: of the audio of announcements, a folder for each account.
        reactor: IReactorThreads.
    """
    closed = [account.sid for account in store.accounts.all() if account.status == "closed"]
    for start in range(0, len(closed), AT_ONCE):
        part = closed[start : start + AT_ONCE]
        await _remove_owned(store, part, recordings_folder, cache_folder, reactor)


async def _remove_owned(
    store: Store,
    account_sids: Sequence[str],
    recordings_folder: Path,
    cache_folder: Path | None,
    reactor: Any,
) -> None:
    repositories: tuple[MemoryRepository[Any], ...] = (
        store.applications,
        store.numbers,
        store.clients,
        store.caller_ids,
    )
    closed = frozenset(account_sids)
    for repository in repositories:
        await repository.delete_all([row.sid for row in repository.all() if row.account_sid in closed])
    await store.notifications.delete_of_accounts(account_sids)
    await store.announcements.delete_of_accounts(account_sids)
    await store.transcriptions.delete_of_accounts(account_sids)
    recordings = await store.recordings.delete_of_accounts(account_sids)
    files = [recordings_folder / f"{sid}.wav" for sid in recordings]
    folders = [] if cache_folder is None else [cache_folder / sid for sid in account_sids]
    await deferToThreadPool(reactor, reactor.getThreadPool(), _remove, files, folders)


def _remove(files: Iterable[Path], folders: Iterable[Path]) -> None:
    """Remove files and folders; runs in a thread."""
    for file in files:
        file.unlink(missing_ok=True)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


async def _live(deps: ApiDeps, account_sids: Sequence[str]) -> list[CallRow]:
    found: list[CallRow] = []
    for status in LIVE:
        page = 0
        while True:
            rows = await deps.store.calls.list(
                ListQuery(
                    filters=(Filter("status", "eq", status),),
                    page=page,
                    page_size=MAX_SIZE,
                    account_sids=tuple(account_sids),
                )
            )
            found.extend(rows.items)
            if len(rows.items) < MAX_SIZE:
                break
            page += 1
    return found


async def _end_calls(deps: ApiDeps, account_sids: Sequence[str]) -> None:
    until = deps.reactor.seconds() + WAIT_SECONDS
    asked: set[str] = set()
    while True:
        live = await _live(deps, account_sids)
        for row in live:
            if row.sid not in asked:
                asked.add(row.sid)
                await _end(deps, row.sid)
        if not live or deps.reactor.seconds() >= until:
            return
        await deferLater(deps.reactor, LOOK_SECONDS)


async def _end(deps: ApiDeps, call_sid: str) -> None:
    try:
        await deps.control.modify(call_sid, ModifyCall(status="completed"))
    except CallControlError as error:  # it is over already, or it cannot be ended now
        log.info("call_of_closed_account call={call} reason={reason}", call=call_sid, reason=error.message)
