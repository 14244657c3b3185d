"""Pages, sort order and list filters."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote, urlencode

import attrs

from voiceengine.api.errors import bad
from voiceengine.api.parameters import Parameters
from voiceengine.api.representation import Render, Representation, list_element
from voiceengine.store.query import Filter

R = TypeVar("R")

DEFAULT_SIZE = 50
MAX_SIZE = 1000
DAY = 86400.0

Kind = Literal[
    "suffix", "eq", "call", "status", "upper", "contains", "integer", "from", "until", "midnight", "on"
]
"""How a list parameter compares: `from` not before, `until` not after (a day to its end),
`midnight` not after (a day: its first moment), `on` that day or
that second."""

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2})?", re.ASCII)
_DATE_OF_TWILIO = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})Z", re.ASCII)


@attrs.frozen
class Rule:
    """A list parameter: the field it looks at and how."""

    field: str
    kind: Kind
    words: Mapping[str, Filter] = attrs.field(factory=dict, kw_only=True)
    """The values that it knows and what they become; empty: any value. Another value finds nothing."""
    doc: str = attrs.field(default="", kw_only=True)
    """One sentence; empty: what the kind says."""


def parse_date(value: str) -> tuple[float, bool]:
    """Seconds since the epoch (UTC), and whether only a day was given."""
    value = _DATE_OF_TWILIO.sub(r"\1", value)
    if _DATE.fullmatch(value):
        try:
            return datetime.fromisoformat(value).replace(tzinfo=UTC).timestamp(), "T" not in value
        except ValueError:
            pass
    raise bad(f"{value} is not a date; allowed: yyyy-MM-dd or yyyy-MM-ddTHH:mm:ss.")


def plus(value: str) -> str:
    """Restore the + that an unencoded query turned into a blank."""
    return "+" + value[1:] if value.startswith(" ") else value


def call_sid(value: str) -> str:
    """The plain form of a call sid; the long form ID…-CA… is accepted."""
    return value.rpartition("-")[2] if value.startswith("ID") else value


def _on(field: str, value: str) -> tuple[Filter, ...]:
    seconds, day = parse_date(value)
    return Filter(field, "ge", seconds), Filter(field, "lt", seconds + (DAY if day else 1.0))


def _filters(name: str, rule: Rule, value: str) -> tuple[Filter, ...]:
    if rule.words:
        return (rule.words.get(value.lower(), Filter(rule.field, "eq", value)),)
    return _on(rule.field, value) if rule.kind == "on" else (_filter(name, rule, value),)


def _filter(name: str, rule: Rule, value: str) -> Filter:
    match rule.kind:
        case "suffix":
            return Filter(rule.field, "suffix", plus(value))
        case "contains":
            return Filter(rule.field, "contains", value)
        case "call":
            return Filter(rule.field, "eq", call_sid(value))
        case "status":
            return Filter(rule.field, "eq", value.lower().replace("_", "-"))
        case "upper":
            return Filter(rule.field, "eq", value.upper().replace("-", "_"))
        case "integer":
            if not re.fullmatch(r"[0-9]{1,15}", value):
                raise bad(f"{name} must be a whole number.")
            return Filter(rule.field, "eq", int(value))
        case "from":
            return Filter(rule.field, "ge", parse_date(value)[0])
        case "midnight":
            return Filter(rule.field, "le", parse_date(value)[0])
        case "until":
            seconds, day = parse_date(value)
            return Filter(rule.field, "lt", seconds + DAY) if day else Filter(rule.field, "le", seconds)
        case _:
            return Filter(rule.field, "eq", value)


def parse_filters(query: Parameters, rules: Mapping[str, Rule]) -> tuple[Filter, ...]:
    """Filters that the query names; empty values do not filter."""
    found = ((name, rule, query.text(name)) for name, rule in rules.items())
    return tuple(
        item for name, rule, value in found if value is not None for item in _filters(name, rule, value)
    )


def parse_sort(query: Parameters, sortable: Mapping[str, str], default: tuple[str, bool]) -> tuple[str, bool]:
    """Field and whether descending; `default` when SortBy is absent or names an unknown attribute."""
    value = query.text("SortBy")
    if value is None:
        if "Reverse" in query:
            return default[0], bool(query.flag("Reverse"))
        return default
    attribute, _, direction = value.partition(":")
    if not attribute.strip():
        raise bad("Error parsing the SortBy parameter: missing field to sort by")
    direction = direction.strip().lower() or "asc"
    if direction not in ("asc", "desc"):
        raise bad("Error parsing the SortBy parameter: sort direction needs to be either ASC or DESC")
    field = sortable.get(attribute.strip())
    return default if field is None else (field, direction == "desc")


def parse_page(query: Parameters) -> tuple[int, int]:
    """Page index and page size."""
    page, size = query.text("Page") or "0", query.text("PageSize") or str(DEFAULT_SIZE)
    if not re.fullmatch(r"[0-9]{1,15}", page):
        raise bad("Page must be a whole number from 0.")
    if not re.fullmatch(r"[0-9]{1,15}", size) or int(size) < 1:
        raise bad("PageSize must be a whole number from 1.")
    return int(page), min(int(size), MAX_SIZE)


def xml_attributes(envelope: Mapping[str, object]) -> list[tuple[str, object]]:
    """The envelope of a page as attributes of its list element."""
    return [(key.replace("_", ""), value) for key, value in envelope.items()]


@attrs.frozen(kw_only=True)
class Paged(Generic[R]):
    """One page of a list."""

    representation: Representation[R]
    rows: Sequence[R]
    page: int
    page_size: int
    total: int
    path: str
    """Of the list, below the prefix: `/Accounts/AC…/Calls`."""
    carried: tuple[tuple[str, str], ...] = ()
    """Filters and sort order that page URIs repeat."""
    limit: int | None = None
    """Cap on the length of the whole list, where the list has one."""

    @property
    def last(self) -> int:
        """Index of the last page."""
        return self.total // self.page_size

    def check(self) -> Paged[R]:
        """Refuse a page past the last."""
        if self.page > self.last:
            raise bad(f"There is no page {self.page}; the last page is {self.last}.")
        return self

    def _uri(self, base: str, page: int, after: str = "") -> str:
        pairs = [("Page", str(page)), ("PageSize", str(self.page_size))]
        if after:
            pairs.append(("AfterSid", after))
        if self.limit is not None:
            pairs.append(("Limit", str(self.limit)))
        return f"{base}?{urlencode([*pairs, *self.carried], quote_via=quote)}"

    def envelope(self, render: Render) -> dict[str, object]:
        """The fields before the array, in their order."""
        uri = render.prefix + self.path + (".json" if render.twilio else "")
        nothing = None if render.twilio else "null"
        start = self.page * self.page_size
        last = self.page == self.last
        end = start + len(self.rows) if last else start + self.page_size - 1
        after = _sid_of(self.rows[-1]) if self.rows else ""
        return {
            "page": self.page,
            "num_pages": self.last,
            "page_size": self.page_size,
            "total": self.total,
            **({} if self.limit is None or render.twilio else {"limit": self.limit}),
            "start": str(start),
            "end": str(end),
            "uri": uri,
            "first_page_uri": self._uri(uri, 0),
            "previous_page_uri": self._uri(uri, self.page - 1) if self.page else nothing,
            "next_page_uri": nothing if last else self._uri(uri, self.page + 1, after),
            "last_page_uri": self._uri(uri, self.last),
        }

    def json_value(self, render: Render) -> object:
        """The envelope and the array."""
        items = [self.representation.to_json(row, render) for row in self.rows]
        return {**self.envelope(render), self.representation.key(render): items}

    def xml_inner(self, render: Render) -> str:
        """The list element with the envelope as attributes."""
        return list_element(self.representation, self.rows, render, xml_attributes(self.envelope(render)))


def _sid_of(row: object) -> str:
    """The sid of a row; a participant is known by that of its call."""
    return str(getattr(row, "sid", "") or getattr(row, "call_sid", ""))


def carried(query: Parameters, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The given ones of these parameters."""
    found = ((name, query.text(name)) for name in names)
    return tuple((name, value) for name, value in found if value is not None)


def slice_rows(rows: Sequence[Any], page: int, page_size: int) -> Sequence[Any]:
    """The rows of a page of a list in memory."""
    if page > math.ceil(len(rows) / page_size):
        return ()
    return rows[page * page_size : (page + 1) * page_size]
