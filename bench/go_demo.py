"""The figures of the Go demo, the system that Fanfare follows, and their scale on this machine.

They were measured on 2026-11-26 on a slow machine with two cores, beside Fanfare and with the same
graph and posts. On that machine a call to the no-op server took about 350 µs of CPU. The same call
in the run that is shown tells how fast its machine is, so the demo's figures are scaled by it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median

from bench.cpu import cpu_used
from bench.figures import Figure
from bench.harness import Bench
from bench.load_generators import GET_HOME_TIMELINE, ghz, home_requests
from bench.read import noop_server

NOOP_MICROSECONDS = 350.0
"""The CPU of a call to the no-op server where the demo was measured (294 to 405)."""


@dataclass(frozen=True)
class DemoFigure:
    """A figure of the Go demo: the lowest and the highest value."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        """What is compared with our figures."""
        return (self.low + self.high) / 2

    def __str__(self) -> str:
        """Return the value, or both values."""
        if self.low == self.high:
            return f"{self.low:,.0f}"
        return f"{self.low:,.0f} to {self.high:,.0f}"


# 16 connections.
BEST_READS = DemoFigure(932, 932)
BEST_READ_MICROSECONDS = DemoFigure(347, 490)
ALL_READS = DemoFigure(55, 94)
# 32 connections.
CREATES = DemoFigure(421, 421)
DELIVERIES = DemoFigure(12_300, 16_200)


def compare_with_demo(bench: Bench, figure: Figure, demo: DemoFigure) -> Figure:
    """Return the figure with the demo's beside it, as it was there and scaled to this machine."""
    speed = NOOP_MICROSECONDS / noop_microseconds(bench)
    is_rate = figure.unit == "1/s"
    note = f"the Go demo: {demo} {figure.unit}, another run on another machine (see Benchmarks)"
    return replace(
        figure,
        demo=demo.middle,
        demo_scaled=demo.middle * speed if is_rate else demo.middle / speed,
    ).with_note(note)


def noop_microseconds(bench: Bench) -> float:
    """Return the CPU of a call to the no-op server on this machine, measured once in a run."""
    if bench.noop_microseconds is None:
        bench.warm()
        calls = bench.size(5000, quick=1500, smoke=20)
        requests = home_requests(bench.graph.readers, seed=1)
        taken = []
        with noop_server(bench) as (server, target):
            bench.step("calling the no-op server, to compare with the Go demo")
            for _ in range(bench.size(4, quick=3, smoke=1)):
                with cpu_used({"noop": server}) as used:
                    ghz(bench.folder, target, GET_HOME_TIMELINE, requests, calls)
                taken.append(used["noop"] / calls * 1e6)
        # The first calls also pay for the start of the server.
        bench.noop_microseconds = median(taken[1:] or taken)
    return bench.noop_microseconds
