"""When a batch counts as published, against a producer in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import KafkaError
from helpers.fakes.tracing import SAMPLED, FakeTracer

from core.feed.history import Lsn
from core.runtime.tracing import Kind, Tracer
from write_service import kafka_publisher
from write_service.kafka_publisher import KafkaPublisher
from write_service.relay import Epoch, EventBatch, PublishError, UnsentEvent

BATCH = EventBatch(
    [UnsentEvent(n, n, "tweet.created", b"", datetime(2026, 1, 1, tzinfo=UTC)) for n in (1, 2)],
    Lsn(7),
)


class _Producer:
    """Stands for librdkafka's producer."""

    def __init__(self, _settings: dict[str, Any]) -> None:
        self.keys: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.undelivered = 0
        self.full = 0
        """How often the queue is full when a record is produced."""
        self.error: KafkaError | None = None
        self.is_purged = False
        self.on_flush: Callable[[], None] = lambda: None
        self._report: Callable[[KafkaError | None, Any], None] = lambda _error, _message: None

    def __len__(self) -> int:
        return self.undelivered

    def produce(self, _topic: str, _value: bytes, key: str, **options: Any) -> None:
        if self.full:
            raise BufferError
        self.keys.append(key)
        self.headers.append(dict(options["headers"]))
        self._report = options["on_delivery"]

    def poll(self, _seconds: float) -> None:
        self.full -= 1

    def flush(self, _seconds: float) -> int:
        self.on_flush()
        if self.error is not None:
            self._report(self.error, None)
        return self.undelivered

    def purge(self) -> None:
        self.is_purged = True


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> _Producer:
    """Return the producer that the publisher gets."""
    producer = _Producer({})
    monkeypatch.setattr(kafka_publisher, "Producer", lambda _settings: producer)
    return producer


def _publish(
    stopping: threading.Event | None = None,
    batch: EventBatch = BATCH,
    tracer: Tracer | None = None,
) -> None:
    publisher = KafkaPublisher("localhost:9", "topic", 15.0, tracer)
    publisher.publish(batch, Epoch(3, "0123456789"), stopping or threading.Event())


def test_a_batch_is_published_in_order(producer: _Producer) -> None:
    """The order is kept even when the producer's queue is full for a while."""
    producer.full = 2
    _publish()
    assert producer.keys == ["1", "2"]
    assert not producer.is_purged


def test_a_refused_record_fails_the_batch(producer: _Producer) -> None:
    """Nothing of the batch may then be marked as sent."""
    producer.error = KafkaError(KafkaError._MSG_TIMED_OUT)
    with pytest.raises(PublishError, match="of 2 events"):
        _publish()
    assert producer.is_purged


def test_a_missing_delivery_report_fails_the_batch(
    producer: _Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The publisher does not wait for librdkafka for ever."""
    monkeypatch.setattr(kafka_publisher, "DELIVERY_SECONDS", 0)
    monkeypatch.setattr(kafka_publisher, "REPORT_SECONDS", 0)
    producer.undelivered = 1
    with pytest.raises(PublishError, match="no delivery report in time"):
        _publish()


def test_a_process_that_stops_does_not_wait_for_kafka(producer: _Producer) -> None:
    """The events stay unsent, for the next relay."""
    stopping = threading.Event()
    producer.undelivered = 1
    producer.on_flush = stopping.set
    with pytest.raises(PublishError):
        _publish(stopping)


TRACED = EventBatch(
    [BATCH.events[0], *(BATCH.events[1]._replace(traceparent=SAMPLED) for _ in range(3))], Lsn(7)
)


def test_traced_events_have_spans(producer: _Producer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a limit, records name the span of the command, as they do where traces are off."""
    monkeypatch.setattr(kafka_publisher, "MAX_SPANS", 2)
    tracer = FakeTracer()
    _publish(batch=TRACED, tracer=tracer)
    _publish(batch=TRACED)
    first, second = tracer.spans
    assert [headers.get("traceparent") for headers in producer.headers] == [
        *(None, first.traceparent, second.traceparent, SAMPLED),
        *(None, SAMPLED, SAMPLED, SAMPLED),
    ]
    for span in tracer.spans:
        assert (span.name, span.kind, span.parent) == ("publish topic", Kind.PRODUCER, SAMPLED)
        assert span.error == ""
        assert span.attributes["messaging.kafka.message.key"] == "2"


def test_a_batch_that_fails_ends_its_spans(producer: _Producer) -> None:
    """They are failed ones."""
    producer.error = KafkaError(KafkaError._MSG_TIMED_OUT)
    tracer = FakeTracer()
    with pytest.raises(PublishError):
        _publish(batch=TRACED, tracer=tracer)
    assert {span.error for span in tracer.spans} == {"PublishError"}
