"""Rounds and chunks: the units in which commands are sent to the shards of Redis.

A chunk is one transaction on one shard. A round has at most one chunk per shard; the chunks of a
round are sent together, so that their round trips overlap.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from core.feed.sharding import SHARDS, Shard
from core.runtime.metrics import METRICS, Metric

ALL_SHARDS = tuple(Shard(number) for number in range(SHARDS))

# Redis does nothing else while it executes a transaction. These limits keep that to milliseconds.
MAX_COMMANDS = 1000
MAX_IDS = 20_000


class Command(NamedTuple):
    """A packed Redis command."""

    packed: bytes
    ids: int = 0
    """How many tweet ids it pushes."""
    list_key: bytes | None = None
    """The key of the list that it pushes to."""


class Chunk(NamedTuple):
    """One transaction on one shard."""

    packed: bytes
    """The commands, packed one after another."""
    commands: int
    """How many commands there are."""
    list_keys: Sequence[bytes]
    """The keys of the lists that the chunk pushes to. The pushes are its last commands."""
    is_last: bool
    """Whether the shard has all of the batch once this chunk is applied."""


Round = Mapping[Shard, Chunk]


def cut_into_rounds(
    commands: Mapping[Shard, Iterator[Command]], *, is_last: bool
) -> Iterator[Round]:
    """Yield rounds that together have all commands, in their order.

    Args:
        commands: The commands of each shard. Pushes come after all other commands.
        is_last: Whether the final chunk of each shard ends the batch. Then every shard has at
            least one chunk, if need be an empty one.
    """
    chunks = {shard: _chunks(of_shard, is_last=is_last) for shard, of_shard in commands.items()}
    while True:
        round_ = {
            shard: chunk
            for shard, of_shard in chunks.items()
            if (chunk := next(of_shard, None)) is not None
        }
        if not round_:
            return
        METRICS.add(Metric.BATCH_CUT, any(not chunk.is_last for chunk in round_.values()))
        yield round_


def _chunks(commands: Iterable[Command], *, is_last: bool) -> Iterator[Chunk]:
    packed: list[bytes] = []
    list_keys: list[bytes] = []
    ids = 0
    for command in commands:
        if packed and (len(packed) == MAX_COMMANDS or ids + command.ids > MAX_IDS):
            yield Chunk(b"".join(packed), len(packed), list_keys, is_last=False)
            packed, list_keys, ids = [], [], 0
        packed.append(command.packed)
        ids += command.ids
        if command.list_key is not None:
            list_keys.append(command.list_key)
    if packed or is_last:
        yield Chunk(b"".join(packed), len(packed), list_keys, is_last)
