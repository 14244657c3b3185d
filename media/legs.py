"""The engine's handle on one leg in a media worker, and what is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from media import protocol

if TYPE_CHECKING:
    from media.bridge import Bridge
    from media.link import WorkerLink


class LegListener(Protocol):
    """Who hears what happens on a leg. Calls come in the order in which things happened."""

    def leg_incoming(self) -> None:
        """The INVITE has reached the worker, which rings."""
        ...

    def leg_progress(self, code: int, phrase: str, headers: list[list[str]]) -> None:
        """An outbound leg rings, or (200) a leg is confirmed."""
        ...

    def leg_media(self, codec: str, held: bool, early: bool = False) -> None:
        """Audio flows, or flows anew; `early`: of a leg that is not answered yet."""
        ...

    def leg_digit(self, digit: str, method: str) -> None:
        """A key was pressed."""
        ...

    def leg_playback_done(self, playback: str, error: str) -> None:
        """A playback ended by itself."""
        ...

    def leg_recording_done(self, report: RecordingReport) -> None:
        """A recording ended."""
        ...

    def leg_speaks(self, speaks: bool) -> None:
        """The party began to speak, or ended; only after `MediaLeg.watch_speech`."""
        ...

    def leg_reinvited(self, held: bool, code: int) -> None:
        """A hold (or its end) was asked of the party: final code, 0 when there was none."""
        ...

    def leg_referred(self, code: int, notify_code: int, final: bool) -> None:
        """News of a REFER; see `protocol.Referred`."""
        ...

    def leg_ended(self, report: EndReport) -> None:
        """The leg is over; the last call."""
        ...


@attrs.frozen(kw_only=True)
class RecordingReport:
    """How a recording ended; see `protocol.RecordingDone`."""

    recording: str
    path: str
    seconds: float
    end: str
    digit: str
    heard: bool


@attrs.frozen(kw_only=True)
class EndReport:
    """How a leg ended; see `protocol.LegEnded`. `lost`: its worker died."""

    code: int
    phrase: str
    cause: str
    remote: bool
    headers: list[list[str]]
    stats: dict[str, Any]
    slot_busy: float = 0.0
    lost: bool = False


class LegWorker(Protocol):
    """The worker that holds a leg."""

    sip_port: int
    pid: int
    link: WorkerLink | None
    legs: dict[bytes, MediaLeg]


class LegPool(Protocol):
    """Who counts the slots."""

    def leg_ended(self, leg: MediaLeg, report: EndReport) -> None:
        """A leg is over: free its slot and tell its listener."""
        ...


class MediaLeg:
    """The engine's handle on one leg in a worker. Commands after its end do nothing."""

    def __init__(self, pool: LegPool, worker: LegWorker, key: bytes) -> None:
        self._pool = pool
        self.worker = worker
        self.key = key
        self.listener: LegListener | None = None
        self.bridge: Bridge | None = None
        """The bridge it is in; kept by the bridge."""
        self.ended = False

    @property
    def sip_port(self) -> int:
        """UDP port of the worker on 127.0.0.1."""
        return self.worker.sip_port

    def _send(self, command: Any, /, **arguments: Any) -> None:
        link = self.worker.link
        if not self.ended and link is not None:
            link.tell(command, key=self.key, **arguments)

    def answer(
        self,
        code: int,
        phrase: str = "",
        headers: Sequence[tuple[str, str]] = (),
        farewell: tuple[str, int, str] | None = None,
    ) -> None:
        """Send a response to the INVITE of an inbound leg."""
        pairs = [list(h) for h in headers]
        self._send(protocol.Answer, code=code, phrase=phrase, headers=pairs, farewell=farewell)

    def farewell(self, farewell: tuple[str, int, str]) -> None:
        """Leave with the worker what the phone is told when the engine dies."""
        self._send(protocol.Farewell, farewell=farewell)

    def hangup(self, code: int = 603, headers: Sequence[tuple[str, str]] = ()) -> None:
        """End the leg."""
        self._send(protocol.Hangup, code=code, headers=[list(h) for h in headers])

    def originate(
        self,
        to: str,
        from_: str,
        call_id: str,
        headers: Sequence[tuple[str, str]] = (),
        username: str = "",
        password: str = "",
    ) -> None:
        """Start the outbound leg."""
        self._send(
            protocol.Originate,
            to=to,
            from_=from_,
            call_id=call_id,
            headers=[list(h) for h in headers],
            username=username,
            password=password,
        )

    def play(self, playback: str, paths: Sequence[str], loop: int) -> None:
        """Play WAV files in order, `loop` times (0: until stopped)."""
        self._send(protocol.Play, playback=playback.encode(), paths=list(paths), loop=loop)

    def send_digits(self, playback: str, digits: str, method: str = "rfc4733") -> None:
        """Send digits."""
        self._send(protocol.SendDigits, playback=playback.encode(), digits=digits, method=method.encode())

    def stop_playback(self, playback: str) -> None:
        """Stop a playback; no event follows."""
        self._send(protocol.StopPlayback, playback=playback.encode())

    def record(
        self,
        recording: str,
        path: str,
        *,
        beep: str,
        max_seconds: float,
        silence_seconds: float,
        finish_keys: str,
        both: bool = False,
        stereo: bool = False,
    ) -> None:
        """Record the party (and, with `both`, what it hears) into a WAV file; see `protocol.Record`."""
        self._send(
            protocol.Record,
            recording=recording.encode(),
            path=path,
            beep=beep,
            max_seconds=float(max_seconds),
            silence_seconds=float(silence_seconds),
            finish_keys=finish_keys,
            both=both,
            stereo=stereo,
        )

    def pause_recording(self, recording: str, paused: bool) -> None:
        """Let a recording pause, or go on."""
        self._send(protocol.PauseRecording, recording=recording.encode(), paused=paused)

    def stop_recording(self, recording: str) -> None:
        """End a recording early."""
        self._send(protocol.StopRecording, recording=recording.encode())

    def reset(self) -> None:
        """Stop everything that plays or records, but for recordings of both sides."""
        self._send(protocol.Reset)

    def mute(self, muted: bool) -> None:
        """Silence what the party says."""
        self._send(protocol.Mute, muted=muted)

    def watch_speech(self, wanted: bool) -> None:
        """Tell the listener when the party speaks, or tell it no more."""
        self._send(protocol.WatchSpeech, wanted=wanted)

    def hold(self, held: bool) -> None:
        """Put the party on hold, or take it off; the listener is told the outcome."""
        self._send(protocol.Hold, held=held)

    def refer(self, target: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Ask the party to call somebody else; the listener is told what becomes of it."""
        self._send(protocol.Refer, target=target, headers=[list(h) for h in headers])

    def abandon(self, code: int, phrase: str) -> None:
        """End a leg that the worker never took (its INVITE was refused); the listener is told."""
        report = EndReport(code=code, phrase=phrase, cause="", remote=False, headers=[], stats={})
        self._pool.leg_ended(self, report)
