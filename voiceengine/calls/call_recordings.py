"""The recordings of a call: files, rows, and those that programs start and stop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs
from twisted.internet.threads import deferToThreadPool

from media.audio import repair_wav_header
from media.legs import RecordingReport
from media.protocol import heard_path
from media.stereo import merge_stereo
from rcml.ports import RecordSpec, StoredRecording
from voiceengine.calls.requests import StartRecording
from voiceengine.errors import CallControlError
from voiceengine.store.rows import RecordingRow, TranscriptionRow, new_sid

if TYPE_CHECKING:
    from voiceengine.calls.call import Call
    from voiceengine.calls.context import CallContext

STATES = {"stopped": "completed", "paused": "paused", "in-progress": "in-progress"}


@attrs.define
class _Made:
    """A recording on its way."""

    keep: bool
    """Store it even when nobody was heard."""
    stereo: bool
    callback: tuple[str, str] | None = None
    """URL and method that are told the end."""


class CallRecordings:
    """Implements `leg_recordings.RecordingOwner` for a call."""

    def __init__(self, context: CallContext, call: Call) -> None:
        self._context = context
        self._call = call
        self._made: dict[str, _Made] = {}
        self._live: dict[str, RecordingRow] = {}
        """Rows of recordings that programs started and that go on."""
        self._stored: dict[str, RecordingRow] = {}
        self._whole: tuple[str, str] | None = None
        """Sid of the recording of the whole call, and its URL."""

    def url(self, sid: str) -> str:
        """Public URL of a recording."""
        return f"{self._context.api_url}/Accounts/{self._call.row.account_sid}/Recordings/{sid}.wav"

    def path(self, sid: str) -> Path:
        """File of a recording."""
        return self._context.recordings / f"{sid}.wav"

    def new(self, spec: RecordSpec) -> tuple[str, Path]:
        """Sid and path for a recording."""
        sid = new_sid("RE")
        self._made[sid] = _Made(keep=spec.both, stereo=spec.stereo)
        return sid, self.path(sid)

    async def made(self, sid: str, report: RecordingReport | None) -> StoredRecording | None:
        """Store a recording, or drop one that holds nothing."""
        context, call = self._context, self._call
        path = self.path(sid)
        facts = self._made.pop(sid, _Made(keep=False, stereo=False))
        seconds, heard = (report.seconds, report.heard) if report is not None else (0.0, False)
        if facts.stereo or report is None:
            seconds = await deferToThreadPool(context.reactor, context.threads, _complete, path, facts.stereo)
            heard = heard or seconds > 0
        live = self._live.pop(sid, None)
        if seconds <= 0 or not (heard or facts.keep):
            await deferToThreadPool(context.reactor, context.threads, path.unlink, True)
            call.records.journal("recording_empty", sid=sid)
            if live is not None:
                self._told(attrs.evolve(live, status="completed", duration=0.0), facts)
            return None
        row = attrs.evolve(
            live or RecordingRow(sid=sid, account_sid=call.row.account_sid, call_sid=call.sid, duration=0.0),
            duration=round(seconds, 3),
            status="completed",
            channels=2 if facts.stereo else 1,
            date_updated=context.wall(),
        )
        self._stored[sid] = row
        self._told(row, facts)
        call.records.journal("recording_stored", sid=sid, seconds=round(seconds, 3))
        return StoredRecording(sid=sid, url=self.url(sid), seconds=seconds)

    def _told(self, row: RecordingRow, facts: _Made) -> None:
        self._context.store.recordings.save(row)
        if facts.callback is not None:
            call = self._call
            call.callbacks.send(
                *facts.callback,
                [
                    ("AccountSid", row.account_sid),
                    ("CallSid", row.call_sid),
                    ("RecordingSid", row.sid),
                    ("RecordingUrl", self.url(row.sid)),
                    ("RecordingStatus", row.status),
                    ("RecordingDuration", str(round(row.duration))),
                    ("RecordingChannels", str(row.channels)),
                    ("RecordingSource", "StartCallRecordingAPI"),
                ],
            )

    def transcribe(self, sid: str) -> None:
        """A document asks for a transcription, which needs an engine that this version does not have."""
        row = self._stored.get(sid)
        if row is not None:
            store = self._context.store
            store.recordings.save(attrs.evolve(row, transcription="not-configured"))
            store.transcriptions.save(
                TranscriptionRow(
                    sid=new_sid("TR"),
                    account_sid=row.account_sid,
                    recording_sid=row.sid,
                    status="failed",
                    duration=row.duration,
                    date_created=row.date_updated,
                    date_updated=row.date_updated,
                )
            )

    # -------------------------------------------------------------- of programs

    def record_all(self) -> None:
        """Record the whole call (both sides)."""
        sid = self._call.leg.record_all(self._context.max_seconds)
        self._whole = (sid, self.url(sid))

    def parameters(self) -> list[tuple[str, str]]:
        """What the last callback of a call that was recorded as a whole tells of that."""
        if self._whole is None:
            return []
        sid, url = self._whole
        seconds = max(1, self._call.row.duration or 1)
        return [("RecordingUrl", url), ("RecordingSid", sid), ("RecordingDuration", str(seconds))]

    def start(self, request: StartRecording) -> RecordingRow:
        """Start a recording that a program asked for."""
        call = self._call
        sid = call.leg.record_all(
            request.max_seconds or self._context.max_seconds, channels=request.channels, beep=request.beep
        )
        if request.status_callback:
            self._made[sid].callback = (request.status_callback, request.status_callback_method)
        row = RecordingRow(
            sid=sid,
            account_sid=call.row.account_sid,
            call_sid=call.sid,
            conference_sid=call.row.conference_sid,
            status="in-progress",
            channels=request.channels,
            duration=0.0,
        )
        self._live[sid] = row
        self._context.store.recordings.save(row)
        call.records.journal("recording_started", sid=sid, channels=request.channels)
        return row

    def change(self, sid: str, status: str) -> RecordingRow:
        """Stop, pause or resume a recording that a program started.

        Raises:
            CallControlError: it does not go on.
        """
        row = self._live.get(sid)
        if row is None or sid not in self._call.leg.recordings:
            raise CallControlError(f"The recording {sid} does not go on.", status=404, code=1103)
        if status == "stopped":
            self._call.leg.end_recording(sid)
        else:
            self._call.leg.pause_recording(sid, status == "paused")
        row = attrs.evolve(row, status=STATES[status], date_updated=self._context.wall())
        if status != "stopped":
            self._live[sid] = row
            self._context.store.recordings.save(row)
        self._call.records.journal("recording_changed", sid=sid, status=status)
        return row


def _complete(path: Path, stereo: bool) -> float:
    """Finish a file: two channels, or the header of one whose worker died; its seconds, 0 for none."""
    try:
        if stereo:
            return merge_stereo(path, Path(heard_path(str(path))))
        return repair_wav_header(path)
    except (OSError, ValueError):
        return 0.0
