"""The pjsua2 endpoint of a worker: library set-up, SIP transport, account."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any, NoReturn

import pjsua2 as pj

from media.protocol import WorkerConfig
from media.worker.guard import checked

_CODEC_IDS = {
    "PCMU": "PCMU/8000/1",
    "PCMA": "PCMA/8000/1",
    "G722": "G722/16000/1",
    "GSM": "GSM/8000/1",
    "speex": "speex/8000/1",
    "iLBC": "iLBC/8000/1",
}

MAX_CALLS_ASKED = 512
MAX_CALLS_PROBED = 24
"""A worker is not given more: its 64 sockets are two for each call, plus those being closed."""


def _media_config(config: Any, vad: bool) -> None:
    config.clockRate = 8000
    config.sndClockRate = 8000
    config.hasIoqueue = True
    config.threadCnt = 1
    config.ecTailLen = 0
    config.noVad = not vad
    config.sndAutoCloseTime = -1
    config.jbMax = 200


def probe_capacity(report: Callable[[int], None]) -> NoReturn:
    """Find how many calls this build of pjsua2 holds, by making them.

    Runs in a process of its own, and ends it.

    The limit is compiled in and no function tells it. Calls go to a closed port of this machine.

    Args:
        report: told the number after each call that could be made, as a build with more calls than
            sockets may abort on the way.
    """
    library = pj.Endpoint()
    library.libCreate()
    settings = pj.EpConfig()
    settings.uaConfig.threadCnt = 0
    settings.uaConfig.maxCalls = MAX_CALLS_ASKED
    settings.logConfig.level = settings.logConfig.consoleLevel = 0
    _media_config(settings.medConfig, vad=False)
    library.libInit(settings)
    transport = pj.TransportConfig()
    transport.boundAddress = "127.0.0.1"
    library.transportCreate(pj.PJSIP_TRANSPORT_UDP, transport)
    library.libStart()
    library.audDevManager().setNullDev()
    config = pj.AccountConfig()
    config.idUri = "sip:probe@127.0.0.1"
    config.mediaConfig.transportConfig.boundAddress = "127.0.0.1"
    account = pj.Account()
    account.create(config)
    calls = []
    for count in range(1, MAX_CALLS_PROBED + 1):
        call = pj.Call(account)
        calls.append(call)
        try:
            call.makeCall("sip:probe@127.0.0.1:9", pj.CallOpParam(True))
        except pj.Error:
            os._exit(0)  # returning would destroy a call that never was one, which aborts
        report(count)
    os._exit(0)


class Endpoint:
    """One pjsua2 endpoint without threads of its own for SIP: the reactor drives it."""

    def __init__(self, config: WorkerConfig) -> None:
        self.config = config
        self.library = pj.Endpoint()
        self.port = 0
        self._transport = -1
        self._clock_runs = False

    def start(self) -> None:
        """Create the library, its UDP transport on loopback and the codec table.

        Raises:
            PjError: any of it failed.
        """
        library = self.library
        checked(library.libCreate)
        settings = pj.EpConfig()
        settings.uaConfig.maxCalls = self.config.capacity
        settings.uaConfig.threadCnt = 0
        settings.uaConfig.mainThreadOnly = False
        settings.uaConfig.userAgent = "voiceengine"
        settings.logConfig.level = 0
        settings.logConfig.consoleLevel = 0
        _media_config(settings.medConfig, self.config.vad)
        checked(library.libInit, settings)
        transport = pj.TransportConfig()
        transport.port = 0
        transport.boundAddress = "127.0.0.1"
        self._transport = checked(library.transportCreate, pj.PJSIP_TRANSPORT_UDP, transport)
        checked(library.libStart)
        info = library.transportGetInfo(self._transport)
        self.port = int(info.localName.rsplit(":", 1)[1])
        self._codecs()

    def _codecs(self) -> None:
        wanted = [_CODEC_IDS[name] for name in self.config.codecs]
        listed = self.library.codecEnum2()
        known = [listed[i].codecId for i in range(len(listed))]
        for codec in known:
            rank = wanted.index(codec) if codec in wanted else -1
            checked(self.library.codecSetPriority, codec, 0 if rank < 0 else 250 - rank)

    def account_config(self) -> Any:
        """Settings of the worker's one account."""
        account = pj.AccountConfig()
        account.idUri = f"sip:worker@127.0.0.1:{self.port}"
        account.sipConfig.proxies = pj.StringVector([f"sip:127.0.0.1:{self.config.edge_port};lr"])
        media = account.mediaConfig.transportConfig
        media.boundAddress = self.config.rtp_address
        media.publicAddress = self.config.public_address or self.config.rtp_address
        media.port = self.config.rtp_low
        media.portRange = self.config.rtp_count - 1
        account.mediaConfig.srtpUse = 0
        account.callConfig.timerMinSESec = 90
        return account

    def run_clock(self) -> None:
        """Start the bridge clock; a spare worker does not need one before its first leg."""
        if not self._clock_runs:
            self._clock_runs = True
            self.library.audDevManager().setNullDev()

    def sip_fd(self) -> int:
        """File descriptor of the SIP socket, for the reactor to watch."""
        for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names are enough
            try:
                copy = socket.socket(fileno=os.dup(int(name)))
            except OSError:
                continue
            with copy:
                try:
                    if copy.type == socket.SOCK_DGRAM and copy.getsockname()[1] == self.port:
                        return int(name)
                except (OSError, IndexError, TypeError):
                    continue
        raise RuntimeError("the SIP socket was not found")

    def poll(self) -> None:
        """Handle what is pending in the library."""
        self.library.libHandleEvents(0)


class Account(pj.Account):
    """The one account: gives the number and the message of inbound calls to the worker."""

    def __init__(self, incoming: Callable[[int, str], None]) -> None:
        super().__init__()
        self._incoming = incoming

    def onIncomingCall(self, prm: Any) -> None:  # noqa: N802 - the name is pjsua2's
        """An INVITE (reactor thread)."""
        received = prm.rdata
        self._incoming(int(prm.callId), str(received.wholeMsg))


class SipReader:
    """Lets the reactor watch pjsip's socket."""

    def __init__(self, fd: int, poll: Callable[[], None]) -> None:
        self._fd = fd
        self._poll = poll

    def fileno(self) -> int:
        """Descriptor to watch."""
        return self._fd

    def doRead(self) -> None:  # noqa: N802 - the names are Twisted's
        """Something arrived."""
        self._poll()

    def connectionLost(self, reason: object) -> None:  # noqa: N802
        """The worker ends."""

    def logPrefix(self) -> str:  # noqa: N802
        """Name in logs."""
        return "pjsip"
