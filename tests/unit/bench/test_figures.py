"""What a figure says about its values."""

from __future__ import annotations

import pytest

from bench.figures import Figure


def test_ratio_is_taken_within_each_repetition() -> None:
    """A repetition on a slow machine is held against the limit of the same moment."""
    figure = Figure("row", "", "what", "1/s", (10.0, 40.0, 9.0), "limit", (20.0, 80.0, 20.0))
    assert figure.ratio == 0.5
    assert figure.median == 10.0
    assert figure.limit_median == 20.0
    assert figure.spread == (9.0, 40.0)


def test_ratio_is_unknown_without_a_limit() -> None:
    """Where there is no limit, or one of nothing, there is no ratio."""
    assert Figure("row", "", "what", "1/s", (10.0,)).ratio is None
    assert Figure("row", "", "what", "1/s", (10.0,), "limit", (0.0,)).ratio is None


def test_each_value_has_its_limit() -> None:
    """A figure with more values than limits is a mistake of its row."""
    with pytest.raises(ValueError, match="what"):
        Figure("row", "", "what", "1/s", (10.0, 11.0), "limit", (20.0,))
