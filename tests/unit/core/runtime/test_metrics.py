"""Counts of rare events."""

from core.runtime.metrics import Metric, Metrics


def test_counts_are_taken_once() -> None:
    """take() returns each count once: the next call starts from zero."""
    counters = Metrics()
    counters.add(Metric.CHECKPOINT_MISMATCH)
    counters.add(Metric.CHECKPOINT_MISMATCH, 2)
    counters.add(Metric.FILL_LEASE_LOST, 0)
    assert counters.take() == {Metric.CHECKPOINT_MISMATCH: 3}
    assert counters.take() == {}
