"""Counts of rare events, and the counters of what happens in every call."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Counter
from prometheus_client.registry import Collector

from core.runtime.metrics import Metric, Metrics, Tally


def test_counts_are_taken_once() -> None:
    """take() returns each count once: the next call starts from zero."""
    counters = Metrics()
    counters.add(Metric.CHECKPOINT_MISMATCH)
    counters.add(Metric.CHECKPOINT_MISMATCH, 2)
    counters.add(Metric.FILL_LEASE_LOST, 0)
    assert counters.take() == {Metric.CHECKPOINT_MISMATCH: 3}
    assert counters.take() == {}


def test_every_event_is_exported_from_the_start() -> None:
    """With a zero, so that the first event is an increase; and the log takes nothing away."""
    counters = Metrics()
    zeros = dict.fromkeys(map(str, Metric), 0.0)
    assert _exported(counters, "fanfare_events_total", "event") == zeros
    counters.add(Metric.DEAD_LETTER, 2)
    counters.take()
    counters.add(Metric.DEAD_LETTER)
    expected = zeros | {"dead_letter": 3}
    assert _exported(counters, "fanfare_events_total", "event") == expected


def test_a_tally_has_exactly_its_values() -> None:
    """Each from the start; another one is an error, not a new series."""
    tally = Tally("test_reads", "Reads.", "source", ("local", "redis"))
    try:
        tally.counts["local"] += 2
        assert _exported(tally, "test_reads_total", "source") == {"local": 2, "redis": 0}
        with pytest.raises(KeyError):
            tally.counts["user"] += 1
    finally:
        REGISTRY.unregister(tally)


def test_a_counter_has_no_second_series_with_its_age() -> None:
    """prometheus_client would export `_created` beside each counter and histogram."""
    registry = CollectorRegistry()
    Counter("test_calls", "Calls.", registry=registry)
    names = [sample.name for family in registry.collect() for sample in family.samples]
    assert names == ["test_calls_total"]


def _exported(collector: Collector, name: str, label: str) -> dict[str, float]:
    samples = [sample for family in collector.collect() for sample in family.samples]
    assert {sample.name for sample in samples} == {name}
    return {sample.labels[label]: sample.value for sample in samples}
