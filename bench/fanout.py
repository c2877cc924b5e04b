"""The fan-out: how fast the worker applies a backlog, and how soon a tweet is visible."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median, quantiles

import grpc
from fanfare.read.v1.read_pb2 import GetHomeTimelineRequest
from fanfare.read.v1.read_pb2_grpc import ReadServiceStub
from fanfare.write.v1.write_pb2 import CreateTweetRequest
from fanfare.write.v1.write_pb2_grpc import WriteServiceStub
from redis import Redis
from rich.console import Console

from bench import backlog
from bench.cpu import cpu_seconds
from bench.figures import Figure
from bench.go_demo import DELIVERIES, compare_with_demo
from bench.harness import CALL_SECONDS, Bench, BenchError
from bench.raw_valkey import CommandRecorder, replay_commands
from core.rpc.tls import CHANNEL_OPTIONS
from embedded.server import ServerProcess
from ops.feed_status import Feed
from ops.verify import compare_timelines

STALE_SECONDS = 600.0
STALE_GOAL = 1_000_000
# How many tweets of an old backlog are written at a time. A relay that keeps up sends small batches
# like these.
STALE_BATCH = 250
LOG_TIME = "%Y-%m-%d %H:%M:%S,%f"
# The worker logs this before its first fetch.
RESUMED = "consuming from the checkpoints"
# Only every STEADY_SAMPLE-th tweet is looked for, because a look costs more than a write.
STEADY_SAMPLE = 15
POLL_SECONDS = 0.001
RAW = "the same commands, replayed from a file over one socket"


def fanout(bench: Bench) -> list[Figure]:
    """Measure how fast a backlog that was just written is applied."""
    share = bench.size(0.75, quick=0.5, smoke=0.5)
    tweets = bench.size(50_000, quick=20_000, smoke=300)
    (drains,) = _measure_drains(bench, tweets, span=0, worker_counts=[1])
    rate = compare_with_demo(bench, drains.rate("fanout", ""), DELIVERIES)
    return [
        rate.with_goal(f"at least {share:.0%} of raw", reached=(rate.ratio or 0) >= share),
        *drains.cpu("fanout", ""),
    ]


def fanout_stale(bench: Bench) -> list[Figure]:
    """Measure how fast a backlog of ten minutes is applied, by one worker and by two."""
    # Writing an old backlog in many small batches takes longer than applying it.
    tweets = bench.size(50_000, quick=5000, smoke=300)
    worker_counts = bench.size([1, 2], quick=[1], smoke=[1, 2])
    one, *two = _measure_drains(bench, tweets, span=STALE_SECONDS, worker_counts=worker_counts)
    rate = one.rate("fanout-stale", "one worker")
    reached = rate.median >= STALE_GOAL
    return [
        rate.with_goal(f"at least {STALE_GOAL:,}", reached=reached),
        *one.cpu("fanout-stale", "one worker"),
        *(drains.rate("fanout-stale", "two workers") for drains in two),
    ]


@dataclass(frozen=True)
class Drains:
    """What was measured while backlogs were applied, with one value for each repetition."""

    rates: list[float] = field(default_factory=list)
    """Deliveries per second."""
    limits: list[float] = field(default_factory=list)
    """The same, for the raw commands."""
    worker_cpu: list[float] = field(default_factory=list)
    """Microseconds per delivery."""
    valkey_cpu: list[float] = field(default_factory=list)

    def rate(self, name: str, case: str) -> Figure:
        """Return the figure of the deliveries per second."""
        return Figure(
            *(name, case, "deliveries", "1/s", tuple(self.rates), RAW, tuple(self.limits))
        )

    def cpu(self, name: str, case: str) -> list[Figure]:
        """Return the figures of the CPU per delivery."""
        return [
            Figure(name, case, "worker CPU per delivery", "µs", tuple(self.worker_cpu)),
            Figure(name, case, "Valkey CPU per delivery", "µs", tuple(self.valkey_cpu)),
        ]


def _measure_drains(
    bench: Bench, tweets: int, *, span: float, worker_counts: Sequence[int]
) -> list[Drains]:
    """Measure how fast backlogs are applied, against the same commands from a file.

    Args:
        bench: the system.
        tweets: how many tweets a backlog has.
        span: how many seconds before now the oldest tweet of a backlog is dated.
        worker_counts: how many workers apply it together, 1 or 2; each is one series.
    """
    chance = random.Random(6)  # noqa: S311 - not a secret
    authors = list(bench.graph.followers)
    weights = [len(bench.graph.followers[author]) for author in authors]
    texts = [text for _, text in bench.graph.posts]
    worker = bench.system.processes["worker"]
    found = []
    # Before the worker stops, because timelines can only be built after it created its checkpoints.
    bench.warm()
    worker.stop()
    try:
        for place, workers in enumerate(worker_counts, 1):
            drains = Drains()
            found.append(drains)
            for number in bench.repeat(place / len(worker_counts)):
                # The previous repetition pushed more ids than a list holds, so lists are rebuilt.
                bench.warm()
                bench.step(f"writing a backlog of {tweets:,} tweets, {number}")
                chosen = chance.choices(authors, weights, k=tweets)
                deliveries = sum(len(bench.graph.followers[author]) for author in chosen)
                _write_backlog(bench, [(author, chance.choice(texts)) for author in chosen], span)
                recorder = CommandRecorder(bench)
                bench.step(f"draining it, {number}")
                seconds, worker_used, valkey_used = _drain(bench, workers)
                drains.rates.append(deliveries / seconds)
                drains.worker_cpu.append(worker_used / deliveries * 1e6)
                drains.valkey_cpu.append(valkey_used / deliveries * 1e6)
                bench.step(f"the raw limit, {number}")
                with recorder.start_copy() as copy_url:
                    raw_seconds = replay_commands(copy_url, recorder.commands())
                drains.limits.append(deliveries / raw_seconds)
    finally:
        # Also after a failure, because the next benchmarks need a worker.
        size = worker.log_path.stat().st_size
        worker.start()
        # If the worker were stopped while it joins its consumer group, it would stay a member for
        # seconds.
        _wait_resumed(worker, size)
    _check_timelines(bench)
    return found


def _write_backlog(bench: Bench, tweets: Sequence[tuple[int, str]], span: float) -> None:
    dsn = bench.settings.primary_dsn()
    size = STALE_BATCH if span else len(tweets)
    for start in range(0, len(tweets), size):
        backlog.write_tweets(
            dsn, tweets[start : start + size], ago=span * (1 - start / len(tweets))
        )
        backlog.wait_sent(dsn)


def _drain(bench: Bench, workers: int) -> tuple[float, float, float]:
    """Start workers, wait until they have applied the backlog, and stop them.

    Returns:
        The seconds from just before the first fetch until the last checkpoint has reached its end
        offset, and the CPU seconds of the first worker and of Valkey.
    """
    worker, valkey = bench.system.processes["worker"], bench.system.stack.valkey
    size = worker.log_path.stat().st_size
    with (
        Feed(bench.settings) as feed,
        Redis.from_url(bench.settings.redis_address()) as redis,
        ThreadPoolExecutor(1) as pool,
    ):
        ends = backlog.end_offsets(feed)
        worker.launch()
        second = pool.submit(bench.system.another_worker) if workers == 2 else None
        try:
            started = _wait_resumed(worker, size)
            before = cpu_seconds([worker.pid]), cpu_seconds([valkey.pid])
            ended = backlog.wait_applied(redis, bench.keys, ends)
            after = cpu_seconds([worker.pid]), cpu_seconds([valkey.pid])
        finally:
            if second is not None:
                second.result().stop()
            worker.stop()
    return ended - started, after[0] - before[0], after[1] - before[1]


def _wait_resumed(worker: ServerProcess, size: int) -> float:
    """Wait until the worker is about to fetch; return the time of that, as by time.time().

    Args:
        worker: a worker that is starting.
        size: how many bytes of its log to skip.

    Raises:
        BenchError: that takes longer than DRAIN_SECONDS.
    """
    deadline = time.monotonic() + backlog.DRAIN_SECONDS
    while time.monotonic() < deadline:
        with worker.log_path.open() as log:
            log.seek(size)
            for line in log:
                if RESUMED in line:
                    return datetime.strptime(line[:23], LOG_TIME).timestamp()  # noqa: DTZ007 - the machine's own
        time.sleep(backlog.POLL_SECONDS)
    raise BenchError("the worker did not begin to fetch in time")


def _check_timelines(bench: Bench) -> None:
    """Raise BenchError if timelines of some random readers differ from the SQL oracle."""
    bench.step("comparing timelines with the SQL oracle")
    readers = list(bench.graph.readers)
    chosen = random.Random(7).sample(readers, min(bench.size(30, quick=8, smoke=4), len(readers)))  # noqa: S311
    outcome = compare_timelines(bench.settings, chosen, "drained", Console(quiet=True))
    if outcome.differing:
        raise BenchError(f"timelines differ from the SQL oracle: {outcome.examples}")


def fanout_steady(bench: Bench) -> list[Figure]:
    """Measure how soon an acknowledged tweet is visible, at a steady rate (open loop)."""
    seconds = bench.size(15.0, quick=3.0, smoke=0.5)
    rate = bench.size(300, quick=300, smoke=60)
    bench.warm()
    followed = list(bench.graph.followers)
    weights = [len(bench.graph.followers[author]) for author in followed]
    chance = random.Random(8)  # noqa: S311 - not a secret
    p50, p99 = [], []
    for number in bench.repeat():
        bench.step(f"{rate} tweets a second, {number}")
        authors = chance.choices(followed, weights, k=int(seconds * rate))
        readers = [chance.choice(bench.graph.followers[author]) for author in authors]
        took = asyncio.run(_measure_visibility(bench, rate, authors, readers))
        cuts = quantiles([1000 * each for each in took], n=100, method="inclusive")
        p50.append(cuts[49])
        p99.append(cuts[98])
    bench.wait_drained(backlog.DRAIN_SECONDS)
    note = f"every {STEADY_SAMPLE}th tweet is looked for by one of the author's followers"
    return [
        Figure("fanout-steady", "", metric, "ms", tuple(values), note=note).with_goal(
            f"under {goal} ms", reached=median(values) < goal
        )
        for metric, values, goal in (
            ("acknowledged to visible, p50", p50, 12),
            ("acknowledged to visible, p99", p99, 50),
        )
    ]


async def _measure_visibility(
    bench: Bench, rate: int, authors: Sequence[int], readers: Sequence[int]
) -> list[float]:
    """Write tweets; return the seconds until each sampled one is visible.

    Args:
        bench: the system.
        rate: tweets per second.
        authors: the author of each tweet.
        readers: for each tweet, the follower of its author who looks for it.

    Raises:
        BenchError: a tweet does not become visible.
    """
    settings = bench.settings
    connect = grpc.aio.insecure_channel  # noqa: TID251 - asynchronous
    async with (
        connect(settings.write_service_target(), CHANNEL_OPTIONS) as to_write,
        connect(settings.read_service_target(), CHANNEL_OPTIONS) as to_read,
    ):
        writing, reading = WriteServiceStub(to_write), ReadServiceStub(to_read)

        async def tweet(number: int) -> float | None:
            request = CreateTweetRequest(user_id=authors[number], content=f"steady {number}")
            created = (await writing.CreateTweet(request, timeout=CALL_SECONDS)).tweet.id
            acknowledged = time.perf_counter()
            if number % STEADY_SAMPLE:
                return None
            # The longest page, because later tweets soon fill a short page of a reader who follows
            # many authors.
            page = GetHomeTimelineRequest(user_id=readers[number], limit=100)
            while True:
                answer = await reading.GetHomeTimeline(page, timeout=CALL_SECONDS)
                seen = time.perf_counter()
                if any(tweet.id == created for tweet in answer.tweets):
                    return seen - acknowledged
                if seen - acknowledged > CALL_SECONDS:
                    raise BenchError(f"tweet {created} did not become visible")
                await asyncio.sleep(POLL_SECONDS)

        tasks = []
        started = time.perf_counter()
        for number in range(len(authors)):
            # Each tweet is written when it is due, even if earlier ones are not acknowledged yet.
            await asyncio.sleep(started + number / rate - time.perf_counter())
            tasks.append(asyncio.create_task(tweet(number)))
        return [took for took in await asyncio.gather(*tasks) if took is not None]
