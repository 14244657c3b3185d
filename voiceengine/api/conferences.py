"""Conferences: list, read, end, announce and record."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import attrs

from voiceengine.api.declare import Operation, Param
from voiceengine.api.errors import ApiError, bad, forbidden, not_found
from voiceengine.api.lists import ListRules, list_operation, list_reply
from voiceengine.api.paging import Rule
from voiceengine.api.parameters import Parameters
from voiceengine.api.ports import ChangeConference, ConferenceControl
from voiceengine.api.recordings import RECORDING, all_recordings, remove_recording
from voiceengine.api.representation import Field, Nested, One, Render, Representation, date, plain, uris
from voiceengine.api.routing import Context, Reply, Route
from voiceengine.store.query import Filter
from voiceengine.store.rows import ConferenceRow, RecordingRow

COMPLETED: Final = "COMPLETED"
"""Status of a conference that is over."""

STATES: Final = (
    "RUNNING_INITIALIZING",
    "RUNNING_MODERATOR_ABSENT",
    "RUNNING_MODERATOR_PRESENT",
    "STOPPING",
    COMPLETED,
    "FAILED",
)

STATUS: Final = Param("Status", "choice", allowed=("completed",), doc="Ends the conference.")
ANNOUNCE_URL: Final = Param("AnnounceUrl", "url", doc="Audio or document that everybody hears.")
ANNOUNCE_METHOD: Final = Param("AnnounceMethod", "method", default="POST", doc="How it is requested.")
RECORD: Final = Param("Record", "flag", doc="true records the conference from now on, false stops that.")
CHANGE: Final = (STATUS, ANNOUNCE_URL, ANNOUNCE_METHOD, RECORD)
STOP_RECORDING: Final = Param(
    "Status",
    "choice",
    allowed=("stopped",),
    required="Status must be stopped.",
    doc="Ends the recording.",
)

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


def _twilio_status(row: ConferenceRow, _: Render) -> str:
    if row.status == "RUNNING_INITIALIZING":
        return "init"
    return "in-progress" if row.status.startswith("RUNNING") else "completed"


CONFERENCE: Representation[ConferenceRow] = Representation(
    item="Conference",
    items="Conferences",
    list_key="conferences",
    doc="One for each time that a room was open; the list shows the oldest first. A conference that is over "
    "cannot be changed: 410. An engine without live conferences answers 503. In the shape of Twilio the "
    "status is init, in-progress or completed, in the filter too.",
    fields=(
        plain("sid", doc="`CF` and 32 hex digits."),
        date("date_created", doc="When the room was opened."),
        date("date_updated", doc="When its record changed."),
        plain("account_sid", doc="Whose it is."),
        plain(
            "status",
            schema={"type": "string", "enum": list(STATES)},
            twilio_value=_twilio_status,
            doc="State.",
        ),
        plain("api_version", doc="Version of the API."),
        plain("friendly_name", doc="Name of the room."),
        Field("uri", lambda row, render: render.uri(_path(row, render)), doc="Path of the conference."),
        Field(
            "subresource_uris",
            _subresources,
            type="object",
            schema=uris("participants"),
            doc="Path of its participants.",
        ),
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
    twilio_dates={"DateCreated": "date_created", "DateUpdated": "date_updated"},
    twilio_filters={
        "Status": Rule(
            "status",
            "upper",
            words={
                "init": Filter("status", "eq", "RUNNING_INITIALIZING"),
                "in-progress": Filter("status", "contains", "RUNNING_MODERATOR"),
                "completed": Filter("status", "eq", COMPLETED),
            },
            doc="init, in-progress or completed.",
        )
    },
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
    status, announce, record = body.read(STATUS), body.read(ANNOUNCE_URL), body.read(RECORD)
    if status is None and announce is None and record is None:
        raise bad(NOTHING_TO_DO)
    return ChangeConference(
        end=status is not None,
        announce_url=announce,
        announce_method=body.read(ANNOUNCE_METHOD),
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


async def _recording_row(context: Context) -> RecordingRow:
    conference = await conference_row(context)
    row = await context.deps.store.recordings.get(context.variables["recording"])
    if row is None or (row.conference_sid, row.account_sid) != (conference.sid, conference.account_sid):
        raise not_found("recording")
    return row


async def _recording(context: Context) -> Reply:
    return Reply(One(RECORDING, await _recording_row(context)))


async def _stop_recording(context: Context) -> Reply:
    conference, row = running(await conference_row(context)), await _recording_row(context)
    context.body.read(STOP_RECORDING)
    await control(context).change_conference(conference.sid, ChangeConference(record=False))
    return Reply(One(RECORDING, await context.deps.store.recordings.get(row.sid) or row))


async def _delete_recording(context: Context) -> Reply:
    return await remove_recording(context, await _recording_row(context))


def routes() -> Sequence[Route]:
    """Routes of this resource."""
    base, one = "Accounts/{account}/Conferences", "Accounts/{account}/Conferences/{sid}"
    return (
        Route(
            path=base,
            resource="Conferences",
            handlers={"GET": list_operation(_list, CONFERENCE, RULES, "List the conferences.")},
        ),
        Route(
            path=one,
            resource="Conferences",
            handlers={
                "GET": Operation(run=_get, summary="Read a conference.", returns=CONFERENCE),
                "POST": Operation(
                    run=_change,
                    summary="End a conference, announce something in it, or record it; none of these: 400.",
                    body=CHANGE,
                    returns=CONFERENCE,
                    errors=(409, 410, 503),
                ),
            },
        ),
        Route(
            path=one + "/Recordings",
            resource="Recordings",
            handlers={
                "GET": Operation(
                    run=_recordings,
                    summary="List the recordings of a conference, newest first.",
                    returns=RECORDING,
                    shape="list",
                )
            },
        ),
        Route(
            path=one + "/Recordings/{recording}",
            resource="Recordings",
            handlers={
                "GET": Operation(
                    run=_recording, summary="Read a recording of a conference.", returns=RECORDING
                ),
                "POST": Operation(
                    run=_stop_recording,
                    summary="Stop the recording of a conference.",
                    body=(STOP_RECORDING,),
                    returns=RECORDING,
                    errors=(409, 410, 503),
                ),
                "DELETE": Operation(
                    run=_delete_recording,
                    summary="Remove the record and the file of a recording that is complete.",
                    shape="empty",
                    errors=(409,),
                ),
            },
            permissions={"POST": "Conferences"},
        ),
    )
