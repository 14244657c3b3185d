"""The pjsua2 object of a leg, and what its events hold."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import pjsua2 as pj

if TYPE_CHECKING:
    from media.worker.leg import Leg

_HEADER = re.compile(r"^(X-[!-9;-~]{1,64}|Reason)[ \t]*:[ \t]*(.{0,256})", re.IGNORECASE | re.MULTILINE)

_OPEN = (pj.PJSIP_TSX_STATE_CALLING, pj.PJSIP_TSX_STATE_TRYING, pj.PJSIP_TSX_STATE_PROCEEDING)
_CLOSED = (pj.PJSIP_TSX_STATE_COMPLETED, pj.PJSIP_TSX_STATE_CONFIRMED, pj.PJSIP_TSX_STATE_TERMINATED)


class Transaction(NamedTuple):
    """A step of a request that the worker sent."""

    method: str
    code: int
    """Final code; 0 when there was no answer, or none yet."""
    final: bool
    sent: bool
    """The request is just being sent."""
    number: int
    """Tells transactions from each other."""


class PjCall(pj.Call):
    """The pjsua2 object of a leg; hands its callbacks to the leg."""

    def __init__(self, account: Any, leg: Leg, call_id: int = -1) -> None:
        super().__init__(account, call_id)
        self._leg = leg

    def onCallState(self, prm: Any) -> None:  # noqa: N802 - the names are pjsua2's
        """State changed (reactor thread)."""
        self._leg.on_state(prm)

    def onCallMediaState(self, prm: Any) -> None:  # noqa: N802
        """Media came up or changed (reactor thread)."""
        self._leg.on_media()

    def onCallTsxState(self, prm: Any) -> None:  # noqa: N802
        """A transaction of the dialog changed (reactor thread)."""
        step = own_transaction(prm)
        if step is not None:
            self._leg.on_transaction(step)

    def onCallTransferStatus(self, prm: Any) -> None:  # noqa: N802
        """A NOTIFY after REFER, or its refusal (reactor thread)."""
        self._leg.on_notify(int(prm.statusCode), bool(prm.finalNotify))

    def onDtmfDigit(self, prm: Any) -> None:  # noqa: N802
        """A digit by RFC 4733 or INFO (media thread): copy plain values and leave."""
        digit, method = str(prm.digit), int(prm.method)
        self._leg.from_thread(digit, "info" if method == pj.PJSUA_DTMF_METHOD_SIP_INFO else "rfc4733")

    def onStreamDestroyed(self, prm: Any) -> None:  # noqa: N802
        """A stream ends (reactor thread): the last moment for its statistics."""
        self._leg.on_stream_destroyed(int(prm.streamIdx))

    def onCallTransferRequest(self, prm: Any) -> None:  # noqa: N802
        """REFER is for the engine, not for the worker."""
        prm.statusCode = 603

    def onCallReplaceRequest(self, prm: Any) -> None:  # noqa: N802
        """INVITE with Replaces is for the engine, not for the worker."""
        prm.statusCode = 403

    def onCallRedirected(self, prm: Any) -> int:  # noqa: N802
        """3xx: the engine decides."""
        return int(pj.PJSIP_REDIRECT_REJECT)


def own_transaction(prm: Any) -> Transaction | None:
    """The step of a client transaction that an event tells of; None for all others."""
    event = prm.e
    if event.type != pj.PJSIP_EVENT_TSX_STATE:
        return None
    body = event.body
    change = body.tsxState
    transaction = change.tsx
    if transaction.role != pj.PJSIP_ROLE_UAC:
        return None
    before, now = change.prevState, transaction.state
    # a refused INVITE ends once more when its last timer fires: that is not its answer
    final = now in _CLOSED and before in (pj.PJSIP_TSX_STATE_NULL, *_OPEN)
    answered = change.type == pj.PJSIP_EVENT_RX_MSG
    return Transaction(
        method=str(transaction.method),
        code=int(transaction.statusCode) if final and answered else 0,
        final=final,
        sent=before == pj.PJSIP_TSX_STATE_NULL and now in _OPEN,
        number=int(transaction.pjTransaction),
    )


def message_of(prm: Any) -> str:
    """The head of the message that led to a change of state, if one was received."""
    event = prm.e
    body = event.body
    change = body.tsxState
    if change.type != pj.PJSIP_EVENT_RX_MSG:
        return ""
    source = change.src
    received = source.rdata
    return str(received.wholeMsg).split("\r\n\r\n", 1)[0]


def headers_in(message: str) -> list[list[str]]:
    """X- and Reason headers of a message."""
    return [[name, value.strip()] for name, value in _HEADER.findall(message)[:32]]
