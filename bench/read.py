"""Warm home timelines over gRPC, against a server that does no work."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from statistics import median

from fanfare.read.v1 import read_pb2 as r
from redis import Redis

from bench.figures import Figure
from bench.harness import CALL_SECONDS, Bench, BenchError
from bench.load_generators import (
    BATCH_GET_HOME_TIMELINES,
    CALLERS,
    GET_HOME_TIMELINE,
    ghz,
    h2load,
    home_requests,
)
from core.feed.timeline_lists import home_list
from core.rpc.health_probe import probe
from core.settings import GrpcServerKind
from embedded.ports import HOST, free_ports
from embedded.server import ServerProcess
from ops.system import ROOT

CPU_GOAL = 1.25
NATIVE_CPU_GOAL = 0.5
SHARE_GOAL = 0.85
NATIVE_SHARE_GOAL = 2.0
BATCH_GOAL = 30_000
BATCH = 100
BATCH_CALLERS = 8
CORES = os.cpu_count() or 1
# How many elements of a list the read service reads for a page of 20.
WINDOW = 85
MICRO = 1e6


def read(bench: Bench) -> list[Figure]:
    """Measure CPU and latency of GetHomeTimeline, against the no-op server.

    By 32 callers, a read service with the native gRPC server is measured too, against the same
    no-op server, which uses grpcio.
    """
    bench.warm()
    calls = bench.size(10_000, quick=2000, smoke=100)
    rate = bench.size(500, quick=500, smoke=100)
    seconds = bench.size(5, quick=1, smoke=1)
    requests = home_requests(bench.graph.readers, seed=1)
    measured: dict[str, list[float]] = {}

    def record(key: str, value: float) -> None:
        measured.setdefault(key, []).append(value)

    with (
        noop_server(bench) as (server, noop_target),
        _read_service(bench, 1, GrpcServerKind.NATIVE) as (native, native_target),
    ):
        targets = {
            "read": bench.settings.read_service_target(),
            "native": native_target,
            "noop": noop_target,
        }
        for target in targets.values():
            ghz(bench.folder, target, GET_HOME_TIMELINE, requests, len(requests))
        for number in bench.repeat():
            for name, target in targets.items():
                bench.step(f"{calls:,} calls of {CALLERS} callers to {name}, {number}")
                with bench.cpu(noop=server, native=native) as used:
                    ghz(bench.folder, target, GET_HOME_TIMELINE, requests, calls)
                record(f"busy {name}", used[name] / calls * MICRO)
                if name == "native":
                    continue
                if name == "read":
                    record("valkey", used["valkey"] / calls * MICRO)
                bench.step(f"{rate} calls a second to {name}, {number}")
                paced = rate * seconds
                with bench.cpu(noop=server) as used:
                    load = ghz(bench.folder, target, GET_HOME_TIMELINE, requests, paced, rate=rate)
                record(f"paced {name}", used[name] / paced * MICRO)
                record(f"p50 {name}", load.p50)
                record(f"p99 {name}", load.p99)

    def figure(case: str, metric: str, unit: str, key: str, *, goal: bool = False) -> Figure:
        made = Figure(
            "read",
            case,
            metric,
            unit,
            tuple(measured[f"{key} read"]),
            "the no-op server",
            tuple(measured[f"{key} noop"]),
        )
        if not goal:
            return made
        ratio = made.ratio
        return made.with_goal(
            f"at most {CPU_GOAL} times the no-op server",
            reached=ratio is not None and ratio <= CPU_GOAL,
        )

    bench.noop_microseconds = median(measured["busy noop"])
    closed, opened = f"{CALLERS} callers", f"{rate} calls/s, open loop"
    native_figure = Figure(
        "read",
        f"{closed}, native",
        "server CPU per call",
        "µs",
        tuple(measured["busy native"]),
        "the no-op server",
        tuple(measured["busy noop"]),
    )
    native_ratio = native_figure.ratio
    return [
        figure(closed, "server CPU per call", "µs", "busy", goal=True),
        native_figure.with_goal(
            f"at most {NATIVE_CPU_GOAL} times the no-op server, which uses grpcio",
            reached=native_ratio is not None and native_ratio <= NATIVE_CPU_GOAL,
        ),
        Figure("read", closed, "Valkey's CPU per call", "µs", tuple(measured["valkey"])),
        figure(opened, "server CPU per call", "µs", "paced"),
        figure(opened, "latency, p50", "ms", "p50"),
        figure(opened, "latency, p99", "ms", "p99"),
    ]


def read_throughput(bench: Bench) -> list[Figure]:
    """Measure calls per second of one process per core, against as many no-op servers.

    The no-op servers use grpcio; the read service is measured with both gRPC servers.
    """
    bench.warm()
    calls = bench.size(15_000, quick=4000, smoke=100)
    callers = 2 * CALLERS
    requests = home_requests(bench.graph.readers, seed=2)
    reads, natives, noops = [], [], []

    def rate(target: str, what: str) -> float:
        bench.step(f"{calls:,} calls to {what}")
        load = ghz(
            bench.folder,
            target,
            GET_HOME_TIMELINE,
            requests,
            calls,
            callers=callers,
            connections=callers // 2,
        )
        return load.per_second

    with (
        _read_service(bench, _process_count(bench)) as (_, target),
        _read_service(bench, _process_count(bench), GrpcServerKind.NATIVE) as (_, native_target),
        noop_server(bench, _process_count(bench)) as (_, noop_target),
    ):
        # Fills the caches in the processes.
        for _ in range(2):
            rate(target, "the read service")
            rate(native_target, "the read service, native")
        for _ in bench.repeat():
            reads.append(rate(target, "the read service"))
            natives.append(rate(native_target, "the read service, native"))
            noops.append(rate(noop_target, "the no-op server"))
    figure = Figure(
        "read-throughput",
        f"{_process_count(bench)} read processes, {callers} callers",
        "calls",
        "1/s",
        tuple(reads),
        "as many no-op servers",
        tuple(noops),
        note=f"load and servers share {os.cpu_count()} cores",
    )
    native = Figure(
        "read-throughput",
        f"{_process_count(bench)} read processes, {callers} callers, native",
        "calls",
        "1/s",
        tuple(natives),
        "as many no-op servers",
        tuple(noops),
    )
    return [
        figure.with_goal(
            f"at least {SHARE_GOAL:.0%} of the no-op servers",
            reached=(figure.ratio or 0) >= SHARE_GOAL,
        ),
        native.with_goal(
            f"at least {NATIVE_SHARE_GOAL:g} times the no-op servers, which use grpcio",
            reached=(native.ratio or 0) >= NATIVE_SHARE_GOAL,
        ),
    ]


def read_batch(bench: Bench) -> list[Figure]:
    """Measure timelines per second by BatchGetHomeTimelines, against the LRANGE commands alone."""
    bench.warm()
    calls = bench.size(20, quick=5, smoke=1)
    users = list(bench.graph.readers)
    rates, limits, cpu = [], [], []
    with _read_service(bench, _process_count(bench)) as (server, target):
        for number in bench.repeat():
            random.Random(number).shuffle(users)  # noqa: S311 - chance, not a secret
            batches = [users[at : at + BATCH] for at in range(0, len(users), BATCH)]
            bench.step(f"{calls * len(users):,} timelines in batches of {BATCH}, {number}")
            if number == 1:  # fills the caches in the processes
                _request_batches(bench, target, batches, calls=1)
            with bench.cpu(prefork=server) as used:
                rates.append(_request_batches(bench, target, batches, calls))
            cpu.append(used["prefork"] / (calls * len(users)) * MICRO)
            limits.append(_raw_ranges(bench, batches, calls))
    case = f"{BATCH} users a call, {_process_count(bench)} read processes"
    figure = Figure(
        "read-batch",
        case,
        "timelines",
        "1/s",
        tuple(rates),
        "the LRANGE commands alone, pipelined",
        tuple(limits),
    )
    reached = median(rates) >= BATCH_GOAL
    return [
        figure.with_goal(f"at least {BATCH_GOAL:,}/s", reached=reached),
        Figure("read-batch", case, "server CPU per timeline", "µs", tuple(cpu)),
    ]


def _request_batches(
    bench: Bench, target: str, batches: Sequence[Sequence[int]], calls: int
) -> float:
    """Request each batch `calls` times; return the timelines per second."""
    requests = [r.BatchGetHomeTimelinesRequest(user_ids=ids, limit=20) for ids in batches]
    with bench.read_stub() as stub:
        sizes = [
            stub.BatchGetHomeTimelines(request, timeout=CALL_SECONDS).ByteSize()
            for request in requests
        ]

    def ask(request: r.BatchGetHomeTimelinesRequest) -> int:
        return h2load(bench.folder, target, BATCH_GET_HOME_TIMELINES, request, calls)

    with ThreadPoolExecutor(BATCH_CALLERS) as pool:
        started = time.perf_counter()
        answered = list(pool.map(ask, requests))
        seconds = time.perf_counter() - started
    if answered != [calls * (size + 5) for size in sizes]:  # gRPC frames a message with 5 bytes
        raise BenchError("some batches were answered differently than before")
    return calls * sum(map(len, batches)) / seconds


def _process_count(bench: Bench) -> int:
    """Return how many read processes to start for a throughput benchmark."""
    return bench.size(CORES, quick=CORES, smoke=1)


@contextmanager
def _read_service(
    bench: Bench, processes: int, kind: GrpcServerKind | None = None
) -> Iterator[tuple[ServerProcess, str]]:
    """Start a read service of some processes; yield it and its target.

    Args:
        bench: the system.
        processes: how many processes share its port.
        kind: its gRPC server; None for the system's own setting.
    """
    server, target = bench.system.another_read_service(processes, grpc_server=kind)
    try:
        yield server, target
    finally:
        server.stop()


def _raw_ranges(bench: Bench, batches: Sequence[Sequence[int]], calls: int) -> float:
    """Return how many timelines per second can be read by LRANGE over one Redis connection."""
    with Redis.from_url(bench.settings.redis_address()) as redis:
        connection = redis.connection_pool.get_connection()
        packed = [
            connection.pack_commands(
                [("LRANGE", bench.keys.for_list(home_list(user)), 0, WINDOW - 1) for user in batch]
            )
            for batch in batches
        ]
        started = time.perf_counter()
        for _ in range(calls):
            for commands, batch in zip(packed, batches, strict=True):
                connection.send_packed_command(commands)
                for _ in batch:
                    connection.read_response()
        seconds = time.perf_counter() - started
        redis.connection_pool.release(connection)
    return calls * sum(map(len, batches)) / seconds


@contextmanager
def noop_server(bench: Bench, processes: int = 1) -> Iterator[tuple[ServerProcess, str]]:
    """Start no-op servers that give the answers that the read service gives now.

    Args:
        bench: the system.
        processes: how many to start, on one port.

    Yields:
        The first of the servers, and their target.
    """
    answers = r.BatchGetHomeTimelinesResponse()
    readers = list(bench.graph.readers)
    with bench.read_stub() as stub:
        for at in range(0, len(readers), BATCH):
            users = readers[at : at + BATCH]
            request = r.BatchGetHomeTimelinesRequest(user_ids=users, limit=20)
            answers.MergeFrom(stub.BatchGetHomeTimelines(request, timeout=CALL_SECONDS))
    path = bench.folder / "answers.binpb"
    path.write_bytes(answers.SerializeToString())
    (port,) = free_ports(1)
    target = f"{HOST}:{port}"
    own = {
        "FANFARE_READ_PORT": str(port),
        "FANFARE_READ_PROCESSES": str(processes),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'gen'}",
    }
    servers = [
        ServerProcess(
            f"No-op {number}",
            [sys.executable, "-m", "bench.noop", str(path)],
            bench.folder / "logs" / f"noop-{number}.log",
            lambda: probe(target) is None,
            environment=dict(os.environ) | own,
        )
        for number in range(processes)
    ]
    try:
        for server in servers:
            server.launch()
        for server in servers:
            server.wait_ready()
        yield servers[0], target
    finally:
        for server in servers:
            server.stop()
