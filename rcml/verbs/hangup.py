"""Hangup: end the call."""

from __future__ import annotations

from rcml.flow import Flow
from rcml.verb import End, Step, Verb, verb


@verb("Hangup", source="Verbs, Hangup")
class Hangup(Verb):
    """Ends the call. A ringing call is answered first."""

    async def run(self, flow: Flow) -> Step:
        """Send BYE."""
        await flow.ports.leg.hangup()
        return End()

    def ends_document(self) -> bool:
        """Nothing follows."""
        return True
