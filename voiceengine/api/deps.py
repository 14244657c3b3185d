"""What the API is built from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
from twisted.web.resource import IResource

from voiceengine.api.ports import (
    CallControl,
    ConferenceControl,
    GatewayControl,
    MailControl,
    MessageControl,
    Supervisor,
)
from voiceengine.config import Settings
from voiceengine.store import Store

Health = tuple[bool, Mapping[str, object]]


@attrs.frozen(kw_only=True)
class ApiDeps:
    """Everything the API needs, made by others."""

    store: Store
    settings: Settings
    control: CallControl
    conferences: ConferenceControl | None = None
    """Live conferences; None: what needs them is answered with 503."""
    messages: MessageControl | None = None
    """Text messages; None: sending is answered with 503."""
    mail: MailControl | None = None
    """E-mail; None: sending is answered with 503."""
    gateways: GatewayControl | None = None
    """Keeps registrations; None: rows are stored and nobody registers."""
    supervisor: Supervisor | None = None
    """Counters and live calls; None: answered with 503."""
    speak: Callable[[str, str, str], Awaitable[Path]] | None = None
    """Speaks (text, gender `man` or `woman`, language) into a WAV file that is only to be read; None: 503."""
    cache_folder: Path | None = None
    """Audio files that `/restcomm/cache/{account}/{file}` serves; None: there are none."""
    recordings_folder: Path
    health: Callable[[], Health | Awaitable[Health]]
    """Tells whether the engine is ready, and details for /healthz."""
    metrics: Callable[[], bytes]
    """The Prometheus text for /metrics."""
    reactor: Any
    """IReactorTime, IReactorThreads."""
    realm: str
    """Digest realm of clients (HA1)."""
    provisioning_changed: Callable[[], None] | None = None
    """Called after a client or number was added, changed or removed."""
    extra: Mapping[bytes, IResource] = attrs.field(factory=dict)
    """Further top-level paths, for example `{b"demo": resource}`."""
    base_url: Callable[[], str] | None = None
    """Base of absolute URLs; None: `http.public_url` of the settings, or http:// and `http.listen`."""

    def public_base(self) -> str:
        """Base of absolute URLs, without trailing slash."""
        if self.base_url is not None:
            return self.base_url().rstrip("/")
        http = self.settings.http
        return (http.public_url or f"http://{http.listen}").rstrip("/")
