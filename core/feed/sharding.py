"""How keys in Redis are divided into shards, and events in Kafka into partitions.

Each key in Redis has the shard of its user or tweet as its hash tag. A script uses keys of one
shard only, and the fan-out can use a transaction for each shard, so that a Redis Cluster can hold
the shards on different nodes.
"""

from __future__ import annotations

from typing import NewType

Shard = NewType("Shard", int)
"""A shard of Redis, from 0 to SHARDS - 1."""
Partition = NewType("Partition", int)
"""A partition of the feed's Kafka topic, from 0 to PARTITIONS - 1."""

SHARDS = 16
PARTITIONS = 12


def shard_of(id_: int) -> Shard:
    """Return the shard of a user's or a tweet's keys."""
    return Shard(id_ % SHARDS)
