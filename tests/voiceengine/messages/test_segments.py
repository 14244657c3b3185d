"""Counting the parts of a text: both alphabets, their limits, and characters that are never torn apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceengine.messages.segments import BASIC, EXTENDED, code_units, is_gsm, segments, septets

pytestmark = pytest.mark.unit

GSM_TEXT = st.text(alphabet=sorted(BASIC | EXTENDED), max_size=700)


def test_the_alphabets_have_their_sizes() -> None:
    assert (len(BASIC), len(EXTENDED)) == (127, 10)  # 128 codes without the escape


@pytest.mark.parametrize(
    ("length", "count"), [(0, 1), (1, 1), (160, 1), (161, 2), (306, 2), (307, 3), (459, 3), (460, 4)]
)
def test_gsm_text(length: int, count: int) -> None:
    assert segments("a" * length).count == count


@pytest.mark.parametrize(("length", "count"), [(70, 1), (71, 2), (134, 2), (135, 3)])
def test_other_text(length: int, count: int) -> None:
    assert segments("ж" * length).count == count


@pytest.mark.parametrize(("length", "count"), [(35, 1), (36, 2), (66, 2), (67, 3)])
def test_a_surrogate_pair_is_not_torn_apart(length: int, count: int) -> None:
    found = segments("😀" * length)

    assert found.count == count
    assert all(len(part) <= 33 for part in found.parts) or count == 1


def test_an_extended_character_takes_two_septets_and_is_not_torn_apart() -> None:
    assert segments("€" * 80).count == 1
    found = segments("a" * 152 + "€" + "a" * 10)

    assert [len(part) for part in found.parts] == [152, 11]


def test_the_sender_can_ask_for_ucs2() -> None:
    assert segments("a" * 71, "UCS-2").count == 2
    assert segments("a" * 71, "UTF-8").count == 1
    assert segments("ж", "GSM").alphabet == "UCS-2"


@given(GSM_TEXT)
def test_gsm_parts_are_full_and_complete(text: str) -> None:
    found = segments(text)
    sizes = [sum(map(septets, part)) for part in found.parts]

    assert found.alphabet == "GSM"
    assert "".join(found.parts) == text
    assert max(sizes) <= (160 if found.count == 1 else 153)
    assert all(size >= 152 for size in sizes[:-1])


@given(st.text(max_size=400))
def test_any_text_is_split_without_loss(text: str) -> None:
    found = segments(text)
    size = septets if is_gsm(text) else code_units

    assert "".join(found.parts) == text
    if not is_gsm(text):
        assert all(sum(map(size, part)) <= (70 if found.count == 1 else 67) for part in found.parts)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=400))
def test_code_units_are_those_of_utf16(text: str) -> None:
    assert sum(map(code_units, text)) == len(text.encode("utf-16-le")) // 2
