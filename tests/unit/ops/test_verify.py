"""How `fanfare verify` describes the difference between a timeline and Postgres."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from cli.main import cli
from ops.verify import Row, describe_difference

THREE: list[Row] = [(3, 1, "c"), (2, 1, "b"), (1, 2, "a")]


def test_equal_timelines_do_not_differ() -> None:
    """Equal timelines have no difference, also when they are empty."""
    assert describe_difference(THREE, THREE) is None
    assert describe_difference([], []) is None


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (THREE[:2], "1 tweets are missing, such as 1"),
        ([(4, 1, "d"), *THREE], "1 tweets should not be there, such as 4"),
        ([THREE[0], THREE[0], *THREE[1:]], "1 tweets appear more than once"),
        ([THREE[1], THREE[0], THREE[2]], "the order is wrong from index 0 on"),
        ([THREE[0], (2, 1, "other"), THREE[2]], "tweet 2 has another author or content"),
        ([THREE[0], (2, 9, "b"), THREE[2]], "tweet 2 has another author or content"),
    ],
)
def test_each_kind_of_difference_is_named(read: list[Row], said: str) -> None:
    """Missing, extra, repeated, misplaced and changed tweets are told apart."""
    assert describe_difference(read, THREE) == said


@pytest.mark.parametrize("sample", ["0", "-1"])
def test_a_sample_of_nobody_is_refused(sample: str) -> None:
    """A sample of nobody is refused, since comparing nothing would look like success."""
    refused = CliRunner().invoke(cli, ["verify", "--sample", sample])
    assert refused.exit_code == 2
    assert "--sample" in refused.output
