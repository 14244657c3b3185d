"""Notifications: what the owner of an application should repair."""

from __future__ import annotations

from collections.abc import Sequence

from voiceengine.api.errors import not_found
from voiceengine.api.lists import ListRules, list_reply
from voiceengine.api.paging import Rule
from voiceengine.api.representation import Field, One, Representation, date, moment, plain
from voiceengine.api.routing import Context, Reply, Route
from voiceengine.store.rows import NotificationRow

NOTIFICATION: Representation[NotificationRow] = Representation(
    item="Notification",
    items="Notifications",
    list_key="notifications",
    fields=(
        plain("sid"),
        date("date_created"),
        date("date_updated"),
        plain("account_sid"),
        plain("call_sid"),
        plain("api_version"),
        plain("log"),
        plain("error_code"),
        Field("more_info", lambda row, render: f"{render.base_url}/restcomm/errors/{row.error_code}.html"),
        plain("message_text"),
        moment("message_date"),
        plain("request_url"),
        plain("request_method"),
        plain("request_variables"),
        plain("response_headers"),
        plain("response_body"),
        Field("uri", lambda row, r: r.uri(f"{r.account_path(row.account_sid)}/Notifications/{row.sid}")),
    ),
)

RULES = ListRules(
    filters={
        "StartTime": Rule("date_created", "from"),
        "EndTime": Rule("date_created", "until"),
        "ErrorCode": Rule("error_code", "integer"),
        "RequestUrl": Rule("request_url", "eq"),
        "MessageText": Rule("message_text", "contains"),
        "CallSid": Rule("call_sid", "call"),
        "Log": Rule("log", "integer"),
    },
    sortable={
        "DateCreated": "date_created",
        "Log": "log",
        "ErrorCode": "error_code",
        "CallSid": "call_sid",
        "MessageText": "message_text",
    },
)


async def _list(context: Context) -> Reply:
    path = context.path("Notifications")
    return await list_reply(context, context.deps.store.notifications, NOTIFICATION, RULES, path=path)


async def _get(context: Context) -> Reply:
    row = await context.deps.store.notifications.get(context.sid())
    if row is None:
        raise not_found("notification")
    context.own(row.account_sid)
    return Reply(One(NOTIFICATION, row))


def routes() -> Sequence[Route]:
    """Routes of this resource."""
    base, resource = "Accounts/{account}/Notifications", "Notifications"
    return (
        Route(path=base, resource=resource, handlers={"GET": _list}),
        Route(path=base + "/{sid}", resource=resource, handlers={"GET": _get}),
    )
