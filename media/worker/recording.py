"""Recordings of a leg: what the party says, until silence, a key, the longest time or a stop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from media import protocol
from media.worker.guard import PjError, connect, disconnect, make_player, make_recorder

if TYPE_CHECKING:
    from media.worker.leg import Leg

WAV_HEADER_BYTES = 44
BYTES_PER_SECOND = 16000


class Recording:
    """One recording. The party's level is looked at while it lasts."""

    POLL_SECONDS = 0.05
    SETTLE_SECONDS = 0.06
    """A recorder's file is complete one bridge tick after it was let go."""
    SOUND_LEVEL = 9
    """pjsua2's level (logarithmic, 0 to about 45; an amplitude of 300 gives 9) that counts as sound."""

    @attrs.frozen(kw_only=True)
    class Spec:
        """What is asked for; times in seconds."""

        path: str
        beep: str
        max_seconds: float
        silence_seconds: float
        finish_keys: str
        both: bool = False

    def __init__(self, leg: Leg, name: bytes, spec: Spec) -> None:
        self._leg = leg
        self._name = name
        self._spec = spec
        self._beep: Any = None
        self._recorder: Any = None
        self._timer: Any = None
        self._began = 0.0
        self._last_sound = 0.0
        self._heard = False
        self._done = False

    @property
    def whole_call(self) -> bool:
        """Whether it goes on over documents."""
        return self._spec.both

    def begin(self) -> None:
        """Beep and start, as soon as the leg has media."""
        if self._leg.audio is None or self._done or self._beep is not None or self._recorder is not None:
            return
        if not self._spec.beep:
            self._start()
            return
        host = self._leg.host
        try:
            self._beep = make_player(self._spec.beep, host.next_token(self._beeped), host.eof, loop=False)
            connect(self._beep, self._leg.audio)
        except PjError:
            self._beeped()

    def _beeped(self) -> None:
        self._drop_beep()
        if not self._done and self._recorder is None and self._leg.audio is not None:
            self._start()

    def _start(self) -> None:
        host = self._leg.host
        try:
            self._recorder = make_recorder(self._spec.path)
            # an idle source keeps frames coming, so that the file has no holes
            connect(host.silence(), self._recorder)
            connect(self._leg.audio, self._recorder)
            if self._spec.both:
                for playback in self._leg.playbacks.values():
                    if playback.source is not None:
                        connect(playback.source, self._recorder)
        except PjError as error:
            host.emit(protocol.CommandFailed, key=self._leg.key, command="Record", error=str(error))
            self.finish("failed")
            return
        self._began = self._last_sound = host.reactor.seconds()
        self._timer = host.reactor.callLater(self.POLL_SECONDS, self._poll)

    def hear(self, source: Any) -> None:
        """Something begins to be played to the party."""
        if self._spec.both and self._recorder is not None:
            connect(source, self._recorder)

    def attach(self, audio: Any) -> None:
        """Media came up, or has a new slot."""
        if self._recorder is not None:
            connect(audio, self._recorder)
        elif self._beep is not None:
            connect(self._beep, audio)  # a player that nobody hears never ends
        else:
            self.begin()

    def _poll(self) -> None:
        self._timer = None
        reactor = self._leg.host.reactor
        now = reactor.seconds()
        audio = self._leg.audio
        if audio is not None and audio.getTxLevel() >= self.SOUND_LEVEL:
            self._heard = True
            self._last_sound = now
        if now - self._began >= self._spec.max_seconds:
            self.finish("max-length")
        elif now - self._last_sound >= self._spec.silence_seconds:
            self.finish("silence")
        else:
            rest = self._spec.max_seconds - (now - self._began)
            self._timer = reactor.callLater(min(self.POLL_SECONDS, max(rest, 0.001)), self._poll)

    def takes(self, digit: str) -> bool:
        """Offer a digit; true when it ended the recording."""
        if self._done or self._recorder is None or digit not in self._spec.finish_keys:
            return False
        self.finish("key", digit)
        return True

    def _drop_beep(self) -> None:
        beep, self._beep = self._beep, None
        if beep is not None:
            if self._leg.audio is not None:
                disconnect(beep, self._leg.audio)
            self._leg.host.trash.put(beep)

    def finish(self, end: str, digit: str = "") -> None:
        """Close the file and, once it is complete, tell the engine."""
        if self._done:
            return
        self._done = True
        self._leg.recordings.pop(self._name, None)
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._drop_beep()
        recorder, self._recorder = self._recorder, None
        host = self._leg.host
        if recorder is not None:
            disconnect(host.silence(), recorder)
            if self._leg.audio is not None:
                disconnect(self._leg.audio, recorder)
        del recorder  # closes the file at the next tick of the bridge
        self._leg.settling += 1
        host.reactor.callLater(self.SETTLE_SECONDS, self._report, end, digit)

    def _report(self, end: str, digit: str) -> None:
        self._leg.settling -= 1
        try:
            size = Path(self._spec.path).stat().st_size
        except OSError:
            size = 0
        self._leg.host.emit(
            protocol.RecordingDone,
            key=self._leg.key,
            recording=self._name,
            path=self._spec.path,
            seconds=min(self._spec.max_seconds, max(0, size - WAV_HEADER_BYTES) / BYTES_PER_SECOND),
            end=end,
            digit=digit,
            heard=self._heard,
        )
