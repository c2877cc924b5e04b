"""Checkpoints: how far the events of a Kafka partition have been applied to a shard of Redis.

Redis holds one checkpoint for each shard and partition, without a TTL. A worker applies a batch of
events in a transaction that compares the shard's checkpoints with those the worker expects, and
sets the new ones. So each batch is applied once. The comparison fails if another worker has applied
events meanwhile, or if Redis was emptied or replaced by an older copy of itself.

Readers use checkpoints as well. While one of a shard's checkpoints is missing, no worker applies
the events of that partition to the shard, so readers cache nothing in it. Otherwise a reader builds
a list or fills the tweet cache only from a Postgres server that has reached the highest LSN in the
shard's checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.feed.history import Lsn

# Separates the topic id, which is in base64, from the chunk id in a stored checkpoint. The chunk id
# has no field of its own, because versions without chunk ids read exactly five fields. Their
# readers need only the LSN. Their workers take both ids together for the id of another topic, and
# have everything built again.
_CHUNK = "#"


@dataclass(frozen=True)
class Checkpoint:
    """The progress of one shard in one partition, as stored in Redis."""

    offset: int
    """The offset of the next record to apply."""
    lsn: Lsn
    """An LSN of the primary, at or after the commits of all records that were applied."""
    epoch: int
    """The highest relay epoch among the records that were applied."""
    topic_id: str
    """The id of the topic that the offset belongs to. A recreated topic has another id."""
    last_event_id: int = 0
    """The event id of the record just before the offset, or 0 if unknown. If Kafka has a record
    with another event id there, it was restored from an older copy and has reused the offset."""
    chunk_id: str = ""
    """If the batch after the offset is only partly applied, the random id of the last chunk of it
    that was applied; else empty. Only the worker that has applied this chunk may apply the chunk
    that follows it; any other worker must begin at the offset."""

    def encode(self) -> bytes:
        """Return the value stored in Redis."""
        topic = f"{self.topic_id}{_CHUNK}{self.chunk_id}" if self.chunk_id else self.topic_id
        return f"{self.offset} {self.lsn} {self.epoch} {topic} {self.last_event_id}".encode()

    @classmethod
    def decode(cls, value: bytes) -> Checkpoint:
        """Return the checkpoint that a value stored in Redis holds."""
        offset, lsn, epoch, topic, last_event_id = value.decode().split(" ")
        topic_id, _, chunk_id = topic.partition(_CHUNK)
        return cls(int(offset), Lsn(int(lsn)), int(epoch), topic_id, int(last_event_id), chunk_id)


def required_lsn(values: Sequence[bytes | None]) -> Lsn | None:
    """Return the LSN that a Postgres server must have reached for its answers to be cached.

    Args:
        values: The stored checkpoints of one shard in all partitions; None for an absent one.

    Returns:
        The highest LSN of the checkpoints, or None while one of them is absent. Nothing may be
        cached then, because no worker keeps the shard up to date.
    """
    lsns = [Checkpoint.decode(value).lsn for value in values if value is not None]
    return max(lsns) if len(lsns) == len(values) else None
