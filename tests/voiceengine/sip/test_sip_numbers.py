"""CSeq numbers towards a phone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceengine.sip.numbers import REMEMBERED, Numbers

pytestmark = pytest.mark.unit


def test_numbers_of_a_worker_alone_grow_by_one() -> None:
    numbers = Numbers(4710)

    assert [numbers.of_worker(n) for n in (4711, 4712, 4713)] == [4711, 4712, 4713]


def test_a_request_of_the_edge_takes_a_number_that_the_worker_then_does_not_get() -> None:
    numbers = Numbers()

    given = [
        numbers.of_worker(17),
        numbers.own(),
        numbers.of_worker(18),
        numbers.own(),
        numbers.of_worker(19),
    ]

    assert given == [1, 2, 3, 4, 5]


def test_the_ack_of_an_invite_has_its_number_after_the_edge_sent_something() -> None:
    numbers = Numbers()
    invite = numbers.of_worker(17)
    numbers.own()

    assert numbers.of_worker(17) == invite


def test_the_number_of_a_worker_is_found_by_what_the_phone_saw() -> None:
    numbers = Numbers(100)
    own = numbers.own()
    seen = numbers.of_worker(7)

    assert numbers.to_worker(seen) == 7
    assert numbers.to_worker(own) is None
    assert numbers.to_worker(9) is None


@given(st.integers(0, 2**31 - 1), st.lists(st.one_of(st.none(), st.integers(0, 2**31 - 1)), max_size=40))
def test_new_requests_grow_strictly_and_repetitions_keep_their_number(
    first: int, sent: list[int | None]
) -> None:
    numbers = Numbers(first)
    given: dict[int, int] = {}
    last = first
    for number in sent:
        got = numbers.own() if number is None else numbers.of_worker(number)
        if number is not None and number in given:
            assert got == given[number]
            continue
        assert got == last + 1
        last = got
        if number is not None:
            given[number] = got
            assert numbers.to_worker(got) == number


def test_a_long_call_does_not_fill_the_memory() -> None:
    numbers = Numbers()
    for number in range(10 * REMEMBERED):
        numbers.of_worker(number)

    assert len(numbers._given) == REMEMBERED
    assert numbers.of_worker(10 * REMEMBERED - 1) == 10 * REMEMBERED
