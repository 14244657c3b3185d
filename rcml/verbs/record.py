"""Record: record what the caller says."""

from __future__ import annotations

import re

from rcml.attributes import Attribute, boolean, choice, http_method, integer, url
from rcml.flow import Flow
from rcml.parameters import record_parameters
from rcml.ports import Ended, RecordingEnd, RecordingFinished, RecordSpec
from rcml.verb import Step, Verb, verb

ANY_KEY = "1234567890*#"

_KEYS = re.compile(r"[0-9*#]+", re.ASCII)


def _finish_keys(text: str) -> str:
    """Keys of the attribute; an empty value stands for `#` without a warning."""
    if text == "-1":
        return ""
    if not text:
        return "#"
    if not _KEYS.fullmatch(text):
        raise ValueError(text)
    return text


@verb("Record", source="Verbs, Record")
class Record(Verb):
    """Records the caller, then requests the action; its reply replaces the document.

    Without `action` the URL of the current document is requested, so a document that only records is run
    again and again until the caller leaves or records nothing. When nothing was recorded the next verb
    runs, unless the caller has left: then the action is always requested, with `Digits=hangup`.
    """

    action = url(
        "action", doc="Where the recording is told.", shown="URL of the document", source="Verbs, Record"
    )
    method = http_method(13610, source="Verbs, Record")
    timeout = integer(
        "timeout",
        5,
        minimum=1,
        unit="seconds",
        doc="Silence before the first sound, and after a sound, that ends the recording.",
        code=13612,
        source="Verbs, Record",
    )
    finish_on_key = Attribute(
        "finishOnKey",
        _finish_keys,
        "#",
        kind="keys",
        allowed="characters of 0-9 * #, or -1 for none",
        doc="Keys that end the recording; an empty or wrong value means #.",
        shown=ANY_KEY,
        code=13613,
        source="Verbs, Record",
    )
    max_length = integer(
        "maxLength",
        3600,
        minimum=2,
        unit="seconds",
        doc="Longest recording.",
        code=13612,
        source="Verbs, Record",
    )
    play_beep = boolean("playBeep", True, doc="A beep before the recording starts.", source="Verbs, Record")
    transcribe = boolean("transcribe", False, doc="Ask for a transcription.", source="Verbs, Record")
    transcribe_callback = url(
        "transcribeCallback",
        doc="Where the transcription is told; implies `transcribe`.",
        source="Verbs, Record",
    )
    media = choice(
        "media",
        "audio_only",
        ("audio_only", "video_only", "audio_video"),
        doc="What is recorded; this build records audio in every case.",
        code=13612,
        source="Verbs, Record",
    )
    sends = (
        ("RecordingUrl", "URL of the audio; missing when nothing was recorded"),
        ("PublicRecordingUrl", "the same"),
        ("RecordingDuration", "whole seconds"),
        ("Digits", "the key that ended it, `hangup` when the caller left, else empty"),
    )

    async def run(self, flow: Flow) -> Step:
        """Record, then the action or the next verb."""
        callback = None
        if self.transcribe_callback:
            callback = flow.resolve("Record", self.transcribe_callback)
        finished = await self._record(flow)
        stored = finished.stored if finished else None
        left = finished is None or finished.end is RecordingEnd.HANGUP
        self._tell(flow, finished, callback)
        if left:
            await flow.until_ended()
        elif stored is None:
            return None
        digits = "hangup" if left else finished.digit if finished else ""
        parameters = record_parameters(stored, digits)
        over = left or flow.ports.leg.ended
        return flow.action("Record", self.action, self.method, parameters, after_end=over)

    def _tell(self, flow: Flow, finished: RecordingFinished | None, callback: str | None) -> None:
        stored = finished.stored if finished else None
        flow.journal(
            "recording_result",
            end=finished.end.value if finished else RecordingEnd.HANGUP.value,
            sid=stored.sid if stored else "",
            seconds=stored.seconds if stored else 0.0,
        )
        if stored and (self.transcribe or callback):
            flow.journal("transcription_requested", recording=stored.sid, callback=callback or "")

    async def _record(self, flow: Flow) -> RecordingFinished | None:
        """Record to the end; None when the caller left and the recording told nothing."""
        flow.took_time = True
        leg = flow.ports.leg
        keys = self.finish_on_key if "finishOnKey" in self.element.attributes else ANY_KEY
        recording = leg.record(
            RecordSpec(
                max_seconds=self.max_length,
                silence_seconds=self.timeout,
                finish_keys=keys,
                beep=self.play_beep,
            )
        )
        over = False
        try:
            while True:
                match await leg.next_event():
                    case RecordingFinished() as finished if finished.recording == recording:
                        over = True
                        return finished
                    case Ended():
                        over = True
                        return None
                    case _:
                        pass
        finally:
            if not over:
                leg.stop_recording(recording)
