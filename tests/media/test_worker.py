"""Legs in real pjsua2 workers: the test is the edge and the phone, SIP and RTP are real."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from workerkit import (
    RATE,
    REACTOR,
    Dialog,
    Ears,  # noqa: F401 - test_pool takes it from here
    Rtp,
    World,
    dial,
    loud,
    near,
    pause,
    read_wav,
    record,
    recorded,
    until,
    write_wav,
)

from media.tones import sine
from media.worker.guard import PjError, check_wav
from voiceengine.sip.digest import Authenticator, NonceFactory, ha1

pytestmark = pytest.mark.loopback


@pytest_twisted.async_yield_fixture(scope="module")
async def shared() -> AsyncIterator[World]:
    made = World()
    await made.pool.start()
    yield made
    assert made.pool.deaths == 0, "a worker died in a test of this module"
    await made.close()


@pytest_twisted.async_yield_fixture
async def world(shared: World) -> AsyncIterator[World]:
    yield shared
    await shared.over()


@pytest.fixture
def call(world: World) -> Dialog:
    """An inbound call that is up."""

    async def make() -> Dialog:
        dialog = await world.dialog()
        await dialog.up()
        return dialog

    # an async fixture that fails could not be used again
    done: Deferred[Dialog] = Deferred()
    REACTOR.callLater(0, lambda: Deferred.fromCoroutine(make()).chainDeferred(done))
    made: Dialog = pytest_twisted.blockon(done)
    return made


@pytest.fixture
def tones(tmp_path: Path) -> tuple[str, str]:
    """Files with 440 Hz and 1000 Hz of 0.4 s."""
    return (
        write_wav(tmp_path / "a.wav", sine(440, 0.4)),
        write_wav(tmp_path / "b.wav", sine(1000, 0.4)),
    )


# ------------------------------------------------------------------------- signalling


@pytest_twisted.ensureDeferred
async def test_an_inbound_call_from_the_invite_to_the_bye(world: World) -> None:
    call = await world.dialog()
    await call.up()
    await until(lambda: len(call.rtp.packets) > 10)
    call.cseq += 1
    call.request("BYE", ("Reason", 'Q.850;cause=16;text="bye"'), ("X-Why", "done"))
    await call.response(200)
    report = (await call.ears.wait("ended"))[1]

    assert call.ears.names() == ["incoming", "media", "ended"]
    assert call.ears.events[1] == ("media", "PCMU", False)
    assert (report.code, report.remote, report.cause) == (200, True, 'Q.850;cause=16;text="bye"')
    assert report.headers == [["X-Why", "done"]]
    assert report.stats["codec"] == "PCMU"
    assert report.stats["rx_packets"] > 5
    assert report.stats["tx_packets"] > 5


@pytest_twisted.ensureDeferred
async def test_the_worker_hangs_up(call: Dialog) -> None:
    call.leg.hangup(603, [("Reason", "because"), ("X-A", "b\r\nX-Evil: 1")])
    bye = await call.asked("BYE")
    call.reply(bye, 200)
    report = (await call.ears.wait("ended"))[1]

    assert bye.headers["Reason"] == "because"
    assert bye.headers["X-A"] == "bX-Evil: 1"
    assert not report.remote


@pytest.mark.parametrize(("code", "phrase"), [(486, "Busy Here"), (603, "Decline"), (404, "Nobody")])
@pytest_twisted.ensureDeferred
async def test_a_call_is_refused(world: World, code: int, phrase: str) -> None:
    call = await world.dialog()
    await call.ring()
    call.leg.answer(code, phrase, [("Reason", "no")])
    refusal = await call.response(code)
    report = (await call.ears.wait("ended"))[1]

    assert (refusal.phrase, refusal.headers["Reason"]) == (phrase, "no")
    assert (report.code, report.remote) == (code, False)


@pytest_twisted.ensureDeferred
async def test_a_caller_cancels(world: World) -> None:
    call = await world.dialog()
    await call.ring()
    remote, call.remote = call.remote, "<sip:1000@test>"
    target, call.target = call.target, f"sip:1000@127.0.0.1:{call.leg.sip_port}"
    call.request("CANCEL")
    codes = {(await call.next()).code, (await call.next()).code}
    call.remote, call.target = remote, target
    report = (await call.ears.wait("ended"))[1]

    assert codes == {200, 487}
    assert (report.code, report.remote) == (487, True)


@pytest_twisted.ensureDeferred
async def test_an_invite_without_a_leg_is_refused(world: World) -> None:
    call = await world.dialog()
    call.request("INVITE", body=call.sdp())

    await call.response(403)
    assert call.ears.events == []


@pytest_twisted.ensureDeferred
async def test_a_second_invite_with_the_same_key_leaves_the_first_reachable(
    world: World, call: Dialog, tones: tuple[str, str]
) -> None:
    twin = Dialog(world.edge, Rtp(), "twin@test", call.leg)
    twin.request("INVITE", ("X-Engine-Leg", call.leg.key.decode()), body=twin.sdp())
    twin.learn(await twin.response(403))  # an ACK without the tag of To aborts pjsip; the edge stops those
    twin.request("ACK", refused=True)
    await twin.rtp.close()
    call.leg.play("p1", [tones[0]], 1)

    assert (await call.ears.wait("played"))[1:] == ("p1", "")
    assert "ended" not in call.ears.names()
    call.leg.hangup()
    call.reply(await call.asked("BYE"), 200)
    await call.ears.wait("ended")


@pytest_twisted.ensureDeferred
async def test_no_bye_before_the_ack(world: World) -> None:
    """RFC 3261 section 15."""
    call = await world.dialog()
    await call.ring()
    call.leg.answer(200)
    call.learn(await call.response(200))
    call.leg.hangup()
    await pause(0.3)
    assert call.nothing_came()
    call.request("ACK")
    bye = await call.asked("BYE")
    call.reply(bye, 200)

    report = (await call.ears.wait("ended"))[1]
    assert report.slot_busy == 0


@pytest_twisted.ensureDeferred
async def test_an_outbound_call_answers_a_challenge_and_is_answered(world: World) -> None:
    digest = Authenticator(NonceFactory(b"x" * 16, 60), algorithms=("MD5",))
    call, invite = await dial(world, username="trunk", password="s3cret")
    assert str(invite.uri) == "sip:bob@far.example"
    assert '"Ann" <sip:+1555@test>' in invite.headers["From"]
    assert invite.headers["X-Own"] == "1"
    now = REACTOR.seconds()
    asked = [("Proxy-Authenticate", value) for value in digest.challenge("far", now)]
    call.reply(invite, 407, *asked)
    await call.asked("ACK")
    again = await call.asked("INVITE")
    verdict = digest.verify(
        again.headers["Proxy-Authorization"],
        "INVITE",
        str(again.uri),
        lambda user, realm, algorithm: ha1(user, realm, "s3cret", algorithm),
        now,
        "far",
    )
    assert verdict.ok, verdict.reason
    call.reply(again, 180)
    assert (await call.ears.wait("progress"))[1] == 180
    call.reply(again, 200, body=call.sdp())
    await call.asked("ACK")
    await until(lambda: ("progress", 200) in call.ears.events and "media" in call.ears.names())

    call.leg.hangup()
    call.reply(await call.asked("BYE"), 200)
    report = (await call.ears.wait("ended"))[1]
    assert not report.remote


@pytest.mark.parametrize("code", [404, 486, 503, 302])
@pytest_twisted.ensureDeferred
async def test_an_outbound_call_is_refused(world: World, code: int) -> None:
    call, invite = await dial(world)
    call.reply(invite, code, ("X-Why", "not now"))
    await call.asked("ACK")
    report = (await call.ears.wait("ended"))[1]

    assert (report.code, report.remote) == (code, True)
    assert ["X-Why", "not now"] in report.headers


@pytest_twisted.ensureDeferred
async def test_an_outbound_call_that_rings_is_cancelled(world: World) -> None:
    call, invite = await dial(world)
    call.reply(invite, 180)
    await call.ears.wait("progress")
    call.leg.hangup()
    cancel = await call.asked("CANCEL")
    call.reply(cancel, 200)
    call.reply(invite, 487)
    await call.asked("ACK")
    report = (await call.ears.wait("ended"))[1]

    assert (report.code, report.remote) == (487, False)


@pytest.mark.parametrize("to", ["not a uri", "", "sip:"])
@pytest_twisted.ensureDeferred
async def test_an_outbound_call_to_nowhere_ends_at_once(world: World, to: str) -> None:
    call = await world.dialog()
    call.leg.originate(to, "<sip:a@test>", call.call_id)
    report = (await call.ears.wait("ended"))[1]

    assert report.code == 500
    assert report.cause


# ------------------------------------------------------------------------- playing


@pytest_twisted.ensureDeferred
async def test_files_are_heard_in_order_and_as_often_as_asked(call: Dialog, tones: tuple[str, str]) -> None:
    call.leg.play("p1", list(tones), 2)
    played = await call.ears.wait("played")
    await pause(0.1)
    heard = loud(call.rtp.heard())

    assert played == ("played", "p1", "")
    assert abs(len(heard) / RATE - 1.6) < 0.2
    for place, frequency in ((0.2, 440), (0.6, 1000), (1.0, 440), (1.4, 1000)):
        middle = round(place * len(heard) / 1.6)
        assert near(heard[middle - 800 : middle + 800], frequency), place


@pytest_twisted.ensureDeferred
async def test_a_playback_without_end_goes_on_until_it_is_stopped(
    call: Dialog, tones: tuple[str, str]
) -> None:
    for paths in ([tones[1]], list(tones)):
        call.rtp.packets.clear()
        call.leg.play("p1", paths, 0)
        await until(lambda: len(loud(call.rtp.heard())) > 1.2 * RATE)
        call.leg.stop_playback("p1")
        await pause(0.15)
        call.rtp.packets.clear()
        await until(lambda: len(call.rtp.packets) >= 10)

        assert len(loud(call.rtp.heard())) == 0
    assert "played" not in call.ears.names()


@pytest_twisted.ensureDeferred
async def test_an_empty_playback_is_over_at_once(call: Dialog) -> None:
    call.leg.play("p1", [], 1)

    assert await call.ears.wait("played") == ("played", "p1", "")


@pytest_twisted.ensureDeferred
async def test_a_playback_before_the_answer_begins_with_media(world: World, tones: tuple[str, str]) -> None:
    call = await world.dialog()
    await call.ring()
    call.leg.play("p1", [tones[0]], 1)
    await pause(0.1)
    call.leg.answer(200)
    call.learn(await call.response(200))
    call.request("ACK")
    await call.ears.wait("played")

    assert near(loud(call.rtp.heard()), 440)


@pytest_twisted.ensureDeferred
async def test_a_file_that_vanished_fails_and_the_call_goes_on(call: Dialog, tones: tuple[str, str]) -> None:
    gone = tones[0] + ".gone.wav"
    call.leg.play("p1", [tones[1], gone, tones[1]], 1)
    played = await call.ears.wait("played")

    assert played[1] == "p1"
    assert "gone" in played[2]
    call.ears.events.clear()
    call.leg.play("p2", [tones[1]], 1)
    assert (await call.ears.wait("played"))[1:] == ("p2", "")


@pytest_twisted.ensureDeferred
async def test_a_file_that_vanishes_while_it_plays_is_heard_to_its_end(call: Dialog, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "long.wav", sine(440, 1.5))
    call.leg.play("p1", [path], 1)
    await until(lambda: len(loud(call.rtp.heard())) > 1600)
    os.unlink(path)
    played = await call.ears.wait("played")
    await pause(0.1)

    assert played == ("played", "p1", "")
    assert abs(len(loud(call.rtp.heard())) / RATE - 1.5) < 0.2


@pytest_twisted.ensureDeferred
async def test_a_playback_goes_on_at_another_address(call: Dialog, tmp_path: Path) -> None:
    """A re-INVITE makes a new stream and a new slot in the bridge."""
    path = write_wav(tmp_path / "long.wav", sine(440, 3))
    call.leg.play("p1", [path], 1)
    await until(lambda: len(loud(call.rtp.heard())) > 1600)
    await call.move()
    await until(lambda: len(loud(call.rtp.heard())) > 4000)

    assert near(loud(call.rtp.heard()), 440)
    assert call.ears.names().count("media") == 2


@pytest_twisted.ensureDeferred
async def test_digits_are_sent(call: Dialog) -> None:
    call.leg.send_digits("d1", "1w5#")
    played = await call.ears.wait("played")
    await pause(0.1)

    assert played == ("played", "d1", "")
    assert call.rtp.keys() == "15#"


@pytest_twisted.ensureDeferred
async def test_digits_are_received_once_each(call: Dialog) -> None:
    call.rtp.press("129*0#A")
    await until(lambda: call.ears.names().count("digit") == 7)
    await pause(0.2)

    assert [event for event in call.ears.events if event[0] == "digit"] == [
        ("digit", digit, "rfc4733") for digit in "129*0#A"
    ]


# ------------------------------------------------------------------------- recording


@pytest_twisted.ensureDeferred
async def test_silence_ends_a_recording(call: Dialog, tmp_path: Path) -> None:
    path = tmp_path / "r.wav"
    record(call, path, silence_seconds=0.6)
    call.rtp.say(sine(700, 0.8))
    report = await recorded(call)
    samples = read_wav(path)

    assert (report.end, report.heard, report.path) == ("silence", True, str(path))
    assert near(loud(samples), 700)
    assert abs(len(loud(samples)) / RATE - 0.8) < 0.15
    assert abs(report.seconds - len(samples) / RATE) < 0.01
    assert abs(report.seconds - 1.4) < 0.4


@pytest_twisted.ensureDeferred
async def test_a_recording_of_nothing_says_so(call: Dialog, tmp_path: Path) -> None:
    record(call, tmp_path / "r.wav", silence_seconds=0.4)
    report = await recorded(call)

    assert (report.end, report.heard) == ("silence", False)
    assert 0.3 < report.seconds < 0.7


@pytest_twisted.ensureDeferred
async def test_the_longest_time_ends_a_recording(call: Dialog, tmp_path: Path) -> None:
    call.rtp.say(sine(700, 2))
    record(call, tmp_path / "r.wav", max_seconds=0.5)
    report = await recorded(call)

    assert report.end == "max-length"
    assert abs(report.seconds - 0.5) < 0.1


@pytest_twisted.ensureDeferred
async def test_a_key_ends_a_recording_and_others_are_told(call: Dialog, tmp_path: Path) -> None:
    record(call, tmp_path / "r.wav", finish_keys="#*")
    await pause(0.2)
    call.rtp.press("1#2")
    report = await recorded(call)
    await until(lambda: call.ears.names().count("digit") == 2)

    assert (report.end, report.digit) == ("key", "#")
    assert [event[1] for event in call.ears.events if event[0] == "digit"] == ["1", "2"]


@pytest_twisted.ensureDeferred
async def test_a_recording_is_stopped(call: Dialog, tmp_path: Path) -> None:
    record(call, tmp_path / "r.wav")
    await pause(0.3)
    call.leg.stop_recording("RE1")
    report = await recorded(call)

    assert report.end == "stopped"
    assert 0.2 < report.seconds < 0.6


@pytest_twisted.ensureDeferred
async def test_a_hangup_ends_a_recording_first(call: Dialog, tmp_path: Path) -> None:
    record(call, tmp_path / "r.wav")
    call.rtp.say(sine(700, 1))
    await pause(0.4)
    await call.hang_up()

    assert call.ears.names()[-2:] == ["recorded", "ended"]
    report = await recorded(call)
    assert (report.end, report.heard) == ("hangup", True)
    assert near(loud(read_wav(report.path)), 700)


@pytest_twisted.ensureDeferred
async def test_a_recording_that_has_just_ended_is_told_before_the_end(call: Dialog, tmp_path: Path) -> None:
    """The caller presses # and hangs up at once: the file is complete only a moment later."""
    record(call, tmp_path / "r.wav")
    await pause(0.3)
    call.leg.stop_recording("RE1")
    await pause(0.02)
    await call.hang_up()
    await pause(0.2)

    assert call.ears.names()[-2:] == ["recorded", "ended"]


