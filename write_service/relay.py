"""The relay: outbox -> Kafka, at least once, in commit order for each tweet, edge and user.

One relay at a time, by an advisory lock of Postgres. Each takes an epoch that it stamps on its
records and that must be the newest for it to mark rows as sent: what a stalled relay still sends
is skipped by the workers and sent again by its successor.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import datetime
from functools import lru_cache

import psycopg
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from fanfare.events.v1.events_pb2 import FeedEvent

from core.rpc.messages import timestamp
from core.runtime.metrics import METRICS, Metric
from core.runtime.watchdog import Watchdog
from core.storage.kafka import producer_settings
from write_service.postgres_outbox import Batch, Outbox, Row

LOG = logging.getLogger(__name__)

BATCH = 10_000
IDLE_SECONDS = 1.0
RETRY_SECONDS = 1.0
HEARTBEAT_SECONDS = 1.0
# librdkafka gives a record up after this long; then the producer is built anew.
DELIVERY_SECONDS = 10
# How long the relay leaves old rows alone when it has found no more of them.
PURGE_EVERY_SECONDS = 10.0
# How many it deletes at a time, between two batches: a few milliseconds' work. When it sends more
# than that at a time it deletes twice as many as it sends, so that the outbox cannot grow.
PURGE_ROWS = 500
# The name of its health, beside those of the services.
HEALTH_NAME = "fanfare.relay"

Record = tuple[bytes, str, list[tuple[str, str | bytes | None]]]


class Relay:
    """A thread that carries events to Kafka while it holds the relay's lock."""

    def __init__(
        self, dsn: str, bootstrap_servers: str, topic: str, silence_seconds: float
    ) -> None:
        self._dsn = dsn
        self._silence_seconds = silence_seconds
        self._bootstrap_servers = bootstrap_servers
        self._topic = topic
        self.watchdog = Watchdog()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay")
        self._next_purge = 0.0
        self._history = ""

    def start(self) -> None:
        """Start the thread; it waits for Postgres and Kafka as long as it takes."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the batch under way, and stop."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                outbox = Outbox(self._dsn, self._silence_seconds)
                try:
                    self._relay(outbox)
                finally:
                    outbox.close()
            except (psycopg.Error, KafkaException) as error:
                LOG.warning("the relay starts again: %s", error)
                self.watchdog.failed(error)
                self._stopping.wait(RETRY_SECONDS)
            except Exception as error:
                LOG.exception("the relay starts again")
                self.watchdog.failed(error)
                self._stopping.wait(RETRY_SECONDS)

    def _relay(self, outbox: Outbox) -> None:
        while not outbox.lock():
            self.watchdog.worked()  # another relay does the work
            if self._stopping.wait(IDLE_SECONDS):
                return
        # Listening comes before the first look, or a commit between the two would wait a second.
        outbox.listen()
        METRICS.add(Metric.RELAY_STARTED)
        while not self._stopping.is_set():
            self._relay_epoch(outbox)

    def _relay_epoch(self, outbox: Outbox) -> None:
        """Send events under one epoch, until stopped or until Kafka does not take them all."""
        epoch, history = outbox.next_epoch()
        LOG.info("relay started: history=%s epoch=%d", history, epoch)
        METRICS.add(Metric.HISTORY_BEGUN, history != (self._history or history))
        self._history = history
        producer = Producer(
            producer_settings(self._bootstrap_servers, self._silence_seconds)
            | {
                "linger.ms": 1,
                "message.timeout.ms": DELIVERY_SECONDS * 1000,
                # That all is delivered, flush() tells.
                "delivery.report.only.error": True,
            }
        )
        sent = Batch([], 0)
        beat = 0.0
        while sent.rows or not self._stopping.is_set():
            limit = 0 if self._stopping.is_set() else BATCH
            batch = outbox.next_batch(limit, sent, epoch, history)
            sent = batch or Batch([], 0)
            if sent.rows and not self._send(producer, sent, epoch, history):
                return
            if batch is None or time.monotonic() - beat > HEARTBEAT_SECONDS:
                if not outbox.heartbeat(epoch, history) or batch is None:
                    METRICS.add(Metric.RELAY_FENCED)
                    raise psycopg.OperationalError("another relay has taken over")
                beat = time.monotonic()
            self.watchdog.worked()
            purging = time.monotonic() >= self._next_purge
            if purging and not outbox.purge(max(PURGE_ROWS, 2 * len(sent.rows))):
                purging = False
                self._next_purge = time.monotonic() + PURGE_EVERY_SECONDS
            if not sent.rows and not purging and not self._stopping.is_set():
                outbox.wait(IDLE_SECONDS)

    def _send(self, producer: Producer, batch: Batch, epoch: int, history: str) -> bool:
        """Send the events; return False when a new producer and epoch are needed."""
        failures: list[KafkaError] = []

        def report(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                failures.append(error)

        for row in batch.rows:
            value, key, headers = record(row, batch.wal_position, epoch, history)
            while True:
                try:
                    producer.produce(self._topic, value, key, headers=headers, on_delivery=report)
                    break
                except BufferError:
                    producer.poll(0.1)
        # A drain does not wait for a Kafka that is away: the rows are sent after the next start.
        deadline = time.monotonic() + DELIVERY_SECONDS + 5
        while producer.flush(0.5) and time.monotonic() < deadline and not self._stopping.is_set():
            pass
        if len(producer) or failures:
            reason = failures[0] if failures else "no delivery report in time"
            LOG.warning(
                "Kafka took not all of %d events, they stay unsent: %s", len(batch.rows), reason
            )
            # An idempotent producer stays broken after the broker lost its state: build another.
            producer.purge()
            self.watchdog.failed(f"Kafka did not take the events: {reason}")
            METRICS.add(Metric.PRODUCER_REBUILT)
            self._stopping.wait(RETRY_SECONDS)
            return False
        return True


def record(row: Row, wal_position: int, epoch: int, history: str) -> Record:
    """Return value, key and headers of the record of an event."""
    stamp = FeedEvent(
        event_id=row.id, wal_position=wal_position, relay_epoch=epoch, history=history
    )
    occurred, iso_time = _time(row.created_at)
    headers: list[tuple[str, str | bytes | None]] = [
        ("ce_specversion", "1.0"),
        ("ce_id", str(row.id)),
        ("ce_type", row.type),
        ("ce_source", "fanfare/write_service"),
        ("ce_time", iso_time),
        ("ce_history", history),
        ("content-type", "application/protobuf"),
    ]
    # Protobuf messages concatenate: the stamp's fields join those of the payload.
    return row.payload + stamp.SerializeToString() + occurred, str(row.key), headers


@lru_cache(maxsize=100)
def _time(created_at: datetime) -> tuple[bytes, str]:
    """Return an event's time as it stands in value and headers; one for a whole transaction."""
    occurred = FeedEvent(occurred_at=timestamp(created_at))
    return occurred.SerializeToString(), created_at.isoformat()
