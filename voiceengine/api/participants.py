"""Participants of a conference: list, read, change, remove, and dial out to a new one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import attrs

from voiceengine.api.call_rules import CALLEE, parse_callee
from voiceengine.api.conferences import COMPLETED, conference_row, control, running
from voiceengine.api.declare import PAGE, Operation, Param
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

MUTE: Final = Param("Mute", "flag", doc="Mutes the participant or not.")
MUTED: Final = Param("Muted", "flag", doc="Another name of Mute.")
HOLD: Final = Param("Hold", "flag", doc="Puts the participant on hold or takes it off.")
HOLD_URL: Final = Param(
    "HoldUrl", "url", doc="Audio or document that it hears on hold; not given: the built-in music."
)
HOLD_METHOD: Final = Param("HoldMethod", "method", default="POST", doc="How it is requested.")
ANNOUNCE_URL: Final = Param("AnnounceUrl", "url", doc="Audio or document that only this participant hears.")
ANNOUNCE_METHOD: Final = Param("AnnounceMethod", "method", default="POST", doc="How it is requested.")
END_ON_EXIT: Final = Param("EndConferenceOnExit", "flag", doc="Whether the room ends when it leaves.")
CHANGE: Final = (MUTE, MUTED, HOLD, HOLD_URL, HOLD_METHOD, ANNOUNCE_URL, ANNOUNCE_METHOD, END_ON_EXIT)
BEEP: Final = Param(
    "Beep",
    "choice",
    default="true",
    allowed=("true", "false", "onenter", "onexit"),
    doc="Tells the others by a tone; a room beeps at both ends or at none.",
)
START_ON_ENTER: Final = Param(
    "StartConferenceOnEnter", "flag", default=True, doc="Whether it is a moderator."
)
DIAL: Final = (*CALLEE, MUTE, MUTED, BEEP, START_ON_ENTER, END_ON_EXIT)

_SID = re.compile(r"CA[0-9a-zA-Z]{32}")


def _uri(row: Participant, render: Render) -> str:
    return render.uri(f"{render.account_path(row.account_sid)}/Calls/{row.call_sid}")


def _twilio_uri(row: Participant, render: Render) -> str:
    room = f"{render.account_path(row.account_sid)}/Conferences/{row.conference_sid}"
    return render.uri(f"{room}/Participants/{row.call_sid}")


@attrs.frozen(kw_only=True)
class _Called(Participant):
    """Somebody who was called and is not in the room yet."""


def _status(row: Participant, _: Render) -> str:
    return "queued" if isinstance(row, _Called) else "connected"


PARTICIPANT: Representation[Participant] = Representation(
    item="Call",
    items="Calls",
    list_key="calls",
    twilio_key="participants",
    name="Participant",
    doc="Somebody who is in the room now; the list is in the order they came, and empty for a conference "
    "that is over. Whoever is called into the room is shown as it will be, and is in the list only once it "
    "has answered.",
    fields=(
        plain("sid", "call_sid", twilio="", doc="Sid of the call."),
        plain("conference_sid", doc="Sid of the conference."),
        date("date_created", doc="When the call was created."),
        date("date_updated", doc="When it changed."),
        plain("account_sid", doc="Whose call it is."),
        plain("muted", type="boolean", doc="Whether it only listens."),
        plain("hold", type="boolean", doc="Whether it is on hold."),
        plain("start_conference_on_enter", type="boolean", doc="Whether it is a moderator."),
        # Named so by the reference although it tells about the exit; the next but one has the right name.
        plain(
            "end_conference_on_enter",
            "end_conference_on_exit",
            type="boolean",
            twilio="",
            doc="The same as end_conference_on_exit, whatever its name says.",
        ),
        Field("uri", _uri, twilio_value=_twilio_uri, doc="Path of the call."),
        plain("end_conference_on_exit", type="boolean", doc="Whether the room ends when it leaves."),
        plain("call_sid", doc="Sid of the call."),
        Field("status", _status, only="twilio", doc="connected, or queued for somebody who was called."),
        Field("label", lambda _row, _render: None, only="twilio", doc="Always null."),
    ),
)


def parse_change(body: Parameters) -> ChangeParticipant:
    """Read what shall change for a participant.

    Raises:
        ApiError: 400 without any instruction, or with one that cannot be carried out.
    """
    mute, muted, hold = body.read(MUTE), body.read(MUTED), body.read(HOLD)
    announce, ends = body.read(ANNOUNCE_URL), body.read(END_ON_EXIT)
    hold_url = body.read(HOLD_URL)
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
        hold_method=body.read(HOLD_METHOD),
        announce_url=announce,
        announce_method=body.read(ANNOUNCE_METHOD),
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
    return _Entrance(
        muted=bool(body.read(MUTED)) or bool(body.read(MUTE)),
        beep=body.read(BEEP) != "false",  # a room beeps at both ends or at none
        start_on_enter=body.read(START_ON_ENTER),
        end_on_exit=bool(body.read(END_ON_EXIT)),
    )


def _expected(row: CallRow, conference: ConferenceRow, entrance: _Entrance) -> Participant:
    """What the call will be once it is answered."""
    return _Called(
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
        Route(
            path=base,
            resource=resource,
            handlers={
                "GET": Operation(
                    run=_list,
                    summary="List those who are in the room.",
                    query=PAGE,
                    returns=PARTICIPANT,
                    shape="page",
                    errors=(410, 503),
                ),
                "POST": Operation(
                    run=_dial,
                    summary="Call somebody and take the call into the room once it is answered.",
                    body=DIAL,
                    returns=PARTICIPANT,
                    several=True,
                    creates=True,
                    errors=(409, 410, 503),
                ),
            },
        ),
        Route(
            path=base + "/{call}",
            resource=resource,
            handlers={
                "GET": Operation(
                    run=_get, summary="Read a participant.", returns=PARTICIPANT, errors=(410, 503)
                ),
                "POST": Operation(
                    run=_change,
                    summary="Change a participant: mute, hold, announce something; nothing of these: 400.",
                    body=CHANGE,
                    returns=PARTICIPANT,
                    errors=(409, 410, 503),
                ),
                "DELETE": Operation(
                    run=_remove,
                    summary="Take a participant out of the room; its document goes on.",
                    shape="empty",
                    status=204,
                    errors=(409, 410, 503),
                ),
            },
        ),
    )
