"""Acceptance cases AC36 to AC43: Record, Play, Redirect."""

from __future__ import annotations

import pytest
from sound import assert_tones, read_wav, sounding, tone, tones
from waiting import pause, stays
from webapp import Reply, document, prompt
from world import World, case

pytestmark = pytest.mark.loopback

BEEP = (1000, 0.4)


@case
async def test_ac36_a_recording_of_its_longest_time_is_told_and_can_be_fetched(world: World) -> None:
    action = world.script("action", "<Hangup/>")
    number = await world.number(f'<Record maxLength="3" action="{action}"/>')
    call = await world.answered(number)
    await call.sound(0.3, frequency=1000)
    call.rtp.say(tone(440, 5))
    seen = await world.asked("action", within=6)
    await call.over()
    begun = call.answered_at

    assert_tones(call.heard(), [BEEP])
    assert 3.2 < seen.at - begun < 4.2
    assert seen.form["RecordingDuration"] == "3"
    assert seen.form["Digits"] == ""
    assert seen.form["PublicRecordingUrl"] == seen.form["RecordingUrl"]
    reply = await world.rest.fetch(seen.form["RecordingUrl"])
    assert reply.status == 200
    samples = read_wav(reply.body)
    assert 2.85 < len(samples) / 8000 < 3.2
    (recorded,) = [found for found in tones(samples) if found.seconds > 0.5]
    assert abs(recorded.frequency - 440) < 20
    assert recorded.seconds > 2.4
    rows = await world.rest.recordings(CallSid=seen.form["CallSid"])
    assert [row["sid"] in seen.form["RecordingUrl"] for row in rows] == [True]


@case
async def test_ac37_a_key_ends_the_recording_and_is_told(world: World) -> None:
    action = world.script("action", "<Hangup/>")
    number = await world.number(f'<Record action="{action}"/>')
    call = await world.answered(number)
    await call.sound(0.3, frequency=1000)
    call.rtp.say(tone(440, 1))
    await pause(1.5)
    call.rtp.press("5")
    seen = await world.asked("action")
    await call.over()

    assert seen.form["Digits"] == "5"
    assert seen.form["RecordingUrl"]
    assert seen.form["RecordingDuration"] == "2"


@case
async def test_ac38_a_caller_who_hangs_up_ends_the_recording_and_no_media_verb_follows(world: World) -> None:
    action = world.script("action", f"{world.play(1000, 1)}<Redirect>later</Redirect>")
    number = await world.number(f'<Record action="{action}"/>')
    call = await world.answered(number)
    await call.sound(0.3, frequency=1000)
    call.rtp.say(tone(440, 4))
    await pause(4)
    await call.bye()
    seen = await world.asked("action")

    assert seen.form["Digits"] == "hangup"
    assert seen.form["CallStatus"] == "completed"
    samples = read_wav((await world.rest.fetch(seen.form["RecordingUrl"])).body)
    assert 3.5 < sounding(samples) < 4.2
    await stays(lambda: world.count("later") == 0, 0.5, "nothing after the end but the action")
    assert world.count("1000hz-1s.wav") == 0
    assert (await world.row(number))["status"] == "completed"


@case
async def test_ac39_a_recording_of_silence_leads_to_the_next_verb(world: World) -> None:
    action = world.script("action", "<Hangup/>")
    number = await world.number(f'<Record timeout="5" action="{action}"/>{world.play(440, 0.4)}')
    call = await world.answered(number)
    await call.over(within=9)

    assert_tones(call.heard(), [BEEP, (440, 0.4)])
    assert 5.1 < tones(call.heard())[1].start < 6.3
    assert world.count("action") == 0
    assert await world.rest.recordings(CallSid=await world.sid(number)) == []


@case
async def test_silence_after_speech_ends_the_recording(world: World) -> None:
    action = world.script("action", "<Hangup/>")
    number = await world.number(f'<Record timeout="1" playBeep="false" action="{action}"/>')
    call = await world.answered(number)
    call.rtp.say(tone(440, 1.5))
    seen = await world.asked("action", within=5)
    await call.over()

    assert tones(call.heard()) == []
    assert seen.form["Digits"] == ""
    assert seen.form["RecordingDuration"] == "3"


