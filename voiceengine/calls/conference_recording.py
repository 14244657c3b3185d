"""The recording of a conference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from media.audio import repair_wav_header
from media.bridge import Bridge
from media.legs import RecordingReport
from rcml.ports import StoredRecording
from voiceengine.store.rows import ConferenceRow, RecordingRow, new_sid

if TYPE_CHECKING:
    from voiceengine.calls.call import Call
    from voiceengine.calls.context import CallContext

log = Logger()


class ConferenceRecording:
    """At most one recording of a room at a time.

    Args:
        context: what all calls share.
        conference: whose.
        bridge: its audio.
    """

    def __init__(self, context: CallContext, conference: ConferenceRow, bridge: Bridge) -> None:
        self._context = context
        self._conference = conference
        self._bridge = bridge
        self._going = ""
        self._call_sid = ""
        self._last: StoredRecording | None = None
        self._waiting: list[Deferred[StoredRecording | None]] = []
        self._storing = False

    @property
    def going(self) -> bool:
        """Whether the room is being recorded."""
        return bool(self._going)

    def start(self, call: Call) -> None:
        """Record from now on; nothing happens when that is done already."""
        if self._going:
            return
        sid = self._going = new_sid("RE")
        self._call_sid = call.sid
        self._bridge.record(sid, str(self._path(sid)))
        call.records.journal("conference_recording_started", sid=sid)

    def stop(self) -> None:
        """Stop it."""
        if self._going:
            self._bridge.stop_recording(self._going)

    def _path(self, sid: str) -> Path:
        return self._context.recordings / f"{sid}.wav"

    def stored(self) -> Deferred[StoredRecording | None]:
        """Wait for the last recording to be stored; None when there was none."""
        waiter: Deferred[StoredRecording | None] = Deferred()
        if self._going or self._storing:
            self._waiting.append(waiter)
        else:
            waiter.callback(self._last)
        return waiter

    def recorded(self, report: RecordingReport) -> None:
        """The file is complete (or its mixer died)."""
        if report.recording != self._going:
            return
        self._going = ""
        self._storing = True
        done = Deferred.fromCoroutine(self._store(report))
        done.addErrback(lambda failure: log.failure("recording_not_stored", failure=failure))
        done.addBoth(lambda _: self._stored())

    async def _store(self, report: RecordingReport) -> None:
        context = self._context
        path = self._path(report.recording)
        seconds = report.seconds
        if report.end == "failed":
            seconds = await deferToThreadPool(context.reactor, context.threads, _repair, path)
        if seconds <= 0:
            await deferToThreadPool(context.reactor, context.threads, path.unlink, True)
            return
        row = RecordingRow(
            sid=report.recording,
            account_sid=self._conference.account_sid,
            call_sid=self._call_sid,
            conference_sid=self._conference.sid,
            duration=round(seconds, 3),
        )
        context.store.recordings.save(row)
        url = f"{context.api_url}/Accounts/{row.account_sid}/Recordings/{row.sid}.wav"
        self._last = StoredRecording(sid=row.sid, url=url, seconds=seconds)

    def _stored(self) -> None:
        self._storing = False
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(self._last)


def _repair(path: Path) -> float:
    try:
        return repair_wav_header(path)
    except (OSError, ValueError):
        return 0.0
