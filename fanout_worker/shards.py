"""The shards of Redis: transactions that take effect only at the expected checkpoints."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, Never

import hiredis
from redis import ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from core.feed.checkpoints import Checkpoint
from core.feed.keys import Keys
from core.feed.sharding import PARTITIONS, SHARDS, Partition, Shard
from core.feed.timeline_lists import TRIM_SLACK
from core.runtime.metrics import METRICS, Metric
from core.storage.redis_scan import unlink_all
from core.storage.resp import pack
from fanout_worker.checkpoints import CheckpointMismatch
from fanout_worker.chunks import ALL_SHARDS, MAX_COMMANDS, Chunk, Round
from fanout_worker.metrics import ROUNDS
from fanout_worker.protocols import CheckpointRows
from fanout_worker.transactions import TransactionConnection

LOG = logging.getLogger(__name__)
CONNECT_SECONDS = 2.0
# A round with more than this is sent as one transaction per shard, so that Redis serves readers
# between them.
MAX_BYTES_TOGETHER = 500_000

# The checkpoints of one shard as Redis stores them, in the order of a batch's partitions.
_Stored = list[bytes]
# The shards whose chunks one connection executes in one transaction: all of them, or one.
_Group = tuple[Shard, ...]


class RedisShards:
    """The TimelineShards protocol on a Redis server.

    A small round is one transaction on one connection. A large round is one transaction for each
    shard, each on a connection of its own, so that Redis has work while the worker prepares more.

    After apply(), the last round is under way until settle(), so that the caller can prepare the
    next one while Redis works. apply() settles that round itself, and close() gives it up; before
    any other command the caller must call settle().
    """

    def __init__(self, url: str, prefix: str, timeline_length: int, timeout_seconds: float) -> None:
        """Connect when first used.

        Args:
            url: The server.
            prefix: The prefix of all keys, FANFARE_REDIS_PREFIX.
            timeline_length: How many ids a timeline list keeps.
            timeout_seconds: How long Redis may take to answer.
        """
        self._prefix = prefix
        self._pool = ConnectionPool.from_url(
            url,
            # One for all shards, one for each, and one for drop_caches().
            max_connections=SHARDS + 2,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=CONNECT_SECONDS,
            retry=Retry(NoBackoff(), 0),
            # redis-py would look up its own version for each connection, which takes longer than
            # connecting, and tell Redis in two more round trips.
            driver_info=None,
        )
        self._redis = Redis(connection_pool=self._pool)
        self._max_list_length = timeline_length + TRIM_SLACK
        self._connections: dict[_Group, TransactionConnection] = {}
        # The partitions whose checkpoints are watched ahead.
        self._partitions: Sequence[Partition] = ()
        # The chunks under way, in the order in which they are executed.
        self._under_way: dict[_Group, Round] = {}
        self._use_keys(Keys.of(prefix, ""))

    @property
    def keys(self) -> Keys:
        """See TimelineShards."""
        return self._keys

    def enter_history(self, history: str) -> None:
        """See TimelineShards."""
        self._use_keys(Keys.of(self._prefix, history))

    def close(self) -> None:
        """See TimelineShards."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()
        self._under_way = {}
        self._pool.disconnect()

    def read_checkpoints(
        self, partitions: Sequence[Partition]
    ) -> dict[Partition, list[Checkpoint | None]]:
        """See TimelineShards."""
        self._watch_ahead(partitions)
        self._watch([ALL_SHARDS])
        values = self._connections[ALL_SHARDS].values()
        return {
            partition: [
                None if value is None else Checkpoint.decode(value)
                for value in (values[keys[partition]] for keys in self._checkpoint_keys)
            ]
            for partition in partitions
        }

    def create_checkpoint(self, shard: Shard, partition: Partition, checkpoint: Checkpoint) -> None:
        """See TimelineShards."""
        key = self._checkpoint_keys[shard][partition]
        created = self._open(ALL_SHARDS).execute(b"SET", key, checkpoint.encode(), b"NX")
        METRICS.add(Metric.CHECKPOINT_CREATED, created is not None)

    def remove_checkpoint(self, shard: Shard, partition: Partition, checkpoint: Checkpoint) -> None:
        """See TimelineShards."""
        key = self._checkpoint_keys[shard][partition]
        connection = self._open(ALL_SHARDS)
        connection.watch([key])
        if connection.values()[key] == checkpoint.encode():
            connection.send([pack(b"UNLINK", key)], 1)
            METRICS.add(Metric.LOST_RECORDS_NOTICED, connection.finish() is not None)
        connection.forget()

    def drop_caches(self) -> None:
        """See TimelineShards."""
        unlink_all(
            self._redis,
            self._keys.home_lists_pattern,
            self._keys.author_lists_pattern,
            self._keys.tweets_pattern,
        )

    def drop_caches_for_memory(self) -> None:
        """See TimelineShards.

        Lists to which a push failed are wrong, and must be removed. Removing keys needs no memory,
        and may free enough for the fan-out to continue.
        """
        try:
            self.drop_caches()
        except (RedisError, OSError) as error:
            LOG.warning("cannot drop cached timelines: error=%s", error)
            return
        METRICS.add(Metric.REDIS_FULL)
        LOG.error(
            "Redis is out of memory and refused a write; dropped all cached timelines; "
            "raise maxmemory, or move other data to another server"
        )

    def remove_histories(self, histories: Collection[str]) -> int:
        """See TimelineShards."""
        ended = {history.encode() for history in histories}
        start = len(self._prefix)
        return unlink_all(
            self._redis,
            f"{self._prefix}*",
            only=lambda key: key[start:].partition(b":")[0] in ended,
        )

    def apply(self, rounds: Iterable[Round], before: CheckpointRows, after: CheckpointRows) -> None:
        """See TimelineShards."""
        partitions = list(before)
        if not set(partitions) <= set(self._partitions):
            self.settle()
            self._watch_ahead(partitions)
        expected, ends = _encode(before, partitions), _encode(after, partitions)
        for round_ in rounds:
            groups = _group(round_)
            self._watch(groups)
            changed: list[Shard] = []
            # Each connection gets its next transaction as soon as its last one is done, so that
            # Redis is busy with those of the others meanwhile.
            for group in groups:
                changed += self._settle(group)
                chunks = {shard: round_[shard] for shard in group if shard in round_}
                changed += self._find_changed(group, chunks, partitions, expected)
                if changed:
                    break
                for shard, chunk in chunks.items():
                    expected[shard] = (
                        ends[shard] if chunk.is_last else _within_batch(shard, before, after)
                    )
                self._send(group, chunks, partitions, expected)
            if changed:
                self._raise_mismatch([*changed, *self._settle_all()])
            ROUNDS.inc()

    def settle(self) -> None:
        """See TimelineShards."""
        if changed := self._settle_all():
            self._raise_mismatch(changed)

    def _settle_all(self) -> list[Shard]:
        return [shard for group in list(self._under_way) for shard in self._settle(group)]

    def _settle(self, group: _Group) -> Collection[Shard]:
        """Wait for the transaction of a group, if one is under way.

        Returns:
            The shards whose chunks had no effect, because a checkpoint had changed.
        """
        chunks = self._under_way.pop(group, None)
        if chunks is None:
            return ()
        connection = self._connections[group]
        replies = connection.finish()
        if replies is None:
            return chunks.keys()
        if hiredis.ReplyError in set(map(type, replies)):
            raise ResponseError(next(str(r) for r in replies if isinstance(r, hiredis.ReplyError)))
        self._trim(connection, chunks.values(), replies)
        return ()

    def _raise_mismatch(self, shards: Sequence[Shard]) -> Never:
        # What was read when the watches began is of no use to a caller that expects something else.
        self._watch_ahead(self._partitions)
        METRICS.add(Metric.CHECKPOINT_MISMATCH)
        raise CheckpointMismatch(f"checkpoints changed in Redis in shards {shards}")

    def _watch_ahead(self, partitions: Sequence[Partition]) -> None:
        """Watch the checkpoints of these partitions from now on; no round may be under way."""
        self._partitions = partitions
        for connection in self._connections.values():
            connection.forget()

    def _watch(self, groups: Sequence[_Group]) -> None:
        """Make sure that the connections of these groups watch the checkpoints of their shards.

        Raises:
            CheckpointMismatch: Redis refused the round under way.
        """
        unwatched = [group for group in groups if not self._open(group).is_watching]
        if not unwatched:
            return
        # The round under way writes checkpoints that are to be watched.
        self.settle()
        for group in unwatched:
            keys = [self._checkpoint_keys[s][p] for s in group for p in self._partitions]
            self._connections[group].watch(keys)

    def _find_changed(
        self,
        group: _Group,
        shards: Iterable[Shard],
        partitions: Sequence[Partition],
        expected: Sequence[_Stored],
    ) -> list[Shard]:
        """Return the shards of a group in which Redis does not hold the expected checkpoints."""
        values = self._connections[group].values()
        return [
            shard
            for shard in shards
            if [values[self._checkpoint_keys[shard][p]] for p in partitions] != expected[shard]
        ]

    def _send(
        self,
        group: _Group,
        chunks: Round,
        partitions: Sequence[Partition],
        checkpoints: Sequence[_Stored],
    ) -> None:
        """Send chunks as one transaction, which also stores the checkpoints of their shards."""
        arguments: list[bytes] = []
        for shard in chunks:
            keys = self._checkpoint_keys[shard]
            for partition, value in zip(partitions, checkpoints[shard], strict=True):
                arguments += keys[partition], value
        packed = chain.from_iterable(chunk.packed for chunk in chunks.values())
        self._connections[group].send(
            [*packed, pack(b"MSET", *arguments)],
            sum(chunk.commands for chunk in chunks.values()) + 1,
        )
        self._under_way[group] = chunks
        for other, connection in self._connections.items():
            if other != group and not set(other).isdisjoint(group):
                connection.forget()

    def _trim(
        self, connection: TransactionConnection, chunks: Iterable[Chunk], replies: Sequence[Any]
    ) -> None:
        """Trim lists that are too long because no reader has compacted them for a while.

        Args:
            connection: The connection that executed the chunks.
            chunks: The chunks.
            replies: The replies to their commands. The reply to a push is the list's new length.
        """
        trims = []
        end = b"%d" % (self._max_list_length - 1)
        at = 0
        for chunk in chunks:
            at += chunk.commands - sum(len(pushed.user_ids) for pushed in chunk.pushed)
            for pushed in chunk.pushed:
                lengths = replies[at : at + len(pushed.user_ids)]
                at += len(lengths)
                # A list is rarely too long, so most lengths are not looked at one by one.
                if max(lengths, default=0) > self._max_list_length:
                    trims += [
                        pack(b"LTRIM", pushed.key(index), b"0", end)
                        for index, length in enumerate(lengths)
                        if length > self._max_list_length
                    ]
        if trims:
            METRICS.add(Metric.LIST_TRIMMED, len(trims))
            connection.send_unread(b"".join(trims), len(trims))

    def _open(self, group: _Group) -> TransactionConnection:
        connection = self._connections.get(group)
        if connection is None:
            connection = self._connections[group] = TransactionConnection(self._pool)
        return connection

    def _use_keys(self, keys: Keys) -> None:
        self._keys = keys
        self._checkpoint_keys = [
            [keys.checkpoint(shard, Partition(number)).encode() for number in range(PARTITIONS)]
            for shard in ALL_SHARDS
        ]
        self._watch_ahead(())


