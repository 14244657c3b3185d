"""Replies that are no success, as exceptions; the HTTP layer gives all of them one body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from voiceengine.errors import EngineError

CLOSED: Final = "Account is closed"


class ApiError(EngineError):
    """A request that is answered with an error.

    Args:
        status: of HTTP.
        message: a sentence, or the text that the API reference quotes.
        error: symbolic code, when one is known.
        code: number, when one is known.
        headers: further headers of the reply.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        error: str = "",
        code: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.status = status
        self.error = error
        self.headers = dict(headers or {})


def bad(message: str, error: str = "") -> ApiError:
    """A request that cannot be understood (400)."""
    return ApiError(400, message, error=error)


def missing(message: str) -> ApiError:
    """A required parameter that is absent (400)."""
    return ApiError(400, message, error="MISSING_PARAMETER", code=1000)


def forbidden(message: str) -> ApiError:
    """Something the account may not do (403)."""
    return ApiError(403, message)


def not_found(what: str = "resource") -> ApiError:
    """Something that does not exist (404)."""
    return ApiError(404, f"The requested {what} was not found.")
