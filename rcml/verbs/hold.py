"""Hold and Resume: the party waits with music, and comes back. Reference: Verbs of the later edition."""

from __future__ import annotations

from rcml.attributes import http_method, text, url
from rcml.flow import Flow
from rcml.parameters import hold_parameters
from rcml.verb import Step, Verb, verb
from rcml.verbs.music import music

METHOD_CODE = 12200
"""The later edition names no code of its own for these verbs."""

_SILENT = (0, 408)
"""Codes of a re-INVITE that the party did not answer; 0 stands for none at all."""


def hold_status(code: int, success: str) -> str:
    """Give the HoldStatus or ResumeStatus for the final code of a re-INVITE; `success` is that of a 2xx."""
    if 200 <= code < 300:
        return success
    return "no-answer" if code in _SILENT else "failed"


@verb("Hold", source="Verbs of the later edition")
class Hold(Verb):
    """Puts the caller on hold (re-INVITE), with music or in silence; the document goes on.

    Music that cannot be obtained is warning 13233, and silence.
    """

    action = url("action", doc="What is requested then.", source="Verbs of the later edition")
    method = http_method(METHOD_CODE, source="Verbs of the later edition")
    hold_music = text(
        "holdMusic",
        kind="URL",
        allowed="a URL as of Play",
        shown="silence",
        doc="What the caller hears, again and again.",
        source="Verbs of the later edition",
    )
    sends = (
        ("HoldStatus", "`held`, `no-answer` or `failed`"),
        ("HoldSipResponseCode", "final code of the re-INVITE; empty when there was none"),
    )

    async def run(self, flow: Flow) -> Step:
        """Hold, then the action or the next verb."""
        found = None
        if self.hold_music:
            found = await music(flow, f"Hold (line {self.element.line}) holdMusic", self.hold_music)
        code = await flow.ports.leg.hold([] if found is None else [found])
        status = hold_status(code, "held")
        flow.journal("hold_result", status=status, code=code)
        if not self.action:
            return None
        return flow.action("Hold", self.action, self.method, hold_parameters("Hold", status, code))

    def ends_document(self) -> bool:
        """With an action nothing follows."""
        return bool(self.action)


@verb("Resume", source="Verbs of the later edition")
class Resume(Verb):
    """Takes the caller off hold. A caller who is not held goes on with the next verb, without an action."""

    action = url("action", doc="What is requested then.", source="Verbs of the later edition")
    method = http_method(METHOD_CODE, source="Verbs of the later edition")
    sends = (
        ("ResumeStatus", "`resumed`, `no-answer` or `failed`"),
        ("ResumeSipResponseCode", "final code of the re-INVITE; empty when there was none"),
    )

    async def run(self, flow: Flow) -> Step:
        """Resume, then the action or the next verb."""
        code = await flow.ports.leg.resume()
        if code is None:
            flow.journal("resume_ignored", line=self.element.line)
            return None
        status = hold_status(code, "resumed")
        flow.journal("resume_result", status=status, code=code)
        if not self.action:
            return None
        return flow.action("Resume", self.action, self.method, hold_parameters("Resume", status, code))
