"""The edge between a phone and a worker: both are sockets of this test, everything between is real."""

from __future__ import annotations

import re
import socket

import pytest
import pytest_twisted
from edge_world import (
    KEY,
    PHONE_SDP,
    REACTOR,
    SDP_TYPE,
    WORKER_SDP,
    Socket,
    Stream,
    World,
    contact_of,
    outbound,
    quiet,
    reply_to,
    text_of,
    until,
)
from sipmessage import URI
from twisted.internet import protocol, task

from voiceengine.sip import sdp
from voiceengine.sip.invite import InboundInvite

pytestmark = pytest.mark.loopback

# ------------------------------------------------------------------------- a call of a phone


@pytest_twisted.ensureDeferred
async def test_an_invite_reaches_the_worker_rebuilt(world: World) -> None:
    world.say(world.invite(("X-Own", "kept out"), ("X-Engine-Leg", "forged"), ("Supported", "timer")))

    trying = await world.phone.inbox.response(100)
    seen = await world.worker.inbox.request("INVITE")

    assert "tag=" not in trying.headers["To"]
    assert seen.headers.getlist("X-Engine-Leg") == [KEY]
    assert len(seen.headers.getlist("Via")) == 1
    assert f"127.0.0.1:{world.internal}" in seen.headers["Via"]
    assert seen.headers["Contact"] == f"<sip:{KEY}@127.0.0.1:{world.internal}>"
    assert seen.headers["Supported"] == "timer"
    assert sdp.is_safe(seen.body)
    assert b"m=audio 4000 RTP/AVP 0 101" in seen.body
    assert b"x-secret" not in seen.body
    assert int(seen.headers["Content-Length"]) == len(seen.body)


@pytest_twisted.ensureDeferred
async def test_responses_carry_what_the_phone_wrote(world: World) -> None:
    first, second = world.phone_via(), "SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bKother"
    data = world.invite(("Record-Route", "<sip:proxy.example;lr>"), via=first).replace(
        b"Max-Forwards", b"Via: " + second.encode() + b"\r\nMax-Forwards"
    )
    world.say(data)
    await world.phone.inbox.response(100)
    seen = await world.worker.inbox.request("INVITE")

    world.answer(seen, 180)
    ringing = await world.phone.inbox.response(180)
    world.answer(seen, 200, WORKER_SDP, ("X-RestComm-CallSid", "CA1"))
    ok = await world.phone.inbox.response(200)

    for response in (ringing, ok):
        assert response.headers["From"] == '"Alice" <sip:alice@voiceengine>;tag=phone'
        assert response.headers["To"] == "<sip:1111@voiceengine>;tag=worker"
        vias = response.headers.getlist("Via")
        stamped = re.sub(r";rport=\d+|;received=127.0.0.1", "", vias[0])
        assert [stamped, vias[1]] == [first.replace(";rport", ""), second]
        assert f";rport={world.phone.port}" in vias[0]
        token = response.contact[0].uri.user or ""
        assert world.edge.core.tokens.check(token, "call@phone") == KEY
        routes = response.headers.getlist("Record-Route")
        assert routes == [f"<sip:{token}@127.0.0.1:{world.ports['udp']};lr>", "<sip:proxy.example;lr>"]
    assert ok.headers["X-RestComm-CallSid"] == "CA1"
    assert b"m=audio 20000" in ok.body
    assert sdp.is_safe(ok.body, rejected=True)


@pytest_twisted.ensureDeferred
async def test_the_phone_hangs_up(world: World) -> None:
    ok, _ = await world.established()

    bye = world.inside(ok, "BYE")
    world.say(bye)
    seen = await world.worker.inbox.request("BYE")
    world.answer(seen, 200)
    answered = await world.phone.inbox.response(200)

    assert len(seen.headers.getlist("Via")) == 1
    assert answered.headers["CSeq"] == "2 BYE"
    world.say(bye)
    again = await world.worker.inbox.request("BYE")
    assert again.via[0].parameters["branch"] == seen.via[0].parameters["branch"]


@pytest_twisted.ensureDeferred
async def test_a_bye_after_the_end_is_still_answered(world: World) -> None:
    ok, _ = await world.established()
    world.edge.leg_over(KEY, "call@phone", lost=False)

    world.say(world.inside(ok, "BYE"))

    await world.phone.inbox.response(200)
    await quiet(world.worker.inbox)


