"""What a worker reads from Kafka, and which of it counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fanfare.events.v1.events_pb2 import FeedEvent

from core.progress import Progress


@dataclass(frozen=True)
class Record:
    """An event and its place in its partition."""

    offset: int
    event: FeedEvent


def effective(records: Sequence[Record], offset: int, epoch: int) -> list[Record]:
    """Return the records from the offset on, less those of relays that were replaced.

    epoch: the highest seen in the partition before the offset. What a stalled relay still sent
    after its successor began is out of order, and the successor has sent it again.
    """
    counting = []
    for record in records:
        if record.offset < offset or record.event.relay_epoch < epoch:
            continue
        epoch = record.event.relay_epoch
        counting.append(record)
    return counting


def advanced(fence: Progress, records: Sequence[Record], end: int) -> Progress:
    """Return the fence after all records below the end offset have been applied."""
    counting = effective(records, fence.offset, fence.epoch)
    wal_positions = [record.event.wal_position for record in counting]
    return Progress(
        max(fence.offset, end),
        max([fence.wal_position, *wal_positions]),
        max([fence.epoch, *(record.event.relay_epoch for record in counting)]),
        fence.topic_id,
    )
