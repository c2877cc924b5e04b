"""The relay: publishing a full outbox, against librdkafka alone."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import psycopg
from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # theirs
    AdminClient,
    NewTopic,
)
from fanfare.common.v1.common_pb2 import Tweet

from bench.cpu import cpu_used
from bench.figures import Figure
from bench.harness import Bench, BenchError
from core.feed.events import KafkaRecord
from core.feed.history import Lsn
from core.feed.sharding import PARTITIONS
from core.storage.kafka import client_settings, producer_settings
from write_service.events import OutboxEvent, tweet_created
from write_service.kafka_publisher import kafka_record
from write_service.outbox import copy_events
from write_service.relay import Epoch, UnsentEvent

GOAL = 30_000
# The ids of the authors, who do not exist and so have no followers.
FIRST_AUTHOR, AUTHORS = 10**12, 1000
DRAIN_SECONDS = 120.0
MICRO = 1e6
RAW_TOPIC = "raw"
EPOCH = Epoch(1, "0123456789")
LSN = Lsn(2**33)


def relay(bench: Bench) -> list[Figure]:
    """Measure events per second from a full outbox to Kafka."""
    count = bench.size(100_000, quick=30_000, smoke=500)
    rates, limits, cpu = [], [], []
    events = _events(count)
    now = datetime.now(UTC)
    records = [
        kafka_record(UnsentEvent(id_, event.key, event.type, event.payload, now), LSN, EPOCH)
        for id_, event in enumerate(events, 1)
    ]
    settings = bench.settings
    # In a variable, because a client that is garbage collected cancels its requests.
    admin = AdminClient(client_settings(settings.kafka_address()))
    admin.create_topics([NewTopic(RAW_TOPIC, PARTITIONS)])[RAW_TOPIC].result()
    worker, write = (bench.system.processes[name] for name in ("worker", "write"))
    worker.stop()
    try:
        for number in bench.repeat():
            bench.step(f"{count:,} events from the outbox to Kafka, {number}")
            with cpu_used({"write": write}) as used:
                rates.append(count / _drain(settings.primary_dsn(), events))
            cpu.append(used["write"] / count * MICRO)
            bench.step(f"the same by librdkafka, {number}")
            limits.append(count / _produce(settings.kafka_address(), records))
    finally:
        worker.start()
    bench.wait_drained(DRAIN_SECONDS)
    figure = Figure(
        "relay",
        "",
        "events",
        "1/s",
        tuple(rates),
        "librdkafka, the same records from memory",
        tuple(limits),
    )
    return [
        figure.with_goal(f"at least {GOAL:,}/s", reached=figure.median >= GOAL),
        Figure("relay", "", "CPU of the write process per event", "µs", tuple(cpu)),
    ]


def _events(count: int) -> list[OutboxEvent]:
    chance = random.Random(8)  # noqa: S311 - chance, not a secret
    events = []
    for number in range(count):
        author = FIRST_AUTHOR + chance.randint(1, AUTHORS)
        tweet = Tweet(id=number + 1, user_id=author, content="x" * 100)
        tweet.created_at.GetCurrentTime()
        tweet.updated_at.CopyFrom(tweet.created_at)
        events.append(tweet_created(tweet, pulled=False, became_pulled=False))
    return events


def _drain(dsn: str, events: Sequence[OutboxEvent]) -> float:
    """Commit the events; return the seconds until all of them are marked as sent."""
    with psycopg.connect(dsn) as connection:
        copy_events(connection, events)
        connection.commit()
        started = time.perf_counter()
        connection.autocommit = True
        while connection.execute("SELECT 1 FROM outbox WHERE sent_at IS NULL LIMIT 1").fetchone():
            if time.perf_counter() - started > DRAIN_SECONDS:
                raise BenchError("the relay did not send all events in time")
            time.sleep(0.01)
        return time.perf_counter() - started


def _produce(servers: str, records: Sequence[KafkaRecord]) -> float:
    """Produce the records; return the seconds until Kafka has confirmed all of them."""
    producer = Producer(producer_settings(servers) | {"linger.ms": 1})
    started = time.perf_counter()
    for value, key, headers in records:
        while True:
            try:
                producer.produce(RAW_TOPIC, value, key, headers=headers)
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(DRAIN_SECONDS):
        raise BenchError("Kafka did not confirm all records in time")
    return time.perf_counter() - started
