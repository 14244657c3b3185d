"""Processes: what /proc tells of the engine's, and programs that tests run."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from waiting import Changes, reactor


def children(pid: int) -> list[int]:
    """Process ids of the children of a process."""
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(text) for text in file.read_text().split()]
        except OSError:
            continue
    return sorted(found)


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def udp_ports(pid: int) -> set[int]:
    """UDP ports that a process has open."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(descriptor)
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    ports = set()
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[9] in inodes:
            ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


class Program(ProcessProtocol):
    """A program that runs beside the test."""

    def __init__(self, command: list[str], folder: Path | None = None, **environment: str) -> None:
        self.changes = Changes()
        self.output = ""
        self.exit: int | None = None
        self._process: Any = reactor.spawnProcess(
            self,
            command[0],
            command,
            env={**os.environ, **environment},
            path=str(folder) if folder else None,
        )
        self.pid = int(self._process.pid)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Output of either kind."""
        self.output += data.decode("utf-8", "replace")
        self.changes.tell()

    def processEnded(self, reason: Any) -> None:
        """The end."""
        ended = reason.value
        if isinstance(ended, ProcessTerminated) and ended.signal:
            self.exit = -ended.signal
        else:
            self.exit = 0 if isinstance(ended, ProcessDone) else ended.exitCode
        self.changes.tell()

    def write(self, text: str) -> None:
        """Type something."""
        self._process.write(text.encode())

    async def says(self, text: str, within: float) -> None:
        """Wait for a text in the output."""
        await self.changes.until(
            lambda: text in self.output, within, lambda: f"{text!r} in the output: {self.output[-1500:]}"
        )

    async def ended(self, within: float) -> int:
        """Wait for the end; returns the exit code."""
        await self.changes.until(
            lambda: self.exit is not None, within, lambda: f"the end of {self.pid}: {self.output[-1500:]}"
        )
        assert self.exit is not None
        return self.exit

    async def end(self) -> None:
        """End it, if it still runs."""
        if self.exit is None:
            os.kill(self.pid, signal.SIGTERM)
            try:
                await self.ended(3.0)
            except AssertionError:
                os.kill(self.pid, signal.SIGKILL)
                await self.ended(3.0)
