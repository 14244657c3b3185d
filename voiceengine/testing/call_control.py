"""Stand-ins for call control that keep what they were asked and answer from the store."""

from __future__ import annotations

from typing import Any, Final

import attrs

from voiceengine.api.ports import (
    ChangeConference,
    ChangeParticipant,
    CreateCall,
    HoldCall,
    ModifyCall,
    Operation,
    Participant,
    ResumeCall,
    StartRecording,
)
from voiceengine.errors import CallControlError
from voiceengine.store import Store, new_sid
from voiceengine.store.rows import CallRow, ConferenceRow, RecordingRow

LIVE: Final = frozenset({"queued", "ringing", "in-progress"})

_OVER: Final = {"status": 410, "code": 1100}


class FakeCallControl:
    """Creates queued calls without any telephone.

    Args:
        store: where the records are kept.
        devices: how many calls a request creates.
    """

    def __init__(self, store: Store, devices: int = 1) -> None:
        self._store = store
        self.devices = devices
        self.created: list[CreateCall] = []
        self.modified: list[tuple[str, ModifyCall]] = []
        self.operated: list[tuple[str, Operation]] = []
        self.recorded: list[tuple[str, StartRecording]] = []
        self.recordings_changed: list[tuple[str, str, str]] = []
        """Sid of the call, sid of the recording, new status."""
        self.failure: Exception | None = None
        """Raised instead of an answer, when set."""

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure

    async def create(self, request: CreateCall) -> list[CallRow]:
        """Save queued calls."""
        self.created.append(request)
        self._fail()
        user = request.to.removeprefix("client:").removeprefix("sip:").partition("@")[0]
        rows = [
            CallRow(
                sid=new_sid("CA"),
                instance_id=new_sid("ID"),
                account_sid=request.account_sid,
                to=user,
                from_=request.from_,
                direction="outbound-api",
                status="queued",
            )
            for _ in range(self.devices)
        ]
        for row in rows:
            self._store.calls.save(row)
        return rows

    async def modify(self, call_sid: str, change: ModifyCall) -> CallRow:
        """End or mute the call at once when asked to, otherwise change nothing."""
        self.modified.append((call_sid, change))
        self._fail()
        row = await self._row(call_sid)
        changes: dict[str, Any] = {}
        if change.status == "completed" or (
            change.status == "canceled" and row.status in ("queued", "ringing")
        ):
            changes["status"] = change.status
        elif change.mute is not None and row.status == "in-progress":
            changes["muted"] = change.mute
        return self._save(row, changes)

    async def operate(self, call_sid: str, operation: Operation) -> CallRow:
        """Hold or resume the call when asked to, otherwise change nothing."""
        self.operated.append((call_sid, operation))
        self._fail()
        row = await self._in_progress(call_sid)
        match operation:
            case HoldCall():
                return self._save(row, {"on_hold": True})
            case ResumeCall():
                return self._save(row, {"on_hold": False})
            case _:
                return row

    async def start_recording(self, call_sid: str, request: StartRecording) -> RecordingRow:
        """Save a recording that goes on; there is no file."""
        self.recorded.append((call_sid, request))
        self._fail()
        call = await self._in_progress(call_sid)
        row = RecordingRow(
            sid=new_sid("RE"),
            account_sid=call.account_sid,
            call_sid=call_sid,
            status="in-progress",
            channels=request.channels,
            duration=0.0,
        )
        self._store.recordings.save(row)
        return row

    async def change_recording(self, call_sid: str, recording_sid: str, status: str) -> RecordingRow:
        """Complete, pause or resume a recording; one that is complete had a second."""
        self.recordings_changed.append((call_sid, recording_sid, status))
        self._fail()
        row = await self._store.recordings.get(recording_sid)
        if row is None or row.call_sid != call_sid or row.status == "completed":
            raise CallControlError("The recording is not going on.", status=404)
        if status == "stopped":
            row = attrs.evolve(row, status="completed", duration=1.0)
        else:
            row = attrs.evolve(row, status=status)
        self._store.recordings.save(row)
        return row

    async def _row(self, call_sid: str) -> CallRow:
        row = await self._store.calls.get(call_sid)
        if row is None:
            raise CallControlError("The call is not live.", status=404)
        return row

    async def _in_progress(self, call_sid: str) -> CallRow:
        row = await self._row(call_sid)
        if row.status not in LIVE:
            raise CallControlError("Call is already completed.", **_OVER)
        if row.status != "in-progress":
            raise CallControlError("The call is not in progress.", status=409, code=1103)
        return row

    def _save(self, row: CallRow, changes: dict[str, Any]) -> CallRow:
        if changes:
            row = attrs.evolve(row, **changes)
            self._store.calls.save(row)
        return row


