"""SIP transactions (RFC 3261 section 17, RFC 6026) as the edge needs them.

Client transactions repeat a request over UDP until it is answered; INVITE server transactions repeat
a refusal until it is acknowledged. Time comes from the reactor (or clock) that is passed in.

INVITE client:  calling -> proceeding -> accepted (2xx, passed on each time) | completed (ACK sent)
other client:   trying -> proceeding -> completed
INVITE server:  proceeding -> accepted (2xx) | completed (>= 300) -> confirmed (ACK)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from sipmessage import Request, Response

K = TypeVar("K")
V = TypeVar("V")

T1 = 0.5
T2 = 4.0
TIMEOUT = 64 * T1
"""Timers B, F, H and the life of what must recognise repetitions, seconds."""


class ClientTransaction:
    """A request on its way, until its final response.

    Args:
        clock: IReactorTime.
        request: the request, as it is sent.
        send: sends bytes to the next hop.
        reliable: whether the transport repeats by itself (TCP).
        answered: told every response but 100 (2xx to INVITE also when repeated).
        timed_out: told when no final response came in time.
        in_dialog: a re-INVITE, whose final response is due also after a provisional one.
    """

    def __init__(
        self,
        clock: Any,
        request: Request,
        send: Callable[[bytes], None],
        *,
        reliable: bool,
        answered: Callable[[Response], None],
        timed_out: Callable[[], None],
        in_dialog: bool = False,
    ) -> None:
        self._clock = clock
        self._in_dialog = in_dialog
        self.request = request
        self._send = send
        self._reliable = reliable
        self._answered = answered
        self._timed_out = timed_out
        self.invite = request.method == "INVITE"
        self.provisional = False
        self.final = 0
        self.cancelled = False
        self._ack = b""
        self._interval = T1
        self._repeat: Any = None
        self._end: Any = None

    def start(self) -> None:
        """Send the request and start the timers."""
        self._data = bytes(self.request)
        self._send(self._data)
        if not self._reliable:
            self._repeat = self._clock.callLater(T1, self._again)
        self._end = self._clock.callLater(TIMEOUT, self._timeout)

    def _again(self) -> None:
        self._interval = min(self._interval * 2, TIMEOUT if self.invite and not self.cancelled else T2)
        self._send(self._data)
        self._repeat = self._clock.callLater(self._interval, self._again)

    def _timeout(self) -> None:
        self.stop()
        if not self.final:
            self.final = 408
            self._timed_out()

    def _quiet(self) -> None:
        if self._repeat is not None and self._repeat.active():
            self._repeat.cancel()

    def stop(self) -> None:
        """Stop all timers."""
        self._quiet()
        if self._end is not None and self._end.active():
            self._end.cancel()

    def received(self, response: Response) -> None:
        """A response with this transaction's branch."""
        code = response.code
        if code < 200:
            if self.final:
                return
            first = not self.provisional
            self.provisional = True
            if self.invite:
                if self._in_dialog:
                    self._quiet()
                elif not self.cancelled:
                    self.stop()  # from here on the caller's ring timers decide
                elif first:
                    self.stop()
                    self._start_cancel()
            if code > 100 and not self.cancelled:
                self._answered(response)
            return
        if self.invite and code >= 300:
            if not self._ack:
                self._ack = bytes(self.ack_for(response))
            self._send(self._ack)
        if self.final and not (self.invite and code < 300):
            return
        self.final = self.final or code
        self.stop()
        self._answered(response)

    def cancel(self) -> None:
        """Cancel an INVITE: at once if it was heard of, else with the first provisional response."""
        if self.final or self.cancelled:
            return
        self.cancelled = True
        if self.provisional:
            self._start_cancel()

    def _start_cancel(self) -> None:
        """Send the CANCEL, repeat it until it is answered, and wait no longer than 64 T1 (section 9.1)."""
        self._data = bytes(self.cancel_request())
        self._interval = T1
        self._send(self._data)
        if not self._reliable:
            self._repeat = self._clock.callLater(T1, self._again)
        self._end = self._clock.callLater(TIMEOUT, self._timeout)

    def cancel_answered(self) -> None:
        """The CANCEL was answered; the final response to the INVITE is still to come."""
        if self.cancelled:
            self._quiet()

    def _derived(self, method: str) -> Request:
        made = Request(method, self.request.uri)
        made.headers.set("Via", self.request.headers["Via"])
        routes = self.request.headers.getlist("Route")
        if routes:
            made.headers.setlist("Route", list(routes))
        made.headers.set("Max-Forwards", "70")
        made.headers.set("From", self.request.headers["From"])
        made.headers.set("To", self.request.headers["To"])
        made.headers.set("Call-ID", self.request.headers["Call-ID"])
        made.headers.set("CSeq", f"{self.request.headers['CSeq'].split()[0]} {method}")
        made.headers.set("Content-Length", "0")
        return made

    def cancel_request(self) -> Request:
        """The CANCEL for this INVITE (section 9.1)."""
        return self._derived("CANCEL")

    def ack_for(self, response: Response) -> Request:
        """The ACK for a refusal of this INVITE (section 17.1.1.3)."""
        ack = self._derived("ACK")
        ack.headers.set("To", response.headers["To"])
        return ack


