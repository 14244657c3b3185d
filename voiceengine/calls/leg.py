"""The interpreter's leg, made of a leg in a media worker."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

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
    RecordingEnd,
    RecordingFinished,
    RecordingId,
    RecordSpec,
    StoredRecording,
    TimerFired,
)

log = Logger()

T = TypeVar("T")

COMMAND_SECONDS = 10.0
"""A worker that does not react to a command within this time is taken for dead."""


class LegOwner(Protocol):
    """The call that a leg belongs to."""

    @property
    def status(self) -> CallStatus:
        """Current status."""
        ...

    def leg_rings(self) -> None:
        """The other side is being alerted."""
        ...

    def leg_answered(self, codec: str) -> None:
        """The leg was answered and media flows."""
        ...

    def farewell(self) -> tuple[str, int, str] | None:
        """Address and text of a BYE that the worker sends to the phone when the engine dies."""
        ...

    def leg_over(self, report: EndReport, wanted: CallStatus | None) -> None:
        """The leg is over."""
        ...

    def new_recording(self) -> tuple[str, Path]:
        """Sid and path for a recording."""
        ...

    async def recording_made(self, sid: str, report: RecordingReport | None) -> StoredRecording | None:
        """A recording ended (None: its worker died and the file must be repaired); store or drop it."""
        ...

    @property
    def response_headers(self) -> Sequence[tuple[str, str]]:
        """Headers of responses and requests that the engine generates."""
        ...


class CallLeg:
    """Implements `rcml.ports.Leg` and `media.pool.LegListener`."""

    def __init__(
        self, reactor: Any, owner: LegOwner, beep: str, command_seconds: float = COMMAND_SECONDS
    ) -> None:
        self._reactor = reactor
        self._command_seconds = command_seconds
        self._owner = owner
        self._beep = beep
        self._media: MediaLeg | None = None
        self._mailbox: deque[LegEvent] = deque()
        self._waiter: Deferred[LegEvent] | None = None
        self._timers: dict[str, Any] = {}
        self._guarded: set[Deferred[Any]] = set()
        self._recordings: dict[str, RecordingId] = {}
        self._playing: set[str] = set()
        self._finishing: set[str] = set()
        self._ending: tuple[int, list[tuple[str, str]]] | None = None
        self._left_farewell = False
        self._silent: set[str] = set()
        """Recordings that no document waits for."""
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
        self._wanted = wanted or self._wanted
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
        self._remove(lambda e: isinstance(e, PlaybackFinished | PlaybackFailed) and e.playback == playback)

    def record(self, spec: RecordSpec) -> RecordingId:
        """Record what the party says."""
        sid, path = self._owner.new_recording()
        name = RecordingId(sid)
        if self.ended:
            return name
        self._recordings[sid] = name
        self._command().record(
            sid,
            str(path),
            beep=self._beep if spec.beep else "",
            max_seconds=spec.max_seconds,
            silence_seconds=spec.silence_seconds,
            finish_keys=spec.finish_keys,
        )
        return name

    def record_all(self, max_seconds: float) -> str:
        """Record both sides until the end of the call; returns the sid."""
        sid, path = self._owner.new_recording()
        self._recordings[sid] = RecordingId(sid)
        self._silent.add(sid)
        self._command().record(
            sid,
            str(path),
            beep="",
            max_seconds=max_seconds,
            silence_seconds=max_seconds,
            finish_keys="",
            both=True,
        )
        return sid

    def stop_recording(self, recording: RecordingId) -> None:
        """End a recording early."""
        if recording in self._recordings:
            self._command().stop_recording(recording)

    def start_timer(self, name: str, seconds: float) -> None:
        """(Re)start a timer."""
        self.cancel_timer(name)
        if not self.ended:
            self._timers[name] = self._reactor.callLater(seconds, self._fire, name)

    def cancel_timer(self, name: str) -> None:
        """Cancel a timer, even one that has fired into the mailbox."""
        timer = self._timers.pop(name, None)
        if timer is not None and timer.active():
            timer.cancel()
        self._remove(lambda e: isinstance(e, TimerFired) and e.name == name)

    def clear_digits(self) -> None:
        """Drop digits that wait in the mailbox."""
        self._remove(lambda e: isinstance(e, DigitPressed))

    async def next_event(self) -> LegEvent:
        """Take the next event from the mailbox."""
        if self._mailbox:
            return self._mailbox.popleft()
        if self._ended is not None and not self._recordings:
            return self._ended
        self._waiter = Deferred()
        try:
            return await self._waiter
        finally:
            self._waiter = None

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
        for name in list(self._timers):
            self.cancel_timer(name)
        self._mailbox.clear()
        self._playing.clear()
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

    def _remove(self, gone: Callable[[LegEvent], bool]) -> None:
        if self._mailbox:
            self._mailbox = deque(e for e in self._mailbox if not gone(e))

    def _post(self, event: LegEvent) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.called:
            waiter.callback(event)
        else:
            self._mailbox.append(event)

    def _fire(self, name: str) -> None:
        self._timers.pop(name, None)
        self._post(TimerFired(name))

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
        if self._ending is not None and self._media is not None:
            self._media.hangup(*self._ending)  # it may have overtaken the INVITE
        self._announce()

    def leg_progress(self, code: int, phrase: str, headers: list[list[str]]) -> None:
        """An outbound leg rings, or a leg is confirmed."""
        if code < 200:
            self._owner.leg_rings()
        else:
            self._confirmed()
        self._announce()

    def _confirmed(self) -> None:
        self._is_confirmed = True
        if not self._answered and self._media_up:
            self._answer_now()

    def _answer_now(self) -> None:
        self._answered = True
        if not self._left_farewell and (farewell := self._owner.farewell()) is not None:
            self._command().farewell(farewell)
        self._owner.leg_answered(self._codec)

    def leg_media(self, codec: str, held: bool) -> None:
        """Audio flows (for an outbound leg this can be early media)."""
        self._codec = codec
        self._media_up = True
        self.held = held
        if not self._answered and (not self.outbound or self._is_confirmed):
            self._answer_now()
        self._announce()

    def leg_digit(self, digit: str, method: str) -> None:
        """A key was pressed."""
        self._post(DigitPressed(digit, method))

    def leg_playback_done(self, playback: str, error: str) -> None:
        """A playback ended by itself."""
        name = PlaybackId(playback)
        self._playing.discard(playback)
        self._post(PlaybackFailed(name, error) if error else PlaybackFinished(name))

    def leg_recording_done(self, report: RecordingReport) -> None:
        """A recording ended."""
        self._finish_recording(report.recording, report)

    def _finish_recording(self, sid: str, report: RecordingReport | None) -> None:
        end = RecordingEnd(report.end) if report is not None else RecordingEnd.HANGUP
        digit = report.digit if report is not None else ""
        self._finishing.add(sid)
        done = Deferred.fromCoroutine(self._owner.recording_made(sid, report))

        def stored(result: StoredRecording | None) -> None:
            name = self._recordings.pop(sid, None)
            self._finishing.discard(sid)
            if name is not None and sid not in self._silent:
                self._post(RecordingFinished(recording=name, end=end, digit=digit, stored=result))
            self._maybe_post_end()

        def failed(failure: Any) -> None:
            log.failure("recording_not_stored sid={sid}", failure=failure, sid=sid)
            stored(None)

        done.addCallbacks(stored, failed)

    def leg_ended(self, report: EndReport) -> None:
        """The leg is over."""
        if self._ended is not None:
            return
        self._ended = Ended(report.cause or report.phrase)
        for name in list(self._timers):
            timer = self._timers.pop(name)
            if timer.active():
                timer.cancel()
        for sid in list(self._recordings):
            # its end would have been told before: the worker died, or never had the command
            if sid not in self._finishing:
                self._finish_recording(sid, None)
        self._owner.leg_over(report, self._wanted)
        for task in list(self._guarded):
            task.cancel()
        self._announce()
        self._maybe_post_end()

    def _maybe_post_end(self) -> None:
        """`Ended` comes after the last recording."""
        if self._ended is not None and not self._recordings:
            waiter = self._waiter
            if waiter is not None and not waiter.called and not self._mailbox:
                waiter.callback(self._ended)
