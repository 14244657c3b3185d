"""A stand-in for call control that keeps what it was asked and answers from the store."""

from __future__ import annotations

import attrs

from voiceengine.api.ports import CreateCall, ModifyCall
from voiceengine.errors import CallControlError
from voiceengine.store import Store, new_sid
from voiceengine.store.rows import CallRow


class FakeCallControl:
    """Creates queued calls without any telephone.

    Args:
        store: where the records are kept.
        devices: how many calls a request creates.
    """

    def __init__(self, store: Store, devices: int = 1) -> None:
        self._store = store
        self.devices = devices
        self.created: list[CreateCall] = []
        self.modified: list[tuple[str, ModifyCall]] = []
        self.failure: Exception | None = None
        """Raised instead of an answer, when set."""

    async def create(self, request: CreateCall) -> list[CallRow]:
        """Save queued calls."""
        self.created.append(request)
        if self.failure is not None:
            raise self.failure
        user = request.to.removeprefix("client:").removeprefix("sip:").partition("@")[0]
        rows = [
            CallRow(
                sid=new_sid("CA"),
                instance_id=new_sid("ID"),
                account_sid=request.account_sid,
                to=user,
                from_=request.from_,
                direction="outbound-api",
                status="queued",
            )
            for _ in range(self.devices)
        ]
        for row in rows:
            self._store.calls.save(row)
        return rows

    async def modify(self, call_sid: str, change: ModifyCall) -> CallRow:
        """End the call at once when asked to, otherwise change nothing."""
        self.modified.append((call_sid, change))
        if self.failure is not None:
            raise self.failure
        row = await self._store.calls.get(call_sid)
        if row is None:
            raise CallControlError("The call is not live.", status=404)
        if change.status == "completed" or (
            change.status == "canceled" and row.status in ("queued", "ringing")
        ):
            row = attrs.evolve(row, status=change.status)
            self._store.calls.save(row)
        return row
