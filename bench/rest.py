"""REST: warm home timelines and creates of tweets, against the same calls over gRPC."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from redis import Redis

from bench.create import DRAIN_SECONDS, tweet_requests
from bench.figures import Figure
from bench.go_demo import (
    ALL_READS,
    BEST_READ_MICROSECONDS,
    BEST_READS,
    CREATES,
    NOOP_MICROSECONDS,
    compare_with_demo,
)
from bench.harness import Bench
from bench.load_generators import (
    CALLERS,
    CREATE_TWEET,
    GET_HOME_TIMELINE,
    ghz,
    home_requests,
    wrk,
)
from bench.python_load import LoadResult
from bench.read import noop_server
from core.feed.timeline_lists import home_list
from embedded.ports import HOST

READ_CONNECTIONS = 16
FULL_TIMELINES = 500
CREATE_CONNECTIONS: Sequence[int] = (32, 64)
# A third of the Go demo's CPU per read, as a ratio to a no-op call.
BEST_GOAL = round(BEST_READ_MICROSECONDS.middle / NOOP_MICROSECONDS / 3, 2)
ALL_GOAL = 25
CREATE_GOAL = 2.5
MICRO = 1e6


def rest_read(bench: Bench) -> list[Figure]:
    """Measure GET /timeline/{id}, against the same calls over gRPC and the no-op server's CPU.

    The readers are once those with the fullest timelines, which is the Go demo's best case, and
    once all.
    """
    bench.warm()
    calls = bench.size(10_000, quick=1500, smoke=100)
    seconds = bench.size(5, quick=1, smoke=1)
    requests = home_requests(bench.graph.readers, seed=3)
    url = f"http://{HOST}:{bench.settings.rest_read_port}"
    full = _fullest(bench, bench.size(FULL_TIMELINES, quick=FULL_TIMELINES, smoke=20))
    best, everybody = f"{len(full)} full timelines", f"all {len(requests):,} readers"
    readers = {best: full, everybody: list(bench.graph.readers)}
    loads: dict[str, list[LoadResult]] = {case: [] for case in readers}
    cpu: dict[str, list[float]] = {case: [] for case in readers}
    grpc, noop = [], []
    with noop_server(bench) as (server, noop_target):
        bench.step("filling the caches in the processes")
        ghz(bench.folder, noop_target, GET_HOME_TIMELINE, requests, calls)
        paths = [f"/timeline/{user}?limit=20" for user in bench.graph.readers]
        wrk(bench.folder, url, paths, seconds, connections=READ_CONNECTIONS)
        for number in bench.repeat():
            for case, users in readers.items():
                bench.step(f"{seconds} s of GET /timeline, {case}, {number}")
                paths = [f"/timeline/{user}?limit=20" for user in users]
                with bench.cpu() as used:
                    load = wrk(bench.folder, url, paths, seconds, connections=READ_CONNECTIONS)
                loads[case].append(load)
                cpu[case].append(used["read"] / load.count * MICRO)
            bench.step(f"{calls:,} calls over gRPC, {number}")
            target = bench.settings.read_service_target()
            load = ghz(
                *(bench.folder, target, GET_HOME_TIMELINE, requests, calls),
                callers=READ_CONNECTIONS,
            )
            grpc.append(load.per_second)
            bench.step(f"{calls:,} calls to the no-op server, {number}")
            with bench.cpu(noop=server) as used:
                ghz(bench.folder, noop_target, GET_HOME_TIMELINE, requests, calls)
            noop.append(used["noop"] / calls * MICRO)
    bench.noop_microseconds = median(noop)

    def rate(case: str) -> Figure:
        values = tuple(load.per_second for load in loads[case])
        return Figure("rest-read", case, "requests", "1/s", values)

    def cpu_of(case: str) -> Figure:
        return Figure(
            *("rest-read", case, "CPU of the read process per request", "µs", tuple(cpu[case])),
            *(f"a gRPC call to the no-op server by {CALLERS} callers", tuple(noop)),
        )

    def latency(case: str) -> list[Figure]:
        return [
            Figure(
                *("rest-read", case, f"latency, {name}", "ms"),
                tuple(getattr(load, name) for load in loads[case]),
            )
            for name in ("p50", "p99")
        ]

    best_cpu = compare_with_demo(bench, cpu_of(best), BEST_READ_MICROSECONDS)
    all_rate = replace(rate(everybody), limit_name="over gRPC", limits=tuple(grpc))
    all_rate = compare_with_demo(bench, all_rate, ALL_READS)
    return [
        compare_with_demo(bench, rate(best), BEST_READS),
        best_cpu.with_goal(
            f"at most {BEST_GOAL} times the no-op call, a third of the Go demo's ratio",
            reached=(best_cpu.ratio or BEST_GOAL + 1) <= BEST_GOAL,
        ),
        *latency(best),
        all_rate.with_goal(
            f"at least {ALL_GOAL} times the Go demo", reached=(all_rate.times_demo or 0) >= ALL_GOAL
        ),
        cpu_of(everybody),
        *latency(everybody),
    ]


def _fullest(bench: Bench, count: int) -> list[int]:
    """Return the readers with the longest timeline lists."""
    readers = list(bench.graph.readers)
    with Redis.from_url(bench.settings.redis_address()) as redis:
        pipeline = redis.pipeline(transaction=False)
        for reader in readers:
            pipeline.llen(bench.keys.for_list(home_list(reader)))
        lengths = dict(zip(readers, pipeline.execute(), strict=True))
    return sorted(readers, key=lambda reader: (-lengths[reader], reader))[:count]


def rest_create(bench: Bench) -> list[Figure]:
    """Measure POST /tweets, against CreateTweet over gRPC, while everything else runs."""
    bench.warm()
    seconds = bench.size(4, quick=1, smoke=1)
    requests = tweet_requests(bench, 5000)
    bodies = [
        json.dumps({"user_id": str(tweet.user_id), "content": tweet.content}) for tweet in requests
    ]
    settings = bench.settings
    url = f"http://{HOST}:{settings.rest_write_port}"
    figures = []
    cases = bench.size(CREATE_CONNECTIONS, quick=CREATE_CONNECTIONS, smoke=CREATE_CONNECTIONS[:1])
    for place, connections in enumerate(cases, 1):
        loads, grpc, cpu = [], [], []
        for number in bench.repeat(place / len(cases)):
            bench.step(f"{seconds} s of POST /tweets by {connections} connections, {number}")
            with bench.cpu() as used:
                load = wrk(
                    *(bench.folder, url, bodies, seconds),
                    connections=connections,
                    post_path="/tweets",
                )
            loads.append(load)
            cpu.append(used["write"] / load.count * MICRO)
            bench.wait_drained(DRAIN_SECONDS)
            bench.step(f"as many over gRPC, {number}")
            target = settings.write_service_target()
            over_grpc = ghz(
                *(bench.folder, target, CREATE_TWEET, requests, load.count), callers=connections
            )
            grpc.append(over_grpc.per_second)
            bench.wait_drained(DRAIN_SECONDS)
        figures += _create_figures(bench, connections, loads, grpc, cpu)
    return figures


def _create_figures(
    bench: Bench, connections: int, loads: list[LoadResult], grpc: list[float], cpu: list[float]
) -> list[Figure]:
    case = f"{connections} connections"
    rate = Figure(
        *("rest-create", case, "acknowledged tweets", "1/s"),
        tuple(load.per_second for load in loads),
        *("over gRPC", tuple(grpc)),
    )
    rate = compare_with_demo(bench, rate, CREATES)
    return [
        rate.with_goal(
            f"at least {CREATE_GOAL} times the Go demo",
            reached=(rate.times_demo or 0) >= CREATE_GOAL,
        ),
        Figure("rest-create", case, "latency, p50", "ms", tuple(load.p50 for load in loads)),
        Figure("rest-create", case, "latency, p99", "ms", tuple(load.p99 for load in loads)),
        Figure(
            *("rest-create", case, "CPU of the write process, including its relay, per tweet"),
            *("µs", tuple(cpu)),
        ),
    ]
