"""Queues: planned, not offered yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from voiceengine.api.declare import Operation
from voiceengine.api.errors import ApiError
from voiceengine.api.routing import Context, Reply, Route

MESSAGE: Final = "Queues are planned and not offered yet."

_METHODS: Final = ("GET", "POST", "PUT", "DELETE", "PATCH")
_BELOW: Final = ("", "/{sid}", "/{sid}/Members", "/{sid}/Members/{member}")


async def _refuse(context: Context) -> Reply:
    raise ApiError(501, MESSAGE, error="NOT_IMPLEMENTED")


def routes() -> Sequence[Route]:
    """Routes of this resource; hidden, because there is nothing to use yet."""
    refuse = Operation(run=_refuse, summary="Not offered yet.", shape="empty", errors=(501,))
    return tuple(
        Route(
            path="Accounts/{account}/Queues" + below,
            resource="Queues",
            handlers=dict.fromkeys(_METHODS, refuse),
            hidden=True,
        )
        for below in _BELOW
    )
