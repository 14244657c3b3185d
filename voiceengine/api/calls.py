"""Calls: list, create, read and modify."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urljoin

from voiceengine.api.call_rules import APPLICATION, CREATE, MODIFY, parse_create, parse_modify
from voiceengine.api.conferences import find_conference, running
from voiceengine.api.declare import Operation
from voiceengine.api.errors import ApiError, bad, not_found
from voiceengine.api.lists import ListRules, list_operation, list_reply
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
    uris,
)
from voiceengine.api.rooms import room_name
from voiceengine.api.routing import Context, Reply, Route
from voiceengine.store.query import Filter
from voiceengine.store.rows import CallRow

ENDED = frozenset({"completed", "busy", "failed", "no-answer", "canceled", "not-found"})
"""States of a call that is over."""
STATES = ("queued", "ringing", "in-progress", *sorted(ENDED))


def _path(row: CallRow, render: Render) -> str:
    return f"{render.account_path(row.account_sid)}/Calls/{row.sid}"


def _subresources(row: CallRow, render: Render) -> Nested:
    base = _path(row, render)
    names = ("Notifications", "Recordings")
    return Nested(tuple((name.lower(), name, render.uri(f"{base}/{name}")) for name in names))


def _seconds(row: CallRow, _: Render) -> str | None:
    return None if row.duration is None else str(row.duration)


CALL: Representation[CallRow] = Representation(
    item="Call",
    items="Calls",
    list_key="calls",
    doc="A call, live or over. The long form of a call sid (`ID…-CA…`) is accepted everywhere. Several "
    "instructions of one modification are carried out in the order Status, Mute, document; none: 409. What "
    "can be done to a call that is in progress besides, and what all of it does in each phase of a call, "
    "is told in [Live calls](live-calls.md). Calling a client with several devices makes several calls: a "
    "list.",
    fields=(
        plain("sid", doc="`CA` and 32 hex digits."),
        Field(
            "InstanceId",
            lambda row, _: row.instance_id or None,
            xml_null="omit",
            twilio="",
            doc="Sid of the engine that had the call.",
        ),
        date("date_created", doc="When it began."),
        date("date_updated", doc="When its record changed."),
        plain("parent_call_sid", doc="The call whose Dial made this one."),
        plain("account_sid", doc="Whose call it is."),
        plain("to", doc="Who is called: the user part, without `client:` or `sip:`."),
        plain("from", "from_", doc="Who calls."),
        plain("phone_number_sid", doc="The number that was called."),
        plain(
            "status",
            schema={"type": "string", "enum": list(STATES)},
            twilio_value=lambda row, _: "failed" if row.status == "not-found" else row.status,
            doc="State.",
        ),
        moment("start_time", doc="Creation until it is answered, then the time of the answer."),
        moment("end_time", doc="When it ended."),
        plain(
            "duration",
            type="integer",
            twilio_value=_seconds,
            doc="Seconds from answer to end; 0: unanswered.",
        ),
        plain("price", only="xml", doc="Always 0.00."),
        plain("price", only="twilio", doc="Always 0.00."),
        plain("price_unit", doc="USD."),
        plain(
            "direction",
            schema={"type": "string", "enum": ["inbound", "outbound-api", "outbound-dial"]},
            doc="Who made it: the other side, a program, a document.",
        ),
        plain("answered_by", doc="human or machine, when that was found out."),
        plain("api_version", doc="Version of the API."),
        plain("forwarded_from", doc="Who was called first."),
        plain("caller_name", doc="Display name of the caller."),
        Field("uri", lambda row, render: render.uri(_path(row, render)), doc="Path of the call."),
        plain(
            "ring_duration",
            xml="Ring_duration",
            type="integer",
            doc="Seconds from creation to the answer, or to the end.",
        ),
        Field(
            "subresource_uris",
            _subresources,
            type="object",
            schema=uris("notifications", "recordings"),
            doc="Paths of its notifications and recordings.",
        ),
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
    twilio_dates={"StartTime": "start_time", "EndTime": "end_time"},
)


async def _list(context: Context) -> Reply:
    return await list_reply(context, context.deps.store.calls, CALL, RULES, path=context.path("Calls"))


def _application_url(context: Context) -> str | None:
    """URL of the application that the parameters name.

    Raises:
        ApiError: 400 for one of another account, or without a URL.
    """
    sid = context.body.read(APPLICATION)
    if sid is None:
        return None
    application = context.deps.store.applications.get(sid)
    if application is None or application.account_sid != context.account.sid:
        raise bad("ApplicationSid must name an application of this account.")
    if not application.rcml_url:
        raise bad("The application of ApplicationSid has no RcmlUrl.")
    return urljoin(context.deps.public_base(), application.rcml_url)


async def _create(context: Context) -> Reply:
    context.active()
    url = _application_url(context)
    request = parse_create(context.body, context.account.sid, context.deps.settings, url)
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
    if not context.is_super_admin:
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


async def _delete(context: Context) -> Reply:
    row = await call_row(context)
    if row.status not in ENDED:
        raise ApiError(409, "The call is not over; end it before you remove its record.", code=1103)
    await context.deps.store.calls.delete(row.sid)
    return Reply(status=204)


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
        Route(
            path=base,
            resource="Calls",
            handlers={
                "GET": list_operation(_list, CALL, RULES, "List the calls."),
                "POST": Operation(
                    run=_create,
                    summary="Call somebody.",
                    body=CREATE,
                    returns=CALL,
                    several=True,
                    errors=(404, 409, 503),
                ),
            },
        ),
        Route(
            path=one,
            resource="Calls",
            handlers={
                "GET": Operation(run=_get, summary="Read a call.", returns=CALL),
                "POST": Operation(
                    run=_modify,
                    summary="Change a live call: end it, mute it, run another document, enter a conference.",
                    body=MODIFY,
                    returns=CALL,
                    errors=(409, 410),
                ),
                "DELETE": Operation(
                    run=_delete,
                    summary="Remove the record of a call that is over; a call that is not: 409.",
                    shape="empty",
                    status=204,
                    errors=(409,),
                ),
            },
        ),
        Route(
            path=one + "/Notifications",
            resource="Notifications",
            handlers={
                "GET": list_operation(
                    _notifications, NOTIFICATION, NOTIFICATION_RULES, "List the notifications of a call."
                )
            },
        ),
    )
