"""The audio around the phone's call: what is played, recorded, heard and counted.

Everything runs in the main loop's thread; callbacks on pjsua2's threads only post.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pjsua2 as pj

from media.worker.digits import DetectorPort
from media.worker.guard import (
    PjError,
    checked,
    connect,
    disconnect,
    make_player,
    make_recorder,
    make_tone_generator,
)
from voiceengine.softphone.loop import Loop
from voiceengine.softphone.options import PhoneOptions
from voiceengine.softphone.report import Report

LEVEL_SECONDS = 0.04
"""How often the level is looked at."""
SOUND_LEVEL = 9
"""pjsua2's level (logarithmic, 0 to about 45; an amplitude of 300 gives 9) that counts as sound."""
SILENCE_AFTER = 0.3
"""Shorter gaps do not make an event `silence`."""
TONE_MS = 120
MAX_PLAYERS = 28
WAV_HEADER_BYTES = 44
BYTES_PER_SECOND = 16000


class CallAudio:
    """Keeps the wanted connections over every change of the call's media."""

    def __init__(self, loop: Loop, report: Report, options: PhoneOptions, device: Any) -> None:
        self._loop = loop
        self._report = report
        self._options = options
        self._device = device
        self._slot: Any = None
        self._recorder: Any = None
        self._silence: Any = None
        self._tones: Any = None
        self._detector: DetectorPort | None = None
        self._player: Any = None
        self._player_loops = False
        self._players: list[Any] = []  # never let go: pjsua2 may still touch them
        self._want: tuple[str, bool] | None = None
        self._over = False
        self._heard = False
        self._last_sound = 0.0
        self._last_look = 0.0
        self.on_inband_digit: Any = None

    # -------------------------------------------------------------- media changes

    def attach(self, slot: Any) -> None:
        """Media came up or changed: there is a new slot, connect everything to it."""
        if self._over or slot.getPortId() < 0:
            return
        first = self._slot is None
        self._slot = slot
        # a call that nobody listens to would replay old audio when it is connected later
        connect(slot, self._device)
        if first:
            self._begin_recording()
        for sink in (self._recorder, self._detector_port()):
            if sink is not None:
                connect(slot, sink)
        for source in (self._player, self._tones):
            if source is not None:
                connect(source, slot)
        if first:
            self._last_look = self._loop.now()
            self._look()
        self._play_wanted()

    def _begin_recording(self) -> None:
        path = self._options.record
        if not path:
            return
        try:
            self._recorder = make_recorder(path)
            self._silence = make_tone_generator()
            # an idle source keeps frames coming, so that the file has no holes
            connect(self._silence, self._recorder)
        except PjError as error:
            self._report.error(f"--record: {error}")
            self._recorder = None
            return
        self._report.call.recording = path
        self._report.event("record_started", path=path)

    def _detector_port(self) -> DetectorPort | None:
        found = self.on_inband_digit
        if self._detector is None and self._options.detect_inband and found is not None:
            self._detector = DetectorPort(lambda digit: self._loop.post(found, digit, "inband"))
        return self._detector

    # -------------------------------------------------------------- playing

    def play(self, path: str, *, loop: bool) -> None:
        """Play a file that was checked, as soon as there is media; it replaces what is playing."""
        if self._over:
            return
        self._stop_playing()
        self._want = (path, loop)
        self._play_wanted()

    def _play_wanted(self) -> None:
        if self._want is None or self._slot is None or self._over:
            return
        (path, loop), self._want = self._want, None
        number = len(self._players)
        if number >= MAX_PLAYERS:
            self._report.error("too many files were played in this call")
            return
        try:
            player = make_player(path, number, lambda token: self._loop.post(self._played, token), loop=loop)
            self._players.append(player)
            connect(player, self._slot)
        except PjError as error:
            self._report.error(f"--play: {error}")
            return
        self._player, self._player_loops = player, loop
        self._report.event("play_started", path=path)

    def _played(self, token: int) -> None:
        # a looping player comes here after every round
        if self._player is self._players[token] and not (self._player_loops or self._over):
            self._stop_playing()
            self._report.event("play_done")

    def _stop_playing(self) -> None:
        player, self._player = self._player, None
        if player is not None and self._slot is not None:
            disconnect(player, self._slot)

    def tone(self, digit: str) -> None:
        """Send one digit as sound.

        Raises:
            PjError: the library refused.
        """
        if self._slot is None:
            raise PjError("there is no media to send a digit in")
        if self._tones is None:
            self._tones = make_tone_generator()
            connect(self._tones, self._slot)
        tone = pj.ToneDigit()
        tone.digit, tone.on_msec, tone.off_msec, tone.volume = digit, TONE_MS, TONE_MS, 0
        vector = pj.ToneDigitVector()
        vector.append(tone)
        self._tones.stop()
        checked(self._tones.playDigits, vector)

    # -------------------------------------------------------------- listening

    def _look(self) -> None:
        if self._over:
            return
        now = self._loop.now()
        try:
            loud = self._slot is not None and self._slot.getTxLevel() >= SOUND_LEVEL
        except pj.Error:  # the slot is being replaced
            loud = False
        if loud:
            self._report.call.heard_seconds += now - self._last_look
            self._last_sound = now
        if loud and not self._heard:
            self._heard = True
            self._report.event("sound")
        elif self._heard and now - self._last_sound > SILENCE_AFTER:
            self._heard = False
            self._report.event("silence")
        self._last_look = now
        self._loop.after(LEVEL_SECONDS, self._look)

    def collect(self, call: Any, index: int) -> None:
        """Add up the statistics of a stream that ends (inside onStreamDestroyed)."""
        try:
            whole = call.getStreamStat(index)
        except pj.Error:
            return
        rtcp = whole.rtcp
        rx, tx = rtcp.rxStat, rtcp.txStat
        rtp = self._report.call.rtp
        rtp.rx_packets += int(rx.pkt)
        rtp.tx_packets += int(tx.pkt)
        rtp.rx_lost += int(rx.loss)
        jitter = rx.jitterUsec
        rtp.jitter_ms = max(rtp.jitter_ms, round(float(jitter.mean) / 1000.0, 3))

    def release(self) -> None:
        """The call ended: stop everything and let the recording be completed."""
        if self._over:
            return
        self._over = True
        self._stop_playing()
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            disconnect(self._silence, recorder)
        del recorder  # closes the file at the next tick of the bridge
        self._slot = None
        call = self._report.call
        call.heard_seconds = round(call.heard_seconds, 2)

    def measure_recording(self) -> None:
        """Note the length of the recording, once it is complete."""
        call = self._report.call
        if call.recording is None:
            return
        try:
            size = Path(call.recording).stat().st_size
        except OSError as error:
            self._report.error(f"--record: {call.recording}: {error.strerror}")
            return
        call.recording_seconds = round(max(0, size - WAV_HEADER_BYTES) / BYTES_PER_SECOND, 3)
