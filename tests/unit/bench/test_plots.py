"""The plots of the results."""

from __future__ import annotations

from pathlib import Path

from bench import plots
from bench.figures import Figure
from bench.report import Environment

WHERE = Environment("2026-01-01", "full", "a graph", "a CPU", 2, 8.0, "Linux", {})
GOAL = Figure("one", "", "calls", "1/s", (1.0, 3.0, 2.0), "raw calls", (2.0, 6.0, 4.0)).with_goal(
    "at least 5/s", reached=False
)
WAIT = Figure("one", "many callers", "latency, p99", "ms", (7.0,))
GROWN = [
    Figure("growth", f"{number:,} followings", "server CPU per call", "µs", (float(number),))
    for number in (10, 4000)
]


def test_a_plot_explains_itself(tmp_path: Path) -> None:
    """A plot contains the work, figure, limit, goal, machine and date as text."""
    results = {"one": (WHERE, [GOAL, WAIT]), "growth": (WHERE, GROWN)}
    plots.draw(tmp_path, results, ["one", "growth"], {"one": "reading much"})
    rows = (tmp_path / "benchmarks-rows.svg").read_text()
    for text in ("reading much", "Fanfare: 2.00", "raw calls: 4.00", "goal missed: at least 5/s"):
        assert text in rows
    for text in ("a CPU, 2 cores", "2026-01-01", "more is better"):
        assert text in rows
    assert "one (many callers)" in (tmp_path / "benchmarks-latency.svg").read_text()
    assert "followings" in (tmp_path / "benchmarks-growth.svg").read_text()


def test_same_results_give_the_same_file(tmp_path: Path) -> None:
    """Drawing the same results again writes the same bytes, so there is nothing to commit."""
    drawn = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        plots.draw(folder, {"one": (WHERE, [GOAL])}, ["one"], {})
        drawn.append((folder / "benchmarks-rows.svg").read_text())
    assert drawn[0] == drawn[1]
