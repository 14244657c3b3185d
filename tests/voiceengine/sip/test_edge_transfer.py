"""REFER within calls, of phones and of workers, and the NOTIFY about them (RFC 3515, 5589, 4488)."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from edge_world import (
    KEY,
    PHONE_SDP,
    SDP_TYPE,
    WORKER_SDP,
    World,
    contact_of,
    outbound,
    quiet,
    reply_to,
    text_of,
)
from sipmessage import Request, Response

from voiceengine.sip.transfer import Replaces, TransferRequest

pytestmark = pytest.mark.loopback

TARGET = ("Refer-To", "<sip:bob@example.com>")
ALICE = "<sip:alice@voiceengine>;tag=phone"


class Asked:
    """Notes every transfer; accepts at once unless told otherwise."""

    def __init__(self, accept: bool = True) -> None:
        self.accept = accept
        self.requests: list[TransferRequest] = []

    def transfer(self, request: TransferRequest) -> None:
        self.requests.append(request)
        if self.accept:
            request.accept()


def handler(world: World, accept: bool = True) -> Asked:
    asked = Asked(accept)
    world.edge.on_transfer = asked
    return asked


def from_worker(world: World, method: str, *more: tuple[str, str], cseq: int = 17, **how: Any) -> bytes:
    return world.worker_request(
        method, f"sip:{KEY}@127.0.0.1:{world.internal}", *more, to=ALICE, cseq=cseq, **how
    )


async def told(world: World) -> Request:
    """A NOTIFY, which is answered."""
    found = await world.phone.inbox.request("NOTIFY")
    world.say(reply_to(found, 200))
    return found


# ------------------------------------------------------------------------- REFER of a phone


@pytest_twisted.ensureDeferred
async def test_a_transfer_is_accepted_and_its_end_is_told(world: World) -> None:
    asked = handler(world)
    ok, _ = await world.established()

    world.say(world.inside(ok, "REFER", TARGET, ("Referred-By", "<sip:alice@voiceengine>")))
    accepted = await world.phone.inbox.response(202)
    trying = await told(world)
    (request,) = asked.requests
    request.notify(180, "Ringing", final=False)
    ringing = await told(world)
    request.notify(200, "OK", final=True)
    done = await told(world)
    request.notify(487, "too late", final=True)
    await quiet(world.phone.inbox)
    await quiet(world.worker.inbox, 0)

    assert (request.key, str(request.target), request.replaces) == (KEY, "sip:bob@example.com", None)
    assert request.referred_by == "<sip:alice@voiceengine>"
    assert accepted.headers["CSeq"] == "2 REFER"
    bodies = [b"SIP/2.0 100 Trying\r\n", b"SIP/2.0 180 Ringing\r\n", b"SIP/2.0 200 OK\r\n"]
    states = ["active;expires=60", "active;expires=60", "terminated;reason=noresource"]
    token = ok.contact[0].uri.user
    for number, notify in enumerate((trying, ringing, done)):
        assert (notify.body, notify.headers["Subscription-State"]) == (bodies[number], states[number])
        assert notify.headers["Event"] == "refer"
        assert notify.headers["Content-Type"] == "message/sipfrag;version=2.0"
        assert notify.headers["From"] == ok.headers["To"]
        assert notify.headers["To"] == ok.headers["From"]
        assert notify.headers["Contact"] == f"<sip:{token}@127.0.0.1:{world.ports['udp']}>"
        assert str(notify.uri) == f"sip:alice@127.0.0.1:{world.phone.port}"
    assert trying.cseq.sequence < ringing.cseq.sequence < done.cseq.sequence


@pytest_twisted.ensureDeferred
async def test_a_repeated_refer_gets_the_same_answer_and_is_no_second_transfer(world: World) -> None:
    asked = handler(world, accept=False)
    ok, _ = await world.established()
    data = world.inside(ok, "REFER", TARGET)
    world.say(data)
    world.say(data)
    await quiet(world.phone.inbox)

    asked.requests[0].accept()
    first = await world.phone.inbox.response(202)
    await told(world)
    world.say(data)

    assert bytes(await world.phone.inbox.response(202)) == bytes(first)
    await quiet(world.phone.inbox)
    assert len(asked.requests) == 1


@pytest_twisted.ensureDeferred
async def test_a_transfer_is_refused_with_a_reason(world: World) -> None:
    asked = handler(world, accept=False)
    ok, _ = await world.established()
    data = world.inside(ok, "REFER", TARGET)
    world.say(data)
    await quiet(world.phone.inbox, 0.02)

    asked.requests[0].refuse(404, 'No "ReferUrl".')
    asked.requests[0].refuse(603)
    asked.requests[0].accept()
    asked.requests[0].notify(200, "OK", final=True)

    refused = await world.phone.inbox.response(404)
    assert refused.headers["Reason"] == 'SIP;cause=404;text="No \\"ReferUrl\\"."'
    await quiet(world.phone.inbox)
    world.say(data)
    await world.phone.inbox.response(404)


@pytest_twisted.ensureDeferred
async def test_a_phone_that_wants_no_news_gets_none(world: World) -> None:
    """RFC 4488 section 4."""
    asked = handler(world)
    ok, _ = await world.established()

    world.say(world.inside(ok, "REFER", TARGET, ("Refer-Sub", "false"), ("Require", "norefersub")))
    accepted = await world.phone.inbox.response(202)
    asked.requests[0].notify(200, "OK", final=True)

    assert accepted.headers["Refer-Sub"] == "false"
    await quiet(world.phone.inbox)


@pytest_twisted.ensureDeferred
async def test_an_attended_transfer_names_the_other_call(world: World) -> None:
    asked = handler(world)
    ok, _ = await world.established()
    value = (
        "<sip:bob@example.com?Replaces=call%40phone%3Bto-tag%3Dworker%3Bfrom-tag%3Dphone&X-Queue=sales%20one>"
    )

    world.say(world.inside(ok, "REFER", ("Refer-To", value)))
    await world.phone.inbox.response(202)
    await told(world)

    (request,) = asked.requests
    assert request.replaces == Replaces("call@phone", "worker", "phone")
    assert request.headers == (("X-Queue", "sales one"),)
    replaces = request.replaces
    assert world.edge.leg_of_dialog(replaces.call_id, replaces.to_tag, replaces.from_tag) == KEY


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([], 400),
        ([TARGET, ("Refer-To", "<sip:carol@example.com>")], 400),
        ([("Refer-To", "<sip:bob@example.com>, <sip:carol@example.com>")], 400),
        ([("Refer-To", "bob")], 400),
        ([("Refer-To", "<http://example.com/>")], 416),
        ([("Refer-To", "<sip:bob@example.com;method=BYE>")], 501),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_refer_that_cannot_be_used_is_refused(
    world: World, headers: list[tuple[str, str]], code: int
) -> None:
    asked = handler(world)
    ok, _ = await world.established()

    world.say(world.inside(ok, "REFER", *headers))

    refused = await world.phone.inbox.response(code)
    assert f"cause={code}" in refused.headers["Reason"]
    assert asked.requests == []
    await quiet(world.worker.inbox, 0)


@pytest_twisted.ensureDeferred
async def test_a_refer_outside_of_a_call_is_404(world: World) -> None:
    """spec/rcml.md section 10 rule 3."""
    asked = handler(world)
    ok, _ = await world.established()

    world.say(world.request("REFER", TARGET))
    outside = await world.phone.inbox.response(404)
    world.say(world.inside(ok, "REFER", TARGET).replace(b"tag=phone", b"tag=thief"))
    stranger = await world.phone.inbox.response(404)
    world.edge.leg_over(KEY, "call@phone", lost=False)
    world.say(world.inside(ok, "REFER", TARGET))
    over = await world.phone.inbox.response(404)

    for refused in (outside, stranger, over):
        assert refused.headers["Reason"].startswith("SIP;cause=404;text=")
    assert asked.requests == []


@pytest_twisted.ensureDeferred
async def test_a_refer_before_the_answer_is_404(world: World) -> None:
    handler(world)
    world.say(world.invite())
    await world.phone.inbox.response(100)
    seen = await world.worker.inbox.request("INVITE")
    world.answer(seen, 180)
    ringing = await world.phone.inbox.response(180)

    world.say(world.inside(ringing, "REFER", TARGET))

    await world.phone.inbox.response(404)


@pytest_twisted.ensureDeferred
async def test_without_a_handler_refer_is_not_allowed(world: World) -> None:
    ok, _ = await world.established()
    for data in (world.inside(ok, "REFER", TARGET), world.request("REFER", TARGET)):
        world.say(data)
        refused = await world.phone.inbox.response(405)
        assert "REFER" not in refused.headers["Allow"]
    assert "REFER" not in ok.headers["Allow"]


@pytest_twisted.ensureDeferred
async def test_with_a_handler_refer_is_allowed_but_replaces_is_not_promised(world: World) -> None:
    handler(world)
    ok, _ = await world.established()
    world.say(world.request("OPTIONS"))
    options = await world.phone.inbox.response(200)

    for response in (ok, options):
        assert {"REFER", "NOTIFY"} <= set(response.headers["Allow"].split(", "))
        assert set(response.headers["Supported"].split(", ")) == {"timer", "100rel", "norefersub"}


@pytest_twisted.ensureDeferred
async def test_an_invite_with_replaces_is_an_ordinary_one_unless_it_insists(world: World) -> None:
    """RFC 3261 section 8.2.2: what is not understood is ignored, or refused when it is required."""
    replaces = ("Replaces", "call@phone;to-tag=worker;from-tag=phone")

    world.say(world.invite(replaces, ("Require", "replaces")))
    refused = await world.phone.inbox.response(420)
    world.say(world.invite(replaces))
    await world.phone.inbox.response(100)
    seen = await world.worker.inbox.request("INVITE")

    assert refused.headers["Unsupported"] == "replaces"
    assert seen.headers.get("Replaces") is None


@pytest_twisted.ensureDeferred
async def test_a_second_transfer_of_a_call_has_its_number_in_event(world: World) -> None:
    """RFC 3515 section 2.4.6."""
    asked = handler(world)
    ok, _ = await world.established()
    events = []
    for cseq in (2, 3):
        world.say(world.inside(ok, "REFER", TARGET, cseq=cseq))
        await world.phone.inbox.response(202)
        events.append((await told(world)).headers["Event"])

    assert events == ["refer", "refer;id=3"]
    assert len(asked.requests) == 2


@pytest_twisted.ensureDeferred
async def test_the_end_of_a_transfer_is_told_before_the_bye_though_the_phone_is_slow(world: World) -> None:
    asked = handler(world)
    ok, _ = await world.established()
    world.say(world.inside(ok, "REFER", TARGET))
    await world.phone.inbox.response(202)

    asked.requests[0].notify(200, "OK", final=True)
    world.worker.send(from_worker(world, "BYE"), world.internal)
    trying = await world.phone.inbox.request("NOTIFY")
    done = await world.phone.inbox.request("NOTIFY")
    bye = await world.phone.inbox.request("BYE")

    assert (trying.body, done.body) == (b"SIP/2.0 100 Trying\r\n", b"SIP/2.0 200 OK\r\n")
    assert trying.cseq.sequence < done.cseq.sequence < bye.cseq.sequence


@pytest_twisted.ensureDeferred
async def test_a_phone_that_has_forgotten_its_transfer_is_told_no_more(world: World) -> None:
    asked = handler(world)
    ok, _ = await world.established()
    world.say(world.inside(ok, "REFER", TARGET))
    await world.phone.inbox.response(202)
    trying = await world.phone.inbox.request("NOTIFY")

    world.say(reply_to(trying, 481))
    await quiet(world.phone.inbox)
    asked.requests[0].notify(200, "OK", final=True)

    await quiet(world.phone.inbox)


@pytest_twisted.ensureDeferred
async def test_a_notify_that_got_lost_is_repeated(world: World) -> None:
    handler(world)
    ok, _ = await world.established()
    world.say(world.inside(ok, "REFER", TARGET))
    await world.phone.inbox.response(202)
    trying = await world.phone.inbox.request("NOTIFY")

    again = await world.phone.inbox.request("NOTIFY", 1.0)

    assert bytes(again) == bytes(trying)


@pytest_twisted.ensureDeferred
async def test_a_called_phone_can_transfer_as_well(world: World) -> None:
    asked = handler(world)
    seen, _ = await answered_outbound(world)
    to = f"{seen.headers['To']};tag=p"
    headers = [
        ("Via", world.phone_via()),
        ("Route", seen.headers["Record-Route"]),
        ("From", to),
        ("To", seen.headers["From"]),
        ("Call-ID", "out@engine"),
        ("CSeq", "77 REFER"),
        TARGET,
    ]

    world.say(text_of(f"REFER {seen.contact[0].uri} SIP/2.0", headers))
    await world.phone.inbox.response(202)
    notify = await told(world)

    assert [request.key for request in asked.requests] == [KEY]
    assert notify.cseq.sequence > seen.cseq.sequence
    assert (notify.headers["From"], notify.headers["To"]) == (seen.headers["From"], to)


async def answered_outbound(world: World) -> tuple[Request, Response]:
    """The INVITE that the phone got, and the answer that the worker got."""
    seen, _ = await outbound(world)
    world.say(reply_to(seen, 200, contact_of(world), tag="p", body=PHONE_SDP))
    return seen, await world.worker.inbox.response(200)


# ------------------------------------------------------------------------- numbers


@pytest_twisted.ensureDeferred
async def test_a_worker_goes_on_counting_after_the_edge_sent_a_notify(world: World) -> None:
    handler(world)
    ok, _ = await world.established()
    world.worker.send(from_worker(world, "UPDATE"), world.internal)
    before = await world.phone.inbox.request("UPDATE")
    world.say(reply_to(before, 200))
    await world.worker.inbox.response(200)
    world.say(world.inside(ok, "REFER", TARGET))
    await world.phone.inbox.response(202)
    notify = await told(world)
    data = from_worker(world, "UPDATE", cseq=18)

    world.worker.send(data, world.internal)
    after = await world.phone.inbox.request("UPDATE")
    world.worker.send(data, world.internal)
    again = await world.phone.inbox.request("UPDATE")
    world.say(reply_to(after, 200))
    answer = await world.worker.inbox.response(200)

    assert before.cseq.sequence < notify.cseq.sequence < after.cseq.sequence
    assert bytes(again) == bytes(after)
    assert answer.headers["CSeq"] == "18 UPDATE"


@pytest_twisted.ensureDeferred
async def test_the_ack_of_a_reinvite_has_its_number_though_a_notify_came_between(world: World) -> None:
    handler(world)
    ok, _ = await world.established()
    world.worker.send(from_worker(world, "INVITE", body=WORKER_SDP), world.internal)
    await world.worker.inbox.response(100)
    invite = await world.phone.inbox.request("INVITE")
    world.say(world.inside(ok, "REFER", TARGET))
    await world.phone.inbox.response(202)
    notify = await told(world)
    world.say(reply_to(invite, 200, contact_of(world), body=PHONE_SDP))
    answer = await world.worker.inbox.response(200)

    world.worker.send(from_worker(world, "ACK"), world.internal)
    ack = await world.phone.inbox.request("ACK")
    world.worker.send(from_worker(world, "BYE", cseq=18), world.internal)
    await world.worker.inbox.response(200)
    bye = await world.phone.inbox.request("BYE")

    assert answer.headers["CSeq"] == "17 INVITE"
    assert ack.cseq.sequence == invite.cseq.sequence < notify.cseq.sequence < bye.cseq.sequence


@pytest_twisted.ensureDeferred
async def test_a_farewell_comes_after_everything_though_the_worker_counts_from_a_random_number(
    world: World,
) -> None:
    """It is written when the call is answered; a worker's first number is up to 32767."""
    await world.established()
    farewell = world.edge.farewell(KEY)
    assert farewell is not None
    world.worker.send(from_worker(world, "UPDATE", cseq=32767), world.internal)
    update = await world.phone.inbox.request("UPDATE")

    number = next(line for line in farewell[2].split("\r\n") if line.startswith("CSeq: "))

    assert update.cseq.sequence < int(number.split()[1])
    again = world.edge.farewell(KEY)
    assert again is not None
    assert update.cseq.sequence < int(again[2].partition("CSeq: ")[2].split()[0])


