"""Records that the worker cannot read, kept with the reason and their place."""

from __future__ import annotations

import logging

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from core.runtime.metrics import METRICS, Metric
from core.storage.kafka import PLACE_HEADER, REASON_HEADER, dead_letter_topic, producer_settings

LOG = logging.getLogger(__name__)
FLUSH_SECONDS = 10.0


class DeadLetters:
    """Writes to the dead-letter topic."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self._topic = dead_letter_topic(topic)
        self._bootstrap_servers = bootstrap_servers
        self._producer: Producer | None = None
        self._failures: list[KafkaError] = []

    def close(self) -> None:
        """Drop the producer; the next use makes a new one.

        After a failure that is needed: an idempotent producer stays broken once the broker has
        lost its state.
        """
        if self._producer is not None:
            self._producer.purge()
            self._producer = None
        self._failures.clear()

    def add(self, message: Message, reason: str) -> None:
        """Copy a record to the dead letters; flush() makes sure of it."""
        place = f"{message.topic()}/{message.partition()}/{message.offset()}"
        LOG.error("the record %s goes to %s: %s", place, self._topic, reason)
        headers = [*(message.headers() or []), (REASON_HEADER, reason), (PLACE_HEADER, place)]
        if self._producer is None:
            self._producer = Producer(producer_settings(self._bootstrap_servers))
        self._producer.produce(
            self._topic, message.value(), message.key(), headers=headers, on_delivery=self._report
        )

    def flush(self) -> None:
        """Wait until all copies are safe; raises KafkaException if one is not."""
        undelivered = self._producer.flush(FLUSH_SECONDS) if self._producer is not None else 0
        if undelivered or self._failures:
            failures, self._failures = self._failures, []
            raise KafkaException(failures[0] if failures else KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001 - librdkafka's own name

    def _report(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failures.append(error)
        else:
            METRICS.add(Metric.DEAD_LETTER)
