"""Lists of rows that live in the database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import attrs

from voiceengine.api.paging import Paged, Rule, carried, parse_filters, parse_page, parse_sort
from voiceengine.api.representation import Format, Representation
from voiceengine.api.routing import Context, Reply
from voiceengine.store.hot import BehindRepository
from voiceengine.store.query import Filter, ListQuery

R = TypeVar("R")

COMMON = ("SortBy", "Reverse", "SubAccounts")
"""List parameters that page URIs repeat besides the filters."""


@attrs.frozen(kw_only=True)
class ListRules:
    """What a list offers."""

    filters: Mapping[str, Rule]
    sortable: Mapping[str, str]
    """SortBy attribute -> field."""
    newest_first: bool = True
    """Order of a list without SortBy."""


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
    sort, descending = parse_sort(context.query, rules.sortable, ("date_created", rules.newest_first))
    found = await repository.list(
        ListQuery(
            filters=(*parse_filters(context.query, rules.filters), *fixed),
            sort=sort,
            descending=descending,
            page=page,
            page_size=page_size,
            account_sids=context.account_sids(),
        )
    )
    paged: Paged[Any] = Paged(
        representation=representation,
        rows=found.items,
        page=page,
        page_size=page_size,
        total=found.total,
        path=path,
        carried=carried(context.query, [*rules.filters, *COMMON]),
    )
    return Reply(paged.check(), only=only)