@case
async def test_ac40_a_missing_file_ends_the_call_with_warning_13233(world: World) -> None:
    number = await world.number(f"<Play>missing.wav</Play>{world.play(440, 1)}")
    call = await world.answered(number)
    await call.over()

    assert tones(call.heard()) == []
    notice = await world.rest.notified(13233, await world.sid(number))
    assert int(notice["log"]) == 1
    assert world.count("missing.wav") == 1


@case
async def test_ac41_a_prompt_is_fetched_once_for_two_calls(world: World) -> None:
    number = await world.number(world.play(440, 0.5))
    for _ in range(2):
        call = await world.answered(number)
        await call.over()
        assert_tones(call.heard(), [(440, 0.5)])

    assert world.count("440hz-0.5s.wav") == 1
    seen = await world.asked("440hz-0.5s.wav")
    assert (seen.method, seen.query, seen.form) == ("GET", {}, {})


@case
async def test_ac42_a_wrong_loop_is_warning_13410_and_plays_once(world: World) -> None:
    number = await world.number(world.play(440, 0.5, ' loop="abc"'))
    call = await world.answered(number)
    await call.over()

    assert_tones(call.heard(), [(440, 0.5)])
    await world.rest.notified(13410, await world.sid(number))


@case
async def test_ac43_a_redirect_to_nothing_ends_the_call_with_warning_21402(world: World) -> None:
    number = await world.number(f"{world.play(440, 0.4)}<Redirect>nothing</Redirect>{world.play(1000, 1)}")
    call = await world.answered(number)
    bye = await call.over()

    assert bye.get("Reason")
    assert_tones(call.heard(), [(440, 0.4)])
    await world.rest.notified(21402, await world.sid(number))
    assert (await world.row(number))["status"] == "completed"


@case
async def test_a_prompt_is_played_as_often_as_loop_says(world: World) -> None:
    pattern = prompt(440, 0.3)
    number = await world.number(
        f'<Play loop="3">{world.script("p.wav", pattern)}</Play>{world.play(1000, 0.3)}'
    )
    call = await world.answered(number)
    await call.over()

    found = tones(call.heard())
    assert abs(sum(t.seconds for t in found if abs(t.frequency - 440) < 30) - 0.9) < 0.15
    assert abs(found[-1].frequency - 1000) < 30


@case
async def test_a_redirect_by_get_carries_the_parameters_and_the_status(world: World) -> None:
    world.script("next", world.play(1000, 0.3))
    number = await world.number('<Redirect method="GET">next</Redirect>')
    call = await world.answered(number)
    await call.over()
    seen = await world.asked("next")

    assert seen.method == "GET"
    assert seen.query["CallStatus"] == "in-progress"
    assert_tones(call.heard(), [(1000, 0.3)])


@case
async def test_documents_that_redirect_in_a_circle_are_ended(world: World) -> None:
    number = await world.number("<Redirect>voice</Redirect>")
    call = await world.answered(number)
    await call.over(within=15)

    assert 90 < world.count("voice") <= 110


@case
async def test_a_prompt_of_11025_hz_is_heard_at_its_pitch_and_length(world: World) -> None:
    url = world.script("odd.wav", prompt(440, 1.0, rate=11025))
    number = await world.number(f"<Play>{url}</Play>")
    call = await world.answered(number)
    await call.over()

    assert_tones(call.heard(), [(440, 1.0)])


@case
async def test_a_file_that_is_no_audio_ends_the_call_and_not_the_worker(world: World) -> None:
    workers = world.engine.workers()
    url = world.script("bad.wav", Reply(b"RIFF\x10\0\0\0WAVEfmt garbage", type="audio/wav"))
    number = await world.number(f"<Play>{url}</Play>")
    call = await world.answered(number)
    await call.over()

    await world.rest.notified(13233, await world.sid(number))
    assert set(workers) & set(world.engine.workers())


@case
async def test_an_endless_prompt_lasts_until_the_caller_hangs_up(world: World) -> None:
    number = await world.number(document(world.play(440, 0.5, ' loop="0"')))
    call = await world.answered(number)
    await call.sound(1.8, frequency=440)
    response = await call.bye()

    assert response.code == 200
    assert (await world.row(number))["status"] == "completed"
