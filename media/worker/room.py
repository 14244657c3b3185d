"""Rooms: legs of this worker that hear each other, a link to other processes, and what is played to all.

Who is connected with whom is derived anew from the members after each change, and compared with what is
connected; nothing is switched on and off by hand.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from media import protocol
from media.worker.guard import TRASH_SECONDS, PjError, connect, disconnect, make_player
from media.worker.host import Host
from media.worker.link_port import LinkPort, LinkSocket

if TYPE_CHECKING:
    from media.worker.leg import Leg


MOST_PLAYBACKS = 8
"""What plays at once into a room, as in the mixer: a library has 32 players, for all its legs."""


class Member(NamedTuple):
    """How a leg takes part."""

    speak: bool
    hear: bool


class _Edge:
    """A connection: a source that a leg, or (`leg` None) the link, hears."""

    def __init__(self, source: Any, sink: Any, leg: Leg | None) -> None:
        self._source = source
        self._sink = sink
        self._leg = leg

    def make(self) -> None:
        connect(self._source, self._sink)
        if self._leg is not None:
            self._leg.hears(self._source)

    def undo(self) -> None:
        disconnect(self._source, self._sink)
        if self._leg is not None:
            self._leg.hears_no_more(self._source)

    def forget(self, *, source_gone: bool) -> None:
        """One of both is no longer in the bridge, which has undone the connection itself."""
        if self._leg is not None:
            self._leg.hears_no_more(self._source, gone=source_gone)


class _RoomPlayback:
    """Plays files one after the other; `over` is told at the end."""

    def __init__(self, room: Room, paths: Sequence[str]) -> None:
        self._room = room
        self._paths = deque(paths)
        self.source: Any = None

    def next(self) -> None:
        """Go on with the next file that can be played."""
        self.release()
        host = self._room.host
        while self._paths and self.source is None:
            try:
                player = make_player(
                    self._paths.popleft(), host.next_token(self._ended), host.eof, loop=False
                )
                # a player that nobody hears never ends
                connect(player, host.playback_device())
                self.source = player
            except PjError as error:
                self._room.failed("PlayRoom", error)
        if self.source is None:
            self._room.played(self)
        else:
            self._room.refresh()

    def _ended(self) -> None:
        if self.source is not None:
            self.next()

    def release(self) -> None:
        """Let go of what is playing."""
        player, self.source = self.source, None
        if player is not None:
            disconnect(player, self._room.host.playback_device())
            self._room.refresh()
            self._room.host.trash.put(player)


class Room:
    """One room. All of it runs in the reactor's thread."""

    def __init__(self, host: Host, name: bytes) -> None:
        self.host = host
        self.name = name
        self.members: dict[bytes, Member] = {}
        self._link: LinkSocket | None = None
        self._port: LinkPort | None = None
        self._playbacks: list[_RoomPlayback] = []
        self._edges: dict[tuple[object, object], _Edge] = {}

    # -------------------------------------------------------------- who is there

    def set(self, members: dict[bytes, Member], link: tuple[str, str] | None) -> None:
        """Replace the members and the link."""
        self.members = members
        ours = (self._link.path, self._link.peer) if self._link is not None else None
        if link != ours:
            self._unlink()
            if link is not None:
                self._open(*link)
        self.refresh()

    def _open(self, path: str, peer: str) -> None:
        try:
            link = LinkSocket(path, peer)
        except PjError as error:
            self.failed("SetRoom", error)
            return
        port: LinkPort | None = None
        try:
            port = LinkPort(link)
            # frames come and go steadily, whether or not somebody speaks or hears
            connect(self.host.silence(), port)
            connect(port, self.host.playback_device())
        except PjError as error:
            link.unbind()
            self._discard(port, link)
            self.failed("SetRoom", error)
            return
        self._link, self._port = link, port

    def _discard(self, port: LinkPort | None, link: LinkSocket) -> None:
        """Let go of a link a little later: the clock's thread may be within it."""
        if port is not None:
            port.link = None
            self.host.trash.put(port)
        self.host.reactor.callLater(TRASH_SECONDS, link.close)

    def _unlink(self) -> None:
        port, link = self._port, self._link
        self._port = self._link = None
        if port is None or link is None:
            return
        port.link = None
        self.refresh()
        disconnect(self.host.silence(), port)
        disconnect(port, self.host.playback_device())
        link.unbind()
        self._discard(port, link)
        counts = link.buffer
        self.host.emit(
            protocol.LinkClosed,
            room=self.name,
            received=counts.received,
            lost=counts.lost,
            concealed=counts.concealed,
        )

    # -------------------------------------------------------------- what is played

    def play(self, paths: Sequence[str]) -> None:
        """Play files to everybody who hears, beside what plays already."""
        if len(self._playbacks) >= MOST_PLAYBACKS:
            return
        playback = _RoomPlayback(self, paths)
        self._playbacks.append(playback)
        playback.next()

    def played(self, playback: _RoomPlayback) -> None:
        """A playback is over."""
        if playback in self._playbacks:
            self._playbacks.remove(playback)

    def failed(self, command: str, error: PjError) -> None:
        """Tell the engine what could not be done."""
        text = f"room {self.name.decode('utf-8', 'replace')}: {error}"
        self.host.emit(protocol.CommandFailed, key=b"", command=command, error=text)

    # -------------------------------------------------------------- who hears whom

    def refresh(self) -> None:
        """Connect what should be heard and is not, disconnect what is and should not be."""
        wanted = self._wanted()
        for pair, edge in list(self._edges.items()):
            if pair not in wanted:
                del self._edges[pair]
                edge.undo()
        for pair, edge in wanted.items():
            if pair not in self._edges:
                self._make(pair, edge)

    def _make(self, pair: tuple[object, object], edge: _Edge) -> None:
        try:
            edge.make()
        except PjError as error:
            self.failed("SetRoom", error)
        else:
            self._edges[pair] = edge

    def renew(self, key: bytes) -> None:
        """Connect a leg anew: its audio changed, or went."""
        for pair, edge in list(self._edges.items()):
            if key in pair:
                del self._edges[pair]
                edge.forget(source_gone=pair[0] == key)
        self.refresh()

    def _wanted(self) -> dict[tuple[object, object], _Edge]:
        present = [
            (key, leg, how)
            for key, how in self.members.items()
            if (leg := self.host.leg(key)) is not None and leg.audio is not None and not leg.ended
        ]
        sources: list[tuple[object, Any]] = [(key, leg.audio) for key, leg, how in present if how.speak]
        played = [(playback, playback.source) for playback in self._playbacks if playback.source is not None]
        port = self._port
        wanted: dict[tuple[object, object], _Edge] = {}
        if port is not None:
            for name, source in sources:
                wanted[name, port] = _Edge(source, port, None)
            sources.append((port, port))
        for key, leg, how in present:
            if how.hear:
                for name, source in (*sources, *played):
                    if name != key:
                        wanted[name, key] = _Edge(source, leg.audio, leg)
        return wanted

    def close(self) -> None:
        """End it: nobody hears anybody."""
        self.members = {}
        playbacks, self._playbacks = self._playbacks, []
        for playback in playbacks:
            playback.release()
        self._unlink()
        self.refresh()


