"""Each row of the bench runs, and gives figures; how fast is not asserted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.benchmarks import ROWS
from bench.graph import made_up_graph
from bench.harness import Bench, Profile, started


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """Return a running system with a small graph in it."""
    graph = made_up_graph(users=300, followings=20, posts=3000)
    with started(graph, Profile.SMOKE, lambda _: None) as bench:
        yield bench


@pytest.mark.parametrize("name", ROWS)
def test_row_gives_figures(bench: Bench, name: str) -> None:
    """A row's figures carry its name, and each has a value for the one repetition."""
    figures = ROWS[name].run(bench)
    assert figures
    for figure in figures:
        assert figure.row == name
        assert len(figure.values) == 1
