"""Registrations from the rows to the requests; the clock and the provider are the test's."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from sipmessage import URI
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from voiceengine.gateways.keeper import STOP_SECONDS, GatewayKeeper
from voiceengine.sip.message import Answer
from voiceengine.sip.own_requests import CannotSend
from voiceengine.sip.transport import Listener
from voiceengine.store.rows import Gateway

pytestmark = pytest.mark.unit

GW = "GW" + "1" * 32
ROW = Gateway(sid=GW, friendly_name="g", user_name="trunk", password="secret", proxy="192.0.2.1")


@attrs.frozen
class FlowTo:
    """A flow as far as a registrant looks at it."""

    host: str
    transport: str = "udp"
    listener: Listener = attrs.field(
        factory=lambda: Listener("udp://0.0.0.0:5060", "udp", "0.0.0.0", 5060, "198.51.100.1")
    )


class Sent:
    """A request that waits for its answer."""

    def __init__(self, method: str, uri: str, flow: FlowTo, options: dict[str, Any]) -> None:
        self.method = method
        self.uri = uri
        self.flow = flow
        self.cancelled = False
        self.contact: str = options["contact"]
        self.expires = int(dict(options["headers"])["Expires"])
        self.options = options
        self.answer: Deferred[Answer] = Deferred(self._cancel)

    def _cancel(self, _: Deferred[Answer]) -> None:
        self.cancelled = True

    def reply(self, code: int, *headers: tuple[str, str]) -> None:
        self.answer.callback(Answer(code=code, headers=headers))


class Provider:
    """Takes what the edge would send."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.away = False
        self.unusable = False
        self.address = "192.0.2.1"
        """Of sip.example.net."""

    async def flow_to_uri(self, uri: URI) -> Any:
        if self.away:
            raise OSError("no route")
        return FlowTo(self.address if uri.host == "sip.example.net" else uri.host.strip("[]"))

    async def request(self, method: str, uri: str, flow: Any, **options: Any) -> Answer:
        if self.unusable:
            raise CannotSend("a header")
        self.sent.append(Sent(method, uri, flow, options))
        return await self.sent[-1].answer

    @property
    def last(self) -> Sent:
        return self.sent[-1]


class Rows:
    """As much of the store as the keeper uses."""

    def __init__(self, *rows: Gateway) -> None:
        self.gateways = self
        self.rows = {row.sid: row for row in rows}

    def all(self) -> tuple[Gateway, ...]:
        return tuple(self.rows.values())


class Bench:
    """A keeper that was started with some rows."""

    def __init__(self, *rows: Gateway) -> None:
        self.clock = Clock()
        self.provider = Provider()
        self.rows = Rows(*rows)
        store: Any = self.rows
        self.keeper = GatewayKeeper(self.clock, store, self.provider)
        self.keeper.start()

    def change(self, **changes: Any) -> None:
        self.rows.rows[GW] = attrs.evolve(self.rows.rows[GW], **changes)
        self.keeper.changed()

    def remove(self) -> None:
        del self.rows.rows[GW]
        self.keeper.changed()

    @property
    def state(self) -> str:
        return self.keeper.state(GW)

    @property
    def last(self) -> Sent:
        return self.provider.last

    def idle(self) -> bool:
        return self.clock.getDelayedCalls() == []


def registered(**changes: Any) -> Bench:
    bench = Bench(attrs.evolve(ROW, **changes))
    bench.last.reply(200)
    return bench


def test_a_row_is_registered_as_the_provider_expects() -> None:
    bench = Bench(attrs.evolve(ROW, proxy="sip.example.net:5070", time_to_live=600))
    sent = bench.last

    assert bench.state == "registering"
    assert (sent.method, sent.uri, sent.expires) == ("REGISTER", "sip:sip.example.net:5070", 600)
    assert sent.contact == "<sip:trunk@198.51.100.1:5060>"
    assert sent.options["from_"] == sent.options["to"] == "<sip:trunk@sip.example.net>"
    assert (sent.options["username"], sent.options["password"]) == ("trunk", "secret")

    sent.reply(200)

    assert bench.state == "registered"
    assert bench.keeper.count() == 1
    assert bench.keeper.at("192.0.2.1") == GW
    assert bench.keeper.at("192.0.2.99") is None


@pytest.mark.parametrize(
    "headers",
    [
        [("Contact", "<sip:trunk@198.51.100.1:5060>;expires=100")],
        [("Contact", "<sip:other@192.0.2.7>;expires=9, <sip:trunk@198.51.100.1:5060>;expires=100")],
        [("Expires", "100"), ("Contact", "<sip:trunk@198.51.100.1:5060>")],
        [("Contact", "<sip:trunk@10.0.0.1:1024>;expires=100")],
        [("Expires", "100"), ("Contact", '"broken <sip:')],
        [("Expires", "100"), ("Contact", "tel:+1555")],
    ],
)
def test_it_is_refreshed_with_the_next_numbers_when_most_of_the_time_is_over(
    headers: list[tuple[str, str]],
) -> None:
    bench = Bench(ROW)
    first = bench.last
    first.reply(200, *headers)

    bench.clock.advance(79)
    assert len(bench.provider.sent) == 1
    bench.clock.advance(12)
    assert len(bench.provider.sent) == 2
    assert bench.last.options["call_id"] == first.options["call_id"]
    assert bench.last.options["cseq"] > first.options["cseq"]

    bench.last.reply(200)
    assert bench.state == "registered"


def test_ipv6_addresses_are_compared_as_addresses() -> None:
    bench = registered(proxy="[2001:DB8::0:1]")

    assert bench.keeper.at("2001:db8::1") == GW


