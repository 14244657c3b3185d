"""Recordings of a leg: what the party says, until silence, a key, the longest time or a stop.

What the party hears may go into the same file, or into a second one beside it.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from media import protocol
from media.worker.guard import PjError, checked, connect, disconnect, make_player, make_recorder

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
        """What the party hears goes into the file as well."""
        stereo: bool = False
        """What the party hears goes into a second file."""

    def __init__(self, leg: Leg, name: bytes, spec: Spec) -> None:
        self._leg = leg
        self._name = name
        self._spec = spec
        self._beep: Any = None
        self._recorder: Any = None
        """Takes what the party says."""
        self._hearer: Any = None
        """Takes what the party hears: the same recorder, another one, or none."""
        self._paused = False
        self._paused_at = 0.0
        self._timer: Any = None
        self._began = 0.0
        self._last_sound = 0.0
        self._heard = False
        self._done = False

    @property
    def whole_call(self) -> bool:
        """Whether it goes on over documents."""
        return self._spec.both or self._spec.stereo

    @property
    def _paths(self) -> list[str]:
        path = self._spec.path
        return [path, protocol.heard_path(path)] if self._spec.stereo else [path]

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
            if self._spec.stereo:
                self._hearer = make_recorder(protocol.heard_path(self._spec.path))
            elif self._spec.both:
                self._hearer = self._recorder
            if not self._paused:
                self._open()
        except PjError as error:
            self._leg.failed("Record", error)
            self.finish("failed")
            return
        self._began = self._last_sound = self._paused_at = host.reactor.seconds()
        if not self._paused:
            self._watch()

    def _recorders(self) -> list[Any]:
        return [self._recorder] if self._hearer in (None, self._recorder) else [self._recorder, self._hearer]

    def _open(self) -> None:
        """Let sound in. All files get their silence at the same moment, so that they are of equal length."""
        silence = self._leg.host.silence()
        for recorder in self._recorders():
            # an idle source keeps frames coming, so that the file has no holes
            connect(silence, recorder)
        if self._leg.audio is not None:
            connect(self._leg.audio, self._recorder)
        if self._hearer is not None:
            for source in self._leg.heard.values():
                connect(source, self._hearer)

    def _shut(self) -> None:
        """Let no sound in, not even silence: nothing is written."""
        silence = self._leg.host.silence()
        for recorder in self._recorders():
            disconnect(silence, recorder)
        if self._leg.audio is not None:
            disconnect(self._leg.audio, self._recorder)
        if self._hearer is not None:
            for source in self._leg.heard.values():
                disconnect(source, self._hearer)

    def pause(self, paused: bool) -> None:
        """Write nothing for a while; the time does not count, and its silence ends nothing."""
        if paused == self._paused or self._done:
            return
        self._paused = paused
        if self._recorder is None:
            return
        now = self._leg.host.reactor.seconds()
        if paused:
            self._paused_at = now
            self._unwatch()
            self._shut()
            return
        self._began += now - self._paused_at
        self._last_sound += now - self._paused_at
        try:
            self._open()
        except PjError as error:
            self._leg.failed("PauseRecording", error)
        self._watch()

    def hear(self, source: Any) -> None:
        """The party begins to hear something."""
        if self._hearer is None or self._paused:
            return
        try:
            connect(source, self._hearer)
        except PjError as error:
            self._leg.failed("Record", error)

    def hear_no_more(self, source: Any) -> None:
        """The party no longer hears something."""
        if self._hearer is not None and not self._paused:
            disconnect(source, self._hearer)

    def attach(self, audio: Any) -> None:
        """Media came up, or has a new slot."""
        if self._recorder is not None:
            if not self._paused:
                connect(audio, self._recorder)
        elif self._beep is not None:
            connect(self._beep, audio)  # a player that nobody hears never ends
        else:
            self.begin()

    def _watch(self) -> None:
        rest = max(self._spec.max_seconds - (self._leg.host.reactor.seconds() - self._began), 0.001)
        self._timer = self._leg.host.reactor.callLater(min(self.POLL_SECONDS, rest), self._poll)

    def _unwatch(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _loud(self) -> bool:
        if self._leg.audio is None:
            return False
        try:
            return bool(checked(self._leg.audio.getTxLevel) >= self.SOUND_LEVEL)
        except PjError:
            return False

    def _poll(self) -> None:
        self._timer = None
        now = self._leg.host.reactor.seconds()
        if self._loud():
            self._heard = True
            self._last_sound = now
        if now - self._began >= self._spec.max_seconds:
            self.finish("max-length")
        elif now - self._last_sound >= self._spec.silence_seconds:
            self.finish("silence")
        else:
            self._watch()

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
        self._unwatch()
        self._drop_beep()
        host = self._leg.host
        if self._recorder is not None:
            self._shut()
        self._recorder = self._hearer = None  # closes the files at the next tick of the bridge
        self._leg.settling += 1
        host.reactor.callLater(self.SETTLE_SECONDS, self._report, end, digit)

    def _report(self, end: str, digit: str) -> None:
        self._leg.settling -= 1
        if len(self._paths) > 1:
            _same_length(self._paths)
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


def _same_length(paths: list[str]) -> None:
    """Cut what the bridge's clock wrote into one file and not into another, a frame at most."""
    try:
        sizes = [Path(path).stat().st_size for path in paths]
        size = max(min(sizes), WAV_HEADER_BYTES)
        for path, its in zip(paths, sizes, strict=True):
            if its > size:
                with open(path, "r+b") as file:  # noqa: PTH123 - Path.open does no more
                    os.truncate(file.fileno(), size)
                    file.seek(4)
                    file.write(struct.pack("<I", size - 8))
                    file.seek(WAV_HEADER_BYTES - 4)
                    file.write(struct.pack("<I", size - WAV_HEADER_BYTES))
    except OSError:
        pass  # the engine looks at what is there
