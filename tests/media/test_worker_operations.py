"""What is done to a leg that is up: mute, hold, REFER, and recordings that pause."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted
from sipmessage import Request
from workerkit import (
    RATE,
    Crew,
    Dialog,
    loud,
    near,
    pause,
    read_wav,
    record,
    recorded,
    say,
    tones_in,
    until,
    write_wav,
)

from media.tones import sine

pytestmark = pytest.mark.loopback


@pytest_twisted.async_yield_fixture(scope="module")
async def shared() -> AsyncIterator[Crew]:
    made = Crew(1)
    await made.ready()
    yield made
    assert not made.workers[0].lost, "the worker died in a test of this module"
    await made.close()


@pytest_twisted.async_yield_fixture
async def crew(shared: Crew) -> AsyncIterator[Crew]:
    shared.workers[0].failures.clear()
    yield shared
    await shared.over()


# ------------------------------------------------------------------------- mute


@pytest_twisted.ensureDeferred
async def test_who_is_muted_is_heard_by_nobody_and_hears_everybody(crew: Crew, tmp_path: Path) -> None:
    one, two = await crew.call(), await crew.call()
    crew.room("r", one, two)
    say(one, 440)
    say(two, 1000)
    await two.hear(440)
    one.leg.mute(True)
    await two.hear()
    await one.hear(1000)
    record(one, tmp_path / "r.wav", max_seconds=0.5, silence_seconds=30)
    assert not (await recorded(one)).heard
    assert len(loud(read_wav(tmp_path / "r.wav"))) == 0
    one.leg.mute(False)

    await two.hear(440)


@pytest_twisted.ensureDeferred
async def test_a_change_of_media_does_not_end_a_mute(crew: Crew) -> None:
    one, two = await crew.call(), await crew.call()
    crew.room("r", one, two)
    one.leg.mute(True)
    await one.move()
    say(one, 440)
    say(two, 1000)

    await one.hear(1000)
    await two.hear()
    assert tones_in(two.rtp.heard()) == set()
    one.leg.mute(False)
    await two.hear(440)


@pytest_twisted.ensureDeferred
async def test_a_leg_is_muted_before_it_has_media(crew: Crew) -> None:
    one, two = crew.dialog(), await crew.call()
    await one.ring()
    one.leg.mute(True)
    crew.room("r", one, two)
    one.leg.answer(200, "", [("X-Test", "yes")])
    one.learn(await one.response(200))
    one.request("ACK")
    say(one, 440)
    say(two, 1000)

    await one.hear(1000)
    await two.hear()


# ------------------------------------------------------------------------- hold


def direction(request: Request) -> str:
    """The direction in an SDP."""
    body = (request.body or b"").decode()
    return next((d for d in ("sendonly", "recvonly", "inactive") if f"a={d}" in body), "sendrecv")


async def reinvited(call: Dialog, code: int = 200, answer: str = "") -> Request:
    """The phone answers the worker's re-INVITE."""
    invite = await call.asked("INVITE")
    body = call.sdp() + (f"a={answer}\r\n" if answer else "")
    call.reply(invite, code, body=body if code == 200 else "")
    await call.asked("ACK")
    return invite


async def outcome(call: Dialog, number: int = 1, seconds: float = 4.0) -> tuple[bool, int]:
    await until(lambda: call.ears.names().count("reinvited") >= number, seconds)
    found = [event for event in call.ears.events if event[0] == "reinvited"][number - 1]
    return found[1], found[2]


@pytest_twisted.ensureDeferred
async def test_a_party_is_held_hears_music_and_is_taken_back(crew: Crew, tmp_path: Path) -> None:
    call, other = await crew.call(), await crew.call()
    crew.room("r", call, other)
    music = write_wav(tmp_path / "music.wav", sine(700, 20))
    call.leg.hold(True)
    assert direction(await reinvited(call, answer="recvonly")) == "sendonly"
    assert await outcome(call) == (True, 200)
    crew.room("r", other)
    call.leg.play("music", [music], 0)
    await call.hear(700)
    call.leg.hold(True)
    assert await outcome(call, 2) == (True, 200)
    assert call.nothing_came()
    call.leg.stop_playback("music")
    call.leg.hold(False)
    assert direction(await reinvited(call)) == "sendrecv"
    assert await outcome(call, 3) == (False, 200)
    crew.room("r", call, other)
    say(call, 440)
    say(other, 1000)

    await call.hear(1000)
    await other.hear(440)
    assert all(not event[2] for event in call.ears.events if event[0] == "media")


