"""Announcements: an audio file, or a document of Say and Play, that is heard in a live call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

import attrs

from rcml.interpreter import Interpreter, OutcomeKind, Source
from rcml.ports import LegEnded, PlaybackFinished, PlaybackId, Prompt
from voiceengine.calls.side_leg import SOUNDS, SideLeg
from voiceengine.errors import CallControlError

if TYPE_CHECKING:
    from voiceengine.calls.call import Call
    from voiceengine.calls.context import CallContext

AUDIO = (".wav", ".mp3", ".ogg", ".flac", ".au", ".aif", ".aiff")


def is_audio(url: str) -> bool:
    """Whether a URL names an audio file rather than a document."""
    return urlsplit(url).path.lower().endswith(AUDIO)


def announcement(url: str, method: str, *, loop: int = 1) -> Source:
    """What is run for an announcement: the document at `url`, or one that plays the file there."""
    if is_audio(url):
        return Source(url=url, text=f'<Response><Play loop="{loop}">{escape(url)}</Play></Response>')
    return Source(url=url, method=method)


class _Collector(SideLeg):
    """A leg that hears nothing: keeps what would be played."""

    def __init__(self, reactor: object, call: Call) -> None:
        super().__init__(reactor, call.leg)
        self.prompts: list[Prompt] = []
        self._made = 0

    def play(self, prompts: Sequence[Prompt], loop: int = 1) -> PlaybackId:
        """Keep them, and say that they were heard."""
        for _ in range(min(max(loop, 1), 10)):
            self.prompts.extend(prompts)
        self._made += 1
        name = PlaybackId(f"collected{self._made}")
        self._mailbox.post(PlaybackFinished(name))
        return name

    def start_timer(self, name: str, seconds: float) -> None:
        """Pauses take no time here."""
        super().start_timer(name, 0.0)


async def prompts_of(context: CallContext, call: Call, source: Source) -> list[Prompt]:
    """Run a document without letting anybody hear it, and give the audio it would have played.

    Raises:
        CallControlError: it was not obtained, or names no audio.
        LegEnded: the call in whose name it was requested ended.
    """
    side = _Collector(context.reactor, call)
    ports = attrs.evolve(call.ports, leg=side, dialer=None, conferences=None)
    settings = attrs.evolve(context.interpreter, only_verbs=SOUNDS, hang_up_at_end=False)
    try:
        outcome = await Interpreter(ports, call.info, settings).run(source)
    finally:
        side.close()
    if outcome.kind is OutcomeKind.CALLER_LEFT:
        raise LegEnded
    if outcome.kind is not OutcomeKind.ENDED or not side.prompts:
        why = outcome.reason or "it names no audio"
        raise CallControlError(f"The announcement could not be played: {why}.", status=400)
    return side.prompts
