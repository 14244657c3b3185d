"""REST case 57: a program gives a live call another document."""

from __future__ import annotations

from typing import Any

import pytest
from sipcall import Call
from sound import assert_tones, read_wav, sounding, tone, tones
from twisted.internet.defer import Deferred
from waiting import eventually, pause, stays, together
from webapp import document
from world import World, case

pytestmark = pytest.mark.loopback

NEW = (1300, 0.5)


async def modify(world: World, sid: str, name: str = "new", **form: str) -> None:
    """Give a call the document of a path."""
    reply = await world.rest.post(f"Calls/{sid}.json", Url=f"{world.app.url}{world.path(name)}", **form)
    assert reply.status == 200, reply


async def heard_last(call: Call, frequency: float, seconds: float) -> None:
    """The call ends, and so long a tone was the last thing that was heard."""
    await call.over()
    last = tones(call.heard())[-1]
    assert abs(last.frequency - frequency) < 30
    assert abs(last.seconds - seconds) < 0.12


@case
async def test_rest57_a_new_document_during_play(world: World) -> None:
    world.script("new", world.play(*NEW))
    number = await world.number(f"{world.play(440, 5)}<Redirect>{world.app.url}/never57</Redirect>")
    call = await world.answered(number)
    await call.sound(0.5, frequency=440)
    sid = await world.sid(number)
    await modify(world, sid)
    seen = await world.asked("new")
    await heard_last(call, *NEW)

    assert (seen.form["CallSid"], seen.form["CallStatus"]) == (sid, "in-progress")
    assert tones(call.heard())[0].seconds < 1.5, "the old prompt stopped"
    assert not world.app.requests("/never57")
    assert (await world.row(number))["status"] == "completed"


@case
async def test_a_new_document_during_gather_drops_digits_and_action(world: World) -> None:
    action = world.script("action", "<Hangup/>")
    world.script("new", f'<Gather numDigits="2" action="{world.script("fresh", "<Hangup/>")}"/>')
    number = await world.number(f'<Gather numDigits="3" action="{action}">{world.play(440, 4)}</Gather>')
    call = await world.answered(number)
    await call.sound(0.3)
    call.rtp.press("12")
    await pause(0.6)
    await modify(world, await world.sid(number), Method="GET")
    assert (await world.asked("new")).method == "GET"
    await pause(0.2)
    call.rtp.press("34")
    seen = await world.asked("fresh")
    await call.over()

    assert seen.form["Digits"] == "34"
    assert world.count("action") == 0


@case
async def test_a_new_document_during_record_keeps_the_recording_and_asks_no_action(world: World) -> None:
    action = world.script("action", "<Hangup/>")
    world.script("new", world.play(*NEW))
    number = await world.number(f'<Record playBeep="false" action="{action}"/>')
    call = await world.answered(number)
    call.rtp.say(tone(440, 3))
    await pause(1.5)
    sid = await world.sid(number)
    await modify(world, sid)
    await heard_last(call, *NEW)

    await stays(lambda: world.count("action") == 0, 0.5, "no action of the old document")
    for row in await world.rest.recordings(CallSid=sid):
        url = f"{world.rest.base}/Recordings/{row['sid']}.wav"
        assert 1.0 < sounding(read_wav((await world.rest.fetch(url)).body)) < 2.2


@case
async def test_a_new_document_during_record_may_record_again(world: World) -> None:
    action = world.script("action", "<Hangup/>")
    world.script("new", f'<Record playBeep="false" maxLength="2" action="{action}"/>')
    number = await world.number(f'<Record playBeep="false" action="{world.script("old", "<Hangup/>")}"/>')
    call = await world.answered(number)
    call.rtp.say(tone(440, 4))
    await pause(1.0)
    await modify(world, await world.sid(number))
    seen = await world.asked("action")
    await call.over()

    assert seen.form["RecordingDuration"] == "2"
    samples = read_wav((await world.rest.fetch(seen.form["RecordingUrl"])).body)
    assert 1.7 < sounding(samples) < 2.2
    assert world.count("old") == 0


