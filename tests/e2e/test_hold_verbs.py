"""Hold, Resume and Refer, as the phone sees them; holds of phones within a bridge, and re-INVITE at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from dialing import CALLEE, CALLER, answers, bridged, hears_music, sip, talk
from harness import EngineProcess
from sipcall import Call
from siptext import Message, event_type, offer, reply_to, uri_of
from sound import sounding, tones
from test_reinvite import direction_of
from waiting import eventually, now, pause, together
from world import World, case, dial, element

pytestmark = pytest.mark.loopback

PATIENT = 15.0
"""Seconds that the engine gets where its speed is not what is tested."""
MUSIC, AFTER = 700.0, 1300.0
"""Frequencies of the music on hold, and of what the document plays then."""
TURNED = {"sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}


@pytest.fixture(scope="module")
def engine(engines: Callable[..., EngineProcess]) -> EngineProcess:
    """An engine of this module's own."""
    return engines("media.spare_workers=2")


def follows(call: Call, *codes: int) -> None:
    """Let a phone answer re-INVITE with these codes, one after the other, the last one for ever.

    Without any it accepts, with the direction that fits.
    """
    left = list(codes)
    given: dict[str, int] = {}

    def decide(request: Message) -> bool:
        if request.method != "INVITE":
            return False
        number = request.get("CSeq")
        if number not in given:
            given[number] = (left.pop(0) if len(left) > 1 else left[0]) if left else 200
        answer(call, request, given[number])
        return True

    call.decide = decide


def answer(call: Call, request: Message, code: int = 200, direction: str = "") -> None:
    """Answer a re-INVITE."""
    if code >= 300:
        call.phone.send(reply_to(request, code))
        return
    headers = [("Contact", call.phone.contact), ("Content-Type", "application/sdp")]
    made = reply_to(request, code, "OK", headers=headers)
    made.body = offer(
        call.rtp.port,
        direction=direction or TURNED.get(direction_of(request.body), "sendrecv"),
        version=2 + len(reinvites(call)),
        events=event_type(request.body),
    )
    call.phone.send(made)


def reinvites(call: Call) -> list[Message]:
    """Re-INVITE of the engine, without repetitions."""
    return list({r.get("CSeq"): r for _, r in call.requests if r.method == "INVITE"}.values())


async def reinvited(call: Call, number: int = 1) -> str:
    """The direction of the n-th re-INVITE of the engine, once it is acknowledged."""

    def found() -> Message | None:
        acknowledged = [r for _, r in call.requests if r.method == "ACK"]
        come = reinvites(call)
        if len(come) < number:
            return None
        wanted = come[number - 1].get("CSeq").split()[0]
        return come[number - 1] if any(a.get("CSeq").split()[0] == wanted for a in acknowledged) else None

    request = await call.changes.until(found, PATIENT, f"re-INVITE {number} and its ACK")
    assert request is not None
    return direction_of(request.body)


def hold(world: World, **attributes: object) -> str:
    """A Hold with music."""
    return element("Hold", holdMusic=world.tone(MUSIC, 0.5), **attributes)


def outcome(form: dict[str, str], verb: str) -> tuple[str, str]:
    """What the action of a Hold or Resume is told."""
    return form[f"{verb}Status"], form[f"{verb}SipResponseCode"]


async def caller(world: World, *verbs: str, codes: tuple[int, ...] = ()) -> Call:
    """Somebody calls a document, with a phone that answers re-INVITE so."""
    call = await world.call(await world.number("".join(verbs)))
    follows(call, *codes)
    await call.answered(PATIENT)
    return call


async def completed(world: World, call: Call) -> None:
    """The call is over, and its record says so."""
    sid = (await call.answered()).get("X-RestComm-CallSid")
    assert (await world.rest.ended(sid, PATIENT))["status"] == "completed"


# ------------------------------------------------------------------ Hold


@case
async def test_a_caller_on_hold_gets_a_reinvite_and_hears_the_music_again_and_again(world: World) -> None:
    action = world.script("action", "<Pause length='60'/>")
    call = await caller(world, hold(world, action=action), "<Say>never</Say>")
    assert await reinvited(call) == "sendonly"
    seen = await world.asked("action", within=PATIENT)
    assert (seen.method, seen.form["CallStatus"]) == ("POST", "in-progress")
    assert outcome(seen.form, "Hold") == ("held", "200")
    await call.hears(MUSIC, seconds=1.2, within=PATIENT)  # longer than the music
    assert len(reinvites(call)) == 1
    assert (await call.bye()).code == 200
    await completed(world, call)


