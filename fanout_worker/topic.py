"""What Kafka knows about the topic: its id, its offsets, and the events at some of them."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # theirs

from core.feed.events import UnreadableEventError, parse
from core.feed.sharding import Partition
from core.settings import DEFAULT_SILENCE_SECONDS
from core.storage.kafka import GROUP, client_settings

KAFKA_SECONDS = 10.0


class KafkaTopicInspector:
    """The TopicInspector protocol on a Kafka cluster.

    The topic id and the offsets are requested with an admin client: on a consumer's connection each
    request would wait for the fetch that is under way. Only event_ids() needs a consumer.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        topic: str,
        timeout_seconds: float = DEFAULT_SILENCE_SECONDS,
    ) -> None:
        """Inspect this topic; timeout_seconds is how long a broker may take to answer."""
        self._topic = topic
        self._timeout_seconds = timeout_seconds
        self._bootstrap_servers = bootstrap_servers
        self._admin = self._connect()

    def topic_id(self) -> str:
        """See TopicInspector."""
        with self._client() as admin:
            described = admin.describe_topics(
                TopicCollection([self._topic]), request_timeout=KAFKA_SECONDS
            )
            return str(described[self._topic].result(2 * KAFKA_SECONDS).topic_id)

    def offset_ranges(self, partitions: Collection[Partition]) -> dict[Partition, tuple[int, int]]:
        """See TopicInspector."""
        with self._client() as admin:
            starts, ends = (
                admin.list_offsets(
                    {TopicPartition(self._topic, partition): which for partition in partitions},
                    request_timeout=KAFKA_SECONDS,
                )
                for which in (OffsetSpec.earliest(), OffsetSpec.latest())  # type: ignore[no-untyped-call]  # theirs
            )
            end_offsets = {
                located.partition: future.result(2 * KAFKA_SECONDS).offset
                for located, future in ends.items()
            }
            return {
                Partition(located.partition): (
                    future.result(2 * KAFKA_SECONDS).offset,
                    end_offsets[located.partition],
                )
                for located, future in starts.items()
            }

    def event_ids(self, offsets: Mapping[Partition, int]) -> dict[Partition, int]:
        """See TopicInspector."""
        found: dict[Partition, int] = {}
        # This consumer never joins its group: it assigns partitions to itself, and commits nothing.
        consumer = Consumer(
            client_settings(self._bootstrap_servers, self._timeout_seconds)
            | {"group.id": f"{GROUP}.look", "enable.auto.commit": False}
            | {"auto.offset.reset": "error", "enable.auto.offset.store": False}
        )
        try:
            consumer.assign(
                [TopicPartition(self._topic, partition, at) for partition, at in offsets.items()]
            )
            deadline = time.monotonic() + KAFKA_SECONDS
            missing = set(offsets)
            while missing:
                if time.monotonic() > deadline:
                    raise KafkaException("Kafka did not answer in time")
                message = consumer.poll(0.1)
                if message is None or (number := message.partition()) not in missing:
                    continue
                partition = Partition(number)
                missing.remove(partition)
                if (error := message.error()) is not None:
                    # Any other error says nothing about the record: it may be there, and another.
                    if error.code() != KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - librdkafka's own name
                        raise KafkaException(error)
                elif message.offset() == offsets[partition]:
                    found[partition] = _event_id(message.value() or b"")
        finally:
            consumer.close()
        return found

    @contextmanager
    def _client(self) -> Iterator[AdminClient]:
        """Yield the admin client, and replace it after a failure.

        After Kafka has come back without its data, an old client may wait for ever without an
        error.
        """
        try:
            yield self._admin
        except KafkaException:
            self._admin = self._connect()
            raise
        except TimeoutError as error:
            self._admin = self._connect()
            raise KafkaException("Kafka did not answer in time") from error

    def _connect(self) -> AdminClient:
        return AdminClient(client_settings(self._bootstrap_servers, self._timeout_seconds))


def _event_id(value: bytes) -> int:
    try:
        return parse(value).event_id
    except UnreadableEventError:
        return 0
