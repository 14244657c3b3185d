"""What is asked of the party within its dialog: hold by re-INVITE, and REFER; each tells its outcome."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import pjsua2 as pj

from media import protocol
from media.worker.guard import PjError, checked, headers_of

if TYPE_CHECKING:
    from media.worker.leg import Leg
    from media.worker.pjcall import Transaction

RETRY_SECONDS = 0.5
"""When another re-INVITE is under way, ours is tried once more after this."""
ANSWER_SECONDS = 34.0
"""pjsip gives up a request after 32 s (64 T1); this is for the case that it does not say so."""
LONGEST_TARGET = 1000


class _Asked:
    """Knows the last transaction of one request: what is challenged is sent again by pjsip."""

    def __init__(self, method: str) -> None:
        self._method = method
        self._number = 0

    def answer(self, step: Transaction) -> int | None:
        """The final code (0: no answer) once the last transaction is over."""
        if step.method != self._method:
            return None
        if step.sent:
            self._number = step.number
        return step.code if step.final and step.number == self._number else None


class Holder:
    """Puts the party on hold, and takes it off: one re-INVITE after the other."""

    def __init__(self, leg: Leg) -> None:
        self._leg = leg
        self.held = False
        """Whether we hold the party."""
        self._wanted: deque[bool] = deque()
        self._asked: _Asked | None = None
        self._timer: Any = None

    def ask(self, held: bool) -> None:
        """Hold, or end it; every asking leads to one `Reinvited`, unless the leg ends before."""
        self._wanted.append(held)
        if not (self._leg.confirmed or self._leg.accepted):
            self._report(0)
        elif len(self._wanted) == 1:
            self._next()

    def on_confirmed(self) -> None:
        """The ACK was there: what was asked before may be sent now."""
        self._next()

    def _next(self) -> None:
        while self._wanted and self._asked is None and self._timer is None and self._leg.confirmed:
            if self._wanted[0] == self.held:
                self._report(200)
            else:
                self._send(again=True)

    def _send(self, *, again: bool) -> None:
        self._timer = None
        call = self._leg.call
        if call is None:
            return
        options = pj.CallOpParam(True)
        self._asked = _Asked("INVITE")
        reactor = self._leg.host.reactor
        try:
            if self._wanted[0]:
                checked(call.setHold, options)
            else:
                setting = options.opt
                setting.flag |= pj.PJSUA_CALL_UNHOLD
                checked(call.reinvite, options)
        except PjError as error:
            self._asked = None
            if again:
                self._timer = reactor.callLater(RETRY_SECONDS, self._again)
                return
            self._leg.failed("Hold", error)
            self._report(0)
        else:
            if self._asked is not None:
                self._timer = reactor.callLater(ANSWER_SECONDS, self._done, 0)

    def _again(self) -> None:
        self._send(again=False)
        self._next()

    def on_transaction(self, step: Transaction) -> None:
        """A step of a request that was sent."""
        if self._asked is not None and (code := self._asked.answer(step)) is not None:
            self._asked = None
            # not inside pjsip's own callback: the next re-INVITE may follow at once
            self._leg.host.reactor.callLater(0, self._done, code)

    def _done(self, code: int) -> None:
        if self._leg.ended or not self._wanted:
            return
        self.cancel()
        if 200 <= code < 300:
            self.held = self._wanted[0]
        self._report(code)
        self._next()

    def _report(self, code: int) -> None:
        held = self._wanted.popleft()
        self._leg.host.emit(protocol.Reinvited, key=self._leg.key, held=held, code=code)

    def cancel(self) -> None:
        """Wait for nothing any more."""
        timer, self._timer, self._asked = self._timer, None, None
        if timer is not None and timer.active():
            timer.cancel()


class Referrer:
    """Sends REFER, and tells what becomes of it."""

    def __init__(self, leg: Leg) -> None:
        self._leg = leg
        self._asked: _Asked | None = None
        self._code = 0
        self._number = 0
        """Of the REFER that is under way; 0 when none is."""
        self._count = 0
        self._echo = False
        self._early: tuple[str, list[list[str]]] | None = None
        """Asked before the leg was confirmed."""
        self._news: list[tuple[int, int, bool]] = []
        """What is not told yet: number of the REFER, code, whether it is the last."""

    def ask(self, target: str, headers: list[list[str]]) -> None:
        """Ask the party to call `target`. A REFER before it is no longer reported on."""
        self._count += 1
        self._number, self._code = self._count, 0
        self._early = (target, headers)
        if self._leg.confirmed:
            self.on_confirmed()
        elif not self._leg.accepted:
            self._early = None
            self._tell(0, final=True)

    def on_confirmed(self) -> None:
        """The ACK was there: what was asked before may be sent now."""
        early, self._early = self._early, None
        if early is not None:
            self._send(*early)

    def _send(self, target: str, headers: list[list[str]]) -> None:
        call = self._leg.call
        printable = all(" " <= char != "\x7f" for char in target)
        if call is None or not 0 < len(target) <= LONGEST_TARGET or not printable:
            self._tell(0, final=True)
            return
        options = pj.CallOpParam(True)
        # pjsip sends a Referred-By of its own, and there may be one only (RFC 3892)
        allowed = [pair for pair in headers if pair[0].lower() != "referred-by"]
        options.txOption.headers = headers_of(allowed)
        self._asked = _Asked("REFER")
        try:
            # bare, the parameters of a URI would be taken for those of Refer-To (RFC 3261 section 20)
            checked(call.xfer, target if target.startswith("<") else f"<{target}>", options)
        except PjError as error:
            self._leg.failed("Refer", error)
            self._tell(0, final=True)

    def on_transaction(self, step: Transaction) -> None:
        """A step of a request that was sent."""
        if self._asked is not None and (code := self._asked.answer(step)) is not None:
            self._asked = None
            self._code = code
            self._echo = 200 <= code < 300
            self._tell(0, final=not 200 <= code < 300)

    def on_notify(self, code: int, final: bool) -> None:
        """A NOTIFY, or (pjsua2 does not tell them apart) a refusal of the REFER."""
        if self._echo and code == 100 and not final:
            self._echo = False  # pjsip tells an acceptance as if it were a NOTIFY
            return
        # a moment later it is known whether the REFER was refused
        self._news.append((self._number, code, final))
        self._leg.host.reactor.callLater(0, self.flush)

    def flush(self) -> None:
        """Tell what came; also when the leg is about to end: the party may hang up with its last news."""
        news, self._news = self._news, []
        for number, code, final in news:
            if number == self._number:
                self._tell(code, final=final or code >= 200)

    def _tell(self, notify_code: int, *, final: bool) -> None:
        if self._leg.ended or not self._number:
            return
        if final:
            self._number = 0
            self._asked = None
        self._leg.host.emit(
            protocol.Referred, key=self._leg.key, code=self._code, notify_code=notify_code, final=final
        )