@pytest_twisted.ensureDeferred
async def test_music_that_plays_goes_on_when_the_party_is_held(crew: Crew, tmp_path: Path) -> None:
    call = await crew.call()
    call.leg.play("music", [write_wav(tmp_path / "music.wav", sine(700, 20))], 0)
    await call.hear(700)
    call.leg.hold(True)
    await reinvited(call, answer="recvonly")
    await outcome(call)

    await call.hear(700)


@pytest.mark.parametrize("code", [488, 491, 403])
@pytest_twisted.ensureDeferred
async def test_a_hold_that_is_refused_leaves_the_call_as_it_was(crew: Crew, code: int) -> None:
    call, other = await crew.call(), await crew.call()
    crew.room("r", call, other)
    call.leg.hold(True)
    await reinvited(call, code)
    assert await outcome(call) == (True, code)
    say(call, 440)
    say(other, 1000)
    await call.hear(1000)
    await other.hear(440)
    call.leg.hold(True)
    assert direction(await reinvited(call, answer="recvonly")) == "sendonly"

    assert await outcome(call, 2) == (True, 200)


@pytest_twisted.ensureDeferred
async def test_a_hold_that_is_challenged_is_told_once(crew: Crew) -> None:
    """A trunk may ask for credentials again; pjsip answers by itself."""
    call = crew.dialog()
    call.leg.originate(
        "sip:bob@far.example", "<sip:a@test>", call.call_id, username="trunk", password="s3cret"
    )
    invite = await call.asked("INVITE")
    call.reply(invite, 200, body=call.sdp())
    await call.asked("ACK")
    await call.ears.wait("media")
    call.leg.hold(True)
    asked = ("Proxy-Authenticate", 'Digest realm="far", nonce="abc", algorithm=MD5')
    call.reply(await call.asked("INVITE"), 407, asked)
    await call.asked("ACK")
    again = await call.asked("INVITE")
    assert "Proxy-Authorization" in again.headers.keys()
    call.reply(again, 200, body=call.sdp() + "a=recvonly\r\n")
    await call.asked("ACK")
    await pause(0.1)

    assert [event[1:] for event in call.ears.events if event[0] == "reinvited"] == [(True, 200)]
    await call.down()


@pytest_twisted.ensureDeferred
async def test_a_resumption_that_is_refused_can_be_tried_again(crew: Crew) -> None:
    call, other = await crew.call(), await crew.call()
    crew.room("r", call, other)
    call.leg.hold(True)
    await reinvited(call, answer="recvonly")
    call.leg.hold(False)
    await reinvited(call, 491)
    assert await outcome(call, 2) == (False, 491)
    call.leg.hold(False)
    assert direction(await reinvited(call)) == "sendrecv"
    assert await outcome(call, 3) == (False, 200)
    say(call, 440)

    await other.hear(440)


@pytest_twisted.ensureDeferred
async def test_holds_that_come_at_once_are_done_one_after_the_other(crew: Crew) -> None:
    call = await crew.call()
    for held in (True, False, True):
        call.leg.hold(held)
    for expected in ("sendonly", "sendrecv", "sendonly"):
        assert direction(await reinvited(call)) == expected

    assert await outcome(call, 3) == (True, 200)
    codes = [event[1:] for event in call.ears.events if event[0] == "reinvited"]
    assert codes == [(True, 200), (False, 200), (True, 200)]


@pytest_twisted.ensureDeferred
async def test_a_leg_that_only_rings_cannot_be_held(crew: Crew) -> None:
    call = crew.dialog()
    await call.ring()
    call.leg.hold(True)

    assert await outcome(call) == (True, 0)


@pytest_twisted.ensureDeferred
async def test_a_hold_waits_for_the_reinvite_of_the_party(crew: Crew) -> None:
    call = await crew.call()
    call.rtp.remote = None
    call.cseq += 1
    call.request("INVITE", body=call.sdp().replace("5 1 IN", "5 2 IN") + "a=sendrecv\r\n")
    ok = await call.response(200)
    call.leg.hold(True)  # before the ACK: a re-INVITE is under way
    await pause(0.1)
    call.learn(ok)
    call.request("ACK")
    assert direction(await reinvited(call, answer="recvonly")) == "sendonly"

    assert await outcome(call) == (True, 200)


