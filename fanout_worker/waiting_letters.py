"""How many dead letters wait to be replayed."""

from __future__ import annotations

from confluent_kafka import Consumer, KafkaException, TopicPartition

from core.storage.kafka import REPLAY_GROUP, client_settings, dead_letter_topic

KAFKA_SECONDS = 5.0


class WaitingLetters:
    """Counts the dead letters that `fanfare dlq replay` has not sent again.

    Its connection is not closed when the process ends: another thread may just be waiting for
    Kafka on it, and librdkafka does not expect a client to be closed in use.
    """

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        """Connect when first asked; the dead-letter topic is named after this topic."""
        self._bootstrap_servers = bootstrap_servers
        self._place = TopicPartition(dead_letter_topic(topic), 0)
        # It never subscribes, so it does not become a member of the group.
        self._consumer: Consumer | None = None

    def count(self) -> int:
        """Return how many there are.

        Raises:
            KafkaException: Kafka does not answer; the next call connects again.
        """
        if self._consumer is None:
            self._consumer = Consumer(
                client_settings(self._bootstrap_servers)
                | {"group.id": REPLAY_GROUP, "enable.auto.commit": False, "log_level": 0}
            )
        try:
            (committed,) = self._consumer.committed([self._place], timeout=KAFKA_SECONDS)
            low, high = self._consumer.get_watermark_offsets(self._place, timeout=KAFKA_SECONDS)
        except KafkaException:
            self._consumer.close()
            self._consumer = None
            raise
        # Without a commit, the offset is negative.
        return max(0, int(high - max(low, committed.offset)))
