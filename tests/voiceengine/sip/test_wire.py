"""Reading of messages, salvage, responses and Via."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sipmessage import Message, Request, Response

from voiceengine.sip import wire
from voiceengine.sip.wire import BadMessage, parse, response_to, salvage, stamp_via, tag_of, with_tag

pytestmark = pytest.mark.unit

VIA = "Via: SIP/2.0/UDP 127.0.0.1:5070;rport;branch=z9hG4bK1\r\n"
GOOD = (
    "INVITE sip:1111@127.0.0.1 SIP/2.0\r\n" + VIA + "Via: SIP/2.0/TCP [2001:db8::1]:5060;branch=z9hG4bK0\r\n"
    'From: "Alice" <sip:alice@127.0.0.1>;tag=1\r\nTo: <sip:1111@127.0.0.1>\r\n'
    "Call-ID: a@b\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContact: <sip:alice@127.0.0.1:5070>\r\n"
    "Content-Type: application/sdp\r\nX-One: 1\r\nContent-Length: 4\r\n\r\nbody"
)
RESPONSE = GOOD.replace("INVITE sip:1111@127.0.0.1 SIP/2.0", "SIP/2.0 200 OK")


def changed(old: str, new: str, text: str = GOOD) -> bytes:
    assert old in text
    return text.replace(old, new).encode("utf-8", "surrogatepass")


def good(old: str = "Alice", new: str = "Alice") -> Request:
    found = parse(changed(old, new))
    assert isinstance(found, Request)
    return found


# ------------------------------------------------------------------------- reading


@given(st.binary(max_size=600))
def test_any_bytes_are_read_or_bad(data: bytes) -> None:
    try:
        parse(data)
    except BadMessage:
        return


@given(st.binary(max_size=200))
def test_any_header_section_is_read_or_bad(data: bytes) -> None:
    for start in (b"INVITE sip:a@b SIP/2.0\r\n", b"SIP/2.0 200 OK\r\n"):
        try:
            parse(start + data + b"\r\n\r\n")
        except BadMessage:
            continue


_bits = st.sampled_from(
    [
        b"\r\n",
        b":",
        b";",
        b"<",
        b">",
        b'"',
        b"=",
        b"\0",
        b"\xff",
        b"@",
        b",",
        b"%",
        b";self=1",
        b"[",
        b" ",
        b"\t",
        b"\n",
    ]
)


@settings(max_examples=600)
@given(
    st.sampled_from([GOOD, RESPONSE]),
    st.lists(
        st.tuples(st.integers(0, len(GOOD)), st.integers(0, 6), st.one_of(_bits, st.binary(max_size=3))),
        max_size=4,
    ),
)
def test_a_mutated_message_is_read_or_bad(text: str, edits: list[tuple[int, int, bytes]]) -> None:
    data = text.encode()
    for place, gone, new in edits:
        data = data[:place] + new + data[place + gone :]
    try:
        found = parse(data)
    except BadMessage:
        rescued = salvage(data)
        if rescued is not None:
            assert b"\r\n\r\n" in bytes(response_to(rescued, 400))
        return
    # what was read can be answered, and passes again
    if isinstance(found, Request):
        stamp_via(found, "192.0.2.7", 5099)
        again = parse(bytes(response_to(found, 200)))
        assert again.headers["Call-ID"] == found.headers["Call-ID"]


@settings(max_examples=300)
@given(st.binary(max_size=60), st.sampled_from(["Via: ", "From: ", "To: ", "CSeq: ", "Call-ID: ", "INVITE "]))
def test_salvage_of_anything_raises_nothing(junk: bytes, place: str) -> None:
    data = GOOD.encode().replace(place.encode(), place.encode() + junk, 1)
    found = salvage(data)

    assert found is None or isinstance(found, Request)


def test_salvage_survives_a_parameter_that_its_library_chokes_on() -> None:
    """sipmessage 0.7.1 raises TypeError for a parameter named `self`."""
    data = changed(";rport", ";self=1")
    with pytest.raises(BadMessage):
        parse(data)

    salvage(data)


def test_a_good_message_is_read() -> None:
    found = good()

    assert found.method == "INVITE"
    assert found.body == b"body"
    assert [via.host for via in found.via] == ["127.0.0.1", "[2001:db8::1]"]


def test_folded_lines_and_short_names_are_read() -> None:
    found = parse(changed("Call-ID: a@b", "i: a@b\r\nSubject: one\r\n two\r\n\tthree"))

    assert found.headers["Call-ID"] == "a@b"
    assert found.headers["Subject"] == "one two three"


def test_line_ends_before_the_message_are_skipped() -> None:
    assert parse(b"\r\n\r\n"[:2] + GOOD.encode()).body == b"body"


def test_the_body_ends_where_content_length_says() -> None:
    assert parse(GOOD.encode() + b"garbage").body == b"body"


def test_without_content_length_the_body_is_the_rest() -> None:
    assert parse(changed("Content-Length: 4\r\n", "")).body == b"body"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Content-Length: 4", "Content-Length: 5"),
        ("Content-Length: 4", "Content-Length: -1"),
        ("Content-Length: 4", "Content-Length: ４"),
        ("Content-Length: 4", "Content-Length: " + "9" * 5000),
        ("\r\n\r\nbody", ""),
        ("X-One: 1", "X-One: \0"),
        ("X-One: 1", "X-One: a\nb"),
        ("X-One: 1", "X-One: " + "x" * 5000),
        ("X-One: 1", "\r\n".join(["X-One: 1"] * 300)),
        ("X-One: 1", "no colon"),
        (";tag=1", ""),
        ("CSeq: 1 INVITE", "CSeq: 1 BYE"),
        ("CSeq: 1 INVITE", "CSeq: 2147483648 INVITE"),
        ("CSeq: 1 INVITE", "CSeq: -1 INVITE"),
        ("CSeq: 1 INVITE", "CSeq: INVITE"),
        ("CSeq: 1 INVITE", "CSeq: " + "1" * 5000 + " INVITE"),
        ("Call-ID: a@b", "Call-ID: a@b\r\nCall-ID: c@d"),
        ("Call-ID: a@b", "Call-ID: a@b\r\ni: c@d"),
        ("Call-ID: a@b", "Call-ID:"),
        ("To: <sip:1111@127.0.0.1>", "To: <sip:1111@127.0.0.1"),
        ("To: <sip:1111@127.0.0.1>\r\n", ""),
        (VIA, "Via: nonsense\r\n"),
        (";branch=z9hG4bK1", ""),
        (";branch=z9hG4bK1", ";branch"),
        ("SIP/2.0\r\nVia", "SIP/3.0\r\nVia"),
        ("sip:1111@127.0.0.1 SIP", "sip: SIP"),
        ("X-One: 1", "X-\nContact: <sip:evil@x>"),
        ("X-One: 1", "X-\rContact: <sip:evil@x>"),
    ],
)
def test_what_is_missing_doubled_or_malformed_is_bad(old: str, new: str) -> None:
    with pytest.raises(BadMessage):
        parse(changed(old, new))


@pytest.mark.parametrize(
    "status", ["200 OK\nX-Evil: 1", "200 OK\rX-Evil: 1", "-5 OK", "99 No", "700 No", "99999 No"]
)
def test_a_status_line_that_is_not_valid_is_bad(status: str) -> None:
    with pytest.raises(BadMessage):
        parse(changed("SIP/2.0 200 OK", f"SIP/2.0 {status}", RESPONSE))


# ------------------------------------------------------------------------- salvage


def test_what_is_broken_elsewhere_is_salvaged() -> None:
    data = changed("X-One: 1", "no colon here")
    found = salvage(data)

    assert found is not None
    answer = response_to(found, 400)
    assert answer.headers["Call-ID"] == "a@b"
    assert answer.headers["CSeq"] == "1 INVITE"
    assert answer.headers["To"].startswith("<sip:1111@127.0.0.1>;tag=")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("INVITE sip", "ACK sip"),
        ("INVITE sip", "invite sip"),
        ("INVITE sip:1111@127.0.0.1 SIP/2.0", "SIP/2.0 200 OK"),
        ("Call-ID: a@b\r\n", ""),
        ("CSeq: 1 INVITE\r\n", ""),
    ],
)
def test_what_cannot_or_must_not_be_answered_is_not_salvaged(old: str, new: str) -> None:
    assert salvage(changed(old, new)) is None


# ------------------------------------------------------------------------- responses


def test_a_response_repeats_what_identifies_the_request() -> None:
    request = good()
    answer = response_to(request, 486, "", [("Retry-After", "5")])

    assert answer.phrase == "Busy Here"
    assert answer.headers.getlist("Via") == request.headers.getlist("Via")
    assert answer.headers["From"] == request.headers["From"]
    assert answer.headers["Retry-After"] == "5"
    assert answer.headers["Content-Length"] == "0"


def test_all_but_100_add_a_tag_and_never_a_second_one() -> None:
    assert tag_of(response_to(good(), 100).headers["To"]) == ""
    assert tag_of(response_to(good(), 180).headers["To"]) != ""
    assert tag_of(response_to(good(), 200, to_tag="mine").headers["To"]) == "mine"
    inside = good("To: <sip:1111@127.0.0.1>", "To: <sip:1111@127.0.0.1>;Tag=theirs")
    assert response_to(inside, 200).headers["To"] == "<sip:1111@127.0.0.1>;Tag=theirs"


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        ("<sip:a@b>;tag=x", "x"),
        ("<sip:a@b;tag=no>", ""),
        ("sip:a@b;tag=x", "x"),
        ('"a;tag=no" <sip:a@b>;p=1 ; TAG = x ', "x"),
        ('"a>;tag=no" <sip:a@b>', ""),
        ("<sip:a@b>;tagged=1", ""),
        ('<sip:a@b>;x="1;tag=no";tag=real', "real"),
    ],
)
def test_where_the_tag_is(value: str, tag: str) -> None:
    assert tag_of(value) == tag


def test_a_tag_is_added_once() -> None:
    assert with_tag("<sip:a@b>", "x") == "<sip:a@b>;tag=x"
    assert with_tag("<sip:a@b>;tag=y", "x") == "<sip:a@b>;tag=y"
    assert with_tag("<sip:a@b>", "") == "<sip:a@b>"


def test_branches_and_tags_are_new() -> None:
    assert len({wire.new_branch() for _ in range(100)}) == 100
    assert wire.new_branch().startswith("z9hG4bK")
    assert len({wire.new_tag() for _ in range(100)}) == 100


# ------------------------------------------------------------------------- Via


def test_rport_is_filled_in_and_the_source_noted() -> None:
    """RFC 3581 section 4: received as well, even when it equals sent-by."""
    request = good()

    assert stamp_via(request, "127.0.0.1", 6000) == ("z9hG4bK1", True)
    top = request.via[0].parameters
    assert (top["rport"], top["received"]) == ("6000", "127.0.0.1")
    assert request.via[1].host == "[2001:db8::1]"


def test_forged_received_and_rport_are_replaced() -> None:
    request = good(";rport", ";rport=1;received=192.0.2.66")

    stamp_via(request, "127.0.0.1", 6000)
    top = request.via[0].parameters
    assert (top["rport"], top["received"]) == ("6000", "127.0.0.1")


def test_without_rport_only_another_source_is_noted() -> None:
    request = good(";rport", "")
    assert stamp_via(request, "127.0.0.1", 6000) == ("z9hG4bK1", False)
    assert "received" not in request.via[0].parameters
    stamp_via(request, "192.0.2.7", 6000)
    assert request.via[0].parameters["received"] == "192.0.2.7"


def test_a_forged_received_from_the_named_host_is_not_kept() -> None:
    """Section 18.2.2 sends responses to `received`, so it must be what was seen."""
    request = good(";rport", ";received=192.0.2.66")
    stamp_via(request, "127.0.0.1", 6000)

    assert "received" not in request.via[0].parameters or request.via[0].parameters["received"] == "127.0.0.1"


def test_an_ipv6_sent_by_equals_its_source() -> None:
    request = good("127.0.0.1:5070;rport", "[::1]:5070")
    stamp_via(request, "::1", 5070)

    assert "received" not in request.via[0].parameters


def test_phrases_are_plain_text() -> None:
    for code, phrase in wire.PHRASES.items():
        found = Message.parse(bytes(Response(code, phrase)))
        assert isinstance(found, Response)
        assert found.phrase == phrase
