"""An INVITE of a phone, from its arrival to its final response: the handle that `calls` holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import attrs
from sipmessage import Request, Response

from media.protocol import LEG_HEADER
from voiceengine.sip import relay, sdp
from voiceengine.sip.core import EdgeCore
from voiceengine.sip.dialog import Dialog, contact_uri
from voiceengine.sip.transaction import ClientTransaction, InviteServer
from voiceengine.sip.transport import Flow
from voiceengine.sip.wire import new_branch, response_to, tag_of, with_tag


@attrs.frozen(kw_only=True)
class CallerIdentity:
    """Who calls: an authenticated client, a configured trunk, or somebody outside."""

    client_sid: str | None = None
    trunk: str | None = None


class InviteHandler(Protocol):
    """Who takes new calls."""

    @property
    def accepting(self) -> bool:
        """False while the engine drains."""
        ...

    def invite(self, invite: InboundInvite) -> None:
        """A new INVITE from an identified caller. Must end in `forward` or `refuse`."""
        ...


class InviteBook(Protocol):
    """Where INVITEs are looked up by their leg or their transaction."""

    def forwarded(self, key: str, invite: InboundInvite) -> None:
        """An INVITE was given to a leg."""
        ...

    def refused(self, invite: InboundInvite) -> None:
        """An INVITE was refused without a leg."""
        ...


class InboundInvite:
    """A new call that waits for a decision. 100 was sent."""

    def __init__(
        self,
        core: EdgeCore,
        request: Request,
        flow: Flow,
        key: tuple[str, str],
        server: InviteServer,
        identity: CallerIdentity,
        book: InviteBook,
    ) -> None:
        self._core = core
        self._book = book
        self.server_key = key
        self.request = request
        self.flow = flow
        self.identity = identity
        self._server = server
        self._client: ClientTransaction | None = None
        self.dialog: Dialog | None = None
        self._branch = ""
        self.cancelled = False
        self.cancel_reason = ""
        self.on_cancel: Callable[[], None] | None = None
        """Told when the caller gives up before the INVITE was forwarded."""
        self.on_refused: Callable[[int, str], None] | None = None
        """Told when the forwarded INVITE got a final refusal."""

    @property
    def call_id(self) -> str:
        """SIP Call-ID."""
        return self.request.headers["Call-ID"]

    def refuse(self, code: int, phrase: str = "", headers: Iterable[tuple[str, str]] = ()) -> None:
        """Answer with a final refusal."""
        if not self._server.final:
            self._respond(response_to(self.request, code, phrase, headers))
            if self.dialog is None:
                self._book.refused(self)

    def _respond(self, response: Response) -> None:
        self._server.respond(response)
        if response.code >= 200:
            self._core.server_done(self.server_key)

    def forward(self, key: str, media_leg: Any) -> None:
        """Send the INVITE to the worker that holds a slot for it.

        Raises:
            sdp.SdpError: the offer cannot be used; nothing was sent, the caller must be refused.
        """
        core = self._core
        request = self.request
        to = request.to_address
        dialog = Dialog(
            key=key,
            call_id=self.call_id,
            media_leg=media_leg,
            flow=self.flow,
            outbound=False,
            token=core.tokens.make(key, self.call_id),
            phone_tag=tag_of(request.headers["From"]),
            remote_target=contact_uri(request.contact),
            route_set=list(request.headers.getlist("Record-Route")),
            phone_address=request.headers["From"],
            engine_address=str(to),
        )
        body = relay.body_from_phone(request, dialog, offer=True)
        self.dialog = dialog
        core.dialogs[key] = dialog
        self._book.forwarded(key, self)
        branch = self._branch = new_branch()
        forwarded = core.relay.request_to_worker(request, dialog, branch, body)
        forwarded.headers.set(LEG_HEADER, key)
        port = media_leg.sip_port
        self._client = core.client(
            forwarded,
            branch,
            lambda data: core.to_port(data, port),
            reliable=False,
            answered=self._answered,
            timed_out=lambda: self._failed(503, "The media worker did not answer"),
        )

    def _answered(self, response: Response) -> None:
        dialog = self.dialog
        if dialog is None:
            return
        if response.code >= 300:
            self._relay(response, dialog)
            if self.on_refused is not None:
                self.on_refused(response.code, response.phrase)
            return
        dialog.worker_tag = dialog.worker_tag or tag_of(response.headers["To"])
        dialog.engine_address = with_tag(self.request.headers["To"], dialog.worker_tag)
        if response.code >= 200:
            dialog.established = True
        self._relay(response, dialog)

    def _relay(self, response: Response, dialog: Dialog) -> None:
        try:
            body = relay.body_from_worker(response, dialog, offer=False)
        except sdp.SdpError:
            self._failed(500, "The answer of the media worker cannot be used")
            return
        self._respond(self._core.relay.response_to_phone(response, self.request, dialog, body))

    def _failed(self, code: int, phrase: str) -> None:
        self.refuse(code, phrase)
        if self.on_refused is not None:
            self.on_refused(code, phrase)

    def cancel(self, reason: str) -> None:
        """The caller cancelled."""
        self.cancel_reason = reason
        if self._server.final or self.cancelled:
            return
        self.cancelled = True
        if self._client is not None:
            self._core.to_port(bytes(self._client.cancel_request()), self.dialog.media_leg.sip_port)  # type: ignore[union-attr]
            return
        self.refuse(487)
        if self.on_cancel is not None:
            self.on_cancel()

    def abandon(self, reason: str) -> None:
        """The worker died: end the INVITE without it."""
        self._core.forget_client(self._branch)
        self.refuse(500, "", [("Reason", reason)])
