"""Bridges: legs that hear each other, in whatever workers they are.

What is wanted is kept here, and told to the workers and to the mixer once per turn of the reactor, as far as
it differs from what they were told before.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import count
from typing import Any, Protocol

import attrs
from twisted.logger import Logger

from media import protocol
from media.legs import LegWorker, MediaLeg, RecordingReport
from media.topology import Link, Mix, Topology, derive, mixer_end, needs_mixer

log = Logger()

WAV_HEADER_BYTES = 44
BYTES_PER_SECOND = 16000


class BridgeListener(Protocol):
    """Who hears what happens to a bridge."""

    def bridge_recorded(self, report: RecordingReport) -> None:
        """A recording of the bridge ended (`end` is stopped or failed).

        When it failed because the mixer died, the header of the file is not complete: see
        `media.audio.repair_wav_header`.
        """
        ...


class BridgeHost(Protocol):
    """Who keeps all bridges, their folder and the mixer."""

    @property
    def folder(self) -> str:
        """Where the sockets of links are."""
        ...

    def changed(self, bridge: Bridge) -> None:
        """A bridge is to be flushed at the end of this turn."""
        ...

    def claim(self, leg: MediaLeg, bridge: Bridge) -> None:
        """Take a leg out of any other bridge, and let its worker know before it is told of this one."""
        ...

    def left(self, leg: MediaLeg, bridge: Bridge) -> None:
        """A leg is no member any more, which its worker does not know yet."""
        ...

    def ended(self, bridge: Bridge) -> None:
        """A closed bridge has nothing more to report."""
        ...

    def need_mixer(self) -> bool:
        """Start the mixer if need be; False: there is none at the moment, `Bridge.mixer_started` follows."""
        ...

    def tell_mixer(self, command: Any, /, **arguments: Any) -> None:
        """Send a command to the mixer."""
        ...


@attrs.define
class _Recording:
    path: str
    paused: bool = False
    running: bool = False
    """The mixer was told of it."""
    stopping: bool = False
    failed: bool = False


_Room = tuple[list[list[Any]], Link | None]
"""What a worker is told of a room: members as in `protocol.SetRoom`, and its link."""


class Bridge:
    """Legs that hear each other; made by `Pool.new_bridge`. A leg is in one bridge at most."""

    def __init__(self, host: BridgeHost, room: bytes, listener: BridgeListener | None) -> None:
        self._host = host
        self._room = room
        self._listener = listener
        self._members: dict[MediaLeg, tuple[bool, bool]] = {}
        self._numbers: dict[LegWorker, int] = {}
        self._count = count(1)
        self._told: dict[LegWorker, _Room] = {}
        self._mix: Mix | None = None
        self._mixed = False
        self._shape = 0
        self._recordings: dict[str, _Recording] = {}
        self.closed = False

    # -------------------------------------------------------------- what is wanted

    def set(self, leg: MediaLeg, *, speak: bool = True, hear: bool = True) -> None:
        """Take a leg in (out of another bridge, if it is in one), or change how it takes part.

        Args:
            leg: any leg that has not ended; without media yet, it joins when it has.
            speak: the others hear it.
            hear: it hears the others, and what the bridge plays.
        """
        if self.closed or leg.ended:
            return
        self._host.claim(leg, self)
        leg.bridge = self
        self._members[leg] = (speak, hear)
        self._host.changed(self)

    def remove(self, leg: MediaLeg) -> None:
        """Take a leg out; one that ends is taken out by the pool."""
        if self._members.pop(leg, None) is None:
            return
        leg.bridge = None
        self._host.left(leg, self)
        self._host.changed(self)

    def play(self, paths: Sequence[str]) -> None:
        """Play WAV files (8 kHz, mono, 16 bits) once, to everybody who hears."""
        self.flush()
        if self._mix is not None:
            self._host.tell_mixer(protocol.PlayMix, room=self._room, paths=list(paths))
            return
        for worker in self._told:
            if worker.link is not None:
                worker.link.tell(protocol.PlayRoom, room=self._room, paths=list(paths))

    def record(self, recording: str, path: str) -> None:
        """Record everybody into a WAV file until it is stopped or the bridge is closed."""
        if self.closed or recording in self._recordings:
            return
        self._recordings[recording] = _Recording(path)
        self.flush()

    def pause_recording(self, recording: str, paused: bool) -> None:
        """Let a recording pause, or go on."""
        found = self._recordings.get(recording)
        if found is None or found.stopping or found.paused == paused:
            return
        found.paused = paused
        if found.running:
            self._tell_recording(protocol.PauseMix, recording, paused=paused)

    def stop_recording(self, recording: str) -> None:
        """End a recording; the listener is told."""
        found = self._recordings.get(recording)
        if found is None or found.stopping:
            return
        if not found.running:
            self._report(recording, 0.0, heard=False, failed=True)
            return
        found.stopping = True
        self._tell_recording(protocol.StopMix, recording)
        self._host.changed(self)

    def close(self) -> None:
        """Take everybody out and end recordings."""
        if self.closed:
            return
        for recording in list(self._recordings):
            self.stop_recording(recording)
        for leg in list(self._members):
            self.remove(leg)
        self.closed = True
        self.flush()
        if not self._recordings:
            self._host.ended(self)

    # -------------------------------------------------------------- what is told

    @property
    def links(self) -> int:
        """Workers that have a link."""
        return sum(1 for _, link in self._told.values() if link is not None)

    @property
    def mixed(self) -> bool:
        """Whether it needs the mixer, as of the last flush."""
        return self._mixed

    def flush(self) -> None:
        """Tell the workers and the mixer at once what has changed; else it is done at the end of the turn."""
        rooms: dict[LegWorker, list[list[Any]]] = {}
        for leg, (speak, hear) in self._members.items():
            rooms.setdefault(leg.worker, []).append([leg.key.decode(), speak, hear])
        topology = self._derive(rooms)
        self._flush_mix(topology.mix)
        for worker in [worker for worker in self._told if worker not in rooms]:
            self._leave(worker)
        for worker, members in rooms.items():
            link = topology.links[self._numbers[worker]]
            if self._told.get(worker) != (members, link):
                self._told[worker] = (members, link)
                self._tell_room(worker, members, link)

    def _derive(self, workers: dict[LegWorker, list[list[Any]]]) -> Topology:
        for worker in workers:
            if worker not in self._numbers:
                self._numbers[worker] = next(self._count)
        recorded = any(not recording.stopping for recording in self._recordings.values())
        if self._mixed != needs_mixer(len(workers), recorded):
            self._mixed = not self._mixed
            self._shape += 1  # no path is used again, whenever its old socket is closed
        stem = f"{self._host.folder}/{self._room.decode()}.{self._shape}"
        return derive(stem, [self._numbers[worker] for worker in workers], recorded=recorded)

    def _flush_mix(self, mix: Mix | None) -> None:
        if mix is not None and not self._host.need_mixer():
            return  # links without a mixer do no harm: mixer_started makes others
        if mix != self._mix:
            path, peers = (mix.path, list(mix.peers)) if mix is not None else ("", [])
            self._host.tell_mixer(protocol.SetMix, room=self._room, path=path, peers=peers)
            self._mix = mix
        for name, recording in self._recordings.items():
            if not recording.running:
                recording.running = True
                self._tell_recording(protocol.RecordMix, name, path=recording.path)
                if recording.paused:
                    self._tell_recording(protocol.PauseMix, name, paused=True)

    def _tell_recording(self, command: Any, recording: str, **more: Any) -> None:
        self._host.tell_mixer(command, room=self._room, recording=recording.encode(), **more)

    def _tell_room(self, worker: LegWorker, members: list[list[Any]], link: Link | None) -> None:
        if worker.link is not None:
            ends = list(link) if link is not None else None
            worker.link.tell(protocol.SetRoom, room=self._room, members=members, link=ends)

    def _leave(self, worker: LegWorker) -> None:
        """A worker has no members any more; should it have some later, its sockets get other names."""
        _, link = self._told.pop(worker)
        self._numbers.pop(worker, None)
        if worker.link is not None:
            self._tell_room(worker, [], None)
        elif link is not None:  # it died, and left its socket
            _unlink(link[0])

    # -------------------------------------------------------------- what the mixer tells

    def recorded(self, recording: str, seconds: float, *, heard: bool) -> None:
        """A recording is complete."""
        if found := self._recordings.get(recording):
            self._report(recording, seconds, heard=heard, failed=found.failed)

    def recording_failed(self, recording: str) -> None:
        """A recording could not be written; `recorded` follows."""
        if found := self._recordings.get(recording):
            found.failed = True

    def _report(self, name: str, seconds: float, *, heard: bool, failed: bool) -> None:
        recording = self._recordings.pop(name)
        end = "failed" if failed else "stopped"
        report = RecordingReport(
            recording=name, path=recording.path, seconds=seconds, end=end, digit="", heard=heard
        )
        self._host.changed(self)
        if self.closed and not self._recordings:
            self._host.ended(self)
        if self._listener is not None:
            try:
                self._listener.bridge_recorded(report)
            except Exception:
                # when the mixer dies, the other bridges wait for their turn
                log.failure("bridge_listener_failed recording={recording}", recording=name)

    def mixer_lost(self) -> None:
        """The mixer died: recordings that ran have ended, and links are made anew."""
        mix, self._mix = self._mix, None
        if mix is not None:
            for peer in mix.peers:
                _unlink(mixer_end(mix.path, peer))
        for name, recording in list(self._recordings.items()):
            if recording.running:
                seconds = _seconds_of(recording.path)
                self._report(name, seconds, heard=seconds > 0, failed=True)
        self.mixer_started()

    def mixer_started(self) -> None:
        """There is another mixer, which knows nothing of this bridge."""
        if self._mixed:
            self._shape += 1
            self._host.changed(self)


def _seconds_of(path: str) -> float:
    """Seconds in a WAV file whose header does not tell."""
    try:
        return max(0, os.stat(path).st_size - WAV_HEADER_BYTES) / BYTES_PER_SECOND  # noqa: PTH116
    except OSError:
        return 0.0


def _unlink(path: str) -> None:
    try:
        os.unlink(path)  # noqa: PTH108
    except OSError:
        pass
