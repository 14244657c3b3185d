"""The reference page of the REST API, made from its declarations.

`python -m voiceengine.api.reference > docs/reference/rest-api.md` writes it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any, Final

import attrs

from voiceengine.api import RESOURCES
from voiceengine.api.declare import LOCAL_ONLY, PAGE, SORT, SUB_ACCOUNTS, Operation, Param
from voiceengine.api.representation import Field, Representation
from voiceengine.api.routing import Route

HEAD: Final = """\
# REST API

Made from the code by `python -m voiceengine.api.reference > docs/reference/rest-api.md`. The same is told
to programs by the OpenAPI document, `GET /openapi.json` at the root and below every prefix, without
credentials.

What is served under `/restcomm/2012-04-24`, `/api/2012-04-24` and `/2012-04-24` (and `http.uri_prefix`,
which `uri` values begin with), and in the [shape of Twilio](#the-shape-of-twilio) under `/2010-04-01`:

- **Credentials**: HTTP Basic; user = account sid or e-mail address, password = AuthToken (or the
  account's password). An account acts for itself and for all accounts below it; applications are only for
  the account that owns them. `{account}` in a path is a sid or an e-mail address. While too many clear
  passwords are being checked: 503 with `Retry-After`; an AuthToken is not slowed down by that.
- **Format**: `.json` or `.xml` on any path segment; otherwise JSON when Accept contains `json`, else XML.
  A slash at the end of a path does not matter.
- **Bodies**: `application/x-www-form-urlencoded` or a JSON object with the same names; at most
  `http.max_body_bytes` bytes (413). Names are case-sensitive, of a name that is given twice the first
  value counts, unknown names are ignored. POST and PUT on a resource are the same partial update; an
  empty URL or `…ApplicationSid` clears it.
- **Values**: `true` in any letter case is true, everything else false. Dates are `yyyy-MM-dd` or
  `yyyy-MM-ddTHH:mm:ss` (UTC). A text of one line has no control characters and 8192 characters at most.
- **Errors**: `{"message", "error", "code", "status"}` (`error` and `code` when known), in XML
  `<Message>`, `<Error>`, `<Code>`, `<Status>`. 400: a parameter is missing or wrong; 401: no credentials;
  403: the account may not do this; 404: there is no such thing; 405: not offered here; 413, 415: the
  body; 500: a defect of the engine.
- **Pages**: `Page` (from 0), `PageSize` (50, at most 1000); `num_pages` is the index of the last page,
  `end` of the last page one past the last row. A page past the last is 400. `AfterSid`, which
  `next_page_uri` holds, makes late pages fast. Page URIs repeat filters and sort order.
- **Lists**: `SortBy=Attribute:asc|desc` (an unknown attribute counts as none), `Reverse`;
  `SubAccounts=true` includes the accounts below; `localOnly` is ignored.
- **Nulls**: left out in JSON where nothing else is said; in XML an empty element.
- **Creating** answers 200 and removing 200 or 204, as the reference has it.
- **Scripts of web pages** may use the API when their origin is listed in `http.cors_origins`.
- `HEAD` is offered wherever `GET` is. Beside the API: `GET /healthz` (200 or 503, JSON) and `GET
  /metrics` (Prometheus text), without credentials.

`*` marks parameters that are required. "Of lists" are `Page`, `PageSize`, `AfterSid`, `Reverse`,
`SubAccounts` and `localOnly`.

## The shape of Twilio

Below `/2010-04-01` the same resources are answered so that the client libraries of Twilio work with
nothing but another base URL: missing values are null, `previous_page_uri` and `next_page_uri` are null
where there is none, every list is paged and has one array, `limit` is left out, all dates are in RFC 2822
style, creating answers 201 and removing 204 without a body. The column "Twilio" tells which fields have
another name there (`–`: none); further filters stand below the tables. A device list is cut to one call:
calling a client with several devices answers the first.
"""

_OF_LISTS: Final = frozenset(param.name for param in (*PAGE, SORT[1], SUB_ACCOUNTS, LOCAL_ONLY))
_VARIABLE = re.compile(r"\{(\w+):(.*?)\}")


@attrs.frozen
class _Request:
    """A method of a path."""

    method: str
    path: str
    operation: Operation
    route: Route


def _requests(routes: Iterable[Route]) -> Iterator[_Request]:
    for route in routes:
        if not route.hidden:
            path = "/" + _VARIABLE.sub(r"{\1}\2", route.path)
            for method, operation in route.handlers.items():
                yield _Request(method, path, operation, route)


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")


def _row(*cells: str) -> str:
    return "| " + " | ".join(map(_cell, cells)) + " |"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [_row(*head), "|" + "---|" * len(head), *(_row(*row) for row in rows), ""]


def _value(param: Param) -> str:
    match param.kind:
        case "flag":
            return "true, false"
        case "integer":
            low = param.minimum or 0
            return f"from {low}" if param.maximum is None else f"{low} to {param.maximum}"
        case "method":
            return "GET, POST"
        case "url":
            return "absolute URL"
        case "path":
            return "absolute URL, or path of this server"
        case "choice":
            return ", ".join(param.allowed)
        case "sid":
            return f"sid `{param.allowed[0]}…`" if param.allowed else "sid"
        case "name":
            return f"up to {param.maximum or 64} characters"
        case "date":
            return "date"
        case "document":
            return "text of several lines"
        case _:
            return "text"


def _default(param: Param) -> str:
    if param.default is None:
        return ""
    return str(param.default).lower() if isinstance(param.default, bool) else str(param.default)


def _parameters(params: Sequence[Param]) -> list[str]:
    rows = [
        (
            f"`{param.name}`" + (" *" if param.required is not None else ""),
            _value(param),
            _default(param),
            param.doc,
        )
        for param in params
    ]
    return _table(("Parameter", "Value", "Default", "Meaning"), rows)


def _shown(operation: Operation) -> tuple[Param, ...]:
    query = [param for param in operation.query if param.name not in _OF_LISTS]
    unique = {param.name: param for param in (*operation.body, *query)}
    return tuple(unique.values())


def _parameter_tables(requests: Sequence[_Request]) -> Iterator[str]:
    """One table for all requests that take the same parameters."""
    groups: dict[tuple[tuple[Param, ...], tuple[Param, ...], bool], list[_Request]] = {}
    for request in requests:
        operation = request.operation
        lists = any(param.name in _OF_LISTS for param in operation.query)
        groups.setdefault((_shown(operation), operation.twilio_query, lists), []).append(request)
    for (shown, special, lists), found in groups.items():
        if not shown and not special:
            continue
        names = ", ".join(f"`{request.method} {request.path}`" for request in found)
        yield f"Parameters of {names}{', besides those of lists' if lists else ''}:"
        yield ""
        yield from _parameters(shown)
        if special:
            terms = "; ".join(f"`{param.name}`: {param.doc[:1].lower()}{param.doc[1:]}" for param in special)
            yield f"In the shape of Twilio: {terms}"
            yield ""


def _type(field: Field[Any]) -> str:
    words = field.schema.get("enum") if field.schema is not None else None
    return ", ".join(map(str, words)) if words else field.type


def _twilio(field: Field[Any]) -> str:
    if field.twilio == "" or field.only == "xml":
        return "–"
    name = field.json if field.twilio is None else field.twilio
    other = " (another value)" if field.twilio_value is not None else ""
    return f"`{name}`{other}" if name != field.json or other or field.only == "twilio" else ""


def _fields(representation: Representation[Any]) -> list[str]:
    rows = [
        (
            "–" if field.only in ("xml", "twilio") else f"`{field.json}`",
            "–" if field.only in ("json", "twilio") else f"`{field.element}`",
            _type(field),
            _twilio(field),
            field.doc,
        )
        for field in representation.fields
    ]
    return _table(("JSON", "XML", "Type", "Twilio", "Meaning"), rows)


def _keys(representation: Representation[Any], *, paged: bool) -> str:
    other = representation.twilio_key
    if not paged:
        return (
            f"A list is a bare array (in the shape of Twilio it is paged, with the key "
            f"`{other or representation.list_key}`), in XML `{representation.items}`, and in it "
            f"`{representation.item}`."
        )
    twilio = f" (`{other}` in the shape of Twilio)" if other and other != representation.list_key else ""
    return (
        f"A list has the key `{representation.list_key}`{twilio}, in XML `{representation.items}`, "
        f"and in it `{representation.item}`."
    )


def _rights(route: Route) -> str:
    if route.super_admin:
        return " Super admin only."
    return " Owner only." if route.owner_only else ""


def title_of(module: ModuleType) -> tuple[str, str]:
    """Heading of a resource and what its module says about it."""
    first = re.split(r"\n\s*\n", (module.__doc__ or module.__name__).strip())[0].replace("\n", " ")
    found = re.match(r"([^:.]+)[:.]?\s*(.*)", first)
    title, rest = (found[1], found[2]) if found else (first, "")
    return title, rest[:1].upper() + rest[1:]


def _section(module: ModuleType, known: set[int]) -> Iterator[str]:
    title, text = title_of(module)
    requests = list(_requests(module.routes()))
    if not requests:
        return
    representations = {
        id(request.operation.returns): request.operation.returns
        for request in requests
        if request.operation.returns is not None and id(request.operation.returns) not in known
    }
    known |= set(representations)
    yield f"## {title}"
    yield ""
    for paragraph in (text, *(found.doc for found in representations.values())):
        if paragraph:
            yield paragraph
            yield ""
    rows = [
        (f"`{request.method} {request.path}`", request.operation.summary + _rights(request.route))
        for request in requests
    ]
    yield from _table(("Request", "What it does"), rows)
    yield from _parameter_tables(requests)
    for found in representations.values():
        yield f"### Fields of {found.title}"
        yield ""
        shapes = {request.operation.shape for request in requests if request.operation.returns is found}
        if shapes & {"page", "list"}:
            yield _keys(found, paged="page" in shapes)
            yield ""
        yield from _fields(found)


def page() -> str:
    """The whole page."""
    lines = [*HEAD.splitlines(), ""]
    known: set[int] = set()
    for module in RESOURCES:
        lines += _section(module, known)
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
