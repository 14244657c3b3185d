"""Rooms of real workers: who hears whom, within one worker and over links."""

from __future__ import annotations

import statistics
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_twisted
from workerkit import (
    RATE,
    Crew,
    Dialog,
    loud,
    pause,
    read_wav,
    record,
    recorded,
    say,
    tones_in,
    until,
    write_wav,
)

from media.protocol import PlayRoom, heard_path
from media.tones import sine

pytestmark = pytest.mark.loopback


@pytest_twisted.async_yield_fixture(scope="module")
async def shared() -> AsyncIterator[Crew]:
    made = Crew(2)
    await made.ready()
    yield made
    assert not any(worker.lost for worker in made.workers), "a worker died in a test of this module"
    await made.close()


@pytest_twisted.async_yield_fixture
async def crew(shared: Crew) -> AsyncIterator[Crew]:
    for worker in shared.workers:
        worker.closed.clear()
        worker.failures.clear()
    yield shared
    await shared.over()


def paths(folder: Path, name: str = "") -> tuple[str, str]:
    """Names for the two ends of a link."""
    return str(folder / f"{name}a.sock"), str(folder / f"{name}b.sock")


async def linked(crew: Crew, folder: Path, *, settle: bool = True) -> tuple[Dialog, Dialog]:
    """Two calls in a room of two workers."""
    one, two = await crew.call(0), await crew.call(1)
    a, b = paths(folder)
    crew.room("r", one, worker=0, link=(a, b))
    crew.room("r", two, worker=1, link=(b, a))
    if settle:
        say(one, 440)
        say(two, 1000)
        await two.hear(440)
        await one.hear(1000)
    return one, two


# ------------------------------------------------------------------------- one worker


@pytest_twisted.ensureDeferred
async def test_two_legs_hear_each_other_and_not_themselves(crew: Crew) -> None:
    one, two = await crew.call(), await crew.call()
    crew.room("r", one, two)
    say(one, 440)
    say(two, 1000)

    await one.hear(1000)
    await two.hear(440)


@pytest_twisted.ensureDeferred
async def test_each_of_three_legs_hears_the_other_two(crew: Crew) -> None:
    one, two, three = await crew.call(), await crew.call(), await crew.call()
    crew.room("r", one, two, three)
    for dialog, tone in ((one, 440), (two, 1000), (three, 1900)):
        say(dialog, tone)

    await one.hear(1000, 1900)
    await two.hear(440, 1900)
    await three.hear(440, 1000)


@pytest_twisted.ensureDeferred
async def test_who_does_not_speak_is_not_heard_and_who_does_not_hear_hears_nothing(crew: Crew) -> None:
    speaker, listener, both = await crew.call(), await crew.call(), await crew.call()
    crew.room("r", (speaker, True, False), (listener, False, True), both)
    for dialog, tone in ((speaker, 440), (listener, 1000), (both, 1900)):
        say(dialog, tone)

    await listener.hear(440, 1900)
    await both.hear(440)
    await speaker.hear()

    crew.room("r", (speaker, True, True), (listener, True, True), (both, False, True))
    await speaker.hear(1000)
    await both.hear(440, 1000)
    await listener.hear(440)


@pytest_twisted.ensureDeferred
async def test_who_leaves_is_not_heard_and_hears_nothing(crew: Crew) -> None:
    one, two, three = await crew.call(), await crew.call(), await crew.call()
    crew.room("r", one, two, three)
    for dialog, tone in ((one, 440), (two, 1000), (three, 1900)):
        say(dialog, tone)
    await three.hear(440, 1000)
    crew.room("r", one, two)

    await one.hear(1000)
    await two.hear(440)
    await three.hear()
    crew.room("r")
    await one.hear()
    await two.hear()


@pytest_twisted.ensureDeferred
async def test_a_leg_is_in_the_room_it_was_put_into_last(crew: Crew) -> None:
    one, two, three = await crew.call(), await crew.call(), await crew.call()
    crew.room("r", one, two)
    for dialog, tone in ((one, 440), (two, 1000), (three, 1900)):
        say(dialog, tone)
    await one.hear(1000)
    crew.room("s", two, three)

    await one.hear()
    await two.hear(1900)
    await three.hear(1000)


