"""One conference: the rules of `room` carried out on calls, audio, records and callbacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

import attrs
from twisted.logger import Logger

from media.bridge import Bridge
from media.legs import RecordingReport
from rcml.interpreter import Outcome, Source
from rcml.ports import CallbackSpec, ConferenceEnd, ConferenceLeft, ConferenceSpec
from voiceengine.calls import room
from voiceengine.calls.call import Call
from voiceengine.calls.callbacks import CallbackQueue, rfc2822
from voiceengine.calls.conference_recording import ConferenceRecording
from voiceengine.calls.pair import music_of
from voiceengine.calls.requests import Participant
from voiceengine.calls.room import Member, Music, Room, RoomState
from voiceengine.calls.side_leg import SOUNDS, SideRun, run_beside
from voiceengine.store.rows import ConferenceRow, new_sid

if TYPE_CHECKING:
    from voiceengine.calls.context import CallContext

log = Logger()

_KINDS = {"unmute": "mute", "unhold": "hold", "speech-start": "speaker", "speech-stop": "speaker"}
"""Events of the room -> the name by which `statusCallbackEvent` asks for them."""

MANY = 100
"""Callbacks that wait; while there are so many, nothing is told of who speaks."""


@attrs.define(eq=False)
class _Membership:
    """One call in the room."""

    call: Call
    spec: ConferenceSpec
    music: Music = Music.NONE
    playing: str = ""
    """What is played on the leg without a document."""
    document: SideRun | None = None
    muted_here: bool = False
    """The conference muted it, and unmutes it when it leaves."""
    hold_asked: bool = False
    """A program put it on hold, whatever its phone does."""
    hold_url: str | None = None
    hold_method: str = "POST"


class Conference:
    """A live conference; implements `call.Joined` and `media.bridge.BridgeListener`.

    Args:
        context: what all calls share.
        account_sid: whose room it is.
        name: of the room.
        over: told when it is over.
    """

    def __init__(
        self, context: CallContext, account_sid: str, name: str, over: Callable[[Conference], None]
    ) -> None:
        self._context = context
        self._over = over
        self.name = name
        self.room = Room(lone_music=context.settings.calls.conference_lone_music)
        self._members: dict[str, _Membership] = {}
        self._bridge: Bridge = context.pool.new_bridge(self)
        wall = context.wall()
        self.row = ConferenceRow(
            sid=new_sid("CF"),
            account_sid=account_sid,
            friendly_name=name,
            status=self.room.state.value,
            date_created=wall,
            date_updated=wall,
        )
        context.store.conferences.save(self.row)
        self.callbacks = CallbackQueue(context.web, self.row.sid, _no_journal)
        self._sequence = 0
        self._callback: CallbackSpec | None = None
        self._gone: Member | None = None
        """Who left last, as it was then."""
        self.recording = ConferenceRecording(context, self.row, self._bridge)
        self._limit: Any = context.reactor.callLater(context.settings.calls.conference_seconds, self.end)

    @property
    def sid(self) -> str:
        """The ConferenceSid."""
        return self.row.sid

    @property
    def ended(self) -> bool:
        """Whether nobody can enter any more."""
        return self.room.state is RoomState.COMPLETED

    def full(self, limit: int) -> bool:
        """Whether it holds as many as somebody who would enter allows."""
        return len(self._members) >= limit

    # -------------------------------------------------------------- in and out

    def join(self, call: Call, spec: ConferenceSpec) -> None:
        """Take a call in."""
        if spec.callback is not None and self._callback is None:
            self._callback = spec.callback  # that of the one who came first holds for the room
            if self._tells_speakers:
                for waiting in self.calls():
                    waiting.leg.watch_speech(True)
        self._members[call.sid] = _Membership(call, spec)
        call.save(
            conference_sid=self.sid,
            start_conference_on_enter=spec.start_on_enter,
            end_conference_on_exit=spec.end_on_exit,
            beep=spec.beep,
        )
        call.joined = self
        call.records.journal("conference_joined", conference=self.sid, name=self.name)
        member = Member(
            name=call.sid,
            moderator=spec.start_on_enter,
            end_on_exit=spec.end_on_exit,
            beep=spec.beep,
            muted=spec.muted or call.row.muted,
            held=call.leg.on_hold or call.leg.held,
            record=spec.record,
        )
        effects = self.room.join(member)
        if spec.muted and not call.row.muted:
            call.mute(True)
            self._members[call.sid].muted_here = True
        if self._tells_speakers:
            call.leg.watch_speech(True)
        self._carry_out(effects)

    def leave(self, call: Call) -> None:
        """A call goes, or is over."""
        found = self._members.pop(call.sid, None)
        if found is None:
            return
        self._silence(found)
        if call.joined is self:
            call.joined = None
        media = call.leg.media
        if media is not None:
            self._bridge.remove(media)
        call.records.journal("conference_left", conference=self.sid)
        if self._tells_speakers:
            call.leg.watch_speech(False)
        if found.muted_here and not call.leg.ended:
            call.mute(False)
        self._gone = self.room.members.get(call.sid)
        self._carry_out(self.room.leave(call.sid))

    @property
    def _tells_speakers(self) -> bool:
        return self._callback is not None and "speaker" in self._callback.events

    def remove(self, call: Call, end: ConferenceEnd) -> None:
        """Take a call out whose document then goes on."""
        if call.sid in self._members:
            self.leave(call)
            call.leg.post(ConferenceLeft(end))

    def end(self) -> None:
        """End the room."""
        self._carry_out(self.room.end())

    # -------------------------------------------------------------- changes

    def holds(self, call: Call) -> None:
        """The leg was put on hold, or taken off."""
        found = self._members.get(call.sid)
        if found is not None:
            self._hold(found)

    def hold(self, call: Call, held: bool, url: str | None = None, method: str = "POST") -> None:
        """Put a participant on hold in the room, or take it off."""
        found = self._members.get(call.sid)
        if found is None:
            return
        if url != found.hold_url and held:
            self._silence(found)  # begin anew with the other music
        found.hold_asked, found.hold_url, found.hold_method = held, url, method
        self._hold(found)

    def _hold(self, found: _Membership) -> None:
        leg = found.call.leg
        held = found.hold_asked or leg.on_hold or leg.held
        self._carry_out(self.room.hold(found.call.sid, held))
        self._apply()  # other music for one who was on hold before

    def mute(self, call: Call, muted: bool) -> None:
        """Let a participant be heard no more, or again."""
        if found := self._members.get(call.sid):
            found.muted_here = False
        self._carry_out(self.room.mute(call.sid, muted))

    def speaks(self, call: Call, speaks: bool) -> None:
        """A participant began to speak, or ended."""
        if call.sid in self._members and self.room.part(call.sid).speak:
            self._tell("speech-start" if speaks else "speech-stop", call.sid)

    def end_on_exit(self, call: Call, value: bool) -> None:
        """Say whether the room ends when this participant leaves."""
        self.room.members[call.sid].end_on_exit = value
        call.save(end_conference_on_exit=value)

    def announce(self, paths: Sequence[str]) -> None:
        """Play files to everybody."""
        self._bridge.play(paths)

    def calls(self) -> list[Call]:
        """Those in the room, in the order they came."""
        return [found.call for found in self._members.values()]

    def participant(self, call_sid: str) -> Participant | None:
        """One who is in the room, as shown over REST."""
        found = self._members.get(call_sid)
        member = self.room.members.get(call_sid)
        if found is None or member is None:
            return None
        row = found.call.row
        return Participant(
            call_sid=row.sid,
            conference_sid=self.sid,
            account_sid=row.account_sid,
            muted=member.muted,
            hold=member.held,
            start_conference_on_enter=member.moderator,
            end_conference_on_exit=member.end_on_exit,
            date_created=row.date_created,
            date_updated=row.date_updated,
        )

    # -------------------------------------------------------------- carrying out

    def _carry_out(self, effects: Sequence[room.Effect]) -> None:
        if not effects:
            return
        self._apply()
        for effect in effects:
            match effect:
                case room.Beep(enter):
                    assets = self._context.assets
                    self._bridge.play([str(assets.beep if enter else assets.alert)])
                case room.Started():
                    self._save()
                case room.Record():
                    self.recording.start(next(iter(self._members.values())).call)
                case room.Removed(name):
                    found = self._members.get(name)
                    if found is not None:
                        self.remove(found.call, ConferenceEnd.ENDED)
                case room.Completed():
                    self._completed()
                case room.Told(event, name):
                    self._tell(event, name)

    def _apply(self) -> None:
        """Let everybody hear and be heard as the rules say."""
        for name, found in list(self._members.items()):
            part = self.room.part(name)
            media = found.call.leg.media
            if media is None or found.call.leg.ended:
                continue
            self._bridge.set(media, speak=part.speak, hear=part.hear)
            if part.music is not found.music or (part.music is Music.HOLD and not self._sounds(found)):
                self._silence(found)
                found.music = part.music
                self._play(found)

    def _sounds(self, found: _Membership) -> bool:
        return bool(found.playing) or found.document is not None

    def _play(self, found: _Membership) -> None:
        """Begin the music of a participant."""
        if found.music is Music.NONE:
            return
        url, method = found.spec.wait_url, found.spec.wait_method
        if found.music is Music.HOLD:
            if found.call.leg.on_hold or found.call.leg.held:
                return  # the leg has music of its own, or its party does not listen
            url, method = found.hold_url, found.hold_method
        if url is None:
            found.playing = found.call.leg.play_aside([music_of(self._context)], 0)
        elif url:
            self._play_document(found, url, method)

    def _play_document(self, found: _Membership, url: str, method: str) -> None:
        context, call = self._context, found.call
        source = Source(url=url, method=method)
        if urlsplit(url).path.lower().endswith(".wav"):
            source = Source(url=url, text=f'<Response><Play loop="0">{escape(url)}</Play></Response>')
        settings = attrs.evolve(context.interpreter, only_verbs=SOUNDS)
        run = run_beside(context.reactor, call.leg, call.ports, call.info, source, settings, rounds=0)
        found.document = run

        def over(outcome: Outcome | None) -> None:
            if found.document is run:
                found.document = None
                if outcome is not None:
                    call.records.journal("wait_document_failed", url=url, reason=outcome.reason)

        run.done.addCallback(over)

    def _silence(self, found: _Membership) -> None:
        """Stop the music of a participant."""
        if found.playing:
            found.call.leg.stop_aside(found.playing)
            found.playing = ""
        run, found.document = found.document, None
        if run is not None:
            run.stop()
        found.music = Music.NONE

    def _save(self) -> None:
        self.row = attrs.evolve(self.row, status=self.room.state.value, date_updated=self._context.wall())
        self._context.store.conferences.save(self.row)

    def _completed(self) -> None:
        if self._limit.active():
            self._limit.cancel()
        self._save()
        self._bridge.close()  # its recording ends with it
        self._over(self)

    def bridge_recorded(self, report: RecordingReport) -> None:
        """A recording of the room ended."""
        self.recording.recorded(report)

    # -------------------------------------------------------------- callbacks

    def _tell(self, event: str, name: str) -> None:
        callback = self._callback
        known = _KINDS.get(event, event)
        if callback is None or (callback.events and known not in callback.events):
            return
        if known == "speaker" and self.callbacks.waiting >= MANY:
            return  # old news of who speaks are worth nothing, and there is no end of them
        info = [
            ("ConferenceSid", self.sid),
            ("FriendlyName", self.name),
            ("AccountSid", self.row.account_sid),
            (
                "StatusCallbackEvent",
                {"start": "conference-start", "end": "conference-end"}.get(event, f"participant-{event}"),
            ),
        ]
        if name:
            member = self.room.members.get(name)
            if member is None and self._gone is not None and self._gone.name == name:
                member = self._gone
            info += [
                ("CallSid", name),
                ("Muted", _text(member.muted if member is not None else False)),
                ("Hold", _text(member.held if member is not None else False)),
            ]
        info += [
            ("SequenceNumber", str(self._sequence)),
            ("Timestamp", rfc2822(self._context.wall())),
        ]
        self._sequence += 1
        self.callbacks.send(callback.url, callback.method, info)


def _text(value: bool) -> str:
    return "true" if value else "false"


def _no_journal(event: str, **fields: object) -> None:
    """A conference has no journal of its own."""
