"""What tests of media workers share: a phone, the edge's socket, and workers to talk to."""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from sipmessage import Message, Request, Response
from twisted.internet import protocol, reactor, task
from twisted.internet.defer import Deferred

from media.legs import EndReport, MediaLeg, RecordingReport
from media.link import WorkerLink
from media.pool import Pool, PoolConfig
from media.protocol import SetRoom, WorkerConfig
from media.tones import dominant_frequencies, sine

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


TONES = (440, 700, 1000, 1400, 1900, 2500)
"""Tones of the tests, Hz: far enough apart to be told from each other in a mix."""


def tones_in(samples: Samples) -> set[int]:
    """Which of the tones there are; nothing in silence."""
    if not len(samples) or np.max(np.abs(samples.astype(np.int32))) < 1000:
        return set()
    found = dominant_frequencies(samples, count=6)
    return {tone for tone in TONES if any(abs(f - tone) < 15 for f in found)}


class Rtp(protocol.DatagramProtocol):
    """The phone's audio: sends 50 packets a second, keeps what it receives."""

    noisy = False

    def __init__(self) -> None:
        self.handle = REACTOR.listenUDP(0, self, interface="127.0.0.1")
        self.port: int = self.handle.getHost().port
        self.packets: list[tuple[int, int, bytes]] = []
        self.queue: list[tuple[int, int, bytes]] = []
        self.remote: tuple[str, int] | None = None
        self.said: list[float] = []
        """When each frame that was to be said was sent."""
        self.arrivals: list[tuple[float, bytes]] = []
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
            if self.queue:
                self.said.append(REACTOR.seconds())
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
            if kind == 0:
                self.arrivals.append((REACTOR.seconds(), datagram[12:]))

    def connectionRefused(self) -> None:
        """The worker has closed its port."""

    def onset(self) -> float:
        """When the first loud frame arrived; 0 when none did."""
        for when, payload in self.arrivals:
            if np.max(np.abs(DECODE[np.frombuffer(payload, np.uint8)].astype(np.int32))) > 1000:
                return when
        return 0.0

    async def next_heard(self, frames: int = 15) -> Samples:
        """What is heard from now on."""
        self.packets.clear()
        await until(lambda: len(self.packets) >= frames)
        return self.heard()

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

    def leg_media(self, codec: str, held: bool, early: bool = False) -> None:
        self.events.append(("media", codec, held))

    def leg_digit(self, digit: str, method: str) -> None:
        self.events.append(("digit", digit, method))

    def leg_playback_done(self, playback: str, error: str) -> None:
        self.events.append(("played", playback, error))

    def leg_recording_done(self, report: RecordingReport) -> None:
        self.events.append(("recorded", report))

    def leg_reinvited(self, held: bool, code: int) -> None:
        self.events.append(("reinvited", held, code))

    def leg_referred(self, code: int, notify_code: int, final: bool) -> None:
        self.events.append(("referred", code, notify_code, final))

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

    async def hear(self, *frequencies: float) -> None:
        """Exactly these tones are heard, soon."""

        async def now() -> bool:
            return tones_in(await self.rtp.next_heard()) == {round(f) for f in frequencies}

        deadline = REACTOR.seconds() + 4
        while not await now():
            found = tones_in(self.rtp.heard())
            assert REACTOR.seconds() < deadline, f"{found} instead of {frequencies} are heard"

    def request(
        self,
        method: str,
        *more: tuple[str, str],
        cseq: int = 0,
        body: str = "",
        text: str = "",
        refused: bool = False,
    ) -> None:
        """Send a request; `refused`: the ACK of a refusal belongs to the INVITE's transaction.

        `body` is an SDP, `text` a body whose Content-Type is in `more`.
        """
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
        self.edge.send(text_of(f"{method} {target} SIP/2.0", headers, body or text), self.leg.sip_port)

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

    async def down(self) -> None:
        """The worker's BYE."""
        self.leg.hangup()
        self.reply(await self.asked("BYE"), 200)
        await self.ears.wait("ended")

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


def record(call: Dialog, path: Path | str, **options: Any) -> None:
    values: dict[str, Any] = {"beep": "", "max_seconds": 5.0, "silence_seconds": 3.0, "finish_keys": ""}
    call.leg.record("RE1", str(path), **{**values, **options})


async def recorded(call: Dialog) -> RecordingReport:
    report: RecordingReport = (await call.ears.wait("recorded", 6))[1]
    return report


async def dial(world: World, **options: Any) -> tuple[Dialog, Request]:
    call = await world.dialog()
    call.leg.originate(
        "sip:bob@far.example", '"Ann" <sip:+1555@test>', call.call_id, [("X-Own", "1")], **options
    )
    return call, await call.asked("INVITE")


# ------------------------------------------------------------------------- workers without a pool

_CHILD = """
import json, sys
from media.protocol import WorkerConfig
from media.worker.main import run
run(int(sys.argv[1]), WorkerConfig(**json.loads(sys.argv[2])))
"""


