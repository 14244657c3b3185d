"""Mail: what is written, and servers that do not take it."""

from __future__ import annotations

import email
import email.policy
import smtplib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError
from twisted.internet.threads import deferToThread

from rcml.ports import Notice, OutgoingEmail
from voiceengine.config import Mail
from voiceengine.errors import CallControlError
from voiceengine.messages.documents import DocumentMail
from voiceengine.messages.mail import MailService, compose, is_address, is_text_type
from voiceengine.messages.requests import SendEmail
from voiceengine.messages.smtp import Delivery, explain, server_of
from voiceengine.store import Store

pytestmark = pytest.mark.loopback
REACTOR: Any = reactor

REQUEST = SendEmail(
    account_sid="AC1", from_="a@example.com", to=("b@example.com",), subject="Hi", body="Text"
)


@pytest_twisted.async_yield_fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    made = await Store.open(tmp_path / "m.sqlite", reactor)
    yield made
    await made.close()


def service(store: Store, **settings: Any) -> MailService:
    return MailService(REACTOR, lambda: 0.0, Mail(**settings), store, "example.org")


@pytest.mark.parametrize("text", ["a@b", "a.b+c@example.com", "x'y@sub.example.com"])
def test_addresses(text: str) -> None:
    assert is_address(text)


@pytest.mark.parametrize(
    "text",
    ["", "a", "@b", "a@", "a@b@c", "a b@c", "<a@b>", "a@b\nc", ".a@b", "a@-b", "ä@b", "a@" + "b" * 300],
)
def test_no_addresses(text: str) -> None:
    assert not is_address(text)


def test_types() -> None:
    assert all(map(is_text_type, ("text/plain", "TEXT/HTML; charset=utf-8", 'text/plain;charset="x"')))
    assert not any(map(is_text_type, ("", "text", "image/png", "text/plain; x=y", "text/plain\r\nX: y")))


def test_a_header_cannot_be_slipped_in() -> None:
    request = attrs.evolve(REQUEST, subject="a\r\nBcc: x@y" + "z" * 200, body="a\r\n.\r\nb")
    message = compose(request, 0.0, "example.org")

    assert "Bcc" not in message
    assert len(message["Subject"]) == 160
    assert message["Date"] == "Thu, 01 Jan 1970 00:00:00 -0000"


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [
        ("text/plain", "utf-8"),
        ("text/html; charset=ISO-8859-1", "iso-8859-1"),
        ("text/plain;charset=no", "utf-8"),
    ],
)
def test_charsets(content_type: str, charset: str) -> None:
    message = compose(attrs.evolve(REQUEST, content_type=content_type, body="ä"), 0.0, "example.org")

    assert message.get_content_charset() == charset
    assert message.get_content().strip() == "ä"


def test_a_text_that_the_charset_cannot_hold_is_utf8() -> None:
    request = attrs.evolve(REQUEST, content_type="text/plain; charset=us-ascii", body="☺")

    assert compose(request, 0.0, "example.org").get_content_charset() == "utf-8"


@pytest.mark.parametrize("charset", ["utf-16", "idna", "hex", "rot13", "undefined", "punycode"])
def test_a_charset_that_mail_cannot_use_is_utf8(charset: str) -> None:
    request = attrs.evolve(REQUEST, content_type=f"text/plain; charset={charset}", body="aé☺\n.b\nc")
    written = compose(request, 0.0, "example.org").as_bytes()
    read = email.message_from_bytes(written, policy=email.policy.default)

    assert read.get_content_charset() == "utf-8"
    assert read.get_content() == "aé☺\r\n.b\r\nc\r\n"


@pytest.mark.parametrize("body", ["ä", "ä" * 5000, "x" * 5000, "a\0b", "\ud800", "", "a\rb\nc", "☺\n.\n.."])
def test_any_text_is_written_in_short_lines_of_seven_bits(body: str) -> None:
    message = compose(attrs.evolve(REQUEST, subject="ä\ud800\0☺", body=body), 0.0, "example.org")
    written = message.as_bytes()

    assert written.isascii()
    assert max(map(len, written.split(b"\r\n"))) <= 78
    assert b"\n" not in written.replace(b"\r\n", b"")


@pytest.mark.parametrize(
    ("server", "security", "expected"),
    [
        ("mail.example", "none", ("mail.example", 25)),
        ("mail.example", "tls", ("mail.example", 465)),
        ("mail.example:2525", "starttls", ("mail.example", 2525)),
        ("[::1]:25", "none", ("::1", 25)),
        ("::1", "starttls", ("::1", 587)),
    ],
)
def test_servers(server: str, security: Any, expected: tuple[str, int]) -> None:
    assert server_of(Mail(server=server, security=security)) == expected


def test_failures_in_words() -> None:
    from twisted.python.failure import Failure

    assert (
        explain(Failure(smtplib.SMTPAuthenticationError(535, b"wrong")))
        == "the mail server answered 535 wrong"
    )
    assert explain(Failure(OSError())) == "OSError"


@pytest_twisted.ensureDeferred
async def test_a_server_that_says_nothing_is_given_up(store: Store) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    found: list[Notice] = []
    mail = service(store, server=f"127.0.0.1:{silent.getsockname()[1]}", security="none", timeout=0.2)
    mail.take(REQUEST, found.append)
    await mail.stop()
    silent.close()

    assert [notice.code for notice in found] == [11205]


@pytest_twisted.ensureDeferred
async def test_a_connection_after_it_was_given_up_carries_nothing() -> None:
    slow = socket.create_server(("127.0.0.1", 0))
    delivery = Delivery(
        settings=Mail(server=f"127.0.0.1:{slow.getsockname()[1]}", security="none", timeout=10),
        sender="a@example.com",
        recipients=["b@example.com"],
        message=b"x",
        name="example.org",
        trust=ssl.create_default_context,
    )
    done = delivery.start(REACTOR)
    done.cancel()
    with pytest.raises(CancelledError):
        await done

    def greet() -> bytes:
        slow.settimeout(10)
        connection, _ = slow.accept()
        connection.settimeout(10)
        with connection:
            connection.sendall(b"220 ready\r\n")
            return connection.recv(100)

    assert await deferToThread(greet) == b""
    slow.close()


@pytest_twisted.ensureDeferred
async def test_a_dead_server_leaves_a_notice_and_a_stopped_service_takes_nothing(store: Store) -> None:
    dead = socket.create_server(("127.0.0.1", 0))
    port = dead.getsockname()[1]
    dead.close()
    found: list[Notice] = []
    mail = service(store, server=f"127.0.0.1:{port}")
    mail.take(REQUEST, found.append)
    await mail.stop()

    assert "refused" in found[0].message
    with pytest.raises(CallControlError) as caught:
        await mail.send(REQUEST)
    assert caught.value.status == 503


@pytest_twisted.ensureDeferred
async def test_a_document_never_fails(store: Store) -> None:
    found: list[Notice] = []
    mail = OutgoingEmail(to=("Bob <b@example.com>",), from_="a@example.com", subject="x", body="y")
    DocumentMail(service(store), "AC1", found.append).send(mail)
    bad = attrs.evolve(mail, to=("nobody",))
    DocumentMail(service(store, server="127.0.0.1:1"), "AC1", found.append).send(bad)

    assert [notice.code for notice in found] == [11001, 11100]
