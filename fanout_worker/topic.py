"""What Kafka has of the topic now: which topic it is, and which offsets."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from confluent_kafka import Consumer, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # theirs

from core.feed.events import UnreadableEventError, parse
from core.settings import DEFAULT_SILENCE_SECONDS
from core.storage.kafka import GROUP, client_settings

KAFKA_SECONDS = 10.0


class Topic:
    """Asks by the admin client: on a consumer's connection each question waits for a fetch."""

    def __init__(
        self,
        bootstrap_servers: str,
        name: str,
        silence_seconds: float = DEFAULT_SILENCE_SECONDS,
    ) -> None:
        """Ask about this topic; silence_seconds: how long a connection may owe an answer."""
        self._name = name
        self._silence_seconds = silence_seconds
        self._bootstrap_servers = bootstrap_servers
        self._admin = self._connect()

    def id(self) -> str:
        """Return the topic's id; one created anew under the same name has another.

        Raises KafkaException, as every method here, when Kafka does not answer.
        """
        with self._asking() as admin:
            described = admin.describe_topics(
                TopicCollection([self._name]), request_timeout=KAFKA_SECONDS
            )
            return str(described[self._name].result(2 * KAFKA_SECONDS).topic_id)

    def ranges(self, partitions: Sequence[int]) -> dict[int, tuple[int, int]]:
        """Return the first offset that each partition has, and the one after its last."""
        with self._asking() as admin:
            low, high = (
                admin.list_offsets(
                    {TopicPartition(self._name, partition): which for partition in partitions},
                    request_timeout=KAFKA_SECONDS,
                )
                for which in (OffsetSpec.earliest(), OffsetSpec.latest())  # type: ignore[no-untyped-call]  # theirs
            )
            ends = {
                place.partition: future.result(2 * KAFKA_SECONDS).offset
                for place, future in high.items()
            }
            return {
                place.partition: (future.result(2 * KAFKA_SECONDS).offset, ends[place.partition])
                for place, future in low.items()
            }

    def event_ids(self, offsets: Mapping[int, int]) -> dict[int, int]:
        """Return, by partition, the event id of the record that stands at the offset.

        0 for one that cannot be read. A partition is left out where Kafka has deleted the record
        meanwhile.
        """
        found: dict[int, int] = {}
        # A member of no group: it is told where to read, and commits nothing.
        consumer = Consumer(
            client_settings(self._bootstrap_servers, self._silence_seconds)
            | {"group.id": f"{GROUP}.look", "enable.auto.commit": False}
            | {"auto.offset.reset": "error", "enable.auto.offset.store": False}
        )
        try:
            consumer.assign(
                [TopicPartition(self._name, partition, at) for partition, at in offsets.items()]
            )
            until = time.monotonic() + KAFKA_SECONDS
            asked = set(offsets)
            while asked - found.keys():
                if time.monotonic() > until:
                    raise KafkaException("Kafka did not answer in time")
                message = consumer.poll(0.1)
                partition = message.partition() if message is not None else None
                if message is None or partition not in asked - found.keys():
                    continue
                if message.error() is None and message.offset() == offsets[partition]:
                    found[partition] = _event_id(message.value() or b"")
                else:
                    asked.remove(partition)
        finally:
            consumer.close()
        return found

    @contextmanager
    def _asking(self) -> Iterator[AdminClient]:
        """Yield the client, and another one after a failure.

        Through a Kafka that came back without its data a client may never get an answer again,
        nor the error that it gets none.
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
        return AdminClient(client_settings(self._bootstrap_servers, self._silence_seconds))


def _event_id(value: bytes) -> int:
    try:
        return parse(value).event_id
    except UnreadableEventError:
        return 0
