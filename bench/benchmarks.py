"""All the rows, in the order in which they are run and shown."""

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
class Row:
    """A piece of work that is measured."""

    name: str
    work: str
    """What is done, in words."""
    run: Callable[[Bench], list[Figure]]
    tools: tuple[str, ...] = ()
    """The load generators that it needs."""


_ALL = (
    Row("read", "GetHomeTimeline, 20 tweets, warm, all readers", read.read, ("ghz",)),
    Row("read-throughput", "GetHomeTimeline, as fast as it goes", read.read_throughput, ("ghz",)),
    Row("read-batch", "BatchGetHomeTimelines, warm, all readers", read.read_batch, ("h2load",)),
    Row("read-auth", "GetHomeTimeline, warm, by callers who say who", auth.read_auth, ("ghz",)),
    Row("rest-read", "GET /timeline/{id}?limit=20, warm", rest.rest_read, ("ghz", "wrk")),
    Row("cold", "The first read of a timeline that is not in Redis", cold.cold),
    Row("create", "CreateTweet, all else running", create.create, ("ghz", "pgbench")),
    Row("create-batch", "BatchCreateTweets, all else running", create.create_batch, ("ghz",)),
    Row("relay", "A full outbox is carried to Kafka", relay.relay),
    Row("fanout", "A backlog of tweets is drained from Kafka to Redis", fanout.fanout),
    Row("fanout-stale", "A backlog of ten minutes is drained", fanout.fanout_stale),
    Row("fanout-steady", "300 tweets a second are written and looked for", fanout.fanout_steady),
    Row("celebrity", "A tweet of somebody with a million followers", celebrity.celebrity),
    Row("idle", "Nothing happens for a minute", idle.idle),
    Row("burst", "Ten times the steady load is written", degradation.burst, ("ghz",)),
    Row("stampede", "All read at once after FLUSHALL", degradation.stampede, ("ghz",)),
    # Last: it leaves a million timelines behind.
    Row("growth", "A warm read when there is more of everything", growth.growth, ("ghz",)),
)
ROWS = {row.name: row for row in _ALL}
