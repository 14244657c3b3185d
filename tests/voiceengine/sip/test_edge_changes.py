"""What happens within a call: hold from both sides, target refresh, session timers (RFC 3264, 4028)."""

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
    until,
)
from sipmessage import Request

from voiceengine.sip import sdp

pytestmark = pytest.mark.loopback

ALICE = "<sip:alice@voiceengine>;tag=phone"
TIMER = [("Supported", "timer"), ("Session-Expires", "1800;refresher=uac"), ("Min-SE", "90")]


def from_worker(world: World, method: str, *more: tuple[str, str], cseq: int = 3, body: str = "") -> bytes:
    contact = ("Contact", f"<sip:worker@127.0.0.1:{world.worker.port}>")
    uri = f"sip:{KEY}@127.0.0.1:{world.internal}"
    return world.worker_request(method, uri, contact, *more, to=ALICE, cseq=cseq, body=body)


async def reinvited(world: World, *more: tuple[str, str], body: str = WORKER_SDP, **how: Any) -> Request:
    """A re-INVITE of the worker, as the phone gets it."""
    world.worker.send(from_worker(world, "INVITE", *more, body=body, **how), world.internal)
    await world.worker.inbox.response(100)
    return await world.phone.inbox.request("INVITE")


# ------------------------------------------------------------------------- hold by the engine


@pytest.mark.parametrize(
    ("said", "answered"),
    [("sendonly", "recvonly"), ("inactive", "inactive"), ("sendrecv", "sendrecv"), ("sendonly", "inactive")],
)
@pytest_twisted.ensureDeferred
async def test_the_direction_of_a_worker_and_of_its_answer_are_kept(
    world: World, said: str, answered: str
) -> None:
    await world.established()
    seen = await reinvited(
        world, body=WORKER_SDP.replace("a=sendrecv", f"a={said}").replace("- 7 1", "- 7 2")
    )

    answer = PHONE_SDP + f"a={answered}\r\n"
    world.say(reply_to(seen, 200, contact_of(world), body=answer))
    ok = await world.worker.inbox.response(200)

    assert f"a={said}\r\n".encode() in seen.body
    assert b"o=- 7 2 " in seen.body
    assert f"a={answered}\r\n".encode() in ok.body
    assert sdp.is_safe(seen.body)
    assert sdp.is_safe(ok.body)


@pytest_twisted.ensureDeferred
async def test_an_offer_of_the_worker_has_all_streams_of_the_phone(world: World) -> None:
    """RFC 3264 section 8: no m-line may vanish."""
    video = "m=video 4002 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
    world.say(world.invite(body=PHONE_SDP + video))
    await world.phone.inbox.response(100)
    forwarded = await world.worker.inbox.request("INVITE")
    world.answer(forwarded, 200, WORKER_SDP)
    ok = await world.phone.inbox.response(200)
    world.say(world.inside(ok, "ACK", cseq=1))
    await world.worker.inbox.request("ACK")

    seen = await reinvited(world, body=WORKER_SDP.replace("a=sendrecv", "a=sendonly"))
    world.say(reply_to(seen, 200, contact_of(world), body=PHONE_SDP + video.replace("4002", "0")))
    answer = await world.worker.inbox.response(200)

    assert b"m=video 0 RTP/AVP 96\r\n" in seen.body
    assert b"a=sendonly\r\n" in seen.body
    assert b"video" not in answer.body


@pytest.mark.parametrize("code", [488, 491, 500])
@pytest_twisted.ensureDeferred
async def test_a_refused_reinvite_of_the_worker_is_refused_to_it(world: World, code: int) -> None:
    await world.established()
    seen = await reinvited(world)

    world.say(reply_to(seen, code, ("Retry-After", "3")))
    ack = await world.phone.inbox.request("ACK")
    refused = await world.worker.inbox.response(code)

    assert ack.cseq.sequence == seen.cseq.sequence
    assert ack.via[0].parameters["branch"] == seen.via[0].parameters["branch"]
    assert refused.headers["Retry-After"] == "3"
    assert refused.headers["CSeq"] == "3 INVITE"


@pytest_twisted.ensureDeferred
async def test_a_reinvite_is_possible_again_after_a_glare(world: World) -> None:
    """RFC 3261 section 14.1."""
    await world.established()
    seen = await reinvited(world)
    world.say(reply_to(seen, 491))
    await world.phone.inbox.request("ACK")
    refused = await world.worker.inbox.response(491)
    branch = refused.via[0].parameters["branch"] or ""
    ack = world.worker_request("ACK", f"sip:{KEY}@127.0.0.1", to=ALICE, cseq=3, branch=branch)
    world.worker.send(ack, world.internal)
    await quiet(world.phone.inbox)

    again = await reinvited(world, cseq=4)
    world.say(reply_to(again, 200, contact_of(world), body=PHONE_SDP))

    assert again.cseq.sequence > seen.cseq.sequence
    assert (await world.worker.inbox.response(200)).headers["CSeq"] == "4 INVITE"


