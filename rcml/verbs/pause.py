"""Pause: silence."""

from __future__ import annotations

from rcml.attributes import integer
from rcml.flow import Flow
from rcml.verb import Step, Verb, verb


@verb("Pause", source="Verbs, Pause")
class Pause(Verb):
    """Waits in silence. While the call is still ringing it delays the answer."""

    answers = False

    length = integer(
        "length",
        1,
        minimum=1,
        doc="Length of the silence.",
        unit="seconds",
        code=13910,
        source="Verbs, Pause",
    )

    async def run(self, flow: Flow) -> Step:
        """Wait, then the next verb."""
        await flow.wait(self.length)
        return None
