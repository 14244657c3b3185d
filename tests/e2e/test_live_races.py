"""Live calls when several things happen at the same moment, and what a program's change does to others.

Races are tried many times with other offsets; every outcome that a program may see is listed, and after all
of them nothing may be left in the engine.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from harness import EngineProcess, RestReply
from rooms import latest, settles, strengths
from sipcall import Call
from sipphone import Phone
from siptext import Message, reply_to
from sound import RATE, Samples, read_wav, sounding, tone, tones
from twisted.internet.defer import Deferred
from waiting import eventually, now, pause, stays, together
from webapp import document, prompt
from world import World, case, dial, element

pytestmark = pytest.mark.loopback

PATIENT = 15.0
"""Seconds that the engine gets; its speed is not what is tested here."""
OLD, FIRST, SECOND, THIRD = 440.0, 1270.0, 1610.0, 2390.0
CALLER, CALLEE, STRANGER = 710.0, 930.0, 1990.0
VOICE_AMPLITUDE = 4000
AUDIBLE, FAINT = 1300.0, 250.0


@pytest.fixture(scope="module")
def engine(engines: Callable[..., EngineProcess]) -> EngineProcess:
    """An engine that waits longer for applications than these tests take."""
    return engines("web.timeout=40", "media.spare_workers=4")


# ---------------------------------------------------------------- helpers


def play(world: World, frequency: float) -> str:
    """A Play that does not end."""
    url = world.app.script(f"/races/{frequency:g}.wav", prompt(frequency, 8.0))
    return f'<Play loop="0">{url}</Play>'


def two_documents(world: World) -> dict[float, str]:
    """URLs of two documents, by the tone that is heard."""
    names = {FIRST: "first", SECOND: "second"}
    return {frequency: world.script(name, play(world, frequency)) for frequency, name in names.items()}


def speak(call: Call, frequency: float) -> None:
    """Hum without end."""
    call.hush()
    call.rtp.say(tone(frequency, 40, amplitude=VOICE_AMPLITUDE))


def listening(call: Call, heard: tuple[float, ...], silent: tuple[float, ...]) -> bool:
    """Whether a phone hears just the first ones of these tones now."""
    found = strengths(latest(call), [*heard, *silent])
    there, absent = found[: len(heard)], found[len(heard) :]
    return all(one >= AUDIBLE for one in there) and all(one < FAINT for one in absent)


async def hears(call: Call, *heard: float, without: tuple[float, ...] = ()) -> None:
    """Wait until all of these tones are heard at once, and none of the others."""

    def missing() -> str:
        listed = [*heard, *without]
        found = dict(zip(listed, map(round, strengths(latest(call), listed)), strict=True))
        return f"{call.phone.user} hears {heard} without {without}; {found}"

    await settles(lambda: listening(call, heard, without), 0.15, PATIENT, missing)


async def answered(world: World, verbs: str, name: str = "voice") -> tuple[Call, str]:
    """An inbound call that runs these verbs, and its sid."""
    call = await world.call(await world.number(verbs, name=name))
    return call, (await call.answered(PATIENT)).get("X-RestComm-CallSid")


async def rung(world: World, name: str = "voice", **attributes: object) -> tuple[Call, str, Phone, Call, str]:
    """A caller whose Dial lets a phone ring: call, sid, phone, call of the phone, its sid."""
    phone = await world.phone("callee")
    call, sid = await answered(world, dial(element("Sip", phone.uri), timeout=60, **attributes), name)
    callee = await phone.offered(within=PATIENT)
    callee.ring()
    return call, sid, phone, callee, callee.invite.get("X-RestComm-CallSid")


async def joined(world: World, name: str = "voice", **attributes: object) -> tuple[Call, str, Call, str]:
    """Two who are joined by a Dial and speak: the caller, its sid, the callee, its sid."""
    call, sid, _, callee, child = await rung(world, name, **attributes)
    callee.answer()
    await callee.answered(PATIENT)
    speak(call, CALLER)
    speak(callee, CALLEE)
    await together([hears(call, CALLEE), hears(callee, CALLER)])
    return call, sid, callee, child


async def post(world: World, sid: str, path: str = "", **form: str) -> RestReply:
    """POST below a call."""
    return await world.rest.post(f"Calls/{sid}{path}.json", **form)


async def succeeds(world: World, sid: str, path: str = "", **form: str) -> dict[str, Any]:
    """POST below a call that is answered with 200."""
    reply = await post(world, sid, path, **form)
    assert reply.status == 200, reply
    found: dict[str, Any] = reply.json
    return found


async def ends(world: World, *sids: str) -> None:
    """Wait until these calls are over."""
    for sid in sids:
        assert (await world.rest.ended(sid, PATIENT))["status"] == "completed"


async def fetched(world: World, url: str) -> Samples:
    """Samples of a recording."""
    reply = await world.rest.fetch(url)
    assert reply.status == 200, reply
    return read_wav(reply.body)


def presence(samples: Samples, frequency: float) -> str:
    """Of each tenth of a second of a recording: x when a tone is there."""
    size = RATE // 10
    windows = [samples[start : start + size] for start in range(0, len(samples) - size + 1, size)]
    return "".join("x" if strengths(w, [frequency])[0] >= AUDIBLE / 2 else "." for w in windows)


def only_one(call: Call, *frequencies: float) -> float | None:
    """Which one of these documents is heard now; None: none, or several."""
    strong = zip(frequencies, strengths(latest(call), list(frequencies)), strict=True)
    found = [frequency for frequency, strength in strong if strength >= FAINT]
    return found[0] if len(found) == 1 else None


async def runs_one(call: Call, *frequencies: float) -> float:
    """Wait until just one of these documents is heard; it stays that one."""
    last: list[float | None] = [None]

    def same() -> bool:
        before, last[0] = last[0], only_one(call, *frequencies)
        return last[0] is not None and last[0] == before

    def missing() -> str:
        return f"one of {frequencies} Hz; {strengths(latest(call), list(frequencies))}"

    await settles(same, 1.0, PATIENT, missing)
    assert last[0] is not None
    return last[0]


# ---------------------------------------------------------------- two programs at the same moment


@case
async def test_of_two_documents_at_the_same_moment_the_later_one_runs_alone(world: World) -> None:
    urls = two_documents(world)
    for attempt in range(4):
        call, sid = await answered(world, play(world, OLD), f"voice{attempt}")
        await hears(call, OLD)
        replies = await together([post(world, sid, Url=urls[FIRST]), post(world, sid, Url=urls[SECOND])])
        assert [reply.status for reply in replies] == [200, 200]
        await runs_one(call, OLD, FIRST, SECOND)
        assert only_one(call, OLD, FIRST, SECOND) != OLD
        assert (await call.bye()).code == 200
        await ends(world, sid)
        assert await world.rest.notifications(CallSid=sid) == []


@case
async def test_documents_for_both_asked_for_on_both_legs_leave_each_with_one(world: World) -> None:
    urls = two_documents(world)
    for attempt in range(3):
        call, sid, callee, child = await joined(world, f"voice{attempt}")
        replies = await together(
            [
                post(world, sid, Url=urls[FIRST], MoveConnectedCallLeg="true"),
                post(world, child, Url=urls[SECOND], MoveConnectedCallLeg="true"),
            ]
        )
        assert [reply.status for reply in replies] == [200, 200]
        await together([runs_one(one, FIRST, SECOND) for one in (call, callee)])
        await together([call.bye(), callee.bye()])
        await ends(world, sid, child)


def one_left(*calls: Call) -> Callable[[], bool]:
    """Tells whether the engine still has just one of these calls."""
    return lambda: sum(call.live for call in calls) == 1


@case
async def test_of_documents_for_both_legs_at_the_same_moment_the_first_ends_the_other(
    world: World,
) -> None:
    urls = two_documents(world)
    for attempt in range(4):
        call, sid, callee, child = await joined(world, f"voice{attempt}")
        asked: list[Awaitable[RestReply]] = [
            post(world, sid, Url=urls[FIRST]),
            post(world, child, Url=urls[SECOND]),
        ]
        replies = await together(asked if attempt % 2 else asked[::-1])
        codes = sorted(reply.status for reply in replies)
        assert codes in ([200, 200], [200, 410]), "whichever came first was carried out"
        await settles(one_left(call, callee), 0.5, PATIENT, "one is left")
        left, runs = (call, FIRST) if call.live else (callee, SECOND)
        await hears(left, runs, without=(CALLER, CALLEE))
        assert (await left.bye()).code == 200
        await ends(world, sid, child)


@case
async def test_many_operations_at_the_same_moment_are_all_done(world: World) -> None:
    call, sid = await answered(world, play(world, OLD))
    speak(call, CALLER)
    await hears(call, OLD)
    tone_url = world.app.script("/races/once.wav", prompt(THIRD, 1.0))
    replies = await together(
        [
            post(world, sid, "/Hold", Action=world.script("held", "")),
            post(world, sid, "/Play", Url=tone_url),
            post(world, sid, "/Resume", Action=world.script("resumed", "")),
            post(world, sid, Mute="true"),
            post(world, sid, "/Recordings"),
            post(world, sid, Mute="false"),
            post(world, sid, "/Gather", Action=world.script("keys", ""), NumDigits="1", Timeout="60"),
        ]
    )
    assert [reply.status for reply in replies] == [200] * 7
    await hears(call, OLD)
    assert (await world.asked("held", within=PATIENT)).form["HoldStatus"] == "held"
    await succeeds(world, sid, "/Resume")  # whichever of Hold and Resume was first
    call.rtp.press("3")
    assert (await world.asked("keys", within=PATIENT)).form["Digits"] == "3"
    assert (await call.bye()).code == 200
    await ends(world, sid)


@case
async def test_a_program_cannot_take_all_players_of_a_worker(world: World) -> None:
    """A worker has 32, and calls of other accounts."""
    call, sid = await answered(world, play(world, OLD))
    await hears(call, OLD)
    url = world.app.script("/races/long.wav", prompt(THIRD, 20.0))
    replies = await together([post(world, sid, "/Play", Url=url) for _ in range(10)])
    assert sorted(reply.status for reply in replies) == [200] * 6 + [409] * 4
    assert (await post(world, sid, "/Gather", Action=world.script("keys", ""))).status == 409
    assert (await call.bye()).code == 200
    await ends(world, sid)


@case
async def test_hold_and_resume_in_quick_succession_leave_what_was_asked_last(world: World) -> None:
    call, sid, callee, child = await joined(world)
    for _ in range(4):
        await succeeds(world, sid, "/Hold")
        await succeeds(world, sid, "/Resume")
    await together([hears(call, CALLEE), hears(callee, CALLER)])
    reinvites = [r for _, r in call.requests if r.method == "INVITE"]
    assert len(reinvites) == 8
    assert b"a=sendrecv" in reinvites[-1].body
    assert (await call.bye()).code == 200
    await ends(world, sid, child)


# ---------------------------------------------------------------- a program and a party at the same moment


RACING: dict[str, tuple[str, dict[str, str]]] = {
    "url": ("", {"Url": "new"}),
    "moving": ("", {"Url": "new", "MoveConnectedCallLeg": "true"}),
    "ending": ("", {"Status": "completed"}),
    "muting": ("", {"Mute": "true"}),
    "conference": ("", {"FriendlyName": "race"}),
    "play": ("/Play", {"Url": "sound"}),
    "say": ("/Say", {"Text": "Hello."}),
    "gather": ("/Gather", {"Action": "keys"}),
    "hold": ("/Hold", {"HoldMusic": "sound", "Action": "told"}),
    "refer": ("/Refers", {"To": "sip:x@127.0.0.1:9", "Action": "told"}),
    "recording": ("/Recordings", {}),
}
TRIES = 6


def _race(name: str, *, pair: bool) -> tuple[Callable[..., Any], str]:
    path, wanted = RACING[name]

    async def one(world: World, attempt: int, form: dict[str, str]) -> None:
        sids = []
        if pair:
            caller, sid, callee, child = await joined(world, f"voice{attempt}")
            # the one who is asked for something hangs up, or the other one does
            asked = sid if attempt % 2 else child
            leaves = (caller, callee)[(attempt // 2) % 2]
            stays_ = callee if leaves is caller else caller
            sids = [sid, child]
        else:
            leaves, asked = await answered(world, play(world, OLD), f"voice{attempt}")
            stays_, sids = None, [asked]
            await leaves.sound(0.1)
        offset = 0.004 * (attempt - TRIES // 3)
        await pause(max(0.0, -offset))
        bye: Deferred[Any] | None = None
        if offset >= 0:  # the party is first
            bye = Deferred.fromCoroutine(leaves.bye())
            await pause(offset)
        asking: Deferred[RestReply] = Deferred.fromCoroutine(post(world, asked, path, **form))
        if bye is None:
            await pause(-offset)
            bye = Deferred.fromCoroutine(leaves.bye())
        reply = await asking
        assert reply.status in (200, 410), reply
        assert (await bye).code == 200
        await eventually_put_down(stays_)
        for sid in sids:
            await world.rest.ended(sid, PATIENT)

    async def scenario(world: World) -> None:
        world.script("new", play(world, FIRST))
        sound = world.app.script("/races/sound.wav", prompt(SECOND, 2.0))
        urls = {
            "sound": sound,
            "new": f"{world.app.url}{world.path('new')}",
            "keys": world.script("keys", ""),
            "told": world.script("told", ""),
        }
        form = {key: urls.get(value, value) for key, value in wanted.items()}
        if "FriendlyName" in form:
            form["FriendlyName"] = world.name
        for attempt in range(TRIES):
            await one(world, attempt, form)

    whose = "two_who_are_joined" if pair else "one_caller"
    title = f"test_{name}_racing_with_a_hang_up_of_{whose}"
    scenario.__name__ = scenario.__qualname__ = title
    return case(scenario), title


async def eventually_put_down(call: Call | None) -> None:
    """The one who stayed goes as well, unless the engine ends it first."""
    if call is not None and call.live:
        await pause(0.1)
        if call.live:
            await call.bye()


for _name, _pair in itertools.product(RACING, (False, True)):
    _made, _title = _race(_name, pair=_pair)
    globals()[_title] = _made
del _name, _pair, _made, _title


@case
async def test_an_end_racing_with_the_answer_of_the_callee_ends_both(world: World) -> None:
    for attempt in range(6):
        call, sid, _, callee, child = await rung(world, f"voice{attempt}")
        asking: Deferred[RestReply] = Deferred.fromCoroutine(post(world, sid, Status="completed"))
        await pause(0.004 * attempt)
        if not callee.over_at:
            callee.answer()
        assert (await asking).status == 200
        await call.over(PATIENT)
        await ends(world, sid)
        row = await world.rest.ended(child, PATIENT)
        assert row["status"] in ("completed", "canceled"), row


@case
async def test_a_document_racing_with_the_answer_of_the_callee_runs_and_ends_the_callee(world: World) -> None:
    url = world.script("new", play(world, FIRST))
    for attempt in range(6):
        call, sid, _, callee, child = await rung(world, f"voice{attempt}")
        asking: Deferred[RestReply] = Deferred.fromCoroutine(post(world, sid, Url=url))
        await pause(0.004 * attempt)
        if not callee.over_at:
            callee.answer()
        assert (await asking).status == 200
        await hears(call, FIRST)
        assert (await world.rest.ended(child, PATIENT))["status"] in ("completed", "canceled")
        assert (await call.bye()).code == 200
        await ends(world, sid)


@case
async def test_a_document_for_the_callee_racing_with_its_answer_is_refused_or_runs(world: World) -> None:
    url = world.script("new", play(world, FIRST))
    for attempt in range(6):
        call, sid, _, callee, child = await rung(world, f"voice{attempt}")
        callee.answer()
        await pause(0.004 * attempt)
        reply = await post(world, child, Url=url)
        if reply.status == 200:
            await hears(callee, FIRST)
        else:
            assert (reply.status, reply.json["code"]) == (409, 1103)
        for one in (callee, call):
            if one.live:
                await one.bye()
        await world.rest.ended(child, PATIENT)
        await ends(world, sid)


@case
async def test_a_document_racing_with_the_answer_of_a_call_over_rest_is_what_runs(
    world: World,
) -> None:
    old, new = world.script("old", play(world, OLD)), world.script("new", play(world, FIRST))
    for attempt in range(6):
        phone = await world.phone("racer")
        row = await world.rest.start_call(From="+1", To=phone.uri, Url=old)
        call = await phone.offered(within=PATIENT)
        call.ring()
        asking: Deferred[RestReply] = Deferred.fromCoroutine(post(world, row["sid"], Url=new))
        await pause(0.004 * attempt)
        call.answer()
        assert (await asking).status == 200
        await hears(call, FIRST, without=(OLD,))
        assert (await call.bye()).code == 200
        await ends(world, row["sid"])


# ---------------------------------------------------------------- what becomes of the other one


@case
async def test_ac79_a_document_during_a_play_stops_it(world: World) -> None:
    url = world.script("new", world.play(FIRST, 0.8))
    call, sid = await answered(world, f"{play(world, OLD)}<Redirect>{world.script('never', '')}</Redirect>")
    await hears(call, OLD)
    await succeeds(world, sid, Url=url)
    await call.over(PATIENT)
    last = tones(call.heard())[-1]
    assert abs(last.frequency - FIRST) < 30
    assert world.count("never") == 0
    await ends(world, sid)


@case
async def test_ac79_a_document_for_the_caller_ends_the_callee_by_bye(world: World) -> None:
    url, action = world.script("new", play(world, FIRST)), world.script("action", "")
    call, sid, callee, child = await joined(world, action=action)
    await succeeds(world, sid, Url=url)
    await callee.over(PATIENT)
    await hears(call, FIRST, without=(CALLEE,))
    await ends(world, child)
    await stays(lambda: world.count("action") == 0, 0.4, "the Dial that was broken off requests no action")


@case
async def test_ac79_a_document_for_the_callee_ends_the_caller_unless_it_moves(world: World) -> None:
    url = world.script("new", play(world, FIRST))
    call, sid, callee, child = await joined(world, "ends")
    await succeeds(world, child, Url=url)
    bye = await call.over(PATIENT)
    assert bye.get("Reason") == 'RESTCOMM;cause=1101;text="connected leg was redirected"'
    await hears(callee, FIRST, without=(CALLER,))
    await ends(world, sid)
    assert (await callee.bye()).code == 200

    call, sid, callee, child = await joined(world, "moves")
    await succeeds(world, child, Url=url, MoveConnectedCallLeg="true")
    await together([hears(call, FIRST, without=(CALLEE,)), hears(callee, FIRST, without=(CALLER,))])
    assert (await callee.bye()).code == 200
    await ends(world, child)
    await stays(lambda: call.live, 0.3, "the caller runs its own document")


@case
async def test_moving_without_a_document_is_refused(world: World) -> None:
    call, sid = await answered(world, play(world, OLD))
    for form in ({"Status": "canceled"}, {"Mute": "true"}):
        assert (await post(world, sid, MoveConnectedCallLeg="true", **form)).status == 400
    await hears(call, OLD)


@case
async def test_a_muted_caller_is_silent_for_the_callee_and_in_the_recording_of_the_dial(world: World) -> None:
    action = world.script("action", "")
    call, sid, callee, _ = await joined(world, record="true", action=action)
    await succeeds(world, sid, Mute="true")
    await hears(callee, without=(CALLER,))
    await stays(lambda: strengths(latest(callee), [CALLER])[0] < FAINT, 1.0, "the callee hears silence")
    await hears(call, CALLEE)
    await succeeds(world, sid, Mute="false")
    await hears(callee, CALLER)
    await pause(0.6)
    assert (await callee.bye()).code == 200
    form = (await world.asked("action", within=PATIENT)).form
    samples = await fetched(world, form["RecordingUrl"])
    found = presence(samples, CALLER)
    assert "......" in found.strip("."), found
    assert "......" not in presence(samples, CALLEE).strip(".")


@case
async def test_a_muted_party_ends_a_record_by_its_silence(world: World) -> None:
    action = world.script("action", "")
    verb = element("Record", playBeep="false", timeout=2, maxLength=60, action=action)
    call, sid = await answered(world, verb)
    speak(call, CALLER)
    await pause(1.0)
    await succeeds(world, sid, Mute="true")
    form = (await world.asked("action", within=PATIENT)).form
    found = presence(await fetched(world, form["RecordingUrl"]), CALLER)
    assert "xxx" in found
    assert len(found.rstrip(".")) < 30, found
    await ends(world, sid)


@case
async def test_a_muted_party_stays_muted_when_another_document_begins(world: World) -> None:
    phone = await world.phone("callee")
    url = world.script("new", dial(element("Sip", phone.uri)))
    call, sid = await answered(world, play(world, OLD))
    speak(call, CALLER)
    await succeeds(world, sid, Mute="true")
    await succeeds(world, sid, Url=url)
    callee = await phone.offered(within=PATIENT)
    callee.answer()
    speak(callee, CALLEE)
    await hears(call, CALLEE)
    await stays(lambda: strengths(latest(callee), [CALLER])[0] < FAINT, 0.6, "the callee hears silence")
    await succeeds(world, sid, Mute="false")
    await hears(callee, CALLER)


@case
async def test_no_instruction_leaves_a_muted_call_muted(world: World) -> None:
    _, sid, callee, _ = await joined(world)
    await succeeds(world, sid, Mute="true")
    await hears(callee, without=(CALLER,))
    assert (await post(world, sid, Method="GET")).status == 409
    await stays(lambda: strengths(latest(callee), [CALLER])[0] < FAINT, 0.6, "still muted")


@case
async def test_a_party_stays_on_hold_when_another_document_begins(world: World) -> None:
    url = world.script("new", play(world, FIRST))
    music = world.app.script("/races/music.wav", prompt(THIRD, 8.0))
    call, sid = await answered(world, play(world, OLD))
    speak(call, CALLER)
    await succeeds(world, sid, "/Hold", HoldMusic=music)
    await hears(call, OLD, THIRD)
    await succeeds(world, sid, Url=url)
    await hears(call, FIRST, without=(OLD, THIRD))
    assert len([r for _, r in call.requests if r.method == "INVITE"]) == 1, "nothing was resumed"
    await succeeds(world, sid, "/Resume", Action=world.script("resumed", ""))
    form = (await world.asked("resumed", within=PATIENT)).form
    assert (form["ResumeStatus"], form["ResumeSipResponseCode"]) == ("resumed", "200")
    assert len([r for _, r in call.requests if r.method == "INVITE"]) == 2
    await hears(call, FIRST)


@case
async def test_a_hold_that_the_party_refuses_is_told_as_failed_and_changes_nothing(world: World) -> None:
    call, sid, callee, _ = await joined(world)

    def refuse(request: Message) -> bool:
        if request.method == "INVITE":
            call.phone.send(reply_to(request, 488, "Not Acceptable Here"))
        return request.method == "INVITE"

    call.decide = refuse
    await succeeds(world, sid, "/Hold", Action=world.script("held", ""))
    form = (await world.asked("held", within=PATIENT)).form
    assert (form["HoldStatus"], form["HoldSipResponseCode"]) == ("failed", "488")
    await together([hears(call, CALLEE), hears(callee, CALLER)])


@case
async def test_hold_music_that_cannot_be_obtained_is_refused_and_nobody_is_held(world: World) -> None:
    call, sid, callee, _ = await joined(world)
    reply = await post(world, sid, "/Hold", HoldMusic=f"{world.app.url}/nothing.wav")
    assert reply.status == 400
    await together([hears(call, CALLEE), hears(callee, CALLER)])
    assert [r.method for _, r in call.requests] == []


# ---------------------------------------------------------------- into a conference


def enters(room: str) -> str:
    """The Dial that enters a room."""
    return dial(element("Conference", room, beep="false"))


async def conference_of(world: World, room: str) -> str:
    """Sid of the running conference of this name."""

    async def found() -> list[str]:
        rows = (await world.rest.get("Conferences.json", FriendlyName=room)).json["conferences"]
        return [row["sid"] for row in rows if row["status"] != "COMPLETED"]

    return (await eventually(found, len, PATIENT, f"a conference {room}"))[0]


@case
async def test_a_call_is_moved_into_a_conference_by_its_name(world: World) -> None:
    member, _ = await answered(world, enters(world.name), "member")
    speak(member, STRANGER)
    call, sid = await answered(world, play(world, OLD))
    speak(call, CALLER)
    await hears(call, OLD)
    await succeeds(world, sid, FriendlyName=world.name)
    await together([hears(call, STRANGER, without=(OLD, CALLER)), hears(member, CALLER, without=(STRANGER,))])
    room = await conference_of(world, world.name)
    reply = await world.rest.get(f"Conferences/{room}/Participants.json")
    assert sid in [row["sid"] for row in reply.json["calls"]]
    assert [row["sid"] for row in await world.rest.calls(ConferenceSid=room) if row["sid"] == sid] == [sid]


@case
async def test_both_legs_are_moved_into_a_running_conference_by_its_sid(world: World) -> None:
    member, _ = await answered(world, enters(world.name), "member")
    speak(member, STRANGER)
    call, sid, callee, _ = await joined(world)
    room = await conference_of(world, world.name)
    await succeeds(world, sid, ConferenceSid=room, MoveConnectedCallLeg="true")
    await together(
        [
            hears(member, CALLER, CALLEE, without=(STRANGER,)),
            hears(call, CALLEE, STRANGER, without=(CALLER,)),
            hears(callee, CALLER, STRANGER, without=(CALLEE,)),
        ]
    )


@case
async def test_a_conference_that_does_not_run_is_no_place_to_move_to(world: World) -> None:
    member, _ = await answered(world, enters(world.name), "member")
    room = await conference_of(world, world.name)
    call, sid = await answered(world, play(world, OLD))
    both = {"ConferenceSid": room, "FriendlyName": world.name}
    assert (await post(world, sid, **both)).status == 400
    assert (await post(world, sid, FriendlyName=world.name, Url=world.script("new", ""))).status == 400
    assert (await post(world, sid, ConferenceSid=f"CF{'0' * 32}")).status == 404
    await member.bye()

    async def over() -> str:
        found: str = (await world.rest.get(f"Conferences/{room}.json")).json["status"]
        return found

    await eventually(over, lambda status: status == "COMPLETED", PATIENT, "the conference is over")
    assert (await post(world, sid, ConferenceSid=room)).status in (404, 409, 410)
    await hears(call, OLD)


# ---------------------------------------------------------------- operations beside the document


@case
async def test_of_several_gathers_the_last_one_begun_gets_the_keys(world: World) -> None:
    call, sid = await answered(world, play(world, OLD))
    for name in ("early", "late"):
        await succeeds(world, sid, "/Gather", Action=world.script(name, ""), NumDigits="1", Timeout="60")
    call.rtp.press("1")
    assert (await world.asked("late", within=PATIENT)).form["Digits"] == "1"
    assert world.count("early") == 0
    call.rtp.press("2")
    assert (await world.asked("early", within=PATIENT)).form["Digits"] == "2"
    await hears(call, OLD)


@case
async def test_the_reply_of_a_gather_replaces_the_document(world: World) -> None:
    keys = world.script("keys", play(world, FIRST))
    told = world.script("told", play(world, SECOND))
    call, sid = await answered(world, play(world, OLD))
    await succeeds(world, sid, "/Gather", Action=keys, StatusCallback=told, Timeout="60")
    call.rtp.press("12#")
    assert (await world.asked("keys", within=PATIENT)).form["Digits"] == "12"
    assert (await world.asked("told", within=PATIENT)).form["Digits"] == "12"
    await hears(call, FIRST, without=(OLD, SECOND))


@case
async def test_a_gather_without_keys_tells_its_callback_and_requests_no_action(world: World) -> None:
    call, sid = await answered(world, play(world, OLD))
    keys, told = world.script("keys", play(world, FIRST)), world.script("told", "")
    await succeeds(world, sid, "/Gather", Action=keys, StatusCallback=told, Timeout="1")
    form = (await world.asked("told", within=PATIENT)).form
    assert (form["Digits"], form["SpeechResult"], form["CallSid"]) == ("", "", sid)
    await hears(call, OLD, without=(FIRST,))
    assert world.count("keys") == 0


@case
async def test_another_document_ends_what_plays_and_gathers_beside_it_but_no_recording(world: World) -> None:
    url, keys = world.script("new", play(world, FIRST)), world.script("keys", "")
    sound = world.app.script("/races/long.wav", prompt(THIRD, 8.0))
    call, sid = await answered(world, play(world, OLD))
    speak(call, CALLER)
    kept = (await succeeds(world, sid, "/Recordings"))["sid"]
    await succeeds(world, sid, "/Gather", Action=keys, NumDigits="1", Timeout="60")
    await succeeds(world, sid, "/Play", Url=sound, Loop="100")
    await hears(call, OLD, THIRD)
    await succeeds(world, sid, Url=url)
    await hears(call, FIRST, without=(OLD, THIRD))
    call.rtp.press("1")
    await stays(lambda: world.count("keys") == 0, 0.6, "the Gather ended with the old document")
    await succeeds(world, sid, f"/Recordings/{kept}", Status="stopped")
    await eventually(
        lambda: world.rest.recordings(CallSid=sid), lambda r: r[0]["status"] == "completed", PATIENT, "stored"
    )
    samples = await fetched(world, f"{world.rest.base}/Recordings/{kept}.wav")
    for frequency in (OLD, THIRD, FIRST, CALLER):
        assert "xxx" in presence(samples, frequency), frequency


@case
async def test_a_recording_ends_at_its_longest_length_and_tells_its_callback(world: World) -> None:
    told = world.script("told", "")
    call, sid = await answered(world, play(world, OLD))
    form = {"MaxLength": "1", "RecordingStatusCallback": told}
    kept = (await succeeds(world, sid, "/Recordings", **form))["sid"]
    seen = (await world.asked("told", within=PATIENT)).form
    assert (seen["RecordingSid"], seen["RecordingStatus"], seen["CallSid"]) == (kept, "completed", sid)
    assert seen["RecordingDuration"] == "1"
    assert sounding(await fetched(world, seen["RecordingUrl"])) > 0.6
    assert call.live


@case
async def test_recordings_that_go_on_at_the_end_of_the_call_are_kept(world: World) -> None:
    call, sid = await answered(world, play(world, OLD))
    kept = [(await succeeds(world, sid, "/Recordings"))["sid"] for _ in range(2)]
    await pause(0.8)
    assert (await call.bye()).code == 200
    await ends(world, sid)
    for one in kept:
        await eventually(
            lambda: world.rest.recordings(CallSid=sid),
            lambda rows: all(row["status"] == "completed" for row in rows) and len(rows) == 2,
            PATIENT,
            "both are stored",
        )
        assert "xxx" in presence(await fetched(world, f"{world.rest.base}/Recordings/{one}.wav"), OLD)


# ---------------------------------------------------------------- many callers


@case
async def test_ac82_thirty_callers_are_served_while_an_application_hangs(world: World) -> None:
    hanging = await world.call(await world.number(document("<Reject/>", delay=35), name="hangs"))
    await world.asked("hangs", within=PATIENT)
    begun = now()
    number = await world.number(world.play(OLD, 1.0))

    async def served() -> None:
        call = await world.call(number)
        await call.answered(PATIENT)
        await call.over(PATIENT)
        assert [round(t.frequency, -1) for t in tones(call.heard())] == [OLD]

    await together([served() for _ in range(30)])
    await pause(max(0.0, begun + 6 - now()))
    await together([served() for _ in range(3)])
    assert hanging.codes == [100, 180], "it hangs all the time"
    assert (await hanging.cancel()).code == 200
    assert (await hanging.final(PATIENT)).code == 487