# ------------------------------------------------------------------------- dialogs by name


@pytest_twisted.ensureDeferred
async def test_a_leg_is_found_by_the_names_of_its_dialog(world: World) -> None:
    await world.established()
    find = world.edge.leg_of_dialog

    assert find("call@phone", "phone", "worker") == find("call@phone", "worker", "phone") == KEY
    for names in (("other", "phone", "worker"), ("call@phone", "phone", "phone"), ("call@phone", "", "")):
        assert find(*names) is None
    world.edge.leg_over(KEY, "call@phone", lost=False)
    assert find("call@phone", "phone", "worker") is None


@pytest_twisted.ensureDeferred
async def test_a_called_leg_is_found_by_the_tags_that_the_phone_sees(world: World) -> None:
    seen, _ = await outbound(world)
    world.say(reply_to(seen, 180, contact_of(world), tag="p"))
    await world.worker.inbox.response(180)
    assert world.edge.leg_of_dialog("out@engine", "p", "wtag") is None

    world.say(reply_to(seen, 200, contact_of(world), tag="p", body=PHONE_SDP))
    await world.worker.inbox.response(200)

    assert seen.headers["From"].endswith(";tag=wtag")
    assert world.edge.leg_of_dialog(seen.headers["Call-ID"], "p", "wtag") == KEY


