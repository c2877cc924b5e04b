"""Rounds and checkpoints, for the tests of the shards."""

from __future__ import annotations

from collections.abc import Mapping

from core.feed.checkpoints import Checkpoint
from core.feed.history import Lsn
from core.feed.sharding import SHARDS, Partition
from fanout_worker.chunks import ALL_SHARDS, Commands, Round, cut_into_rounds

HISTORY = "0123456789"
LENGTH = 10
P0, P3 = Partition(0), Partition(3)
START = Checkpoint(0, Lsn(10), 1, "topic")
END = Checkpoint(5, Lsn(40), 2, "topic", 77)


def checkpoint_rows(
    checkpoint: Checkpoint, *partitions: Partition
) -> dict[Partition, list[Checkpoint]]:
    """Return rows of partitions that have this checkpoint in every shard."""
    return {partition: [checkpoint] * SHARDS for partition in partitions}


def last_rounds(commands: Mapping[int, list[Commands]]) -> list[Round]:
    """Return rounds that apply the commands of each shard, with a last chunk for every shard."""
    by_shard = {shard: iter(commands.get(shard, [])) for shard in ALL_SHARDS}
    return list(cut_into_rounds(by_shard, is_last=True))
