"""One leg in a worker: a pjsua2 call and the audio around it."""

from __future__ import annotations

import weakref
from typing import Any

import attrs
import pjsua2 as pj

from media import protocol
from media.worker.digits import DetectorPort
from media.worker.guard import PjError, checked, connect, disarm, headers_of
from media.worker.host import Host
from media.worker.pjcall import PjCall, Transaction, headers_in, message_of
from media.worker.playback import DigitSender, Playback
from media.worker.recording import Recording
from media.worker.signalling import Holder, Referrer
from media.worker.speaking import SpeechWatch
from media.worker.stats import Stats

ACK_SECONDS = 5.0
"""How long a BYE is held back for an ACK that is missing."""
UNACKNOWLEDGED_SECONDS = 33.0
"""How long pjsip keeps the slot of a call whose 200 is never acknowledged (64 T1 and a margin)."""


class Leg:
    """A leg. All methods run in the reactor's thread; after `ended` every one is without effect."""

    def __init__(self, host: Host, key: bytes) -> None:
        self.host = host
        self.key = key
        self.ended = False
        self.confirmed = False
        self.outbound = False
        self.early_code = 0
        self.muted = False
        self.audio: Any = None
        """What the party says, and what it is told; None while it has no media."""
        self.call: PjCall | None = None
        self.playbacks: dict[bytes, Playback | DigitSender] = {}
        self.recordings: dict[bytes, Recording] = {}
        self.heard: dict[int, Any] = {}
        """What the party hears: players, and whoever speaks in its room."""
        self.holder = Holder(self)
        self.speech = SpeechWatch(self)
        self.referrer = Referrer(self)
        self.stats = Stats()
        self._detector: DetectorPort | None = None
        self.settling = 0
        """Recordings that ended, but whose file is not complete yet."""
        self._answer_headers: list[list[str]] = []
        self._asked_to_end = False
        self.accepted = False
        """A 2xx was sent (inbound), which the ACK is waited for."""
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
        self.accepted = 200 <= code < 300

    def hangup(self, code: int, headers: list[list[str]]) -> None:
        """End the call: BYE, CANCEL or a final response, as its state asks for."""
        call = self.call
        if self.ended or call is None:
            return
        if self.accepted and not self.confirmed and not self._gave_up:
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
                self.failed("Hangup", error)

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
        elif state == pj.PJSIP_INV_STATE_CONNECTING and self.outbound:
            self._answer_headers = headers_in(message_of(prm))  # confirmed it is by our own ACK
        elif state == pj.PJSIP_INV_STATE_CONFIRMED and not self.confirmed:
            self.confirmed = True
            if self.outbound:
                headers = self._answer_headers
                self.host.emit(protocol.Progress, key=self.key, code=200, phrase=phrase, headers=headers)
            # not inside pjsip's own callback
            self.host.reactor.callLater(0, self._after_confirmation)
        elif state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self._disconnected(code, phrase, headers_in(message_of(prm)))

    def _after_confirmation(self) -> None:
        """Do what had to wait for the ACK."""
        if self._after_ack is not None:
            self._end_after_ack()
        elif not self.ended:
            self.holder.on_confirmed()
            self.referrer.on_confirmed()

    def _disconnected(self, code: int, phrase: str, headers: list[list[str]]) -> None:
        self.referrer.flush()
        self.ended = True
        self._end_after_ack()
        self.holder.cancel()
        self.speech.stop()
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
            "slot_busy": UNACKNOWLEDGED_SECONDS if self.accepted and not self.confirmed else 0.0,
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

    def on_transaction(self, step: Transaction) -> None:
        """A request that the worker sent went a step further."""
        if not self.ended:
            self.holder.on_transaction(step)
            self.referrer.on_transaction(step)

    def on_notify(self, code: int, final: bool) -> None:
        """News of a REFER."""
        if not self.ended:
            self.referrer.on_notify(code, final)

    def on_media(self) -> None:
        """(Re)connect the desired graph: every media change makes a new slot in the bridge."""
        call = self.call
        if call is None or self.ended:
            return
        status = _audio_status(call)
        self.audio = self._audio_of(call) if status in _FLOWING else None
        if self.audio is None:
            self.host.media_changed(self)
            return
        self._wire(self.audio)
        held = status == pj.PJSUA_CALL_MEDIA_REMOTE_HOLD
        early = self.outbound and int(call.getInfo().state) == pj.PJSIP_INV_STATE_EARLY
        self.host.emit(protocol.MediaUp, key=self.key, codec=self._codec(call), held=held, early=early)

    def _audio_of(self, call: PjCall) -> Any:
        try:
            audio = checked(call.getAudioMedia, -1)
        except PjError:
            return None
        return audio if audio.getPortId() >= 0 else None

    def _wire(self, audio: Any) -> None:
        # a leg that nobody listens to would replay old audio when it is connected later
        connect(audio, self.host.playback_device())
        if self.muted:
            self._silence_party()
        if self.host.inband_digits and self._detector is None:
            self._detector = DetectorPort(lambda digit: self.from_thread(digit, "inband"))
        if self._detector is not None:
            connect(audio, self._detector)
        for playback in list(self.playbacks.values()):
            playback.attach(audio)
        for recording in list(self.recordings.values()):
            recording.attach(audio)
        self.host.media_changed(self)

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
        self.stats.add(whole)

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

    def hears(self, source: Any) -> None:
        """The party begins to hear something."""
        self.heard[id(source)] = source
        for recording in self.recordings.values():
            recording.hear(source)

    def hears_no_more(self, source: Any, *, gone: bool = False) -> None:
        """The party no longer hears something; `gone`: it is not in the bridge any more."""
        if self.heard.pop(id(source), None) is not None and not gone:
            for recording in self.recordings.values():
                recording.hear_no_more(source)

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

    def pause_recording(self, recording: bytes, paused: bool) -> None:
        """Let a recording pause, or go on."""
        found = self.recordings.get(recording)
        if found is not None:
            found.pause(paused)

    def stop_recording(self, recording: bytes) -> None:
        """End a recording early."""
        found = self.recordings.get(recording)
        if found is not None:
            found.finish("stopped")

    def mute(self, muted: bool) -> None:
        """Silence what the party says, or no longer."""
        self.muted = muted
        if self.audio is not None and not self.ended:
            self._silence_party()

    def _silence_party(self) -> None:
        # pjsua2 sees it from the leg: "tx" is what that sends into the bridge
        checked(self.audio.adjustTxLevel, 0.0 if self.muted else 1.0)

    def hold(self, held: bool) -> None:
        """Put the party on hold, or take it off."""
        if not self.ended:
            self.holder.ask(held)

    def refer(self, target: str, headers: list[list[str]]) -> None:
        """Ask the party to call somebody else."""
        if not self.ended:
            self.referrer.ask(target, headers)

    def failed(self, command: str, error: PjError) -> None:
        """Tell the engine what could not be done."""
        self.host.emit(protocol.CommandFailed, key=self.key, command=command, error=str(error))

    def reset(self) -> None:
        """Stop everything that plays or records, but for a recording of the whole call."""
        for playback in list(self.playbacks):
            self.stop(playback)
        for name, recording in list(self.recordings.items()):
            if not recording.whole_call:
                self.stop_recording(name)

    def _release_media(self) -> None:
        self.audio = None  # it is not in the bridge any more
        self.host.media_changed(self)
        for playback in list(self.playbacks):
            self.stop(playback)
        if self._detector is not None:
            self.host.trash.put(self._detector)
            self._detector = None


_FLOWING = (
    pj.PJSUA_CALL_MEDIA_ACTIVE,
    pj.PJSUA_CALL_MEDIA_LOCAL_HOLD,
    pj.PJSUA_CALL_MEDIA_REMOTE_HOLD,
)


def _audio_status(call: PjCall) -> int:
    info = call.getInfo()
    medias = info.media
    status = int(pj.PJSUA_CALL_MEDIA_NONE)
    for index in range(len(medias)):
        media = medias[index]
        if media.type == pj.PJMEDIA_TYPE_AUDIO:
            status = int(media.status)
    return status
