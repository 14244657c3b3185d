"""The nouns: addresses, headers behind them, callbacks."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rcml.verbs  # noqa: F401  registers verbs and nouns
from rcml.document import Element, parse
from rcml.nouns import Client, Conference, Number, Sip, Uri, noun_of, split_headers
from rcml.ports import CALL_EVENTS, CONFERENCE_EVENTS, DialError
from rcml.verb import NOUNS, noun

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "name", "whom"),
    [
        ("5551212", "Number", "5551212"),
        ("+1 (555) 12-12", "Number", "+15551212"),
        ("client:bob", "Client", "bob"),
        ("bob@example.com", "Sip", "sip:bob@example.com"),
        ("sip:example.com", "Sip", "sip:example.com"),
        ("SIPS:b@h", "Sip", "SIPS:b@h"),
        ("client:bob@home", "Client", "bob@home"),
        ("1234?X-A=b@c", "Number", "1234"),
    ],
)
def test_the_text_of_a_dial_stands_for_a_noun(text, name, whom):
    element = noun_of(text)

    assert element.name == name
    assert NOUNS[name](element).whom()[0] == whom


@pytest.mark.parametrize(
    ("text", "address", "headers"),
    [
        ("sip:a@h", "sip:a@h", ()),
        ("sip:a@h?", "sip:a@h", ()),
        ("sip:a@h?X-A=1&b=2", "sip:a@h", (("X-A", "1"), ("X-b", "2"))),
        ("sip:a@h?x-a=1", "sip:a@h", (("x-a", "1"),)),
        ("5?a=b%20c%26&&d", "5", (("X-a", "b c&"), ("X-d", ""))),
        ("5?a=1=2+3", "5", (("X-a", "1=2+3"),)),
    ],
)
def test_headers_stand_behind_a_question_mark(text, address, headers):
    assert split_headers(text) == (address, headers)


@pytest.mark.parametrize(
    "text",
    [
        "sip:" + "a" * 251,
        "1?a=" + "b" * 1022,
        "1?=b",
        "1?a b=c",
        "1?a:b=c",
        "1?a=b%0d%0aVia: x",
        "1?a%0ab=c",
    ],
)
def test_what_cannot_be_sent_is_refused(text):
    with pytest.raises(DialError) as caught:
        split_headers(text)

    assert caught.value.code == 11008
    assert caught.value.message.endswith(".")


def test_the_limits_are_254_and_1023():
    assert split_headers("a" * 254 + "?a=" + "b" * 1021)[1] == (("X-a", "b" * 1021),)


NAMES = st.from_regex(r"[Xx]-[A-Za-z0-9-]{1,20}", fullmatch=True)
VALUES = st.text(
    st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=["Cs"]), max_size=20
)


@given(st.lists(st.tuples(NAMES, VALUES.map(str.strip)), max_size=5))
def test_headers_come_out_as_they_were_written(headers):
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in headers)
    if len(query) < 1024:
        assert split_headers(f"sip:a@h?{query}") == ("sip:a@h", tuple(headers))


@given(st.text(max_size=60))
def test_every_text_is_read_or_refused_and_no_header_holds_a_line_end(text):
    for name in ("Number", "Client", "Sip"):
        try:
            address, headers = NOUNS[name](Element(name, text=text)).whom()
        except DialError:
            continue
        assert address
        assert not set(address) & set("\r\n <>")
        assert all(header[:2].upper() == "X-" for header, _ in headers)
        assert not any(set(value) & set("\r\n\0") for _, value in headers)


@pytest.mark.parametrize(
    "element",
    [
        Element("Number", text="12;34"),
        Element("Number", text="sip:a@h"),
        Element("Number", text="(-)"),
        Element("Client", text="client:"),
        Element("Client", text="a b"),
        Element("Sip", text="a@h"),
        Element("Sip", text="sip:a@h <x>"),
        Element("Uri"),
    ],
)
def test_an_address_of_another_kind_is_refused(element):
    with pytest.raises(DialError):
        NOUNS[element.name](element).whom()


def test_the_name_stands_in_for_the_text():
    assert Client(Element("Client", attributes={"name": "bob"})).whom() == ("bob", ())
    assert Sip(Element("Sip", attributes={"name": "sip:a@h"})).whom() == ("sip:a@h", ())
    assert Conference(Element("Conference", attributes={"name": "r"})).room == "r"


def test_uri_is_sip_by_another_name():
    assert Uri(Element("Uri", text="sip:a@h")).whom() == ("sip:a@h", ())
    assert Uri.attributes == Sip.attributes


@pytest.mark.parametrize(
    ("value", "events"),
    [
        ("ringing answered", {"ringing", "answered"}),
        ("ringing,answered , completed", {"ringing", "answered", "completed"}),
        ("ringing singing", {"ringing"}),
        ("", set()),
    ],
)
def test_events_are_separated_by_blanks_or_commas(value, events):
    assert (
        Number(Element("Number", attributes={"statusCallbackEvent": value})).status_callback_event == events
    )


def test_all_events_are_told_unless_some_are_named():
    assert Number(Element("Number")).status_callback_event == CALL_EVENTS
    assert Conference(Element("Conference")).status_callback_event == CONFERENCE_EVENTS - {"speaker"}


@pytest.mark.parametrize(("value", "number"), [("2", 2), ("100", 100), ("101", 100), ("0", 40), ("x", 40)])
def test_a_room_holds_at_most_a_hundred(value, number):
    assert Conference(Element("Conference", attributes={"maxParticipants": value})).max_participants == number


def test_every_attribute_of_a_noun_says_what_it_is():
    for cls in NOUNS.values():
        for attribute in cls.attributes:
            assert attribute.doc.endswith(".")
            assert attribute.allowed


def test_a_noun_cannot_be_declared_twice():
    with pytest.raises(ValueError, match="declared twice"):
        noun("Sip")(Sip)


def test_the_name_of_a_room_that_is_too_long_is_cut():
    element = parse(f"<Response><Dial><Conference>{'r' * 300}</Conference></Dial></Response>".encode()).root

    assert Conference(element.children[0].children[0]).room == "r" * 255
