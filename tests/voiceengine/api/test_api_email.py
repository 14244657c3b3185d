"""E-mail resource (case 81 of the reference), delivered to a real SMTP server."""

from __future__ import annotations

import email
import email.policy
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_twisted
from aiosmtpd.controller import Controller
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from voiceengine.config import Mail
from voiceengine.messages.mail import MailService
from voiceengine.store.query import ListQuery

pytestmark = pytest.mark.loopback

REACTOR: Any = reactor
PATH = "~/Email/Messages"
GIVEN = {"From": "a@example.com", "To": "b@example.com", "Subject": "Grüße", "Body": "Line ☺\n.dot\n"}


class Mailbox:
    """Keeps what the server got; `refused` is an address it does not know."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.refused = ""
        self.server = ""
        self.waiting: Deferred[Any] = Deferred()

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address == self.refused:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.got.append(envelope)
        REACTOR.callFromThread(self.waiting.callback, envelope)
        return "250 OK"


class AnyPort(Controller):
    """A server on a port that is free."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()
    controller = AnyPort(box, hostname="127.0.0.1", port=0)
    controller.start()
    box.server = f"127.0.0.1:{controller.port}"
    yield box
    controller.stop()


async def with_mail(make_api: Any, server: str) -> AsyncIterator[Any]:
    made = []

    def parts(store: Any) -> dict[str, Any]:
        settings = Mail(server=server, security="none", timeout=5)
        made.append(MailService(REACTOR, lambda: 1454889281.293, settings, store, "example.org"))
        return {"mail": made[0]}

    yield await make_api(parts=parts)
    await made[0].stop()


@pytest_twisted.async_yield_fixture
async def mail_api(make_api: Any, mailbox: Mailbox) -> AsyncIterator[Any]:
    async for api in with_mail(make_api, mailbox.server):
        yield api


@pytest_twisted.async_yield_fixture
async def mailless_api(make_api: Any) -> AsyncIterator[Any]:
    async for api in with_mail(make_api, ""):
        yield api


@pytest_twisted.ensureDeferred
async def test_a_mail_reaches_the_server(mail_api: Any, mailbox: Mailbox) -> None:
    answer = await mail_api.post(
        PATH + ".json", {**GIVEN, "CC": "c@example.com, d@example.com", "BCC": "e@example.com"}
    )
    envelope = await mailbox.waiting.addTimeout(5, REACTOR)
    message = email.message_from_bytes(envelope.content, policy=email.policy.default)

    assert answer.code == 200
    assert answer.json == {
        "date_sent": "2016-02-07T23:54:41.293Z",
        "account_sid": mail_api.admin.sid,
        "from": "a@example.com",
        "to": "b@example.com",
        "body": GIVEN["Body"],
        "subject": "Grüße",
    }
    assert envelope.mail_from == "a@example.com"
    assert envelope.rcpt_tos == [f"{name}@example.com" for name in "bcde"]
    assert (message["To"], message["Cc"]) == ("b@example.com", "c@example.com, d@example.com")
    assert b"e@example.com" not in envelope.content
    assert (message["Subject"], message.get_content_charset()) == ("Grüße", "utf-8")
    assert message.get_content().replace("\r\n", "\n") == GIVEN["Body"]
    assert message["Message-ID"].endswith("@example.org>")
    assert message["Date"]


@pytest_twisted.ensureDeferred
async def test_subject_and_type(mail_api: Any, mailbox: Mailbox) -> None:
    answer = await mail_api.post(PATH + ".xml", {**GIVEN, "Subject": "x" * 200, "Type": "text/html"})
    envelope = await mailbox.waiting.addTimeout(5, REACTOR)
    message = email.message_from_bytes(envelope.content, policy=email.policy.default)

    assert answer.xml[0].tag == "EmailMessage"
    assert [child.tag for child in answer.xml[0]] == [
        "DateSent",
        "AccountSid",
        "From",
        "To",
        "Body",
        "Subject",
    ]
    assert len(message["Subject"]) == 160
    assert message["Content-Type"] == 'text/html; charset="UTF-8"'


@pytest.mark.parametrize("name", ["From", "To", "Body", "Subject"])
@pytest_twisted.ensureDeferred
async def test_what_is_missing_is_named(mailless_api: Any, name: str) -> None:
    answer = await mailless_api.post(PATH + ".json", {**GIVEN, name: ""})

    assert (answer.code, answer.json["message"]) == (400, f"{name} can not be null.")


@pytest.mark.parametrize(
    "changes",
    [{"To": "nobody"}, {"From": "A <a@example.com>"}, {"CC": "x"}, {"BCC": "b@x, y"}, {"To": "a@b@c"}],
)
@pytest_twisted.ensureDeferred
async def test_addresses_are_plain(mailless_api: Any, changes: dict[str, str]) -> None:
    answer = await mailless_api.post(PATH + ".json", {**GIVEN, **changes})

    assert (answer.code, answer.json["message"]) == (400, "Not a Valid Email Address")


@pytest_twisted.ensureDeferred
async def test_no_header_can_be_slipped_in(mailless_api: Any) -> None:
    assert (await mailless_api.post(PATH + ".json", {**GIVEN, "Subject": "a\r\nBcc: x@y"})).code == 400
    assert (await mailless_api.post(PATH + ".json", {**GIVEN, "Type": "text/plain\r\nX: y"})).code == 400
    assert (await mailless_api.post(PATH + ".json", {**GIVEN, "Type": "image/png"})).code == 400


@pytest_twisted.ensureDeferred
async def test_an_engine_without_mail_server_says_so(mailless_api: Any) -> None:
    answer = await mailless_api.post(PATH + ".json", GIVEN)

    assert (answer.code, "mail.server" in answer.json["message"]) == (503, True)


@pytest_twisted.ensureDeferred
async def test_a_refused_recipient_leaves_a_notification(mail_api: Any, mailbox: Mailbox) -> None:
    mailbox.refused = "b@example.com"
    assert (await mail_api.post(PATH + ".json", GIVEN)).code == 200
    for _ in range(200):
        page = await mail_api.store.notifications.list(ListQuery())
        if page.items:
            break
        turn: Deferred[None] = Deferred()
        REACTOR.callLater(0.02, turn.callback, None)
        await turn

    assert [row.error_code for row in page.items] == [11205]
    assert "550 no such mailbox" in page.items[0].message_text
