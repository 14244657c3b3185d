"""One field table per resource, rendered as JSON or as XML."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, Literal, Protocol, TypeVar
from xml.sax.saxutils import escape, quoteattr

import attrs

R = TypeVar("R")

Format = Literal["json", "xml"]
JsonType = Literal["string", "integer", "number", "boolean", "object", "array"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@attrs.frozen(kw_only=True)
class Render:
    """Where and how a reply is rendered."""

    format: Format
    prefix: str
    """Path prefix of `uri` values."""
    base_url: str
    """Base of absolute URLs, without trailing slash."""
    twilio: bool = False
    """Whether the reply has the shape of Twilio: real nulls, wrapped lists, its names."""
    error_dictionary: str = ""
    """Base of the pages that explain error codes, without trailing slash; empty: the engine's own."""

    def error_page(self, code: int) -> str:
        """URL of the page that explains an error code."""
        return f"{self.error_dictionary or self.base_url + '/restcomm/errors'}/{code}.html"

    def account_path(self, account_sid: str) -> str:
        """Path of an account, without format suffix."""
        return f"{self.prefix}/Accounts/{account_sid}"

    def uri(self, path: str) -> str:
        """A `uri` value: with the suffix in JSON, without in XML."""
        return path + ".json" if self.format == "json" else path


@attrs.frozen
class Nested:
    """A group of values inside a field: (JSON key, XML name, value)."""

    members: tuple[tuple[str, str, object], ...]


def rfc2822(seconds: float) -> str:
    """Date of `date_created` and `date_updated`: `Thu, 4 Jul 2019 07:02:28 +0000`."""
    at = datetime.fromtimestamp(seconds, UTC)
    clock = at.strftime("%H:%M:%S")
    return f"{_DAYS[at.weekday()]}, {at.day} {_MONTHS[at.month - 1]} {at.year:04d} {clock} +0000"


def iso8601(seconds: float) -> str:
    """Date with milliseconds: `2019-07-04T07:02:28.000Z`."""
    at = datetime.fromtimestamp(round(seconds, 3), UTC)
    return f"{at.strftime('%Y-%m-%dT%H:%M:%S')}.{at.microsecond // 1000:03d}Z"


def camel(name: str) -> str:
    """CamelCase of a snake case name."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


@attrs.frozen
class Field(Generic[R]):
    """One property of a resource.

    Args:
        json: its key.
        value: takes it from the row.
        xml: its element; empty: CamelCase of the key.
        xml_null: whether a missing value is an empty element or no element.
        json_null: whether a missing value is written as null; None: as the resource says.
        only: the one format it appears in, or None.
        type: of the value in JSON.
        schema: JSON schema of the value, where `type` says too little (members of a group, allowed words).
        doc: one sentence for the reference.
        twilio: its key in the shape of Twilio; empty: it is left out; None: `json`.
        twilio_value: takes it from the row for that shape; None: `value`.
    """

    json: str
    value: Callable[[R, Render], object]
    xml: str = attrs.field(default="", kw_only=True)
    xml_null: Literal["empty", "omit"] = attrs.field(default="empty", kw_only=True)
    json_null: bool | None = attrs.field(default=None, kw_only=True)
    only: Format | Literal["twilio"] | None = attrs.field(default=None, kw_only=True)
    type: JsonType = attrs.field(default="string", kw_only=True)
    schema: Mapping[str, Any] | None = attrs.field(default=None, kw_only=True)
    doc: str = attrs.field(default="", kw_only=True)
    twilio: str | None = attrs.field(default=None, kw_only=True)
    twilio_value: Callable[[R, Render], object] | None = attrs.field(default=None, kw_only=True)

    @property
    def element(self) -> str:
        """Name of the XML element."""
        return self.xml or camel(self.json)


def plain(json_key: str, attribute: str = "", **options: Any) -> Field[Any]:
    """A field whose value stands in the row."""
    get = operator.attrgetter(attribute or json_key)
    return Field(json_key, lambda row, _: get(row), **options)


def optional(json_key: str, attribute: str = "", **options: Any) -> Field[Any]:
    """A URL or application sid: no XML element when absent."""
    return plain(json_key, attribute, xml_null="omit", **options)


def uris(*names: str) -> Mapping[str, Any]:
    """JSON schema of `subresource_uris`."""
    return {"type": "object", "properties": {name: {"type": "string"} for name in names}}


def date(json_key: str, attribute: str = "", **options: Any) -> Field[Any]:
    """A date in RFC 2822 style."""
    get = operator.attrgetter(attribute or json_key)
    return Field(json_key, lambda row, _: rfc2822(get(row)), **options)


def moment(json_key: str, **options: Any) -> Field[Any]:
    """A date in ISO 8601 with milliseconds (in the shape of Twilio: in RFC 2822 style), or nothing."""
    get = operator.attrgetter(json_key)

    def value(row: Any, render: Render) -> str | None:
        seconds = get(row)
        if seconds is None:
            return None
        return rfc2822(seconds) if render.twilio else iso8601(seconds)

    return Field(json_key, value, **options)


@attrs.frozen(kw_only=True)
class Representation(Generic[R]):
    """How rows of one kind look outside."""

    item: str
    """XML element of one row."""
    items: str
    """XML element of a list."""
    list_key: str
    """JSON key of the array of a paged list."""
    fields: tuple[Field[R], ...]
    """In the order of JSON."""
    xml_order: tuple[str, ...] = ()
    """XML elements in their order; empty: as in JSON."""
    json_nulls: bool = False
    """Whether missing values are written as null in JSON."""
    twilio_key: str = ""
    """Key of the array in the shape of Twilio; empty: `list_key`."""
    doc: str = ""
    """What the resource is, for the reference."""
    name: str = ""
    """What it is called in the OpenAPI document and the reference; empty: `item`."""
    xml_fields: tuple[Field[R], ...] = attrs.field(init=False, eq=False, repr=False)
    """Fields of the XML form in their order."""

    @property
    def title(self) -> str:
        """Its name there."""
        return self.name or self.item

    def key(self, render: Render) -> str:
        """Key of the array of a paged list."""
        return (self.twilio_key if render.twilio else "") or self.list_key

    @xml_fields.default
    def _in_xml_order(self) -> tuple[Field[R], ...]:
        shown = [field for field in self.fields if field.only in (None, "xml")]
        if self.xml_order:
            shown.sort(key=lambda field: self.xml_order.index(field.element))
        return tuple(shown)

    def to_json(self, row: R, render: Render) -> dict[str, object]:
        """The row as a JSON object."""
        if render.twilio:
            return self._to_twilio(row, render)
        found: dict[str, object] = {}
        for field in self.fields:
            if field.only in ("xml", "twilio"):
                continue
            value = field.value(row, render)
            if isinstance(value, Nested):
                value = {key: member for key, _, member in value.members}
            nulls = self.json_nulls if field.json_null is None else field.json_null
            if value is not None or nulls:
                found[field.json] = value
        return found

    def _to_twilio(self, row: R, render: Render) -> dict[str, object]:
        """The row as Twilio's clients read it: every key is there, null when there is no value."""
        found: dict[str, object] = {}
        for field in self.fields:
            name = field.json if field.twilio is None else field.twilio
            if name and field.only in (None, "json", "twilio"):
                value = (field.twilio_value or field.value)(row, render)
                if isinstance(value, Nested):
                    value = {key: member for key, _, member in value.members}
                found[name] = value
        return found

    def to_xml(self, row: R, render: Render) -> str:
        """The row as an XML element."""
        parts = []
        for field in self.xml_fields:
            value = field.value(row, render)
            if isinstance(value, Nested):
                inner = "".join(element(name, member) for _, name, member in value.members)
                parts.append(f"<{field.element}>{inner}</{field.element}>")
            elif value is not None or field.xml_null == "empty":
                parts.append(element(field.element, value))
        return f"<{self.item}>{''.join(parts)}</{self.item}>"