class FakeConferences:
    """Rooms without any sound.

    Args:
        store: where the records are kept.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rooms: dict[str, list[Participant]] = {}
        self.changed: list[tuple[str, ChangeConference]] = []
        self.participants_changed: list[tuple[str, str, ChangeParticipant]] = []
        """Sid of the conference, sid of the call, what changed."""
        self.failure: Exception | None = None
        """Raised instead of an answer, when set."""

    def open(self, account_sid: str, name: str = "room1", **changes: Any) -> ConferenceRow:
        """Open a room and save its record."""
        row = ConferenceRow(
            sid=new_sid("CF"),
            account_sid=account_sid,
            friendly_name=name,
            status="RUNNING_MODERATOR_PRESENT",
        )
        row = attrs.evolve(row, **changes)
        self._store.conferences.save(row)
        if row.status != "COMPLETED":
            self._rooms[row.sid] = []
        return row

    def enter(self, conference: ConferenceRow, call: CallRow, **changes: Any) -> Participant:
        """Let a call enter a room."""
        participant = Participant(
            call_sid=call.sid,
            conference_sid=conference.sid,
            account_sid=conference.account_sid,
            muted=False,
            hold=False,
            start_conference_on_enter=True,
            end_conference_on_exit=False,
            date_created=call.date_created,
            date_updated=call.date_updated,
        )
        participant = attrs.evolve(participant, **changes)
        self._rooms[conference.sid].append(participant)
        return participant

    async def participants(self, conference_sid: str) -> list[Participant]:
        """Those who entered."""
        self._fail()
        return list(self._rooms.get(conference_sid, ()))

    async def change_participant(
        self, conference_sid: str, call_sid: str, change: ChangeParticipant
    ) -> Participant:
        """Mute, hold, or change what leaving does."""
        self.participants_changed.append((conference_sid, call_sid, change))
        self._fail()
        room = self._room(conference_sid)
        at = self._index(room, call_sid)
        wanted = {
            "muted": change.muted,
            "hold": change.hold,
            "end_conference_on_exit": change.end_conference_on_exit,
        }
        given: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
        room[at] = attrs.evolve(room[at], **given)
        return room[at]

    async def remove_participant(self, conference_sid: str, call_sid: str) -> None:
        """Take a call out of its room."""
        self._fail()
        room = self._room(conference_sid)
        del room[self._index(room, call_sid)]

    async def change_conference(self, conference_sid: str, change: ChangeConference) -> None:
        """End the room when asked to, otherwise only remember it."""
        self.changed.append((conference_sid, change))
        self._fail()
        self._room(conference_sid)
        row = await self._store.conferences.get(conference_sid)
        if change.end and row is not None:
            del self._rooms[conference_sid]
            self._store.conferences.save(attrs.evolve(row, status="COMPLETED"))

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _room(self, conference_sid: str) -> list[Participant]:
        try:
            return self._rooms[conference_sid]
        except KeyError:
            raise CallControlError("The conference is already completed.", status=410) from None

    def _index(self, room: list[Participant], call_sid: str) -> int:
        for at, participant in enumerate(room):
            if participant.call_sid == call_sid:
                return at
        raise CallControlError("The call is not in this conference.", status=404)
