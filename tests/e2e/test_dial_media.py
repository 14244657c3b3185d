"""Dial: what is heard while it rings, early audio, keys, recordings (AC51), hold and moving ports."""

from __future__ import annotations

import io
import os
import signal
import wave
from pathlib import Path

import numpy as np
import pytest
from dialing import (
    CALLEE,
    CALLER,
    PATIENT,
    answers,
    bridged,
    client,
    hears_music,
    put_on_hold,
    sip,
    talk,
    with_engine,
)
from harness import EngineProcess
from processes import is_alive, udp_ports
from pytest_twisted import ensureDeferred
from sipcall import AUDIBLE, FAINT, Call, strength
from siptext import media_address, offer
from sound import RATE, Samples, sounding, tones
from waiting import now, pause, together
from webapp import WebApp
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
    rob = await world.phone("rob")
    number = await world.number(dial(sip(rob)))
    call = await world.call(number)
    callee = await rob.offered(1, PATIENT)
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
    rob = await world.phone("rob")
    number = await world.number(dial(sip(rob), dialMusic=world.tone(700, 1.0)))
    call = await world.call(number)
    callee = await rob.offered(1, PATIENT)
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
    rob = await world.phone("rob")
    number = await world.number(dial(sip(rob), dialMusic=f"{world.app.url}/nothing.wav"))
    call = await world.call(number)
    callee = await rob.offered(1, PATIENT)
    callee.ring()
    await call.hears(440, 480, within=PATIENT)
    await world.rest.notified(13233, await world.sid(number), PATIENT)
    callee.refuse(486)
    await call.over(PATIENT)


@case
async def test_dial_music_disabled_is_silence(world: World) -> None:
    rob = await world.phone("rob")
    number = await world.number(dial(sip(rob), dialMusic="disabled"))
    call = await world.call(number)
    callee = await rob.offered(1, PATIENT)
    callee.ring()
    await call.answered(PATIENT)
    await pause(2.0)
    assert sounding(call.heard()) < 0.05
    callee.refuse(486)
    await call.over(PATIENT)


@case
async def test_early_media_of_the_callee_is_heard_in_place_of_the_ringing_tone(world: World) -> None:
    rob = await world.phone("rob")
    number = await world.number(dial(sip(rob)))
    call = await world.call(number)
    callee = await rob.offered(1, PATIENT)
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
    rob = await world.phone("rob")
    number = await world.number(dial(sip(rob)) + world.play(1300, 0.4))
    call = await world.call(number)
    callee = await rob.offered(1, PATIENT)
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
    rob, ann = await world.phone("rob"), await world.phone("ann")
    number = await world.number(dial(sip(rob), sip(ann)))
    call = await world.call(number)
    early, other = await rob.offered(1, PATIENT), await ann.offered(1, PATIENT)
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
    rob = await world.phone("rob")
    url = world.script("screen", "")
    number = await world.number(dial(sip(rob, url=url)))
    call = await world.call(number)
    callee = await rob.offered(1, PATIENT)
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
    await world.rest.client("tcprob", "RestComm1234")
    rob = await world.phone("tcprob", "tcp")
    assert (await rob.register("tcprob", "RestComm1234")).code == 200
    number = await world.number(dial(client("tcprob")))
    call = await world.call(number)
    callee = await answers(rob)
    await talk(call, callee)
    assert callee.invite.get("Via").startswith("SIP/2.0/TCP")
    await call.bye()
    await callee.over(PATIENT)


@case
async def test_a_callee_who_holds_before_the_caller_speaks_and_both_hold(world: World) -> None:
    rob = await world.phone("rob")
    _, call, callee = await bridged(world, dial(sip(rob)), rob)
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


@case
async def test_eight_pairs_at_the_same_time_hear_only_each_other(world: World) -> None:
    phones = [await world.phone(f"pair{at}") for at in range(8)]
    voices = [400.0 + 150 * at for at in range(16)]

    async def joined(at: int) -> tuple[Call, Call]:
        number = await world.number(dial(sip(phones[at])), name=f"voice{at}")
        call = await world.call(number)
        await call.answered(PATIENT)
        return call, await answers(phones[at])

    pairs = await together([joined(at) for at in range(8)])
    for at, (call, callee) in enumerate(pairs):
        call.hum(voices[2 * at])
        callee.hum(voices[2 * at + 1])

    async def hears_only(at: int) -> None:
        call, callee = pairs[at]
        await together([call.hears(voices[2 * at + 1]), callee.hears(voices[2 * at])])
        for ear, voice in ((call, voices[2 * at + 1]), (callee, voices[2 * at])):
            await ear.hears_none_of(*(other for other in voices if other != voice))

    await together([hears_only(at) for at in range(8)])
    for call, callee in pairs:
        await callee.bye()
        await call.over(PATIENT)


