"""The engine's side of the zygote: starts it, asks it for workers and the mixer, hears of their ends."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable
from typing import Any, Protocol

import attrs
from twisted.internet import protocol
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from media.protocol import WorkerConfig
from media.zygote import MESSAGE_BYTES

log = Logger()


class SpawnListener(Protocol):
    """Who hears what becomes of workers and of the mixer."""

    def worker_started(self, number: int, pid: int) -> None:
        """The process exists."""
        ...

    def worker_exited(self, pid: int, status: int) -> None:
        """The process is gone; `status` is negative for a signal."""
        ...

    def zygote_lost(self) -> None:
        """The zygote is gone; its workers live on, but no more can be made."""
        ...


class _ZygoteProcess(protocol.ProcessProtocol):
    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended

    def errReceived(self, data: bytes) -> None:  # noqa: N802 - the name is Twisted's
        for line in data.decode("utf-8", "replace").splitlines():
            log.warn("worker_output text={text}", text=line)

    def processExited(self, reason: Any) -> None:  # noqa: N802 - the name is Twisted's
        # not processEnded: the workers hold the pipe of its messages open
        self._ended()


class Spawner:
    """Starts the zygote and speaks with it over a SOCK_SEQPACKET socket."""

    def __init__(self, reactor: Any, listener: SpawnListener) -> None:
        self._reactor = reactor
        self._listener = listener
        self._socket: socket.socket | None = None
        self._process: Any = None
        self._stopping = False
        self._capacity: Deferred[int] | None = None

    async def start(self) -> int:
        """Start the zygote; returns the capacity of a worker, in calls.

        Raises:
            RuntimeError: pjsua2 cannot be used on this machine.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._socket = ours
        self._capacity = Deferred()
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH")]))
        self._reactor.addReader(self)
        process = self._reactor.spawnProcess(
            _ZygoteProcess(self._process_ended),
            sys.executable,
            [sys.executable, "-m", "media.zygote", "3"],
            env=environment,
            childFDs={2: "r", 3: theirs.fileno()},
        )
        theirs.close()
        if self._socket is not None:  # it may have ended already
            self._process = process
        return await self._capacity

    @property
    def pid(self) -> int | None:
        """Process id of the zygote."""
        return self._process.pid if self._process is not None else None

    def spawn(self, number: int, config: WorkerConfig) -> socket.socket:
        """Ask for a worker; returns the engine's end of its control connection.

        Raises:
            OSError: the zygote is not there.
        """
        return self._ask(number, "worker", config)

    def spawn_mixer(self, number: int) -> socket.socket:
        """Ask for a mixer; returns the engine's end of its control connection.

        Raises:
            OSError: the zygote is not there.
        """
        return self._ask(number, "mixer", None)

    def _ask(self, number: int, kind: str, config: WorkerConfig | None) -> socket.socket:
        if self._socket is None:
            raise OSError("the zygote is not running")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        values = attrs.asdict(config) if config is not None else {}
        message = json.dumps({"spawn": number, "kind": kind, "config": values}).encode()
        try:
            socket.send_fds(self._socket, [message], [theirs.fileno()])
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        return ours

    def stop(self) -> None:
        """Let the zygote go."""
        self._stopping = True
        self._close()

    def _close(self) -> None:
        if self._socket is not None:
            self._reactor.removeReader(self)
            self._socket.close()
            self._socket = None

    def _process_ended(self) -> None:
        self._process = None
        self._close()
        if self._capacity is not None and not self._capacity.called:
            self._capacity.errback(RuntimeError("the media zygote ended before it was ready"))
        elif not self._stopping:
            self._listener.zygote_lost()

    # what the reactor calls (IReadDescriptor)

    def fileno(self) -> int:
        """Descriptor to watch."""
        return self._socket.fileno() if self._socket is not None else -1

    def logPrefix(self) -> str:  # noqa: N802 - the name is Twisted's
        """Name in logs."""
        return "zygote"

    def connectionLost(self, reason: object) -> None:  # noqa: N802 - the name is Twisted's
        """The reactor lets go of the descriptor."""
        self._close()

    def doRead(self) -> None:  # noqa: N802 - the name is Twisted's
        """Read what the zygote tells."""
        while self._socket is not None:
            try:
                data = self._socket.recv(MESSAGE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                self._close()
                return
            if not data:
                self._close()
                return
            self._told(json.loads(data))

    def _told(self, message: dict[str, Any]) -> None:
        if "capacity" in message and self._capacity is not None and not self._capacity.called:
            self._capacity.callback(message["capacity"])
        elif "started" in message:
            self._listener.worker_started(message["started"], message["pid"])
        elif "exit" in message:
            self._listener.worker_exited(message["exit"], message["status"])
