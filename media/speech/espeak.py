"""The espeak-ng engine: synthesis on this machine, in child processes."""

from __future__ import annotations

import json
import os
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from twisted.internet import protocol
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.logger import Logger

from media.audio import wav_header
from media.speech.espeak_worker import MAXIMUM_FRAME, frame
from media.speech.languages import resolve
from media.speech.request import SpeechError, SpeechRequest, Voice

log = Logger()

VARIANTS = {Voice.MAN: "+m3", Voice.WOMAN: "+f2"}
"""Voice -> variant of the espeak-ng voice (a file in its `voices/!v` folder)."""


class ChildLostError(Exception):
    """The child process ended before it answered."""


def _idle(_child: _Child) -> None:
    """Nobody waits for the end of this child."""


class _Child(protocol.ProcessProtocol):
    """One child process, with at most one request under way."""

    def __init__(self, ended: Callable[[_Child], None]) -> None:
        self.rate = 0
        self._ended: Callable[[_Child], None] = ended
        self._buffer = bytearray()
        self._answer: Deferred[bytes] | None = None
        self.gone: Deferred[None] = Deferred()

    def ask(self, body: bytes) -> Deferred[bytes]:
        """Send a request. The Deferred fails with ChildLostError; cancelling it ends the child."""
        assert self._answer is None
        answer: Deferred[bytes] = Deferred(lambda _: self._abandon())
        self._answer = answer
        self._write(frame(body))
        return answer

    def _write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    def close(self) -> None:
        """Let the child end by itself: its stdin ends."""
        if self.transport is not None:
            self.transport.closeStdin()

    def _abandon(self) -> None:
        self._answer = None
        self.kill()

    def kill(self) -> None:
        """End the child now."""
        if self.transport is not None and self.transport.pid:
            self.transport.signalProcess("KILL")

    def outReceived(self, data: bytes) -> None:  # noqa: N802 - the name is Twisted's
        self._buffer += data
        while len(self._buffer) >= 4:
            size = int.from_bytes(self._buffer[:4], "big")
            if size > MAXIMUM_FRAME:
                self.kill()
                return
            if len(self._buffer) < 4 + size:
                return
            body = bytes(self._buffer[4 : 4 + size])
            del self._buffer[: 4 + size]
            self._received(body)

    def _received(self, body: bytes) -> None:
        if not self.rate:
            self.rate = int(body)
            return
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.callback(body)

    def errReceived(self, data: bytes) -> None:  # noqa: N802 - the name is Twisted's
        for line in data.decode("utf-8", "replace").splitlines():
            log.warn("espeak_output text={text}", text=line)

    def processEnded(self, reason: Any) -> None:  # noqa: N802 - the name is Twisted's
        self._ended(self)
        self._ended = _idle
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.errback(ChildLostError(f"the espeak-ng process ended: {reason.getErrorMessage()}"))
        self.gone.callback(None)


@attrs.define(eq=False)
class _Pool:
    """Children: those that are free, those at work, and who waits for one."""

    free: list[_Child] = attrs.Factory(list)
    alive: set[_Child] = attrs.Factory(set)
    waiting: deque[Deferred[None]] = attrs.Factory(deque)
    busy: int = 0


