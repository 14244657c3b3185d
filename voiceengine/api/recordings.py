"""Recordings: their records and their media."""

# The classes of twisted.web carry no type hints.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from twisted.internet.threads import deferToThreadPool
from twisted.web.server import NOT_DONE_YET, Request
from twisted.web.static import File

from voiceengine.api.errors import ApiError, not_found
from voiceengine.api.lists import ListRules, list_reply
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


RECORDING: Representation[RecordingRow] = Representation(
    item="Recording",
    items="Recordings",
    list_key="recordings",
    fields=(
        plain("sid"),
        date("date_created"),
        date("date_updated"),
        plain("account_sid"),
        plain("call_sid"),
        Field("duration", lambda row, _: duration(row.duration) if row.status == COMPLETED else None),
        plain("api_version"),
        Field("uri", lambda row, render: render.uri(_path(row, render))),
        Field("file_uri", lambda row, render: f"{render.base_url}{_path(row, render)}.wav"),
        plain("status"),
        plain("channels"),
        plain("conference_sid", xml_null="omit"),
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
)


async def all_recordings(
    context: Context, field: Literal["call_sid", "conference_sid"], sid: str, account_sid: str
) -> Reply:
    """Answer every recording of a call or of a conference, newest first, as a bare list.

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
            return Reply(Many(RECORDING, rows))


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
    return Reply(One(RECORDING, row))


async def _delete(context: Context) -> Reply:
    row = await _row(context)
    context.own(row.account_sid)
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

    def deliver(request: Request) -> None:
        file = File(str(path))
        file.type, file.encoding = "audio/x-wav", None
        body = file.render_GET(request)
        if body is NOT_DONE_YET:
            return
        if isinstance(body, bytes):
            request.write(body)
        request.finish()

    return Reply(deliver=deliver)


def _is_open(settings: Settings) -> bool:
    return not settings.http.recordings_need_auth


async def _no_video(context: Context) -> Reply:
    raise not_found("recording")


def routes() -> Sequence[Route]:
    """Routes of this resource."""
    base, resource = "Accounts/{account}/Recordings", "Recordings"
    return (
        Route(path=base, resource=resource, handlers={"GET": _list}),
        Route(path=base + "/{sid:.wav}", resource=resource, handlers={"GET": _media}, public=_is_open),
        Route(path=base + "/{sid:.mp4}", resource=resource, handlers={"GET": _no_video}, public=_is_open),
        Route(path=base + "/{sid}", resource=resource, handlers={"GET": _get, "DELETE": _delete}),
    )
