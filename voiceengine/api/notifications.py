"""Notifications: what the owner of an application should repair."""

from __future__ import annotations

from collections.abc import Sequence

from voiceengine.api.declare import Operation
from voiceengine.api.lists import ListRules, list_operation, list_reply
from voiceengine.api.paging import Rule
from voiceengine.api.representation import Field, One, Representation, date, moment, plain
from voiceengine.api.routing import Context, Reply, Route
from voiceengine.store.rows import NotificationRow

NOTIFICATION: Representation[NotificationRow] = Representation(
    item="Notification",
    items="Notifications",
    list_key="notifications",
    doc="Something that the owner of an application should repair; the codes are explained in "
    "[Applications](applications.md).",
    fields=(
        plain("sid", doc="`NO` and 32 hex digits."),
        date("date_created", doc="When it was made."),
        date("date_updated", doc="The same."),
        plain("account_sid", doc="Whose it is."),
        plain("call_sid", doc="The call that it happened in."),
        plain("api_version", doc="Version of the API."),
        plain("log", type="integer", twilio_value=lambda row, _: str(row.log), doc="0 error, 1 warning."),
        plain(
            "error_code",
            type="integer",
            twilio_value=lambda row, _: str(row.error_code),
            doc="What happened.",
        ),
        Field(
            "more_info",
            lambda row, render: render.error_page(row.error_code),
            doc="URL of an explanation.",
        ),
        plain("message_text", doc="What happened, in words."),
        moment("message_date", doc="When it happened."),
        plain("request_url", doc="What was requested of the application."),
        plain("request_method", doc="How."),
        plain("request_variables", doc="With which parameters."),
        plain("response_headers", doc="What it answered."),
        plain("response_body", doc="What it answered."),
        Field(
            "uri",
            lambda row, render: render.uri(f"{render.account_path(row.account_sid)}/Notifications/{row.sid}"),
            doc="Path of the notification.",
        ),
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
    twilio_dates={"MessageDate": "message_date"},
)


async def _list(context: Context) -> Reply:
    path = context.path("Notifications")
    return await list_reply(context, context.deps.store.notifications, NOTIFICATION, RULES, path=path)


async def _get(context: Context) -> Reply:
    row = context.owned(await context.deps.store.notifications.get(context.sid()), "notification")
    return Reply(One(NOTIFICATION, row))


def routes() -> Sequence[Route]:
    """Routes of this resource."""
    base, resource = "Accounts/{account}/Notifications", "Notifications"
    return (
        Route(
            path=base,
            resource=resource,
            handlers={"GET": list_operation(_list, NOTIFICATION, RULES, "List the notifications.")},
        ),
        Route(
            path=base + "/{sid}",
            resource=resource,
            handlers={"GET": Operation(run=_get, summary="Read a notification.", returns=NOTIFICATION)},
        ),
    )
