"""Refer: hand the caller over to somebody else by SIP. Reference: Verbs of the later edition."""

from __future__ import annotations

from rcml.attributes import http_method, url
from rcml.document import Element
from rcml.flow import Flow
from rcml.nouns import Sip
from rcml.parameters import refer_parameters
from rcml.ports import DialError, LegEnded, ReferResult
from rcml.verb import Step, Verb, verb
from rcml.verbs.dialing import not_called
from rcml.verbs.hold import METHOD_CODE

_STATUS = {
    486: "busy",
    600: "busy",
    603: "busy",
    408: "no-answer",
    480: "no-answer",
    487: "canceled",
}


def refer_status(result: ReferResult) -> str:
    """Give the ReferCallStatus: what the last NOTIFY said of the new call; `failed` without one."""
    code = result.notify_code
    return "completed" if 200 <= code < 300 else _STATUS.get(code, "failed")


@verb("Refer", children=("Sip",), source="Verbs of the later edition")
class Refer(Verb):
    """Asks the caller's device to call the SIP URI of its `Sip` (SIP REFER), and waits for the outcome.

    After a successful transfer the device ends this call. `?X-A=1` behind the URI becomes a header of the
    REFER.
    """

    action = url("action", doc="What is requested then.", source="Verbs of the later edition")
    method = http_method(METHOD_CODE, source="Verbs of the later edition")
    sends = (
        ("ReferCallStatus", "`completed`, `busy`, `no-answer`, `canceled` or `failed`"),
        ("ReferSipResponseCode", "final code of the REFER; empty when there was none"),
        ("NotifySipResponseCode", "code of the new call that was told last; empty when none was"),
    )

    async def run(self, flow: Flow) -> Step:
        """Refer, then the action or the next verb."""
        noun = next((Sip(child) for child in self.element.children if child.name == "Sip"), None)
        if noun is None or not noun.address():
            flow.journal("refer_empty", line=self.element.line)
            return None
        result = await self._refer(flow, noun)
        flow.took_time = flow.took_time or result.notify_code > 0
        status = refer_status(result)
        flow.journal("refer_result", status=status, code=result.code, notify=result.notify_code)
        leg = flow.ports.leg
        if self.action:
            parameters = refer_parameters(result, status)
            return flow.action(
                "Refer",
                self.action,
                self.method,
                parameters,
                after_end=leg.ended,
                ends_soon=status == "completed",
            )
        if leg.ended:
            raise LegEnded
        return None

    async def _refer(self, flow: Flow, noun: Sip) -> ReferResult:
        try:
            target, headers = noun.whom()
        except DialError as error:
            not_called(flow, f"Refer, Sip (line {noun.element.line})", error)
            return ReferResult(code=0)
        return await flow.ports.leg.refer(target, headers)

    def ends_document(self) -> bool:
        """With an action nothing follows."""
        return bool(self.action) and any(_names(child) for child in self.element.children)


def _names(child: Element) -> bool:
    return child.name == "Sip" and bool(Sip(child).address())
