"""Metrics as Prometheus reads them."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

import pytest
from prometheus_client.parser import text_string_to_metric_families

from voiceengine.metrics import BUCKETS, STATES, Metrics

pytestmark = pytest.mark.unit


def values(metrics: Metrics) -> dict[str, float]:
    """Sample with labels -> value."""
    found = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


@pytest.fixture
def used() -> Metrics:
    """Every metric has a value."""
    metrics = Metrics()
    metrics.call_started("inbound")
    metrics.call_changed("ringing", "in-progress")
    metrics.answered(0.03)
    metrics.call_started("outbound-api")
    metrics.call_started("inbound")
    metrics.call_changed("ringing", "busy")
    metrics.call_ended("busy")
    metrics.fetched(0.2, "ok")
    metrics.fetched(7, "timeout")
    metrics.gauge("registrations", "Valid bindings", lambda: 5)
    metrics.sip_events = lambda: Counter(received=9, too_large=1)
    return metrics


def test_live_calls_are_counted_by_state(used: Metrics) -> None:
    found = values(used)

    assert [found[f"voiceengine_calls{{state={state}}}"] for state in STATES] == [1, 0, 1]
    assert found["voiceengine_calls_started_total{direction=inbound}"] == 2
    assert found["voiceengine_calls_started_total{direction=outbound-api}"] == 1
    assert found["voiceengine_calls_ended_total{status=busy}"] == 1
    assert found["voiceengine_registrations"] == 5
    assert found["voiceengine_sip_events_total{event=too_large}"] == 1


def test_durations_are_histograms(used: Metrics) -> None:
    found = values(used)

    assert found["voiceengine_setup_seconds_count"] == 1
    assert found["voiceengine_setup_seconds_bucket{le=0.02}"] == 0
    assert found["voiceengine_setup_seconds_bucket{le=0.05}"] == 1
    assert found["voiceengine_fetch_seconds_sum{result=timeout}"] == 7
    assert found["voiceengine_fetch_seconds_count{result=ok}"] == 1
    assert list(BUCKETS) == sorted(BUCKETS)


def test_every_state_is_there_before_the_first_call() -> None:
    found = values(Metrics())

    assert [found[f"voiceengine_calls{{state={state}}}"] for state in STATES] == [0, 0, 0]


def test_names_end_in_their_unit_and_have_a_help_text(used: Metrics) -> None:
    for family in text_string_to_metric_families(used.render().decode()):
        assert re.fullmatch(r"voiceengine_[a-z_]+", family.name)
        assert family.documentation
        endings = {"counter": "_total", "histogram": ("_seconds_bucket", "_seconds_sum", "_seconds_count")}
        if family.type in endings:
            for sample in family.samples:
                assert sample.name.endswith((*endings[family.type], "_created")), sample.name  # type: ignore[misc]
        else:
            assert family.type == "gauge"


def test_a_call_that_came_and_went_leaves_no_live_call() -> None:
    metrics = Metrics()
    for path in (["ringing", "in-progress", "completed"], ["ringing", "canceled"]):
        metrics.call_started("inbound")
        for old, new in pairwise(path):
            metrics.call_changed(old, new)
        metrics.call_ended(path[-1])

    assert all(metrics.live[state] == 0 for state in STATES)
    assert metrics.ended == {"completed": 1, "canceled": 1}


def test_two_engines_do_not_share_metrics(used: Metrics) -> None:
    assert values(Metrics())["voiceengine_calls{state=queued}"] == 0