class InviteServer:
    """An INVITE that arrived, until its final response is acknowledged.

    Args:
        clock: IReactorTime.
        request: the INVITE.
        send: sends bytes back to where it came from.
        reliable: whether the transport repeats by itself (TCP).
        finished: told once, when it got its final response or needs none any more.
    """

    def __init__(
        self,
        clock: Any,
        request: Request,
        send: Callable[[bytes], None],
        *,
        reliable: bool,
        finished: Callable[[], None] | None = None,
    ) -> None:
        self._finished = finished
        self._clock = clock
        self.request = request
        self._send = send
        self._reliable = reliable
        self._last = b""
        self.final = 0
        self.acknowledged = False
        self._interval = T1
        self._repeat: Any = None
        self._give_up = 0.0

    def respond(self, response: Response) -> None:
        """Send a response; a refusal is repeated over UDP until it is acknowledged."""
        if self.final and not (self.final < 300 and 200 <= response.code < 300):
            return
        data = bytes(response)
        self._last = data
        self._send(data)
        if response.code >= 200:
            self.final = response.code
            if response.code >= 300 and not self._reliable:
                self._give_up = self._clock.seconds() + TIMEOUT
                self._repeat = self._clock.callLater(T1, self._again)
            self.close()

    def close(self) -> None:
        """No final response is to come any more."""
        finished, self._finished = self._finished, None
        if finished is not None:
            finished()

    def _again(self) -> None:
        if self._clock.seconds() >= self._give_up:
            return
        self._send(self._last)
        self._interval = min(self._interval * 2, T2)
        self._repeat = self._clock.callLater(self._interval, self._again)

    def repeated(self) -> None:
        """The INVITE arrived again."""
        if self._last and not 200 <= self.final < 300:
            self._send(self._last)

    def ack(self) -> None:
        """The refusal was acknowledged."""
        self.acknowledged = True
        self.stop()

    def stop(self) -> None:
        """Stop repeating."""
        if self._repeat is not None and self._repeat.active():
            self._repeat.cancel()


class Linger(Generic[K, V]):
    """A table whose entries are forgotten after a fixed time, in order of entry."""

    def __init__(self, clock: Any, seconds: float = TIMEOUT) -> None:
        self._clock = clock
        self._seconds = seconds
        self._items: dict[K, tuple[float, V]] = {}

    def put(self, key: K, value: V) -> None:
        """Enter (or renew) an entry."""
        self._items.pop(key, None)
        self._items[key] = (self._clock.seconds() + self._seconds, value)

    def get(self, key: K) -> V | None:
        """Look up."""
        found = self._items.get(key)
        return found[1] if found is not None else None

    def pop(self, key: K) -> V | None:
        """Take out."""
        found = self._items.pop(key, None)
        return found[1] if found is not None else None

    def sweep(self) -> list[tuple[K, V]]:
        """Forget what is over; returns it."""
        now = self._clock.seconds()
        gone = []
        for key, (until, value) in self._items.items():
            if until > now:
                break
            gone.append((key, value))
        for key, _ in gone:
            del self._items[key]
        return gone

    def __len__(self) -> int:
        return len(self._items)
