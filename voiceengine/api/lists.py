"""Lists of rows that live in the database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import attrs

from voiceengine.api.declare import (
    LIMIT,
    LOCAL_ONLY,
    PAGE,
    SORT,
    SUB_ACCOUNTS,
    Operation,
    Param,
)
from voiceengine.api.errors import bad
from voiceengine.api.paging import (
    Kind,
    Paged,
    Rule,
    carried,
    parse_filters,
    parse_page,
    parse_sort,
)
from voiceengine.api.representation import Format, Representation
from voiceengine.api.routing import Context, Handler, Reply
from voiceengine.store.hot import BehindRepository
from voiceengine.store.query import Filter, ListQuery

R = TypeVar("R")

COMMON = ("SortBy", "Reverse", "SubAccounts")
"""List parameters that page URIs repeat besides the filters."""
DEFAULT_LIMIT: Final = 10000
"""Length of a limited list whose Limit is not given."""

_MEANING: Final[Mapping[Kind, str]] = {
    "suffix": "Ends with this text.",
    "eq": "Equals.",
    "call": "Equals; both forms of a call sid.",
    "status": "Equals, in any letter case.",
    "upper": "Equals, in any letter case.",
    "contains": "Contains this text.",
    "integer": "Equals.",
    "from": "Not before this date.",
    "until": "Not after this date; a day counts to its end.",
    "midnight": "Not after this date; a day counts as its first moment.",
    "on": "On this day, or in this second.",
}


@attrs.frozen(kw_only=True)
class ListRules:
    """What a list offers."""

    filters: Mapping[str, Rule]
    sortable: Mapping[str, str]
    """SortBy attribute -> field."""
    newest_first: bool = True
    """Order of a list without SortBy."""
    limited: bool = False
    """Whether `Limit` caps the whole list."""
    twilio_dates: Mapping[str, str] = attrs.field(factory=dict)
    """Name of a date -> field: in the shape of Twilio it filters as `Name` (that day), `Name<` (not after)
    and `Name>` (not before)."""
    twilio_filters: Mapping[str, Rule] = attrs.field(factory=dict)
    """Filters that are others in the shape of Twilio."""

    def in_shape(self, twilio: bool) -> Mapping[str, Rule]:
        """The filters of a request."""
        if not twilio:
            return self.filters
        found = {**self.filters, **self.twilio_filters}
        for name, field in self.twilio_dates.items():
            found |= {
                name: Rule(field, "on"),
                f"{name}<": Rule(field, "until"),
                f"{name}>": Rule(field, "from"),
            }
        return found


def _filter_params(filters: Mapping[str, Rule]) -> tuple[Param, ...]:
    found = []
    for name, rule in filters.items():
        doc = rule.doc or _MEANING[rule.kind]
        if rule.kind in ("from", "until", "midnight", "on"):
            found.append(Param(name, "date", doc=doc))
        elif rule.kind == "integer":
            found.append(Param(name, "integer", minimum=0, doc=doc))
        else:
            found.append(Param(name, doc=doc))
    return tuple(found)


def list_query(rules: ListRules) -> tuple[Param, ...]:
    """Declare the parameters of a list."""
    order, reverse = SORT
    attributes = ", ".join(f"`{name}`" for name in rules.sortable)
    first = "newest" if rules.newest_first else "oldest"
    sort = attrs.evolve(order, doc=f"{order.doc} Attributes: {attributes}. Not given: {first} first.")
    limit = (LIMIT,) if rules.limited else ()
    return (*_filter_params(rules.filters), *PAGE, *limit, sort, reverse, SUB_ACCOUNTS, LOCAL_ONLY)


def list_operation(
    run: Handler,
    representation: Representation[Any],
    rules: ListRules,
    summary: str,
    *,
    errors: tuple[int, ...] = (),
) -> Operation:
    """Declare a paged list that `list_reply` answers.

    Args:
        run: the handler.
        representation: of its rows.
        rules: what it offers.
        summary: one sentence.
        errors: further status codes.
    """
    plain = rules.filters
    special = {name: rule for name, rule in rules.in_shape(True).items() if plain.get(name) != rule}
    return Operation(
        run=run,
        summary=summary,
        query=list_query(rules),
        twilio_query=_filter_params(special),
        returns=representation,
        shape="page",
        errors=errors,
    )


def _limit(context: Context, rules: ListRules) -> int | None:
    if not rules.limited:
        return None
    given = context.query.integer("Limit", DEFAULT_LIMIT, 0, 999_999_999)
    if given < 1:
        raise bad("Limit must be a whole number from 1.")
    return given


async def list_reply(
    context: Context,
    repository: BehindRepository[R],
    representation: Representation[R],
    rules: ListRules,
    *,
    path: str,
    fixed: tuple[Filter, ...] = (),
    only: Format | None = None,
) -> Reply:
    """Answer a page of a list; `only` is the one format of a resource that knows no other."""
    page, page_size = parse_page(context.query)
    limit = _limit(context, rules)
    filters = rules.in_shape(context.twilio)
    sort, descending = parse_sort(context.query, rules.sortable, ("date_created", rules.newest_first))
    found = await repository.list(
        ListQuery(
            filters=(*parse_filters(context.query, filters), *fixed),
            sort=sort,
            descending=descending,
            page=page,
            page_size=page_size,
            account_sids=context.account_sids(),
            after_sid=context.query.text("AfterSid") if page else None,
        )
    )
    rows, total = found.items, found.total
    if limit is not None and total > limit:
        rows, total = rows[: max(0, limit - page * page_size)], limit
    paged: Paged[Any] = Paged(
        representation=representation,
        rows=rows,
        page=page,
        page_size=page_size,
        total=total,
        path=path,
        carried=carried(context.query, [*filters, *COMMON]),
        limit=limit,
    )
    return Reply(paged.check(), only=only)
