"""What a run leaves behind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from bench import report
from bench.figures import Figure

WHERE = report.Surroundings("2026-01-01", "full", "a graph", "a CPU", 2, 8.0, "Linux", {})
ONE = Figure("one", "case", "calls", "1/s", (1.0, 3.0, 2.0), "limit", (2.0, 6.0, 4.0))


def test_rows_that_were_not_measured_stay(tmp_path: Path) -> None:
    """A run of one row replaces that row's figures and keeps those of the others."""
    path = tmp_path / "results" / "latest.json"
    report.keep(path, WHERE, [ONE, replace(ONE, row="two")])
    later = replace(WHERE, date="2026-01-02")
    report.keep(path, later, [replace(ONE, row="two", values=(7.0, 7.0, 7.0))])
    rows = json.loads(path.read_text())
    assert rows["one"]["date"] == "2026-01-01"
    assert rows["one"]["figures"][0]["median"] == 2.0
    assert rows["one"]["figures"][0]["ratio"] == 0.5
    assert rows["two"]["date"] == "2026-01-02"
    assert rows["two"]["figures"][0]["values"] == [7.0, 7.0, 7.0]


def test_a_cell_says_median_and_spread() -> None:
    """The table shows what is in the middle and how far the repetitions lie apart."""
    assert report.cells(ONE.with_goal("at least 5", reached=False)) == (
        "one",
        "case",
        "calls, 1/s",
        "2.00 [1.00, 3.00]",
        "4.00 limit",
        "0.50",
        "at least 5",
        "missed",
    )
