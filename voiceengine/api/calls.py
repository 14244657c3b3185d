"""Calls: list, create, read and modify."""

from __future__ import annotations

from collections.abc import Sequence

from voiceengine.api.call_rules import parse_create, parse_modify
from voiceengine.api.conferences import find_conference, running
from voiceengine.api.errors import ApiError, bad, not_found
from voiceengine.api.lists import ListRules, list_reply
from voiceengine.api.notifications import NOTIFICATION
from voiceengine.api.notifications import RULES as NOTIFICATION_RULES
from voiceengine.api.paging import Rule, call_sid
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
from voiceengine.api.rooms import room_name
from voiceengine.api.routing import Context, Reply, Route
from voiceengine.store.query import Filter
from voiceengine.store.rows import CallRow

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
    context.active()
    request = parse_create(context.body, context.account.sid, context.deps.settings)
    rows = await context.deps.control.create(request)
    return Reply(One(CALL, rows[0]) if len(rows) == 1 else Many(CALL, rows))


async def call_row(context: Context) -> CallRow:
    """The call of the path; the super admin may name that of any account.

    Raises:
        ApiError: 404 for an unknown call, 403 for that of another account.
    """
    sid = call_sid(context.variables["sid"])
    row = await context.deps.store.calls.get(sid)
    if row is None:
        raise not_found("call")
    admin = context.deps.store.accounts.super_admin()
    if admin is None or admin.sid != context.acting.sid:
        context.own(row.account_sid)
    return row


async def _get(context: Context) -> Reply:
    return Reply(One(CALL, await call_row(context)))


async def live_row(context: Context) -> CallRow:
    """The call of the path, which must not be over.

    Raises:
        ApiError: as for `call_row`, and 410.
    """
    row = await call_row(context)
    if row.status in ENDED:
        raise ApiError(410, "Call is already completed.", code=1100)
    return row


async def _room(context: Context, row: CallRow) -> str | None:
    """Name of the room that the call shall enter, None when none is given."""
    sid, name = context.body.text("ConferenceSid"), context.body.text("FriendlyName")
    if sid is None:
        return None if name is None else room_name(name)
    if name is not None:
        raise bad("ConferenceSid and FriendlyName both name the conference; give one of them.")
    return running(await find_conference(context, sid, row.account_sid)).friendly_name


async def _modify(context: Context) -> Reply:
    row = await live_row(context)
    change = parse_modify(context.body, await _room(context, row))
    return Reply(One(CALL, await context.deps.control.modify(row.sid, change)))


async def _notifications(context: Context) -> Reply:
    row = await call_row(context)
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
        Route(path=one + "/Notifications", resource="Notifications", handlers={"GET": _notifications}),
    )
