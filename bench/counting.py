"""The cost of metrics: warm home timelines with and without them."""

from __future__ import annotations

from bench.figures import Figure
from bench.harness import Bench
from bench.load_generators import CALLERS, GET_HOME_TIMELINE, ghz, home_requests
from core.rpc.tls import open_url
from core.runtime.metrics_ports import Program
from core.settings import GrpcServerKind
from embedded.ports import HOST, free_port_with

GOAL = 1.01
SCRAPES = 20
MICRO, MILLI = 1e6, 1e3


def read_metrics(bench: Bench) -> list[Figure]:
    """Measure the CPU of GetHomeTimeline with its calls counted and without, and of a scrape.

    Both services have the native gRPC server, by which a call costs least.
    """
    bench.warm()
    calls = bench.size(40_000, quick=5000, smoke=100)
    requests = home_requests(bench.graph.readers, seed=4)
    first = free_port_with([Program.READ])
    native = GrpcServerKind.NATIVE
    start = bench.system.another_read_service
    services = {
        "counted": start(1, grpc_server=native, metrics_port=first),
        "uncounted": start(1, grpc_server=native, module="bench.uncounted"),
    }
    cpu: dict[str, list[float]] = {name: [] for name in services}
    scrapes = []
    try:
        for _, target in services.values():
            ghz(bench.folder, target, GET_HOME_TIMELINE, requests, len(requests))
        for number in bench.repeat():
            bench.step(f"{calls:,} calls, counted and uncounted, {number}")
            # In turns, so that neither is always the first.
            for name in sorted(services, reverse=number % 2 == 0):
                server, target = services[name]
                with bench.cpu(server=server) as used:
                    ghz(bench.folder, target, GET_HOME_TIMELINE, requests, calls)
                cpu[name].append(used["server"] / calls * MICRO)
            with bench.cpu(server=services["counted"][0]) as used:
                for _ in range(SCRAPES):
                    scrape(f"{HOST}:{first + Program.READ}")
            scrapes.append(used["server"] / SCRAPES * MILLI)
    finally:
        for server, _ in services.values():
            server.stop()
    figure = Figure(
        "read-metrics",
        f"{CALLERS} callers, native",
        "server CPU per call",
        "µs",
        tuple(cpu["counted"]),
        "without counting",
        tuple(cpu["uncounted"]),
    )
    reached = (figure.ratio or GOAL + 1) <= GOAL
    return [
        figure.with_goal(f"at most {GOAL} times the CPU without", reached=reached),
        Figure("read-metrics", "", "server CPU per scrape", "ms", tuple(scrapes)),
    ]


def scrape(address: str) -> None:
    """Read the metrics of the process at host:port."""
    with open_url(f"http://{address}/metrics", None, timeout=10) as answer:
        answer.read()
