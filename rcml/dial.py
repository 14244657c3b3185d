"""The races and timers of a Dial: a pure machine. Time is an event, starting a timer is an effect.

Reference: Dial, flow; Dial, screening; Dial, after the Dial.
"""

from __future__ import annotations

import enum

import attrs

from rcml.dial_steps import (
    Answered,
    BranchOver,
    Bridge,
    BridgeEarly,
    CallerLeft,
    CancelBranch,
    DialEnd,
    DialEvent,
    DialFinished,
    Effects,
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
from rcml.ports import BranchId, CallStatus

STAR = "*"


@attrs.frozen(kw_only=True)
class DialSpec:
    """How a Dial rings, and what ends it."""

    timeout: float = 30
    """Seconds from the start of the ringing to an answer."""
    time_limit: float = 14400
    """Seconds from the bridge."""
    hangup_on_star: bool = False
    record: bool = False
    record_ringing: bool = False
    """With `record`: from the start of the ringing, not from the bridge."""


class DialState(enum.Enum):
    """What the machine waits for."""

    FORKING = "forking"
    RINGING = "ringing"
    PREPARING = "preparing"
    BRIDGED = "bridged"
    DONE = "done"


_UNANSWERED = frozenset({CallStatus.BUSY, CallStatus.NO_ANSWER, CallStatus.CANCELED})


class DialMachine:
    """Rings several legs, lets the first answer win, joins it with the caller.

    ==========  ======================  ============================================  =========
    State       Event                   Effects                                       Next
    ==========  ======================  ============================================  =========
    FORKING     Forked, no leg          Finish(NO_TARGET, failed)                     DONE
    FORKING     Forked                  StartRinging, StartDialTimer (StartRecording) RINGING
    RINGING     early audio, one leg    StopRinging, BridgeEarly                      RINGING
    RINGING     Answered                StopDialTimer, Cancel others, Prepare         PREPARING
    RINGING     a leg over, others live (BridgeEarly, if one is left with audio)      RINGING
    RINGING     the last leg over       Finish(NO_ANSWER, status of that leg)         DONE
    RINGING     TimedOut                Cancel all, Finish(TIMEOUT, no-answer)        DONE
    PREPARING   Ready, winner           StopRinging, Bridge, StartLimitTimer          BRIDGED
                                        (StartRecording)
    PREPARING   Refused, winner         Finish(REFUSED, no-answer)                    DONE
    PREPARING   winner over             Finish(REFUSED, no-answer)                    DONE
    BRIDGED     winner over             Finish(CALLEE_LEFT, completed)                DONE
    BRIDGED     winner taken away       Finish(MOVED, completed)                      DONE
    BRIDGED     `*`, with hangupOnStar  End, Finish(STAR, completed)                  DONE
    BRIDGED     another key             RelayKey                                      BRIDGED
    BRIDGED     LimitReached            End, Finish(LIMIT, completed)                 DONE
    any         CallerLeft              Cancel or End what lives,                     DONE
                                        Finish(CALLER_LEFT, completed or canceled)
    not RINGING Answered by a loser     End                                           same
    DONE        Forked                  Cancel all                                    DONE
    ==========  ======================  ============================================  =========

    Before a Finish whatever runs is stopped: ringing, timer, recording. Everything else is ignored.
    """

    def __init__(self, spec: DialSpec) -> None:
        self._spec = spec
        self.state = DialState.FORKING
        self.winner: BranchId | None = None
        self._live: list[BranchId] = []
        """Legs that were neither ended nor cancelled, in the order of the document."""
        self._cancelled: set[BranchId] = set()
        """Losers whose end has not come yet."""
        self._screened: frozenset[BranchId] = frozenset()
        self._early: set[BranchId] = set()
        self._heard: BranchId | None = None
        """The leg whose early audio the caller hears."""
        self._last: BranchId | None = None
        self._ringing = False
        self._recording = False

    def step(self, event: DialEvent) -> Effects:
        """Take an event; give what is to be done, in order."""
        match event:
            case Forked(branches, screened):
                return self._forked(branches, screened)
            case Answered(branch) if branch in self._cancelled:
                self._cancelled.discard(branch)  # it answered before the CANCEL reached it
                return (EndBranch(branch),)
            case BranchOver(info) if info.branch in self._cancelled:
                self._cancelled.discard(info.branch)
                return ()
        match self.state:
            case DialState.DONE:
                return ()
            case _ if isinstance(event, CallerLeft):
                return self._left()
            case DialState.RINGING:
                return self._while_ringing(event)
            case DialState.PREPARING:
                return self._while_preparing(event)
            case DialState.BRIDGED:
                return self._while_bridged(event)
            case DialState.FORKING:
                return ()

    def _forked(self, branches: tuple[BranchId, ...], screened: frozenset[BranchId]) -> Effects:
        if self.state is DialState.DONE:
            return tuple(CancelBranch(branch, CallStatus.CANCELED) for branch in branches)
        if self.state is not DialState.FORKING:
            return ()
        self._live = list(branches)
        self._screened = screened
        if not branches:
            return self._finish(DialEnd.NO_TARGET, CallStatus.FAILED)
        self.state = DialState.RINGING
        self._last = branches[-1]
        self._ringing = True
        record = self._record() if self._spec.record_ringing else ()
        return (*record, StartRinging(), StartDialTimer(self._spec.timeout))

    def _while_ringing(self, event: DialEvent) -> Effects:
        match event:
            case Ringing(branch, early=True) if branch in self._live:
                self._early.add(branch)
                return self._hear_early()
            case Answered(branch) if branch in self._live:
                return self._won(branch)
            case Refused(branch) if branch in self._live:
                return self._lost(branch, CallStatus.NO_ANSWER)
            case BranchOver(info, moved) if info.branch in self._live:
                return self._lost(info.branch, CallStatus.CANCELED if moved else dial_status(info.status))
            case TimedOut():
                return self._finish(DialEnd.TIMEOUT, CallStatus.NO_ANSWER, losers=CallStatus.NO_ANSWER)
        return ()

    def _while_preparing(self, event: DialEvent) -> Effects:
        match event:
            case Ready(branch) if branch == self.winner:
                self.state = DialState.BRIDGED
                record = () if self._spec.record_ringing else self._record()
                limit = StartLimitTimer(self._spec.time_limit)
                return (*self._quiet(), Bridge(branch), *record, limit)
            case Refused(branch) if branch == self.winner:
                self._live.clear()
                return self._finish(DialEnd.REFUSED, CallStatus.NO_ANSWER)
            case BranchOver(info, moved) if info.branch == self.winner:
                self._live.clear()
                status = CallStatus.CANCELED if moved else CallStatus.NO_ANSWER
                return self._finish(DialEnd.REFUSED, status)
        return ()

    def _while_bridged(self, event: DialEvent) -> Effects:
        match event:
            case BranchOver(info, moved) if info.branch == self.winner:
                self._live.clear()
                end = DialEnd.MOVED if moved else DialEnd.CALLEE_LEFT
                return self._finish(end, CallStatus.COMPLETED)
            case KeyPressed(key) if key == STAR and self._spec.hangup_on_star:
                return self._finish(DialEnd.STAR, CallStatus.COMPLETED)
            case KeyPressed(key) if self.winner is not None:
                return (RelayKey(self.winner, key),)
            case LimitReached():
                return self._finish(DialEnd.LIMIT, CallStatus.COMPLETED)
        return ()

    # ------------------------------------------------------------ steps

    def _won(self, branch: BranchId) -> Effects:
        losers = [other for other in self._live if other != branch]
        self._cancelled.update(losers)
        self._live = [branch]
        self.winner = self._last = branch
        self.state = DialState.PREPARING
        cancels = (CancelBranch(loser, CallStatus.CANCELED) for loser in losers)
        return (StopDialTimer(), *cancels, Prepare(branch))

    def _lost(self, branch: BranchId, status: CallStatus) -> Effects:
        self._live.remove(branch)
        self._last = branch
        if not self._live:
            return self._finish(DialEnd.NO_ANSWER, status)
        return self._hear_early()

    def _hear_early(self) -> Effects:
        """Early audio is heard when it is clear whose."""
        if len(self._live) != 1 or self._heard is not None:
            return ()
        branch = self._live[0]
        if branch not in self._early or branch in self._screened:
            return ()
        self._heard = branch
        return (*self._quiet(), BridgeEarly(branch))

    def _left(self) -> Effects:
        bridged = self.state is DialState.BRIDGED
        return self._finish(DialEnd.CALLER_LEFT, CallStatus.COMPLETED if bridged else CallStatus.CANCELED)

    def _finish(
        self, end: DialEnd, status: CallStatus, *, losers: CallStatus = CallStatus.CANCELED
    ) -> Effects:
        timer: Effects = ()
        if self.state is DialState.RINGING and end is not DialEnd.TIMEOUT:
            timer = (StopDialTimer(),)
        elif self.state is DialState.BRIDGED and end is not DialEnd.LIMIT:
            timer = (StopLimitTimer(),)
        answered = self.state in (DialState.PREPARING, DialState.BRIDGED)
        ends = tuple(EndBranch(b) if answered else CancelBranch(b, losers) for b in self._live)
        if not answered:
            self._cancelled.update(self._live)
        self._live = []
        self.state = DialState.DONE
        stop = (StopRecording(),) if self._recording else ()
        finish = DialFinished(end=end, status=status, branch=self._last)
        return (*self._quiet(), *timer, *ends, *stop, finish)

    def _quiet(self) -> Effects:
        ringing, self._ringing = self._ringing, False
        return (StopRinging(),) if ringing else ()

    def _record(self) -> Effects:
        self._recording = self._spec.record
        return (StartRecording(),) if self._recording else ()


def dial_status(status: CallStatus) -> CallStatus:
    """Give the DialCallStatus of a leg that ended before the bridge."""
    if status is CallStatus.COMPLETED:
        return CallStatus.NO_ANSWER  # it answered and left again before it could be joined
    return status if status in _UNANSWERED else CallStatus.FAILED
