"""All benchmarks, in the order in which they run and appear in the results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench import (
    auth,
    celebrity,
    cold,
    create,
    degradation,
    fanout,
    growth,
    idle,
    read,
    relay,
    rest,
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
    tools: tuple[str, ...] = ()
    """The names of the load generators that it needs."""


_ALL = (
    Benchmark("read", "GetHomeTimeline, 20 tweets, warm, all readers", read.read, ("ghz",)),
    Benchmark(
        "read-throughput", "GetHomeTimeline, as fast as possible", read.read_throughput, ("ghz",)
    ),
    Benchmark(
        "read-batch", "BatchGetHomeTimelines, warm, all readers", read.read_batch, ("h2load",)
    ),
    Benchmark("read-auth", "GetHomeTimeline, warm, with access tokens", auth.read_auth, ("ghz",)),
    Benchmark("rest-read", "GET /timeline/{id}?limit=20, warm", rest.rest_read, ("ghz", "wrk")),
    Benchmark("cold", "The first read of a timeline that is not in Redis", cold.cold),
    Benchmark("create", "CreateTweet, all else running", create.create, ("ghz", "pgbench")),
    Benchmark("create-batch", "BatchCreateTweets, all else running", create.create_batch, ("ghz",)),
    Benchmark("relay", "The relay publishes a full outbox to Kafka", relay.relay),
    Benchmark("fanout", "The worker applies a backlog of tweets to Redis", fanout.fanout),
    Benchmark("fanout-stale", "The worker applies a backlog of ten minutes", fanout.fanout_stale),
    Benchmark(
        "fanout-steady", "300 tweets a second are written and looked for", fanout.fanout_steady
    ),
    Benchmark("celebrity", "A tweet by somebody with a million followers", celebrity.celebrity),
    Benchmark("idle", "Nothing happens", idle.idle),
    Benchmark(
        "burst", "Tweets are written at ten times the steady rate", degradation.burst, ("ghz",)
    ),
    Benchmark(
        "stampede", "All readers read at once after FLUSHALL", degradation.stampede, ("ghz",)
    ),
    # Last, because it leaves a million timelines behind.
    Benchmark("growth", "A warm read as the data grow", growth.growth, ("ghz",)),
)
BENCHMARKS = {benchmark.name: benchmark for benchmark in _ALL}
