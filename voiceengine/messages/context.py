"""What messaging is built from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from rcml.interpreter import InterpreterSettings
from voiceengine.calls.fetcher import WebClient
from voiceengine.calls.routing import Tables
from voiceengine.config import Settings
from voiceengine.messages.delivery import SipRequests
from voiceengine.sip.access import Access, Location
from voiceengine.store.store import Store


@attrs.define(kw_only=True)
class MessageContext:
    """Services and settings that messages use."""

    reactor: Any
    """IReactorTime."""
    wall: Callable[[], float]
    """Wall time, seconds."""
    settings: Settings
    store: Store
    edge: SipRequests
    access: Access
    location: Location
    web: WebClient
    tables: Tables
    interpreter: InterpreterSettings
    base_url: Callable[[], str]
    """Relative URLs of numbers and applications lead there."""