@pytest_twisted.ensureDeferred
async def test_both_sides_are_recorded(call: Dialog, tmp_path: Path) -> None:
    one = write_wav(tmp_path / "one.wav", sine(440, 1.0))
    two = write_wav(tmp_path / "two.wav", sine(1000, 1.0))
    call.leg.play("p1", [one], 1)
    record(call, tmp_path / "r.wav", max_seconds=30, silence_seconds=30, both=True)
    await call.ears.wait("played")
    call.rtp.say(sine(2000, 0.6))
    await pause(0.8)
    call.leg.reset()  # another document begins: the recording of the whole call goes on
    call.leg.play("p2", [two], 1)
    await until(lambda: call.ears.names().count("played") == 2)
    await call.hang_up()
    samples = read_wav((await recorded(call)).path)

    thirds = [loud(part) for part in (samples[:7200], samples[8800:14000], samples[-8000:])]
    for part, frequency in zip(thirds, (440, 2000, 1000), strict=True):
        assert near(part, frequency)


@pytest_twisted.ensureDeferred
async def test_a_beep_is_heard_but_not_recorded(call: Dialog, tmp_path: Path) -> None:
    beep = write_wav(tmp_path / "beep.wav", sine(1400, 0.3))
    record(call, tmp_path / "r.wav", beep=beep, silence_seconds=0.5)
    report = await recorded(call)

    assert near(loud(call.rtp.heard()), 1400)
    assert not report.heard
    assert len(loud(read_wav(report.path))) == 0


