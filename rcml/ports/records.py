"""Where the interpreter writes what happened."""

from __future__ import annotations

import enum
from typing import Protocol

import attrs


class Level(enum.IntEnum):
    """Level of a notification, as stored (`log`)."""

    ERROR = 0
    WARNING = 1


@attrs.frozen(kw_only=True)
class Notice:
    """Something the owner of the application should repair; becomes a Notification record."""

    code: int
    level: Level
    message: str
    """A sentence that says what was wrong and what was done instead."""
    request_url: str = ""
    request_method: str = ""
    request_variables: str = ""
    response_headers: str = ""
    response_body: str = ""


class Records(Protocol):
    """Where the interpreter writes what happened."""

    def notify(self, notice: Notice) -> None:
        """Store a notification for the owner of the application."""
        ...

    def journal(self, event: str, **fields: object) -> None:
        """Append to the journal of the call. `event` is snake case; the fields are plain values."""
        ...
