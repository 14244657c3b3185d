"""The interpreter's leg, made of a leg in a media worker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from media.legs import EndReport, MediaLeg, RecordingReport
from rcml.ports import (
    CallStatus,
    DigitPressed,
    Ended,
    LegEnded,
    LegEvent,
    PlaybackFailed,
    PlaybackFinished,
    PlaybackId,
    Prompt,
    RecordingId,
    RecordSpec,
    ReferResult,
)
from voiceengine.calls.leg_ports import Aside, DigitTap, LegOwner
from voiceengine.calls.leg_recordings import LegRecordings
from voiceengine.calls.leg_signalling import LegSignalling
from voiceengine.calls.mailbox import Mailbox

log = Logger()

T = TypeVar("T")

COMMAND_SECONDS = 10.0
"""A worker that does not react to a command within this time is taken for dead."""


class CallLeg:
    """Implements `rcml.ports.Leg` and `media.pool.LegListener`."""

    def __init__(
        self, reactor: Any, owner: LegOwner, beep: str, command_seconds: float = COMMAND_SECONDS
    ) -> None:
        self._reactor = reactor
        self._command_seconds = command_seconds
        self._owner = owner
        self._media: MediaLeg | None = None
        self._mailbox = Mailbox(reactor)
        self._guarded: set[Deferred[Any]] = set()
        self.recordings = LegRecordings(owner, beep, self._mailbox.post, self._maybe_post_end)
        self.signalling = LegSignalling(reactor, owner.leg_holds)
        self.taps: list[DigitTap] = []
        """Who is offered a digit before the document is; the latest first."""
        self.asides: list[Aside] = []
        self._playing: set[str] = set()
        self._hold_music = ""
        self.answer_headers: dict[str, str] = {}
        """X- headers of the 200 of an outbound leg."""
        self._ending: tuple[int, list[tuple[str, str]]] | None = None
        self._left_farewell = False
        self._counter = 0
        self._answered = False
        self._media_up = False
        self._is_confirmed = False
        self._ended: Ended | None = None
        self._wanted: CallStatus | None = None
        self._incoming: list[Deferred[None]] = []
        self._is_incoming = False
        self.held = False
        self.outbound = False
        self.last_response = 0
        """SIP status code that was sent or received last for the INVITE; 0: none yet."""
        self._codec = ""

    def attach(self, media: MediaLeg) -> None:
        """Give the leg its slot in a worker."""
        self._media = media
        media.listener = self

    # -------------------------------------------------------------- what the interpreter sees

    @property
    def status(self) -> CallStatus:
        """Current status, as told to applications."""
        return self._owner.status

    @property
    def unattached(self) -> bool:
        """Whether it still waits for its slot in a worker."""
        return self._media is None

    @property
    def answered(self) -> bool:
        """Whether the call was answered."""
        return self._answered

    @property
    def ended(self) -> bool:
        """Whether the leg is over."""
        return self._ended is not None

    async def answer(self) -> None:
        """Answer if still ringing, and wait until media flows."""
        if self.ended:
            raise LegEnded
        if self._media_up and self._answered:
            return
        await self._until_incoming()
        farewell = self._owner.farewell()
        self._left_farewell = farewell is not None
        self._command().answer(200, "", self._owner.response_headers, farewell)
        await self._until(lambda: self._media_up)

    async def reject(
        self, code: int, phrase: str, reason: str = "", status: CallStatus | None = None
    ) -> None:
        """End a ringing leg by a final SIP response."""
        if self.ended:
            return
        try:
            await self._until_incoming()
        except LegEnded:
            return
        self._wanted = status
        headers = list(self._owner.response_headers)
        if reason:
            headers.append(("Reason", reason))
        self._command().answer(code, phrase, headers)
        await self._until_ended()

    async def hangup(self, reason: str = "") -> None:
        """End the leg."""
        if not self.ended:
            self.end(reason)
            await self._until_ended()

    def end(self, reason: str = "", *, wanted: CallStatus | None = None, code: int = 603) -> None:
        """End the leg without waiting; `wanted` is the status of a call that was not answered."""
        if self.ended:
            return
        self._wanted = self._wanted or wanted  # what was wanted first, as of a dial that timed out
        headers = list(self._owner.response_headers)
        if reason:
            headers.append(("Reason", reason))
        if self._media is not None:
            self._ending = (code, headers)
            self._media.hangup(code, headers)

    def never_came(self, report: EndReport, status: CallStatus) -> None:
        """End a leg that never got its slot."""
        self._wanted = status
        self.leg_ended(report)

    def refused(self, code: int, phrase: str) -> None:
        """The INVITE was refused on its way to (or by) the worker, which may not know the leg at all."""
        media = self._media
        if media is not None and not self._is_incoming and not self.ended:
            media.abandon(code, phrase)

    def play(self, prompts: Sequence[Prompt], loop: int = 1) -> PlaybackId:
        """Play prompts one after the other, `loop` times; 0 = until stopped."""
        name = self._name("p")
        self._playing.add(name)
        self._command().play(name, [prompt.source for prompt in prompts], loop)
        return PlaybackId(name)

    def send_digits(self, digits: str) -> PlaybackId:
        """Send keys."""
        name = self._name("d")
        self._playing.add(name)
        self._command().send_digits(name, digits)
        return PlaybackId(name)

    def stop(self, playback: PlaybackId) -> None:
        """Stop a playback; no event follows."""
        if playback in self._playing and not self.ended:
            self._command().stop_playback(playback)
        self._playing.discard(playback)
        self._mailbox.remove(
            lambda e: isinstance(e, PlaybackFinished | PlaybackFailed) and e.playback == playback
        )

    def record(self, spec: RecordSpec) -> RecordingId:
        """Record what the party says (or both sides)."""
        return self.recordings.start(None if self.ended else self._command(), spec)

    def record_all(self, max_seconds: float, *, channels: int = 1, beep: bool = False) -> str:
        """Record both sides until the end of the call; returns the sid."""
        spec = RecordSpec(
            max_seconds=max_seconds,
            silence_seconds=max_seconds,
            finish_keys="",
            beep=beep,
            both=True,
            stereo=channels == 2,
        )
        return self.recordings.start(self._command(), spec, awaited=False)

    def stop_recording(self, recording: RecordingId) -> None:
        """End a recording early."""
        if recording in self.recordings:
            self._command().stop_recording(recording)

    def end_recording(self, sid: str) -> None:
        """End a recording that no document waits for."""
        self.stop_recording(RecordingId(sid))

    def pause_recording(self, recording: str, paused: bool) -> None:
        """Let a recording pause, or go on."""
        if recording in self.recordings:
            self._command().pause_recording(recording, paused)

    def start_timer(self, name: str, seconds: float) -> None:
        """(Re)start a timer."""
        if self.ended:
            self._mailbox.cancel_timer(name)
        else:
            self._mailbox.start_timer(name, seconds)

    def cancel_timer(self, name: str) -> None:
        """Cancel a timer, even one that has fired into the mailbox."""
        self._mailbox.cancel_timer(name)

    def clear_digits(self) -> None:
        """Drop digits that wait in the mailbox."""
        self._mailbox.clear_digits()

    async def next_event(self) -> LegEvent:
        """Take the next event from the mailbox."""
        if not self._mailbox and self._ended is not None and not self.recordings:
            return self._ended
        return await self._mailbox.take()

    async def hold(self, music: Sequence[Prompt]) -> int:
        """Put the party on hold."""
        code = await self.unless_ended(self.signalling.hold(self._confirmed_media()))
        if 200 <= code < 300:
            self._stop_hold_music()
            if music:
                self._hold_music = self.play_aside(music, 0)
        return code

    async def resume(self) -> int | None:
        """Take the party off hold."""
        code = await self.unless_ended(self.signalling.resume(self._confirmed_media()))
        if code is not None and 200 <= code < 300:
            self._stop_hold_music()
        return code

    def _confirmed_media(self) -> MediaLeg:
        if self.ended or not self._answered:
            raise LegEnded
        return self._command()

    def _stop_hold_music(self) -> None:
        if self._hold_music:
            self.stop_aside(self._hold_music)
            self._hold_music = ""

    async def refer(self, target: str, headers: Sequence[tuple[str, str]] = ()) -> ReferResult:
        """Ask the party to call somebody else."""
        result = await self.signalling.refer(self._confirmed_media(), target, headers)
        self._owner.leg_refers(target, result)
        return result

    # -------------------------------------------------------------- beside the document

    @property
    def media(self) -> MediaLeg | None:
        """Its slot in a worker; None before it has one."""
        return self._media

    @property
    def on_hold(self) -> bool:
        """Whether we put the party on hold."""
        return self.signalling.on_hold

    def post(self, event: LegEvent) -> None:
        """Tell the document something that happened elsewhere (on a dialed leg, in a conference)."""
        if not self.ended:
            self._mailbox.post(event)

    def play_aside(self, prompts: Sequence[Prompt], loop: int = 1) -> str:
        """Play on top of whatever the party hears; the document is not told of its end."""
        name = self._name("a")
        if self._media is not None:
            self._media.play(name, [prompt.source for prompt in prompts], loop)
        return name

    def digits_aside(self, digits: str) -> str:
        """Send keys; the document is not told of their end."""
        name = self._name("a")
        if self._media is not None:
            self._media.send_digits(name, digits)
        return name

    def stop_aside(self, playback: str) -> None:
        """Stop what `play_aside` began."""
        if self._media is not None:
            self._media.stop_playback(playback)

    def watch_speech(self, wanted: bool) -> None:
        """Tell the call when the party speaks."""
        if self._media is not None:
            self._media.watch_speech(wanted)

    def mute(self, muted: bool) -> None:
        """Silence what the party says."""
        if self._media is not None:
            self._media.mute(muted)

    # -------------------------------------------------------------- for other ports

    async def unless_ended(self, work: Awaitable[T]) -> T:
        """Await something, but no longer than the leg lives.

        Raises:
            LegEnded: the leg ended (what was awaited is cancelled).
        """
        task: Deferred[T] = Deferred.fromCoroutine(work)  # type: ignore[arg-type]
        if self.ended:
            task.addErrback(lambda _: None)
            task.cancel()
            raise LegEnded
        self._guarded.add(task)
        try:
            return await task
        except Exception:
            # whatever came of the work: it was broken off because the leg ended
            if self.ended:
                raise LegEnded from None
            raise
        finally:
            self._guarded.discard(task)

    def reset(self) -> None:
        """Stop what a document plays and records, and forget what waits: another document begins."""
        self._mailbox.clear()
        self._playing.clear()
        self._hold_music = ""
        for aside in list(self.asides):
            aside.cancel()
        if not self.ended and self._media is not None:
            self._media.reset()

    # -------------------------------------------------------------- inside

    def _command(self) -> MediaLeg:
        if self._media is None:
            raise LegEnded
        return self._media

    def _name(self, kind: str) -> str:
        self._counter += 1
        return f"{kind}{self._counter}"

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait for a change of state that the worker reports. Raises LegEnded."""
        deadline = self._reactor.seconds() + self._command_seconds
        while not condition():
            if self.ended:
                raise LegEnded
            left = deadline - self._reactor.seconds()
            if left <= 0:
                log.error("worker_silent")
                self.end('SIP;cause=500;text="media-failure"')
                raise LegEnded
            await self._changed(left)

    async def _until_incoming(self) -> None:
        await self._until(lambda: self._is_incoming or self._answered)

    async def _until_ended(self) -> None:
        try:
            await self._until(lambda: self.ended)
        except LegEnded:
            return

    async def _changed(self, seconds: float) -> None:
        change: Deferred[None] = Deferred()
        self._incoming.append(change)
        timer = self._reactor.callLater(seconds, lambda: None if change.called else change.callback(None))
        try:
            await change
        finally:
            if timer.active():
                timer.cancel()

    def _announce(self) -> None:
        waiting, self._incoming = self._incoming, []
        for change in waiting:
            if not change.called:
                change.callback(None)

    # -------------------------------------------------------------- what the worker tells

    def leg_incoming(self) -> None:
        """The worker has the INVITE and rings."""
        self._is_incoming = True
        self.last_response = 180
        if self._ending is not None and self._media is not None:
            self._media.hangup(*self._ending)  # it may have overtaken the INVITE
        self._announce()

    def leg_progress(self, code: int, phrase: str, headers: list[list[str]]) -> None:
        """An outbound leg rings, or a leg is confirmed."""
        self.last_response = code
        if code < 200:
            self._owner.leg_rings()
        else:
            self.answer_headers = {name: value for name, value in headers if name[:2].lower() == "x-"}
            self._confirmed()
        self._announce()

    def _confirmed(self) -> None:
        self._is_confirmed = True
        if not self._answered and self._media_up:
            self._answer_now()

    def _answer_now(self) -> None:
        self._answered = True
        self.last_response = 200
        if not self._left_farewell and (farewell := self._owner.farewell()) is not None:
            self._command().farewell(farewell)
        self._owner.leg_answered(self._codec)

    def leg_media(self, codec: str, held: bool, early: bool = False) -> None:
        """Audio flows; `early`: of an outbound leg that is not answered yet."""
        self._codec = codec
        self._media_up = True
        before, self.held = self.held, held
        if not self._answered and (not self.outbound or self._is_confirmed):
            self._answer_now()
        elif early and not self._answered:
            self._owner.leg_early_media()
        if held != before:
            self._owner.leg_holds()
        self._announce()

    def leg_digit(self, digit: str, method: str) -> None:
        """A key was pressed."""
        if not any(tap(digit, method) for tap in reversed(self.taps)):
            self._mailbox.post(DigitPressed(digit, method))

    def leg_playback_done(self, playback: str, error: str) -> None:
        """A playback ended by itself."""
        if playback in self._playing:
            name = PlaybackId(playback)
            self._playing.discard(playback)
            self._mailbox.post(PlaybackFailed(name, error) if error else PlaybackFinished(name))
            return
        for aside in list(self.asides):
            if aside.playback_done(playback, error):
                return

    def leg_recording_done(self, report: RecordingReport) -> None:
        """A recording ended."""
        self.recordings.done(report.recording, report)

    def leg_speaks(self, speaks: bool) -> None:
        """The party began to speak, or ended."""
        self._owner.leg_speaks(speaks)

    def leg_reinvited(self, held: bool, code: int) -> None:
        """A hold (or its end) was answered."""
        self.signalling.reinvited(held, code)

    def leg_referred(self, code: int, notify_code: int, final: bool) -> None:
        """News of a REFER."""
        self.signalling.referred(code, notify_code, final)

    def leg_ended(self, report: EndReport) -> None:
        """The leg is over."""
        if self._ended is not None:
            return
        self._ended = Ended(report.cause or report.phrase)
        self._mailbox.stop_timers()
        self.recordings.lost()
        self.signalling.ended()
        self._owner.leg_over(report, self._wanted)
        for aside in list(self.asides):
            aside.leg_over()
        for task in list(self._guarded):
            task.cancel()
        self._announce()
        self._maybe_post_end()

    def _maybe_post_end(self) -> None:
        """`Ended` comes after the last recording."""
        if self._ended is not None and not self.recordings and self._mailbox.awaited:
            self._mailbox.post(self._ended)
