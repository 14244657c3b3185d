"""What programs ask of messaging (over REST or from a document)."""

from __future__ import annotations

from typing import Final, Protocol

import attrs

from voiceengine.errors import CallControlError
from voiceengine.store.rows import API_VERSION, MessageRow

ERRORS: Final = {
    30001: "Queue overflow",
    30002: "Account suspended",
    30003: "Unreachable destination handset",
    30004: "Message blocked",
    30005: "Unknown destination handset",
    30006: "Landline or unreachable carrier",
    30007: "Carrier violation",
    30008: "Unknown error",
    30009: "Missing segment",
    30010: "Message price exceeds max price",
    30090: "No Response received for SMPP Request",
}
"""Delivery errors: `error_code` and `error_message` of a message (reference: SMS, sending)."""
OVERFLOW, SUSPENDED, BLOCKED, UNKNOWN = 30001, 30002, 30004, 30005

MAX_BODY: Final = 10_000
"""Characters of a message at most."""


@attrs.frozen(kw_only=True)
class SendMessage:
    """A text message that shall be sent."""

    account_sid: str
    from_: str
    """Number, short code, alphanumeric sender or client name; kept as given."""
    to: str
    """Number, short code or `client:NAME`; kept as given."""
    body: str
    direction: str = "outbound-api"
    """outbound-api (REST), outbound-call (a client's MESSAGE to the world), outbound-reply (a document)."""
    encoding: str = "GSM"
    """GSM, UCS-2 or UTF-8."""
    status_callback: str | None = None
    status_callback_method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()
    """`X-` headers of the SIP MESSAGE."""
    call_sid: str | None = None
    api_version: str = API_VERSION
    hops: int = 0
    """Applications of this platform that the chain of answers went through; ends loops."""


@attrs.frozen(kw_only=True)
class SendEmail:
    """An e-mail that shall be sent."""

    account_sid: str
    from_: str
    to: tuple[str, ...]
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    subject: str
    body: str
    content_type: str = "text/plain"


class LimitReached(CallControlError):
    """An account sends more than it may (SMS_LIMIT_EXCEEDED)."""


class MessageControl(Protocol):
    """Sends text messages; raises `voiceengine.errors.CallControlError` when it cannot take one at all."""

    async def send(self, request: SendMessage) -> MessageRow:
        """Take a message.

        Returns:
            Its record as it is now: `sending`; it is handed over in the background.

        Raises:
            LimitReached: 403, the account sends too fast.
            CallControlError: 400 for a message that cannot be sent to anybody, 403 for an account that is not
                active, 503 while the engine stops.
        """
        ...

    async def forget(self, sid: str) -> None:
        """Hand a message over no more that was held or queued (its record is being removed)."""
        ...

    async def redact(self, row: MessageRow) -> MessageRow:
        """Replace the text of a message by an empty one, wherever it is kept; returns the new record."""
        ...


class MailControl(Protocol):
    """Sends e-mail; raises `voiceengine.errors.CallControlError` when it cannot take one at all."""

    async def send(self, request: SendEmail) -> float:
        """Take a mail; it is delivered in the background, failures are logged and leave a notification.

        Returns:
            When it was taken, wall time.

        Raises:
            CallControlError: 503 without a configured mail server.
        """
        ...
