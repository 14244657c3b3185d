"""Operations on a live call: say, play, gather, hold, resume, refer, record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from voiceengine.api.calls import CALL, call_row, live_row
from voiceengine.api.declare import Operation, Param
from voiceengine.api.errors import not_found
from voiceengine.api.operation_rules import (
    GATHER,
    HOLD,
    PLAY,
    RECORDING_STATUS,
    REFER,
    RESUME,
    SAY,
    START_RECORDING,
    parse_gather,
    parse_hold,
    parse_play,
    parse_recording,
    parse_recording_status,
    parse_refer,
    parse_resume,
    parse_say,
)
from voiceengine.api.parameters import Parameters
from voiceengine.api.ports import Operation as LiveOperation
from voiceengine.api.recordings import (
    COMPLETED,
    RECORDING,
    all_recordings,
    recordings_of,
    remove_recording,
)
from voiceengine.api.representation import One
from voiceengine.api.routing import Context, Handler, Reply, Route
from voiceengine.config import Settings
from voiceengine.store.rows import CallRow, RecordingRow

CURRENT: Final = "Twilio.CURRENT"
"""In the shape of Twilio: the recording of the call that began last and goes on."""

Parse = Callable[[Parameters, Settings], LiveOperation]

OPERATIONS: Final[Mapping[str, Parse]] = {
    "Say": parse_say,
    "Play": parse_play,
    "Gather": parse_gather,
    "Hold": parse_hold,
    "Resume": parse_resume,
    "Refers": parse_refer,
}
"""Last segment of the path -> how its parameters are read."""

DECLARED: Final[Mapping[str, tuple[tuple[Param, ...], str]]] = {
    "Say": (SAY, "Speak a text to the party."),
    "Play": (PLAY, "Play an audio file to the party."),
    "Gather": (GATHER, "Collect keys of the party."),
    "Hold": (HOLD, "Put the party on hold."),
    "Resume": (RESUME, "Take the party off hold."),
    "Refers": (REFER, "Ask the party to call somebody else."),
}
"""Last segment of the path -> its parameters and what it does."""


def _operation(parse: Parse) -> Handler:
    async def operate(context: Context) -> Reply:
        context.active()
        row = await live_row(context)
        operation = parse(context.body, context.deps.settings)
        return Reply(One(CALL, await context.deps.control.operate(row.sid, operation)))

    return operate


async def _recordings(context: Context) -> Reply:
    row = await call_row(context)
    return await all_recordings(context, "call_sid", row.sid, row.account_sid)


async def _start_recording(context: Context) -> Reply:
    context.active()
    row = await live_row(context)
    request = parse_recording(context.body)
    return Reply(One(RECORDING, await context.deps.control.start_recording(row.sid, request)))


async def _recording_row(context: Context, call: CallRow) -> RecordingRow:
    sid = context.variables["recording"]
    if context.twilio and sid == CURRENT:
        found = await recordings_of(context, "call_sid", call.sid, call.account_sid)
        row = next((item for item in found if item.status != COMPLETED), None)
    else:
        row = await context.deps.store.recordings.get(sid)
    if row is None or (row.call_sid, row.account_sid) != (call.sid, call.account_sid):
        raise not_found("recording")
    return row


async def _recording(context: Context) -> Reply:
    return Reply(One(RECORDING, await _recording_row(context, await call_row(context))))


async def _change_recording(context: Context) -> Reply:
    call = await live_row(context)
    row = await _recording_row(context, call)
    status = parse_recording_status(context.body)
    return Reply(One(RECORDING, await context.deps.control.change_recording(call.sid, row.sid, status)))


async def _delete_recording(context: Context) -> Reply:
    return await remove_recording(context, await _recording_row(context, await call_row(context)))


def routes() -> Sequence[Route]:
    """Routes of these operations."""
    one = "Accounts/{account}/Calls/{sid}"
    # Who may operate a call may record it, also without permission to change recordings.
    by_call = {"POST": "Calls"}
    return (
        *(
            Route(
                path=f"{one}/{name}",
                resource="Calls",
                handlers={
                    "POST": Operation(
                        run=_operation(parse),
                        summary=DECLARED[name][1],
                        body=DECLARED[name][0],
                        returns=CALL,
                        errors=(409, 410),
                    )
                },
            )
            for name, parse in OPERATIONS.items()
        ),
        Route(
            path=one + "/Recordings",
            resource="Recordings",
            handlers={
                "GET": Operation(
                    run=_recordings,
                    summary="List the recordings of a call, newest first.",
                    returns=RECORDING,
                    shape="list",
                ),
                "POST": Operation(
                    run=_start_recording,
                    summary="Record the call from now on; several recordings may go on at once.",
                    body=START_RECORDING,
                    returns=RECORDING,
                    creates=True,
                    errors=(409, 410),
                ),
            },
            permissions=by_call,
        ),
        Route(
            path=one + "/Recordings/{recording}",
            resource="Recordings",
            handlers={
                "GET": Operation(run=_recording, summary="Read a recording of a call.", returns=RECORDING),
                "POST": Operation(
                    run=_change_recording,
                    summary="Stop, pause or resume a recording that goes on.",
                    body=(RECORDING_STATUS,),
                    returns=RECORDING,
                    errors=(409, 410),
                ),
                "DELETE": Operation(
                    run=_delete_recording,
                    summary="Remove the record and the file of a recording that is complete.",
                    shape="empty",
                    errors=(409,),
                ),
            },
            permissions=by_call,
        ),
    )
