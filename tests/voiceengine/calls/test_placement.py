"""Placement: which applications will need a second leg beside the first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceengine.calls.placement import LIMIT, Placement

pytestmark = pytest.mark.unit


def test_an_application_nobody_knows_keeps_nothing() -> None:
    assert Placement().keep("http://app/voice") == 0


def test_an_application_that_dialed_keeps_one_until_it_does_not_dial_any_more() -> None:
    placement = Placement()
    placement.learn("http://app/voice", dials=True)
    assert placement.keep("http://app/voice") == 1
    placement.learn("http://app/voice", dials=False)
    assert placement.keep("http://app/voice") == 0


def test_the_query_does_not_count_but_the_path_does() -> None:
    placement = Placement()
    placement.learn("http://app/voice?x=1", dials=True)
    assert placement.keep("http://app/voice?x=2") == placement.keep("http://app/voice") == 1
    assert placement.keep("http://app/voices") == placement.keep("http://app/") == 0


@pytest.mark.parametrize("nameless", ["", "?x=1"])
def test_a_call_without_an_application_teaches_nothing(nameless: str) -> None:
    placement = Placement()
    placement.learn(nameless, dials=True)
    assert placement.keep(nameless) == 0


def test_to_unlearn_what_was_never_learnt_does_no_harm() -> None:
    placement = Placement()
    placement.learn("http://app/voice", dials=False)
    assert placement.keep("http://app/voice") == 0


def test_the_application_that_dialed_longest_ago_is_forgotten_first() -> None:
    placement = Placement()
    for number in range(LIMIT):
        placement.learn(f"http://app/{number}", dials=True)
    placement.learn("http://app/0", dials=True)
    placement.learn("http://app/new", dials=True)
    assert placement.keep("http://app/0") == 1
    assert placement.keep("http://app/1") == 0
    assert placement.keep("http://app/2") == placement.keep("http://app/new") == 1


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "a?q", "b?r", ""]), st.booleans())))
def test_the_last_call_of_an_application_decides(calls: list[tuple[str, bool]]) -> None:
    placement = Placement()
    last: dict[str, bool] = {}
    for application, dials in calls:
        placement.learn(application, dials=dials)
        last[application.partition("?")[0]] = dials
    for name in ("a", "b"):
        assert placement.keep(name) == int(last.get(name, False))
    assert placement.keep("") == 0