@pytest_twisted.ensureDeferred
async def test_a_beep_that_cannot_be_played_does_not_prevent_a_recording(
    call: Dialog, tmp_path: Path
) -> None:
    record(call, tmp_path / "r.wav", beep=str(tmp_path / "none.wav"), silence_seconds=0.3)

    assert (await recorded(call)).end == "silence"


@pytest_twisted.ensureDeferred
async def test_a_change_of_media_during_the_beep_does_not_prevent_a_recording(
    call: Dialog, tmp_path: Path
) -> None:
    beep = write_wav(tmp_path / "beep.wav", sine(1400, 1.0))
    record(call, tmp_path / "r.wav", beep=beep, max_seconds=0.5)
    await until(lambda: len(loud(call.rtp.heard())) > 1600)
    await call.move()
    report = await recorded(call)

    assert report.end == "max-length"


@pytest.mark.parametrize("name", ["none/r.wav", "r.mp3"])
@pytest_twisted.ensureDeferred
async def test_a_recording_that_cannot_be_written_fails(call: Dialog, tmp_path: Path, name: str) -> None:
    record(call, tmp_path / name)
    report = await recorded(call)

    assert (report.end, report.seconds, report.heard) == ("failed", 0.0, False)
    assert "ended" not in call.ears.names()


