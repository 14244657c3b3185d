"""What tests of text messages have in common: a carrier, numbers whose application is the test, records."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable
from typing import Any

from harness import EngineProcess, Rest
from sipphone import Phone, _Udp
from siptext import Message, new_branch, reply_to
from waiting import eventually, reactor
from webapp import Reply, Seen
from world import World, element

PASSWORD = "RestComm1234"
PATIENT = 8.0
"""Seconds that the engine gets where its speed is not what is tested."""
CARRIER = "127.0.0.2"
"""Where the carrier is; its requests are those of a trunk, other than those of the phones at 127.0.0.1."""
REALM, USER, SECRET = "carrier.example", "trunkuser", "trunk-secret"
_numbers = itertools.count(1)

REPORT = """<?xml version="1.0" encoding="UTF-8"?>
<imdn xmlns="urn:ietf:params:xml:ns:imdn">
 <message-id>{sid}</message-id><datetime>2026-01-01T00:00:00Z</datetime>
 <delivery-notification><status><{status}/></status></delivery-notification>
</imdn>"""


def user_of(uri: str) -> str:
    """User part of a URI or of a From or To."""
    found = re.search(r"sip:([^@>]+)@", uri)
    return found[1] if found else ""


def outside() -> str:
    """A number of the phone network that no other test uses."""
    return f"+1777{next(_numbers):07d}"


class Carrier(Phone):
    """The way to the phone network: answers as the tests say for each number, 200 by default."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 9), "carrier")
        self.codes: dict[str, list[int]] = {}
        """Number -> answers, one after the other, the last one for ever; 0: none."""
        self.asking: set[str] = set()
        """Numbers for which it asks for the password."""
        self.unproved: list[Message] = []
        """Messages that it has challenged."""

    async def open(self) -> Carrier:
        """Open the socket."""
        self._link = _Udp(self._received)
        self._socket = reactor.listenUDP(0, self._link, interface=CARRIER, maxPacketSize=65536)
        self.port = self._socket.getHost().port
        return self

    @property
    def settings(self) -> tuple[str, ...]:
        """Settings of an engine that uses it."""
        return (
            f"sip.outbound_proxy.uri=sip:{CARRIER}:{self.port}",
            f"sip.outbound_proxy.username={USER}",
            f"sip.outbound_proxy.password={SECRET}",
            f'sip.trunks=["{CARRIER}"]',
        )

    @property
    def address(self) -> str:
        """The From of its requests, without a tag."""
        return f"<sip:{self.user}@{CARRIER}:{self.port}>"

    def via(self, branch: str) -> str:
        """A Via."""
        return f"SIP/2.0/UDP {CARRIER}:{self.port};rport;branch={branch}"

    def _text(self, request: Message) -> None:
        number = user_of(request.uri)
        given = request.get("Proxy-Authorization")
        if number in self.asking and not (given and self._proves(given, request.uri)):
            self.unproved.append(request)
            challenge = f'Digest realm="{REALM}", nonce="n{new_branch()}", algorithm=MD5, qop="auth"'
            self.send(reply_to(request, 407, tag="c", headers=[("Proxy-Authenticate", challenge)]))
            return
        self.text_codes = self.codes.setdefault(number, [200])
        super()._text(request)

    def _proves(self, header: str, uri: str) -> bool:
        given = {k: v.strip('"') for k, v in re.findall(r'(\w+)=("[^"]*"|[^,\s]+)', header)}

        def md5(*parts: str) -> str:
            return hashlib.md5(":".join(parts).encode(), usedforsecurity=False).hexdigest()

        middle = (given["nonce"], given["nc"], given["cnonce"], given["qop"])
        expected = md5(md5(USER, REALM, SECRET), *middle, md5("MESSAGE", uri))
        return given["uri"] == uri and given["response"] == expected

    def got(self, number: str) -> list[Message]:
        """Messages to a number so far."""
        return [text for text in self.texts if user_of(text.uri) == number]

    async def to(self, number: str, count: int = 1, within: float = PATIENT) -> Message:
        """The n-th message to a number."""
        await self.changes.until(
            lambda: len(self.got(number)) >= count, within, lambda: f"message {count} to {number}"
        )
        return self.got(number)[count - 1]

    def answer(self, number: str, code: int) -> None:
        """Answer the latest message to a number that got no answer, and its repetitions."""
        request = self.got(number)[-1]
        self._text_answers[request.branch] = code
        self.send(reply_to(request, code, tag="late"))

    async def report(self, sid: str, status: str) -> Message:
        """Tell what became of a message; returns the answer."""
        xml = REPORT.format(sid=sid, status=status)
        return await self.send_text("reports", xml, content_type="message/imdn+xml")


