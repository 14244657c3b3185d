"""The error dictionary: what each code means, why it comes and what helps, as pages for people."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

import attrs
from twisted.web.server import Request

from voiceengine.api.deps import ApiDeps
from voiceengine.api.errors import not_found
from voiceengine.api.routing import Reply
from voiceengine.messages.requests import ERRORS, MAX_BODY

PAGES: Final = "/restcomm/errors"
"""Where the pages are served."""

_PAGE = re.compile(r"([0-9]{1,6})(?:\.html)?")


@attrs.frozen
class Entry:
    """One code."""

    title: str
    cause: str
    remedy: str


def _value(what: str, allowed: str) -> Entry:
    return Entry(
        f"{what} cannot be used",
        "The document gives a value that is not allowed here.",
        f"Allowed: {allowed}. Until then the default of the attribute is taken.",
    )


_METHOD = "GET or POST"
_REACH = "Ask the URL from the machine of the engine (`curl`), and see the request of this notification."

NOTIFICATIONS: Final[Mapping[int, Entry]] = {
    11001: Entry(
        "Not allowed or not available here",
        "A verb, a feature or a destination is not available: the verb is not supported in this place, the "
        "account may not do that, or the client that was called is not registered.",
        "The message says which. Use another verb, have the account activated, or let the client register.",
    ),
    11002: Entry(
        "Number of another system",
        "A client dialed a number that is not one of this engine.",
        "Create the number, or configure an outbound proxy for outside numbers.",
    ),
    11004: Entry(
        "No outbound proxy",
        "A client dialed an outside number, and no outbound proxy is configured.",
        "Set sip.outbound_proxy.uri to the SIP URI of your provider.",
    ),
    11005: Entry(
        "Call or message refused",
        "Nobody was found for what was dialed, or the account is not active.",
        "Check the number, the client and the status of the account.",
    ),
    11007: Entry(
        "Number without application",
        "The number exists, but has neither a URL nor an application with one.",
        "Give the number a VoiceUrl or a VoiceApplicationSid.",
    ),
    11008: Entry(
        "Destination cannot be reached",
        "A noun of Dial, the target of Refer or a message cannot be sent anywhere: the client is not "
        "registered, there is no outbound proxy, or it is neither a number nor a SIP URI.",
        "Check the destination and the outbound proxy.",
    ),
    11100: Entry(
        "URL cannot be used",
        "A URL is malformed, or is not an http or https URL; or an address of Email is none.",
        "Give an absolute http or https URL, or one relative to the document; in Email: name@domain.",
    ),
    11200: Entry(
        "Unexpected answer of the application",
        "The application answered with a status that is neither 200 nor 404.",
        "See the log of the application for the request of this notification.",
    ),
    11205: Entry(
        "Application not reached",
        "The connection failed, or nothing answered in time; likewise of a mail that was not delivered.",
        _REACH,
    ),
    11206: Entry(
        "Not an HTTP answer",
        "What answered at the URL of the application does not speak HTTP.",
        _REACH,
    ),
    12003: Entry(
        "No usable SMS URL",
        "A message came to a number that has no application for messages.",
        "Give the number an SmsUrl or an SmsApplicationSid.",
    ),
    12100: Entry(
        "Document cannot be read",
        "The document is no well-formed XML with a Response element, or is too large.",
        "Run `voiceengine lint` on it; the message names line and column.",
    ),
    12200: Entry(
        "Attribute cannot be used",
        "An attribute has a value that is not allowed, or there are too many nouns or hints.",
        "The message names verb, attribute and what is allowed; the attribute was left out.",
    ),
    12300: Entry(
        "Content type cannot be used",
        "The application answered with a content type that is neither a document, nor audio, nor text.",
        "Send documents as text/xml or application/xml and audio as audio/wav or audio/mpeg.",
    ),
    12400: Entry(
        "Internal failure",
        "The part of the engine that carried the audio of the call failed; the call was ended.",
        "See the log of the engine at that time; report it when it comes again.",
    ),
    13210: _value("The method of Dial, of a noun or of a status callback", _METHOD),
    13212: _value("timeout of Dial or of a noun", "seconds, 1 to 600"),
    13214: Entry(
        "callerId of Dial cannot be used",
        "callerId is neither a phone number nor the name of a client.",
        "Give a number in E.164 form. Of a warning: the caller was shown instead; of an error: no call.",
    ),
    13216: _value("timeLimit of Dial", "seconds, from 1"),
    13233: Entry(
        "Audio or music cannot be obtained",
        "An audio file could not be fetched or decoded, or waitUrl of Conference is no URL.",
        "Check that the URL answers with WAV or MP3. " + _REACH,
    ),
    13234: _value("waitMethod of Conference", _METHOD),
    13310: _value("finishOnKey of Gather", "the keys 0 to 9, * and #, or nothing"),
    13313: _value("timeout of Gather", "seconds, from 1"),
    13314: _value("numDigits of Gather", "a whole number from 1"),
    13315: _value("startInputKey of Gather", "the keys 0 to 9, * and #"),
    13321: _value("voice of Say inside Gather", "man or woman"),
    13322: _value("loop of Say inside Gather", "a whole number from 0"),
    13325: Entry(
        "URL of Play inside Gather cannot be used",
        "The text of Play is no http or https URL; the call was ended.",
        "Give an absolute URL, or one relative to the document.",
    ),
    13410: _value("loop of Play", "a whole number from 0"),
    13510: _value("loop of Say", "a whole number from 0"),
    13511: _value("voice of Say", "man or woman"),
    13610: _value("The method of Record", _METHOD),
    13612: _value("timeout, maxLength or media of Record", "seconds from 1; media: audio"),
    13613: _value("finishOnKey of Record", "the keys 0 to 9, * and #"),
    13710: _value("The method of Redirect", _METHOD),
    13910: _value("length of Pause", "seconds, from 0"),
    14101: Entry(
        "Recipient of a message cannot be used",
        "`to` of Sms is neither a number nor a client.",
        "Give a number in E.164 form (+15551234567), a short code or client:NAME.",
    ),
    14102: Entry(
        "Sender of a message cannot be used",
        "`from` of Sms is no number or name that may be shown as the sender.",
        "Give a number in E.164 form, a short code or the name of a client.",
    ),
    14103: Entry(
        "Body of a message cannot be used",
        "The message has no text, or too much of it.",
        f"Write the text inside the verb; it may have {MAX_BODY} characters.",
    ),
    14104: _value("The method of Gather or Sms", _METHOD),
    14110: Entry(
        "Verb not allowed in a reply to a message",
        "The document that answers a message contains something that is no verb for messages.",
        "Use Sms, Email and Redirect there; the element was passed over.",
    ),
    21402: Entry(
        "Application not found",
        "The application answered 404.",
        "Check the URL of the number, client or application.",
    ),
}
"""Codes of notifications. The table of docs/reference/applications.md has the same."""

_DELIVERY = Entry(
    "",
    "A text message was not delivered; this is its error_code.",
    "See the record of the message and the log of the engine; check the recipient and the outbound proxy.",
)

ENTRIES: Final[Mapping[int, Entry]] = {
    **NOTIFICATIONS,
    **{code: attrs.evolve(_DELIVERY, title=title) for code, title in ERRORS.items()},
}
"""Everything that has a page."""

_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.5rem; }}
h2 {{ font-size: 1.1rem; }}
table {{ border-collapse: collapse; }}
td {{ border-top: 1px solid #ccc; padding: .3rem 1rem .3rem 0; vertical-align: top; }}
</style>
</head>
<body>
"""