@case
async def test_a_new_document_while_the_application_hangs_answers_the_call(world: World) -> None:
    world.script("new", world.play(*NEW))
    number = await world.number(document("<Reject/>", delay=1.5))
    call = await world.call(number)
    await world.asked("voice")
    sid = await world.sid(number)
    await modify(world, sid)
    await call.answered()
    assert (await world.asked("new")).form["CallStatus"] == "ringing"
    await heard_last(call, *NEW)

    assert (await world.row(number))["status"] == "completed"
    await stays(lambda: True, 1.0, "the late reply of the old application arrives")
    assert await world.rest.notifications(CallSid=sid) == []


@case
async def test_a_new_document_while_a_second_one_is_fetched(world: World) -> None:
    slow = world.script("slow", document(world.play(440, 1), delay=1.5))
    world.script("new", world.play(*NEW))
    number = await world.number(f"{world.play(800, 0.3)}<Redirect>{slow}</Redirect>")
    call = await world.answered(number)
    await world.asked("slow")
    await modify(world, await world.sid(number))
    await call.over()

    assert_tones(call.heard(), [(800, 0.3), NEW])


@case
async def test_a_new_document_for_an_outbound_call(world: World) -> None:
    phone = await world.phone("modified")
    world.script("new", world.play(*NEW))
    url = world.script("voice", world.play(440, 5))
    row = await world.rest.start_call(From="+1", To=phone.uri, Url=url)
    call = await phone.offered()
    call.answer()
    await call.sound(0.3)
    await modify(world, row["sid"])
    seen = await world.asked("new")
    await heard_last(call, *NEW)

    assert seen.form["Direction"] == "outbound-api"


@case
async def test_the_recording_of_a_whole_call_goes_on_over_a_new_document(world: World) -> None:
    phone = await world.phone("wholecall")
    status = world.script("status", "")
    world.script("new", world.play(1300, 1.5))
    url = world.script("voice", world.play(440, 9))
    form = {"Url": url, "Record": "true", "StatusCallback": status}
    row = await world.rest.start_call(From="+1", To=phone.uri, **form)
    call = await phone.offered()
    call.answer()
    await call.sound(1.0, frequency=440)
    await modify(world, row["sid"])
    await call.over()
    seen = await world.asked("status", 3)

    samples = read_wav((await world.rest.fetch(seen.form["RecordingUrl"])).body)
    heard = [(round(t.frequency, -1), round(t.seconds, 1)) for t in tones(samples)]
    assert 2.3 < len(samples) / 8000 < 4.0, heard
    assert abs(heard[-1][0] - 1300) < 30, heard


@case
async def test_a_new_document_given_inline(world: World) -> None:
    number = await world.number(world.play(440, 5))
    call = await world.answered(number)
    await call.sound(0.3)
    body = document(world.play(*NEW)).body.decode()
    reply = await world.rest.post(f"Calls/{await world.sid(number)}.json", Rcml=body)
    assert reply.status == 200
    await heard_last(call, *NEW)


@case
async def test_a_new_document_that_cannot_be_fetched_leads_to_its_fallback(world: World) -> None:
    number = await world.number(world.play(440, 5))
    fallback = world.script("fallback", world.play(*NEW))
    call = await world.answered(number)
    await call.sound(0.3)
    await modify(world, await world.sid(number), "missing", FallbackUrl=fallback)
    await heard_last(call, *NEW)


@case
async def test_two_modifications_at_once_leave_one_consistent_call(world: World) -> None:
    for attempt in range(3):
        names = [f"a{attempt}", f"b{attempt}"]
        frequencies = {name: 1000.0 + 300 * at for at, name in enumerate(names)}
        for name, frequency in frequencies.items():
            action = world.script(f"{name}-action", "<Hangup/>")
            gather = f'<Gather timeout="1" action="{action}">{world.play(frequency, 0.8)}</Gather>'
            world.script(name, gather + world.play(frequency, 0.4))
        number = await world.number(world.play(440, 6), name=f"voice{attempt}")
        call = await world.answered(number)
        await call.sound(0.3)
        sid = await world.sid(number)
        await together([modify(world, sid, name) for name in names])
        await call.over(within=6)

        found = [t for t in tones(call.heard()) if abs(t.frequency - 440) > 100]
        assert len({round(t.frequency, -2) for t in found if t.seconds > 0.3}) == 1, found
        assert 0.9 < sum(t.seconds for t in found) < 1.7, found
        assert (await world.row(number))["status"] == "completed"
        assert not await world.rest.notifications(CallSid=sid)


