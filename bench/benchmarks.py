"""All benchmarks, in the order in which they run and appear in the results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench import (
    auth,
    celebrity,
    cold,
    counting,
    create,
    degradation,
    fanout,
    growth,
    idle,
    memory,
    read,
    relay,
    rest,
    tweet_cost,
    watch,
)
from bench.figures import Figure
from bench.harness import Bench


@dataclass(frozen=True)
class Benchmark:
    """Something that is measured."""

    name: str
    work: str
    """What is done, in words."""
    run: Callable[[Bench], list[Figure]]
    """Raises BenchError."""
    planned: tuple[int, int]
    """How many seconds it takes, in full and with --quick, on two otherwise idle cores."""
    tools: tuple[str, ...] = ()
    """The names of the load generators that it needs."""


# How long a run of all benchmarks may take, with starting the system and without stopping it.
FULL_SECONDS = 30 * 60 - 20
QUICK_SECONDS = 3 * 60 - 10
STARTING_SECONDS = 14


_ALL = (
    Benchmark(
        "read", "GetHomeTimeline, 20 tweets, warm, all readers", read.read, (110, 11), ("ghz",)
    ),
    Benchmark(
        "read-throughput",
        "GetHomeTimeline, as fast as possible",
        read.read_throughput,
        (60, 7),
        ("ghz",),
    ),
    Benchmark(
        "read-batch",
        "BatchGetHomeTimelines, warm, all readers",
        read.read_batch,
        (45, 5),
        ("h2load",),
    ),
    Benchmark(
        "read-auth", "GetHomeTimeline, warm, with access tokens", auth.read_auth, (65, 8), ("ghz",)
    ),
    Benchmark(
        "read-metrics",
        "GetHomeTimeline, warm, with metrics",
        counting.read_metrics,
        (45, 4),
        ("ghz",),
    ),
    Benchmark(
        "rest-read",
        "GET /timeline/{id}?limit=20, warm",
        rest.rest_read,
        (90, 8),
        ("ghz", "wrk"),
    ),
    Benchmark("cold", "The first read of a timeline that is not in Redis", cold.cold, (60, 4)),
    Benchmark(
        "create", "CreateTweet, all else running", create.create, (90, 8), ("ghz", "pgbench")
    ),
    Benchmark(
        "create-batch",
        "BatchCreateTweets, all else running",
        create.create_batch,
        (90, 8),
        ("ghz",),
    ),
    Benchmark(
        "rest-create", "POST /tweets, all else running", rest.rest_create, (90, 9), ("ghz", "wrk")
    ),
    Benchmark("relay", "The relay publishes a full outbox to Kafka", relay.relay, (45, 6)),
    Benchmark("fanout", "The worker applies a backlog of tweets to Redis", fanout.fanout, (95, 9)),
    Benchmark(
        "fanout-stale",
        "The worker applies a backlog of ten minutes",
        fanout.fanout_stale,
        (115, 7),
    ),
    Benchmark(
        "fanout-steady",
        "300 tweets a second are written and looked for",
        fanout.fanout_steady,
        (85, 8),
    ),
    Benchmark(
        "tweet-cost",
        "300 tweets a second: the CPU of every process",
        tweet_cost.tweet_cost,
        (90, 8),
        ("ghz",),
    ),
    Benchmark(
        "memory", "What processes, timelines and tweets take", memory.memory, (15, 4), ("ghz",)
    ),
    Benchmark(
        "celebrity", "A tweet by somebody with a million followers", celebrity.celebrity, (115, 5)
    ),
    Benchmark("idle", "Nothing happens", idle.idle, (52, 6)),
    Benchmark("watch", "Home timelines are watched", watch.watch, (60, 9)),
    Benchmark(
        "burst",
        "Tweets are written at ten times the steady rate",
        degradation.burst,
        (120, 8),
        ("ghz",),
    ),
    Benchmark(
        "stampede",
        "All readers read at once after FLUSHALL",
        degradation.stampede,
        (120, 7),
        ("ghz",),
    ),
    # Last, because it leaves a million timelines behind.
    Benchmark("growth", "A warm read as the data grow", growth.growth, (105, 7), ("ghz",)),
)
BENCHMARKS = {benchmark.name: benchmark for benchmark in _ALL}
