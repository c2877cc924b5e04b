"""Every benchmark runs and returns figures; their values are not asserted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.benchmarks import BENCHMARKS
from bench.graph import generate_graph
from bench.harness import Bench, Profile, start_bench


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """Return a running system with a small graph."""
    graph = generate_graph(users=300, followings=20, posts=3000)
    with start_bench(graph, Profile.SMOKE, lambda _: None) as bench:
        yield bench


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_returns_figures(bench: Bench, name: str) -> None:
    """The figures have the benchmark's name, and one value for the one repetition."""
    figures = BENCHMARKS[name].run(bench)
    assert figures
    for figure in figures:
        assert figure.benchmark == name
        assert len(figure.values) == 1
