"""Long lists, rendered in turns: a page of 1000 rows must not hold up calls."""

from __future__ import annotations

import json
from typing import Any, Final

from twisted.internet.task import deferLater

from voiceengine.api.paging import Paged, xml_attributes
from voiceengine.api.representation import Content, Many, Render, encode, list_tags

ROWS: Final = 50
"""Rendered in one turn, a few milliseconds; the default size of a page."""


async def encode_in_turns(content: Content, render: Render, reactor: Any) -> tuple[bytes, str]:
    """As `representation.encode`, with a turn of the reactor between slices of a long list.

    Args:
        content: the body.
        render: how it is rendered.
        reactor: IReactorTime.
    """
    if not isinstance(content, Many | Paged) or len(content.rows) <= ROWS:
        return encode(content, render)
    as_json = render.format == "json"
    parts: list[str] = []
    for start in range(0, len(content.rows), ROWS):
        if start:
            await deferLater(reactor, 0, lambda: None)
        for row in content.rows[start : start + ROWS]:
            if as_json:
                item = content.representation.to_json(row, render)
                parts.append(json.dumps(item, ensure_ascii=False))
            else:
                parts.append(content.representation.to_xml(row, render))
    envelope = content.envelope(render) if isinstance(content, Paged) else {}
    if as_json:
        rows = ",\n".join(parts)
        text = f"[\n{rows}\n]"
        if isinstance(content, Paged):
            head = json.dumps(envelope, indent=2, ensure_ascii=False).removesuffix("\n}")
            text = f'{head},\n  "{content.representation.key(render)}": {text}\n}}'
        return text.encode("utf-8", "replace"), "application/json"
    head, tail = list_tags(content.representation, xml_attributes(envelope))
    text = f"<RestcommResponse>{head}{''.join(parts)}{tail}</RestcommResponse>"
    return text.encode(), "application/xml"
