"""MESSAGE of phones: what is handed over, what is refused, what a repetition gets (RFC 3428)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from edge_world import World, quiet, until
from hypothesis import given
from hypothesis import strategies as st
from sipmessage import Request
from twisted.internet.task import Clock

from voiceengine.config import Messages as Settings
from voiceengine.sip.invite import CallerIdentity
from voiceengine.sip.message import InboundMessage
from voiceengine.sip.message_in import ANSWER_SECONDS, Messages, Refusal, text_of
from voiceengine.sip.transaction import Linger
from voiceengine.sip.transport import Flow

TEXT = ("Content-Type", "text/plain")


class Taker:
    """Notes every message; answers 202 at once unless told otherwise."""

    def __init__(self) -> None:
        self.messages: list[InboundMessage] = []
        self.decide: Callable[[InboundMessage], None] = lambda message: message.respond(202)

    def message(self, message: InboundMessage) -> None:
        self.messages.append(message)
        self.decide(message)


def taker(world: World) -> Taker:
    made = Taker()
    world.edge.on_message = made
    return made


def message(world: World, *more: tuple[str, str], body: str = "Hello", **how: Any) -> bytes:
    names = {name for name, _ in more}
    kind = () if "Content-Type" in names else (TEXT,)
    return world.request("MESSAGE", *kind, *more, body=body, without=("Contact",), **how)


# ------------------------------------------------------------------------- taken


@pytest.mark.loopback
@pytest_twisted.ensureDeferred
async def test_a_message_is_handed_over_and_answered(world: World) -> None:
    taken = taker(world)

    world.say(message(world, ("Content-Type", "Text/Plain; charset=UTF-8"), body="Hello"))
    await world.phone.inbox.response(202)

    (found,) = taken.messages
    assert (found.content_type, found.text) == ("text/plain", "Hello")
    assert found.identity == CallerIdentity()
    assert found.request.uri.user == "1111"


@pytest.mark.loopback
@pytest_twisted.ensureDeferred
async def test_a_repetition_is_no_other_message_and_gets_the_same_answer(world: World) -> None:
    taken = taker(world)
    taken.decide = lambda message: None
    data = message(world)

    world.say(data)
    await until(lambda: len(taken.messages) == 1)
    world.say(data)
    await quiet(world.phone.inbox)
    taken.messages[0].respond(404, "Not Here", [("X-Why", "nobody")])
    first = await world.phone.inbox.raw()
    taken.messages[0].respond(200)
    world.say(data)
    second = await world.phone.inbox.raw()
    await quiet(world.phone.inbox)

    assert first == second
    assert first.startswith(b"SIP/2.0 404 Not Here\r\n")
    assert b"X-Why: nobody\r\n" in first
    assert len(taken.messages) == 1


@pytest.mark.loopback
@pytest_twisted.ensureDeferred
async def test_tcp_carries_messages_too(world: World) -> None:
    taken = taker(world)
    stream = await world.connect()

    stream.transport.write(message(world, via=world.phone_via("TCP"), body="x" * 15_000))
    await stream.inbox.response(202)

    assert len(taken.messages[0].text) == 15_000


@pytest.mark.loopback
@pytest_twisted.ensureDeferred
async def test_a_message_inside_a_call_is_for_who_the_phone_talks_with(world: World) -> None:
    taken = taker(world)
    ok, _ = await world.established()

    world.say(world.inside(ok, "MESSAGE", TEXT, body="Hi"))
    await world.phone.inbox.response(202)
    await quiet(world.worker.inbox)

    assert str(taken.messages[0].request.uri) == "sip:1111@voiceengine"


@pytest.mark.loopback
@pytest_twisted.ensureDeferred
async def test_a_message_inside_no_call_of_ours_is_481(world: World) -> None:
    taken = taker(world)

    world.say(message(world, to="<sip:1111@voiceengine>;tag=guessed"))
    await world.phone.inbox.response(481)

    assert taken.messages == []


@pytest.mark.loopback
@pytest_twisted.ensureDeferred
async def test_allow_and_accept_tell_it(world: World) -> None:
    taker(world)

    world.say(world.request("OPTIONS"))
    found = await world.phone.inbox.response(200)

    assert "MESSAGE" in found.headers["Allow"].split(", ")
    assert found.headers["Accept"] == "application/sdp, text/plain"


# ------------------------------------------------------------------------- refused by the edge


@pytest.mark.loopback
@pytest_twisted.ensureDeferred
async def test_without_messaging_it_is_not_allowed(world: World) -> None:
    world.say(message(world))
    found = await world.phone.inbox.response(405)

    assert "MESSAGE" not in found.headers["Allow"]


@pytest.mark.loopback
@pytest.mark.parametrize(
    ("more", "body", "code", "header"),
    [
        ([], "", 406, ("Reason", 'SIP;cause=406;text="Content Type is not text plain"')),
        ([("Content-Type", "text/html")], "<p/>", 415, ("Accept", "text/plain")),
        ([("Content-Type", "")], "Hello", 415, ("Accept", "text/plain")),
        ([("Content-Encoding", "gzip")], "Hello", 415, ("Accept-Encoding", "identity")),
        ([("Content-Type", "application/im-iscomposing+xml")], "<isComposing/>", 200, None),
        ([], "x" * 20_001, 413, None),
        ([("Content-Type", 'text/plain; charset="')], "Hello", 400, None),
        ([("Content-Type", "text/plain;charset=klingon")], "Hello", 400, None),
        ([("Content-Type", "text/plain;charset=us-ascii")], "Grüße", 400, None),
        ([], "a\0b", 400, None),
        ([("Max-Forwards", "0")], "Hello", 483, None),
        ([("Require", "recipient-list-message")], "Hello", 420, None),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_not_taken(
    world: World, more: list[tuple[str, str]], body: str, code: int, header: tuple[str, str] | None
) -> None:
    taken = taker(world)
    data = message(world, *more).partition(b"Content-Length")[0]
    raw = body.encode()

    world.say(data + f"Content-Length: {len(raw)}\r\n\r\n".encode() + raw)
    found = await world.phone.inbox.response(code)

    assert taken.messages == []
    if header is not None:
        assert found.headers[header[0]] == header[1]


@pytest.mark.loopback
@pytest_twisted.ensureDeferred
async def test_nobody_is_named(world: World) -> None:
    taken = taker(world)

    world.say(message(world, uri="sip:voiceengine", to="<sip:voiceengine>"))
    await world.phone.inbox.response(404)

    assert taken.messages == []


@pytest.mark.loopback
@pytest_twisted.ensureDeferred
async def test_a_draining_engine_takes_none(world: World) -> None:
    taker(world)
    world.handler.accepting = False

    world.say(message(world))
    found = await world.phone.inbox.response(503)

    assert found.headers["Retry-After"] == "5"


@pytest.mark.loopback
@pytest_twisted.ensureDeferred
async def test_a_handler_that_fails_gives_500(world: World) -> None:
    def broken(message: InboundMessage) -> None:
        raise RuntimeError("a defect")

    taker(world).decide = broken

    world.say(message(world))

    await world.phone.inbox.response(500)


@pytest.mark.loopback
@pytest_twisted.ensureDeferred
async def test_binary_messages_leave_the_edge_alive(world: World) -> None:
    taken = taker(world)
    head = message(world).partition(b"Content-Length")[0]

    world.say(head + b"Content-Length: 4\r\n\r\n\xff\xfe\x00\x9f")
    await world.phone.inbox.response(400)
    world.say(message(world, body="still here"))
    await world.phone.inbox.response(202)

    assert [one.text for one in taken.messages] == ["still here"]


# ------------------------------------------------------------------------- without sockets


class Core:
    """As much of the core as messages use."""

    def __init__(self, handler: Any) -> None:
        self.reactor = Clock()
        self.on_message = handler
        self.replies: Linger[tuple[str, str, str], bytes] = Linger(self.reactor)
        self.counters: dict[str, int] = {"messages_refused": 0}


class SomeFlow:
    """Notes what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, data: bytes) -> None:
        self.sent.append(data)


