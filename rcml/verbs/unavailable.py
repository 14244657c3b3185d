"""Verbs that are part of the language and not executed by this build; they are skipped with a warning."""

from __future__ import annotations

from rcml.flow import Flow
from rcml.ports import Level
from rcml.verb import Step, Verb, verb


class Unavailable(Verb):
    """A verb that is skipped. A ringing call is answered first, as for every verb."""

    available = False

    async def run(self, flow: Flow) -> Step:
        """Report it, then the next verb."""
        flow.notify(
            11001,
            Level.WARNING,
            f"{self.name} (line {self.element.line}): verb not available in this engine version; skipped.",
        )
        return None


UNAVAILABLE = ("Fax", "Message", "Enqueue", "Leave")
"""Names of the verbs that are skipped."""

AFTER_END = frozenset({"Fax"})
"""Those that need no call."""

for _name in UNAVAILABLE:
    verb(_name, source="Documents, execution order")(
        type(
            _name,
            (Unavailable,),
            {"__doc__": "Not available in this build; skipped.", "after_end": _name in AFTER_END},
        )
    )
