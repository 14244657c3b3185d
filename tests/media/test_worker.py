"""Legs in real pjsua2 workers: the test is the edge and the phone, SIP and RTP are real."""

from __future__ import annotations

import os
import re
import struct
import wave
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import pytest
import pytest_twisted
from sipmessage import Message, Request, Response
from twisted.internet import protocol, reactor, task
from twisted.internet.defer import Deferred

from media.pool import EndReport, MediaLeg, Pool, PoolConfig, RecordingReport
from media.tones import dominant_frequencies, sine
from media.worker.guard import PjError, check_wav
from voiceengine.sip.digest import Authenticator, NonceFactory, ha1

pytestmark = pytest.mark.loopback
REACTOR: Any = reactor
RATE, FRAME = 8000, 160
Samples = npt.NDArray[np.int16]


# ------------------------------------------------------------------------- sound


def _decode_table() -> Samples:
    code = ~np.arange(256, dtype=np.uint8)
    exponent = ((code >> 4) & 7).astype(np.int32)
    magnitude = ((((code & 15).astype(np.int32) << 3) + 132) << exponent) - 132
    return np.where(code & 128, -magnitude, magnitude).astype(np.int16)


DECODE = _decode_table()
_ORDER = np.argsort(DECODE, kind="stable")
_MIDDLES = (DECODE[_ORDER][1:].astype(np.int32) + DECODE[_ORDER][:-1]) / 2


def to_ulaw(samples: Samples) -> bytes:
    return _ORDER[np.searchsorted(_MIDDLES, samples)].astype(np.uint8).tobytes()


QUIET = to_ulaw(np.zeros(FRAME, np.int16))


def write_wav(path: Path, samples: Samples, rate: int = RATE, width: int = 2, channels: int = 1) -> str:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        data = samples.tobytes() if width == 2 else bytes(len(samples) * width)
        file.writeframes(data * channels)
    return str(path)


def read_wav(path: Path | str) -> Samples:
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getsampwidth(), file.getnchannels()) == (RATE, 2, 1)
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def loud(samples: Samples) -> Samples:
    """The stretch from the first loud sample to the last."""
    found = np.flatnonzero(np.abs(samples.astype(np.int32)) > 1000)
    return samples[found[0] : found[-1] + 1] if len(found) else samples[:0]


def near(samples: Samples, frequency: float) -> bool:
    return abs(dominant_frequencies(samples)[0] - frequency) < 15


class Rtp(protocol.DatagramProtocol):
    """The phone's audio: sends 50 packets a second, keeps what it receives."""

    noisy = False

    def __init__(self) -> None:
        self.handle = REACTOR.listenUDP(0, self, interface="127.0.0.1")
        self.port: int = self.handle.getHost().port
        self.packets: list[tuple[int, int, bytes]] = []
        self.queue: list[tuple[int, int, bytes]] = []
        self.remote: tuple[str, int] | None = None
        self._sequence = 0
        self._timestamp = 0
        self._begin = 0.0
        self._ticker = task.LoopingCall(self._tick)
        self._ticker.clock = REACTOR

    def start(self, port: int) -> None:
        self.remote = ("127.0.0.1", port)
        if not self._ticker.running:
            self._begin = REACTOR.seconds()
            self._ticker.start(0.01)

    def _tick(self) -> None:
        due = int((REACTOR.seconds() - self._begin) / 0.02)
        while self._timestamp < due * FRAME:
            kind, back, payload = self.queue.pop(0) if self.queue else (0, 0, QUIET)
            head = struct.pack("!BBHII", 0x80, kind, self._sequence & 0xFFFF, self._timestamp - back, 7)
            self._sequence += 1
            self._timestamp += FRAME
            if self.transport is not None and self.remote is not None:
                self.transport.write(head + payload, self.remote)

    def say(self, samples: Samples) -> None:
        for start in range(0, len(samples) - FRAME + 1, FRAME):
            self.queue.append((0, 0, to_ulaw(samples[start : start + FRAME])))

    def press(self, digits: str) -> None:
        """RFC 4733: each key 100 ms, 60 ms between."""
        for digit in digits:
            number = "0123456789*#ABCD".index(digit)
            for frame in range(1, 6):
                last = 0x80 if frame == 5 else 0
                payload = struct.pack("!BBH", number, last | 10, frame * FRAME)
                self.queue.append((101, (frame - 1) * FRAME, payload))
            self.queue += [(0, 0, QUIET)] * 3

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if len(datagram) > 12 and datagram[0] == 0x80:
            kind, timestamp = datagram[1] & 127, struct.unpack("!I", datagram[4:8])[0]
            self.packets.append((kind, timestamp, datagram[12:]))

    def connectionRefused(self) -> None:
        """The worker has closed its port."""

    def heard(self) -> Samples:
        audio = [DECODE[np.frombuffer(data, np.uint8)] for kind, _, data in self.packets if kind == 0]
        return np.concatenate(audio) if audio else np.zeros(0, np.int16)

    def keys(self) -> str:
        found: dict[int, str] = {}
        for kind, timestamp, data in self.packets:
            if kind == 101 and data:
                found.setdefault(timestamp, "0123456789*#ABCD"[data[0]])
        return "".join(found.values())

    async def close(self) -> None:
        if self._ticker.running:
            self._ticker.stop()
        await self.handle.stopListening()


