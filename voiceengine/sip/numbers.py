"""CSeq numbers towards a phone, in a dialog where two speak to it: the worker and the edge itself.

The numbers of one side of a dialog grow strictly (RFC 3261 section 12.2.1.1). A worker counts its own
requests and knows nothing of those that the edge sends in between, so every request gets the next free number
on its way to the phone; a repetition and the ACK of an INVITE get the one that was given before.

Pure. It also makes the numbers small and predictable: the worker begins at a random one, which a BYE written
in advance (`Edge.farewell`) could not know.
"""

from __future__ import annotations

REMEMBERED = 64
"""Requests of the worker whose number is kept: far more than can be on the wire at once."""


class Numbers:
    """The numbers of one dialog.

    Args:
        last: the highest number that the phone has seen from this side.
    """

    def __init__(self, last: int = 0) -> None:
        self.last = last
        """The highest number that was given."""
        self._given: dict[int, int] = {}

    def own(self) -> int:
        """A number for a request of the edge."""
        self.last += 1
        return self.last

    def of_worker(self, number: int) -> int:
        """The number towards the phone of what the worker sends as `number`."""
        given = self._given.get(number)
        if given is None:
            given = self._given[number] = self.own()
            if len(self._given) > REMEMBERED:
                del self._given[next(iter(self._given))]
        return given

    def to_worker(self, number: int) -> int | None:
        """The worker's own number for one that the phone names; None when it is not the worker's."""
        return next((own for own, given in self._given.items() if given == number), None)
