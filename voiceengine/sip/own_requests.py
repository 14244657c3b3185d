"""Requests of the engine itself outside of calls (REGISTER, MESSAGE): sent, repeated, authenticated."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs
from sipmessage import URI, Request, Response
from twisted.internet.defer import CancelledError, Deferred

from voiceengine.sip import digest
from voiceengine.sip.digest import DigestError
from voiceengine.sip.message import Answer
from voiceengine.sip.wire import new_branch, new_tag, tag_of

if TYPE_CHECKING:
    from voiceengine.sip.core import EdgeCore
    from voiceengine.sip.transport import Flow

USER_AGENT: Final = "voiceengine"
UDP_BYTES: Final = 1_300
"""Larger requests go by TCP where that is possible (RFC 3261 section 18.1.1)."""
MAX_UDP_BYTES: Final = 65_000
CONNECT_SECONDS: Final = 2.0
"""Time that a peer on UDP gets to take a TCP connection."""

_CHALLENGES: Final = {
    401: ("WWW-Authenticate", "Authorization"),
    407: ("Proxy-Authenticate", "Proxy-Authorization"),
}
_OWN: Final = frozenset(
    {"via", "from", "to", "call-id", "cseq", "max-forwards", "content-length", "content-type", "contact"}
)
_NAME: Final = re.compile(r"[A-Za-z0-9.!%*_+`'~-]{1,64}")
_METHOD: Final = re.compile(r"[A-Z]{1,32}")
_BREAKING: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class CannotSend(ValueError):
    """A request that cannot be written: a header with a line break, an address that is none."""


@attrs.frozen(kw_only=True)
class OwnRequest:
    """A request of the engine, without what each attempt adds."""

    method: str
    uri: str
    """Request-URI."""
    from_: str
    """URI or name-addr."""
    to: str = ""
    """URI or name-addr; empty: the Request-URI."""
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    content_type: str = ""
    call_id: str = ""
    contact: str = ""
    """Value of Contact; empty: none."""

    def build(self) -> Request:
        """Write all but Via and CSeq.

        Raises:
            CannotSend: something in it cannot be sent.
        """
        if not _METHOD.fullmatch(self.method) or self.method in ("INVITE", "ACK", "CANCEL"):
            raise CannotSend(f"{self.method[:32]} is not sent outside of calls.")
        made = Request(self.method, _uri(self.uri))
        made.headers.set("Max-Forwards", "70")
        sender = _checked("From", _name_addr(self.from_))
        made.headers.set("From", sender if tag_of(sender) else f"{sender};tag={new_tag()}")
        made.headers.set("To", _checked("To", _name_addr(self.to or self.uri)))
        made.headers.set("Call-ID", _checked("Call-ID", self.call_id or secrets.token_hex(16)))
        if self.contact:
            made.headers.set("Contact", _checked("Contact", self.contact))
        made.headers.set("User-Agent", USER_AGENT)
        for name, value in self.headers:
            if not _NAME.fullmatch(name) or name.lower() in _OWN:
                raise CannotSend(f"{name[:64]!r} is not a header that can be added.")
            made.headers.add(name, _checked(name, value))
        if self.body:
            made.headers.set("Content-Type", _checked("Content-Type", self.content_type or "text/plain"))
        made.headers.set("Content-Length", str(len(self.body)))
        made.body = self.body
        return made


def _uri(text: str) -> URI:
    try:
        return URI.parse(_checked("Request-URI", text))
    except (ValueError, TypeError, AssertionError):
        raise CannotSend("The Request-URI is not a URI.") from None


def _name_addr(text: str) -> str:
    return text if "<" in text else f"<{text}>"


def _checked(name: str, value: str) -> str:
    if not value or _BREAKING.search(value):
        raise CannotSend(f"The value of {name} is empty or holds control characters.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise CannotSend(f"The value of {name} is not valid Unicode.") from None
    return value


class _Attempts:
    """What was tried to authenticate one request."""

    def __init__(self, username: str, password: str) -> None:
        self._username = username
        self._password = password
        self._answered: set[int] = set()
        self._renewed = False

    def retry(self, request: Request, answer: Answer) -> bool:
        """Add credentials to the request; False when it has to stand as it is."""
        names = _CHALLENGES.get(answer.code)
        if names is None or not self._username:
            return False
        challenges = answer.all(names[0])
        if answer.code in self._answered:
            if self._renewed or not _stale(challenges):
                return False  # the password is wrong
            self._renewed = True
        self._answered.add(answer.code)
        try:
            value = digest.authorization(
                challenges, request.method, str(request.uri), self._username, self._password
            )
        except DigestError:
            return False
        request.headers.set(names[1], value)
        return True


def _stale(challenges: Sequence[str]) -> bool:
    for text in challenges:
        try:
            if digest.parameters(text).get("stale", "").lower() == "true":
                return True
        except DigestError:
            continue
    return False


class OwnRequests:
    """Sends requests of the engine itself."""

    def __init__(self, core: EdgeCore) -> None:
        self._core = core
        self._waiting: set[Deferred[Answer]] = set()

    async def send(
        self,
        wanted: OwnRequest,
        flow: Flow,
        *,
        username: str = "",
        password: str = "",
        timeout: float = 32.0,
        cseq: int = 1,
    ) -> Answer:
        """Send a request; challenges are answered once each, and once more when the nonce was stale.

        Raises:
            CannotSend: something in it cannot be sent.
        """
        request = wanted.build()
        end = self._core.reactor.seconds() + timeout
        attempts = _Attempts(username, password)
        while True:
            request.headers.set("CSeq", f"{cseq} {request.method}")
            answer = await self._once(request, flow, end)
            if not attempts.retry(request, answer):
                return answer
            cseq += 1

    async def _once(self, request: Request, flow: Flow, end: float) -> Answer:
        core = self._core
        branch = new_branch()
        flow = await self._way(request, flow, branch)
        left = end - core.reactor.seconds()
        if not flow.alive:
            return Answer(code=503, phrase="The connection is closed")
        if flow.transport == "udp" and len(bytes(request)) > MAX_UDP_BYTES:
            return Answer(code=513, phrase="Message Too Large")
        if left <= 0:
            return Answer(code=408, phrase="Request Timeout")
        done: Deferred[Answer] = Deferred(lambda _: core.forget_client(branch))

        def tell(answer: Answer) -> None:
            if not done.called:
                done.callback(answer)

        def answered(response: Response) -> None:
            if response.code >= 200:
                tell(Answer.of(response))

        def timed_out() -> None:
            core.forget_client(branch)
            tell(Answer(code=408, phrase="Request Timeout"))

        self._waiting.add(done)
        timer: Any = core.reactor.callLater(left, timed_out)
        try:
            core.client(
                request,
                branch,
                flow.send,
                reliable=flow.transport == "tcp",
                answered=answered,
                timed_out=timed_out,
            )
            return await done
        finally:
            self._waiting.discard(done)
            if timer.active():
                timer.cancel()

    async def _way(self, request: Request, flow: Flow, branch: str) -> Flow:
        """Write the Via; a large request goes by TCP to the same host when that listens there."""
        _via(request, flow, branch)
        if flow.transport != "udp" or len(bytes(request)) <= UDP_BYTES:
            return flow
        try:
            flow = await self._connected(flow.host, flow.port)
        except OSError:
            return flow
        _via(request, flow, branch)
        return flow

    async def _connected(self, host: str, port: int) -> Flow:
        """A TCP flow; cancelling it raises CancelledError, not the OSError of a connection that failed."""
        connecting = Deferred.fromCoroutine(self._core.transports.flow_to("tcp", host, port, CONNECT_SECONDS))

        def give_up(waiting: Deferred[Flow]) -> None:
            waiting.errback(CancelledError())
            connecting.cancel()

        found: Deferred[Flow] = Deferred(give_up)
        connecting.addBoth(lambda result: None if found.called else found.callback(result))
        return await found

    def close(self) -> None:
        """Nothing is answered any more."""
        for waiting in list(self._waiting):
            if not waiting.called:
                waiting.callback(Answer(code=503, phrase="The engine stops"))


def _via(request: Request, flow: Flow, branch: str) -> None:
    sent_by = flow.listener.sent_by
    request.headers.set("Via", f"SIP/2.0/{flow.transport.upper()} {sent_by};rport;branch={branch}")
