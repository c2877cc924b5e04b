"""How Fanfare's keys in Redis are sharded, and its topic in Kafka partitioned.

Each key carries a hash tag: the shard of the user or tweet that it belongs to. Keys that one
transaction or script touches share a shard, so a Redis Cluster can spread the shards over nodes.
"""

from __future__ import annotations

from typing import NewType

Shard = NewType("Shard", int)
"""The number of a shard of Redis, below SHARDS."""
Partition = NewType("Partition", int)
"""The number of a partition of the topic, below PARTITIONS."""

SHARDS = 16
PARTITIONS = 12


def shard_of(number: int) -> Shard:
    """Return the shard of a user's or a tweet's keys, from its id."""
    return Shard(number % SHARDS)