@pytest_twisted.ensureDeferred
async def test_the_worker_hangs_up_and_a_silent_phone_hears_it_again(world: World) -> None:
    await world.established()

    world.worker.send(
        world.worker_request("BYE", f"sip:{KEY}@127.0.0.1", to="<sip:alice@voiceengine>;tag=phone", cseq=9),
        world.internal,
    )
    await world.worker.inbox.response(200, 0.3)
    bye = await world.phone.inbox.request("BYE")
    again = await world.phone.inbox.request("BYE", 1.0)

    assert bytes(again) == bytes(bye)
    assert str(bye.uri) == f"sip:alice@127.0.0.1:{world.phone.port}"
    assert bye.headers["From"] == "<sip:1111@voiceengine>;tag=worker"
    assert bye.headers["To"] == '"Alice" <sip:alice@voiceengine>;tag=phone'


@pytest_twisted.ensureDeferred
async def test_a_bye_that_was_answered_is_not_repeated(world: World) -> None:
    await world.established()
    world.worker.send(
        world.worker_request("BYE", f"sip:{KEY}@127.0.0.1", to="<sip:alice@voiceengine>;tag=phone", cseq=9),
        world.internal,
    )
    await world.worker.inbox.response(200)
    bye = await world.phone.inbox.request("BYE")

    world.say(reply_to(bye, 200))

    await quiet(world.phone.inbox, 0.7)


@pytest_twisted.ensureDeferred
async def test_a_repeated_invite_is_absorbed(world: World) -> None:
    data = world.invite()
    world.say(data)
    await world.phone.inbox.response(100)
    seen = await world.worker.inbox.request("INVITE")
    world.answer(seen, 100)
    world.answer(seen, 180)
    ringing = await world.phone.inbox.response(180)

    world.say(data)

    assert bytes(await world.phone.inbox.response(180)) == bytes(ringing)
    await quiet(world.worker.inbox)
    assert len(world.handler.invites) == 1


@pytest_twisted.ensureDeferred
async def test_a_refusal_of_the_worker_reaches_the_phone_until_acknowledged(world: World) -> None:
    via = world.phone_via()
    world.say(world.invite(via=via))
    await world.phone.inbox.response(100)
    seen = await world.worker.inbox.request("INVITE")

    world.answer(seen, 486)

    ack = await world.worker.inbox.request("ACK")
    busy = await world.phone.inbox.response(486)
    again = await world.phone.inbox.response(486, 1.0)
    assert ack.via[0].parameters["branch"] == seen.via[0].parameters["branch"]
    assert bytes(again) == bytes(busy)
    assert world.handler.refused == [(486, "Said")]
    world.say(world.request("ACK", to=busy.headers["To"], via=via))
    await quiet(world.phone.inbox, 1.2)
    await quiet(world.worker.inbox, 0)


@pytest_twisted.ensureDeferred
async def test_a_cancel_before_the_invite_was_forwarded(world: World) -> None:
    world.handler.decide = lambda invite: None
    via = world.phone_via()
    world.say(world.invite(via=via))
    await world.phone.inbox.response(100)
    given_up: list[bool] = []
    world.handler.invites[0].on_cancel = lambda: given_up.append(True)

    world.say(world.request("CANCEL", ("Reason", "SIP;cause=200"), via=via))

    await world.phone.inbox.response(200)
    await world.phone.inbox.response(487)
    assert given_up == [True]
    assert world.handler.invites[0].cancel_reason == "SIP;cause=200"
    await quiet(world.worker.inbox)


@pytest_twisted.ensureDeferred
async def test_a_cancel_of_a_ringing_call_reaches_the_worker(world: World) -> None:
    via = world.phone_via()
    world.say(world.invite(via=via))
    await world.phone.inbox.response(100)
    seen = await world.worker.inbox.request("INVITE")
    world.answer(seen, 180)
    await world.phone.inbox.response(180)

    world.say(world.request("CANCEL", via=via))
    await world.phone.inbox.response(200)
    cancel = await world.worker.inbox.request("CANCEL")
    world.answer(cancel, 200)
    world.answer(seen, 487)

    assert cancel.via[0].parameters["branch"] == seen.via[0].parameters["branch"]
    assert cancel.headers["CSeq"] == "1 CANCEL"
    assert str(cancel.uri) == str(seen.uri)
    await world.worker.inbox.request("ACK")
    await world.phone.inbox.response(487)


@pytest_twisted.ensureDeferred
async def test_a_cancel_of_nothing_is_answered_481(world: World) -> None:
    world.say(world.request("CANCEL"))

    await world.phone.inbox.response(481)


@pytest_twisted.ensureDeferred
async def test_a_dead_worker_ends_a_ringing_call_with_500(world: World) -> None:
    world.say(world.invite())
    await world.phone.inbox.response(100)
    await world.worker.inbox.request("INVITE")

    world.edge.leg_over(KEY, "call@phone", lost=True)

    failed = await world.phone.inbox.response(500)
    assert "media-failure" in failed.headers["Reason"]


