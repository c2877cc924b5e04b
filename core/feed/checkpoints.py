"""The progress keys: how far Kafka has been applied to each shard of Redis.

One key for each (shard, partition), without TTL. It is the fence of the fan-out: a worker applies
a batch only while the key says what the worker believes, in the transaction that moves it on. So
a zombie, a restart, FLUSHALL and a failover to an older copy are all noticed, and a batch counts
once. Readers build lists and fill bodies only while every key of the shard exists, from a
Postgres that has the highest WAL position among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.feed.history import Lsn


@dataclass(frozen=True)
class Checkpoint:
    """What a progress key holds."""

    offset: int
    """The first offset not yet applied to the shard."""
    wal_position: int
    """A position in the primary's WAL not before the commits of what was applied."""
    epoch: int
    """The highest relay epoch seen in the partition."""
    topic_id: str
    """Which topic the offset is of: one created anew under the old name has another id."""
    last: int = 0
    """The event id of the record before the offset; 0: not known. If another record stands there,
    Kafka was restored from an older copy, and offsets stand for other records than they did."""

    def encode(self) -> bytes:
        """Return the key's value."""
        return (
            f"{self.offset} {self.wal_position} {self.epoch} {self.topic_id} {self.last}".encode()
        )

    @classmethod
    def decode(cls, value: bytes) -> Checkpoint:
        """Return what a key's value says."""
        offset, wal_position, epoch, topic_id, last = value.decode().split(" ")
        return cls(int(offset), int(wal_position), int(epoch), topic_id, int(last))


def required_lsn(values: Sequence[bytes | None]) -> Lsn | None:
    """Return the WAL position that a Postgres must have for what is built from it to be kept.

    values: those of all progress keys of one shard. None when one is absent: then nothing may be
    built, since nobody keeps the shard up to date.
    """
    positions = [Checkpoint.decode(value).wal_position for value in values if value is not None]
    return Lsn(max(positions)) if len(positions) == len(values) else None
