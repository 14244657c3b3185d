"""The document that takes a call into a conference."""

from __future__ import annotations

from typing import Final

from lxml import etree

from voiceengine.api.errors import bad

MAX_NAME: Final = 255


def room_name(text: str) -> str:
    """Check the name of a room that a parameter gives.

    Raises:
        ApiError: it is blank or too long.
    """
    name = text.strip()
    if not name or len(name) > MAX_NAME:
        raise bad(
            f"FriendlyName must be the name of a conference: 1 to {MAX_NAME} characters, not only blanks."
        )
    return name


def room_document(
    name: str,
    *,
    muted: bool = False,
    beep: bool = True,
    start_on_enter: bool = True,
    end_on_exit: bool = False,
    record: bool = False,
) -> str:
    """Make a document that only dials a conference.

    Args:
        name: of the room; may hold any character of XML.
        muted: only listen.
        beep: tell the others by a tone.
        start_on_enter: be a moderator.
        end_on_exit: end the room by leaving it.
        record: record the room, when this participant starts it.

    Raises:
        ApiError: the name holds characters that XML has no way to write.
    """
    response = etree.Element("Response")
    dial = etree.SubElement(response, "Dial")
    if record:
        dial.set("record", "true")
    room = etree.SubElement(dial, "Conference")
    for attribute, value in (
        ("muted", muted),
        ("beep", beep),
        ("startConferenceOnEnter", start_on_enter),
        ("endConferenceOnExit", end_on_exit),
    ):
        room.set(attribute, "true" if value else "false")
    try:
        room.text = name
    except ValueError as error:
        raise bad("FriendlyName holds characters that a document cannot hold.") from error
    return etree.tostring(response, encoding="unicode")
