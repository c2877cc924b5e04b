"""Backlogs: tweets written directly into Postgres, to measure only the relay and the worker."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import psycopg
from redis import Redis

from bench.harness import BenchError
from core.feed.checkpoints import Checkpoint
from core.feed.keys import Keys
from core.feed.sharding import SHARDS, Shard
from core.rpc.messages import tweet
from ops.feed_status import Feed
from write_service.events import tweet_created
from write_service.outbox import copy_events

DRAIN_SECONDS = 120.0
POLL_SECONDS = 0.002
# Tweet ids as next_tweet_id() makes them, for given times.
_IDS = """
SELECT ((extract(epoch FROM created_at) * 1000)::bigint - 1735689600000) << 22
    | (nextval('tweet_id_sequence') & 8191)
FROM unnest(%s::timestamptz[]) WITH ORDINALITY AS times (created_at, n) ORDER BY n
"""


def write_tweets(
    dsn: str, tweets: Sequence[tuple[int, str]], *, ago: float = 0.0, pulled: bool = False
) -> list[int]:
    """Write tweets with their events in one transaction, wake the relay, and return the ids.

    Args:
        dsn: the primary.
        tweets: (author id, content).
        ago: how many seconds before now the tweets are dated.
        pulled: whether the events say that the authors are pull authors.
    """
    now = datetime.now(UTC) - timedelta(seconds=ago)
    # A thousand tweets per millisecond, for which there are 8,192 ids.
    times = [now + timedelta(milliseconds=number // 1000) for number in range(len(tweets))]
    # Two backdated backlogs may have tweets in the same millisecond. Because the sequence wraps
    # around, two such tweets may get the same id; then new ids are drawn.
    while True:
        with suppress(psycopg.errors.UniqueViolation):
            return _write_tweets(dsn, tweets, times, pulled=pulled)


def _write_tweets(
    dsn: str, tweets: Sequence[tuple[int, str]], times: Sequence[datetime], *, pulled: bool
) -> list[int]:
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        ids = [id_ for (id_,) in cursor.execute(_IDS, (list(times),)).fetchall()]
        rows = [
            (id_, author, text, created)
            for id_, (author, text), created in zip(ids, tweets, times, strict=True)
        ]
        with cursor.copy(
            "COPY tweets (id, user_id, content, created_at, updated_at) FROM STDIN"
        ) as copy:
            for row in rows:
                copy.write_row((*row, row[-1]))
        copy_events(
            connection,
            (
                tweet_created(tweet(*row, row[-1]), pulled=pulled, became_pulled=False)
                for row in rows
            ),
        )
    return ids


def wait_sent(dsn: str) -> None:
    """Wait until all events are in Kafka.

    Raises:
        BenchError: some are not there within DRAIN_SECONDS.
    """
    deadline = time.monotonic() + DRAIN_SECONDS
    with psycopg.connect(dsn, autocommit=True) as connection:
        while connection.execute("SELECT FROM outbox WHERE sent_at IS NULL LIMIT 1").fetchone():
            if time.monotonic() > deadline:
                raise BenchError("the relay did not send the events in time")
            time.sleep(POLL_SECONDS)


def end_offsets(feed: Feed) -> list[int]:
    """Return the end offset of each partition."""
    return [partition.end for partition in feed.partitions()]


def wait_applied(redis: Redis, keys: Keys, offsets: Sequence[int]) -> float:
    """Wait until the checkpoints of all shards have reached these offsets.

    Args:
        redis: where the checkpoints are.
        keys: the names of the keys.
        offsets: the offset to reach in each partition.

    Returns:
        When they were reached, by time.time().

    Raises:
        BenchError: some have not within DRAIN_SECONDS.
    """
    deadline = time.monotonic() + DRAIN_SECONDS
    while True:
        pipeline = redis.pipeline(transaction=False)
        for shard in range(SHARDS):
            pipeline.mget(keys.checkpoints(Shard(shard)))
        found = pipeline.execute()
        with suppress(AttributeError):  # a checkpoint does not exist yet
            if all(
                Checkpoint.decode(value).offset >= end
                for values in found
                for value, end in zip(values, offsets, strict=True)
            ):
                return time.time()
        if time.monotonic() > deadline:
            raise BenchError("the worker did not apply the events in time")
        time.sleep(POLL_SECONDS)
