"""What the REST API asks of the gateways."""

from __future__ import annotations

from typing import Protocol


class GatewayControl(Protocol):
    """Keeps the registrations of the rows in `store.gateways`."""

    def changed(self) -> None:
        """Follow the store: register what is new, register anew what changed, unregister what is gone."""
        ...

    def state(self, sid: str) -> str:
        """`registered`, `registering`, `refused`, `unreachable` or `off`."""
        ...
