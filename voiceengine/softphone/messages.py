"""What the phone reads in SIP messages; pjsua2 parses the rest."""

from __future__ import annotations

import re
from typing import Any

import pjsua2 as pj

_HEADER = re.compile(r"^(X-[!-9;-~]{1,64}|Reason)[ \t]*:[ \t]*(.{0,512})", re.IGNORECASE | re.MULTILINE)
_FROM = re.compile(r"^(?:From|f)[ \t]*:[ \t]*(.{0,256})", re.IGNORECASE | re.MULTILINE)
_STATUS = re.compile(r"SIP/2\.0 (?P<code>\d{3}) ?(?P<reason>.{0,128})")
_INVITE_CSEQ = re.compile(r"^CSeq[ \t]*:[ \t]*\d+[ \t]+INVITE", re.IGNORECASE | re.MULTILINE)


def head_of(message: str) -> str:
    """Start line and headers of a SIP message, with plain line ends."""
    return message.split("\r\n\r\n", 1)[0].replace("\r\n", "\n")


def wanted_headers(head: str) -> list[list[str]]:
    """The X- and Reason headers."""
    return [[name, value.strip()] for name, value in _HEADER.findall(head)[:32]]


def caller_of(head: str) -> str:
    """URI of the From header."""
    found = _FROM.search(head)
    text = found[1].strip() if found else ""
    inner = re.search(r"<([^>]*)>", text)
    return inner[1] if inner else text.split(";", 1)[0]


def received(prm: Any) -> str:
    """Head of the message that caused a callback, or empty if none was received."""
    event = prm.e
    body = event.body
    change = body.tsxState
    if event.type != pj.PJSIP_EVENT_TSX_STATE or change.type != pj.PJSIP_EVENT_RX_MSG:
        return ""
    source = change.src
    data = source.rdata
    return head_of(str(data.wholeMsg))


def invite_status(head: str) -> tuple[int, str]:
    """Code and reason phrase of a response to an INVITE; (0, "") for any other message."""
    found = _STATUS.match(head)
    if found is None or not _INVITE_CSEQ.search(head):
        return 0, ""
    return int(found["code"]), found["reason"].strip()
