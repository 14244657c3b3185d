"""The gTTS engine: the speech of Google translate, over HTTPS.

The gtts package cuts the text into parts and builds the requests; they are sent here, because the
package itself checks no certificate and knows no time limit for the whole.
"""

from __future__ import annotations

import base64
import binascii
import re
import threading
import time
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from media.speech.languages import resolve
from media.speech.request import SpeechError, SpeechRequest

_AUDIO = re.compile(r'jQ1olc","\[\\"(.*?)\\"')
"""Where the reply holds base64 of an MP3 file; jQ1olc is the name of the procedure."""
_XING = re.compile(rb"\A.{,1024}?\xff[\xe0-\xff].{2}\0{9,32}(?:Xing|Info)", re.DOTALL)
_MAXIMUM_REPLY = 8_000_000
_CHUNK = 16384


class _DaemonThread(threading.Thread):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "daemon": True})


class _DaemonPool(ThreadPool):
    """Threads that nobody has to wait for: a slow server must not hold up the end of the engine."""

    threadFactory = _DaemonThread  # noqa: N815 - the name is Twisted's


class GttsEngine:
    """Speaks with Google translate. One voice only: `man` and `woman` sound the same."""

    name = "gtts"

    def __init__(
        self,
        reactor: Any,
        *,
        timeout: float = 4.0,
        base_url: str = "",
        threads: int = 4,
        maximum_waiting: int = 100,
    ) -> None:
        """Prepare; threads are started when first needed.

        Args:
            reactor: IReactorTime and IReactorFromThreads.
            timeout: time a text may take, waiting for a thread and all parts included, seconds.
            base_url: `http://HOST[:PORT][/PREFIX]` in place of the Google host; empty: the real one.
            threads: requests at once.
            maximum_waiting: texts in hand at most; more are refused.
        """
        self._reactor = reactor
        self._timeout = timeout
        self._base_url = base_url.rstrip("/")
        self._maximum = maximum_waiting
        self._pool: ThreadPool | None = None
        self._threads = threads
        self._open: set[threading.Event] = set()
        self._stopped = False

    @property
    def waiting(self) -> int:
        """Texts in hand, under way or waiting for a thread."""
        return len(self._open)

    async def synthesize(self, request: SpeechRequest) -> bytes:
        """Speak: the bytes of an MP3 file.

        Raises:
            SpeechError: the service refused, could not be reached, or took too long.
        """
        if self._stopped:
            raise SpeechError("the speech engine was stopped")
        if len(self._open) >= self._maximum:
            raise SpeechError(f"{self._maximum} texts wait for gTTS already")
        given_up = threading.Event()
        self._open.add(given_up)
        work = deferToThreadPool(
            self._reactor,
            self._started_pool(),
            _fetch,
            request,
            self._base_url,
            time.monotonic() + self._timeout,
            given_up,
        )
        try:
            return await work.addTimeout(self._timeout, self._reactor)
        except DeferredTimeout as error:
            raise SpeechError(f"gTTS gave no speech within {self._timeout:g} s") from error
        finally:
            given_up.set()
            self._open.discard(given_up)

    def _started_pool(self) -> ThreadPool:
        if self._pool is None:
            self._pool = _DaemonPool(0, self._threads, "gtts")
            self._pool.start()
        return self._pool

    async def stop(self) -> None:
        """Let the threads go; those that wait for the service end by themselves within the time limit."""
        self._stopped = True
        for given_up in self._open:
            given_up.set()
        if self._pool is not None:
            self._pool.adjustPoolsize(0, 0)


def _fetch(request: SpeechRequest, base_url: str, deadline: float, given_up: threading.Event) -> bytes:
    """Speak, in a thread. Raises SpeechError."""
    import requests
    from urllib3.exceptions import HTTPError

    parts: list[bytes] = []
    try:
        with requests.Session() as session:
            for prepared in _requests(request, base_url):
                parts.append(_part(session, prepared, deadline, given_up))  # noqa: PERF401 - each blocks
    except requests.Timeout as error:
        raise SpeechError("gTTS took too long to answer") from error
    except (OSError, ValueError, HTTPError) as error:  # OSError: all of requests' own errors
        raise SpeechError(f"gTTS could not be reached: {error}") from error
    audio = b"".join(map(_without_length, parts)) if len(parts) > 1 else b"".join(parts)
    if not audio:
        raise SpeechError("gTTS gave no audio")
    return audio


def _without_length(mp3: bytes) -> bytes:
    """Blank the name of a Xing frame: it states the length of one part, and decoders stop there."""
    return _XING.sub(lambda found: found[0][:-4] + bytes(4), mp3, count=1)


def _requests(request: SpeechRequest, base_url: str) -> list[Any]:
    from gtts import gTTS

    language = resolve(request.language)
    try:
        speech = gTTS(request.text, lang=language.gtts, tld=language.gtts_tld, lang_check=False)
        prepared: list[Any] = speech._prepare_requests()
    except AssertionError as error:
        raise SpeechError("there is nothing to speak in the text") from error
    if base_url:
        for one in prepared:
            one.prepare_url(base_url + urlsplit(one.url).path, None)
    return prepared


def _part(session: Any, prepared: Any, deadline: float, given_up: threading.Event) -> bytes:
    """Send one request; the bytes of its MP3. Raises SpeechError or requests.RequestException."""
    settings = session.merge_environment_settings(prepared.url, {}, True, True, None)
    body = bytearray()
    with session.send(prepared, timeout=_left(deadline, given_up), **settings) as response:
        if response.status_code != 200:
            raise SpeechError(f"gTTS answered {response.status_code} {response.reason}")
        for chunk in response.iter_content(_CHUNK):
            _left(deadline, given_up)
            body += chunk
            if len(body) > _MAXIMUM_REPLY:
                raise SpeechError(f"the reply of gTTS is longer than {_MAXIMUM_REPLY} bytes")
    found = _AUDIO.search(body.decode("utf-8", "replace"))
    if found is None:
        raise SpeechError("the reply of gTTS holds no audio")
    try:
        return base64.b64decode(found[1])
    except (binascii.Error, ValueError) as error:
        raise SpeechError("the reply of gTTS holds no valid base64") from error


def _left(deadline: float, given_up: threading.Event) -> float:
    """Seconds until the deadline. Raises SpeechError when it is over or nobody waits any more."""
    left = deadline - time.monotonic()
    if left <= 0 or given_up.is_set():
        raise SpeechError("gTTS took too long to answer")
    return left
