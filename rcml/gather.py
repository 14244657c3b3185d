"""Collection of keys: a pure machine. Time is an event, starting a timer is an effect.

Reference: Verbs, Gather.
"""

from __future__ import annotations

import enum

import attrs

MAX_DIGITS = 4096
"""Keys one collection takes when the document sets no number; the collection ends there."""

KEYS = frozenset("0123456789*#")


class GatherEnd(enum.Enum):
    """Why a collection ended."""

    FINISH_KEY = "finish-key"
    COMPLETE = "complete"
    """As many keys as asked for."""
    TIMEOUT = "timeout"
    HANGUP = "hangup"


@attrs.frozen(kw_only=True)
class GatherSpec:
    """What is collected, and when that ends."""

    timeout: float = 5
    """Seconds to the first key (from the end of the prompts) and from key to key."""
    finish_keys: frozenset[str] = frozenset("#")
    """Each of these ends the collection and is not part of the result; empty: none does."""
    max_digits: int | None = None
    first_keys: frozenset[str] = frozenset("*0123456789")
    """Only these may come first; others are ignored until one of them is pressed."""


@attrs.frozen
class Digit:
    """A key was pressed."""

    key: str


@attrs.frozen
class PromptsFinished:
    """The last prompt was heard to its end (or there is none)."""


@attrs.frozen
class TimerExpired:
    """The timer that was started last ran out."""


@attrs.frozen
class HungUp:
    """The caller left."""


GatherEvent = Digit | PromptsFinished | TimerExpired | HungUp


@attrs.frozen
class StopPrompts:
    """Fall silent at once."""


@attrs.frozen
class StartTimer:
    """Start the timer, or start it over."""

    seconds: float


@attrs.frozen
class StopTimer:
    """Cancel the timer."""


@attrs.frozen
class Finish:
    """The collection is over; nothing follows."""

    digits: str
    end: GatherEnd


GatherEffect = StopPrompts | StartTimer | StopTimer | Finish


class GatherState(enum.Enum):
    """What the machine waits for."""

    PROMPTING = "prompting"
    WAITING = "waiting"
    COLLECTING = "collecting"
    DONE = "done"


class GatherMachine:
    """Collects keys.

    ============  ==========================  ====================================  ==========
    State         Event                       Effects                               Next
    ============  ==========================  ====================================  ==========
    PROMPTING     key that may come first     StopPrompts, StartTimer               COLLECTING
    PROMPTING     finish key                  StopPrompts, Finish(FINISH_KEY)       DONE
    PROMPTING     PromptsFinished             StartTimer                            WAITING
    PROMPTING     HungUp                      StopPrompts, Finish(HANGUP)           DONE
    WAITING       key that may come first     StartTimer                            COLLECTING
    WAITING       finish key                  StopTimer, Finish(FINISH_KEY)         DONE
    WAITING       TimerExpired                Finish(TIMEOUT)                       DONE
    COLLECTING    any key                     StartTimer                            COLLECTING
    COLLECTING    finish key                  StopTimer, Finish(FINISH_KEY)         DONE
    COLLECTING    TimerExpired                Finish(TIMEOUT)                       DONE
    WAITING and   key that makes it complete  StopTimer, Finish(COMPLETE)           DONE
    COLLECTING
    PROMPTING     key that makes it complete  StopPrompts, Finish(COMPLETE)         DONE
    WAITING and   HungUp                      StopTimer, Finish(HANGUP)             DONE
    COLLECTING
    ============  ==========================  ====================================  ==========

    Everything else has no effect: a key that may not come first, `A`-`D`, a timer while prompts play, any
    event in DONE. A finish key wins over the set of first keys.
    """

    def __init__(self, spec: GatherSpec) -> None:
        self._spec = spec
        self._limit = spec.max_digits or MAX_DIGITS
        self._digits: list[str] = []
        self.state = GatherState.PROMPTING

    @property
    def digits(self) -> str:
        """Keys collected so far."""
        return "".join(self._digits)

    def step(self, event: GatherEvent) -> tuple[GatherEffect, ...]:
        """Take an event; never raises."""
        if self.state is GatherState.DONE:
            return ()
        match event:
            case Digit(key):
                return self._key(key)
            case PromptsFinished() if self.state is GatherState.PROMPTING:
                self.state = GatherState.WAITING
                return (StartTimer(self._spec.timeout),)
            case TimerExpired() if self.state is not GatherState.PROMPTING:
                return self._finish(GatherEnd.TIMEOUT, quiet=True)
            case HungUp():
                return self._finish(GatherEnd.HANGUP)
        return ()

    def _key(self, key: str) -> tuple[GatherEffect, ...]:
        if key not in KEYS:
            return ()
        if key in self._spec.finish_keys:
            return self._finish(GatherEnd.FINISH_KEY)
        if not self._digits and key not in self._spec.first_keys:
            return ()
        self._digits.append(key)
        if len(self._digits) >= self._limit:
            return self._finish(GatherEnd.COMPLETE)
        prompting = self.state is GatherState.PROMPTING
        self.state = GatherState.COLLECTING
        timer = StartTimer(self._spec.timeout)
        return (StopPrompts(), timer) if prompting else (timer,)

    def _finish(self, end: GatherEnd, *, quiet: bool = False) -> tuple[GatherEffect, ...]:
        """End; `quiet`: neither prompts nor timer are running."""
        finish = Finish(self.digits, end)
        prompting = self.state is GatherState.PROMPTING
        self.state = GatherState.DONE
        if quiet:
            return (finish,)
        return (StopPrompts() if prompting else StopTimer(), finish)
