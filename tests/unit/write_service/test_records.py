"""The Kafka records of events."""

from __future__ import annotations

from datetime import UTC, datetime

from fanfare.common.v1.common_pb2 import Tweet
from fanfare.events.v1.events_pb2 import FeedEvent
from helpers.fakes.tracing import SAMPLED

from core.feed.history import Lsn
from write_service.events import tweet_created
from write_service.kafka_publisher import kafka_record
from write_service.relay import Epoch, UnsentEvent


def test_a_record_is_the_event_with_the_stamp_of_the_relay() -> None:
    """The payload and the relay's fields, concatenated, parse as one FeedEvent."""
    event = tweet_created(Tweet(id=5, user_id=7), pulled=False, became_pulled=True)
    time = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
    unsent = UnsentEvent(11, event.key, event.type, event.payload, time)
    value, key, headers = kafka_record(unsent, Lsn(2**40), Epoch(3, "0123456789"))
    read = FeedEvent.FromString(value)
    assert (read.event_id, read.wal_position, read.relay_epoch) == (11, 2**40, 3)
    assert read.history == "0123456789"
    assert read.occurred_at.ToDatetime(UTC) == time
    assert read.tweet_created.tweet.id == 5
    assert read.tweet_created.became_pulled
    assert key == "7"
    assert headers == [
        ("ce_specversion", "1.0"),
        ("ce_id", "11"),
        ("ce_type", "tweet.created"),
        ("ce_source", "fanfare/write_service"),
        ("ce_time", "2026-01-02T03:04:05.678901+00:00"),
        ("ce_history", "0123456789"),
        ("content-type", "application/protobuf"),
    ]


def test_the_record_of_a_traced_command_names_its_spans() -> None:
    """That of the publisher in the header for Kafka, that of the command as the event's own."""
    event = UnsentEvent(11, 7, "tweet.created", b"", datetime(2026, 1, 1, tzinfo=UTC), SAMPLED)
    publisher = SAMPLED.replace("b7ad6b7169203331", "00f067aa0ba902b7")
    _, _, headers = kafka_record(event, Lsn(1), Epoch(3, "0123456789"), publisher)
    assert headers[-2:] == [("traceparent", publisher), ("ce_traceparent", SAMPLED)]