def xml_text(value: object) -> str:
    """Text of a value; characters that XML cannot hold are left out."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return _NOT_XML.sub("", str(value))


def element(name: str, value: object) -> str:
    """An XML element with text."""
    text = xml_text(value)
    return f"<{name}>{escape(text)}</{name}>" if text else f"<{name}/>"


class Content(Protocol):
    """A body that exists in both formats."""

    def json_value(self, render: Render) -> object:
        """What JSON says."""

    def xml_inner(self, render: Render) -> str:
        """What stands inside the envelope."""


@attrs.frozen
class One(Generic[R]):
    """A single resource."""

    representation: Representation[R]
    row: R

    def json_value(self, render: Render) -> object:
        """Its object."""
        return self.representation.to_json(self.row, render)

    def xml_inner(self, render: Render) -> str:
        """Its element."""
        return self.representation.to_xml(self.row, render)


@attrs.frozen
class Many(Generic[R]):
    """A list without pages: a bare array in JSON."""

    representation: Representation[R]
    rows: Sequence[R]

    def json_value(self, render: Render) -> object:
        """Its array."""
        return [self.representation.to_json(row, render) for row in self.rows]

    def xml_inner(self, render: Render) -> str:
        """Its list element."""
        return list_element(self.representation, self.rows, render, ())


def list_element(
    representation: Representation[R],
    rows: Iterable[R],
    render: Render,
    attributes: Iterable[tuple[str, object]],
) -> str:
    """A list element with attributes."""
    head, tail = list_tags(representation, attributes)
    inner = "".join(representation.to_xml(row, render) for row in rows)
    return f"{head}{inner}{tail}"


def list_tags(
    representation: Representation[Any], attributes: Iterable[tuple[str, object]]
) -> tuple[str, str]:
    """What stands before and behind the rows of a list element."""
    given = "".join(f" {name}={quoteattr(xml_text(value))}" for name, value in attributes)
    return f"<{representation.items}{given}>", f"</{representation.items}>"


@attrs.frozen
class Problem:
    """The body of an error; `error` and `code` only when known."""

    message: str
    error: str
    code: int
    status: int

    def _pairs(self) -> list[tuple[str, object]]:
        pairs = [
            ("message", self.message),
            ("error", self.error),
            ("code", self.code),
            ("status", self.status),
        ]
        return [(key, value) for key, value in pairs if value]

    def json_value(self, render: Render) -> object:
        """Its object."""
        return dict(self._pairs())

    def xml_inner(self, render: Render) -> str:
        """Its elements."""
        return "".join(element(camel(key), value) for key, value in self._pairs())


def encode(content: Content, render: Render) -> tuple[bytes, str]:
    """Body and content type."""
    if render.format == "json":
        text = json.dumps(content.json_value(render), indent=2, ensure_ascii=False)
        return text.encode("utf-8", "replace"), "application/json"
    inner = content.xml_inner(render)
    return f"<RestcommResponse>{inner}</RestcommResponse>".encode(), "application/xml"