@pytest_twisted.ensureDeferred
async def test_a_dead_worker_ends_an_answered_call_with_bye(world: World) -> None:
    ok, _ = await world.established()

    world.edge.leg_over(KEY, "call@phone", lost=True)

    bye = await world.phone.inbox.request("BYE")
    assert "media-failure" in bye.headers["Reason"]
    assert bye.headers["To"] == '"Alice" <sip:alice@voiceengine>;tag=phone'
    assert bye.headers["From"] == ok.headers["To"]
    assert str(bye.uri) == f"sip:alice@127.0.0.1:{world.phone.port}"


@pytest_twisted.ensureDeferred
async def test_a_bye_after_the_worker_died_follows_its_last_sequence_number(world: World) -> None:
    """RFC 3261 section 12.2.1.1: CSeq grows strictly within a dialog."""
    await world.established()
    update = world.worker_request(
        "UPDATE", f"sip:{KEY}@127.0.0.1", to="<sip:alice@voiceengine>;tag=phone", cseq=4711
    )
    world.worker.send(update, world.internal)
    last = await world.phone.inbox.request("UPDATE")

    world.edge.leg_over(KEY, "call@phone", lost=True)

    bye = await world.phone.inbox.request("BYE")
    assert bye.cseq.sequence > last.cseq.sequence


@pytest_twisted.ensureDeferred
async def test_a_reinvite_of_the_phone_is_rebuilt_both_ways(world: World) -> None:
    ok, _ = await world.established()
    held = PHONE_SDP.replace("5 1", "5 2") + "a=sendonly\r\n"

    world.say(world.inside(ok, "INVITE", SDP_TYPE, body=held))
    await world.phone.inbox.response(100)
    seen = await world.worker.inbox.request("INVITE")
    world.answer(seen, 200, WORKER_SDP.replace("a=sendrecv", "a=recvonly"))
    answered = await world.phone.inbox.response(200)

    assert sdp.is_safe(seen.body)
    assert b"a=sendonly" in seen.body
    assert b"a=recvonly" in answered.body
    assert "X-Engine-Leg" not in seen.headers.keys()


@pytest_twisted.ensureDeferred
async def test_a_reinvite_of_the_worker_reaches_the_phone(world: World) -> None:
    await world.established()

    world.worker.send(
        world.worker_request(
            "INVITE",
            f"sip:{KEY}@127.0.0.1",
            ("Contact", f"<sip:worker@127.0.0.1:{world.worker.port}>"),
            to="<sip:alice@voiceengine>;tag=phone",
            cseq=3,
            body=WORKER_SDP,
        ),
        world.internal,
    )
    await world.worker.inbox.response(100)
    seen = await world.phone.inbox.request("INVITE")
    world.say(reply_to(seen, 200, ("Contact", f"<sip:alice@127.0.0.1:{world.phone.port}>"), body=PHONE_SDP))
    ok = await world.worker.inbox.response(200)
    world.worker.send(
        world.worker_request("ACK", f"sip:{KEY}@127.0.0.1", to="<sip:alice@voiceengine>;tag=phone", cseq=3),
        world.internal,
    )
    ack = await world.phone.inbox.request("ACK")

    assert f":{world.ports['udp']}" in seen.headers["Contact"]
    assert sdp.is_safe(ok.body)
    assert ack.cseq.sequence == seen.cseq.sequence


# ------------------------------------------------------------------------- digits


