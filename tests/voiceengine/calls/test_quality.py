"""The estimated quality of a leg."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceengine.calls.quality import mos

pytestmark = pytest.mark.unit

ANY = st.floats()
LOSS = st.floats(0, 1)
MS = st.floats(0, 5000)


def test_a_clean_leg_is_as_good_as_g711_gets() -> None:
    assert mos(0, 0, 0) == pytest.approx(4.40, abs=0.02)


@pytest.mark.parametrize(
    ("loss", "jitter", "rtt", "low", "high"),
    [
        (0.01, 5, 40, 4.2, 4.35),
        (0.05, 10, 100, 3.4, 4.0),
        (0.2, 20, 100, 1.5, 2.8),
        (1, 0, 0, 1, 1.3),
        (0, 0, 2000, 1, 1.7),
    ],
)
def test_impairments_lower_it(loss: float, jitter: float, rtt: float, low: float, high: float) -> None:
    assert low <= mos(loss, jitter, rtt) <= high


@given(ANY, ANY, ANY)
def test_it_is_always_a_score(loss: float, jitter: float, rtt: float) -> None:
    value = mos(loss, jitter, rtt)

    assert math.isfinite(value)
    assert 1.0 <= value <= 4.5


@given(LOSS, MS, MS, LOSS, MS, MS)
def test_worse_is_never_better(loss: float, jitter: float, rtt: float, a: float, b: float, c: float) -> None:
    assert mos(min(1, loss + a), jitter + b, rtt + c) <= mos(loss, jitter, rtt) + 1e-12