@pytest_twisted.ensureDeferred
async def test_only_a_hold_by_the_party_is_told_as_held(crew: Crew) -> None:
    call = await crew.call()
    call.cseq += 1
    call.request("INVITE", body=call.sdp().replace("5 1 IN", "5 2 IN") + "a=sendonly\r\n")
    call.learn(await call.response(200))
    call.request("ACK")
    await until(lambda: call.ears.names().count("media") == 2)

    assert [event[2] for event in call.ears.events if event[0] == "media"] == [False, True]


@pytest_twisted.ensureDeferred
async def test_a_party_that_hangs_up_while_it_is_asked_to_hold_has_ended(crew: Crew) -> None:
    call = await crew.call()
    call.leg.hold(True)
    await call.asked("INVITE")
    await call.hang_up()
    await pause(0.2)

    assert call.ears.names()[-1] == "ended"


# ------------------------------------------------------------------------- REFER


def referred(call: Dialog) -> list[tuple[int, int, bool]]:
    return [event[1:] for event in call.ears.events if event[0] == "referred"]


def notify(call: Dialog, line: str, state: str) -> None:
    call.cseq += 1
    call.request(
        "NOTIFY",
        ("Event", "refer"),
        ("Subscription-State", state),
        ("Content-Type", "message/sipfrag"),
        text=f"SIP/2.0 {line}\r\n",
    )


@pytest_twisted.ensureDeferred
async def test_the_parameters_of_a_target_are_its_own(crew: Crew) -> None:
    """Without brackets they would be those of Refer-To (RFC 3261 section 20)."""
    call = await crew.call()
    call.leg.refer("sip:bob@far.example;transport=tcp?X-A=1")
    refer = await call.asked("REFER")
    assert refer.headers["Refer-To"] == "<sip:bob@far.example;transport=tcp?X-A=1>"
    call.reply(refer, 603)
    await until(lambda: referred(call) == [(603, 0, True)])


@pytest_twisted.ensureDeferred
async def test_a_party_is_referred_and_tells_what_becomes_of_it(crew: Crew) -> None:
    call = await crew.call()
    call.leg.refer("<sip:bob@far.example>", [("Referred-By", "<sip:pbx@test>"), ("X-Own", "1")])
    refer = await call.asked("REFER")
    assert refer.headers["Refer-To"] == "<sip:bob@far.example>"
    assert refer.headers["X-Own"] == "1"
    assert refer.headers.getlist("Referred-By") == ["<sip:1000@test>"]
    call.reply(refer, 202)
    await until(lambda: referred(call) == [(202, 0, False)])
    notify(call, "100 Trying", "active;expires=60")
    await call.response(200)
    await until(lambda: len(referred(call)) == 2)
    notify(call, "200 OK", "terminated;reason=noresource")
    await call.response(200)
    await until(lambda: len(referred(call)) == 3)
    await call.hang_up()

    assert referred(call) == [(202, 0, False), (202, 100, False), (202, 200, True)]
    assert call.ears.names()[-1] == "ended"


@pytest_twisted.ensureDeferred
async def test_a_transfer_that_fails_is_told(crew: Crew) -> None:
    call = await crew.call()
    call.leg.refer("sip:bob@far.example")
    call.reply(await call.asked("REFER"), 202)
    notify(call, "486 Busy Here", "terminated;reason=noresource")
    await call.response(200)
    await until(lambda: len(referred(call)) == 2)

    assert referred(call) == [(202, 0, False), (202, 486, True)]
    call.leg.refer("sip:carol@far.example")
    call.reply(await call.asked("REFER"), 202)
    await until(lambda: len(referred(call)) == 3)
    notify(call, "180 Ringing", "active")
    await call.response(200)
    await until(lambda: len(referred(call)) == 4)
    assert referred(call)[2:] == [(202, 0, False), (202, 180, False)]


@pytest_twisted.ensureDeferred
async def test_the_news_of_a_transfer_may_come_before_its_acceptance(crew: Crew) -> None:
    call = await crew.call()
    call.leg.refer("sip:bob@far.example")
    refer = await call.asked("REFER")
    notify(call, "200 OK", "terminated;reason=noresource")
    call.reply(refer, 202)
    await until(lambda: referred(call) and referred(call)[-1][2])
    await pause(0.1)

    assert [news[2] for news in referred(call)].count(True) == 1
    assert 200 in {news[1] for news in referred(call)}


