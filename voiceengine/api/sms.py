"""Text messages (SMS): send, list, look at, remove."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from voiceengine.api.auth import hides_message_text
from voiceengine.api.declare import API_VERSION_PARAM, Operation, Param
from voiceengine.api.errors import ApiError, bad, forbidden
from voiceengine.api.lists import ListRules, list_operation, list_reply
from voiceengine.api.paging import Paged, Rule
from voiceengine.api.representation import (
    Field,
    Nested,
    One,
    Render,
    Representation,
    date,
    moment,
    plain,
)
from voiceengine.api.routing import Context, Reply, Route
from voiceengine.messages.requests import MAX_BODY, LimitReached, MessageControl, SendMessage
from voiceengine.messages.segments import segments
from voiceengine.store.query import Filter
from voiceengine.store.rows import MessageRow

STATUSES: Final = ("queued", "sending", "sent", "failed", "received", "delivered", "undelivered")
DIRECTIONS: Final = ("incoming", "outbound-api", "outbound-call", "outbound-reply")
ENCODINGS: Final = ("gsm", "ucs-2", "utf-8")

_SID = re.compile(r"SM[0-9a-zA-Z]{32}")
_PHONE_NETWORK = "Parts on the phone network; absent for clients and in the answer to the request that sends."


def _error(row: MessageRow, _: Render) -> Nested | None:
    if row.error_code is None:
        return None
    return Nested(
        (("error_code", "ErrorCode", row.error_code), ("error_message", "ErrorMessage", row.error_message))
    )


def _path(row: MessageRow, render: Render) -> str:
    folder = "Messages" if render.twilio else "SMS/Messages"
    return f"{render.account_path(row.account_sid)}/{folder}/{row.sid}"


def _parts(row: MessageRow, _: Render) -> str:
    return str(row.num_segments or segments(row.body, row.encoding).count)


_FIELDS: Final[tuple[Field[MessageRow], ...]] = (
    plain("sid", doc="Sid of the message, `SM` and 32 hex digits."),
    date("date_created", doc="When it was taken."),
    date("date_updated", doc="When it last changed."),
    moment("date_sent", xml_null="omit", doc="When it was handed over or received; absent until then."),
    plain("account_sid", doc="Account that sent or received it."),
    plain("from", "from_", doc="Sender, as it was given."),
    plain("to", doc="Recipient, as it was given; `client:` is kept."),
    plain("body", doc="The text."),
    plain("status", schema={"type": "string", "enum": list(STATUSES)}, doc="How far it came."),
    Field(
        "direction",
        lambda row, _: row.direction,
        schema={"type": "string", "enum": list(DIRECTIONS)},
        twilio_value=lambda row, _: "inbound" if row.direction == "incoming" else row.direction,
        doc="incoming, or who sent it: a program, a client, a document.",
    ),
    plain("num_segments", type="integer", xml_null="omit", twilio_value=_parts, doc=_PHONE_NETWORK),
    Field("error", _error, only="xml", xml_null="omit", doc="Code and text of the error, when there is one."),
    plain(
        "error_code",
        only="json",
        type="integer",
        json_null=True,
        schema={"type": ["integer", "null"]},
        doc="Why it failed or was not delivered; null otherwise.",
    ),
    plain(
        "error_message",
        only="json",
        json_null=True,
        schema={"type": ["string", "null"]},
        doc="The same in words; null otherwise.",
    ),
    plain("api_version", doc="Version of the API that took it."),
    Field("uri", lambda row, render: render.uri(_path(row, render)), doc="Path of this resource."),
    Field("num_media", lambda row, _: "0", only="twilio", doc="Always 0."),
    Field("price", lambda row, _: None, only="twilio", doc="Always null."),
    Field("price_unit", lambda row, _: "USD", only="twilio", doc="Always USD."),
    Field("messaging_service_sid", lambda row, _: None, only="twilio", doc="Always null."),
    Field("subresource_uris", lambda row, _: {}, only="twilio", type="object", doc="Always empty."),
)

MESSAGE: Representation[MessageRow] = Representation(
    item="SMSMessage",
    items="SMSMessages",
    list_key="messages",
    doc="A text message that was sent or received.",
    fields=_FIELDS,
)
_LATER: Final = ("num_segments", "error_code", "error_message")
"""What the answer to the request that sends leaves out."""
SENT_MESSAGE: Representation[MessageRow] = attrs.evolve(
    MESSAGE,
    doc="A text message right after it was taken.",
    fields=tuple(
        attrs.evolve(field, value=lambda row, _: None, json_null=None) if field.json in _LATER else field
        for field in _FIELDS
    ),
)

RULES = ListRules(
    filters={
        "To": Rule("to", "suffix"),
        "From": Rule("from", "suffix"),
        "StartTime": Rule("date_sent", "from", doc="Sent or received not before this date."),
        "EndTime": Rule(
            "date_sent", "midnight", doc="Sent or received not after this date; a day counts as its start."
        ),
        "Body": Rule("body", "contains"),
        "Status": Rule("status", "status"),
        "Direction": Rule(
            "direction",
            "status",
            words={
                **{word: Filter("direction", "eq", word) for word in DIRECTIONS},
                "inbound": Filter("direction", "eq", "incoming"),
            },
            doc="Equals; `inbound` is the same as `incoming`.",
        ),
    },
    sortable={
        "DateCreated": "date_created",
        "From": "from",
        "To": "to",
        "Direction": "direction",
        "Status": "status",
        "Body": "body",
    },
    limited=True,
    twilio_dates={"DateSent": "date_sent"},
)

SEND: Final = (
    Param("From", required="From can not be null.", doc="Sender: a number, a short code or a name."),
    Param(
        "To",
        required="To can not be null.",
        doc="Recipient: a number, a short code, or `client:` and the login of a client.",
    ),
    Param(
        "Body", "document", required="Body can not be null.", doc=f"The text, up to {MAX_BODY} characters."
    ),
    Param(
        "StatusCallback",
        "url",
        doc="URL that is told sent or failed, then delivered or undelivered; not for clients.",
    ),
    Param("StatusCallbackMethod", "method", default="POST", doc="GET or POST."),
    Param(
        "Encoding",
        "choice",
        default="gsm",
        allowed=ENCODINGS,
        doc="GSM, UCS-2 or UTF-8; a text that GSM cannot hold is counted as UCS-2.",
    ),
    API_VERSION_PARAM,
)
REDACT: Final = (Param("Body", doc="Empty: the text is removed for ever. Any other value is refused."),)


def _seen(context: Context, row: MessageRow) -> MessageRow:
    """The message as the acting account may see it."""
    return attrs.evolve(row, body="") if hides_message_text(context.acting) else row


def _control(context: Context) -> MessageControl:
    if context.deps.messages is None:
        raise ApiError(503, "This engine sends no text messages.")
    return context.deps.messages


async def _send(context: Context) -> Reply:
    context.active()
    found: Mapping[str, Any] = {param.name: context.body.read(param) for param in SEND}
    extra = context.body.starting_with("X-")
    request = SendMessage(
        account_sid=context.account.sid,
        from_=found["From"],
        to=found["To"],
        body=found["Body"],
        encoding=str(found["Encoding"]).upper(),
        status_callback=found["StatusCallback"],
        status_callback_method=found["StatusCallbackMethod"],
        headers=tuple(extra.items()),
        api_version=found["ApiVersion"],
    )
    try:
        row = await _control(context).send(request)
    except LimitReached as limit:
        raise ApiError(limit.status, limit.message, error="SMS_LIMIT_EXCEEDED") from None
    return Reply(One(SENT_MESSAGE, _seen(context, row)))


async def _list(context: Context) -> Reply:
    hidden = hides_message_text(context.acting)
    if hidden and context.query.text("Body"):
        raise forbidden(f"The role {context.acting.role} does not see the text of messages.")
    folder = ("Messages",) if context.twilio else ("SMS", "Messages")
    reply = await list_reply(context, context.deps.store.messages, MESSAGE, RULES, path=context.path(*folder))
    paged = reply.content
    if hidden and isinstance(paged, Paged):
        paged = attrs.evolve(paged, rows=[_seen(context, row) for row in paged.rows])
        reply = attrs.evolve(reply, content=paged)
    return reply


async def _row(context: Context) -> MessageRow:
    return context.owned(await context.deps.store.messages.get(context.sid()), "message")


async def _get(context: Context) -> Reply:
    return Reply(One(MESSAGE, _seen(context, await _row(context))))


async def _redact(context: Context) -> Reply:
    row = await _row(context)
    if context.body.get("Body") != "":
        raise bad("A message can be changed in one way only: an empty Body removes its text.")
    return Reply(One(MESSAGE, await _control(context).redact(row)))


async def _delete(context: Context) -> Reply:
    row = await _row(context)
    if context.deps.messages is not None:
        await context.deps.messages.forget(row.sid)
    await context.deps.store.messages.delete(row.sid)
    return Reply(status=204)


def routes() -> Sequence[Route]:
    """Routes of this resource."""
    many: dict[str, Any] = {
        "GET": list_operation(_list, MESSAGE, RULES, "Text messages that were sent or received."),
        "POST": Operation(
            run=_send,
            summary="Send a text message.",
            body=SEND,
            returns=SENT_MESSAGE,
            errors=(503,),
        ),
    }
    one: dict[str, Any] = {
        "GET": Operation(run=_get, summary="One text message.", returns=MESSAGE),
        "POST": Operation(
            run=_redact,
            summary="Remove the text of a message; the rest of its record stays.",
            body=REDACT,
            returns=MESSAGE,
        ),
        "DELETE": Operation(
            run=_delete,
            summary="Remove a message; one that still waits is not sent any more.",
            shape="empty",
            status=204,
        ),
    }
    found = []
    for folder, hidden in (("SMS/Messages", False), ("Messages", True)):
        base = f"Accounts/{{account}}/{folder}"
        found += [
            Route(path=base, resource="SmsMessages", handlers=many, hidden=hidden),
            Route(path=base + "/{sid}", resource="SmsMessages", handlers=one, hidden=hidden),
        ]
    return tuple(found)
