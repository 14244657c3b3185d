"""All bridges of a pool: their names, the folder of their sockets, when they are flushed, the mixer."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from media.bridge import Bridge, BridgeListener
from media.legs import MediaLeg
from media.mixer.handle import MixerHandle

log = Logger()

LONGEST_FOLDER = 48
"""The path of a unix socket has at most 107 characters."""


class Bridges:
    """Implements `media.bridge.BridgeHost` and `media.mixer.handle.MixerListener`."""

    def __init__(self, reactor: Any, spawn_mixer: Callable[[], tuple[int, socket.socket]]) -> None:
        """Set how things are started.

        Args:
            reactor: the clock.
            spawn_mixer: see `MixerHandle`.
        """
        self._reactor = reactor
        self._bridges: dict[bytes, Bridge] = {}
        self._dirty: dict[Bridge, None] = {}
        self._left: dict[MediaLeg, Bridge] = {}
        self._turn: Any = None
        self._folder = ""
        self._number = 0
        self._stopped = False
        self.mixer = MixerHandle(reactor, spawn=spawn_mixer, listener=self, needed=self._mixer_needed)
        self.frames_lost = 0
        """Frames of 20 ms that were lost on closed links."""
        self.frames_concealed = 0
        """Frames of 20 ms that were made up on closed links."""

    def new(self, listener: BridgeListener | None) -> Bridge:
        """A bridge without members."""
        self._number += 1
        name = b"b%d" % self._number
        bridge = self._bridges[name] = Bridge(self, name, listener)
        return bridge

    def counts(self) -> dict[str, int]:
        """Counts for metrics: bridges that are open, workers' links, mixers, frames of 20 ms."""
        return {
            "bridges": sum(1 for bridge in self._bridges.values() if not bridge.closed),
            "links": sum(bridge.links for bridge in self._bridges.values()),
            "mixers": int(self.mixer.running),
            "frames_lost": self.frames_lost,
            "frames_concealed": self.frames_concealed,
        }

    def link_closed(self, lost: int, concealed: int) -> None:
        """Count the frames of a link that was closed."""
        self.frames_lost += lost
        self.frames_concealed += concealed

    def flush(self) -> None:
        """Tell everybody at once what has changed in this turn."""
        if self._turn is not None and self._turn.active():
            self._turn.cancel()
        self._turn = None
        dirty, self._dirty = self._dirty, {}
        self._left.clear()
        for bridge in dirty:
            try:
                bridge.flush()
            except Exception:
                log.failure("bridge_not_flushed")

    def stop(self) -> None:
        """Close all bridges and let the mixer end; what it still has to tell comes before it is gone."""
        for bridge in list(self._bridges.values()):
            bridge.close()
        self.flush()
        self._stopped = True
        self.mixer.stop()

    def remove_folder(self) -> None:
        """Remove the sockets, when nobody uses them any more."""
        self.mixer.kill()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = ""

    # -------------------------------------------------------------- what bridges ask for

    @property
    def folder(self) -> str:
        """Private folder of the sockets."""
        if not self._folder:
            folder = tempfile.mkdtemp(prefix="ve-")
            if len(folder) > LONGEST_FOLDER:
                shutil.rmtree(folder)
                folder = tempfile.mkdtemp(prefix="ve-", dir="/tmp")
            self._folder = folder
        return self._folder

    def changed(self, bridge: Bridge) -> None:
        """Flush a bridge at the end of this turn."""
        self._dirty[bridge] = None
        if self._turn is None and not self._stopped:
            self._turn = self._reactor.callLater(0, self.flush)

    def claim(self, leg: MediaLeg, bridge: Bridge) -> None:
        """Take a leg out of another bridge, or out of one it has just left, before it is told of this one."""
        old = leg.bridge or self._left.pop(leg, None)
        if old is not None and old is not bridge:
            old.remove(leg)
            old.flush()

    def left(self, leg: MediaLeg, bridge: Bridge) -> None:
        """A leg has left a bridge in this turn."""
        self._left[leg] = bridge

    def ended(self, bridge: Bridge) -> None:
        """Forget a bridge."""
        self._dirty.pop(bridge, None)
        self._bridges = {name: found for name, found in self._bridges.items() if found is not bridge}

    def need_mixer(self) -> bool:
        """Start the mixer if need be."""
        return self.mixer.need()

    def tell_mixer(self, command: Any, /, **arguments: Any) -> None:
        """Send a command to the mixer."""
        self.mixer.tell(command, **arguments)

    # -------------------------------------------------------------- what the mixer tells

    def _mixer_needed(self) -> bool:
        return any(bridge.mixed for bridge in self._bridges.values())

    def mixer_lost(self) -> None:
        """End recordings, make all links anew."""
        for bridge in list(self._bridges.values()):
            bridge.mixer_lost()

    def mixer_started(self) -> None:
        """Make all links anew."""
        for bridge in self._bridges.values():
            bridge.mixer_started()

    def mix_recorded(self, room: bytes, recording: bytes, path: str, seconds: float, heard: bool) -> None:
        """Tell the bridge."""
        if bridge := self._bridges.get(room):
            bridge.recorded(recording.decode(), seconds, heard=heard)

    def mix_failed(self, key: bytes, command: str, error: str) -> None:
        """Tell the bridge of a recording that could not be written."""
        for bridge in self._bridges.values():
            bridge.recording_failed(key.decode())

    def mix_link_closed(self, lost: int, concealed: int) -> None:
        """Count."""
        self.link_closed(lost, concealed)
