"""Errors that carry a stable code and a sentence for the person who can repair them."""

from __future__ import annotations

from collections.abc import Mapping


class EngineError(Exception):
    """Root of the engine's errors.

    Args:
        message: a full sentence that says what is wrong and what is allowed.
        code: stable number, Restcomm/Twilio compatible where one exists.
        details: plain data for logs.
    """

    def __init__(self, message: str, *, code: int = 0, details: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.details = dict(details or {})


class ConfigError(EngineError):
    """A setting that cannot be used; the message names key, value and what is allowed."""


class SignallingError(EngineError):
    """SIP could not do what was asked."""


class MediaError(EngineError):
    """The media side could not do what was asked."""


class StoreError(EngineError):
    """The database could not do what was asked."""


class QueryTooLong(StoreError):
    """A query was stopped because it took too long."""


class CallControlError(EngineError):
    """A call could not be created or modified.

    Args:
        message: what is wrong, in the words of the API reference where it quotes them.
        status: HTTP status that tells it best.
    """

    def __init__(self, message: str, *, status: int = 400, code: int = 0) -> None:
        super().__init__(message, code=code)
        self.status = status
