"""Conferences whose processes are killed, and rooms so large that many workers hold them."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import EngineProcess, Rest
from processes import children, is_alive
from pytest_twisted import ensureDeferred
from rooms import (
    AMPLITUDE,
    HEARD,
    VOICES,
    Member,
    Room,
    all_hear_all,
    conference_is,
    hear,
    latest,
    mixers,
    nothing_is_left,
    settles,
    strengths,
    worker_of,
)
from sound import read_wav, tone
from waiting import eventually, now, pause, together
from world import World

pytestmark = pytest.mark.loopback


@pytest.fixture(scope="module")
def engine(engines: Callable[..., EngineProcess]) -> EngineProcess:
    """An engine that is done harm."""
    return engines("media.spare_workers=2")


def link_sockets(engine: EngineProcess) -> set[str]:
    """Paths of the sockets between workers and mixer that this engine's processes have open."""
    owned = set()
    for pid in engine.workers():
        for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                owned.add(os.readlink(descriptor))
            except OSError:
                continue
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    named = [(fields[6], fields[7]) for fields in lines if len(fields) > 7]
    return {path for inode, path in named if f"socket:[{inode}]" in owned and "/ve-" in path}


async def the_mixer(engine: EngineProcess, other_than: int = 0) -> int:
    """Process id of the mixer."""

    async def ask() -> list[int]:
        return [pid for pid in mixers(engine.pid) if is_alive(pid) and pid != other_than]

    # a worker that has just been forked has no UDP port yet either
    (found,) = await eventually(ask, lambda pids: len(pids) == 1, 6.0, "one mixer")
    return found


@ensureDeferred
async def test_a_worker_that_dies_takes_its_own_members_and_the_others_go_on_talking(world: World) -> None:
    engine, room = world.engine, Room(world)
    status = world.script("status", "")
    members = [await room.member(f'statusCallback="{status}"') for _ in range(9)]
    await all_hear_all(members)
    homes = {member: worker_of(engine, member.call) for member in members}
    victim = homes[members[0]]
    gone = [member for member in members if homes[member] == victim]
    left = [member for member in members if homes[member] != victim]
    assert 0 < len(gone) < len(members)
    assert len({homes[member] for member in left}) == 2

    os.kill(victim, signal.SIGKILL)
    byes = await together([member.call.over(within=4) for member in gone])
    assert all("media-failure" in bye.get("Reason") for bye in byes)
    await room.holds_only(*left)
    await all_hear_all(left)
    assert all(member.call.live for member in left)
    for member in gone:
        assert (await world.rest.ended(member.sid))["status"] == "completed"

    async def told() -> set[str]:
        seen = [one.form for one in world.app.requests(world.path("status"))]
        return {form["CallSid"] for form in seen if form["StatusCallbackEvent"] == "participant-leave"}

    await eventually(told, lambda sids: sids == {m.sid for m in gone}, 4.0, "that they left is told")
    late = await room.member()
    await all_hear_all([*left, late])
    await room.empties()
    await room.is_now("COMPLETED")
    await nothing_is_left(world)


@ensureDeferred
async def test_a_worker_that_dies_with_all_members_completes_the_room(world: World) -> None:
    room = Room(world)
    members = [await room.member() for _ in range(2)]
    await all_hear_all(members)
    sid = await room.sid()
    for pid in {worker_of(world.engine, member.call) for member in members}:
        os.kill(pid, signal.SIGKILL)
    await together([member.call.over(within=4) for member in members])
    await conference_is(world, sid, "COMPLETED")
    await nothing_is_left(world)


@ensureDeferred
async def test_when_the_mixer_dies_the_conference_goes_on(world: World) -> None:
    engine, room = world.engine, Room(world)
    members = [await room.member() for _ in range(9)]
    await all_hear_all(members)
    killed = 0
    for _ in range(2):
        killed = await the_mixer(engine, killed)
        os.kill(killed, signal.SIGKILL)
        begun = now()
        await all_hear_all(members)
        assert now() - begun < 6.0, "it goes on"
        assert all(member.call.live for member in members)
        await room.holds_only(*members)
    assert await the_mixer(engine, killed) != killed
    await room.empties()
    await room.is_now("COMPLETED")
    await nothing_is_left(world)


