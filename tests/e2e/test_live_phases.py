"""The table of the reference (Live calls, Phases): what each operation does in each phase of a call.

Every cell is a test, `test_<operation>_<phase>`, with a scenario of its own; they run beside each other.
A phase brings a call into a state and knows who hears what in it. An operation asks for something over REST
and looks at the phones, the application and the records for what the table promises.

The party of the call that is operated on always hums `VOICE`, the one it is joined with hums `PEER`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import numpy as np
import pytest
from harness import EngineProcess, RestReply
from rooms import latest, settles, strengths
from sipcall import Call
from siptext import Message, uri_of
from sound import RATE, Samples, read_wav, sounding, tone
from waiting import eventually, pause, stays, together
from webapp import document, prompt
from world import World, case, dial, element

pytestmark = pytest.mark.loopback

PATIENT = 15.0
"""Seconds that the engine gets; its speed is not what is tested here."""
DOCUMENT, RINGING, MUSIC, OTHER_MUSIC = 440.0, 530.0, 1990.0, 2390.0
NEW, ON_TOP, AFTER = 1270.0, 1610.0, 2790.0
VOICE, PEER, SECRET = 710.0, 930.0, 1110.0
AUDIBLE, FAINT = 1300.0, 250.0
"""Amplitude from which a tone is heard, and below which it is not."""
VOICE_AMPLITUDE = 4000
NOWHERE = "sip:somebody@127.0.0.1:9"


@pytest.fixture(scope="module")
def engine(engines: Callable[..., EngineProcess]) -> EngineProcess:
    """An engine that waits longer for applications than these tests take."""
    return engines("web.timeout=40", "media.spare_workers=4")


# ---------------------------------------------------------------- who hears what


def sound_url(world: World, frequency: float) -> str:
    """A prompt that all scenarios share; documents repeat it."""
    return world.app.script(f"/live/{frequency:g}.wav", prompt(frequency, 8.0))


def play(world: World, frequency: float, more: str = ' loop="0"') -> str:
    """A Play that does not end."""
    return f"<Play{more}>{sound_url(world, frequency)}</Play>"


def speak(call: Call, frequency: float = VOICE) -> None:
    """Hum without end, instead of what was hummed."""
    call.hush()
    call.rtp.say(tone(frequency, 40, amplitude=VOICE_AMPLITUDE))


async def hears(call: Call, *frequencies: float, without: tuple[float, ...] = ()) -> None:
    """Wait until all of these tones are heard at once, and none of the others."""
    listed = [*frequencies, *without]

    def right() -> bool:
        found = strengths(latest(call), listed)
        there, absent = found[: len(frequencies)], found[len(frequencies) :]
        return all(one >= AUDIBLE for one in there) and all(one < FAINT for one in absent)

    def missing() -> str:
        found = dict(zip(listed, map(round, strengths(latest(call), listed)), strict=True))
        requests = [request.method for _, request in call.requests]
        return f"{call.phone.user} hears {frequencies} without {without}; {found}, {requests}"

    await settles(right, 0.15, PATIENT, missing)


async def silent(call: Call, frequency: float) -> None:
    """Listen for a while; a tone may not be heard."""
    await stays(
        lambda: strengths(latest(call), [frequency])[0] < FAINT, 0.6, f"{frequency:g} Hz is not heard"
    )


async def hears_music(call: Call, *without: float) -> None:
    """Wait until the built-in music is heard, and none of these tones."""

    def right() -> bool:
        samples = latest(call, 1.0)
        return sounding(samples) > 0.6 and max(strengths(samples[-3200:], without)) < AUDIBLE / 2

    await settles(right, 0.0, PATIENT, f"{call.phone.user} hears music without {without}")


def presence(samples: Samples, frequency: float, seconds: float = 0.1) -> list[bool]:
    """Whether a tone is there, of each tenth of a second of a recording."""
    size = round(seconds * RATE)
    windows = [samples[start : start + size] for start in range(0, len(samples) - size + 1, size)]
    return [strengths(window, [frequency])[0] >= AUDIBLE / 2 for window in windows]


def holds_tone(samples: Samples, frequency: float) -> bool:
    """Whether a recording holds at least 0.3 s of a tone."""
    return sum(presence(samples, frequency)) >= 3


def holds_no_tone(samples: Samples, frequency: float) -> bool:
    """Whether a recording holds nothing of a tone."""
    found = [
        strengths(part, [frequency])[0] for part in np.array_split(samples, max(1, len(samples) // 1600))
    ]
    return max(found) < FAINT


def has_gap(samples: Samples, frequency: float) -> bool:
    """Whether a tone is there, then pauses for half a second, then is there again."""
    text = "".join("x" if there else "." for there in presence(samples, frequency))
    return "....." in text.strip(".")


# ---------------------------------------------------------------- phases


@attrs.define(eq=False)
class Scene:
    """A call in a phase."""

    world: World
    phase: str
    call: Call
    """The side of the phone of the call that is operated on."""
    sid: str
    peer: Call | None = None
    """The other phone."""
    peer_sid: str = ""
    sounds: tuple[float, ...] = ()
    """What the party hears."""
    room: str = ""
    began: int = 0
    """re-INVITEs before the operation."""
    state: str = "ringing"
    """Status before the answer."""

    @property
    def other(self) -> Call:
        """The other phone, which must be there."""
        assert self.peer is not None
        return self.peer

    async def post(self, path: str = "", **form: str) -> RestReply:
        """POST below the call."""
        return await self.world.rest.post(f"Calls/{self.sid}{path}.json", **form)

    async def modify(self, **form: str) -> dict[str, Any]:
        """Modify the call."""
        reply = await self.post(**form)
        assert reply.status == 200, reply
        assert reply.json["sid"] == self.sid
        found: dict[str, Any] = reply.json
        return found

    async def operate(self, operation: str, **form: str) -> None:
        """An operation that succeeds."""
        reply = await self.post(f"/{operation}", **form)
        assert reply.status == 200, reply
        assert (reply.json["sid"], reply.json["status"]) == (self.sid, "in-progress")

    async def too_early(self, path: str = "", **form: str) -> None:
        """Something is refused, and changes nothing: the call goes the way it would have gone."""
        reply = await self.post(path, **form)
        assert (reply.status, reply.json["code"]) == (409, 1103), reply
        await self.nothing_happened()
        await self.comes_about()

    async def too_late(self, path: str = "", **form: str) -> None:
        """Something is refused because the call is over."""
        reply = await self.post(path, **form)
        assert (reply.status, reply.json["code"]) == (410, 1100), reply
        assert "Call is already completed." in reply.json["message"]

    async def status(self) -> str:
        """Status of the call."""
        return str((await self.world.rest.call(self.sid))["status"])

    async def ends(self, status: str = "completed") -> None:
        """Wait for the end of the call."""
        assert (await self.world.rest.ended(self.sid, PATIENT))["status"] == status

    async def goes_on(self) -> None:
        """Everything is as it was before: who hears what, and the status."""
        if self.phase in JOINED:
            await together([hears(self.call, *self.sounds), hears(self.other, VOICE)])
        else:
            await hears(self.call, *self.sounds)
        assert await self.status() == "in-progress"
        assert self.call.live

    async def nothing_happened(self) -> None:
        """A ringing call rings on."""
        assert await self.status() == self.state
        if self.call.outgoing:
            await stays(lambda: max(self.call.codes) < 200, 0.3, "the phone gets no final response")
        else:
            await stays(lambda: not self.call.requests, 0.3, "the phone gets no request")

    async def comes_about(self) -> None:
        """A ringing call becomes what it would have become."""
        match self.phase:
            case "called":
                self.call.answer()
                await hears(self.call, DOCUMENT)
            case "dialed":
                self.call.answer()
                speak(self.call)
                await together([hears(self.call, PEER), hears(self.other, VOICE)])
            case _:
                assert (await self.call.cancel()).code == 200
                assert (await self.call.final(PATIENT)).code == 487
                await self.ends("canceled")

    def reinvites(self) -> list[Message]:
        """re-INVITEs since the operation."""
        return [request for _, request in self.call.requests if request.method == "INVITE"][self.began :]

    async def reinvited(self, direction: str) -> None:
        """Wait for a re-INVITE."""
        await self.call.changes.until(self.reinvites, PATIENT, f"re-INVITE {direction}")
        assert f"a={direction}".encode() in self.reinvites()[-1].body

    async def record(self) -> str:
        """Start a recording over REST; returns its sid."""
        reply = await self.post("/Recordings")
        assert reply.status == 200, reply
        assert (reply.json["call_sid"], reply.json["status"]) == (self.sid, "in-progress")
        return str(reply.json["sid"])

    async def change(self, recording: str, status: str) -> dict[str, Any]:
        """Stop, pause or resume a recording."""
        reply = await self.post(f"/Recordings/{recording}", Status=status)
        assert reply.status == 200, reply
        found: dict[str, Any] = reply.json
        return found

    async def stop(self, recording: str) -> Samples:
        """Stop a recording and fetch it."""
        await self.change(recording, "stopped")
        await eventually(
            lambda: self.world.rest.recordings(CallSid=self.sid),
            lambda rows: any(x["sid"] == recording and x["status"] == "completed" for x in rows),
            PATIENT,
            f"recording {recording} is completed",
        )
        again = await self.post(f"/Recordings/{recording}", Status="paused")
        assert again.status == 404, again
        return await fetched(self.world, f"{self.world.rest.base}/Recordings/{recording}.wav")

    async def action(self, number: int = 1) -> dict[str, str]:
        """What the action of the verb was told."""
        return (await self.world.asked("action", number, PATIENT)).parameters

    async def no_action(self) -> None:
        """The action of the verb is not requested."""
        await stays(lambda: self.world.count("action") == 0, 0.3, "no action is requested")

    async def finish_record(self) -> Samples:
        """End the Record of the document by a key; what it recorded."""
        self.call.rtp.press("#")
        form = await self.action()
        assert form["Digits"] == "#"
        return await fetched(self.world, form["RecordingUrl"])

    async def is_alone(self) -> None:
        """The other participant is alone in the room."""
        await only_in(self.world, self.room, self.peer_sid)


async def fetched(world: World, url: str) -> Samples:
    """Samples of a recording."""
    reply = await world.rest.fetch(url)
    assert reply.status == 200, reply
    return read_wav(reply.body)


async def only_in(world: World, room: str, *sids: str) -> None:
    """Wait until just these calls are in a room."""

    async def inside() -> set[str]:
        rows = (await world.rest.get("Conferences.json", FriendlyName=room)).json["conferences"]
        live = [row["sid"] for row in rows if row["status"] != "COMPLETED"]
        found: set[str] = set()
        for sid in live:
            reply = await world.rest.get(f"Conferences/{sid}/Participants.json")
            found |= {row["sid"] for row in reply.json["calls"]}
        return found

    await eventually(inside, lambda found: found == set(sids), PATIENT, f"in {room} are {sids}")


async def answered(world: World, verbs: str) -> tuple[Call, str]:
    """An inbound call that runs these verbs; its party hums."""
    call = await world.call(await world.number(verbs))
    sid = (await call.answered(PATIENT)).get("X-RestComm-CallSid")
    return call, sid


def action(world: World) -> str:
    """The action of the verb; its document can be heard."""
    return world.script("action", play(world, AFTER))


def dials(world: World, phone: Any, noun: dict[str, str] | None = None, **attributes: object) -> str:
    """A Dial to a phone; while it rings a tone is heard."""
    sip = element("Sip", phone.uri, **(noun or {}))
    music = sound_url(world, RINGING)
    return dial(sip, timeout=60, dialMusic=music, action=action(world), **attributes)


async def rung(world: World, verbs: Callable[[Any], str]) -> tuple[Call, Call, str, str]:
    """A caller whose Dial lets a phone ring: the call, that of the phone, and their sids."""
    phone = await world.phone("callee")
    number = await world.number(verbs(phone))
    call = await world.call(number)
    callee = await phone.offered(within=PATIENT)
    callee.ring()
    child = callee.invite.get("X-RestComm-CallSid")
    await eventually(
        lambda: world.rest.call(child), lambda row: row["status"] == "ringing", PATIENT, "the callee rings"
    )
    return call, callee, await world.sid(number, PATIENT), child


async def fetching(world: World) -> Scene:
    """Ringing inbound: the application hangs."""
    number = await world.number(document("<Reject/>", delay=35))
    call = await world.call(number)
    await world.asked("voice", within=PATIENT)
    return Scene(world, "fetching", call, await world.sid(number, PATIENT))


async def pausing(world: World) -> Scene:
    """Ringing inbound: the document pauses before the answer."""
    number = await world.number(f'<Pause length="60"/>{play(world, DOCUMENT)}')
    call = await world.call(number)
    await world.asked("voice", within=PATIENT)
    await call.response(180, PATIENT)
    return Scene(world, "pausing", call, await world.sid(number, PATIENT))


async def bridging(world: World) -> Scene:
    """Ringing inbound: the caller is answered when the callee answers, who rings."""
    call, callee, sid, child = await rung(world, lambda p: dials(world, p, answerOnBridge="true"))
    return Scene(world, "bridging", call, sid, callee, child)


async def called(world: World) -> Scene:
    """Ringing outbound, created over REST."""
    return await made_over_rest(world, 180, "ringing")


async def queued(world: World) -> Scene:
    """Created over REST, and the phone does not ring yet."""
    return await made_over_rest(world, 100, "queued")


async def made_over_rest(world: World, code: int, state: str) -> Scene:
    """A call that a program made, to which the phone says so much."""
    phone = await world.phone("called")
    url = world.script("voice", play(world, DOCUMENT))
    row = await world.rest.start_call(From="+1", To=phone.uri, Url=url, Timeout="60")
    call = await phone.offered(within=PATIENT)
    call.ring(code)
    await eventually(
        lambda: world.rest.call(row["sid"]), lambda r: r["status"] == state, PATIENT, f"the call is {state}"
    )
    return Scene(world, "called", call, row["sid"], state=state)


async def dialed(world: World) -> Scene:
    """Ringing outbound, dialed by a Dial."""
    caller, callee, sid, child = await rung(world, lambda p: dials(world, p))
    await caller.answered(PATIENT)
    speak(caller, PEER)
    return Scene(world, "dialed", callee, child, caller, sid)


async def playing(world: World) -> Scene:
    """A Play that does not end."""
    call, sid = await answered(world, play(world, DOCUMENT))
    return Scene(world, "playing", call, sid, sounds=(DOCUMENT,))


async def gathering(world: World) -> Scene:
    """A Gather with a prompt that does not end."""
    prompt_ = play(world, DOCUMENT)
    call, sid = await answered(world, element("Gather", prompt_, timeout=60, action=action(world)))
    return Scene(world, "gathering", call, sid, sounds=(DOCUMENT,))


async def recording(world: World) -> Scene:
    """A Record; the party is heard."""
    verb = element(
        "Record", playBeep="false", timeout=60, maxLength=90, finishOnKey="#", action=action(world)
    )
    call, sid = await answered(world, verb)
    speak(call)
    await pause(0.8)
    return Scene(world, "recording", call, sid)


async def dialing(world: World) -> Scene:
    """A caller who was answered, while the callee rings."""
    call, callee, sid, child = await rung(world, lambda p: dials(world, p))
    await call.answered(PATIENT)
    return Scene(world, "dialing", call, sid, callee, child, sounds=(RINGING,))


async def screened(world: World) -> Scene:
    """A callee who hears the screening document."""
    screen = world.script("screen", play(world, DOCUMENT))
    caller, callee, sid, child = await rung(world, lambda p: dials(world, p, {"url": screen}))
    await caller.answered(PATIENT)
    speak(caller, PEER)
    callee.answer()
    return Scene(world, "screened", callee, child, caller, sid, sounds=(DOCUMENT,))


async def joined(world: World) -> tuple[Call, Call, str, str]:
    """Two who are joined by a Dial; the key * of the caller ends the callee."""
    caller, callee, sid, child = await rung(world, lambda p: dials(world, p, hangupOnStar="true"))
    await caller.answered(PATIENT)
    callee.answer()
    await callee.answered(PATIENT)
    return caller, callee, sid, child


async def as_caller(world: World) -> Scene:
    """The one who dialed, joined with the callee."""
    call, callee, sid, child = await joined(world)
    speak(callee, PEER)
    return Scene(world, "caller", call, sid, callee, child, sounds=(PEER,))


async def as_callee(world: World) -> Scene:
    """The one who was dialed, joined with the caller."""
    caller, callee, sid, child = await joined(world)
    speak(caller, PEER)
    return Scene(world, "callee", callee, child, caller, sid, sounds=(PEER,))


async def conference(world: World) -> Scene:
    """A participant of a conference with one other."""
    told = world.script("room", "")
    noun = element("Conference", world.name, beep="false", statusCallback=told)
    verb = dial(noun, hangupOnStar="true", action=action(world))
    other = await world.call(await world.number(verb, name="other"))
    other_sid = (await other.answered(PATIENT)).get("X-RestComm-CallSid")
    speak(other, PEER)
    call, sid = await answered(world, verb)
    await only_in(world, world.name, sid, other_sid)
    return Scene(world, "conference", call, sid, other, other_sid, sounds=(PEER,), room=world.name)


async def held(world: World) -> Scene:
    """A caller, joined with the callee, whom a program put on hold with music."""
    scene = await as_caller(world)
    speak(scene.call)
    await together([hears(scene.call, PEER), hears(scene.other, VOICE)])
    await scene.operate("Hold", HoldMusic=sound_url(world, MUSIC), Action=world.script("first", ""))
    await world.asked("first", within=PATIENT)
    scene.phase, scene.sounds, scene.began = "held", (MUSIC,), 1
    await together([hears(scene.call, MUSIC, without=(PEER,)), hears_music(scene.other, VOICE)])
    return scene


async def over(world: World) -> Scene:
    """A call that is over."""
    call, sid = await answered(world, play(world, DOCUMENT))
    await call.bye()
    await world.rest.ended(sid, PATIENT)
    return Scene(world, "over", call, sid)


RINGING_IN = ("fetching", "pausing", "bridging")
UNANSWERED = (*RINGING_IN, "called", "dialed")
JOINED = ("caller", "callee", "conference")
PHASES: dict[str, Callable[[World], Awaitable[Scene]]] = {
    "while_the_application_hangs": fetching,
    "while_it_pauses_before_the_answer": pausing,
    "while_it_waits_for_the_answer_of_the_callee": bridging,
    "while_a_call_made_over_rest_is_queued": queued,
    "while_a_call_made_over_rest_rings": called,
    "while_a_dialed_leg_rings": dialed,
    "while_playing": playing,
    "while_gathering": gathering,
    "while_recording": recording,
    "while_dialing": dialing,
    "while_being_screened": screened,
    "of_a_caller_who_is_joined": as_caller,
    "of_a_callee_who_is_joined": as_callee,
    "of_a_participant": conference,
    "of_one_who_is_held": held,
    "of_one_who_is_gone": over,
}


# ---------------------------------------------------------------- modification


async def a_new_document(scene: Scene) -> None:
    """`Url`."""
    await _new_document(scene, {"Url": scene.world.script("new", play(scene.world, NEW))})


async def an_inline_document(scene: Scene) -> None:
    """`Rcml`."""
    await _new_document(scene, {"Rcml": document(play(scene.world, NEW)).body.decode()})


async def a_document_for_both(scene: Scene) -> None:
    """`Url` with `MoveConnectedCallLeg`."""
    url = scene.world.script("new", play(scene.world, NEW))
    form = {"Url": url, "MoveConnectedCallLeg": "true"}
    if scene.phase not in ("caller", "callee", "held"):
        await _new_document(scene, form)
        return
    await scene.modify(**form)
    await together([hears(scene.call, NEW, without=(PEER, MUSIC)), hears(scene.other, NEW, without=(VOICE,))])
    await scene.world.asked("new", 2)
    sids = {seen.parameters["CallSid"] for seen in scene.world.app.requests(scene.world.path("new"))}
    assert sids == {scene.sid, scene.peer_sid}
    await scene.no_action()
    assert (await scene.call.bye()).code == 200
    await scene.ends()
    await hears(scene.other, NEW)  # each runs it for itself


async def _new_document(scene: Scene, form: dict[str, str]) -> None:
    world, phase = scene.world, scene.phase
    if phase == "dialed":
        await scene.too_early(**form)
        return
    if phase == "over":
        await scene.too_late(**form)
        return
    row = await scene.modify(**form)
    if phase == "called":
        assert row["status"] == scene.state
        await scene.nothing_happened()
        scene.call.answer()
    await hears(scene.call, NEW, without=(*scene.sounds, DOCUMENT))
    match phase:
        case "fetching" | "pausing" | "bridging":
            await scene.call.answered(PATIENT)
        case "called":
            assert world.count("voice") == 0
        case "screened":
            assert (await scene.action())["DialCallStatus"] == "canceled"
            await hears(scene.other, AFTER, without=(NEW,))
        case "caller" | "held":
            await scene.other.over(PATIENT)
        case "callee":
            reason = (await scene.other.over(PATIENT)).get("Reason")
            assert reason == 'RESTCOMM;cause=1101;text="connected leg was redirected"'
            assert (await scene.action())["DialCallStatus"] == "completed"
        case "conference":
            await scene.is_alone()
        case "recording":
            (kept,) = await world.rest.recordings(CallSid=scene.sid)
            samples = await fetched(world, f"{world.rest.base}/Recordings/{kept['sid']}.wav")
            assert holds_tone(samples, VOICE)
        case _:
            pass
    if phase in ("bridging", "dialing"):
        await scene.other.request_of("CANCEL", PATIENT)
        assert (await world.rest.ended(scene.peer_sid, PATIENT))["status"] == "canceled"
    if phase not in ("screened", "callee"):
        await scene.no_action()
    assert await scene.status() == "in-progress"
    assert (await scene.call.bye()).code == 200
    await scene.ends()


async def _ends_while_ringing(scene: Scene, cause: str) -> None:
    if scene.phase in RINGING_IN:
        final = await scene.call.final(PATIENT)
        assert final.code == 603
        assert f"cause={cause}" in final.get("Reason")
    else:
        await scene.call.request_of("CANCEL", PATIENT)
    await scene.ends("canceled")
    if scene.phase == "bridging":
        await scene.other.request_of("CANCEL", PATIENT)
        assert (await scene.world.rest.ended(scene.peer_sid, PATIENT))["status"] == "canceled"
    if scene.phase == "dialed":
        assert (await scene.action())["DialCallStatus"] == "canceled"
        await hears(scene.other, AFTER)


async def status_canceled(scene: Scene) -> None:
    """`Status=canceled`."""
    if scene.phase == "over":
        await scene.too_late(Status="canceled")
        return
    row = await scene.modify(Status="canceled")
    if scene.phase in UNANSWERED:
        await _ends_while_ringing(scene, "1102")
        return
    assert row["status"] == "in-progress"
    if scene.phase == "held":
        await together([hears(scene.call, MUSIC), hears_music(scene.other, VOICE)])
    await scene.goes_on()


async def status_completed(scene: Scene) -> None:
    """`Status=completed`."""
    if scene.phase == "over":
        await scene.too_late(Status="completed")
        return
    await scene.modify(Status="completed")
    if scene.phase in UNANSWERED:
        await _ends_while_ringing(scene, "1101")
        return
    assert "cause=1101" in (await scene.call.over(PATIENT)).get("Reason")
    await scene.ends()
    match scene.phase:
        case "recording":
            form = await scene.action()
            assert form["Digits"] == "hangup"
            assert holds_tone(await fetched(scene.world, form["RecordingUrl"]), VOICE)
        case "dialing":
            await scene.other.request_of("CANCEL", PATIENT)
            assert (await scene.action())["DialCallStatus"] == "canceled"
            assert (await scene.world.rest.ended(scene.peer_sid, PATIENT))["status"] == "canceled"
        case "screened":
            assert (await scene.action())["DialCallStatus"] == "no-answer"
            await hears(scene.other, AFTER)
        case "caller" | "held":
            await scene.other.over(PATIENT)
            assert (await scene.action())["DialCallStatus"] == "completed"
        case "callee":
            assert (await scene.action())["DialCallStatus"] == "completed"
            await hears(scene.other, AFTER)
        case "conference":
            await scene.action()
            await scene.is_alone()
        case _:
            await scene.no_action()


async def mute(scene: Scene) -> None:
    """`Mute=true`, then `Mute=false`."""
    if scene.phase == "over":
        await scene.too_late(Mute="true")
    elif scene.phase in UNANSWERED:
        assert (await scene.modify(Mute="true"))["status"] == scene.state
        await scene.nothing_happened()
        await scene.comes_about()
    elif scene.phase == "held":
        await scene.modify(Mute="true")
        await scene.operate("Resume")
        await together([hears(scene.call, PEER), hears(scene.other, without=(VOICE,))])
        await stays(
            lambda: strengths(latest(scene.other), [VOICE])[0] < AUDIBLE, 0.5, "a muted party is not heard"
        )
        await scene.modify(Mute="false")
        await hears(scene.other, VOICE)
    else:
        await _mute(scene)


async def _mute(scene: Scene) -> None:
    kept = await scene.record()
    await pause(0.8)
    await scene.modify(Mute="true")
    if scene.phase in JOINED:
        await hears(scene.other, without=(VOICE,))
    if scene.phase == "dialing":
        scene.other.answer()
        await hears(scene.call, without=(RINGING,))
        await stays(
            lambda: strengths(latest(scene.other), [VOICE])[0] < FAINT, 0.6, "the callee does not hear it"
        )
        scene.phase = "caller"
    if scene.phase == "gathering":
        scene.call.rtp.press("5")
    await pause(1.0)
    await scene.modify(Mute="false")
    if scene.phase in JOINED:
        await hears(scene.other, VOICE)
    await pause(0.8)
    samples = await scene.stop(kept)
    assert has_gap(samples, VOICE), presence(samples, VOICE)
    if scene.phase == "gathering":
        scene.call.rtp.press("#")
        assert (await scene.action())["Digits"] == "5"
    if scene.phase == "recording":
        samples = await scene.finish_record()
        assert has_gap(samples, VOICE), presence(samples, VOICE)
    if scene.phase == "conference":
        await told_of_room(scene, "participant-mute")
        await told_of_room(scene, "participant-unmute")


async def told_of_room(scene: Scene, event: str, count: int = 1) -> None:
    """The callback of the room is told something of this participant."""
    world = scene.world

    async def found() -> int:
        forms = [seen.parameters for seen in world.app.requests(world.path("room"))]
        return len([f for f in forms if (f["StatusCallbackEvent"], f.get("CallSid")) == (event, scene.sid)])

    await eventually(found, lambda number: number == count, PATIENT, f"{event} of {scene.sid}")


# ---------------------------------------------------------------- operations


async def _refused(scene: Scene, path: str, **form: str) -> bool:
    """What needs a call in progress is refused before the answer and after the end."""
    if scene.phase == "over":
        await scene.too_late(path, **form)
    elif scene.phase in UNANSWERED:
        await scene.too_early(path, **form)
    return scene.phase in (*UNANSWERED, "over")


async def play_on_top(scene: Scene) -> None:
    """Play."""
    form = {"Url": sound_url(scene.world, ON_TOP), "Loop": "1"}
    if await _refused(scene, "/Play", **form):
        return
    await scene.operate("Play", **form)
    await hears(scene.call, ON_TOP, *scene.sounds)
    if scene.peer is not None:
        assert strengths(latest(scene.peer), [ON_TOP])[0] < FAINT, "nobody else hears it"
    await scene.goes_on()
    if scene.phase == "gathering":
        scene.call.rtp.press("12#")
        assert (await scene.action())["Digits"] == "12"
    if scene.phase == "recording":
        samples = await scene.finish_record()
        assert holds_tone(samples, VOICE)
        assert holds_no_tone(samples, ON_TOP)


async def say_on_top(scene: Scene) -> None:
    """Say."""
    form = {"Text": "You are heard by one only."}
    if await _refused(scene, "/Say", **form):
        return
    await scene.operate("Say", **form)
    if not scene.sounds:
        await settles(lambda: sounding(latest(scene.call)) > 0.2, 0.0, PATIENT, "speech is heard")
    await scene.goes_on()


async def gather(scene: Scene) -> None:
    """Gather."""
    world, call = scene.world, scene.call
    form = {"Action": world.script("keys", ""), "NumDigits": "2", "Timeout": "60"}
    if await _refused(scene, "/Gather", **form):
        return
    await scene.operate("Gather", **form)
    if scene.phase == "held":  # a phone that is held sends no RTP, so no telephone events either
        assert [(await call.info(key)).code for key in "4*"] == [200, 200]
    else:
        call.rtp.press("4*")
    assert (await world.asked("keys", within=PATIENT)).parameters["Digits"] == "4*"
    await stays(lambda: call.live, 0.3, "the keys do nothing else")
    if scene.phase == "held":
        await hears_music(scene.other, VOICE)
    await scene.goes_on()
    if scene.peer is not None:
        assert scene.peer.rtp.digits() == "", "the other party gets no key"
    await scene.no_action()
    if scene.phase == "gathering":
        call.rtp.press("12#")
        assert (await scene.action())["Digits"] == "12"
    if scene.phase == "recording":
        assert holds_tone(await scene.finish_record(), VOICE)


async def hold(scene: Scene) -> None:
    """Hold."""
    world, call = scene.world, scene.call
    music = OTHER_MUSIC if scene.phase == "held" else MUSIC
    form = {"HoldMusic": sound_url(world, music), "Action": world.script("told", "")}
    if await _refused(scene, "/Hold", **form):
        return
    await scene.operate("Hold", **form)
    if scene.phase != "held":
        await scene.reinvited("sendonly")
    told = (await world.asked("told", within=PATIENT)).parameters
    assert (told["HoldStatus"], told["HoldSipResponseCode"]) == ("held", "200")
    match scene.phase:
        case "held":
            await hears(call, OTHER_MUSIC, without=(MUSIC, PEER))
            assert scene.reinvites() == []
        case "caller" | "callee":
            await together([hears(call, MUSIC, without=(PEER,)), hears_music(scene.other, VOICE)])
        case "conference":
            await together([hears(call, without=(PEER,)), hears(scene.other, without=(VOICE,))])
            await hears(call, MUSIC)
            await told_of_room(scene, "participant-hold")
        case "dialing":
            await hears(call, MUSIC, RINGING)
            scene.other.answer()
            speak(scene.other, PEER)
            await together([hears(call, MUSIC, without=(PEER, RINGING)), hears_music(scene.other, VOICE)])
            await scene.operate("Resume")
            await together([hears(call, PEER, without=(MUSIC,)), hears(scene.other, VOICE)])
        case "recording":
            await hears(call, MUSIC)
            await pause(0.8)
            await scene.operate("Resume")
            await hears(call, without=(MUSIC,))
            await pause(0.8)
            samples = await scene.finish_record()
            assert has_gap(samples, VOICE), presence(samples, VOICE)
        case _:
            await hears(call, MUSIC, *scene.sounds)
    assert await scene.status() == "in-progress"


async def resume(scene: Scene) -> None:
    """Resume."""
    world = scene.world
    form = {"Action": world.script("told", "")}
    if await _refused(scene, "/Resume", **form):
        return
    await scene.operate("Resume", **form)
    if scene.phase != "held":
        await stays(lambda: not world.count("told"), 0.5, "nothing is told")
        assert scene.reinvites() == []
        await scene.goes_on()
        return
    await scene.reinvited("sendrecv")
    told = (await world.asked("told", within=PATIENT)).parameters
    assert (told["ResumeStatus"], told["ResumeSipResponseCode"]) == ("resumed", "200")
    await together([hears(scene.call, PEER, without=(MUSIC,)), hears(scene.other, VOICE)])


async def refer(scene: Scene) -> None:
    """Refers."""
    world, call = scene.world, scene.call
    form = {"To": NOWHERE, "Action": world.script("told", "")}
    if await _refused(scene, "/Refers", **form):
        return
    await scene.operate("Refers", **form)
    request = await call.request_of("REFER", PATIENT)
    assert uri_of(request.get("Refer-To")) == NOWHERE
    assert (await call.transferred()).code == 200
    told = (await world.asked("told", within=PATIENT)).parameters
    found = [told[name] for name in ("ReferCallStatus", "ReferSipResponseCode", "NotifySipResponseCode")]
    assert found == ["completed", "202", "200"]
    if scene.phase == "held":
        await hears_music(scene.other, VOICE)
    await scene.goes_on()
    rows = (await world.rest.get("Refers.json")).json["refers"]
    assert [row["to"] for row in rows if row["call_sid"] == scene.sid] == [NOWHERE]
    assert (await call.bye()).code == 200
    await scene.ends()


async def a_recording(scene: Scene) -> None:
    """Recordings: start and stop."""
    if await _refused(scene, "/Recordings"):
        return
    kept = await scene.record()
    await hears(scene.call, *scene.sounds)
    await pause(1.2)
    samples = await scene.stop(kept)
    for frequency in scene.sounds:
        assert holds_tone(samples, frequency), presence(samples, frequency)
    if scene.phase == "held":
        assert holds_no_tone(samples, VOICE)
    else:
        assert holds_tone(samples, VOICE), presence(samples, VOICE)
    listed = (await scene.world.rest.get(f"Calls/{scene.sid}/Recordings.json")).json
    assert kept in [row["sid"] for row in listed]
    await scene.goes_on()
    if scene.phase == "recording":
        assert holds_tone(await scene.finish_record(), VOICE)


async def a_recording_that_pauses(scene: Scene) -> None:
    """Recordings: pause and resume."""
    unknown = f"/Recordings/RE{'0' * 32}"
    if await _refused(scene, unknown if scene.phase == "over" else "/Recordings", Status="paused"):
        return
    assert (await scene.post(unknown, Status="paused")).status == 404
    kept = await scene.record()
    await pause(0.8)
    assert (await scene.change(kept, "paused"))["status"] == "paused"
    speak(scene.call, SECRET)
    await pause(1.0)
    speak(scene.call)
    await pause(0.4)
    assert (await scene.change(kept, "in-progress"))["status"] == "in-progress"
    await pause(0.8)
    samples = await scene.stop(kept)
    assert holds_no_tone(samples, SECRET), presence(samples, SECRET)
    assert len(samples) / RATE >= 1.2, "what was before and after the pause is there"
    if scene.phase != "held":
        assert holds_tone(samples, VOICE)
    await scene.goes_on()


OPERATIONS: dict[str, Callable[[Scene], Awaitable[None]]] = {
    "a_new_document": a_new_document,
    "an_inline_document": an_inline_document,
    "a_document_for_both": a_document_for_both,
    "status_canceled": status_canceled,
    "status_completed": status_completed,
    "mute": mute,
    "play": play_on_top,
    "say": say_on_top,
    "gather": gather,
    "hold": hold,
    "resume": resume,
    "refer": refer,
    "a_recording": a_recording,
    "a_recording_that_pauses": a_recording_that_pauses,
}


# ---------------------------------------------------------------- the table


def _cell(operation: str, phase: str) -> Callable[..., Any]:
    async def scenario(world: World) -> None:
        scene = await PHASES[phase](world)
        if scene.phase not in (*UNANSWERED, "over", "held"):
            speak(scene.call)
            await scene.goes_on()
        await OPERATIONS[operation](scene)

    scenario.__name__ = scenario.__qualname__ = f"test_{operation}_{phase}"
    scenario.__doc__ = f"{OPERATIONS[operation].__doc__} {PHASES[phase].__doc__}"
    return case(scenario)


for _phase in PHASES:
    for _operation in OPERATIONS:
        _made = _cell(_operation, _phase)
        globals()[f"test_{_operation}_{_phase}"] = _made
del _made, _phase, _operation


@case
async def test_an_unknown_call_is_not_found(world: World) -> None:
    for path in ("", "/Say", "/Play", "/Gather", "/Hold", "/Resume", "/Refers", "/Recordings"):
        reply = await world.rest.post(f"Calls/CA{'0' * 32}{path}.json", Status="completed")
        assert reply.status == 404, path
