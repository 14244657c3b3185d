"""Carries a Dial out: feeds the mailbox of the caller's leg to the machine, and its effects to the ports."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from rcml.dial import DialMachine, DialSpec
from rcml.dial_steps import (
    Answered,
    BranchOver,
    Bridge,
    BridgeEarly,
    CallerLeft,
    CancelBranch,
    DialEffect,
    DialEvent,
    DialFinished,
    EndBranch,
    Forked,
    KeyPressed,
    LimitReached,
    Prepare,
    Ready,
    Refused,
    RelayKey,
    Ringing,
    StartDialTimer,
    StartLimitTimer,
    StartRecording,
    StartRinging,
    StopDialTimer,
    StopLimitTimer,
    StopRecording,
    StopRinging,
    TimedOut,
)
from rcml.flow import Flow
from rcml.ports import (
    BranchAnswered,
    BranchEnded,
    BranchId,
    BranchInfo,
    BranchMoved,
    BranchReady,
    BranchRefused,
    BranchRinging,
    Dialer,
    DialError,
    DialTarget,
    DigitPressed,
    Ended,
    LegEnded,
    LegEvent,
    Level,
    PlaybackFailed,
    PlaybackId,
    Prompt,
    RecordingFinished,
    RecordingId,
    RecordSpec,
    StoredRecording,
    TimerFired,
)

DIAL_TIMER = "dial-timeout"
LIMIT_TIMER = "dial-limit"
STANDING = "OutboundCallSid"
"""Parameter that all requests carry after the first dialed leg."""

BAD_CALLER = 13214
"""Code of a callerId that no target can be called with."""

_ERRORS = frozenset({11004, 11005, 11008, BAD_CALLER})
"""Codes of targets that cannot be called whose level is error."""


def not_called(flow: Flow, what: str, error: DialError) -> None:
    """Tell the owner of a target that cannot be called."""
    level = Level.ERROR if error.code in _ERRORS else Level.WARNING
    flow.journal("branch_failed", target=what, code=error.code, message=error.message)
    flow.notify(error.code, level, f"{what}: {error.message}")


@attrs.frozen(kw_only=True)
class Wanted:
    """Whom a Dial calls: the noun, for messages, and the target."""

    noun: str
    target: DialTarget


@attrs.frozen(kw_only=True)
class DialResult:
    """What became of a Dial."""

    finish: DialFinished
    info: BranchInfo | None
    stored: StoredRecording | None


class Dialing:
    """One Dial that calls somebody.

    Args:
        flow: the flow.
        dialer: the port.
        spec: how it rings and what ends it.
        ringing: what the caller hears meanwhile, in the order of preference; empty: silence.
        stereo: whether a recording keeps the sides apart.
    """

    def __init__(
        self, flow: Flow, dialer: Dialer, spec: DialSpec, ringing: Sequence[Prompt], *, stereo: bool = False
    ) -> None:
        self._flow = flow
        self._leg = flow.ports.leg
        self._dialer = dialer
        self._spec = spec
        self._machine = DialMachine(spec)
        self._tones = list(ringing)
        self._stereo = stereo
        self._playback: PlaybackId | None = None
        self._timers: set[str] = set()
        self._recording: RecordingId | None = None
        self._stored: StoredRecording | None = None
        self._infos: dict[BranchId, BranchInfo] = {}
        self._finish: DialFinished | None = None
        self._joining: BranchId | None = None

    async def run(
        self, wanted: Sequence[Wanted], caller_id: str | None, caller_name: str | None
    ) -> DialResult:
        """Dial to the end. An exception that is thrown in ends all that was begun."""
        try:
            await self._fork(wanted, caller_id, caller_name)
            while self._finish is None:
                self._react(await self._leg.next_event())
                await self._join()
            await self._until_recorded()
            branch = self._finish.branch
            info = None if branch is None else self._infos.get(branch) or self._dialer.info(branch)
            return DialResult(finish=self._finish, info=info, stored=self._stored)
        finally:
            self._stop_ringing()
            for name in tuple(self._timers):
                self._stop_timer(name)
            if self._recording is not None:
                self._leg.stop_recording(self._recording)
            self._dialer.close()

    async def _join(self) -> None:
        """Bridge the leg that won; a caller who was kept waiting is answered now."""
        branch, self._joining = self._joining, None
        if branch is None:
            return
        try:
            await self._leg.answer()
        except LegEnded:
            return  # the mailbox tells it
        self._flow.took_time = True
        self._flow.journal("bridged", branch=branch)
        self._dialer.bridge(branch)

    async def _fork(self, wanted: Sequence[Wanted], caller_id: str | None, caller_name: str | None) -> None:
        """Call all targets; those that cannot be called are reported and left out."""
        branches: list[BranchId] = []
        screened: set[BranchId] = set()
        left = False
        for one in wanted:
            try:
                infos = await self._dialer.dial(one.target, caller_id=caller_id, caller_name=caller_name)
            except DialError as error:
                not_called(self._flow, one.noun, error)
                if error.code == BAD_CALLER:
                    break
                continue
            except LegEnded:
                left = True
                break
            for info in infos:
                self._begun(one, info)
                branches.append(info.branch)
                if one.target.screening is not None:
                    screened.add(info.branch)
        if branches or not left:
            self._step(Forked(tuple(branches), frozenset(screened)))
        if left:
            self._step(CallerLeft())

    def _begun(self, wanted: Wanted, info: BranchInfo) -> None:
        flow = self._flow
        flow.journal("branch_dialed", branch=info.branch, call=info.call_sid, target=wanted.noun)
        if all(name != STANDING for name, _ in flow.standing):
            flow.standing.append((STANDING, info.call_sid))

    # ------------------------------------------------------------ events

    def _react(self, event: LegEvent) -> None:
        translated = self._translate(event)
        if translated is not None:
            self._step(translated)

    def _translate(self, event: LegEvent) -> DialEvent | None:
        match event:
            case BranchRinging(branch=branch, early_media=early):
                return Ringing(branch, early)
            case BranchAnswered(branch):
                return Answered(branch)
            case BranchReady(branch):
                return Ready(branch)
            case BranchRefused(branch):
                return Refused(branch)
            case BranchEnded(info) | BranchMoved(info):
                self._infos[info.branch] = info
                moved = isinstance(event, BranchMoved)
                self._flow.journal("branch_ended", branch=info.branch, status=info.status.value, moved=moved)
                return BranchOver(info, moved)
            case DigitPressed(key):
                return KeyPressed(key)
            case TimerFired(name):
                return self._expired(name)
            case Ended():
                return CallerLeft()
        self._other(event)
        return None

    def _expired(self, name: str) -> DialEvent | None:
        if name not in self._timers:
            return None
        self._timers.discard(name)
        return TimedOut() if name == DIAL_TIMER else LimitReached()

    def _other(self, event: LegEvent) -> None:
        match event:
            case PlaybackFailed(playback, reason) if playback == self._playback:
                self._flow.journal("prompt_failed", label="ringing", message=reason)
                self._playback = None
                self._ring()  # the next best: music that breaks is followed by the ringing tone
            case RecordingFinished() if event.recording == self._recording:
                self._recording = None
                self._stored = event.stored

    async def _until_recorded(self) -> None:
        """Wait for the recording that was told to stop; it comes before the end of the caller's leg."""
        while self._recording is not None:
            event = await self._leg.next_event()
            if isinstance(event, Ended):
                self._recording = None
            self._translate(event)

    # ------------------------------------------------------------ effects

    def _step(self, event: DialEvent) -> None:
        for effect in self._machine.step(event):
            self._apply(effect)

    def _apply(self, effect: DialEffect) -> None:
        match effect:
            case DialFinished():
                self._finish = effect
            case StartRinging():
                self._ring()
            case StopRinging():
                self._stop_ringing()
            case StartDialTimer(seconds):
                self._start_timer(DIAL_TIMER, seconds)
            case StopDialTimer():
                self._stop_timer(DIAL_TIMER)
            case StartLimitTimer(seconds):
                self._start_timer(LIMIT_TIMER, seconds)
            case StopLimitTimer():
                self._stop_timer(LIMIT_TIMER)
            case StartRecording():
                self._record()
            case StopRecording():
                if self._recording is not None:
                    self._leg.stop_recording(self._recording)
            case _:
                self._on_branch(effect)

    def _on_branch(self, effect: DialEffect) -> None:
        dialer = self._dialer
        match effect:
            case CancelBranch(branch, status):
                dialer.cancel(branch, status)
            case EndBranch(branch):
                dialer.end(branch)
            case Prepare(branch):
                self._flow.journal("branch_answered", branch=branch)
                dialer.prepare(branch)
            case BridgeEarly(branch):
                if self._leg.answered:
                    dialer.bridge(branch, early=True)
            case Bridge(branch):
                self._joining = branch
            case RelayKey(branch, key):
                dialer.relay_digit(branch, key)

    def _ring(self) -> None:
        if self._tones and self._leg.answered:
            self._playback = self._leg.play([self._tones.pop(0)], loop=0)

    def _stop_ringing(self) -> None:
        self._tones.clear()
        if self._playback is not None:
            self._leg.stop(self._playback)
            self._playback = None

    def _start_timer(self, name: str, seconds: float) -> None:
        self._leg.start_timer(name, seconds)
        self._timers.add(name)

    def _stop_timer(self, name: str) -> None:
        if name in self._timers:
            self._leg.cancel_timer(name)
            self._timers.discard(name)

    def _record(self) -> None:
        # silence is no end: the bridge lasts as long as it may
        longest = self._spec.time_limit + (self._spec.timeout if self._spec.record_ringing else 0)
        self._recording = self._leg.record(
            RecordSpec(
                max_seconds=longest,
                silence_seconds=longest,
                finish_keys="",
                beep=False,
                both=True,
                stereo=self._stereo,
            )
        )
