"""Warm home timelines over gRPC: CPU, latency, throughput, beside a process that reads nothing."""

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
from embedded.ports import HOST, free_ports
from embedded.server import ServerProcess
from ops.system import ROOT

CPU_GOAL = 1.4
SHARE_GOAL = 0.75
RATE_GOAL = 3700
BATCH_GOAL = 30_000
GO_BEST, GO_ALL = 1890, 220
BATCH = 100
BATCH_CALLERS = 8
CORES = os.cpu_count() or 1
# As many as the read service asks for, to have 20 after the log.
WINDOW = 85
MICRO = 1e6


def read(bench: Bench) -> list[Figure]:
    """Return CPU and latency of GetHomeTimeline, beside those of the no-op."""
    bench.warm()
    calls = bench.size(10_000, quick=2000, smoke=100)
    rate = bench.size(500, quick=500, smoke=100)
    seconds = bench.size(5, quick=1, smoke=1)
    requests = home_requests(bench.graph.readers, seed=1)
    taken: dict[str, list[float]] = {}

    def take(key: str, value: float) -> None:
        taken.setdefault(key, []).append(value)

    with noop(bench) as (server, noop_target):
        targets = {"read": bench.settings.read_service_target(), "noop": noop_target}
        for target in targets.values():
            ghz(bench.folder, target, GET_HOME_TIMELINE, requests, len(requests))
        for number in range(bench.repetitions):
            for name, target in targets.items():
                bench.step(f"{calls:,} calls of {CALLERS} callers to {name}, {number + 1}")
                with bench.cpu(noop=server) as used:
                    ghz(bench.folder, target, GET_HOME_TIMELINE, requests, calls)
                take(f"busy {name}", used[name] / calls * MICRO)
                if name == "read":
                    take("valkey", used["valkey"] / calls * MICRO)
                bench.step(f"{rate} calls a second to {name}, {number + 1}")
                paced = rate * seconds
                with bench.cpu(noop=server) as used:
                    load = ghz(bench.folder, target, GET_HOME_TIMELINE, requests, paced, rate=rate)
                take(f"paced {name}", used[name] / paced * MICRO)
                take(f"p50 {name}", load.p50)
                take(f"p99 {name}", load.p99)

    def figure(case: str, what: str, unit: str, key: str, *, goal: bool = False) -> Figure:
        made = Figure(
            "read",
            case,
            what,
            unit,
            tuple(taken[f"{key} read"]),
            "the no-op's",
            tuple(taken[f"{key} noop"]),
        )
        if not goal:
            return made
        ratio = made.ratio
        return made.with_goal(
            f"at most {CPU_GOAL} times the no-op's", reached=ratio is not None and ratio <= CPU_GOAL
        )

    closed, opened = f"{CALLERS} callers", f"{rate} calls/s, open loop"
    return [
        figure(closed, "server CPU per call", "µs", "busy", goal=True),
        Figure("read", closed, "Valkey's CPU per call", "µs", tuple(taken["valkey"])),
        figure(opened, "server CPU per call", "µs", "paced"),
        figure(opened, "latency, p50", "ms", "p50"),
        figure(opened, "latency, p99", "ms", "p99"),
    ]


def read_throughput(bench: Bench) -> list[Figure]:
    """Return how many calls a second as many processes as cores answer, beside as many no-ops."""
    bench.warm()
    calls = bench.size(15_000, quick=4000, smoke=100)
    callers = 2 * CALLERS
    requests = home_requests(bench.graph.readers, seed=2)
    reads, noops = [], []

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

    with _copies(bench) as (_, target), noop(bench, _processes(bench)) as (_, noop_target):
        # What is cached in the processes is there by the second time.
        for _ in range(2):
            rate(target, "the read service")
        for _ in range(bench.repetitions):
            reads.append(rate(target, "the read service"))
            noops.append(rate(noop_target, "the no-op"))
    figure = Figure(
        "read-throughput",
        f"{_processes(bench)} read processes, {callers} callers",
        "calls",
        "1/s",
        tuple(reads),
        "as many no-ops",
        tuple(noops),
        note=f"load and servers share {os.cpu_count()} cores; "
        f"the Go demo: {GO_BEST:,} in its best case, {GO_ALL} over all readers",
    )
    return [
        figure.with_goal(
            f"at least {SHARE_GOAL:.0%} of the no-op's and {RATE_GOAL:,}/s",
            reached=(figure.ratio or 0) >= SHARE_GOAL and figure.median >= RATE_GOAL,
        )
    ]


def read_batch(bench: Bench) -> list[Figure]:
    """Return how many timelines a second BatchGetHomeTimelines gives, beside raw LRANGEs."""
    bench.warm()
    calls = bench.size(20, quick=5, smoke=1)
    users = list(bench.graph.readers)
    given, raw, cpu = [], [], []
    with _copies(bench) as (server, target):
        for number in range(bench.repetitions + 1):
            random.Random(number).shuffle(users)  # noqa: S311 - chance, not a secret
            batches = [users[at : at + BATCH] for at in range(0, len(users), BATCH)]
            bench.step(f"{calls * len(users):,} timelines in batches of {BATCH}, {number}")
            with bench.cpu(copies=server) as used:
                rate = _ask_batches(bench, target, batches, calls)
            if number:  # else nothing was cached in the processes yet
                given.append(rate)
                cpu.append(used["copies"] / (calls * len(users)) * MICRO)
                raw.append(_raw_ranges(bench, batches, calls))
    case = f"{BATCH} users a call, {_processes(bench)} read processes"
    figure = Figure(
        "read-batch",
        case,
        "timelines",
        "1/s",
        tuple(given),
        "their LRANGEs alone, pipelined",
        tuple(raw),
    )
    reached = median(given) >= BATCH_GOAL
    return [
        figure.with_goal(f"at least {BATCH_GOAL:,}/s", reached=reached),
        Figure("read-batch", case, "server CPU per timeline", "µs", tuple(cpu)),
    ]


def _ask_batches(bench: Bench, target: str, batches: Sequence[Sequence[int]], calls: int) -> float:
    """Ask for each batch so many times; return the timelines a second."""
    requests = [r.BatchGetHomeTimelinesRequest(user_ids=ids, limit=20) for ids in batches]
    with bench.reading() as stub:
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
    if answered != [calls * (size + 5) for size in sizes]:  # each message has 5 bytes before it
        raise BenchError("some batches were answered by something else than before")
    return calls * sum(map(len, batches)) / seconds


def _processes(bench: Bench) -> int:
    """Return how many processes throughput is measured with."""
    return bench.size(CORES, quick=CORES, smoke=1)


@contextmanager
def _copies(bench: Bench) -> Iterator[tuple[ServerProcess, str]]:
    """Yield a read service of as many processes as there are cores, and where it is."""
    server, target = bench.system.another_read_service(_processes(bench))
    try:
        yield server, target
    finally:
        server.stop()


def _raw_ranges(bench: Bench, batches: Sequence[Sequence[int]], calls: int) -> float:
    """Return how many windows of lists a second one connection to Valkey gives."""
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
def noop(bench: Bench, processes: int = 1) -> Iterator[tuple[ServerProcess, str]]:
    """Yield bench.noop, answering what the read service answers now, and where it is.

    Of several processes, which share the port, the first is yielded.
    """
    answers = r.BatchGetHomeTimelinesResponse()
    readers = list(bench.graph.readers)
    with bench.reading() as stub:
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