@pytest_twisted.ensureDeferred
async def test_a_member_joins_when_its_media_comes_up(crew: Crew) -> None:
    one, late = await crew.call(), crew.dialog()
    await late.ring()
    crew.room("r", one, late)
    say(one, 440)
    await one.hear()
    late.leg.answer(200, "", [("X-Test", "yes")])
    late.learn(await late.response(200))
    late.request("ACK")
    say(late, 1000)

    await late.hear(440)
    await one.hear(1000)


@pytest_twisted.ensureDeferred
async def test_an_outbound_leg_that_rings_with_audio_is_heard(crew: Crew) -> None:
    """The caller hears what the far end plays before it answers."""
    caller, far = await crew.call(), crew.dialog()
    crew.room("r", caller, far)
    far.leg.originate("sip:bob@far.example", "<sip:a@test>", far.call_id)
    invite = await far.asked("INVITE")
    far.reply(invite, 180)
    await until(lambda: ("progress", 180) in far.ears.events)
    far.reply(invite, 183, body=far.sdp())
    far.learn(invite)
    await until(lambda: ("progress", 183) in far.ears.events and "media" in far.ears.names())
    say(far, 1400)
    await caller.hear(1400)
    far.reply(invite, 200, body=far.sdp())
    await far.asked("ACK")
    await until(lambda: ("progress", 200) in far.ears.events)
    say(caller, 440)

    await caller.hear(1400)
    await far.hear(440)
    assert [event[1] for event in far.ears.events if event[0] == "progress"] == [180, 183, 200]
    await far.down()


@pytest_twisted.ensureDeferred
async def test_a_change_of_media_keeps_the_room(crew: Crew) -> None:
    one, two, three = await crew.call(), await crew.call(), await crew.call()
    crew.room("r", one, two, (three, False, True))
    say(two, 1000)
    await one.hear(1000)
    await one.move()
    say(one, 440)
    say(two, 1000)

    await one.hear(1000)
    await two.hear(440)
    await three.hear(440, 1000)


@pytest_twisted.ensureDeferred
async def test_a_leg_that_ends_leaves_and_the_others_stay(crew: Crew) -> None:
    one, two, three = await crew.call(), await crew.call(), await crew.call()
    crew.room("r", one, two, three)
    for dialog, tone in ((one, 440), (two, 1000), (three, 1900)):
        say(dialog, tone)
    await three.hear(440, 1000)
    await one.hang_up()

    await two.hear(1900)
    await three.hear(1000)
    four = await crew.call()  # may well get the slot of the one that left
    say(four, 2500)
    await two.hear(1900)
    await four.hear()


# ------------------------------------------------------------------------- playing to all


@pytest_twisted.ensureDeferred
async def test_what_is_played_in_a_room_is_heard_in_order_by_all_who_hear(crew: Crew, tmp_path: Path) -> None:
    one, two, deaf = await crew.call(), await crew.call(), await crew.call()
    crew.room("r", one, two, (deaf, True, False))
    files = [write_wav(tmp_path / f"{tone}.wav", sine(tone, 0.4)) for tone in (700, 1400)]
    missing = str(tmp_path / "none.wav")
    crew.workers[0].tell(PlayRoom, room=b"r", paths=[files[0], missing, files[1]])
    await until(lambda: len(loud(two.rtp.heard())) > 0.75 * RATE)
    await pause(0.1)

    for dialog in (one, two):
        heard = loud(dialog.rtp.heard())
        assert abs(len(heard) / RATE - 0.8) < 0.1
        assert tones_in(heard[:2400]) == {700}
        assert tones_in(heard[-2400:]) == {1400}
    assert len(loud(deaf.rtp.heard())) == 0
    assert any("none.wav" in text for text in crew.workers[0].failures)


