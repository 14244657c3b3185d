"""Metrics in the text format of Prometheus (reference: Metrics)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)

STATES = ("queued", "ringing", "in-progress")


class _Live(Collector):
    """Reads counts when they are asked for."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """All values."""
        metrics = self._metrics
        calls = GaugeMetricFamily("voiceengine_calls", "Live calls by state", labels=["state"])
        for state in STATES:
            calls.add_metric([state], metrics.live[state])
        yield calls
        started = CounterMetricFamily("voiceengine_calls_started", "Calls begun", labels=["direction"])
        for direction, count in metrics.started.items():
            started.add_metric([direction], count)
        yield started
        ended = CounterMetricFamily(
            "voiceengine_calls_ended", "Calls over, by final status", labels=["status"]
        )
        for status, count in metrics.ended.items():
            ended.add_metric([status], count)
        yield ended
        for name, text, read in metrics.gauges:
            yield GaugeMetricFamily(f"voiceengine_{name}", text, value=read())
        events = CounterMetricFamily(
            "voiceengine_sip_events", "Messages dropped, refused or counted by the SIP edge", labels=["event"]
        )
        for event, count in metrics.sip_events().items():
            events.add_metric([event], count)
        yield events


class Metrics:
    """All metrics of an engine."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.live: Counter[str] = Counter()
        self.started: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.gauges: list[tuple[str, str, Callable[[], float]]] = []
        self.sip_events: Callable[[], Counter[str]] = Counter
        self._setup = Histogram(
            "voiceengine_setup_seconds",
            "From the INVITE (or the request of a call) to the answer",
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._fetch = Histogram(
            "voiceengine_fetch_seconds",
            "Requests to applications",
            labelnames=["result"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._fetches = {}  # type: ignore[var-annotated]
        self.registry.register(_Live(self))

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a value that is read when metrics are asked for."""
        self.gauges.append((name, text, read))

    def call_started(self, direction: str) -> None:
        """A call begins."""
        self.started[direction] += 1
        self.live["ringing" if direction == "inbound" else "queued"] += 1

    def call_changed(self, old: str, new: str) -> None:
        """A call changes its status."""
        self.live[old] -= 1
        if new in STATES:
            self.live[new] += 1

    def call_ended(self, status: str) -> None:
        """A call is over."""
        self.ended[status] += 1

    def answered(self, seconds: float) -> None:
        """A call was answered after so many seconds."""
        self._setup.observe(seconds)

    def fetched(self, seconds: float, result: str) -> None:
        """A request to an application is over."""
        child = self._fetches.get(result)
        if child is None:
            child = self._fetches[result] = self._fetch.labels(result)
        child.observe(seconds)

    def render(self) -> bytes:
        """The text that is served."""
        return generate_latest(self.registry)
