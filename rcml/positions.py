"""Where the tags and attributes of a document stand: lines and columns of the text as its author wrote it.

The XML reader knows lines of elements only; the linter needs columns, and those of attributes. The text is
known to be well-formed when this is used.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Mapping

import attrs

from rcml.document import local_name

_TAG = re.compile(
    r"<!--.*?(?:-->|\Z)"
    r"|<!\[CDATA\[.*?(?:\]\]>|\Z)"
    r"|<\?.*?(?:\?>|\Z)"
    r"|<(?P<name>[^\s<>/!?][^\s<>/]*)",
    re.DOTALL,
)
_ATTRIBUTE = re.compile(r"""\s*(?P<name>[^\s=<>/"']+)\s*=\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)')""")


@attrs.frozen
class Position:
    """A place in a text; both count from 1."""

    line: int
    column: int


@attrs.frozen
class Tag:
    """A start tag."""

    name: str
    position: Position
    attributes: Mapping[str, Position]
    """Local name of an attribute -> where its name begins."""


def tags(text: str) -> Iterator[Tag]:
    """Give the start tags of a well-formed text, in their order."""
    starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def position(offset: int) -> Position:
        line = bisect.bisect_right(starts, offset)
        return Position(line, offset - starts[line - 1] + 1)

    at = 0
    while (found := _TAG.search(text, at)) is not None:
        at = found.end()
        if found["name"] is None:
            continue
        attributes: dict[str, Position] = {}
        while (attribute := _ATTRIBUTE.match(text, at)) is not None:
            attributes[local_name(attribute["name"])] = position(attribute.start("name"))
            at = attribute.end()
        yield Tag(local_name(found["name"]), position(found.start()), attributes)
