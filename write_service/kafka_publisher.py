"""Publishing events as Kafka records, in the binary mode of CloudEvents."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from confluent_kafka import KafkaError, Message, Producer
from fanfare.events.v1.events_pb2 import FeedEvent

from core.feed.events import HISTORY_HEADER, KafkaRecord
from core.feed.history import Lsn
from core.rpc.messages import timestamp
from core.runtime.tracing import TRACEPARENT, Attributes, Kind, Span, Tracer
from core.storage.kafka import producer_settings
from write_service.relay import Epoch, EventBatch, PublishError, UnsentEvent

# How long librdkafka tries to deliver a record.
DELIVERY_SECONDS = 10
# How much longer the publisher waits for librdkafka to report the failure.
REPORT_SECONDS = 5
# How many events of a batch get spans of their own. The others pass on the span of their command.
MAX_SPANS = 100


class KafkaPublisher:
    """A `Publisher` with a Kafka producer of its own.

    The producer is idempotent, and such a producer may stay broken after the broker lost its
    state. So the publisher is thrown away after a failure.
    """

    def __init__(
        self, address: str, topic: str, silence_seconds: float, tracer: Tracer | None
    ) -> None:
        """Create the producer, which connects in the background.

        Args:
            address: FANFARE_KAFKA_BOOTSTRAP_SERVERS.
            topic: where records go.
            silence_seconds: when to give up a connection on which Kafka does not answer.
            tracer: begins the spans of events whose commands are traced; None if traces are off.
        """
        self._tracer = tracer
        self._topic = topic
        self._producer = Producer(
            producer_settings(address, silence_seconds)
            | {
                "linger.ms": 1,
                "message.timeout.ms": DELIVERY_SECONDS * 1000,
                # Successes need no reports: flush() shows when all are delivered.
                "delivery.report.only.error": True,
            }
        )

    def publish(self, batch: EventBatch, epoch: Epoch, stopping: threading.Event) -> None:
        """Send the events, in order, and return when Kafka has confirmed all of them.

        Raises:
            PublishError: some events were not confirmed in time, or before stopping was set.
        """
        spans: list[Span] = []
        try:
            self._publish(batch, epoch, stopping, spans)
        except BaseException as error:
            for span in spans:
                span.end(type(error).__name__)
            raise
        for span in spans:
            span.end()

    def _publish(
        self, batch: EventBatch, epoch: Epoch, stopping: threading.Event, spans: list[Span]
    ) -> None:
        """Publish a batch, and add to spans what is to be ended then."""
        failures: list[KafkaError] = []

        def report(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                failures.append(error)

        for event in batch.events:
            traceparent = event.traceparent
            if traceparent is not None and self._tracer is not None and len(spans) < MAX_SPANS:
                span = self._tracer.begin(
                    f"publish {self._topic}", Kind.PRODUCER, traceparent, _attributes(event)
                )
                spans.append(span)
                traceparent = span.traceparent
            value, key, headers = kafka_record(event, batch.lsn, epoch, traceparent)
            while True:
                try:
                    self._producer.produce(
                        self._topic, value, key, headers=headers, on_delivery=report
                    )
                    break
                except BufferError:
                    self._producer.poll(0.1)
        # A process that is told to stop does not wait for an unreachable Kafka: the events stay
        # unsent, and the next relay publishes them.
        deadline = time.monotonic() + DELIVERY_SECONDS + REPORT_SECONDS
        while self._producer.flush(0.5) and time.monotonic() < deadline and not stopping.is_set():
            pass
        if len(self._producer) or failures:
            self._producer.purge()
            reason = failures[0] if failures else "no delivery report in time"
            raise PublishError(f"Kafka did not confirm all of {len(batch.events)} events: {reason}")


def _attributes(event: UnsentEvent) -> Attributes:
    """Return what a span says about an event."""
    waited = datetime.now(UTC) - event.created_at
    return {
        "messaging.system": "kafka",
        "messaging.operation.type": "send",
        "messaging.kafka.message.key": str(event.key),
        "fanfare.event.id": event.id,
        "fanfare.event.type": event.type,
        "fanfare.outbox.waited_ms": waited // timedelta(milliseconds=1),
    }


def kafka_record(
    event: UnsentEvent, lsn: Lsn, epoch: Epoch, traceparent: str | None = None
) -> KafkaRecord:
    """Return the record of an event.

    Args:
        event: the row of the outbox.
        lsn: an LSN at or after the event's commit.
        epoch: the epoch of the relay that sends the event.
        traceparent: the span that publishes the event; None unless its command is traced.
    """
    stamp = FeedEvent(
        event_id=event.id,
        wal_position=lsn,
        relay_epoch=epoch.number,
        history=epoch.history,
    )
    occurred_at, iso_time = _encode_time(event.created_at)
    headers: list[tuple[str, str | bytes | None]] = [
        ("ce_specversion", "1.0"),
        ("ce_id", str(event.id)),
        ("ce_type", event.type),
        ("ce_source", "fanfare/write_service"),
        ("ce_time", iso_time),
        (HISTORY_HEADER, epoch.history),
        ("content-type", "application/protobuf"),
    ]
    if event.traceparent is not None and traceparent is not None:
        # The extension of CloudEvents has the span in which the event came into being; the header
        # that is not an attribute of the event has the span that sent it.
        headers += [(TRACEPARENT, traceparent), (f"ce_{TRACEPARENT}", event.traceparent)]
    # Serialised protobuf messages can be concatenated: the fields of all parts are merged.
    return event.payload + stamp.SerializeToString() + occurred_at, str(event.key), headers


# The events of one transaction have the same time, and formatting it is a third of the work.
@lru_cache(maxsize=100)
def _encode_time(created_at: datetime) -> tuple[bytes, str]:
    """Return a FeedEvent that has only occurred_at, serialised, and the time in ISO 8601."""
    occurred = FeedEvent(occurred_at=timestamp(created_at))
    return occurred.SerializeToString(), created_at.isoformat()
