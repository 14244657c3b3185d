"""What all calls share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urljoin

import attrs
from twisted.python.threadpool import ThreadPool

from media.pool import Pool
from media.prompts import AudioCache
from media.speech.service import SpeechService
from media.tones import Assets
from rcml.interpreter import InterpreterSettings
from rcml.ports import CallInfo, Level, Mail, Messages, Notice
from voiceengine.calls.fetcher import WebClient
from voiceengine.calls.placement import Placement
from voiceengine.config import Settings
from voiceengine.metrics import Metrics
from voiceengine.sip.access import Access, Location
from voiceengine.sip.edge import Edge
from voiceengine.store.store import Store

if TYPE_CHECKING:
    from voiceengine.calls.call import Call

MEDIA_FAILURE = 12400
"""Notification code: an internal failure while a call was being executed."""


class Messaging(Protocol):
    """What documents of calls send with."""

    def messages(self, call: CallInfo) -> Messages:
        """Make the port that sends the text messages of a call."""
        ...

    def mail(self, account_sid: str, notify: Callable[[Notice], None]) -> Mail:
        """Make the port that sends mail for an account; failures go to `notify`."""
        ...


@attrs.define(kw_only=True)
class CallContext:
    """Services and settings that calls use."""

    reactor: Any
    wall: Callable[[], float]
    """Wall time, seconds."""
    settings: Settings
    instance_id: str
    store: Store
    pool: Pool
    edge: Edge
    access: Access
    location: Location
    web: WebClient
    speech: SpeechService
    audio: AudioCache
    assets: Assets
    threads: ThreadPool
    """For short file work."""
    recordings: Path
    api_url: str
    """Public base of the REST API, with the version."""
    metrics: Metrics
    interpreter: InterpreterSettings
    placement: Placement = attrs.field(factory=Placement)
    base_url: str = ""
    """Relative URLs of numbers and applications lead here."""
    messaging: Messaging | None = None
    """None: documents send neither text messages nor mail."""

    def absolute_url(self, url: str) -> str:
        """Make the URL of a number or an application absolute."""
        try:
            return urljoin(self.base_url, url)
        except ValueError:
            return url  # the fetch will report it

    @property
    def null_literals(self) -> bool:
        """Whether absent names are sent as the text `null`."""
        return self.settings.web.null_literals

    @property
    def max_seconds(self) -> float:
        """Longest call."""
        return self.settings.calls.max_seconds

    def media_lost(self, call: Call) -> None:
        """The worker of a call died: leave a notification that says so."""
        call.records.notify(
            Notice(
                code=MEDIA_FAILURE,
                level=Level.ERROR,
                message="The media worker of this call died; the call was ended (media-failure).",
            )
        )
