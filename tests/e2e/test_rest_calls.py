"""Acceptance case AC78 and REST cases 50 to 60: calls that a program makes."""

from __future__ import annotations

from typing import Any

import pytest
from sipphone import Phone
from sound import assert_tones, read_wav, sounding, tone
from waiting import eventually, pause, stays, together
from webapp import document
from world import World, case

pytestmark = pytest.mark.loopback

FROM = "+15550009"
HOLD = '<Pause length="30"/>'


async def status_is(world: World, sid: str, status: str) -> dict[str, Any]:
    """The record of a call, once it has a status."""
    return await eventually(
        lambda: world.rest.call(sid), lambda row: row["status"] == status, 3.0, f"{sid} is {status}"
    )


async def start(world: World, phone: Phone, *replies: str, **form: str) -> dict[str, Any]:
    """Start a call to a phone."""
    url = world.script("voice", *(replies or (HOLD,)))
    return await world.rest.start_call(From=FROM, To=phone.uri, Url=url, **form)


@case
async def test_ac78_rest50_the_document_of_a_call_is_asked_for_when_the_callee_answers(world: World) -> None:
    phone = await world.phone("bob50")
    row = await start(world, phone, world.play(440, 0.5))
    assert (row["direction"], row["status"]) == ("outbound-api", "queued")
    assert (row["from"], row["to"]) == (FROM, "bob50")
    call = await phone.offered()
    assert call.invite.uri == phone.uri
    assert call.invite.get("X-RestComm-CallSid") == row["sid"]
    assert f"sip:{FROM}@" in call.invite.get("From")
    call.ring()
    await status_is(world, row["sid"], "ringing")
    assert world.count("voice") == 0
    call.answer()
    seen = await world.asked("voice")
    assert seen.at > call.answered_at
    assert seen.method == "POST"
    assert (seen.form["Direction"], seen.form["CallStatus"]) == ("outbound-api", "in-progress")
    assert (seen.form["From"], seen.form["To"]) == (FROM, "bob50")
    assert seen.form["CallSid"] == row["sid"]
    await call.over()

    assert_tones(call.heard(), [(440, 0.5)])
    assert (await world.rest.ended(row["sid"]))["status"] == "completed"


@case
async def test_rest51_from_to_and_url_are_needed(world: World) -> None:
    whole = {"From": FROM, "To": "sip:bob@127.0.0.1:9", "Url": world.script("voice", HOLD)}
    for name in whole:
        reply = await world.rest.post("Calls.json", **{k: v for k, v in whole.items() if k != name})
        assert reply.status == 400
        assert f"{name} can not be null" in reply.body.decode()
    assert await world.rest.calls(To="bob") == []


async def call_a_client(world: World, transport: str) -> None:
    login = f"alice52{transport}"
    await world.rest.client(login, "RestComm1234")
    phone = await world.phone(login, transport)
    assert (await phone.register(login, "RestComm1234")).code == 200
    url = world.script("voice", world.play(600, 0.5))
    to = f"client:{login}?X-A=1&X-B=two%20words"
    row = await world.rest.start_call(From="+1", To=to, Url=url)
    call = await phone.offered()
    assert (call.invite.get("X-A"), call.invite.get("X-B")) == ("1", "two words")
    assert row["to"] == login
    call.ring()
    call.answer()
    await call.over()

    assert_tones(call.heard(), [(600, 0.5)])
    assert (await world.asked("voice")).form["To"] == login


@case
async def test_rest52_a_client_is_called_over_udp_with_the_headers_of_the_program(world: World) -> None:
    await call_a_client(world, "udp")


@case
async def test_rest52_a_client_is_called_over_the_tcp_connection_it_registered_on(world: World) -> None:
    await call_a_client(world, "tcp")


@case
async def test_rest53_without_a_list_of_events_all_four_are_told(world: World) -> None:
    phone = await world.phone("bob53")
    status = world.script("status", "")
    await start(world, phone, world.play(440, 1.2), StatusCallback=status)
    call = await phone.offered()
    call.ring()
    await world.asked("status", 2)
    call.answer()
    await call.over(within=4)
    last = (await world.asked("status", 4)).form
    seen = [one.form for one in world.app.requests(world.path("status"))]

    events = ["initiated", "ringing", "answered", "completed"]
    assert [form["StatusCallbackEvent"] for form in seen] == events
    assert [form["SequenceNumber"] for form in seen] == ["0", "1", "2", "3"]
    assert [form["CallStatus"] for form in seen] == ["initiated", "ringing", "in-progress", "completed"]
    assert ["CallDuration" in form for form in seen] == [False, False, False, True]
    assert last["CallDuration"] == "1"
    assert last["CallbackSource"] == "call-progress-events"
    await stays(lambda: world.count("status") == 4, 0.4, "four callbacks")


