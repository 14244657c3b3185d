"""Rendering, paging arithmetic and parameters, without HTTP; and the reference page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceengine import api
from voiceengine.api.call_rules import parse_headers
from voiceengine.api.declare import Operation
from voiceengine.api.errors import ApiError
from voiceengine.api.number_rules import fits, is_of_type, is_pattern, normalise
from voiceengine.api.operation_rules import START_RECORDING, parse_recording
from voiceengine.api.operations import DECLARED, OPERATIONS
from voiceengine.api.paging import Paged, parse_date, slice_rows
from voiceengine.api.parameters import Parameters, parse_body
from voiceengine.api.recordings import duration
from voiceengine.api.reference import page
from voiceengine.api.representation import (
    One,
    Problem,
    Render,
    Representation,
    camel,
    encode,
    iso8601,
    plain,
    rfc2822,
)
from voiceengine.api.routing import negotiate
from voiceengine.config import Settings

pytestmark = pytest.mark.unit

ALL: dict[str, Representation[Any]] = {
    operation.returns.title: operation.returns
    for module in api.RESOURCES
    for route in module.routes()
    for operation in route.handlers.values()
    if isinstance(operation, Operation) and operation.returns is not None
}
JSON = Render(format="json", prefix="/p", base_url="http://h")
XML = Render(format="xml", prefix="/p", base_url="http://h")


class Row:
    def __init__(self, sid: str) -> None:
        self.sid = sid


ROWS: Representation[Row] = Representation(item="Row", items="Rows", list_key="rows", fields=(plain("sid"),))


@pytest.mark.parametrize("representation", ALL.values(), ids=ALL)
def test_the_xml_order_names_every_element_once(representation: Representation[Any]) -> None:
    elements = [field.element for field in representation.fields if field.only in (None, "xml")]

    assert len(elements) == len(set(elements))
    assert not representation.xml_order or sorted(representation.xml_order) == sorted(elements)


def page_of(total: int, size: int, page: int) -> dict[str, Any]:
    rows = [Row(f"R{number}") for number in range(total)]
    paged = Paged(
        representation=ROWS,
        rows=slice_rows(rows, page, size),
        page=page,
        page_size=size,
        total=total,
        path="/Rows",
    )
    found = paged.check().json_value(JSON)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("total", "size", "page", "last", "start", "end", "count"),
    [
        (34, 10, 0, 3, "0", "9", 10),
        (34, 10, 2, 3, "20", "29", 10),
        (34, 10, 3, 3, "30", "34", 4),
        (34, 50, 0, 0, "0", "34", 34),
        (448, 50, 8, 8, "400", "448", 48),
        (20, 10, 2, 2, "20", "20", 0),
        (0, 50, 0, 0, "0", "0", 0),
    ],
)
def test_paging_arithmetic(
    total: int, size: int, page: int, last: int, start: str, end: str, count: int
) -> None:
    found = page_of(total, size, page)

    assert (found["num_pages"], found["start"], found["end"], len(found["rows"])) == (last, start, end, count)


@given(st.integers(0, 300), st.integers(1, 60))
def test_following_the_pages_shows_every_row_once(total: int, size: int) -> None:
    seen: list[str] = []
    page = 0
    while True:
        found = page_of(total, size, page)
        seen += [row["sid"] for row in found["rows"]]
        if found["next_page_uri"] == "null":
            break
        page += 1
        assert found["next_page_uri"] == f"/p/Rows?Page={page}&PageSize={size}&AfterSid={seen[-1]}"

    assert seen == [f"R{number}" for number in range(total)]
    with pytest.raises(ApiError):
        page_of(total, size, page + 1)


@given(st.text())
def test_any_text_makes_well_formed_json_and_xml(text: str) -> None:
    row = One(ROWS, Row(text))
    as_json, as_xml = encode(row, JSON)[0], encode(row, XML)[0]

    assert set(json.loads(as_json)) == {"sid"}
    assert ET.fromstring(as_xml)[0][0].tag == "Sid"
    problem = Problem(text, "E", 1, 400)
    assert ET.fromstring(encode(problem, XML)[0]).find("Status") is not None


def test_dates() -> None:
    assert rfc2822(1562223748.99) == "Thu, 4 Jul 2019 07:02:28 +0000"
    assert iso8601(1562223748.9996) == "2019-07-04T07:02:29.000Z"
    assert parse_date("1970-01-02") == (86400.0, True)
    assert parse_date("1970-01-01T00:00:05") == (5.0, False)
    assert [duration(value) for value in (0.0, 3.0, 14.70275, 0.1)] == ["0.0", "3.0", "14.70275", "0.1"]
    assert camel("voice_fallback_url") == "VoiceFallbackUrl"


@pytest.mark.parametrize(
    ("path", "accept", "expected"),
    [
        ("Accounts.json/x", "", (["Accounts", "x"], "json")),
        ("Accounts.json/x.xml", "", (["Accounts", "x"], "xml")),
        ("Recordings/RE.wav", "application/JSON", (["Recordings", "RE.wav"], "json")),
        ("a/.json", "", (["a", ".json"], "xml")),
        ("a", "text/html,*/*", (["a"], "xml")),
    ],
)
def test_negotiation(path: str, accept: str, expected: tuple[list[str], str]) -> None:
    assert negotiate(path.split("/"), accept) == expected


@given(st.binary())
def test_no_body_raises_anything_else(body: bytes) -> None:
    for kind in ("application/x-www-form-urlencoded", "application/json", "", "text/plain"):
        try:
            found = parse_body(kind, body)
        except ApiError as error:
            assert error.status in (400, 415)
        else:
            assert isinstance(found, Parameters)


@given(st.text())
def test_no_header_suffix_lets_control_characters_through(text: str) -> None:
    try:
        found = parse_headers(text)
    except ApiError:
        return
    for name, value in found:
        assert not re.search("[\x00-\x1f\x7f: ]", name)
        assert not re.search("[\x00-\x1f\x7f]", value)


def test_the_first_value_of_a_parameter_wins() -> None:
    found = parse_body("", b"A=1&A=2&Flag=TRUE&No=yes&a=3")

    assert (found.get("A"), found.all("A")) == ("1", ("1", "2"))
    assert (found.flag("Flag"), found.flag("No"), found.flag("Absent")) == (True, False, None)


@pytest.mark.parametrize(
    ("text", "pattern", "expected"),
    [
        ("abc", "abc", True),
        ("abc", "ab", False),
        ("abc", "*", True),
        ("", "*", True),
        ("abc", "a*c", True),
        ("abc", "*b*", True),
        ("abc", "**c", True),
        ("aba", "ab*ba", False),
        ("a?[c", "a?[*", True),
        ("abc", "a?c", False),
        ("abcabc", "a*bc*c", True),
        ("abcabd", "a*bc*c", False),
    ],
)
def test_only_the_star_is_a_wildcard(text: str, pattern: str, expected: bool) -> None:
    assert fits(text, pattern) is expected


def test_numbers() -> None:
    assert normalise("510 555 0100", is_sip=False) == "+15105550100"
    assert normalise("510 555 0100", is_sip=True) == "510 555 0100"
    assert normalise("1234", is_sip=False) == "1234"
    assert [is_pattern(text) for text in ("16.*", "*98", "+15105550100", "1234")] == [
        True,
        True,
        False,
        False,
    ]
    assert is_of_type("+18005550199", "TollFree")
    assert not is_of_type("1234", "Mobile")


def _tables(page: str) -> dict[str, list[str]]:
    """The page's tables: heading of level two -> first cells of its rows."""
    text = (Path(__file__).parents[3] / "docs/reference" / page).read_text("utf-8")
    found: dict[str, list[str]] = {}
    section = ""
    for line in text.splitlines():
        if line.startswith("## "):
            section = line[3:]
        elif line.startswith("| `"):
            found.setdefault(section, []).append(line.strip("| ").split("|")[0])
    return found


