"""The dead-letter queue: copies of unreadable records, with the reason and where each was."""

from __future__ import annotations

import logging

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as DeliveredMessage

from core.runtime.metrics import METRICS, Metric
from core.storage.kafka import PLACE_HEADER, REASON_HEADER, dead_letter_topic, producer_settings
from fanout_worker.protocols import Message

LOG = logging.getLogger(__name__)
FLUSH_SECONDS = 10.0


class KafkaDeadLetterQueue:
    """The DeadLetterQueue protocol on a topic of its own."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        """Connect when first used; the dead-letter topic is named after this topic."""
        self._topic = dead_letter_topic(topic)
        self._bootstrap_servers = bootstrap_servers
        self._producer: Producer | None = None
        self._failures: list[KafkaError] = []

    def close(self) -> None:
        """See DeadLetterQueue.

        Once the broker has lost the state of an idempotent producer, that producer fails for ever.
        """
        if self._producer is not None:
            self._producer.purge()
            self._producer = None
        self._failures.clear()

    def add(self, message: Message, reason: str) -> None:
        """See DeadLetterQueue."""
        place = f"{message.topic()}/{message.partition()}/{message.offset()}"
        LOG.error(
            "unreadable record; copying it to the dead letters: record=%s topic=%s reason=%s",
            *(place, self._topic, reason),
        )
        headers = [*(message.headers() or []), (REASON_HEADER, reason), (PLACE_HEADER, place)]
        if self._producer is None:
            self._producer = Producer(producer_settings(self._bootstrap_servers))
        self._producer.produce(
            self._topic, message.value(), message.key(), headers=headers, on_delivery=self._report
        )

    def flush(self) -> None:
        """See DeadLetterQueue."""
        undelivered = self._producer.flush(FLUSH_SECONDS) if self._producer is not None else 0
        if undelivered or self._failures:
            failures, self._failures = self._failures, []
            raise KafkaException(failures[0] if failures else KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001 - librdkafka's own name

    def _report(self, error: KafkaError | None, _message: DeliveredMessage) -> None:
        if error is not None:
            self._failures.append(error)
        else:
            METRICS.add(Metric.DEAD_LETTER)