@pytest_twisted.ensureDeferred
async def test_playing_stops_with_the_room_and_nothing_is_played_where_there_is_none(
    crew: Crew, tmp_path: Path
) -> None:
    one, two = await crew.call(), await crew.call()
    crew.room("r", one, two)
    path = write_wav(tmp_path / "long.wav", sine(700, 5))
    crew.workers[0].tell(PlayRoom, room=b"r", paths=[path])
    crew.workers[0].tell(PlayRoom, room=b"unknown", paths=[path])
    await one.hear(700)
    crew.room("r")

    await one.hear()
    await two.hear()


@pytest_twisted.ensureDeferred
async def test_what_is_played_in_a_room_leaves_players_for_all_others(crew: Crew, tmp_path: Path) -> None:
    """A library has 32 players."""
    one, other = await crew.call(), await crew.call()
    crew.room("r", one)
    long, prompt = (write_wav(tmp_path / f"{tone}.wav", sine(tone, 3)) for tone in (700, 1400))
    for _ in range(40):
        crew.workers[0].tell(PlayRoom, room=b"r", paths=[long])
    other.leg.play("p1", [prompt], 1)

    await other.hear(1400)
    crew.room("r")


# ------------------------------------------------------------------------- recordings


@pytest_twisted.ensureDeferred
async def test_a_recording_of_both_hears_what_the_leg_hears_in_its_room(crew: Crew, tmp_path: Path) -> None:
    one, two, three = await crew.call(), await crew.call(), await crew.call()
    crew.room("r", one, two)
    for dialog, tone in ((one, 440), (two, 1000), (three, 1900)):
        say(dialog, tone)
    record(one, tmp_path / "r.wav", max_seconds=30, silence_seconds=30, both=True)
    await one.hear(1000)
    await pause(0.5)
    crew.room("r", one, two, three)
    await one.hear(1000, 1900)
    await pause(0.4)
    crew.room("r", one, three)
    await one.hear(1900)
    await pause(0.4)
    path = write_wav(tmp_path / "a.wav", sine(2500, 0.5))
    crew.workers[0].tell(PlayRoom, room=b"r", paths=[path])
    await one.hear(1900, 2500)
    await one.hear(1900)
    one.leg.stop_recording("RE1")
    samples = read_wav((await recorded(one)).path)

    windows = [tones_in(samples[start : start + 1600]) for start in range(0, len(samples) - 1600, 800)]
    expected = [{440, 1000}, {440, 1000, 1900}, {440, 1900}, {440, 1900, 2500}, {440, 1900}]
    found = [each for each in windows if windows.count(each) > 1 or each in expected]
    order = [each for index, each in enumerate(found) if index == 0 or each != found[index - 1]]
    positions = iter(order)
    assert all(each in positions for each in expected), order


@pytest_twisted.ensureDeferred
async def test_a_recording_of_both_goes_on_when_media_changes(crew: Crew, tmp_path: Path) -> None:
    one, two = await crew.call(), await crew.call()
    crew.room("r", one, two)
    record(one, tmp_path / "r.wav", max_seconds=30, silence_seconds=30, both=True)
    for dialog in (two, one):
        await dialog.move()
    say(one, 440)
    say(two, 1000)
    await one.hear(1000)
    await two.hear(440)
    await pause(0.3)
    one.leg.stop_recording("RE1")
    report = await recorded(one)

    assert tones_in(read_wav(report.path)[-2400:]) == {440, 1000}


@pytest_twisted.ensureDeferred
async def test_a_stereo_recording_has_two_files_of_equal_length(crew: Crew, tmp_path: Path) -> None:
    one, two = await crew.call(), await crew.call()
    record(one, tmp_path / "r.wav", max_seconds=30, silence_seconds=30, stereo=True)
    crew.room("r", one, two)
    say(one, 440)
    say(two, 1000)
    await one.hear(1000)
    await pause(0.5)
    path = write_wav(tmp_path / "a.wav", sine(1900, 0.6))
    one.leg.play("p1", [path], 1)
    await one.ears.wait("played")
    one.leg.reset()  # it is a recording of the whole call
    await one.hang_up()
    report = await recorded(one)
    said, heard = read_wav(report.path), read_wav(heard_path(report.path))

    assert (report.end, report.path) == ("hangup", str(tmp_path / "r.wav"))
    assert len(said) == len(heard)
    assert abs(report.seconds - len(said) / RATE) < 0.01
    assert tones_in(said[-4000:]) == {440}
    assert {1000, 1900} <= tones_in(loud(heard))
    assert 440 not in tones_in(heard)
    assert one.ears.names().count("recorded") == 1


