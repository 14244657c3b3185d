"""Messages rebuilt on their way between phones and workers.

Workers see only what they need: one Via, Contacts that point to the edge, a rebuilt SDP and a few
headers. Phones see the edge: its Via, its Contact and Record-Route with the dialog's token.
"""

from __future__ import annotations

from collections.abc import Iterable

from sipmessage import URI, Address, Request, Response

from media.protocol import LEG_HEADER
from voiceengine.sip import sdp
from voiceengine.sip.dialog import Dialog
from voiceengine.sip.wire import tag_of, with_tag

TO_WORKER = (
    "Content-Type",
    "Supported",
    "Require",
    "Session-Expires",
    "Min-SE",
    "RAck",
    "RSeq",
    "Reason",
    "Retry-After",
    "WWW-Authenticate",
    "Proxy-Authenticate",
)
NOTIFY_TO_WORKER = ("Event", "Subscription-State")
HIDDEN = {
    "via",
    "route",
    "record-route",
    "contact",
    "content-length",
    "max-forwards",
    "from",
    "to",
    "call-id",
    "cseq",
    "allow",
    "supported",
    "allow-events",
    LEG_HEADER.lower(),
}
ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, INFO, UPDATE, PRACK, NOTIFY"
"""Methods that the edge takes; NOTIFY within calls, about a REFER of ours."""
SUPPORTED = "timer, 100rel"
WORKER_LIMIT = 3800
"""pjsip reads 4000 bytes; what is longer loses its X- headers."""


