"""Metrics that are read from their owners."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily

from core.runtime.pulled_metrics import PulledMetric, exported, gauge, gauges


def test_values_are_read_at_each_scrape() -> None:
    """Nothing is kept from one scrape to the next, and exporting alone reads nothing."""
    registry = CollectorRegistry(auto_describe=True)
    reads: list[int] = []
    metric = gauge("a", "help", lambda: reads.append(1) or len(reads))  # type: ignore[func-returns-value]
    with exported([metric], registry):
        assert reads == []
        assert b"\na 1.0\n" in generate_latest(registry)
        assert b"\na 2.0\n" in generate_latest(registry)
    assert generate_latest(registry) == b""


def test_labels_and_counters() -> None:
    """A counter gets the suffix that Prometheus wants; labels are the keys of what is read."""
    registry = CollectorRegistry()
    counter = PulledMetric(CounterMetricFamily, "c", "help", ("x", "y"), lambda: {("1", "2"): 3})
    with exported([counter, gauges("g", "help", "x", lambda: {("1",): True})], registry):
        text = generate_latest(registry).decode()
    assert 'c_total{x="1",y="2"} 3.0' in text
    assert 'g{x="1"} 1.0' in text


def test_two_metrics_of_one_name_are_refused() -> None:
    """A mistake shows when the process starts, and not as an answer that cannot be parsed."""
    registry = CollectorRegistry(auto_describe=True)
    with (
        exported([gauge("a", "help", lambda: 0)], registry),
        pytest.raises(ValueError, match="Duplicated"),
        exported([gauge("a", "help", lambda: 0)], registry),
    ):
        pass
