"""Dialogs that pass through the edge, and the signed tokens that lead into them.

Phones are told a Contact and a Record-Route whose user part is a token: the name of the leg and a
signature over it and the Call-ID. A request reaches a worker only with a token that was signed here,
for a leg that lives, inside the dialog with that Call-ID and those tags.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import attrs
from sipmessage import URI, Request, Response

from voiceengine.sip.numbers import Numbers
from voiceengine.sip.transport import Flow
from voiceengine.sip.wire import tag_of

SIGNATURE_DIGITS = 16
"""64 bits: a guess is one request to a live engine each, and worth nothing without Call-ID and tags."""


class Tokens:
    """Makes and checks tokens; the key lives as long as the process (and so do the dialogs)."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def _sign(self, key: str, call_id: str) -> str:
        mac = hmac.new(self._secret, f"{key}\0{call_id}".encode(), hashlib.sha256)
        return mac.hexdigest()[:SIGNATURE_DIGITS]

    def make(self, key: str, call_id: str) -> str:
        """The token of a leg, fit for the user part of a SIP URI."""
        return f"{key}-{self._sign(key, call_id)}"

    def check(self, token: str, call_id: str) -> str | None:
        """The name of the leg, or None for a token that was not made here for that Call-ID."""
        key, _, signature = token.rpartition("-")
        if key and hmac.compare_digest(signature.encode(), self._sign(key, call_id).encode()):
            return key
        return None


@attrs.define(eq=False)
class Dialog:
    """One dialog between a phone and a worker."""

    key: str
    call_id: str
    media_leg: Any
    """`media.pool.MediaLeg`."""
    flow: Flow
    """The way to the phone."""
    outbound: bool
    token: str
    phone_tag: str = ""
    worker_tag: str = ""
    remote_target: str = ""
    """Contact of the phone."""
    route_set: list[str] = attrs.field(factory=list)
    """Proxies between the edge and the phone, next hop first."""
    phone_address: str = ""
    """From (or To) value of the phone's side, with its tag."""
    engine_address: str = ""
    """The same of the engine's side."""
    numbers: Numbers = attrs.field(factory=Numbers)
    """CSeq of what is sent to the phone."""
    established: bool = False
    ended: bool = False
    referred: int = 0
    """CSeq of the worker's last REFER as the phone saw it: NOTIFY about it is expected. 0: there was none."""
    transfers: int = 0
    """REFER of the phone so far."""
    offer: Any = None
    """Layout of the phone's last offer (`sdp.Layout`)."""
    own_offer: Any = None
    """Layout of the worker's last offer."""

    def fits(self, request: Request) -> bool:
        """Whether a request of the phone belongs to this dialog."""
        if request.headers["Call-ID"] != self.call_id:
            return False
        if self.phone_tag and tag_of(request.headers["From"]) != self.phone_tag:
            return False
        return not self.worker_tag or tag_of(request.headers["To"]) == self.worker_tag

    def named(self, call_id: str, tags: tuple[str, str]) -> bool:
        """Whether it is the live, answered dialog with this Call-ID and these tags, in either order."""
        return (
            self.established
            and not self.ended
            and self.call_id == call_id
            and bool(self.phone_tag and self.worker_tag)
            and sorted(tags) == sorted((self.phone_tag, self.worker_tag))
        )

    def refresh(self, message: Request | Response) -> None:
        """Follow the phone to the Contact of a target refresh request or its 2xx (RFC 3261 section 12.2)."""
        try:
            self.remote_target = contact_uri(message.contact) or self.remote_target
        except ValueError:
            return


def contact_uri(values: list[Any]) -> str:
    """URI text of the first Contact, or ''."""
    return str(values[0].uri) if values else ""


def token_in(request: Request) -> str:
    """The user part that may hold a token: of the first Route, else of the Request-URI."""
    route = request.headers.get("Route")
    if route:
        start, end = route.find("<"), route.find(">")
        try:
            uri = URI.parse(route[start + 1 : end])
        except ValueError:
            return ""
        return uri.user or ""
    return request.uri.user or ""
