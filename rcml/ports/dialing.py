"""Calling other parties for a leg."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Protocol

import attrs

from rcml.ports.calls import CallStatus
from rcml.ports.events import BranchId, BranchInfo


class TargetKind(enum.Enum):
    """What a noun of Dial names."""

    NUMBER = "number"
    CLIENT = "client"
    SIP = "sip"


CALL_EVENTS = frozenset({"initiated", "ringing", "answered", "completed"})
"""Events of a `statusCallback` of Number, Client, Sip and Uri."""

CONFERENCE_EVENTS = frozenset({"start", "end", "join", "leave", "mute", "hold", "speaker"})
"""Events of a `statusCallback` of Conference."""


@attrs.frozen(kw_only=True)
class CallbackSpec:
    """A `statusCallback`: an absolute URL, a method, and the events that are told."""

    url: str
    method: str = "POST"
    events: frozenset[str] = frozenset()


@attrs.frozen(kw_only=True)
class Screening:
    """The `url` of a noun: a document that runs on the dialed leg before it is bridged."""

    url: str
    """Absolute."""
    method: str = "POST"
    seconds: float = 60.0
    """Longest time it may take."""


@attrs.frozen(kw_only=True)
class DialTarget:
    """One noun of a Dial."""

    kind: TargetKind
    address: str
    """A number, the login of a client, or a `sip:`/`sips:` URI without its headers."""
    headers: tuple[tuple[str, str], ...] = ()
    """Headers of the INVITE; names begin with `X-`."""
    username: str = ""
    """Digest credentials for a peer that asks; empty: the dialer's default."""
    password: str = attrs.field(default="", repr=False)
    callback: CallbackSpec | None = None
    screening: Screening | None = None
    send_digits: str = ""
    """Keys sent after the answer and before the bridge (`0-9*#ABCD`, `w` = 0.5 s)."""


class DialError(Exception):
    """A target that cannot be called.

    Args:
        message: a sentence for the owner of the application.
        code: of the notification.
    """

    def __init__(self, message: str, *, code: int = 11008) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class Dialer(Protocol):
    """Calls other parties for a leg and joins them with it; one per call.

    What happens to the dialed legs comes as `Branch...` events from the mailbox of the caller's leg.
    """

    async def dial(
        self, target: DialTarget, *, caller_id: str | None = None, caller_name: str | None = None
    ) -> Sequence[BranchInfo]:
        """Start calling a target.

        Args:
            target: whom.
            caller_id: user part of From; None: the caller's own.
            caller_name: display name of From; None: the caller's own.

        Returns:
            One entry for each leg (a client may have several devices).

        Raises:
            DialError: it cannot be called; nothing was started.
            LegEnded: the caller left meanwhile.
        """
        ...

    def prepare(self, branch: BranchId) -> None:
        """Send an answered leg its digits and screen it; BranchReady or BranchRefused follows.

        A leg that ends meanwhile (or is refused) brings BranchEnded.
        """
        ...

    def bridge(self, branch: BranchId, *, early: bool = False) -> None:
        """Let caller and dialed leg hear each other; `early`: the caller hears the ringing leg's audio."""
        ...

    def relay_digit(self, branch: BranchId, digit: str) -> None:
        """Send a key of the caller on to a bridged leg."""
        ...

    def end(self, branch: BranchId, reason: str = "") -> None:
        """End a dialed leg: CANCEL while it rings, BYE after. BranchEnded follows."""
        ...

    def cancel(self, branch: BranchId, status: CallStatus) -> None:
        """CANCEL a ringing leg whose final status shall be `status` (no-answer, canceled)."""
        ...

    def info(self, branch: BranchId) -> BranchInfo:
        """What is known of a branch of this call, also after its end."""
        ...

    def close(self) -> None:
        """The Dial is over: end what still lives of its legs. No events of them follow."""
        ...
