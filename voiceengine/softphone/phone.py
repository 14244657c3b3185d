"""The phone: pjsua2's endpoint and account, and what happens in which order."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import quote

import pjsua2 as pj

from media.worker.guard import PjError, checked
from voiceengine.softphone.audio import CallAudio
from voiceengine.softphone.call import PhoneCall, Refusal
from voiceengine.softphone.loop import Loop
from voiceengine.softphone.options import CODECS, KEYS, SIP_USER_SAFE, OptionError, PhoneOptions, check_play
from voiceengine.softphone.report import Report

POLL_MS = 10
CLOSE_SECONDS = 2.0
"""Longest time for BYE and for taking back the registration."""
LINGER_SECONDS = 0.3
"""Time after the end of the call for the last messages and for the recording's file."""


class _Account(pj.Account):
    """Hands its callbacks to the phone."""

    def __init__(self, phone: Phone) -> None:
        super().__init__()
        self._phone = phone

    def onRegState(self, prm: Any) -> None:  # noqa: N802 - the names are pjsua2's
        """A REGISTER was answered."""
        values = (int(prm.code), str(prm.reason), int(prm.expiration), int(prm.status))
        self._phone.loop.post(self._phone.on_registration, *values)

    def onIncomingCall(self, prm: Any) -> None:  # noqa: N802
        """An INVITE came."""
        data = prm.rdata
        self._phone.on_incoming(int(prm.callId), str(data.wholeMsg))

    def onInstantMessage(self, prm: Any) -> None:  # noqa: N802
        """A MESSAGE came; pjsua2 has answered it."""
        values = (str(prm.fromUri), str(prm.contentType), str(prm.msgBody))
        self._phone.loop.post(self._phone.on_message, *values)


