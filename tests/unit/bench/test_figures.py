"""Statistics of a figure."""

from __future__ import annotations

import pytest

from bench.figures import Figure


def test_ratio_is_taken_within_each_repetition() -> None:
    """Each value is compared with the limit of its own repetition, when the machine was as busy."""
    figure = Figure("row", "", "what", "1/s", (10.0, 40.0, 9.0), "limit", (20.0, 80.0, 20.0))
    assert figure.ratio == 0.5
    assert figure.median == 10.0
    assert figure.limit_median == 20.0
    assert figure.spread == (9.0, 40.0)


def test_ratio_is_unknown_without_a_limit() -> None:
    """Without a limit, or with a limit of zero, there is no ratio."""
    assert Figure("row", "", "what", "1/s", (10.0,)).ratio is None
    assert Figure("row", "", "what", "1/s", (10.0,), "limit", (0.0,)).ratio is None


def test_the_go_demo_is_compared_by_its_scaled_figure() -> None:
    """More is better for a rate, and less for everything else."""
    rate = Figure("row", "", "reads", "1/s", (90.0,), demo=10.0, demo_scaled=30.0)
    assert rate.times_demo == 3
    cpu = Figure("row", "", "CPU", "µs", (10.0,), demo=60.0, demo_scaled=20.0)
    assert cpu.times_demo == 2
    assert Figure("row", "", "CPU", "µs", (10.0,)).times_demo is None


def test_notes_are_joined() -> None:
    """A further note does not replace the first."""
    figure = Figure("row", "", "CPU", "µs", (10.0,)).with_note("one")
    assert figure.note == "one"
    assert figure.with_note("two").note == "one; two"


def test_each_value_has_its_limit() -> None:
    """A figure with more values than limits is a mistake of the benchmark, and is refused."""
    with pytest.raises(ValueError, match="what"):
        Figure("row", "", "what", "1/s", (10.0, 11.0), "limit", (20.0,))
