"""Warm home timelines through the REST shim, against the same calls over gRPC."""

from __future__ import annotations

from statistics import median

from bench.figures import Figure
from bench.harness import Bench
from bench.load_generators import CALLERS, GET_HOME_TIMELINE, ghz, home_requests, wrk
from embedded.ports import HOST

GOAL = 1000
GO_BEST = 1890


def rest_read(bench: Bench) -> list[Figure]:
    """Measure GET /timeline/{id} requests per second, against the same calls over gRPC."""
    bench.warm()
    calls = bench.size(10_000, quick=1500, smoke=100)
    seconds = bench.size(5, quick=1, smoke=1)
    paths = [f"/timeline/{user}?limit=20" for user in bench.graph.readers]
    requests = home_requests(bench.graph.readers, seed=3)
    url = f"http://{HOST}:{bench.settings.rest_read_port}"
    rest, grpc, cpu, p50, p99 = [], [], [], [], []
    for number in range(bench.repetitions):
        bench.step(f"{seconds} s of GET /timeline, {number + 1}")
        with bench.cpu() as used:
            load = wrk(bench.folder, url, paths, seconds)
        rest.append(load.per_second)
        cpu.append(used["read"] / load.count * 1e6)
        p50.append(load.p50)
        p99.append(load.p99)
        bench.step(f"{calls:,} calls over gRPC, {number + 1}")
        target = bench.settings.read_service_target()
        grpc.append(ghz(bench.folder, target, GET_HOME_TIMELINE, requests, calls).per_second)
    case = f"{CALLERS} callers"
    return [
        Figure(
            "rest-read",
            case,
            "requests",
            "1/s",
            tuple(rest),
            "over gRPC",
            tuple(grpc),
            note=f"the Go demo: {GO_BEST:,} in its best case",
        ).with_goal(f"at least {GOAL:,}/s", reached=median(rest) >= GOAL),
        Figure("rest-read", case, "server CPU per request", "µs", tuple(cpu)),
        Figure("rest-read", case, "latency, p50", "ms", tuple(p50)),
        Figure("rest-read", case, "latency, p99", "ms", tuple(p99)),
    ]