# ------------------------------------------------------------------ keys


@case
async def test_keys_pass_in_both_directions(world: World) -> None:
    rob = await world.phone("rob")
    _, call, callee = await bridged(world, dial(sip(rob)), rob)
    call.rtp.press("12#")
    callee.rtp.press("407*")
    await together([callee.keys("12#"), call.keys("407*")])
    await talk(call, callee)
    await callee.bye()
    await call.over(PATIENT)


# ------------------------------------------------------------------ AC51: recordings


@case
async def test_ac51_a_recording_has_both_voices(world: World) -> None:
    rob = await world.phone("rob")
    action = world.script("action", "<Hangup/>")
    number, call, callee = await bridged(world, dial(sip(rob), action=action, record="true"), rob)
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
    rob = await world.phone("rob")
    action = world.script("action", "<Hangup/>")
    verb = dial(sip(rob), action=action, record="record-from-answer-dual")
    _, call, callee = await bridged(world, verb, rob)
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
    rob = await world.phone("rob")
    action = world.script("action", "<Hangup/>")
    number = await world.number(dial(sip(rob), action=action, record="record-from-ringing"))
    call = await world.call(number)
    callee = await rob.offered(1, PATIENT)
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
    rob = await world.phone("rob")
    action = world.script("action", "<Hangup/>")
    number = await world.number(dial(sip(rob), action=action, record="true"))
    call = await world.call(number)
    (await rob.offered(1, PATIENT)).refuse(486)
    seen = await world.asked("action", within=PATIENT)
    await call.over(PATIENT)

    assert "RecordingUrl" not in seen.form
    assert await world.rest.recordings(CallSid=await world.sid(number)) == []


@case
async def test_a_recording_is_kept_when_the_caller_hangs_up(world: World) -> None:
    rob = await world.phone("rob")
    action = world.script("action", "")
    _, call, callee = await bridged(world, dial(sip(rob), action=action, record="true"), rob)
    await pause(0.5)
    await call.bye()
    await callee.over(PATIENT)
    seen = await world.asked("action", within=PATIENT)
    _, samples = await sounds(world, seen.form["RecordingUrl"])

    assert loudest(samples[:, 0], CALLEE) > AUDIBLE


# ------------------------------------------------------------------ hold and ports within a bridge


@case
async def test_a_callee_who_holds_lets_the_caller_hear_music_until_the_call_is_resumed(world: World) -> None:
    rob = await world.phone("rob")
    _, call, callee = await bridged(world, dial(sip(rob)), rob)
    await put_on_hold(callee, call)
    await talk(call, callee)
    await callee.bye()
    await call.over(PATIENT)


@case
async def test_a_caller_who_holds_lets_the_callee_hear_music_until_the_call_is_resumed(world: World) -> None:
    rob = await world.phone("rob")
    _, call, callee = await bridged(world, dial(sip(rob)), rob)
    await put_on_hold(call, callee)
    await talk(call, callee)
    await callee.bye()
    await call.over(PATIENT)


@case
async def test_a_hold_in_the_old_way_by_an_address_of_zeros_is_a_hold(world: World) -> None:
    rob = await world.phone("rob")
    _, call, callee = await bridged(world, dial(sip(rob)), rob)
    callee.hush()
    held = await callee.reinvite(offer(callee.rtp.port, address="0.0.0.0", version=2))
    assert held.code == 200
    await hears_music(call)
    assert (await callee.reinvite(offer(callee.rtp.port, version=3))).code == 200
    await talk(call, callee)
    await callee.bye()
    await call.over(PATIENT)


