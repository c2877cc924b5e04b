"""The Go demo's figures, scaled to the machine of a run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from bench.figures import Figure
from bench.go_demo import NOOP_MICROSECONDS, DemoFigure, compare_with_demo
from bench.harness import Bench

# A machine that is twice as fast as the one of the demo.
FAST = cast("Bench", SimpleNamespace(noop_microseconds=NOOP_MICROSECONDS / 2))


def test_the_demo_would_be_faster_on_a_faster_machine() -> None:
    """A rate is scaled up and CPU down; the figures as measured are in the note."""
    rate = Figure("row", "", "reads", "1/s", (500.0,), note="warm")
    compared = compare_with_demo(FAST, rate, DemoFigure(80, 120))
    assert (compared.demo, compared.demo_scaled) == (100, 200)
    assert compared.times_demo == 2.5
    assert compared.note.startswith("warm; the Go demo: 80 to 120 1/s")
    cpu = Figure("row", "", "CPU per read", "µs", (100.0,))
    compared = compare_with_demo(FAST, cpu, DemoFigure(400, 400))
    assert compared.demo_scaled == 200
    assert compared.times_demo == pytest.approx(2)
    assert "400 µs" in compared.note
