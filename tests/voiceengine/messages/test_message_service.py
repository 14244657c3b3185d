"""Messages from a program to the phone network, to clients and to numbers of the engine itself."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from message_world import AC, NOW, OTHER, World
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from rcml.ports import CallInfo, Direction, MessageRefused, OutgoingMessage
from voiceengine.errors import CallControlError
from voiceengine.messages.documents import DocumentMessages
from voiceengine.messages.requests import LimitReached, SendMessage
from voiceengine.store import Store

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


def text(to: str, **changes: Any) -> SendMessage:
    values = {"account_sid": AC, "from_": "19876543212", "body": "Test SMS", **changes}
    return SendMessage(to=to, **values)


# ------------------------------------------------------------------ to the phone network


@pytest_twisted.ensureDeferred
async def test_the_trunk_gets_a_message(world: World) -> None:
    row = await world.service.send(text("13216549878", body="Grüße ☺", headers=(("X-A", "1"),)))
    sent = await world.edge.nth(1)

    assert (row.status, row.direction, row.date_sent) == ("sending", "outbound-api", None)
    assert sent.uri == "sip:13216549878@trunk.example:5080"
    assert sent.text == "Grüße ☺"
    assert sent.options["from_"] == "<sip:19876543212@trunk.example>"
    assert sent.options["content_type"] == "text/plain;charset=UTF-8"
    assert sent.headers == {"X-Message-Sid": row.sid, "X-A": "1"}
    assert (await world.row(row.sid)).status == "sending"


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        (200, "delivered", None),
        (202, "sent", None),
        (403, "failed", 30004),
        (404, "failed", 30005),
        (408, "failed", 30003),
        (480, "failed", 30003),
        (503, "failed", 30008),
        (603, "failed", 30007),
        (604, "failed", 30005),
    ],
)
@pytest_twisted.ensureDeferred
async def test_the_answer_of_the_trunk_decides(
    world: World, code: int, status: str, error: int | None
) -> None:
    world.clock.advance(5)
    world.edge.codes["*"] = code
    row = await world.row((await world.service.send(text("13216549878"))).sid)

    assert (row.status, row.error_code) == (status, error)
    assert (row.error_message is None) == (error is None)
    assert row.date_sent == (None if error else NOW + 5)
    assert row.num_segments == 1


@pytest_twisted.ensureDeferred
async def test_callbacks_come_in_order(world: World) -> None:
    sent = text("13216549878", status_callback=f"{world.url}/status")
    row = await world.service.send(sent)
    (await world.edge.nth(1)).answer(200)
    first, second = await world.app.nth("/status", 1), await world.app.nth("/status", 2)
    expected = {
        "MessageSid": row.sid,
        "MessageStatus": "sent",
        "AccountSid": AC,
        "From": "19876543212",
        "To": "13216549878",
        "Body": "Test SMS",
    }

    assert first == expected
    assert second == {**expected, "MessageStatus": "delivered"}
    assert {method for method, _, _ in world.app.seen} == {"POST"}


@pytest_twisted.ensureDeferred
async def test_a_failure_is_told_once_and_by_get_when_asked(world: World) -> None:
    world.edge.codes["*"] = 404
    await world.service.send(
        text("1321", status_callback=f"{world.url}/status", status_callback_method="GET")
    )
    told = await world.app.nth("/status")

    assert (told["MessageStatus"], told["ErrorCode"]) == ("failed", "30005")
    assert [method for method, _, _ in world.app.seen] == ["GET"]
    await world.stop()
    assert len(world.app.seen) == 1


@pytest_twisted.ensureDeferred
async def test_a_callback_that_fails_changes_nothing(world: World) -> None:
    world.edge.codes["*"] = 200
    row = await world.service.send(text("1321", status_callback="http://127.0.0.1:1/nobody"))

    assert (await world.row(row.sid)).status == "delivered"
    await world.stop()


@pytest.mark.parametrize(
    ("status", "expected", "error"),
    [("delivered", "delivered", None), ("failed", "undelivered", 30003), ("error", "undelivered", 30003)],
)
@pytest_twisted.ensureDeferred
async def test_a_delivery_report_comes_later(
    world: World, status: str, expected: str, error: int | None
) -> None:
    world.edge.codes["*"] = 202
    row = await world.service.send(text("1321", status_callback=f"{world.url}/status"))
    report = (
        '<?xml version="1.0"?><imdn xmlns="urn:ietf:params:xml:ns:imdn">'
        f"<message-id>{row.sid}</message-id><datetime>2026-01-01T00:00:00Z</datetime>"
        f"<delivery-notification><status><{status}/></status></delivery-notification></imdn>"
    )
    came = world.arrives("19876543212", report, trunk=True, content_type="message/imdn+xml")
    told = await world.app.nth("/status", 2)
    found = await world.row(row.sid)

    assert came.code == 200
    assert (told["MessageStatus"], told.get("ErrorCode")) == (expected, str(error) if error else None)
    assert (found.status, found.error_code) == (expected, error)
    assert found.date_sent == NOW
    again = world.arrives(
        "1", report.replace(f"<{status}/>", "<failed/>"), trunk=True, content_type="message/imdn+xml"
    )
    assert again.code == 200
    assert (await world.row(row.sid)).status == expected  # it never goes back


@pytest_twisted.ensureDeferred
async def test_a_report_that_overtakes_the_answer_counts(world: World) -> None:
    row = await world.service.send(text("1321"))
    report = f"<imdn><message-id>{row.sid}</message-id><delivery-notification><status><delivered/>"
    world.arrives("1", report, trunk=True, content_type="message/imdn+xml")
    (await world.edge.nth(1)).answer(202)

    assert (await world.row(row.sid)).status == "delivered"


@pytest_twisted.ensureDeferred
async def test_the_first_of_two_reports_counts(world: World) -> None:
    world.edge.codes["*"] = 202
    row = await world.service.send(text("1321", status_callback=f"{world.url}/status"))
    await world.app.nth("/status")
    for status in ("delivered", "failed"):
        report = f"<imdn><message-id>{row.sid}</message-id><delivery-notification><status><{status}/>"
        world.arrives("1", report, trunk=True, content_type="message/imdn+xml")
    await world.app.nth("/status", 2)
    await world.stop()

    assert (await world.row(row.sid)).status == "delivered"
    assert [told["MessageStatus"] for told in world.app.asked("/status")] == ["sent", "delivered"]


@pytest.mark.parametrize("change", ["forget", "redact"])
@pytest_twisted.ensureDeferred
async def test_what_is_removed_while_a_report_comes_stays_removed(world: World, change: str) -> None:
    world.edge.codes["*"] = 202
    row = await world.row((await world.service.send(text("1321"))).sid)
    report = f"<imdn><message-id>{row.sid}</message-id><delivery-notification><status><delivered/>"
    world.arrives("1", report, trunk=True, content_type="message/imdn+xml")
    if change == "forget":
        await world.service.forget(row.sid)
        await world.store.messages.delete(row.sid)
    else:
        await world.service.redact(row)
        await world.until(lambda: not world.service.ledger._reported)
    rows = await world.rows()

    assert [(found.body, found.status) for found in rows] == (
        [] if change == "forget" else [("", "delivered")]
    )


@pytest_twisted.ensureDeferred
async def test_reports_are_taken_from_trunks_only(world: World) -> None:
    report = "<imdn><message-id>SM1</message-id></imdn>"

    assert world.arrives("1", report, content_type="message/imdn+xml").code == 403
    assert world.arrives("1", report, trunk=True, content_type="message/imdn+xml").code == 400


@pytest_twisted.ensureDeferred
async def test_a_trunk_that_cannot_be_reached_is_a_carrier_problem(world: World) -> None:
    world.edge.unreachable = True

    assert (await world.row((await world.service.send(text("1321"))).sid)).error_code == 30006


@pytest_twisted.ensureDeferred
async def test_without_proxy_nothing_goes_out(tmp_path: Path) -> None:
    world = await make(tmp_path, **{"sip.outbound_proxy.uri": ""})

    assert (await world.row((await world.service.send(text("1321"))).sid)).error_code == 30006
    await world.close()


@pytest_twisted.ensureDeferred
async def test_the_proxy_says_how_numbers_and_senders_are_written(tmp_path: Path) -> None:
    world = await make(
        tmp_path,
        **{
            "sip.outbound_proxy.number_format": "e164",
            "sip.outbound_proxy.username": "u",
            "sip.outbound_proxy.password": "p",
            "sip.outbound_proxy.from_user": "username",
            "sip.outbound_proxy.asserted_identity": True,
        },
    )
    await world.service.send(text("5125550100", from_="dev test"))
    await world.service.send(text("12345"))
    await world.service.send(text("nobody"))

    first, second = world.edge.sent
    assert first.uri == "sip:+15125550100@trunk.example:5080"
    assert first.options["from_"] == "<sip:u@trunk.example>"
    assert first.headers["P-Asserted-Identity"] == "<sip:dev%20test@trunk.example>"
    assert (first.options["username"], first.options["password"]) == ("u", "p")
    assert second.uri == "sip:12345@trunk.example:5080"  # a short code has no other form
    assert [row.error_code for row in await world.rows()][2] == 30005
    await world.close()


# ------------------------------------------------------------------ to clients


@pytest_twisted.ensureDeferred
async def test_a_client_gets_it_on_all_phones_and_the_first_success_counts(world: World) -> None:
    world.register("alice", 6001, 6002)
    row = await world.service.send(
        text("client:alice", headers=(("X-A", "1"), ("X-Restcomm-B", "2")), status_callback=f"{world.url}/s")
    )
    phones = {(await world.edge.nth(number)).uri: world.edge.sent[number - 1] for number in (1, 2)}
    phones["sip:alice@127.0.0.1:6001"].answer(480)
    phones["sip:alice@127.0.0.1:6002"].answer(200)
    found = await world.row(row.sid)

    assert phones["sip:alice@127.0.0.1:6001"].headers == {"X-A": "1"}
    assert phones["sip:alice@127.0.0.1:6001"].options["to"] == "<sip:alice@voiceengine>"
    assert (found.to, found.status, found.num_segments) == ("client:alice", "delivered", None)
    await world.stop()
    assert world.app.seen == []


@pytest_twisted.ensureDeferred
async def test_a_client_who_refuses_everywhere(world: World) -> None:
    world.register("alice", 6001, 6002)
    world.edge.codes["*"] = 603
    row = await world.row((await world.service.send(text("client:alice"))).sid)

    assert (row.status, row.error_code) == ("failed", 30007)


@pytest.mark.parametrize(("to", "error"), [("client:alice", 30003), ("client:nobody", 30005)])
@pytest_twisted.ensureDeferred
async def test_a_client_who_is_not_there(world: World, to: str, error: int) -> None:
    row = await world.row((await world.service.send(text(to))).sid)

    assert (row.status, row.error_code) == ("failed", error)


@pytest_twisted.ensureDeferred
async def test_a_client_of_an_account_that_is_not_active_gets_nothing(world: World) -> None:
    client = world.register("alice")
    await world.store.clients.update(attrs.evolve(client, account_sid=OTHER))
    world.register("alice")
    owner = world.store.accounts.get(OTHER)
    assert owner is not None
    await world.store.accounts.update(attrs.evolve(owner, status="suspended"))
    row = await world.row((await world.service.send(text("client:alice"))).sid)

    assert (row.status, row.error_code) == ("failed", 30004)
    assert world.edge.sent == []


@pytest_twisted.ensureDeferred
async def test_headers_of_a_program_are_kept_as_they_are_sent(world: World) -> None:
    headers = (("X-A", "1\r\nVia: x"), ("X-Empty", ""), ("Via", "x"), ("X-Message-Hops", "0"))
    many = tuple((f"X-{number}", "y" * 2000) for number in range(100))
    row = await world.service.send(text("1321", headers=(*headers, *many)))
    kept = json.loads((await world.row(row.sid)).headers)

    assert kept["X-A"] == "1 Via: x"
    assert len(kept) == 32
    assert "X-Empty" not in kept
    assert max(map(len, kept.values())) == 1000
    assert (await world.edge.nth(1)).headers == {"X-Message-Sid": row.sid, **kept}


# ------------------------------------------------------------------ to numbers of the engine


@pytest_twisted.ensureDeferred
async def test_a_number_of_the_engine_gets_it_without_the_trunk(world: World) -> None:
    number = await world.number("+15125550100", OTHER, is_sip=False)
    row = await world.service.send(text("15125550100", status_callback=f"{world.url}/status"))
    asked = await world.app.nth("/sms")
    await world.app.nth("/status", 2)
    out, came = await world.rows()

    assert world.edge.sent == []
    assert (out.sid, out.status, out.account_sid) == (row.sid, "delivered", AC)
    assert (came.status, came.direction, came.account_sid) == ("received", "incoming", OTHER)
    assert (came.number_sid, came.date_sent) == (number.sid, NOW)
    assert (asked["SmsSid"], asked["AccountSid"], asked["Body"]) == (came.sid, OTHER, "Test SMS")
    assert [seen["MessageStatus"] for seen in world.app.asked("/status")] == ["sent", "delivered"]


@pytest_twisted.ensureDeferred
async def test_a_number_of_an_account_that_is_not_active_blocks(world: World) -> None:
    await world.number("1111", OTHER)
    owner = world.store.accounts.get(OTHER)
    assert owner is not None
    await world.store.accounts.update(attrs.evolve(owner, status="suspended"))

    assert (await world.row((await world.service.send(text("1111"))).sid)).error_code == 30004


@pytest_twisted.ensureDeferred
async def test_an_application_that_answers_itself_ends(world: World) -> None:
    await world.number("1111")
    await world.number("2222")
    world.app.replies["/sms"] = (200, b"<Response><Sms>again</Sms></Response>")
    await world.service.send(text("1111", from_="2222"))
    await world.until(lambda: world.service._applications.running == ())
    rows = await world.rows()
    lost = [row for row in rows if row.status == "failed"]

    assert [row.error_code for row in lost] == [30004]
    assert len(world.app.asked("/sms")) == 11


# ------------------------------------------------------------------ what is not taken


@pytest_twisted.ensureDeferred
async def test_an_account_that_is_not_active_sends_nothing(world: World) -> None:
    account = world.store.accounts.get(AC)
    assert account is not None
    await world.store.accounts.update(attrs.evolve(account, status="suspended"))
    with pytest.raises(CallControlError) as caught:
        await world.service.send(text("1321"))

    assert (caught.value.status, caught.value.code) == (403, 30002)
    assert await world.rows() == []


@pytest_twisted.ensureDeferred
async def test_more_than_the_limit_in_a_second_is_refused(tmp_path: Path) -> None:
    world = await make(tmp_path, **{"messages.per_second": 2})
    await world.service.send(text("1"))
    world.clock.advance(0.5)
    await world.service.send(text("1"))
    with pytest.raises(LimitReached):
        await world.service.send(text("1"))
    await world.service.send(text("1", account_sid=OTHER))
    world.clock.advance(0.5)
    await world.service.send(text("1"))

    documents = DocumentMessages(world.service, account_sid=OTHER, call_sid=None, hops=0)
    await world.service.send(text("1", account_sid=OTHER))
    with pytest.raises(MessageRefused) as refused:
        await documents.send(OutgoingMessage(to="1", from_="2", body="x"))

    assert refused.value.code == 11001
    assert len(await world.rows()) == 5
    await world.close()


@pytest.mark.parametrize(
    "changes", [{"to": "+++"}, {"from_": "123456"}, {"body": " "}, {"body": "x" * 10_001}, {"to": ""}]
)
@pytest_twisted.ensureDeferred
async def test_what_cannot_be_sent_is_refused(tmp_path: Path, changes: dict[str, str]) -> None:
    world = await make(tmp_path, **{"calls.normalize_numbers": True})
    wanted = attrs.evolve(text("5125550100", from_="dev-test"), **changes)
    if changes.get("from_") == "123456":
        wanted = attrs.evolve(wanted, from_="+")
    with pytest.raises(CallControlError) as caught:
        await world.service.send(wanted)

    assert caught.value.status == 400
    await world.close()


# ------------------------------------------------------------------ the end


@pytest_twisted.ensureDeferred
async def test_a_stop_closes_what_is_on_its_way(world: World) -> None:
    row = await world.service.send(text("1321", status_callback=f"{world.url}/status"))
    done = Deferred.fromCoroutine(world.service.stop())
    with pytest.raises(CallControlError):
        await world.service.send(text("1321"))
    assert world.arrives("1111").code == 503
    world.clock.advance(5)
    await done
    found = await world.row(row.sid)

    assert (found.status, found.error_code) == ("failed", 30008)
    assert world.app.asked("/status")[0]["MessageStatus"] == "failed"


@pytest_twisted.ensureDeferred
async def test_a_message_that_was_forgotten_is_not_written_again(world: World) -> None:
    row = await world.service.send(text("1321"))
    await world.service.forget(row.sid)
    await world.store.messages.delete(row.sid)
    (await world.edge.nth(1)).answer(200)

    assert await world.rows() == []


@pytest_twisted.ensureDeferred
async def test_a_redacted_message_stays_so(world: World) -> None:
    row = await world.service.send(text("1321", status_callback=f"{world.url}/status"))
    assert (await world.service.redact(row)).body == ""
    (await world.edge.nth(1)).answer(200)
    told = await world.app.nth("/status", 2)
    found = await world.row(row.sid)

    assert (found.body, found.status, told["Body"]) == ("", "delivered", "")
    assert (await world.service.redact(found)).status == "delivered"


# ------------------------------------------------------------------ documents of calls


CALL = CallInfo(
    call_sid="CA" + "1" * 32,
    instance_id="",
    account_sid=AC,
    from_="+15550001",
    to="1111",
    direction=Direction.INBOUND,
    timestamp="",
)


@pytest_twisted.ensureDeferred
async def test_a_document_learns_what_became_of_its_message(world: World) -> None:
    world.edge.codes.update({"1321": 200, "1404": 404})
    port = world.service.messages(CALL)
    receipts = [await port.send(OutgoingMessage(to=to, from_="1111", body="x")) for to in ("1321", "1404")]
    row = await world.row(receipts[0].sid)

    assert [receipt.status for receipt in receipts] == ["sent", "failed"]
    assert (row.direction, row.call_sid) == ("outbound-reply", CALL.call_sid)


@pytest_twisted.ensureDeferred
async def test_a_document_waits_a_few_seconds_only(world: World) -> None:
    work = Deferred.fromCoroutine(
        world.service.messages(CALL).send(OutgoingMessage(to="1321", from_="1111", body="x"))
    )
    world.clock.advance(4)
    receipt = await work
    assert receipt.status == "sending"
    (await world.edge.nth(1)).answer(200)

    assert (await world.row(receipt.sid)).status == "delivered"


@pytest_twisted.ensureDeferred
async def test_a_document_reaches_clients_by_their_name(world: World) -> None:
    world.register("bob")
    world.edge.codes["*"] = 200
    receipt = await world.service.messages(CALL).send(OutgoingMessage(to="bob", from_="1111", body="x"))

    assert (await world.row(receipt.sid)).to == "client:bob"
    assert world.edge.sent[0].uri == "sip:bob@127.0.0.1:6001"


@pytest_twisted.ensureDeferred
async def test_a_document_is_told_what_was_refused(world: World) -> None:
    port = world.service.messages(CALL)
    with pytest.raises(MessageRefused) as caught:
        await port.send(OutgoingMessage(to="1321", from_="1111", body="x" * 10_001))
    assert caught.value.code == 14103
    await world.stop()
    with pytest.raises(MessageRefused) as caught:
        await port.send(OutgoingMessage(to="1321", from_="1111", body="x"))
    assert caught.value.code == 11001
