"""Documents of the demo application. They are real RCML, fetched over HTTP like anybody's."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from xml.sax.saxutils import escape

from klein import Klein
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.static import File

Arguments = Mapping[str, str]

MENU = """\
<Gather action="choice" method="GET" numDigits="1" timeout="5">
  <Say>Welcome to voice engine. Press 1 for music. Press 2 to record a message. \
Press 3 to hear the time. Press 9 to hang up.</Say>
</Gather>
<Say>You did not press a key. Good bye.</Say>
<Hangup/>"""

MUSIC = """\
<Gather action="choice" method="GET" numDigits="1" timeout="1">
  <Play>music.wav</Play>
</Gather>
<Redirect method="GET">menu</Redirect>"""

RECORD = """\
<Say>Please speak after the tone, and press the hash key when you are done.</Say>
<Record action="recorded" method="GET" maxLength="30" timeout="4" finishOnKey="#"/>
<Say>Nothing was recorded.</Say>
<Redirect method="GET">menu</Redirect>"""

RECORDED = """\
<Say>You said.</Say>
<Play>{url}</Play>
<Say>Thank you.</Say>
<Redirect method="GET">menu</Redirect>"""

TIME = """\
<Say>It is {hour} {minute}, coordinated universal time.</Say>
<Redirect method="GET">menu</Redirect>"""

GOODBYE = "<Say>Good bye.</Say><Hangup/>"

UNKNOWN = """\
<Say>Sorry, {digit} is not on the menu.</Say>
<Redirect method="GET">menu</Redirect>"""

CHOICES: Mapping[str, str] = {"1": "music", "2": "record", "3": "time", "9": "goodbye"}


def document(body: str) -> bytes:
    """Wrap verbs into a document."""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Response>\n{body}\n</Response>\n'.encode()


def choice(arguments: Arguments, now: Callable[[], datetime.datetime]) -> str:
    """What a key of the menu leads to."""
    digit = arguments.get("Digits", "")
    page = CHOICES.get(digit)
    if page == "music":
        return MUSIC
    if page == "record":
        return RECORD
    if page == "time":
        moment = now()
        return TIME.format(hour=moment.hour, minute=f"{moment.minute:02d}")
    if page == "goodbye":
        return GOODBYE
    return UNKNOWN.format(digit=escape(digit[:1]) or "that")


def recorded(arguments: Arguments) -> str:
    """Play back what was recorded."""
    url = arguments.get("RecordingUrl", "")
    if not url:
        return GOODBYE if arguments.get("Digits") == "hangup" else RECORD
    return RECORDED.format(url=escape(url))


def _utc() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def demo_resource(music: str, now: Callable[[], datetime.datetime] = _utc) -> IResource:
    """The demo application as a web resource.

    Args:
        music: path of a WAV file that is served as `music.wav`.
        now: the time that is told.
    """
    app = Klein()

    def arguments(request: IRequest) -> Arguments:
        values = request.args or {}
        return {k.decode("utf-8", "replace"): v[0].decode("utf-8", "replace") for k, v in values.items()}

    def reply(request: IRequest, body: str) -> bytes:
        request.setHeader(b"Content-Type", b"text/xml; charset=utf-8")
        return document(body)

    @app.route("/menu", methods=["GET", "POST"])
    def _menu(request: IRequest) -> bytes:
        return reply(request, MENU)

    @app.route("/choice", methods=["GET", "POST"])
    def _choice(request: IRequest) -> bytes:
        return reply(request, choice(arguments(request), now))

    @app.route("/recorded", methods=["GET", "POST"])
    def _recorded(request: IRequest) -> bytes:
        return reply(request, recorded(arguments(request)))

    @app.route("/music.wav")
    def _music(request: IRequest) -> File:
        return File(music, defaultType="audio/wav")

    found: IResource = app.resource()
    return found
