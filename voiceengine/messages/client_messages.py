"""Messages to clients: sent to their phones, or kept until they register (setting `messages.offline`)."""

from __future__ import annotations

import attrs
from twisted.internet.defer import CancelledError

from voiceengine.messages.clients import UNREACHABLE, ClientDelivery
from voiceengine.messages.context import MessageContext
from voiceengine.messages.delivery import Handover, OutboundText, failed
from voiceengine.messages.held import Held
from voiceengine.messages.ledger import Ledger, headers_of, is_client
from voiceengine.messages.requests import BLOCKED, OVERFLOW, SUSPENDED, UNKNOWN
from voiceengine.store.rows import Client, MessageRow


def text_of(row: MessageRow, to: str, hops: int = 0) -> OutboundText:
    """What of a record is handed to the next hop."""
    return OutboundText(
        sid=row.sid,
        account_sid=row.account_sid,
        from_=row.from_.removeprefix("client:"),
        to=to,
        body=row.body,
        headers=headers_of(row),
        hops=hops,
    )


class ClientMessages:
    """Messages to the clients of this engine.

    Args:
        context: services and settings.
        ledger: the records.
    """

    def __init__(self, context: MessageContext, ledger: Ledger) -> None:
        self.context = context
        self.ledger = ledger
        self._clients = ClientDelivery(context.edge, context.access, context.location)
        self._held = Held(
            context.reactor,
            context.wall,
            context.settings.messages.hold_limit,
            self._deliver_held,
            self._expire,
        )

    @property
    def waiting(self) -> int:
        """Messages that wait for a client to register."""
        return self._held.count()

    # -------------------------------------------------------------- life

    async def start(self) -> None:
        """Take up what an earlier run left waiting."""
        context = self.context
        addresses = set()
        for row in await context.store.messages.held():
            if self.ledger.get(row.sid) is not None:
                continue  # it came since
            self.ledger.adopt(row)
            client = self.find(row.to, row.account_sid)
            if client is None:
                self.ledger.handed(row.sid, failed(UNKNOWN, 404))
            elif self._held.add(context.access.aor(client), row):
                addresses.add((context.access.aor(client), client.sid))
            else:
                self.ledger.handed(row.sid, failed(OVERFLOW, 480))
        context.location.watch(self._registered)
        for aor, client_sid in addresses:
            found = context.store.clients.get(client_sid)
            if found is not None and self._clients.bindings(found):
                self._held.registered(aor)

    def forget(self, sid: str) -> None:
        """Keep a message no longer that waits: it is being removed."""
        self._held.remove(sid)

    def hold_on(self) -> None:
        """Deliver nothing more of what waits; it stays in the store."""
        self._held.stop()

    def stop(self) -> None:
        """Give up what is still on its way to further phones."""
        self._clients.stop()

    # -------------------------------------------------------------- one message

    def find(self, to: str, account_sid: str) -> Client | None:
        """An enabled client of the account's organization, by `client:NAME` or name."""
        store = self.context.store
        account = store.accounts.get(account_sid)
        if account is None:
            return None
        login = to[7:] if is_client(to) else to
        client = store.clients.by_login(login, account.organization_sid)
        return client if client is not None and client.status == 1 else None

    def _blocked(self, client: Client) -> bool:
        """Whether the account of a client gets no messages."""
        owner = self.context.store.accounts.get(client.account_sid)
        return owner is None or owner.status != "active"

    async def send(self, row: MessageRow, timeout: float) -> Handover:
        """Send a message to the phones of a client, or let it wait."""
        client = self.find(row.to, row.account_sid)
        if client is None:
            return failed(UNKNOWN, 404, "Not Found")
        if self._blocked(client):
            return failed(BLOCKED, 403, "Account is not ACTIVE")
        settings, aor = self.context.settings.messages, self.context.access.aor(client)
        offline = not self._clients.bindings(client)
        if settings.offline == "hold" and (offline or self._held.waits(aor)):
            until = self.context.wall() + settings.hold_hours * 3600
            self.ledger.hold(row.sid, until)
            held = self.ledger.get(row.sid)
            if held is not None and not self._held.add(aor, held):
                return failed(OVERFLOW, 480, "Too Many Messages Wait")
            if not offline:
                self._held.registered(aor)
            return Handover(status="held", code=202)
        return await self._clients.send(text_of(row, client.login), client, timeout)

    # -------------------------------------------------------------- waiting for clients

    def _registered(self, aor: str, client: Client) -> None:
        self._held.registered(aor)

    async def _deliver_held(self, row: MessageRow) -> bool:
        """Send one that waited; False when its client cannot be reached after all."""
        until = row.held_until or self.context.wall()
        current = self.ledger.sending(row.sid)
        if current is None:
            return True
        client = self.find(row.to, row.account_sid)
        account = self.context.store.accounts.get(row.account_sid)
        if account is None or account.status != "active":
            handover = failed(SUSPENDED, 403)
        elif client is None:
            handover = failed(UNKNOWN, 404)
        elif self._blocked(client):
            handover = failed(BLOCKED, 403)
        elif not row.body:
            handover = failed(BLOCKED, 403)  # its text was removed, and an earlier run of the engine knew it
        else:
            # a text that was removed from the record meanwhile is still known here
            text = text_of(attrs.evolve(current, body=row.body), client.login)
            try:
                handover = await self._clients.send(
                    text, client, self.context.settings.messages.answer_timeout
                )
            except CancelledError:
                self.ledger.hold(row.sid, until)
                raise
            if handover.error == UNREACHABLE:
                self.ledger.hold(row.sid, until)
                return False
        self.ledger.handed(row.sid, handover)
        return True

    def _expire(self, row: MessageRow) -> None:
        self.ledger.handed(row.sid, failed(UNREACHABLE, 480))