# ------------------------------------------------------------------------- SIP


class Edge(protocol.DatagramProtocol):
    """The socket that all SIP of the workers goes to; sorts by Call-ID, drops retransmissions."""

    noisy = False

    def __init__(self) -> None:
        self.handle = REACTOR.listenUDP(0, self, interface="127.0.0.1", maxPacketSize=65536)
        self.port: int = self.handle.getHost().port
        self.inboxes: dict[str, list[Any]] = {}
        self._seen: set[bytes] = set()
        self.count = 0

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if datagram in self._seen or not datagram.strip(b"\r\n\0"):
            return
        self._seen.add(datagram)
        message = Message.parse(datagram)
        self.inboxes.setdefault(message.headers["Call-ID"], []).append((message, addr[1]))

    def send(self, text: bytes, port: int) -> None:
        self.transport.write(text, ("127.0.0.1", port))  # type: ignore[union-attr]


async def until(condition: Callable[[], Any], seconds: float = 4.0) -> Any:
    deadline = REACTOR.seconds() + seconds
    while not (found := condition()):
        assert REACTOR.seconds() < deadline, "it did not happen"
        await task.deferLater(REACTOR, 0.005, lambda: None)
    return found


async def pause(seconds: float) -> None:
    """Long enough for what must not happen."""
    waited: Deferred[None] = Deferred()
    REACTOR.callLater(seconds, waited.callback, None)
    await waited


