"""Acceptance cases AC44 to AC50, AC52, AC53: Dial, who rings, how it ends, what the action is told."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest
from dialing import CALLEE, PATIENT, answers, bridged, client, sip, talk
from sipcall import FAINT, Call, strength
from sipphone import Phone
from siptext import Message
from sound import RATE, assert_tones, sounding, tones
from waiting import now, stays, together
from world import World, case, dial, element

pytestmark = pytest.mark.loopback


def dial_parameters(form: dict[str, str]) -> dict[str, str]:
    """What a Dial action is told of the Dial."""
    return {name: value for name, value in form.items() if name.startswith("Dial")}


# ------------------------------------------------------------------ AC44 to AC48: after the Dial


@case
async def test_ac44_the_caller_of_a_callee_who_hung_up_hears_the_next_verb(world: World) -> None:
    rob = await world.registered("ac44rob")
    number, call, callee = await bridged(world, dial(client("ac44rob")), rob, "<Say>Thank you, bye</Say>")
    assert (await callee.bye()).code == 200
    left = now()
    await call.over(PATIENT)
    heard = call.heard(since=left + 0.4)

    assert sounding(heard) > 0.3, "the Say is spoken"
    assert strength(heard, CALLEE) < FAINT
    (row,) = await world.dialed(number)
    assert (row["direction"], row["status"], row["to"]) == ("outbound-dial", "completed", "ac44rob")
    assert (row["from"], row["parent_call_sid"]) == ("+15550001", await world.sid(number))
    assert row["duration"] >= 1
    parent = await world.row(number)
    assert (parent["status"], parent["direction"]) == ("completed", "inbound")
    assert parent["duration"] >= row["duration"]


@case
async def test_ac45_a_busy_callee_is_told_to_the_action(world: World) -> None:
    rob = await world.registered("ac45rob")
    action = world.script("action", world.play(1300, 0.4))
    number = await world.number(dial(client("ac45rob"), action=action) + "<Say>never</Say>")
    call = await world.call(number)
    callee = await rob.offered(1, PATIENT)
    callee.ring()
    await call.hears(440, 480, within=PATIENT)
    callee.refuse(486)
    seen = await world.asked("action", within=PATIENT)
    await call.over(PATIENT)

    (row,) = await world.dialed(number)
    told = dial_parameters(seen.form)
    assert abs(int(told.pop("DialRingDuration")) - row["ring_duration"]) <= 1
    assert told == {"DialCallSid": row["sid"], "DialCallStatus": "busy", "DialCallDuration": "0"}
    assert (seen.method, seen.form["CallStatus"]) == ("POST", "in-progress")
    assert seen.form["OutboundCallSid"] == row["sid"]
    assert (row["status"], row["duration"]) == ("busy", 0)
    assert world.count("action") == 1
    assert_tones(call.heard(since=seen.at), [(1300, 0.4)])


@case
async def test_ac46_an_unanswered_callee_is_cancelled_after_the_timeout(world: World) -> None:
    rob = await world.registered("ac46rob")
    action = world.script("action", "<Hangup/>")
    number = await world.number(dial(client("ac46rob"), action=action, timeout=5))
    call = await world.call(number)
    callee = await rob.offered(1, PATIENT)
    rang = now()
    callee.ring()
    await callee.request_of("CANCEL", 10)
    waited = now() - rang
    seen = await world.asked("action", within=PATIENT)
    await call.over(PATIENT)

    assert 4.5 < waited < 7
    await callee.request_of("ACK", PATIENT)  # of the 487
    (row,) = await world.dialed(number)
    told = dial_parameters(seen.form)
    assert 4 <= int(told.pop("DialRingDuration")) <= 7
    assert told == {"DialCallSid": row["sid"], "DialCallStatus": "no-answer", "DialCallDuration": "0"}
    assert (row["status"], row["duration"]) == ("no-answer", 0)


@case
async def test_ac47_an_unregistered_client_is_a_failed_dial(world: World) -> None:
    await world.rest.client("ac47rob", "RestComm1234")
    action = world.script("action", "<Hangup/>")
    number = await world.number(dial(client("ac47rob"), action=action))
    call = await world.call(number)
    seen = await world.asked("action", within=PATIENT)
    await call.over(PATIENT)

    assert dial_parameters(seen.form) == {
        "DialCallSid": "",
        "DialCallStatus": "failed",
        "DialCallDuration": "0",
    }
    assert await world.rest.calls(ParentCallSid=await world.sid(number)) == []
    await world.rest.notified(11008, seen.form["CallSid"], PATIENT)


@case
async def test_ac48_after_an_unregistered_client_the_next_verb_follows(world: World) -> None:
    number = await world.number(dial(client("ac48nobody")) + world.play(1300, 0.4))
    call = await world.call(number)
    await call.over(PATIENT)

    assert_tones(call.heard(), [(1300, 0.4)])


@case
async def test_a_callee_who_declines_is_busy_and_one_who_fails_is_failed(world: World) -> None:
    async def refused(code: int, status: str) -> None:
        rob = await world.phone(f"rob{code}")
        action = world.script(f"action{code}", "<Hangup/>")
        number = await world.number(dial(sip(rob), action=action), name=f"voice{code}")
        call = await world.call(number)
        callee = await rob.offered(1, PATIENT)
        callee.refuse(code)
        seen = await world.asked(f"action{code}", within=PATIENT)
        await call.over(PATIENT)
        assert (code, seen.form["DialCallStatus"]) == (code, status)
        assert seen.form["DialSipResponseCode"] == str(code)
        assert [row["status"] for row in await world.dialed(number)] == [status]

    codes = {600: "busy", 603: "busy", 302: "failed", 404: "failed", 480: "failed", 500: "failed"}
    await together([refused(code, status) for code, status in codes.items()])


@case
async def test_a_phone_that_says_nothing_at_all_is_given_up_after_the_timeout(world: World) -> None:
    rob = await world.phone("silentrob")
    action = world.script("action", world.play(1300, 0.4))
    number = await world.number(dial(sip(rob), action=action, timeout=3))
    call = await world.call(number)
    callee = await rob.offered(1, PATIENT)
    await call.hears(440, 480)
    seen = await world.asked("action", within=PATIENT)
    await call.over(PATIENT)

    assert seen.form["DialCallStatus"] == "no-answer"
    assert callee.requests == [], "RFC 3261 section 9.1: no CANCEL before a provisional response"
    assert [row["status"] for row in await world.dialed(number)] == ["no-answer"]
    callee.refuse(480)  # it wakes up


@case
async def test_a_callee_at_a_port_where_nobody_listens_does_not_keep_the_caller_for_ever(
    world: World,
) -> None:
    gone = await Phone(world.engine.address(), "gone").open()
    uri = gone.uri
    await gone.close()
    number = await world.number(dial(element("Sip", uri), timeout=2) + world.play(1300, 0.4))
    call = await world.call(number)
    await call.over(PATIENT)

    assert tones(call.heard())[-1].frequency == pytest.approx(1300, abs=30)
    (row,) = await world.dialed(number)
    assert row["status"] in ("no-answer", "failed")


@case
async def test_two_dials_in_one_document_call_one_after_the_other(world: World) -> None:
    first, second = await world.phone("firstrob"), await world.phone("secondrob")
    number = await world.number(dial(sip(first)) + dial(sip(second)) + world.play(1300, 0.4))
    call = await world.call(number)
    refusing = await first.offered(1, PATIENT)
    refusing.ring()
    assert second.offers == []
    refusing.refuse(486)
    callee = await answers(second)
    await talk(call, callee)
    await callee.bye()
    left = now()
    await call.over(PATIENT)

    assert tones(call.heard(since=left))[-1].frequency == pytest.approx(1300, abs=30)
    rows = await world.dialed(number, 2)
    assert {row["to"]: row["status"] for row in rows} == {"firstrob": "busy", "secondrob": "completed"}


@case
async def test_a_second_dial_after_an_answered_one_joins_the_caller_with_the_next(world: World) -> None:
    first, second = await world.phone("first"), await world.phone("second")
    number, call, callee = await bridged(world, dial(sip(first)) + dial(sip(second)), first)
    await callee.bye()
    other = await answers(second)
    await talk(call, other)
    assert (await call.bye()).code == 200
    await other.over(PATIENT)

    assert {row["status"] for row in await world.dialed(number, 2)} == {"completed"}


@case
async def test_the_reply_to_the_action_may_redirect_and_replaces_the_document(world: World) -> None:
    rob = await world.phone("rob")
    target = world.script("far/target", world.play(1300, 0.4))
    action = world.script("action", element("Redirect", target))
    verb = dial(sip(rob), action=action, method="GET")
    _, call, callee = await bridged(world, verb, rob, "<Say>no</Say>")
    await callee.bye()
    left = now()
    seen = await world.asked("action", within=PATIENT)
    await call.over(PATIENT)

    assert seen.method == "GET"
    assert seen.query["DialCallStatus"] == "completed"
    assert int(seen.query["DialCallDuration"]) >= 1
    assert world.count("far/target") == 1
    assert_tones(call.heard(since=left)[-round(0.7 * RATE) :], [(1300, 0.4)])


@case
async def test_dial_with_nobody_in_it_is_skipped(world: World) -> None:
    number = await world.number(dial() + world.play(1300, 0.4))
    call = await world.call(number)
    await call.over(PATIENT)

    assert_tones(call.heard(), [(1300, 0.4)])


@case
async def test_the_text_of_a_dial_names_a_client_or_a_uri(world: World) -> None:
    rob = await world.registered("textrob")
    ann = await world.phone("textann")
    number = await world.number(dial("client:textrob") + dial(ann.uri))
    call = await world.call(number)
    (await rob.offered(1, PATIENT)).refuse(486)
    callee = await answers(ann)
    await talk(call, callee)
    await callee.bye()
    await call.over(PATIENT)


# ------------------------------------------------------------------ AC49: forks


@case
async def test_the_first_answer_of_a_fork_wins_and_the_others_are_cancelled(world: World) -> None:
    ann = await world.registered("forkann")
    tablet = await world.device("forkann")
    rob, late = await world.phone("forkrob"), await world.phone("forklate")
    action = world.script("action", "<Hangup/>")
    nouns = (client("forkann"), sip(rob), sip(late))
    number = await world.number(dial(*nouns, action=action))
    call = await world.call(number)
    offers = [await phone.offered(1, PATIENT) for phone in (ann, tablet, rob, late)]
    at_ann, at_tablet, at_rob, at_late = offers
    for one in offers:
        one.ring()
    at_late.stubborn = True
    await call.hears(440, 480, within=PATIENT)
    at_tablet.answer()
    for loser in (at_ann, at_rob, at_late):
        await loser.request_of("CANCEL", PATIENT)
    await talk(call, at_tablet)

    methods = [request.method for _, request in at_ann.requests]
    assert methods == ["CANCEL", "ACK"]
    await at_late.over(PATIENT)  # it answered after the CANCEL: acknowledged and hung up
    assert "ACK" in [request.method for _, request in at_late.requests]
    assert world.count("action") == 0, "the losers end nothing"
    await at_tablet.bye()
    seen = await world.asked("action", within=PATIENT)
    await call.over(PATIENT)
    rows = await world.dialed(number, 4)
    winner = next(row for row in rows if row["sid"] == seen.form["DialCallSid"])
    assert (winner["to"], winner["status"]) == ("forkann", "completed")
    losers = [row["status"] for row in rows if row is not winner]
    assert sorted(losers)[:2] == ["canceled", "canceled"]
    assert sorted(losers)[2] in ("canceled", "completed"), "the one that answered too late"
    assert seen.form["DialCallStatus"] == "completed"


@case
async def test_a_busy_branch_leaves_the_others_ringing(world: World) -> None:
    rob, ann = await world.phone("rob"), await world.phone("ann")
    action = world.script("action", "<Hangup/>")
    number = await world.number(dial(sip(rob), sip(ann), action=action))
    call = await world.call(number)
    busy = await rob.offered(1, PATIENT)
    callee = await ann.offered(1, PATIENT)
    callee.ring()
    busy.refuse(486)
    await call.hears(440, 480, within=PATIENT)
    callee.answer()
    await talk(call, callee)
    assert world.count("action") == 0
    await callee.bye()
    seen = await world.asked("action", within=PATIENT)
    await call.over(PATIENT)

    assert seen.form["DialCallStatus"] == "completed"
    rows = await world.dialed(number, 2)
    assert {row["to"]: row["status"] for row in rows} == {"rob": "busy", "ann": "completed"}


@case
async def test_when_all_are_busy_the_action_is_told_once(world: World) -> None:
    rob, ann = await world.phone("rob"), await world.phone("ann")
    action = world.script("action", "<Hangup/>")
    number = await world.number(dial(sip(rob), sip(ann), action=action))
    call = await world.call(number)
    first, second = await rob.offered(1, PATIENT), await ann.offered(1, PATIENT)
    first.refuse(486)
    await first.request_of("ACK", PATIENT)
    await stays(lambda: world.count("action") == 0, 0.3, "one still rings")
    second.refuse(486, [("X-Why", "meeting")])
    seen = await world.asked("action", within=PATIENT)
    await call.over(PATIENT)

    assert seen.form["DialCallStatus"] == "busy"
    assert seen.form["DialSipCallId"] == second.call_id, "the branch that ended last"
    assert seen.form["DialSipHeader_X-Why"] == "meeting"
    assert [row["status"] for row in await world.dialed(number, 2)] == ["busy", "busy"]
    assert world.count("action") == 1


@case
async def test_the_timeout_of_a_fork_cancels_all(world: World) -> None:
    rob, ann = await world.phone("rob"), await world.phone("ann")
    number = await world.number(dial(sip(rob), sip(ann), timeout=2) + world.play(1300, 0.4))
    call = await world.call(number)
    offers = [await rob.offered(1, PATIENT), await ann.offered(1, PATIENT)]
    for one in offers:
        one.ring()
    for one in offers:
        await one.request_of("CANCEL", PATIENT)
    await call.over(PATIENT)

    assert tones(call.heard())[-1].frequency == pytest.approx(1300, abs=30)
    assert [row["status"] for row in await world.dialed(number, 2)] == ["no-answer"] * 2


@case
async def test_of_eleven_nouns_ten_ring_and_the_last_of_them_may_win(world: World) -> None:
    phones = [await world.phone(f"fork{number}") for number in range(11)]
    number = await world.number(dial(*(sip(phone) for phone in phones)))
    call = await world.call(number)
    offers = [await phone.offered(1, PATIENT) for phone in phones[:10]]
    for one in offers:
        one.ring()
    await call.hears(440, 480, within=PATIENT)
    callee = offers[-1]
    callee.answer()
    for loser in offers[:-1]:
        await loser.request_of("CANCEL", PATIENT)
    await talk(call, callee)
    call.rtp.press("8")
    await callee.keys("8")
    await callee.bye()
    await call.over(PATIENT)

    assert phones[10].offers == []
    await world.rest.notified(12200, await world.sid(number), PATIENT)
    statuses = [row["status"] for row in await world.dialed(number, 10)]
    assert sorted(statuses) == ["canceled"] * 9 + ["completed"]


@case
async def test_a_callee_who_answers_when_the_dial_has_timed_out_is_hung_up_on(world: World) -> None:
    rob = await world.phone("rob")
    number = await world.number(dial(sip(rob), timeout=2) + world.play(1300, 2.0))
    call = await world.call(number)
    callee = await rob.offered(1, PATIENT)
    callee.hum(CALLEE)
    callee.ring()
    callee.stubborn = True
    await callee.over(PATIENT)
    await call.over(PATIENT)

    assert "ACK" in [request.method for _, request in callee.requests]
    heard = call.heard()
    assert strength(heard, CALLEE) < FAINT
    assert tones(heard)[-1].frequency == pytest.approx(1300, abs=30)


@case
async def test_a_callee_who_answers_when_the_caller_has_left_is_hung_up_on(world: World) -> None:
    rob = await world.phone("rob")
    action = world.script("action", "")
    number = await world.number(dial(sip(rob), action=action))
    call = await world.call(number)
    callee = await rob.offered(1, PATIENT)
    callee.ring()
    callee.stubborn = True
    await call.answered(PATIENT)
    await call.bye()
    await callee.over(PATIENT)
    seen = await world.asked("action", within=PATIENT)

    assert "ACK" in [request.method for _, request in callee.requests]
    assert seen.form["DialCallStatus"] == "canceled"
    await world.dialed(number)


@case
async def test_all_answer_at_the_same_moment_and_only_one_is_joined(world: World) -> None:
    phones = [await world.phone(f"fast{number}") for number in range(3)]
    number = await world.number(dial(*(sip(phone) for phone in phones)))
    call = await world.call(number)
    offers = [await phone.offered(1, PATIENT) for phone in phones]
    for at, one in enumerate(offers):
        one.hum(CALLEE + 200 * at)
        one.answer()
    call.hum(500)
    await call.answered(PATIENT)
    for one in offers:
        await one.answered(PATIENT)
    await call.changes.until(lambda: sum(not one.over_at for one in offers) == 1, PATIENT, "two are over")
    (winner,) = [one for one in offers if not one.over_at]
    voice = CALLEE + 200 * offers.index(winner)
    await together([call.hears(voice), winner.hears(500)])
    await call.hears_none_of(*(CALLEE + 200 * at for at in range(3) if CALLEE + 200 * at != voice))
    await winner.bye()
    await call.over(PATIENT)

    assert len(await world.dialed(number, 3)) == 3


# ------------------------------------------------------------------ AC50: limits and ends


@case
async def test_ac50_both_are_hung_up_on_when_the_time_is_over(world: World) -> None:
    rob = await world.phone("rob")
    action = world.script("action", world.play(1300, 0.4))
    number, call, callee = await bridged(world, dial(sip(rob), timeLimit=10, action=action), rob)
    joined = callee.answered_at
    await callee.over(15)
    await call.over(PATIENT)

    assert 9.5 < callee.over_at - joined < 13
    assert abs(call.over_at - callee.over_at) < 2
    seen = await world.asked("action", within=PATIENT)
    assert seen.form["DialCallStatus"] == "completed"
    assert 9 <= int(seen.form["DialCallDuration"]) <= 13
    (row,) = await world.dialed(number)
    assert row["status"] == "completed"
    assert 9 <= row["duration"] <= 13


@case
async def test_a_caller_who_hangs_up_while_it_rings_cancels_the_callee(world: World) -> None:
    rob = await world.phone("rob")
    action = world.script(
        "action", world.play(1300, 0.4) + f"<Redirect>{world.script('never', '')}</Redirect>"
    )
    number = await world.number(dial(sip(rob), action=action))
    call = await world.call(number)
    callee = await rob.offered(1, PATIENT)
    callee.ring()
    await call.hears(440, 480, within=PATIENT)
    assert (await call.bye()).code == 200
    await callee.request_of("CANCEL", PATIENT)
    seen = await world.asked("action", within=PATIENT)

    (row,) = await world.dialed(number)
    assert (row["status"], row["duration"]) == ("canceled", 0)
    assert seen.form["CallStatus"] == "completed"
    assert seen.form["DialCallStatus"] == "canceled"
    assert (seen.form["DialCallSid"], seen.form["DialCallDuration"]) == (row["sid"], "0")
    assert (await world.row(number))["status"] == "completed"
    await stays(lambda: world.count("never") == 0, 0.5, "nothing of the reply runs")
    assert world.count("action") == 1


@case
async def test_a_caller_who_hangs_up_in_the_call_ends_the_callee(world: World) -> None:
    rob = await world.phone("rob")
    action = world.script("action", world.play(1300, 0.4))
    number, call, callee = await bridged(world, dial(sip(rob), action=action), rob)
    assert (await call.bye()).code == 200
    await callee.over(PATIENT)
    seen = await world.asked("action", within=PATIENT)

    assert seen.form["CallStatus"] == "completed"
    assert seen.form["DialCallStatus"] == "completed"
    assert int(seen.form["DialCallDuration"]) >= 1
    (row,) = await world.dialed(number)
    assert (row["status"], row["sid"]) == ("completed", seen.form["DialCallSid"])
    assert str(row["duration"]) == seen.form["DialCallDuration"]
    assert (await world.row(number))["status"] == "completed"


@case
async def test_a_program_that_ends_the_dialed_leg_lets_the_caller_go_on(world: World) -> None:
    rob = await world.phone("rob")
    number, call, callee = await bridged(world, dial(sip(rob)), rob, world.play(1300, 0.4))
    rows = await world.rest.calls(ParentCallSid=await world.sid(number))
    assert [row["status"] for row in rows] == ["in-progress"]
    reply = await world.rest.post(f"Calls/{rows[0]['sid']}.json", Status="completed")
    assert reply.status == 200
    await callee.over(PATIENT)
    await call.over(PATIENT)

    assert tones(call.heard())[-1].frequency == pytest.approx(1300, abs=30)


@case
async def test_a_program_that_cancels_a_ringing_leg_is_a_canceled_dial(world: World) -> None:
    rob = await world.phone("rob")
    action = world.script("action", world.play(1300, 0.4))
    number = await world.number(dial(sip(rob), action=action))
    call = await world.call(number)
    callee = await rob.offered(1, PATIENT)
    callee.ring()
    await call.hears(440, 480, within=PATIENT)
    (row,) = await world.rest.calls(ParentCallSid=await world.sid(number))
    assert row["status"] == "ringing"
    reply = await world.rest.post(f"Calls/{row['sid']}.json", Status="canceled")
    assert reply.status == 200
    await callee.request_of("CANCEL", PATIENT)
    seen = await world.asked("action", within=PATIENT)
    await call.over(PATIENT)

    assert seen.form["DialCallStatus"] == "canceled"
    assert [row["status"] for row in await world.dialed(number)] == ["canceled"]
    assert tones(call.heard())[-1].frequency == pytest.approx(1300, abs=30)


@case
async def test_a_program_that_ends_the_caller_ends_whom_it_called(world: World) -> None:
    ringing, talking = await world.phone("ringing"), await world.phone("talking")
    status = world.script("status", "")
    first = await world.number(dial(sip(ringing)), name="first")
    second = await world.number(dial(sip(talking)), name="second", StatusCallback=status)
    one, other = await world.call(first), await world.call(second)
    rings = await ringing.offered(1, PATIENT)
    rings.ring()
    callee = await answers(talking)
    await together([one.answered(PATIENT), other.answered(PATIENT)])
    for number in (first, second):
        reply = await world.rest.post(f"Calls/{await world.sid(number)}.json", Status="completed")
        assert reply.status == 200
    await together([one.over(PATIENT), other.over(PATIENT), callee.over(PATIENT)])
    await rings.request_of("CANCEL", PATIENT)

    assert [row["status"] for row in await world.dialed(first)] == ["canceled"]
    assert [row["status"] for row in await world.dialed(second)] == ["completed"]
    assert await world.statuses(3, within=PATIENT) == ["ringing", "in-progress", "completed"]


@case
async def test_the_star_of_the_caller_ends_the_callee_and_the_caller_goes_on(world: World) -> None:
    rob = await world.phone("rob")
    action = world.script("action", world.play(1300, 0.4))
    number, call, callee = await bridged(world, dial(sip(rob), action=action, hangupOnStar="true"), rob)
    call.rtp.press("5")
    await callee.keys("5")
    assert callee.live
    call.rtp.press("*")
    await callee.over(PATIENT)
    seen = await world.asked("action", within=PATIENT)
    await call.over(PATIENT)

    assert seen.form["DialCallStatus"] == "completed"
    assert tones(call.heard())[-1].frequency == pytest.approx(1300, abs=30)
    assert callee.rtp.digits() == "5"
    assert [row["status"] for row in await world.dialed(number)] == ["completed"]


@case
async def test_a_star_by_sip_info_ends_the_callee_as_well(world: World) -> None:
    rob = await world.phone("rob")
    _, call, callee = await bridged(world, dial(sip(rob), hangupOnStar="true"), rob, world.play(1300, 0.4))
    assert (await call.info("*")).code == 200
    await callee.over(PATIENT)
    await call.over(PATIENT)
    assert tones(call.heard())[-1].frequency == pytest.approx(1300, abs=30)


@case
async def test_the_star_of_the_callee_ends_nothing(world: World) -> None:
    rob = await world.phone("rob")
    _, call, callee = await bridged(world, dial(sip(rob), hangupOnStar="true"), rob)
    callee.rtp.press("*")
    await call.keys("*")
    assert callee.live
    await callee.bye()
    await call.over(PATIENT)


@case
async def test_a_star_is_an_ordinary_key_without_hangup_on_star(world: World) -> None:
    rob = await world.phone("rob")
    _, call, callee = await bridged(world, dial(sip(rob)), rob)
    call.rtp.press("*1")
    await callee.keys("*1")
    assert callee.live
    await callee.bye()
    await call.over(PATIENT)


@case
async def test_both_hang_up_at_the_same_moment(world: World) -> None:
    rob = await world.phone("rob")
    action = world.script("action", "<Hangup/>")
    number, call, callee = await bridged(world, dial(sip(rob), action=action), rob)
    await together([call.bye(), callee.bye()])
    seen = await world.asked("action", within=PATIENT)

    assert seen.form["DialCallStatus"] == "completed"
    assert (await world.row(number))["status"] == "completed"
    assert [row["status"] for row in await world.dialed(number)] == ["completed"]
    await stays(lambda: world.count("action") == 1, 0.5, "the action is told once")


@case
async def test_an_action_that_is_missing_ends_the_call(world: World) -> None:
    rob = await world.phone("rob")
    number = await world.number(dial(sip(rob), action=f"{world.app.url}/nowhere") + "<Say>never</Say>")
    call = await world.call(number)
    callee = await rob.offered(1, PATIENT)
    await call.answered(PATIENT)
    callee.refuse(486)
    await call.over(PATIENT)

    await world.rest.notified(21402, await world.sid(number), PATIENT)


@case
async def test_wrong_attributes_are_warnings_and_the_defaults_hold(world: World) -> None:
    rob = await world.phone("rob")
    action = world.script("action", "<Hangup/>")
    wrong = {"timeout": "soon", "timeLimit": "x", "method": "PUT"}
    number = await world.number(dial(sip(rob), action=action, **wrong))
    call = await world.call(number)
    callee = await rob.offered(1, PATIENT)
    await call.answered(PATIENT)
    callee.refuse(486)
    seen = await world.asked("action", within=PATIENT)
    await call.over(PATIENT)

    assert seen.method == "POST"
    for code in (13210, 13212, 13216):
        await world.rest.notified(code, await world.sid(number), PATIENT)


@case
async def test_uris_that_cannot_be_called_are_failed_branches_beside_one_that_can(world: World) -> None:
    rob = await world.phone("rob")
    bad = [element("Sip", "rob"), element("Sip", f"sip:{'x' * 300}@127.0.0.1"), element("Uri", rob.uri)]
    number = await world.number(dial(*bad))
    call = await world.call(number)
    callee = await answers(rob)
    await talk(call, callee)
    assert len(rob.offers) == 1
    await callee.bye()
    await call.over(PATIENT)

    assert len(await world.dialed(number)) == 1


# ------------------------------------------------------------------ AC52 and AC53: Sip


@case
async def test_ac52_headers_of_a_sip_uri_are_sent_with_x_and_not_in_the_uri(world: World) -> None:
    rob = await world.phone("rob")
    noun = sip(rob, "?mycustomheader=foo&amp;X-Other=two%20words")
    number = await world.number(dial(noun))
    call = await world.call(number, headers=[("X-Tenant", "42")])
    callee = await answers(rob)

    assert callee.invite.uri == rob.uri
    assert callee.invite.get("X-mycustomheader") == "foo"
    assert callee.invite.get("X-Other") == "two words"
    assert callee.invite.get("mycustomheader") == ""
    assert callee.invite.get("X-Tenant") == "", "headers of the caller are not copied"
    assert callee.invite.get("Call-ID") != call.call_id
    (row,) = await world.rest.calls(ParentCallSid=await world.sid(number))
    assert callee.invite.get("X-RestComm-CallSid") == row["sid"]
    assert "sip:+15550001@" in callee.invite.get("From")
    await callee.bye()
    await call.over(PATIENT)


@case
async def test_the_called_side_may_be_shown_another_name(world: World) -> None:
    rob = await world.phone("rob")
    number = await world.number(dial(sip(rob), callerId="1234", callerName="Front Desk"))
    call = await world.call(number)
    callee = await rob.offered(1, PATIENT)
    sender = callee.invite.get("From")
    assert "Front Desk" in sender
    assert "<sip:1234@" in sender
    callee.refuse(486)
    await call.over(PATIENT)


def digest_is_right(header: str, uri: str, user: str, password: str) -> bool:
    """Whether an Authorization answers an MD5 challenge."""
    given = {k: v.strip('"') for k, v in re.findall(r'(\w+)=("[^"]*"|[^,\s]+)', header)}

    def md5(*parts: str) -> str:
        return hashlib.md5(":".join(parts).encode(), usedforsecurity=False).hexdigest()

    ha1, ha2 = md5(user, given["realm"], password), md5("INVITE", uri)
    expected = md5(ha1, given["nonce"], given["nc"], given["cnonce"], given["qop"], ha2)
    return (given["username"], given["uri"], given["response"]) == (user, uri, expected)


async def with_credentials(call: Call) -> Message:
    """Ask a caller for a password; returns the INVITE that has it."""
    challenge = 'Digest realm="there", nonce="n1", algorithm=MD5, qop="auth"'
    call.refuse(401, [("WWW-Authenticate", challenge)])

    def again() -> Message | None:
        mine = [m for _, m in call.phone.messages if m.get("Call-ID") == call.call_id]
        return next((m for m in mine if m.get("Authorization")), None)

    found: Any = await call.phone.changes.until(again, PATIENT, "an INVITE with credentials")
    return found  # type: ignore[no-any-return]


@case
async def test_ac53_a_peer_that_asks_for_a_password_gets_that_of_the_noun(world: World) -> None:
    rob = await world.phone("rob")
    number = await world.number(dial(sip(rob, username="joe", password="secret&1")))
    call = await world.call(number)
    callee = await rob.offered(1, PATIENT)
    first = callee.invite
    second = await with_credentials(callee)
    assert int(second.get("CSeq").split()[0]) > int(first.get("CSeq").split()[0])
    assert digest_is_right(second.get("Authorization"), second.uri, "joe", "secret&1")
    callee.offered(second)
    callee.answer()
    await talk(call, callee)
    await callee.bye()
    await call.over(PATIENT)

    assert [row["status"] for row in await world.dialed(number)] == ["completed"]


@case
async def test_without_a_password_a_peer_that_asks_for_one_is_a_failed_dial(world: World) -> None:
    rob = await world.phone("rob")
    action = world.script("action", "<Hangup/>")
    number = await world.number(dial(sip(rob), action=action))
    call = await world.call(number)
    callee = await rob.offered(1, PATIENT)
    callee.refuse(401, [("WWW-Authenticate", 'Digest realm="there", nonce="n1", algorithm=MD5, qop="auth"')])
    seen = await world.asked("action", within=PATIENT)
    await call.over(PATIENT)

    assert (seen.form["DialCallStatus"], seen.form["DialSipResponseCode"]) == ("failed", "401")
    assert [row["status"] for row in await world.dialed(number)] == ["failed"]
