"""The phone's one call: its pjsua2 object, and what is done in which state."""

from __future__ import annotations

from typing import Any, Protocol

import pjsua2 as pj

from media.worker.guard import PjError, checked, headers_of
from voiceengine.softphone.audio import CallAudio
from voiceengine.softphone.loop import Loop
from voiceengine.softphone.messages import caller_of, head_of, invite_status, received, wanted_headers
from voiceengine.softphone.options import PhoneOptions
from voiceengine.softphone.report import Report

DIGIT_SECONDS = 0.25
"""Spacing of the digits of one group."""


class Owner(Protocol):
    """What a pjsua2 call tells."""

    loop: Loop

    def on_state(self, state: int, code: int, reason: str, head: str) -> None:
        """The dialog changed its state."""
        ...

    def on_response(self, head: str) -> None:
        """A response came."""
        ...

    def on_media(self) -> None:
        """Media came up or changed."""
        ...

    def on_digit(self, digit: str, method: str) -> None:
        """A digit came."""
        ...

    def on_stream_destroyed(self, call: Any, index: int) -> None:
        """A stream ends; inside the callback, the last moment for its statistics."""
        ...


class PjCall(pj.Call):
    """Copies plain values out of callbacks and posts them; nothing else happens inside pjsua2."""

    def __init__(self, account: Any, owner: Owner, call_id: int = -1) -> None:
        super().__init__(account, call_id)
        self._owner = owner

    def onCallState(self, prm: Any) -> None:  # noqa: N802 - the names are pjsua2's
        """State changed."""
        info = self.getInfo()
        values = (int(info.state), int(info.lastStatusCode), str(info.lastReason), received(prm))
        self._owner.loop.post(self._owner.on_state, *values)

    def onCallTsxState(self, prm: Any) -> None:  # noqa: N802
        """A transaction of the call changed; only responses are of interest."""
        head = received(prm)
        if head.startswith("SIP/2.0"):
            self._owner.loop.post(self._owner.on_response, head)

    def onCallMediaState(self, prm: Any) -> None:  # noqa: N802
        """Media came up or changed."""
        self._owner.loop.post(self._owner.on_media)

    def onDtmfDigit(self, prm: Any) -> None:  # noqa: N802
        """A digit by RFC 4733 or INFO."""
        method = "info" if prm.method == pj.PJSUA_DTMF_METHOD_SIP_INFO else "rfc4733"
        self._owner.loop.post(self._owner.on_digit, str(prm.digit), method)

    def onStreamDestroyed(self, prm: Any) -> None:  # noqa: N802
        """A stream ends."""
        self._owner.on_stream_destroyed(self, int(prm.streamIdx))

    def onCallTransferRequest(self, prm: Any) -> None:  # noqa: N802
        """REFER is refused."""
        prm.statusCode = 603

    def onCallReplaceRequest(self, prm: Any) -> None:  # noqa: N802
        """INVITE with Replaces is refused."""
        prm.statusCode = 403

    def onCallRedirected(self, prm: Any) -> int:  # noqa: N802
        """3xx is reported, not followed."""
        return int(pj.PJSIP_REDIRECT_REJECT)


