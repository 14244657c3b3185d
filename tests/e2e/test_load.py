"""Many calls at once."""

from __future__ import annotations

import pytest
from pytest_twisted import ensureDeferred
from sipcall import Call
from sound import assert_tones
from waiting import now, pause, together
from webapp import document
from world import World

pytestmark = pytest.mark.loopback


async def heard_its_prompt(call: Call, frequency: float, seconds: float) -> None:
    await call.answered(within=6)
    await call.over(within=6)
    assert_tones(call.heard(), [(frequency, seconds)], tolerance=0.15)


@ensureDeferred
async def test_five_calls_at_once_need_two_workers_and_all_hear_their_prompt(world: World) -> None:
    frequencies = [440, 600, 800, 1000, 1300]
    calls = []
    for frequency in frequencies:
        number = await world.number(world.play(frequency, 1.5), name=f"voice{frequency}")
        calls.append(await world.call(number))
    await together([heard_its_prompt(c, f, 1.5) for c, f in zip(calls, frequencies, strict=True)])


@ensureDeferred
async def test_33_calls_within_half_a_second_are_all_answered(world: World) -> None:
    number = await world.number(world.play(440, 1.0))
    phones = [await world.phone() for _ in range(33)]
    begun = now()
    calls = [phone.call(number) for phone in phones]
    assert now() - begun < 0.5

    await together([heard_its_prompt(call, 440, 1.0) for call in calls])
    rows = await world.rest.calls(To=number)
    assert [row["status"] for row in rows] == ["completed"] * 33


@ensureDeferred
async def test_twenty_calls_are_unaffected_by_an_application_that_hangs(world: World) -> None:
    slow = await world.number(document("", delay=8), name="slow")
    hanging = await world.call(slow)
    await world.asked("slow")
    number = await world.number(world.play(440, 0.5))
    begun = now()
    for _ in range(4):
        calls = [await world.call(number) for _ in range(5)]
        await together([heard_its_prompt(call, 440, 0.5) for call in calls])
        for call in calls:
            assert call.time_of(200) - call.time_of(100) < 1.0
    assert now() - begun < 5.5
    assert hanging.codes == [100, 180]
    assert (await hanging.final(within=4)).code == 500


@ensureDeferred
async def test_calls_that_are_ended_as_soon_as_they_are_answered_all_get_their_bye(world: World) -> None:
    number = await world.number("<Hangup/>")
    for _ in range(5):
        calls = [await world.call(number) for _ in range(8)]
        await together([call.answered() for call in calls])
        await together([call.over() for call in calls])
        await pause(0.2)
