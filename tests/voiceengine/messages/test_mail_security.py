"""Mail over STARTTLS and TLS, with and without login, to a real SMTP server."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import reactor

from rcml.ports import Notice
from voiceengine.config import Mail
from voiceengine.messages.mail import MailService
from voiceengine.messages.requests import SendEmail
from voiceengine.store import Store

pytestmark = pytest.mark.loopback
REACTOR: Any = reactor

PASSWORD = "secret-of-the-server"
REQUEST = SendEmail(
    account_sid="AC1", from_="a@example.com", to=("b@example.com",), subject="Hi", body="Text"
)


@attrs.frozen
class Certificate:
    """A certificate that nobody but a test trusts; `host` is in it."""

    file: Path
    server: ssl.SSLContext


def certificate(folder: Path, host: str) -> Certificate:
    """Make a certificate that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.IPAddress(ipaddress.ip_address(host))]
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    file, key_file = folder / f"{host}.pem", folder / f"{host}.key"
    file.write_bytes(made.public_bytes(pem))
    form, no_password = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key_file.write_bytes(key.private_bytes(pem, form, no_password))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key_file)
    return Certificate(file, context)


class Box:
    """Keeps what it got."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.got.append(envelope)
        return "250 OK"


def check(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    """Let in who knows the password."""
    return AuthResult(success=(data.login, data.password) == (b"user", PASSWORD.encode()), handled=False)


class Server(Controller):
    """A server on a port that is free."""

    def __init__(self, **options: Any) -> None:
        self.box = Box()
        super().__init__(self.box, "127.0.0.1", 0, server_hostname="test", **options)

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(tmp_path_factory.mktemp("good"), "127.0.0.1")


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Of another host."""
    return certificate(tmp_path_factory.mktemp("another"), "127.0.0.9")


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    running: list[Server] = []

    def start(**options: Any) -> Server:
        made = Server(**options)
        made.start()
        running.append(made)
        return made

    yield start
    for server in running:
        server.stop()


@pytest_twisted.async_yield_fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    made = await Store.open(tmp_path / "m.sqlite", reactor)
    yield made
    await made.close()


async def deliver(store: Store, **settings: Any) -> str:
    """Send one mail as the engine does; returns what went wrong."""
    found: list[Notice] = []
    mail = MailService(REACTOR, lambda: 0.0, Mail(timeout=4, **settings), store, "example.org")
    mail.take(REQUEST, found.append)
    await mail.stop()
    return "".join(notice.message for notice in found)


def how(security: str, certificate: Certificate) -> dict[str, Any]:
    """Options of a server that offers this kind of security."""
    if security == "tls":
        return {"ssl_context": certificate.server}
    return {"tls_context": certificate.server, "require_starttls": True}


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest_twisted.ensureDeferred
async def test_a_server_with_a_trusted_certificate_gets_it(
    store: Store,
    serve: Callable[..., Server],
    good: Certificate,
    monkeypatch: pytest.MonkeyPatch,
    security: str,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(good.file))
    server = serve(**how(security, good))

    assert await deliver(store, server=server.address, security=security) == ""
    assert [envelope.rcpt_tos for envelope in server.box.got] == [["b@example.com"]]


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("trusted", [True, False])
@pytest_twisted.ensureDeferred
async def test_a_server_that_cannot_prove_its_name_gets_nothing(
    store: Store,
    serve: Callable[..., Server],
    another: Certificate,
    monkeypatch: pytest.MonkeyPatch,
    security: str,
    trusted: bool,
) -> None:
    if trusted:  # and yet it is another host
        monkeypatch.setenv("SSL_CERT_FILE", str(another.file))
    server = serve(**how(security, another))
    said = await deliver(store, server=server.address, security=security, username="user", password=PASSWORD)

    assert "certificate verify failed" in said
    assert server.box.got == []


@pytest_twisted.ensureDeferred
async def test_starttls_is_not_optional(store: Store, serve: Callable[..., Server]) -> None:
    server = serve()
    said = await deliver(
        store, server=server.address, security="starttls", username="user", password=PASSWORD
    )

    assert "STARTTLS" in said
    assert server.box.got == []


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("password", [PASSWORD, "wrong-one", "falsch-ä"])
@pytest_twisted.ensureDeferred
async def test_login(
    store: Store,
    serve: Callable[..., Server],
    good: Certificate,
    monkeypatch: pytest.MonkeyPatch,
    security: str,
    password: str,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(good.file))
    server = serve(
        authenticator=check,
        auth_required=True,
        auth_require_tls=security == "starttls",
        **how(security, good),
    )
    said = await deliver(store, server=server.address, security=security, username="user", password=password)

    if password == PASSWORD:
        assert said == ""
        assert len(server.box.got) == 1
    else:
        assert "535" in said or "ASCII" in said
        assert password not in said
        assert "ä" not in said
        assert server.box.got == []


@pytest_twisted.ensureDeferred
async def test_a_server_without_login_is_told_nothing(store: Store, serve: Callable[..., Server]) -> None:
    server = serve()
    said = await deliver(store, server=server.address, security="none", username="user", password=PASSWORD)

    assert "AUTH" in said
    assert server.box.got == []
