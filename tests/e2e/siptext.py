"""SIP messages of the test phone: plain text in and out, with a reader of its own."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Sequence

import attrs


@attrs.define
class Message:
    """A request or a response."""

    start: str
    headers: list[tuple[str, str]] = attrs.field(factory=list)
    body: bytes = b""

    @classmethod
    def parse(cls, data: bytes) -> Message:
        """Read one whole message."""
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode("utf-8", "replace").split("\r\n")
        headers = []
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers.append((name.strip(), value.strip()))
        return cls(lines[0], headers, body)

    def __bytes__(self) -> bytes:
        kept = [(n, v) for n, v in self.headers if n.lower() != "content-length"]
        lines = [self.start, *(f"{n}: {v}" for n, v in kept), f"Content-Length: {len(self.body)}", "", ""]
        return "\r\n".join(lines).encode() + self.body

    @property
    def code(self) -> int:
        """Status code; 0 for a request."""
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0 ") else 0

    @property
    def phrase(self) -> str:
        """Reason phrase of a response."""
        return self.start.split(" ", 2)[2] if self.code else ""

    @property
    def method(self) -> str:
        """Method of a request, or of the request that a response answers."""
        return self.start.split()[0] if not self.code else (self.get("CSeq") or "0 ?").split()[1]

    @property
    def uri(self) -> str:
        """Request-URI."""
        return self.start.split()[1]

    def get(self, name: str) -> str:
        """First value of a header, '' when it is not there."""
        return next((v for n, v in self.headers if n.lower() == name.lower()), "")

    def all(self, name: str) -> list[str]:
        """All values of a header."""
        return [v for n, v in self.headers if n.lower() == name.lower()]

    @property
    def branch(self) -> str:
        """Branch of the top Via."""
        found = re.search(r"branch=([^;,\s]+)", self.get("Via"))
        return found[1] if found else ""


def reply_to(
    request: Message, code: int, phrase: str = "", *, tag: str = "", headers: Iterable[tuple[str, str]] = ()
) -> Message:
    """A response to a request of the engine."""
    to = request.get("To")
    if tag and "tag=" not in to:
        to = f"{to};tag={tag}"
    made = Message(f"SIP/2.0 {code} {phrase or 'Test'}")
    made.headers = [("Via", value) for value in request.all("Via")]
    made.headers += [("Record-Route", value) for value in request.all("Record-Route")]
    made.headers += [("From", request.get("From")), ("To", to)]
    made.headers += [("Call-ID", request.get("Call-ID")), ("CSeq", request.get("CSeq")), *headers]
    return made


def tag_of(value: str) -> str:
    """Tag of a From or To."""
    found = re.search(r";\s*tag=([^;,\s>]+)", value)
    return found[1] if found else ""


def uri_of(value: str) -> str:
    """URI of a name-addr."""
    found = re.search(r"<([^>]+)>", value)
    return found[1] if found else value.split(";")[0].strip()


def host_port(uri: str) -> tuple[str, int]:
    """Host and port of a SIP URI."""
    rest = uri.partition(":")[2].rpartition("@")[2]
    found = re.match(r"(\[[^\]]+\]|[^:;?]+)(?::(\d+))?", rest)
    assert found, uri
    return found[1].strip("[]"), int(found[2] or 5060)


def new_branch() -> str:
    """A branch that no other request has."""
    return f"z9hG4bK{secrets.token_hex(8)}"


def _hash(algorithm: str, text: str) -> str:
    if algorithm.upper() == "SHA-256":
        return hashlib.sha256(text.encode()).hexdigest()
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def credentials(challenges: Sequence[str], method: str, uri: str, login: str, password: str) -> str:
    """Answer the first challenge (RFC 7616)."""
    fields = dict(re.findall(r'(\w+)="?([^",]+)"?', challenges[0].partition(" ")[2]))
    algorithm = fields.get("algorithm", "MD5")
    secret = _hash(algorithm, f"{login}:{fields['realm']}:{password}")
    request = _hash(algorithm, f"{method}:{uri}")
    cnonce = secrets.token_hex(8)
    middle = f"{fields['nonce']}:00000001:{cnonce}:auth"
    response = _hash(algorithm, f"{secret}:{middle}:{request}")
    return (
        f'Digest username="{login}", realm="{fields["realm"]}", nonce="{fields["nonce"]}", uri="{uri}", '
        f'response="{response}", algorithm={algorithm}, cnonce="{cnonce}", qop=auth, nc=00000001'
    )


def event_type(body: bytes) -> int:
    """Payload type of telephone events in a description; 101 when there is none."""
    found = re.search(r"^a=rtpmap:(\d+) telephone-event/8000", body.decode(), re.MULTILINE)
    return int(found[1]) if found else 101


def offer(
    port: int,
    address: str = "127.0.0.1",
    direction: str = "sendrecv",
    version: int = 1,
    events: int = 101,
    codec: int = 0,
) -> bytes:
    """The SDP of a test phone: PCMU (0) or PCMA (8), and telephone-event."""
    lines = [
        "v=0",
        f"o=- 4711 {version} IN IP4 127.0.0.1",
        "s=-",
        f"c=IN IP4 {address}",
        "t=0 0",
        f"m=audio {port} RTP/AVP {codec} {events}",
        f"a=rtpmap:{codec} {'PCMA' if codec else 'PCMU'}/8000",
        f"a=rtpmap:{events} telephone-event/8000",
        f"a=fmtp:{events} 0-15",
        "a=ptime:20",
        f"a={direction}",
    ]
    return ("\r\n".join(lines) + "\r\n").encode()


def media_address(body: bytes) -> tuple[str, int]:
    """Where the audio of a description goes."""
    text = body.decode()
    address = re.search(r"^c=IN IP4 (\S+)", text, re.MULTILINE)
    port = re.search(r"^m=audio (\d+)", text, re.MULTILINE)
    assert address and port, text
    return address[1], int(port[1])
