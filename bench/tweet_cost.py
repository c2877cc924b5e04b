"""What one tweet costs: the CPU of every process, from the command to all timelines."""

from __future__ import annotations

import random

from fanfare.write.v1.write_pb2 import CreateTweetRequest

from bench.figures import Figure
from bench.go_demo import noop_microseconds
from bench.harness import Bench
from bench.load_generators import CREATE_TWEET, ghz

DRAIN_SECONDS = 120.0
MICRO = 1e6
# Half of the 13.8 calls that a tweet cost on 2026-11-27.
GOAL = 7


def tweet_cost(bench: Bench) -> list[Figure]:
    """Measure the CPU per tweet of every process at a steady rate, which nobody reads meanwhile."""
    seconds = bench.size(15, quick=4, smoke=1)
    rate = bench.size(300, quick=300, smoke=60)
    noop = noop_microseconds(bench)
    bench.warm()
    followed = list(bench.graph.followers)
    weights = [len(bench.graph.followers[author]) for author in followed]
    chance = random.Random(9)  # noqa: S311 - not a secret
    calls = rate * seconds
    authors = chance.choices(followed, weights, k=calls)
    requests = [
        CreateTweetRequest(user_id=author, content=f"tweet {number} of a steady rate")
        for number, author in enumerate(authors)
    ]
    deliveries = sum(len(bench.graph.followers[author]) for author in authors) / calls
    target = bench.settings.write_service_target()
    taken: dict[str, list[float]] = {}
    for number in bench.repeat():
        bench.step(f"{rate} tweets a second for {seconds} s, {number}")
        with bench.cpu() as used:
            ghz(bench.folder, target, CREATE_TWEET, requests, calls, rate=rate)
            bench.wait_drained(DRAIN_SECONDS)
        for name, cpu in used.items():
            taken.setdefault(name, []).append(cpu / calls * MICRO)
    totals = [sum(each) for each in zip(*taken.values(), strict=True)]
    note = (
        f"{rate} tweets/s, each pushed to {deliveries:.0f} timelines on average; with the CPU that "
        "the servers use when idle; Postgres with all its backends"
    )
    *each, total = (
        Figure(
            *("tweet-cost", process, "CPU per tweet", "µs", tuple(values)),
            *("a call to the no-op server", (noop,) * len(values)),
            note=note,
        )
        for process, values in [*taken.items(), ("all processes", totals)]
    )
    return [
        *each,
        total.with_goal(
            f"at most {GOAL} calls to the no-op server", reached=(total.ratio or GOAL + 1) <= GOAL
        ),
    ]
