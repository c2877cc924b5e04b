"""The benchmark of the fan-out leaves the worker running."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from bench.fanout import RESUMED, fanout
from bench.graph import generate_graph
from bench.harness import Bench, BenchError


class FakeWorker:
    """A worker that only remembers whether it runs, and logs that it fetches."""

    def __init__(self, folder: Path) -> None:
        """Run."""
        self.log_path = folder / "worker.log"
        self.log_path.touch()
        self.running = True

    def start(self) -> None:
        """Run, and write the log line for which the benchmark waits."""
        self.log_path.write_text(f"2026-01-01 00:00:00,000 INFO {RESUMED}\n")
        self.running = True

    def stop(self) -> None:
        """Stop."""
        self.running = False


def test_a_failure_leaves_the_worker_running(tmp_path: Path) -> None:
    """The benchmarks after one that failed need a worker."""
    worker = FakeWorker(tmp_path)
    warmed = []

    def warm() -> None:
        warmed.append(worker.running)
        if not worker.running:
            raise BenchError("some timelines could not be built")

    bench = SimpleNamespace(
        graph=generate_graph(users=30, followings=3, posts=30),
        system=SimpleNamespace(processes={"worker": worker}),
        size=lambda *_, **sizes: sizes["smoke"],
        repeat=lambda _share: iter([1]),
        warm=warm,
    )
    with pytest.raises(BenchError):
        fanout(cast("Bench", bench))
    assert warmed == [True, False]
    assert worker.running
