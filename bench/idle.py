"""The CPU that an idle system uses."""

from __future__ import annotations

import time
from statistics import median

from bench.figures import Figure
from bench.harness import Bench

SERVERS = ("postgres", "valkey", "kafka")
GOAL_PERCENT = 2.0


def idle(bench: Bench) -> list[Figure]:
    """Measure the CPU of Fanfare's processes while nothing happens, against the servers' CPU."""
    bench.wait_drained(60)
    seconds = bench.size(10, quick=3, smoke=1)
    ours, servers = [], []
    for _ in bench.repeat():
        bench.step(f"doing nothing for {seconds} s")
        with bench.cpu() as used:
            time.sleep(seconds)
        theirs = sum(used[name] for name in SERVERS)
        ours.append((sum(used.values()) - theirs) / seconds * 100)
        servers.append(theirs / seconds * 100)
    figure = Figure(
        "idle",
        "",
        "CPU of all our processes",
        "% of a core",
        tuple(ours),
        "CPU of Postgres, Valkey and Kafka",
        tuple(servers),
    )
    return [figure.with_goal(f"under {GOAL_PERCENT:g} %", reached=median(ours) < GOAL_PERCENT)]
