"""REFER of phones within their calls (RFC 3515, RFC 5589): answered here, never by a worker.

A REFER is accepted or refused by a handler; after 202 the phone is told by NOTIFY what became of it. A
NOTIFY does not wait for the answer to the one before: the BYE that follows a transfer must not overtake the
last one. A phone that gets them in another order refuses the older by their CSeq, and has missed nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sipmessage import URI, Request, Response

from voiceengine.sip import refer
from voiceengine.sip.headers import clean, reason_value
from voiceengine.sip.refer import ReferError, ReferTo, Replaces
from voiceengine.sip.wire import new_branch, response_to

if TYPE_CHECKING:
    from voiceengine.sip.core import EdgeCore
    from voiceengine.sip.dialog import Dialog
    from voiceengine.sip.transport import Flow

__all__ = ["Replaces", "TransferHandler", "TransferRequest", "Transfers"]

SUBSCRIPTION_SECONDS = 60
"""What every NOTIFY but the last promises anew."""


class TransferHandler(Protocol):
    """Who decides about REFER of phones."""

    def transfer(self, request: TransferRequest) -> None:
        """A phone wants its call to go elsewhere. Must soon end in `accept` or `refuse` (RFC 4320)."""
        ...


class TransferRequest:
    """A REFER that waits for a decision, and afterwards the subscription to what becomes of it."""

    def __init__(
        self,
        core: EdgeCore,
        request: Request,
        flow: Flow,
        transaction: tuple[str, str, str],
        dialog: Dialog,
        refer_to: ReferTo,
    ) -> None:
        self.key = dialog.key
        """Name of the leg whose phone sent it."""
        self.target: URI = refer_to.target
        """Who is to be called instead."""
        self.headers = refer_to.headers
        """X- headers for that call."""
        self.replaces = refer_to.replaces
        """The dialog that the target is to give up for it: an attended transfer."""
        self.referred_by = clean(request.headers.get("Referred-By") or "", 1024)
        """Referred-By as the phone wrote it, or ''."""
        self._core = core
        self._request = request
        self._flow = flow
        self._transaction = transaction
        self._dialog = dialog
        self._silent = refer.silent(request)
        dialog.transfers += 1
        # the first needs no id, and old phones know none (RFC 3515 section 2.4.6)
        self._event = f"refer;id={request.cseq.sequence}" if dialog.transfers > 1 else "refer"
        self._answered = False
        self._open = False
        self._forgotten = False

    # -------------------------------------------------------------- the decision

    def accept(self) -> None:
        """Answer 202, and tell that it is being tried unless the phone wants no news."""
        if self._answered:
            return
        headers = [("Contact", self._core.relay.contact(self._dialog))]
        if self._silent:
            headers.append(("Refer-Sub", "false"))
        self._answer(response_to(self._request, 202, "", headers))
        self._open = not self._silent
        self.notify(100, "Trying", final=False)

    def refuse(self, code: int, reason: str = "") -> None:
        """Answer with a refusal; `reason` is a sentence for its Reason header."""
        if not self._answered:
            headers = [("Reason", reason_value(reason, code))] if reason else []
            self._answer(response_to(self._request, code, "", headers))

    def _answer(self, response: Response) -> None:
        self._answered = True
        data = bytes(response)
        self._core.replies.put(self._transaction, data)
        self._flow.send(data)

    # -------------------------------------------------------------- what becomes of it

    def notify(self, code: int, phrase: str, *, final: bool) -> None:
        """Tell the phone a status of the new call; without effect before `accept` and after the final one."""
        if not self._open or self._forgotten:
            return
        self._open = not final
        core, dialog = self._core, self._dialog
        state = "terminated;reason=noresource" if final else f"active;expires={SUBSCRIPTION_SECONDS}"
        headers = [
            ("Contact", core.relay.contact(dialog)),
            ("Event", self._event),
            ("Subscription-State", state),
            ("Content-Type", "message/sipfrag;version=2.0"),
        ]
        branch = new_branch()
        try:
            request = core.relay.own_request("NOTIFY", dialog, branch, headers, refer.sipfrag(code, phrase))
        except ValueError:
            return
        core.client(
            request,
            branch,
            lambda data: core.to_phone(dialog, data),
            reliable=dialog.flow.transport == "tcp",
            answered=self._told,
            timed_out=self._forget,
        )

    def _told(self, response: Response) -> None:
        if response.code >= 300:
            self._forget()

    def _forget(self) -> None:
        """The phone has forgotten its REFER (RFC 6665 section 4.2.2)."""
        self._forgotten = True


class Transfers:
    """Takes REFER from phones."""

    def __init__(self, core: EdgeCore) -> None:
        self._core = core

    def refer(
        self, request: Request, flow: Flow, transaction: tuple[str, str, str], dialog: Dialog | None
    ) -> None:
        """Take a REFER; `dialog` is None for one outside of any call that lives."""
        core = self._core
        handler = core.on_transfer
        if handler is None:
            core.reply(request, flow, 405, "", ("Allow", core.relay.allow))
            return
        if dialog is None or dialog.ended or not dialog.established:
            core.reply(
                request, flow, 404, "", ("Reason", reason_value("There is no call to be transferred.", 404))
            )
            return
        try:
            refer_to = ReferTo.parse(request.headers.getlist("Refer-To"))
        except ReferError as error:
            reason = ("Reason", reason_value(error.message, error.status))
            core.reply(request, flow, error.status, "", reason)
            return
        core.replies.put(transaction, b"")  # a repetition is not another transfer
        handler.transfer(TransferRequest(core, request, flow, transaction, dialog, refer_to))
