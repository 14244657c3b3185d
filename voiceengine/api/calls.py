"""Calls: list, create, read and modify."""

from __future__ import annotations

from collections.abc import Sequence

from voiceengine.api.call_rules import parse_create, parse_modify
from voiceengine.api.errors import ApiError, forbidden, not_found
from voiceengine.api.lists import ListRules, list_reply
from voiceengine.api.notifications import NOTIFICATION
from voiceengine.api.notifications import RULES as NOTIFICATION_RULES
from voiceengine.api.paging import MAX_SIZE, Rule, call_sid
from voiceengine.api.recordings import RECORDING
from voiceengine.api.representation import (
    Field,
    Many,
    Nested,
    One,
    Render,
    Representation,
    date,
    moment,
    plain,
)
from voiceengine.api.routing import NOT_ACTIVE, Context, Reply, Route
from voiceengine.store.query import Filter, ListQuery
from voiceengine.store.rows import CallRow, RecordingRow

ENDED = frozenset({"completed", "busy", "failed", "no-answer", "canceled", "not-found"})
"""States of a call that is over."""


def _path(row: CallRow, render: Render) -> str:
    return f"{render.account_path(row.account_sid)}/Calls/{row.sid}"


def _subresources(row: CallRow, render: Render) -> Nested:
    base = _path(row, render)
    names = ("Notifications", "Recordings")
    return Nested(tuple((name.lower(), name, render.uri(f"{base}/{name}")) for name in names))


CALL: Representation[CallRow] = Representation(
    item="Call",
    items="Calls",
    list_key="calls",
    fields=(
        plain("sid"),
        Field("InstanceId", lambda row, _: row.instance_id or None, xml_null="omit"),
        date("date_created"),
        date("date_updated"),
        plain("parent_call_sid"),
        plain("account_sid"),
        plain("to"),
        plain("from", "from_"),
        plain("phone_number_sid"),
        plain("status"),
        moment("start_time"),
        moment("end_time"),
        plain("duration"),
        plain("price", only="xml"),
        plain("price_unit"),
        plain("direction"),
        plain("answered_by"),
        plain("api_version"),
        plain("forwarded_from"),
        plain("caller_name"),
        Field("uri", lambda row, render: render.uri(_path(row, render))),
        plain("ring_duration", xml="Ring_duration"),
        Field("subresource_uris", _subresources),
    ),
    xml_order=(
        "Sid",
        "InstanceId",
        "DateCreated",
        "DateUpdated",
        "ParentCallSid",
        "AccountSid",
        "To",
        "From",
        "PhoneNumberSid",
        "Status",
        "StartTime",
        "EndTime",
        "Duration",
        "Price",
        "PriceUnit",
        "Direction",
        "AnsweredBy",
        "ApiVersion",
        "ForwardedFrom",
        "CallerName",
        "Uri",
        "SubresourceUris",
        "Ring_duration",
    ),
)

RULES = ListRules(
    filters={
        "To": Rule("to", "suffix"),
        "From": Rule("from_", "suffix"),
        "Status": Rule("status", "status"),
        "StartTime": Rule("start_time", "from"),
        "EndTime": Rule("end_time", "until"),
        "ParentCallSid": Rule("parent_call_sid", "call"),
        "ConferenceSid": Rule("conference_sid", "eq"),
    },
    sortable={
        "DateCreated": "date_created",
        "From": "from_",
        "To": "to",
        "Direction": "direction",
        "Status": "status",
        "Duration": "duration",
        "Price": "price",
    },
)


async def _list(context: Context) -> Reply:
    return await list_reply(context, context.deps.store.calls, CALL, RULES, path=context.path("Calls"))


async def _create(context: Context) -> Reply:
    if context.account.status != "active":
        raise forbidden(NOT_ACTIVE)
    request = parse_create(context.body, context.account.sid, context.deps.settings)
    rows = await context.deps.control.create(request)
    return Reply(One(CALL, rows[0]) if len(rows) == 1 else Many(CALL, rows))


async def _row(context: Context) -> CallRow:
    sid = call_sid(context.variables["sid"])
    row = await context.deps.store.calls.get(sid)
    if row is None:
        raise not_found("call")
    admin = context.deps.store.accounts.super_admin()
    if admin is None or admin.sid != context.acting.sid:
        context.own(row.account_sid)
    return row


async def _get(context: Context) -> Reply:
    return Reply(One(CALL, await _row(context)))


async def _modify(context: Context) -> Reply:
    row = await _row(context)
    if row.status in ENDED:
        raise ApiError(410, "Call is already completed.", code=1100)
    change = parse_modify(context.body)
    if change is not None:
        row = await context.deps.control.modify(row.sid, change)
    return Reply(One(CALL, row))


async def _recordings(context: Context) -> Reply:
    row = await _row(context)
    rows: list[RecordingRow] = []
    while True:
        page = await context.deps.store.recordings.list(
            ListQuery(
                filters=(Filter("call_sid", "eq", row.sid),), page=len(rows) // MAX_SIZE, page_size=MAX_SIZE
            )
        )
        rows.extend(page.items)
        if len(page.items) < MAX_SIZE:
            return Reply(Many(RECORDING, rows))


async def _notifications(context: Context) -> Reply:
    row = await _row(context)
    return await list_reply(
        context,
        context.deps.store.notifications,
        NOTIFICATION,
        NOTIFICATION_RULES,
        path=context.path("Calls", row.sid, "Notifications"),
        fixed=(Filter("call_sid", "eq", row.sid),),
    )


def routes() -> Sequence[Route]:
    """Routes of this resource."""
    base, one = "Accounts/{account}/Calls", "Accounts/{account}/Calls/{sid}"
    return (
        Route(path=base, resource="Calls", handlers={"GET": _list, "POST": _create}),
        Route(path=one, resource="Calls", handlers={"GET": _get, "POST": _modify}),
        Route(path=one + "/Recordings", resource="Recordings", handlers={"GET": _recordings}),
        Route(path=one + "/Notifications", resource="Notifications", handlers={"GET": _notifications}),
    )
