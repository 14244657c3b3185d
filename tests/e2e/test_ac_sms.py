"""Text messages from phones: applications that answer, and what is passed on (AC69 to AC77)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from harness import EngineProcess, Rest
from session import run
from siptext import Message
from texting import (
    PASSWORD,
    PATIENT,
    USER,
    Carrier,
    carrier_of,
    notice,
    outside,
    reaches,
    row,
    rows,
    sms,
    sms_number,
    start_with_carrier,
    the_row,
    told,
    user_of,
)
from waiting import pause, together
from webapp import Reply, Seen, document
from world import World, case

pytestmark = pytest.mark.loopback

LONG = "Grüße 😀 𝄞 żółć — naïve\r\n\tline two " * 130
"""More than 5,000 bytes in one, two, three and four bytes a character."""


@pytest.fixture(scope="module")
def carrier() -> Iterator[Carrier]:
    """Where messages to numbers outside go."""
    made: Carrier = run(lambda: Carrier().open())
    yield made
    run(made.close)


@pytest.fixture(scope="module")
def engine(engines: Callable[..., EngineProcess], carrier: Carrier) -> EngineProcess:
    """An engine with a way out."""
    return start_with_carrier(engines, carrier)


async def set_status(world: World, account: Rest, status: str) -> None:
    """Change the status of an account below as the super admin."""
    url = f"{world.rest.base_url}/Accounts/{account.account_sid}.json"
    assert (await world.rest._ask("POST", url, data={"Status": status})).status == 200


async def quiet(world: World, *names: str) -> None:
    """Wait until an application has had time for a request that must not come."""
    await pause(0.3)
    assert [world.count(name) for name in names] == [0] * len(names)


async def action_of(world: World) -> Seen:
    """The request for the action; its URL also is the status callback, as the Sms has no other."""

    def found() -> Seen | None:
        seen = world.app.requests(world.path("action"))
        return next((one for one in seen if "SmsSid" in one.form), None)

    seen = await world.app.changes.until(found, PATIENT, "the action")
    assert seen is not None
    return seen


# ------------------------------------------------------------------ to an application


@case
async def test_ac69_a_message_to_a_number_is_told_and_answered_to_a_client(world: World) -> None:
    number = await sms_number(world, sms("Thanks, Zoë 😀"))
    alice = await world.registered("ac69alice")
    headers = [("X-Order", "4711"), ("X-Two", "b, c"), ("Subject", "no"), ("X-Message-Hops", "0")]
    answer = await alice.send_text(
        number, "Hellö & <good> 日本", login=("ac69alice", PASSWORD), headers=headers
    )
    seen = await world.asked("sms", within=PATIENT)
    reply = await alice.text(within=PATIENT)
    inbound = await the_row(world, "received", From="ac69alice")
    outbound = await the_row(world, "delivered", To="ac69alice")
    log = seen.form

    assert answer.code == 202
    assert (seen.method, seen.query) == ("POST", {})
    assert log == {
        "SmsSid": inbound["sid"],
        "MessageSid": inbound["sid"],
        "AccountSid": world.rest.account_sid,
        "From": "ac69alice",
        "To": number,
        "Body": "Hellö & <good> 日本",
        "SmsStatus": "received",
        "ApiVersion": "2012-04-24",
        "SipHeader_X-Order": "4711",
        "SipHeader_X-Two": "b, c",
    }
    assert log["SmsSid"].startswith("SM")
    assert len(log["SmsSid"]) == 34
    assert reply.body.decode() == "Thanks, Zoë 😀"
    assert (user_of(reply.get("From")), user_of(reply.get("To"))) == (number, "ac69alice")
    assert (inbound["direction"], inbound["body"]) == ("incoming", "Hellö & <good> 日本")
    assert (outbound["direction"], outbound["body"]) == ("outbound-reply", "Thanks, Zoë 😀")
    assert (outbound["from"], outbound["to"]) == (number, "client:ac69alice")
    assert inbound["date_sent"]
    assert inbound["error_code"] is None


@case
async def test_ac69_a_sender_outside_is_answered_through_the_trunk(world: World) -> None:
    number, sender = await sms_number(world, sms("Yes")), outside()
    phone = await world.phone(sender)
    answer = await phone.send_text(number, "Open?")
    reply = await carrier_of(world).to(sender)
    outbound = await the_row(world, "delivered", To=sender)

    assert answer.code == 202
    assert reply.body == b"Yes"
    assert user_of(reply.get("From")) == number
    assert (outbound["direction"], outbound["num_segments"]) == ("outbound-reply", 1)
    assert outbound["from"] == number


@case
async def test_ac69_a_repeated_message_is_one_message(world: World) -> None:
    number = await sms_number(world, document(""))
    phone = await world.phone(outside())
    sent: list[Message] = []
    transmit = phone.transmit

    def watched(request: Message, answered: Callable[[Message], None], key: str = "") -> None:
        sent.append(request)
        transmit(request, answered, key)

    phone.transmit = watched  # type: ignore[method-assign]
    answer = await phone.send_text(number, "once")
    for _ in range(2):
        phone.send(sent[0])
    await phone.changes.until(
        lambda: len([m for _, m in phone.messages if m.code == 202]) == 3, PATIENT, "three times the same"
    )
    await world.asked("sms", within=PATIENT)

    assert answer.code == 202
    assert len(await rows(world, To=number)) == 1
    assert world.count("sms") == 1


@case
async def test_ac70_what_is_no_text_is_refused(world: World) -> None:
    number = await sms_number(world, document(""))
    phone = await world.phone(outside())

    async def code(text: str, content_type: str = "text/plain") -> Message:
        return await phone.send_text(number, text, content_type=content_type)

    empty = await code("")
    html = await code("<b>x</b>", "text/html")
    cpim = await code("x", "message/cpim")
    composing = await code("<isComposing/>", "application/im-iscomposing+xml")
    control = await code("a\x00b")
    charset = await code("x", "text/plain; charset=klingon")
    large = await code("x" * 20_001)
    latin = await phone.send_text(number, "plain", content_type='Text/Plain; charset="ISO-8859-1"')
    await world.asked("sms", within=PATIENT)

    assert (empty.code, empty.get("Reason")) == (406, 'SIP;cause=406;text="Content Type is not text plain"')
    assert (html.code, cpim.code, html.get("Accept")) == (415, 415, "text/plain")
    assert composing.code == 200
    assert (control.code, charset.code, large.code, latin.code) == (400, 400, 413, 202)
    assert [one["body"] for one in await rows(world, To=number)] == ["plain"]


@case
async def test_ac71_a_verb_of_calls_is_passed_over_with_a_warning(world: World) -> None:
    number, sender = await sms_number(world, "<Say>Hello</Say>" + sms("still sent")), outside()
    assert (await (await world.phone(sender)).send_text(number, "x")).code == 202
    reply = await carrier_of(world).to(sender)
    sid = (await the_row(world, "received", To=number))["sid"]
    found = await notice(world, 14110, "Say", CallSid=sid)

    assert reply.body == b"still sent"
    assert str(found["log"]) == "1"


@case
async def test_ac72_a_text_as_reply_is_a_warning_and_sends_nothing(world: World) -> None:
    fallback = world.script("fallback", sms("no"))
    reply = Reply(b"Just a text", "text/plain")
    number, sender = await sms_number(world, reply, SmsFallbackUrl=fallback), outside()
    assert (await (await world.phone(sender)).send_text(number, "x")).code == 202
    sid = (await the_row(world, "received", To=number))["sid"]
    found = await notice(world, 12300, CallSid=sid)
    await quiet(world, "fallback")

    assert str(found["log"]) == "1"
    assert await rows(world, To=sender) == []
    assert carrier_of(world).got(sender) == []


@case
async def test_ac73_the_action_is_told_the_status_and_its_document_runs(world: World) -> None:
    action = world.script("action", sms("second"))
    number, sender = await sms_number(world, sms("first", action=action) + sms("never")), outside()
    phone = await world.phone(sender)
    assert (await phone.send_text(number, "go", headers=[("X-Once", "1")])).code == 202
    carrier = carrier_of(world)
    texts = [(await carrier.to(sender, count)).body for count in (1, 2)]
    seen = await action_of(world)
    inbound = await the_row(world, "received", To=number)
    first = await row(world, seen.form["MessageSid"])

    assert texts == [b"first", b"second"]
    assert seen.form["SmsSid"] == inbound["sid"]
    assert (first["body"], first["direction"]) == ("first", "outbound-reply")
    assert (seen.form["SmsStatus"], seen.form["MessageStatus"]) == ("sent", "sent")
    assert (seen.form["From"], seen.form["To"], seen.form["Body"]) == (sender, number, "go")
    assert not [name for name in seen.form if name.startswith("SipHeader_")]
    assert (await world.asked("sms")).form["SipHeader_X-Once"] == "1"
    seen_there = [one.form.get("MessageStatus") for one in world.app.requests(world.path("action"))]
    assert sorted(seen_there, key=str) == ["delivered", "sent", "sent"]
    await pause(0.2)
    assert len(carrier.got(sender)) == 2


@case
async def test_ac73_the_action_is_told_of_a_message_that_failed(world: World) -> None:
    action, sender = world.script("action", ""), outside()
    number = await sms_number(world, sms("lost", action=action))
    carrier_of(world).codes[sender] = [486]
    assert (await (await world.phone(sender)).send_text(number, "go")).code == 202
    seen = await action_of(world)

    assert (seen.form["SmsStatus"], seen.form["MessageStatus"]) == ("failed", "failed")
    failed = await row(world, seen.form["MessageSid"])
    assert (failed["status"], failed["error_code"]) == ("failed", 30003)


async def reported(world: World, status: str, wanted: str, number_text: str) -> None:
    """AC76: a trunk that takes a message and tells later what became of it."""
    carrier, sender = carrier_of(world), outside()
    callback = world.script("status", "")
    number = await sms_number(world, sms("answer", statusCallback=callback))
    carrier.codes[sender] = [202]
    assert (await (await world.phone(sender)).send_text(number, number_text)).code == 202
    text = await carrier.to(sender)
    first = (await told(world, 1))[0]
    sid = first.form["MessageSid"]
    assert text.get("X-Message-Sid") == sid
    assert (await row(world, sid))["status"] == "sent"
    answer = await carrier.report(sid, status)
    second = (await told(world, 2))[1]
    again = await carrier.report(sid, status)
    ended = await reaches(world, sid, wanted)

    assert (answer.code, again.code) == (200, 200)
    expected = {
        "MessageSid": sid,
        "MessageStatus": "sent",
        "AccountSid": world.rest.account_sid,
        "From": number,
        "To": sender,
        "Body": "answer",
    }
    assert first.form == expected
    error = {} if wanted == "delivered" else {"ErrorCode": str(ended["error_code"])}
    assert second.form == {**expected, "MessageStatus": wanted, **error}
    await pause(0.2)
    assert world.count("status") == 2


@case
async def test_ac76_a_message_that_was_delivered_is_told_twice(world: World) -> None:
    await reported(world, "delivered", "delivered", "one")


@case
async def test_ac76_a_message_that_was_not_delivered_is_told_with_its_error(world: World) -> None:
    await reported(world, "failed", "undelivered", "two")


@case
async def test_a_report_is_taken_of_trunks_only_and_must_be_readable(world: World) -> None:
    carrier, sender = carrier_of(world), outside()
    number = await sms_number(world, sms("answer"))
    carrier.codes[sender] = [202]
    phone = await world.phone(sender)
    assert (await phone.send_text(number, "x")).code == 202
    sid = (await carrier.to(sender)).get("X-Message-Sid")
    await reaches(world, sid, "sent")
    report = f"<imdn><message-id>{sid}</message-id><delivery-notification><status><delivered/></status>"
    report += "</delivery-notification></imdn>"
    forged = await phone.send_text("reports", report, content_type="message/imdn+xml")
    garbage = await carrier.send_text("reports", "<imdn>", content_type="message/imdn+xml")
    unknown = await carrier.report("SM" + "0" * 32, "delivered")
    await pause(0.2)

    assert (forged.code, garbage.code, unknown.code) == (403, 400, 200)
    assert (await row(world, sid))["status"] == "sent"


@case
async def test_ac77_the_fallback_is_asked_with_the_same_parameters(world: World) -> None:
    fallback, sender = world.script("fallback", sms("from the fallback")), outside()
    broken = Reply(b"no", "text/plain", 500)
    number = await sms_number(world, broken, SmsFallbackUrl=fallback, SmsFallbackMethod="GET")
    phone = await world.phone(sender)
    assert (await phone.send_text(number, "x", headers=[("X-Order", "1")])).code == 202
    reply = await carrier_of(world).to(sender)
    first, second = await world.asked("sms"), await world.asked("fallback")

    assert reply.body == b"from the fallback"
    assert (second.method, second.form) == ("GET", {})
    assert {**first.form, "ErrorCode": "11200", "ErrorUrl": f"{world.app.url}{first.path}"} == second.query
    assert first.form["SipHeader_X-Order"] == "1"


@case
async def test_without_a_fallback_nothing_is_sent_and_the_owner_is_told(world: World) -> None:
    sender = outside()
    number = await sms_number(world, Reply(b"", status=404))
    assert (await (await world.phone(sender)).send_text(number, "x")).code == 202
    sid = (await the_row(world, "received", To=number))["sid"]
    await notice(world, 21402, CallSid=sid)

    assert await rows(world, To=sender) == []


@case
async def test_several_answers_go_out_in_order_and_carry_the_headers_of_the_document(world: World) -> None:
    sender, carrier = outside(), carrier_of(world)
    headers = (("X-Campaign", "spring"), ("X-RestComm-Secret", "no"), ("Server", "no"))
    reply = Reply(f"<Response>{sms('one')}{sms('two')}{sms('three')}</Response>".encode(), headers=headers)
    number = await sms_number(world, reply)
    assert (await (await world.phone(sender)).send_text(number, "x")).code == 202
    texts = [await carrier.to(sender, count) for count in (1, 2, 3)]

    assert [text.body for text in texts] == [b"one", b"two", b"three"]
    assert [text.get("X-Campaign") for text in texts] == ["spring"] * 3
    assert [text.get("X-RestComm-Secret") + text.get("Server") for text in texts] == [""] * 3
    listed = await rows(world, To=sender, SortBy="DateCreated:asc")
    assert [one["body"] for one in listed] == ["one", "two", "three"]


@case
async def test_redirect_brings_the_next_document(world: World) -> None:
    sender, carrier = outside(), carrier_of(world)
    world.script("next", sms("after"))
    number = await sms_number(world, sms("before") + '<Redirect method="GET">next</Redirect>' + sms("never"))
    phone = await world.phone(sender)
    assert (await phone.send_text(number, "x", headers=[("X-Order", "1")])).code == 202
    texts = [(await carrier.to(sender, count)).body for count in (1, 2)]
    seen = await world.asked("next")
    first = (await world.asked("sms")).form

    assert texts == [b"before", b"after"]
    assert seen.method == "GET"
    assert seen.query == {name: value for name, value in first.items() if name != "SipHeader_X-Order"}


@case
async def test_an_application_that_redirects_to_itself_ends(world: World) -> None:
    number = await sms_number(world, "<Redirect>sms</Redirect>")
    assert (await (await world.phone(outside())).send_text(number, "x")).code == 202
    seen = -1
    while seen != world.count("sms"):
        seen = world.count("sms")
        await pause(0.4)

    assert 1 < seen <= 300


@case
async def test_an_sms_without_text_ends_the_document(world: World) -> None:
    sender = outside()
    number = await sms_number(world, sms("one") + sms(" ") + sms("two"))
    assert (await (await world.phone(sender)).send_text(number, "x")).code == 202
    sid = (await the_row(world, "received", To=number))["sid"]
    found = await notice(world, 14103, CallSid=sid)

    assert str(found["log"]) == "0"
    assert [one["body"] for one in await rows(world, To=sender)] == ["one"]


@case
async def test_an_application_of_kind_sms_wins_over_the_url(world: World) -> None:
    sender = outside()
    url = world.script("application", sms("from the application"))
    made = await world.rest.post("Applications.json", FriendlyName="texts", Kind="sms", RcmlUrl=url)
    assert made.status == 200, made.body
    voice = await world.rest.post("Applications.json", FriendlyName="calls", Kind="voice", RcmlUrl=url)
    number = await sms_number(world, sms("from the url"), SmsApplicationSid=made.json["sid"])
    assert (await (await world.phone(sender)).send_text(number, "x")).code == 202
    assert (await carrier_of(world).to(sender)).body == b"from the application"
    assert voice.status == 200


@case
async def test_a_number_that_is_a_pattern_takes_messages(world: World) -> None:
    sender = outside()
    await sms_number(world, sms("pattern"), text="7733[0-9]{4}")
    assert (await (await world.phone(sender)).send_text("77330815", "x")).code == 202
    assert (await carrier_of(world).to(sender)).body == b"pattern"
    seen = await world.asked("sms")

    assert seen.form["To"] == "77330815"
    assert (await carrier_of(world).to(sender)).get("From").startswith("<sip:77330815@")


@case
async def test_a_number_is_found_with_and_without_plus_and_asked_by_get(world: World) -> None:
    number = await sms_number(world, sms("got it"), text="+15125557788", SmsMethod="GET")
    sender = outside()
    for dialed in ("15125557788", "+15125557788"):
        assert (await (await world.phone(sender)).send_text(dialed, "x")).code == 202
    seen = [await world.asked("sms", count, PATIENT) for count in (1, 2)]

    assert number == "+15125557788"
    assert {one.method for one in seen} == {"GET"}
    assert {one.query["To"] for one in seen} == {"15125557788", "+15125557788"}


@case
async def test_one_sender_and_one_number_share_cookies(world: World) -> None:
    cookie = document("", headers=(("Set-Cookie", "talk=7; Path=/"),))
    number, sender = await sms_number(world, cookie), outside()
    phone, other = await world.phone(sender), await world.phone(outside())
    assert (await phone.send_text(number, "1")).code == 202
    await world.asked("sms", 1, PATIENT)
    await pause(0.2)
    assert (await phone.send_text(number, "2")).code == 202
    await world.asked("sms", 2, PATIENT)
    assert (await other.send_text(number, "3")).code == 202
    await world.asked("sms", 3, PATIENT)

    cookies = [one.headers.get("cookie") for one in world.app.requests(world.path("sms"))]
    assert cookies == [None, "talk=7", None]


# ------------------------------------------------------------------ refused


@case
async def test_a_wrong_password_is_challenged_again_and_never_taken(world: World) -> None:
    number = await sms_number(world, document(""))
    alice = await world.registered("wrongalice")
    bare = await alice.send_text(number, "x")
    wrong = await alice.send_text(number, "x", login=("wrongalice", "not this"))
    await world.registered("wrongbob")
    other = await alice.send_text(number, "x", login=("wrongbob", PASSWORD))
    await quiet(world, "sms")

    assert (bare.code, wrong.code, other.code) == (407, 407, 407)
    assert bare.get("Proxy-Authenticate").startswith("Digest ")
    assert 202 not in [message.code for _, message in alice.messages]
    assert await rows(world, To=number) == []


@case
async def test_a_message_of_somebody_outside_to_nobody_is_404(world: World) -> None:
    await world.registered("strangerbob")
    phone = await world.phone(outside())
    nobody = await phone.send_text("nobodyatall", "x")
    far = await phone.send_text("+17775550000", "x")  # no relay for strangers
    client = await phone.send_text("strangerbob", "x")
    found = [await notice(world, 11005, text) for text in ("nobodyatall", "+17775550000", "strangerbob")]

    assert (nobody.code, far.code, client.code) == (404, 404, 404)
    assert [str(one["log"]) for one in found] == ["0"] * 3
    assert carrier_of(world).got("+17775550000") == []


@case
async def test_accounts_that_are_suspended_take_no_messages(world: World) -> None:
    desk = await world.rest.below("smsdesk@example.com", PASSWORD, "Desk")
    number = "88771"
    url = world.script("sms", sms("no"))
    await desk.number(number, world.script("voice", "<Hangup/>"), SmsUrl=url)
    phone = await world.phone(outside())
    alice = await world.registered("smsdeskcaller")
    before = await phone.send_text(number, "x")
    await world.asked("sms", within=PATIENT)
    await set_status(world, desk, "suspended")
    after = await phone.send_text(number, "x")
    client = await alice.send_text("smsdesk", "x", login=("smsdeskcaller", PASSWORD))
    inside = await alice.send_text(number, "x", login=("smsdeskcaller", PASSWORD))
    sender = await world.phone("smsdesk")
    own = await sender.send_text("+17775550001", "x", login=("smsdesk", PASSWORD))
    await set_status(world, desk, "active")

    assert (before.code, after.code, client.code, inside.code) == (202, 403, 403, 403)
    assert after.phrase == "Account is not ACTIVE"
    assert own.code in (403, 407)
    assert world.count("sms") == 1
    found = await desk.notifications(ErrorCode="11005")
    assert [str(one["log"]) for one in found] == ["0"] * len(found)
    assert found


@case
async def test_a_number_without_an_application_is_a_warning_and_then_nobody(world: World) -> None:
    number = await world.number("<Hangup/>")
    alice = await world.registered("noappalice")
    stranger = await (await world.phone(outside())).send_text(number, "x")
    client = await alice.send_text(number, "x", login=("noappalice", PASSWORD))
    found = await notice(world, 12003, number)

    assert (stranger.code, client.code) == (404, 404)
    assert str(found["log"]) == "1"
    assert carrier_of(world).got(number) == []


# ------------------------------------------------------------------ clients


@case
async def test_ac75_a_message_to_a_client_who_is_not_registered_is_404(world: World) -> None:
    alice = await world.registered("ac75alice")
    await world.rest.client("ac75bob", PASSWORD)
    answer = await alice.send_text("ac75bob", "x", login=("ac75alice", PASSWORD))
    found = await notice(world, 11001, "ac75bob")
    failed = await the_row(world, "failed", To="ac75bob")

    assert answer.code == 404
    assert str(found["log"]) == "1"
    assert (failed["from"], failed["direction"]) == ("ac75alice", "outbound-call")


@case
async def test_a_client_writes_to_a_client_and_every_byte_arrives(world: World) -> None:
    alice, bob = await world.registered("bytesalice"), await world.registered("bytesbob")
    over_tcp = await world.phone("bytesbob", "tcp")
    login = ("bytesalice", PASSWORD)
    texts = ["hello", "é", "日本語 😀👩‍👩‍👧", "a\ttab and\r\nlines\r\n", " " * 3 + "spaces ", LONG]
    answers = [await alice.send_text("bytesbob", text, login=login) for text in texts]
    assert (await over_tcp.register("bytesbob", PASSWORD)).code == 200
    tcp = await alice.send_text("bytesbob", LONG, login=login)
    await over_tcp.text(within=PATIENT)

    assert [answer.code for answer in answers] == [200] * len(texts)
    assert tcp.code == 200
    assert [text.body.decode() for text in bob.texts[: len(texts)]] == texts
    assert over_tcp.texts[0].body.decode() == LONG
    first = bob.texts[0]
    assert (user_of(first.get("From")), user_of(first.get("To"))) == ("bytesalice", "bytesbob")
    assert first.get("Content-Type").lower().replace(" ", "") == "text/plain;charset=utf-8"
    assert len(LONG.encode()) > 5000
    listed = await rows(world, To="bytesbob", SortBy="DateCreated:asc")
    assert [one["body"] for one in listed] == [*texts, LONG]
    assert {one["direction"] for one in listed} == {"outbound-call"}


@case
async def test_a_client_gets_the_final_answer_of_the_other_one(world: World) -> None:
    alice, bob = await world.registered("codesalice"), await world.registered("codesbob")
    codes = [200, 202, 403, 415, 480, 486, 500, 603]
    bob.text_codes = [*codes]
    headers = [("X-Mood", "fine")]
    answers = [
        await alice.send_text("codesbob", f"{code}", login=("codesalice", PASSWORD), headers=headers)
        for code in codes
    ]
    listed = await rows(world, To="codesbob", SortBy="DateCreated:asc")

    assert [answer.code for answer in answers] == codes
    assert [text.get("X-Mood") for text in bob.texts] == ["fine"] * len(codes)
    assert [one["status"] for one in listed] == ["delivered", "delivered", *["failed"] * 6]
    assert [one["error_code"] for one in listed][:2] == [None, None]
    assert all(one["error_code"] and one["error_message"] for one in listed[2:])


@case
async def test_a_message_rings_at_every_phone_of_a_client(world: World) -> None:
    alice = await world.registered("manyalice")
    first = await world.registered("manybob")
    second = await world.device("manybob")
    login = ("manyalice", PASSWORD)
    both = await alice.send_text("manybob", "both", login=login)
    await together([first.text(within=PATIENT), second.text(within=PATIENT)])
    first.text_codes = [486]
    one = await alice.send_text("manybob", "one", login=login)
    second.text_codes = [603]
    none = await alice.send_text("manybob", "none", login=login)
    bob = await first.send_text("manybob", "to myself", login=("manybob", PASSWORD))

    assert (both.code, one.code, none.code) == (200, 200, 603)
    assert bob.code == 603
    assert [text.body for text in first.texts][:3] == [b"both", b"one", b"none"]
    assert [text.body for text in second.texts][:3] == [b"both", b"one", b"none"]


@case
async def test_a_client_writes_to_a_number_outside_through_the_trunk(world: World) -> None:
    alice, carrier, number = await world.registered("outalice"), carrier_of(world), outside()
    carrier.asking.add(number)
    login = ("outalice", PASSWORD)
    answer = await alice.send_text(number, "over there 😀", login=login, headers=[("X-Order", "9")])
    text = await carrier.to(number)
    found = await the_row(world, "delivered", To=number)
    carrier.codes[number] = [202, 503]
    taken = await alice.send_text(number, "taken", login=login)
    refused = await alice.send_text(number, "refused", login=login)
    newest = (await rows(world, To=number))[0]

    assert (answer.code, taken.code, refused.code) == (200, 202, 503)
    assert len([m for m in carrier.unproved if m.get("Call-ID") == text.get("Call-ID")]) == 1
    assert f'username="{USER}"' in text.get("Proxy-Authorization")
    assert text.body.decode() == "over there 😀"
    assert text.get("X-Order") == "9"
    assert user_of(text.get("From")) == "outalice"
    assert (found["direction"], found["from"], found["num_segments"]) == ("outbound-call", "outalice", 1)
    assert (newest["status"], newest["body"]) == ("failed", "refused")
    assert newest["error_code"]


@case
async def test_a_trunk_that_refuses_the_password_refuses_the_message(world: World) -> None:
    alice, carrier, number = await world.registered("deniedalice"), carrier_of(world), outside()
    carrier.codes[number] = [403]
    carrier.asking.add(number)
    answer = await alice.send_text(number, "x", login=("deniedalice", PASSWORD))

    assert answer.code == 403
    assert (await the_row(world, "failed", To=number))["error_code"] == 30004


@case
async def test_a_client_writes_to_a_number_of_another_account(world: World) -> None:
    desk = await world.rest.below("otherdesk@example.com", PASSWORD, "Desk")
    url = world.script("sms", sms("Welcome"))
    await desk.number("88772", world.script("voice", "<Hangup/>"), SmsUrl=url)
    alice = await world.registered("crossalice")
    answer = await alice.send_text("88772", "hi", login=("crossalice", PASSWORD))
    text = await alice.text(within=PATIENT)
    seen = await world.asked("sms")
    theirs = await rows(world, desk)
    ours = await rows(world, From="crossalice")

    assert answer.code == 202
    assert (seen.form["AccountSid"], seen.form["From"]) == (desk.account_sid, "crossalice")
    assert (text.body, user_of(text.get("From"))) == (b"Welcome", "88772")
    assert sorted(one["direction"] for one in theirs) == ["incoming", "outbound-reply"]
    assert ours == []


@case
async def test_a_message_that_is_too_long_to_be_passed_on_is_413(world: World) -> None:
    alice, bob = await world.registered("longalice"), await world.registered("longbob")
    login = ("longalice", PASSWORD)
    answers = [
        (await alice.send_text("longbob", text, login=login)).code
        for text in ("x" * 10_000, "x" * 10_001, "x" * 20_001, " ")
    ]

    assert answers == [200, 413, 413, 400]
    assert [len(text.body) for text in bob.texts] == [10_000]


@case
async def test_the_carrier_sends_to_a_number_and_gets_its_answer(world: World) -> None:
    carrier = carrier_of(world)
    number = await sms_number(world, sms("answer", to="+17776660001"))
    await world.registered("trunkbob")
    taken = await carrier.send_text(number, "from far away", headers=[("X-Message-Hops", "4")])
    seen = await world.asked("sms", within=PATIENT)
    reply = await carrier.to("+17776660001")
    looping = await carrier.send_text(number, "again", headers=[("X-Message-Hops", "11")])
    client = await carrier.send_text("trunkbob", "x")
    transit = await carrier.send_text("+17776660002", "x")

    assert (taken.code, looping.code, client.code, transit.code) == (202, 483, 404, 404)
    assert (seen.form["From"], seen.form["Body"]) == ("carrier", "from far away")
    assert not [name for name in seen.form if "Hops" in name]
    assert reply.get("X-Message-Hops") == "5"
    assert world.count("sms") == 1


@case
async def test_many_messages_at_once_are_all_answered_and_recorded(world: World) -> None:
    number = await sms_number(world, document(""))
    phones = [await world.phone(outside()) for _ in range(5)]
    answers: list[Any] = await together(
        [phone.send_text(number, f"{phone.user} {count}") for phone in phones for count in range(8)]
    )
    await world.asked("sms", 40, PATIENT)

    assert [answer.code for answer in answers] == [202] * 40
    assert len({one["sid"] for one in await rows(world, To=number, PageSize="100")}) == 40
