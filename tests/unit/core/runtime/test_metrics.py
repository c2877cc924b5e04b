"""Counts of the rare paths."""

from core.runtime.metrics import Counters, Rare


def test_counts_are_taken_once() -> None:
    """What was taken is not in what is taken next."""
    counters = Counters()
    counters.add(Rare.FENCE_LOST)
    counters.add(Rare.FENCE_LOST, 2)
    counters.add(Rare.LEASE_LOST, 0)
    assert counters.take() == {Rare.FENCE_LOST: 3}
    assert counters.take() == {}
