"""Play: play an audio file, or send keys."""

from __future__ import annotations

import re

from rcml.attributes import Attribute, integer
from rcml.flow import REASON_MEDIA, Flow, HangUpError, PlaybackError
from rcml.ports import Level, Prompt, PromptError, PromptUrlError
from rcml.urls import without_userinfo
from rcml.verb import Step, Text, Verb, verb

_DIGITS = re.compile(r"[0-9*#wA-D]*", re.ASCII)


def _digits(text: str) -> str:
    if not _DIGITS.fullmatch(text):
        raise ValueError(text)
    return text


@verb("Play", text=Text.URL, source="Verbs, Play")
class Play(Verb):
    """Plays the audio file its text names. A file that cannot be fetched or decoded ends the call (13233)."""

    loop = integer(
        "loop",
        1,
        minimum=0,
        doc="How often the file is played; 0 = until the caller leaves.",
        code=13410,
        source="Verbs, Play",
    )
    digits = Attribute(
        "digits",
        _digits,
        "",
        kind="keys",
        allowed="keys 0-9 * # A-D, and w for half a second of silence",
        doc="Keys that are sent instead of playing a file. Without effect inside a Gather.",
        source="Verbs, Play (TwiML convention)",
    )

    async def run(self, flow: Flow) -> Step:
        """Play, then the next verb."""
        if self.digits:
            return await self._send(flow)
        prompt = await self.prepare(flow)
        if prompt is not None:
            try:
                await flow.play([prompt], self.loop)
            except PlaybackError as error:
                raise self._not_obtained(flow, prompt.label, str(error)) from error
        return None

    async def prepare(self, flow: Flow, *, nested: bool = False) -> Prompt | None:
        """Make the audio ready; None when the element names no file.

        Args:
            flow: the flow.
            nested: the element stands in a Gather, where a bad URL has its own code.

        Raises:
            HangUpError: the URL cannot be parsed, or the file was not obtained.
        """
        if not self.text:
            return None
        code = 13325 if nested else 11100
        url = flow.resolve("Play", self.text, code)
        try:
            return await flow.ports.prompts.from_url(url)
        except PromptUrlError as error:
            flow.notify(code, Level.ERROR, f"Play: {error} The call is ended.")
            raise HangUpError(REASON_MEDIA) from error
        except PromptError as error:
            raise self._not_obtained(flow, url, str(error)) from error

    def ends_document(self) -> bool:
        """Endless music is the end of the document."""
        return self.loop == 0 and bool(self.text) and not self.digits

    async def _send(self, flow: Flow) -> Step:
        flow.took_time = True
        flow.journal("digits_sent", count=sum(key != "w" for key in self.digits))
        try:
            await flow.until_played(flow.ports.leg.send_digits(self.digits))
        except PlaybackError as error:
            flow.journal("prompt_failed", label="digits", message=str(error))
            raise HangUpError(REASON_MEDIA) from error
        return None

    def _not_obtained(self, flow: Flow, url: str, why: str) -> HangUpError:
        shown = without_userinfo(url)
        flow.journal("prompt_failed", label=shown, message=why)
        code = 12300 if flow.loaded.unusual_audio else 13233
        flow.notify(code, Level.WARNING, f"Play: {shown} could not be played: {why}. The call is ended.")
        return HangUpError(REASON_MEDIA)
