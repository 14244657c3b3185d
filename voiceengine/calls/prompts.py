"""The interpreter's prompts: speech and fetched audio, given up when the caller leaves."""

from __future__ import annotations

import attrs

from media.audio_fetch import PromptFetchError
from media.audio_fetch import PromptUrlError as AudioUrlError
from media.prompts import AudioCache
from media.speech.request import SpeechError, SpeechRequest, Voice
from media.speech.service import SpeechService
from rcml.ports import Prompt, PromptError, PromptUrlError, Records
from voiceengine.calls.leg import CallLeg

LABEL = 200


@attrs.frozen
class CallPrompts:
    """Implements `rcml.ports.Prompts` for one call."""

    speech: SpeechService
    audio: AudioCache
    leg: CallLeg
    account_sid: str
    records: Records

    async def from_url(self, url: str) -> Prompt:
        """Fetch (or take from the cache) and convert an audio file."""
        try:
            found = await self.leg.unless_ended(self.audio.get(url, self.account_sid))
        except AudioUrlError as error:
            raise PromptUrlError(str(error)) from None
        except PromptFetchError as error:
            raise PromptError(str(error)) from None
        if found.stale_reason:
            self.records.journal("prompt_stale", url=url[:LABEL], reason=found.stale_reason)
        return Prompt(source=str(found.path), seconds=found.seconds, label=url[:LABEL])

    async def from_text(self, text: str, *, voice: str, language: str) -> Prompt:
        """Speak a text."""
        request = SpeechRequest(text, Voice(voice), language)
        try:
            spoken = await self.leg.unless_ended(self.speech.synthesize(request))
        except SpeechError as error:
            raise PromptError(str(error)) from None
        return Prompt(source=str(spoken.path), seconds=spoken.seconds, label=text[:LABEL])
