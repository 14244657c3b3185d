"""E-mail of a real engine, by REST and by the Email verb, to a real SMTP server."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from harness import EngineProcess
from waiting import Changes, eventually, reactor
from world import World, case

pytestmark = pytest.mark.loopback


class MailServer:
    """Keeps what it got; a recipient `refused@...` is not known to it."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.changes = Changes()

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address.startswith("refused@"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.got.append(envelope)
        reactor.callFromThread(self.changes.tell)
        return "250 OK"

    async def mail_to(self, address: str, within: float = 5.0) -> Any:
        """Envelope of the only mail to an address, once it came."""

        def found() -> Any:
            return next((one for one in self.got if address in one.rcpt_tos), None)

        return await self.changes.until(found, within, f"a mail to {address}")


class AnyPort(Controller):
    """A server on a port that is free."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


BOX = MailServer()


@pytest.fixture(scope="module")
def engine(engines: Callable[..., EngineProcess]) -> Iterator[EngineProcess]:
    controller = AnyPort(BOX, hostname="127.0.0.1", port=0)
    controller.start()
    yield engines(f"mail.server=127.0.0.1:{controller.port}", "mail.security=none", "mail.timeout=5")
    controller.stop()


def read(envelope: Any) -> Any:
    return email.message_from_bytes(envelope.content, policy=email.policy.default)


@case
async def test_a_program_sends_a_mail(world: World) -> None:
    given = {
        "From": "desk@example.com",
        "To": "rest@example.com",
        "Subject": "Hello ☺",
        "Body": "Grüße\n.\nend",
    }
    reply = await world.rest.post("Email/Messages.json", **given, BCC="hidden@example.com")
    envelope = await BOX.mail_to("rest@example.com")
    message = read(envelope)

    assert reply.status == 200, reply.body
    assert reply.json["to"] == "rest@example.com"
    assert envelope.rcpt_tos == ["rest@example.com", "hidden@example.com"]
    assert b"hidden@" not in envelope.content
    assert (message["From"], message["Subject"]) == ("desk@example.com", "Hello ☺")
    assert message.get_content().replace("\r\n", "\n").rstrip("\n") == given["Body"]


@case
async def test_a_wrong_address_is_refused(world: World) -> None:
    reply = await world.rest.post("Email/Messages.json", From="a@b.c", To="nobody", Subject="x", Body="y")

    assert (reply.status, reply.json["message"]) == (400, "Not a Valid Email Address")


@case
async def test_a_document_sends_a_mail(world: World) -> None:
    number = await world.number(
        '<Email from="desk@example.com" to="verb@example.com" cc="cc@example.com" subject="Missed call">'
        "Somebody called.</Email>"
    )
    await (await world.answered(number)).over()
    envelope = await BOX.mail_to("verb@example.com")

    assert envelope.rcpt_tos == ["verb@example.com", "cc@example.com"]
    assert read(envelope)["Subject"] == "Missed call"
    assert read(envelope).get_content().strip() == "Somebody called."


@case
async def test_a_mail_that_is_refused_leaves_a_notification_of_the_call(world: World) -> None:
    number = await world.number('<Email from="desk@example.com" to="refused@example.com">x</Email>')
    await (await world.answered(number)).over()
    sid = await world.sid(number)
    found = await eventually(
        lambda: world.rest.notifications(ErrorCode="11205", CallSid=sid),
        len,
        5.0,
        "a notification of the mail",
    )

    assert "550 no such mailbox" in found[0]["message_text"]