@case
async def test_the_document_goes_on_while_the_caller_is_held(world: World) -> None:
    call = await caller(world, hold(world), "<Pause length='1'/>", world.play(AFTER, 1.0))
    assert await reinvited(call) == "sendonly"
    await call.hears(MUSIC, within=PATIENT)
    await call.hears(AFTER, within=PATIENT)
    await call.over(PATIENT)
    assert len(reinvites(call)) == 1
    await completed(world, call)


@case
async def test_hold_without_music_is_silence(world: World) -> None:
    action = world.script("action", "<Pause length='60'/>", "<Hangup/>")
    call = await caller(world, element("Hold", action=action, method="GET"))
    seen = await world.asked("action", within=PATIENT)
    assert (seen.method, *outcome(seen.query, "Hold")) == ("GET", "held", "200")
    begun = now()
    await pause(0.7)
    assert sounding(call.heard(since=begun)) < 0.05
    await call.bye()
    await completed(world, call)


@case
async def test_music_that_cannot_be_obtained_is_a_warning_and_the_caller_is_held(world: World) -> None:
    action = world.script("action", "<Hangup/>")
    missing = f"{world.app.url}{world.path('missing.wav')}"
    call = await caller(world, element("Hold", holdMusic=missing, action=action))
    assert outcome((await world.asked("action", within=PATIENT)).form, "Hold") == ("held", "200")
    await call.over(PATIENT)
    sid = (await call.answered()).get("X-RestComm-CallSid")
    assert (await world.rest.notified(13233, sid))["log"] in (1, "1")


@case
async def test_a_phone_that_refuses_the_hold_is_not_held_and_the_document_goes_on(world: World) -> None:
    action = world.script("action", "<Pause length='1'/>" + world.play(AFTER, 0.8))
    call = await caller(world, hold(world, action=action), codes=(488,))
    assert outcome((await world.asked("action", within=PATIENT)).form, "Hold") == ("failed", "488")
    await call.over(PATIENT)
    assert played(call, AFTER) > 0.25
    assert not [tone for tone in heard(call) if abs(tone - MUSIC) < 40]
    await completed(world, call)


def played(call: Call, frequency: float) -> float:
    """Seconds of a tone that were heard."""
    return sum(tone.seconds for tone in tones(call.heard()) if abs(tone.frequency - frequency) < 40)


def heard(call: Call) -> list[float]:
    """Frequencies that were heard, in order."""
    return [tone.frequency for tone in tones(call.heard())]


@case
async def test_a_second_hold_sends_no_reinvite_and_changes_the_music(world: World) -> None:
    action = world.script("action", "<Pause length='60'/>")
    second = element("Hold", holdMusic=world.tone(AFTER, 0.5), action=action)
    call = await caller(world, hold(world), "<Pause length='1'/>", second)
    await call.hears(MUSIC, within=PATIENT)
    assert outcome((await world.asked("action", within=PATIENT)).form, "Hold") == ("held", "200")
    await call.hears(AFTER, within=PATIENT)
    await call.hears_none_of(MUSIC)
    assert len(reinvites(call)) == 1
    await call.bye()
    await completed(world, call)


@case
async def test_a_caller_who_hangs_up_instead_of_answering_the_reinvite_leaves_nothing_behind(
    world: World,
) -> None:
    call = await world.call(await world.number(hold(world) + world.play(AFTER, 1.0)))
    call.decide = lambda request: request.method == "INVITE"
    await call.answered(PATIENT)
    await call.request_of("INVITE", PATIENT)
    assert (await call.bye()).code == 200
    await completed(world, call)


# ------------------------------------------------------------------ Resume


@case
async def test_a_held_caller_is_resumed_and_hears_the_document_alone(world: World) -> None:
    action = world.script("action", world.play(AFTER, 1.5))
    call = await caller(
        world, hold(world), "<Pause length='1'/>", element("Resume", action=action), "<Say>never</Say>"
    )
    await call.hears(MUSIC, within=PATIENT)
    seen = await world.asked("action", within=PATIENT)
    assert outcome(seen.form, "Resume") == ("resumed", "200")
    assert [await reinvited(call, n) for n in (1, 2)] == ["sendonly", "sendrecv"]
    await call.hears(AFTER, within=PATIENT)
    await call.hears_none_of(MUSIC)
    await call.over(PATIENT)
    await completed(world, call)


