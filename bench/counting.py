"""The cost of metrics: warm home timelines with and without them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from bench.figures import Figure
from bench.harness import Bench
from bench.load_generators import CALLERS, GET_HOME_TIMELINE, ghz, home_requests
from core.rpc.tls import open_url
from core.runtime.metrics_ports import Program
from core.settings import GrpcServerKind
from embedded.ports import HOST, free_port_with

GOAL = 1.01
SCRAPE_SECONDS = 1.0
MICRO = 1e6


def read_metrics(bench: Bench) -> list[Figure]:
    """Measure the CPU of GetHomeTimeline with metrics, against the same calls without them.

    The service with metrics counts every call and is scraped once a second, which is more often
    than anybody does. Both have the native gRPC server, by which a call costs least.
    """
    bench.warm()
    calls = bench.size(30_000, quick=5000, smoke=100)
    requests = home_requests(bench.graph.readers, seed=4)
    first = free_port_with([Program.READ])
    native = GrpcServerKind.NATIVE
    counting, target = bench.system.another_read_service(1, grpc_server=native, metrics_port=first)
    silent, silent_target = bench.system.another_read_service(
        1, grpc_server=native, module="bench.uncounted"
    )
    with_metrics: list[float] = []
    without: list[float] = []
    try:
        for each in (target, silent_target):
            ghz(bench.folder, each, GET_HOME_TIMELINE, requests, len(requests))
        for number in bench.repeat():
            bench.step(f"{calls:,} calls without and with metrics, {number}")
            with bench.cpu(server=silent) as used:
                ghz(bench.folder, silent_target, GET_HOME_TIMELINE, requests, calls)
            without.append(used["server"] / calls * MICRO)
            with _scraped(f"{HOST}:{first + Program.READ}"), bench.cpu(server=counting) as used:
                ghz(bench.folder, target, GET_HOME_TIMELINE, requests, calls)
            with_metrics.append(used["server"] / calls * MICRO)
    finally:
        silent.stop()
        counting.stop()
    figure = Figure(
        "read-metrics",
        f"{CALLERS} callers, native",
        "server CPU per call",
        "µs",
        tuple(with_metrics),
        "without metrics",
        tuple(without),
        note="scraped once a second",
    )
    reached = (figure.ratio or GOAL + 1) <= GOAL
    return [figure.with_goal(f"at most {GOAL} times the CPU without", reached=reached)]


@contextmanager
def _scraped(address: str) -> Iterator[None]:
    """Scrape a process once every SCRAPE_SECONDS, as long as the context lasts."""
    ended = threading.Event()

    def scrape() -> None:
        while not ended.wait(SCRAPE_SECONDS):
            with open_url(f"http://{address}/metrics", None, timeout=10) as answer:
                answer.read()

    scraping = threading.Thread(target=scrape)
    scraping.start()
    try:
        yield
    finally:
        ended.set()
        scraping.join()
