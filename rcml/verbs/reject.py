"""Reject: refuse a ringing call."""

from __future__ import annotations

from rcml.attributes import choice
from rcml.flow import Flow
from rcml.ports import CallStatus
from rcml.verb import End, Step, Verb, verb

RESPONSES = {
    "rejected": (603, "Decline"),
    "busy": (486, "Busy Here"),
    "forbidden": (403, "Forbidden"),
    "anonymity_disallowed": (433, "Anonymity Disallowed"),
    "address_incomplete": (484, "Address Incomplete"),
    "no_route": (404, "Not Found"),
    "service_unavailable": (503, "Service Unavailable"),
    "unwanted": (607, "Unwanted"),
}
"""SIP response for each reason."""


@verb("Reject", source="Verbs, Reject")
class Reject(Verb):
    """Refuses a call that was not answered yet; the status becomes `busy`. An answered call is hung up."""

    answers = False

    reason = choice(
        "reason",
        "rejected",
        tuple(RESPONSES),
        doc="Which SIP response is sent: rejected 603, busy 486, forbidden 403, anonymity_disallowed 433,"
        " address_incomplete 484, no_route 404, service_unavailable 503, unwanted 607.",
        source="Verbs, Reject",
    )

    async def run(self, flow: Flow) -> Step:
        """Send the final response."""
        leg = flow.ports.leg
        if leg.answered:
            await leg.hangup()
            return End()
        code, phrase = RESPONSES[self.reason]
        await leg.reject(code, phrase, status=CallStatus.BUSY)
        return End(rejected=True)

    def ends_document(self) -> bool:
        """Nothing follows."""
        return True
