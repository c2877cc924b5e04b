"""The topic in Kafka: its record limit, and the events in it."""

from __future__ import annotations

import time
from collections import defaultdict

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # theirs
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from fanfare.events.v1.events_pb2 import FeedEvent

from core.feed.sharding import PARTITIONS
from core.settings import Settings

RECORD_BYTES = 1_048_588  # Kafka's default for max.message.bytes
_CALL_SECONDS = 60
_READ_SECONDS = 120


def set_record_bytes(settings: Settings, size: int) -> None:
    """Make Kafka refuse records of more than this many bytes; RECORD_BYTES is the default."""
    entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    topic = ConfigResource(ResourceType.TOPIC, settings.topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": settings.kafka_address(), "log_level": 0})
    for done in admin.incremental_alter_configs([topic]).values():
        done.result(_CALL_SECONDS)


def wrong_events(settings: Settings, *, ids_may_repeat: bool) -> list[str]:
    """Return what is wrong with the events in the topic, one sentence per kind of fault.

    Consumers outside Fanfare tell events apart by their ids, so an id must stand for one event
    only, unless ids_may_repeat; and every record must name the history that it belongs to.
    """
    # By event id: each distinct event with this id, and a description of its record.
    events: dict[str, dict[bytes, str]] = defaultdict(dict)
    without_history = 0
    for message in read_records(settings):
        headers = dict(message.headers() or [])
        history = headers.get("ce_history")
        without_history += not history
        id_ = headers.get("ce_id", b"")
        assert isinstance(id_, bytes)
        record = f"{headers.get('ce_type')!r} of {history!r} at {message.offset()}"
        events[id_.decode()][_event(message.value() or b"")] = record
    repeated = sorted(
        (id_, [*records.values()]) for id_, records in events.items() if len(records) > 1
    )
    faults = []
    if repeated and not ids_may_repeat:
        faults.append(f"{len(repeated)} event ids belong to two events, such as {repeated[:3]}")
    if without_history:
        faults.append(f"{without_history} records have no ce_history")
    return faults


def read_records(settings: Settings) -> list[Message]:
    """Return all records of the topic."""
    consumer = Consumer({"bootstrap.servers": settings.kafka_address(), "group.id": "restores"})
    ends = {}
    for number in range(PARTITIONS):
        partition = TopicPartition(settings.topic, number)
        low, end = consumer.get_watermark_offsets(partition, timeout=_CALL_SECONDS)
        if end > low:
            ends[number] = end
    consumer.assign([TopicPartition(settings.topic, number, 0) for number in ends])
    records: list[Message] = []
    deadline = time.monotonic() + _READ_SECONDS
    while ends and time.monotonic() < deadline:
        for message in consumer.consume(1000, timeout=0.2):
            error = message.error()
            assert error is None or error.code() == KafkaError._PARTITION_EOF, error
            offset, number_read = message.offset(), message.partition()
            assert offset is not None
            assert number_read is not None
            records.append(message)
            if offset + 1 >= ends.get(number_read, 0):
                ends.pop(number_read, None)
    consumer.close()
    assert not ends, f"the topic could not be read to its end: {ends}"
    return records


def _event(value: bytes) -> bytes:
    """Return an event without the fields that differ when the same event is sent again."""
    event = FeedEvent.FromString(value)
    for stamp in ("wal_position", "relay_epoch", "history"):
        event.ClearField(stamp)
    return event.SerializeToString(deterministic=True)
