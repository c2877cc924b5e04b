"""How Fanfare's keys in Redis are spread.

Each key carries a hash tag: the shard of the user or tweet it belongs to. Keys that one
transaction or script touches share a shard, so a Redis Cluster can spread the shards over nodes.
"""

from __future__ import annotations

SHARDS = 16
# Of the topic in Kafka.
PARTITIONS = 12


def shard_of(number: int) -> int:
    """Return the shard of a user's or a tweet's keys, from its id."""
    return number % SHARDS