class Relay:
    """Rebuilds messages; knows the edge's own addresses.

    Args:
        internal_port: UDP port on 127.0.0.1 that workers use.
    """

    def __init__(self, internal_port: int = 0) -> None:
        self.internal_port = internal_port
        self.allow = ALLOW
        """Allow of what phones are sent."""
        self.supported = SUPPORTED
        """Supported of what phones are sent."""

    def takes_transfers(self) -> None:
        """Phones may send REFER from now on (RFC 3515), also without a subscription (RFC 4488)."""
        self._allows("REFER")
        self.supported = f"{SUPPORTED}, norefersub"

    def takes_messages(self) -> None:
        """Phones may send MESSAGE from now on (RFC 3428)."""
        self._allows("MESSAGE")

    def _allows(self, method: str) -> None:
        if method not in self.allow.split(", "):
            self.allow = f"{self.allow}, {method}"

    # -------------------------------------------------------------- towards the worker

    def _internal_contact(self, key: str) -> str:
        return f"<sip:{key}@127.0.0.1:{self.internal_port}>"

    def _common(self, source: Request | Response, made: Request | Response) -> None:
        for name in ("From", "To", "Call-ID", "CSeq"):
            made.headers.set(name, source.headers[name])

    def _finish(self, made: Request | Response, body: bytes) -> None:
        made.body = body
        if not body:
            made.headers.remove("Content-Type")
        made.headers.set("Content-Length", str(len(body)))

    def _copy(self, source: Request | Response, made: Request | Response, names: Iterable[str]) -> None:
        for name in names:
            values = source.headers.getlist(name)
            if values:
                made.headers.setlist(name, list(values))

    def request_to_worker(self, request: Request, dialog: Dialog, branch: str, body: bytes) -> Request:
        """A request of the phone, for the worker."""
        uri = URI(scheme="sip", user="worker", host="127.0.0.1", port=dialog.media_leg.sip_port)
        made = Request(request.method, uri)
        made.headers.set("Via", f"SIP/2.0/UDP 127.0.0.1:{self.internal_port};rport;branch={branch}")
        made.headers.set("Max-Forwards", "70")
        self._common(request, made)
        if request.method != "BYE":
            made.headers.set("Contact", self._internal_contact(dialog.key))
        self._copy(request, made, TO_WORKER)
        if request.method == "NOTIFY":
            self._copy(request, made, NOTIFY_TO_WORKER)
        self._finish(made, body)
        if request.method == "BYE":
            self._add_extra(request, made)
        return made

    def _add_extra(self, source: Request | Response, made: Request | Response) -> None:
        """Give the worker the X- headers of what ends or answers a call, as far as they fit."""
        size = len(bytes(made))
        for name in [n for n in source.headers.keys() if n.lower().startswith("x-")][:16]:
            value = source.headers[name]
            size += len(name) + len(value.encode()) + 4
            if size < WORKER_LIMIT:
                made.headers.add(name, value)

    def response_to_worker(
        self, response: Response, request: Request, dialog: Dialog, body: bytes
    ) -> Response:
        """A response of the phone, for the worker; `request` is what the worker sent."""
        made = Response(response.code, response.phrase[:128])
        made.headers.setlist("Via", list(request.headers.getlist("Via")))
        self._common(response, made)
        made.headers.set("CSeq", request.headers["CSeq"])  # the worker knows its own numbers only
        made.headers.set("Contact", self._internal_contact(dialog.key))
        self._copy(response, made, TO_WORKER)
        self._finish(made, body)
        self._add_extra(response, made)
        return made

    # -------------------------------------------------------------- towards the phone

    def _edge_uri(self, dialog: Dialog) -> str:
        listener = dialog.flow.listener
        suffix = ";transport=tcp" if listener.transport == "tcp" else ""
        return f"sip:{dialog.token}@{listener.sent_by}{suffix}"

    def contact(self, dialog: Dialog) -> str:
        """The Contact that phones are told."""
        return f"<{self._edge_uri(dialog)}>"

    def record_route(self, dialog: Dialog) -> str:
        """The Record-Route that phones are told."""
        uri = self._edge_uri(dialog)
        return f"<{uri};lr>"

    def via(self, dialog: Dialog, branch: str) -> str:
        """The Via of a request to the phone."""
        listener = dialog.flow.listener
        return f"SIP/2.0/{listener.transport.upper()} {listener.sent_by};rport;branch={branch}"

    def request_to_phone(self, request: Request, dialog: Dialog, branch: str, body: bytes) -> Request:
        """A request of the worker, for the phone."""
        target = request.uri
        if dialog.remote_target:
            try:
                target = URI.parse(dialog.remote_target)
            except ValueError:
                pass
        made = Request(request.method, target)
        made.headers.set("Via", self.via(dialog, branch))
        if dialog.route_set:
            made.headers.setlist("Route", list(dialog.route_set))
        made.headers.set("Max-Forwards", "70")
        self._common(request, made)
        number = dialog.numbers.of_worker(request.cseq.sequence)
        made.headers.set("CSeq", f"{number} {request.method}")
        if dialog.established:
            made.headers.set("From", dialog.engine_address)
            made.headers.set("To", dialog.phone_address)
        made.headers.set("Contact", self.contact(dialog))
        if request.method == "INVITE" and not dialog.established:
            made.headers.set("Record-Route", self.record_route(dialog))
        self._copy(request, made, (n for n in request.headers.keys() if n.lower() not in HIDDEN))
        if request.method in ("INVITE", "UPDATE"):
            made.headers.set("Allow", self.allow)
            made.headers.set("Supported", self.supported)
        elif request.method == "PRACK":
            self._renumber_rack(made, dialog)
        elif request.method == "REFER":
            self._hide_worker(made, dialog)
        self._finish(made, body)
        return made

    def _renumber_rack(self, made: Request, dialog: Dialog) -> None:
        """RAck names the CSeq of the INVITE as the phone saw it (RFC 3262 section 7.2)."""
        fields = (made.headers.get("RAck") or "").split()
        if len(fields) == 3 and fields[1].isdigit():
            fields[1] = str(dialog.numbers.of_worker(int(fields[1])))
            made.headers.set("RAck", " ".join(fields))

    def _hide_worker(self, made: Request, dialog: Dialog) -> None:
        """The worker's stack may name itself in Referred-By (RFC 3892); phones know the edge only."""
        values = made.headers.getlist("Referred-By")
        if not values:
            return
        workers = (None, self.internal_port, dialog.media_leg.sip_port)
        try:
            uri = Address.parse(values[0]).uri
        except ValueError:
            made.headers.remove("Referred-By")
            return
        if uri.host == "127.0.0.1" and uri.port in workers:
            listener = dialog.flow.listener
            user = str(URI(scheme="sip", user=uri.user, host=listener.public_host, port=listener.port))
            made.headers.set("Referred-By", f"<{user}>")

    def response_to_phone(
        self, response: Response, request: Request, dialog: Dialog, body: bytes
    ) -> Response:
        """A response of the worker, for the phone; `request` is what the phone sent."""
        made = Response(response.code, response.phrase)
        made.headers.setlist("Via", list(request.headers.getlist("Via")))
        self._common(response, made)
        # the worker writes them anew; phones expect their own texts back
        made.headers.set("From", request.headers["From"])
        made.headers.set("To", with_tag(request.headers["To"], tag_of(response.headers["To"])))
        if request.method == "INVITE" and response.code < 300:
            # our own entry, on top of those of the proxies that the request came through
            routes = [self.record_route(dialog), *request.headers.getlist("Record-Route")]
            made.headers.setlist("Record-Route", routes)
        if response.code < 300:
            made.headers.set("Contact", self.contact(dialog))
        elif response.headers.get("Contact"):
            made.headers.set("Contact", response.headers["Contact"])
        self._copy(response, made, (n for n in response.headers.keys() if n.lower() not in HIDDEN))
        if request.method in ("INVITE", "UPDATE") and 200 <= response.code < 300:
            made.headers.set("Allow", self.allow)
            made.headers.set("Supported", self.supported)
        self._finish(made, body)
        return made

    def own_request(
        self,
        method: str,
        dialog: Dialog,
        branch: str,
        headers: Iterable[tuple[str, str]],
        body: bytes = b"",
    ) -> Request:
        """A request of the edge itself inside a dialog (NOTIFY; BYE for a leg whose worker died)."""
        made = Request(method, URI.parse(dialog.remote_target))
        made.headers.set("Via", self.via(dialog, branch))
        if dialog.route_set:
            made.headers.setlist("Route", list(dialog.route_set))
        made.headers.set("Max-Forwards", "70")
        made.headers.set("From", dialog.engine_address)
        made.headers.set("To", dialog.phone_address)
        made.headers.set("Call-ID", dialog.call_id)
        made.headers.set("CSeq", f"{dialog.numbers.own()} {method}")
        for name, value in headers:
            made.headers.add(name, value)
        made.body = body
        made.headers.set("Content-Length", str(len(body)))
        return made


def is_sdp(message: Request | Response) -> bool:
    """Whether the body is SDP."""
    kind = message.headers.get("Content-Type") or ""
    return bool(message.body) and kind.split(";")[0].strip().lower() == "application/sdp"


def body_from_phone(message: Request | Response, dialog: Dialog, *, offer: bool) -> bytes:
    """Rebuild the SDP of a phone for the worker; anything but SDP is left out.

    Raises:
        sdp.SdpError: it cannot be used.
    """
    if not is_sdp(message):
        return b""
    if offer:
        body, dialog.offer = sdp.offer_for_worker(message.body)
        return body
    if dialog.own_offer is None:
        return b""
    return sdp.answer_for_worker(message.body, dialog.own_offer)


def body_from_worker(message: Request | Response, dialog: Dialog, *, offer: bool) -> bytes:
    """Rebuild the SDP of a worker for the phone; other bodies (DTMF INFO) pass as they are.

    Raises:
        sdp.SdpError: it cannot be used.
    """
    if not is_sdp(message):
        return message.body
    if offer:
        body, dialog.own_offer = sdp.offer_for_phone(message.body, dialog.offer)
        return body
    if dialog.offer is None:
        return b""
    return sdp.answer_for_phone(message.body, dialog.offer)
