"""Calls that programs ask for: to clients, numbers and SIP URIs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipmessage import URI

from rcml.interpreter import Source
from rcml.ports import CallStatus, Direction
from voiceengine.calls.call import Call
from voiceengine.calls.callbacks import ProgressCallback
from voiceengine.calls.outbound import Outbound, Sender, Target
from voiceengine.calls.requests import CreateCall
from voiceengine.errors import CallControlError
from voiceengine.store.rows import CallRow

if TYPE_CHECKING:
    from voiceengine.calls.context import CallContext


class Originator:
    """Creates outbound calls that run a document once they are answered."""

    def __init__(self, context: CallContext, outbound: Outbound) -> None:
        self._context = context
        self._outbound = outbound

    async def create(self, request: CreateCall) -> list[CallRow]:
        """Start a call; one leg per device of a client, of which the first to answer wins.

        Raises:
            CallControlError: the target cannot be reached or is malformed.
        """
        targets = await self._targets(request)
        account = self._context.store.accounts.get(request.account_sid)
        if account is not None and account.status != "active":  # suspended while a name was looked up
            raise CallControlError("Provided Account is not active", status=403)
        user, name = caller(request.from_)
        callback = None
        if request.status_callback:
            callback = ProgressCallback(
                url=request.status_callback,
                method=request.status_callback_method,
                events=request.status_callback_events,
            )
        calls = [
            self._outbound.new_call(
                target,
                account_sid=request.account_sid,
                sender=Sender(user=user, name=name),
                direction=Direction.OUTBOUND_API,
                callback=callback,
            )
            for target in targets
        ]
        won: list[Call] = []
        for call, target in zip(calls, targets, strict=True):
            others = [other for other in calls if other is not call]
            call.application = request.url or ""
            call.on_answered = lambda call=call, others=others: self._answered(call, others, won, request)
            self._outbound.begin(
                call,
                target,
                headers=request.headers,
                ring_seconds=request.timeout,
                keep=self._context.placement.keep(call.application),
            )
        return [call.row for call in calls]

    async def _targets(self, request: CreateCall) -> list[Target]:
        to = request.to.strip()
        username, password = request.username or "", request.password or ""
        if "@" in to or to.lower().startswith(("sip:", "sips:")):
            return [await self._outbound.to_uri(to, username, password)]
        if to.startswith("client"):
            name = to.partition(":")[2] or to
            if name.count(":"):
                raise CallControlError(f"{request.to} is an invalid client identifier.", status=400)
            return await self._outbound.to_client(name, request.account_sid)
        return [await self._outbound.to_number(to, request.account_sid, username, password)]

    def _answered(self, call: Call, others: list[Call], won: list[Call], request: CreateCall) -> None:
        if won:  # another device was first, by a moment
            call.leg.end()
            return
        won.append(call)
        for other in others:
            other.give_up(CallStatus.CANCELED, "answered by another device")
        if request.record:
            call.recordings.record_all()
        source = Source(
            url=request.url or "",
            method=request.method,
            fallback_url=request.fallback_url,
            fallback_method=request.fallback_method,
            text=request.rcml,
        )
        call.run(call.next_source or source)


def caller(text: str) -> tuple[str, str]:
    """User part and display name of a From as programs give it: a number, a name or a SIP URI."""
    text = text.strip()
    name = ""
    if "<" in text and text.endswith(">"):
        name, _, text = text[:-1].partition("<")
        name = name.strip().strip('"')
    if text.lower().startswith(("sip:", "sips:")):
        try:
            return URI.parse(text).user or "anonymous", name
        except ValueError:
            text = text.partition(":")[2].partition("@")[0]
    if text.startswith("client:"):
        text = text.partition(":")[2]
    return text.partition("@")[0] or "anonymous", name
