"""Dial: what is heard while it rings, early audio, keys, recordings (AC51), hold and moving ports."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest
from dialing import CALLEE, CALLER, PATIENT, answers, bridged, client, hears_music, put_on_hold, sip, talk
from sipcall import AUDIBLE, FAINT, strength
from siptext import offer
from sound import RATE, Samples, sounding, tones
from waiting import now, pause, together
from world import World, case, dial

pytestmark = pytest.mark.loopback


async def sounds(world: World, url: str) -> tuple[int, Samples]:
    """Channels and samples of a recording (a column for each channel)."""
    reply = await world.rest.fetch(url)
    assert reply.status == 200, reply
    with wave.open(io.BytesIO(reply.body)) as file:
        assert (file.getframerate(), file.getsampwidth()) == (RATE, 2)
        channels = file.getnchannels()
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    return channels, samples.reshape(-1, channels)


def loudest(samples: Samples, frequency: float) -> float:
    """Greatest amplitude of a frequency in any half second."""
    step = RATE // 2
    return max(
        (strength(samples[at : at + step], frequency) for at in range(0, len(samples), step)), default=0
    )


# ------------------------------------------------------------------ what the caller hears while it rings


@case
async def test_the_caller_hears_the_ringing_tone_again_and_again(world: World) -> None:
    bob = await world.phone("bob")
    number = await world.number(dial(sip(bob)))
    call = await world.call(number)
    callee = await bob.offered(1, PATIENT)
    callee.ring()
    await call.hears(440, 480, within=PATIENT)
    await call.hears_none_of(1300)
    await pause(2.5)  # within the silence
    await call.hears(440, 480, within=PATIENT)
    callee.answer()
    await talk(call, callee)
    await callee.bye()
    await call.over(PATIENT)


@case
async def test_dial_music_is_heard_in_place_of_the_ringing_tone(world: World) -> None:
    bob = await world.phone("bob")
    number = await world.number(dial(sip(bob), dialMusic=world.tone(700, 1.0)))
    call = await world.call(number)
    callee = await bob.offered(1, PATIENT)
    callee.ring()
    await call.hears(700, within=PATIENT)
    await call.hears_none_of(440, 480, seconds=1.2)
    await call.hears(700, within=PATIENT)
    callee.answer()
    await talk(call, callee)
    await call.hears_none_of(700)
    await callee.bye()
    await call.over(PATIENT)


@case
async def test_dial_music_that_is_missing_is_a_warning_and_the_ringing_tone_is_heard(world: World) -> None:
    bob = await world.phone("bob")
    number = await world.number(dial(sip(bob), dialMusic=f"{world.app.url}/nothing.wav"))
    call = await world.call(number)
    callee = await bob.offered(1, PATIENT)
    callee.ring()
    await call.hears(440, 480, within=PATIENT)
    await world.rest.notified(13233, await world.sid(number), PATIENT)
    callee.refuse(486)
    await call.over(PATIENT)


@case
async def test_dial_music_disabled_is_silence(world: World) -> None:
    bob = await world.phone("bob")
    number = await world.number(dial(sip(bob), dialMusic="disabled"))
    call = await world.call(number)
    callee = await bob.offered(1, PATIENT)
    callee.ring()
    await call.answered(PATIENT)
    await pause(2.0)
    assert sounding(call.heard()) < 0.05
    callee.refuse(486)
    await call.over(PATIENT)


@case
async def test_early_media_of_the_callee_is_heard_in_place_of_the_ringing_tone(world: World) -> None:
    bob = await world.phone("bob")
    number = await world.number(dial(sip(bob)))
    call = await world.call(number)
    callee = await bob.offered(1, PATIENT)
    callee.hum(900)
    callee.early()
    call.hum(CALLER)
    await call.hears(900, within=PATIENT)
    await call.hears_none_of(440, 480)
    await callee.hears_none_of(CALLER)
    callee.answer()
    await talk(call, callee)
    await callee.bye()
    await call.over(PATIENT)
    assert [row["status"] for row in await world.dialed(number)] == ["completed"]


@case
async def test_an_announcement_of_the_network_before_a_refusal_is_heard(world: World) -> None:
    bob = await world.phone("bob")
    number = await world.number(dial(sip(bob)) + world.play(1300, 0.4))
    call = await world.call(number)
    callee = await bob.offered(1, PATIENT)
    callee.hum(900)
    callee.early()
    await call.hears(900, within=PATIENT)
    callee.rtp.mute()
    callee.refuse(404)
    await call.over(PATIENT)
    assert tones(call.heard())[-1].frequency == pytest.approx(1300, abs=30)
    assert [row["status"] for row in await world.dialed(number)] == ["failed"]


@case
async def test_early_audio_of_one_branch_of_several_is_not_heard_until_it_is_alone(world: World) -> None:
    bob, ann = await world.phone("bob"), await world.phone("ann")
    number = await world.number(dial(sip(bob), sip(ann)))
    call = await world.call(number)
    early, other = await bob.offered(1, PATIENT), await ann.offered(1, PATIENT)
    early.hum(900)
    early.early()
    other.ring()
    await call.hears(440, 480, within=PATIENT)
    await call.hears_none_of(900)
    other.refuse(486)
    await call.hears(900, within=PATIENT)
    await call.hears_none_of(440, 480)
    early.answer()
    await talk(call, early)
    await early.bye()
    await call.over(PATIENT)


@case
async def test_early_audio_of_a_callee_who_is_screened_is_not_heard(world: World) -> None:
    bob = await world.phone("bob")
    url = world.script("screen", "")
    number = await world.number(dial(sip(bob, url=url)))
    call = await world.call(number)
    callee = await bob.offered(1, PATIENT)
    callee.hum(900)
    callee.early()
    await call.hears(440, 480, within=PATIENT)
    await call.hears_none_of(900)
    callee.answer()
    await talk(call, callee)
    await callee.bye()
    await call.over(PATIENT)


@case
async def test_a_client_that_registered_over_tcp_is_called_there(world: World) -> None:
    await world.rest.client("tcpbob", "RestComm1234")
    bob = await world.phone("tcpbob", "tcp")
    assert (await bob.register("tcpbob", "RestComm1234")).code == 200
    number = await world.number(dial(client("tcpbob")))
    call = await world.call(number)
    callee = await answers(bob)
    await talk(call, callee)
    assert callee.invite.get("Via").startswith("SIP/2.0/TCP")
    await call.bye()
    await callee.over(PATIENT)


@case
async def test_a_callee_who_holds_before_the_caller_speaks_and_both_hold(world: World) -> None:
    bob = await world.phone("bob")
    _, call, callee = await bridged(world, dial(sip(bob)), bob)
    for one in (call, callee):
        one.hush()
        held = await one.reinvite(offer(one.rtp.port, direction="sendonly", version=2))
        assert held.code == 200
    await pause(0.5)
    for one in (call, callee):
        assert (await one.reinvite(offer(one.rtp.port, version=3))).code == 200
    await talk(call, callee)
    await callee.bye()
    await call.over(PATIENT)


# ------------------------------------------------------------------ keys


@case
async def test_keys_pass_in_both_directions(world: World) -> None:
    bob = await world.phone("bob")
    _, call, callee = await bridged(world, dial(sip(bob)), bob)
    call.rtp.press("12#")
    callee.rtp.press("407*")
    await together([callee.keys("12#"), call.keys("407*")])
    await talk(call, callee)
    await callee.bye()
    await call.over(PATIENT)


# ------------------------------------------------------------------ AC51: recordings


@case
async def test_ac51_a_recording_has_both_voices(world: World) -> None:
    bob = await world.phone("bob")
    action = world.script("action", "<Hangup/>")
    number, call, callee = await bridged(world, dial(sip(bob), action=action, record="true"), bob)
    await pause(1.0)
    await callee.bye()
    seen = await world.asked("action", within=PATIENT)
    await call.over(PATIENT)
    channels, samples = await sounds(world, seen.form["RecordingUrl"])

    assert seen.form["PublicRecordingUrl"] == seen.form["RecordingUrl"]
    assert channels == 1
    assert loudest(samples[:, 0], CALLER) > AUDIBLE
    assert loudest(samples[:, 0], CALLEE) > AUDIBLE
    assert loudest(samples[:, 0], 440) < AUDIBLE / 2, "the ringing is not on it"
    (recording,) = await world.rest.recordings(CallSid=await world.sid(number))
    assert recording["sid"] in seen.form["RecordingUrl"]


@case
async def test_a_dual_recording_has_each_voice_on_its_own_side(world: World) -> None:
    bob = await world.phone("bob")
    action = world.script("action", "<Hangup/>")
    verb = dial(sip(bob), action=action, record="record-from-answer-dual")
    _, call, callee = await bridged(world, verb, bob)
    await pause(1.0)
    await callee.bye()
    seen = await world.asked("action", within=PATIENT)
    await call.over(PATIENT)
    channels, samples = await sounds(world, seen.form["RecordingUrl"])

    assert channels == 2
    left, right = samples[:, 0], samples[:, 1]
    assert (loudest(left, CALLER) > AUDIBLE, loudest(left, CALLEE) < FAINT) == (True, True)
    assert (loudest(right, CALLEE) > AUDIBLE, loudest(right, CALLER) < FAINT) == (True, True)


@case
async def test_a_recording_from_the_ringing_on_is_longer_than_the_call(world: World) -> None:
    bob = await world.phone("bob")
    action = world.script("action", "<Hangup/>")
    number = await world.number(dial(sip(bob), action=action, record="record-from-ringing"))
    call = await world.call(number)
    callee = await bob.offered(1, PATIENT)
    callee.ring()
    await pause(2.0)
    callee.answer()
    await talk(call, callee)
    await callee.bye()
    seen = await world.asked("action", within=PATIENT)
    await call.over(PATIENT)
    _, samples = await sounds(world, seen.form["RecordingUrl"])
    first = [t for t in tones(samples[:, 0]) if t.seconds > 0.3]

    assert len(samples) / RATE > 2.0 + float(seen.form["DialCallDuration"]) - 1
    assert loudest(samples[:, 0], CALLEE) > AUDIBLE
    assert first


@case
async def test_an_unanswered_dial_has_no_recording(world: World) -> None:
    bob = await world.phone("bob")
    action = world.script("action", "<Hangup/>")
    number = await world.number(dial(sip(bob), action=action, record="true"))
    call = await world.call(number)
    (await bob.offered(1, PATIENT)).refuse(486)
    seen = await world.asked("action", within=PATIENT)
    await call.over(PATIENT)

    assert "RecordingUrl" not in seen.form
    assert await world.rest.recordings(CallSid=await world.sid(number)) == []


@case
async def test_a_recording_is_kept_when_the_caller_hangs_up(world: World) -> None:
    bob = await world.phone("bob")
    action = world.script("action", "")
    _, call, callee = await bridged(world, dial(sip(bob), action=action, record="true"), bob)
    await pause(0.5)
    await call.bye()
    await callee.over(PATIENT)
    seen = await world.asked("action", within=PATIENT)
    _, samples = await sounds(world, seen.form["RecordingUrl"])

    assert loudest(samples[:, 0], CALLEE) > AUDIBLE


# ------------------------------------------------------------------ hold and ports within a bridge


@case
async def test_a_callee_who_holds_lets_the_caller_hear_music_until_the_call_is_resumed(world: World) -> None:
    bob = await world.phone("bob")
    _, call, callee = await bridged(world, dial(sip(bob)), bob)
    await put_on_hold(callee, call)
    await talk(call, callee)
    await callee.bye()
    await call.over(PATIENT)


@case
async def test_a_caller_who_holds_lets_the_callee_hear_music_until_the_call_is_resumed(world: World) -> None:
    bob = await world.phone("bob")
    _, call, callee = await bridged(world, dial(sip(bob)), bob)
    await put_on_hold(call, callee)
    await talk(call, callee)
    await callee.bye()
    await call.over(PATIENT)


@case
async def test_a_callee_who_hangs_up_on_hold_leaves_no_music_behind(world: World) -> None:
    bob = await world.phone("bob")
    _, call, callee = await bridged(world, dial(sip(bob)), bob, world.play(1300, 0.4))
    await callee.reinvite(offer(callee.rtp.port, direction="sendonly", version=2))
    callee.hush()
    await hears_music(call)
    await callee.bye()
    left = now()
    await call.over(PATIENT)

    last = call.heard(since=left)[-round(0.35 * RATE) :]
    assert strength(last, 1300) > AUDIBLE
    assert tones(call.heard(since=left))[-1].frequency == pytest.approx(1300, abs=30)


@case
async def test_both_may_move_to_other_ports_within_the_call(world: World) -> None:
    bob = await world.phone("bob")
    _, call, callee = await bridged(world, dial(sip(bob)), bob)
    for one in (callee, call):
        one.move()
        assert (await one.reinvite(one.body)).code == 200
        await talk(call, callee)
    callee.rtp.press("7")
    await call.keys("7")
    await callee.bye()
    await call.over(PATIENT)