@pytest_twisted.ensureDeferred
async def test_another_document_stops_what_plays_and_records(
    call: Dialog, tones: tuple[str, str], tmp_path: Path
) -> None:
    call.leg.play("p1", [tones[0]], 0)
    record(call, tmp_path / "r.wav")
    await pause(0.3)
    call.leg.reset()
    report = await recorded(call)
    await pause(0.1)
    call.rtp.packets.clear()
    await until(lambda: len(call.rtp.packets) >= 10)

    assert report.end == "stopped"
    assert len(loud(call.rtp.heard())) == 0
    assert "played" not in call.ears.names()


# ------------------------------------------------------------------------- guards


@pytest.mark.parametrize(
    ("rate", "width", "channels", "seconds", "reason"),
    [
        (11025, 2, 1, 1, "rate"),
        (22050, 2, 1, 1, ""),
        (96000, 2, 1, 1, "rate"),
        (4000, 2, 1, 1, "rate"),
        (8000, 1, 1, 1, "16-bit"),
        (8000, 3, 1, 1, "16-bit"),
        (8000, 2, 3, 1, "stereo"),
        (8000, 2, 2, 1, ""),
        (8000, 2, 1, 0.03, "shorter"),
        (8000, 2, 1, 0, "shorter"),
        (8000, 2, 1, 0.04, ""),
    ],
)
def test_only_files_that_pjsua2_survives_are_played(
    tmp_path: Path, rate: int, width: int, channels: int, seconds: float, reason: str
) -> None:
    path = write_wav(tmp_path / "a.wav", np.zeros(round(seconds * rate), np.int16), rate, width, channels)

    if not reason:
        check_wav(path)
        return
    with pytest.raises(PjError, match=reason):
        check_wav(path)


@pytest.mark.parametrize("data", [b"", b"RIFF", b"RIFF\0\0\0\0WAVE", b"x" * 4000, b"ID3\x04" + b"\0" * 999])
def test_what_is_no_wav_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(data)

    with pytest.raises(PjError):
        check_wav(str(path))


@pytest.mark.parametrize("path", ["", "/none/a.wav", "/tmp"])
def test_a_path_that_cannot_be_read_is_refused(path: str) -> None:
    with pytest.raises(PjError):
        check_wav(path)