# ------------------------------------------------------------------------- REFER of a worker


def worker_refer(world: World, *more: tuple[str, str]) -> bytes:
    by = ("Referred-By", f"<sip:1111@127.0.0.1:{world.internal}>")
    return from_worker(
        world, "REFER", ("Contact", f"<sip:w@127.0.0.1:{world.worker.port}>"), TARGET, by, *more
    )


@pytest_twisted.ensureDeferred
async def test_a_refer_of_the_worker_and_the_news_of_the_phone_pass(world: World) -> None:
    ok, _ = await world.established()
    world.worker.send(worker_refer(world, ("X-Own", "1")), world.internal)
    seen = await world.phone.inbox.request("REFER")
    world.say(reply_to(seen, 202, contact_of(world)))
    accepted = await world.worker.inbox.response(202)
    headers = [
        ("Event", f"refer;id={seen.cseq.sequence}"),
        ("Subscription-State", "terminated;reason=noresource"),
        ("Content-Type", "message/sipfrag;version=2.0"),
    ]

    world.say(world.inside(ok, "NOTIFY", *headers, body="SIP/2.0 486 Busy\r\n"))
    notify = await world.worker.inbox.request("NOTIFY")
    world.answer(notify, 200)
    answered = await world.phone.inbox.response(200)

    assert seen.headers.getlist("Refer-To") == [TARGET[1]]
    assert seen.headers["Referred-By"] == f"<sip:1111@127.0.0.1:{world.ports['udp']}>"
    assert seen.headers["X-Own"] == "1"
    assert str(world.worker.port) not in bytes(seen).decode()
    assert str(world.internal) not in bytes(seen).decode()
    assert accepted.headers["CSeq"] == "17 REFER"
    assert notify.headers["Event"] == "refer"
    assert notify.headers["Subscription-State"] == "terminated;reason=noresource"
    assert notify.headers["Content-Type"] == "message/sipfrag;version=2.0"
    assert notify.body == b"SIP/2.0 486 Busy\r\n"
    assert answered.headers["CSeq"] == "2 NOTIFY"


