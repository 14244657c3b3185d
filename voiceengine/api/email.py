"""E-mail: sent, and not kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from voiceengine.api.declare import Operation, Param
from voiceengine.api.errors import ApiError, bad
from voiceengine.api.representation import One, Representation, moment, plain
from voiceengine.api.routing import Context, Reply, Route
from voiceengine.messages.mail import MAX_SUBJECT, is_address, is_text_type
from voiceengine.messages.requests import SendEmail

NOT_AN_ADDRESS: Final = "Not a Valid Email Address"


@attrs.frozen(kw_only=True)
class SentEmail:
    """What is told of a mail that was taken."""

    date_sent: float
    account_sid: str
    from_: str
    to: str
    body: str
    subject: str


EMAIL: Representation[SentEmail] = Representation(
    item="EmailMessage",
    items="EmailMessages",
    list_key="emails",
    doc="A mail that was taken; it is delivered in the background and not kept.",
    fields=(
        moment("date_sent", doc="When it was taken."),
        plain("account_sid", doc="Account that sent it."),
        plain("from", "from_", doc="Address of the sender."),
        plain("to", doc="Address of the recipient."),
        plain("body", doc="The text."),
        plain("subject", doc="The subject as it is sent."),
    ),
)

SEND: Final = (
    Param("From", required="From can not be null.", doc="Plain address of the sender."),
    Param("To", required="To can not be null.", doc="Plain address of the recipient."),
    Param("Body", "document", required="Body can not be null.", doc="The text."),
    Param("Subject", required="Subject can not be null.", doc=f"Cut to {MAX_SUBJECT} characters."),
    Param(
        "Type",
        default="text/plain",
        doc="Content type of the text; charset=UTF-8 is added when it is missing.",
    ),
    Param("CC", doc="Further recipients, plain addresses separated by commas."),
    Param("BCC", doc="Recipients that the others do not see, separated by commas."),
)


def _addresses(text: str | None) -> tuple[str, ...]:
    found = tuple(part.strip() for part in (text or "").split(",") if part.strip())
    if not all(map(is_address, found)):
        raise bad(NOT_AN_ADDRESS)
    return found


async def _send(context: Context) -> Reply:
    context.active()
    found = {param.name: context.body.read(param) for param in SEND}
    if not is_address(found["From"]) or not is_address(found["To"]):
        raise bad(NOT_AN_ADDRESS)
    if not is_text_type(found["Type"]):
        raise bad("Type must be a content type of text, such as text/plain or text/html; charset=UTF-8.")
    request = SendEmail(
        account_sid=context.account.sid,
        from_=found["From"],
        to=(found["To"],),
        cc=_addresses(found["CC"]),
        bcc=_addresses(found["BCC"]),
        subject=found["Subject"][:MAX_SUBJECT],
        body=found["Body"],
        content_type=found["Type"],
    )
    if context.deps.mail is None:
        raise ApiError(503, "This engine sends no mail.")
    sent = await context.deps.mail.send(request)
    row = SentEmail(
        date_sent=sent,
        account_sid=request.account_sid,
        from_=request.from_,
        to=found["To"],
        body=request.body,
        subject=request.subject,
    )
    return Reply(One(EMAIL, row))


def routes() -> Sequence[Route]:
    """Routes of this resource."""
    send = Operation(run=_send, summary="Send a mail.", body=SEND, returns=EMAIL, errors=(503,))
    return (
        Route(path="Accounts/{account}/Email/Messages", resource="EmailMessages", handlers={"POST": send}),
    )
