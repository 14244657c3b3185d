"""CPU of the mixer process: `python scripts/bench_mixer.py [LINKS...]` (default 10 20 40), in % of one core.

The peers are one process beside it; all speak all the time.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from media import protocol  # noqa: E402
from media.channel import Channel  # noqa: E402
from media.frames import pack  # noqa: E402
from media.topology import mixer_end  # noqa: E402

SECONDS = 10.0
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def used(pid: int) -> float:
    """Seconds of CPU a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def start() -> tuple[socket.socket, int]:
    """A mixer process and the control connection."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        from media.mixer.main import run

        run(theirs.detach())
    theirs.close()
    return ours, pid


class Box:
    """Turns a command into the bytes of its AMP box."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    def sendBox(self, box: Any) -> None:  # noqa: N802 - the name is AMP's
        """Write it."""
        self._control.sendall(box.serialize())


def measure(links: int) -> tuple[float, float]:
    """CPU in percent, and frames heard per second and link."""
    control, pid = start()
    channel: Any = Channel()
    channel.boxSender, channel.transport = Box(control), True
    with tempfile.TemporaryDirectory(prefix="vb-", dir="/tmp") as folder:
        hub, peers = f"{folder}/m", []
        for number in range(links):
            peers.append(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            peers[-1].setblocking(False)
            peers[-1].bind(f"{folder}/p{number}")
        paths = [f"{folder}/p{number}" for number in range(links)]
        channel.tell(protocol.SetMix, room=b"r", path=hub, peers=paths)
        time.sleep(0.5)
        ends = [mixer_end(hub, path) for path in paths]
        voice = os.urandom(320)
        begin, cpu, heard, sequence = time.monotonic(), used(pid), 0, 0
        while (now := time.monotonic()) < begin + SECONDS:
            for peer, end in zip(peers, ends, strict=True):
                peer.sendto(pack(sequence, voice), end)
            for peer in peers:
                try:
                    while peer.recv(1000):
                        heard += 1
                except BlockingIOError:
                    pass
            sequence += 1
            time.sleep(max(0.0, begin + sequence * 0.02 - now))
        percent = 100 * (used(pid) - cpu) / (time.monotonic() - begin)
        control.close()
        os.waitpid(pid, 0)
        for peer in peers:
            peer.close()
    return percent, heard / links / SECONDS


def main() -> None:
    """Measure and print."""
    for links in [int(text) for text in sys.argv[1:]] or [10, 20, 40]:
        percent, rate = measure(links)
        print(f"links {links:3}  cpu {percent:5.1f} %  frames/s and link {rate:5.1f}")


if __name__ == "__main__":
    main()
