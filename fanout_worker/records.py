"""What a worker reads from Kafka, and which of it counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Self

from confluent_kafka import Message
from fanfare.events.v1.events_pb2 import FeedEvent

from core.feed.checkpoints import Checkpoint
from core.feed.events import REPLAYED_HEADER, parse
from core.feed.history import Lsn


class Record(NamedTuple):
    """An event and its place in its partition.

    The worker looks at each several times, and each look into a message of protobuf's costs as
    much as a look-up in a dictionary: what it looks for is taken out once.
    """

    offset: int
    event: FeedEvent
    replayed: bool
    """A dead letter sent again, long after its time: it only drops what it touches."""
    epoch: int
    """Of the relay that sent it."""
    lsn: Lsn
    kind: str
    """Which of the event's fields is set."""
    change: Any
    """What the field holds."""

    @classmethod
    def of(cls, offset: int, event: FeedEvent, *, replayed: bool = False) -> Self:
        """Return the record of an event."""
        kind = event.WhichOneof("event") or ""
        change = getattr(event, kind, None)
        return cls(
            offset, event, replayed, event.relay_epoch, Lsn(event.wal_position), kind, change
        )


def read_record(message: Message) -> Record:
    """Return what a message of Kafka's holds; raises UnreadableEventError."""
    replayed = any(header[0] == REPLAYED_HEADER for header in message.headers() or [])
    return Record.of(message.offset() or 0, parse(message.value() or b""), replayed=replayed)


def is_of(record: Record, history: str) -> bool:
    """Return whether a record is of the history, or of a relay that knew none yet."""
    return record.event.history in {history, ""}


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
            if record.epoch < epoch:
                continue
            epoch = record.epoch
        counting.append(record)
    return counting


def advanced(fence: Checkpoint, records: Sequence[Record], end: int, last: int) -> Checkpoint:
    """Return the fence after all records below the end offset have been applied.

    last: the event id of the record before the end; 0 if it is not known.
    """
    counting = effective(records, fence.offset, fence.epoch)
    lsns = [record.lsn for record in counting]
    epochs = [record.epoch for record in counting if not record.replayed]
    return Checkpoint(
        max(fence.offset, end),
        max([fence.lsn, *lsns]),
        max([fence.epoch, *epochs]),
        fence.topic_id,
        last if end > fence.offset else fence.last_event_id,
    )


def base_of(fences: Sequence[Checkpoint]) -> Checkpoint:
    """Return a fence from which every record counts that counts from one of a partition's fences.

    Not one of them: a key that was created later may have a lower offset and a higher epoch.
    """
    return replace(
        min(fences, key=lambda fence: fence.offset), epoch=min(fence.epoch for fence in fences)
    )


def places(fences: Sequence[Sequence[Checkpoint]]) -> dict[tuple[tuple[int, int], ...], list[int]]:
    """Return the shards by where they stand: the offset and epoch in each partition.

    fences: by partition, then shard. Shards stand at different places only after a failure in the
    middle of a batch.
    """
    found: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for shard, of_shard in enumerate(zip(*fences, strict=True)):
        place = tuple((fence.offset, fence.epoch) for fence in of_shard)
        found.setdefault(place, []).append(shard)
    return found