class Rooms:
    """The rooms of a worker."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._rooms: dict[bytes, Room] = {}

    def set(self, name: bytes, members: list[list[Any]], link: list[str] | None) -> None:
        """Say who is in a room and how; see `protocol.SetRoom`."""
        wanted = {str(key).encode(): Member(bool(speak), bool(hear)) for key, speak, hear in members}
        for other in self._rooms.values():
            if other.name != name and not wanted.keys().isdisjoint(other.members):
                # a leg is in one room: the last one it was put into
                for key in wanted:
                    other.members.pop(key, None)
                other.refresh()
        room = self._rooms.get(name)
        if not wanted and link is None:
            if room is not None:
                del self._rooms[name]
                room.close()
            return
        if room is None:
            room = self._rooms[name] = Room(self._host, name)
        room.set(wanted, (str(link[0]), str(link[1])) if link is not None else None)

    def play(self, name: bytes, paths: list[str]) -> None:
        """Play files in a room; in one that is not there they are not heard."""
        if room := self._rooms.get(name):
            room.play(paths)

    def media_changed(self, key: bytes) -> None:
        """The audio of a leg came up, changed or went."""
        for room in list(self._rooms.values()):
            if key in room.members:
                room.renew(key)

    def close(self) -> None:
        """End all rooms: their sockets go."""
        for room in self._rooms.values():
            room.close()
        self._rooms.clear()