class Phone:
    """One phone, one account, one call."""

    def __init__(self, options: PhoneOptions, report: Report) -> None:
        self.options = options
        self.report = report
        self.loop = Loop(self._failed)
        self._library = pj.Endpoint()
        self._account = _Account(self)
        self._audio: CallAudio | None = None
        self._call: PhoneCall | None = None
        self._refusals: list[Refusal] = []
        self._register_began = 0.0
        self._registered = False
        self._closing_since: float | None = None
        self._linger_since: float | None = None
        self._unregistering = False

    def _failed(self, error: Exception) -> None:
        text = error.reason if isinstance(error, pj.Error) else str(error)
        self.report.error(text or type(error).__name__)

    # -------------------------------------------------------------- set-up

    def start(self) -> None:
        """Set up library, transport and account, and begin with what was asked for.

        Raises:
            PjError: the library refused; the port may be in use.
            OSError: the server's name was not found.
        """
        address = self.options.local_address or _local_address(self.options.first_host())
        self._start_library()
        transport = pj.TransportConfig()
        transport.port = self.options.local_port
        transport.boundAddress = address
        tcp = self.options.transport == "tcp"
        kind = pj.PJSIP_TRANSPORT_TCP if tcp else pj.PJSIP_TRANSPORT_UDP
        try:
            number = checked(self._library.transportCreate, kind, transport)
        except PjError as error:
            raise PjError(f"SIP port {address}:{self.options.local_port} cannot be used: {error}") from None
        checked(self._library.libStart)
        devices = self._library.audDevManager()
        devices.setNullDev()
        self._choose_codecs()
        info = self._library.transportGetInfo(number)
        port = int(info.localName.rsplit(":", 1)[1])
        device = devices.getPlaybackDevMedia()
        self._audio = CallAudio(self.loop, self.report, self.options, device)
        account = self._account_config(f"{address}:{port}", address)
        if not tcp:
            account.sipConfig.transportId = number
        self.report.event("started", address=address, port=port, transport=self.options.transport)
        if self.options.timeout:
            self.loop.after(self.options.timeout, self._timed_out)
        self._register_began = self.loop.now()
        if self.options.register:
            self.report.event("registering", server=self.options.server)
        checked(self._account.create, account)
        if not self.options.register:
            self.loop.post(self._begin)

    def _start_library(self) -> None:
        checked(self._library.libCreate)
        settings = pj.EpConfig()
        settings.uaConfig.threadCnt = 0
        settings.uaConfig.mainThreadOnly = False
        settings.uaConfig.maxCalls = 4
        settings.uaConfig.userAgent = "voiceengine softphone"
        settings.logConfig.level = settings.logConfig.consoleLevel = 0
        if self.options.log:
            settings.logConfig.level = 5
            settings.logConfig.filename = self.options.log
        media = settings.medConfig
        media.clockRate = media.sndClockRate = 8000
        media.hasIoqueue = True
        media.threadCnt = 1
        media.ecTailLen = 0
        media.noVad = True
        media.sndAutoCloseTime = -1
        media.jbMax = 200
        checked(self._library.libInit, settings)

    def _choose_codecs(self) -> None:
        wanted = [CODECS[name] for name in self.options.codecs]
        listed = self._library.codecEnum2()
        for index in range(len(listed)):
            codec = listed[index].codecId
            rank = 250 - wanted.index(codec) if codec in wanted else 0
            checked(self._library.codecSetPriority, codec, rank)

    def _account_config(self, local: str, address: str) -> Any:
        options = self.options
        tcp = ";transport=tcp" if options.transport == "tcp" else ""
        account = pj.AccountConfig()
        domain = options.server.rsplit(":", 1)[0] if options.server else local
        account.idUri = f"sip:{quote(options.user, safe=SIP_USER_SAFE)}@{domain}"
        if options.dial.startswith("sip:") and options.route():
            account.sipConfig.proxies = pj.StringVector([options.route()])
        if options.register:
            account.regConfig.registrarUri = f"sip:{options.server}{tcp}"
            account.regConfig.timeoutSec = options.expires
            account.regConfig.retryIntervalSec = 0
            account.regConfig.firstRetryIntervalSec = 0
        if options.password:
            credentials = pj.AuthCredInfo("digest", options.realm, options.user, 0, options.password)
            account.sipConfig.authCreds = pj.AuthCredInfoVector([credentials])
        media = account.mediaConfig.transportConfig
        media.boundAddress = media.publicAddress = address
        media.port = options.rtp_low
        media.portRange = max(0, options.rtp_high - options.rtp_low)
        account.mediaConfig.srtpUse = 0
        return account

    # -------------------------------------------------------------- the order of things

    def on_registration(self, code: int, reason: str, expiration: int, status: int) -> None:
        """A REGISTER was answered, or got no answer."""
        fine = code // 100 == 2 and status == 0
        if self._unregistering:
            self._registered = False
            self.report.event("unregistered", code=code)
            return
        if self.report.register is not None:  # a refresh
            if not fine:
                self.report.error(f"the registration was lost: {code} {reason}")
            return
        took = round((self.loop.now() - self._register_began) * 1000)
        self.report.register = {"code": code, "reason": reason, "ms": took}
        if fine:
            self._registered = True
            self.report.event("registered", code=code, ms=took, expires=expiration)
            self._begin()
        else:
            self.report.error(f"registering failed: {code} {reason}")
            self.finish()

    def _begin(self) -> None:
        if self._closing_since is not None:
            return
        if self.options.dial:
            assert self._audio is not None
            self._call = PhoneCall(self.loop, self.report, self.options, self._audio)
            self._call.dial(self._account)
        elif self.options.wait is not None:
            self.report.event("waiting")
            if self.options.wait:
                self.loop.after(self.options.wait, self._nobody_called)
        else:
            self.finish()

    def on_incoming(self, call_id: int, message: str) -> None:
        """An INVITE came (inside onIncomingCall)."""
        free = self._call is None and self._closing_since is None and self.options.wait is not None
        if free and self._audio is not None:
            self._call = PhoneCall(self.loop, self.report, self.options, self._audio)
            self._call.adopt(self._account, call_id, message)
        else:
            self._refusals.append(Refusal(self.loop, self._account, call_id))
            self.loop.post(self.report.event, "refused_second_call")

    def on_message(self, sender: str, kind: str, text: str) -> None:
        """A MESSAGE came."""
        self.report.event("message", **{"from": sender}, type=kind, text=text)

    def _nobody_called(self) -> None:
        if self._call is None and self._closing_since is None:
            self.report.error(f"nobody called within {self.options.wait:g} s")
            self.finish()

    def _timed_out(self) -> None:
        if self._closing_since is None:
            self.report.error(f"timed out after {self.options.timeout:g} s")
            self.finish()

    def command(self, command: dict[str, Any]) -> None:
        """A line came on the control channel."""
        name = command.get("cmd")
        call = self._call
        if name == "quit":
            self.finish()
        elif call is None or call.ended:
            self.report.error(f"command {name!r}: there is no call")
        elif name == "hangup":
            call.hangup()
        elif name == "answer":
            call.answer()
        elif name == "digits":
            keys = str(command.get("digits", "")).upper()
            if not keys or any(key not in KEYS for key in keys):
                self.report.error(f"command 'digits': {keys!r} has characters that are no digits")
            else:
                call.send_digits(keys)
        elif name == "play":
            path = str(command.get("file", ""))
            try:
                check_play(path)
            except OptionError as error:
                self.report.error(error.message)
            else:
                call.play(path, loop=False)
        else:
            self.report.error(f"command {name!r} is not known (answer, digits, hangup, play, quit)")

    # -------------------------------------------------------------- running and ending

    def finish(self) -> None:
        """Hang up, take back the registration and stop; more calls of this change nothing."""
        if self._closing_since is not None:
            return
        self._closing_since = self.loop.now()
        if self._call is not None:
            self._call.hangup()

    def poll(self) -> bool:
        """Do what is due, waiting at most 10 ms; false when the phone is done."""
        self._library.libHandleEvents(POLL_MS)
        self.loop.run_pending()
        return not self._done()

    def _done(self) -> bool:
        now = self.loop.now()
        over = self._call is None or self._call.ended
        if self._closing_since is None:
            if self._call is not None and over:
                self.finish()
            return False
        if over and self._linger_since is None:
            self._linger_since = now
            if self._registered:
                self._unregistering = True
                checked(self._account.setRegistration, False)
        if now - self._closing_since > CLOSE_SECONDS:
            return True
        lingered = self._call is None or (
            self._linger_since is not None and now - self._linger_since > LINGER_SECONDS
        )
        return over and lingered and not self._registered

    def conclude(self) -> None:
        """Settle what the report says; the last thing that is done."""
        if self._audio is not None:
            self._audio.release()
            self._audio.measure_recording()
        options, report = self.options, self.report
        fine = report.register is not None and report.register["code"] // 100 == 2
        ok = fine or not options.register
        if options.dial or options.wait is not None:
            refused = options.wait is not None and report.call.final_code == options.answer_code
            ok = ok and (report.call.answered or refused)
        report.ok = ok


def _local_address(host: str) -> str:
    """Address of this machine that packets to `host` come from."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))
        except OSError as error:
            raise OSError(f"{host}: {error.strerror or error}") from None
        return str(probe.getsockname()[0])
