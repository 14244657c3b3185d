"""Sanity of messages that arrive, cleanliness of those that leave."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sipmessage import URI, Message, Request

from voiceengine.sip import headers

pytestmark = pytest.mark.unit

GOOD = (
    "INVITE sip:1111@127.0.0.1 SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK1\r\n"
    "From: <sip:alice@127.0.0.1>;tag=1\r\nTo: <sip:1111@127.0.0.1>\r\n"
    "Call-ID: a@b\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
)


def problem(old: str, new: str) -> headers.Problem | None:
    assert old in GOOD
    return headers.check(Message.parse(GOOD.replace(old, new).encode()))


def test_a_proper_request_passes() -> None:
    assert headers.check(Message.parse(GOOD.encode())) is None


def test_a_proper_response_passes() -> None:
    text = GOOD.replace("INVITE sip:1111@127.0.0.1 SIP/2.0", "SIP/2.0 200 OK")

    assert headers.check(Message.parse(text.encode())) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Via: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK1\r\n", ""),
        ("To: <sip:1111@127.0.0.1>\r\n", ""),
        ("Call-ID: a@b\r\n", ""),
        ("Call-ID: a@b", "Call-ID:"),
        ("Call-ID: a@b", "Call-ID: " + "x" * 600),
        ("Call-ID: a@b", "Call-ID: a\r\nCall-ID: b"),
        (";tag=1", ""),
        ("1 INVITE", "1 BYE"),
        ("1 INVITE", "x INVITE"),
        ("1 INVITE", "2147483648 INVITE"),
        ("1 INVITE", "\u00b2 INVITE"),
        ("Max-Forwards: 70", "Max-Forwards: seventy"),
        ("Max-Forwards: 70", "Max-Forwards: 256"),
        ("Content-Length: 0", "Content-Length: -1"),
        ("Call-ID: a@b", "Call-ID: a\nEvil: b"),
        ("Call-ID: a@b", "Call-ID: a\x00b"),
        ("Call-ID: a@b", "Ca(ll: x\r\nCall-ID: a@b"),
        ("Call-ID: a@b", "X" * 70 + ": x\r\nCall-ID: a@b"),
        ("Call-ID: a@b", "X: 1\r\n" * 201 + "Call-ID: a@b"),
        ("Call-ID: a@b", "".join(f"X{n}: 1\r\n" for n in range(201)) + "Call-ID: a@b"),
        ("sip:1111@127.0.0.1 SIP", "sip:11%0d%0a11@127.0.0.1 SIP"),
    ],
)
def test_an_improper_request_is_a_400(old: str, new: str) -> None:
    found = problem(old, new)

    assert found is not None
    assert found.status == 400


def test_sizes_and_loops_have_their_own_status() -> None:
    long = problem("Call-ID: a@b", "X: " + "x" * 9000 + "\r\nCall-ID: a@b")
    loop = problem("Via: ", "Via: SIP/2.0/UDP h\r\n" * 71 + "Via: ")

    assert long is not None
    assert loop is not None
    assert (long.status, loop.status) == (513, 482)


@given(st.binary(max_size=400), st.integers(0, len(GOOD)), st.integers(0, 20))
def test_nothing_that_parses_raises(noise: bytes, at: int, cut: int) -> None:
    raw = GOOD.encode()
    try:
        message = Message.parse(raw[:at] + noise + raw[at + cut :])
    except (ValueError, TypeError):
        return
    headers.check(message)


def test_unknown_option_tags_are_listed() -> None:
    assert headers.unsupported(["100rel", "Timer", "foo", ""]) == ["foo"]


@given(st.text())
def test_a_clean_text_has_no_control_characters(text: str) -> None:
    cleaned = headers.clean(text)

    assert not any(ord(char) < 32 or ord(char) == 127 for char in cleaned)
    assert headers.clean(cleaned) == cleaned


def test_line_breaks_become_a_space() -> None:
    assert headers.clean("a\r\nEvil: b\x00") == "a Evil: b"


@pytest.mark.parametrize(
    ("uri", "user"),
    [
        ("sip:%2B1555@h", "+1555"),
        ("<sip:alice:secret@h;transport=udp>", "alice"),
        ("sip:1111;phone-context=x@h", "1111"),
        ("tel:+1-555;ext=1", "+1-555"),
        ("sip:h", ""),
        ("nonsense", ""),
        ("sip:a%0d%0ab@h", "ab"),
        (URI.parse("sip:a%20b@h"), "a b"),
        (URI.parse("sip:h"), ""),
    ],
)
def test_the_user_of_a_uri(uri: URI | str, user: str) -> None:
    assert headers.text_of_user(uri) == user


def test_reason_values() -> None:
    assert headers.reason_value('no "x"\r\n') == r'SIP;text="no \"x\""'
    assert headers.reason_value("Normal", 16, "Q.850") == 'Q.850;cause=16;text="Normal"'


def test_lists_are_split_outside_of_quotes_and_brackets() -> None:
    value = r'"a, \"b" <sip:x@h;a=1,2>;q=1 , <sip:y@h>,, sip:z@h'

    assert headers.split_list(value) == [r'"a, \"b" <sip:x@h;a=1,2>;q=1', "<sip:y@h>", "sip:z@h"]


def test_parameters_are_read() -> None:
    assert headers.parameters(r';Expires=60; +sip.instance="<urn:a;b>";flag;expires=7') == {
        "expires": "60",
        "+sip.instance": "<urn:a;b>",
        "flag": "",
    }


@given(st.text(), st.sampled_from(",;"))
def test_no_text_raises_anything_else(text: str, separator: str) -> None:
    for call in (
        lambda: headers.split_list(text, separator),
        lambda: headers.parameters(text),
        lambda: headers.parameters(";" + text),
    ):
        with contextlib.suppress(headers.HeaderError):
            call()
    headers.text_of_user(text)
    headers.reason_value(text)


def test_a_request_built_by_hand_is_checked_too() -> None:
    assert headers.check(Request("INVITE", URI.parse("sip:h"))) == headers.Problem(400, "Missing Via header")