@case
async def test_a_caller_may_be_held_and_resumed_again(world: World) -> None:
    action = world.script("action", "<Hangup/>")
    both = hold(world) + "<Pause length='1'/><Resume/>"
    call = await caller(world, both, both, world.play(AFTER, 0.8), element("Redirect", action))
    await world.asked("action", within=PATIENT)
    directions = [direction_of(request.body) for request in reinvites(call)]
    assert directions == ["sendonly", "sendrecv"] * 2
    await call.over(PATIENT)
    assert heard(call)[-1] == pytest.approx(AFTER, abs=40)


@case
async def test_resume_of_a_caller_who_is_not_held_is_passed_over(world: World) -> None:
    action = world.script("action", "<Hangup/>")
    call = await caller(world, element("Resume", action=action), world.play(AFTER, 0.8))
    await call.over(PATIENT)
    assert played(call, AFTER) > 0.25
    assert (reinvites(call), world.count("action")) == ([], 0)
    await completed(world, call)


@case
async def test_a_phone_that_refuses_to_resume_stays_on_hold(world: World) -> None:
    action = world.script("action", "<Pause length='60'/>")
    call = await caller(
        world, hold(world), "<Pause length='1'/>", element("Resume", action=action), codes=(200, 488)
    )
    assert outcome((await world.asked("action", within=PATIENT)).form, "Resume") == ("failed", "488")
    await call.hears(MUSIC, within=PATIENT)
    await call.bye()
    await completed(world, call)


@case
async def test_somebody_who_is_dialed_after_a_hold_talks_with_the_caller_once_it_is_resumed(
    world: World,
) -> None:
    bob = await world.phone("bob")
    call = await caller(world, hold(world), "<Pause length='1'/>", "<Resume/>", dial(sip(bob)))
    callee = await answers(bob, within=PATIENT)
    assert [await reinvited(call, n) for n in (1, 2)] == ["sendonly", "sendrecv"]
    await talk(call, callee)
    await callee.bye()
    await call.over(PATIENT)


# ------------------------------------------------------------------ Refer


class Referred:
    """A phone that is asked to call somebody else, and tells what became of it."""

    def __init__(self, call: Call, code: int = 202) -> None:
        self.call = call
        self._code = code
        call.decide = self._decide

    def _decide(self, request: Message) -> bool:
        if request.method != "REFER":
            return False
        headers = [("Contact", self.call.phone.contact)]
        self.call.phone.send(reply_to(request, self._code, headers=headers))
        return True

    async def request(self) -> Message:
        """The REFER."""
        return await self.call.request_of("REFER", PATIENT)

    async def tells(self, code: int, phrase: str, *, last: bool) -> int:
        """Send a NOTIFY; returns what it is answered with."""
        state = "terminated;reason=noresource" if last else "active;expires=60"
        headers = [
            ("Event", "refer"),
            ("Subscription-State", state),
            ("Content-Type", "message/sipfrag;version=2.0"),
        ]
        response = await self.call.ask("NOTIFY", headers, f"SIP/2.0 {code} {phrase}\r\n".encode())
        return response.code


def refer(target: str, **attributes: object) -> str:
    """A Refer."""
    return element("Refer", element("Sip", target), **attributes)


async def asked_to_refer(world: World, *verbs: str, code: int = 202) -> Referred:
    """Somebody calls a document with a Refer."""
    call = await world.call(await world.number("".join(verbs)))
    phone = Referred(call, code)
    await call.answered(PATIENT)
    await phone.request()
    return phone


def told(form: dict[str, str]) -> tuple[str, str, str]:
    """What the action of a Refer is told."""
    return form["ReferCallStatus"], form["ReferSipResponseCode"], form["NotifySipResponseCode"]


async def record(world: World, call: Call) -> dict[str, Any]:
    """The Refer record of a call."""
    sid = (await call.answered()).get("X-RestComm-CallSid")

    async def rows() -> list[dict[str, Any]]:
        reply = await world.rest.get("Refers.json", PageSize="1000")
        assert reply.status == 200, reply
        return [row for row in reply.json["refers"] if row["call_sid"] == sid]

    (row,) = await eventually(rows, lambda found: len(found) == 1, PATIENT, f"a Refer of {sid}")
    alone = await world.rest.get(f"Refers/{row['sid']}.json")
    assert alone.json == row
    return row


