"""Records from Kafka: what a worker takes out of them, and which of them count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from fanfare.events.v1.events_pb2 import FeedEvent

from core.feed.checkpoints import Checkpoint
from core.feed.events import REPLAYED_HEADER, parse
from core.feed.history import Lsn
from fanout_worker.protocols import Message


class Record(NamedTuple):
    """An event and its place in its partition.

    Fields that are read several times are taken out of the protobuf message once, because each
    access to a message costs as much as a look-up in a dictionary.
    """

    offset: int
    event: FeedEvent
    is_replayed: bool
    """Whether the record is a dead letter that was sent again, perhaps long after the first time.
    Such a record only drops the cached data that it concerns."""
    epoch: int
    """The epoch of the relay that sent it."""
    lsn: Lsn
    kind: str
    """The name of the event's field that is set, as in "tweet_created"."""
    change: Any
    """The value of that field."""

    @classmethod
    def of(cls, offset: int, event: FeedEvent, *, is_replayed: bool = False) -> Self:
        """Return the record of an event."""
        kind = event.WhichOneof("event") or ""
        change = getattr(event, kind, None)
        lsn = Lsn(event.wal_position)
        return cls(offset, event, is_replayed, event.relay_epoch, lsn, kind, change)

    def is_of(self, history: str) -> bool:
        """Return whether the record is of the history, or from a relay that knew no histories."""
        return self.event.history in {history, ""}


def read_record(message: Message) -> Record:
    """Return the record in a message.

    Raises:
        UnreadableEventError: The message does not hold an event.
    """
    is_replayed = REPLAYED_HEADER in dict(message.headers() or ())
    return Record.of(message.offset() or 0, parse(message.value() or b""), is_replayed=is_replayed)


def select_effective(records: Sequence[Record], offset: int, epoch: int) -> list[Record]:
    """Return the records that count for a shard, which are those that it must apply.

    Records below the offset have been applied already. Records of a relay that was replaced are
    skipped: they may be out of order, and the new relay has sent the same events again. A replayed
    dead letter comes from no relay, so its epoch says nothing.

    Args:
        records: Records of one partition.
        offset: The offset of the shard's checkpoint.
        epoch: The epoch of the shard's checkpoint.
    """
    effective = []
    for record in records:
        if record.offset < offset:
            continue
        if not record.is_replayed:
            if record.epoch < epoch:
                continue
            epoch = record.epoch
        effective.append(record)
    return effective


def advance(
    checkpoint: Checkpoint, records: Sequence[Record], end: int, last_event_id: int
) -> Checkpoint:
    """Return the checkpoint after all records below an end offset have been applied.

    Args:
        checkpoint: The checkpoint of one shard in a partition.
        records: Records of the partition.
        end: The end offset. A checkpoint beyond it stays as it is.
        last_event_id: The event id of the record before the end; 0 if unknown.
    """
    effective = select_effective(records, checkpoint.offset, checkpoint.epoch)
    return Checkpoint(
        max(checkpoint.offset, end),
        max([checkpoint.lsn, *(record.lsn for record in effective)]),
        max([checkpoint.epoch, *(record.epoch for record in effective if not record.is_replayed)]),
        checkpoint.topic_id,
        last_event_id if end > checkpoint.offset else checkpoint.last_event_id,
        "" if end > checkpoint.offset else checkpoint.chunk_id,
    )
