"""Conferences as tests see them: members who speak with a tone of their own, and who hears whose."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from processes import children, udp_ports
from sipcall import Call
from siptext import offer
from sound import RATE, Samples, from_ulaw, sounding, tone, tones
from waiting import eventually, now, pause, together
from world import World

_counter = itertools.count(1)
LOWEST = 430
STEP = 190
VOICES = [LOWEST + STEP * index for index in range(14)]
"""Hz; what a member says sounds like one of these, and no other member of the scenario does."""
AMPLITUDE = 2200
WINDOW = 0.4
"""Seconds that are listened to at a time."""
HEARD = AMPLITUDE / 4
"""A voice that is at least so strong in a window is heard."""
FAINT = AMPLITUDE / 25
"""A voice that is weaker is not; between the two somebody is just beginning or ending."""
LONG = 90.0
BEEP = 1000.0
"""Hz of the tone when somebody enters."""
ALERT = (659.0, 880.0)
"""Hz of the two notes when somebody leaves."""


def latest(call: Call, seconds: float = WINDOW) -> Samples:
    """What a call heard just now; what did not arrive is silence."""
    since = now() - seconds
    found = list(itertools.takewhile(lambda p: p.at >= since, reversed(call.rtp.packets)))
    audio = [from_ulaw(packet.payload) for packet in reversed(found) if packet.payload_type == 0]
    heard = np.concatenate(audio) if audio else np.zeros(0, np.int16)
    wanted = round(seconds * RATE)
    return np.concatenate([np.zeros(max(0, wanted - len(heard)), np.int16), heard])[-wanted:]


def strengths(samples: Samples, frequencies: Sequence[float]) -> list[float]:
    """Amplitude of each of these frequencies."""
    window = np.hanning(len(samples))
    times = np.arange(len(samples)) / RATE
    waves = np.exp(-2j * np.pi * np.outer(frequencies, times))
    amplitudes = 2 * np.abs(waves @ (samples * window)) / np.sum(window)
    return [float(amplitude) for amplitude in amplitudes]


@attrs.define(eq=False)
class Member:
    """One who is (or was) in a room."""

    call: Call
    sid: str
    """CallSid."""
    voice: float
    """Hz."""
    number: str = ""

    def __repr__(self) -> str:
        return f"<{self.voice:g} Hz>"

    def speak(self, seconds: float = LONG) -> None:
        """Say something from now on."""
        self.call.rtp.say(tone(self.voice, seconds, amplitude=AMPLITUDE))

    def hush(self) -> None:
        """Say nothing more."""
        self.call.rtp.hush()

    async def leave(self) -> None:
        """Hang up."""
        assert (await self.call.bye()).code == 200

    async def offers(self, direction: str, version: int) -> None:
        """Send a re-INVITE: `sendonly` is a hold."""
        body = offer(self.call.rtp.port, direction=direction, version=version)
        assert (await self.call.reinvite(body)).code == 200

    def voices(self, voices: Sequence[float], seconds: float = WINDOW) -> set[float] | None:
        """Which of these it hears now; None: one is neither strong nor faint."""
        found = strengths(latest(self.call, seconds), voices)
        if any(FAINT <= strength < HEARD for strength in found):
            return None
        return {voice for voice, strength in zip(voices, found, strict=True) if strength >= HEARD}

    async def heard_tone(
        self, frequency: float, seconds: float = 0.2, *, since: float, within: float = 6.0
    ) -> None:
        """Wait until a tone was heard since a moment."""

        def heard() -> bool:
            found = [t for t in tones(self.call.heard(since=since)) if abs(t.frequency - frequency) < 30]
            return sum(t.seconds for t in found) >= seconds

        await self.call.changes.until(heard, within, lambda: f"{frequency:g} Hz at {self}")

    def heard_no_tone(self, frequency: float, *, since: float) -> bool:
        """Whether a tone was not heard since a moment."""
        found = [t for t in tones(self.call.heard(since=since)) if abs(t.frequency - frequency) < 30]
        return sum(t.seconds for t in found) < 0.1

    async def silence(self, seconds: float = 0.6, within: float = 6.0) -> None:
        """Wait until nothing is heard for a while."""
        await settles(lambda: sounding(latest(self.call, seconds)) == 0, 0.0, within, f"{self} hears silence")

    async def music(self, seconds: float = 1.0, within: float = 6.0) -> None:
        """Wait until music is heard: much sound, none of it a voice."""

        def playing() -> bool:
            return sounding(latest(self.call, seconds)) > 0.6 * seconds

        await settles(playing, 0.0, within, f"{self} hears music")


async def settles(
    condition: Callable[[], bool], seconds: float, within: float, what: str | Callable[[], str]
) -> None:
    """Wait until something is true, and stays so for a while."""
    deadline = now() + within
    since: float | None = None
    while True:
        if condition():
            since = now() if since is None else since
            if now() - since >= seconds:
                return
        else:
            since = None
        if now() > deadline:
            raise AssertionError(f"not within {within:g} s: {what() if callable(what) else what}")
        await pause(0.1)


async def hear(expected: Mapping[Member, Iterable[Member]], within: float = 10.0) -> None:
    """Wait until each of these members hears exactly the voices of those, for a while.

    A voice of any other member of the scenario must not be heard, above all not its own.
    """
    wanted = {member: {other.voice for other in others} for member, others in expected.items()}

    def heard() -> dict[Member, set[float] | None]:
        return {member: member.voices(VOICES) for member in wanted}

    def missing() -> str:
        found = heard()
        wrong = {m: (sorted(found[m] or ()), sorted(wanted[m])) for m in wanted if found[m] != wanted[m]}
        levels = {m: [round(x) for x in strengths(latest(m.call), VOICES)] for m in wrong}
        return f"who: (hears, should hear): {wrong}; levels {levels}"

    await settles(lambda: heard() == wanted, 0.5, within, missing)


async def all_hear_all(members: Collection[Member], within: float = 10.0) -> None:
    """Everybody hears everybody but itself."""
    await hear({m: [o for o in members if o is not m] for m in members}, within)


class Room:
    """A conference of a scenario, entered by calls to numbers."""

    def __init__(self, world: World, name: str = "") -> None:
        self.world = world
        self.name = name or world.name
        self.members: list[Member] = []

    def verb(self, conference: str = "", dial: str = "") -> str:
        """The Dial that enters it."""
        return f"<Dial {dial}><Conference {conference}>{self.name}</Conference></Dial>"

    async def member(
        self,
        conference: str = "",
        dial: str = "",
        after: str = "",
        *,
        speaks: bool = True,
        inside: bool = True,
    ) -> Member:
        """Somebody calls and enters.

        Args:
            conference: attributes of the noun.
            dial: attributes of the Dial.
            after: verbs after it.
            speaks: with a voice of its own, from now on.
            inside: wait until it is a participant.
        """
        index = len(self.members)
        number = await self.world.number(self.verb(conference, dial) + after, name=f"member{next(_counter)}")
        call = await self.world.call(number)
        sid = (await call.answered(within=6)).get("X-RestComm-CallSid")
        member = Member(call, sid, VOICES[index], number)
        self.members.append(member)
        if speaks:
            member.speak()
        if inside:
            await self.has(member)
        return member

    async def everybody(
        self, count: int, conference: str = "", dial: str = "", after: str = ""
    ) -> list[Member]:
        """So many enter, one after the other."""
        return [await self.member(conference, dial, after) for _ in range(count)]

    # -------------------------------------------------------------- over REST

    async def row(self, within: float = 5.0) -> dict[str, Any]:
        """The record of the latest conference of this name."""

        async def ask() -> list[dict[str, Any]]:
            reply = await self.world.rest.get("Conferences.json", FriendlyName=self.name)
            found: list[dict[str, Any]] = reply.json["conferences"]
            return found

        rows = await eventually(ask, len, within, f"a conference {self.name}")
        return rows[-1]

    async def sid(self) -> str:
        """Its ConferenceSid."""
        return str((await self.row())["sid"])

    async def is_now(self, status: str, within: float = 5.0) -> dict[str, Any]:
        """Wait for a status."""
        sid = await self.sid()
        return await conference_is(self.world, sid, status, within)

    async def participants(self) -> list[dict[str, Any]]:
        """Those in it, as told over REST."""
        found: list[dict[str, Any]] = (
            await self.world.rest.get(f"Conferences/{await self.sid()}/Participants.json")
        ).json["calls"]
        return found

    async def has(self, *members: Member, within: float = 5.0) -> None:
        """Wait until all of these are in it."""
        wanted = {member.sid for member in members}
        await eventually(
            self.participants,
            lambda rows: wanted <= {row["sid"] for row in rows},
            within,
            f"{members} in {self.name}",
        )

    async def holds_only(self, *members: Member, within: float = 5.0) -> None:
        """Wait until these, and nobody else, are in it."""
        wanted = [member.sid for member in members]
        await eventually(
            self.participants, lambda rows: [row["sid"] for row in rows] == wanted, within, f"only {members}"
        )

    async def change(self, member: Member, **form: str) -> dict[str, Any]:
        """Change a participant."""
        reply = await self.world.rest.post(
            f"Conferences/{await self.sid()}/Participants/{member.sid}.json", **form
        )
        assert reply.status == 200, reply.body
        found: dict[str, Any] = reply.json
        return found

    async def kick(self, member: Member) -> None:
        """Remove a participant."""
        rest = self.world.rest
        url = f"{rest.base}/Conferences/{await self.sid()}/Participants/{member.sid}.json"
        reply = await rest._ask("DELETE", url)
        assert reply.status == 204, reply.body

    async def empties(self) -> None:
        """All who are still there hang up."""
        await together([member.leave() for member in self.members if member.call.live])


async def conference_is(world: World, sid: str, status: str, within: float = 5.0) -> dict[str, Any]:
    """Wait for a status of a conference."""

    async def ask() -> dict[str, Any]:
        found: dict[str, Any] = (await world.rest.get(f"Conferences/{sid}.json")).json
        return found

    return await eventually(ask, lambda row: row["status"] == status, within, f"{sid} is {status}")


def mixers(engine_pid: int) -> list[int]:
    """Process ids of the mixer: children of the zygote that have no UDP port."""
    return [pid for zygote in children(engine_pid) for pid in children(zygote) if not udp_ports(pid)]


def worker_of(engine: Any, call: Call) -> int:
    """Process id of the worker that a call's audio comes from."""
    assert call.rtp.remote is not None
    port = call.rtp.remote[1]
    (found,) = [pid for pid in engine.workers() if port in udp_ports(pid)]
    return found


async def nothing_is_left(world: World, within: float = 6.0) -> None:
    """No bridge, link, or leg is left in the engine."""

    def idle(found: dict[str, Any]) -> bool:
        media = found["media"]
        return all(media[name] == 0 for name in ("bridges", "links", "legs", "slots_used"))

    await eventually(world.rest.health, idle, within, "no bridge, link or leg is left")