@case
async def test_many_modifications_one_after_the_other(world: World) -> None:
    number = await world.number(world.play(440, 9))
    call = await world.answered(number)
    sid = await world.sid(number)
    for step in range(12):
        world.script(f"step{step}", f'<Record playBeep="false"/>{world.play(600, 9)}')
        await modify(world, sid, f"step{step}")
    world.script("new", world.play(*NEW))
    await modify(world, sid)
    await heard_last(call, *NEW)

    assert not await world.rest.notifications(CallSid=sid)


@case
async def test_a_modification_that_races_with_the_end_leaves_nothing_behind(world: World) -> None:
    world.script("new", world.play(600, 5))

    async def race(attempt: int) -> int:
        number = await world.number(world.play(440, 6), name=f"race{attempt}")
        call = await world.answered(number)
        sid = await world.sid(number)
        await pause(0.05 * (attempt % 3))
        bye: Deferred[Any] = Deferred.fromCoroutine(call.bye())
        await pause(0.002 * (attempt % 5))
        url = f"{world.app.url}{world.path('new')}"
        reply = await world.rest.post(f"Calls/{sid}.json", Url=url)
        assert (await bye).code == 200
        row = await world.rest.ended(sid)
        assert row["status"] == "completed"
        assert not await world.rest.notifications(CallSid=sid)
        return reply.status

    codes = [await race(attempt) for attempt in range(10)]
    assert set(codes) <= {200, 410}, codes


@case
async def test_a_modification_that_races_with_cancel_leaves_nothing_behind(world: World) -> None:
    world.script("new", world.play(600, 5))
    for attempt in range(6):
        number = await world.number(document("<Hangup/>", delay=1), name=f"race{attempt}")
        call = await world.call(number)
        await world.asked(f"race{attempt}")
        sid = await world.sid(number)
        cancel: Deferred[Any] = Deferred.fromCoroutine(call.cancel())
        await pause(0.002 * attempt)
        reply = await world.rest.post(f"Calls/{sid}.json", Url=f"{world.app.url}{world.path('new')}")
        assert (await cancel).code == 200
        final = await call.final()
        assert reply.status in (200, 410)
        if final.code == 200:  # the document won; the CANCEL came too late
            await call.bye()
        else:
            assert final.code == 487
        row = await world.rest.ended(sid)
        assert row["status"] == ("completed" if final.code == 200 else "canceled")


@case
async def test_the_callback_of_the_end_may_be_replaced(world: World) -> None:
    old, new = world.script("old", ""), world.script("told", "")
    world.script("new", world.play(*NEW))
    number = await world.number(world.play(440, 5), StatusCallback=old)
    call = await world.answered(number)
    await call.sound(0.3)
    await modify(world, await world.sid(number), StatusCallback=new)
    await call.over()

    assert await world.statuses(1, "told") == ["completed"]
    assert await world.statuses(2, "old") == ["ringing", "in-progress"]


@case
async def test_ending_and_modifying_at_once_ends_the_call(world: World) -> None:
    world.script("new", world.play(600, 5))
    number = await world.number(world.play(440, 6))
    call = await world.answered(number)
    await call.sound(0.2)
    sid = await world.sid(number)
    replies = await together(
        [
            world.rest.post(f"Calls/{sid}.json", Status="completed"),
            world.rest.post(f"Calls/{sid}.json", Url=f"{world.app.url}{world.path('new')}"),
        ]
    )
    await call.over()

    assert replies[0].status == 200
    assert replies[1].status in (200, 410)
    await eventually(lambda: world.rest.call(sid), lambda r: r["status"] == "completed", 3, "the end")
