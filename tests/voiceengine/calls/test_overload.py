"""When new calls are refused because the engine is late."""

import pytest

from voiceengine.calls.overload import TICK_SECONDS, Overload

pytestmark = pytest.mark.unit


def ticks(overload: Overload, start: float, count: int, late: float) -> float:
    for _ in range(count):
        start += TICK_SECONDS + late
        overload.tick(start)
    return start


def test_an_engine_on_time_takes_calls():
    overload = Overload(0.5)

    ticks(overload, 0.0, 100, 0.01)

    assert not overload.refusing


def test_a_single_pause_is_no_overload():
    overload = Overload(0.5)
    now = ticks(overload, 0.0, 10, 0.0)

    overload.tick(now + TICK_SECONDS + 1.5)

    assert not overload.refusing


def test_lasting_lateness_refuses_calls_until_it_is_over():
    overload = Overload(0.5)

    now = ticks(overload, 0.0, 10, 1.0)
    assert overload.refusing

    ticks(overload, now, 10, 0.0)
    assert not overload.refusing
