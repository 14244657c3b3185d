"""Dial through an outbound proxy (AC49, AC59), answerOnBridge, and calls of clients (AC64, AC65)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from dialing import PATIENT, answers, client, put_on_hold, silence, sip, talk, with_engine
from harness import EngineProcess
from pytest_twisted import async_yield_fixture, ensureDeferred
from sipcall import Call
from sipphone import Phone
from siptext import offer
from sound import sounding, tones
from waiting import eventually, pause, stays, together
from webapp import WebApp
from world import World, case, dial, element, uri_of

pytestmark = pytest.mark.loopback

PASSWORD = "RestComm1234"
RING_SECONDS = 6
GOES_ON = 1300.0


@async_yield_fixture(scope="module")
async def proxy() -> AsyncIterator[Phone]:
    """The outbound proxy."""
    phone = await Phone(("127.0.0.1", 9), "proxy").open()
    yield phone
    await phone.close()


@pytest.fixture(scope="module")
def engine(engines: Callable[..., EngineProcess], proxy: Phone) -> EngineProcess:
    """An engine with an outbound proxy and a short ring time."""
    made = engines(
        "media.spare_workers=3",
        f"sip.outbound_proxy.uri=sip:127.0.0.1:{proxy.port}",
        f"sip.ring_timeout={RING_SECONDS}",
    )
    proxy.engine = made.address()
    PROXY.append(proxy)
    return made


PROXY: list[Phone] = []


async def at_proxy(proxy: Phone, dialed: str) -> Call:
    """The call to a number that came to a proxy."""

    def found() -> Call | None:
        return next((c for c in proxy.offers if c.invite.uri.startswith(f"sip:{dialed}@")), None)

    seen = [call.invite.uri for call in proxy.offers]
    call: Any = await proxy.changes.until(found, PATIENT, lambda: f"an INVITE to {dialed}; came {seen}")
    return call  # type: ignore[no-any-return]


def number_noun(text: str, **attributes: object) -> str:
    """A Number noun."""
    return element("Number", text, **attributes)


def goes_on(call: Call) -> None:
    """The caller went on with the document."""
    assert tones(call.heard())[-1].frequency == pytest.approx(GOES_ON, abs=30)


# ------------------------------------------------------------------ numbers


@case
async def test_ac49_a_client_who_answers_first_lets_the_number_be_cancelled(world: World) -> None:
    (proxy,) = PROXY
    rob = await world.registered("ac49rob")
    number = await world.number(dial(number_noun("+15558880049"), client("ac49rob")))
    call = await world.call(number)
    outside, inside = await at_proxy(proxy, "+15558880049"), await rob.offered(1, PATIENT)
    outside.ring()
    inside.ring()
    await call.hears(440, 480, within=PATIENT)
    inside.answer()
    await outside.request_of("CANCEL", PATIENT)
    await talk(call, inside)
    assert [request.method for _, request in outside.requests] == ["CANCEL", "ACK"]
    await inside.bye()
    await call.over(PATIENT)

    rows = await world.dialed(number, 2)
    found = {row["to"]: row["status"] for row in rows}
    assert found == {"+15558880049": "canceled", "ac49rob": "completed"}


@case
async def test_ac59_the_caller_id_is_the_from_of_the_invite_to_the_proxy(world: World) -> None:
    (proxy,) = PROXY
    number = await world.number(dial(number_noun("+15558880059"), callerId="1234"))
    call = await world.call(number)
    callee = await at_proxy(proxy, "+15558880059")
    callee.ring()
    callee.answer()
    await talk(call, callee)

    assert callee.invite.uri == f"sip:+15558880059@127.0.0.1:{proxy.port}"
    assert uri_of(callee.invite.get("From")) == "sip:1234@127.0.0.1", "at the proxy's host"
    assert callee.invite.get("P-Asserted-Identity") == ""
    (row,) = await world.rest.calls(ParentCallSid=await world.sid(number))
    assert (row["from"], row["to"]) == ("1234", "+15558880059")
    await callee.bye()
    await call.over(PATIENT)


@case
async def test_without_a_caller_id_the_caller_is_the_from(world: World) -> None:
    (proxy,) = PROXY
    number = await world.number(dial("+1 (555) 888-0060"))
    call = await world.call(number)
    callee = await at_proxy(proxy, "+15558880060")
    assert uri_of(callee.invite.get("From")).startswith("sip:+15550001@")
    callee.refuse(486)
    await call.over(PATIENT)


@case
async def test_the_caller_id_may_be_a_client_and_holds_for_all_nouns(world: World) -> None:
    (proxy,) = PROXY
    rob = await world.registered("idrob")
    nouns = number_noun("+15558880061"), client("idrob")
    number = await world.number(dial(*nouns, callerId="client:thomas"))
    call = await world.call(number)
    for callee in (await at_proxy(proxy, "+15558880061"), await rob.offered(1, PATIENT)):
        assert uri_of(callee.invite.get("From")).startswith("sip:thomas@")
        callee.refuse(486)
    await call.over(PATIENT)


@case
async def test_headers_behind_a_number_are_sent(world: World) -> None:
    (proxy,) = PROXY
    number = await world.number(dial(number_noun("+15558880062?X-A=1&amp;b=2")))
    call = await world.call(number)
    callee = await at_proxy(proxy, "+15558880062")
    assert (callee.invite.get("X-A"), callee.invite.get("X-b")) == ("1", "2")
    assert "?" not in callee.invite.uri
    callee.refuse(486)
    await call.over(PATIENT)


@case
async def test_digits_are_sent_after_the_answer_and_before_the_bridge(world: World) -> None:
    (proxy,) = PROXY
    number = await world.number(dial(number_noun("+15558880063", sendDigits="ww12w#")))
    call = await world.call(number)
    callee = await at_proxy(proxy, "+15558880063")
    callee.ring()
    callee.hum(900)
    callee.answer()
    await callee.answered(PATIENT)
    await call.hears_none_of(900, seconds=0.5)
    await callee.changes.until(lambda: len(callee.rtp.digits()) == 3, PATIENT, "three keys")
    assert callee.rtp.digits() == "12#"
    await talk(call, callee)
    await callee.bye()
    await call.over(PATIENT)
    assert callee.rtp.digits() == "12#"


@case
async def test_a_callee_who_hangs_up_while_digits_are_sent_was_never_bridged(world: World) -> None:
    (proxy,) = PROXY
    action = world.script("action", world.play(GOES_ON, 0.5))
    number = await world.number(dial(number_noun("+15558880064", sendDigits="wwwwwwww1"), action=action))
    call = await world.call(number)
    callee = await at_proxy(proxy, "+15558880064")
    callee.answer()
    await callee.answered(PATIENT)
    await pause(0.3)
    await callee.bye()
    seen = await world.asked("action", within=PATIENT)
    await call.over(PATIENT)

    assert seen.form["DialCallStatus"] == "no-answer"
    assert not [name for name in seen.form if name.startswith("DialSip")]
    goes_on(call)


@case
async def test_a_carrier_that_sends_early_audio_is_heard_and_can_refuse(world: World) -> None:
    (proxy,) = PROXY
    action = world.script("action", world.play(GOES_ON, 0.5))
    number = await world.number(dial(number_noun("+15558880065"), action=action))
    call = await world.call(number)
    callee = await at_proxy(proxy, "+15558880065")
    callee.hum(900)
    callee.early()
    await call.hears(900, within=PATIENT)
    callee.rtp.mute()
    callee.refuse(486)
    seen = await world.asked("action", within=PATIENT)
    await call.over(PATIENT)
    assert seen.form["DialCallStatus"] == "busy"
    goes_on(call)


@case
async def test_the_callee_of_a_program_is_joined_with_whom_its_document_dials(world: World) -> None:
    ann, rob = await world.phone("ann"), await world.phone("rob")
    url = world.script("voice", dial(sip(rob)))
    row = await world.rest.start_call(From="+15550009", To=ann.uri, Url=url)
    near = await answers(ann)
    far = await answers(rob)
    near.hum(600)
    far.hum(1000)
    await together([near.hears(1000), far.hears(600)])
    assert uri_of(far.invite.get("From")).startswith("sip:+15550009@")
    await far.bye()
    await near.over(PATIENT)

    (child,) = await world.children(row["sid"])
    assert (child["direction"], child["status"]) == ("outbound-dial", "completed")
    assert (await world.rest.ended(row["sid"], PATIENT))["status"] == "completed"


# ------------------------------------------------------------------ settings of proxies


async def dialed_at(world: World, proxy: Phone, noun: str, expected: str) -> Call:
    """Dial a number; returns the call that reached a proxy, which was refused."""
    proxy.engine = world.engine.address()
    number = await world.number(dial(noun))
    call = await world.call(number)
    callee = await at_proxy(proxy, expected)
    callee.refuse(486)
    await call.over(PATIENT)
    return callee


@ensureDeferred
async def test_the_settings_of_a_proxy_shape_the_invite(app: WebApp, tmp_path: Path) -> None:
    trunk = await Phone(("127.0.0.1", 9), "trunk").open()
    others = await Phone(("127.0.0.1", 9), "others").open()
    data = tmp_path / "data"

    async def national(world: World) -> None:
        callee = await dialed_at(world, trunk, number_noun("+1 512 555 0100"), "5125550100")
        assert callee.invite.uri == f"sip:5125550100@127.0.0.1:{trunk.port}"
        sender = uri_of(callee.invite.get("From"))
        assert sender.startswith("sip:trunkuser@"), sender
        identity = uri_of(callee.invite.get("P-Asserted-Identity"))
        assert identity.startswith("sip:+15550001@"), identity

    async def of_the_account(world: World) -> None:
        callee = await dialed_at(world, trunk, number_noun("(512) 555-0101"), "15125550101")
        assert uri_of(callee.invite.get("From")).startswith("sip:+15550001@")
        assert callee.invite.get("P-Asserted-Identity") == ""
        assert others.offers == [], "the proxy of all is not asked"

    try:
        credentials = await with_engine(
            app,
            data,
            "national",
            national,
            f"sip.outbound_proxy.uri=sip:127.0.0.1:{trunk.port}",
            "sip.outbound_proxy.number_format=national",
            "sip.outbound_proxy.from_host=own",
            "sip.outbound_proxy.from_user=username",
            "sip.outbound_proxy.username=trunkuser",
            "sip.outbound_proxy.password=trunk-secret",
            "sip.outbound_proxy.asserted_identity=true",
        )
        own = f"sip.account_proxies.{credentials['account_sid']}"
        await with_engine(
            app,
            data,
            "of_the_account",
            of_the_account,
            f"sip.outbound_proxy.uri=sip:127.0.0.1:{others.port}",
            f"{own}.uri=sip:127.0.0.1:{trunk.port}",
            f"{own}.number_format=digits",
        )
    finally:
        await trunk.close()
        await others.close()


@ensureDeferred
async def test_a_client_reaches_the_world_through_the_proxy_of_its_account_alone(
    app: WebApp, tmp_path: Path
) -> None:
    trunk = await Phone(("127.0.0.1", 9), "trunk").open()
    data = tmp_path / "data"

    async def only_of_the_account(world: World) -> None:
        trunk.engine = world.engine.address()
        ann = await world.registered("aloneann")
        call = ann.call("5125550102", login=("aloneann", PASSWORD))
        callee = await at_proxy(trunk, "+15125550102")
        callee.ring()
        callee.answer()
        await call.answered(PATIENT)
        await talk(call, callee)
        await callee.bye()
        await call.over(PATIENT)

    async def nothing(world: World) -> None:
        """The account is made by the first start."""

    try:
        credentials = await with_engine(app, data, "made", nothing)
        own = f"sip.account_proxies.{credentials['account_sid']}"
        await with_engine(
            app,
            data,
            "only_of_the_account",
            only_of_the_account,
            f"{own}.uri=sip:127.0.0.1:{trunk.port}",
            f"{own}.number_format=e164",
        )
    finally:
        await trunk.close()


@ensureDeferred
async def test_without_a_proxy_a_number_is_a_failed_branch(app: WebApp, tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        action = world.script("action", world.play(GOES_ON, 0.5))
        number = await world.number(dial(number_noun("+15558880070"), action=action))
        call = await world.call(number)
        seen = await world.asked("action", within=PATIENT)
        await call.over(PATIENT)
        assert seen.form["DialCallStatus"] == "failed"
        assert (seen.form["DialCallSid"], seen.form["DialCallDuration"]) == ("", "0")
        await world.rest.notified(11008, seen.form["CallSid"], PATIENT)
        goes_on(call)

    await with_engine(app, tmp_path / "data", "no_proxy", scenario)


@ensureDeferred
async def test_a_setting_makes_all_dials_answer_on_bridge(app: WebApp, tmp_path: Path) -> None:
    async def held_back(world: World) -> None:
        rob = await world.phone("rob")
        call = await world.call(await world.number(dial(sip(rob))))
        callee = await rob.offered(1, PATIENT)
        callee.ring()
        await stays(lambda: 200 not in call.codes, 1.0, "the caller is not answered yet")
        callee.answer()
        await call.answered(PATIENT)
        await talk(call, callee)
        await callee.bye()
        await call.over(PATIENT)

    await with_engine(app, tmp_path / "data", "held_back", held_back, "calls.answer_on_bridge=true")


@ensureDeferred
async def test_without_hold_music_the_other_side_hears_silence(app: WebApp, tmp_path: Path) -> None:
    async def quiet(world: World) -> None:
        rob = await world.phone("rob")
        call = await world.call(await world.number(dial(sip(rob))))
        callee = await answers(rob)
        await talk(call, callee)
        callee.hush()
        held = await callee.reinvite(offer(callee.rtp.port, direction="sendonly", version=2))
        assert held.code == 200
        await silence(call)
        await silence(callee)
        assert (await callee.reinvite(offer(callee.rtp.port, version=3))).code == 200
        await talk(call, callee)
        await callee.bye()
        await call.over(PATIENT)

    await with_engine(app, tmp_path / "data", "quiet", quiet, "calls.hold_music=false")


# ------------------------------------------------------------------ answerOnBridge


@case
async def test_with_answer_on_bridge_the_caller_is_answered_when_the_callee_is(world: World) -> None:
    rob = await world.phone("rob")
    action = world.script("action", world.play(GOES_ON, 0.5))
    number = await world.number(dial(sip(rob), answerOnBridge="true", action=action))
    call = await world.call(number)
    callee = await rob.offered(1, PATIENT)
    callee.ring()
    await call.response(180, PATIENT)
    await stays(lambda: max(call.codes) < 200, 1.5, "the caller is not answered yet")
    callee.answer()
    await call.answered(PATIENT)
    assert call.answered_at >= callee.answered_at
    await talk(call, callee)
    await callee.bye()
    seen = await world.asked("action", within=PATIENT)
    await call.over(PATIENT)

    assert seen.form["DialCallStatus"] == "completed"
    goes_on(call)


@case
async def test_with_answer_on_bridge_a_busy_callee_makes_a_busy_call(world: World) -> None:
    rob = await world.phone("rob")
    status = world.script("status", "")
    number = await world.number(dial(sip(rob), answerOnBridge="true"), StatusCallback=status)
    call = await world.call(number)
    callee = await rob.offered(1, PATIENT)
    callee.ring()
    callee.refuse(486)
    assert (await call.final(PATIENT)).code == 486
    assert 200 not in call.codes
    assert (await world.row(number, PATIENT))["status"] == "busy"
    assert await world.statuses(2, within=PATIENT) == ["ringing", "busy"]


@case
async def test_with_answer_on_bridge_the_next_verb_answers(world: World) -> None:
    rob = await world.phone("rob")
    number = await world.number(dial(sip(rob), answerOnBridge="true") + world.play(GOES_ON, 0.5))
    call = await world.call(number)
    callee = await rob.offered(1, PATIENT)
    callee.ring()
    await stays(lambda: 200 not in call.codes, 0.5, "the caller is not answered yet")
    callee.refuse(486)
    await call.answered(PATIENT)
    await call.over(PATIENT)
    goes_on(call)


@case
async def test_with_answer_on_bridge_an_unanswered_dial_is_408_for_the_caller(world: World) -> None:
    rob = await world.phone("rob")
    number = await world.number(dial(sip(rob), answerOnBridge="true", timeout=2))
    call = await world.call(number)
    callee = await rob.offered(1, PATIENT)
    callee.ring()
    await callee.request_of("CANCEL", PATIENT)
    assert (await call.final(PATIENT)).code == 408
    assert (await world.row(number, PATIENT))["status"] == "no-answer"
    assert [row["status"] for row in await world.dialed(number)] == ["no-answer"]


@case
async def test_a_caller_who_gives_up_before_the_answer_cancels_the_callee(world: World) -> None:
    rob = await world.phone("rob")
    action = world.script("action", "<Hangup/>")
    number = await world.number(dial(sip(rob), answerOnBridge="true", action=action))
    call = await world.call(number)
    callee = await rob.offered(1, PATIENT)
    callee.ring()
    await call.response(180, PATIENT)
    assert (await call.cancel()).code == 200
    assert (await call.final(PATIENT)).code == 487
    await callee.request_of("CANCEL", PATIENT)
    seen = await world.asked("action", within=PATIENT)

    assert seen.form["CallStatus"] == "canceled"
    assert seen.form["DialCallStatus"] == "canceled"
    assert (await world.row(number, PATIENT))["status"] == "canceled"
    assert [row["status"] for row in await world.dialed(number)] == ["canceled"]


@case
async def test_a_screened_callee_keeps_a_caller_waiting_who_is_answered_on_bridge(world: World) -> None:
    rob = await world.phone("rob")
    url = world.script("screen", world.play(800, 2.0))
    number = await world.number(dial(sip(rob, url=url), answerOnBridge="true"))
    call = await world.call(number)
    callee = await answers(rob)
    await callee.hears(800, within=PATIENT)
    assert 200 not in call.codes
    await call.answered(PATIENT)
    await talk(call, callee)
    await callee.bye()
    await call.over(PATIENT)


# ------------------------------------------------------------------ AC64: client to client


async def pair_of_clients(world: World, name: str) -> tuple[Phone, Phone]:
    """Two registered clients."""
    return await world.registered(f"{name}ann"), await world.registered(f"{name}rob")


def calls(phone: Phone, to: str, **options: Any) -> Call:
    """A call of a client."""
    return phone.call(to, login=(phone.user, PASSWORD), **options)


async def refusal(call: Call) -> int:
    """The final response to a caller who answered the challenge."""

    def found() -> int | None:
        return next((code for code in call.codes if code >= 200 and code not in (401, 407)), None)

    code = await call.changes.until(found, PATIENT, lambda: f"a final response; got {call.codes}")
    assert code is not None
    return code


@case
async def test_ac64_a_client_who_calls_a_client_is_answered_when_the_callee_answers(world: World) -> None:
    ann, rob = await pair_of_clients(world, "ac64")
    call = calls(ann, "ac64rob", headers=[("X-Tenant", "42"), ("Y-Other", "1")])
    callee = await rob.offered(1, PATIENT)
    callee.ring()
    await call.response(180, PATIENT)
    await stays(lambda: 200 not in call.codes, 1.0, "the caller is not answered yet")
    assert sounding(call.heard()) == 0
    callee.answer()
    await call.answered(PATIENT)
    await talk(call, callee)
    call.rtp.press("1#")
    callee.rtp.press("2*")
    await together([callee.keys("1#"), call.keys("2*")])

    invite = callee.invite
    assert invite.get("X-Tenant") == "42"
    assert invite.get("Y-Other") == ""
    assert uri_of(invite.get("From")).startswith("sip:ac64ann@")
    assert invite.get("Call-ID") != call.call_id
    await callee.bye()
    await call.over(PATIENT)
    sids = await both_rows(world, "ac64")
    told = [seen.path for seen in world.app.seen if seen.parameters.get("CallSid") in sids]
    assert told == [], "no HTTP request"


async def both_rows(world: World, name: str, status: str = "completed") -> set[str]:
    """Sids of the two records of a call between clients; both have this status."""
    rows = await eventually(
        lambda: world.rest.calls(From=f"{name}ann"),
        lambda rows: len(rows) == 2 and all(row["status"] == status for row in rows),
        PATIENT,
        f"two records that are {status}",
    )
    parent = next(row for row in rows if not row.get("parent_call_sid"))
    child = next(row for row in rows if row.get("parent_call_sid"))
    assert child["parent_call_sid"] == parent["sid"]
    assert child["direction"] == "outbound-dial"
    assert parent["to"] == child["to"] == f"{name}rob"
    return {parent["sid"], child["sid"]}


@case
async def test_a_client_who_hangs_up_ends_the_other_client(world: World) -> None:
    ann, rob = await pair_of_clients(world, "up")
    call = calls(ann, "uprob")
    callee = await answers(rob)
    await call.answered(PATIENT)
    await talk(call, callee)
    await call.bye()
    await callee.over(PATIENT)
    await both_rows(world, "up")


@case
async def test_a_client_on_hold_hears_music_and_the_call_goes_on(world: World) -> None:
    ann, rob = await pair_of_clients(world, "hold")
    call = calls(ann, "holdrob")
    callee = await answers(rob)
    await call.answered(PATIENT)
    await talk(call, callee)
    await put_on_hold(call, callee)
    await talk(call, callee)
    await put_on_hold(callee, call)
    await talk(call, callee)
    await callee.bye()
    await call.over(PATIENT)


@case
async def test_a_busy_client_is_busy_for_the_calling_client(world: World) -> None:
    ann, rob = await pair_of_clients(world, "busy")
    call = calls(ann, "busyrob")
    callee = await rob.offered(1, PATIENT)
    callee.ring()
    callee.refuse(486)
    assert await refusal(call) == 486
    assert 200 not in call.codes
    await both_rows(world, "busy", "busy")


@case
async def test_a_client_who_declines_declines_the_calling_client(world: World) -> None:
    ann, rob = await pair_of_clients(world, "decline")
    call = calls(ann, "declinerob")
    (await rob.offered(1, PATIENT)).refuse(603)
    assert await refusal(call) == 603


@case
async def test_a_client_who_does_not_answer_is_given_up_after_the_ring_time(world: World) -> None:
    ann, rob = await pair_of_clients(world, "late")
    call = calls(ann, "laterob")
    callee = await rob.offered(1, PATIENT)
    callee.ring()
    await callee.request_of("CANCEL", RING_SECONDS + PATIENT)
    assert await refusal(call) == 408
    await both_rows(world, "late", "no-answer")


@case
async def test_a_calling_client_who_gives_up_cancels_the_other(world: World) -> None:
    ann, rob = await pair_of_clients(world, "cancel")
    call = calls(ann, "cancelrob")
    callee = await rob.offered(1, PATIENT)
    callee.ring()
    await call.response(180, PATIENT)
    assert (await call.cancel()).code == 200
    assert await refusal(call) == 487
    await callee.request_of("CANCEL", PATIENT)
    await both_rows(world, "cancel", "canceled")


@case
async def test_all_devices_of_a_called_client_ring_and_the_first_wins(world: World) -> None:
    ann, rob = await pair_of_clients(world, "two")
    tablet = await world.device("tworob")
    call = calls(ann, "tworob")
    loser, callee = await rob.offered(1, PATIENT), await tablet.offered(1, PATIENT)
    loser.ring()
    callee.ring()
    callee.answer()
    await loser.request_of("CANCEL", PATIENT)
    await call.answered(PATIENT)
    await talk(call, callee)
    await callee.bye()
    await call.over(PATIENT)


@case
async def test_a_client_who_calls_a_client_without_a_device_is_told_404(world: World) -> None:
    ann = await world.registered("lonelyann")
    await world.rest.client("lonelyrob", PASSWORD)
    call = calls(ann, "lonelyrob")
    assert await refusal(call) == 404
    found = await world.rest.notifications(ErrorCode="11001")
    assert [row for row in found if "lonelyrob" in str(row)]
    assert await world.rest.calls(To="lonelyrob") == []


@case
async def test_headers_between_clients_arrive_as_they_were_sent(world: World) -> None:
    ann, rob = await pair_of_clients(world, "header")
    odd = 'a&b=c?d; "q" <e> 100%41 + {"key": [1, 2]}'
    long = '{"id": "4711", "note": "<&>"} ' * 25
    much = "m" * 1500  # more than any noun may have
    headers = [("X-Odd", odd), ("X-Long", long.strip()), ("X-Much", much), ("X-Last", "z")]
    call = calls(ann, "headerrob", headers=headers)
    callee = await rob.offered(1, PATIENT)
    assert callee.invite.get("X-Odd") == odd
    assert callee.invite.get("X-Last") == "z"
    assert callee.invite.get("X-Long") == long.strip()
    assert callee.invite.get("X-Much") == ""
    callee.refuse(486)
    assert await refusal(call) == 486


@case
async def test_a_device_that_is_gone_does_not_keep_the_others_from_answering(world: World) -> None:
    ann, rob = await pair_of_clients(world, "gone")
    tablet = await world.device("gonerob")
    await rob.close()
    world.forget(rob)
    call = calls(ann, "gonerob")
    callee = await answers(tablet)
    await call.answered(PATIENT)
    await talk(call, callee)
    await callee.bye()
    await call.over(PATIENT)


@case
async def test_a_client_whose_connection_is_lost_cannot_be_called(world: World) -> None:
    await world.rest.client("lostrob", PASSWORD)
    rob = await world.phone("lostrob", "tcp")
    assert (await rob.register("lostrob", PASSWORD)).code == 200
    await rob.close()
    action = world.script("action", world.play(GOES_ON, 0.5))
    number = await world.number(dial(client("lostrob"), action=action, timeout=3))
    call = await world.call(number)
    seen = await world.asked("action", within=PATIENT)
    await call.over(PATIENT)
    assert seen.form["DialCallStatus"] == "failed"
    goes_on(call)


@case
async def test_a_caller_from_outside_reaches_a_client(world: World) -> None:
    rob = await world.registered("outsiderob")
    phone = await world.phone("+15550077")
    call = phone.call("outsiderob")
    callee = await rob.offered(1, PATIENT)
    callee.ring()
    await call.response(180, PATIENT)
    callee.answer()
    await call.answered(PATIENT)
    await talk(call, callee)
    assert uri_of(callee.invite.get("From")).startswith("sip:+15550077@")
    await callee.bye()
    await call.over(PATIENT)


@case
async def test_a_caller_from_outside_does_not_reach_a_client_without_a_device(world: World) -> None:
    await world.rest.client("absentrob", PASSWORD)
    call = (await world.phone("+15550078")).call("absentrob")
    assert await refusal(call) in (404, 480)
    assert 200 not in call.codes


@case
async def test_a_client_reaches_the_world_through_the_proxy(world: World) -> None:
    (proxy,) = PROXY
    ann = await world.registered("worldann")
    call = calls(ann, "+15558880080")
    callee = await at_proxy(proxy, "+15558880080")
    callee.ring()
    await call.response(180, PATIENT)
    assert 200 not in call.codes
    callee.answer()
    await call.answered(PATIENT)
    await talk(call, callee)
    assert uri_of(callee.invite.get("From")) == "sip:worldann@127.0.0.1"
    await callee.bye()
    await call.over(PATIENT)


@case
async def test_ac65_a_client_with_an_application_runs_it_whatever_was_dialed(world: World) -> None:
    rob = await world.registered("ac65rob")
    url = world.script("app", dial(client("ac65rob"), callerId="ac65ann") + world.play(GOES_ON, 0.5))
    ann = await world.registered("ac65ann", VoiceUrl=url)
    call = calls(ann, "ac65rob")
    seen = await world.asked("app", within=PATIENT)
    assert (seen.form["From"], seen.form["To"]) == ("ac65ann", "ac65rob")
    assert (seen.form["Direction"], seen.form["CallStatus"]) == ("inbound", "ringing")
    callee = await answers(rob)
    await talk(call, callee)
    await callee.bye()
    await call.over(PATIENT)
    goes_on(call)
