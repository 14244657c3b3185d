"""Gather: collect keys while prompts are heard. The rules of collecting are in `rcml.gather`."""

from __future__ import annotations

import re
from collections.abc import Sequence

import attrs

from rcml.attributes import (
    Attribute,
    boolean,
    http_method,
    integer,
    keys,
    optional_integer,
    recognised_language,
    url,
)
from rcml.flow import REASON_MEDIA, Flow, HangUpError
from rcml.gather import (
    Digit,
    Finish,
    GatherEffect,
    GatherEnd,
    GatherEvent,
    GatherMachine,
    GatherSpec,
    HungUp,
    PromptsFinished,
    StartTimer,
    StopPrompts,
    StopTimer,
    TimerExpired,
)
from rcml.parameters import gather_parameters
from rcml.ports import (
    DigitPressed,
    Ended,
    Leg,
    LegEnded,
    Level,
    PlaybackFailed,
    PlaybackFinished,
    PlaybackId,
    Prompt,
    TimerFired,
)
from rcml.verb import Step, Verb, verb
from rcml.verbs.pause import Pause
from rcml.verbs.play import Play
from rcml.verbs.say import Say

MAX_HINTS = 50
MAX_HINT_LENGTH = 100
MAX_UNROLLED = 10
"""Repetitions of a nested prompt that are joined with its neighbours into one playback."""

_NESTED: dict[str, type[Say] | type[Play] | type[Pause]] = {"Say": Say, "Play": Play, "Pause": Pause}
_KEY_TIMER = "gather"
_PAUSE_TIMER = "gather-pause"
_SEPARATORS = re.compile(r"[\s,]+")


def _inputs(text: str) -> frozenset[str]:
    words = frozenset(_SEPARATORS.split(text.lower().strip(" ,")))
    if not words or not words <= {"dtmf", "speech"}:
        raise ValueError(text)
    return words


def _hints(text: str) -> tuple[str, ...]:
    phrases = tuple(phrase for part in text.split(",") if (phrase := part.strip()))
    if len(phrases) > MAX_HINTS or any(len(phrase) > MAX_HINT_LENGTH for phrase in phrases):
        raise ValueError(text)
    return phrases


@attrs.frozen
class _Clip:
    """Prompts heard one after the other, `loop` times (0: endlessly)."""

    prompts: tuple[Prompt, ...]
    loop: int = 1


MAX_JOINED = 100
"""Prompts that are handed to the leg as one playback."""


@attrs.frozen
class _Silence:
    """A nested Pause."""

    seconds: float


@verb("Gather", children=("Say", "Play", "Pause"), source="Verbs, Gather")
class Gather(Verb):
    """Collects keys; nested Say, Play and Pause are heard meanwhile and stop at the first accepted key.

    With at least one key the action is requested and its reply replaces the document; without any the next
    verb runs. Keys pressed before the Gather are dropped. Speech is not recognised by this build: `speech`
    alone counts as no input, `dtmf speech` collects keys.
    """

    input = Attribute(
        "input",
        _inputs,
        frozenset({"dtmf"}),
        kind="words",
        allowed="dtmf, speech, or both",
        doc="What is collected.",
        shown="dtmf",
        source="Verbs, Gather",
    )
    action = url(
        "action", doc="Where the keys are sent.", shown="URL of the document", source="Verbs, Gather"
    )
    method = http_method(14104, source="Verbs, Gather")
    timeout = integer(
        "timeout",
        5,
        minimum=1,
        unit="seconds",
        doc="Wait for the first key, counted from the end of the prompts, and between keys.",
        code=13313,
        source="Verbs, Gather",
    )
    finish_on_key = keys(
        "finishOnKey",
        "#",
        r"[0-9*#]{0,12}",
        allowed="up to 12 characters of 0-9 * #, or empty for none",
        doc="Each of these keys ends the collection and is not reported.",
        code=13310,
    )
    num_digits = optional_integer(
        "numDigits",
        minimum=1,
        doc="The collection ends as soon as so many keys were pressed; absent: no limit.",
        code=13314,
        source="Verbs, Gather",
    )
    start_input_key = keys(
        "startInputKey",
        "*0123456789",
        r"[0-9*#]{1,12}",
        allowed="1 to 12 characters of 0-9 * #",
        doc="Only these keys may come first.",
        code=13315,
    )
    language = recognised_language(
        "language", doc="Language of the speech.", source="Gather speech languages"
    )
    hints = Attribute[tuple[str, ...]](
        "hints",
        _hints,
        (),
        kind="list",
        allowed=f"at most {MAX_HINTS} phrases of at most {MAX_HINT_LENGTH} characters, separated by commas",
        doc="Phrases the recogniser should expect; dropped when there are too many.",
        code=12200,
        source="Documents, parsing",
    )
    partial_result_callback = url(
        "partialResultCallback", doc="Where interim results of speech are sent.", source="Verbs, Gather"
    )
    partial_result_callback_method = http_method(
        14104, "partialResultCallbackMethod", of="the partial result callback", source="Verbs, Gather"
    )
    action_on_empty_result = boolean(
        "actionOnEmptyResult",
        False,
        doc="Request the action with empty Digits when there was no input.",
        source="Verbs, Gather (TwiML convention)",
    )
    sends = (
        ("Digits", "the keys, without the one that ended the collection"),
        ("SpeechResult", "recognised speech; always empty in this build"),
    )

    async def run(self, flow: Flow) -> Step:
        """Collect, then the action or the next verb."""
        flow.took_time = True
        leg = flow.ports.leg
        leg.clear_digits()
        by_keys = "dtmf" in self.input
        if "speech" in self.input:
            self._no_speech(flow, by_keys)
        segments = await self._prepare(flow)
        spec = GatherSpec(
            timeout=self.timeout,
            finish_keys=frozenset(self.finish_on_key),
            max_digits=self.num_digits,
            first_keys=frozenset(self.start_input_key),
        )
        finish = await _Collection(leg, flow, segments, GatherMachine(spec), by_keys).run()
        digits = finish.digits if by_keys else ""
        flow.journal("gather_result", end=finish.end.value, digits=len(digits))
        if not digits and not self.action_on_empty_result:
            return None
        return flow.action("Gather", self.action, self.method, gather_parameters(digits))

    def _no_speech(self, flow: Flow, by_keys: bool) -> None:
        if by_keys:
            flow.journal("speech_unavailable", used="dtmf")
            return
        line = self.element.line
        flow.notify(
            11001,
            Level.WARNING,
            f"Gather (line {line}): speech recognition is not available; treated as no input.",
        )

    async def _prepare(self, flow: Flow) -> list[_Clip | _Silence]:
        """Make all nested prompts ready before the first is heard."""
        segments: list[_Clip | _Silence] = []
        for element in self.element.children:
            cls = _NESTED.get(element.name)
            if cls is None:
                flow.journal("element_unknown", element=element.name, line=element.line)
                continue
            nested = cls(element)
            flow.warn(f"Gather, {nested.name} (line {element.line})", nested.problems, nested=True)
            if isinstance(nested, Pause):
                segments.append(_Silence(nested.length))
            elif (prompt := await nested.prepare(flow, nested=True)) is not None:
                flow.journal("prompt", label=prompt.label, seconds=prompt.seconds, loop=nested.loop)
                _append(segments, prompt, nested.loop)
        return segments