@pytest_twisted.ensureDeferred
async def test_a_referrer_that_is_no_worker_is_kept(world: World) -> None:
    await world.established()
    data = worker_refer(world).replace(
        f"<sip:1111@127.0.0.1:{world.internal}>".encode(), b'"Sales" <sip:sales@example.com>'
    )

    world.worker.send(data, world.internal)

    seen = await world.phone.inbox.request("REFER")
    assert seen.headers["Referred-By"] == '"Sales" <sip:sales@example.com>'


@pytest_twisted.ensureDeferred
async def test_a_refusal_of_a_refer_reaches_the_worker(world: World) -> None:
    await world.established()
    world.worker.send(worker_refer(world), world.internal)
    seen = await world.phone.inbox.request("REFER")

    world.say(reply_to(seen, 603, ("X-Why", "no")))

    refused = await world.worker.inbox.response(603)
    assert refused.headers["X-Why"] == "no"


@pytest_twisted.ensureDeferred
async def test_news_about_an_earlier_refer_are_not_taken_for_those_about_the_last(world: World) -> None:
    """RFC 3515 section 2.4.6; pjsip itself matches the id of the first NOTIFY that it sees."""
    ok, _ = await world.established()
    numbers = []
    for cseq in (17, 18):
        world.worker.send(from_worker(world, "REFER", TARGET, cseq=cseq), world.internal)
        seen = await world.phone.inbox.request("REFER")
        numbers.append(seen.cseq.sequence)
        world.say(reply_to(seen, 202))
        await world.worker.inbox.response(202)

    for number, event in enumerate((f"refer;id={numbers[1]}", "refer", "refer;id=99999", "refer;x=y;id=no")):
        world.say(world.inside(ok, "NOTIFY", ("Event", event), cseq=5 + number))
        notify = await world.worker.inbox.request("NOTIFY")
        world.answer(notify, 200)
        await world.phone.inbox.response(200)
        assert notify.headers["Event"] == "refer"
    world.say(world.inside(ok, "NOTIFY", ("Event", f"refer;id={numbers[0]}"), cseq=10))
    await world.phone.inbox.response(481)


