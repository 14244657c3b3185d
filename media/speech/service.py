"""Speech for calls: engines in order, conversion, and a cache in front of them."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from media.audio import AudioError, decode, duration, is_silent, write_wav
from media.speech.collapse import Collapse
from media.speech.request import SpeechEngine, SpeechError, SpeechRequest, SpokenAudio

log = Logger()

FORMAT_VERSION = 1
"""Part of every key; raised when the same request gives other audio than before."""
_CONVERT_SECONDS = 30.0
_REMEMBERED = 20_000


@attrs.frozen
class _Entry:
    audio: SpokenAudio
    until: float | None
    """Time of the reactor after which it is made anew; None: never."""


class SpeechService:
    """Turns texts into files that can be played.

    A text is spoken once: results are kept on disk under a hash of the whole request and the order of the
    engines. When an engine fails, the next one speaks within the same request; what a later engine
    spoke is used for `fallback_seconds` only, so that a passing failure does not stay audible.
    """

    def __init__(
        self,
        reactor: Any,
        engines: Sequence[SpeechEngine],
        folder: Path,
        *,
        pool: ThreadPool,
        max_characters: int = 5000,
        engine_timeout: float = 15.0,
        fallback_seconds: float = 60.0,
    ) -> None:
        """Prepare; the folder is made if need be.

        Args:
            reactor: IReactorTime and IReactorFromThreads.
            engines: tried in this order; at least one. The service stops them.
            folder: the cache.
            pool: started threads for conversion; the caller stops it.
            max_characters: longest text.
            engine_timeout: time an engine gets at most, besides its own limit, seconds.
            fallback_seconds: how long speech of an engine other than the first is reused.
        """
        if not engines:
            raise ValueError("no speech engine; at least one is needed")
        self._reactor = reactor
        self._engines = list(engines)
        self._folder = folder
        self._pool = pool
        self._max_characters = max_characters
        self._engine_timeout = engine_timeout
        self._fallback_seconds = fallback_seconds
        self._known: dict[SpeechRequest, _Entry] = {}
        self._under_way: Collapse[SpokenAudio] = Collapse()
        self.last_errors: Counter[str] = Counter()
        """Failures so far, by the name of the engine."""
        self.hits = 0
        """Requests that were answered from memory or disk."""
        self.misses = 0
        """Requests for which an engine had to speak."""
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def under_way(self) -> int:
        """Different texts that are being spoken now."""
        return len(self._under_way)

    async def synthesize(self, request: SpeechRequest) -> SpokenAudio:
        """Speak a text, or take it from the cache. What was spoken once is there without waiting.

        Raises:
            SpeechError: empty or longer than allowed, or no engine could speak it.
        """
        known = self._remembered(request)
        if known is not None:
            self.hits += 1
            return known
        if not request.text.strip():
            raise SpeechError("there is no text to speak")
        if len(request.text) > self._max_characters:
            raise SpeechError(
                f"the text has {len(request.text)} characters; at most {self._max_characters} are spoken"
            )
        key = self.key(request)
        return await self._under_way.run(key, lambda: self._produce(request, key))

    def key(self, request: SpeechRequest) -> str:
        """Name of the request in the cache: SHA-256 in hex of all of it and of the engines."""
        whole = {
            "version": FORMAT_VERSION,
            "engines": [engine.name for engine in self._engines],
            "text": request.text,
            "voice": request.voice.value,
            "language": request.language,
        }
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()

    async def stop(self) -> None:
        """Give up what is under way and stop the engines. Never raises."""
        self._under_way.cancel()
        for engine in self._engines:
            await engine.stop()

    def _remembered(self, request: SpeechRequest) -> SpokenAudio | None:
        entry = self._known.get(request)
        if entry is None:
            return None
        if entry.until is None or self._reactor.seconds() < entry.until:
            try:
                os.utime(entry.audio.path)  # proves that it is there, and keeps it from being trimmed
            except OSError:
                pass
            else:
                return entry.audio
        del self._known[request]
        return None

    def _remember(self, request: SpeechRequest, audio: SpokenAudio, until: float | None) -> None:
        if len(self._known) >= _REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[request] = _Entry(audio, until)

    async def _produce(self, request: SpeechRequest, key: str) -> SpokenAudio:
        path = self._folder / f"{key}.wav"
        try:
            audio = SpokenAudio(path, duration(path))
            os.utime(path)
        except (OSError, AudioError):
            return await self._speak(request, key)
        self.hits += 1
        self._remember(request, audio, None)
        return audio

    async def _speak(self, request: SpeechRequest, key: str) -> SpokenAudio:
        self.misses += 1
        reasons: list[str] = []
        for place, engine in enumerate(self._engines):
            path = self._folder / (f"{key}.wav" if place == 0 else f"{key}.{engine.name}.wav")
            started = self._reactor.seconds()
            try:
                seconds = await self._with(engine, request, path)
            except SpeechError as error:
                self.last_errors[engine.name] += 1
                reasons.append(f"{engine.name}: {error}")
                log.warn(
                    "speech_failed engine={engine} language={language} characters={characters}"
                    " took_ms={took_ms} reason={reason}",
                    engine=engine.name,
                    language=request.language,
                    characters=len(request.text),
                    took_ms=round((self._reactor.seconds() - started) * 1000),
                    reason=str(error),
                )
                continue
            audio = SpokenAudio(path, seconds)
            until = None if place == 0 else self._reactor.seconds() + self._fallback_seconds
            self._remember(request, audio, until)
            return audio
        raise SpeechError(f"no engine could speak the text: {'; '.join(reasons)}")

    async def _with(self, engine: SpeechEngine, request: SpeechRequest, path: Path) -> float:
        speech = Deferred.fromCoroutine(engine.synthesize(request))
        try:
            data = await speech.addTimeout(self._engine_timeout, self._reactor)
            convert = deferToThreadPool(self._reactor, self._pool, _convert, data, path)
            return await convert.addTimeout(_CONVERT_SECONDS, self._reactor)
        except DeferredTimeout as error:
            raise SpeechError("it took too long") from error


def _convert(data: bytes, path: Path) -> float:
    """Convert and store, in a thread. Raises SpeechError; nothing is stored then."""
    try:
        samples = decode(data)
        if is_silent(samples):
            raise SpeechError("the engine gave silence")
        return write_wav(path, samples)
    except (AudioError, OSError) as error:
        raise SpeechError(str(error)) from error
