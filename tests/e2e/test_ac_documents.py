"""Acceptance cases AC01 to AC15: obtaining and reading documents."""

from __future__ import annotations

import pytest
from sound import assert_tones, likeness, sounding, tones
from webapp import Reply, document, prompt, redirect
from world import World, case

pytestmark = pytest.mark.loopback

STANDARD = {
    "CallSid",
    "InstanceId",
    "AccountSid",
    "From",
    "To",
    "CallStatus",
    "ApiVersion",
    "Direction",
    "CallerName",
    "ForwardedFrom",
    "CallTimestamp",
}


@case
async def test_ac01_a_call_rings_asks_the_application_is_answered_speaks_and_ends(world: World) -> None:
    await world.number("<Say>hi</Say>", text="1111")
    call = await world.call("1111")
    bye = await call.over(within=6)

    assert call.codes == [100, 180, 200]
    assert world.count("voice") == 1
    seen = await world.asked("voice")
    assert seen.method == "POST"
    assert seen.headers["content-type"].startswith("application/x-www-form-urlencoded")
    assert set(seen.form) == STANDARD
    row = await world.row("1111")
    account = world.engine.credentials["account_sid"]
    expected = {
        "CallSid": row["sid"],
        "AccountSid": account,
        "From": "+15550001",
        "To": "1111",
        "CallStatus": "ringing",
        "ApiVersion": "2012-04-24",
        "Direction": "inbound",
        "CallerName": "",
        "ForwardedFrom": "",
    }
    assert {name: seen.form[name] for name in expected} == expected
    assert call.time_of(180) < seen.at + 0.05, "it rings when the application is asked"
    assert seen.at < call.time_of(200)
    assert sounding(call.heard()) > 0.15
    assert bye.get("X-RestComm-AccountSid") == account
    assert bye.get("X-RestComm-CallSid") == row["sid"]
    assert row["status"] == "completed"


@case
async def test_ac02_get_keeps_the_query_of_the_url_and_adds_all_parameters(world: World) -> None:
    url = world.script("voice", "<Hangup/>")
    number = await world.number("<Hangup/>", voice_url=f"{url}?x=1", VoiceMethod="GET")
    call = await world.call(number)
    await call.over()
    seen = await world.asked("voice")

    assert seen.method == "GET"
    assert seen.query["x"] == "1"
    assert set(seen.query) - {"x"} == STANDARD
    assert seen.form == {}


@case
async def test_ac03_a_redirect_is_followed_with_the_same_method_and_body(world: World) -> None:
    target = world.script("moved/target", world.play(440, 0.4))
    number = await world.number(redirect(target))
    call = await world.call(number)
    await call.over()
    first, second = await world.asked("voice"), await world.asked("moved/target")

    assert (first.method, second.method) == ("POST", "POST")
    assert second.pairs == first.pairs
    assert_tones(call.heard(), [(440, 0.4)])


@case
async def test_ac04_a_failing_application_is_replaced_by_its_fallback(world: World) -> None:
    fallback = world.script("fallback", world.play(440, 0.4))
    number = await world.number(Reply(b"broken", status=500), VoiceFallbackUrl=fallback)
    call = await world.call(number)
    await call.over()

    assert 200 in call.codes
    assert world.count("voice") == world.count("fallback") == 1
    seen = await world.asked("fallback")
    assert seen.method == "POST"
    assert set(seen.form) == STANDARD | {"ErrorCode", "ErrorUrl"}
    assert_tones(call.heard(), [(440, 0.4)])


@case
async def test_ac05_a_failing_application_without_fallback_is_a_500(world: World) -> None:
    number = await world.number(Reply(b"broken", status=500))
    call = await world.call(number)
    final = await call.final()
    row = await world.row(number)

    assert final.code == 500
    assert final.phrase == "Problem to setup the call"
    assert final.get("Reason")
    assert 200 not in call.codes
    assert row["status"] == "failed"


@case
async def test_ac06_an_application_that_is_not_found_is_a_404_and_warning_21402(world: World) -> None:
    number = await world.number(Reply(b"<Response/>", status=404))
    call = await world.call(number)
    final = await call.final()
    row = await world.row(number)
    notice = await world.rest.notified(21402, row["sid"])

    assert final.code == 404
    assert row["status"] == "not-found"
    assert int(notice["log"]) == 1
    assert notice["request_url"].endswith("/voice")


@case
async def test_ac07_a_silent_application_is_given_up_after_six_seconds(world: World) -> None:
    number = await world.number(document("<Say>late</Say>", delay=7))
    call = await world.call(number)
    final = await call.final(within=8)

    assert final.code == 500
    assert 5.5 < call.time_of(500) - call.time_of(180) < 6.6
    await world.rest.notified(11205, await world.sid(number))


@case
async def test_ac08_a_document_that_is_not_well_formed_leads_to_the_fallback(world: World) -> None:
    fallback = world.script("fallback", "<Hangup/>")
    number = await world.number(Reply(b"<Response><Say>"), VoiceFallbackUrl=fallback)
    call = await world.call(number)
    await call.over()

    assert world.count("fallback") == 1


@case
async def test_ac09_an_empty_body_is_a_500_that_tells_the_reason(world: World) -> None:
    number = await world.number(Reply(b""))
    call = await world.call(number)
    final = await call.final()

    assert final.code == 500
    assert "Problem_to_parse_downloaded_RCML" in final.get("Reason")


@case
async def test_ac10_an_audio_reply_is_played(world: World) -> None:
    number = await world.number(prompt(1000, 0.6))
    call = await world.call(number)
    await call.over()

    assert_tones(call.heard(), [(1000, 0.6)])


@case
async def test_ac11_a_plain_text_reply_is_spoken_as_it_stands(world: World) -> None:
    plain = await world.number(Reply(b"a < b", type="text/plain"))
    said = await world.number("<Say>a &lt; b</Say>", name="said")
    heard = []
    for number in (plain, said):
        call = await world.call(number)
        await call.over(within=6)
        heard.append(call.heard())

    assert sounding(heard[0]) > 0.3
    assert likeness(heard[0], heard[1]) > 0.98


@case
async def test_ac12_another_content_type_is_a_failure_and_warning_12300(world: World) -> None:
    number = await world.number(Reply(b"{}", type="application/json"))
    call = await world.call(number)
    final = await call.final()
    notice = await world.rest.notified(12300, await world.sid(number))

    assert final.code == 500
    assert int(notice["log"]) == 1


@case
async def test_ac13_a_root_other_than_response_is_a_parse_failure(world: World) -> None:
    number = await world.number(Reply(b"<response><Say>x</Say></response>"))
    call = await world.call(number)
    final = await call.final()

    assert final.code == 500
    assert "Problem_to_parse_downloaded_RCML" in final.get("Reason")


@case
async def test_ac14_an_unknown_element_is_skipped_without_notification(world: World) -> None:
    number = await world.number(f"<Foo/>{world.play(440, 0.4)}")
    call = await world.call(number)
    await call.over()

    assert_tones(call.heard(), [(440, 0.4)])
    assert await world.rest.notifications(CallSid=await world.sid(number)) == []


@case
async def test_ac15_an_empty_response_is_answered_and_ended(world: World) -> None:
    number = await world.number("")
    call = await world.call(number)
    await call.over()

    assert call.codes == [100, 180, 200]
    assert tones(call.heard()) == []
    assert (await world.row(number))["status"] == "completed"