def text_of(first: str, headers: list[tuple[str, str]], body: str = "") -> bytes:
    lines = [first, *(f"{name}: {value}" for name, value in headers), f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


class Ears:
    """What a leg tells, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def leg_incoming(self) -> None:
        self.events.append(("incoming",))

    def leg_progress(self, code: int, phrase: str, headers: list[list[str]]) -> None:
        self.events.append(("progress", code))

    def leg_media(self, codec: str, held: bool) -> None:
        self.events.append(("media", codec, held))

    def leg_digit(self, digit: str, method: str) -> None:
        self.events.append(("digit", digit, method))

    def leg_playback_done(self, playback: str, error: str) -> None:
        self.events.append(("played", playback, error))

    def leg_recording_done(self, report: RecordingReport) -> None:
        self.events.append(("recorded", report))

    def leg_ended(self, report: EndReport) -> None:
        self.events.append(("ended", report))

    def names(self) -> list[str]:
        return [event[0] for event in self.events]

    async def wait(self, name: str, seconds: float = 4.0) -> Any:
        """The first event of this name."""
        found = await until(lambda: [event for event in self.events if event[0] == name], seconds)
        return found[0]


@attrs.define
class Dialog:
    """One call between the test and a worker."""

    edge: Edge
    rtp: Rtp
    call_id: str
    leg: MediaLeg
    ears: Ears = attrs.Factory(Ears)
    port: int = 0
    local: str = "<sip:alice@test>;tag=phone"
    remote: str = "<sip:1000@test>"
    target: str = ""
    cseq: int = 1
    invite: Request | None = None

    def sdp(self) -> str:
        return (
            "v=0\r\no=- 5 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            f"m=audio {self.rtp.port} RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"
        )

    def request(
        self, method: str, *more: tuple[str, str], cseq: int = 0, body: str = "", refused: bool = False
    ) -> None:
        """Send a request; `refused`: the ACK of a refusal belongs to the INVITE's transaction."""
        self.edge.count += 1
        branch = f"z9hG4bK{self.edge.count}"
        if method in ("INVITE", "CANCEL") or refused:
            branch = f"z9hG4bK-{self.cseq}-{self.call_id.partition('@')[0]}"
        headers = [
            ("Via", f"SIP/2.0/UDP 127.0.0.1:{self.edge.port};branch={branch}"),
            ("Max-Forwards", "70"),
            ("From", self.local),
            ("To", self.remote),
            ("Call-ID", self.call_id),
            ("CSeq", f"{cseq or self.cseq} {method}"),
            ("Contact", f"<sip:alice@127.0.0.1:{self.edge.port}>"),
            *more,
        ]
        if body:
            headers.append(("Content-Type", "application/sdp"))
        target = self.target or f"sip:1000@127.0.0.1:{self.leg.sip_port}"
        self.edge.send(text_of(f"{method} {target} SIP/2.0", headers, body), self.leg.sip_port)

    async def next(self, seconds: float = 4.0) -> Any:
        inbox = self.edge.inboxes.setdefault(self.call_id, [])
        await until(lambda: inbox, seconds)
        return inbox.pop(0)[0]

    async def response(self, code: int) -> Response:
        found = await self.next()
        while isinstance(found, Response) and found.code == 100 != code:
            found = await self.next()
        assert isinstance(found, Response), bytes(found)
        assert found.code == code, bytes(found)
        return found

    async def asked(self, method: str) -> Request:
        found = await self.next()
        assert isinstance(found, Request), bytes(found)
        assert found.method == method
        return found

    def reply(self, request: Request, code: int, *more: tuple[str, str], body: str = "") -> None:
        to = request.headers["To"]
        headers = [
            *(("Via", value) for value in request.headers.getlist("Via")),
            ("From", request.headers["From"]),
            ("To", to if "tag=" in to else f"{to};tag=peer"),
            ("Call-ID", self.call_id),
            ("CSeq", request.headers["CSeq"]),
            ("Contact", f"<sip:peer@127.0.0.1:{self.edge.port}>"),
            *more,
        ]
        if body:
            headers.append(("Content-Type", "application/sdp"))
        self.edge.send(text_of(f"SIP/2.0 {code} Said", headers, body), self.leg.sip_port)

    def nothing_came(self) -> bool:
        return not self.edge.inboxes.get(self.call_id)

    async def ring(self, key: str | None = None) -> None:
        """The INVITE, until the worker rings."""
        name = key if key is not None else self.leg.key.decode()
        more = [("X-Engine-Leg", name)] if name else []
        self.request("INVITE", *more, body=self.sdp())
        self.learn(await self.response(180))
        await self.ears.wait("incoming")

    def learn(self, response: Response) -> None:
        self.remote = response.headers["To"]
        contact = re.search(r"<(sip:[^>]+)>", response.headers.get("Contact") or "")
        if contact:
            self.target = contact[1]
        port = re.search(rb"m=audio (\d+)", response.body or b"")
        if port:
            self.rtp.start(int(port[1]))

    async def up(self) -> None:
        """An inbound call that was answered."""
        await self.ring()
        self.leg.answer(200, "", [("X-Test", "yes")])
        ok = await self.response(200)
        assert ok.headers["X-Test"] == "yes"
        self.learn(ok)
        self.request("ACK")
        await self.ears.wait("media")
        await until(lambda: self.rtp.packets)

    async def move(self) -> None:
        """A re-INVITE with another RTP port of the phone."""
        await self.rtp.close()
        self.rtp = Rtp()
        self.cseq += 1
        self.request("INVITE", body=self.sdp().replace("5 1 IN", "5 2 IN"))
        self.learn(await self.response(200))
        self.request("ACK")

    async def hang_up(self) -> EndReport:
        """The phone hangs up."""
        if "ended" not in self.ears.names():
            self.cseq += 1
            self.request("BYE")
            await self.response(200)
        report: EndReport = (await self.ears.wait("ended"))[1]
        return report


class World:
    """A pool and its edge."""

    def __init__(self, **settings: Any) -> None:
        self.edge = Edge()
        values: dict[str, Any] = {
            "edge_port": self.edge.port,
            "rtp_address": "127.0.0.1",
            "public_address": "",
            "rtp_ports": (36000, 37999),
            "codecs": ["PCMU"],
            "max_legs": 8,
            "spare_workers": 1,
        }
        self.pool = Pool(REACTOR, PoolConfig(**{**values, **settings}))
        self.count = 0
        self.dialogs: list[Dialog] = []

    async def dialog(self, key: str = "") -> Dialog:
        self.count += 1
        number = self.count
        leg = await self.pool.reserve((key or f"leg{number}").encode())
        dialog = Dialog(self.edge, Rtp(), f"call-{number}@test", leg)
        leg.listener = dialog.ears
        self.dialogs.append(dialog)
        return dialog

    async def over(self) -> None:
        """End what a test has left."""
        for dialog in self.dialogs:
            if not dialog.leg.ended:
                dialog.leg.hangup()
                try:
                    await until(lambda dialog=dialog: dialog.leg.ended, 0.5)
                except AssertionError:
                    self.pool.release(dialog.leg)
            await pause(0.02)
            for message, _ in dialog.edge.inboxes.pop(dialog.call_id, []):
                if isinstance(message, Request) and message.method != "ACK":
                    dialog.reply(message, 200)  # unanswered it would keep the slot
            await dialog.rtp.close()
        self.dialogs.clear()

    async def close(self) -> None:
        await self.over()
        await self.pool.stop()
        await self.edge.handle.stopListening()
        await pause(0.1)


@pytest_twisted.async_yield_fixture(scope="module")
async def shared() -> AsyncIterator[World]:
    made = World()
    await made.pool.start()
    yield made
    assert made.pool.deaths == 0, "a worker died in a test of this module"
    await made.close()


@pytest_twisted.async_yield_fixture
async def world(shared: World) -> AsyncIterator[World]:
    yield shared
    await shared.over()


@pytest.fixture
def call(world: World) -> Dialog:
    """An inbound call that is up."""

    async def make() -> Dialog:
        dialog = await world.dialog()
        await dialog.up()
        return dialog

    # an async fixture that fails could not be used again
    done: Deferred[Dialog] = Deferred()
    REACTOR.callLater(0, lambda: Deferred.fromCoroutine(make()).chainDeferred(done))
    made: Dialog = pytest_twisted.blockon(done)
    return made


@pytest.fixture
def tones(tmp_path: Path) -> tuple[str, str]:
    """Files with 440 Hz and 1000 Hz of 0.4 s."""
    return (
        write_wav(tmp_path / "a.wav", sine(440, 0.4)),
        write_wav(tmp_path / "b.wav", sine(1000, 0.4)),
    )


# ------------------------------------------------------------------------- signalling


@pytest_twisted.ensureDeferred
async def test_an_inbound_call_from_the_invite_to_the_bye(world: World) -> None:
    call = await world.dialog()
    await call.up()
    await until(lambda: len(call.rtp.packets) > 10)
    call.cseq += 1
    call.request("BYE", ("Reason", 'Q.850;cause=16;text="bye"'), ("X-Why", "done"))
    await call.response(200)
    report = (await call.ears.wait("ended"))[1]

    assert call.ears.names() == ["incoming", "media", "ended"]
    assert call.ears.events[1] == ("media", "PCMU", False)
    assert (report.code, report.remote, report.cause) == (200, True, 'Q.850;cause=16;text="bye"')
    assert report.headers == [["X-Why", "done"]]
    assert report.stats["codec"] == "PCMU"
    assert report.stats["rx_packets"] > 5
    assert report.stats["tx_packets"] > 5


@pytest_twisted.ensureDeferred
async def test_the_worker_hangs_up(call: Dialog) -> None:
    call.leg.hangup(603, [("Reason", "because"), ("X-A", "b\r\nX-Evil: 1")])
    bye = await call.asked("BYE")
    call.reply(bye, 200)
    report = (await call.ears.wait("ended"))[1]

    assert bye.headers["Reason"] == "because"
    assert bye.headers["X-A"] == "bX-Evil: 1"
    assert not report.remote


@pytest.mark.parametrize(("code", "phrase"), [(486, "Busy Here"), (603, "Decline"), (404, "Nobody")])
@pytest_twisted.ensureDeferred
async def test_a_call_is_refused(world: World, code: int, phrase: str) -> None:
    call = await world.dialog()
    await call.ring()
    call.leg.answer(code, phrase, [("Reason", "no")])
    refusal = await call.response(code)
    report = (await call.ears.wait("ended"))[1]

    assert (refusal.phrase, refusal.headers["Reason"]) == (phrase, "no")
    assert (report.code, report.remote) == (code, False)


@pytest_twisted.ensureDeferred
async def test_a_caller_cancels(world: World) -> None:
    call = await world.dialog()
    await call.ring()
    remote, call.remote = call.remote, "<sip:1000@test>"
    target, call.target = call.target, f"sip:1000@127.0.0.1:{call.leg.sip_port}"
    call.request("CANCEL")
    codes = {(await call.next()).code, (await call.next()).code}
    call.remote, call.target = remote, target
    report = (await call.ears.wait("ended"))[1]

    assert codes == {200, 487}
    assert (report.code, report.remote) == (487, True)


@pytest_twisted.ensureDeferred
async def test_an_invite_without_a_leg_is_refused(world: World) -> None:
    call = await world.dialog()
    call.request("INVITE", body=call.sdp())

    await call.response(403)
    assert call.ears.events == []


@pytest_twisted.ensureDeferred
async def test_a_second_invite_with_the_same_key_leaves_the_first_reachable(
    world: World, call: Dialog, tones: tuple[str, str]
) -> None:
    twin = Dialog(world.edge, Rtp(), "twin@test", call.leg)
    twin.request("INVITE", ("X-Engine-Leg", call.leg.key.decode()), body=twin.sdp())
    twin.learn(await twin.response(403))  # an ACK without the tag of To aborts pjsip; the edge stops those
    twin.request("ACK", refused=True)
    await twin.rtp.close()
    call.leg.play("p1", [tones[0]], 1)

    assert (await call.ears.wait("played"))[1:] == ("p1", "")
    assert "ended" not in call.ears.names()
    call.leg.hangup()
    call.reply(await call.asked("BYE"), 200)
    await call.ears.wait("ended")


@pytest_twisted.ensureDeferred
async def test_no_bye_before_the_ack(world: World) -> None:
    """RFC 3261 section 15."""
    call = await world.dialog()
    await call.ring()
    call.leg.answer(200)
    call.learn(await call.response(200))
    call.leg.hangup()
    await pause(0.3)
    assert call.nothing_came()
    call.request("ACK")
    bye = await call.asked("BYE")
    call.reply(bye, 200)

    report = (await call.ears.wait("ended"))[1]
    assert report.slot_busy == 0


async def dial(world: World, **options: Any) -> tuple[Dialog, Request]:
    call = await world.dialog()
    call.leg.originate(
        "sip:bob@far.example", '"Ann" <sip:+1555@test>', call.call_id, [("X-Own", "1")], **options
    )
    return call, await call.asked("INVITE")


@pytest_twisted.ensureDeferred
async def test_an_outbound_call_answers_a_challenge_and_is_answered(world: World) -> None:
    digest = Authenticator(NonceFactory(b"x" * 16, 60), algorithms=("MD5",))
    call, invite = await dial(world, username="trunk", password="s3cret")
    assert str(invite.uri) == "sip:bob@far.example"
    assert '"Ann" <sip:+1555@test>' in invite.headers["From"]
    assert invite.headers["X-Own"] == "1"
    now = REACTOR.seconds()
    asked = [("Proxy-Authenticate", value) for value in digest.challenge("far", now)]
    call.reply(invite, 407, *asked)
    await call.asked("ACK")
    again = await call.asked("INVITE")
    verdict = digest.verify(
        again.headers["Proxy-Authorization"],
        "INVITE",
        str(again.uri),
        lambda user, realm, algorithm: ha1(user, realm, "s3cret", algorithm),
        now,
        "far",
    )
    assert verdict.ok, verdict.reason
    call.reply(again, 180)
    assert (await call.ears.wait("progress"))[1] == 180
    call.reply(again, 200, body=call.sdp())
    await call.asked("ACK")
    await until(lambda: ("progress", 200) in call.ears.events and "media" in call.ears.names())

    call.leg.hangup()
    call.reply(await call.asked("BYE"), 200)
    report = (await call.ears.wait("ended"))[1]
    assert not report.remote


@pytest.mark.parametrize("code", [404, 486, 503, 302])
@pytest_twisted.ensureDeferred
async def test_an_outbound_call_is_refused(world: World, code: int) -> None:
    call, invite = await dial(world)
    call.reply(invite, code, ("X-Why", "not now"))
    await call.asked("ACK")
    report = (await call.ears.wait("ended"))[1]

    assert (report.code, report.remote) == (code, True)
    assert ["X-Why", "not now"] in report.headers


@pytest_twisted.ensureDeferred
async def test_an_outbound_call_that_rings_is_cancelled(world: World) -> None:
    call, invite = await dial(world)
    call.reply(invite, 180)
    await call.ears.wait("progress")
    call.leg.hangup()
    cancel = await call.asked("CANCEL")
    call.reply(cancel, 200)
    call.reply(invite, 487)
    await call.asked("ACK")
    report = (await call.ears.wait("ended"))[1]

    assert (report.code, report.remote) == (487, False)


@pytest.mark.parametrize("to", ["not a uri", "", "sip:"])
@pytest_twisted.ensureDeferred
async def test_an_outbound_call_to_nowhere_ends_at_once(world: World, to: str) -> None:
    call = await world.dialog()
    call.leg.originate(to, "<sip:a@test>", call.call_id)
    report = (await call.ears.wait("ended"))[1]

    assert report.code == 500
    assert report.cause


# ------------------------------------------------------------------------- playing


@pytest_twisted.ensureDeferred
async def test_files_are_heard_in_order_and_as_often_as_asked(call: Dialog, tones: tuple[str, str]) -> None:
    call.leg.play("p1", list(tones), 2)
    played = await call.ears.wait("played")
    await pause(0.1)
    heard = loud(call.rtp.heard())

    assert played == ("played", "p1", "")
    assert abs(len(heard) / RATE - 1.6) < 0.2
    for place, frequency in ((0.2, 440), (0.6, 1000), (1.0, 440), (1.4, 1000)):
        middle = round(place * len(heard) / 1.6)
        assert near(heard[middle - 800 : middle + 800], frequency), place


@pytest_twisted.ensureDeferred
async def test_a_playback_without_end_goes_on_until_it_is_stopped(
    call: Dialog, tones: tuple[str, str]
) -> None:
    for paths in ([tones[1]], list(tones)):
        call.rtp.packets.clear()
        call.leg.play("p1", paths, 0)
        await until(lambda: len(loud(call.rtp.heard())) > 1.2 * RATE)
        call.leg.stop_playback("p1")
        await pause(0.15)
        call.rtp.packets.clear()
        await until(lambda: len(call.rtp.packets) >= 10)

        assert len(loud(call.rtp.heard())) == 0
    assert "played" not in call.ears.names()


@pytest_twisted.ensureDeferred
async def test_an_empty_playback_is_over_at_once(call: Dialog) -> None:
    call.leg.play("p1", [], 1)

    assert await call.ears.wait("played") == ("played", "p1", "")


@pytest_twisted.ensureDeferred
async def test_a_playback_before_the_answer_begins_with_media(world: World, tones: tuple[str, str]) -> None:
    call = await world.dialog()
    await call.ring()
    call.leg.play("p1", [tones[0]], 1)
    await pause(0.1)
    call.leg.answer(200)
    call.learn(await call.response(200))
    call.request("ACK")
    await call.ears.wait("played")

    assert near(loud(call.rtp.heard()), 440)


@pytest_twisted.ensureDeferred
async def test_a_file_that_vanished_fails_and_the_call_goes_on(call: Dialog, tones: tuple[str, str]) -> None:
    gone = tones[0] + ".gone.wav"
    call.leg.play("p1", [tones[1], gone, tones[1]], 1)
    played = await call.ears.wait("played")

    assert played[1] == "p1"
    assert "gone" in played[2]
    call.ears.events.clear()
    call.leg.play("p2", [tones[1]], 1)
    assert (await call.ears.wait("played"))[1:] == ("p2", "")


@pytest_twisted.ensureDeferred
async def test_a_file_that_vanishes_while_it_plays_is_heard_to_its_end(call: Dialog, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "long.wav", sine(440, 1.5))
    call.leg.play("p1", [path], 1)
    await until(lambda: len(loud(call.rtp.heard())) > 1600)
    os.unlink(path)
    played = await call.ears.wait("played")
    await pause(0.1)

    assert played == ("played", "p1", "")
    assert abs(len(loud(call.rtp.heard())) / RATE - 1.5) < 0.2


@pytest_twisted.ensureDeferred
async def test_a_playback_goes_on_at_another_address(call: Dialog, tmp_path: Path) -> None:
    """A re-INVITE makes a new stream and a new slot in the bridge."""
    path = write_wav(tmp_path / "long.wav", sine(440, 3))
    call.leg.play("p1", [path], 1)
    await until(lambda: len(loud(call.rtp.heard())) > 1600)
    await call.move()
    await until(lambda: len(loud(call.rtp.heard())) > 4000)

    assert near(loud(call.rtp.heard()), 440)
    assert call.ears.names().count("media") == 2


@pytest_twisted.ensureDeferred
async def test_digits_are_sent(call: Dialog) -> None:
    call.leg.send_digits("d1", "1w5#")
    played = await call.ears.wait("played")
    await pause(0.1)

    assert played == ("played", "d1", "")
    assert call.rtp.keys() == "15#"


@pytest_twisted.ensureDeferred
async def test_digits_are_received_once_each(call: Dialog) -> None:
    call.rtp.press("129*0#A")
    await until(lambda: call.ears.names().count("digit") == 7)
    await pause(0.2)

    assert [event for event in call.ears.events if event[0] == "digit"] == [
        ("digit", digit, "rfc4733") for digit in "129*0#A"
    ]


# ------------------------------------------------------------------------- recording


def record(call: Dialog, path: Path | str, **options: Any) -> None:
    values: dict[str, Any] = {"beep": "", "max_seconds": 5.0, "silence_seconds": 3.0, "finish_keys": ""}
    call.leg.record("RE1", str(path), **{**values, **options})


async def recorded(call: Dialog) -> RecordingReport:
    report: RecordingReport = (await call.ears.wait("recorded", 6))[1]
    return report


@pytest_twisted.ensureDeferred
async def test_silence_ends_a_recording(call: Dialog, tmp_path: Path) -> None:
    path = tmp_path / "r.wav"
    record(call, path, silence_seconds=0.6)
    call.rtp.say(sine(700, 0.8))
    report = await recorded(call)
    samples = read_wav(path)

    assert (report.end, report.heard, report.path) == ("silence", True, str(path))
    assert near(loud(samples), 700)
    assert abs(len(loud(samples)) / RATE - 0.8) < 0.15
    assert abs(report.seconds - len(samples) / RATE) < 0.01
    assert abs(report.seconds - 1.4) < 0.4


@pytest_twisted.ensureDeferred
async def test_a_recording_of_nothing_says_so(call: Dialog, tmp_path: Path) -> None:
    record(call, tmp_path / "r.wav", silence_seconds=0.4)
    report = await recorded(call)

    assert (report.end, report.heard) == ("silence", False)
    assert 0.3 < report.seconds < 0.7


@pytest_twisted.ensureDeferred
async def test_the_longest_time_ends_a_recording(call: Dialog, tmp_path: Path) -> None:
    call.rtp.say(sine(700, 2))
    record(call, tmp_path / "r.wav", max_seconds=0.5)
    report = await recorded(call)

    assert report.end == "max-length"
    assert abs(report.seconds - 0.5) < 0.1


@pytest_twisted.ensureDeferred
async def test_a_key_ends_a_recording_and_others_are_told(call: Dialog, tmp_path: Path) -> None:
    record(call, tmp_path / "r.wav", finish_keys="#*")
    await pause(0.2)
    call.rtp.press("1#2")
    report = await recorded(call)
    await until(lambda: call.ears.names().count("digit") == 2)

    assert (report.end, report.digit) == ("key", "#")
    assert [event[1] for event in call.ears.events if event[0] == "digit"] == ["1", "2"]


@pytest_twisted.ensureDeferred
async def test_a_recording_is_stopped(call: Dialog, tmp_path: Path) -> None:
    record(call, tmp_path / "r.wav")
    await pause(0.3)
    call.leg.stop_recording("RE1")
    report = await recorded(call)

    assert report.end == "stopped"
    assert 0.2 < report.seconds < 0.6


@pytest_twisted.ensureDeferred
async def test_a_hangup_ends_a_recording_first(call: Dialog, tmp_path: Path) -> None:
    record(call, tmp_path / "r.wav")
    call.rtp.say(sine(700, 1))
    await pause(0.4)
    await call.hang_up()

    assert call.ears.names()[-2:] == ["recorded", "ended"]
    report = await recorded(call)
    assert (report.end, report.heard) == ("hangup", True)
    assert near(loud(read_wav(report.path)), 700)


@pytest_twisted.ensureDeferred
async def test_a_recording_that_has_just_ended_is_told_before_the_end(call: Dialog, tmp_path: Path) -> None:
    """The caller presses # and hangs up at once: the file is complete only a moment later."""
    record(call, tmp_path / "r.wav")
    await pause(0.3)
    call.leg.stop_recording("RE1")
    await pause(0.02)
    await call.hang_up()
    await pause(0.2)

    assert call.ears.names()[-2:] == ["recorded", "ended"]


@pytest_twisted.ensureDeferred
async def test_both_sides_are_recorded(call: Dialog, tmp_path: Path) -> None:
    one = write_wav(tmp_path / "one.wav", sine(440, 1.0))
    two = write_wav(tmp_path / "two.wav", sine(1000, 1.0))
    call.leg.play("p1", [one], 1)
    record(call, tmp_path / "r.wav", max_seconds=30, silence_seconds=30, both=True)
    await call.ears.wait("played")
    call.rtp.say(sine(2000, 0.6))
    await pause(0.8)
    call.leg.reset()  # another document begins: the recording of the whole call goes on
    call.leg.play("p2", [two], 1)
    await until(lambda: call.ears.names().count("played") == 2)
    await call.hang_up()
    samples = read_wav((await recorded(call)).path)

    thirds = [loud(part) for part in (samples[:7200], samples[8800:14000], samples[-8000:])]
    for part, frequency in zip(thirds, (440, 2000, 1000), strict=True):
        assert near(part, frequency)


@pytest_twisted.ensureDeferred
async def test_a_beep_is_heard_but_not_recorded(call: Dialog, tmp_path: Path) -> None:
    beep = write_wav(tmp_path / "beep.wav", sine(1400, 0.3))
    record(call, tmp_path / "r.wav", beep=beep, silence_seconds=0.5)
    report = await recorded(call)

    assert near(loud(call.rtp.heard()), 1400)
    assert not report.heard
    assert len(loud(read_wav(report.path))) == 0


@pytest_twisted.ensureDeferred
async def test_a_beep_that_cannot_be_played_does_not_prevent_a_recording(
    call: Dialog, tmp_path: Path
) -> None:
    record(call, tmp_path / "r.wav", beep=str(tmp_path / "none.wav"), silence_seconds=0.3)

    assert (await recorded(call)).end == "silence"


@pytest_twisted.ensureDeferred
async def test_a_change_of_media_during_the_beep_does_not_prevent_a_recording(
    call: Dialog, tmp_path: Path
) -> None:
    beep = write_wav(tmp_path / "beep.wav", sine(1400, 1.0))
    record(call, tmp_path / "r.wav", beep=beep, max_seconds=0.5)
    await until(lambda: len(loud(call.rtp.heard())) > 1600)
    await call.move()
    report = await recorded(call)

    assert report.end == "max-length"


@pytest.mark.parametrize("name", ["none/r.wav", "r.mp3"])
@pytest_twisted.ensureDeferred
async def test_a_recording_that_cannot_be_written_fails(call: Dialog, tmp_path: Path, name: str) -> None:
    record(call, tmp_path / name)
    report = await recorded(call)

    assert (report.end, report.seconds, report.heard) == ("failed", 0.0, False)
    assert "ended" not in call.ears.names()


@pytest_twisted.ensureDeferred
async def test_another_document_stops_what_plays_and_records(
    call: Dialog, tones: tuple[str, str], tmp_path: Path
) -> None:
    call.leg.play("p1", [tones[0]], 0)
    record(call, tmp_path / "r.wav")
    await pause(0.3)
    call.leg.reset()
    report = await recorded(call)
    await pause(0.1)
    call.rtp.packets.clear()
    await until(lambda: len(call.rtp.packets) >= 10)

    assert report.end == "stopped"
    assert len(loud(call.rtp.heard())) == 0
    assert "played" not in call.ears.names()


# ------------------------------------------------------------------------- guards


@pytest.mark.parametrize(
    ("rate", "width", "channels", "seconds", "reason"),
    [
        (11025, 2, 1, 1, "rate"),
        (22050, 2, 1, 1, ""),
        (96000, 2, 1, 1, "rate"),
        (4000, 2, 1, 1, "rate"),
        (8000, 1, 1, 1, "16-bit"),
        (8000, 3, 1, 1, "16-bit"),
        (8000, 2, 3, 1, "stereo"),
        (8000, 2, 2, 1, ""),
        (8000, 2, 1, 0.03, "shorter"),
        (8000, 2, 1, 0, "shorter"),
        (8000, 2, 1, 0.04, ""),
    ],
)
def test_only_files_that_pjsua2_survives_are_played(
    tmp_path: Path, rate: int, width: int, channels: int, seconds: float, reason: str
) -> None:
    path = write_wav(tmp_path / "a.wav", np.zeros(round(seconds * rate), np.int16), rate, width, channels)

    if not reason:
        check_wav(path)
        return
    with pytest.raises(PjError, match=reason):
        check_wav(path)


@pytest.mark.parametrize("data", [b"", b"RIFF", b"RIFF\0\0\0\0WAVE", b"x" * 4000, b"ID3\x04" + b"\0" * 999])
def test_what_is_no_wav_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(data)

    with pytest.raises(PjError):
        check_wav(str(path))


@pytest.mark.parametrize("path", ["", "/none/a.wav", "/tmp"])
def test_a_path_that_cannot_be_read_is_refused(path: str) -> None:
    with pytest.raises(PjError):
        check_wav(path)
