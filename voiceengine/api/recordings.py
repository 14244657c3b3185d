"""Recordings: their records and their media."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from twisted.internet.threads import deferToThreadPool
from twisted.web.server import Request

from voiceengine.api.conditional import deliver_file
from voiceengine.api.declare import Operation
from voiceengine.api.errors import ApiError, not_found
from voiceengine.api.lists import ListRules, list_operation, list_reply
from voiceengine.api.paging import MAX_SIZE, Rule
from voiceengine.api.representation import Field, Many, One, Render, Representation, date, plain
from voiceengine.api.routing import Context, Reply, Route
from voiceengine.config import Settings
from voiceengine.store.query import Filter, ListQuery
from voiceengine.store.rows import RecordingRow

COMPLETED: Final = "completed"
"""Status of a recording whose file is whole."""

_SID = re.compile(r"RE[0-9a-zA-Z]{32}")


def _path(row: RecordingRow, render: Render) -> str:
    return f"{render.account_path(row.account_sid)}/Recordings/{row.sid}"


def duration(seconds: float) -> str:
    """Seconds as a decimal: `14.70275`."""
    whole, _, rest = f"{seconds:.5f}".partition(".")
    return f"{whole}.{rest.rstrip('0') or '0'}"


def _duration(row: RecordingRow, _: Render) -> str | None:
    return duration(row.duration) if row.status == COMPLETED else None


def _whole(row: RecordingRow, _: Render) -> str | None:
    return str(round(row.duration)) if row.status == COMPLETED else None


RECORDING: Representation[RecordingRow] = Representation(
    item="Recording",
    items="Recordings",
    list_key="recordings",
    doc="The record of a recording and its media (`.wav`), which is served without credentials unless "
    "`http.recordings_need_auth` is set, with ranges and with conditions (ETag). Until it is completed it "
    "has no duration, its media is answered with 404 and its removal with 409.",
    fields=(
        plain("sid", doc="`RE` and 32 hex digits."),
        date("date_created", doc="When it began."),
        date("date_updated", doc="When its record changed."),
        plain("account_sid", doc="Whose it is."),
        plain("call_sid", doc="The call; of a conference the participant who started it."),
        Field("duration", _duration, twilio_value=_whole, doc="Seconds, a decimal; once it is completed."),
        plain("api_version", doc="Version of the API."),
        Field("uri", lambda row, render: render.uri(_path(row, render)), doc="Path of the record."),
        Field(
            "file_uri",
            lambda row, render: f"{render.base_url}{_path(row, render)}.wav",
            twilio="media_url",
            doc="URL of the media.",
        ),
        plain(
            "status",
            schema={"type": "string", "enum": ["in-progress", "paused", COMPLETED]},
            doc="State.",
        ),
        plain("channels", type="integer", doc="1 or 2."),
        plain("conference_sid", xml_null="omit", doc="The conference that was recorded."),
        date("start_time", "date_created", only="twilio", doc="When it began."),
        Field("price", lambda _row, _render: None, only="twilio", doc="Always null."),
        Field("price_unit", lambda _row, _render: "USD", only="twilio", doc="USD."),
        Field("source", lambda _row, _render: None, only="twilio", doc="Always null."),
        Field("error_code", lambda _row, _render: None, only="twilio", type="integer", doc="Always null."),
    ),
)

RULES = ListRules(
    filters={
        "StartTime": Rule("date_created", "from"),
        "EndTime": Rule("date_created", "until"),
        "CallSid": Rule("call_sid", "call"),
        "ConferenceSid": Rule("conference_sid", "eq"),
    },
    sortable={"DateCreated": "date_created", "Duration": "duration", "CallSid": "call_sid"},
    twilio_dates={"DateCreated": "date_created"},
)


async def all_recordings(
    context: Context, field: Literal["call_sid", "conference_sid"], sid: str, account_sid: str
) -> Reply:
    """Answer every recording of a call or of a conference as a bare list."""
    return Reply(Many(RECORDING, await recordings_of(context, field, sid, account_sid)))


async def recordings_of(
    context: Context, field: Literal["call_sid", "conference_sid"], sid: str, account_sid: str
) -> list[RecordingRow]:
    """Every recording of a call or of a conference, newest first.

    Only those of its account: a call may take part in the conference of another one.
    """
    rows: list[RecordingRow] = []
    while True:
        page = await context.deps.store.recordings.list(
            ListQuery(
                filters=(Filter(field, "eq", sid),),
                page=len(rows) // MAX_SIZE,
                page_size=MAX_SIZE,
                account_sids=(account_sid,),
            )
        )
        rows.extend(page.items)
        if len(page.items) < MAX_SIZE:
            return rows


async def _list(context: Context) -> Reply:
    path = context.path("Recordings")
    return await list_reply(context, context.deps.store.recordings, RECORDING, RULES, path=path)


async def _row(context: Context) -> RecordingRow:
    row = await context.deps.store.recordings.get(context.sid())
    if row is None or not _SID.fullmatch(row.sid):
        raise not_found("recording")
    return row


def _file(context: Context, row: RecordingRow) -> Path:
    return context.deps.recordings_folder / f"{row.sid}.wav"


async def _get(context: Context) -> Reply:
    row = await _row(context)
    context.own(row.account_sid)
    return Reply(One(RECORDING, row), modified=row.date_updated)


async def _delete(context: Context) -> Reply:
    row = await _row(context)
    context.own(row.account_sid)
    return await remove_recording(context, row)


async def remove_recording(context: Context, row: RecordingRow) -> Reply:
    """Remove a recording and its file.

    Raises:
        ApiError: 409, it goes on.
    """
    if row.status != COMPLETED:
        raise ApiError(409, "The recording still goes on; stop it before you remove it.")
    await context.deps.store.recordings.delete(row.sid)
    reactor = context.deps.reactor
    unlink = _file(context, row).unlink
    await deferToThreadPool(reactor, reactor.getThreadPool(), unlink, missing_ok=True)
    return Reply()


async def _media(context: Context) -> Reply:
    row = await _row(context)
    path = _file(context, row)
    if row.account_sid != context.account.sid or row.status != COMPLETED or not path.is_file():
        raise not_found("recording")
    found = path.stat()
    etag = f'"{row.sid}-{found.st_size:x}-{found.st_mtime_ns:x}"'

    def deliver(request: Request) -> None:
        deliver_file(request, path, "audio/x-wav", etag, found.st_mtime)

    return Reply(deliver=deliver)


def _is_open(settings: Settings) -> bool:
    return not settings.http.recordings_need_auth


async def _no_video(context: Context) -> Reply:
    raise not_found("recording")


def routes() -> Sequence[Route]:
    """Routes of this resource."""
    base, resource = "Accounts/{account}/Recordings", "Recordings"
    return (
        Route(
            path=base,
            resource=resource,
            handlers={"GET": list_operation(_list, RECORDING, RULES, "List the recordings.")},
        ),
        Route(
            path=base + "/{sid:.wav}",
            resource=resource,
            handlers={
                "GET": Operation(
                    run=_media,
                    summary="Read the media.",
                    shape="other",
                    media="audio/x-wav",
                    errors=(206, 304, 416),
                )
            },
            public=_is_open,
        ),
        Route(
            path=base + "/{sid:.mp4}",
            resource=resource,
            handlers={
                "GET": Operation(
                    run=_no_video, summary="Always 404: nothing is recorded with video.", shape="empty"
                )
            },
            public=_is_open,
            hidden=True,
        ),
        Route(
            path=base + "/{sid}",
            resource=resource,
            handlers={
                "GET": Operation(
                    run=_get, summary="Read the record of a recording.", returns=RECORDING, errors=(304,)
                ),
                "DELETE": Operation(
                    run=_delete,
                    summary="Remove the record and the file of a recording that is complete.",
                    shape="empty",
                    errors=(409,),
                ),
            },
        ),
    )
