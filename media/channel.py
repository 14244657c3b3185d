"""AMP for one-way boxes without its machinery for answers.

What is said here goes on the wire as plain AMP; only the Deferreds and error boxes that AMP makes for
every command are left out, since the commands and events of `media.protocol` have no answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.logger import Logger
from twisted.protocols import amp

log = Logger()

LONGEST = 65_000
"""AMP values are at most 65,535 bytes; longer ones travel in parts `name`, `name.1`, ..."""

_COMMAND = b"_command"
_ASK = b"_ask"

F = TypeVar("F", bound=Callable[..., None])

Reader = tuple[bytes, str, amp.Argument]


def handles(command: type[amp.Command]) -> Callable[[F], F]:
    """Mark the method that takes a one-way command."""

    def mark(method: F) -> F:
        method.handled_command = command  # type: ignore[attr-defined]
        return method

    return mark


def _readers(command: type[amp.Command]) -> list[Reader]:
    return [(name, name.decode(), argument) for name, argument in command.arguments]


def _whole(box: dict[bytes, bytes], name: bytes) -> bytes:
    """A value, put together from its parts when it was longer than AMP allows."""
    value = box[name]
    part = 1
    while len(value) == part * LONGEST and (more := box.get(name + b".%d" % part)) is not None:
        value += more
        part += 1
    return value


class Channel(amp.AMP):
    """Sends and takes one-way commands; those with answers work as in AMP."""

    _handlers: dict[bytes, tuple[str, list[Reader]]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        found = dict(getattr(cls, "_handlers", {}))
        for name, value in vars(cls).items():
            command = getattr(value, "handled_command", None)
            if command is not None:
                found[command.commandName] = (name, _readers(command))
        cls._handlers = found

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def tell(self, command: type[amp.Command], /, **arguments: Any) -> None:
        """Send a command that is not answered; dropped when the connection is gone."""
        if self.boxSender is None or self.transport is None:
            return
        box: dict[bytes, bytes] = amp.AmpBox()
        box[_COMMAND] = command.commandName
        for name, argument in command.arguments:
            value = argument.toString(arguments[name.decode()])
            box[name] = value[:LONGEST]
            for part in range(1, -(-len(value) // LONGEST)):
                box[name + b".%d" % part] = value[part * LONGEST : (part + 1) * LONGEST]
        self.boxSender.sendBox(box)

    def ampBoxReceived(self, box: Any) -> None:  # noqa: N802 - the name is AMP's
        """Give a one-way command to its method; everything else to AMP."""
        entry = self._handlers.get(box.get(_COMMAND)) if _ASK not in box else None
        if entry is None:
            super().ampBoxReceived(box)  # type: ignore[no-untyped-call]
            return
        method, readers = entry
        try:
            values = {key: argument.fromString(_whole(box, name)) for name, key, argument in readers}
            getattr(self, method)(**values)
        except Exception:
            log.failure("box_not_handled command={command}", command=box.get(_COMMAND))
