"""The called parties and the conference rooms in memory, beside `rcml.simulated_leg`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import attrs

from rcml.ports import (
    BranchAnswered,
    BranchEnded,
    BranchId,
    BranchInfo,
    BranchMoved,
    BranchReady,
    BranchRefused,
    BranchRinging,
    CallStatus,
    ConferenceEnd,
    ConferenceFull,
    ConferenceLeft,
    ConferenceSpec,
    DialError,
    DialTarget,
    LegEnded,
    LegEvent,
    StoredRecording,
    TargetKind,
)
from rcml.simulated_leg import KEY_SECONDS, SimulatedLeg, Tell

_BUSY = frozenset({486, 600, 603})


@attrs.frozen(kw_only=True)
class Callee:
    """What a called party does."""

    rings: float | None = 0.5
    """Seconds to the ringing; None: it never rings."""
    answers: float | None = 4.0
    """Seconds to the answer, or to the final response `code`; None: neither comes."""
    code: int = 200
    """Final response; 486 is busy."""
    talks: float | None = 20.0
    """Seconds from the answer to its hanging up; None: it stays."""
    early_media: bool = False
    accepts: bool = True
    """Whether it passes the screening."""
    screening: float = 2.0
    """Seconds the screening takes."""
    devices: int = 1
    moved: float | None = None
    """Seconds from the answer after which it is taken away."""
    error: int = 0
    """Code of the notification when it cannot be called; 0: it can."""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    """`X-...` headers of its final response."""


BUSY = Callee(answers=2.0, code=486)
NO_ANSWER = Callee(answers=None)
UNREACHABLE = Callee(error=11008)

Callees = Mapping[str, Callee] | Callable[[DialTarget], Callee]
"""What the parties do, by address; a function gives it for a target."""


def parse_callees(text: str) -> dict[str, Callee]:
    """Read a script such as `bob=busy, 1234=3/10, sip:a@h=no-answer`.

    Behind an address stands `busy`, `no-answer`, `unreachable`, or the seconds to the answer and, behind a
    `/`, those until the party hangs up.

    Raises:
        ValueError: a part is none of these.
    """
    words = {"busy": BUSY, "no-answer": NO_ANSWER, "unreachable": UNREACHABLE}
    callees: dict[str, Callee] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        address, equals, what = part.rpartition("=")
        if not equals or not address:
            raise ValueError(f"{part!r} is not ADDRESS=BEHAVIOUR")
        if what in words:
            callees[address] = words[what]
            continue
        answers, _, talks = what.partition("/")
        callees[address] = Callee(answers=float(answers), talks=float(talks) if talks else None)
    return callees


@attrs.define
class _Branch:
    """One dialed leg."""

    target: DialTarget
    callee: Callee
    info: BranchInfo
    created: float
    answered: float | None = None
    over: bool = False


class SimulatedDialer:
    """Calls scripted parties.

    Args:
        leg: the caller's leg; its clock is the clock of all.
        tell: takes the timeline.
        callees: what the parties do; those that are not named answer after 4 s and hang up after 20 s.
    """

    def __init__(self, leg: SimulatedLeg, tell: Tell, callees: Callees | None = None) -> None:
        self.targets: list[tuple[DialTarget, str | None, str | None]] = []
        """(target, caller id, caller name) of everything that was called."""
        self.bridged: list[tuple[BranchId, bool]] = []
        """(leg, early) of each bridge."""
        self.relayed: list[tuple[BranchId, str]] = []
        self.closed = 0
        self._leg = leg
        self._tell_line = tell
        self._callees: Callees = callees or {}
        self._branches: dict[BranchId, _Branch] = {}
        self._numbers = itertools.count(1)

    @property
    def live(self) -> list[BranchId]:
        """The legs that are not over."""
        return [name for name, branch in self._branches.items() if not branch.over]

    async def dial(
        self, target: DialTarget, *, caller_id: str | None = None, caller_name: str | None = None
    ) -> Sequence[BranchInfo]:
        """Call a party; its script begins."""
        if self._leg.ended:
            raise LegEnded("the caller left")
        callees = self._callees
        callee = callees(target) if callable(callees) else callees.get(target.address, Callee())
        self.targets.append((target, caller_id, caller_name))
        if callee.error:
            raise DialError(f"{target.address} cannot be called.", code=callee.error)
        as_whom = f" as {caller_id}" if caller_id else ""
        self._tell(f"calls {target.kind.value} {target.address}{as_whom}")
        for name, value in target.headers:
            self._tell(f"  with {name}: {value}")
        return [self._begin(target, callee) for _ in range(callee.devices)]

    def prepare(self, branch: BranchId) -> None:
        """Send digits and screen: both only take time."""
        party = self._branches[branch]
        target, seconds = party.target, 0.0
        if target.send_digits:
            self._tell(f"sends {target.address} the keys {target.send_digits}")
            seconds += sum(0.5 if key == "w" else KEY_SECONDS for key in target.send_digits)
        if target.screening is not None:
            self._tell(f"screens {target.address} by {target.screening.url}")
            seconds += min(party.callee.screening, target.screening.seconds)
        self._later(seconds, party, lambda: self._prepared(party))

    def bridge(self, branch: BranchId, *, early: bool = False) -> None:
        """Join."""
        self.bridged.append((branch, early))
        party = self._branches[branch]
        self._tell(f"{'hears the ringing of' if early else 'joined with'} {party.target.address}")

    def relay_digit(self, branch: BranchId, digit: str) -> None:
        """Hand a key on."""
        self.relayed.append((branch, digit))
        self._tell(f"the key {digit} goes to {self._branches[branch].target.address}")

    def end(self, branch: BranchId, reason: str = "") -> None:
        """End a leg."""
        party = self._branches[branch]
        if not party.over:
            self._tell(f"ends {party.target.address}")
            self._over(party, CallStatus.CANCELED if party.answered is None else CallStatus.COMPLETED)

    def cancel(self, branch: BranchId, status: CallStatus) -> None:
        """Cancel a leg."""
        party = self._branches[branch]
        if not party.over:
            self._tell(f"cancels {party.target.address}")
            self._over(party, status, code=487)

    def info(self, branch: BranchId) -> BranchInfo:
        """Tell of a leg."""
        party = self._branches[branch]
        if party.over:
            return party.info
        now = self._leg.now
        ring = (now if party.answered is None else party.answered) - party.created
        talk = 0.0 if party.answered is None else now - party.answered
        return attrs.evolve(party.info, ring_seconds=round(ring), talk_seconds=round(talk))

    def close(self) -> None:
        """End what lives."""
        self.closed += 1
        for name in self.live:
            self.end(name)

    # ------------------------------------------------------------ script

    def _begin(self, target: DialTarget, callee: Callee) -> BranchInfo:
        number = next(self._numbers)
        sip = target.kind is TargetKind.SIP
        info = BranchInfo(
            branch=BranchId(f"B{number}"),
            call_sid=f"CA{number:032x}",
            sip=sip,
            sip_call_id=f"call-{number}@simulated" if sip else "",
        )
        party = _Branch(target=target, callee=callee, info=info, created=self._leg.now)
        self._branches[info.branch] = party
        if callee.rings is not None:
            self._later(callee.rings, party, lambda: self._ringing(party))
        if callee.answers is not None:
            self._later(callee.answers, party, lambda: self._final(party))
        return info

    def _ringing(self, party: _Branch) -> None:
        if party.answered is None:
            self._tell(f"{party.target.address} rings")
            party.info = attrs.evolve(party.info, status=CallStatus.RINGING)
            self._leg.post(BranchRinging(branch=party.info.branch, early_media=party.callee.early_media))

    def _final(self, party: _Branch) -> None:
        callee, address = party.callee, party.target.address
        if callee.code >= 300:
            self._tell(f"{address} answers {callee.code}")
            party.info = attrs.evolve(party.info, sip_headers=callee.headers)
            status = CallStatus.BUSY if callee.code in _BUSY else CallStatus.FAILED
            self._over(party, status, code=callee.code)
            return
        self._tell(f"{address} answers")
        party.answered = self._leg.now
        party.info = attrs.evolve(party.info, status=CallStatus.IN_PROGRESS, sip_code=200)
        self._leg.post(BranchAnswered(party.info.branch))
        if callee.moved is not None:
            self._later(callee.moved, party, lambda: self._taken(party))
        if callee.talks is not None:
            self._later(callee.talks, party, lambda: self._hangs_up(party))

    def _prepared(self, party: _Branch) -> None:
        branch = party.info.branch
        if party.target.screening is None or party.callee.accepts:
            self._leg.post(BranchReady(branch))
            return
        self._tell(f"{party.target.address} is refused by the screening")
        self._leg.post(BranchRefused(branch))
        self._over(party, CallStatus.COMPLETED)

    def _hangs_up(self, party: _Branch) -> None:
        self._tell(f"{party.target.address} hangs up")
        party.info = attrs.evolve(party.info, sip_headers=party.callee.headers)
        self._over(party, CallStatus.COMPLETED)

    def _taken(self, party: _Branch) -> None:
        self._tell(f"{party.target.address} is taken away")
        self._over(party, CallStatus.IN_PROGRESS, post=BranchMoved)

    def _over(
        self,
        party: _Branch,
        status: CallStatus,
        *,
        code: int = 0,
        post: Callable[[BranchInfo], LegEvent] = BranchEnded,
    ) -> None:
        """Close a leg and report it."""
        info = self.info(party.info.branch)
        party.over = True
        party.info = attrs.evolve(info, status=status, sip_code=code or info.sip_code)
        self._leg.post(post(party.info))

    def _later(self, seconds: float, party: _Branch, action: Callable[[], None]) -> None:
        self._leg.later(seconds, lambda: None if party.over else action())

    def _tell(self, text: str) -> None:
        self._tell_line(self._leg.now, text)


@attrs.frozen(kw_only=True)
class Room:
    """What happens to a participant of a conference."""

    ends: float | None = 10.0
    """Seconds after which it is out; None: it stays until it leaves."""
    how: ConferenceEnd = ConferenceEnd.ENDED
    full: bool = False


class SimulatedConferences:
    """Conference rooms whose other participants are scripted.

    Args:
        leg: the participant.
        tell: takes the timeline.
        rooms: what happens, by name; in all others the conference ends after 10 s.
    """

    def __init__(self, leg: SimulatedLeg, tell: Tell, rooms: Mapping[str, Room] | None = None) -> None:
        self.joined: list[ConferenceSpec] = []
        self.left = 0
        self._leg = leg
        self._tell = tell
        self._rooms = rooms or {}
        self._inside: tuple[ConferenceSpec, float] | None = None

    async def join(self, spec: ConferenceSpec) -> str:
        """Enter a room."""
        leg = self._leg
        if leg.ended:
            raise LegEnded("the caller left")
        room = self._rooms.get(spec.name, Room())
        if room.full:
            self._tell(leg.now, f"conference {spec.name} is full")
            raise ConferenceFull
        self._tell(leg.now, f"enters conference {spec.name}")
        self.joined.append(spec)
        inside = self._inside = (spec, leg.now)
        if room.ends is not None:
            leg.later(room.ends, lambda: self._out(room, inside))
        return f"CF{len(self.joined):032x}"

    async def leave(self) -> StoredRecording | None:
        """Leave the room."""
        self.left += 1
        inside, self._inside = self._inside, None
        if inside is None:
            return None
        spec, since = inside
        leg = self._leg
        self._tell(leg.now, f"leaves conference {spec.name}")
        if not spec.record:
            return None
        sid = f"RE{self.left:032x}"
        return StoredRecording(sid=sid, url=f"http://recordings.invalid/{sid}.wav", seconds=leg.now - since)

    def _out(self, room: Room, inside: tuple[ConferenceSpec, float]) -> None:
        if self._inside is inside:
            self._tell(self._leg.now, f"conference {inside[0].name}: {room.how.value}")
            self._leg.post(ConferenceLeft(room.how))