@case
async def test_a_phone_that_reaches_the_target_ends_the_call_which_is_completed(world: World) -> None:
    action = world.script("action", "<Pause length='60'/>")
    phone = await asked_to_refer(
        world,
        refer("sip:carol@example.org?X-Order=47%2011&X-Color=red", action=action),
        "<Say>never</Say>",
    )
    request = await phone.request()
    assert uri_of(request.get("Refer-To")) == "sip:carol@example.org"
    assert (request.get("X-Order"), request.get("X-Color")) == ("47 11", "red")
    assert len(request.all("Referred-By")) <= 1
    assert await phone.tells(100, "Trying", last=False) == 200
    assert await phone.tells(180, "Ringing", last=False) == 200
    assert world.count("action") == 0
    assert await phone.tells(200, "OK", last=True) == 200
    seen = await world.asked("action", within=PATIENT)
    assert told(seen.form) == ("completed", "202", "200")
    assert (await phone.call.bye()).code == 200
    await completed(world, phone.call)
    row = await record(world, phone.call)
    assert row["sid"].startswith("RF")
    assert row["from"] == phone.call.phone.user
    assert "carol@example.org" in row["to"]
    assert row["call_status"] == "completed"
    assert (int(row["refer_sip_response_code"]), int(row["notify_sip_response_code"])) == (202, 200)


@case
async def test_a_phone_that_hangs_up_together_with_the_news_is_told_to_the_action_as_well(
    world: World,
) -> None:
    action = world.script("action", "<Hangup/>")
    phone = await asked_to_refer(world, refer("sip:carol@example.org", action=action))
    await together([phone.tells(200, "OK", last=True), hang_up(phone.call)])
    seen = await world.asked("action", within=PATIENT)
    assert told(seen.form) == ("completed", "202", "200")
    await completed(world, phone.call)


async def hang_up(call: Call) -> int:
    """Hang up; returns the code of the answer."""
    return (await call.bye()).code


@case
async def test_a_phone_that_hangs_up_without_news_has_failed(world: World) -> None:
    action = world.script("action", "<Hangup/>")
    phone = await asked_to_refer(world, refer("sip:carol@example.org", action=action))
    assert await hang_up(phone.call) == 200
    status, _, notified = told((await world.asked("action", within=PATIENT)).form)
    assert (status, notified) == ("failed", "")
    await completed(world, phone.call)


@case
async def test_a_busy_target_lets_the_document_go_on(world: World) -> None:
    action = world.script("action", world.play(AFTER, 0.8))
    phone = await asked_to_refer(world, refer("sip:carol@example.org", action=action), "<Say>never</Say>")
    assert await phone.tells(100, "Trying", last=False) == 200
    assert await phone.tells(486, "Busy Here", last=True) == 200
    assert told((await world.asked("action", within=PATIENT)).form) == ("busy", "202", "486")
    await phone.call.over(PATIENT)
    assert played(phone.call, AFTER) > 0.25
    await completed(world, phone.call)
    assert (await record(world, phone.call))["call_status"] == "busy"


@case
async def test_a_refused_refer_has_failed_and_has_no_status_of_a_call(world: World) -> None:
    action = world.script("action", world.play(AFTER, 0.8))
    phone = await asked_to_refer(world, refer("sip:carol@example.org", action=action), code=603)
    assert told((await world.asked("action", within=PATIENT)).form) == ("failed", "603", "")
    await phone.call.over(PATIENT)
    assert played(phone.call, AFTER) > 0.25
    await completed(world, phone.call)
    row = await record(world, phone.call)
    assert int(row["refer_sip_response_code"]) == 603
    assert not {"call_status", "notify_sip_response_code"} & row.keys()


@case
async def test_without_an_action_the_next_verb_follows_a_refer_that_failed(world: World) -> None:
    phone = await asked_to_refer(world, refer("sip:carol@example.org"), world.play(AFTER, 0.8))
    assert await phone.tells(404, "Not Found", last=True) == 200
    await phone.call.over(PATIENT)
    assert played(phone.call, AFTER) > 0.25
    assert world.count("voice") == 1


@case
async def test_a_caller_may_be_referred_again_after_a_failure(world: World) -> None:
    action = world.script("action", refer("sip:dave@example.org", action=world.script("second", "<Hangup/>")))
    phone = await asked_to_refer(world, refer("sip:carol@example.org", action=action))
    assert await phone.tells(480, "Temporarily Unavailable", last=True) == 200
    assert told((await world.asked("action", within=PATIENT)).form) == ("no-answer", "202", "480")
    await phone.call.changes.until(
        lambda: len({r.get("CSeq") for _, r in phone.call.requests if r.method == "REFER"}) == 2,
        PATIENT,
        "a second REFER",
    )
    assert await phone.tells(200, "OK", last=True) == 200
    assert told((await world.asked("second", within=PATIENT)).form) == ("completed", "202", "200")
    await phone.call.over(PATIENT)


