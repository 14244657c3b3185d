"""Dial: progress callbacks of its branches (AC54, AC55), DialSip parameters, screening (AC56 to AC58)."""

from __future__ import annotations

import email.utils

import pytest
from dialing import CALLEE, CALLER, PATIENT, answers, bridged, client, sip, talk
from sipcall import Call
from sound import tones
from waiting import now, pause, stays, together
from webapp import Reply, Seen, document
from world import World, case, dial

pytestmark = pytest.mark.loopback

GOES_ON = 1300.0
"""What a caller hears who goes on after the Dial."""


async def told(world: World, count: int, name: str = "status") -> list[dict[str, str]]:
    """Just so many progress callbacks."""
    await world.asked(name, count, PATIENT)
    await stays(lambda: world.count(name) == count, 0.5, f"{count} callbacks of {name}")
    return [seen.parameters for seen in world.app.requests(world.path(name))]


def events(forms: list[dict[str, str]]) -> list[tuple[str, str, str]]:
    """SequenceNumber, event and CallStatus of callbacks."""
    names = ("SequenceNumber", "StatusCallbackEvent", "CallStatus")
    return [(form[names[0]], form[names[1]], form[names[2]]) for form in forms]


def goes_on(call: Call) -> None:
    """The caller went on with the document, or with the reply to the action."""
    assert tones(call.heard())[-1].frequency == pytest.approx(GOES_ON, abs=30)


# ------------------------------------------------------------------ AC54 and AC55: progress callbacks


@case
async def test_ac54_the_progress_of_a_dialed_leg_is_told_in_order(world: World) -> None:
    rob = await world.registered("ac54rob")
    status = world.script("status", "")
    number, call, callee = await bridged(world, dial(client("ac54rob", statusCallback=status)), rob)
    await callee.bye()
    await call.over(PATIENT)
    forms = await told(world, 4)

    assert events(forms) == [
        ("0", "initiated", "initiated"),
        ("1", "ringing", "ringing"),
        ("2", "answered", "in-progress"),
        ("3", "completed", "completed"),
    ]
    parent = await world.sid(number)
    (row,) = await world.dialed(number)
    for form in forms:
        assert (form["ParentCallSid"], form["CallSid"]) == (parent, row["sid"])
        assert (form["From"], form["To"]) == ("+15550001", "ac54rob")
        assert form["Direction"] == "outbound-dial"
        assert form["CallbackSource"] == "call-progress-events"
        assert form["AccountSid"] == row["account_sid"]
        assert form["ApiVersion"] == "2012-04-24"
        assert email.utils.parsedate_to_datetime(form["Timestamp"])
        assert form["InstanceId"].startswith("ID")
    assert ["CallDuration" in form for form in forms] == [False, False, False, True]
    assert forms[3]["CallDuration"] == str(row["duration"])
    assert row["duration"] >= 1


@case
async def test_ac55_a_busy_callee_never_answered(world: World) -> None:
    rob = await world.registered("ac55rob")
    status = world.script("status", "")
    number = await world.number(dial(client("ac55rob", statusCallback=status)))
    call = await world.call(number)
    callee = await rob.offered(1, PATIENT)
    callee.ring()
    await world.asked("status", 2, PATIENT)
    callee.refuse(486)
    await call.over(PATIENT)
    forms = await told(world, 3)

    assert events(forms) == [
        ("0", "initiated", "initiated"),
        ("1", "ringing", "ringing"),
        ("3", "completed", "busy"),
    ]
    assert forms[2]["CallDuration"] == "0"


@case
async def test_ac55_a_callee_who_does_not_even_ring_leaves_a_gap_of_two(world: World) -> None:
    rob = await world.phone("rob")
    status = world.script("status", "")
    number = await world.number(dial(sip(rob, statusCallback=status)))
    call = await world.call(number)
    (await rob.offered(1, PATIENT)).refuse(503)
    await call.over(PATIENT)

    assert events(await told(world, 2)) == [("0", "initiated", "initiated"), ("3", "completed", "failed")]


@case
async def test_an_unanswered_leg_ends_with_no_answer(world: World) -> None:
    rob = await world.phone("rob")
    status = world.script("status", "")
    number = await world.number(dial(sip(rob, statusCallback=status), timeout=2))
    call = await world.call(number)
    (await rob.offered(1, PATIENT)).ring()
    await call.over(PATIENT)

    assert events(await told(world, 3))[-1] == ("3", "completed", "no-answer")


@case
async def test_a_leg_whose_caller_gave_up_ends_with_canceled(world: World) -> None:
    rob = await world.phone("rob")
    status = world.script("status", "")
    number = await world.number(dial(sip(rob, statusCallback=status)))
    call = await world.call(number)
    callee = await rob.offered(1, PATIENT)
    callee.ring()
    await world.asked("status", 2, PATIENT)
    await call.bye()
    await callee.request_of("CANCEL", PATIENT)

    assert events(await told(world, 3))[-1] == ("3", "completed", "canceled")


