"""Transfers that phones ask for by REFER (RFC 3515), blind and attended.

Reference: Inbound SIP REFER.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from rcml.interpreter import Source
from rcml.ports import Direction
from voiceengine.calls.call import Call
from voiceengine.calls.implicit import dial_document
from voiceengine.calls.live import take_out
from voiceengine.calls.pair import Pair
from voiceengine.calls.routing import Caller, ImplicitDial, Refuse, Router, RunApplication
from voiceengine.sip.transfer import Replaces, TransferRequest

if TYPE_CHECKING:
    from voiceengine.calls.context import CallContext

log = Logger()

NOT_FOUND = 11005
"""Notification of a target that is nobody of this engine."""
TRANSFERRED = 'SIP;cause=200;text="transferred"'


class Transfers:
    """Implements `sip.transfer.TransferHandler`.

    Args:
        context: what all calls share.
        by_key: the live call of a leg.
        router: decides where a target of this engine leads.
    """

    def __init__(
        self, context: CallContext, by_key: Callable[[str], Call | None], router: Callable[[], Router]
    ) -> None:
        self._context = context
        self._by_key = by_key
        self._router = router

    def transfer(self, request: TransferRequest) -> None:
        """A phone wants the party it talks with to talk with somebody else."""
        if not self._context.settings.calls.refer:
            request.refuse(603, "transfers are switched off")
            return
        call = self._by_key(request.key)
        if call is None or not isinstance(call.joined, Pair) or call.joined.over:
            request.refuse(404, "no bridged call")
            return
        if request.replaces is not None:
            self._attended(request, call, call.joined, request.replaces)
        else:
            self._blind(request, call, call.joined)

    # -------------------------------------------------------------- attended

    def _attended(self, request: TransferRequest, call: Call, pair: Pair, replaces: Replaces) -> None:
        key = self._context.edge.leg_of_dialog(replaces.call_id, replaces.to_tag, replaces.from_tag)
        second = self._by_key(key) if key is not None else None
        if second is None or second is call or not isinstance(second.joined, Pair) or second.joined.over:
            request.refuse(404, "the call to be replaced was not found")
            return
        one, two = pair.other(call), second.joined.other(second)
        if one is second or one is two:
            request.refuse(400, "a call cannot be transferred to itself")
            return
        request.accept()
        for transferor in (call, second):
            transferor.records.journal("transferred", party=one.sid, to=two.sid)
            take_out(transferor, quietly=True)
        Union(self._context, one, two).join()
        request.notify(200, "OK", final=True)
        for transferor in (call, second):
            transferor.leg.end(TRANSFERRED)

    # -------------------------------------------------------------- blind

    def _blind(self, request: TransferRequest, call: Call, pair: Pair) -> None:
        source = self._document(request, call, pair)
        if source is None:
            request.refuse(404, "no ReferUrl, and not a client who may call out")
            return
        request.accept()
        party = pair.other(call)
        call.records.journal("transferred", party=party.sid, to=str(request.target))
        take_out(call, quietly=True)
        request.notify(200, "OK", final=True)
        call.leg.end(TRANSFERRED)
        switched = Deferred.fromCoroutine(party.switch(source))
        switched.addErrback(
            lambda failure: log.failure("transfer_failed call={call}", failure=failure, call=party.sid)
        )

    def _document(self, request: TransferRequest, call: Call, pair: Pair) -> Source | None:
        """What the remaining party runs; None when nobody says so."""
        inbound = next((c for c in (pair.first, pair.second) if c.info.direction is Direction.INBOUND), None)
        if inbound is None:
            return None
        store = self._context.store
        number = store.numbers.get(inbound.row.phone_number_sid) if inbound.row.phone_number_sid else None
        if number is None:
            return self._implicit(request, call) if inbound.implicit else None
        url, application = number.refer_url, None
        if number.refer_application_sid:
            application = store.applications.get(number.refer_application_sid)
        if application is not None and application.rcml_url:
            url = application.rcml_url
        if not url:
            return None
        return Source(
            url=self._context.absolute_url(url),
            method=number.refer_method,
            extra=(
                ("ReferTarget", request.target.user or str(request.target)),
                ("Transferor", party_of(call)),
                ("Transferee", party_of(pair.other(call))),
                *((f"SipHeader_{name}", value) for name, value in request.headers),
            ),
        )

    def _implicit(self, request: TransferRequest, call: Call) -> Source | None:
        """A call without a document goes where a call to the target would have gone.

        The party that remains pays: only a client may send it out of the engine, as only a client may call
        out (RFC 3515 section 5).
        """
        target, user = request.target, request.target.user or ""
        ring, headers = self._context.settings.sip.ring_timeout, dict(request.headers)
        router = self._router()
        listeners = self._context.edge.core.transports.listeners
        ours = target.port is None or any(listener.port == target.port for listener in listeners)
        if not ours or router.tables.organization(target.host) is None:
            if not call.is_client:
                return None
            return Source(text=dial_document("uri", str(target), ring, headers))
        match router.route(Caller("outside"), user, target.host):
            case RunApplication() as application:
                return Source(
                    url=application.url,
                    method=application.method,
                    fallback_url=application.fallback_url,
                    fallback_method=application.fallback_method,
                )
            case ImplicitDial(kind=kind, target=found):
                return Source(text=dial_document(kind, found, ring, headers))
            case Refuse(code=404, notices=notices) if any(n.code == NOT_FOUND for n in notices):
                if call.is_client:
                    return Source(text=dial_document("number", user, ring, headers))
        return None


def party_of(call: Call) -> str:
    """Who is at the other end of a call."""
    return call.info.from_ if call.info.direction is Direction.INBOUND else call.info.to


class Union:
    """Two calls joined without a document: when one ends, so does the other. Implements `CallWatcher`."""

    def __init__(self, context: CallContext, first: Call, second: Call) -> None:
        self._pair = Pair(context, first, second, first_keys=True)

    def join(self) -> None:
        """Join them; documents that run on them are stopped."""
        for call in (self._pair.first, self._pair.second):
            call.flow.stop()
            call.watcher = self
        self._pair.join()

    def branch_rings(self, call: Call, *, early_media: bool) -> None:
        """Both are answered."""

    def branch_answered(self, call: Call) -> None:
        """Both are answered."""

    def branch_ended(self, call: Call) -> None:
        """One is over."""
        self._pair.split()
        other = self._pair.other(call)
        if other.watcher is self:
            other.watcher = None
            other.leg.end()

    def branch_taken(self, call: Call, *, quietly: bool = False) -> None:
        """One goes its own way; the other is left alone."""
        self._pair.split()
        for one in (self._pair.first, self._pair.second):
            if one.watcher is self:
                one.watcher = None
