"""What can be done to a live call besides modifying it: say, play, gather, hold, resume, refer, record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from voiceengine.api.calls import CALL, call_row, live_row
from voiceengine.api.errors import not_found
from voiceengine.api.operation_rules import (
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
from voiceengine.api.ports import Operation
from voiceengine.api.recordings import RECORDING, all_recordings
from voiceengine.api.representation import One
from voiceengine.api.routing import Context, Handler, Reply, Route
from voiceengine.config import Settings
from voiceengine.store.rows import CallRow, RecordingRow

OPERATIONS: Final[Mapping[str, Callable[[Parameters, Settings], Operation]]] = {
    "Say": parse_say,
    "Play": parse_play,
    "Gather": parse_gather,
    "Hold": parse_hold,
    "Resume": parse_resume,
    "Refers": parse_refer,
}
"""Last segment of the path -> how its parameters are read."""


def _operation(parse: Callable[[Parameters, Settings], Operation]) -> Handler:
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
    row = await context.deps.store.recordings.get(context.variables["recording"])
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


def routes() -> Sequence[Route]:
    """Routes of these operations."""
    one = "Accounts/{account}/Calls/{sid}"
    # Who may operate a call may record it, also without permission to change recordings.
    by_call = {"POST": "Calls"}
    return (
        *(
            Route(path=f"{one}/{name}", resource="Calls", handlers={"POST": _operation(parse)})
            for name, parse in OPERATIONS.items()
        ),
        Route(
            path=one + "/Recordings",
            resource="Recordings",
            handlers={"GET": _recordings, "POST": _start_recording},
            permissions=by_call,
        ),
        Route(
            path=one + "/Recordings/{recording}",
            resource="Recordings",
            handlers={"GET": _recording, "POST": _change_recording},
            permissions=by_call,
        ),
    )