@case
async def test_only_the_listed_events_are_told_and_by_the_method_that_was_asked_for(world: World) -> None:
    async def listed(name: str, given: str) -> list[str]:
        rob = await world.phone(f"rob{name}")
        status = world.script(name, "")
        noun = sip(rob, statusCallback=status, statusCallbackEvent=given, statusCallbackMethod="GET")
        number = await world.number(dial(noun), name=f"voice{name}")
        call = await world.call(number)
        callee = await answers(rob)
        await callee.bye()
        await call.over(PATIENT)
        forms = await told(world, 2, name)
        assert {seen.method for seen in world.app.requests(world.path(name))} == {"GET"}
        return [form["SequenceNumber"] for form in forms]

    found = await together(
        [listed("blank", "initiated completed"), listed("comma", "answered,completed,unknown")]
    )
    assert found == [["0", "3"], ["2", "3"]]


@case
async def test_each_branch_of_a_fork_reports_on_its_own(world: World) -> None:
    rob, ann = await world.phone("rob"), await world.phone("ann")
    at_rob, at_ann = world.script("rob", ""), world.script("ann", "")
    nouns = (sip(rob, statusCallback=at_rob), sip(ann, statusCallback=at_ann))
    number = await world.number(dial(*nouns))
    call = await world.call(number)
    loser = await rob.offered(1, PATIENT)
    loser.ring()
    await world.asked("rob", 2, PATIENT)
    callee = await answers(ann)
    await loser.request_of("CANCEL", PATIENT)
    lost = await told(world, 3, "rob")
    await callee.bye()
    await call.over(PATIENT)
    won = await told(world, 4, "ann")

    assert events(lost)[-1] == ("3", "completed", "canceled")
    assert [form["StatusCallbackEvent"] for form in won] == ["initiated", "ringing", "answered", "completed"]
    assert lost[0]["CallSid"] != won[0]["CallSid"]
    assert lost[0]["ParentCallSid"] == won[0]["ParentCallSid"] == await world.sid(number)


@case
async def test_a_callback_that_fails_changes_nothing(world: World) -> None:
    rob = await world.phone("rob")
    status = world.script("status", Reply(status=500))
    number, call, callee = await bridged(world, dial(sip(rob, statusCallback=status)), rob)
    await callee.bye()
    await call.over(PATIENT)

    assert len(await told(world, 4)) == 4
    assert (await world.row(number))["status"] == "completed"


# ------------------------------------------------------------------ DialSip parameters


@case
async def test_a_busy_sip_peer_is_told_with_its_code_and_headers(world: World) -> None:
    rob = await world.phone("rob")
    action = world.script("action", "<Hangup/>")
    number = await world.number(dial(sip(rob), action=action))
    call = await world.call(number)
    callee = await rob.offered(1, PATIENT)
    callee.refuse(486, [("X-Reason", "in a meeting"), ("X-Until", "15:00"), ("Y-Other", "no")])
    seen = await world.asked("action", within=PATIENT)
    await call.over(PATIENT)

    found = {name: value for name, value in seen.form.items() if name.startswith("DialSip")}
    assert found == {
        "DialSipCallId": callee.call_id,
        "DialSipResponseCode": "486",
        "DialSipHeader_X-Reason": "in a meeting",
        "DialSipHeader_X-Until": "15:00",
    }


@case
async def test_an_answered_sip_peer_is_told_with_200_and_the_headers_of_its_end(world: World) -> None:
    rob = await world.phone("rob")
    action = world.script("action", "<Hangup/>")
    _, call, callee = await bridged(world, dial(sip(rob), action=action), rob)
    callee.over_at = now()
    callee.rtp.mute()
    assert (await callee.ask("BYE", [("X-Why", "done")])).code == 200
    seen = await world.asked("action", within=PATIENT)
    await call.over(PATIENT)

    found = {name: value for name, value in seen.form.items() if name.startswith("DialSip")}
    assert found.pop("DialSipHeader_X-Why") == "done"
    assert found == {"DialSipCallId": callee.call_id, "DialSipResponseCode": "200"}
    assert seen.form["DialCallStatus"] == "completed"


@case
async def test_a_client_noun_has_no_sip_parameters(world: World) -> None:
    rob = await world.registered("plainrob")
    action = world.script("action", "<Hangup/>")
    _, call, callee = await bridged(world, dial(client("plainrob"), action=action), rob)
    await callee.bye()
    seen = await world.asked("action", within=PATIENT)
    await call.over(PATIENT)

    assert [name for name in seen.form if name.startswith("DialSip")] == []
    assert seen.form["DialCallStatus"] == "completed"


