"""The one way to pjsua2.

pjproject is compiled with assertions: a misuse aborts the process. The functions here check what
aborts (or crashes) beforehand, turn `pj.Error` into `PjError` with a readable text, and keep objects
alive for as long as pjsua2 may still touch them. All of it runs in the reactor's thread.
"""

from __future__ import annotations

import wave
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pjsua2 as pj

TRASH_SECONDS = 0.3
"""How long a released media object is kept at least: its removal from the bridge is asynchronous."""
TRASH_ROUNDS = 4
"""So many turns of the reactor it is kept at least: in a worker that was busy all the time, the bridge's
thread may still wait to enter a callback of the object."""

SHORTEST_WAV_FRAMES = 320


class PjError(Exception):
    """pjsua2 refused, or would not have survived, a call."""


def checked(call: Callable[..., Any], *args: Any) -> Any:
    """Call into pjsua2; its error becomes a PjError with a text."""
    try:
        return call(*args)
    except pj.Error as error:
        raise PjError(f"{error.reason or error.title} ({error.status})") from None


def destroy(item: Any) -> None:
    """Take a pjsua2 object out of the library while its Python side is still whole.

    When Python frees an object of ours it takes the attributes first, and the library's threads may be
    inside one of its callbacks just then.
    """
    delete = getattr(type(item), "__swig_destroy__", None)
    if delete is not None:
        delete(item)


class Trash:
    """Keeps released pjsua2 media objects until the bridge has let go of them."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._waiting: deque[tuple[float, int, Any]] = deque()
        self._round = 0

    def put(self, item: Any) -> None:
        """Keep `item` for a while, then drop it."""
        self._waiting.append((self._seconds() + TRASH_SECONDS, self._round + TRASH_ROUNDS, item))

    def empty(self) -> None:
        """Drop what has waited long enough; called from the worker's tick."""
        now = self._seconds()
        self._round += 1
        while self._waiting and self._waiting[0][0] <= now and self._waiting[0][1] <= self._round:
            destroy(self._waiting.popleft()[2])

    def __len__(self) -> int:
        return len(self._waiting)


def check_wav(path: str) -> None:
    """Refuse what a pjsua2 player would abort on or cannot play.

    Raises:
        PjError: not a 16-bit PCM WAV, or a rate that is no multiple of 50 Hz, or too short.
    """
    if not path:
        raise PjError("no file name")
    try:
        with wave.open(path, "rb") as wav:
            rate, width, channels, frames = (
                wav.getframerate(),
                wav.getsampwidth(),
                wav.getnchannels(),
                wav.getnframes(),
            )
    except (OSError, EOFError, wave.Error) as error:
        raise PjError(f"{path}: {error}") from None
    if width != 2 or channels not in (1, 2):
        raise PjError(f"{path}: not 16-bit mono or stereo")
    if rate % 50 or not 8000 <= rate <= 48000:
        raise PjError(f"{path}: rate {rate} cannot be played")
    if frames < SHORTEST_WAV_FRAMES:
        raise PjError(f"{path}: shorter than 40 ms")


class Player(pj.AudioMediaPlayer):
    """A player that tells its end by token; `done` is called on a foreign thread."""

    def __init__(self, token: int, done: Callable[[int], None]) -> None:
        super().__init__()
        self._token = token
        self._done = done

    def onEof2(self) -> None:  # noqa: N802 - the name is pjsua2's
        """End of file (event thread of pjsua2): hand the token on, nothing else."""
        self._done(self._token)


def make_player(path: str, token: int, done: Callable[[int], None], *, loop: bool) -> Player:
    """Create a player for a WAV file that was checked.

    Raises:
        PjError: the file cannot be played, or all players are in use.
    """
    check_wav(path)
    player = Player(token, done)
    checked(player.createPlayer, path, 0 if loop else pj.PJMEDIA_FILE_NO_LOOP)
    return player


def make_recorder(path: str) -> Any:
    """Create a recorder that writes 16-bit PCM at the bridge's rate.

    Raises:
        PjError: the file cannot be written, or all recorders are in use.
    """
    if not path.endswith(".wav"):
        raise PjError(f"{path}: recordings are .wav files")
    if not Path(path).parent.is_dir():
        raise PjError(f"{path}: no such folder")
    recorder = pj.AudioMediaRecorder()
    checked(recorder.createRecorder, path, 0, 0, pj.PJMEDIA_FILE_WRITE_PCM)
    return recorder


def make_tone_generator() -> Any:
    """Create a tone generator at the bridge's rate; silent until told to play."""
    generator = pj.ToneGenerator()
    checked(generator.createToneGenerator, 8000, 1)
    return generator


def connect(source: Any, sink: Any) -> None:
    """Let `source` be heard by `sink`; both must be in the bridge."""
    if source.getPortId() < 0 or sink.getPortId() < 0:
        raise PjError("a port is not in the bridge")
    checked(source.startTransmit, sink)


def disconnect(source: Any, sink: Any) -> None:
    """Undo `connect`; not being connected is no error.

    Both must still be in the bridge: for one that is gone, pjsua2 cuts the other's other connections too.
    """
    try:
        if source.getPortId() >= 0 and sink.getPortId() >= 0:
            source.stopTransmit(sink)
    except pj.Error:
        pass


def headers_of(pairs: list[list[str]]) -> Any:
    """Build a header vector; control characters cannot get through."""
    vector = pj.SipHeaderVector()
    for name, value in pairs:
        header = pj.SipHeader()
        header.hName = "".join(c for c in name if c.isalnum() or c in "-_.")
        header.hValue = "".join(c for c in value if c >= " " and c != "\x7f")
        vector.append(header)
    return vector


def disarm(ref: weakref.ref[Any]) -> None:
    """Take the destructor from a Call object that outlived its call.

    pjsua2 numbers calls by slot: a stale object would control, and on destruction hang up, the next
    call in its slot.
    """
    stale = ref()
    if stale is not None:
        stale.this.disown()