@pytest_twisted.ensureDeferred
async def test_the_files_of_a_stereo_recording_are_aligned(crew: Crew, tmp_path: Path) -> None:
    """The same tone begins in both: once said by the party, once played to it, by the same clock."""
    one, two = await crew.call(), await crew.call()
    crew.room("r", one, (two, True, True))
    record(two, tmp_path / "two.wav", max_seconds=30, silence_seconds=30, stereo=True)
    record(one, tmp_path / "one.wav", max_seconds=30, silence_seconds=30, stereo=True)
    await pause(0.2)
    one.rtp.say(sine(700, 0.5))
    await two.hear(700)
    await two.hear()
    for dialog in (one, two):
        dialog.leg.stop_recording("RE1")
        await recorded(dialog)
    said = read_wav(tmp_path / "one.wav")
    heard = read_wav(heard_path(str(tmp_path / "two.wav")))
    quiet = read_wav(tmp_path / "two.wav")

    assert len(loud(quiet)) == 0
    assert len(quiet) == len(heard)
    first = [int(np.argmax(np.abs(each.astype(np.int32)) > 1000)) for each in (said, heard)]
    assert abs(first[0] - first[1]) <= 480  # the recordings themselves begin up to some frames apart


# ------------------------------------------------------------------------- links


@pytest_twisted.ensureDeferred
async def test_legs_in_two_workers_hear_each_other_over_a_link(crew: Crew, tmp_path: Path) -> None:
    one, two = await linked(crew, tmp_path)
    three = await crew.call(1)
    a, b = paths(tmp_path)
    crew.room("r", two, three, worker=1, link=(b, a))
    for dialog, tone in ((one, 440), (two, 1000), (three, 1900)):
        say(dialog, tone)

    await one.hear(1000, 1900)
    await two.hear(440, 1900)
    await three.hear(440, 1000)
    assert not crew.workers[0].closed
    assert not crew.workers[1].closed
    crew.room("r", worker=0)
    crew.room("r", worker=1)
    await until(lambda: crew.workers[0].closed and crew.workers[1].closed)
    for worker in crew.workers:
        room, received, lost, concealed = worker.closed[0]
        assert (room, lost) == (b"r", 0)
        assert received > 50
        assert concealed < received / 10
    assert list(tmp_path.glob("*.sock")) == []


@pytest_twisted.ensureDeferred
async def test_what_is_played_in_a_room_does_not_go_over_its_link(crew: Crew, tmp_path: Path) -> None:
    one, two = await linked(crew, tmp_path)
    path = write_wav(tmp_path / "a.wav", sine(1900, 0.6))
    crew.workers[0].tell(PlayRoom, room=b"r", paths=[path])

    await one.hear(1000, 1900)
    await two.hear(440)
    await one.hear(1000)
    assert 1900 not in tones_in(two.rtp.heard())


@pytest_twisted.ensureDeferred
async def test_a_recording_of_both_hears_the_link(crew: Crew, tmp_path: Path) -> None:
    one, _two = await linked(crew, tmp_path)
    record(one, tmp_path / "r.wav", max_seconds=0.8, silence_seconds=30, both=True)
    report = await recorded(one)

    assert tones_in(read_wav(report.path)) == {440, 1000}


@pytest_twisted.ensureDeferred
async def test_another_link_replaces_the_first(crew: Crew, tmp_path: Path) -> None:
    one, two = await linked(crew, tmp_path)
    c, d = paths(tmp_path, "other-")
    crew.room("r", one, worker=0, link=(c, d))
    await until(lambda: crew.workers[0].closed)
    await two.hear()
    crew.room("r", two, worker=1, link=(d, c))
    say(one, 440)
    say(two, 1000)

    await two.hear(440)
    await one.hear(1000)
    crew.room("r", one, worker=0)
    await one.hear()
    await two.hear()
    assert len(crew.workers[0].closed) == 2