# ------------------------------------------------------------------ AC56 to AC58: screening


async def screened(
    world: World, *replies: Reply | str, kind: str = "Client", action: bool = True, **noun: object
) -> tuple[str, Call, Call]:
    """A callee who answered and is being screened; returns the number, the caller and the callee."""
    login = f"rob{world.name}"[:60]
    rob = await world.registered(login) if kind == "Client" else await world.phone(login)
    url = world.script("screen", *replies)
    target = client(login, url=url, **noun) if kind == "Client" else sip(rob, url=url, **noun)
    after = world.script("action", world.play(GOES_ON, 0.5))
    verb = dial(target, action=after) if action else dial(target)
    number = await world.number(verb + world.play(GOES_ON, 0.5))
    call = await world.call(number)
    callee = await rob.offered(1, PATIENT)
    callee.ring()
    callee.answer([("X-Callee", "here")])
    await callee.answered(PATIENT)
    return number, call, callee


async def refused(world: World, call: Call, callee: Call, within: float = PATIENT) -> Seen:
    """The screening refused: the callee is hung up on, the caller goes on; returns the action."""
    await callee.over(within)
    seen = await world.asked("action", within=PATIENT)
    await call.over(PATIENT)
    assert seen.form["DialCallStatus"] == "no-answer"
    goes_on(call)
    return seen


@case
async def test_ac56_the_caller_hears_ringing_while_the_callee_hears_the_screening(world: World) -> None:
    number, call, callee = await screened(world, world.play(800, 4.0))
    call.hum(CALLER)
    callee.hum(CALLEE)
    await callee.hears(800, within=PATIENT)
    await together([callee.hears_none_of(CALLER, 440), call.hears_none_of(800, CALLEE)])
    heard = call.heard()
    assert any(tone.seconds > 0.3 for tone in tones(heard)), "ringing"
    await together([call.hears(CALLEE, within=PATIENT), callee.hears(CALLER, within=PATIENT)])
    await together([call.hears_none_of(440, 480), callee.hears_none_of(800)])
    seen = await world.asked("screen")
    await callee.bye()
    action = await world.asked("action", within=PATIENT)
    await call.over(PATIENT)

    (row,) = await world.dialed(number)
    form = seen.form
    assert seen.method == "POST"
    assert form["CallSid"] == row["sid"], "the callee's leg"
    assert (form["From"], form["To"]) == ("+15550001", row["to"])
    assert (form["Direction"], form["CallStatus"]) == ("outbound-dial", "in-progress")
    assert form["AccountSid"] == row["account_sid"]
    assert not {"InstanceId", "CallTimestamp", "SipCallId"} & set(form)
    assert {"ApiVersion", "CallerName", "ForwardedFrom"} <= set(form)
    assert action.form["DialCallStatus"] == "completed"
    assert world.count("screen") == 1


@case
async def test_ac56_the_screening_of_a_sip_peer_is_told_its_headers(world: World) -> None:
    _, call, callee = await screened(world, "", kind="Sip", method="GET")
    await talk(call, callee)
    seen = await world.asked("screen")
    await callee.bye()
    await call.over(PATIENT)

    assert seen.method == "GET"
    assert seen.query["SipCallId"] == callee.call_id
    assert seen.query["SipHeader_X-Callee"] == "here"


@case
async def test_ac56_with_say_and_without_an_action(world: World) -> None:
    _, call, callee = await screened(world, "<Say>A call for you</Say>", action=False)
    await callee.sound(0.3, PATIENT)
    await talk(call, callee)
    await callee.bye()
    await call.over(PATIENT)
    goes_on(call)


@case
async def test_ac57_a_hangup_in_the_screening_refuses_the_call(world: World) -> None:
    number, call, callee = await screened(world, "<Hangup/>")
    seen = await refused(world, call, callee)

    (row,) = await world.dialed(number)
    assert seen.form["DialCallSid"] == row["sid"]
    assert row["status"] == "completed", "it was answered"


@case
async def test_ac57_a_reject_in_the_screening_refuses_the_call(world: World) -> None:
    _, call, callee = await screened(world, "<Reject/>")
    await refused(world, call, callee)


@case
async def test_ac57_without_an_action_the_caller_goes_on_with_the_next_verb(world: World) -> None:
    _, call, callee = await screened(world, "<Hangup/>", action=False)
    await callee.over(PATIENT)
    await call.over(PATIENT)
    goes_on(call)


@case
async def test_ac58_a_dial_in_the_screening_refuses_the_call(world: World) -> None:
    other = await world.phone("other")
    _, call, callee = await screened(world, dial(sip(other)))
    await refused(world, call, callee)
    assert other.offers == []