@case
async def test_rest54_only_the_events_of_the_list_are_told(world: World) -> None:
    async def told(name: str, *events: str) -> list[str]:
        phone = await world.phone(f"bob54{name}")
        pairs = [("StatusCallbackEvent", event) for event in events]
        url, status = world.script("voice", "<Hangup/>"), world.script(name, "")
        await world.rest.start_call(*pairs, From="+1", To=phone.uri, Url=url, StatusCallback=status)
        call = await phone.offered()
        call.ring()
        call.answer()
        await call.over()
        expected = len(" ".join(events).replace(",", " ").split())
        await world.asked(name, expected)
        await stays(lambda: world.count(name) == expected, 0.4, "no other callback")
        return [seen.form["StatusCallbackEvent"] for seen in world.app.requests(world.path(name))]

    results = await together(
        [
            told("one", "completed"),
            told("comma", "ringing,completed"),
            told("blank", "ringing completed"),
            told("repeated", "ringing", "completed"),
        ]
    )
    assert results == [["completed"], *[["ringing", "completed"]] * 3]


@case
async def test_rest55_status_completed_ends_an_answered_call(world: World) -> None:
    phone = await world.phone("bob55")
    row = await start(world, phone)
    call = await phone.offered()
    call.ring()
    call.answer()
    await world.asked("voice")
    reply = await world.rest.post(f"Calls/{row['sid']}.json", Status="completed")
    bye = await call.over()

    assert reply.status == 200
    assert "cause=1101" in bye.get("Reason")
    assert (await world.rest.ended(row["sid"]))["status"] == "completed"


@case
async def test_rest55_status_completed_ends_an_inbound_call(world: World) -> None:
    number = await world.number(HOLD.replace("<", f"{world.play(440, 9)}<", 1))
    call = await world.answered(number)
    reply = await world.rest.post(f"Calls/{await world.sid(number)}.json", Status="completed")
    await call.over()

    assert reply.status == 200
    assert (await world.row(number))["status"] == "completed"


async def ended_before_the_answer(world: World, status: str, *, ringing: bool) -> None:
    phone = await world.phone(f"bob56{status[:3]}{int(ringing)}")
    told = world.script("status", "")
    row = await start(world, phone, StatusCallback=told)
    call = await phone.offered()
    call.ring(180 if ringing else 100)
    await status_is(world, row["sid"], "ringing" if ringing else "queued")
    reply = await world.rest.post(f"Calls/{row['sid']}.json", Status=status)
    await call.request_of("CANCEL")

    assert reply.status == 200
    assert (await world.rest.ended(row["sid"]))["status"] == "canceled"
    expected = ["initiated", *(["ringing"] if ringing else []), "canceled"]
    assert await world.statuses(len(expected)) == expected
    await stays(lambda: world.count("status") == len(expected), 0.4, "no more callbacks")
    assert world.count("voice") == 0


@case
async def test_rest55_status_completed_gives_up_a_queued_call(world: World) -> None:
    await ended_before_the_answer(world, "completed", ringing=False)


@case
async def test_a_phone_that_says_nothing_is_cancelled_as_soon_as_it_says_something(world: World) -> None:
    phone = await world.phone("bob56late")
    row = await start(world, phone)
    call = await phone.offered()
    reply = await world.rest.post(f"Calls/{row['sid']}.json", Status="canceled")
    assert reply.status == 200
    assert (await world.rest.ended(row["sid"]))["status"] == "canceled"
    assert call.requests == [], "RFC 3261 section 9.1: no CANCEL before a provisional response"
    call.ring()
    await call.request_of("CANCEL")


@case
async def test_rest55_status_completed_gives_up_a_ringing_call(world: World) -> None:
    await ended_before_the_answer(world, "completed", ringing=True)


@case
async def test_rest56_status_canceled_gives_up_a_queued_call(world: World) -> None:
    await ended_before_the_answer(world, "canceled", ringing=False)


@case
async def test_rest56_status_canceled_gives_up_a_ringing_call(world: World) -> None:
    await ended_before_the_answer(world, "canceled", ringing=True)