@pytest_twisted.ensureDeferred
async def test_a_repeated_answer_is_acknowledged_by_the_worker_again(world: World) -> None:
    await world.established()
    seen = await reinvited(world)
    answer = reply_to(seen, 200, contact_of(world), body=PHONE_SDP)
    for _ in range(2):
        world.say(answer)
        await world.worker.inbox.response(200)
        world.worker.send(from_worker(world, "ACK"), world.internal)
        ack = await world.phone.inbox.request("ACK")
        assert ack.headers["CSeq"] == f"{seen.cseq.sequence} ACK"
        assert str(ack.uri) == f"sip:bob@127.0.0.1:{world.phone.port};x=1"


@pytest_twisted.ensureDeferred
async def test_a_phone_that_moved_with_its_answer_is_found_there(world: World) -> None:
    """The 2xx to a re-INVITE or UPDATE refreshes the target as well (RFC 3261 section 12.2.1.2)."""
    await world.established()
    world.worker.send(from_worker(world, "UPDATE", cseq=3), world.internal)
    update = await world.phone.inbox.request("UPDATE")
    world.say(reply_to(update, 200, contact_of(world)))
    await world.worker.inbox.response(200)

    world.worker.send(from_worker(world, "BYE", cseq=4), world.internal)

    bye = await world.phone.inbox.request("BYE")
    assert str(bye.uri) == f"sip:bob@127.0.0.1:{world.phone.port};x=1"


@pytest_twisted.ensureDeferred
async def test_the_prack_of_a_reinvite_names_the_number_that_the_phone_saw(world: World) -> None:
    """RFC 3262 section 7.2."""
    await world.established()
    seen = await reinvited(world)
    world.say(reply_to(seen, 183, ("Require", "100rel"), ("RSeq", "7"), contact_of(world)))
    progress = await world.worker.inbox.response(183)

    world.worker.send(from_worker(world, "PRACK", ("RAck", "7 3 INVITE"), cseq=4), world.internal)
    prack = await world.phone.inbox.request("PRACK")

    assert progress.headers["RSeq"] == "7"
    assert prack.headers["RAck"] == f"7 {seen.cseq.sequence} INVITE"


# ------------------------------------------------------------------------- hold by the phone


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (PHONE_SDP + "a=sendonly\r\n", b"a=sendonly"),
        (PHONE_SDP + "a=inactive\r\n", b"a=inactive"),
        (PHONE_SDP.replace("c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0"), b"a=inactive"),
        (PHONE_SDP.replace("t=0 0", "t=0 0\r\na=sendonly"), b"a=sendonly"),
        (PHONE_SDP, b"a=sendrecv"),
    ],
)
@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
@pytest_twisted.ensureDeferred
async def test_a_hold_of_the_phone_reaches_the_worker(
    world: World, method: str, body: str, expected: bytes
) -> None:
    ok, _ = await world.established()

    world.say(world.inside(ok, method, SDP_TYPE, body=body))
    if method == "INVITE":
        await world.phone.inbox.response(100)
    seen = await world.worker.inbox.request(method)
    world.answer(seen, 200, WORKER_SDP.replace("a=sendrecv", "a=recvonly"))
    answered = await world.phone.inbox.response(200)

    assert expected in seen.body
    assert sdp.is_safe(seen.body)
    assert b"a=recvonly" in answered.body


@pytest_twisted.ensureDeferred
async def test_a_glare_of_the_worker_reaches_the_phone(world: World) -> None:
    ok, _ = await world.established()
    via = world.phone_via()
    world.say(world.inside(ok, "INVITE", SDP_TYPE, body=PHONE_SDP, via=via))
    await world.phone.inbox.response(100)
    seen = await world.worker.inbox.request("INVITE")

    world.answer(seen, 491)

    await world.worker.inbox.request("ACK")
    await world.phone.inbox.response(491)
    world.say(world.inside(ok, "ACK", via=via))
    await quiet(world.phone.inbox, 0.6)
    await quiet(world.worker.inbox, 0)


# ------------------------------------------------------------------------- session timers


