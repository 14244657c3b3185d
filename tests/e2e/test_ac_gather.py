"""Acceptance cases AC26 to AC35 (without speech): Gather."""

from __future__ import annotations

import pytest
from sound import assert_tones, tones
from waiting import pause, stays
from webapp import document, redirect
from world import World, case

pytestmark = pytest.mark.loopback


@case
async def test_ac26_num_digits_ends_the_collection_at_once(world: World) -> None:
    action = world.script("action", world.play(1000, 0.4))
    number = await world.number(f'<Gather numDigits="2" action="{action}"/><Say>never</Say>')
    call = await world.answered(number)
    call.rtp.press("12")
    seen = await world.asked("action")
    await call.over()

    assert seen.method == "POST"
    assert seen.form["Digits"] == "12"
    assert seen.form["CallStatus"] == "in-progress"
    assert seen.at - call.answered_at < 1.0, "at once, not after the timeout"
    assert_tones(call.heard(), [(1000, 0.4)])


@case
async def test_ac27_the_finishing_key_is_not_reported(world: World) -> None:
    action = world.script("action", "<Hangup/>")
    number = await world.number(f'<Gather action="{action}"/>')
    call = await world.answered(number)
    call.rtp.press("123#")
    seen = await world.asked("action")
    await call.over()

    assert seen.form["Digits"] == "123"
    assert "SpeechResult" in seen.form
    assert seen.at - call.answered_at < 2.0


@case
async def test_ac28_without_a_key_the_next_verb_follows_after_five_seconds(world: World) -> None:
    action = world.script("action", "<Hangup/>")
    number = await world.number(f'<Gather action="{action}"/>{world.play(440, 0.4)}')
    call = await world.answered(number)
    await call.over(within=8)
    heard = call.heard()

    assert_tones(heard, [(440, 0.4)])
    assert 4.8 < tones(heard)[0].start < 5.6
    assert world.count("action") == 0


@case
async def test_ac29_a_key_during_the_prompt_stops_it_at_once(world: World) -> None:
    action = world.script("action", "<Hangup/>")
    nested = f"<Say>{'many words ' * 30}</Say>"
    number = await world.number(f'<Gather numDigits="2" action="{action}">{nested}</Gather>')
    call = await world.answered(number)
    await call.sound(0.5)
    call.rtp.press("1")
    await pause(0.6)
    heard = call.heard()
    call.rtp.press("2")
    seen = await world.asked("action")
    await call.over()

    assert seen.form["Digits"] == "12"
    assert tones(heard[-2400:]) == [], "silence within 0.3 s of the key"


@case
async def test_barge_in_stops_a_played_prompt_within_a_third_of_a_second(world: World) -> None:
    action = world.script("action", world.play(1000, 0.3))
    nested = world.play(440, 8.0)
    number = await world.number(f'<Gather numDigits="1" action="{action}">{nested}</Gather>')
    call = await world.answered(number)
    await call.sound(1.0, frequency=440)
    before = sum(tone.seconds for tone in tones(call.heard()))
    call.rtp.press("5")
    await call.over()
    first, second = tones(call.heard())

    assert (round(first.frequency, -1), round(second.frequency, -1)) == (440, 1000)
    assert first.seconds < before + 0.35


@case
async def test_ac30_only_the_finishing_key_is_no_input(world: World) -> None:
    action = world.script("action", "<Hangup/>")
    number = await world.number(f'<Gather action="{action}"/>{world.play(440, 0.4)}')
    call = await world.answered(number)
    call.rtp.press("#")
    await call.over(within=8)

    assert_tones(call.heard(), [(440, 0.4)])
    assert world.count("action") == 0


@case
async def test_ac31_an_empty_finish_on_key_lets_no_key_end_the_collection(world: World) -> None:
    action = world.script("action", "<Hangup/>")
    number = await world.number(f'<Gather finishOnKey="" timeout="2" action="{action}"/>')
    call = await world.answered(number)
    call.rtp.press("1#")
    seen = await world.asked("action", within=5)
    await call.over()

    assert seen.form["Digits"] == "1#"
    assert seen.at - call.answered_at > 2.0


@case
async def test_ac32_a_wrong_method_is_warning_14104_and_post_is_used(world: World) -> None:
    action = world.script("action", "<Hangup/>")
    number = await world.number(f'<Gather method="PUT" numDigits="1" action="{action}"/>')
    call = await world.answered(number)
    call.rtp.press("1")
    seen = await world.asked("action")
    await call.over()

    assert seen.method == "POST"
    notice = await world.rest.notified(14104, seen.form["CallSid"])
    assert int(notice["log"]) == 1


@case
async def test_ac33_a_key_by_sip_info_counts(world: World) -> None:
    action = world.script("action", "<Hangup/>")
    number = await world.number(f'<Gather numDigits="1" action="{action}"/>')
    call = await world.answered(number)
    response = await call.info("7")
    seen = await world.asked("action")
    await call.over()

    assert response.code == 200
    assert seen.form["Digits"] == "7"


@case
async def test_ac35_a_relative_action_is_resolved_against_the_document(world: World) -> None:
    world.script("a/next", "<Hangup/>")
    number = await world.number(
        "<Hangup/>", voice_url=world.script("a/b.xml", '<Gather numDigits="1" action="next"/>')
    )
    call = await world.answered(number)
    call.rtp.press("9")
    seen = await world.asked("a/next")
    await call.over()

    assert seen.form["Digits"] == "9"


@case
async def test_after_a_redirect_relative_urls_belong_to_the_url_that_was_reached(world: World) -> None:
    target = world.script("far/away/b.xml", '<Gather numDigits="1" action="next"/>')
    world.script("far/away/next", "<Hangup/>")
    number = await world.number(redirect(target))
    call = await world.answered(number)
    call.rtp.press("9")
    await world.asked("far/away/next")
    await call.over()


@case
async def test_keys_before_the_gather_are_dropped(world: World) -> None:
    action = world.script("action", "<Hangup/>")
    number = await world.number(f'{world.play(440, 1.5)}<Gather numDigits="1" action="{action}"/>')
    call = await world.answered(number)
    await call.sound(0.3)
    call.rtp.press("1")
    await call.sound(1.4)
    await pause(0.5)
    call.rtp.press("2")
    seen = await world.asked("action")
    await call.over()

    assert seen.form["Digits"] == "2"
    assert_tones(call.heard(), [(440, 1.5)])


@case
async def test_a_caller_who_hangs_up_in_a_gather_leads_to_no_request(world: World) -> None:
    action = world.script("action", "<Hangup/>")
    number = await world.number(f'<Gather timeout="1" action="{action}"/>')
    call = await world.answered(number)
    call.rtp.press("12")
    await pause(0.5)
    response = await call.bye()

    assert response.code == 200
    assert (await world.row(number))["status"] == "completed"
    await stays(lambda: world.count("action") == 0, 1.2, "no action")


@case
async def test_a_gather_without_action_asks_the_current_document_again(world: World) -> None:
    number = await world.number('<Gather numDigits="1"/>', document(world.play(1000, 0.4)))
    call = await world.answered(number)
    call.rtp.press("4")
    await call.over()

    assert (await world.asked("voice", 2)).form["Digits"] == "4"
    assert_tones(call.heard(), [(1000, 0.4)])
