"""The recordings of a leg, from the command to the stored row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from media.legs import MediaLeg, RecordingReport
from rcml.ports import RecordingEnd, RecordingFinished, RecordingId, RecordSpec, StoredRecording

log = Logger()


class RecordingOwner(Protocol):
    """Who keeps recordings: the call."""

    def new_recording(self, spec: RecordSpec) -> tuple[str, Path]:
        """Sid and path for a recording."""
        ...

    async def recording_made(self, sid: str, report: RecordingReport | None) -> StoredRecording | None:
        """A recording ended (None: its worker died and the file must be repaired); store or drop it."""
        ...


class LegRecordings:
    """What is being recorded on one leg.

    Args:
        owner: keeps the recordings.
        beep: path of the beep.
        post: takes the event of a recording that a document waits for.
        settled: told each time a recording is done with.
    """

    def __init__(
        self,
        owner: RecordingOwner,
        beep: str,
        post: Callable[[RecordingFinished], None],
        settled: Callable[[], None],
    ) -> None:
        self._owner = owner
        self._beep = beep
        self._post = post
        self._settled = settled
        self._going: dict[str, bool] = {}
        """Sid -> whether a document waits for its end."""
        self._finishing: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._going)

    def __contains__(self, sid: str) -> bool:
        return sid in self._going and sid not in self._finishing

    def start(self, media: MediaLeg | None, spec: RecordSpec, *, awaited: bool = True) -> RecordingId:
        """Start one.

        Args:
            media: the leg; None (it is over): nothing is begun.
            spec: how.
            awaited: a document waits for its end.
        """
        sid, path = self._owner.new_recording(spec)
        if media is not None:
            self._going[sid] = awaited
            media.record(
                sid,
                str(path),
                beep=self._beep if spec.beep else "",
                max_seconds=spec.max_seconds,
                silence_seconds=spec.silence_seconds,
                finish_keys=spec.finish_keys,
                both=spec.both,
                stereo=spec.stereo,
            )
        return RecordingId(sid)

    def done(self, sid: str, report: RecordingReport | None) -> None:
        """One ended (report None: its worker died, or never had the command): store it, tell of it."""
        end = RecordingEnd(report.end) if report is not None else RecordingEnd.HANGUP
        digit = report.digit if report is not None else ""
        self._finishing.add(sid)
        made = Deferred.fromCoroutine(self._owner.recording_made(sid, report))

        def stored(result: StoredRecording | None) -> None:
            awaited = self._going.pop(sid, None)
            self._finishing.discard(sid)
            if awaited:
                self._post(RecordingFinished(recording=RecordingId(sid), end=end, digit=digit, stored=result))
            self._settled()

        def failed(failure: Failure) -> None:
            log.failure("recording_not_stored sid={sid}", failure=failure, sid=sid)
            stored(None)

        made.addCallbacks(stored, failed)

    def lost(self) -> None:
        """The leg is over: those whose end was not told will not tell it any more."""
        for sid in list(self._going):
            if sid not in self._finishing:
                self.done(sid, None)