class EspeakEngine:
    """Speaks with espeak-ng; needs no network. Children are started when first needed."""

    name = "espeak"

    def __init__(
        self,
        reactor: Any,
        *,
        processes: int = 1,
        timeout: float = 10.0,
        limit_seconds: float = 1800.0,
        maximum_waiting: int = 1000,
    ) -> None:
        """Prepare; starts nothing.

        Args:
            reactor: IReactorProcess and IReactorTime.
            processes: children at most; each speaks one text at a time.
            timeout: time a request may take, waiting for a child included, seconds.
            limit_seconds: longest speech.
            maximum_waiting: requests that may wait for a child; more are refused.
        """
        self._reactor = reactor
        self._processes = processes
        self._timeout = timeout
        self._limit = limit_seconds
        self._maximum_waiting = maximum_waiting
        self._pool = _Pool()
        self._stopped = False
        self.restarts = 0
        """Children so far that died, or were ended because they took too long."""

    @property
    def waiting(self) -> int:
        """Requests that wait for a child."""
        return len(self._pool.waiting)

    @property
    def pids(self) -> list[int]:
        """Process ids of the living children."""
        return [child.transport.pid for child in self._pool.alive if child.transport is not None]

    async def synthesize(self, request: SpeechRequest) -> bytes:
        """Speak: a WAV file, 22050 Hz, mono, 16-bit. When the child dies, another is tried once.

        Raises:
            SpeechError: refused by the library, not in time, two children died, or stopped.
        """
        voice = resolve(request.language).espeak + VARIANTS[request.voice]
        body = json.dumps({"voice": voice, "text": request.text, "limit": self._limit}).encode()
        attempt = Deferred.fromCoroutine(self._twice(body)).addTimeout(self._timeout, self._reactor)
        try:
            reply, rate = await attempt
        except DeferredTimeout as error:
            raise SpeechError(f"espeak-ng gave no speech within {self._timeout:g} s") from error
        except (ChildLostError, OSError) as error:
            raise SpeechError(str(error)) from error
        if reply[:1] != b"A":
            raise SpeechError(f"espeak-ng refused: {reply[1:].decode('utf-8', 'replace')}")
        return wav_header(len(reply) - 1, rate) + reply[1:]

    async def _twice(self, body: bytes) -> tuple[bytes, int]:
        await self._turn()
        try:
            try:
                return await self._ask(body)
            except ChildLostError as error:
                if self._stopped:
                    raise SpeechError("the speech engine was stopped") from error
                log.warn("espeak_lost reason={reason}", reason=str(error))
                return await self._ask(body)
        finally:
            self._pass_turn()

    async def _ask(self, body: bytes) -> tuple[bytes, int]:
        child = self._pool.free.pop() if self._pool.free else self._start()
        reply = await child.ask(body)
        if child in self._pool.alive:
            self._pool.free.append(child)
        return reply, child.rate

    async def _turn(self) -> None:
        if self._stopped:
            raise SpeechError("the speech engine was stopped")
        if self._pool.busy < self._processes:
            self._pool.busy += 1
            return
        if len(self._pool.waiting) >= self._maximum_waiting:
            raise SpeechError(f"{self._maximum_waiting} texts wait for espeak-ng already")
        turn: Deferred[None] = Deferred(self._forget)
        self._pool.waiting.append(turn)
        await turn

    def _forget(self, turn: Deferred[None]) -> None:
        if turn in self._pool.waiting:
            self._pool.waiting.remove(turn)

    def _pass_turn(self) -> None:
        if self._pool.waiting:
            self._pool.waiting.popleft().callback(None)
        else:
            self._pool.busy -= 1

    def _start(self) -> _Child:
        child = _Child(self._child_ended)
        environment = dict(os.environ)
        root = str(Path(__file__).resolve().parents[2])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH")]))
        command = [sys.executable, "-m", "media.speech.espeak_worker"]
        self._reactor.spawnProcess(child, sys.executable, command, env=environment)
        self._pool.alive.add(child)
        return child

    def _child_ended(self, child: _Child) -> None:
        if child in self._pool.alive and not self._stopped:
            self.restarts += 1
        self._pool.alive.discard(child)
        if child in self._pool.free:
            self._pool.free.remove(child)

    async def stop(self) -> None:
        """End the children; waiting requests fail with SpeechError. A child gets 1 s to finish its own."""
        self._stopped = True
        for turn in list(self._pool.waiting):
            self._forget(turn)
            turn.errback(SpeechError("the speech engine was stopped"))
        for child in list(self._pool.alive):
            child.close()
            try:
                await _shielded(child.gone).addTimeout(1.0, self._reactor)
            except DeferredTimeout:
                log.warn("espeak_killed reason={reason}", reason="it did not end when its stdin ended")
                child.kill()
                await child.gone


def _shielded(source: Deferred[None]) -> Deferred[None]:
    """A Deferred that fires with `source`; cancelling it leaves `source` alone."""
    shield: Deferred[None] = Deferred()

    def passed(result: None) -> None:
        if not shield.called:
            shield.callback(result)

    source.addCallback(passed)
    return shield
