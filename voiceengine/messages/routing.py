"""What becomes of an inbound text message (reference: SMS, accepting a SIP MESSAGE).

Pure: the sender and the destination go in, one decision comes out. Who the sender is (digest, trunk) and
whether the body can be read was settled before. A number comes before a client here; for calls it is the
other way round.
"""

from __future__ import annotations

from urllib.parse import urljoin

import attrs

from voiceengine.calls.routing import MAX_DIALED, Caller, Notice, Router, e164
from voiceengine.store.rows import Account, Client, Number


@attrs.frozen
class ToApplication:
    """Answer 202 and run the application of a number."""

    number: Number
    url: str
    method: str = "POST"
    fallback_url: str | None = None
    fallback_method: str = "POST"


@attrs.frozen
class ToClient:
    """Relay to every phone of a client."""

    client: Client
    sender: Client


@attrs.frozen
class ToTrunk:
    """Send to the world outside."""

    sender: Client


@attrs.frozen
class Refuse:
    """Answer with a final refusal."""

    code: int
    phrase: str
    account_sid: str | None = None


@attrs.frozen
class Decision:
    """What becomes of a message."""

    route: ToApplication | ToClient | ToTrunk | Refuse
    notices: tuple[Notice, ...] = ()
    account_sid: str | None = None
    """Whom the notices concern; None: the super admin."""


@attrs.frozen
class MessageRouter:
    """Decides about messages.

    Args:
        router: finds numbers as for calls, and resolves URLs.
        to_trunk: whether clients may send to the world outside.
    """

    router: Router
    to_trunk: bool = True

    def route(self, sender: Caller, to: str, host: str) -> Decision:
        """Decide about a MESSAGE.

        Args:
            sender: who sends.
            to: user part of the Request-URI, decoded.
            host: host of the same URI.
        """
        tables = self.router.tables
        client = sender.client if sender.kind == "client" else None
        organization = tables.organization(host)
        own: str | None = None
        if client is not None:
            account = self._active(client.account_sid)
            if account is None:
                return _inactive(client.account_sid)
            if client.status != 1:
                return Decision(Refuse(403, "Client Is Disabled", client.account_sid))
            own = account.organization_sid
        if not to or len(to) > MAX_DIALED:
            return _nobody(to, client)
        number = self.router.match(to, organization, own)
        notices: tuple[Notice, ...] = ()
        if number is not None:
            if self._active(number.account_sid) is None:
                return _inactive(number.account_sid)
            application = self.application(number)
            if application is not None:
                return Decision(application)
            notices = (Notice(12003, "warning", f"no SMS application on {number.phone_number}"),)
        if client is None:
            owner = number.account_sid if number is not None else None
            return _nobody(to, None, notices, owner)
        return self._from_client(client, to, organization, own or "", number, notices)

    def _from_client(
        self,
        sender: Client,
        to: str,
        organization: str | None,
        own: str,
        number: Number | None,
        notices: tuple[Notice, ...],
    ) -> Decision:
        tables = self.router.tables
        callee = tables.client(to, own) if organization == own else None
        if callee is not None:
            if self._active(callee.account_sid) is None:
                return _inactive(callee.account_sid)
            return Decision(ToClient(callee, sender), notices, sender.account_sid)
        hosted = organization not in (None, own) or exactly(to, number)
        if not hosted and self.to_trunk and tables.outbound_proxy(sender.account_sid):
            return Decision(ToTrunk(sender), notices, sender.account_sid)
        return _nobody(to, sender, notices)

    def destination(self, to: str, account_sid: str) -> Number | None:
        """A number of this engine that an account can send to, by its exact text.

        Args:
            to: as the sender wrote it.
            account_sid: the sender.
        """
        account = self.router.tables.account(account_sid)
        own = account.organization_sid if account is not None else None
        for organization in dict.fromkeys((own, None)):
            number = self.router.match(to, organization, organization)
            if number is not None and exactly(to, number):
                return number
        return None

    def application(self, number: Number) -> ToApplication | None:
        """The application that answers messages to a number; one by sid wins over the URL of the number."""
        application = (
            self.router.tables.application(number.sms_application_sid) if number.sms_application_sid else None
        )
        url = None
        if application is not None and (application.kind or "any").lower() in ("sms", "any"):
            url = application.rcml_url
        chosen = self._absolute(url or number.sms_url)
        if chosen is None:
            return None
        return ToApplication(
            number=number,
            url=chosen,
            method=number.sms_method,
            fallback_url=self._absolute(number.sms_fallback_url),
            fallback_method=number.sms_fallback_method,
        )

    def _absolute(self, url: str | None) -> str | None:
        if not url:
            return None
        try:
            return urljoin(self.router.base_url, url)
        except ValueError:
            return url  # the fetch will report it

    def _active(self, account_sid: str) -> Account | None:
        account = self.router.tables.account(account_sid)
        return account if account is not None and account.status == "active" else None


def exactly(text: str, number: Number | None) -> bool:
    """Whether a number is this very text in one of its forms, not a pattern that matches it."""
    if number is None:
        return False
    plain = text.removeprefix("+")
    return number.phone_number in (text, e164(text), plain, f"+{plain}")


def _inactive(account_sid: str) -> Decision:
    notice = Notice(11005, "error", "The account is not active, so the message was refused.")
    return Decision(Refuse(403, "Account is not ACTIVE", account_sid), (notice,), account_sid)


def _nobody(
    to: str, sender: Client | None, notices: tuple[Notice, ...] = (), owner: str | None = None
) -> Decision:
    account_sid = sender.account_sid if sender is not None else owner
    notice = Notice(11005, "error", f"Nobody was found for a message to {to[:MAX_DIALED]!r}.")
    return Decision(Refuse(404, "Not Found", account_sid), (*notices, notice), account_sid)