def test_only_an_address_that_granted_a_registration_is_trusted() -> None:
    bench = registered(proxy="sip.example.net", time_to_live=60)
    bench.provider.address = "203.0.113.66"
    bench.clock.advance(54)

    assert bench.last.flow.host == "203.0.113.66"
    assert bench.keeper.at("203.0.113.66") is None
    assert bench.keeper.at("192.0.2.1") == GW
    bench.last.reply(503)
    assert bench.keeper.at("203.0.113.66") is None
    bench.clock.advance(3)
    bench.last.reply(200)
    assert bench.keeper.at("203.0.113.66") == GW
    assert bench.keeper.at("192.0.2.1") is None


def test_the_interval_of_a_423_is_taken_at_once() -> None:
    bench = Bench(attrs.evolve(ROW, time_to_live=60))
    bench.last.reply(423, ("Min-Expires", "1800"))
    bench.clock.advance(0)

    assert bench.last.expires == 1800


def test_a_wrong_password_is_refused_until_the_row_has_another() -> None:
    bench = Bench(ROW)
    bench.last.reply(401)

    assert bench.state == "refused"
    bench.clock.advance(600)
    assert len(bench.provider.sent) == 1
    bench.change(password="right")
    bench.last.reply(200)
    assert bench.state == "registered"
    assert [sent.expires for sent in bench.provider.sent] == [3600, 3600]


@pytest.mark.parametrize("how", ["away", "unanswered"])
def test_a_provider_that_is_away_is_tried_again(how: str) -> None:
    if how == "away":
        bench = Bench(attrs.evolve(ROW, register=False))
        bench.provider.away = True
        bench.change(register=True)
    else:
        bench = Bench(ROW)
        bench.last.reply(408)

    assert bench.state == "unreachable"
    bench.provider.away = False
    bench.clock.advance(30)
    bench.last.reply(200)
    assert bench.state == "registered"


def test_a_registration_that_lapses_counts_no_more() -> None:
    bench = registered(time_to_live=60)
    bench.clock.advance(54)
    bench.last.reply(503)

    assert bench.keeper.at("192.0.2.1") == GW
    bench.clock.advance(4)
    bench.last.reply(503)
    bench.clock.advance(10)
    assert bench.keeper.at("192.0.2.1") is None
    assert bench.keeper.count() == 0


def test_a_row_that_cannot_be_written_is_refused() -> None:
    bench = Bench()
    bench.provider.unusable = True
    bench.rows.rows[GW] = ROW
    bench.keeper.changed()

    assert bench.state == "refused"


def test_a_row_that_shall_not_register_is_off() -> None:
    bench = Bench(attrs.evolve(ROW, register=False))

    assert bench.state == "off"
    assert bench.provider.sent == []
    assert bench.keeper.state("GW" + "9" * 32) == "off"


def test_what_changes_nothing_sends_nothing() -> None:
    bench = registered()
    bench.change(friendly_name="another")
    bench.keeper.changed()

    assert len(bench.provider.sent) == 1


@pytest.mark.parametrize("how", ["removed", "switched off"])
def test_who_leaves_unregisters(how: str) -> None:
    bench = registered()
    if how == "removed":
        bench.remove()
    else:
        bench.change(register=False)

    assert bench.last.expires == 0
    assert bench.last.options["timeout"] <= 4
    bench.keeper.changed()  # another change does not disturb it
    assert not bench.last.cancelled
    bench.last.reply(200)
    assert bench.state == "off"
    assert bench.keeper.at("192.0.2.1") is None
    assert bench.idle()


def test_one_that_moves_unregisters_at_the_old_place_first() -> None:
    bench = registered()
    bench.change(proxy="192.0.2.2")

    assert (bench.last.flow.host, bench.last.expires) == ("192.0.2.1", 0)
    bench.last.reply(200)
    assert (bench.last.flow.host, bench.last.expires) == ("192.0.2.2", 3600)
    bench.last.reply(200)
    assert bench.keeper.at("192.0.2.2") == GW
    assert bench.keeper.at("192.0.2.1") is None


def test_one_that_moves_while_it_registers_unregisters_as_well() -> None:
    bench = Bench(ROW)
    first = bench.last
    bench.change(proxy="192.0.2.2")

    assert first.cancelled
    assert (bench.last.flow.host, bench.last.expires) == ("192.0.2.1", 0)


def test_one_that_was_refused_has_nothing_to_take_back() -> None:
    bench = Bench(ROW)
    bench.last.reply(403)
    bench.remove()

    assert len(bench.provider.sent) == 1
    assert bench.idle()


def test_the_end_unregisters_all() -> None:
    other = attrs.evolve(ROW, sid="GW" + "2" * 32, user_name="other")
    bench = Bench(ROW, other)
    for sent in list(bench.provider.sent):
        sent.reply(200)
    ended = Deferred.fromCoroutine(bench.keeper.stop())

    assert [sent.expires for sent in bench.provider.sent] == [3600, 3600, 0, 0]
    assert not ended.called
    for sent in bench.provider.sent[2:]:
        sent.reply(200)
    assert ended.called
    assert bench.idle()
    bench.keeper.changed()
    assert len(bench.provider.sent) == 4


def test_the_end_does_not_wait_for_a_provider_that_is_away() -> None:
    bench = registered()
    ended = Deferred.fromCoroutine(bench.keeper.stop())
    bench.clock.advance(STOP_SECONDS)

    assert ended.called
    assert bench.last.cancelled
    assert bench.idle()
    assert bench.keeper.count() == 0


def test_no_secret_is_written_anywhere() -> None:
    assert "secret" not in repr(ROW)