@case
async def test_rest56_status_canceled_leaves_an_answered_call_alone(world: World) -> None:
    phone = await world.phone("bob56c")
    row = await start(world, phone, world.play(800, 1.5))
    call = await phone.offered()
    call.answer()
    await call.sound(0.3)
    reply = await world.rest.post(f"Calls/{row['sid']}.json", Status="canceled")
    await call.over()

    assert (reply.status, reply.json["status"]) == (200, "in-progress")
    assert_tones(call.heard(), [(800, 1.5)])


@case
async def test_rest58_a_finished_call_is_gone_and_an_unknown_one_is_not_found(world: World) -> None:
    phone = await world.phone("bob58")
    row = await start(world, phone, "<Hangup/>")
    (await phone.offered()).answer()
    await world.rest.ended(row["sid"])
    for form in ({"Status": "completed"}, {"Url": f"{world.app.url}/x"}):
        reply = await world.rest.post(f"Calls/{row['sid']}.json", **form)
        assert reply.status == 410
        assert "Call is already completed." in reply.body.decode()
    unknown = await world.rest.post(f"Calls/CA{'0' * 32}.json", Status="completed")
    assert unknown.status == 404


@case
async def test_rest59_no_instruction_is_a_409(world: World) -> None:
    phone = await world.phone("bob59")
    row = await start(world, phone)
    call = await phone.offered()
    call.answer()
    await world.asked("voice")
    reply = await world.rest.post(f"Calls/{row['sid']}.json", Method="GET")

    assert reply.status == 409
    await stays(lambda: call.live, 0.3, "the call goes on")
    assert (await call.bye()).code == 200


@case
async def test_rest60_times_of_an_answered_call(world: World) -> None:
    phone = await world.phone("bob60")
    row = await start(world, phone)
    call = await phone.offered()
    call.ring()
    await pause(2)
    call.answer()
    answered = await status_is(world, row["sid"], "in-progress")
    await pause(1.1)
    await call.bye()
    ended = await world.rest.ended(row["sid"])

    assert (ended["ring_duration"], ended["duration"]) == (2, 1)
    assert "duration" not in answered
    assert answered["start_time"] > row["start_time"]
    assert ended["start_time"] == answered["start_time"]


@case
async def test_rest60_times_of_an_unanswered_call(world: World) -> None:
    phone = await world.phone("bob60b")
    row = await start(world, phone, Timeout="2")
    call = await phone.offered()
    call.ring()
    await call.request_of("CANCEL", within=4)
    ended = await world.rest.ended(row["sid"])

    assert (ended["status"], ended["duration"], ended["ring_duration"]) == ("no-answer", 0, 2)


@case
async def test_a_document_may_be_given_inline(world: World) -> None:
    phone = await world.phone("bobinline")
    action = world.script("action", "<Hangup/>")
    gather = f'<Gather numDigits="1" action="{action}">{world.play(440, 3)}</Gather>'
    body = document(gather).body.decode()
    await world.rest.start_call(From="+1", To=phone.uri, Rcml=body)
    call = await phone.offered()
    call.answer()
    await call.sound(0.2)
    call.rtp.press("7")
    assert (await world.asked("action")).form["Digits"] == "7"
    await call.over()


@case
async def test_record_keeps_both_sides_of_the_whole_call(world: World) -> None:
    phone = await world.phone("bobrecord")
    status = world.script("status", "")
    row = await start(world, phone, world.play(440, 1), Record="true", StatusCallback=status)
    call = await phone.offered()
    call.answer()
    call.rtp.say(tone(900, 1))
    await call.over()
    seen = await world.asked("status", 3)

    assert seen.form["CallStatus"] == "completed"
    reply = await world.rest.fetch(seen.form["RecordingUrl"])
    assert reply.status == 200
    assert 0.8 < sounding(read_wav(reply.body)) < 1.6
    assert [r["sid"] for r in await world.rest.recordings(CallSid=row["sid"])] == [seen.form["RecordingSid"]]


@case
async def test_a_document_that_fails_leads_to_the_fallback(world: World) -> None:
    phone = await world.phone("bobfallback")
    fallback = world.script("fallback", world.play(1300, 0.4))
    await world.rest.start_call(
        From="+1", To=phone.uri, Url=f"{world.app.url}/nothing", FallbackUrl=fallback, FallbackMethod="GET"
    )
    call = await phone.offered()
    call.answer()
    await call.over()

    assert_tones(call.heard(), [(1300, 0.4)])
    assert (await world.asked("fallback")).method == "GET"
