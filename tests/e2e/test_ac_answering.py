"""Acceptance cases AC16 to AC25 and AC66 to AC68: answering, refusing, routing."""

from __future__ import annotations

import pytest
from waiting import stays
from webapp import document
from world import World, case

pytestmark = pytest.mark.loopback


@case
async def test_ac16_reject_first_is_a_603_and_the_call_is_busy(world: World) -> None:
    status = world.script("status", "")
    number = await world.number("<Reject/><Say>never</Say>", StatusCallback=status)
    call = await world.call(number)
    final = await call.final()

    assert final.code == 603
    assert call.codes == [100, 180, 603]
    assert await world.statuses(2) == ["ringing", "busy"]
    assert (await world.row(number))["status"] == "busy"


@case
async def test_ac17_reject_with_reason_busy_in_any_case_is_a_486(world: World) -> None:
    number = await world.number('<Reject reason="BUSY"/>')
    call = await world.call(number)

    assert (await call.final()).code == 486
    assert (await world.row(number))["status"] == "busy"


@case
async def test_ac18_a_pause_before_reject_lets_it_ring(world: World) -> None:
    number = await world.number('<Pause length="3"/><Reject/>')
    call = await world.call(number)
    final = await call.final(within=5)

    assert final.code == 603
    assert 2.9 < call.time_of(603) - call.time_of(180) < 3.6


@case
async def test_ac19_a_pause_before_speech_delays_the_answer(world: World) -> None:
    number = await world.number(f'<Pause length="2"/>{world.play(440, 0.4)}')
    call = await world.call(number)
    await call.answered(within=4)
    await call.over()

    assert 1.9 < call.time_of(200) - call.time_of(180) < 2.6


@case
async def test_ac20_hangup_first_answers_and_ends_the_call(world: World) -> None:
    number = await world.number("<Hangup/>")
    call = await world.call(number)
    await call.over()

    assert call.codes == [100, 180, 200]
    assert (await world.row(number))["status"] == "completed"


@case
async def test_ac21_a_normal_call_has_exactly_three_status_callbacks(world: World) -> None:
    status = world.script("status", "")
    number = await world.number(world.play(440, 1.2), StatusCallback=status)
    call = await world.call(number)
    await call.over(within=5)

    assert await world.statuses(3) == ["ringing", "in-progress", "completed"]
    first, last = await world.asked("status"), await world.asked("status", 3)
    assert first.method == "POST"
    assert first.at < (await world.asked("voice")).at + 0.2
    assert last.form["CallDuration"] == "1"
    assert "CallDuration" not in first.form
    await stays(lambda: world.count("status") == 3, 0.5, "three callbacks")


@case
async def test_ac22_cancel_during_the_fetch_is_a_487_and_nothing_is_executed(world: World) -> None:
    status = world.script("status", "")
    number = await world.number(document("<Play>never.wav</Play>", delay=2), StatusCallback=status)
    call = await world.call(number)
    await call.response(180)
    await world.asked("voice")
    response = await call.cancel()
    final = await call.final()

    assert response.code == 200
    assert final.code == 487
    assert await world.statuses(2) == ["ringing", "canceled"]
    assert (await world.row(number))["status"] == "canceled"
    await stays(lambda: world.count("status") == 2 and not call.requests, 2.3, "the silence after CANCEL")
    assert world.count("never.wav") == 0
    assert call.codes == [100, 180, 487]


@case
async def test_cancel_during_the_fetch_is_nobodys_error_and_asks_no_fallback(world: World) -> None:
    fallback = world.script("fallback", "<Hangup/>")
    number = await world.number(document("", delay=2), VoiceFallbackUrl=fallback)
    call = await world.call(number)
    await world.asked("voice")
    await call.cancel()
    row = await world.row(number)

    await stays(lambda: world.count("fallback") == 0, 0.7, "no request after CANCEL")
    assert await world.rest.notifications(CallSid=row["sid"]) == []


@case
async def test_ac23_an_invite_without_sdp_is_a_400(world: World) -> None:
    number = await world.number("<Hangup/>")
    call = await world.call(number, body=b"")
    final = await call.final()

    assert final.code == 400
    assert world.count("voice") == 0
    assert await world.rest.calls(To=number) == []


@case
async def test_ac25_headers_of_the_caller_are_told_to_the_application(world: World) -> None:
    number = await world.number("<Hangup/>")
    headers = [("X-Tenant", "42"), ("Diversion", "<sip:777@h>"), ("Subject", "secret")]
    call = await world.call(number, headers=headers, sender='"Zoë" <sip:+15550001@127.0.0.1>')
    await call.over()
    seen = await world.asked("voice")

    assert seen.form["SipHeader_X-Tenant"] == "42"
    assert seen.form["SipHeader_Diversion"] == "<sip:777@h>"
    assert seen.form["ForwardedFrom"] == "777"
    assert seen.form["CallerName"] == "Zoë"
    assert not [name for name in seen.form if "Subject" in name]


@case
async def test_ac66_a_client_with_a_wrong_password_is_challenged_again_and_never_answered(
    world: World,
) -> None:
    await world.rest.client("ac66alice", "RestComm1234")
    number = await world.number("<Hangup/>")
    phone = await world.phone("ac66alice")
    call = phone.call(number, login=("ac66alice", "WrongPass1234"))
    await call.changes.until(lambda: call.codes.count(407) == 2, 3.0, "a second 407")

    assert call.codes == [407, 407]
    assert world.count("voice") == 0
    assert await world.rest.calls(To=number) == []


@case
async def test_a_client_with_the_right_password_may_call_a_number(world: World) -> None:
    await world.rest.client("ac66bob", "RestComm1234")
    number = await world.number("<Hangup/>")
    phone = await world.phone("ac66bob")
    call = phone.call(number, login=("ac66bob", "RestComm1234"))
    await call.over()

    assert [code for code in call.codes if code != 100] == [407, 180, 200]
    assert (await world.asked("voice")).form["From"] == "ac66bob"


@case
async def test_a_client_that_claims_to_be_another_is_not_answered(world: World) -> None:
    await world.rest.client("ac66carol", "RestComm1234")
    await world.rest.client("ac66dave", "RestComm1234")
    number = await world.number("<Hangup/>")
    phone = await world.phone("ac66carol")
    call = phone.call(number, login=("ac66dave", "RestComm1234"))
    await call.changes.until(lambda: len(call.codes) == 2, 3.0, "a second response")

    assert call.codes == [407, 407]
    assert world.count("voice") == 0


@case
async def test_ac67_a_number_that_is_a_pattern_is_found(world: World) -> None:
    await world.number("<Hangup/>", text="6712.*")
    await world.number("<Hangup/>", name="longer", text="671299.*")
    call = await world.call("67121")
    await call.over()
    seen = await world.asked("voice")
    assert seen.form["To"] == "67121"

    call = await world.call("6712993")
    await call.over()
    assert world.count("longer") == 1, "the longer pattern wins"
    assert world.count("voice") == 1


@case
async def test_ac68_an_unknown_user_is_a_404_and_error_11005(world: World) -> None:
    call = await world.call("nobody68")
    final = await call.final()

    assert final.code == 404
    rows = await world.rest.notifications(ErrorCode="11005", MessageText="nobody68")
    assert len(rows) == 1
    assert int(rows[0]["log"]) == 0