@pytest.mark.parametrize(
    ("event", "kind", "body", "code", "header"),
    [
        ("presence", "application/pidf+xml", "<presence/>", 489, ("Allow-Events", "refer")),
        ("refer", "text/plain", "SIP/2.0 200 OK", 415, ("Accept", "message/sipfrag")),
        ("refer", "message/sipfrag", "nonsense", 400, None),
        ("refer", "message/sipfrag", "SIP/2.0 200 OK\r\n" + "x" * 2000, 413, None),
    ],
)
@pytest_twisted.ensureDeferred
async def test_another_notify_never_reaches_the_worker(
    world: World, event: str, kind: str, body: str, code: int, header: tuple[str, str] | None
) -> None:
    ok, _ = await world.established()
    world.worker.send(worker_refer(world), world.internal)
    await world.phone.inbox.request("REFER")

    world.say(world.inside(ok, "NOTIFY", ("Event", event), ("Content-Type", kind), body=body))

    refused = await world.phone.inbox.response(code)
    if header is not None:
        assert refused.headers[header[0]] == header[1]
    await quiet(world.worker.inbox)


@pytest_twisted.ensureDeferred
async def test_news_that_nobody_asked_for_are_refused(world: World) -> None:
    ok, _ = await world.established()

    world.say(world.inside(ok, "NOTIFY", ("Event", "refer"), ("Subscription-State", "active")))
    await world.phone.inbox.response(481)
    world.say(world.request("NOTIFY", ("Event", "refer")))
    await world.phone.inbox.response(481)

    await quiet(world.worker.inbox)


@pytest_twisted.ensureDeferred
async def test_the_event_of_other_requests_is_kept_from_the_worker(world: World) -> None:
    ok, _ = await world.established()

    world.say(world.inside(ok, "INVITE", SDP_TYPE, ("Event", "refer"), body=PHONE_SDP))
    await world.phone.inbox.response(100)

    assert (await world.worker.inbox.request("INVITE")).headers.get("Event") is None
