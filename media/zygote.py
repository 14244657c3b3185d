"""The zygote: a small process that has imported what workers and the mixer need, and forks them.

Forking costs a few milliseconds and shares the memory of the imports. The zygote has no reactor, no
threads and no endpoint of its own, since none of these survives a fork.

It is started with the number of a connected SOCK_SEQPACKET socket. Each message is a JSON object:

- to the zygote: `{"spawn": ID, "kind": "worker", "config": {...}}` with the worker's end of its control
  connection; or `"kind": "mixer"`, whose config is empty;
- from the zygote: `{"capacity": N}` once, `{"started": ID, "pid": P}`, `{"exit": P, "status": S}`
  (S as of `os.waitstatus_to_exitcode`: negative for a signal).

When the engine's end closes, the zygote exits; workers notice on their own connections.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
from typing import Any

MESSAGE_BYTES = 65536


def _preload() -> None:
    """Import what workers need; none of it may import the reactor."""
    import twisted.internet.epollreactor
    import twisted.internet.task
    import twisted.internet.unix
    import twisted.protocols.amp  # noqa: F401

    import media.mixer.main
    import media.worker.main  # noqa: F401

    if "twisted.internet.reactor" in sys.modules:
        raise RuntimeError("a reactor was imported before the fork")


def _probe() -> int:
    """Capacity of the pjsua2 build, found in a child of its own."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        from media.worker.endpoint import probe_capacity

        os.close(reader)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # an assertion may print there
        try:
            probe_capacity(lambda count: void(os.write(writer, bytes([count]))))
        finally:
            os._exit(0)
    os.close(writer)
    counts = b""
    while chunk := os.read(reader, 64):
        counts += chunk
    os.close(reader)
    _, status = os.waitpid(pid, 0)
    if not counts:
        raise RuntimeError("pjsua2 does not start: no call could be made in a trial process")
    found = counts[-1]
    return found if status == 0 else max(1, found // 2)


def void(_result: object) -> None:
    """Drop a result."""


class Zygote:
    """The loop: messages from the engine, and children that end."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake_writer, False)

    def _tell(self, **message: Any) -> None:
        try:
            self._control.send(json.dumps(message).encode())
        except OSError:
            os._exit(0)

    def _spawn(self, number: int, kind: str, config: dict[str, Any], fd: int) -> None:
        pid = os.fork()
        if pid == 0:
            self._become(kind, config, fd)
        os.close(fd)
        self._tell(started=number, pid=pid)

    def _become(self, kind: str, config: dict[str, Any], fd: int) -> None:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._control.close()
            os.close(self._wake_reader)
            os.close(self._wake_writer)
            if kind == "mixer":
                from media.mixer.main import run as run_mixer

                run_mixer(fd)
            else:
                from media.protocol import WorkerConfig
                from media.worker.main import run

                run(fd, WorkerConfig(**config))
        finally:
            os._exit(1)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._tell(exit=pid, status=os.waitstatus_to_exitcode(status))

    def run(self) -> None:
        """Serve until the engine goes."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # the engine decides when to stop, also when a signal goes to the whole group; workers inherit it
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)
        self._tell(capacity=_probe())
        gc.collect()
        gc.freeze()
        while True:
            control = self._control.fileno()
            readable, _, _ = select.select([control, self._wake_reader], [], [])
            if self._wake_reader in readable:
                try:
                    os.read(self._wake_reader, 4096)
                except BlockingIOError:
                    pass
                self._reap()
            if control in readable:
                try:
                    data, fds, _, _ = socket.recv_fds(self._control, MESSAGE_BYTES, 1)
                except OSError:
                    return
                if not data:
                    return
                message = json.loads(data)
                self._spawn(message["spawn"], message["kind"], message["config"], fds[0])


def main() -> None:
    """Run as `python -m media.zygote FD`."""
    control = socket.socket(fileno=int(sys.argv[1]))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)  # pjsip prints a banner there
    os.close(null)
    _preload()
    Zygote(control).run()
    os._exit(0)


if __name__ == "__main__":
    main()
