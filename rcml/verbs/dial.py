"""Dial: call others and join them with the caller, or enter a conference.

The races and timers are in `rcml.dial`, the nouns in `rcml.nouns`.
"""

from __future__ import annotations

import re
from contextlib import suppress

from rcml.attributes import Attribute, boolean, choice, http_method, integer, text, url
from rcml.dial import DialSpec
from rcml.dial_steps import DialEnd
from rcml.document import Element
from rcml.flow import Flow, Refusal
from rcml.nouns import CLIENT_PREFIX, MAX_NOUNS, Called, Conference, noun_of
from rcml.parameters import Parameters, conference_parameters, dial_parameters
from rcml.ports import BranchInfo, CallStatus, DialError, LegEnded, Level, Prompt
from rcml.verb import NOUNS, End, Noun, Step, Text, Verb, verb
from rcml.verbs.conference import attend
from rcml.verbs.dialing import Dialing, DialResult, Wanted, not_called
from rcml.verbs.music import music

REASON_LIMIT = "Dial_time_limit_reached"
SILENCE = "disabled"

RECORD = (
    "false",
    "true",
    "do-not-record",
    "record-from-answer",
    "record-from-ringing",
    "record-from-answer-dual",
    "record-from-ringing-dual",
)
"""Values of `record`; `true` begins at the bridge."""

_NOT_FOR_CALLERS = frozenset({401, 407, 408, 487, 488, 491, 494})
"""Final codes that are about the leg to the called side alone."""

