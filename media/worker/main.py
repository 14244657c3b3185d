"""The worker process: a reactor, one endpoint, and the engine's commands over AMP.

SIP callbacks run in the reactor's thread, because the reactor reads pjsip's socket; players, the
bridge clock and RTP have threads of pjsua2's own, from which only `reactor.callFromThread` is called.
The process never returns from here: destructors after the library would abort, so it ends by
`os._exit`.
"""

from __future__ import annotations

import gc
import os
import re
import resource
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any

import pjsua2 as pj
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)

from media import protocol
from media.channel import Channel, handles
from media.worker.endpoint import Account, Endpoint, SipReader
from media.worker.guard import PjError, Trash, checked, make_tone_generator
from media.worker.leg import Leg
from media.worker.recording import Recording
from media.worker.room import Rooms

TICK_SECONDS = 0.1
COLLECT_SECONDS = 60.0
GOODBYE_SECONDS = 0.8

_LEG = re.compile(rf"^{protocol.LEG_HEADER}[ \t]*:[ \t]*(\S+)", re.IGNORECASE | re.MULTILINE)


class Worker(Channel):
    """The engine's end of the control connection; see `media.protocol` for what each command does."""

    def __init__(self, reactor: Any, config: protocol.WorkerConfig) -> None:
        super().__init__()
        self.reactor = reactor
        self.inband_digits = config.inband_digits
        self.trash = Trash(reactor.seconds)
        self._endpoint = Endpoint(config)
        self._account: Any = None
        self._legs: dict[bytes, Leg] = {}
        self._rooms = Rooms(self)
        self._tokens: dict[int, Callable[[], None]] = {}
        self._token = 0
        self._silence: Any = None
        self._device: Any = None
        self._connected = False
        self._credentials = ("", "")

    # -------------------------------------------------------------- life

    def start(self) -> None:
        """Bring the endpoint up; call before the control connection is made."""
        self._endpoint.start()
        self._account = Account(self.incoming)
        checked(self._account.create, self._endpoint.account_config())
        self.reactor.addReader(SipReader(self._endpoint.sip_fd(), self._poll))
        self._tick()

    def connectionMade(self) -> None:  # noqa: N802 - the name is Twisted's
        """Tell the engine that legs can come."""
        super().connectionMade()  # type: ignore[no-untyped-call]
        self._connected = True
        self.emit(protocol.Ready, pid=os.getpid(), sip_port=self._endpoint.port)

    def connectionLost(self, reason: Any = None) -> None:  # noqa: N802 - the name is Twisted's
        """The engine is gone: say BYE to the phones, not by way of the engine, and go."""
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        self._connected = False
        for leg in self._legs.values():
            if leg.farewell is not None and not leg.ended:
                _send_farewell(*leg.farewell)
        self.quit()

    def _poll(self) -> None:
        try:
            self._endpoint.poll()
        except pj.Error:
            traceback.print_exc()

    def _tick(self) -> None:
        self._poll()
        self.trash.empty()
        self.reactor.callLater(TICK_SECONDS, self._tick)

    def emit(self, event: Any, /, **arguments: Any) -> None:
        """Send an event to the engine."""
        if self._connected:
            self.tell(event, **arguments)

    # -------------------------------------------------------------- what legs ask for

    def playback_device(self) -> Any:
        """Slot 0 of the bridge."""
        if self._device is None:
            self._device = self._endpoint.library.audDevManager().getPlaybackDevMedia()
        return self._device

    def silence(self) -> Any:
        """A port that is always silent."""
        if self._silence is None:
            self._silence = make_tone_generator()
        return self._silence

    def next_token(self, done: Callable[[], None]) -> int:
        """Register what the end of a player leads to."""
        self._token += 1
        self._tokens[self._token] = done
        if len(self._tokens) > 4096:  # players that were stopped never ask for theirs
            del self._tokens[next(iter(self._tokens))]
        return self._token

    def eof(self, token: int) -> None:
        """A player ended (foreign thread)."""
        self.reactor.callFromThread(self._eof, token)

    def _eof(self, token: int) -> None:
        done = self._tokens.pop(token, None)
        if done is not None:
            done()

    def leg(self, key: bytes) -> Leg | None:
        """A leg that has not ended."""
        return self._legs.get(key)

    def media_changed(self, leg: Leg) -> None:
        """The audio of a leg came up, has a new slot in the bridge, or went."""
        self._rooms.media_changed(leg.key)

    def drop(self, leg: Leg) -> None:
        """Forget a leg that ended."""
        self._legs.pop(leg.key, None)

    # -------------------------------------------------------------- legs

    def incoming(self, call_id: int, message: str) -> None:
        """An INVITE: ring, and tell the engine. Nothing final may be sent inside this callback."""
        found = _LEG.search(message)
        leg = Leg(self, found[1].encode() if found else b"?%d" % call_id)
        leg.adopt(self._account, call_id)
        if found is None or leg.key in self._legs:
            leg.key = b"?%d-%d" % (call_id, id(leg))  # the one that is there stays reachable
            self._legs[leg.key] = leg
            self.reactor.callLater(0, self._guarded, leg.hangup, 403, [])
            return
        self._legs[leg.key] = leg
        self._endpoint.run_clock()
        self.reactor.callLater(0, self._ring, leg)

    def _ring(self, leg: Leg) -> None:
        if not leg.ended:
            self._guarded(leg.answer, 180, "", [])
            self.emit(protocol.Incoming, key=leg.key)

    def _guarded(self, action: Callable[..., None], *arguments: Any) -> None:
        """Do something to a leg; what fails is reported, and never ends the worker."""
        try:
            action(*arguments)
        except (PjError, pj.Error, OSError) as error:
            key = getattr(getattr(action, "__self__", None), "key", b"")
            text = str(error) or getattr(error, "reason", "") or type(error).__name__
            self.emit(protocol.CommandFailed, key=key, command=action.__name__, error=text)

    @handles(protocol.Answer)
    def _answer(
        self,
        key: bytes,
        code: int,
        phrase: str,
        headers: list[list[str]],
        farewell: list[Any] | None,
    ) -> None:
        if leg := self._legs.get(key):
            self._farewell(key, farewell)
            self._guarded(leg.answer, code, phrase, headers)

    @handles(protocol.Farewell)
    def _farewell(self, key: bytes, farewell: list[Any] | None) -> None:
        if (leg := self._legs.get(key)) and farewell:
            leg.farewell = (str(farewell[0]), int(farewell[1]), str(farewell[2]))

    @handles(protocol.Hangup)
    def _hangup(self, key: bytes, code: int, headers: list[list[str]]) -> None:
        if leg := self._legs.get(key):
            self._guarded(leg.hangup, code, headers)

    @handles(protocol.Originate)
    def _originate(
        self,
        key: bytes,
        to: str,
        from_: str,
        call_id: str,
        headers: list[list[str]],
        username: str,
        password: str,
    ) -> None:
        self._endpoint.run_clock()
        leg = Leg(self, key)
        self._legs[key] = leg
        try:
            self._use_credentials(username, password)
            leg.originate(self._account, to, from_, call_id, headers)
        except PjError as error:
            self._legs.pop(key, None)
            if not leg.ended:
                leg.ended = True
                self.emit(
                    protocol.LegEnded,
                    key=key,
                    code=500,
                    phrase="",
                    cause=str(error),
                    remote=False,
                    headers=[],
                    stats={},
                    slot_busy=0.0,
                )

    def _use_credentials(self, username: str, password: str) -> None:
        """Set the account's credentials; they are copied into a call when it is made."""
        if (username, password) == self._credentials:
            return
        account = self._endpoint.account_config()
        if username:
            found = pj.AuthCredInfo("digest", "*", username, 0, password)
            account.sipConfig.authCreds = pj.AuthCredInfoVector([found])
        checked(self._account.modify, account)
        self._credentials = (username, password)

    @handles(protocol.Play)
    def _play(self, key: bytes, playback: bytes, paths: list[str], loop: int) -> None:
        if leg := self._legs.get(key):
            self._guarded(leg.play, playback, paths, loop)

    @handles(protocol.SendDigits)
    def _send_digits(self, key: bytes, playback: bytes, digits: str, method: bytes) -> None:
        if leg := self._legs.get(key):
            self._guarded(leg.send_digits, playback, digits, method.decode())

    @handles(protocol.StopPlayback)
    def _stop_playback(self, key: bytes, playback: bytes) -> None:
        if leg := self._legs.get(key):
            self._guarded(leg.stop, playback)

    @handles(protocol.Record)
    def _record(
        self,
        key: bytes,
        recording: bytes,
        path: str,
        beep: str,
        max_seconds: float,
        silence_seconds: float,
        finish_keys: str,
        both: bool,
        stereo: bool,
    ) -> None:
        if leg := self._legs.get(key):
            spec = Recording.Spec(
                path=path,
                beep=beep,
                max_seconds=max_seconds,
                silence_seconds=silence_seconds,
                finish_keys=finish_keys,
                both=both,
                stereo=stereo,
            )
            self._guarded(leg.record, recording, spec)

    @handles(protocol.PauseRecording)
    def _pause_recording(self, key: bytes, recording: bytes, paused: bool) -> None:
        if leg := self._legs.get(key):
            self._guarded(leg.pause_recording, recording, paused)

    @handles(protocol.StopRecording)
    def _stop_recording(self, key: bytes, recording: bytes) -> None:
        if leg := self._legs.get(key):
            self._guarded(leg.stop_recording, recording)

    @handles(protocol.Reset)
    def _reset(self, key: bytes) -> None:
        if leg := self._legs.get(key):
            self._guarded(leg.reset)

    @handles(protocol.Mute)
    def _mute(self, key: bytes, muted: bool) -> None:
        if leg := self._legs.get(key):
            self._guarded(leg.mute, muted)

    @handles(protocol.WatchSpeech)
    def _watch_speech(self, key: bytes, wanted: bool) -> None:
        if leg := self._legs.get(key):
            self._guarded(leg.speech.watch, wanted)

    @handles(protocol.Hold)
    def _hold(self, key: bytes, held: bool) -> None:
        if leg := self._legs.get(key):
            self._guarded(leg.hold, held)

    @handles(protocol.Refer)
    def _refer(self, key: bytes, target: str, headers: list[list[str]]) -> None:
        if leg := self._legs.get(key):
            self._guarded(leg.refer, target, headers)

    @handles(protocol.SetRoom)
    def _set_room(self, room: bytes, members: list[list[Any]], link: list[str] | None) -> None:
        self._endpoint.run_clock()
        self._guarded(self._rooms.set, room, members, link)

    @handles(protocol.PlayRoom)
    def _play_room(self, room: bytes, paths: list[str]) -> None:
        self._guarded(self._rooms.play, room, paths)

    @protocol.Ping.responder
    def _ping(self) -> dict[str, object]:
        return {"legs": len(self._legs), "rss_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}

    @handles(protocol.Quit)
    def _quit(self) -> None:
        self.quit()

    def quit(self) -> None:
        """Hang up what is up, wait a moment for it, and exit."""
        self._guarded(self._rooms.close)
        if not self._legs:
            os._exit(0)
        for leg in list(self._legs.values()):
            self._guarded(leg.hangup, 480, [["Reason", 'SIP;cause=480;text="engine stopped"']])
        self._goodbye(self.reactor.seconds() + GOODBYE_SECONDS)

    def _goodbye(self, deadline: float) -> None:
        if not self._legs or self.reactor.seconds() >= deadline:
            os._exit(0)
        self.reactor.callLater(0.02, self._goodbye, deadline)


def _send_farewell(host: str, port: int, text: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        try:
            sender.sendto(text.encode(), (host, port))
        except OSError:
            traceback.print_exc()


def run(control_fd: int, config: protocol.WorkerConfig) -> None:
    """Run a worker on an inherited, connected unix stream socket; does not return."""
    from socket import AF_UNIX

    from twisted.internet import protocol as transport
    from twisted.internet import reactor, task

    gc.disable()  # a collection on a foreign thread would abort
    errors = FilteringLogObserver(textFileLogObserver(sys.stderr), [LogLevelFilterPredicate(LogLevel.error)])
    globalLogBeginner.beginLoggingTo([errors], redirectStandardIO=False)
    loop: Any = reactor
    worker = Worker(loop, config)
    try:
        worker.start()
        factory = transport.Factory.forProtocol(lambda: worker)
        factory.noisy = False
        loop.adoptStreamConnection(control_fd, AF_UNIX, factory)
        os.close(control_fd)
        collector = task.LoopingCall(gc.collect)
        collector.clock = loop
        collector.start(COLLECT_SECONDS, now=False)
        loop.run(installSignalHandlers=False)
    except Exception:
        traceback.print_exc(file=sys.stderr)
    finally:
        os._exit(1)
