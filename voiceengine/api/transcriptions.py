"""Transcriptions: the texts of recordings."""

from __future__ import annotations

from collections.abc import Sequence

from voiceengine.api.declare import Operation
from voiceengine.api.lists import ListRules, list_operation, list_reply
from voiceengine.api.paging import Rule
from voiceengine.api.recordings import duration
from voiceengine.api.representation import Field, One, Representation, date, plain
from voiceengine.api.routing import Context, Reply, Route
from voiceengine.store.rows import TranscriptionRow

TRANSCRIPTION: Representation[TranscriptionRow] = Representation(
    item="Transcription",
    items="Transcriptions",
    list_key="transcriptions",
    doc="The text of a recording, or that it could not be had.",
    fields=(
        plain("sid", doc="`TR` and 32 hex digits."),
        date("date_created", doc="When the transcription was asked for."),
        date("date_updated", doc="When it was last changed."),
        plain("account_sid", doc="Account of the recording."),
        plain(
            "status",
            schema={"type": "string", "enum": ["in-progress", "completed", "failed"]},
            doc="`in-progress`, `completed` or `failed` (also when no engine is configured).",
        ),
        plain("recording_sid", doc="The recording."),
        Field(
            "duration",
            lambda row, _: duration(row.duration),
            doc="Length of the recording, seconds, as a decimal.",
        ),
        plain("transcription_text", doc="The text; empty unless it is completed."),
        plain("price", doc="Always 0.0."),
        plain("price_unit", doc="Currency of the price."),
        Field(
            "uri",
            lambda row, r: r.uri(f"{r.account_path(row.account_sid)}/Transcriptions/{row.sid}"),
            doc="Path of this resource.",
        ),
        plain("api_version", only="twilio", doc="Version of the API."),
    ),
)

RULES = ListRules(
    filters={
        "StartTime": Rule("date_created", "from"),
        "EndTime": Rule("date_created", "until"),
        "TranscriptionText": Rule("transcription_text", "contains"),
    },
    sortable={"DateCreated": "date_created", "Duration": "duration"},
)


async def _list(context: Context) -> Reply:
    path = context.path("Transcriptions")
    return await list_reply(context, context.deps.store.transcriptions, TRANSCRIPTION, RULES, path=path)


async def _row(context: Context) -> TranscriptionRow:
    return context.owned(await context.deps.store.transcriptions.get(context.sid()), "transcription")


async def _get(context: Context) -> Reply:
    return Reply(One(TRANSCRIPTION, await _row(context)))


async def _delete(context: Context) -> Reply:
    row = await _row(context)
    await context.deps.store.transcriptions.delete(row.sid)
    return Reply()


def routes() -> Sequence[Route]:
    """Routes of this resource."""
    base, resource = "Accounts/{account}/Transcriptions", "Transcriptions"
    return (
        Route(
            path=base,
            resource=resource,
            handlers={
                "GET": list_operation(_list, TRANSCRIPTION, RULES, "List the transcriptions of an account.")
            },
        ),
        Route(
            path=base + "/{sid}",
            resource=resource,
            handlers={
                "GET": Operation(run=_get, summary="Get a transcription.", returns=TRANSCRIPTION),
                "DELETE": Operation(
                    run=_delete, summary="Remove a transcription; the recording stays.", shape="empty"
                ),
            },
        ),
    )
