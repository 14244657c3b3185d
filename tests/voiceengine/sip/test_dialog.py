"""Tokens and dialogs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sipmessage import Message, Request

from voiceengine.sip.dialog import Dialog, Tokens, token_in

pytestmark = pytest.mark.unit

TOKENS = Tokens(b"s" * 32)
KEY = "0123456789ab"
keys = st.text("0123456789abcdef-", min_size=1, max_size=24)


@given(keys, st.text(max_size=40))
def test_a_token_names_its_leg(key: str, call_id: str) -> None:
    assert TOKENS.check(TOKENS.make(key, call_id), call_id) == key


@given(keys, st.text(max_size=20), st.text(max_size=20))
def test_a_token_is_worth_nothing_in_another_dialog(key: str, call_id: str, other: str) -> None:
    if call_id != other:
        assert TOKENS.check(TOKENS.make(key, call_id), other) is None


@given(st.text(max_size=60))
def test_a_guess_is_refused(guess: str) -> None:
    assert TOKENS.check(guess, "call") is None


@given(st.integers(0, 28))
def test_a_token_cut_off_is_refused(length: int) -> None:
    token = TOKENS.make(KEY, "call")
    assert len(token) == 29

    assert TOKENS.check(token[:length], "call") is None


def test_the_name_of_the_leg_is_signed() -> None:
    token = TOKENS.make(KEY, "call")

    assert TOKENS.check(token.replace("0", "1", 1), "call") is None


def test_another_key_signs_otherwise() -> None:
    assert Tokens(b"t" * 32).check(TOKENS.make(KEY, "call"), "call") is None


def test_a_token_fits_into_a_uri_unescaped() -> None:
    assert set(TOKENS.make(KEY, "a call@[::1]")) <= set("0123456789abcdef-")


def request(
    route: str = "", uri: str = "sip:user@h", call: str = "c", from_: str = "p", to: str = "w"
) -> Request:
    text = f"BYE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n"
    text += f"Route: {route}\r\n" if route else ""
    text += f"From: <sip:a@b>;tag={from_}\r\nTo: <sip:c@d>{';tag=' + to if to else ''}\r\n"
    text += f"Call-ID: {call}\r\nCSeq: 1 BYE\r\n\r\n"
    made = Message.parse(text.encode())
    assert isinstance(made, Request)
    return made


def dialog(**options: Any) -> Dialog:
    values: dict[str, Any] = {"phone_tag": "p", "worker_tag": "w", **options}
    return Dialog(KEY, "c", None, None, False, "token", **values)  # type: ignore[arg-type]


def test_a_request_fits_its_dialog() -> None:
    assert dialog().fits(request())


@pytest.mark.parametrize("change", [{"call": "C"}, {"from_": "x"}, {"to": "x"}, {"to": ""}, {"from_": "p2"}])
def test_a_request_of_another_dialog_does_not_fit(change: dict[str, str]) -> None:
    assert not dialog().fits(request(**change))


def test_tags_that_are_not_known_yet_do_not_matter() -> None:
    assert dialog(phone_tag="", worker_tag="").fits(request(from_="any", to="any"))


@pytest.mark.parametrize(
    ("route", "uri", "expected"),
    [
        ("", "sip:tok@h", "tok"),
        ("", "sip:h", ""),
        ("<sip:tok@h;lr>", "sip:other@h", "tok"),
        ("<sip:tok@h;lr>, <sip:two@h;lr>", "sip:other@h", "tok"),
        ('"a name" <sip:tok@h;lr>', "sip:other@h", "tok"),
        ("<sip:h;lr>", "sip:other@h", ""),
        ("nonsense", "sip:other@h", ""),
        (">sip:tok@h<", "sip:other@h", ""),
    ],
)
def test_where_a_token_is_looked_for(route: str, uri: str, expected: str) -> None:
    assert token_in(request(route, uri)) == expected
