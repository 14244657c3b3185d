"""Transactions against a hand-turned clock."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sipmessage import Message, Request
from twisted.internet.task import Clock

from voiceengine.sip.transaction import TIMEOUT, ClientTransaction, InviteServer, Linger
from voiceengine.sip.wire import response_to

pytestmark = pytest.mark.unit


def request(method: str = "INVITE") -> Request:
    text = (
        f"{method} sip:bob@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\n"
        "Route: <sip:a.example;lr>\r\nRoute: <sip:b.example;lr>\r\nMax-Forwards: 70\r\n"
        f"From: <sip:me@x>;tag=1\r\nTo: <sip:bob@x>\r\nCall-ID: c\r\nCSeq: 7 {method}\r\n"
        "X-Own: 1\r\nContent-Length: 3\r\n\r\nsdp"
    )
    made = Message.parse(text.encode())
    assert isinstance(made, Request)
    return made


class Client:
    """A client transaction, what it sent and what it told."""

    def __init__(self, method: str = "INVITE", *, reliable: bool = False) -> None:
        self.clock = Clock()
        self.sent: list[tuple[float, bytes]] = []
        self.told: list[int] = []
        self.timeouts: list[float] = []
        self.request = request(method)
        self.transaction = ClientTransaction(
            self.clock,
            self.request,
            lambda data: self.sent.append((self.clock.seconds(), data)),
            reliable=reliable,
            answered=lambda response: self.told.append(response.code),
            timed_out=lambda: self.timeouts.append(self.clock.seconds()),
        )
        self.transaction.start()

    def turn(self, seconds: float) -> None:
        until = self.clock.seconds() + seconds
        while self.clock.seconds() < until:
            self.clock.advance(min(0.25, until - self.clock.seconds()))

    def get(self, code: int, tag: str = "t") -> None:
        self.transaction.received(response_to(self.request, code, to_tag=tag))

    def methods(self) -> list[str]:
        return [data.split(b" ", 1)[0].decode() for _, data in self.sent]

    def last(self) -> Any:
        return Message.parse(self.sent[-1][1])


def test_an_invite_is_repeated_at_doubling_intervals_for_32_seconds() -> None:
    """RFC 3261 section 17.1.1.2, timers A and B."""
    client = Client()

    client.turn(60)

    assert [at for at, _ in client.sent] == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert len({data for _, data in client.sent}) == 1
    assert client.timeouts == [32.0]
    assert client.transaction.final == 408


def test_other_requests_are_repeated_at_intervals_of_at_most_four_seconds() -> None:
    """Section 17.1.2.2, timers E and F."""
    client = Client("BYE")

    client.turn(60)

    assert [at for at, _ in client.sent] == [0, 0.5, 1.5, 3.5, *[3.5 + 4 * n for n in range(1, 8)]]
    assert client.timeouts == [32.0]


@pytest.mark.parametrize("method", ["INVITE", "BYE"])
def test_nothing_is_repeated_over_tcp(method: str) -> None:
    client = Client(method, reliable=True)

    client.turn(60)

    assert len(client.sent) == 1
    assert client.timeouts == [32.0]


def test_a_provisional_response_stops_repetition_and_timeout_of_an_invite() -> None:
    client = Client()
    client.turn(1)
    client.get(100)
    client.get(180)

    client.turn(300)

    assert len(client.sent) == 2
    assert client.timeouts == []
    assert client.told == [180]  # 100 is between neighbours


def test_a_provisional_response_does_not_end_the_wait_of_other_requests() -> None:
    client = Client("UPDATE")
    client.get(100)

    client.turn(60)

    assert client.timeouts == [32.0]


@pytest.mark.parametrize("code", [200, 404, 600])
def test_a_final_response_ends_other_requests_and_is_told_once(code: int) -> None:
    client = Client("BYE")
    client.get(code)
    client.get(code)
    client.turn(60)

    assert client.told == [code]
    assert client.methods() == ["BYE"]
    assert client.timeouts == []


def test_a_refusal_of_an_invite_is_acknowledged_each_time_and_told_once() -> None:
    client = Client()
    client.get(486)
    client.get(486)
    client.get(603)

    assert client.told == [486]
    assert client.methods() == ["INVITE", "ACK", "ACK", "ACK"]
    ack = client.last()
    assert ack.headers["To"] == "<sip:bob@x>;tag=t"
    assert ack.headers["CSeq"] == "7 ACK"
    assert ack.headers["Via"] == client.request.headers["Via"]
    assert ack.headers.getlist("Route") == ["<sip:a.example;lr>", "<sip:b.example;lr>"]
    assert str(ack.uri) == "sip:bob@192.0.2.1"
    assert ack.body == b""
    assert "X-Own" not in ack.headers.keys()


def test_a_positive_answer_is_not_acknowledged_but_told_each_time() -> None:
    """RFC 6026: the ACK for a 2xx belongs to the dialog."""
    client = Client()
    client.get(180)
    client.get(200)
    client.get(200)
    client.turn(60)

    assert client.told == [180, 200, 200]
    assert client.methods() == ["INVITE"]


def test_a_provisional_after_the_final_is_dropped() -> None:
    client = Client()
    client.get(200)
    client.get(180)

    assert client.told == [200]


def test_a_refusal_after_the_timeout_is_not_told() -> None:
    client = Client()
    client.turn(60)
    client.get(486)

    assert client.told == []


def test_a_cancel_waits_for_the_first_provisional_response() -> None:
    """RFC 3261 section 9.1."""
    client = Client()
    client.transaction.cancel()
    client.turn(1)
    assert set(client.methods()) == {"INVITE"}

    client.get(100)

    assert client.methods()[-1] == "CANCEL"
    cancel = client.last()
    assert cancel.headers["Via"] == client.request.headers["Via"]
    assert cancel.headers["CSeq"] == "7 CANCEL"
    assert cancel.headers["To"] == "<sip:bob@x>"
    assert cancel.headers.getlist("Route") == ["<sip:a.example;lr>", "<sip:b.example;lr>"]


def test_a_cancel_of_a_ringing_call_goes_at_once_and_only_once_per_wish() -> None:
    client = Client(reliable=True)
    client.get(180)
    client.transaction.cancel()
    client.transaction.cancel()
    client.get(180)

    assert client.methods() == ["INVITE", "CANCEL"]
    assert client.told == [180]


def test_a_cancel_after_the_final_response_does_nothing() -> None:
    client = Client()
    client.get(200)
    client.transaction.cancel()

    assert client.methods() == ["INVITE"]


def test_the_answer_that_crosses_a_cancel_is_told() -> None:
    client = Client()
    client.get(180)
    client.transaction.cancel()
    client.get(200)

    assert client.told == [180, 200]


def test_a_cancel_is_repeated_over_udp_until_something_final_comes() -> None:
    """Section 9.1: CANCEL is a transaction of its own."""
    client = Client()
    client.get(180)
    client.transaction.cancel()
    client.turn(2)
    assert client.methods().count("CANCEL") >= 2

    client.get(487)
    before = len(client.sent)
    client.turn(60)

    assert len(client.sent) == before


def test_a_cancelled_invite_without_a_final_response_is_given_up() -> None:
    """Section 9.1, last paragraph: 64*T1 after the CANCEL; otherwise it would be kept for ever."""
    client = Client()
    client.get(180)
    client.transaction.cancel()

    client.turn(2 * TIMEOUT)

    assert len(client.timeouts) == 1


@given(
    st.lists(
        st.one_of(
            st.sampled_from([100, 180, 183, 200, 202, 302, 486, 487, 603]),
            st.just("cancel"),
            st.floats(0.1, 40),
        )
    ),
    st.sampled_from(["INVITE", "BYE"]),
    st.booleans(),
)
def test_no_order_of_events_raises_or_tells_two_ends(events: list[Any], method: str, reliable: bool) -> None:
    client = Client(method, reliable=reliable)
    for event in events:
        if event == "cancel":
            if method == "INVITE":
                client.transaction.cancel()
        elif isinstance(event, float):
            client.turn(event)
        else:
            client.get(event)
    client.turn(100)

    refusals = [code for code in client.told if code >= 300]
    assert len(refusals) + len(client.timeouts) <= 1
    if method == "BYE":
        assert len([code for code in client.told if code >= 200]) + len(client.timeouts) == 1
    client.transaction.stop()
    assert [call for call in client.clock.getDelayedCalls() if call.active()] == []


# ------------------------------------------------------------------------- server


class Server:
    def __init__(self, *, reliable: bool = False) -> None:
        self.clock = Clock()
        self.sent: list[tuple[float, int]] = []
        self.request = request()
        self.server = InviteServer(
            self.clock,
            self.request,
            lambda data: self.sent.append((self.clock.seconds(), int(data.split()[1]))),
            reliable=reliable,
        )

    def turn(self, seconds: float) -> None:
        for _ in range(int(seconds / 0.25)):
            self.clock.advance(0.25)

    def say(self, code: int) -> None:
        self.server.respond(response_to(self.request, code))


def test_a_refusal_is_repeated_until_it_is_acknowledged() -> None:
    """Section 17.2.1, timer G."""
    server = Server()
    server.say(486)
    server.turn(4)
    server.server.ack()
    server.turn(60)

    assert server.sent == [(0, 486), (0.5, 486), (1.5, 486), (3.5, 486)]
    assert server.server.acknowledged


def test_a_refusal_that_is_never_acknowledged_is_given_up_after_32_seconds() -> None:
    server = Server()
    server.say(486)
    server.turn(100)

    assert server.sent[-1][0] < TIMEOUT
    assert [at for at, _ in server.sent[4:6]] == [7.5, 11.5]
    assert server.clock.getDelayedCalls() == []


def test_a_refusal_is_not_repeated_over_tcp() -> None:
    server = Server(reliable=True)
    server.say(486)
    server.turn(60)

    assert len(server.sent) == 1


def test_a_repeated_invite_gets_the_last_response_again() -> None:
    server = Server()
    server.server.repeated()
    server.say(100)
    server.server.repeated()
    server.say(180)
    server.server.repeated()

    assert [code for _, code in server.sent] == [100, 100, 180, 180]


def test_a_repeated_invite_after_the_answer_is_absorbed() -> None:
    """RFC 6026 section 7.1: the repetition of a 2xx is the business of the worker."""
    server = Server()
    server.say(200)
    server.server.repeated()
    server.say(200)

    assert [code for _, code in server.sent] == [200, 200]


@pytest.mark.parametrize(("first", "then"), [(486, 200), (486, 603), (200, 486), (200, 180), (486, 180)])
def test_after_the_final_response_no_other_follows(first: int, then: int) -> None:
    server = Server()
    server.say(first)
    server.say(then)

    assert [code for _, code in server.sent] == [first]


# ------------------------------------------------------------------------- table


def test_a_linger_forgets_in_order_and_only_what_is_over() -> None:
    clock = Clock()
    table: Linger[str, int] = Linger(clock, 10)
    table.put("a", 1)
    clock.advance(5)
    table.put("b", 2)
    clock.advance(5)

    assert table.sweep() == [("a", 1)]
    assert table.get("a") is None
    assert table.get("b") == 2
    assert table.pop("b") == 2
    assert table.pop("b") is None
    assert len(table) == 0


def test_a_renewed_entry_lives_longer() -> None:
    clock = Clock()
    table: Linger[str, int] = Linger(clock, 10)
    table.put("a", 1)
    table.put("b", 2)
    clock.advance(6)
    table.put("a", 3)
    clock.advance(6)

    assert table.sweep() == [("b", 2)]
    assert table.get("a") == 3
