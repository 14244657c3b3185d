"""Outgoing caller ids: numbers that calls may be shown to come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from voiceengine.api.declare import Operation, Param
from voiceengine.api.errors import bad
from voiceengine.api.number_ranges import national
from voiceengine.api.number_rules import to_e164
from voiceengine.api.paging import plus
from voiceengine.api.representation import Field, Many, One, Representation, date, plain
from voiceengine.api.routing import Context, Reply, Route
from voiceengine.store.rows import CallerId, new_sid, now

CALLER_ID: Representation[CallerId] = Representation(
    item="OutgoingCallerId",
    items="OutgoingCallerIds",
    list_key="outgoing_caller_ids",
    doc="A number that calls of the account may be shown to come from.",
    fields=(
        plain("sid", doc="`PN` and 32 hex digits."),
        plain("account_sid", doc="The account that has it."),
        plain("friendly_name", doc="A name; the number in national format when none was given."),
        plain("phone_number", doc="E.164."),
        date("date_created", doc="When it was made."),
        date("date_updated", doc="When it was last changed."),
        Field(
            "uri",
            lambda row, r: r.uri(f"{r.account_path(row.account_sid)}/OutgoingCallerIds/{row.sid}"),
            doc="Path of this resource.",
        ),
    ),
)

_NUMBER: Final = Param(
    "PhoneNumber", required="Phone number can not be null.", doc="The number; region US without country code."
)
_NAME: Final = Param("FriendlyName", "name", doc="A name, up to 64 characters; default: national format.")
_LIST: Final = (
    Param("PhoneNumber", doc="Only this number."),
    Param("FriendlyName", doc="Only those with this name."),
)


async def _create(context: Context) -> Reply:
    number = to_e164(plus(context.body.read(_NUMBER)))
    if number is None:
        raise bad("Invalid phone number.")
    row = CallerId(
        sid=new_sid("PN"),
        account_sid=context.account.sid,
        friendly_name=context.body.read(_NAME) or national(number),
        phone_number=number,
    )
    row = await context.deps.store.caller_ids.add(row)
    context.changed()
    return Reply(One(CALLER_ID, row))


def _row(context: Context) -> CallerId:
    return context.owned(context.deps.store.caller_ids.get(context.sid()), "caller id")


async def _list(context: Context) -> Reply:
    number, name = context.query.text("PhoneNumber"), context.query.text("FriendlyName")
    if number is not None:
        number = to_e164(plus(number)) or number
    rows = [
        row
        for row in context.deps.store.caller_ids.of_account(context.account.sid)
        if number in (None, row.phone_number) and name in (None, row.friendly_name)
    ]
    return Reply(Many(CALLER_ID, sorted(rows, key=lambda row: row.date_created)))


async def _get(context: Context) -> Reply:
    return Reply(One(CALLER_ID, _row(context)))


async def _update(context: Context) -> Reply:
    row = _row(context)
    name = context.body.read(_NAME) or row.friendly_name
    row = await context.deps.store.caller_ids.update(
        attrs.evolve(row, friendly_name=name, date_updated=now())
    )
    context.changed()
    return Reply(One(CALLER_ID, row))


async def _delete(context: Context) -> Reply:
    await context.deps.store.caller_ids.delete(_row(context).sid)
    context.changed()
    return Reply()


def routes() -> Sequence[Route]:
    """Routes of this resource."""
    base, resource = "Accounts/{account}/OutgoingCallerIds", "OutgoingCallerIds"
    change = Operation(run=_update, summary="Rename a caller id.", body=(_NAME,), returns=CALLER_ID)
    return (
        Route(
            path=base,
            resource=resource,
            handlers={
                "GET": Operation(
                    run=_list,
                    summary="List the caller ids of an account.",
                    query=_LIST,
                    returns=CALLER_ID,
                    shape="list",
                ),
                "POST": Operation(
                    run=_create,
                    summary="Add a caller id; no verification call is made.",
                    body=(_NUMBER, _NAME),
                    returns=CALLER_ID,
                ),
            },
        ),
        Route(
            path=base + "/{sid}",
            resource=resource,
            handlers={
                "GET": Operation(run=_get, summary="Get a caller id.", returns=CALLER_ID),
                "POST": change,
                "PUT": change,
                "DELETE": Operation(run=_delete, summary="Remove a caller id.", shape="empty"),
            },
        ),
    )
