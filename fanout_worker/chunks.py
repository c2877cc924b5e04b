"""Rounds and chunks: the units in which commands are sent to the shards of Redis.

A chunk is a part of a batch that one shard executes in one transaction. A round has at most one
chunk per shard; the chunks of a round are sent together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from core.feed.sharding import SHARDS, Shard
from core.runtime.metrics import METRICS, Metric

ALL_SHARDS = tuple(Shard(number) for number in range(SHARDS))

# Redis does nothing else while it executes a transaction. These limits keep that to milliseconds.
MAX_COMMANDS = 1000
MAX_IDS = 32_000
# The most commands that are packed as one piece, unless they are pushes. A chunk consists of whole
# pieces.
PIECE_COMMANDS = 100


class PushedLists(NamedTuple):
    """The lists that consecutive pushes push to, in the order of the pushes."""

    key_start: bytes
    """The keys up to the user's id."""
    user_ids: Sequence[int]

    def key(self, index: int) -> bytes:
        """Return the key of one of the lists."""
        return b"%b%d" % (self.key_start, self.user_ids[index])


class Commands(NamedTuple):
    """Consecutive commands for one shard."""

    packed: bytes
    """The commands in RESP, one after another."""
    commands: int = 1
    """How many commands there are."""
    ids: int = 0
    """How many tweet ids they push."""
    pushed: PushedLists | None = None
    """The lists, if all of the commands are pushes."""


def join_commands(packed: Iterable[bytes]) -> Iterator[Commands]:
    """Yield packed commands in pieces.

    Args:
        packed: One command each; no pushes. Is read piece by piece.
    """
    rest = iter(packed)
    while piece := list(islice(rest, PIECE_COMMANDS)):
        yield Commands(b"".join(piece), len(piece))


class Chunk(NamedTuple):
    """A part of a batch that one shard executes in one transaction."""

    packed: Sequence[bytes]
    """The commands in RESP, in pieces: joining them is left to the one who sends them."""
    commands: int
    """How many commands there are."""
    pushed: Sequence[PushedLists]
    """The lists that the chunk pushes to. The pushes are its last commands."""
    is_last: bool
    """Whether the shard has all of the batch once this chunk is applied."""


Round = Mapping[Shard, Chunk]


def cut_into_rounds(
    commands: Mapping[Shard, Iterator[Commands]], *, is_last: bool
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


def _chunks(commands: Iterable[Commands], *, is_last: bool) -> Iterator[Chunk]:
    packed: list[bytes] = []
    pushed: list[PushedLists] = []
    count = ids = 0
    for each in commands:
        if packed and (count + each.commands > MAX_COMMANDS or ids + each.ids > MAX_IDS):
            yield Chunk(packed, count, pushed, is_last=False)
            packed, pushed, count, ids = [], [], 0, 0
        packed.append(each.packed)
        count += each.commands
        ids += each.ids
        if each.pushed is not None:
            pushed.append(each.pushed)
    if packed or is_last:
        yield Chunk(packed, count, pushed, is_last)