def test_the_reference_page_is_up_to_date() -> None:
    text = (Path(__file__).parents[3] / "docs/reference/rest-api.md").read_text("utf-8")

    assert text == page(), "run: python -m voiceengine.api.reference > docs/reference/rest-api.md"


def test_the_reference_page_names_everything() -> None:
    text = page()
    for module in api.RESOURCES:
        for route in module.routes():
            path = "/" + re.sub(r"\{(\w+):(.*?)\}", r"{\1}\2", route.path)
            for method, operation in route.handlers.items():
                assert route.hidden or f"| `{method} {path}` |" in text
                if not route.hidden and isinstance(operation, Operation):
                    assert [name for name in operation.reads() if f"`{name}`" not in text] == []


class Watched(Parameters):
    """Remembers which parameters were asked for."""

    asked: set[str]

    def get(self, name: str) -> str | None:
        self.asked.add(name)
        return super().get(name)

    def document(self, name: str) -> str | None:
        self.asked.add(name)
        return super().document(name)


@pytest.mark.parametrize("name", [*OPERATIONS, "Recordings"])
def test_the_reference_lists_every_parameter_of_an_operation(name: str) -> None:
    body = Watched({"Text": ["hi"], "To": ["1234"], "Action": ["http://app/a"]})
    if name == "Play":
        body = Watched({"Url": ["http://app/a.wav"]})
    body.asked = set()
    if name == "Recordings":
        parse_recording(body)
    else:
        OPERATIONS[name](body, Settings())

    rows = _tables("live-calls.md")[name]
    declared = START_RECORDING if name == "Recordings" else DECLARED[name][0]
    assert {row.strip().rstrip("* ").strip("`") for row in rows} == body.asked
    assert {param.name for param in declared} == body.asked
