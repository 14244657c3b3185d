"""Parameters of operations and the document of a room, without HTTP."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from rcml.linter import lint
from voiceengine.api.call_rules import parse_modify
from voiceengine.api.conferences import parse_change as parse_conference
from voiceengine.api.errors import ApiError
from voiceengine.api.operation_rules import parse_recording, parse_recording_status, refer_target
from voiceengine.api.operations import OPERATIONS
from voiceengine.api.parameters import Parameters
from voiceengine.api.participants import parse_change as parse_participant
from voiceengine.api.rooms import room_document, room_name
from voiceengine.config import Settings

pytestmark = pytest.mark.unit

NAMES = [
    "Text",
    "Voice",
    "Language",
    "Loop",
    "Url",
    "Input",
    "Action",
    "StatusCallback",
    "Method",
    "Timeout",
    "FinishOnKey",
    "NumDigits",
    "HoldMusic",
    "To",
    "RecordingChannels",
    "MaxLength",
    "PlayBeep",
    "RecordingStatusCallback",
    "RecordingStatusCallbackMethod",
    "Status",
    "Mute",
    "Muted",
    "Hold",
    "HoldUrl",
    "HoldMethod",
    "AnnounceUrl",
    "AnnounceMethod",
    "EndConferenceOnExit",
    "Record",
    "MoveConnectedCallLeg",
]
VALUES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            "",
            "1",
            "0",
            "true",
            "false",
            "http://app/x",
            "dtmf",
            "man",
            "en",
            "#",
            "mono",
            "completed",
            "sip:a@b",
        ]
    ),
)
BODIES = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=12)
SETTINGS = Settings()


def parameters(values: dict[str, str]) -> Parameters:
    return Parameters({name: [value] for name, value in values.items()})


@given(BODIES)
def test_no_parameters_raise_anything_but_an_answer(values: dict[str, str]) -> None:
    body = parameters(values)
    parsers: list[Any] = [lambda found, parse=parse: parse(found, SETTINGS) for parse in OPERATIONS.values()]
    parsers += [parse_recording, parse_recording_status, parse_modify, parse_conference, parse_participant]
    for parse in parsers:
        try:
            found = parse(body)
        except ApiError as error:
            assert error.status in (400, 409)
            continue
        if attrs.has(type(found)):
            for name, value in attrs.asdict(found).items():
                if value is not None and name in ("url", "action", "status_callback", "hold_url", "music"):
                    assert value.startswith(("http://", "https://"))
                if name.endswith("method"):
                    assert value in ("GET", "POST")


@given(st.text())
def test_a_refer_target_cannot_break_out_of_a_header(text: str) -> None:
    try:
        target = refer_target(text)
    except ApiError:
        return
    assert not set(target) & set(' \t\r\n<>"')
    assert target.lower().startswith(("sip:", "sips:")) or not target.strip("+0123456789*#")


@given(st.text(min_size=1, max_size=100), st.booleans(), st.booleans())
def test_a_room_has_the_name_that_was_asked_for(name: str, muted: bool, record: bool) -> None:
    try:
        document = room_document(name, muted=muted, record=record)
    except ApiError as error:
        assert error.status == 400
        return
    root = etree.fromstring(document)
    room = root.find("Dial/Conference")

    assert room is not None
    assert [item.tag for item in root.iter()] == ["Response", "Dial", "Conference"]
    assert (room.text or "") == name
    assert room.get("muted") == ("true" if muted else "false")
    assert root.find("Dial[@record='true']") is not None or not record


def test_a_room_name_is_not_blank_or_endless() -> None:
    assert room_name("  R&D  ") == "R&D"
    for name in ("", "  ", "a" * 256):
        with pytest.raises(ApiError, match="1 to 255 characters"):
            room_name(name)


@given(st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_the_document_of_a_room_is_one_the_linter_likes(
    muted: bool, beep: bool, start: bool, end: bool, record: bool
) -> None:
    document = room_document(
        "R&D", muted=muted, beep=beep, start_on_enter=start, end_on_exit=end, record=record
    )

    assert lint(document.encode()) == []
