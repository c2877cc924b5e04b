"""What Kafka has of the topic now: which topic it is, and which offsets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from confluent_kafka import KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # theirs

from core.kafka import client_settings
from core.settings import DEFAULT_SILENCE_SECONDS

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
