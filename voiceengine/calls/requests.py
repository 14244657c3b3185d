"""What programs ask of call control (over REST or from within)."""

from __future__ import annotations

from typing import Final, Protocol

import attrs

from voiceengine.store.rows import CallRow

CALL_EVENTS: Final = frozenset({"initiated", "ringing", "answered", "completed"})
"""The progress events that a status callback can report."""


@attrs.frozen(kw_only=True)
class CreateCall:
    """A call that an application asks for. `url` or `rcml` is given, or both (`rcml` wins)."""

    account_sid: str
    from_: str
    to: str
    """As given, without the header suffix: a number, `client:NAME` or a SIP URI."""
    url: str | None = None
    rcml: str | None = None
    """An inline document, run instead of fetching `url`."""
    method: str = "POST"
    fallback_url: str | None = None
    fallback_method: str = "POST"
    status_callback: str | None = None
    status_callback_method: str = "POST"
    status_callback_events: frozenset[str] = CALL_EVENTS
    timeout: int = 60
    """Ring time, seconds."""
    record: bool = False
    username: str | None = None
    """Digest user of the outbound leg."""
    password: str | None = attrs.field(default=None, repr=False)
    headers: tuple[tuple[str, str], ...] = ()
    """SIP headers of the INVITE; names are tokens, values hold no control characters."""


@attrs.frozen(kw_only=True)
class ModifyCall:
    """What shall change in a live call; None: leave as it is."""

    url: str | None = None
    method: str = "POST"
    fallback_url: str | None = None
    fallback_method: str = "POST"
    status: str | None = None
    """canceled or completed."""
    status_callback: str | None = None
    status_callback_method: str = "POST"
    rcml: str | None = None
    """An inline document, run instead of fetching `url`."""


class CallControl(Protocol):
    """Creates and modifies calls; raises `voiceengine.errors.CallControlError` when it cannot."""

    async def create(self, request: CreateCall) -> list[CallRow]:
        """Start a call; several rows when the callee has several devices."""
        ...

    async def modify(self, call_sid: str, change: ModifyCall) -> CallRow:
        """Change a live call; returns its record as it is now."""
        ...
