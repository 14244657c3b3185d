"""Which messages are taken. Pure; time is an argument."""

from __future__ import annotations

from collections import deque

from voiceengine.calls.routing import e164
from voiceengine.errors import CallControlError
from voiceengine.messages.ledger import is_client
from voiceengine.messages.requests import MAX_BODY, LimitReached, SendMessage

BAD_TO, BAD_FROM, BAD_BODY = 14101, 14102, 14103
"""Notification codes, for documents."""


def check_message(request: SendMessage, *, normalize: bool) -> None:
    """Refuse what cannot be sent to anybody.

    Args:
        request: the message.
        normalize: numbers must have an E.164 form (region US); short names as senders are no numbers.

    Raises:
        CallControlError: 400, with the notification code that documents get.
    """
    if not request.to:
        raise CallControlError("To can not be null.", status=400, code=BAD_TO)
    if not request.from_:
        raise CallControlError("From can not be null.", status=400, code=BAD_FROM)
    if not request.body.strip():
        raise CallControlError("Body can not be null.", status=400, code=BAD_BODY)
    if len(request.body) > MAX_BODY:
        message = f"Body must not be longer than {MAX_BODY} characters."
        raise CallControlError(message, status=400, code=BAD_BODY)
    if not normalize:
        return
    if not is_client(request.to) and e164(request.to) is None:
        raise CallControlError(f"{request.to} is not a valid phone number.", status=400, code=BAD_TO)
    is_name = any(map(str.isalpha, request.from_))
    if not is_name and e164(request.from_) is None:
        raise CallControlError(f"{request.from_} is not a valid phone number.", status=400, code=BAD_FROM)


class Rate:
    """How many messages an account sends in one second.

    Args:
        limit: messages in any one second; 0: no limit.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._recent: dict[str, deque[float]] = {}

    def check(self, account_sid: str, now: float) -> None:
        """Count a message.

        Args:
            account_sid: the sender.
            now: monotonic time, seconds.

        Raises:
            LimitReached: it is one too many.
        """
        if not self._limit:
            return
        recent = self._recent.setdefault(account_sid, deque())
        while recent and recent[0] <= now - 1.0:
            recent.popleft()
        if len(recent) >= self._limit:
            raise LimitReached(f"The account may send {self._limit} messages in one second.", status=403)
        recent.append(now)
