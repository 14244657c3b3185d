"""Refer-To, Replaces and the NOTIFY about a REFER."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sipmessage import Message, Request

from voiceengine.sip import refer
from voiceengine.sip.refer import ReferError, ReferTo, Replaces

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("value", "target"),
    [
        ("<sip:bob@example.com>", "sip:bob@example.com"),
        ("sip:bob@example.com", "sip:bob@example.com"),
        ('"Bob, \\"the\\" <boss>" <sip:bob@example.com:5070;transport=tcp>', None),
        ("Bob <sip:bob@example.com>;x=1", "sip:bob@example.com"),
        ("<sip:bob@example.com;method=INVITE>", "sip:bob@example.com"),
        ("<sip:bob@example.com;method=invite;user=phone>", "sip:bob@example.com;user=phone"),
        ("<SIP:bob@example.com>", "sip:bob@example.com"),
        ("<sips:bob@example.com>", "sips:bob@example.com"),
        ("<tel:+15551234;phone-context=x>", "tel:+15551234;phone-context=x"),
        ("<sip:1234@10.0.0.1?Subject=x>", "sip:1234@10.0.0.1"),
    ],
)
def test_the_target_is_the_uri_without_headers(value: str, target: str | None) -> None:
    found = ReferTo.parse([value])

    assert str(found.target) == (target or "sip:bob@example.com:5070;transport=tcp")
    assert (found.headers, found.replaces) == ((), None)


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ([], 400),
        ([""], 400),
        (["<sip:a@b>", "<sip:c@d>"], 400),
        (["<sip:a@b>, <sip:c@d>"], 400),
        (["bob"], 400),
        (["<>"], 400),
        (["<sip:>"], 400),
        (["<sip:a@b"], 400),
        (['"open <sip:a@b>'], 400),
        (["<sip:a@b> rubbish"], 400),
        (["<sip:a b@c>"], 400),
        (["<sip:a%0d%0aX@c>"], 400),
        (["<sip:a@b:99999>"], 400),
        (["<http://example.com/>"], 416),
        (["<mailto:a@b>"], 416),
        (["<sip:a@b;method=BYE>"], 501),
        (["<sip:a@b;method>"], 501),
        (["<sip:a@b?Replaces=c>"], 400),
        (["<sip:a@b?Replaces=c%3Bto-tag%3D1>"], 400),
        (["<sip:a@b?Replaces=%3Bto-tag%3D1%3Bfrom-tag%3D2>"], 400),
        (["<sip:a@b?Replaces=c%3Bto-tag%3D1%3Bfrom-tag%3D2&Replaces=c%3Bto-tag%3D1%3Bfrom-tag%3D2>"], 400),
    ],
)
def test_a_refer_to_that_cannot_be_used_is_refused(values: list[str], status: int) -> None:
    with pytest.raises(ReferError) as found:
        ReferTo.parse(values)

    assert found.value.status == status
    assert found.value.message.endswith(".")


def test_replaces_is_unescaped() -> None:
    """RFC 5589 section 7.1."""
    value = (
        "<sip:bob@example.com?Replaces=090459243588173445%40x%3Bto-tag%3D7553452%3Bfrom-tag%3D31431&"
        "Require=replaces>"
    )

    found = ReferTo.parse([value])

    assert found.replaces == Replaces("090459243588173445@x", "7553452", "31431")
    assert str(found.target) == "sip:bob@example.com"
    assert found.headers == ()


def test_replaces_with_other_parameters_in_another_order() -> None:
    assert Replaces.parse("c@h ;early-only; From-Tag=f;to-tag=t") == Replaces("c@h", "t", "f")


def test_only_x_headers_of_the_uri_are_taken_over() -> None:
    value = "<sip:b@h?X-One=1%202&x-two=%22q%22&From=evil&Contact=evil&body=x&X-Bad%0d%0a=1&X-Cr=a%0d%0ab>"

    assert ReferTo.parse([value]).headers == (("X-One", "1 2"), ("x-two", '"q"'), ("X-Cr", "a b"))


def test_headers_without_end_are_cut_off() -> None:
    many = "&".join(f"X-{n}=1" for n in range(100))

    assert len(ReferTo.parse([f"<sip:b@h?{many}>"]).headers) == refer.MAX_EXTRA


@given(st.text(max_size=80))
def test_no_text_raises_anything_else(text: str) -> None:
    for value in (text, f"<{text}>", f"<sip:a@b?{text}>", f"<sip:a@b?Replaces={text}>", f"<sip:{text}>"):
        try:
            found = ReferTo.parse([value])
        except ReferError:
            continue
        assert "\r" not in str(found.target)
        assert "\n" not in str(found)


def notify(body: str = "", **headers: str) -> Request:
    named: dict[str, Any] = {"Event": "refer", "Content-Type": "message/sipfrag", **headers}
    text = "NOTIFY sip:a@b SIP/2.0\r\n" + "".join(
        f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items() if value
    )
    made = Message.parse(f"{text}\r\n{body}".encode())
    assert isinstance(made, Request)
    return made


@pytest.mark.parametrize(
    "body",
    [
        "",
        "SIP/2.0 200 OK\r\n",
        "SIP/2.0 200 OK",
        "SIP/2.0 603 \r\n",
        "SIP/2.0 180 Es läutet\r\nTo: <sip:a@b>\r\n",
    ],
)
def test_a_notify_about_a_refer_is_good(body: str) -> None:
    refer.check_notify(notify(body))
    refer.check_notify(notify(body, Event="Refer ; id=4"))


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ("", {"Event": ""}, 489),
        ("", {"Event": "presence"}, 489),
        ("", {"Event": "refer.winfo"}, 489),
        ("SIP/2.0 200 OK", {"Content-Type": "text/plain"}, 415),
        ("SIP/2.0 200 OK", {"Content-Type": ""}, 415),
        ("SIP/2.0 200 OK\r\n" + "x" * 1100, {}, 413),
        ("hello", {}, 400),
        ("SIP/2.0 2000 OK", {}, 400),
        ("SIP/2.0 999 OK", {}, 400),
        ("SIP/2.0 200 \0", {}, 400),
        ("SIP/2.0 200 \x1b[", {}, 400),
    ],
)
def test_another_notify_is_refused(body: str, headers: dict[str, str], status: int) -> None:
    with pytest.raises(ReferError) as found:
        refer.check_notify(notify(body, **headers))

    assert found.value.status == status


@pytest.mark.parametrize(
    ("event", "number"),
    [
        ("refer", None),
        ("refer;id=4", 4),
        ("refer ; x=1 ; ID = 4 ; y", 4),
        ("refer;id=abc", None),
        ("refer;id=", None),
    ],
)
def test_the_id_of_an_event(event: str, number: int | None) -> None:
    assert refer.event_number(event) == number


def test_a_sipfrag_is_one_line() -> None:
    assert refer.sipfrag(486, "Busy\r\nHere") == b"SIP/2.0 486 Busy Here\r\n"


@pytest.mark.parametrize(
    ("value", "quiet"), [("", False), ("true", False), ("false", True), ("FALSE ;x", True)]
)
def test_refer_sub(value: str, quiet: bool) -> None:
    assert refer.silent(notify(Refer_Sub=value)) is quiet
