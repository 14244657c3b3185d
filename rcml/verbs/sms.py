"""Sms: send a text message. Reference: Verbs, Sms; SMS, executing the reply."""

from __future__ import annotations

from rcml.attributes import http_method, text, url
from rcml.flow import DocumentFlow, HangUpError
from rcml.ports import Level, MessageReceipt, MessageRefused, Messages, OutgoingMessage
from rcml.verb import Jump, Text, Verb, verb

NOT_ALLOWED = 11001
NO_RECIPIENT = 14101
NO_SENDER = 14102
EMPTY = 14103
METHOD_CODE = 14104

REASON_MESSAGE = "Message_not_sent"

_NUMBER = "a number, or `client:NAME`"


@verb("Sms", text=Text.MESSAGE, source="Verbs, Sms")
class Sms(Verb):
    """Sends a text message, in a call or as an answer to a message.

    Without `to` it goes to the party of the call (on outbound calls: who was called), or to the sender of
    the message that is being answered; without `from` it comes from the other side of that. A message
    without text (14103), or one with a `to` (14101) or `from` (14102) that cannot be used, ends the call; a
    message that is being answered gets no further answer. Likewise with 11001 when the account may not send.
    The document goes on, or the action is requested, as soon as the message was handed over or refused by the
    next hop. Also sent when the caller has hung up.
    """

    to = text("to", doc="Who gets it.", kind="number", allowed=_NUMBER, source="Verbs, Sms")
    from_ = text(
        "from",
        doc="Who sends it.",
        kind="number",
        allowed="a number, or 1 to 11 letters, digits and blanks",
        source="Verbs, Sms",
    )
    action = url(
        "action", doc="What is requested then; the reply replaces the document.", source="Verbs, Sms"
    )
    method = http_method(METHOD_CODE, source="Verbs, Sms")
    status_callback = url(
        "statusCallback",
        doc="Where delivery is told about.",
        shown="the action, with its method",
        source="Verbs, Sms",
    )
    status_callback_method = http_method(
        METHOD_CODE, "statusCallbackMethod", of="the status callback", source="Verbs, Sms"
    )
    after_end = True
    sends = (
        ("SmsSid", "the message; in an answer to a message: that message"),
        ("SmsStatus", "what is known of it by now: `sending`, `sent`, `queued` or `failed`"),
        ("MessageSid", "the message that was sent"),
        ("MessageStatus", "the same as SmsStatus"),
    )

    async def run(self, flow: DocumentFlow) -> Jump | None:
        """Send, then the action or the next verb."""
        messages = flow.ports.messages
        if messages is None:
            message = f"{self._where}: text messages cannot be sent here; skipped."
            flow.notify(NOT_ALLOWED, Level.WARNING, message)
            return None
        if not self.text:
            raise self._stopped(flow, EMPTY, "A message needs a text.")
        receipt = await self._send(flow, messages)
        flow.journal("message_handed_over", sid=receipt.sid, status=receipt.status)
        if not self.action:
            return None
        parameters = flow.message_parameters(receipt)
        return flow.action("Sms action", self.action, self.method, parameters, after_end=flow.over)

    @property
    def _where(self) -> str:
        return f"Sms (line {self.element.line})"

    async def _send(self, flow: DocumentFlow, messages: Messages) -> MessageReceipt:
        default_to, default_from = flow.parties
        to, from_ = self.to or default_to, self.from_ or default_from
        if not to:
            raise self._stopped(flow, NO_RECIPIENT, "There is nobody to send it to.")
        if not from_:
            raise self._stopped(flow, NO_SENDER, "There is no sender.")
        callback, method = self._callback(flow)
        message = OutgoingMessage(
            to=to,
            from_=from_,
            body=self.text,
            status_callback=callback,
            status_callback_method=method,
            headers=flow.message_headers,
        )
        try:
            return await messages.send(message)
        except MessageRefused as refused:
            raise self._stopped(flow, refused.code, refused.message) from refused

    def _callback(self, flow: DocumentFlow) -> tuple[str | None, str]:
        """URL and method of delivery reports; a URL that cannot be parsed ends the flow before it is sent."""
        action = flow.resolve("Sms action", self.action) if self.action else None
        if self.status_callback:
            return flow.resolve("Sms statusCallback", self.status_callback), self.status_callback_method
        return action, self.method

    def _stopped(self, flow: DocumentFlow, code: int, why: str) -> HangUpError:
        """Report why nothing was sent."""
        level = Level.WARNING if code == NOT_ALLOWED else Level.ERROR
        flow.notify(code, level, f"{self._where}: {why} {flow.CONSEQUENCE}")
        return HangUpError(REASON_MESSAGE)

    def ends_document(self) -> bool:
        """With an action, and without a text, nothing follows."""
        return bool(self.action) or not self.text
