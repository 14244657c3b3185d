"""Refers: the record of each transfer by REFER. JSON only."""

from __future__ import annotations

import re
from collections.abc import Sequence

from voiceengine.api.declare import Operation
from voiceengine.api.lists import ListRules, list_operation, list_reply
from voiceengine.api.paging import Rule
from voiceengine.api.representation import Field, One, Render, Representation, date, plain
from voiceengine.api.routing import Context, Reply, Route
from voiceengine.store.rows import ReferRow

_SID = re.compile(r"RF[0-9a-zA-Z]{32}")


def _uri(row: ReferRow, render: Render) -> str:
    return render.uri(f"{render.account_path(row.account_sid)}/Refers/{row.sid}")


REFER: Representation[ReferRow] = Representation(
    item="Refer",
    items="Refers",
    list_key="refers",
    doc="One for each transfer by REFER; always JSON. A call is transferred by POST on `/Calls/{sid}/Refers` "
    "([Live calls](live-calls.md)).",
    fields=(
        plain("api_version", only="json", doc="Version of the API."),
        plain("sid", only="json", doc="`RF` and 32 hex digits."),
        date("date_created", only="json", doc="When it was sent."),
        plain("account_sid", only="json", doc="Whose it is."),
        plain("org_sid", only="json", doc="Organization of the account."),
        plain("call_sid", only="json", doc="The call that was transferred."),
        Field("uri", _uri, only="json", doc="Path of the Refer."),
        plain("from", "from_", only="json", doc="Who was asked to call somebody else."),
        plain("to", only="json", doc="Target of the transfer."),
        plain(
            "call_status",
            only="json",
            schema={"type": "string", "enum": ["completed", "busy", "no-answer", "failed", "canceled"]},
            doc="What became of it; absent when nobody told.",
        ),
        plain("refer_sip_response_code", only="json", type="integer", doc="Answer to the REFER."),
        plain(
            "notify_sip_response_code",
            only="json",
            type="integer",
            doc="Final status that NOTIFY told; absent when none came.",
        ),
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
    row = context.owned(await context.deps.store.refers.get(context.sid()), "refer")
    return Reply(One(REFER, row), only="json")


def routes() -> Sequence[Route]:
    """Routes of this resource."""
    base = "Accounts/{account}/Refers"
    return (
        Route(
            path=base,
            resource="Refers",
            handlers={"GET": list_operation(_list, REFER, RULES, "List the Refers.")},
        ),
        Route(
            path=base + "/{sid}",
            resource="Refers",
            handlers={"GET": Operation(run=_get, summary="Read a Refer.", returns=REFER)},
        ),
    )
