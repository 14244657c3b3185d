"""What an operation takes and gives, declared once: requests are read by it, the OpenAPI document and the
reference pages are made from it.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import attrs

Kind = Literal[
    "text",
    "document",
    "flag",
    "integer",
    "method",
    "url",
    "path",
    "choice",
    "sid",
    "name",
    "date",
]
"""How a value is checked: text (one line), document (several lines), flag (true or false), integer, method
(GET or POST), url (absolute), path (absolute URL, or a path of this server), choice (one of some words, any
letter case), sid, name (up to 64 characters), date (yyyy-MM-dd or yyyy-MM-ddTHH:mm:ss)."""

Shape = Literal["one", "page", "list", "empty", "other"]
"""What the body of a success is: one resource, a page of them, a bare list, nothing, something else."""


@attrs.frozen
class Param:
    """One parameter of a query or of a body.

    Args:
        name: as it is sent; case-sensitive.
        kind: how it is checked.
        required: what is said when it is absent or empty; None: it may be.
        default: taken when it is absent.
        allowed: words of a choice; prefix of a sid.
        minimum, maximum: of an integer; `maximum` also of the length of a name.
        repeated: whether all its values count, not the first alone.
        secret: whether it is a password.
        doc: one sentence.
    """

    name: str
    kind: Kind = "text"
    required: str | None = attrs.field(default=None, kw_only=True)
    default: str | int | bool | None = attrs.field(default=None, kw_only=True)
    allowed: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    minimum: int | None = attrs.field(default=None, kw_only=True)
    maximum: int | None = attrs.field(default=None, kw_only=True)
    repeated: bool = attrs.field(default=False, kw_only=True)
    secret: bool = attrs.field(default=False, kw_only=True)
    doc: str = attrs.field(default="", kw_only=True)


PAGE: Final = (
    Param("Page", "integer", default=0, minimum=0, doc="Index of the page, from 0."),
    Param("PageSize", "integer", default=50, minimum=1, doc="Rows of a page; 1000 at most."),
    Param("AfterSid", doc="Last row of the page before; a hint that makes late pages fast."),
)
"""Of every paged list."""

SORT: Final = (
    Param("SortBy", doc="`Attribute:asc` or `Attribute:desc`; without a direction: asc."),
    Param("Reverse", "flag", doc="Without SortBy: true sorts descending, false ascending."),
)
SUB_ACCOUNTS: Final = Param("SubAccounts", "flag", default=False, doc="Also rows of all accounts below.")
LOCAL_ONLY: Final = Param("localOnly", doc="Accepted and ignored.")

LIMIT: Final = Param("Limit", "integer", default=10000, minimum=1, doc="Cap on the length of the whole list.")

API_VERSION_PARAM: Final = Param(
    "ApiVersion", "name", default="2012-04-24", doc="Stored verbatim on the new object."
)


@attrs.frozen(kw_only=True)
class Operation:
    """One method of a route."""

    run: Any
    """The handler: `async def (Context) -> Reply`."""
    summary: str
    """One sentence."""
    body: tuple[Param, ...] = ()
    """Parameters of the form (or JSON object)."""
    query: tuple[Param, ...] = ()
    returns: Any = None
    """The Representation of a success; None with the shape `empty` or `other`."""
    shape: Shape = "one"
    schema: dict[str, Any] | None = None
    """JSON schema of the body, with the shape `other`."""
    media: str = ""
    """Content type of a success that is neither JSON nor XML (with the shape `other`)."""
    several: bool = False
    """With the shape `one`: whether it may also be an array of them."""
    creates: bool = False
    """Whether it makes a resource although its path names another one (201 in the shape of Twilio)."""
    twilio_query: tuple[Param, ...] = ()
    """Names of the query that count in the shape of Twilio, beside `query`."""
    status: int = 200
    """Of a success."""
    errors: tuple[int, ...] = ()
    """Status codes beyond 400 (with parameters), 401, 403, 404 (with a path variable) and 500."""

    def reads(self) -> frozenset[str]:
        """Names that the handler may read."""
        return frozenset(param.name for param in (*self.body, *self.query, *self.twilio_query))