class Lone:
    """A worker process that a test talks to directly; tells what it says."""

    def __init__(self, edge_port: int, number: int) -> None:
        self.legs: dict[bytes, MediaLeg] = {}
        self.pid = self.sip_port = 0
        self.closed: list[tuple[bytes, int, int, int]] = []
        """Links that were closed: room, frames received, lost, concealed."""
        self.failures: list[str] = []
        self.lost = False
        config = WorkerConfig(
            edge_port=edge_port,
            rtp_address="127.0.0.1",
            public_address="",
            rtp_low=38000 + 100 * number,
            rtp_count=100,
            codecs=["PCMU"],
            vad=False,
            inband_digits=False,
            capacity=4,
        )
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        arguments = [sys.executable, "-c", _CHILD, str(theirs.fileno()), json.dumps(attrs.asdict(config))]
        root = Path(__file__).parents[2]
        with theirs:
            self.process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                cwd=root,
            )
        ours.setblocking(False)
        self.link: WorkerLink | None = WorkerLink(self._lost, self)
        with ours:
            REACTOR.adoptStreamConnection(ours.fileno(), ours.family, self.link.as_factory())

    def _lost(self) -> None:
        self.lost = True
        self.link = None

    def tell(self, command: Any, **arguments: Any) -> None:
        assert self.link is not None, "the worker died"
        self.link.tell(command, **arguments)

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    # what the worker tells

    def _ears(self, key: bytes) -> Any:
        return self.legs[key].listener if key in self.legs else Ears()

    def ready(self, pid: int, sip_port: int) -> None:
        self.pid, self.sip_port = pid, sip_port

    def incoming(self, key: bytes) -> None:
        self._ears(key).leg_incoming()

    def progress(self, key: bytes, code: int, phrase: str, headers: list[list[str]]) -> None:
        self._ears(key).leg_progress(code, phrase, headers)

    def media(self, key: bytes, codec: str, held: bool, early: bool) -> None:
        self._ears(key).leg_media(codec, held, early)

    def digit(self, key: bytes, digit: str, method: str) -> None:
        self._ears(key).leg_digit(digit, method)

    def playback_done(self, key: bytes, playback: str, error: str) -> None:
        self._ears(key).leg_playback_done(playback, error)

    def recording_done(self, key: bytes, report: RecordingReport) -> None:
        self._ears(key).leg_recording_done(report)

    def reinvited(self, key: bytes, held: bool, code: int) -> None:
        self._ears(key).leg_reinvited(held, code)

    def referred(self, key: bytes, code: int, notify_code: int, final: bool) -> None:
        self._ears(key).leg_referred(code, notify_code, final)

    def link_closed(self, room: bytes, received: int, lost: int, concealed: int) -> None:
        self.closed.append((room, received, lost, concealed))

    def ended(self, key: bytes, report: EndReport) -> None:
        leg = self.legs.pop(key, None)
        if leg is not None:
            leg.ended = True
            leg.listener.leg_ended(report)  # type: ignore[union-attr]

    def leg_ended(self, leg: MediaLeg, report: EndReport) -> None:
        self.ended(leg.key, report)

    def failed(self, key: bytes, command: str, error: str) -> None:
        self.failures.append(f"{command}: {error}")


class Crew:
    """Workers, their edge and calls in them; the test says which worker takes a call."""

    def __init__(self, workers: int) -> None:
        self.edge = Edge()
        self.workers = [Lone(self.edge.port, number) for number in range(workers)]
        self.count = 0
        self.dialogs: list[Dialog] = []
        self.rooms: set[tuple[int, str]] = set()

    async def ready(self) -> None:
        for worker in self.workers:
            await until(lambda worker=worker: worker.sip_port, 10)

    def dialog(self, worker: int = 0) -> Dialog:
        """A call that is still to be made."""
        self.count += 1
        holder = self.workers[worker]
        leg = MediaLeg(holder, holder, f"leg{self.count}".encode())
        holder.legs[leg.key] = leg
        dialog = Dialog(self.edge, Rtp(), f"crew-{self.count}@test", leg)
        leg.listener = dialog.ears
        self.dialogs.append(dialog)
        return dialog

    async def call(self, worker: int = 0) -> Dialog:
        """An inbound call that is up."""
        dialog = self.dialog(worker)
        await dialog.up()
        return dialog

    def room(
        self,
        name: str,
        *members: Dialog | tuple[Dialog, bool, bool],
        worker: int = 0,
        link: tuple[str, str] | None = None,
    ) -> None:
        """Say who is in a room: a call, or a call and whether it speaks and hears."""
        self.rooms.add((worker, name))
        full = [one if isinstance(one, tuple) else (one, True, True) for one in members]
        self.workers[worker].tell(
            SetRoom,
            room=name.encode(),
            members=[[dialog.leg.key.decode(), speak, hear] for dialog, speak, hear in full],
            link=list(link) if link else None,
        )

    async def over(self) -> None:
        """End what a test has left."""
        for worker, name in self.rooms:
            if not self.workers[worker].lost:
                self.room(name, worker=worker)
                self.rooms = self.rooms - {(worker, name)}
        for dialog in self.dialogs:
            if not dialog.leg.ended:
                dialog.leg.hangup()
        for dialog in self.dialogs:
            try:
                await until(lambda dialog=dialog: dialog.leg.ended, 0.5)
            except AssertionError:
                pass
            await pause(0.02)
            for message, _ in dialog.edge.inboxes.pop(dialog.call_id, []):
                if isinstance(message, Request) and message.method != "ACK":
                    dialog.reply(message, 200)  # unanswered it would keep the slot
            await dialog.rtp.close()
        self.dialogs.clear()

    async def close(self) -> None:
        await self.over()
        for worker in self.workers:
            if worker.link is not None:
                worker.link.close()
        await self.edge.handle.stopListening()
        await until(lambda: all(worker.process.poll() is not None for worker in self.workers), 5)


def say(dialog: Dialog, frequency: float, seconds: float = 8.0) -> None:
    """Let the phone say a tone, from now on."""
    dialog.rtp.queue.clear()
    dialog.rtp.say(sine(frequency, seconds, level_dbfs=-14))