def _append(segments: list[_Clip | _Silence], prompt: Prompt, loop: int) -> None:
    if not 1 <= loop <= MAX_UNROLLED:
        segments.append(_Clip((prompt,), loop))
        return
    last = segments[-1] if segments else None
    if isinstance(last, _Clip) and last.loop == 1 and len(last.prompts) + loop <= MAX_JOINED:
        segments[-1] = _Clip(last.prompts + (prompt,) * loop)
    else:
        segments.append(_Clip((prompt,) * loop))


class _Collection:
    """Drives the machine on a leg, and plays the prompts beside it."""

    def __init__(
        self,
        leg: Leg,
        flow: Flow,
        segments: Sequence[_Clip | _Silence],
        machine: GatherMachine,
        by_keys: bool,
    ) -> None:
        self._leg = leg
        self._flow = flow
        self._segments = list(segments)
        self._machine = machine
        self._by_keys = by_keys
        self._playback: PlaybackId | None = None
        self._pausing = False
        self._timing = False

    async def run(self) -> Finish:
        """Collect to the end.

        Raises:
            HangUpError: a prompt could not be played.
            LegEnded: the caller left.
        """
        try:
            finish = self._next_segment()
            while finish is None:
                finish = self._react(await self._leg.next_event())
        finally:
            self._stop_prompts()
            self._stop_timer()
        if finish.end is GatherEnd.HANGUP:
            raise LegEnded
        return finish

    def _react(self, event: object) -> Finish | None:
        match event:
            case DigitPressed(key) if self._by_keys:
                self._flow.journal("digit", count=len(self._machine.digits) + 1)
                return self._step(Digit(key))
            case PlaybackFinished(playback) if playback == self._playback:
                self._playback = None
                return self._next_segment()
            case PlaybackFailed(playback, reason) if playback == self._playback:
                self._playback = None
                self._flow.notify(
                    13233,
                    Level.WARNING,
                    f"Gather: a prompt could not be played: {reason}. The call is ended.",
                )
                raise HangUpError(REASON_MEDIA)
            case TimerFired(name) if name == _PAUSE_TIMER and self._pausing:
                self._pausing = False
                return self._next_segment()
            case TimerFired(name) if name == _KEY_TIMER and self._timing:
                self._timing = False
                return self._step(TimerExpired())
            case Ended():
                return self._step(HungUp())
        return None

    def _next_segment(self) -> Finish | None:
        """Begin the next prompt or pause; behind the last one the wait for keys begins."""
        if not self._segments:
            if not self._by_keys:
                return Finish("", GatherEnd.TIMEOUT)
            return self._step(PromptsFinished())
        match self._segments.pop(0):
            case _Clip(prompts, loop):
                self._playback = self._leg.play(prompts, loop)
            case _Silence(seconds):
                self._leg.start_timer(_PAUSE_TIMER, seconds)
                self._pausing = True
        return None

    def _step(self, event: GatherEvent) -> Finish | None:
        result: Finish | None = None
        for effect in self._machine.step(event):
            result = self._apply(effect) or result
        return result

    def _apply(self, effect: GatherEffect) -> Finish | None:
        match effect:
            case Finish():
                return effect
            case StopPrompts():
                self._stop_prompts()
            case StopTimer():
                self._stop_timer()
            case StartTimer(seconds):
                self._leg.start_timer(_KEY_TIMER, seconds)
                self._timing = True
        return None

    def _stop_prompts(self) -> None:
        self._segments.clear()
        if self._playback is not None:
            self._leg.stop(self._playback)
            self._playback = None
        if self._pausing:
            self._leg.cancel_timer(_PAUSE_TIMER)
            self._pausing = False

    def _stop_timer(self) -> None:
        if self._timing:
            self._leg.cancel_timer(_KEY_TIMER)
            self._timing = False
