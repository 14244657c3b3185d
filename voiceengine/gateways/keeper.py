"""All gateways: follows the rows of the store, answers who is registered."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import CancelledError, DeferredList
from twisted.logger import Logger

from voiceengine.gateways.registrant import Registrant, Sender
from voiceengine.store.store import Store

log = Logger()

STOP_SECONDS: Final = 2.0
"""Time that all providers get when the engine stops."""


class GatewayKeeper:
    """Implements `requests.GatewayControl`.

    Args:
        reactor: IReactorTime.
        store: the rows.
        sender: the SIP edge.
    """

    def __init__(self, reactor: Any, store: Store, sender: Sender) -> None:
        self._reactor = reactor
        self._store = store
        self._sender = sender
        self._registrants: dict[str, Registrant] = {}
        self._running = False

    # -------------------------------------------------------------- life

    def start(self) -> None:
        """Register what the store holds; the SIP listeners are open."""
        self._running = True
        self.changed()

    async def stop(self) -> None:
        """Unregister everything, within a few seconds."""
        self._running = False
        leaving = list(self._registrants.values())
        for registrant in leaving:
            registrant.want(None)
        timer = self._reactor.callLater(STOP_SECONDS, self._abort, leaving)
        await DeferredList([registrant.done for registrant in leaving])
        if timer.active():
            timer.cancel()

    def _abort(self, leaving: list[Registrant]) -> None:
        for registrant in leaving:
            registrant.abort()

    # -------------------------------------------------------------- GatewayControl

    def changed(self) -> None:
        """Follow the store: register what is new, register anew what changed, unregister what is gone."""
        if not self._running:
            return
        rows = {row.sid: row for row in self._store.gateways.all()}
        for sid, registrant in list(self._registrants.items()):
            registrant.want(rows.pop(sid, None))
        for row in rows.values():
            self._enter(Registrant(self._reactor, self._sender, row))

    def _enter(self, registrant: Registrant) -> None:
        sid = registrant.sid
        self._registrants[sid] = registrant

        def over(result: Any) -> None:
            if self._registrants.get(sid) is registrant:
                del self._registrants[sid]

        def failed(failure: Any) -> None:
            if failure.check(CancelledError):
                return  # we were in a hurry
            log.failure("gateway_failed gateway={sid}", failure, sid=sid)

        registrant.done.addErrback(failed)
        registrant.done.addCallback(over)

    def state(self, sid: str) -> str:
        """`registered`, `registering`, `refused`, `unreachable` or `off`."""
        registrant = self._registrants.get(sid)
        return registrant.state if registrant is not None else "off"

    # -------------------------------------------------------------- who is registered

    def at(self, host: str) -> str | None:
        """The gateway at a numeric address that holds a registration of ours."""
        for registrant in self._registrants.values():
            if registrant.host == host and registrant.live:
                return registrant.sid
        return None

    def count(self) -> int:
        """Gateways that hold a registration of ours."""
        return sum(1 for registrant in self._registrants.values() if registrant.live)