class PhoneCall:
    """The call. Methods run in the main loop; after the end every one is without effect."""

    def __init__(self, loop: Loop, report: Report, options: PhoneOptions, audio: CallAudio) -> None:
        self.loop = loop
        self.ended = False
        self._report = report
        self._options = options
        self._audio = audio
        self._call: PjCall | None = None
        self._inbound = False
        self._began = loop.now()
        self._answered_at: float | None = None
        self._asked_to_end = False
        self._head = ""
        self._keys: list[str] = []
        self._method = options.digit_method
        audio.on_inband_digit = self.on_digit

    # -------------------------------------------------------------- beginning

    def dial(self, account: Any) -> None:
        """Send the INVITE.

        Raises:
            PjError: the URI or the network cannot be used.
        """
        target = self._options.target()
        call = self._report.call
        call.direction, call.remote, call.state = "outbound", target, "calling"
        self._report.event("calling", to=target)
        self._began = self.loop.now()
        self._call = PjCall(account, self)
        options = pj.CallOpParam(True)
        options.txOption.headers = headers_of([list(pair) for pair in self._options.headers])
        try:
            checked(self._call.makeCall, target, options)
        except PjError as error:
            self._call.this.disown()  # it never got an id: nothing may be called on it
            self._call = None
            self.ended = True
            call.state = "ended"
            raise PjError(f"{target} cannot be called: {error}") from None
        if self._options.cancel_after is not None:
            self.loop.after(self._options.cancel_after, self._cancel)

    def adopt(self, account: Any, call_id: int, message: str) -> None:
        """Take an inbound call (inside onIncomingCall)."""
        self._inbound = True
        self._call = PjCall(account, self, call_id)
        self._began = self.loop.now()
        self._head = head_of(message)
        # no final response may be sent inside the callback: pjsua2 could abort
        self.loop.post(self._ring)

    def _ring(self) -> None:
        call = self._report.call
        call.direction, call.remote, call.state = "inbound", caller_of(self._head), "ringing"
        call.headers = wanted_headers(self._head)
        self._report.event("incoming", **{"from": call.remote}, headers=call.headers)
        if self._options.answer_delay > 0:
            self._respond(180)
        self.loop.after(self._options.answer_delay, self.answer)

    def answer(self) -> None:
        """Send the final response that was asked for."""
        if self.ended or not self._inbound or self._report.call.answer_delay_ms is not None:
            return
        if self._asked_to_end:
            return
        code = self._options.answer_code
        if code >= 300:
            self._asked_to_end = True
        else:
            self._report.call.answer_delay_ms = self._since_began()
        self._respond(code)

    def _respond(self, code: int) -> None:
        if self.ended or self._call is None:
            return
        options = pj.CallOpParam(True)
        options.statusCode = code
        if code >= 200:
            options.txOption.headers = headers_of([list(pair) for pair in self._options.headers])
        checked(self._call.answer, options)

    def _since_began(self) -> int:
        return round((self.loop.now() - self._began) * 1000)

    def _since_answer(self) -> float:
        return 0.0 if self._answered_at is None else round(self.loop.now() - self._answered_at, 3)

    # -------------------------------------------------------------- ending

    def _cancel(self) -> None:
        if not self.ended and self._answered_at is None:
            self._report.event("cancel")
            self.hangup()

    def hangup(self) -> None:
        """End the call: BYE, CANCEL or a final response, as its state asks for."""
        if self.ended or self._call is None or self._asked_to_end:
            return
        self._asked_to_end = True
        self._report.event("hangup")
        options = pj.CallOpParam(True)
        if self._inbound and self._answered_at is None:
            options.statusCode = (
                max(self._options.answer_code, 300) if self._options.answer_code >= 300 else 603
            )
        checked(self._call.hangup, options)

    # -------------------------------------------------------------- callbacks

    def on_state(self, state: int, code: int, reason: str, head: str) -> None:
        """The dialog changed its state."""
        if self.ended:
            return
        if state in (pj.PJSIP_INV_STATE_CONNECTING, pj.PJSIP_INV_STATE_CONFIRMED):
            self._final(head)
            if state == pj.PJSIP_INV_STATE_CONFIRMED and self._answered_at is None:
                self._answered()
        elif state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self._final(head)
            self._disconnected(code, reason, head)

    def _final(self, head: str) -> None:
        """Note code, time and headers of the final response to our INVITE."""
        code, reason = invite_status(head)
        call = self._report.call
        if self._inbound or code < 200 or call.final_code is not None:
            return
        call.final_code, call.reason = code, reason
        call.headers = wanted_headers(head)
        if code < 300:
            call.answer_delay_ms = self._since_began()

    def _answered(self) -> None:
        self._answered_at = self.loop.now()
        call = self._report.call
        call.answered, call.state = True, "answered"
        call.final_code = call.final_code or 200
        call.reason = call.reason or "OK"
        self._report.event("answered", after_ms=call.answer_delay_ms)
        options = self._options
        if options.play:
            self._audio.play(options.play, loop=options.loop)
        for at, keys in options.digits:
            self.loop.after(at, self.send_digits, keys)
        if options.hangup_after is not None:
            self.loop.after(options.hangup_after, self.hangup)

    def _disconnected(self, code: int, reason: str, head: str) -> None:
        self.ended = True
        call = self._report.call
        self._audio.release()
        if self._answered_at is not None:
            call.duration_seconds = self._since_answer()
        elif call.final_code is None:
            call.final_code, call.reason = code, reason
        if self._asked_to_end:
            call.hung_up_by = "local"
        elif head or self._inbound:
            call.hung_up_by = "remote"
        if head.startswith("BYE "):
            why = [value for name, value in wanted_headers(head) if name.lower() == "reason"]
            call.bye_reason = why[0] if why else None
        call.state = "ended"
        self._report.event("ended", code=call.final_code, reason=call.reason, by=call.hung_up_by)

    def on_response(self, head: str) -> None:
        """A response came: provisional ones are noted."""
        code, reason = invite_status(head)
        if self.ended or not 100 <= code < 200:
            return
        entry = {"code": code, "reason": reason, "ms": self._since_began()}
        call = self._report.call
        call.provisional.append(entry)
        if code != 100 and call.state == "calling":
            call.state = "ringing"
        self._report.event("provisional", **entry)

    def on_media(self) -> None:
        """Media came up or changed: there is a new slot in the bridge."""
        if self.ended or self._call is None:
            return
        try:
            self._audio.attach(checked(self._call.getAudioMedia, -1))
            stream = checked(self._call.getStreamInfo, 0)
        except PjError:  # no audio now: on hold, or the call just ended
            return
        codec = str(stream.codecName)
        self._report.call.rtp.codec = codec
        self._report.event("media", codec=codec)

    def on_digit(self, digit: str, method: str) -> None:
        """A digit came."""
        if not self.ended:
            entry = {"at_ms": round(self._since_answer() * 1000), "digit": digit, "method": method}
            self._report.call.digits_received.append(entry)
            self._report.event("digit_received", **entry)

    def on_stream_destroyed(self, call: Any, index: int) -> None:
        """A stream ends (inside the callback)."""
        self._audio.collect(call, index)

    # -------------------------------------------------------------- digits and sound

    def send_digits(self, keys: str) -> None:
        """Send digits one after the other, behind those already waiting."""
        if self.ended or self._answered_at is None:
            return
        idle = not self._keys
        self._keys.extend(keys)
        if idle:
            self._next_digit()

    def _next_digit(self) -> None:
        if self.ended or self._call is None or not self._keys:
            return
        digit = self._keys[0]
        try:
            self._send(digit)
        except PjError as error:
            self._keys = []
            self._report.error(f"digit {digit} could not be sent: {error}")
            return
        entry = {"at": self._since_answer(), "digit": digit, "method": self._method}
        self._report.call.digits_sent.append(entry)
        self._report.event("digit_sent", **entry)
        self.loop.after(DIGIT_SECONDS, self._sent)

    def _sent(self) -> None:
        self._keys = self._keys[1:]
        self._next_digit()

    def _send(self, digit: str) -> None:
        assert self._call is not None
        if self._method == "inband":
            self._audio.tone(digit)
            return
        request = pj.CallSendDtmfParam()
        info = self._method == "info"
        request.method = pj.PJSUA_DTMF_METHOD_SIP_INFO if info else pj.PJSUA_DTMF_METHOD_RFC2833
        request.digits = digit
        request.duration = 160
        try:
            checked(self._call.sendDtmf, request)
        except PjError as error:
            if info:
                raise
            self._report.error(f"no RFC 4733 digits in this call ({error}); they go in band")
            self._method = "inband"
            self._audio.tone(digit)

    def play(self, path: str, *, loop: bool) -> None:
        """Play a file that was checked."""
        if not self.ended:
            self._audio.play(path, loop=loop)


class Refusal:
    """An inbound call that the phone is too busy for."""

    def __init__(self, loop: Loop, account: Any, call_id: int) -> None:
        self.loop = loop
        self._call = PjCall(account, self, call_id)
        loop.post(self._refuse)

    def _refuse(self) -> None:
        options = pj.CallOpParam(True)
        options.statusCode = 486
        checked(self._call.answer, options)

    def on_state(self, state: int, code: int, reason: str, head: str) -> None:
        """Nothing to do, except that a call that ended must not control the next one in its slot."""
        if state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self._call.this.disown()

    def on_response(self, head: str) -> None:
        """Nothing to do."""

    def on_media(self) -> None:
        """Nothing to do."""

    def on_digit(self, digit: str, method: str) -> None:
        """Nothing to do."""

    def on_stream_destroyed(self, call: Any, index: int) -> None:
        """Nothing to do."""
