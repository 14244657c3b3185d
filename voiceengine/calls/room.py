"""The rules of a conference: a pure machine. What everybody hears follows from who is in the room.

States and what leads from one to the next:

| State | Event | Next |
|---|---|---|
| MODERATOR_ABSENT | a moderator joins | MODERATOR_PRESENT (`Started`) |
| both | the last one leaves | COMPLETED (`Completed`) |
| both | one leaves who ends the room, or the room is ended | COMPLETED (`Removed` of each other one) |

Source: RCML reference, Conference; REST reference, Conferences.
"""

from __future__ import annotations

import enum

import attrs


class RoomState(enum.Enum):
    """State of a conference, as told over REST."""

    MODERATOR_ABSENT = "RUNNING_MODERATOR_ABSENT"
    MODERATOR_PRESENT = "RUNNING_MODERATOR_PRESENT"
    COMPLETED = "COMPLETED"


class Music(enum.Enum):
    """What a participant hears besides the others."""

    NONE = "none"
    WAIT = "wait"
    """The wait music or document of the one who waits."""
    HOLD = "hold"
    """The music of the one who is on hold."""


@attrs.define(kw_only=True)
class Member:
    """A participant as the rules see it."""

    name: str
    moderator: bool = True
    """Whether the conference starts when this one enters."""
    end_on_exit: bool = False
    beep: bool = True
    muted: bool = False
    held: bool = False
    """On hold in the conference, or the party holds the call."""
    record: bool = False
    """Record the room when this one starts it."""


@attrs.frozen
class Part:
    """How a participant takes part just now."""

    speak: bool
    hear: bool
    music: Music


# ---------------------------------------------------------------- effects


@attrs.frozen
class Beep:
    """A tone to everybody who hears; `enter`: somebody came, otherwise somebody left."""

    enter: bool


@attrs.frozen
class Started:
    """The first moderator came."""


@attrs.frozen
class Record:
    """Record the room from now on."""


@attrs.frozen
class Removed:
    """Somebody must leave, because the room is over."""

    name: str


@attrs.frozen
class Completed:
    """The room is over."""


@attrs.frozen
class Told:
    """An event for the status callback: join, leave, mute, unmute, hold, unhold (of `name`), start, end."""

    event: str
    name: str = ""


Effect = Beep | Started | Record | Removed | Completed | Told


class Room:
    """One conference.

    Args:
        lone_music: a moderator who is alone hears music instead of silence.
    """

    def __init__(self, *, lone_music: bool = False) -> None:
        self._lone_music = lone_music
        self.state = RoomState.MODERATOR_ABSENT
        self.members: dict[str, Member] = {}
        """In the order they came."""

    @property
    def started(self) -> bool:
        """Whether the participants hear each other."""
        return self.state is RoomState.MODERATOR_PRESENT

    def join(self, member: Member) -> list[Effect]:
        """Somebody comes.

        Raises:
            ValueError: the room is over, or the name is there already.
        """
        if self.state is RoomState.COMPLETED or member.name in self.members:
            raise ValueError(member.name)
        self.members[member.name] = member
        effects: list[Effect] = []
        if member.moderator and not self.started:
            self.state = RoomState.MODERATOR_PRESENT
            effects += [Started(), Told("start")]
            if member.record:
                effects.append(Record())
        effects.append(Told("join", member.name))
        if self.started and member.beep:
            effects.append(Beep(enter=True))
        return effects

    def leave(self, name: str) -> list[Effect]:
        """Somebody goes; unknown names are ignored."""
        member = self.members.pop(name, None)
        if member is None:
            return []
        effects: list[Effect] = [Told("leave", name)]
        if self.state is RoomState.COMPLETED:
            return effects
        if not self.members or member.end_on_exit:
            return effects + self.end()
        if self.started and member.beep:
            effects.append(Beep(enter=False))
        return effects

    def end(self) -> list[Effect]:
        """The room is over; those who are in it are removed one by one (each `leave`s then)."""
        if self.state is RoomState.COMPLETED:
            return []
        self.state = RoomState.COMPLETED
        return [*(Removed(name) for name in self.members), Told("end"), Completed()]

    def mute(self, name: str, muted: bool) -> list[Effect]:
        """Let somebody be heard no more, or again."""
        member = self.members.get(name)
        if member is None or member.muted == muted:
            return []
        member.muted = muted
        return [Told("mute" if muted else "unmute", name)]

    def hold(self, name: str, held: bool) -> list[Effect]:
        """Put somebody on hold, or take them off."""
        member = self.members.get(name)
        if member is None or member.held == held:
            return []
        member.held = held
        return [Told("hold" if held else "unhold", name)]

    def part(self, name: str) -> Part:
        """How a participant takes part, derived from the state of the room and of all in it."""
        member = self.members[name]
        if self.state is RoomState.COMPLETED:
            return Part(speak=False, hear=False, music=Music.NONE)
        if member.held:
            return Part(speak=False, hear=False, music=Music.HOLD)
        if not self.started:
            return Part(speak=False, hear=False, music=Music.WAIT)
        alone = len(self.members) == 1 and self._lone_music and member.moderator
        return Part(speak=not member.muted, hear=True, music=Music.WAIT if alone else Music.NONE)