_TONES = re.compile(r"automatic|[A-Za-z]{2}(-old)?")
"""Values of `ringTone` that name a country's tone (TwiML); all of them are the built-in tone."""
_NUMBER = re.compile(r"[+0-9().\-/\s]*[0-9][0-9().\-/\s]*", re.ASCII)
_USER = re.compile(r"[^\s<>\"@;:,?/\\\x00-\x1f\x7f]{1,64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PUNCTUATION = re.compile(r"[\s().\-/]+")


def _caller_id(value: str) -> str:
    user = value.removeprefix(CLIENT_PREFIX).strip()
    if _NUMBER.fullmatch(user):
        return _PUNCTUATION.sub("", user)
    if user and not _USER.fullmatch(user):
        raise ValueError(value)
    return user


def _display_name(value: str) -> str:
    if _CONTROL.search(value) or len(value) > 100:
        raise ValueError(value)
    return value


@verb(
    "Dial",
    children=("Number", "Client", "Sip", "Uri", "Conference", "Queue"),
    text=Text.TARGET,
    source="Dial",
)
class Dial(Verb):
    """Calls somebody and joins both calls, or enters a conference.

    Whom it calls stands in its nouns, or in its text: with `@` a SIP URI, beginning with `client` a client,
    else a number. All nouns (at most 10) ring together; the first answer wins and the others are
    cancelled. The caller hears ringing until then. When the callee hangs up, nobody answers, or nobody can
    be called, the action is requested and its reply replaces the document; without `action` the next verb
    runs. When `timeLimit` is over both calls end.

    A `Conference` takes the caller into a room; the action or the next verb follows when the room ends, the
    participant is removed, or `timeLimit` is over.
    """

    action = url("action", doc="What is requested after the Dial.", source="Dial, attributes")
    method = http_method(13210, source="Dial, attributes")
    timeout = integer(
        "timeout",
        30,
        minimum=1,
        unit="seconds",
        doc="How long it rings.",
        code=13212,
        source="Dial, attributes",
    )
    time_limit = integer(
        "timeLimit",
        14400,
        minimum=1,
        unit="seconds",
        doc="Longest time the calls are joined, or the caller is in the conference.",
        code=13216,
        source="Dial, attributes",
    )
    caller_id = Attribute(
        "callerId",
        _caller_id,
        "",
        kind="text",
        allowed="a number, or a client with or without `client:`",
        doc="Who calls, as the called side sees it; empty: the caller.",
        code=13214,
        source="Dial, attributes",
    )
    caller_name = Attribute(
        "callerName",
        _display_name,
        "",
        kind="text",
        allowed="up to 100 characters",
        doc="The name that the called side sees; empty: the caller's.",
        source="an addition of this engine",
    )
    record = choice(
        "record",
        "false",
        RECORD,
        doc="Record both sides, from the bridge or from the ringing on; `-dual`: in stereo, the caller on the"
        " left. With a Conference: record the room, if this participant starts it.",
        source="Dial, attributes",
    )
    hangup_on_star = boolean(
        "hangupOnStar",
        False,
        doc="The key * of the caller ends the called side (or leaves the conference).",
        source="Dial, attributes",
    )
    answer_on_bridge = boolean(
        "answerOnBridge",
        False,
        doc="A caller who is not answered yet hears the ringing of the network, and is answered when the"
        " called side answers. When nobody answers and the document ends, the caller gets the final response"
        " of the called side.",
        source="Dial, attributes (TwiML convention)",
    )
    dial_music = text(
        "dialMusic",
        kind="URL",
        allowed=f"a URL as of Play, or `{SILENCE}` for silence",
        shown="ringing tone",
        doc="What the caller hears while it rings; audio that cannot be obtained is warning 13233.",
        source="Dial, attributes",
    )
    ring_tone = text(
        "ringTone",
        kind="URL",
        allowed="as of dialMusic; the name of a country's tone means the built-in one",
        shown="ringing tone",
        doc="Another name of dialMusic.",
        source="Dial, attributes (TwiML convention)",
    )
    sends = (
        ("DialCallStatus", "`completed`, `busy`, `no-answer`, `failed` or `canceled`"),
        ("DialCallSid", "the leg that won or ended last; empty when there was none"),
        ("DialCallDuration", "seconds from its answer to its end; 0 when it never answered"),
        ("DialRingDuration", "seconds from its creation to its answer, or end; missing without a leg"),
        ("RecordingUrl", "URL of the recording; only when there is one"),
        ("PublicRecordingUrl", "the same"),
        ("DialSipCallId", "Call-ID of the leg; this and the next two only for Sip"),
        ("DialSipResponseCode", "final code of its INVITE"),
        ("DialSipHeader_X-...", "`X-` headers of its final response, or of its end"),
    )

    async def run(self, flow: Flow) -> Step:
        """Dial, then the action or the next verb."""
        nouns = self._nouns(flow)
        conference = next((noun for noun in nouns if isinstance(noun, Conference)), None)
        if conference is not None:
            return await self._enter(flow, conference)
        called = [noun for noun in nouns if isinstance(noun, Called)]
        if not called:
            flow.journal("dial_empty", line=self.element.line)
            return None
        if flow.ports.dialer is None:
            self._unavailable(flow, "this call cannot dial")
            return None
        wanted = self._wanted(flow, called)
        try:
            ringing = await self._ringing(flow)
        except LegEnded:
            return self._onward(flow, dial_parameters(None, CallStatus.CANCELED), True)
        dialing = Dialing(flow, flow.ports.dialer, self._spec(), ringing, stereo=self._stereo)
        result = await dialing.run(wanted, self.caller_id or None, self.caller_name or None)
        return await self._after(flow, result)

    def answers_first(self, flow: Flow) -> bool:
        """Not with answerOnBridge, and somebody to call."""
        waits = self.answer_on_bridge or flow.settings.answer_on_bridge
        return not waits or any(target.name == "Conference" for target in self.targets())

    def targets(self) -> list[Element]:
        """Give the nouns that are called or entered; the text stands for one when there is none."""
        found = [
            child for child in self.element.children if child.name in NOUNS and NOUNS[child.name].available
        ]
        if not found and self.text:
            return [noun_of(self.text)]
        return found

    def ends_document(self) -> bool:
        """With an action nothing follows."""
        return bool(self.action) and any(
            target.name != "Conference" or Conference(target).room for target in self.targets()
        )

    # ------------------------------------------------------------ before

    def _nouns(self, flow: Flow) -> list[Noun]:
        targets = self.targets()
        for child in self.element.children:
            if child not in targets:
                flow.journal("noun_ignored", element=child.name, line=child.line)
        if self.text and self.element.children and targets and targets[0] in self.element.children:
            flow.journal("text_ignored", verb="Dial", line=self.element.line)
        if len(targets) > MAX_NOUNS:
            message = (
                f"Dial (line {self.element.line}) has {len(targets)} nouns; only the first {MAX_NOUNS} count."
            )
            flow.notify(12200, Level.WARNING, message)
        return [NOUNS[target.name](target) for target in targets[:MAX_NOUNS]]

    def _wanted(self, flow: Flow, nouns: list[Called]) -> list[Wanted]:
        """Read all nouns before the first of them is called: a bad URL calls nobody."""
        wanted: list[Wanted] = []
        for noun in nouns:
            what = f"Dial, {noun.name} (line {noun.element.line or self.element.line})"
            flow.warn(what, noun.problems)
            try:
                wanted.append(Wanted(noun=what, target=noun.target(flow)))
            except DialError as error:
                not_called(flow, what, error)
        return wanted

    def _spec(self) -> DialSpec:
        return DialSpec(
            timeout=self.timeout,
            time_limit=self.time_limit,
            hangup_on_star=self.hangup_on_star,
            record=self._recorded,
            record_ringing="ringing" in self.record,
        )

    @property
    def _recorded(self) -> bool:
        return self.record not in ("false", "do-not-record")

    @property
    def _stereo(self) -> bool:
        return self.record.endswith("-dual")

    async def _ringing(self, flow: Flow) -> list[Prompt]:
        """What the caller hears, in the order of preference."""
        tone = [flow.settings.ringing] if flow.settings.ringing is not None else []
        for name, value in (("dialMusic", self.dial_music), ("ringTone", self.ring_tone)):
            if not value or (name == "ringTone" and _TONES.fullmatch(value)):
                continue
            if value.lower() == SILENCE:
                return []
            found = await music(flow, f"Dial (line {self.element.line}) {name}", value)
            return tone if found is None else [found, *tone]
        return tone

    def _unavailable(self, flow: Flow, why: str) -> None:
        flow.notify(11001, Level.WARNING, f"Dial (line {self.element.line}): {why}; skipped.")

    # ------------------------------------------------------------ after

    async def _after(self, flow: Flow, result: DialResult) -> Step:
        finish, info, leg = result.finish, result.info, flow.ports.leg
        if info is not None and (info.ring_seconds or info.talk_seconds):
            flow.took_time = True  # a Dial that is over at once must not defeat the guard against loops
        flow.journal(
            "dial_result",
            end=finish.end.value,
            status=finish.status.value,
            branch=finish.branch or "",
            seconds=info.talk_seconds if info else 0,
        )
        if finish.end is DialEnd.LIMIT:
            with suppress(LegEnded):
                await leg.hangup(REASON_LIMIT)
        left = finish.end in (DialEnd.CALLER_LEFT, DialEnd.LIMIT) or leg.ended
        if not left and not leg.answered:
            flow.refusal = refusal_of(finish.status, info)
        parameters = dial_parameters(info, finish.status, result.stored)
        if finish.end is DialEnd.LIMIT and not self.action:
            return End()
        return self._onward(flow, parameters, left)

    def _onward(self, flow: Flow, parameters: Parameters, left: bool) -> Step:
        """Go on: the action, else the next verb for a caller who is still there."""
        if self.action:
            return flow.action("Dial", self.action, self.method, parameters, after_end=left)
        if left:
            raise LegEnded
        return None

    async def _enter(self, flow: Flow, conference: Conference) -> Step:
        line = conference.element.line
        flow.warn(f"Dial, Conference (line {line})", conference.problems)
        if not conference.room:
            flow.journal("dial_empty", line=line)
            return None
        spec = conference.spec(flow, record=self._recorded)
        if flow.ports.conferences is None:
            self._unavailable(flow, "this call cannot enter a conference")
            return None
        attendance = await attend(
            flow,
            flow.ports.conferences,
            spec,
            time_limit=self.time_limit,
            leave_on_star=self.hangup_on_star,
        )
        left = attendance.caller_left or flow.ports.leg.ended
        return self._onward(flow, conference_parameters(attendance.status, attendance.stored), left)


def refusal_of(status: CallStatus, info: BranchInfo | None) -> Refusal:
    """Give the final response that a caller gets who was not answered, for what became of the Dial.

    Args:
        status: the DialCallStatus.
        info: the leg that ended last; None: nobody could be called.
    """
    if status is CallStatus.NO_ANSWER:
        return Refusal(408, "Request Timeout", status)
    code = info.sip_code if info is not None else 404
    if not 300 <= code <= 699 or code in _NOT_FOR_CALLERS:
        code = 480
    phrase = {404: "Not Found", 480: "Temporarily Unavailable", 486: "Busy Here", 603: "Decline"}.get(
        code, ""
    )
    return Refusal(code, phrase, status)
