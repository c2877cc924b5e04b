"""Nothing happens: what the processes cost then."""

from __future__ import annotations

import time
from statistics import median

from bench.figures import Figure
from bench.harness import Bench

SERVERS = ("postgres", "valkey", "kafka")


def idle(bench: Bench) -> list[Figure]:
    """Return the CPU of our processes together, and of the servers, while nothing happens."""
    bench.drained(60)
    seconds = bench.size(12, quick=3, smoke=1)
    ours, servers = [], []
    for _ in range(bench.repetitions):
        bench.step(f"doing nothing for {seconds} s")
        with bench.cpu() as used:
            time.sleep(seconds)
        theirs = sum(used[name] for name in SERVERS)
        ours.append((sum(used.values()) - theirs) / seconds * 100)
        servers.append(theirs / seconds * 100)
    goal = 2.0
    figure = Figure(
        "idle",
        "",
        "CPU of all our processes",
        "% of a core",
        tuple(ours),
        limit="CPU of Postgres, Valkey and Kafka",
        limits=tuple(servers),
        reach=f"under {goal:g} %",
        reached=median(ours) < goal,
    )
    return [figure]