@pytest.mark.parametrize(
    ("kind", "body", "signal"),
    [
        ("application/dtmf", "5", "5"),
        ("application/dtmf", "#\r\n", "#"),
        ("application/dtmf-relay", "Signal=*\r\nDuration=250\r\n", "*"),
        ("Application/DTMF-Relay; charset=utf-8", "Signal= A\r\nDuration= 160\r\n", "A"),
        ("application/dtmf-relay", "Duration=160\r\nSignal=7\r\n", "7"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_info_digits_reach_the_worker_in_one_form(
    world: World, kind: str, body: str, signal: str
) -> None:
    ok, _ = await world.established()

    world.say(world.inside(ok, "INFO", ("Content-Type", kind), body=body))
    seen = await world.worker.inbox.request("INFO")
    world.answer(seen, 200)

    assert seen.headers["Content-Type"].partition(";")[0].lower() == "application/dtmf-relay"
    assert seen.body == f"Signal={signal}\r\nDuration=160\r\n".encode()
    await world.phone.inbox.response(200)


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("application/media_control+xml", "<media_control/>", 415),
        ("text/plain", "5", 415),
        ("application/dtmf", "x", 400),
        ("application/dtmf-relay", "Signal=\r\n", 400),
        ("application/dtmf-relay", "Signal=\r\nDuration=160\r\n", 400),
        ("application/dtmf", "", 400),
    ],
)
@pytest_twisted.ensureDeferred
async def test_other_info_never_reaches_the_worker(world: World, kind: str, body: str, code: int) -> None:
    ok, _ = await world.established()

    world.say(world.inside(ok, "INFO", ("Content-Type", kind), body=body))

    await world.phone.inbox.response(code)
    await quiet(world.worker.inbox)


@pytest_twisted.ensureDeferred
async def test_empty_info_is_a_keep_alive(world: World) -> None:
    ok, _ = await world.established()

    world.say(world.inside(ok, "INFO"))

    await world.phone.inbox.response(200)
    await quiet(world.worker.inbox)


# ------------------------------------------------------------------------- requests that are refused


@pytest_twisted.ensureDeferred
async def test_options_are_answered_inside_and_outside_of_dialogs(world: World) -> None:
    world.say(world.request("OPTIONS"))
    outside = await world.phone.inbox.response(200)
    assert "INVITE" in outside.headers["Allow"]
    assert outside.headers["Accept"] == "application/sdp"
    ok, _ = await world.established()
    world.say(world.inside(ok, "OPTIONS"))
    await world.phone.inbox.response(200)
    await quiet(world.worker.inbox)


@pytest_twisted.ensureDeferred
async def test_a_draining_engine_takes_no_calls(world: World) -> None:
    world.handler.accepting = False
    world.say(world.invite())
    refused = await world.phone.inbox.response(503)
    world.say(world.request("OPTIONS"))
    await world.phone.inbox.response(503)

    assert refused.headers["Retry-After"] == "5"


@pytest.mark.parametrize(
    ("method", "code", "header", "value"),
    [
        ("FOO", 405, "Allow", "INVITE"),
        ("MESSAGE", 405, "Allow", "INVITE"),
        ("SUBSCRIBE", 405, "Allow", "BYE"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_unknown_methods(world: World, method: str, code: int, header: str, value: str) -> None:
    world.say(world.request(method))

    refused = await world.phone.inbox.response(code)
    assert value in refused.headers[header]
    assert "tag=" in refused.headers["To"]


@pytest_twisted.ensureDeferred
async def test_an_unknown_required_option_is_named(world: World) -> None:
    world.say(world.invite(("Require", "timer, sec-agree , x-y")))

    refused = await world.phone.inbox.response(420)
    assert refused.headers["Unsupported"] == "sec-agree, x-y"


@pytest.mark.parametrize(("hops", "code"), [("0", 483), ("00", 483), ("-1", 400), ("999", 400), ("x", 400)])
@pytest_twisted.ensureDeferred
async def test_max_forwards(world: World, hops: str, code: int) -> None:
    world.say(world.invite(("Max-Forwards", hops)))

    await world.phone.inbox.response(code)
    assert world.handler.invites == []


@pytest_twisted.ensureDeferred
async def test_an_invite_without_sdp_is_refused(world: World) -> None:
    world.say(world.invite(body=""))
    await world.phone.inbox.response(400)
    world.say(world.invite(("Content-Type", "text/plain"), body="hello"))
    refused = await world.phone.inbox.response(415)

    assert refused.headers["Accept"] == "application/sdp"
    assert world.handler.invites == []


@pytest_twisted.ensureDeferred
async def test_an_invite_without_contact_is_refused(world: World) -> None:
    world.say(world.invite(without=("Contact",)))

    await world.phone.inbox.response(400)


@pytest_twisted.ensureDeferred
async def test_a_body_that_cannot_be_used_is_left_to_the_handler(world: World) -> None:
    def decide(invite: InboundInvite) -> None:
        with pytest.raises(sdp.SdpError) as found:
            invite.forward(KEY, world.leg)
        invite.refuse(found.value.status)

    world.handler.decide = decide
    world.say(world.invite(body=PHONE_SDP.replace("c=IN IP4 127.0.0.1", "c=IN IP4 ::1")))

    await world.phone.inbox.response(100)
    await world.phone.inbox.response(488)
    await quiet(world.worker.inbox)


@pytest_twisted.ensureDeferred
async def test_a_strange_token_is_answered_481(world: World) -> None:
    ok, _ = await world.established()
    good = ok.contact[0].uri.user or ""
    for token in ("", "leg1", good[:-1], f"leg1-{'0' * 16}", f"leg2-{good.partition('-')[2]}"):
        route = f"<sip:{token}@127.0.0.1:{world.ports['udp']};lr>"
        uri = f"sip:{token}@127.0.0.1" if token else "sip:127.0.0.1"
        world.say(world.request("BYE", ("Route", route), uri=uri, to=ok.headers["To"], cseq=3))
        await world.phone.inbox.response(481)

    assert world.edge.counters["strange_tokens"] == 5
    await quiet(world.worker.inbox)


@pytest.mark.parametrize("change", ["call", "from", "to"])
@pytest_twisted.ensureDeferred
async def test_a_request_outside_the_dialog_of_its_token_is_answered_481(world: World, change: str) -> None:
    ok, _ = await world.established()
    data = world.inside(ok, "BYE")
    old, new = {
        "call": (b"call@phone", b"other@phone"),
        "from": (b"tag=phone", b"tag=thief"),
        "to": (b"tag=worker", b"tag=x"),
    }[change]
    assert old in data
    world.say(data.replace(old, new))

    await world.phone.inbox.response(481)
    await quiet(world.worker.inbox)


# ------------------------------------------------------------------------- what is broken


@pytest_twisted.ensureDeferred
async def test_garbage_is_dropped_and_counted(world: World) -> None:
    for data in (b"\x00" * 40, b"hello world, this is no SIP", b"INVITE sip:a SIP/2.0\r\nVia: x\r\n\r\n"):
        world.say(data)
    world.say(world.request("OPTIONS"))
    await world.phone.inbox.response(200)

    assert world.edge.counters["malformed"] == 3
    assert world.edge.counters["dropped"] == 3


@pytest_twisted.ensureDeferred
async def test_keep_alives_are_swallowed(world: World) -> None:
    for data in (b"\r\n\r\n", b"\0", b"\0\0\0\0"):
        world.say(data)
    world.say(world.request("OPTIONS"))
    await world.phone.inbox.response(200)

    assert world.edge.counters["malformed"] == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Content-Length: 0", b"Content-Length: many"),
        (b"Content-Length: 0", b"Content-Length: 100"),
        (b"OPTIONS sip:1111@voiceengine", b"OPTIONS http://1111"),
        (b"CSeq: 1 OPTIONS", b"CSeq: 1 INVITE"),
        (b"Max-Forwards: 70", b"no colon here"),
        (b";tag=phone", b""),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_broken_but_can_be_answered_gets_400(world: World, old: bytes, new: bytes) -> None:
    data = world.request("OPTIONS")
    assert old in data

    world.say(data.replace(old, new))

    refused = await world.phone.inbox.response(400)
    assert refused.headers["Call-ID"] == "call@phone"


@pytest_twisted.ensureDeferred
async def test_a_broken_ack_is_never_answered(world: World) -> None:
    world.say(world.request("ACK").replace(b"Content-Length: 0", b"Content-Length: x"))

    await quiet(world.phone.inbox)


class Recorder:
    """A flow that notes what is sent."""

    transport = "udp"
    host = "127.0.0.1"
    alive = True

    def __init__(self, world: World) -> None:
        self.port = world.phone.port
        self.listener = world.edge.core.transports.listeners[0]
        self.sent: list[bytes] = []

    def send(self, data: bytes) -> None:
        self.sent.append(data)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b";rport", b";self=1;rport"),
        (b"<sip:1111@voiceengine>\r", b"<sip:1111@voiceengine>;self=1\r"),
        (b"From: ", b"From: ;;;"),
        (b"rport;branch=", b"rport;branch"),
        (b"SIP/2.0/UDP", b"SIP/3.0/UDP"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_no_message_raises_out_of_the_edge(world: World, old: bytes, new: bytes) -> None:
    """What raises here closes a TCP connection, and is a traceback in the log for UDP."""
    data = world.request("OPTIONS", via=world.phone_via())
    assert old in data

    world.edge.received(data.replace(old, new), Recorder(world))


@pytest_twisted.ensureDeferred
async def test_a_via_with_an_impossible_port_raises_nothing(world: World) -> None:
    """Without rport the answer goes to the port in Via (RFC 3261 section 18.2.2)."""
    flow = world.edge.core.transports.known_flow("udp", "127.0.0.1", world.phone.port)
    assert flow is not None

    via = "SIP/2.0/UDP 127.0.0.1:99999;branch=z9hG4bKport"
    world.edge.received(world.request("OPTIONS", via=via), flow)


@pytest_twisted.ensureDeferred
async def test_a_request_that_fills_a_datagram_raises_nothing(world: World) -> None:
    """The answer repeats all Via and would be larger than any datagram."""
    flow = world.edge.core.transports.known_flow("udp", "127.0.0.1", world.phone.port)
    assert flow is not None
    more = "".join(f"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{'x' * 4000}\r\n" for _ in range(15)).encode()
    data = world.request("OPTIONS")
    filler = b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK" + b"x" * (64940 - len(data) - len(more)) + b"\r\n"
    data = data.replace(b"Max-Forwards", more + filler + b"Max-Forwards")
    assert 64900 < len(data) <= 65000

    world.edge.received(data, flow)


@pytest_twisted.ensureDeferred
async def test_a_phrase_of_the_phone_cannot_add_headers(world: World) -> None:
    """pjsip ends a line at a bare LF: what follows would be headers and SDP that nobody has rebuilt."""
    seen, _ = await outbound(world)
    data = reply_to(seen, 183, tag="p", body=PHONE_SDP)

    world.say(data.replace(b"SIP/2.0 183 Said", b"SIP/2.0 183 OK\nX-Evil: 1"))
    world.say(reply_to(seen, 180, tag="p"))

    assert b"\nX-Evil" not in await world.worker.inbox.raw()


@pytest_twisted.ensureDeferred
async def test_a_header_name_of_the_phone_cannot_add_headers(world: World) -> None:
    seen, _ = await outbound(world)

    world.say(reply_to(seen, 183, ("X-A\nContact", "<sip:evil@192.0.2.1>"), tag="p"))
    world.say(reply_to(seen, 180, tag="p"))

    assert b"evil" not in await world.worker.inbox.raw()


# ------------------------------------------------------------------------- a call of a worker


def worker_cancel(world: World) -> bytes:
    return world.worker_request(
        "CANCEL",
        f"sip:bob@127.0.0.1:{world.phone.port}",
        to=f"<sip:bob@127.0.0.1:{world.phone.port}>",
        from_="<sip:1000@127.0.0.1>;tag=wtag",
        branch="z9hG4bKout",
        call_id="out@engine",
    )


@pytest_twisted.ensureDeferred
async def test_an_outbound_call_over_udp(world: World) -> None:
    seen, _ = await outbound(world)
    world.say(reply_to(seen, 180, tag="p"))
    await world.worker.inbox.response(180)
    world.say(reply_to(seen, 200, contact_of(world), ("X-Answer", "yes"), tag="p", body=PHONE_SDP))
    ok = await world.worker.inbox.response(200)
    to = ok.headers["To"]
    ack_data = world.worker_request(
        "ACK",
        f"sip:{KEY}@127.0.0.1",
        to=to,
        from_="<sip:1000@127.0.0.1>;tag=wtag",
        call_id="out@engine",
    )
    world.worker.send(ack_data, world.internal)
    ack = await world.phone.inbox.request("ACK")
    world.say(
        text_of(
            f"BYE {seen.contact[0].uri} SIP/2.0",
            [
                ("Via", world.phone_via()),
                ("Route", seen.headers["Record-Route"]),
                ("From", to),
                ("To", seen.headers["From"]),
                ("Call-ID", "out@engine"),
                ("CSeq", "77 BYE"),
            ],
        )
    )
    bye = await world.worker.inbox.request("BYE")
    world.answer(bye, 200)
    await world.phone.inbox.response(200)

    assert len(seen.headers.getlist("Via")) == 1
    assert seen.headers["X-RestComm-CallSid"] == "CA1"
    assert "X-Engine-Leg" not in seen.headers.keys()
    assert str(seen.uri) == f"sip:bob@127.0.0.1:{world.phone.port}"
    assert sdp.is_safe(seen.body)
    assert sdp.is_safe(ok.body)
    assert ok.headers["X-Answer"] == "yes"
    assert ok.headers["Contact"] == f"<sip:{KEY}@127.0.0.1:{world.internal}>"
    assert ok.headers["Via"].startswith(f"SIP/2.0/UDP 127.0.0.1:{world.worker.port}")
    assert str(ack.uri) == f"sip:bob@127.0.0.1:{world.phone.port};x=1"
    assert ack.headers.getlist("Route") == []


@pytest_twisted.ensureDeferred
async def test_an_outbound_call_over_tcp(world: World) -> None:
    stream = await world.connect()
    stream.transport.write(world.request("OPTIONS", via=world.phone_via("TCP")))
    await stream.inbox.response(200)
    seen, _ = await outbound(world, stream=stream)
    contact = contact_of(world)
    stream.transport.write(reply_to(seen, 200, contact, tag="p", body=PHONE_SDP))
    await world.worker.inbox.response(200)

    assert seen.via[0].transport == "TCP"
    assert "transport=tcp" in seen.headers["Contact"]
    assert f":{world.ports['tcp']}" in seen.headers["Record-Route"]
    await quiet(stream.inbox, 0.6)


@pytest_twisted.ensureDeferred
async def test_the_engine_connects_to_a_tcp_phone(world: World) -> None:
    got: list[Stream] = []

    def made() -> Stream:
        got.append(Stream())
        return got[-1]

    port = REACTOR.listenTCP(0, protocol.Factory.forProtocol(made), interface="127.0.0.1")
    try:
        uri = URI.parse(f"sip:bob@127.0.0.1:{port.getHost().port};transport=tcp")
        flow = await world.edge.flow_to_uri(uri)
        again = await world.edge.flow_to_uri(uri)
        await until(lambda: bool(got))
        assert flow.transport == "tcp"
        assert again.connection is flow.connection  # type: ignore[attr-defined]
    finally:
        await port.stopListening()
        for stream in got:
            stream.transport.abortConnection()
            await stream.lost


@pytest_twisted.ensureDeferred
async def test_a_call_that_nobody_expects_is_refused(world: World) -> None:
    world.worker.send(
        world.worker_request(
            "INVITE", "sip:x@127.0.0.1", to="<sip:x@127.0.0.1>", call_id="no", body=WORKER_SDP
        ),
        world.internal,
    )
    await world.worker.inbox.response(100)
    await world.worker.inbox.response(403)
    await quiet(world.phone.inbox)


@pytest_twisted.ensureDeferred
async def test_a_worker_cannot_use_the_leg_of_another(world: World) -> None:
    await world.established()
    other = Socket()
    try:
        other.send(
            world.worker_request("BYE", f"sip:{KEY}@127.0.0.1", to="<sip:alice@voiceengine>;tag=phone"),
            world.internal,
        )
        await other.inbox.response(481)
        await quiet(world.phone.inbox)
    finally:
        await other.handle.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_cancel_waits_for_the_first_sign_of_the_phone(world: World) -> None:
    seen, _ = await outbound(world)

    world.worker.send(worker_cancel(world), world.internal)
    await world.worker.inbox.response(200, 0.3)
    await world.worker.inbox.response(487, 0.3)
    await quiet(world.phone.inbox)
    world.say(reply_to(seen, 180, tag="p"))

    cancel = await world.phone.inbox.request("CANCEL")
    assert cancel.via[0].parameters["branch"] == seen.via[0].parameters["branch"]
    assert str(cancel.uri) == str(seen.uri)
    world.say(reply_to(cancel, 200, tag="p"))
    world.say(reply_to(seen, 487, tag="p"))
    ack = await world.phone.inbox.request("ACK")
    assert ack.headers["To"].endswith(";tag=p")


@pytest_twisted.ensureDeferred
async def test_the_answer_to_a_cancel_is_not_taken_for_an_answer_to_the_invite(world: World) -> None:
    """Both carry the same branch; the method in CSeq tells them apart (RFC 3261 section 17.1.3)."""
    seen, _ = await outbound(world)
    world.say(reply_to(seen, 180, contact_of(world), tag="p"))
    await world.worker.inbox.response(180)
    world.worker.send(worker_cancel(world), world.internal)
    await world.worker.inbox.response(200)
    cancel = await world.phone.inbox.request("CANCEL")

    world.say(reply_to(cancel, 200, contact_of(world), tag="p"))

    await quiet(world.phone.inbox)


@pytest_twisted.ensureDeferred
async def test_a_cancel_that_got_lost_is_repeated(world: World) -> None:
    """RFC 3261 section 9.1: CANCEL is a transaction of its own, repeated over UDP like any other."""
    seen, _ = await outbound(world)
    world.say(reply_to(seen, 180, tag="p"))
    await world.worker.inbox.response(180)
    world.worker.send(worker_cancel(world), world.internal)
    await world.worker.inbox.response(200)

    first = await world.phone.inbox.request("CANCEL")
    await world.worker.inbox.response(487)
    again = await world.phone.inbox.request("CANCEL", 1.0)

    assert bytes(again) == bytes(first)


@pytest_twisted.ensureDeferred
async def test_an_answer_after_the_cancel_is_acknowledged_and_ended(world: World) -> None:
    seen, _ = await outbound(world)
    world.say(reply_to(seen, 180, tag="p"))
    await world.worker.inbox.response(180)
    world.worker.send(worker_cancel(world), world.internal)
    await world.worker.inbox.response(200)
    await world.worker.inbox.response(487)
    await world.phone.inbox.request("CANCEL")

    world.say(reply_to(seen, 200, contact_of(world), tag="p", body=PHONE_SDP))

    ack = await world.phone.inbox.request("ACK")
    bye = await world.phone.inbox.request("BYE")
    assert ack.headers["CSeq"] == "1 ACK"
    assert bye.headers["CSeq"] == "2 BYE"
    for request in (ack, bye):
        assert str(request.uri) == f"sip:bob@127.0.0.1:{world.phone.port};x=1"
        assert request.headers["To"].endswith(";tag=p")
    await quiet(world.worker.inbox)


@pytest_twisted.ensureDeferred
async def test_a_refusal_of_the_phone_reaches_the_worker(world: World) -> None:
    seen, _ = await outbound(world)

    world.say(reply_to(seen, 486, tag="p"))

    await world.phone.inbox.request("ACK")
    busy = await world.worker.inbox.response(486)
    assert busy.headers["Via"].startswith(f"SIP/2.0/UDP 127.0.0.1:{world.worker.port}")


@pytest_twisted.ensureDeferred
async def test_a_challenge_of_the_phone_reaches_the_worker_whole(world: World) -> None:
    seen, _ = await outbound(world)
    asks = [("Proxy-Authenticate", f'Digest realm="x", nonce="{n}", algorithm=MD5') for n in (1, 2)]

    world.say(reply_to(seen, 407, *asks, tag="p"))

    asked = await world.worker.inbox.response(407)
    assert asked.headers.getlist("Proxy-Authenticate") == [value for _, value in asks]


@pytest_twisted.ensureDeferred
async def test_an_answer_without_usable_audio_is_ended(world: World) -> None:
    seen, _ = await outbound(world)
    refused = PHONE_SDP.replace("m=audio 4000", "m=audio 0")

    world.say(reply_to(seen, 200, contact_of(world), tag="p", body=refused))

    await world.phone.inbox.request("ACK")
    await world.phone.inbox.request("BYE")
    await world.worker.inbox.response(488)


@pytest_twisted.ensureDeferred
async def test_a_second_branch_that_answers_is_ended(world: World) -> None:
    seen, _ = await outbound(world)
    world.say(reply_to(seen, 200, contact_of(world), tag="one", body=PHONE_SDP))
    await world.worker.inbox.response(200)

    world.say(reply_to(seen, 200, contact_of(world), tag="two", body=PHONE_SDP))

    ack = await world.phone.inbox.request("ACK")
    bye = await world.phone.inbox.request("BYE")
    assert ack.headers["To"].endswith(";tag=two")
    assert bye.headers["To"].endswith(";tag=two")
    await quiet(world.worker.inbox)


@pytest_twisted.ensureDeferred
async def test_a_dead_worker_cancels_its_ringing_call(world: World) -> None:
    seen, _ = await outbound(world)
    world.say(reply_to(seen, 180, tag="p"))
    await world.worker.inbox.response(180)

    world.edge.leg_over(KEY, "out@engine", lost=True)

    await world.phone.inbox.request("CANCEL")


# ------------------------------------------------------------------------- TCP, IPv6


@pytest_twisted.ensureDeferred
async def test_messages_on_a_stream_are_cut_by_their_length(world: World) -> None:
    stream = await world.connect()
    data = world.request("OPTIONS", via=world.phone_via("TCP"))
    data += world.request("OPTIONS", via=world.phone_via("TCP"))
    for position in range(0, len(data), 97):
        stream.transport.write(data[position : position + 97])
        await task.deferLater(REACTOR, 0, lambda: None)

    await stream.inbox.response(200)
    await stream.inbox.response(200)


@pytest_twisted.ensureDeferred
async def test_a_ping_on_a_stream_is_answered(world: World) -> None:
    stream = await world.connect()
    stream.framed = False
    stream.transport.write(b"\r\n\r\n")

    assert await stream.raw.raw() == b"\r\n"


@pytest_twisted.ensureDeferred
async def test_a_stream_without_lengths_is_closed(world: World) -> None:
    stream = await world.connect()
    stream.transport.write(world.request("OPTIONS").replace(b"Content-Length: 0\r\n", b""))

    await stream.lost
    assert world.edge.counters["unframed"] == 1


@pytest_twisted.ensureDeferred
async def test_a_whole_call_over_tcp(world: World) -> None:
    stream = await world.connect()
    stream.transport.write(world.invite(via=world.phone_via("TCP")))
    await stream.inbox.response(100)
    seen = await world.worker.inbox.request("INVITE")
    world.answer(seen, 200, WORKER_SDP)
    ok = await stream.inbox.response(200)
    stream.transport.write(world.inside(ok, "ACK", cseq=1, via=world.phone_via("TCP")))
    await world.worker.inbox.request("ACK")
    world.worker.send(
        world.worker_request("BYE", f"sip:{KEY}@127.0.0.1", to="<sip:alice@voiceengine>;tag=phone", cseq=9),
        world.internal,
    )

    bye = await stream.inbox.request("BYE")
    assert bye.via[0].transport == "TCP"
    assert "transport=tcp" in str(ok.contact[0].uri)


def has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as trial:
        try:
            trial.bind(("::1", 0))
        except OSError:
            return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")
@pytest_twisted.ensureDeferred
async def test_signalling_over_ipv6_with_media_over_ipv4() -> None:
    world = World(["udp://[::1]:0"])
    try:
        ok, seen = await world.established()
        world.say(world.inside(ok, "BYE"))
        bye = await world.worker.inbox.request("BYE")
        world.answer(bye, 200)
        await world.phone.inbox.response(200)

        assert f"@[::1]:{world.ports['udp']}" in ok.headers["Contact"]
        assert b"c=IN IP4 127.0.0.1" in seen.body
    finally:
        await world.close()
