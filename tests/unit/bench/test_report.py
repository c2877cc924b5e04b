"""Saved results, and their table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from bench import report
from bench.figures import Figure

WHERE = report.Environment("2026-01-01", "full", "a graph", "a CPU", 2, 8.0, "Linux", {})
ONE = Figure("one", "case", "calls", "1/s", (1.0, 3.0, 2.0), "limit", (2.0, 6.0, 4.0))


def test_results_of_other_benchmarks_are_kept(tmp_path: Path) -> None:
    """A run of one benchmark replaces its figures and keeps those of the others."""
    path = tmp_path / "results" / "latest.json"
    report.save_results(path, WHERE, [ONE, replace(ONE, benchmark="two")])
    later = replace(WHERE, date="2026-01-02")
    report.save_results(path, later, [replace(ONE, benchmark="two", values=(7.0, 7.0, 7.0))])
    rows = json.loads(path.read_text())
    assert rows["one"]["date"] == "2026-01-01"
    assert rows["one"]["figures"][0]["median"] == 2.0
    assert rows["one"]["figures"][0]["ratio"] == 0.5
    assert rows["two"]["date"] == "2026-01-02"
    assert rows["two"]["figures"][0]["values"] == [7.0, 7.0, 7.0]


def test_results_of_an_earlier_version_are_read(tmp_path: Path) -> None:
    """Figures that were saved before a field existed have its default."""
    path = tmp_path / "latest.json"
    report.save_results(path, WHERE, [ONE])
    rows = json.loads(path.read_text())
    for field in ("demo", "demo_scaled"):
        del rows["one"]["figures"][0][field]
    path.write_text(json.dumps(rows))
    assert report.load_results(path)["one"] == (WHERE, [ONE])


def test_a_cell_shows_median_and_spread() -> None:
    """The table shows the median, the lowest and the highest value."""
    compared = replace(ONE, demo=4.0, demo_scaled=8.0)
    assert report.cells(compared.with_goal("at least 5", reached=False)) == (
        "one",
        "case",
        "calls, 1/s",
        "2.00 [1.00, 3.00]",
        "4.00 limit",
        "0.50",
        "8.00",
        "0.2",
        "at least 5",
        "missed",
    )
