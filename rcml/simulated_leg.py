"""A leg in memory, with a virtual clock and a simulated caller.

Its coroutines complete without suspending; `drive` runs one to its end.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

import attrs

from rcml.parameters import whole_seconds
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
    ReferResult,
    StoredRecording,
    TimerFired,
)

R = TypeVar("R")

HANGUP = "hangup"
"""What a caller does instead of pressing a key."""

KEY_SECONDS = 0.2
"""Length of a key that is sent, with its pause."""

Tell = Callable[[float, str], None]
"""Takes a line of the timeline: seconds from the start of the call, text."""


def drive(coroutine: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine that never waits for anything outside."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        value: R = finished.value
        return value
    coroutine.close()
    raise RuntimeError("The coroutine waits for something that is not simulated.")


class Clock(Protocol):
    """The time of a simulation, and whether the call in it is over."""

    now: float
    ended: bool

    def let_pass(self, seconds: float) -> None:
        """Let time pass while something outside is waited for."""
        ...


class Caller(Protocol):
    """The person at the other end."""

    def act(self, now: float, until: float) -> tuple[float, str] | None:
        """Give the next thing the caller does after `now` and not after `until` (seconds of the call).

        Returns:
            When, and a key or `hangup`; None when nothing happens until then. An interactive caller waits
            in real time.
        """
        ...


class ScriptedCaller:
    """Presses keys and hangs up at given times.

    Args:
        actions: (seconds of the call, key or `hangup`) in any order.
    """

    def __init__(self, actions: Sequence[tuple[float, str]] = ()) -> None:
        self._actions = deque(sorted(actions, key=lambda action: action[0]))

    def act(self, now: float, until: float) -> tuple[float, str] | None:
        """Give the next action of the script."""
        if self._actions and self._actions[0][0] <= until:
            at, what = self._actions.popleft()
            return max(at, now), what
        return None


def parse_digits(text: str) -> list[tuple[float, str]]:
    """Read a script such as `2.5:1,4:23#`: at 2.5 s key 1, at 4 s keys 2, 3, # (half a second apart).

    `hangup` in the place of keys ends the call.

    Raises:
        ValueError: a part is not `seconds:keys`.
    """
    actions: list[tuple[float, str]] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        seconds, colon, keys = part.partition(":")
        if not colon or not keys or not (keys == HANGUP or set(keys) <= set("0123456789*#ABCD")):
            raise ValueError(f"{part!r} is not SECONDS:KEYS (keys 0-9 * # A-D, or {HANGUP})")
        at = float(seconds)
        pressed = [keys] if keys == HANGUP else list(keys)
        actions.extend((at + 0.5 * index, key) for index, key in enumerate(pressed))
    return actions


@attrs.define
class _Recording:
    identity: RecordingId
    spec: RecordSpec
    started: float


class SimulatedLeg:
    """A leg whose time passes only while something waits for it.

    Args:
        caller: who is at the other end.
        tell: takes the timeline.
        answered: whether the call is answered already, as for a call the engine made.
        speech_seconds: how long the caller speaks in each recording; 0: not at all.
        limit: seconds after which the caller hangs up in any case.
        broken: labels of prompts that fail when played.
    """

    def __init__(
        self,
        caller: Caller,
        tell: Tell,
        *,
        answered: bool = False,
        speech_seconds: float = 2.0,
        limit: float = 3600.0,
        broken: Sequence[str] = (),
    ) -> None:
        self.now = 0.0
        self.status = CallStatus.IN_PROGRESS if answered else CallStatus.RINGING
        self.answered = answered
        self.ended = False
        self.rejected: tuple[int, str] | None = None
        self.reason = ""
        self.caller = caller
        self._tell = tell
        self._speech = speech_seconds
        self._limit = limit
        self._broken = frozenset(broken)
        self._mailbox: deque[LegEvent] = deque()
        self._due: list[tuple[float, int, LegEvent | Callable[[], None]]] = []
        self._order = itertools.count()
        self._recording: _Recording | None = None
        self._held = False
        self.hold_code = 200
        """What the caller's device answers to hold, 0: nothing."""
        self.resume_code = 200
        self.refer_result = ReferResult(code=202, notify_code=200)
        """What it answers to REFER, and what it tells then."""

    # ---------------------------------------------------------------- commands

    async def answer(self) -> None:
        """Answer at once."""
        self._alive()
        if not self.answered:
            self.answered = True
            self.status = CallStatus.IN_PROGRESS
            self._tell(self.now, "answered")

    async def reject(
        self, code: int, phrase: str, reason: str = "", status: CallStatus | None = None
    ) -> None:
        """End by a final response."""
        self._alive()
        self.rejected = (code, phrase)
        self.reason = reason
        self._tell(self.now, f"rejected: {code} {phrase}" + (f" ({reason})" if reason else ""))
        self._end(status or (CallStatus.BUSY if code in (486, 600, 603) else CallStatus.FAILED), "rejected")

    async def hangup(self, reason: str = "") -> None:
        """End by BYE."""
        self._alive()
        self.reason = reason
        self._tell(self.now, "hung up by the engine" + (f" ({reason})" if reason else ""))
        self._end(CallStatus.COMPLETED if self.answered else CallStatus.FAILED, "engine")

    def play(self, prompts: Sequence[Prompt], loop: int = 1) -> PlaybackId:
        """Play; only the end is simulated."""
        playback = PlaybackId(f"P{next(self._order)}")
        times = "" if loop == 1 else " (endlessly)" if loop == 0 else f" ({loop} times)"
        for prompt in prompts:
            self._tell(self.now, f"plays: {prompt.label} [{prompt.seconds:.1f} s]{times}")
        if any(prompt.label in self._broken for prompt in prompts):
            self._schedule(0, PlaybackFailed(playback, "the audio is broken"))
        elif loop:
            self._schedule(loop * sum(prompt.seconds for prompt in prompts), PlaybackFinished(playback))
        return playback

    def send_digits(self, digits: str) -> PlaybackId:
        """Send keys."""
        playback = PlaybackId(f"P{next(self._order)}")
        self._tell(self.now, f"sends keys: {digits}")
        length = sum(0.5 if key == "w" else KEY_SECONDS for key in digits)
        self._schedule(length, PlaybackFinished(playback))
        return playback

    def stop(self, playback: PlaybackId) -> None:
        """Stop a playback."""
        if self._remove(lambda event: getattr(event, "playback", None) == playback):
            self._tell(self.now, "stops playing")

    def record(self, spec: RecordSpec) -> RecordingId:
        """Record the simulated speech of the caller."""
        identity = RecordingId(f"RE{next(self._order):032x}")
        self._recording = _Recording(identity, spec, self.now)
        what = "records both sides" if spec.both else "records"
        self._tell(self.now, f"beeps and {what}" if spec.beep else what)
        quiet = self._speech + spec.silence_seconds
        if quiet < spec.max_seconds:
            end, seconds = RecordingEnd.SILENCE, quiet
        else:
            end, seconds = RecordingEnd.MAX_LENGTH, spec.max_seconds
        self._schedule(seconds, self._recorded(end, min(self._speech, seconds)))
        return identity

    def stop_recording(self, recording: RecordingId) -> None:
        """End a recording early."""
        self._end_recording(RecordingEnd.STOPPED)

    def start_timer(self, name: str, seconds: float) -> None:
        """Start a timer, or start it over."""
        self.cancel_timer(name)
        self._schedule(seconds, TimerFired(name))

    def cancel_timer(self, name: str) -> None:
        """Cancel a timer."""
        self._remove(lambda event: event == TimerFired(name))

    def clear_digits(self) -> None:
        """Drop keys that wait."""
        self._mailbox = deque(event for event in self._mailbox if not isinstance(event, DigitPressed))

    async def hold(self, music: Sequence[Prompt]) -> int:
        """Put the caller on hold."""
        self._alive()
        heard = ", ".join(prompt.label for prompt in music) or "silence"
        self._tell(self.now, f"holds the caller, with {heard}: {self.hold_code or 'no answer'}")
        self._held = self.hold_code == 200
        return self.hold_code

    async def resume(self) -> int | None:
        """Take the caller off hold."""
        self._alive()
        if not self._held:
            return None
        self._tell(self.now, f"resumes the caller: {self.resume_code or 'no answer'}")
        self._held = False
        return self.resume_code

    async def refer(self, target: str, headers: Sequence[tuple[str, str]] = ()) -> ReferResult:
        """Refer the caller to somebody else; a caller who got through hangs up."""
        result = self.refer_result
        self._tell(self.now, f"refers the caller to {target}: {result.code}, {result.notify_code}")
        for name, value in headers:
            self._tell(self.now, f"  with {name}: {value}")
        if 200 <= result.notify_code < 300 and not self.ended:
            self._act(HANGUP)
        return result

    async def next_event(self) -> LegEvent:
        """Let time pass until something happens."""
        while not self._mailbox:
            if self.ended:
                return Ended("over")
            self._advance(self._due[0][0] if self._due else self._limit)
        return self._mailbox.popleft()

    # ---------------------------------------------------------------- time

    def let_pass(self, seconds: float) -> None:
        """Let time pass while something outside is waited for; what happens goes into the mailbox."""
        until = self.now + seconds
        while not self.ended and self.now < until:
            self._advance(min(until, self._due[0][0] if self._due else until))

    def _advance(self, until: float) -> None:
        """Go to the next thing that happens, at most to `until`."""
        until = min(until, self._limit)
        action = self.caller.act(self.now, until)
        if action is not None:
            self.now = max(self.now, action[0])
            self._act(action[1])
        else:
            self.now = max(self.now, until)
            if self.now >= self._limit:
                self._act(HANGUP)
            elif self._due and self._due[0][0] <= self.now:
                event = heapq.heappop(self._due)[2]
                if isinstance(event, RecordingFinished):
                    self._recording = None
                if callable(event):
                    event()
                else:
                    self._mailbox.append(event)

    def _act(self, what: str) -> None:
        if what == HANGUP:
            self._tell(self.now, "caller hangs up")
            self._end_recording(RecordingEnd.HANGUP)
            self._end(CallStatus.COMPLETED if self.answered else CallStatus.CANCELED, "caller")
            return
        self._tell(self.now, f"caller presses {what}")
        if self._recording is not None and what in self._recording.spec.finish_keys:
            self._end_recording(RecordingEnd.KEY, what)
        else:
            self._mailbox.append(DigitPressed(what))

    # ---------------------------------------------------------------- others

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Let something else happen on this clock, unless the leg ends before."""
        self._schedule(seconds, action)

    def post(self, event: LegEvent) -> None:
        """Put an event of somebody else into the mailbox."""
        if not self.ended:
            self._mailbox.append(event)

    def _schedule(self, seconds: float, event: LegEvent | Callable[[], None]) -> None:
        if not self.ended:
            heapq.heappush(self._due, (self.now + seconds, next(self._order), event))

    def _remove(self, unwanted: Callable[[Any], bool]) -> bool:
        before = len(self._due) + len(self._mailbox)
        self._due = [item for item in self._due if not unwanted(item[2])]
        heapq.heapify(self._due)
        self._mailbox = deque(event for event in self._mailbox if not unwanted(event))
        return len(self._due) + len(self._mailbox) < before

    # ---------------------------------------------------------------- ends

    def _recorded(self, end: RecordingEnd, seconds: float, digit: str = "") -> RecordingFinished:
        assert self._recording is not None
        identity = self._recording.identity
        stored = None
        if seconds > 0:
            url = f"http://recordings.invalid/{identity}.wav"
            stored = StoredRecording(sid=identity, url=url, seconds=seconds)
        return RecordingFinished(recording=identity, end=end, digit=digit, stored=stored)

    def _end_recording(self, end: RecordingEnd, digit: str = "") -> None:
        recording = self._recording
        if recording is None:
            return
        self._remove(lambda event: getattr(event, "recording", None) == recording.identity)
        spoken = self.now - recording.started if self._speech else 0.0
        finished = self._recorded(end, spoken, digit)
        self._recording = None
        length = f"{whole_seconds(spoken)} s" if finished.stored else "nothing"
        self._tell(self.now, f"recorded {length} ({end.value})")
        self._mailbox.append(finished)

    def _end(self, status: CallStatus, cause: str) -> None:
        self.ended = True
        self.status = status
        self._due.clear()
        self._mailbox.append(Ended(cause))

    def _alive(self) -> None:
        if self.ended:
            raise LegEnded("the leg is over")
