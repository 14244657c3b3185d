"""One call of a test phone, made or received: every message with its time, and the audio."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from rtp import Rtp
from siptext import (
    Message,
    credentials,
    event_type,
    media_address,
    new_branch,
    offer,
    reply_to,
    uri_of,
)
from sound import RATE, Samples, tone, tones
from waiting import Changes, now, pause

if TYPE_CHECKING:
    from sipphone import Phone

Headers = Iterable[tuple[str, str]]

AUDIBLE = 1500.0
"""Amplitude from which a frequency counts as heard; tones of phones have 9000."""
FAINT = 300.0


def strength(samples: Samples, frequency: float) -> float:
    """Amplitude of one frequency."""
    if not len(samples):
        return 0.0
    window = np.hanning(len(samples))
    turns = np.exp(-2j * np.pi * frequency * np.arange(len(samples)) / RATE)
    return float(2 * abs(np.sum(samples * window * turns)) / max(float(np.sum(window)), 1.0))


class Call:
    """A call. Final responses are acknowledged and BYE is answered by itself."""

    def __init__(self, phone: Phone, call_id: str, *, outgoing: bool) -> None:
        self.phone = phone
        self.call_id = call_id
        self.outgoing = outgoing
        self.changes = Changes()
        self.rtp = Rtp(self.changes)
        self.responses: list[tuple[float, Message]] = []
        """Responses to the INVITE."""
        self.requests: list[tuple[float, Message]] = []
        """Requests of the engine."""
        self.invite: Message
        self.local = ""
        self.remote = ""
        self.target = ""
        self.routes: list[str] = []
        self.cseq = 1
        self.answered_at = 0.0
        self.over_at = 0.0
        self.body = offer(self.rtp.port)
        self.login = ("", "")
        self.stubborn = False
        """A callee who answers although the CANCEL was there first."""
        self.decide: Callable[[Message], bool] | None = None
        """Answers a request of the engine in place of this class when it returns true."""
        self._tag = secrets.token_hex(6)

    # -------------------------------------------------------------- starting a call

    def start(self, to: str, headers: Headers = (), body: bytes | None = None, sender: str = "") -> Message:
        """Send an INVITE; returns it."""
        phone = self.phone
        host, port = phone.engine
        self.target = f"sip:{to}@{host}:{port}"
        self.local = f"{sender or phone.address};tag={self._tag}"
        self.remote = f"<sip:{to}@{host}:{port}>"
        if body is not None:
            self.body = body
        extra = list(headers)
        if self.body:
            extra.append(("Content-Type", "application/sdp"))
        self.invite = self.compose("INVITE", extra, self.body)
        phone.transmit(self.invite, self._response)
        return self.invite

    def compose(
        self, method: str, headers: Headers = (), body: bytes = b"", *, branch: str = "", uri: str = ""
    ) -> Message:
        """A request within this call (an ACK or CANCEL of the INVITE with the INVITE's branch)."""
        if method not in ("ACK", "CANCEL") and not (
            method == "INVITE" and self.cseq == 1 and not self.answered_at
        ):
            self.cseq += 1
        made = Message(f"{method} {uri or self.target} SIP/2.0")
        made.headers = [("Via", self.phone.via(branch or new_branch())), ("Max-Forwards", "70")]
        made.headers += [("Route", route) for route in self.routes]
        made.headers += [("From", self.local), ("To", self.remote), ("Call-ID", self.call_id)]
        made.headers += [("CSeq", f"{self.cseq} {method}"), ("Contact", self.phone.contact), *headers]
        made.body = body
        return made

    def _response(self, response: Message) -> None:
        self.responses.append((now(), response))
        code = response.code
        if code >= 300:
            ack = self.compose("ACK", branch=self.invite.branch)
            ack.headers = [(n, response.get("To") if n == "To" else v) for n, v in ack.headers]
            self.phone.send(ack)
            if code in (401, 407) and self.login[0]:
                self._with_credentials(response)
        elif code >= 200:
            self._established(response)
        self.changes.tell()

    def _with_credentials(self, challenge: Message) -> None:
        login, password = self.login
        self.login = ("", "")
        name = "WWW-Authenticate" if challenge.code == 401 else "Proxy-Authenticate"
        answer = credentials(challenge.all(name), "INVITE", self.invite.uri, login, password)
        header = "Authorization" if challenge.code == 401 else "Proxy-Authorization"
        kept = [(n, v) for n, v in self.invite.headers if n not in ("Via", "CSeq")]
        self.cseq += 1
        again = Message(self.invite.start, [("Via", self.phone.via(new_branch())), *kept], self.invite.body)
        again.headers += [("CSeq", f"{self.cseq} INVITE"), (header, answer)]
        self.invite = again
        self.phone.transmit(again, self._response)

    def _established(self, response: Message) -> None:
        first = not self.answered_at
        self.remote = response.get("To")
        self.target = uri_of(response.get("Contact"))
        self.routes = list(reversed(response.all("Record-Route")))
        self.phone.send(self.compose("ACK"))
        if first:
            self.answered_at = now()
            self.rtp.start(media_address(response.body))

    # -------------------------------------------------------------- receiving a call

    def offered(self, invite: Message) -> None:
        """An INVITE of the engine came."""
        self.invite = invite
        self.local = f"{invite.get('To')};tag={self._tag}"
        self.remote = invite.get("From")
        self.target = uri_of(invite.get("Contact"))
        self.routes = invite.all("Record-Route")
        self.cseq = 100
        self.body = offer(self.rtp.port, events=event_type(invite.body))

    def ring(self, code: int = 180) -> None:
        """Say that it rings."""
        self.phone.send(reply_to(self.invite, code, tag=self._tag, headers=[("Contact", self.phone.contact)]))

    def early(self) -> None:
        """Ring with audio (183 with a description)."""
        headers = [("Contact", self.phone.contact), ("Content-Type", "application/sdp")]
        made = reply_to(self.invite, 183, tag=self._tag, headers=headers)
        made.body = self.body
        self.phone.send(made)
        self.rtp.start(media_address(self.invite.body))

    def refuse(self, code: int, headers: Headers = ()) -> None:
        """Refuse the call."""
        self.phone.send(reply_to(self.invite, code, tag=self._tag, headers=headers))

    def answer(self, headers: Headers = ()) -> None:
        """Answer the call, with audio from now on."""
        kind = ("Content-Type", "application/sdp")
        contact = ("Contact", self.phone.contact)
        made = reply_to(self.invite, 200, "OK", tag=self._tag, headers=[contact, kind, *headers])
        made.body = self.body
        self.answered_at = now()
        self.phone.send(made)
        self.rtp.event_type = event_type(self.invite.body)
        self.rtp.start(media_address(self.invite.body))

    def received(self, request: Message) -> None:
        """A request of the engine within the call."""
        self.requests.append((now(), request))
        method = request.method
        if self.decide is not None and self.decide(request):
            pass
        elif method == "BYE":
            self.over_at = self.over_at or now()
            self.rtp.mute()
            self.phone.send(reply_to(request, 200, "OK"))
        elif method == "CANCEL":
            self.phone.send(reply_to(request, 200, "OK", tag=self._tag))
            if self.stubborn:
                self.answer()
            else:
                self.over_at = self.over_at or now()
                self.refuse(487)
        elif method == "INVITE":
            kind = ("Content-Type", "application/sdp")
            made = reply_to(request, 200, "OK", headers=[("Contact", self.phone.contact), kind])
            made.body = self.body
            self.phone.send(made)
        elif method == "REFER":
            self.phone.send(reply_to(request, 202, "Accepted", headers=[("Contact", self.phone.contact)]))
        elif method != "ACK":
            self.phone.send(reply_to(request, 200, "OK"))
        self.changes.tell()

    # -------------------------------------------------------------- waiting

    @property
    def codes(self) -> list[int]:
        """Codes of the responses to the INVITE so far."""
        return [response.code for _, response in self.responses]

    def time_of(self, code: int) -> float:
        """When a response with this code came first."""
        return next(at for at, response in self.responses if response.code == code)

    async def response(self, code: int, within: float = 3.0) -> Message:
        """A response to the INVITE."""

        def found() -> Message | None:
            return next((r for _, r in self.responses if r.code == code), None)

        result = await self.changes.until(found, within, lambda: f"response {code}; got {self.codes}")
        assert result is not None
        return result

    async def final(self, within: float = 3.0) -> Message:
        """The final response to the INVITE (not a challenge that is answered)."""

        def found() -> Message | None:
            finals = [r for _, r in self.responses if r.code >= 200]
            return finals[-1] if finals and not (finals[-1].code in (401, 407) and self.login[0]) else None

        result = await self.changes.until(found, within, lambda: f"a final response; got {self.codes}")
        assert result is not None
        return result

    async def answered(self, within: float = 3.0) -> Message:
        """The 200; any other final response is a failure."""
        if not self.outgoing:
            await self.request_of("ACK", within)
            return self.invite
        final = await self.changes.until(
            lambda: next((r for _, r in self.responses if r.code >= 200 and r.code not in (401, 407)), None),
            within,
            lambda: f"an answer; got {self.codes}",
        )
        assert final is not None
        assert final.code == 200, f"{final.code} {final.phrase}; {final.headers}"
        return final

    async def request_of(self, method: str, within: float = 3.0) -> Message:
        """A request of the engine."""

        def found() -> Message | None:
            return next((r for _, r in self.requests if r.method == method), None)

        def missing() -> str:
            return f"{method}; responses {self.codes}, requests {[r.method for _, r in self.requests]}"

        result = await self.changes.until(found, within, missing)
        assert result is not None
        return result

    async def over(self, within: float = 3.0) -> Message:
        """The BYE of the engine."""
        return await self.request_of("BYE", within)

    async def sound(self, seconds: float = 0.2, within: float = 3.0, frequency: float = 0.0) -> None:
        """Wait until so much of a tone (any sound, when 0) was heard."""

        def heard() -> bool:
            total = sum(
                tone.seconds
                for tone in tones(self.heard())
                if not frequency or abs(tone.frequency - frequency) < 40
            )
            return total >= seconds

        await self.changes.until(heard, within, f"{seconds:g} s of sound ({frequency:g} Hz)")

    async def hears(self, *frequencies: float, seconds: float = 0.4, within: float = 6.0) -> None:
        """Wait until all of these frequencies are heard at the same time, from now on."""
        begun = now()

        def heard() -> bool:
            samples = self.heard(since=max(begun, now() - 2 * seconds))[-round(seconds * RATE) :]
            long_enough = len(samples) >= 0.95 * seconds * RATE
            return long_enough and all(strength(samples, one) >= AUDIBLE for one in frequencies)

        def missing() -> str:
            found = [(round(t.frequency), round(t.seconds, 2)) for t in tones(self.heard(since=begun))]
            return f"{self.phone.user} hears {frequencies} Hz; heard {found}"

        await self.changes.until(heard, within, missing)

    async def hears_none_of(self, *frequencies: float, seconds: float = 0.5) -> None:
        """Listen for a while; none of these frequencies may be heard."""
        begun = now()
        await pause(seconds)
        samples = self.heard(since=begun)
        found = {one: round(strength(samples, one)) for one in frequencies}
        assert max(found.values()) < FAINT, f"{self.phone.user} hears {found}"

    async def keys(self, expected: str, within: float = 5.0) -> None:
        """Wait until just these keys were received as telephone events."""
        await self.changes.until(
            lambda: len(self.rtp.digits()) >= len(expected),
            within,
            lambda: f"keys {expected}; got {self.rtp.digits()!r}",
        )
        assert self.rtp.digits() == expected

    # -------------------------------------------------------------- what the party does

    def hum(self, frequency: float, seconds: float = 30.0) -> None:
        """Say one tone without end, instead of what was being said."""
        self.hush()
        self.rtp.say(tone(frequency, seconds))

    def hush(self) -> None:
        """Say nothing more."""
        self.rtp.hush()

    async def ask(self, method: str, headers: Headers = (), body: bytes = b"", **how: Any) -> Message:
        """Send a request within the call; returns the final response."""
        request = self.compose(method, headers, body, **how)
        return await self.phone.ask(request)

    async def bye(self) -> Message:
        """Hang up; returns the response."""
        self.over_at = now()
        self.rtp.mute()
        return await self.ask("BYE")

    async def cancel(self) -> Message:
        """Give up before the answer; returns the response to the CANCEL."""
        made = self.compose("CANCEL", branch=self.invite.branch)
        made.headers = [(n, self.invite.get(n) if n in ("CSeq", "To") else v) for n, v in made.headers]
        made.headers = [(n, v.replace("INVITE", "CANCEL") if n == "CSeq" else v) for n, v in made.headers]
        return await self.phone.ask(made, key="CANCEL")

    async def info(self, digit: str) -> Message:
        """Press a key by SIP INFO."""
        body = f"Signal={digit}\r\nDuration=160\r\n".encode()
        return await self.ask("INFO", [("Content-Type", "application/dtmf-relay")], body)

    async def refer(self, *refer_to: str, headers: Headers = (), **how: Any) -> Message:
        """Ask the engine to transfer the other party; returns the final response."""
        return await self.ask("REFER", [*(("Refer-To", to) for to in refer_to), *headers], **how)

    @property
    def news(self) -> list[tuple[str, str]]:
        """Of each NOTIFY: the status line, and the state of the subscription without parameters."""
        told = {r.get("CSeq"): r for _, r in self.requests if r.method == "NOTIFY"}
        return [
            (r.body.decode().strip(), r.get("Subscription-State").partition(";")[0]) for r in told.values()
        ]

    async def transferred(self, code: int = 200, phrase: str = "OK") -> Message:
        """Tell what became of the call that a REFER asked for; returns the response to the NOTIFY."""
        headers = [
            ("Event", "refer"),
            ("Subscription-State", "terminated;reason=noresource"),
            ("Content-Type", "message/sipfrag;version=2.0"),
        ]
        return await self.ask("NOTIFY", headers, f"SIP/2.0 {code} {phrase}\r\n".encode())

    async def reinvite(self, body: bytes) -> Message:
        """Change the media; acknowledges, and sends audio where the answer says."""
        request = self.compose("INVITE", [("Content-Type", "application/sdp")], body)
        response = await self.phone.ask(request)
        if response.code >= 300:
            self.phone.send(self.compose("ACK", branch=request.branch))
            return response
        self.phone.send(self.compose("ACK"))
        self.rtp.start(media_address(response.body))
        return response

    def move(self) -> None:
        """Receive audio on another port from now on (tell the engine by `reinvite(self.body)`)."""
        packets = self.rtp.packets
        remote = self.rtp.remote
        self.rtp.close()
        self.rtp = Rtp(self.changes)
        self.rtp.packets = packets
        assert remote is not None
        self.rtp.start(remote)
        self.body = offer(self.rtp.port, version=2)

    def heard(self, since: float = 0.0, until: float = float("inf")) -> Samples:
        """What was heard."""
        return self.rtp.heard(since, until)

    def close(self) -> None:
        """Let go of the audio port."""
        self.rtp.close()

    @property
    def live(self) -> bool:
        """Whether the engine still has this call."""
        if self.over_at:
            return False
        return bool(self.answered_at) or (self.outgoing and max(self.codes, default=0) < 300)
