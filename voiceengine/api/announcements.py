"""Announcements: texts that are spoken on request, and their audio, served without credentials."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from twisted.internet.threads import deferToThreadPool

from voiceengine.api.conditional import deliver_file
from voiceengine.api.declare import Operation, Param
from voiceengine.api.deps import ApiDeps
from voiceengine.api.errors import ApiError, bad, not_found
from voiceengine.api.lists import ListRules, list_operation, list_reply
from voiceengine.api.paging import Rule
from voiceengine.api.representation import Field, One, Render, Representation, date, plain
from voiceengine.api.routing import Context, Reply, Route
from voiceengine.store.rows import AnnouncementRow, new_sid

CACHE: Final = "/restcomm/cache"
"""Where the audio files are served."""

_SID = re.compile(r"AN[0-9a-zA-Z]{32}")
_ACCOUNT = re.compile(r"AC[0-9a-zA-Z]{32}")
_FILE = re.compile(r"[0-9a-f]{32}\.wav")


def _file_uri(row: AnnouncementRow, render: Render) -> str:
    return f"{render.base_url}{CACHE}/{row.account_sid}/{row.file}"


ANNOUNCEMENT: Representation[AnnouncementRow] = Representation(
    item="Announcement",
    items="Announcements",
    list_key="announcements",
    doc="A text that was spoken on request; its audio file can be fetched without credentials.",
    fields=(
        plain("sid", doc="Its sid."),
        date("date_created", doc="When it was made."),
        plain("account_sid", doc="Its account."),
        plain("gender", doc="`man` or `woman`."),
        plain("language", doc="Language as given."),
        plain("text", doc="What is said."),
        Field(
            "uri",
            lambda row, r: r.uri(f"{r.account_path(row.account_sid)}/Announcements/{row.sid}"),
            doc="Its path.",
        ),
        Field("file_uri", _file_uri, doc="URL of the audio file: WAV, 8 kHz, mono; can be given to Play."),
    ),
)

RULES = ListRules(
    filters={
        "StartTime": Rule("date_created", "from"),
        "EndTime": Rule("date_created", "until"),
        "Language": Rule("language", "eq"),
        "Text": Rule("text", "contains"),
    },
    sortable={"DateCreated": "date_created", "Language": "language"},
)

TEXT: Final = Param("Text", "document", required="Text can not be null.", doc="What is said.")
GENDER: Final = Param("Gender", "choice", default="man", allowed=("man", "woman"), doc="Whose voice.")
LANGUAGE: Final = Param(
    "Language", "name", default="en", maximum=16, doc="Language, as of Say; English when it is not known."
)


async def _in_thread(context: Context, work: Callable[[], object]) -> None:
    reactor = context.deps.reactor
    await deferToThreadPool(reactor, reactor.getThreadPool(), work)


def _folder(context: Context) -> Path:
    folder = context.deps.cache_folder
    if folder is None:
        raise ApiError(503, "This engine keeps no announcements.")
    return folder


async def _create(context: Context) -> Reply:
    context.active()
    text, gender = context.body.read(TEXT), context.body.read(GENDER)
    language = context.body.read(LANGUAGE)
    longest = context.deps.settings.speech.max_characters
    if not text.strip():
        raise bad("Text must contain something to say.")
    if len(text) > longest:
        raise bad(f"Text has {len(text)} characters; at most {longest} are spoken.")
    speak = context.deps.speak
    if speak is None:
        raise ApiError(503, "This engine does not speak.")
    folder = _folder(context) / context.account.sid
    spoken = await speak(text, gender, language)
    # Nobody can guess the name: the file is served without credentials.
    file = secrets.token_hex(16) + ".wav"

    def keep() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(spoken, folder / file)

    context.active()  # speaking took a while
    await _in_thread(context, keep)
    row = AnnouncementRow(
        sid=new_sid("AN"),
        account_sid=context.account.sid,
        gender=gender,
        language=language,
        text=text,
        file=file,
    )
    context.deps.store.announcements.save(row)
    return Reply(One(ANNOUNCEMENT, row))


async def _list(context: Context) -> Reply:
    path = context.path("Announcements")
    return await list_reply(context, context.deps.store.announcements, ANNOUNCEMENT, RULES, path=path)


async def _row(context: Context) -> AnnouncementRow:
    return context.owned(await context.deps.store.announcements.get(context.sid()), "announcement")


async def _get(context: Context) -> Reply:
    return Reply(One(ANNOUNCEMENT, await _row(context)))


async def _delete(context: Context) -> Reply:
    row = await _row(context)
    folder = context.deps.cache_folder
    await context.deps.store.announcements.delete(row.sid)
    if folder is not None and _FILE.fullmatch(row.file):
        path = folder / row.account_sid / row.file
        await _in_thread(context, lambda: path.unlink(missing_ok=True))
    return Reply()


async def cached_file(deps: ApiDeps, segments: Sequence[str]) -> Reply:
    """Deliver an audio file.

    Args:
        deps: the cache folder, the accounts.
        segments: of the path below `/restcomm/cache`: account and file.

    Raises:
        ApiError: 404; also for the files of an account that was closed.
    """
    if deps.cache_folder is None or len(segments) != 2:
        raise not_found("file")
    account_sid, name = segments
    # No other names are made; so no path leads out of the folder.
    if not _ACCOUNT.fullmatch(account_sid) or not _FILE.fullmatch(name):
        raise not_found("file")
    account = deps.store.accounts.get(account_sid)
    path = deps.cache_folder / account_sid / name
    if account is None or account.status == "closed" or not path.is_file():
        raise not_found("file")
    try:
        modified = path.stat().st_mtime
    except OSError:  # it was removed this moment
        raise not_found("file") from None
    return Reply(deliver=lambda request: deliver_file(request, path, "audio/x-wav", f'"{name}"', modified))


def routes() -> Sequence[Route]:
    """Routes of this resource."""
    base, resource = "Accounts/{account}/Announcements", "Announcements"
    one = base + "/{sid}"
    return (
        Route(
            path=base,
            resource=resource,
            handlers={
                "GET": list_operation(_list, ANNOUNCEMENT, RULES, "List the announcements of an account."),
                "POST": Operation(
                    run=_create,
                    summary="Speak a text and keep the audio.",
                    body=(TEXT, GENDER, LANGUAGE),
                    returns=ANNOUNCEMENT,
                    errors=(503,),
                ),
            },
        ),
        Route(
            path=one,
            resource=resource,
            handlers={
                "GET": Operation(run=_get, summary="Read an announcement.", returns=ANNOUNCEMENT),
                "DELETE": Operation(
                    run=_delete, summary="Remove an announcement and its audio.", shape="empty"
                ),
            },
        ),
    )