@pytest.mark.parametrize("code", [405, 501, 603])
@pytest_twisted.ensureDeferred
async def test_a_refer_that_is_refused_is_told_once(crew: Crew, code: int) -> None:
    call = await crew.call()
    call.leg.refer("sip:bob@far.example")
    call.reply(await call.asked("REFER"), code)
    await until(lambda: referred(call))
    await pause(0.1)

    assert referred(call) == [(code, 0, True)]
    assert "ended" not in call.ears.names()


@pytest.mark.parametrize("target", ["", "sip:a@b\r\nX-Evil: 1", "sip:" + "x" * 5000])
@pytest_twisted.ensureDeferred
async def test_a_refer_that_cannot_be_sent_is_told(crew: Crew, target: str) -> None:
    call = await crew.call()
    call.leg.refer(target)
    await until(lambda: referred(call))

    assert referred(call) == [(0, 0, True)]
    assert call.nothing_came()


@pytest_twisted.ensureDeferred
async def test_a_leg_that_only_rings_cannot_be_referred(crew: Crew) -> None:
    call = crew.dialog()
    await call.ring()
    call.leg.refer("sip:bob@far.example")
    await until(lambda: referred(call))

    assert referred(call) == [(0, 0, True)]


# ------------------------------------------------------------------------- recordings that pause


@pytest_twisted.ensureDeferred
async def test_nothing_is_written_while_a_recording_pauses(crew: Crew, tmp_path: Path) -> None:
    call = await crew.call()
    record(call, tmp_path / "r.wav", max_seconds=30, silence_seconds=30)
    say(call, 440)
    await pause(0.6)
    call.leg.pause_recording("RE1", True)
    say(call, 1000)
    await pause(0.8)
    say(call, 1900)
    await pause(0.3)
    call.leg.pause_recording("RE1", False)
    await pause(0.6)
    call.leg.stop_recording("RE1")
    report = await recorded(call)
    samples = read_wav(report.path)

    assert abs(report.seconds - 1.2) < 0.25
    assert abs(len(samples) / RATE - report.seconds) < 0.01
    assert near(samples[1600:4000], 440)
    assert near(samples[-3200:], 1900)
    assert 1000 not in tones_in(samples)


@pytest_twisted.ensureDeferred
async def test_a_pause_counts_neither_as_time_nor_as_silence(crew: Crew, tmp_path: Path) -> None:
    call = await crew.call()
    say(call, 440)
    record(call, tmp_path / "r.wav", max_seconds=0.8, silence_seconds=0.5)
    await pause(0.3)
    call.leg.pause_recording("RE1", True)
    await pause(1.0)
    assert "recorded" not in call.ears.names()
    call.leg.pause_recording("RE1", False)
    report = await recorded(call)

    assert report.end == "max-length"
    assert abs(report.seconds - 0.8) < 0.15


@pytest_twisted.ensureDeferred
async def test_a_stereo_recording_pauses_and_its_files_stay_equal(crew: Crew, tmp_path: Path) -> None:
    call = await crew.call()
    call.leg.play("music", [write_wav(tmp_path / "music.wav", sine(700, 20))], 0)
    say(call, 440)
    record(call, tmp_path / "r.wav", max_seconds=30, silence_seconds=30, stereo=True)
    for paused in (True, False, True, False):
        await pause(0.2)
        call.leg.pause_recording("RE1", paused)
    await call.move()
    say(call, 440)
    await pause(0.4)
    call.leg.pause_recording("RE1", True)
    call.leg.stop_recording("RE1")
    await recorded(call)
    said, heard = read_wav(tmp_path / "r.wav"), read_wav(tmp_path / "r.heard.wav")

    assert len(said) == len(heard)
    assert tones_in(said[-2400:]) == {440}
    assert tones_in(heard[-2400:]) == {700}


@pytest_twisted.ensureDeferred
async def test_a_recording_that_pauses_ends_with_the_leg(crew: Crew, tmp_path: Path) -> None:
    call = await crew.call()
    record(call, tmp_path / "r.wav", max_seconds=30, silence_seconds=30)
    await pause(0.3)
    call.leg.pause_recording("RE1", True)
    await call.hang_up()

    assert (await recorded(call)).end == "hangup"
    assert call.ears.names()[-2:] == ["recorded", "ended"]


@pytest_twisted.ensureDeferred
async def test_a_second_file_that_cannot_be_written_fails_the_recording(crew: Crew, tmp_path: Path) -> None:
    call = await crew.call()
    (tmp_path / "r.heard.wav").mkdir()
    record(call, tmp_path / "r.wav", stereo=True)

    assert (await recorded(call)).end == "failed"
