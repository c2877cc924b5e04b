"""How the system degrades: when all timelines are lost at once, and in a burst of writes."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
from fanfare.read.v1 import read_pb2 as r
from fanfare.write.v1 import write_pb2 as w
from redis import Redis

from bench.figures import Figure
from bench.harness import CALL_SECONDS, Bench
from bench.load_generators import CREATE_TWEET, GET_HOME_TIMELINE, ghz, home_requests
from bench.python_load import LoadResult

BURST_FACTOR = 10
QUIET_FACTOR = 3
STAMPEDE_GOAL = 2000
REBUILT_GOAL = 10
DRAIN_SECONDS = 120.0
SAMPLE_SECONDS = 0.05
PAGE = 100
ACTIVE_QUERIES = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE application_name = 'fanfare-read' AND state = 'active'"
)
UNSENT_EVENTS = "SELECT count(*) FROM outbox WHERE sent_at IS NULL"


@dataclass
class MaxSampler:
    """Runs a query repeatedly, and remembers the highest number that it returned."""

    value: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def watch(self, connection: psycopg.Connection, query: str) -> None:
        """Sample until stop() is called."""
        while not self._stop.wait(SAMPLE_SECONDS):
            row = connection.execute(query.encode()).fetchone()
            self.value = max(self.value, int(row[0]) if row else 0)

    def stop(self) -> None:
        """Have watch() return."""
        self._stop.set()


def stampede(bench: Bench) -> list[Figure]:
    """Measure reads by all readers at once right after FLUSHALL, against the same when warm."""
    calls = bench.size(8000, quick=1500, smoke=200)
    callers = bench.size(500, quick=200, smoke=20)
    # A quick run has fewer, because most of its time would be building their timelines.
    everybody = bench.graph.readers
    readers = bench.size(everybody, quick=everybody[:500], smoke=everybody)
    requests = home_requests(readers, seed=4)
    target = bench.settings.read_service_target()

    def load() -> LoadResult:
        return ghz(
            bench.folder,
            target,
            GET_HOME_TIMELINE,
            requests,
            calls,
            callers=callers,
            may_fail=True,
        )

    warm, flushed, cpu, busy, rebuilt = [], [], [], [], []
    with Redis.from_url(bench.settings.redis_address()) as redis:
        for number in bench.repeat():
            bench.warm(readers)
            bench.step(f"{calls:,} warm calls of {callers} callers, {number}")
            warm.append(load())
            bench.step(f"the same after FLUSHALL, {number}")
            redis.flushall()
            started = time.perf_counter()
            with bench.cpu() as used, _sample_max(bench, ACTIVE_QUERIES) as sampler:
                flushed.append(load())
            cpu.append(used["postgres"] / (time.perf_counter() - started) * 100)
            busy.append(float(sampler.value))
            bench.warm(readers)
            rebuilt.append(time.perf_counter() - started)
    failed = tuple(float(load.failed) for load in flushed)
    case = f"{callers} callers, {len(readers):,} readers"
    limit = "warm"

    def compare(metric: str, unit: str, value: Callable[[LoadResult], float]) -> Figure:
        after, before = tuple(map(value, flushed)), tuple(map(value, warm))
        return Figure("stampede", case, metric, unit, after, limit, before)

    rate = compare("calls", "1/s", lambda load: load.per_second)
    built = Figure("stampede", case, "until every timeline is rebuilt", "s", tuple(rebuilt))
    return [
        Figure("stampede", case, f"of {calls:,} reads failed", "calls", failed).with_goal(
            "none", reached=not any(failed)
        ),
        rate.with_goal(f"at least {STAMPEDE_GOAL:,}/s", reached=rate.median >= STAMPEDE_GOAL),
        compare("latency, p50", "ms", lambda load: load.p50),
        compare("latency, p99", "ms", lambda load: load.p99),
        Figure("stampede", case, "Postgres' CPU", "% of a core", tuple(cpu)),
        Figure("stampede", case, "most concurrent queries of the read service", "", tuple(busy)),
        built.with_goal(f"at most {REBUILT_GOAL} s", reached=built.median <= REBUILT_GOAL),
    ]


def burst(bench: Bench) -> list[Figure]:
    """Measure reads during a burst of writes, against the same reads while nothing is written.

    Then check that every tweet arrives.
    """
    bench.warm()
    steady_rate, read_rate = 100, 200
    seconds = bench.size(8, quick=2, smoke=1)
    authors = [author for author, _ in bench.graph.posts]
    chance = random.Random(6)  # noqa: S311 - not a secret
    writes = [
        w.CreateTweetRequest(user_id=chance.choice(authors), content=f"tweet {n} of a burst")
        for n in range(1000)
    ]
    reads = home_requests(bench.graph.readers, seed=6)
    settings = bench.settings

    def write(rate: int) -> LoadResult:
        target, calls = settings.write_service_target(), rate * seconds
        return ghz(bench.folder, target, CREATE_TWEET, writes, calls, rate=rate, may_fail=True)

    def read() -> LoadResult:
        target, calls = settings.read_service_target(), read_rate * seconds
        return ghz(bench.folder, target, GET_HOME_TIMELINE, reads, calls, rate=read_rate)

    def write_and_read(rate: int) -> tuple[LoadResult, LoadResult]:
        with ThreadPoolExecutor(2) as pool:
            written, answered = pool.submit(write, rate), pool.submit(read)
            return written.result(), answered.result()

    quiet, steady, bursts, queued, drained, wrong = [], [], [], [], [], []
    for number in bench.repeat():
        bench.step(f"{read_rate} reads a second and no tweets, {number}")
        quiet.append(read())
        bench.step(f"{steady_rate} tweets a second, {number}")
        steady.append(write_and_read(steady_rate))
        bench.wait_drained(DRAIN_SECONDS)
        bench.step(f"{BURST_FACTOR * steady_rate:,} tweets a second, {number}")
        with _sample_max(bench, UNSENT_EVENTS) as sampler:
            bursts.append(write_and_read(BURST_FACTOR * steady_rate))
        queued.append(float(sampler.value))
        started = time.perf_counter()
        bench.wait_drained(DRAIN_SECONDS)
        drained.append(time.perf_counter() - started)
        wrong.append(
            float(_count_wrong_timelines(bench, bench.size(300, quick=100, smoke=10), number))
        )
    case = f"{BURST_FACTOR * steady_rate:,} tweets/s for {seconds} s, {read_rate} reads/s"

    def compare_reads(metric: str, value: Callable[[LoadResult], float]) -> Figure:
        return Figure(
            *("burst", case, metric, "ms", tuple(value(answered) for _, answered in bursts)),
            *("without tweets", tuple(map(value, quiet))),
        )

    reads_p99 = compare_reads("latency of a read, p99", lambda load: load.p99)
    return [
        Figure("burst", case, "wrong timelines", "", tuple(wrong)).with_goal(
            "none", reached=not any(wrong)
        ),
        Figure(
            "burst",
            case,
            "tweets not acknowledged",
            "%",
            tuple(100 * written.failed / written.count for written, _ in bursts),
            note=f"statuses of the tweets: {'; '.join(written.codes for written, _ in bursts)}",
        ),
        compare_reads("latency of a read, p50", lambda load: load.p50),
        reads_p99.with_goal(
            f"under {QUIET_FACTOR} times that without tweets",
            reached=(reads_p99.ratio or QUIET_FACTOR) < QUIET_FACTOR,
        ),
        Figure(
            *("burst", case, "latency of a tweet, p99", "ms"),
            tuple(written.p99 for written, _ in bursts),
            *(f"with {steady_rate} tweets/s", tuple(written.p99 for written, _ in steady)),
        ),
        Figure("burst", case, "most events in the outbox", "", tuple(queued)),
        Figure("burst", case, "until all tweets have arrived", "s", tuple(drained)),
    ]


@contextmanager
def _sample_max(bench: Bench, query: str) -> Iterator[MaxSampler]:
    sampler = MaxSampler()
    with (
        psycopg.connect(bench.settings.primary_dsn(), autocommit=True) as connection,
        ThreadPoolExecutor(1) as pool,
    ):
        watching = pool.submit(sampler.watch, connection, query)
        try:
            yield sampler
        finally:
            sampler.stop()
            watching.result()


def _count_wrong_timelines(bench: Bench, count: int, seed: int) -> int:
    """Choose random readers; return how many of them get a page that differs from Postgres."""
    readers = bench.graph.readers
    chosen = random.Random(seed).sample(readers, min(count, len(readers)))  # noqa: S311 - not a secret
    wrong = 0
    with (
        bench.read_stub() as stub,
        psycopg.connect(bench.settings.primary_dsn(), autocommit=True) as connection,
    ):
        for reader in chosen:
            request = r.GetHomeTimelineRequest(user_id=reader, limit=PAGE)
            answer = stub.GetHomeTimeline(request, timeout=CALL_SECONDS)
            rows = connection.execute(
                "SELECT tweets.id FROM follows JOIN tweets ON user_id = followed_id"
                " WHERE follower_id = %s ORDER BY tweets.id DESC LIMIT %s",
                (reader, PAGE),
            ).fetchall()
            wrong += [tweet.id for tweet in answer.tweets] != [row[0] for row in rows]
    return wrong
