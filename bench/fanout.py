"""The fan-out: backlogs drained from Kafka to Redis, and how soon a tweet is seen."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
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
from bench.harness import CALL_SECONDS, Bench, BenchError
from bench.raw_valkey import Recorder, send
from embedded.server import ServerProcess
from ops.feed_status import Feed
from ops.verify import compare_timelines

STALE_SECONDS = 600.0
# A relay that kept up has sent a few at a time.
STALE_BATCH = 250
# What the worker logs before its first fetch.
LOG_TIME = "%Y-%m-%d %H:%M:%S,%f"
PLACED = "consuming from the checkpoints"
# Of so many tweets one is looked for; looking costs more than writing.
STEADY_SAMPLE = 15
LOOK_SECONDS = 0.001
RAW = "the same commands, replayed from a file by one socket"


def fanout(bench: Bench) -> list[Figure]:
    """Return how fast a backlog that has just been written is drained."""
    return _drains(bench, "fanout", "", span=0, workers=1, reach=1_500_000)


def fanout_stale(bench: Bench) -> list[Figure]:
    """Return how fast a backlog of ten minutes is drained, by one worker and by two."""
    one = _drains(
        bench, "fanout-stale", "one worker", span=STALE_SECONDS, workers=1, reach=1_000_000
    )
    return one + _drains(bench, "fanout-stale", "two workers", span=STALE_SECONDS, workers=2)


def _drains(  # noqa: PLR0913 - each is a plain fact about the case
    bench: Bench, row: str, case: str, *, span: float, workers: int, reach: int | None = None
) -> list[Figure]:
    tweets = bench.size(50_000, quick=5000, smoke=300)
    rates, limits, worker_cpu, valkey_cpu = [], [], [], []
    chance = random.Random(6)  # noqa: S311 - a choice of authors, no secret
    authors = list(bench.graph.followers)
    weights = [len(bench.graph.followers[author]) for author in authors]
    texts = [text for _, text in bench.graph.posts]
    worker = bench.system.processes["worker"]
    # Nothing can be built before the worker has created its fences.
    bench.warm()
    worker.stop()
    for number in range(1, bench.repetitions + 1):
        # Those of the last repetition have been pushed more ids than they keep.
        bench.warm()
        bench.step(f"writing a backlog of {tweets:,} tweets, {number}")
        chosen = chance.choices(authors, weights, k=tweets)
        deliveries = sum(len(bench.graph.followers[author]) for author in chosen)
        _write_backlog(bench, [(author, chance.choice(texts)) for author in chosen], span)
        recorder = Recorder(bench)
        bench.step(f"draining it, {number}")
        seconds, worker_used, valkey_used = _drain(bench, workers)
        rates.append(deliveries / seconds)
        worker_cpu.append(worker_used / deliveries * 1e6)
        valkey_cpu.append(valkey_used / deliveries * 1e6)
        bench.step(f"the raw limit, {number}")
        with recorder.twin() as twin:
            limits.append(deliveries / send(twin, recorder.commands()))
    size = worker.log_path.stat().st_size
    worker.start()
    # Stopped while it joins, it would be a member of its group for seconds yet.
    _placed(worker, size)
    _check(bench)
    figure = Figure(row, case, "deliveries", "1/s", tuple(rates), RAW, tuple(limits))
    if reach is not None:
        figure = figure.with_goal(
            f"at least {reach:,} and 70 % of raw" if row == "fanout" else f"at least {reach:,}",
            reached=figure.median >= reach and (row != "fanout" or (figure.ratio or 0) >= 0.7),
        )
    if workers == 2:
        return [figure]
    return [
        figure,
        Figure(row, case, "worker CPU per delivery", "µs", tuple(worker_cpu)),
        Figure(row, case, "Valkey CPU per delivery", "µs", tuple(valkey_cpu)),
    ]


def _write_backlog(bench: Bench, tweets: Sequence[tuple[int, str]], span: float) -> None:
    dsn = bench.settings.primary_dsn()
    size = STALE_BATCH if span else len(tweets)
    for start in range(0, len(tweets), size):
        backlog.write(dsn, tweets[start : start + size], ago=span * (1 - start / len(tweets)))
        backlog.wait_sent(dsn)


def _drain(bench: Bench, workers: int) -> tuple[float, float, float]:
    """Start workers and wait until the backlog is in Redis.

    Return the seconds from before the first fetch to the last progress key, and the CPU seconds of
    the first worker and of Valkey.
    """
    worker, valkey = bench.system.processes["worker"], bench.system.stack.valkey
    size = worker.log_path.stat().st_size
    with (
        Feed(bench.settings) as feed,
        Redis.from_url(bench.settings.redis_address()) as redis,
        ThreadPoolExecutor(1) as pool,
    ):
        ends = backlog.ends(feed)
        worker.launch()
        second = pool.submit(bench.system.another_worker) if workers == 2 else None
        try:
            started = _placed(worker, size)
            before = cpu_seconds([worker.pid]), cpu_seconds([valkey.pid])
            ended = backlog.wait_applied(redis, bench.keys, ends)
            after = cpu_seconds([worker.pid]), cpu_seconds([valkey.pid])
        finally:
            if second is not None:
                second.result().stop()
            worker.stop()
    return ended - started, after[0] - before[0], after[1] - before[1]


def _placed(worker: ServerProcess, size: int) -> float:
    """Return when the worker knew its place, by time.time(), from its log beyond this size."""
    deadline = time.monotonic() + backlog.DRAIN_SECONDS
    while time.monotonic() < deadline:
        with worker.log_path.open() as log:
            log.seek(size)
            for line in log:
                if PLACED in line:
                    return datetime.strptime(line[:23], LOG_TIME).timestamp()  # noqa: DTZ007 - the machine's own
        time.sleep(backlog.POLL_SECONDS)
    raise BenchError("the worker does not begin")


def _check(bench: Bench) -> None:
    """Raise BenchError if some timelines are not what the SQL oracle says."""
    bench.step("comparing timelines with the SQL oracle")
    readers = list(bench.graph.readers)
    chosen = random.Random(7).sample(readers, min(bench.size(30, quick=8, smoke=4), len(readers)))  # noqa: S311
    outcome = compare_timelines(bench.settings, chosen, "drained", Console(quiet=True))
    if outcome.differing:
        raise BenchError(f"timelines differ from the SQL oracle: {outcome.examples}")


def fanout_steady(bench: Bench) -> list[Figure]:
    """Return how soon a tweet is seen that was acknowledged, at a steady rate, open loop."""
    seconds = bench.size(20.0, quick=3.0, smoke=0.5)
    rate = bench.size(300, quick=300, smoke=60)
    bench.warm()
    followed = list(bench.graph.followers)
    weights = [len(bench.graph.followers[author]) for author in followed]
    chance = random.Random(8)  # noqa: S311 - a choice of authors, no secret
    p50, p99 = [], []
    for number in range(1, bench.repetitions + 1):
        bench.step(f"{rate} tweets a second, {number}")
        authors = chance.choices(followed, weights, k=int(seconds * rate))
        readers = [chance.choice(bench.graph.followers[author]) for author in authors]
        took = asyncio.run(_steady(bench, rate, authors, readers))
        cuts = quantiles([1000 * each for each in took], n=100, method="inclusive")
        p50.append(cuts[49])
        p99.append(cuts[98])
    bench.drained(backlog.DRAIN_SECONDS)
    note = f"of every {STEADY_SAMPLE}th tweet, looked for by one of its author's followers"
    return [
        Figure("fanout-steady", "", what, "ms", tuple(values), note=note).with_goal(
            f"under {goal} ms", reached=median(values) < goal
        )
        for what, values, goal in (
            ("acknowledged to seen, p50", p50, 15),
            ("acknowledged to seen, p99", p99, 60),
        )
    ]


async def _steady(
    bench: Bench, rate: int, authors: Sequence[int], readers: Sequence[int]
) -> list[float]:
    """Return the seconds from acknowledgement to the sampled tweets' being seen."""
    settings = bench.settings
    async with (
        grpc.aio.insecure_channel(settings.write_service_target()) as to_write,
        grpc.aio.insecure_channel(settings.read_service_target()) as to_read,
    ):
        writing, reading = WriteServiceStub(to_write), ReadServiceStub(to_read)

        async def tweet(number: int) -> float | None:
            request = CreateTweetRequest(user_id=authors[number], content=f"steady {number}")
            created = (await writing.CreateTweet(request, timeout=CALL_SECONDS)).tweet.id
            acknowledged = time.perf_counter()
            if number % STEADY_SAMPLE:
                return None
            # As long as can be: of who follows many, a short page is full of later tweets soon.
            page = GetHomeTimelineRequest(user_id=readers[number], limit=100)
            while True:
                answer = await reading.GetHomeTimeline(page, timeout=CALL_SECONDS)
                seen = time.perf_counter()
                if any(tweet.id == created for tweet in answer.tweets):
                    return seen - acknowledged
                if seen - acknowledged > CALL_SECONDS:
                    raise BenchError(f"tweet {created} is not seen")
                await asyncio.sleep(LOOK_SECONDS)

        tasks = []
        started = time.perf_counter()
        for number in range(len(authors)):
            # When it is due, whatever became of those before.
            await asyncio.sleep(started + number / rate - time.perf_counter())
            tasks.append(asyncio.create_task(tweet(number)))
        return [took for took in await asyncio.gather(*tasks) if took is not None]
