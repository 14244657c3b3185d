"""Applications over https: verified by default, any certificate when verification is switched off."""

import datetime

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import reactor, ssl
from twisted.web.resource import Resource
from twisted.web.server import Site

from rcml.ports import FetchError, FetchFailure
from voiceengine.calls.fetcher import WebClient
from voiceengine.config import Web

pytestmark = pytest.mark.loopback


def self_signed() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1))
    cert = builder.not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private + cert.public_bytes(pem)


class Page(Resource):
    isLeaf = True

    def render_GET(self, request):
        return b"<Response/>"


async def fetch(verify: bool) -> bytes:
    context = ssl.PrivateCertificate.loadPEM(self_signed()).options()
    port = reactor.listenSSL(0, Site(Page()), context, interface="127.0.0.1")
    client = WebClient(reactor, Web(verify_tls=verify))
    try:
        url = f"https://localhost:{port.getHost().port}/"
        return (await client.request("GET", url, [], cookies=None, timeout=5, limit=1000)).body
    finally:
        await client.close()
        await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_certificate_that_cannot_be_verified_is_refused():
    with pytest.raises(FetchError) as found:
        await fetch(verify=True)

    assert found.value.failure is FetchFailure.IO


@pytest_twisted.ensureDeferred
async def test_any_certificate_will_do_when_verification_is_off():
    assert await fetch(verify=False) == b"<Response/>"
