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


def test_each_value_has_its_limit() -> None:
    """A figure with more values than limits is a mistake of the benchmark, and is refused."""
    with pytest.raises(ValueError, match="what"):
        Figure("row", "", "what", "1/s", (10.0, 11.0), "limit", (20.0,))
