"""Checkpoints: how far the events of a Kafka partition have been applied to a shard of Redis.

Redis holds one checkpoint for each shard and partition, without a TTL. A worker applies a batch of
events in a transaction that compares the shard's checkpoints with those the worker expects, and
sets the new ones. So each batch is applied once, and the comparison fails if another worker has
applied events meanwhile, or if Redis was emptied or replaced by an older copy of itself.

Readers use checkpoints as well. While one of a shard's checkpoints is missing, events may not
reach the shard, so nothing is built in it. Otherwise a reader builds a list or fills the tweet
cache only from a Postgres server that has reached the highest LSN in the shard's checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.feed.history import Lsn


@dataclass(frozen=True)
class Checkpoint:
    """How far the events of a partition have been applied to a shard."""

    offset: int
    """The offset of the first record that is not applied yet."""
    wal_position: int
    """An LSN at or after the commits of everything that is applied."""
    epoch: int
    """The highest relay epoch among the records that are applied."""
    topic_id: str
    """The id of the Kafka topic. A topic that is deleted and created again gets another id."""
    last: int = 0
    """The event id of the record before the offset, or 0 if it is not known. If Kafka has another
    record there now, it was restored from an older copy, and the offset means nothing any more."""

    def encode(self) -> bytes:
        """Return the checkpoint as it is stored in Redis."""
        return (
            f"{self.offset} {self.wal_position} {self.epoch} {self.topic_id} {self.last}".encode()
        )

    @classmethod
    def decode(cls, value: bytes) -> Checkpoint:
        """Return the checkpoint that is stored in Redis as this value."""
        offset, wal_position, epoch, topic_id, last = value.decode().split(" ")
        return cls(int(offset), int(wal_position), int(epoch), topic_id, int(last))


def required_lsn(values: Sequence[bytes | None]) -> Lsn | None:
    """Return the LSN that a Postgres server must have reached to build something in a shard.

    Args:
        values: the checkpoints of all partitions in the shard, as stored; None where one is
            missing.

    Returns:
        The highest LSN, or None if nothing may be built because a checkpoint is missing.
    """
    lsns = [Checkpoint.decode(value).wal_position for value in values if value is not None]
    return Lsn(max(lsns)) if len(lsns) == len(values) else None
