"""What is to be spoken, what came of it, and the port of an engine."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Protocol

import attrs

from media.speech.languages import resolve


class SpeechError(Exception):
    """Text that could not be spoken; the message is a sentence that says why."""


class Voice(enum.Enum):
    """Whose voice."""

    MAN = "man"
    WOMAN = "woman"


def _voice(value: Voice | str) -> Voice:
    if isinstance(value, Voice):
        return value
    try:
        return Voice(value.strip().lower())
    except ValueError:
        return Voice.MAN


def _key(value: str) -> str:
    return resolve(value).key


@attrs.frozen
class SpeechRequest:
    """One text to be spoken. Equal requests sound the same."""

    text: str
    """Plain text; markup is read out as it stands."""
    voice: Voice = attrs.field(default=Voice.MAN, converter=_voice)
    """`man` or `woman`, in any case; anything else is man."""
    language: str = attrs.field(default="en", converter=_key)
    """A key of `languages.LANGUAGES`; aliases and BCP-47 tags are resolved, unknown ones become `en`."""


@attrs.frozen
class SpokenAudio:
    """Speech that is ready to be played."""

    path: Path
    """An 8 kHz, mono, 16-bit WAV file; to be read, not to be changed or removed."""
    seconds: float
    """Its length."""


class SpeechEngine(Protocol):
    """Something that speaks."""

    @property
    def name(self) -> str:
        """Short name, as in the settings."""
        ...

    async def synthesize(self, request: SpeechRequest) -> bytes:
        """Speak a text: the bytes of a WAV or MP3 file.

        Raises:
            SpeechError: it could not, or not in time.
        """
        ...

    async def stop(self) -> None:
        """Let go of processes and threads; requests that are open fail. Never raises."""
        ...
