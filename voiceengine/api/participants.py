"""Participants of a conference: list, read, change, remove, and dial out to a new one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import attrs

from voiceengine.api.call_rules import parse_callee
from voiceengine.api.conferences import COMPLETED, conference_row, control, running
from voiceengine.api.errors import bad, not_found
from voiceengine.api.paging import Paged, call_sid, parse_page, slice_rows
from voiceengine.api.parameters import Parameters
from voiceengine.api.ports import ChangeParticipant, Participant
from voiceengine.api.representation import Field, Many, One, Render, Representation, date, plain
from voiceengine.api.rooms import room_document
from voiceengine.api.routing import Context, Reply, Route
from voiceengine.store.rows import CallRow, ConferenceRow

NOTHING_TO_DO: Final = (
    'A participant is changed by "Mute=true|false" (or "Muted"), "Hold=true|false" (with "HoldUrl" and '
    '"HoldMethod"), "AnnounceUrl" (with "AnnounceMethod") or "EndConferenceOnExit=true|false"; give at least '
    "one of them."
)

_SID = re.compile(r"CA[0-9a-zA-Z]{32}")


def _uri(row: Participant, render: Render) -> str:
    return render.uri(f"{render.account_path(row.account_sid)}/Calls/{row.call_sid}")


PARTICIPANT: Representation[Participant] = Representation(
    item="Call",
    items="Calls",
    list_key="calls",
    fields=(
        plain("sid", "call_sid"),
        plain("conference_sid"),
        date("date_created"),
        date("date_updated"),
        plain("account_sid"),
        plain("muted"),
        plain("hold"),
        plain("start_conference_on_enter"),
        # Named so by the reference although it tells about the exit; the next but one has the right name.
        plain("end_conference_on_enter", "end_conference_on_exit"),
        Field("uri", _uri),
        plain("end_conference_on_exit"),
        plain("call_sid"),
    ),
)


def parse_change(body: Parameters) -> ChangeParticipant:
    """Read what shall change for a participant.

    Raises:
        ApiError: 400 without any instruction, or with one that cannot be carried out.
    """
    mute, muted, hold = body.flag("Mute"), body.flag("Muted"), body.flag("Hold")
    announce, ends = body.url("AnnounceUrl"), body.flag("EndConferenceOnExit")
    hold_url = body.url("HoldUrl")
    if mute is not None and muted is not None and mute != muted:
        raise bad("Mute and Muted mean the same; give one of them.")
    if hold_url is not None and not hold:
        raise bad("HoldUrl needs Hold=true.")
    if mute is None and muted is None and hold is None and announce is None and ends is None:
        raise bad(NOTHING_TO_DO)
    return ChangeParticipant(
        muted=muted if mute is None else mute,
        hold=hold,
        hold_url=hold_url,
        hold_method=body.method("HoldMethod"),
        announce_url=announce,
        announce_method=body.method("AnnounceMethod"),
        end_conference_on_exit=ends,
    )


async def _list(context: Context) -> Reply:
    conference = await conference_row(context)
    page, page_size = parse_page(context.query)
    rows: Sequence[Participant] = ()
    if conference.status != COMPLETED:
        rows = await control(context).participants(conference.sid)
    paged: Paged[Participant] = Paged(
        representation=PARTICIPANT,
        rows=slice_rows(rows, page, page_size),
        page=page,
        page_size=page_size,
        total=len(rows),
        path=context.path("Conferences", conference.sid, "Participants"),
    )
    return Reply(paged.check())


def _call_sid(context: Context) -> str:
    sid = call_sid(context.variables["call"])
    if not _SID.fullmatch(sid):
        raise not_found("participant")
    return sid


async def _get(context: Context) -> Reply:
    conference, sid = await conference_row(context), _call_sid(context)
    if conference.status != COMPLETED:
        for participant in await control(context).participants(conference.sid):
            if participant.call_sid == sid:
                return Reply(One(PARTICIPANT, participant))
    raise not_found("participant")


async def _change(context: Context) -> Reply:
    conference = running(await conference_row(context))
    sid, change = _call_sid(context), parse_change(context.body)
    return Reply(One(PARTICIPANT, await control(context).change_participant(conference.sid, sid, change)))


async def _remove(context: Context) -> Reply:
    conference = running(await conference_row(context))
    await control(context).remove_participant(conference.sid, _call_sid(context))
    return Reply(status=204)


@attrs.frozen(kw_only=True)
class _Entrance:
    """How somebody who is called shall enter."""

    muted: bool
    beep: bool
    start_on_enter: bool
    end_on_exit: bool


def _parse_entrance(body: Parameters) -> _Entrance:
    beep = body.choice("Beep", "true", ("true", "false", "onenter", "onexit"))
    start = body.flag("StartConferenceOnEnter")
    return _Entrance(
        muted=bool(body.flag("Muted")) or bool(body.flag("Mute")),
        beep=beep != "false",  # a room beeps at both ends or at none
        start_on_enter=start is None or start,
        end_on_exit=bool(body.flag("EndConferenceOnExit")),
    )


def _expected(row: CallRow, conference: ConferenceRow, entrance: _Entrance) -> Participant:
    """What the call will be once it is answered."""
    return Participant(
        call_sid=row.sid,
        conference_sid=conference.sid,
        account_sid=row.account_sid,
        muted=entrance.muted,
        hold=False,
        start_conference_on_enter=entrance.start_on_enter,
        end_conference_on_exit=entrance.end_on_exit,
        date_created=row.date_created,
        date_updated=row.date_updated,
    )


async def _dial(context: Context) -> Reply:
    context.active()
    conference = running(await conference_row(context))
    entrance = _parse_entrance(context.body)
    document = room_document(
        conference.friendly_name,
        muted=entrance.muted,
        beep=entrance.beep,
        start_on_enter=entrance.start_on_enter,
        end_on_exit=entrance.end_on_exit,
    )
    request = parse_callee(context.body, context.account.sid, context.deps.settings)
    rows = await context.deps.control.create(attrs.evolve(request, rcml=document))
    found = [_expected(row, conference, entrance) for row in rows]
    return Reply(One(PARTICIPANT, found[0]) if len(found) == 1 else Many(PARTICIPANT, found))


def routes() -> Sequence[Route]:
    """Routes of this resource."""
    base, resource = "Accounts/{account}/Conferences/{sid}/Participants", "Conferences"
    return (
        Route(path=base, resource=resource, handlers={"GET": _list, "POST": _dial}),
        Route(
            path=base + "/{call}",
            resource=resource,
            handlers={"GET": _get, "POST": _change, "DELETE": _remove},
        ),
    )
