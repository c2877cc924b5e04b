"""How far events have come: in the outbox, in each partition of Kafka, and applied to Redis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from confluent_kafka import Consumer, TopicPartition
from psycopg.rows import class_row

from core.feed.checkpoints import Checkpoint
from core.feed.history import OtherHistoryError
from core.feed.keys import Keys
from core.feed.sharding import PARTITIONS, SHARDS, Shard
from core.settings import Settings
from core.storage.kafka import GROUP, client_settings
from fanout_worker.topic import KafkaTopicInspector
from ops.database import SQL, connect
from ops.redis import open_redis

KAFKA_SECONDS = 10.0


@dataclass(frozen=True)
class OutboxBacklog:
    """The events in the outbox that the relay has not sent yet."""

    events: int
    oldest_seconds: float
    """Age of the oldest event; 0 if there is none."""


@dataclass(frozen=True)
class PartitionStatus:
    """How far the workers have come in one partition."""

    number: int
    end: int
    """The offset that the next record will get."""
    committed: int | None
    """The consumer group's committed offset; None if it never committed one."""
    applied: int | None
    """The first offset that some shard of Redis still lacks; None if it is not known.

    It is not known if a shard has no checkpoint, or has one with another topic id or an offset
    beyond the end. Such a checkpoint means that Kafka has lost records, as the worker will notice.
    """

    @property
    def lag(self) -> int | None:
        """How many records are not applied yet; None if it is not known."""
        return None if self.applied is None else self.end - self.applied


class Feed:
    """The way of events from the outbox through Kafka to Redis, observed without consuming any."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = settings.topic
        self._current = KafkaTopicInspector(settings.kafka_address(), settings.topic)
        self._dsn = settings.session_dsn()
        self._redis = open_redis(settings)
        # This consumer never subscribes, so it does not become a member of the group.
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

    def outbox_backlog(self) -> OutboxBacklog:
        """Return what waits in the outbox.

        Raises:
            psycopg.Error: Postgres does not answer.
        """
        with connect(self._dsn) as connection:
            cursor = connection.cursor(row_factory=class_row(OutboxBacklog))
            backlog = cursor.execute(SQL["outbox_backlog"]).fetchone()
        assert backlog is not None  # noqa: S101 - an aggregate has one row
        return backlog

    def partitions(self) -> list[PartitionStatus]:
        """Return the status of each partition, in order.

        Raises:
            KafkaException, redis.RedisError, psycopg.Error: a server does not answer.
        """
        partitions = [TopicPartition(self._topic, number) for number in range(PARTITIONS)]
        applied = self._applied_offsets(self._current.topic_id())
        statuses = []
        for partition in self._consumer.committed(partitions, timeout=KAFKA_SECONDS):
            number = partition.partition
            _, end = self._consumer.get_watermark_offsets(partition, timeout=KAFKA_SECONDS)
            committed = partition.offset if partition.offset >= 0 else None
            offset = applied[number]
            is_beyond_end = offset is not None and offset > end
            statuses.append(
                PartitionStatus(number, end, committed, None if is_beyond_end else offset)
            )
        return statuses

    def remaining(self) -> int | None:
        """Return how many events have not taken effect yet; None while that is not known.

        Raises:
            KafkaException, redis.RedisError, psycopg.Error: a server does not answer.
        """
        # The outbox is read first: an event that is sent meanwhile is counted twice, never missed.
        waiting = self.outbox_backlog().events
        lags = [partition.lag for partition in self.partitions()]
        known = [lag for lag in lags if lag is not None]
        return waiting + sum(known) if len(known) == len(lags) else None

    def _applied_offsets(self, topic_id: str) -> list[int | None]:
        """Return each partition's lowest offset in the shards' checkpoints; None if not known."""
        lowest: list[int | None] = [None] * PARTITIONS
        try:
            keys = current_keys(self._settings)
        except OtherHistoryError:
            return lowest
        unknown = set()
        for shard in range(SHARDS):
            for partition, value in enumerate(self._redis.mget(keys.checkpoints(Shard(shard)))):
                checkpoint = Checkpoint.decode(value) if isinstance(value, bytes) else None
                if checkpoint is None or checkpoint.topic_id != topic_id:
                    unknown.add(partition)
                    continue
                before = lowest[partition]
                offset = checkpoint.offset
                lowest[partition] = offset if before is None else min(before, offset)
        return [None if n in unknown else offset for n, offset in enumerate(lowest)]


def current_keys(settings: Settings) -> Keys:
    """Return the Redis keys of the database's current history.

    Raises:
        psycopg.Error: Postgres does not answer.
        OtherHistoryError: no history has begun since Postgres was started.
    """
    with connect(settings.session_dsn()) as connection:
        row = connection.execute(SQL["valid_history"]).fetchone()
    if row is None or row[0] is None:
        raise OtherHistoryError
    return Keys.of(settings.redis_prefix, row[0])