@pytest_twisted.ensureDeferred
async def test_a_link_that_cannot_be_bound_is_reported_and_the_room_works_without(
    crew: Crew, tmp_path: Path
) -> None:
    one, two = await crew.call(), await crew.call()
    for path in ("", str(tmp_path / "none" / "a.sock"), str(tmp_path / ("x" * 120)), str(tmp_path), "a\0b"):
        crew.room("r", one, two, link=(path, "/none/b.sock"))
    say(one, 440)

    await two.hear(440)
    await until(lambda: len(crew.workers[0].failures) == 5)
    assert not crew.workers[0].closed


@pytest_twisted.ensureDeferred
async def test_a_change_of_media_keeps_the_link(crew: Crew, tmp_path: Path) -> None:
    one, two = await linked(crew, tmp_path)
    await one.move()
    say(one, 700)
    say(two, 1000)

    await two.hear(700)
    await one.hear(1000)


@pytest_twisted.ensureDeferred
async def test_rooms_and_links_come_and_go_without_end(crew: Crew, tmp_path: Path) -> None:
    one, two = await crew.call(0), await crew.call(1)
    for number in range(60):
        a, b = paths(tmp_path, f"{number % 3}-")
        crew.room("r", one, worker=0, link=(a, b))
        crew.room("r", two, worker=1, link=(b, a))
        await pause(0.03)
        if number % 2:
            crew.room("r", worker=0)
            crew.room("r", worker=1)
    a, b = paths(tmp_path, "last-")
    crew.room("r", one, worker=0, link=(a, b))
    crew.room("r", two, worker=1, link=(b, a))
    say(one, 440)

    await two.hear(440)
    assert crew.workers[0].failures == []
    await until(lambda: len(crew.workers[0].closed) == 60)


async def added(speaker: Dialog, near: Dialog, far: Dialog) -> float:
    """How much later, in seconds, the far phone hears what the speaker says than the near one does."""
    for listener in (near, far):
        await listener.hear()
        listener.rtp.arrivals.clear()
    speaker.rtp.say(sine(1000, 0.1))
    await until(lambda: near.rtp.onset() and far.rtp.onset())
    return far.rtp.onset() - near.rtp.onset()


@pytest_twisted.ensureDeferred
async def test_a_link_adds_at_most_60_ms(crew: Crew, tmp_path: Path) -> None:
    """The same tone is heard by a phone of the speaker's worker, and by one beyond the link."""
    one, two = await crew.call(0), await crew.call(0)
    three, four = await crew.call(1), await crew.call(1)
    a, b = paths(tmp_path)
    crew.room("r", one, two, worker=0, link=(a, b))
    crew.room("r", three, four, worker=1, link=(b, a))
    there = statistics.median([await added(one, two, three) for _ in range(7)])
    back = statistics.median([await added(three, four, one) for _ in range(7)])

    print(f"a link adds {there * 1000:.0f} / {back * 1000:.0f} ms")
    assert there <= 0.06
    assert back <= 0.06


@pytest_twisted.ensureDeferred
async def test_a_worker_that_is_killed_takes_nobody_with_it(tmp_path: Path) -> None:
    crew = Crew(2)
    try:
        await crew.ready()
        one, _two = await linked(crew, tmp_path)
        three = await crew.call(0)
        a, b = paths(tmp_path)
        crew.room("r", one, three, worker=0, link=(a, b))
        await three.hear(440, 1000)
        crew.workers[1].process.kill()
        await until(lambda: crew.workers[1].lost)
        for dialog in crew.dialogs:
            dialog.leg.ended |= dialog.leg.worker is crew.workers[1]
        say(one, 440)

        await three.hear(440)
        crew.room("r", worker=0)
        await until(lambda: crew.workers[0].closed)
        _, received, lost, concealed = crew.workers[0].closed[0]
        assert received > 20
        assert lost == 0
        assert 0 < concealed <= 60
        assert not crew.workers[0].lost
    finally:
        await crew.close()
