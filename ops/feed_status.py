"""Where the feed stands: the outbox, each partition in Kafka, and what Redis has applied."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import LiteralString, Self

from confluent_kafka import Consumer, TopicPartition
from redis import Redis

from core.feed.checkpoints import Checkpoint
from core.feed.history import OtherHistoryError
from core.feed.keys import Keys
from core.feed.sharding import PARTITIONS, SHARDS
from core.settings import DEFAULT_SILENCE_SECONDS, Settings
from core.storage import postgres
from core.storage.kafka import GROUP, client_settings
from core.storage.postgres import BlockingConnection
from fanout_worker.topic import KafkaTopicInspector

KAFKA_SECONDS = 10.0
COMMAND_SECONDS = 3600.0

_NO_TIMEOUTS: LiteralString = """
SELECT set_config('statement_timeout', '0', false),
    set_config('idle_in_transaction_session_timeout', '0', false)
"""


@dataclass(frozen=True)
class Partition:
    """How far a partition is."""

    number: int
    end: int
    """The offset that the next record will have."""
    committed: int | None
    """The consumer group's offset, None if it never committed one."""
    applied: int | None
    """The first offset not applied to every shard of Redis, None while a shard has no fence.

    A fence that names another topic, or an offset that this one does not have yet, is none: the
    worker will find that Kafka has lost what it knew.
    """

    @property
    def lag(self) -> int | None:
        """How many records wait to be applied, None if that is not known."""
        return None if self.applied is None else self.end - self.applied


class Feed:
    """Looks at the feed of a running system."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = settings.topic
        self._current = KafkaTopicInspector(settings.kafka_address(), settings.topic)
        self._dsn = settings.primary_dsn()
        self._redis = Redis.from_url(settings.redis_address(), socket_timeout=5)
        # A member of no group: it asks, and consumes nothing.
        self._consumer = Consumer(
            client_settings(settings.kafka_address()) | {"group.id": GROUP, "log_level": 0}
        )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._consumer.close()
        self._redis.close()

    def waiting(self) -> tuple[int, float]:
        """Return how many events wait in the outbox, and how old the oldest is, in seconds.

        Raises psycopg.Error when Postgres does not answer.
        """
        with connect(self._dsn) as connection:
            row = connection.execute(
                "SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0)"
                " FROM outbox WHERE sent_at IS NULL"
            ).fetchone()
        return (int(row[0]), float(row[1])) if row else (0, 0.0)

    def partitions(self) -> list[Partition]:
        """Return how far each partition is.

        Raises KafkaException, redis.RedisError and psycopg.Error when a server does not answer.
        """
        places = [TopicPartition(self._topic, number) for number in range(PARTITIONS)]
        lowest = self._applied(self._current.topic_id())
        found = []
        for place in self._consumer.committed(places, timeout=KAFKA_SECONDS):
            _, end = self._consumer.get_watermark_offsets(place, timeout=KAFKA_SECONDS)
            committed = place.offset if place.offset >= 0 else None
            applied = lowest[place.partition]
            if applied is not None and applied > end:
                applied = None
            found.append(Partition(place.partition, end, committed, applied))
        return found

    def remaining(self) -> int | None:
        """Return how many events are still to take effect; None while that is not known."""
        waiting, _ = self.waiting()
        lags = [partition.lag for partition in self.partitions()]
        known = [lag for lag in lags if lag is not None]
        return waiting + sum(known) if len(known) == len(lags) else None

    def _applied(self, topic_id: str) -> list[int | None]:
        lowest: list[int | None] = [None] * PARTITIONS
        try:
            keys = current_keys(self._settings)
        except OtherHistoryError:
            return lowest
        absent = set()
        for shard in range(SHARDS):
            for partition, value in enumerate(self._redis.mget(keys.checkpoints(shard))):
                fence = Checkpoint.decode(value) if isinstance(value, bytes) else None
                if fence is None or fence.topic_id != topic_id:
                    absent.add(partition)
                    continue
                before = lowest[partition]
                lowest[partition] = fence.offset if before is None else min(before, fence.offset)
        return [None if n in absent else offset for n, offset in enumerate(lowest)]


def current_keys(settings: Settings) -> Keys:
    """Return the keys in Redis of the history that the database is at.

    Raises psycopg.Error when Postgres does not answer, and OtherHistoryError when no history has
    begun since it started.
    """
    with connect(settings.primary_dsn()) as connection:
        row = connection.execute("SELECT valid_history()").fetchone()
    if row is None or row[0] is None:
        raise OtherHistoryError
    return Keys.of(settings.redis_prefix, row[0])


@contextmanager
def connect(dsn: str) -> Iterator[BlockingConnection]:
    """Yield a connection to Postgres in autocommit, for a command of a person's.

    Its statements may take long, and are given up only after COMMAND_SECONDS. A server that is
    gone is noticed by TCP within seconds.
    """
    with postgres.connect(dsn, "cli", DEFAULT_SILENCE_SECONDS) as connection:
        connection.execute(_NO_TIMEOUTS)
        connection.silence_seconds = COMMAND_SECONDS
        yield connection
