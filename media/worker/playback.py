"""Playbacks of a leg: files one after the other, and digits that are sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pjsua2 as pj

from media.worker.digits import DIGIT_MS, split_digits
from media.worker.guard import PjError, checked, connect, disconnect, make_player, make_tone_generator

if TYPE_CHECKING:
    from media.worker.leg import Leg


class Playback:
    """Plays files in order, the list `loop` times (0: until stopped).

    A list of one file that is to be heard without end is looped by pjsua2 itself.
    """

    def __init__(self, leg: Leg, name: bytes, paths: list[str], loop: int) -> None:
        self._leg = leg
        self._name = name
        self._paths = paths
        self._rounds = loop
        self._round = 0
        self._index = 0
        self._player: Any = None
        self._over = False

    def begin(self) -> None:
        """Start as soon as the leg has media."""
        if not self._paths:
            self._leg.playback_done(self._name)
        elif self._leg.audio is not None:
            self._next()

    def attach(self, audio: Any) -> None:
        """Media came up, or has a new slot."""
        if self._over:
            return
        if self._player is None:
            self._next()
        else:
            connect(self._player, audio)

    def _next(self) -> None:
        if self._index >= len(self._paths):
            self._round += 1
            self._index = 0
            if self._rounds and self._round >= self._rounds:
                self._leg.playback_done(self._name)
                return
        path = self._paths[self._index]
        self._index += 1
        host = self._leg.host
        endless = self._rounds == 0 and len(self._paths) == 1
        token = host.next_token(self._ended)
        try:
            player = make_player(path, token, host.eof, loop=endless)
            self._player = player
            connect(player, self._leg.audio)
            self._leg.hears(player)
        except PjError as error:
            self._leg.playback_done(self._name, str(error))

    def _ended(self) -> None:
        if self._over or (self._rounds == 0 and len(self._paths) == 1):
            return
        self._drop_player()
        if self._leg.audio is not None:
            self._next()

    def _drop_player(self) -> None:
        player, self._player = self._player, None
        if player is not None:
            self._leg.hears_no_more(player)
            if self._leg.audio is not None:
                disconnect(player, self._leg.audio)
            self._leg.host.trash.put(player)

    def release(self) -> None:
        """Stop and let go."""
        self._over = True
        self._drop_player()


class DigitSender:
    """Sends digits in groups; falls back to tones when the party took no telephone-event."""

    def __init__(self, leg: Leg, name: bytes, digits: str, method: str) -> None:
        self._leg = leg
        self._name = name
        self._method = method
        self._parts = split_digits(digits)
        self._timer: Any = None
        self._generator: Any = None
        self._started = False

    def begin(self) -> None:
        """Start as soon as the leg has media."""
        if self._leg.audio is not None and not self._started:
            self._started = True
            self._next()

    def attach(self, audio: Any) -> None:
        """Media came up, or has a new slot."""
        if self._generator is not None:
            connect(self._generator, audio)
        self.begin()

    def _next(self) -> None:
        self._timer = None
        if not self._parts:
            self._leg.playback_done(self._name)
            return
        digits, milliseconds = self._parts.pop(0)
        try:
            if digits:
                self._send(digits)
        except PjError as error:
            self._leg.playback_done(self._name, str(error))
            return
        self._timer = self._leg.host.reactor.callLater(milliseconds / 1000.0, self._next)

    def _send(self, digits: str) -> None:
        call = self._leg.call
        if call is None:
            return
        if self._method == "inband":
            self._tones(digits)
            return
        request = pj.CallSendDtmfParam()
        request.method = (
            pj.PJSUA_DTMF_METHOD_SIP_INFO if self._method == "info" else pj.PJSUA_DTMF_METHOD_RFC2833
        )
        request.digits = digits
        request.duration = 100
        try:
            checked(call.sendDtmf, request)
        except PjError:
            if self._method == "info":
                raise
            self._method = "inband"
            self._tones(digits)

    def _tones(self, digits: str) -> None:
        if self._generator is None:
            self._generator = make_tone_generator()
            connect(self._generator, self._leg.audio)
            self._leg.hears(self._generator)
        self._generator.stop()
        vector = pj.ToneDigitVector()
        for digit in digits:
            tone = pj.ToneDigit()
            tone.digit, tone.on_msec, tone.off_msec, tone.volume = digit, 100, DIGIT_MS - 100, 0
            vector.append(tone)
        checked(self._generator.playDigits, vector)

    def release(self) -> None:
        """Stop and let go."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._parts = []
        if self._generator is not None:
            self._leg.hears_no_more(self._generator)
            if self._leg.audio is not None:
                disconnect(self._generator, self._leg.audio)
            self._leg.host.trash.put(self._generator)
            self._generator = None
