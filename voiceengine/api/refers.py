"""Refers: the record of each transfer by REFER. JSON only."""

from __future__ import annotations

import re
from collections.abc import Sequence

from voiceengine.api.errors import not_found
from voiceengine.api.lists import ListRules, list_reply
from voiceengine.api.paging import Rule
from voiceengine.api.representation import Field, One, Render, Representation, plain, rfc2822
from voiceengine.api.routing import Context, Reply, Route
from voiceengine.store.rows import ReferRow

_SID = re.compile(r"RF[0-9a-zA-Z]{32}")


def _uri(row: ReferRow, render: Render) -> str:
    return render.uri(f"{render.account_path(row.account_sid)}/Refers/{row.sid}")


REFER: Representation[ReferRow] = Representation(
    item="Refer",
    items="Refers",
    list_key="refers",
    fields=(
        plain("api_version", only="json"),
        plain("sid", only="json"),
        Field("date_created", lambda row, _: rfc2822(row.date_created), only="json"),
        plain("account_sid", only="json"),
        plain("org_sid", only="json"),
        plain("call_sid", only="json"),
        Field("uri", _uri, only="json"),
        plain("from", "from_", only="json"),
        plain("to", only="json"),
        plain("call_status", only="json"),
        plain("refer_sip_response_code", only="json"),
        plain("notify_sip_response_code", only="json"),
    ),
)

RULES = ListRules(
    filters={
        "StartTime": Rule("date_created", "from"),
        "EndTime": Rule("date_created", "until"),
        "CallSid": Rule("call_sid", "call"),
    },
    sortable={"DateCreated": "date_created", "CallSid": "call_sid"},
)


async def _list(context: Context) -> Reply:
    path = context.path("Refers")
    return await list_reply(context, context.deps.store.refers, REFER, RULES, path=path, only="json")


async def _get(context: Context) -> Reply:
    row = await context.deps.store.refers.get(context.sid())
    if row is None or not _SID.fullmatch(row.sid):
        raise not_found("refer")
    context.own(row.account_sid)
    return Reply(One(REFER, row), only="json")


def routes() -> Sequence[Route]:
    """Routes of this resource."""
    base = "Accounts/{account}/Refers"
    return (
        Route(path=base, resource="Refers", handlers={"GET": _list}),
        Route(path=base + "/{sid}", resource="Refers", handlers={"GET": _get}),
    )
