"""What the parts of a worker ask of the whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from media.worker.guard import Trash

if TYPE_CHECKING:
    from media.worker.leg import Leg


class Host(Protocol):
    """What legs and rooms need from their worker."""

    trash: Trash
    reactor: Any
    inband_digits: bool

    def emit(self, event: Any, /, **arguments: Any) -> None:
        """Send an event to the engine."""
        ...

    def playback_device(self) -> Any:
        """Slot 0 of the bridge."""
        ...

    def silence(self) -> Any:
        """A port that is always silent."""
        ...

    def next_token(self, done: Callable[[], None]) -> int:
        """Register what the end of a player leads to."""
        ...

    def eof(self, token: int) -> None:
        """A player ended (called on a foreign thread)."""
        ...

    def leg(self, key: bytes) -> Leg | None:
        """A leg of the worker that has not ended."""
        ...

    def media_changed(self, leg: Leg) -> None:
        """The audio of a leg came up, has a new slot in the bridge, or went."""
        ...

    def drop(self, leg: Leg) -> None:
        """Forget a leg that ended."""
        ...
