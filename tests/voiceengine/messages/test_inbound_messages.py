"""MESSAGE requests that arrive, and messages that wait for a client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from message_world import AC, World
from twisted.internet import reactor

from voiceengine.messages.requests import SendMessage
from voiceengine.store import Store
from voiceengine.store.query import ListQuery

pytestmark = pytest.mark.loopback


async def make(tmp_path: Path, **overrides: Any) -> World:
    world = World(await Store.open(tmp_path / "m.sqlite", reactor), **overrides)
    await world.fill()
    return world


@pytest_twisted.async_yield_fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = await make(tmp_path)
    yield made
    await made.close()


@pytest_twisted.async_yield_fixture
async def holding(tmp_path: Path) -> AsyncIterator[World]:
    """Messages wait for clients: two at most, for an hour."""
    overrides = {"messages.offline": "hold", "messages.hold_hours": 1, "messages.hold_limit": 2}
    made = await make(tmp_path, **overrides)
    yield made
    await made.close()


def counted(world: World) -> dict[str, int]:
    return {name: count for name, count in world.service.counters.items() if count}


# ------------------------------------------------------------------ applications


@pytest_twisted.ensureDeferred
async def test_an_application_is_asked_and_its_answer_sent(world: World) -> None:
    number = await world.number("1111")
    world.app.replies["/sms"] = (200, b"<Response><Sms>thanks</Sms></Response>")
    came = world.arrives("1111", headers=(("X-A", "1"), ("X-Message-Hops", "1")))
    asked = await world.app.nth("/sms")
    sent = await world.edge.nth(1)
    sent.answer(200)
    await world.until(lambda: world.service._applications.running == ())
    row, answer = await world.rows()

    assert came.responses == [(202, "")]
    assert asked == {
        "SmsSid": row.sid,
        "MessageSid": row.sid,
        "AccountSid": AC,
        "From": "+15550001",
        "To": "1111",
        "Body": "hello",
        "SmsStatus": "received",
        "ApiVersion": "2012-04-24",
        "SipHeader_X-A": "1",
    }
    assert (row.status, row.direction, row.number_sid) == ("received", "incoming", number.sid)
    assert (answer.from_, answer.to, answer.body) == ("1111", "+15550001", "thanks")
    assert (answer.direction, answer.status) == ("outbound-reply", "delivered")
    assert sent.uri == "sip:+15550001@trunk.example:5080"
    assert sent.headers["X-Message-Hops"] == "2"
    assert counted(world) == {"TextMessageInboundToApp": 1, "TextMessageOutbound": 1}


@pytest_twisted.ensureDeferred
async def test_an_answer_to_a_client_goes_to_its_phone(world: World) -> None:
    await world.number("1111")
    world.register("alice")
    world.edge.codes["*"] = 200
    world.app.replies["/sms"] = (200, b"<Response><Sms>hi</Sms></Response>")
    world.arrives("1111", by="alice")

    assert (await world.edge.nth(1)).uri == "sip:alice@127.0.0.1:6001"


@pytest_twisted.ensureDeferred
async def test_a_failing_application_leaves_a_notification_and_its_fallback_is_asked(world: World) -> None:
    await world.number("1111", sms_fallback_url=f"{world.url}/fallback")
    world.app.replies["/sms"] = (500, b"")
    world.arrives("1111")
    asked = await world.app.nth("/fallback")
    await world.until(lambda: world.service._applications.running == ())
    page = await world.store.notifications.list(ListQuery())

    assert (asked["From"], asked["Body"]) == ("+15550001", "hello")
    assert {row.call_sid for row in page.items} == {asked["SmsSid"]}


@pytest_twisted.ensureDeferred
async def test_a_conversation_keeps_its_cookies(world: World) -> None:
    await world.number("1111")
    world.app.headers["/sms"] = [("Set-Cookie", "state=2")]
    for count in (1, 2):
        world.arrives("1111")
        await world.app.nth("/sms", count)
        await world.until(lambda: world.service._applications.running == ())

    assert world.app.cookies == ["", "state=2"]


@pytest_twisted.ensureDeferred
async def test_a_chain_that_is_too_long_is_refused(world: World) -> None:
    await world.number("1111")

    assert world.arrives("1111", trunk=True, headers=(("X-Message-Hops", "11"),)).code == 483
    assert await world.rows() == []


# ------------------------------------------------------------------ refusals


@pytest_twisted.ensureDeferred
async def test_nobody_is_found(world: World) -> None:
    await world.number("2222", sms_url=None)

    assert world.arrives("9999").responses == [(404, "Not Found")]
    assert world.arrives("2222").code == 404
    assert counted(world) == {"TextMessageNotFound": 2}
    assert sorted(await world.notices()) == [11005, 11005, 12003]


@pytest_twisted.ensureDeferred
async def test_an_account_that_is_not_active(world: World) -> None:
    await world.number("1111")
    account = world.store.accounts.get(AC)
    assert account is not None
    await world.store.accounts.update(attrs.evolve(account, status="suspended"))

    assert world.arrives("1111").responses == [(403, "Account is not ACTIVE")]
    assert world.arrives("1321", by="alice").code == 403


# ------------------------------------------------------------------ relays


@pytest.mark.parametrize(("code", "status"), [(200, "delivered"), (486, "failed")])
@pytest_twisted.ensureDeferred
async def test_a_message_between_clients_is_relayed(world: World, code: int, status: str) -> None:
    world.register("bob")
    came = world.arrives("bob", by="alice", headers=(("X-A", "1"),))
    sent = await world.edge.nth(1)
    assert came.code is None
    sent.answer(code, "Fine")
    (row,) = await world.rows()

    assert came.responses == [(code, "Fine")]
    assert (sent.uri, sent.text, sent.headers) == ("sip:bob@127.0.0.1:6001", "hello", {"X-A": "1"})
    assert sent.options["from_"] == "<sip:alice@127.0.0.1>"
    assert sent.options["timeout"] < 32
    assert (row.from_, row.to, row.direction, row.status) == ("alice", "client:bob", "outbound-call", status)
    assert counted(world) == {"TextMessageInboundToClient": 1}


@pytest.mark.parametrize(
    ("code", "passed"), [(401, (403, "")), (407, (403, "")), (302, (480, "")), (503, (503, "Fine"))]
)
@pytest_twisted.ensureDeferred
async def test_what_the_sender_could_not_act_on_is_a_plain_refusal(
    world: World, code: int, passed: tuple[int, str]
) -> None:
    world.register("bob")
    came = world.arrives("bob", by="alice")
    (await world.edge.nth(1)).answer(code, "Fine")

    assert came.responses == [passed]


@pytest_twisted.ensureDeferred
async def test_no_more_messages_are_answered_at_once_than_the_limit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voiceengine.messages.applications.MAX_RUNNING", 1)
    await world.number("1111")
    assert world.arrives("1111").code == 202
    assert world.arrives("1111").code == 503
    sent = await world.service.send(attrs.evolve(to_alice("x"), to="1111"))

    assert (await world.row(sent.sid)).error_code == 30001
    await world.until(lambda: world.service._applications.running == ())
    assert world.arrives("1111").code == 202


@pytest_twisted.ensureDeferred
async def test_an_empty_header_is_not_passed_on(world: World) -> None:
    world.register("bob")
    world.arrives("bob", by="alice", headers=(("X-A", ""), ("X-B", "1")))

    assert (await world.edge.nth(1)).headers == {"X-B": "1"}


@pytest_twisted.ensureDeferred
async def test_a_client_who_is_not_registered(world: World) -> None:
    assert world.arrives("bob", by="alice").code == 404
    assert await world.notices() == [11001]


@pytest_twisted.ensureDeferred
async def test_a_client_writes_to_the_world(world: World) -> None:
    came = world.arrives("15550009999", by="alice")
    sent = await world.edge.nth(1)
    sent.answer(202)
    (row,) = await world.rows()

    assert came.code == 202
    assert sent.uri == "sip:15550009999@trunk.example:5080"
    assert (row.direction, row.status, row.num_segments) == ("outbound-call", "sent", 1)
    assert counted(world) == {"TextMessageInboundToProxyOut": 1}


@pytest_twisted.ensureDeferred
async def test_a_relay_ends_when_the_engine_stops(world: World) -> None:
    world.register("bob")
    came = world.arrives("bob", by="alice")
    await world.stop()

    assert came.code == 503
    assert [row.status for row in await world.rows()] == ["failed"]


# ------------------------------------------------------------------ waiting


def to_alice(body: str) -> SendMessage:
    return SendMessage(account_sid=AC, from_="1111", to="client:alice", body=body)


@pytest_twisted.ensureDeferred
async def test_messages_wait_for_the_client_and_arrive_in_order(holding: World) -> None:
    world = holding
    first = await world.service.send(to_alice("one"))
    came = world.arrives("alice", "two", by="bob")
    assert came.code == 202
    row = await world.row(first.sid)
    assert (row.status, row.held_until) == ("queued", world.wall() + 3600)

    world.register("alice")
    assert [sent.text for sent in world.edge.sent] == ["one"]
    world.edge.sent[0].answer(200)
    assert [sent.text for sent in world.edge.sent] == ["one", "two"]
    assert world.edge.sent[1].options["from_"] == "<sip:bob@127.0.0.1>"
    world.edge.sent[1].answer(200)

    rows = await world.rows()
    assert [(row.status, row.held_until) for row in rows] == [("delivered", None)] * 2
    world.edge.codes["*"] = 200
    now = await world.service.send(to_alice("three"))
    assert (await world.row(now.sid)).status == "delivered"


@pytest_twisted.ensureDeferred
async def test_a_later_message_goes_behind_those_that_wait(holding: World) -> None:
    world = holding
    await world.service.send(to_alice("one"))
    world.register("alice")
    await world.service.send(to_alice("two"))
    assert [sent.text for sent in world.edge.sent] == ["one"]
    world.edge.sent[0].answer(200)

    assert [sent.text for sent in world.edge.sent] == ["one", "two"]


@pytest_twisted.ensureDeferred
async def test_a_phone_that_does_not_answer_leaves_it_waiting(holding: World) -> None:
    world = holding
    row = await world.service.send(to_alice("one"))
    world.edge.codes["*"] = 408
    world.register("alice")
    assert (await world.row(row.sid)).status == "queued"
    world.edge.codes["*"] = 200
    world.register("alice")

    assert (await world.row(row.sid)).status == "delivered"


@pytest_twisted.ensureDeferred
async def test_a_phone_that_registers_while_another_is_tried_is_tried_too(holding: World) -> None:
    world = holding
    row = await world.service.send(to_alice("one"))
    world.register("alice", 6001)
    old = await world.edge.nth(1)
    world.register("alice", 6002)
    old.answer(408)
    again = {sent.uri: sent for sent in world.edge.sent[1:]}
    assert sorted(again) == ["sip:alice@127.0.0.1:6001", "sip:alice@127.0.0.1:6002"]
    again["sip:alice@127.0.0.1:6001"].answer(408)
    again["sip:alice@127.0.0.1:6002"].answer(200)

    assert (await world.row(row.sid)).status == "delivered"


@pytest_twisted.ensureDeferred
async def test_what_waits_too_long_fails(holding: World) -> None:
    world = holding
    row = await world.service.send(to_alice("one"))
    world.clock.advance(1800)
    later = await world.service.send(to_alice("two"))
    world.clock.advance(1801)
    found = await world.row(row.sid)

    assert (found.status, found.error_code, found.held_until) == ("failed", 30003, None)
    assert (await world.row(later.sid)).status == "queued"
    world.clock.advance(1800)
    assert (await world.row(later.sid)).status == "failed"


@pytest_twisted.ensureDeferred
async def test_no_more_than_the_limit_waits(holding: World) -> None:
    world = holding
    rows = [await world.service.send(to_alice(body)) for body in ("one", "two", "three")]
    found = await world.row(rows[2].sid)

    assert (found.status, found.error_code) == ("failed", 30001)
    assert world.service.waiting == 2


@pytest_twisted.ensureDeferred
async def test_what_waits_survives_a_restart(holding: World) -> None:
    world = holding
    rows = [
        await world.service.send(attrs.evolve(to_alice(body), headers=(("X-A", body),)))
        for body in ("one", "two")
    ]
    await world.stop()
    assert (await world.row(rows[0].sid)).status == "queued"
    world.service = world.make()
    await world.service.start()
    world.edge.codes["*"] = 200
    world.register("alice")

    assert [(sent.text, sent.headers) for sent in world.edge.sent] == [
        ("one", {"X-A": "one"}),
        ("two", {"X-A": "two"}),
    ]
    assert [row.status for row in await world.rows()] == ["delivered", "delivered"]


@pytest_twisted.ensureDeferred
async def test_a_start_delivers_to_clients_who_are_registered(holding: World) -> None:
    world = holding
    row = await world.service.send(to_alice("one"))
    gone = await world.service.send(attrs.evolve(to_alice("two"), to="client:bob"))
    await world.stop()
    world.register("alice")
    bob = world.store.clients.by_login("bob")
    assert bob is not None
    await world.store.clients.delete(bob.sid)
    world.edge.codes["*"] = 200
    world.service = world.make()
    await world.service.start()
    await world.until(lambda: len(world.edge.sent) == 1)

    assert (await world.row(row.sid)).status == "delivered"
    assert (await world.row(gone.sid)).error_code == 30005


@pytest_twisted.ensureDeferred
async def test_a_stop_while_it_is_sent_lets_it_wait_again(holding: World) -> None:
    world = holding
    row = await world.service.send(to_alice("one"))
    world.register("alice")
    assert (await world.row(row.sid)).status == "sending"
    await world.stop()
    found = await world.row(row.sid)

    assert found.status == "queued"
    assert found.held_until is not None


@pytest_twisted.ensureDeferred
async def test_a_message_that_waits_can_be_forgotten(holding: World) -> None:
    world = holding
    row = await world.service.send(to_alice("one"))
    await world.service.forget(row.sid)
    world.register("alice")

    assert world.edge.sent == []


@pytest_twisted.ensureDeferred
async def test_a_suspended_account_loses_what_waits(holding: World) -> None:
    world = holding
    row = await world.service.send(to_alice("one"))
    account = world.store.accounts.get(AC)
    assert account is not None
    await world.store.accounts.update(attrs.evolve(account, status="suspended"))
    world.register("alice")

    assert (await world.row(row.sid)).error_code == 30002
