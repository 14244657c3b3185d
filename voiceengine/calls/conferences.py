"""All conferences: the port that joins calls with them, and what programs may do to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
from twisted.logger import Logger

from rcml.interpreter import Source
from rcml.ports import (
    ConferenceEnd,
    ConferenceFull,
    ConferenceSpec,
    LegEnded,
    StoredRecording,
)
from voiceengine.calls.announcement import announcement, prompts_of
from voiceengine.calls.call import Call
from voiceengine.calls.callbacks import CallbackQueue
from voiceengine.calls.conference import Conference
from voiceengine.calls.live import room_beside
from voiceengine.calls.requests import ChangeConference, ChangeParticipant, Participant
from voiceengine.calls.side_leg import SOUNDS, run_beside
from voiceengine.errors import CallControlError

if TYPE_CHECKING:
    from voiceengine.calls.context import CallContext

log = Logger()

OVER = "The conference is over."
NOT_THERE = "The call is not a participant of this conference."


class ConferenceBook:
    """Implements `requests.ConferenceControl`; conferences are found by account and name, or by sid.

    Args:
        context: what all calls share.
        telling: takes the callbacks of a conference that is over, so that the last ones are delivered.
    """

    def __init__(self, context: CallContext, telling: Callable[[CallbackQueue], None]) -> None:
        self._context = context
        self._telling = telling
        self._named: dict[tuple[str, str], Conference] = {}
        self.live: dict[str, Conference] = {}

    def enter(self, call: Call, spec: ConferenceSpec) -> Conference:
        """Let a call enter the room of that name, which is made when there is none.

        Raises:
            ConferenceFull: there is no room.
        """
        key = (call.conference_account_sid, spec.name)
        found = self._named.get(key)
        if found is None or found.ended:
            found = Conference(self._context, *key, self._over)
            self._named[key] = self.live[found.sid] = found
        elif found.full(spec.max_participants):
            raise ConferenceFull(spec.name)
        found.join(call, spec)
        return found

    def _over(self, conference: Conference) -> None:
        self.live.pop(conference.sid, None)
        key = (conference.row.account_sid, conference.name)
        if self._named.get(key) is conference:
            del self._named[key]
        self._telling(conference.callbacks)

    def close(self) -> None:
        """End all of them."""
        for conference in list(self.live.values()):
            conference.end()

    # -------------------------------------------------------------- programs

    async def _find(self, conference_sid: str) -> Conference:
        found = self.live.get(conference_sid)
        if found is not None and not found.ended:
            return found
        if await self._context.store.conferences.get(conference_sid) is None:
            raise CallControlError(f"There is no conference {conference_sid}.", status=404)
        raise CallControlError(OVER, status=410, code=1100)

    async def participants(self, conference_sid: str) -> list[Participant]:
        """Those who are in the room."""
        found = self.live.get(conference_sid)
        if found is None:
            return []
        listed = (found.participant(call.sid) for call in found.calls())
        return [one for one in listed if one is not None]

    async def _participant(self, conference_sid: str, call_sid: str) -> tuple[Conference, Call]:
        found = await self._find(conference_sid)
        for call in found.calls():
            if call.sid == call_sid:
                return found, call
        raise CallControlError(NOT_THERE, status=404)

    async def change_participant(
        self, conference_sid: str, call_sid: str, change: ChangeParticipant
    ) -> Participant:
        """Change one participant."""
        conference, call = await self._participant(conference_sid, call_sid)
        if change.announce_url is not None:
            room_beside(call)
        if change.muted is not None:
            call.mute(change.muted)
        if change.hold is not None:
            conference.hold(call, change.hold, change.hold_url, change.hold_method)
        if change.end_conference_on_exit is not None:
            conference.end_on_exit(call, change.end_conference_on_exit)
        if change.announce_url is not None:
            settings = attrs.evolve(self._context.interpreter, only_verbs=SOUNDS)
            source = announcement(change.announce_url, change.announce_method)
            run_beside(self._context.reactor, call.leg, call.ports, call.info, source, settings)
        found = conference.participant(call_sid)
        if found is None:
            raise CallControlError(NOT_THERE, status=404)
        return found

    async def remove_participant(self, conference_sid: str, call_sid: str) -> None:
        """Take a participant out of the room."""
        conference, call = await self._participant(conference_sid, call_sid)
        conference.remove(call, ConferenceEnd.REMOVED)

    async def change_conference(self, conference_sid: str, change: ChangeConference) -> None:
        """Change the room."""
        conference = await self._find(conference_sid)
        if change.announce_url is not None:
            source = announcement(change.announce_url, change.announce_method)
            await self._announce(conference, source)
        if change.record and not conference.recording.going:
            if not conference.calls():
                raise CallControlError(OVER, status=410, code=1100)
            conference.recording.start(conference.calls()[0])
        elif change.record is False:
            conference.recording.stop()
        if change.end:
            conference.end()

    async def _announce(self, conference: Conference, source: Source) -> None:
        """Play a document to everybody; it is obtained once, in the name of the first participant."""
        calls = conference.calls()
        if not calls:
            raise CallControlError(OVER, status=410, code=1100)
        try:
            prompts = await prompts_of(self._context, calls[0], source)
        except LegEnded:
            raise CallControlError("The announcement could not be obtained.", status=502) from None
        conference.announce([prompt.source for prompt in prompts])


class CallConferences:
    """Implements `rcml.ports.Conferences` for one call."""

    def __init__(self, book: ConferenceBook, call: Call) -> None:
        self._book = book
        self._call = call
        self._in: Conference | None = None
        self._records = False

    async def join(self, spec: ConferenceSpec) -> str:
        """Enter a conference."""
        if self._call.leg.ended:
            raise LegEnded
        self._in = self._book.enter(self._call, spec)
        self._records = spec.record
        return self._in.sid

    async def leave(self) -> StoredRecording | None:
        """Leave the conference."""
        conference, self._in = self._in, None
        if conference is None:
            return None
        conference.leave(self._call)
        if self._records and conference.ended:
            return await conference.recording.stored()
        return None