@pytest_twisted.ensureDeferred
async def test_a_session_timer_is_agreed_between_phone_and_worker(world: World) -> None:
    world.say(world.invite(*TIMER))
    await world.phone.inbox.response(100)
    seen = await world.worker.inbox.request("INVITE")
    world.answer(seen, 200, WORKER_SDP, ("Session-Expires", "1800;refresher=uac"), ("Require", "timer"))
    ok = await world.phone.inbox.response(200)

    for name, value in TIMER:
        assert seen.headers[name] == value
    assert (ok.headers["Session-Expires"], ok.headers["Require"]) == ("1800;refresher=uac", "timer")
    assert "timer" in ok.headers["Supported"]


@pytest_twisted.ensureDeferred
async def test_compact_and_required_timers_are_understood(world: World) -> None:
    world.say(world.invite(("k", "timer"), ("x", "90"), ("Require", "timer")))
    await world.phone.inbox.response(100)
    seen = await world.worker.inbox.request("INVITE")

    assert (seen.headers["Session-Expires"], seen.headers["Require"]) == ("90", "timer")


@pytest_twisted.ensureDeferred
async def test_an_interval_that_is_too_small_is_refused_with_the_smallest(world: World) -> None:
    world.say(world.invite(("Supported", "timer"), ("Session-Expires", "30")))
    await world.phone.inbox.response(100)
    seen = await world.worker.inbox.request("INVITE")

    world.answer(seen, 422, "", ("Min-SE", "90"))

    assert (await world.phone.inbox.response(422)).headers["Min-SE"] == "90"


@pytest_twisted.ensureDeferred
async def test_a_phone_that_wants_a_longer_interval_is_called_again(world: World) -> None:
    """RFC 4028 section 7.3: the second INVITE has the same Call-ID and the next CSeq."""
    seen, data = await outbound(world)
    world.say(reply_to(seen, 422, ("Min-SE", "3600"), tag="p"))
    await world.phone.inbox.request("ACK")
    refused = await world.worker.inbox.response(422)
    again = data.replace(b"branch=z9hG4bKout", b"branch=z9hG4bKout2").replace(b"1 INVITE", b"2 INVITE")

    world.worker.send(again, world.internal)
    await world.worker.inbox.response(100)
    second = await world.phone.inbox.request("INVITE")
    world.say(reply_to(second, 200, contact_of(world), tag="q", body=PHONE_SDP))

    assert refused.headers["Min-SE"] == "3600"
    assert second.cseq.sequence == seen.cseq.sequence + 1
    assert (await world.worker.inbox.response(200)).headers["CSeq"] == "2 INVITE"


@pytest.mark.parametrize("method", ["UPDATE", "INVITE"])
@pytest_twisted.ensureDeferred
async def test_a_phone_refreshes(world: World, method: str) -> None:
    ok, _ = await world.established()
    more = [*TIMER, SDP_TYPE] if method == "INVITE" else TIMER
    body = PHONE_SDP if method == "INVITE" else ""

    world.say(world.inside(ok, method, *more, body=body))
    if method == "INVITE":
        await world.phone.inbox.response(100)
    seen = await world.worker.inbox.request(method)
    answer = WORKER_SDP if method == "INVITE" else ""
    world.answer(seen, 200, answer, ("Session-Expires", "1800;refresher=uac"), ("Require", "timer"))
    refreshed = await world.phone.inbox.response(200)

    assert seen.headers["Session-Expires"] == "1800;refresher=uac"
    assert refreshed.headers["Session-Expires"] == "1800;refresher=uac"
    assert refreshed.headers["Require"] == "timer"
    assert refreshed.headers["Contact"] == ok.headers["Contact"]


@pytest.mark.parametrize("method", ["UPDATE", "INVITE"])
@pytest_twisted.ensureDeferred
async def test_the_worker_refreshes(world: World, method: str) -> None:
    await world.established()
    body = WORKER_SDP if method == "INVITE" else ""
    timer = [("Session-Expires", "90;refresher=uac"), ("Min-SE", "90"), ("Supported", "timer")]

    world.worker.send(from_worker(world, method, *timer, body=body), world.internal)
    if method == "INVITE":
        await world.worker.inbox.response(100)
    seen = await world.phone.inbox.request(method)
    answer = [("Session-Expires", "90;refresher=uac"), ("Require", "timer"), contact_of(world)]
    world.say(reply_to(seen, 200, *answer, body=PHONE_SDP if body else ""))
    refreshed = await world.worker.inbox.response(200)

    assert seen.headers["Session-Expires"] == "90;refresher=uac"
    assert seen.headers["Min-SE"] == "90"
    assert "timer" in seen.headers["Supported"]
    assert refreshed.headers["Session-Expires"] == "90;refresher=uac"
    assert refreshed.headers["Require"] == "timer"
    assert refreshed.headers["CSeq"] == f"3 {method}"


