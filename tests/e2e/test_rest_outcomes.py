"""Calls of programs that are not answered, clients with two devices, and calls that cannot be made."""

from __future__ import annotations

from typing import Any

import pytest
from sipcall import Call
from sipphone import Phone
from sound import assert_tones, sounding
from waiting import eventually, stays, together
from world import World, case

pytestmark = pytest.mark.loopback

PASSWORD = "RestComm1234"


async def refused(world: World, code: int, status: str, *, ringing: bool = True) -> None:
    """A call that the callee refuses: its status, and exactly the callbacks that tell it."""
    name = f"refuses{code}"
    phone = await world.phone(name)
    url, told = world.script(f"{name}-voice", "<Hangup/>"), world.script(name, "")
    row = await world.rest.start_call(From="+1", To=phone.uri, Url=url, StatusCallback=told)
    call = await phone.offered()
    if ringing:
        call.ring()
    call.refuse(code)
    ended = await world.rest.ended(row["sid"])
    await call.request_of("ACK")

    assert (ended["status"], ended["duration"]) == (status, 0)
    expected = ["initiated", *(["ringing"] if ringing else []), "completed"]
    last = await world.asked(name, len(expected))
    await stays(lambda: world.count(name) == len(expected), 0.4, "no more callbacks")
    seen = [one.form for one in world.app.requests(world.path(name))]
    assert [form["StatusCallbackEvent"] for form in seen] == expected
    assert [form["SequenceNumber"] for form in seen] == ["0", *(["1"] if ringing else []), "3"]
    assert (last.form["CallStatus"], last.form["CallDuration"]) == (status, "0")
    assert world.count(f"{name}-voice") == 0


@case
async def test_a_busy_callee(world: World) -> None:
    await together([refused(world, 486, "busy"), refused(world, 600, "busy", ringing=False)])


@case
async def test_a_callee_who_declines_is_busy(world: World) -> None:
    await refused(world, 603, "busy")


@case
async def test_other_refusals_are_failures(world: World) -> None:
    works = [refused(world, code, "failed", ringing=code > 480) for code in (404, 480, 488, 500, 503)]
    await together(works)


@case
async def test_a_challenge_without_credentials_to_answer_it_is_a_failure(world: World) -> None:
    phone = await world.phone("asks")
    row = await world.rest.start_call(From="+1", To=phone.uri, Url=f"{world.app.url}/x")
    call = await phone.offered()
    call.refuse(401, [("WWW-Authenticate", 'Digest realm="r", nonce="n", algorithm=MD5, qop="auth"')])

    assert (await world.rest.ended(row["sid"]))["status"] == "failed"
    await stays(lambda: len(phone.offers) == 1, 0.3, "no second attempt")


@case
async def test_nobody_answers_in_time(world: World) -> None:
    phone = await world.phone("sleeps")
    told = world.script("status", "")
    url = world.script("voice", "<Hangup/>")
    row = await world.rest.start_call(From="+1", To=phone.uri, Url=url, StatusCallback=told, Timeout="1")
    call = await phone.offered()
    call.ring()
    await call.request_of("CANCEL")
    ended = await world.rest.ended(row["sid"])

    assert ended["status"] == "no-answer"
    assert await world.statuses(3) == ["initiated", "ringing", "no-answer"]
    await stays(lambda: world.count("status") == 3, 0.4, "three callbacks")
    assert world.count("voice") == 0


@case
async def test_nothing_is_at_the_address_at_all(world: World) -> None:
    told = world.script("status", "")
    form = {"Url": f"{world.app.url}/x", "StatusCallback": told, "Timeout": "1"}
    row = await world.rest.start_call(From="+1", To="sip:nobody@127.0.0.1:9", **form)
    ended = await world.rest.ended(row["sid"])

    assert ended["status"] in ("no-answer", "failed")
    assert (await world.statuses(2))[0] == "initiated"
    await stays(lambda: world.count("status") == 2, 0.3, "two callbacks")


@case
async def test_calls_that_cannot_be_made_are_errors_of_the_request(world: World) -> None:
    await world.rest.client("unregistered", PASSWORD)
    for to, status, text in (
        ("client:unregistered", 404, "unregistered is not registered or does not exist"),
        ("client:nosuchclient", 404, "nosuchclient is not registered or does not exist"),
        ("client:a:b", 400, "is an invalid client identifier."),
        ("+15551234567", 500, "outbound proxy"),
        ("sip:x@127.0.0.1:1;transport=tcp", 500, "cannot be reached"),
        ("sip:x@[::1", 400, "valid SIP URI"),
    ):
        reply = await world.rest.post("Calls.json", From="+1", To=to, Url=f"{world.app.url}/x")
        assert reply.status == status, (to, reply)
        assert text in reply.body.decode(), to
    assert await world.rest.calls(To="unregistered") == []