_carriers: dict[int, Carrier] = {}


def start_with_carrier(
    engines: Callable[..., EngineProcess], carrier: Carrier, *settings: str
) -> EngineProcess:
    """An engine that sends to a carrier."""
    engine = engines("media.spare_workers=1", *carrier.settings, *settings)
    carrier.engine = engine.address()
    _carriers[engine.pid] = carrier
    return engine


def carrier_of(world: World) -> Carrier:
    """The carrier of the engine."""
    return _carriers[world.engine.pid]


# ------------------------------------------------------------------ documents and numbers


def sms(text: str, **attributes: object) -> str:
    """An Sms."""
    return element("Sms", text, **attributes)


async def sms_number(world: World, *replies: Reply | str, name: str = "sms", **settings: str) -> str:
    """Create a number whose SmsUrl answers so; returns the number."""
    return await world.number(
        "<Hangup/>", name=f"{name}-voice", SmsUrl=world.script(name, *replies), **settings
    )


# ------------------------------------------------------------------ records


async def rows(world: World, rest: Rest | None = None, **filters: str) -> list[dict[str, Any]]:
    """Records of messages, newest first."""
    reply = await (rest or world.rest).get("SMS/Messages.json", **filters)
    assert reply.status == 200, reply.body
    found: list[dict[str, Any]] = reply.json["messages"]
    return found


async def row(world: World, sid: str, rest: Rest | None = None) -> dict[str, Any]:
    """The record of a message."""
    reply = await (rest or world.rest).get(f"SMS/Messages/{sid}.json")
    assert reply.status == 200, reply.body
    found: dict[str, Any] = reply.json
    return found


async def reaches(world: World, sid: str, status: str, rest: Rest | None = None) -> dict[str, Any]:
    """The record of a message, once it has a status."""
    return await eventually(
        lambda: row(world, sid, rest), lambda found: found["status"] == status, PATIENT, f"{sid} is {status}"
    )


async def the_row(world: World, status: str, **filters: str) -> dict[str, Any]:
    """The only record that the filters find, once it has a status."""
    found = await eventually(
        lambda: rows(world, **filters),
        lambda some: [one["status"] for one in some] == [status],
        PATIENT,
        f"one message {filters} that is {status}",
    )
    return found[0]


async def send(world: World, rest: Rest | None = None, **form: str) -> dict[str, Any]:
    """Send a message over REST; `from_` is From."""
    form["From"] = form.pop("from_", "+15550100")
    reply = await (rest or world.rest).post("SMS/Messages.json", **form)
    assert reply.status == 200, reply.body
    found: dict[str, Any] = reply.json
    return found


async def told(world: World, count: int, name: str = "status") -> list[Seen]:
    """The status callbacks, once there are so many."""
    await world.asked(name, count, PATIENT)
    return list(world.app.requests(world.path(name)))


async def notice(world: World, code: int, text: str = "", **filters: str) -> dict[str, Any]:
    """The newest notification with a code whose sentence holds a text."""

    async def ask() -> list[dict[str, Any]]:
        found = await world.rest.notifications(ErrorCode=str(code), **filters)
        return [one for one in found if text in one["message_text"]]

    found = await eventually(ask, bool, PATIENT, f"notification {code} {text!r} {filters}")
    return found[0]