def _html(title: str, body: str) -> bytes:
    return f"{_HEAD.format(title=escape(title))}{body}</body>\n</html>\n".encode()


def page(code: int, base: str) -> bytes:
    """The page of a code; `base` is the URL of all pages.

    Raises:
        ApiError: 404.
    """
    entry = ENTRIES.get(code)
    if entry is None:
        raise not_found("error code")
    title = f"Error {code}: {entry.title}"
    body = (
        f"<h1>{escape(title)}</h1>\n"
        f"<h2>What happened</h2>\n<p>{escape(entry.cause)}</p>\n"
        f"<h2>What to do</h2>\n<p>{escape(entry.remedy)}</p>\n"
        f'<p><a href="{escape(base)}/">All codes</a></p>\n'
    )
    return _html(title, body)


def index(base: str) -> bytes:
    """The page with all codes; `base` is the URL of all pages."""
    rows = "".join(
        f'<tr><td><a href="{escape(base)}/{code}.html">{code}</a></td><td>{escape(entry.title)}</td></tr>\n'
        for code, entry in sorted(ENTRIES.items())
    )
    return _html("Error dictionary", f"<h1>Error dictionary</h1>\n<table>\n{rows}</table>\n")


async def error_page(deps: ApiDeps, segments: Sequence[str]) -> Reply:
    """Deliver a page.

    Args:
        deps: the base of URLs.
        segments: of the path below `/restcomm/errors`: nothing, or `12100.html`.

    Raises:
        ApiError: 404.
    """
    base = deps.public_base() + PAGES
    if not segments:
        return Reply(deliver=lambda request: _deliver(index(base), request))
    match = _PAGE.fullmatch(segments[0])
    if len(segments) != 1 or match is None:
        raise not_found("page")
    found = page(int(match[1]), base)
    return Reply(deliver=lambda request: _deliver(found, request))


def _deliver(body: bytes, request: Request) -> None:
    request.setHeader("Content-Type", "text/html; charset=utf-8")
    request.setHeader("Content-Length", str(len(body)))
    request.setHeader("Cache-Control", "max-age=3600")
    request.setHeader("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
    request.setHeader("X-Content-Type-Options", "nosniff")
    request.write(body)
    request.finish()
