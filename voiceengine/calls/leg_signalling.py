"""Requests that are sent to the party inside its dialog: hold, resume, REFER."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredLock

from media.legs import MediaLeg
from rcml.ports import ReferResult

REINVITE_SECONDS = 35.0
"""A re-INVITE that is not answered fails after 32 s in the worker."""
REFER_SECONDS = 120.0
"""How long the news of a transfer are waited for."""

T = TypeVar("T")


class LegSignalling:
    """One leg's hold, resume and REFER; each re-INVITE, and each REFER, is done before the next is begun.

    Args:
        reactor: source of time.
        changed: told when the leg was put on hold or taken off.
    """

    def __init__(self, reactor: Any, changed: Callable[[], None]) -> None:
        self._reactor = reactor
        self._changed = changed
        self._holding = DeferredLock()
        self._referring = DeferredLock()
        self._reinvited: Deferred[int] | None = None
        self._referred: Deferred[None] | None = None
        self._result = ReferResult(code=0)
        self.on_hold = False

    async def _serially(self, lock: DeferredLock, work: Callable[[], Awaitable[T]]) -> T:
        await lock.acquire()
        try:
            return await work()
        finally:
            lock.release()

    async def hold(self, media: MediaLeg) -> int:
        """Put the party on hold; returns the final SIP code, 0 for none."""
        return await self._serially(self._holding, lambda: self._reinvite(media, True))

    async def resume(self, media: MediaLeg) -> int | None:
        """Take the party off hold; None when it is not held."""

        async def work() -> int | None:
            return await self._reinvite(media, False) if self.on_hold else None

        return await self._serially(self._holding, work)

    async def _reinvite(self, media: MediaLeg, held: bool) -> int:
        if self.on_hold == held:
            return 200
        waiting = self._reinvited = Deferred()
        waiting.addTimeout(REINVITE_SECONDS, self._reactor)
        media.hold(held)
        try:
            return await waiting
        except defer.TimeoutError:
            return 0
        finally:
            self._reinvited = None

    async def refer(self, media: MediaLeg, target: str, headers: Sequence[tuple[str, str]]) -> ReferResult:
        """Ask the party to call somebody else, and wait for the outcome."""

        async def work() -> ReferResult:
            self._result = ReferResult(code=0)
            waiting = self._referred = Deferred()
            waiting.addTimeout(REFER_SECONDS, self._reactor)
            media.refer(target, headers)
            try:
                await waiting
            except defer.TimeoutError:
                pass
            finally:
                self._referred = None
            return self._result

        return await self._serially(self._referring, work)

    # -------------------------------------------------------------- what the worker tells

    def reinvited(self, held: bool, code: int) -> None:
        """The re-INVITE was answered, whether somebody still waits for that or not."""
        if 200 <= code < 300 and self.on_hold != held:
            self.on_hold = held
            self._changed()
        if self._reinvited is not None and not self._reinvited.called:
            self._reinvited.callback(code)

    def referred(self, code: int, notify_code: int, final: bool) -> None:
        """News of the REFER."""
        self._result = ReferResult(code=code or self._result.code, notify_code=notify_code)
        if final:
            self.ended()

    def ended(self) -> None:
        """The leg is over: a party may end the call when its transfer succeeded."""
        if self._referred is not None and not self._referred.called:
            self._referred.callback(None)
        self.reinvited(self.on_hold, 0)