def _group(round_: Round) -> list[_Group]:
    """Return which shards of a round are written in one transaction."""
    is_small = (
        sum(chunk.commands for chunk in round_.values()) <= MAX_COMMANDS
        and sum(map(len, chain.from_iterable(chunk.packed for chunk in round_.values())))
        <= MAX_BYTES_TOGETHER
    )
    return [ALL_SHARDS] if is_small else [(shard,) for shard in round_]


def _encode(rows: CheckpointRows, partitions: Sequence[Partition]) -> list[_Stored]:
    """Return what Redis stores for checkpoints, by shard."""
    by_partition = []
    for partition in partitions:
        # Most shards have the same checkpoint.
        encoded = {checkpoint: checkpoint.encode() for checkpoint in set(rows[partition])}
        by_partition.append([encoded[checkpoint] for checkpoint in rows[partition]])
    return [list(of_shard) for of_shard in zip(*by_partition, strict=True)]


def _within_batch(shard: Shard, before: CheckpointRows, after: CheckpointRows) -> _Stored:
    """Return the checkpoints of a shard that has applied only a part of the batch.

    It must already have the batch's LSN: a list that is built now must have the effect of that
    part. Its offset stays, so that the part is applied again after a failure. The id of the chunk
    makes sure that no other worker goes on in the middle of this batch, nor this one in the middle
    of another's.
    """
    chunk_id = secrets.token_hex(8)
    return [
        replace(row[shard], lsn=after[partition][shard].lsn, chunk_id=chunk_id).encode()
        for partition, row in before.items()
    ]