@ensureDeferred
async def test_when_the_mixer_dies_what_was_recorded_is_kept_and_a_new_recording_can_begin(
    world: World,
) -> None:
    engine, room = world.engine, Room(world)
    members = [await room.member() for _ in range(2)]
    sid = await room.sid()

    async def rows() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await world.rest.get("Recordings.json", ConferenceSid=sid)).json[
            "recordings"
        ]
        return found

    assert (await world.rest.post(f"Conferences/{sid}.json", Record="true")).status == 200
    await all_hear_all(members)
    await pause(1.5)
    os.kill(await the_mixer(engine), signal.SIGKILL)
    (row,) = await eventually(rows, len, 6.0, "the recording of the dead mixer")
    samples = read_wav((await world.rest.fetch(f"{world.rest.base}/Recordings/{row['sid']}.wav")).body)
    assert len(samples) / 8000 > 1.0
    assert abs(float(row["duration"]) - len(samples) / 8000) < 0.2
    middle = strengths(samples[len(samples) // 2 :][:4000], VOICES[:2])
    assert all(strength >= HEARD for strength in middle)
    await all_hear_all(members)
    assert (await world.rest.post(f"Conferences/{sid}.json", Record="true")).status == 200
    await pause(1.5)
    await all_hear_all(members)
    assert (await world.rest.post(f"Conferences/{sid}.json", Record="false")).status == 200
    await eventually(rows, lambda found: len(found) == 2, 6.0, "a second recording")
    await room.empties()
    await nothing_is_left(world)


@ensureDeferred
async def test_when_the_zygote_dies_the_conference_goes_on(world: World) -> None:
    engine, room = world.engine, Room(world)
    members = [await room.member() for _ in range(9)]
    await all_hear_all(members)
    (zygote,) = [pid for pid in children(engine.pid) if children(pid)]
    engine.workers()  # it remembers them; the next zygote is not their parent
    os.kill(zygote, signal.SIGKILL)
    await all_hear_all(members)
    late = await room.member()
    await all_hear_all([*members, late])
    await room.empties()
    await room.is_now("COMPLETED")
    await nothing_is_left(world)


@ensureDeferred
async def test_forty_members_on_ten_workers_all_hear_the_speaker_and_leave_nothing_behind(
    world: World,
) -> None:
    engine, room = world.engine, Room(world)
    number = await world.number(room.verb('beep="false"'))
    members: list[Member] = []
    for _ in range(40):
        call = await world.call(number)
        sid = (await call.answered(within=10)).get("X-RestComm-CallSid")
        members.append(Member(call, sid, VOICES[0], number))
    await eventually(room_size(room), lambda total: total == 40, 10.0, "forty participants")
    workers = {worker_of(engine, member.call) for member in members}
    assert len(workers) >= 10
    health = (await world.rest.health())["media"]
    assert health["links"] == len(workers)
    assert health["mixers"] == 1
    paths = link_sockets(engine)
    assert len(paths) >= len(workers)

    for speaker, other, frequency in ((members[0], members[39], 1000.0), (members[39], members[0], 1400.0)):
        speaker.call.rtp.say(tone(frequency, 60, amplitude=AMPLITUDE))
        await settles(
            lambda f=frequency, s=speaker: all_but(members, s, f),  # type: ignore[misc]
            0.4,
            25.0,
            lambda f=frequency: (
                f"all hear {f} Hz: {[round(strengths(latest(m.call), [f])[0]) for m in members]}"
            ),  # type: ignore[misc]
        )
        assert other.call.live
        speaker.hush()
    sid = await room.sid()
    await together([member.leave() for member in members])
    await conference_is(world, sid, "COMPLETED")
    for member in members:
        assert (await world.rest.ended(member.sid))["status"] == "completed"
    await nothing_is_left(world, within=10)
    await eventually(sockets_of(engine), lambda found: not found, 4.0, "no socket of a link is left")
    assert not [path for path in paths if Path(path).exists()]


def room_size(room: Room) -> Callable[[], Any]:
    """Asks how many are in it."""

    async def ask() -> int:
        path = f"Conferences/{await room.sid()}/Participants.json"
        return int((await room.world.rest.get(path)).json["total"])

    return ask


def sockets_of(engine: EngineProcess) -> Callable[[], Any]:
    """Asks which sockets of links there are."""

    async def ask() -> set[str]:
        return link_sockets(engine)

    return ask


def all_but(members: list[Member], speaker: Member, frequency: float) -> bool:
    """Whether everybody hears a tone but the one who makes it."""
    for member in members:
        (strength,) = strengths(latest(member.call), [frequency])
        if (strength > AMPLITUDE / 25) if member is speaker else (strength < HEARD):
            return False
    return True


@ensureDeferred
async def test_after_all_that_two_callers_still_hear_each_other(world: World) -> None:
    room = Room(world)
    members = [await room.member() for _ in range(2)]
    await hear({members[0]: [members[1]], members[1]: [members[0]]})
    await room.empties()
    await nothing_is_left(world)


# ---------------------------------------------------------------- the engine ends, and begins again


def own_world(world: World, engine: EngineProcess) -> World:
    """The same scenario at another engine."""
    return World(engine, world.app, world.name)


@ensureDeferred
async def test_an_engine_that_is_stopped_ends_its_conferences(world: World, tmp_path: Path) -> None:
    engine = await EngineProcess.start(tmp_path / "data", "media.spare_workers=2")
    there = own_world(world, engine)
    room = Room(there)
    members = [await room.member() for _ in range(5)]
    await all_hear_all(members)
    sid = await room.sid()
    assert (await there.rest.post(f"Conferences/{sid}.json", Record="true")).status == 200
    await pause(1.0)
    paths = link_sockets(engine)
    assert paths
    folders = {Path(path).parent for path in paths}
    stopped = engine.stop()  # it waits for calls for a while, then hangs up
    byes = together([member.call.over(within=9) for member in members])
    await stopped
    await byes
    assert not [folder for folder in folders if folder.exists()], "no folder of sockets is left"
    assert rows_of(engine, "SELECT status FROM conferences WHERE sid = ?", sid) == [("COMPLETED",)]
    ((recording, seconds),) = rows_of(
        engine, "SELECT sid, duration FROM recordings WHERE conference_sid = ?", sid
    )
    (file,) = Path(engine.data).rglob(f"{recording}.wav")
    assert abs(len(read_wav(file.read_bytes())) / 8000 - seconds) < 0.2
    there._numbers.clear()
    await there.close()


def rows_of(engine: EngineProcess, query: str, *values: str) -> list[Any]:
    """What the database of an engine says."""
    with sqlite3.connect(f"file:{engine.data}/voiceengine.sqlite?mode=ro", uri=True) as database:
        return database.execute(query, values).fetchall()


@ensureDeferred
async def test_a_conference_of_an_engine_that_was_killed_is_completed_when_it_starts_again(
    world: World, tmp_path: Path
) -> None:
    engine = await EngineProcess.start(tmp_path / "data", "media.spare_workers=2")
    there = own_world(world, engine)
    room = Room(there)
    members = [await room.member() for _ in range(5)]
    await all_hear_all(members)
    sid = await room.sid()
    family = [*children(engine.pid), *engine.workers()]
    engine.kill()
    await together([member.call.over(within=4) for member in members])
    await engine.ended(3.0)

    async def left() -> list[int]:
        return [pid for pid in family if is_alive(pid)]

    await eventually(left, lambda pids: not pids, 6.0, "workers and mixer are gone")
    there._numbers.clear()
    await there.close()

    again = await EngineProcess.start(engine.data)
    try:
        row = (await again.rest.get(f"Conferences/{sid}.json")).json
        assert row["status"] == "COMPLETED"
        found = (await again.rest.get(f"Conferences/{sid}/Participants.json")).json
        assert found["calls"] == []
    finally:
        await again.stop()


@ensureDeferred
async def test_the_same_name_in_two_accounts_is_two_rooms(world: World, tmp_path: Path) -> None:
    first = await EngineProcess.start(tmp_path / "data")
    await first.stop()
    other_sid, token = "AC" + "b" * 32, "c" * 32
    with sqlite3.connect(tmp_path / "data" / "voiceengine.sqlite") as database:
        database.row_factory = sqlite3.Row
        row = dict(database.execute("SELECT * FROM accounts").fetchone())
        row |= {
            "parent_sid": row["sid"],
            "sid": other_sid,
            "auth_token": token,
            "email_address": "b@example.org",
        }
        row |= {"friendly_name": "other"}
        marks = ", ".join("?" * len(row))
        database.execute(f"INSERT INTO accounts ({', '.join(row)}) VALUES ({marks})", list(row.values()))
    engine = await EngineProcess.start(tmp_path / "data")
    there = own_world(world, engine)
    try:
        mine = Room(there)
        one, two = await mine.member(), await mine.member()
        own, engine.rest = engine.rest, Rest(engine.credentials["base_url"], other_sid, token)
        theirs = Room(there, mine.name)
        theirs.members += [one, two]  # other voices
        three, four = await theirs.member(), await theirs.member()
        await hear({one: [two], two: [one], three: [four], four: [three]})
        await theirs.holds_only(three, four)
        other = await theirs.sid()
        assert (await theirs.row())["account_sid"] == other_sid
        assert (await engine.rest.get(f"Conferences/{await sid_at(own, mine.name)}.json")).status == 403
        engine.rest = own
        await mine.holds_only(one, two)
        assert await mine.sid() != other
        await together([member.leave() for member in (one, two, three, four)])
    finally:
        there._numbers.clear()
        await there.close()
        await engine.stop()


async def sid_at(rest: Rest, name: str) -> str:
    """ConferenceSid of a room, as one account sees it."""
    (row,) = (await rest.get("Conferences.json", FriendlyName=name)).json["conferences"]
    return str(row["sid"])


@ensureDeferred
async def test_the_longest_conference_and_the_music_of_a_lone_moderator_are_settings(
    world: World, tmp_path: Path
) -> None:
    settings = ("calls.conference_seconds=8", "calls.conference_lone_music=true")
    engine = await EngineProcess.start(tmp_path / "data", *settings)
    there = own_world(world, engine)
    room = Room(there)
    moderator = await room.member(speaks=False)
    begun = now()
    await moderator.music()
    guest = await room.member(after=there.play(1300, 0.5))
    await all_hear_all_but_silent(moderator, guest)
    await moderator.call.over(within=12)
    await guest.call.over(within=6)
    assert now() - begun > 5.0
    guest.hush()
    await guest.heard_tone(1300, 0.4, since=begun)
    await room.is_now("COMPLETED")
    await nothing_is_left(there)
    await there.close()
    await engine.stop()


async def all_hear_all_but_silent(moderator: Member, guest: Member) -> None:
    """The guest alone speaks, and the music is over."""
    await hear({moderator: [guest], guest: []})
    await guest.silence()
