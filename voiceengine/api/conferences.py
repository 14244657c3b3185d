"""Conferences: list, read, end, announce and record."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import attrs

from voiceengine.api.errors import ApiError, bad, forbidden, not_found
from voiceengine.api.lists import ListRules, list_reply
from voiceengine.api.paging import Rule
from voiceengine.api.parameters import Parameters
from voiceengine.api.ports import ChangeConference, ConferenceControl
from voiceengine.api.recordings import all_recordings
from voiceengine.api.representation import Field, Nested, One, Render, Representation, date, plain
from voiceengine.api.routing import Context, Reply, Route
from voiceengine.store.rows import ConferenceRow

COMPLETED: Final = "COMPLETED"
"""Status of a conference that is over."""

NOTHING_TO_DO: Final = (
    'A conference is changed by "Status=completed", "AnnounceUrl" (with "AnnounceMethod") or '
    '"Record=true|false"; give at least one of them.'
)

_SID = re.compile(r"CF[0-9a-zA-Z]{32}")


def _path(row: ConferenceRow, render: Render) -> str:
    return f"{render.account_path(row.account_sid)}/Conferences/{row.sid}"


def _subresources(row: ConferenceRow, render: Render) -> Nested:
    uri = render.uri(f"{_path(row, render)}/Participants")
    return Nested((("participants", "Participants", uri),))


CONFERENCE: Representation[ConferenceRow] = Representation(
    item="Conference",
    items="Conferences",
    list_key="conferences",
    fields=(
        plain("sid"),
        date("date_created"),
        date("date_updated"),
        plain("account_sid"),
        plain("status"),
        plain("api_version"),
        plain("friendly_name"),
        Field("uri", lambda row, render: render.uri(_path(row, render))),
        Field("subresource_uris", _subresources),
    ),
)

RULES = ListRules(
    filters={
        "Status": Rule("status", "upper"),
        "FriendlyName": Rule("friendly_name", "eq"),
        "DateCreated": Rule("date_created", "from"),
        "DateUpdated": Rule("date_updated", "until"),
    },
    sortable={
        "DateCreated": "date_created",
        "DateUpdated": "date_updated",
        "FriendlyName": "friendly_name",
        "Status": "status",
    },
    newest_first=False,
)


async def find_conference(context: Context, sid: str, account_sid: str) -> ConferenceRow:
    """The conference with this sid, which must belong to an account.

    Raises:
        ApiError: 404 for an unknown or malformed sid, 403 for that of another account.
    """
    row = await context.deps.store.conferences.get(sid) if _SID.fullmatch(sid) else None
    if row is None:
        raise not_found("conference")
    if row.account_sid != account_sid:
        raise forbidden("The conference belongs to another account.")
    return row


async def conference_row(context: Context) -> ConferenceRow:
    """The conference of the path."""
    return await find_conference(context, context.sid(), context.account.sid)


def running(row: ConferenceRow) -> ConferenceRow:
    """Refuse a conference that is over.

    Raises:
        ApiError: 410.
    """
    if row.status == COMPLETED:
        raise ApiError(410, "The conference is already completed.")
    return row


def control(context: Context) -> ConferenceControl:
    """Who shows and changes live conferences.

    Raises:
        ApiError: 503, nobody does in this engine.
    """
    found = context.deps.conferences
    if found is None:
        raise ApiError(503, "Live conferences are not available in this engine.")
    return found


def parse_change(body: Parameters) -> ChangeConference:
    """Read what shall change in a live conference.

    Raises:
        ApiError: 400 without any instruction, or with one that cannot be carried out.
    """
    status, announce = body.text("Status"), body.url("AnnounceUrl")
    record = body.flag("Record")
    if status is None and announce is None and record is None:
        raise bad(NOTHING_TO_DO)
    if status is not None and status.lower() != "completed":
        raise bad("Status must be completed.")
    return ChangeConference(
        end=status is not None,
        announce_url=announce,
        announce_method=body.method("AnnounceMethod"),
        record=record,
    )


async def _list(context: Context) -> Reply:
    path = context.path("Conferences")
    return await list_reply(context, context.deps.store.conferences, CONFERENCE, RULES, path=path)


async def _get(context: Context) -> Reply:
    return Reply(One(CONFERENCE, await conference_row(context)))


async def _change(context: Context) -> Reply:
    row = running(await conference_row(context))
    change = parse_change(context.body)
    await control(context).change_conference(row.sid, change)
    row = await context.deps.store.conferences.get(row.sid) or row
    if change.end:
        # The record may wait for the last participant to be gone; to the application it is over.
        row = attrs.evolve(row, status=COMPLETED)
    return Reply(One(CONFERENCE, row))


async def _recordings(context: Context) -> Reply:
    row = await conference_row(context)
    return await all_recordings(context, "conference_sid", row.sid, row.account_sid)


def routes() -> Sequence[Route]:
    """Routes of this resource."""
    base, one = "Accounts/{account}/Conferences", "Accounts/{account}/Conferences/{sid}"
    return (
        Route(path=base, resource="Conferences", handlers={"GET": _list}),
        Route(path=one, resource="Conferences", handlers={"GET": _get, "POST": _change}),
        Route(path=one + "/Recordings", resource="Recordings", handlers={"GET": _recordings}),
    )
