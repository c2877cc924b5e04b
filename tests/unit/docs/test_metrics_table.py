"""The table of metrics in docs/operations.md is what the code defines."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from helpers.metrics_table import PROCESSES, documented_metrics

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("core", "write_service", "read_service", "fanout_worker", "gateway")
# What the names of some kinds of metrics end with.
ENDINGS = dict.fromkeys(("Counter", "Tally", "CounterMetricFamily", "_family"), "_total") | {
    "Info": "_info"
}
# The table of all processes has these.
ELSEWHERE = {"fanfare_events_total", "fanfare_build_info"}


def _defined() -> Iterator[str]:
    """Yield the names of all metrics that the code defines."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    yield from _name(node)


def _name(call: ast.Call) -> Iterator[str]:
    kinds = {name.id for name in (call.func, *call.args) if isinstance(name, ast.Name)}
    for argument in call.args:
        name = argument.value if isinstance(argument, ast.Constant) else None
        if isinstance(name, str) and name.startswith("fanfare_"):
            yield name + next((ENDINGS[kind] for kind in kinds & ENDINGS.keys()), "")


def test_the_table_lists_every_metric() -> None:
    """It has each metric once, and none that does not exist."""
    listed = [metric.name for metric in documented_metrics()]
    assert sorted(listed) == sorted({*_defined()} - ELSEWHERE)


def test_the_table_names_processes() -> None:
    """Each metric is exported by some process."""
    for metric in documented_metrics():
        assert metric.processes
        assert set(metric.processes) <= set(PROCESSES), metric.name