# ------------------------------------------------------------------------ a client with two devices


async def two_devices(
    world: World, login: str, **form: str
) -> tuple[list[Phone], list[Call], list[dict[str, Any]]]:
    """Call a client that registered two phones; returns phones, calls and records in the same order."""
    await world.rest.client(login, PASSWORD)
    phones = [await world.phone(login) for _ in range(2)]
    for phone in phones:
        assert (await phone.register(login, PASSWORD)).code == 200
    reply = await world.rest.post("Calls.json", From="+1", To=f"client:{login}", **form)
    assert reply.status == 200
    rows = reply.json
    assert isinstance(rows, list)
    calls = [await phone.offered() for phone in phones]
    by_sid = {row["sid"]: row for row in rows}
    ordered = [by_sid[call.invite.get("X-RestComm-CallSid")] for call in calls]
    assert len(by_sid) == 2
    return phones, calls, ordered


@case
async def test_the_first_device_to_answer_has_the_call_and_the_other_is_cancelled(world: World) -> None:
    url, told = world.script("voice", world.play(440, 0.6)), world.script("status", "")
    _, calls, rows = await two_devices(world, "twodevices", Url=url, StatusCallback=told)
    for call in calls:
        call.ring()
    await world.asked("status", 4)
    calls[1].answer()
    await calls[0].request_of("CANCEL")
    await calls[1].over()

    assert_tones(calls[1].heard(), [(440, 0.6)])
    assert (await world.rest.ended(rows[0]["sid"]))["status"] == "canceled"
    assert (await world.rest.ended(rows[1]["sid"]))["status"] == "completed"
    assert world.count("voice") == 1
    assert (await world.asked("voice")).form["CallSid"] == rows[1]["sid"]
    await world.asked("status", 7)
    told_of = {row["sid"]: list[str]() for row in rows}
    for seen in world.app.requests(world.path("status")):
        told_of[seen.form["CallSid"]].append(seen.form["CallStatus"])
    assert told_of[rows[0]["sid"]] == ["initiated", "ringing", "canceled"]
    assert told_of[rows[1]["sid"]] == ["initiated", "ringing", "in-progress", "completed"]


@case
async def test_a_device_that_refuses_leaves_the_other_ringing(world: World) -> None:
    url = world.script("voice", world.play(440, 0.4))
    _, calls, rows = await two_devices(world, "onerefuses", Url=url)
    calls[0].ring()
    calls[1].ring()
    calls[0].refuse(486)
    assert (await world.rest.ended(rows[0]["sid"]))["status"] == "busy"
    await stays(lambda: not calls[1].requests, 0.3, "the other goes on ringing")
    calls[1].answer()
    await calls[1].over()

    assert_tones(calls[1].heard(), [(440, 0.4)])


@case
async def test_two_devices_that_answer_at_the_same_moment_give_one_call(world: World) -> None:
    for attempt in range(4):
        name = f"race{attempt}"
        url = world.script(name, world.play(440, 0.6))
        _, calls, rows = await two_devices(world, f"samemoment{attempt}", Url=url)
        for call in calls:
            call.ring()
        for call in calls:
            call.answer()
        await together([call.over() for call in calls])
        await together([world.rest.ended(row["sid"]) for row in rows])

        heard = [sounding(call.heard()) for call in calls]
        found = (heard, world.count(name), [call.over_at - call.answered_at for call in calls])
        assert sum(seconds > 0.1 for seconds in heard) == 1, f"heard, documents, seconds: {found}"
        assert world.count(name) == 1, f"heard, documents, seconds: {found}"
        assert 0.5 < max(heard) < 0.7


@case
async def test_ending_one_of_two_ringing_devices_leaves_the_other(world: World) -> None:
    url = world.script("voice", world.play(440, 0.4))
    _, calls, rows = await two_devices(world, "oneended", Url=url)
    for call in calls:
        call.ring()
    await eventually(
        lambda: world.rest.call(rows[0]["sid"]), lambda row: row["status"] == "ringing", 3.0, "ringing"
    )
    await world.rest.post(f"Calls/{rows[0]['sid']}.json", Status="canceled")
    await calls[0].request_of("CANCEL")
    calls[1].answer()
    await calls[1].over()

    assert_tones(calls[1].heard(), [(440, 0.4)])


@case
async def test_an_unregistered_device_is_not_called(world: World) -> None:
    await world.rest.client("gonedevice", PASSWORD)
    phone = await world.phone("gonedevice")
    assert (await phone.register("gonedevice", PASSWORD)).code == 200
    assert (await phone.register("gonedevice", PASSWORD, expires=0)).code == 200
    reply = await world.rest.post("Calls.json", From="+1", To="client:gonedevice", Url=f"{world.app.url}/x")

    assert reply.status == 404
    assert phone.offers == []
