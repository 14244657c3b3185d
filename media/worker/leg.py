"""One leg in a worker: a pjsua2 call and the audio around it."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable
from typing import Any, Protocol

import attrs
import pjsua2 as pj

from media import protocol
from media.worker.digits import DetectorPort
from media.worker.guard import PjError, Trash, checked, connect, disarm, disconnect, headers_of
from media.worker.playback import DigitSender, Playback
from media.worker.recording import Recording

_HEADER = re.compile(r"^(X-[!-9;-~]{1,64}|Reason)[ \t]*:[ \t]*(.{0,256})", re.IGNORECASE | re.MULTILINE)

ACK_SECONDS = 5.0
"""How long a BYE is held back for an ACK that is missing."""
UNACKNOWLEDGED_SECONDS = 33.0
"""How long pjsip keeps the slot of a call whose 200 is never acknowledged (64 T1 and a margin)."""


class Host(Protocol):
    """What a leg needs from its worker."""

    trash: Trash
    reactor: Any
    inband_digits: bool

    def emit(self, event: Any, /, **arguments: Any) -> None:
        """Send an event to the engine."""
        ...

    def playback_device(self) -> Any:
        """Slot 0 of the bridge."""
        ...

    def silence(self) -> Any:
        """A port that is always silent."""
        ...

    def next_token(self, done: Callable[[], None]) -> int:
        """Register what the end of a player leads to."""
        ...

    def eof(self, token: int) -> None:
        """A player ended (called on a foreign thread)."""
        ...

    def drop(self, leg: Leg) -> None:
        """Forget a leg that ended."""
        ...


class PjCall(pj.Call):
    """The pjsua2 object of a leg; hands its callbacks to the leg."""

    def __init__(self, account: Any, leg: Leg, call_id: int = -1) -> None:
        super().__init__(account, call_id)
        self._leg = leg

    def onCallState(self, prm: Any) -> None:  # noqa: N802 - the names are pjsua2's
        """State changed (reactor thread)."""
        self._leg.on_state(prm)

    def onCallMediaState(self, prm: Any) -> None:  # noqa: N802
        """Media came up or changed (reactor thread)."""
        self._leg.on_media()

    def onDtmfDigit(self, prm: Any) -> None:  # noqa: N802
        """A digit by RFC 4733 or INFO (media thread): copy plain values and leave."""
        digit, method = str(prm.digit), int(prm.method)
        self._leg.from_thread(digit, "info" if method == pj.PJSUA_DTMF_METHOD_SIP_INFO else "rfc4733")

    def onStreamDestroyed(self, prm: Any) -> None:  # noqa: N802
        """A stream ends (reactor thread): the last moment for its statistics."""
        self._leg.on_stream_destroyed(int(prm.streamIdx))

    def onCallTransferRequest(self, prm: Any) -> None:  # noqa: N802
        """REFER is for the engine, not for the worker."""
        prm.statusCode = 603

    def onCallReplaceRequest(self, prm: Any) -> None:  # noqa: N802
        """INVITE with Replaces is for the engine, not for the worker."""
        prm.statusCode = 403

    def onCallRedirected(self, prm: Any) -> int:  # noqa: N802
        """3xx: the engine decides."""
        return int(pj.PJSIP_REDIRECT_REJECT)


@attrs.define
class Stats:
    """Counts of all streams of a leg, added up over media changes."""

    codec: str = ""
    rx_packets: int = 0
    tx_packets: int = 0
    rx_lost: int = 0
    tx_lost: int = 0
    jitter_ms: float = 0.0
    rtt_ms: float = 0.0


class Leg:
    """A leg. All methods run in the reactor's thread; after `ended` every one is without effect."""

    def __init__(self, host: Host, key: bytes) -> None:
        self.host = host
        self.key = key
        self.ended = False
        self.confirmed = False
        self.outbound = False
        self.early_code = 0
        self.audio: Any = None
        self._port = -1
        self.call: PjCall | None = None
        self.playbacks: dict[bytes, Playback | DigitSender] = {}
        self.recordings: dict[bytes, Recording] = {}
        self.stats = Stats()
        self._detector: DetectorPort | None = None
        self.settling = 0
        """Recordings that ended, but whose file is not complete yet."""
        self._asked_to_end = False
        self._accepted = False
        self._gave_up = False
        self._goodbye: Any = None
        self._after_ack: tuple[int, list[list[str]]] | None = None
        self.farewell: tuple[str, int, str] | None = None
        """Address and text of a BYE straight to the phone, for the case that the engine dies."""

    # -------------------------------------------------------------- signalling

    def adopt(self, account: Any, call_id: int) -> None:
        """Take an inbound call (inside onIncomingCall)."""
        self.call = PjCall(account, self, call_id)

    def originate(self, account: Any, to: str, from_: str, call_id: str, headers: list[list[str]]) -> None:
        """Start an outbound call.

        Raises:
            PjError: no slot, or a URI that cannot be used.
        """
        self.outbound = True
        options = pj.CallOpParam(True)
        options.txOption.localUri = from_
        options.txOption.headers = headers_of(headers)
        options.opt.customCallId = call_id
        call = PjCall(account, self)
        try:
            checked(call.makeCall, to, options)
        except PjError:
            call.this.disown()  # it never got an id: nothing may be called on it
            raise
        if not self.ended:
            self.call = call

    def answer(self, code: int, phrase: str, headers: list[list[str]]) -> None:
        """Send a response to the INVITE."""
        call = self.call
        if self.ended or call is None or self.outbound or self.confirmed:
            return
        options = pj.CallOpParam(True)
        options.statusCode = code
        options.reason = phrase
        options.txOption.headers = headers_of(headers)
        if code >= 300:
            self._asked_to_end = True
        checked(call.answer, options)
        self._accepted = 200 <= code < 300

    def hangup(self, code: int, headers: list[list[str]]) -> None:
        """End the call: BYE, CANCEL or a final response, as its state asks for."""
        call = self.call
        if self.ended or call is None:
            return
        if self._accepted and not self.confirmed and not self._gave_up:
            # no BYE before the ACK (RFC 3261 section 15): pjsip would report the end, but keep the slot
            if self._goodbye is None:
                self._goodbye = self.host.reactor.callLater(ACK_SECONDS, self._no_ack)
            self._after_ack = (code, headers)
            return
        self._asked_to_end = True
        options = pj.CallOpParam(True)
        if not self.outbound and not self.confirmed:
            options.statusCode = code if code >= 300 else 603
        options.txOption.headers = headers_of(headers)
        checked(call.hangup, options)

    def _no_ack(self) -> None:
        self._goodbye = None
        self._gave_up = True
        self._end_after_ack()

    def _end_after_ack(self) -> None:
        waiting, self._after_ack = self._after_ack, None
        if self._goodbye is not None and self._goodbye.active():
            self._goodbye.cancel()
        if waiting is not None and not self.ended:
            try:
                self.hangup(*waiting)
            except PjError as error:
                self.host.emit(protocol.CommandFailed, key=self.key, command="Hangup", error=str(error))

    # -------------------------------------------------------------- callbacks

    def on_state(self, prm: Any) -> None:
        """The dialog changed its state."""
        call = self.call
        if call is None or self.ended:
            return
        info = call.getInfo()
        state, code, phrase = int(info.state), int(info.lastStatusCode), str(info.lastReason)
        if state == pj.PJSIP_INV_STATE_EARLY and self.outbound and code != self.early_code:
            self.early_code = code
            self.host.emit(protocol.Progress, key=self.key, code=code, phrase=phrase, headers=[])
        elif state == pj.PJSIP_INV_STATE_CONFIRMED and not self.confirmed:
            self.confirmed = True
            if self.outbound:
                self.host.emit(
                    protocol.Progress, key=self.key, code=200, phrase=phrase, headers=_headers(prm)
                )
            if self._after_ack is not None:
                # not inside pjsip's own callback
                self.host.reactor.callLater(0, self._end_after_ack)
        elif state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self._disconnected(code, phrase, _headers(prm))

    def _disconnected(self, code: int, phrase: str, headers: list[list[str]]) -> None:
        self.ended = True
        self._end_after_ack()
        call, self.call = self.call, None
        self._release_media()
        cause = next((value for name, value in headers if name.lower() == "reason"), "")
        ended = {
            "key": self.key,
            "code": code,
            "phrase": phrase,
            "cause": cause,
            "remote": not self._asked_to_end,
            "headers": [pair for pair in headers if pair[0].lower() != "reason"],
            "stats": attrs.asdict(self.stats),
            "slot_busy": UNACKNOWLEDGED_SECONDS if self._accepted and not self.confirmed else 0.0,
        }

        def report() -> None:
            self.host.emit(protocol.LegEnded, **ended)

        for recording in list(self.recordings.values()):
            recording.finish("hangup")
        if self.settling:
            # the file is complete one bridge tick after its recorder was let go; its event comes first
            self.host.reactor.callLater(Recording.SETTLE_SECONDS + 0.01, report)
        else:
            report()
        if call is not None:
            self.host.reactor.callLater(0, disarm, weakref.ref(call))
        self.host.drop(self)

    def on_media(self) -> None:
        """(Re)connect the desired graph: every media change makes a new slot in the bridge."""
        call = self.call
        if call is None or self.ended:
            return
        info = call.getInfo()
        medias = info.media
        held = False
        active = False
        for index in range(len(medias)):
            media = medias[index]
            if media.type == pj.PJMEDIA_TYPE_AUDIO:
                held = media.status == pj.PJSUA_CALL_MEDIA_REMOTE_HOLD
                active = media.status in (pj.PJSUA_CALL_MEDIA_ACTIVE, pj.PJSUA_CALL_MEDIA_REMOTE_HOLD)
        if not active:
            return
        try:
            audio = checked(call.getAudioMedia, -1)
        except PjError:
            return
        if audio.getPortId() < 0:
            return
        self.audio, self._port = audio, audio.getPortId()
        # a leg that nobody listens to would replay old audio when it is connected later
        connect(audio, self.host.playback_device())
        if self.host.inband_digits and self._detector is None:
            self._detector = DetectorPort(lambda digit: self.from_thread(digit, "inband"))
        if self._detector is not None:
            connect(audio, self._detector)
        for playback in list(self.playbacks.values()):
            playback.attach(audio)
        for recording in list(self.recordings.values()):
            recording.attach(audio)
        codec = self._codec(call)
        self.host.emit(protocol.MediaUp, key=self.key, codec=codec, held=held)

    def _codec(self, call: PjCall) -> str:
        try:
            stream = call.getStreamInfo(0)
        except pj.Error:
            return self.stats.codec
        self.stats.codec = str(stream.codecName)
        return self.stats.codec

    def on_stream_destroyed(self, index: int) -> None:
        """Add up the statistics of a stream that ends."""
        call = self.call
        if call is None:
            return
        try:
            whole = call.getStreamStat(index)
        except pj.Error:
            return
        rtcp = whole.rtcp
        rx, tx, rtt = rtcp.rxStat, rtcp.txStat, rtcp.rttUsec
        stats = self.stats
        stats.rx_packets += int(rx.pkt)
        stats.tx_packets += int(tx.pkt)
        stats.rx_lost += int(rx.loss)
        stats.tx_lost += int(tx.loss)
        jitter = rx.jitterUsec
        stats.jitter_ms = max(stats.jitter_ms, float(jitter.mean) / 1000.0)
        stats.rtt_ms = max(stats.rtt_ms, float(rtt.mean) / 1000.0)

    def from_thread(self, digit: str, method: str) -> None:
        """A digit was found on a foreign thread."""
        self.host.reactor.callFromThread(self.on_digit, digit, method)

    def on_digit(self, digit: str, method: str) -> None:
        """A digit: it ends a recording that waits for it, otherwise the engine is told."""
        if self.ended:
            return
        for recording in list(self.recordings.values()):
            if recording.takes(digit):
                return
        self.host.emit(protocol.Digit, key=self.key, digit=digit, method=method)

    # -------------------------------------------------------------- media

    def play(self, playback: bytes, paths: list[str], loop: int) -> None:
        """Start a playback; it begins when media flows."""
        if not self.ended:
            self.playbacks[playback] = Playback(self, playback, paths, loop)
            self.playbacks[playback].begin()

    def plays(self, source: Any) -> None:
        """A playback began with another file."""
        for recording in self.recordings.values():
            recording.hear(source)

    def send_digits(self, playback: bytes, digits: str, method: str) -> None:
        """Send digits one group after the other."""
        if not self.ended:
            self.playbacks[playback] = DigitSender(self, playback, digits, method)
            self.playbacks[playback].begin()

    def stop(self, playback: bytes) -> None:
        """Stop a playback without an event."""
        found = self.playbacks.pop(playback, None)
        if found is not None:
            found.release()

    def playback_done(self, playback: bytes, error: str = "") -> None:
        """A playback ended by itself."""
        found = self.playbacks.pop(playback, None)
        if found is not None:
            found.release()
            self.host.emit(protocol.PlaybackDone, key=self.key, playback=playback, error=error)

    def record(self, recording: bytes, spec: Recording.Spec) -> None:
        """Start a recording."""
        if not self.ended:
            self.recordings[recording] = Recording(self, recording, spec)
            self.recordings[recording].begin()

    def stop_recording(self, recording: bytes) -> None:
        """End a recording early."""
        found = self.recordings.get(recording)
        if found is not None:
            found.finish("stopped")

    def reset(self) -> None:
        """Stop everything that plays or records, but for a recording of the whole call."""
        for playback in list(self.playbacks):
            self.stop(playback)
        for name, recording in list(self.recordings.items()):
            if not recording.whole_call:
                self.stop_recording(name)

    def _release_media(self) -> None:
        for playback in list(self.playbacks):
            self.stop(playback)
        if self._detector is not None:
            if self.audio is not None:
                disconnect(self.audio, self._detector)
            self.host.trash.put(self._detector)
            self._detector = None
        self.audio = None


def _headers(prm: Any) -> list[list[str]]:
    """X- and Reason headers of the message that changed the state, if it was one received."""
    event = prm.e
    body = event.body
    change = body.tsxState
    if change.type != pj.PJSIP_EVENT_RX_MSG:
        return []
    source = change.src
    received = source.rdata
    head = str(received.wholeMsg).split("\r\n\r\n", 1)[0]
    return [[name, value.strip()] for name, value in _HEADER.findall(head)[:32]]