@pytest_twisted.ensureDeferred
async def test_the_bye_of_a_worker_whose_session_expired_reaches_the_phone(world: World) -> None:
    await world.established()

    reason = ("Reason", 'SIP;cause=408;text="Session timeout"')
    world.worker.send(from_worker(world, "BYE", reason), world.internal)

    assert (await world.phone.inbox.request("BYE")).headers["Reason"] == reason[1]


# ------------------------------------------------------------------------- called phones


@pytest_twisted.ensureDeferred
async def test_an_asserted_identity_is_put_into_the_invite(world: World) -> None:
    identity = '"Sales" <sip:+15551234@example.com>'
    seen, data = await outbound(world, identity=identity + "\r\nX-Evil: 1")
    world.say(reply_to(seen, 407, ("Proxy-Authenticate", 'Digest realm="x", nonce="1"'), tag="p"))
    await world.phone.inbox.request("ACK")
    await world.worker.inbox.response(407)
    again = data.replace(b"branch=z9hG4bKout", b"branch=z9hG4bKout2").replace(b"1 INVITE", b"2 INVITE")
    world.worker.send(again, world.internal)
    await world.worker.inbox.response(100)
    second = await world.phone.inbox.request("INVITE")

    for invite in (seen, second):
        assert invite.headers.getlist("P-Asserted-Identity") == [identity + " X-Evil: 1"]
        assert invite.headers.get("X-Evil") is None


@pytest_twisted.ensureDeferred
async def test_no_identity_is_asserted_unless_it_is_given(world: World) -> None:
    seen, _ = await outbound(world)

    assert seen.headers.get("P-Asserted-Identity") is None


@pytest.mark.parametrize("code", [404, 486, 503, 603])
@pytest_twisted.ensureDeferred
async def test_headers_of_a_refusal_reach_the_worker(world: World, code: int) -> None:
    seen, _ = await outbound(world)

    world.say(
        reply_to(seen, code, ("X-Why", "closed"), ("Reason", "Q.850;cause=17"), ("Secret", "1"), tag="p")
    )

    refused = await world.worker.inbox.response(code)
    assert refused.headers["X-Why"] == "closed"
    assert refused.headers["Reason"] == "Q.850;cause=17"
    assert refused.headers.get("Secret") is None


@pytest_twisted.ensureDeferred
async def test_headers_of_a_bye_reach_the_worker_as_far_as_they_fit(world: World) -> None:
    ok, _ = await world.established()
    more = [("X-Survey", "5"), ("X-Engine-Note", "x"), ("Reason", "Q.850;cause=16")]
    large = [(f"X-Large-{n}", "x" * 1500) for n in range(5)]

    world.say(world.inside(ok, "BYE", *more, *large))

    seen = await world.worker.inbox.request("BYE")
    assert (seen.headers["X-Survey"], seen.headers["Reason"]) == ("5", "Q.850;cause=16")
    assert seen.headers.get("X-Large-0") is not None
    assert len(bytes(seen)) < 4000


@pytest_twisted.ensureDeferred
async def test_a_phone_that_rings_for_long_can_be_given_up(world: World) -> None:
    """The INVITE of the worker is remembered until it is answered, not for 32 s only."""
    seen, _ = await outbound(world)
    world.say(reply_to(seen, 180, contact_of(world), tag="p"))
    await world.worker.inbox.response(180)
    core = world.edge.core
    core._old_servers._seconds = -1.0
    await quiet(world.worker.inbox, 1.1)  # a sweep later

    world.worker.send(
        world.worker_request(
            "CANCEL",
            str(seen.uri),
            to=f"<sip:bob@127.0.0.1:{world.phone.port}>",
            from_="<sip:1000@127.0.0.1>;tag=wtag",
            branch="z9hG4bKout",
            call_id="out@engine",
        ),
        world.internal,
    )

    await world.worker.inbox.response(200)
    await world.worker.inbox.response(487)
    await world.phone.inbox.request("CANCEL")


@pytest_twisted.ensureDeferred
async def test_nothing_is_left_of_an_outbound_call_that_never_got_an_answer(world: World) -> None:
    await outbound(world)
    core = world.edge.core
    core._old_servers._seconds = -1.0

    world.edge.leg_over(KEY, "out@engine", lost=True)

    await until(lambda: not core.servers)
