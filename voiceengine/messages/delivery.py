"""What is handed to the next hop, and what its answer means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, Literal, Protocol

import attrs
from sipmessage import URI, Address

from voiceengine.sip.headers import clean
from voiceengine.sip.message import Answer
from voiceengine.sip.transport import Flow
from voiceengine.store.rows import BindingRow

TEXT: Final = "text/plain;charset=UTF-8"
SID_HEADER: Final = "X-Message-Sid"
"""Names a message towards a trunk, so that a delivery report can name it too."""
HOPS_HEADER: Final = "X-Message-Hops"
"""Counts the applications that a chain of answers went through."""

UNKNOWN_ERROR: Final = 30008
_CODES: Final = {
    401: 30004,
    403: 30004,
    404: 30005,
    407: 30004,
    408: 30003,
    410: 30005,
    430: 30003,
    480: 30003,
    484: 30005,
    485: 30005,
    486: 30003,
    487: 30003,
    504: 30003,
    600: 30003,
    603: 30007,
    604: 30005,
    607: 30007,
    608: 30007,
}
_NAME = re.compile(r"[Xx]-[A-Za-z0-9.!%*_+`'~-]{1,62}")
_OURS = ("x-restcomm-", "x-voiceengine-", SID_HEADER.lower(), HOPS_HEADER.lower())


@attrs.frozen(kw_only=True)
class OutboundText:
    """A text on its way out."""

    sid: str
    account_sid: str
    from_: str
    to: str
    """Number, or login of a client without prefix."""
    body: str
    headers: tuple[tuple[str, str], ...] = ()
    hops: int = 0


@attrs.frozen(kw_only=True)
class Handover:
    """What became of a text at the next hop.

    `delivered`: it is where it should be; `sent`: the next hop took it, a report may follow; `held`: it waits
    for a client to register; `failed`: it is lost.
    """

    status: Literal["delivered", "sent", "held", "failed"]
    error: int | None = None
    """Delivery error (`requests.ERRORS`), when it failed."""
    code: int = 0
    """SIP status code that tells it to a sender who waits."""
    phrase: str = ""


@attrs.frozen
class DeliveryReport:
    """What a provider learned of a message later."""

    sid: str
    delivered: bool
    error: int | None = None


class SmsProvider(Protocol):
    """A way to the phone network."""

    async def send(self, text: OutboundText, timeout: float) -> Handover:
        """Hand a text over; reports come later to `MessageService.report`."""
        ...


class SipRequests(Protocol):
    """What of the SIP edge is needed to send."""

    async def flow_to_uri(self, uri: URI) -> Flow:
        """The way to a URI; OSError when there is none."""
        ...

    async def flow_to_binding(self, binding: BindingRow) -> Flow:
        """The way to a registered contact; OSError when there is none."""
        ...

    async def request(
        self,
        method: str,
        uri: str,
        flow: Flow,
        *,
        from_: str,
        to: str = "",
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str = "",
        username: str = "",
        password: str = "",
        timeout: float,
    ) -> Answer:
        """Send a request outside of dialogs; returns its final response."""
        ...


def failed(error: int, code: int, phrase: str = "") -> Handover:
    """A text that is lost."""
    return Handover(status="failed", error=error, code=code, phrase=phrase)


def outcome(answer: Answer) -> Handover:
    """What a final response to a MESSAGE means (RFC 3428 section 7: 202 is no delivery yet)."""
    if answer.code < 300:
        status: Literal["sent", "delivered"] = "sent" if answer.code == 202 else "delivered"
        return Handover(status=status, code=answer.code, phrase=answer.phrase)
    return failed(_CODES.get(answer.code, UNKNOWN_ERROR), answer.code, answer.phrase)


def extra_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The `X-` headers that a program or a sender may set; empty ones are left out."""
    return [
        (name, text)
        for name, value in headers
        if _NAME.fullmatch(name) and not name.lower().startswith(_OURS) and (text := clean(value, 1000))
    ][:32]


def own_address(user: str, host: str) -> str:
    """Value of From."""
    return str(Address(uri=URI(scheme="sip", user=user, host=host)))
