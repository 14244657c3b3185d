"""RTP of a test phone: sends PCMU every 20 ms, keeps what it receives, sends RFC 4733 digits."""

from __future__ import annotations

import secrets
import struct
from collections import deque
from typing import Any

import attrs
import numpy as np
from sound import FRAME, QUIET_FRAME, RATE, Samples, from_ulaw, to_ulaw
from twisted.internet.protocol import DatagramProtocol
from waiting import Changes, now, reactor

EVENTS = {key: number for number, key in enumerate("0123456789*#ABCD")}
TELEPHONE_EVENT = 101
FRAME_SECONDS = 0.02
EVENT_FRAMES = 6
GAP_FRAMES = 4


@attrs.frozen
class Packet:
    """One packet that arrived."""

    at: float
    payload_type: int
    sequence: int
    timestamp: int
    source: int
    payload: bytes


class _Ticker:
    """One timer for all streams; a late tick sends what was missed."""

    def __init__(self) -> None:
        self._streams: dict[Rtp, float] = {}
        self._timer: Any = None

    def add(self, stream: Rtp) -> None:
        self._streams.setdefault(stream, now())
        if self._timer is None:
            self._tick()

    def remove(self, stream: Rtp) -> None:
        self._streams.pop(stream, None)

    def _tick(self) -> None:
        at = now()
        for stream, due in list(self._streams.items()):
            if at - due > 0.5:  # the test process was busy: no burst
                due = at
            while due <= at:
                stream.send_frame()
                due += FRAME_SECONDS
            if stream in self._streams:
                self._streams[stream] = due
        self._timer = reactor.callLater(FRAME_SECONDS / 2, self._tick) if self._streams else None


_ticker = _Ticker()


class Rtp(DatagramProtocol):
    """One stream in both directions."""

    noisy = False

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self.packets: list[Packet] = []
        self.remote: tuple[str, int] | None = None
        self.sent = 0
        self.event_type = TELEPHONE_EVENT
        """Payload type of digits, as the other side wants them."""
        self._audio: deque[bytes] = deque()
        self._events: deque[tuple[int, int, bool] | None] = deque()
        self._sequence = secrets.randbelow(60000)
        self._timestamp = secrets.randbelow(1 << 30)
        self._source = secrets.randbits(32)
        self._event_start = 0
        self._port: Any = reactor.listenUDP(0, self, interface="127.0.0.1")

    @property
    def port(self) -> int:
        """UDP port."""
        return int(self._port.getHost().port)

    # -------------------------------------------------------------- sending

    def start(self, remote: tuple[str, int]) -> None:
        """Send to an address from now on: silence, when nothing else is given."""
        self.remote = remote
        _ticker.add(self)

    def mute(self) -> None:
        """Send nothing at all."""
        _ticker.remove(self)

    def close(self) -> None:
        """Let go of the port."""
        _ticker.remove(self)
        if self._port is not None:
            self._port.stopListening()
            self._port = None

    def say(self, samples: Samples) -> None:
        """Queue audio."""
        for start in range(0, len(samples) - FRAME + 1, FRAME):
            self._audio.append(to_ulaw(samples[start : start + FRAME]))

    def hush(self) -> None:
        """Drop what was queued."""
        self._audio.clear()

    def press(self, digits: str) -> None:
        """Queue keys as telephone events: each 120 ms, 80 ms between."""
        for digit in digits:
            for frame in range(1, EVENT_FRAMES + 1):
                self._events.append((EVENTS[digit], frame, frame == EVENT_FRAMES))
            self._events.extend([None] * GAP_FRAMES)

    def send_frame(self) -> None:
        """Send the next 20 ms."""
        event = self._events.popleft() if self._events else None
        if event is None:
            payload = self._audio.popleft() if self._audio else QUIET_FRAME
            self._send(0, self._timestamp, payload)
        else:
            number, frame, last = event
            if frame == 1:
                self._event_start = self._timestamp
            payload = struct.pack("!BBH", number, (0x80 if last else 0) | 10, frame * FRAME)
            for _ in range(3 if last else 1):
                self._send(self.event_type, self._event_start, payload, marker=frame == 1)
        self._timestamp = (self._timestamp + FRAME) & 0xFFFFFFFF

    def _send(self, kind: int, timestamp: int, payload: bytes, *, marker: bool = False) -> None:
        if self.transport is None or self.remote is None:
            return
        second = (0x80 if marker else 0) | kind
        head = struct.pack("!BBHII", 0x80, second, self._sequence, timestamp, self._source)
        self._sequence = (self._sequence + 1) & 0xFFFF
        self.sent += 1
        self.transport.write(head + payload, self.remote)

    # -------------------------------------------------------------- receiving

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Keep a packet."""
        if len(datagram) < 12 or datagram[0] >> 6 != 2:
            return
        first, second, sequence, timestamp, source = struct.unpack("!BBHII", datagram[:12])
        start = 12 + 4 * (first & 15)
        packet = Packet(now(), second & 127, sequence, timestamp, source, datagram[start:])
        self.packets.append(packet)
        self._changes.tell()

    def connectionRefused(self) -> None:
        """The worker has let go of its port."""

    def heard(self, since: float = 0.0, until: float = float("inf")) -> Samples:
        """What arrived between two moments, each stream placed by its timestamps."""
        parts: list[Samples] = []
        streams: dict[int, list[Packet]] = {}
        for packet in self.packets:
            if packet.payload_type == 0 and since <= packet.at <= until:
                streams.setdefault(packet.source, []).append(packet)
        for packets in streams.values():
            base = packets[0].timestamp
            placed = [((p.timestamp - base) & 0xFFFFFFFF, p) for p in packets]
            placed = [(place, p) for place, p in placed if place < 3600 * RATE]
            out = np.zeros(max(place + len(p.payload) for place, p in placed), np.int16)
            for place, packet in placed:
                out[place : place + len(packet.payload)] = from_ulaw(packet.payload)
            parts.append(out)
        return np.concatenate(parts) if parts else np.zeros(0, np.int16)

    def digits(self) -> str:
        """Keys that were received as telephone events."""
        keys = "0123456789*#ABCD"
        starts: dict[tuple[int, int], str] = {}
        for packet in self.packets:
            if packet.payload_type >= 96 and packet.payload and packet.payload[0] < len(keys):
                starts.setdefault((packet.source, packet.timestamp), keys[packet.payload[0]])
        return "".join(starts.values())
