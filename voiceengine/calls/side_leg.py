"""A leg beside the leg: documents that run while the call's own document goes on.

Wait music of a conference, announcements, and what programs play or ask in a live call run here. Such a
document hears only of its own playbacks, timers and keys, and cannot end the call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from rcml.interpreter import Interpreter, InterpreterSettings, Outcome, Source
from rcml.ports import (
    CallInfo,
    CallStatus,
    DigitPressed,
    Ended,
    LegEnded,
    LegEvent,
    PlaybackFailed,
    PlaybackFinished,
    PlaybackId,
    Ports,
    Prompt,
    RecordingId,
    RecordSpec,
    ReferResult,
)
from voiceengine.calls.leg import CallLeg
from voiceengine.calls.mailbox import Mailbox

log = Logger()

SOUNDS = frozenset({"Say", "Play", "Pause", "Redirect"})
"""Verbs of wait documents and announcements."""


class SideLeg:
    """Implements `rcml.ports.Leg` and `leg_ports.Aside` on top of a call's leg.

    Args:
        reactor: source of time.
        leg: the call's leg.
        takes_keys: keys of the party come here while this lives, and nowhere else.
    """

    def __init__(self, reactor: Any, leg: CallLeg, *, takes_keys: bool = False) -> None:
        self._leg = leg
        self._mailbox = Mailbox(reactor)
        self._playing: set[str] = set()
        self._over: Ended | None = None
        leg.asides.append(self)
        self._takes_keys = takes_keys
        if takes_keys:
            leg.taps.append(self._key)

    def close(self) -> None:
        """Stop what plays, and let go of the leg."""
        if self in self._leg.asides:
            self._leg.asides.remove(self)
        if self._takes_keys and self._key in self._leg.taps:
            self._leg.taps.remove(self._key)
        self._mailbox.clear()
        if not self._leg.ended:
            for playback in self._playing:
                self._leg.stop_aside(playback)
        self._playing.clear()

    # -------------------------------------------------------------- what the leg tells

    def playback_done(self, playback: str, error: str) -> bool:
        """A playback ended."""
        if playback not in self._playing:
            return False
        self._playing.discard(playback)
        name = PlaybackId(playback)
        self._mailbox.post(PlaybackFailed(name, error) if error else PlaybackFinished(name))
        return True

    def leg_over(self) -> None:
        """The leg is over."""
        self._over = Ended("")
        self._mailbox.stop_timers()
        if self._mailbox.awaited:
            self._mailbox.post(self._over)

    def cancel(self) -> None:
        """End the document: another one begins on the call."""
        self.leg_over()

    def _key(self, digit: str, method: str) -> bool:
        self._mailbox.post(DigitPressed(digit, method))
        return True

    # -------------------------------------------------------------- what the document sees

    @property
    def status(self) -> CallStatus:
        """Current status of the call."""
        return self._leg.status

    @property
    def answered(self) -> bool:
        """A document beside another runs on answered calls only."""
        return True

    @property
    def ended(self) -> bool:
        """Whether the leg is over."""
        return self._leg.ended

    async def answer(self) -> None:
        """The call is answered already."""

    async def reject(
        self, code: int, phrase: str, reason: str = "", status: CallStatus | None = None
    ) -> None:
        """A document beside another does not end the call."""

    async def hangup(self, reason: str = "") -> None:
        """A document beside another does not end the call."""

    def play(self, prompts: Sequence[Prompt], loop: int = 1) -> PlaybackId:
        """Play on top of whatever the party hears."""
        name = self._leg.play_aside(prompts, loop)
        self._playing.add(name)
        return PlaybackId(name)

    def send_digits(self, digits: str) -> PlaybackId:
        """Send keys."""
        name = self._leg.digits_aside(digits)
        self._playing.add(name)
        return PlaybackId(name)

    def stop(self, playback: PlaybackId) -> None:
        """Stop a playback; no event follows."""
        if playback in self._playing:
            self._playing.discard(playback)
            self._leg.stop_aside(playback)
        self._mailbox.remove(
            lambda e: isinstance(e, PlaybackFinished | PlaybackFailed) and e.playback == playback
        )

    def record(self, spec: RecordSpec) -> RecordingId:
        """Not possible here; such a document has no Record."""
        raise LegEnded

    def stop_recording(self, recording: RecordingId) -> None:
        """There is none."""

    def start_timer(self, name: str, seconds: float) -> None:
        """(Re)start a timer."""
        if not self.ended:
            self._mailbox.start_timer(name, seconds)

    def cancel_timer(self, name: str) -> None:
        """Cancel a timer."""
        self._mailbox.cancel_timer(name)

    def clear_digits(self) -> None:
        """Drop digits that wait."""
        self._mailbox.clear_digits()

    async def next_event(self) -> LegEvent:
        """Take the next event."""
        if self._over is not None:
            return self._over
        return await self._mailbox.take()

    async def hold(self, music: Sequence[Prompt]) -> int:
        """Not possible here."""
        return 0

    async def resume(self) -> int | None:
        """Not possible here."""
        return None

    async def refer(self, target: str, headers: Sequence[tuple[str, str]] = ()) -> ReferResult:
        """Not possible here."""
        return ReferResult(code=0)


@attrs.frozen
class SideRun:
    """A document that runs beside another; `stop` ends it, `done` fires with its outcome (None: stopped)."""

    done: Deferred[Outcome | None]

    def stop(self) -> None:
        """End it; what it plays stops at once."""
        self.done.cancel()


def run_beside(
    reactor: Any,
    leg: CallLeg,
    ports: Ports,
    info: CallInfo,
    source: Source,
    settings: InterpreterSettings,
    *,
    takes_keys: bool = False,
    rounds: int = 1,
) -> SideRun:
    """Run a document beside the one of the call.

    Args:
        reactor: source of time.
        leg: the call's leg, answered.
        ports: those of the call.
        info: of the call.
        source: the document.
        settings: of the interpreter; the call is never hung up.
        takes_keys: keys go to this document.
        rounds: how often it is run; 0: until it is stopped or fails.
    """
    settings = attrs.evolve(settings, hang_up_at_end=False)

    async def work() -> Outcome | None:
        side = SideLeg(reactor, leg, takes_keys=takes_keys)
        beside = attrs.evolve(ports, leg=side, dialer=None, conferences=None)
        outcome = None
        done = 0
        try:
            while (rounds == 0 or done < rounds) and not leg.ended:
                begun = reactor.seconds()
                outcome = await Interpreter(beside, info, settings).run(source)
                if outcome.kind.value != "ended":
                    break
                done += 1
                if rounds == 0 and reactor.seconds() - begun < 1.0:
                    await _silence(side, 1.0)  # a document without sound must not keep us busy
        finally:
            side.close()
        return outcome

    run = Deferred.fromCoroutine(work())
    run.addErrback(_stopped)
    return SideRun(run)


async def _silence(side: SideLeg, seconds: float) -> None:
    side.start_timer("silence", seconds)
    await side.next_event()


def _stopped(failure: Any) -> None:
    from twisted.internet.defer import CancelledError

    if not failure.check(CancelledError, LegEnded):
        log.failure("side_document_failed", failure=failure)
