"""The rules of a conference: tables of what everybody hears, and what no order of events breaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceengine.calls.room import (
    Beep,
    Completed,
    Effect,
    Member,
    Music,
    Part,
    Record,
    Removed,
    Room,
    RoomState,
    Started,
    Told,
)

pytestmark = pytest.mark.unit

SPEAKS = Part(speak=True, hear=True, music=Music.NONE)
LISTENS = Part(speak=False, hear=True, music=Music.NONE)
WAITS = Part(speak=False, hear=False, music=Music.WAIT)
HELD = Part(speak=False, hear=False, music=Music.HOLD)
OUT = Part(speak=False, hear=False, music=Music.NONE)
ALONE = Part(speak=True, hear=True, music=Music.WAIT)


def moderator(name: str, **more: bool) -> Member:
    return Member(name=name, **more)


def guest(name: str, **more: bool) -> Member:
    return Member(name=name, moderator=False, **more)


def room_of(*members: Member, lone_music: bool = False) -> Room:
    room = Room(lone_music=lone_music)
    for member in members:
        room.join(member)
    return room


# ---------------------------------------------------------------- what everybody hears


@pytest.mark.parametrize(
    ("members", "parts"),
    [
        pytest.param([guest("a")], {"a": WAITS}, id="one who is no moderator waits"),
        pytest.param([guest("a"), guest("b")], {"a": WAITS, "b": WAITS}, id="so do two"),
        pytest.param([moderator("m")], {"m": SPEAKS}, id="a moderator alone hears silence"),
        pytest.param([moderator("m"), guest("a")], {"m": SPEAKS, "a": SPEAKS}, id="the moderator is there"),
        pytest.param([guest("a"), moderator("m")], {"a": SPEAKS, "m": SPEAKS}, id="the moderator came later"),
        pytest.param(
            [guest("a", muted=True), moderator("m")],
            {"a": LISTENS, "m": SPEAKS},
            id="one who came muted stays muted when the moderator comes",
        ),
        pytest.param([guest("a", muted=True)], {"a": WAITS}, id="a muted one waits like the others"),
        pytest.param([guest("a", held=True)], {"a": HELD}, id="a held one hears music of its own before it"),
        pytest.param(
            [moderator("m", held=True), guest("a")],
            {"m": HELD, "a": SPEAKS},
            id="a held moderator starts it all the same",
        ),
        pytest.param(
            [moderator("m"), guest("a", muted=True, held=True)],
            {"m": SPEAKS, "a": HELD},
            id="held counts more than muted",
        ),
        pytest.param(
            [moderator("m", muted=True), moderator("n", muted=True)],
            {"m": LISTENS, "n": LISTENS},
            id="all may be muted",
        ),
    ],
)
def test_what_a_member_says_and_hears_follows_from_who_is_in_the_room(
    members: list[Member], parts: dict[str, Part]
) -> None:
    room = room_of(*members)
    assert {name: room.part(name) for name in room.members} == parts


def test_a_lone_moderator_hears_music_when_that_is_set() -> None:
    room = room_of(moderator("m"), lone_music=True)
    assert room.part("m") == ALONE
    room.join(guest("a"))
    assert room.part("m") == SPEAKS
    room.leave("a")
    assert room.part("m") == ALONE


def test_one_who_is_left_alone_but_is_no_moderator_hears_silence_even_then() -> None:
    room = room_of(moderator("m"), guest("a"), lone_music=True)
    room.leave("m")
    assert room.part("a") == SPEAKS


def test_after_the_end_nobody_says_or_hears_anything() -> None:
    room = room_of(moderator("m"), guest("a", held=True))
    room.end()
    assert [room.part(name) for name in ("m", "a")] == [OUT, OUT]


def test_a_muted_and_held_member_comes_back_step_by_step() -> None:
    room = room_of(moderator("m"), guest("a"))
    room.mute("a", True)
    room.hold("a", True)
    assert room.part("a") == HELD
    room.hold("a", False)
    assert room.part("a") == LISTENS
    room.mute("a", False)
    assert room.part("a") == SPEAKS


# ---------------------------------------------------------------- what each event leads to

Event = Callable[[Room], Sequence[Effect]]


def joins(member: Member) -> Event:
    return lambda room: room.join(attrs.evolve(member))


def leaves(name: str) -> Event:
    return lambda room: room.leave(name)


def ends() -> Event:
    return lambda room: room.end()


ABSENT, PRESENT, COMPLETED = RoomState.MODERATOR_ABSENT, RoomState.MODERATOR_PRESENT, RoomState.COMPLETED

START = [Started(), Told("start")]
END = [Told("end"), Completed()]


@pytest.mark.parametrize(
    ("before", "event", "effects", "state"),
    [
        pytest.param([], joins(guest("a")), [Told("join", "a")], ABSENT, id="a guest enters an empty room"),
        pytest.param(
            [],
            joins(moderator("m")),
            [*START, Told("join", "m"), Beep(enter=True)],
            PRESENT,
            id="a moderator starts it",
        ),
        pytest.param(
            [],
            joins(moderator("m", record=True)),
            [*START, Record(), Told("join", "m"), Beep(enter=True)],
            PRESENT,
            id="and records it",
        ),
        pytest.param(
            [], joins(guest("a", record=True)), [Told("join", "a")], ABSENT, id="a guest records nothing"
        ),
        pytest.param(
            [moderator("m")],
            joins(moderator("n", record=True)),
            [Told("join", "n"), Beep(enter=True)],
            PRESENT,
            id="a second moderator neither starts nor records",
        ),
        pytest.param(
            [guest("a")],
            joins(moderator("m", beep=False)),
            [*START, Told("join", "m")],
            PRESENT,
            id="without a beep",
        ),
        pytest.param(
            [moderator("m")], joins(guest("a", beep=False)), [Told("join", "a")], PRESENT, id="silent"
        ),
        pytest.param(
            [moderator("m"), guest("a")],
            leaves("a"),
            [Told("leave", "a"), Beep(enter=False)],
            PRESENT,
            id="one goes",
        ),
        pytest.param(
            [moderator("m"), guest("a", beep=False)],
            leaves("a"),
            [Told("leave", "a")],
            PRESENT,
            id="one goes without a tone",
        ),
        pytest.param(
            [moderator("m"), guest("a")],
            leaves("m"),
            [Told("leave", "m"), Beep(enter=False)],
            PRESENT,
            id="the conference goes on without its moderator",
        ),
        pytest.param(
            [guest("a"), guest("b")],
            leaves("a"),
            [Told("leave", "a")],
            ABSENT,
            id="those who wait hear no tone",
        ),
        pytest.param(
            [guest("a")], leaves("a"), [Told("leave", "a"), *END], COMPLETED, id="the last one goes"
        ),
        pytest.param(
            [moderator("m", end_on_exit=True), guest("a"), guest("b")],
            leaves("m"),
            [Told("leave", "m"), Removed("a"), Removed("b"), *END],
            COMPLETED,
            id="the one who ends it goes",
        ),
        pytest.param(
            [guest("a", end_on_exit=True), guest("b")],
            leaves("a"),
            [Told("leave", "a"), Removed("b"), *END],
            COMPLETED,
            id="also before it began",
        ),
        pytest.param(
            [moderator("m"), guest("a")],
            ends(),
            [Removed("m"), Removed("a"), *END],
            COMPLETED,
            id="it is ended",
        ),
        pytest.param([], ends(), END, COMPLETED, id="an empty one is ended"),
        pytest.param([moderator("m")], leaves("x"), [], PRESENT, id="a stranger goes"),
    ],
)
def test_an_event_leads_to_these_effects_and_this_state(
    before: list[Member], event: Event, effects: list[Effect], state: RoomState
) -> None:
    room = room_of(*(attrs.evolve(member) for member in before))
    assert list(event(room)) == effects
    assert room.state is state


def test_mute_and_hold_are_told_once_each() -> None:
    room = room_of(moderator("m"))
    assert room.mute("m", False) == []
    assert room.mute("m", True) == [Told("mute", "m")]
    assert room.mute("m", True) == []
    assert room.mute("m", False) == [Told("unmute", "m")]
    assert room.hold("m", True) == [Told("hold", "m")]
    assert room.hold("m", True) == []
    assert room.hold("m", False) == [Told("unhold", "m")]
    assert room.mute("x", True) == room.hold("x", True) == []


def test_after_the_end_those_who_leave_are_told_and_nothing_else_happens() -> None:
    room = room_of(moderator("m", end_on_exit=True), guest("a"))
    room.end()
    assert room.end() == []
    assert room.leave("m") == [Told("leave", "m")]
    assert room.leave("a") == [Told("leave", "a")]
    assert room.state is COMPLETED


def test_nobody_enters_a_room_that_is_over_or_twice() -> None:
    room = room_of(moderator("m"))
    with pytest.raises(ValueError, match="m"):
        room.join(guest("m"))
    assert room.members["m"].moderator
    room.end()
    with pytest.raises(ValueError, match="a"):
        room.join(guest("a"))
    assert list(room.members) == ["m"]


def test_members_keep_the_order_in_which_they_came() -> None:
    room = room_of(guest("c"), moderator("a"), guest("b"))
    assert list(room.members) == ["c", "a", "b"]
    assert [e.name for e in room.end() if isinstance(e, Removed)] == ["c", "a", "b"]


# ---------------------------------------------------------------- any order of events

NAMES = st.sampled_from("abcde")
MEMBERS = st.builds(
    Member,
    name=NAMES,
    moderator=st.booleans(),
    end_on_exit=st.booleans(),
    beep=st.booleans(),
    muted=st.booleans(),
    held=st.booleans(),
    record=st.booleans(),
)
STEPS = st.one_of(
    st.tuples(st.just("join"), MEMBERS),
    st.tuples(st.just("leave"), NAMES),
    st.tuples(st.just("mute"), NAMES, st.booleans()),
    st.tuples(st.just("hold"), NAMES, st.booleans()),
    st.tuples(st.just("end")),
)


def take(room: Room, step: tuple[object, ...]) -> list[Effect]:
    """Let something happen; only who may not enter is turned away."""
    match step:
        case ("join", Member() as member):
            if room.state is COMPLETED or member.name in room.members:
                with pytest.raises(ValueError, match=member.name):
                    room.join(attrs.evolve(member))
                return []
            return room.join(attrs.evolve(member))
        case ("leave", str() as name):
            return room.leave(name)
        case ("mute", str() as name, bool() as value):
            return room.mute(name, value)
        case ("hold", str() as name, bool() as value):
            return room.hold(name, value)
        case ("end",):
            return room.end()
    raise AssertionError(step)


@given(st.lists(STEPS, max_size=40), st.booleans())
def test_no_order_of_events_breaks_the_rules(steps: list[tuple[object, ...]], lone_music: bool) -> None:
    room = Room(lone_music=lone_music)
    seen: list[Effect] = []
    inside: set[str] = set()
    moderators_came = entered = emptied = ended = False
    for step in steps:
        was = room.state
        before = dict(room.members)
        effects = take(room, step)
        seen += effects

        # who is in it
        if step[0] == "join" and isinstance(step[1], Member) and was is not COMPLETED:
            moderators_came |= step[1].moderator and step[1].name not in before
            entered = True
        inside |= {e.name for e in effects if isinstance(e, Told) and e.event == "join"}
        inside -= {e.name for e in effects if isinstance(e, Told) and e.event == "leave"}
        assert set(room.members) == inside, "join and leave are told exactly when they happen"
        emptied |= entered and not room.members
        ended |= step[0] == "end" or (
            step[0] == "leave" and step[1] in before and before[str(step[1])].end_on_exit
        )

        # states
        assert (room.state is COMPLETED) == (emptied or ended), "over exactly when empty or ended"
        if room.state is not COMPLETED:
            assert room.started == moderators_came
        removed = [e.name for e in effects if isinstance(e, Removed)]
        if Completed() in effects:
            assert effects[-1] == Completed(), "the end is the last that happens"
            assert removed == list(room.members), "everybody who is still there must leave"
        else:
            assert removed == []

        # what they say and hear
        for name, member in room.members.items():
            part = room.part(name)
            talks = room.state is PRESENT and not member.held
            assert part.hear == talks
            assert part.speak == (talks and not member.muted)
            if room.state is COMPLETED:
                assert part.music is Music.NONE
            elif member.held:
                assert part.music is Music.HOLD
            elif room.state is ABSENT:
                assert part.music is Music.WAIT
            else:
                lone = lone_music and member.moderator and len(room.members) == 1
                assert part.music is (Music.WAIT if lone else Music.NONE)

        # tones
        for effect in effects:
            if isinstance(effect, Beep):
                assert room.state is PRESENT, "nobody who waits hears a tone"
                name = str(step[1].name if isinstance(step[1], Member) else step[1])
                assert (room.members | before)[name].beep

    for once in (Started(), Told("start"), Completed(), Told("end"), Record()):
        assert seen.count(once) <= 1
    assert (Started() in seen) == moderators_came
    for name in list(room.members) if room.state is COMPLETED else []:
        room.leave(name)
    if room.state is COMPLETED:
        assert not room.members