@case
async def test_a_hold_with_inactive_is_a_hold(world: World) -> None:
    rob = await world.phone("rob")
    _, call, callee = await bridged(world, dial(sip(rob)), rob)
    call.hush()
    held = await call.reinvite(offer(call.rtp.port, direction="inactive", version=2))
    assert held.code == 200
    await hears_music(callee)
    assert (await call.reinvite(offer(call.rtp.port, version=3))).code == 200
    await talk(call, callee)
    await call.bye()
    await callee.over(PATIENT)


@case
async def test_a_recording_goes_on_through_a_hold(world: World) -> None:
    rob = await world.phone("rob")
    action = world.script("action", "<Hangup/>")
    verb = dial(sip(rob), action=action, record="record-from-answer-dual")
    _, call, callee = await bridged(world, verb, rob)
    await put_on_hold(callee, call)
    call.hum(700)
    callee.hum(1700)
    await together([call.hears(1700), callee.hears(700)])
    await pause(0.5)
    await callee.bye()
    seen = await world.asked("action", within=PATIENT)
    await call.over(PATIENT)
    channels, samples = await sounds(world, seen.form["RecordingUrl"])

    assert channels == 2
    half = len(samples) // 2
    assert loudest(samples[:half, 1], CALLEE) > AUDIBLE
    assert loudest(samples[half:, 0], 700) > AUDIBLE
    assert loudest(samples[half:, 1], 1700) > AUDIBLE
    assert abs(len(samples) / RATE - int(seen.form["DialCallDuration"])) < 1.6


@case
async def test_a_callee_who_hangs_up_on_hold_leaves_no_music_behind(world: World) -> None:
    rob = await world.phone("rob")
    _, call, callee = await bridged(world, dial(sip(rob)), rob, world.play(1300, 0.4))
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
    rob = await world.phone("rob")
    _, call, callee = await bridged(world, dial(sip(rob)), rob)
    for one in (callee, call):
        one.move()
        assert (await one.reinvite(one.body)).code == 200
        await talk(call, callee)
    callee.rtp.press("7")
    await call.keys("7")
    await callee.bye()
    await call.over(PATIENT)


# ------------------------------------------------------------------ workers


def worker_of(engine: EngineProcess, call: Call) -> int:
    """Process id of the worker that a call's audio comes from."""
    assert call.rtp.remote is not None
    port = call.rtp.remote[1]
    (found,) = [pid for pid in engine.workers() if is_alive(pid) and port in udp_ports(pid)]
    return found


async def spread(world: World, after: str) -> tuple[str, Call, Call]:
    """A caller who is joined with a callee in another worker: the last one of a large fork."""
    phones = [await world.phone(f"spread{at}") for at in range(10)]
    number = await world.number(dial(*(sip(phone) for phone in phones)) + after)
    call = await world.call(number)
    await call.answered(PATIENT)
    offers = [await phone.offered(1, PATIENT) for phone in phones]
    ports = udp_ports(worker_of(world.engine, call))
    callee = next(one for one in offers if media_address(one.invite.body)[1] not in ports)
    callee.answer()
    await callee.answered(PATIENT)
    await talk(call, callee)
    return number, call, callee


@ensureDeferred
async def test_a_callee_whose_worker_dies_leaves_a_caller_who_goes_on(app: WebApp, tmp_path: Path) -> None:
    async def callee_lost(world: World) -> None:
        number, call, callee = await spread(world, world.play(1300, 0.5))
        os.kill(worker_of(world.engine, callee), signal.SIGKILL)
        await callee.over(PATIENT)
        await call.over(PATIENT)
        assert tones(call.heard())[-1].frequency == pytest.approx(1300, abs=30)
        rows = await world.dialed(number, 10)
        assert sorted({row["status"] for row in rows}) == ["canceled", "completed"]
        assert (await world.row(number))["status"] == "completed"

    await with_engine(app, tmp_path / "data", "callee_lost", callee_lost, "media.start_rate=3")


@ensureDeferred
async def test_a_caller_whose_worker_dies_ends_the_callee(app: WebApp, tmp_path: Path) -> None:
    async def caller_lost(world: World) -> None:
        number, call, callee = await spread(world, world.play(1300, 0.5))
        os.kill(worker_of(world.engine, call), signal.SIGKILL)
        await call.over(PATIENT)
        await callee.over(PATIENT)
        await world.dialed(number, 10)
        assert (await world.row(number))["status"] == "completed"

    await with_engine(app, tmp_path / "data", "caller_lost", caller_lost, "media.start_rate=3")
