"""Gauges: what the parts of an engine say of themselves when metrics are asked for."""

from __future__ import annotations

from typing import Protocol

from media.pool import Pool
from voiceengine.calls.manager import CallManager
from voiceengine.gateways.keeper import GatewayKeeper
from voiceengine.messages.service import MessageService
from voiceengine.metrics import Metrics
from voiceengine.sip.access import Location
from voiceengine.sip.edge import Edge
from voiceengine.store.store import Store

MEDIA = (
    ("workers", "Media workers that can take legs"),
    ("workers_spare", "Media workers without a leg"),
    ("slots", "Legs that the present workers can hold"),
    ("slots_used", "Legs in use, with those just over"),
    ("slots_kept", "Free legs that are kept for calls which will dial"),
    ("bridges", "Bridges: joined calls and conferences"),
    ("links", "Links between workers, or between workers and the mixer"),
    ("mixers", "Mixer processes"),
    ("frames_lost", "Audio frames of 20 ms that were lost on links"),
    ("frames_concealed", "Audio frames of 20 ms that were made up because they came late or never"),
)
"""Counts of the pool and what they mean."""


class Parts(Protocol):
    """The parts of an engine that are asked; all but the first two exist once it has started."""

    metrics: Metrics
    edge: Edge
    location: Location
    messages: MessageService
    gateways: GatewayKeeper
    pool: Pool
    manager: CallManager
    store: Store


def register_gauges(engine: Parts) -> None:
    """Make the gauges; nothing of the engine is read before metrics are."""
    gauge = engine.metrics.gauge
    gauge("registrations", "Valid bindings", lambda: float(engine.location.count()))
    gauge(
        "messages_held", "Text messages that wait for a client to register", lambda: engine.messages.waiting
    )
    gauge(
        "gateways_registered",
        "Registrations of this engine with providers",
        lambda: float(engine.gateways.count()),
    )
    for name, text in MEDIA:
        gauge(name, text, lambda name=name: engine.pool.counts()[name])  # type: ignore[misc]
    gauge("conferences", "Live conferences", lambda: len(engine.manager.conference_book.live))
    gauge("lateness_seconds", "How late the reactor is, smoothed", lambda: engine.manager.overload.lateness)
    gauge("worker_deaths", "Media workers that died", lambda: engine.pool.deaths)
    gauge("store_failed_writes", "Rows that could not be written", lambda: engine.store.failed_writes)
    gauge("store_waiting_writes", "Rows that wait to be written", lambda: engine.store.waiting_writes)
    engine.metrics.sip_events = lambda: engine.edge.counters