@case
async def test_a_held_caller_is_referred(world: World) -> None:
    action = world.script("action", "<Pause length='60'/>")
    call = await world.call(await world.number(hold(world) + refer("sip:carol@example.org", action=action)))
    phone = Referred(call)
    follow = phone._decide
    follows(call)
    reinvite = call.decide
    assert reinvite is not None
    call.decide = lambda request: follow(request) or reinvite(request)
    await call.answered(PATIENT)
    await phone.request()
    assert await reinvited(call) == "sendonly"
    await call.hears(MUSIC, within=PATIENT)
    assert await phone.tells(200, "OK", last=True) == 200
    assert told((await world.asked("action", within=PATIENT)).form) == ("completed", "202", "200")
    await call.bye()
    await completed(world, call)


# ------------------------------------------------------------------ holds of phones, and re-INVITE at once


async def offers(call: Call, direction: str, version: int) -> int:
    """Send a re-INVITE; returns the code of the answer."""
    return (await call.reinvite(offer(call.rtp.port, direction=direction, version=version))).code


@case
async def test_both_may_hold_at_once_and_come_back_one_after_the_other(world: World) -> None:
    bob = await world.phone("bob")
    _, call, callee = await bridged(world, dial(sip(bob)), bob)
    assert await together([offers(call, "sendonly", 2), offers(callee, "sendonly", 2)]) == [200, 200]
    assert await offers(call, "sendrecv", 3) == 200
    await hears_music(call)
    await call.hears_none_of(CALLER, CALLEE)
    assert await offers(callee, "sendrecv", 3) == 200
    await talk(call, callee)
    await callee.bye()
    await call.over(PATIENT)


@case
async def test_a_hold_by_both_sides_of_one_leg_ends_with_the_later_resume(world: World) -> None:
    bob = await world.phone("bob")
    _, call, callee = await bridged(world, dial(sip(bob)), bob)
    follows(call)
    sid = (await call.answered()).get("X-RestComm-CallSid")
    assert (await world.rest.post(f"Calls/{sid}/Hold.json")).status == 200
    assert await reinvited(call) == "sendonly"
    await hears_music(callee)
    assert await offers(call, "inactive", 10) == 200

    def still_holds(request: Message) -> bool:
        if request.method == "INVITE":
            answer(call, request, direction="inactive")
        return request.method == "INVITE"

    call.decide = still_holds
    assert (await world.rest.post(f"Calls/{sid}/Resume.json")).status == 200
    await reinvited(call, 2)
    await hears_music(callee)
    assert await offers(call, "sendrecv", 11) == 200
    await talk(call, callee)
    await callee.bye()
    await call.over(PATIENT)


@case
async def test_reinvites_of_both_at_once_do_not_break_the_call(world: World) -> None:
    bob = await world.phone("bob")
    _, call, callee = await bridged(world, dial(sip(bob)), bob)
    sid = (await call.answered()).get("X-RestComm-CallSid")
    crossing: list[int] = []

    def decide(request: Message) -> bool:
        """Send a re-INVITE before the one of the engine is answered, and refuse that."""
        if request.method != "INVITE":
            return False
        if crossing:
            answer(call, request)
            return True
        body = offer(call.rtp.port, direction="sendonly", version=5)
        own = call.compose("INVITE", [("Content-Type", "application/sdp")], body)

        def answered(response: Message) -> None:
            if response.code >= 200:
                crossing.append(response.code)
                kept = own.branch if response.code >= 300 else ""
                call.phone.send(call.compose("ACK", branch=kept))
                call.phone.send(reply_to(request, 491))
                call.changes.tell()

        call.phone.transmit(own, answered)
        return True

    call.decide = decide
    held = world.script("held", "")
    assert (await world.rest.post(f"Calls/{sid}/Hold.json", Action=held)).status == 200
    status, code = outcome((await world.asked("held", within=PATIENT)).form, "Hold")
    assert crossing[0] == 491
    assert (status, code) in (("held", "200"), ("failed", "491"))  # tried again, or given up
    follows(call)
    if status == "held":
        assert (await world.rest.post(f"Calls/{sid}/Resume.json")).status == 200
    await talk(call, callee)
    assert await offers(call, "sendonly", 8) == 200
    await hears_music(callee)
    assert await offers(call, "sendrecv", 9) == 200
    await talk(call, callee)
    await callee.bye()
    await call.over(PATIENT)
    await completed(world, call)