@case
async def test_a_key_in_the_screening_accepts_the_call(world: World) -> None:
    confirm = world.script("confirm", world.play(700, 0.5))
    gather = f'<Gather numDigits="1" timeout="8" action="{confirm}">{world.play(800, 6)}</Gather><Hangup/>'
    _, call, callee = await screened(world, gather)
    await callee.hears(800, within=PATIENT)
    await call.hears_none_of(800)
    callee.rtp.press("1")
    seen = await world.asked("confirm", within=PATIENT)
    await talk(call, callee)
    await callee.bye()
    await call.over(PATIENT)

    assert seen.form["Digits"] == "1"
    assert 700 in [round(tone.frequency, -1) for tone in tones(callee.heard())]
    assert call.rtp.digits() == "", "the key was not for the caller"


@case
async def test_a_key_in_the_screening_refuses_the_call(world: World) -> None:
    confirm = world.script("confirm", "<Hangup/>")
    gather = f'<Gather numDigits="1" timeout="8" action="{confirm}">{world.play(800, 6)}</Gather>'
    _, call, callee = await screened(world, gather)
    await callee.hears(800, within=PATIENT)
    callee.rtp.press("2")
    await refused(world, call, callee)


@case
async def test_no_key_in_the_screening_refuses_the_call_when_a_hangup_follows(world: World) -> None:
    _, call, callee = await screened(world, '<Gather numDigits="1" timeout="1" action="x"/><Hangup/>')
    await refused(world, call, callee)


@case
async def test_a_screening_document_that_is_missing_refuses_the_call(world: World) -> None:
    _, call, callee = await screened(world, Reply(b"no", "text/plain", 404))
    await refused(world, call, callee)


@case
async def test_a_screening_document_that_is_broken_refuses_the_call(world: World) -> None:
    _, call, callee = await screened(world, Reply(b"<Response><Say>"))
    await refused(world, call, callee)


@case
async def test_a_screening_application_that_is_too_slow_refuses_the_call(world: World) -> None:
    _, call, callee = await screened(world, document(world.play(800, 1), delay=20), timeout=2)
    begun = now()
    await refused(world, call, callee)
    assert now() - begun < 6, "the limit of the noun, not that of all requests"


@case
async def test_a_screening_that_lasts_too_long_refuses_the_call(world: World) -> None:
    _, call, callee = await screened(world, world.play(800, 20), timeout=2)
    await callee.hears(800, within=PATIENT)
    await refused(world, call, callee)


@case
async def test_a_caller_who_hangs_up_during_the_screening_ends_the_callee(world: World) -> None:
    number, call, callee = await screened(world, world.play(800, 20))
    await callee.hears(800, within=PATIENT)
    await call.bye()
    await callee.over(PATIENT)
    seen = await world.asked("action", within=PATIENT)

    assert seen.form["CallStatus"] == "completed"
    assert seen.form["DialCallStatus"] in ("canceled", "no-answer"), "it was never bridged"
    assert [row["status"] for row in await world.dialed(number)] == ["completed"]


@case
async def test_a_callee_who_hangs_up_during_the_screening_refused_the_call(world: World) -> None:
    number, call, callee = await screened(world, world.play(800, 20))
    await callee.hears(800, within=PATIENT)
    await callee.bye()
    seen = await world.asked("action", within=PATIENT)
    await call.over(PATIENT)

    assert seen.form["DialCallStatus"] == "no-answer"
    goes_on(call)
    assert [row["status"] for row in await world.dialed(number)] == ["completed"]


@case
async def test_only_the_first_answer_of_a_fork_is_screened(world: World) -> None:
    rob, ann = await world.phone("rob"), await world.phone("ann")
    at_rob, at_ann = world.script("rob", world.play(800, 1)), world.script("ann", world.play(900, 1))
    number = await world.number(dial(sip(rob, url=at_rob), sip(ann, url=at_ann)))
    call = await world.call(number)
    loser = await rob.offered(1, PATIENT)
    loser.ring()
    callee = await answers(ann)
    await loser.request_of("CANCEL", PATIENT)
    await talk(call, callee)
    await callee.bye()
    await call.over(PATIENT)

    assert (world.count("ann"), world.count("rob")) == (1, 0)


@case
async def test_the_timeout_of_the_dial_does_not_end_a_screening(world: World) -> None:
    rob = await world.phone("rob")
    url = world.script("screen", world.play(800, 3.5))
    number = await world.number(dial(sip(rob, url=url), timeout=2))
    call = await world.call(number)
    callee = await answers(rob)
    await callee.hears(800, within=PATIENT)
    await pause(2.0)
    assert callee.live
    await call.hears_none_of(800)
    call.hum(CALLER)
    callee.hum(CALLEE)
    await together([call.hears(CALLEE, within=PATIENT), callee.hears(CALLER, within=PATIENT)])
    await callee.bye()
    await call.over(PATIENT)
