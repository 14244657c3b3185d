"""Tells when a party begins and ends to speak."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from media import protocol

if TYPE_CHECKING:
    from media.worker.leg import Leg

LOOK_SECONDS = 0.2
LEVEL = 12
"""pjsua2's level (logarithmic, 0 to about 45) from which a party speaks."""
QUIET_LOOKS = 5
"""So many looks without sound end what is said: a pause between words is shorter."""


class SpeechWatch:
    """Looks at the level of one leg while somebody wants to know."""

    def __init__(self, leg: Leg) -> None:
        self._leg = leg
        self._timer: Any = None
        self._speaks = False
        self._quiet = 0

    def watch(self, wanted: bool) -> None:
        """Begin or end to look."""
        if wanted and self._timer is None:
            self._timer = self._leg.host.reactor.callLater(LOOK_SECONDS, self._look)
        elif not wanted:
            self.stop()

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _look(self) -> None:
        leg = self._leg
        self._timer = None
        if leg.ended:
            return
        self._timer = leg.host.reactor.callLater(LOOK_SECONDS, self._look)
        if leg.audio is not None and leg.audio.getTxLevel() >= LEVEL:
            self._quiet = 0
            self._tell(True)
        elif self._speaks:
            self._quiet += 1
            if self._quiet >= QUIET_LOOKS:
                self._tell(False)

    def _tell(self, speaks: bool) -> None:
        if speaks != self._speaks:
            self._speaks = speaks
            self._leg.host.emit(protocol.Speaking, key=self._leg.key, speaks=speaks)
