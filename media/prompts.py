"""Sound files of applications: fetched, converted and kept, per account.

Rules: one GET without parameters; a second use does not fetch again; past a maximum age the file is
asked for anew, conditionally; a file that cannot be reached any more is played from the cache.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from media.audio import AudioError, decode, duration, write_atomically, write_wav
from media.audio_fetch import (
    AudioFetch,
    FetchReply,
    PromptFetchError,
    PromptUrlError,
    TreqAudioFetch,
    check_url,
)
from media.speech.collapse import Collapse

__all__ = [
    "AudioCache",
    "AudioFetch",
    "CachedAudio",
    "FetchReply",
    "PromptFetchError",
    "PromptUrlError",
    "TreqAudioFetch",
    "trim",
]

log = Logger()

FORMAT_VERSION = 1
"""Part of every key; raised when files are converted otherwise than before."""
_CONVERT_SECONDS = 60.0
_FETCH_SECONDS = 120.0
_STALE_SECONDS = 10.0
_REMEMBERED = 20_000
_CONDITIONS = {"etag": "If-None-Match", "last-modified": "If-Modified-Since"}


@attrs.frozen
class CachedAudio:
    """A sound file that is ready to be played."""

    path: Path
    """An 8 kHz, mono, 16-bit WAV file; to be read, not to be changed or removed."""
    seconds: float
    """Its length."""
    stale_reason: str = ""
    """Not empty: the file is older than allowed, because of this failure to fetch it again (journal it)."""


@attrs.frozen
class _Entry:
    audio: CachedAudio
    checked: float
    """Wall time, seconds, when the server last said that this is the file."""
    validators: dict[str, str]
    """Of `etag` and `last-modified`, what the server gave."""


class AudioCache:
    """Turns URLs into files that can be played."""

    def __init__(
        self,
        reactor: Any,
        folder: Path,
        fetch: AudioFetch,
        *,
        pool: ThreadPool,
        now: Callable[[], float],
        max_age_seconds: float = 300.0,
        enabled: bool = True,
        max_seconds: float = 3600.0,
    ) -> None:
        """Prepare; the folder is made if need be.

        Args:
            reactor: IReactorTime and IReactorFromThreads.
            folder: the cache.
            fetch: makes the requests.
            pool: started threads for conversion; the caller stops it.
            now: wall time, seconds since 1970 (ages must survive a restart).
            max_age_seconds: age after which the server is asked again.
            enabled: False: every use fetches anew, and nothing is kept for later.
            max_seconds: longest audio.
        """
        self._reactor = reactor
        self._folder = folder
        self._fetch = fetch
        self._pool = pool
        self._now = now
        self._max_age = max_age_seconds
        self._enabled = enabled
        self._max_seconds = max_seconds
        self._known: dict[tuple[str, str], _Entry] = {}
        self._under_way: Collapse[CachedAudio] = Collapse()
        self.hits = 0
        """Uses that needed no request."""
        self.misses = 0
        """Uses for which the server was asked."""
        folder.mkdir(parents=True, exist_ok=True)

    async def get(self, url: str, account_key: str) -> CachedAudio:
        """Make the file at `url` ready. What is known and young enough is there without waiting.

        Args:
            url: absolute http(s) URL; a fragment is ignored.
            account_key: files are not shared between accounts.

        Raises:
            PromptUrlError: `url` is not such a URL.
            PromptFetchError: it could not be fetched (any status but 200) or decoded.
        """
        known = self._fresh(url, account_key)
        if known is not None:
            return known
        check_url(url)
        url_to_get = url.partition("#")[0]
        key = self.key(url_to_get, account_key)
        if not self._enabled:
            return await self._uncached(url_to_get, key)
        return await self._under_way.run(key, lambda: self._load(url, url_to_get, account_key, key))

    def key(self, url: str, account_key: str) -> str:
        """Name of a file in the cache: SHA-256 in hex."""
        whole = json.dumps([FORMAT_VERSION, account_key, url])
        return hashlib.sha256(whole.encode()).hexdigest()

    def stop(self) -> None:
        """Give up what is under way; those who wait get a CancelledError."""
        self._under_way.cancel()

    def _young(self, entry: _Entry) -> bool:
        return 0 <= self._now() - entry.checked < self._max_age

    def _fresh(self, url: str, account_key: str) -> CachedAudio | None:
        entry = self._known.get((account_key, url))
        if entry is None or not self._young(entry):
            return None
        try:
            os.utime(entry.audio.path)  # proves that it is there, and keeps it from being trimmed
        except OSError:
            del self._known[account_key, url]
            return None
        self.hits += 1
        return entry.audio

    async def _load(self, url: str, url_to_get: str, account_key: str, key: str) -> CachedAudio:
        entry = self._read_entry(key)
        if entry is not None and self._young(entry):
            self.hits += 1
        elif entry is None:
            entry = await self._first(url_to_get, key)
        else:
            entry = await self._refresh(url_to_get, key, entry)
        if len(self._known) >= _REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[account_key, url] = entry
        return entry.audio

    async def _first(self, url: str, key: str) -> _Entry:
        return await self._store(key, url, await self._ask(url, {}))

    async def _refresh(self, url: str, key: str, entry: _Entry) -> _Entry:
        conditions = {_CONDITIONS[name]: value for name, value in entry.validators.items()}
        try:
            reply = await self._ask(url, conditions)
        except PromptFetchError as error:
            if error.status is not None:
                raise
            log.warn("audio_stale url={url} reason={reason}", url=url, reason=error.message)
            # Not asked again at once: each use would wait for the same timeout.
            checked = self._now() - self._max_age + min(_STALE_SECONDS, self._max_age)
            return _Entry(attrs.evolve(entry.audio, stale_reason=error.message), checked, entry.validators)
        if reply.status == 304 and conditions:
            renewed = attrs.evolve(
                entry, checked=self._now(), validators=entry.validators | _validators(reply)
            )
            self._write_entry(key, url, renewed)
            return renewed
        return await self._store(key, url, reply)

    async def _uncached(self, url: str, key: str) -> CachedAudio:
        # One file per URL, replaced at each use: whoever plays the old one has it open.
        reply = await self._ask(url, {})
        path = self._folder / f"{key}.uncached.wav"
        return CachedAudio(path, await self._convert(url, reply, path))

    async def _ask(self, url: str, conditions: dict[str, str]) -> FetchReply:
        self.misses += 1
        asked = Deferred.fromCoroutine(self._fetch(url, conditions))
        try:
            reply = await asked.addTimeout(_FETCH_SECONDS, self._reactor)
        except DeferredTimeout as error:
            raise PromptFetchError(f"fetching {url} took too long") from error
        if reply.status != 200 and not (reply.status == 304 and conditions):
            raise PromptFetchError(f"{url} was answered with status {reply.status}", reply.status)
        return reply

    async def _store(self, key: str, url: str, reply: FetchReply) -> _Entry:
        path = self._folder / f"{key}.wav"
        checked = self._now()
        seconds = await self._convert(url, reply, path)
        entry = _Entry(CachedAudio(path, seconds), checked, _validators(reply))
        self._write_entry(key, url, entry)
        return entry

    async def _convert(self, url: str, reply: FetchReply, path: Path) -> float:
        work = deferToThreadPool(self._reactor, self._pool, _convert, reply.body, path, self._max_seconds)
        try:
            return await work.addTimeout(_CONVERT_SECONDS, self._reactor)
        except DeferredTimeout as error:
            raise PromptFetchError(f"converting {url} took too long", reply.status) from error
        except AudioError as error:
            raise PromptFetchError(f"{url} cannot be played: {error}", reply.status) from error
        except OSError as error:
            raise PromptFetchError(f"{url} cannot be stored: {error.strerror}", reply.status) from error

    def _read_entry(self, key: str) -> _Entry | None:
        path = self._folder / f"{key}.wav"
        try:
            kept = json.loads((self._folder / f"{key}.json").read_bytes())
            audio = CachedAudio(path, duration(path))
            validators = {name: str(kept[name]) for name in _CONDITIONS if name in kept}
            entry = _Entry(audio, float(kept["checked"]), validators)
            os.utime(path)
        except (OSError, ValueError, KeyError, TypeError, AudioError):
            return None
        return entry

    def _write_entry(self, key: str, url: str, entry: _Entry) -> None:
        kept = {"url": _public(url), "checked": entry.checked, **entry.validators}
        try:
            write_atomically(self._folder / f"{key}.json", json.dumps(kept).encode())
        except OSError as error:
            log.warn("audio_note_failed key={key} reason={reason}", key=key, reason=str(error))


def _validators(reply: FetchReply) -> dict[str, str]:
    return {name: reply.headers[name] for name in _CONDITIONS if reply.headers.get(name)}


def _public(url: str) -> str:
    """The URL for people who look into the folder: without user information and query."""
    scheme, _, rest = url.partition("?")[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def _convert(data: bytes, path: Path, limit_seconds: float) -> float:
    """Convert and store, in a thread. Raises AudioError or OSError; nothing is stored then."""
    return write_wav(path, decode(data, limit_seconds=limit_seconds))


def trim(folder: Path, max_bytes: int) -> int:
    """Remove the files of a cache that were not used for longest, until the rest fits.

    A file and its notes (same name up to the first dot) go together. Left-over temporary files go first.
    Blocks; to be called on start, before anything uses the folder.

    Returns:
        Bytes that are left.
    """
    groups: dict[str, tuple[float, int, list[Path]]] = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        if not path.is_file():
            continue
        if path.suffix == ".tmp":
            path.unlink(missing_ok=True)
            continue
        status = path.stat()
        used, size, paths = groups.get(path.name.partition(".")[0], (0.0, 0, []))
        group = (max(used, status.st_mtime), size + status.st_size, [*paths, path])
        groups[path.name.partition(".")[0]] = group
    left = sum(size for _, size, _ in groups.values())
    for _, size, paths in sorted(groups.values(), key=lambda group: group[0]):
        if left <= max_bytes:
            break
        for path in paths:
            path.unlink(missing_ok=True)
        left -= size
    return left
