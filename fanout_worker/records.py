"""What a worker reads from Kafka, and which of it counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from confluent_kafka import Message
from fanfare.events.v1.events_pb2 import FeedEvent

from core.feed_events import REPLAYED_HEADER, parse
from core.progress import Progress


@dataclass(frozen=True)
class Record:
    """An event and its place in its partition."""

    offset: int
    event: FeedEvent
    replayed: bool = False
    """A dead letter sent again, long after its time: it only drops what it touches."""


def read_record(message: Message) -> Record:
    """Return what a message of Kafka's holds; raises UnreadableEventError."""
    replayed = any(header[0] == REPLAYED_HEADER for header in message.headers() or [])
    return Record(message.offset() or 0, parse(message.value() or b""), replayed)


def effective(records: Sequence[Record], offset: int, epoch: int) -> list[Record]:
    """Return the records from the offset on, less those of relays that were replaced.

    epoch: the highest seen in the partition before the offset. What a stalled relay still sent
    after its successor began is out of order, and the successor has sent it again. A replayed
    dead letter comes from no relay.
    """
    counting = []
    for record in records:
        if record.offset < offset:
            continue
        if not record.replayed:
            if record.event.relay_epoch < epoch:
                continue
            epoch = record.event.relay_epoch
        counting.append(record)
    return counting


def advanced(fence: Progress, records: Sequence[Record], end: int) -> Progress:
    """Return the fence after all records below the end offset have been applied."""
    counting = effective(records, fence.offset, fence.epoch)
    wal_positions = [record.event.wal_position for record in counting]
    epochs = [record.event.relay_epoch for record in counting if not record.replayed]
    return Progress(
        max(fence.offset, end),
        max([fence.wal_position, *wal_positions]),
        max([fence.epoch, *epochs]),
        fence.topic_id,
    )


def base_of(fences: Sequence[Progress]) -> Progress:
    """Return a fence from which every record counts that counts from one of a partition's fences.

    Not one of them: a key that was created later may have a lower offset and a higher epoch.
    """
    return replace(
        min(fences, key=lambda fence: fence.offset), epoch=min(fence.epoch for fence in fences)
    )
