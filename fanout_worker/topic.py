"""What Kafka has of the topic now: which topic it is, and which offsets."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # theirs

from core.kafka import client_settings

KAFKA_SECONDS = 10.0


class Topic:
    """Asks by the admin client: on a consumer's connection each question waits for a fetch."""

    def __init__(self, bootstrap_servers: str, name: str) -> None:
        self._name = name
        self._admin = AdminClient(client_settings(bootstrap_servers))

    def id(self) -> str:
        """Return the topic's id; one created anew under the same name has another.

        Raises KafkaException, as every method here, when Kafka does not answer.
        """
        described = self._admin.describe_topics(
            TopicCollection([self._name]), request_timeout=KAFKA_SECONDS
        )
        return str(described[self._name].result().topic_id)

    def ranges(self, partitions: Sequence[int]) -> dict[int, tuple[int, int]]:
        """Return the first offset that each partition has, and the one after its last."""
        low, high = (
            self._admin.list_offsets(
                {TopicPartition(self._name, partition): which for partition in partitions},
                request_timeout=KAFKA_SECONDS,
            )
            for which in (OffsetSpec.earliest(), OffsetSpec.latest())  # type: ignore[no-untyped-call]  # theirs
        )
        ends = {place.partition: future.result().offset for place, future in high.items()}
        return {
            place.partition: (future.result().offset, ends[place.partition])
            for place, future in low.items()
        }
