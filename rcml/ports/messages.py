"""Text messages and e-mail that documents send."""

from __future__ import annotations

from typing import Protocol

import attrs


@attrs.frozen(kw_only=True)
class OutgoingMessage:
    """A text message that a document sends."""

    to: str
    """Number, or `client:NAME`."""
    from_: str
    body: str
    status_callback: str | None = None
    """Absolute URL that delivery reports go to."""
    status_callback_method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()
    """`X-...` headers for a message that goes out by SIP."""


@attrs.frozen(kw_only=True)
class MessageReceipt:
    """What is known of a message right after it was handed over."""

    sid: str
    status: str
    """`sending`, `sent`, `queued` (held for a client who is offline) or `failed`."""


class MessageRefused(Exception):
    """A message that cannot be sent at all.

    Args:
        message: a sentence.
        code: notification code: 14101 `to`, 14102 `from`, 14103 body, 11001 not allowed for the account.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class Messages(Protocol):
    """Sends text messages for one call, or for one message that is being answered."""

    async def send(self, message: OutgoingMessage) -> MessageReceipt:
        """Send a message; returns when it was handed over or refused by the next hop, and after a few seconds
        in any case.

        Raises:
            MessageRefused: nothing was sent.
        """
        ...


@attrs.frozen(kw_only=True)
class OutgoingEmail:
    """A mail that a document sends."""

    to: tuple[str, ...]
    from_: str
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    subject: str
    body: str


class Mail(Protocol):
    """Sends mail."""

    def send(self, mail: OutgoingEmail) -> None:
        """Send in the background; never raises. A failure is logged and leaves a notification."""
        ...
