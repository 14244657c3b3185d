"""Which applications dial: their calls are placed where a second leg has room beside them."""

from __future__ import annotations

from collections import OrderedDict

LIMIT = 4096
"""Applications that are remembered."""


class Placement:
    """Learns from the last call of each application whether it dials.

    An application is known by the URL of its first document, without the query.
    """

    def __init__(self) -> None:
        self._dials: OrderedDict[str, None] = OrderedDict()

    def learn(self, application: str, *, dials: bool) -> None:
        """A call of the application dialed, or ended without having dialed."""
        name = application.partition("?")[0]
        if not dials:
            self._dials.pop(name, None)
        elif name:
            self._dials[name] = None
            self._dials.move_to_end(name)
            if len(self._dials) > LIMIT:
                self._dials.popitem(last=False)

    def keep(self, application: str) -> int:
        """How many legs the next call of the application will need besides its own."""
        return 1 if application.partition("?")[0] in self._dials else 0
