"""Two calls that are joined: who hears whom, hold music, keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from media.bridge import Bridge
from media.tones import MUSIC_SECONDS
from rcml.ports import Prompt

if TYPE_CHECKING:
    from voiceengine.calls.call import Call
    from voiceengine.calls.context import CallContext


class Pair:
    """Two calls that hear each other; implements `call.Joined`.

    While one of them is on hold, by its own doing or by ours, the other hears music (setting
    `calls.hold_music`). All of that follows from the state of the two legs.

    Args:
        context: what all calls share.
        first: the caller; its keys are handed on by its document, if that runs.
        second: the one who was called.
        first_keys: hand on the keys of `first` as well, as no document does.
    """

    def __init__(self, context: CallContext, first: Call, second: Call, *, first_keys: bool = False) -> None:
        self._context = context
        self.first = first
        self.second = second
        self._bridge: Bridge = context.pool.new_bridge()
        self._early = False
        self._over = False
        self._music: dict[Call, str] = {}
        self._taps = [(second, self._to_first)]
        if first_keys:
            self._taps.append((first, self._to_second))

    def join(self, *, early: bool = False) -> None:
        """Let them hear each other; `early`: only `first` hears `second`, which was not answered yet."""
        if self._early or not early:
            self.first.records.journal("bridged", call=self.second.sid, early=early)
        if not early:
            for call, tap in self._taps:
                if tap not in call.leg.taps:
                    call.leg.taps.append(tap)
            self.first.joined = self.second.joined = self
        self._early = early
        self._apply()

    def other(self, call: Call) -> Call:
        """The other one of the two."""
        return self.second if call is self.first else self.first

    @property
    def over(self) -> bool:
        """Whether one of them is gone, or both go their own ways; a document may be slow to notice."""
        return self._over or self.first.leg.ended or self.second.leg.ended

    def holds(self, call: Call) -> None:
        """One of them was put on hold, or taken off."""
        self._apply()

    def mute(self, call: Call, muted: bool) -> None:
        """Nothing is to be done here: the leg itself is silenced."""

    def speaks(self, call: Call, speaks: bool) -> None:
        """Nobody asks who of two speaks."""

    def _apply(self) -> None:
        if self._over:
            return
        for call in (self.first, self.second):
            media = call.leg.media
            if media is None or call.leg.ended:
                continue
            is_first = call is self.first
            here = not call.leg.on_hold
            # a phone that holds may play music of its own; the other side hears one or the other
            replaced = call.leg.held and self._context.settings.calls.hold_music
            self._bridge.set(
                media,
                speak=here and not replaced and not (self._early and is_first),
                hear=here and (is_first or not self._early),
            )
            self._play(call)

    def _play(self, call: Call) -> None:
        """Let a call whose other side is on hold hear music."""
        other = self.other(call).leg
        wanted = (
            self._context.settings.calls.hold_music
            and not self._early
            and (other.on_hold or other.held)
            and not (call.leg.on_hold or call.leg.held)
        )
        playing = self._music.get(call)
        if wanted and playing is None:
            self._music[call] = call.leg.play_aside([music_of(self._context)], 0)
        elif not wanted and playing is not None:
            del self._music[call]
            call.leg.stop_aside(playing)

    def send_digit(self, digit: str, *, to_first: bool = False) -> None:
        """Send a key on to one of them."""
        (self.first if to_first else self.second).leg.digits_aside(digit)

    def _to_first(self, digit: str, method: str) -> bool:
        self.send_digit(digit, to_first=True)
        return True

    def _to_second(self, digit: str, method: str) -> bool:
        self.send_digit(digit)
        return True

    def split(self) -> None:
        """Let them hear each other no more."""
        if self._over:
            return
        self._over = True
        for call, tap in self._taps:
            if tap in call.leg.taps:
                call.leg.taps.remove(tap)
        for call, playing in self._music.items():
            call.leg.stop_aside(playing)
        self._music.clear()
        for call in (self.first, self.second):
            if call.joined is self:
                call.joined = None
        self._bridge.close()
        self.first.records.journal("unbridged", call=self.second.sid)


def music_of(context: CallContext) -> Prompt:
    """The built-in music."""
    return Prompt(source=str(context.assets.music), seconds=MUSIC_SECONDS, label="music")