class Machine:
    """The taker of messages with a clock of the test."""

    def __init__(self, identity: Any = None) -> None:
        self.taker = Taker()
        self.core = Core(self.taker)
        self.flow: Any = SomeFlow()
        self.refused: list[int] = []
        self.messages = Messages(
            self.core,  # type: ignore[arg-type]
            Settings(),
            lambda request, flow: identity or CallerIdentity(),
            lambda: True,
            self._refuse,
        )

    def _refuse(self, request: Request, flow: Flow, code: int, headers: list[tuple[str, str]]) -> None:
        self.refused.append(code)

    def say(self, number: int = 1) -> None:
        self.messages.message(request_of(b"Hello"), self.flow, (f"z9hG4bK{number}", "h:1", "MESSAGE"))


def request_of(body: bytes, kind: str = "text/plain") -> Request:
    text = (
        "MESSAGE sip:1111@voiceengine SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1\r\n"
        "From: <sip:alice@voiceengine>;tag=1\r\nTo: <sip:1111@voiceengine>\r\nCall-ID: 1\r\n"
        f"CSeq: 1 MESSAGE\r\nContent-Type: {kind}\r\n\r\n"
    )
    found = Request.parse(text.encode() + body)
    assert isinstance(found, Request)
    return found


@pytest.mark.unit
def test_a_message_that_nobody_answers_gets_500_in_time_for_its_sender() -> None:
    machine = Machine()
    machine.taker.decide = lambda message: None
    machine.say()

    machine.core.reactor.advance(ANSWER_SECONDS - 0.1)
    assert machine.flow.sent == []
    machine.core.reactor.advance(0.2)
    machine.taker.messages[0].respond(200)

    assert [data[:11] for data in machine.flow.sent] == [b"SIP/2.0 500"]
    assert machine.core.reactor.getDelayedCalls() == []


