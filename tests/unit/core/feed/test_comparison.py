"""How the difference between a timeline and Postgres is described."""

from __future__ import annotations

import pytest

from core.feed.comparison import Row, describe_difference

THREE: list[Row] = [Row(3, 1, "c"), Row(2, 1, "b"), Row(1, 2, "a")]


def test_equal_timelines_do_not_differ() -> None:
    """Equal timelines have no difference, also when they are empty."""
    assert describe_difference(THREE, THREE) is None
    assert describe_difference([], []) is None


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (THREE[:2], "1 tweets are missing, such as 1"),
        ([Row(4, 1, "d"), *THREE], "1 tweets should not be there, such as 4"),
        ([THREE[0], THREE[0], *THREE[1:]], "1 tweets appear more than once"),
        ([THREE[1], THREE[0], THREE[2]], "the order is wrong from index 0 on"),
        ([THREE[0], Row(2, 1, "other"), THREE[2]], "tweet 2 has another author or content"),
        ([THREE[0], Row(2, 9, "b"), THREE[2]], "tweet 2 has another author or content"),
    ],
)
def test_each_kind_of_difference_is_named(read: list[Row], said: str) -> None:
    """Missing, extra, repeated, misplaced and changed tweets are told apart."""
    assert describe_difference(read, THREE) == said
