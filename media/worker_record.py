"""A worker process as the pool sees it."""

from __future__ import annotations

from collections import deque

import attrs

from media.legs import MediaLeg
from media.link import WorkerLink


@attrs.define(eq=False)
class Worker:
    """What is known of a worker process, and who has its slots."""

    number: int
    slice_number: int
    pid: int = 0
    sip_port: int = 0
    link: WorkerLink | None = None
    ready: bool = False
    retired: bool = False
    used: bool = False
    taken: int = 0
    """Slots in use, with those that are about to be free."""
    served: int = 0
    idle_since: float = 0.0
    born: float = 0.0
    misses: int = 0
    legs: dict[bytes, MediaLeg] = attrs.field(factory=dict)
    starts: deque[float] = attrs.field(factory=deque)
    kept: dict[MediaLeg, int] = attrs.field(factory=dict)
    """Free slots that are held for legs a leg of this worker will probably need; oldest first."""

    @property
    def held(self) -> int:
        """Slots in use or kept."""
        return self.taken + sum(self.kept.values())

    def use_kept(self, leg: MediaLeg) -> bool:
        """Take back one slot that is kept for a leg; False: there is none."""
        if leg not in self.kept:
            return False
        self.kept[leg] -= 1
        if self.kept[leg] == 0:
            del self.kept[leg]
        return True