@pytest.mark.unit
def test_a_flood_of_unanswered_messages_is_bounded() -> None:
    machine = Machine()
    machine.taker.decide = lambda message: None
    for number in range(1_001):
        machine.say(number)

    assert machine.refused == [503]
    assert len(machine.taker.messages) == 1_000
    machine.taker.messages[0].respond(202)
    machine.say(2_000)
    assert len(machine.taker.messages) == 1_001

    machine.messages.close()
    machine.taker.messages[1].respond(202)
    assert machine.core.reactor.getDelayedCalls() == []
    assert len(machine.flow.sent) == 1


@pytest.mark.unit
def test_who_must_say_who_he_is_is_asked() -> None:
    machine = Machine(identity=[("Proxy-Authenticate", "Digest")])
    machine.say()

    assert machine.refused == [407]
    assert machine.taker.messages == []


@pytest.mark.unit
@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        ("Grüße 👋".encode(), "text/plain", "Grüße 👋"),
        ("Grüße".encode("latin-1"), "text/plain;charset=ISO-8859-1", "Grüße"),
        ("Grüße".encode("utf-16"), 'text/plain; charset="UTF-16"', "Grüße"),
        (b"a\tb\r\nc", "text/plain", "a\tb\r\nc"),
    ],
)
def test_charsets(body: bytes, kind: str, text: str) -> None:
    assert text_of(request_of(body, kind), Settings()) == ("text/plain", text)


@pytest.mark.unit
@pytest.mark.parametrize(
    "charset", ["hex", "zip", "idna", "punycode", "unicode_escape", "undefined", "utf-7", "\\"]
)
def test_codecs_that_are_no_charsets(charset: str) -> None:
    with pytest.raises(Refusal) as refused:
        text_of(request_of(b"41", f"text/plain;charset={charset}"), Settings())

    assert refused.value.code == 400


@pytest.mark.unit
@given(st.binary(max_size=200), st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=30))
def test_whatever_comes_is_a_text_or_a_refusal(body: bytes, options: str) -> None:
    request = request_of(body)
    request.headers.set("Content-Type", f"text/plain;{options}")
    try:
        kind, text = text_of(request, Settings())
    except Refusal as refusal:
        assert refusal.code in (400, 406, 415)
    else:
        assert kind == "text/plain"
        assert text and "\0" not in text
