"""Say: speak a text."""

from __future__ import annotations

from rcml.attributes import choice, integer, spoken_language
from rcml.flow import REASON_MEDIA, Flow, HangUpError, PlaybackError
from rcml.ports import Prompt, PromptError
from rcml.verb import Step, Text, Verb, verb


@verb("Say", text=Text.WORDS, source="Verbs, Say")
class Say(Verb):
    """Speaks its text to the caller. An empty text does nothing. If it cannot be spoken the call ends."""

    voice = choice(
        "voice",
        "man",
        ("man", "woman"),
        doc="Who speaks.",
        code=13511,
        nested_code=13321,
        source="Verbs, Say",
    )
    language = spoken_language("language", doc="Language of the text.", source="Say languages")
    loop = integer(
        "loop",
        1,
        minimum=0,
        doc="How often the text is spoken; 0 = until the caller leaves.",
        code=13510,
        nested_code=13322,
        source="Verbs, Say",
    )

    async def run(self, flow: Flow) -> Step:
        """Speak, then the next verb."""
        prompt = await self.prepare(flow)
        if prompt is not None:
            try:
                await flow.play([prompt], self.loop)
            except PlaybackError as error:
                flow.journal("prompt_failed", label=self.text, message=str(error))
                raise HangUpError(REASON_MEDIA) from error
        return None

    async def prepare(self, flow: Flow, *, nested: bool = False) -> Prompt | None:
        """Make the audio ready; None when there is no text. `nested` changes nothing for a text.

        Raises:
            HangUpError: no engine could speak it.
        """
        if not self.text:
            return None
        try:
            return await flow.ports.prompts.from_text(self.text, voice=self.voice, language=self.language)
        except PromptError as error:
            flow.journal("prompt_failed", label=self.text, message=str(error))
            raise HangUpError(REASON_MEDIA) from error

    def ends_document(self) -> bool:
        """Endless speech is the end of the document."""
        return self.loop == 0 and bool(self.text)
