"""What stands in the topic: consumers outside tell events apart by their ids."""

from __future__ import annotations

import time
from collections import defaultdict

from confluent_kafka import Consumer, KafkaError, TopicPartition
from fanfare.events.v1.events_pb2 import FeedEvent
from helpers.support import Fanfare

from core.feed.sharding import PARTITIONS


def wrong_events(clients: Fanfare, *, ids_may_repeat: bool) -> list[str]:
    """Return what is wrong with the events in the topic: ids of two events, or no history."""
    consumer = Consumer(
        {"bootstrap.servers": clients.settings.kafka_address(), "group.id": "restores"}
    )
    ends = {}
    for number in range(PARTITIONS):
        place = TopicPartition(clients.settings.topic, number)
        low, end = consumer.get_watermark_offsets(place, timeout=10)
        if end > low:
            ends[number] = end
    consumer.assign([TopicPartition(clients.settings.topic, number, 0) for number in ends])
    events: dict[str, dict[bytes, str]] = defaultdict(dict)
    nameless = 0
    deadline = time.monotonic() + 60
    while ends and time.monotonic() < deadline:
        for message in consumer.consume(1000, timeout=1):
            error = message.error()
            assert error is None or error.code() == KafkaError._PARTITION_EOF, error
            headers = dict(message.headers() or [])
            nameless += not headers.get("ce_history")
            id_ = headers.get("ce_id", b"")
            assert isinstance(id_, bytes)
            value, history = message.value() or b"", headers.get("ce_history")
            told = f"{headers.get('ce_type')!r} of {history!r} at {message.offset()}"
            events[id_.decode()][_event(value)] = told
            offset, partition = message.offset(), message.partition()
            assert offset is not None
            assert partition is not None
            if offset + 1 >= ends.get(partition, 0):
                ends.pop(partition, None)
    consumer.close()
    assert not ends, f"the topic could not be read to its end: {ends}"
    double = sorted((id_, [*told.values()]) for id_, told in events.items() if len(told) > 1)
    found = []
    if double and not ids_may_repeat:
        found.append(f"{len(double)} event ids stand for two events, such as {double[:3]}")
    return found + ([f"{nameless} records have no ce_history"] if nameless else [])


def _event(value: bytes) -> bytes:
    """Return an event without what differs when the same event is sent again."""
    event = FeedEvent.FromString(value)
    for stamp in ("wal_position", "relay_epoch", "history"):
        event.ClearField(stamp)
    return event.SerializeToString(deterministic=True)
