"""The mount whose replies have the shape of Twilio: its place, its parameters, its status codes and lists."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs

from voiceengine.api.auth import Action
from voiceengine.api.paging import Paged, carried, parse_page, slice_rows
from voiceengine.api.representation import Many, One

if TYPE_CHECKING:
    from voiceengine.api.routing import Context, Reply

TWILIO_MOUNT: Final = "/2010-04-01"
"""Where the same resources are served in the shape of Twilio."""
TWILIO_NAMES: Final = frozenset(
    {"Page", "PageSize", "PageToken"}
    | {
        name + sign
        for name in ("StartTime", "EndTime", "DateCreated", "DateUpdated", "DateSent")
        for sign in ("", "<", ">")
    }
)
"""List parameters that Twilio's clients send beside the declared ones."""

_SUFFIX = re.compile(r"(.+)\.(json|xml)", re.DOTALL)


def in_twilio_shape(context: Context, action: Action, reply: Reply, filters: Sequence[str] = ()) -> Reply:
    """Give a reply the status and the list envelope that Twilio's clients expect.

    Args:
        context: the request.
        action: what it meant.
        reply: as the handler gave it.
        filters: query parameters that page URIs repeat.
    """
    content, status = reply.content, reply.status
    if isinstance(content, Many) and action == "Read":
        page, page_size = parse_page(context.query)
        path = context.request.path.decode("utf-8", "replace").removeprefix(TWILIO_MOUNT)
        paged: Paged[Any] = Paged(
            representation=content.representation,
            rows=slice_rows(content.rows, page, page_size),
            page=page,
            page_size=page_size,
            total=len(content.rows),
            path=_SUFFIX.sub(r"\1", path),
            carried=carried(context.query, filters),
        )
        content = paged.check()
    elif isinstance(content, Many) and content.rows:
        # Several devices were called: Twilio's clients read one resource.
        content = One(content.representation, content.rows[0])
    if status == 200 and action == "Create":
        status = 201
    elif status == 200 and action == "Delete":
        content, status = None, 204
    return attrs.evolve(reply, content=content, status=status)
