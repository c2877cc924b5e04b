"""The worker's membership in the consumer group."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from core.feed.sharding import Partition
from core.storage.kafka import GROUP, client_settings
from fanout_worker.protocols import Message, OnPartitions

MAX_MESSAGES = 5000
# While messages keep coming, a small fetch waits this long for more of them. The records of one
# batch of the relay arrive one partition after another, and to apply them costs much the same
# whether they are one or ten (docs/decisions/0037-a-relay-that-gathers.md).
GATHER_SECONDS = 0.003
# Messages keep coming if the last ones were returned less than this long ago.
BUSY_SECONDS = 0.02
# Nothing is gained by waiting for more messages than these.
LARGE_FETCH_MESSAGES = 500
# Short, so that another worker takes over soon. A member that was only slow is harmless: Redis
# refuses its writes once another worker has moved the checkpoints.
SESSION_MS = 6000
HEARTBEAT_MS = 1500


class KafkaGroupConsumer:
    """The GroupConsumer protocol on a Kafka cluster."""

    def __init__(
        self, bootstrap_servers: str, topic: str, timeout_seconds: float, group: str = GROUP
    ) -> None:
        """Prepare to consume the topic.

        Args:
            bootstrap_servers: The value of FANFARE_KAFKA_BOOTSTRAP_SERVERS.
            topic: The topic.
            timeout_seconds: How long a broker may take to answer.
            group: The consumer group to join.
        """
        self._topic = topic
        self._is_disconnected = False
        # When messages were last returned, in time.monotonic() seconds.
        self._fetched_at = -math.inf
        self._consumer = Consumer(
            client_settings(bootstrap_servers, timeout_seconds)
            | {
                "group.id": group,
                "partition.assignment.strategy": "range",
                "enable.auto.offset.store": False,
                "session.timeout.ms": SESSION_MS,
                "heartbeat.interval.ms": HEARTBEAT_MS,
                # Report an offset that Kafka does not have. Continuing at another offset would skip
                # records without a trace.
                "auto.offset.reset": "error",
                "error_cb": self._note_error,
            }
        )

    def subscribe(self, on_assign: OnPartitions, on_revoke: OnPartitions) -> None:
        """See GroupConsumer."""
        self._consumer.subscribe(
            [self._topic],
            on_assign=lambda _, partitions: on_assign(_numbers(partitions)),
            on_revoke=lambda _, partitions: on_revoke(_numbers(partitions)),
        )

    def fetch(self, timeout_seconds: float) -> Sequence[Message]:
        """See GroupConsumer."""
        first = self._consumer.poll(timeout_seconds)
        if first is None:
            return []
        messages = [first, *self._consumer.consume(MAX_MESSAGES - 1, timeout=0)]
        is_busy = time.monotonic() - self._fetched_at < BUSY_SECONDS
        if is_busy and len(messages) < LARGE_FETCH_MESSAGES:
            messages += self._consumer.consume(LARGE_FETCH_MESSAGES, timeout=GATHER_SECONDS)
        self._fetched_at = time.monotonic()
        return messages

    def discard(self, timeout_seconds: float) -> None:
        """See GroupConsumer."""
        self._consumer.poll(timeout_seconds)

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        """See GroupConsumer."""
        self._consumer.assign(self._located(offsets))

    def store_offsets(self, offsets: Mapping[Partition, int]) -> None:
        """See GroupConsumer."""
        self._consumer.store_offsets(offsets=self._located(offsets))

    def known_ends(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """See GroupConsumer."""
        ends = {}
        for partition in partitions:
            place = TopicPartition(self._topic, partition)
            with suppress(KafkaException):  # the partition is not known any more
                _, end = self._consumer.get_watermark_offsets(place, cached=True)
                if end >= 0:  # else the end is not known yet
                    ends[partition] = end
        return ends

    def take_disconnected(self) -> bool:
        """See GroupConsumer."""
        is_disconnected, self._is_disconnected = self._is_disconnected, False
        return is_disconnected

    def close(self) -> None:
        """See GroupConsumer."""
        self._consumer.close()

    def _located(self, offsets: Mapping[Partition, int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, number, offset) for number, offset in offsets.items()]

    def _note_error(self, error: KafkaError) -> None:
        # librdkafka calls this from within poll().
        self._is_disconnected |= error.code() in {
            KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001 - librdkafka's own names
            KafkaError._TRANSPORT,  # noqa: SLF001
        }


def _numbers(partitions: Sequence[TopicPartition]) -> set[Partition]:
    return {Partition(partition.partition) for partition in partitions}
