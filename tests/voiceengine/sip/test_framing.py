"""Messages on streams, however the stream is cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceengine.sip.framing import Framer, FramingError

pytestmark = pytest.mark.unit

LIMIT = 2000


def message(body: bytes, name: str = "Content-Length", more: str = "") -> bytes:
    return f"OPTIONS sip:a SIP/2.0\r\nVia: x\r\n{more}{name}: {len(body)}\r\n\r\n".encode() + body


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


messages = st.builds(
    message,
    st.one_of(
        st.binary(max_size=300), st.sampled_from([b"\r\n\r\n", b"\r\n", b"INVITE sip:x SIP/2.0\r\n\r\n"])
    ),
    st.sampled_from(["Content-Length", "content-length", "l", "L", "Content-Length "]),
    st.sampled_from(["", "X-Content-Length: 5\r\n", "Contact: <sip:a>\r\n"]),
)


@given(st.lists(messages, max_size=5), st.lists(st.integers(0, 5000), max_size=12))
def test_any_cutting_of_a_stream_gives_the_same_messages(expected: list[bytes], cuts: list[int]) -> None:
    framer = Framer(LIMIT)

    found = [part for piece in pieces(b"".join(expected), cuts) for part in framer.feed(piece)]

    assert found == expected


@given(
    st.lists(st.one_of(messages, st.just(Framer.PING)), max_size=6),
    st.lists(st.integers(0, 5000), max_size=12),
)
def test_pings_between_messages_are_told(expected: list[bytes], cuts: list[int]) -> None:
    framer = Framer(LIMIT)

    found = [part for piece in pieces(b"".join(expected), cuts) for part in framer.feed(piece)]

    assert found == expected


@given(st.lists(messages, min_size=1, max_size=4), st.lists(st.integers(0, 5000), max_size=12))
def test_single_line_ends_between_messages_are_skipped(expected: list[bytes], cuts: list[int]) -> None:
    """RFC 3261 section 7.5; also the pong of RFC 5626."""
    framer = Framer(LIMIT)

    found = [part for piece in pieces(b"\r\n".join(expected), cuts) for part in framer.feed(piece)]

    assert found == expected


@given(st.lists(st.binary(max_size=400), max_size=8))
def test_no_bytes_raise_anything_but_framing_error(chunks: list[bytes]) -> None:
    framer = Framer(500)
    try:
        for chunk in chunks:
            for found in framer.feed(chunk):
                assert found == Framer.PING or b"\r\n\r\n" in found
    except FramingError:
        return


def test_a_message_without_a_length_ends_the_stream() -> None:
    with pytest.raises(FramingError, match="missing"):
        list(Framer(LIMIT).feed(b"OPTIONS sip:a SIP/2.0\r\nVia: x\r\n\r\n"))


@pytest.mark.parametrize("value", ["-1", "abc", "1 2", "0x10", "9999999999"])
def test_a_length_that_is_no_number_ends_the_stream(value: str) -> None:
    with pytest.raises(FramingError):
        list(Framer(LIMIT).feed(f"OPTIONS sip:a SIP/2.0\r\nContent-Length: {value}\r\n\r\n".encode()))


def test_a_length_in_the_body_does_not_count() -> None:
    with pytest.raises(FramingError, match="missing"):
        list(Framer(LIMIT).feed(b"OPTIONS sip:a SIP/2.0\r\n\r\nContent-Length: 0\r\n\r\n"))


def test_the_limit_holds_for_the_whole_message() -> None:
    exact = message(b"x" * (LIMIT - len(message(b"")) - 3))
    assert len(exact) == LIMIT
    assert list(Framer(LIMIT).feed(exact)) == [exact]
    with pytest.raises(FramingError, match="too long"):
        list(Framer(LIMIT - 1).feed(exact))


def test_a_message_that_is_announced_too_long_is_refused_before_it_comes() -> None:
    with pytest.raises(FramingError, match="too long"):
        list(Framer(LIMIT).feed(b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 5000\r\n\r\n"))


def test_headers_without_end_are_refused() -> None:
    with pytest.raises(FramingError, match="header"):
        list(Framer(LIMIT).feed(b"X" * (LIMIT + 1)))


def test_what_came_before_an_unreadable_message_is_told() -> None:
    framer = Framer(LIMIT)
    stream = framer.feed(message(b"one") + b"BAD\r\n\r\n")

    assert next(stream) == message(b"one")
    with pytest.raises(FramingError):
        next(stream)
