"""The shards of Redis: transactions that take effect only at the expected checkpoints."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import hiredis
from redis import ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from core.feed.checkpoints import Checkpoint
from core.feed.keys import Keys
from core.feed.sharding import SHARDS, Partition, Shard
from core.feed.timeline_lists import TRIM_SLACK
from core.runtime.metrics import METRICS, Metric
from core.storage.redis import BlockingRedisConnection
from core.storage.redis_scan import unlink_all
from core.storage.resp import pack
from fanout_worker.checkpoints import CheckpointMismatch, of_shard
from fanout_worker.chunks import ALL_SHARDS, Chunk, Round
from fanout_worker.protocols import CheckpointRows

LOG = logging.getLogger(__name__)
CONNECT_SECONDS = 2.0

# One shard's checkpoints.
_ShardCheckpoints = Mapping[Partition, Checkpoint]


class RedisShards:
    """The TimelineShards protocol on a Redis server, with one connection per shard.

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
        self._keys = Keys.of(prefix, "")
        self._pool = ConnectionPool.from_url(
            url,
            max_connections=SHARDS + 1,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=CONNECT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._redis = Redis(connection_pool=self._pool)
        self._connections: list[BlockingRedisConnection] = []
        self._max_list_length = timeline_length + TRIM_SLACK
        self._under_way: Round = {}
        # How many checkpoints each chunk under way stores.
        self._stored_checkpoints = 0

    @property
    def keys(self) -> Keys:
        """See TimelineShards."""
        return self._keys

    def enter_history(self, history: str) -> None:
        """See TimelineShards."""
        self._keys = Keys.of(self._prefix, history)

    def close(self) -> None:
        """See TimelineShards."""
        for connection in self._connections:
            connection.close()
        self._connections.clear()
        self._under_way = {}

    def read_checkpoints(
        self, partitions: Sequence[Partition]
    ) -> dict[Partition, list[Checkpoint | None]]:
        """See TimelineShards."""
        connections = self._open()
        for shard, connection in zip(ALL_SHARDS, connections, strict=True):
            connection.send(pack(b"MGET", *self._checkpoint_keys(shard, partitions)))
        by_shard = [connection.read(1)[0] for connection in connections]
        return {
            partition: [value if value is None else Checkpoint.decode(value) for value in row]
            for partition, row in zip(partitions, zip(*by_shard, strict=True), strict=True)
        }

    def create_checkpoint(self, shard: Shard, partition: Partition, checkpoint: Checkpoint) -> None:
        """See TimelineShards."""
        (key,) = self._checkpoint_keys(shard, [partition])
        created = self._open()[shard].execute(b"SET", key, checkpoint.encode(), b"NX")
        METRICS.add(Metric.CHECKPOINT_CREATED, created is not None)

    def remove_checkpoint(self, shard: Shard, partition: Partition, checkpoint: Checkpoint) -> None:
        """See TimelineShards."""
        connection = self._open()[shard]
        (key,) = self._checkpoint_keys(shard, [partition])
        connection.execute(b"WATCH", key)
        if connection.execute(b"GET", key) != checkpoint.encode():
            connection.execute(b"UNWATCH")
            return
        connection.execute(b"MULTI")
        connection.execute(b"UNLINK", key)
        METRICS.add(Metric.LOST_RECORDS_NOTICED, connection.execute(b"EXEC") is not None)

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
        expected: list[_ShardCheckpoints] = [of_shard(before, shard) for shard in ALL_SHARDS]
        ends = [of_shard(after, shard) for shard in ALL_SHARDS]
        for round_ in rounds:
            self.settle()
            self._watch(round_, expected)
            for shard, chunk in round_.items():
                end = ends[shard]
                expected[shard] = end if chunk.is_last else _within_batch(expected[shard], end)
            self._send(round_, expected)

    def settle(self) -> None:
        """See TimelineShards."""
        round_, self._under_way = self._under_way, {}
        changed = []
        for shard, chunk in round_.items():
            connection = self._connections[shard]
            # OK for MULTI, QUEUED for each command, and the reply to EXEC.
            replies = connection.read(chunk.commands + self._stored_checkpoints + 2)[-1]
            if replies is None:
                changed.append(shard)
                continue
            for reply in replies:
                if isinstance(reply, hiredis.ReplyError):
                    raise ResponseError(str(reply))
            self._trim(connection, chunk, replies)
        if changed:
            _raise_mismatch(changed)

    def _watch(self, round_: Round, expected: Sequence[_ShardCheckpoints]) -> None:
        """Make the round's transactions fail if a checkpoint changes before they are executed.

        Raises:
            CheckpointMismatch: A checkpoint is not the expected one. Nothing stays watched.
        """
        connections = self._open()
        for shard in round_:
            keys = self._checkpoint_keys(shard, expected[shard])
            connections[shard].send(pack(b"WATCH", *keys) + pack(b"MGET", *keys))
        changed = [
            shard
            for shard in round_
            if connections[shard].read(2)[1]
            != [checkpoint.encode() for checkpoint in expected[shard].values()]
        ]
        if changed:
            for shard in round_:
                connections[shard].send(pack(b"UNWATCH"), ignored_replies=1)
            _raise_mismatch(changed)

    def _send(self, round_: Round, checkpoints: Sequence[_ShardCheckpoints]) -> None:
        """Send each chunk as a transaction that also stores the shard's checkpoints."""
        for shard, chunk in round_.items():
            keys = self._checkpoint_keys(shard, checkpoints[shard])
            stored = zip(keys, checkpoints[shard].values(), strict=True)
            sets = [pack(b"SET", key, checkpoint.encode()) for key, checkpoint in stored]
            self._stored_checkpoints = len(sets)
            self._connections[shard].send(
                b"".join([pack(b"MULTI"), chunk.packed, *sets, pack(b"EXEC")])
            )
        self._under_way = round_

    def _trim(
        self, connection: BlockingRedisConnection, chunk: Chunk, replies: Sequence[Any]
    ) -> None:
        """Trim lists that are too long because no reader has compacted them for a while.

        Args:
            connection: The shard's connection.
            chunk: A chunk that was executed.
            replies: The replies to its commands. The reply to a push is the list's new length.
        """
        first_push = chunk.commands - len(chunk.list_keys)
        end = b"%d" % (self._max_list_length - 1)
        trims = [
            pack(b"LTRIM", key, b"0", end)
            for key, length in zip(
                chunk.list_keys, replies[first_push : chunk.commands], strict=True
            )
            if length > self._max_list_length
        ]
        if trims:
            METRICS.add(Metric.LIST_TRIMMED, len(trims))
            connection.send(b"".join(trims), ignored_replies=len(trims))

    def _open(self) -> list[BlockingRedisConnection]:
        # Appended one by one: if a connection fails, close() can return the earlier ones to the
        # pool.
        while len(self._connections) < SHARDS:
            self._connections.append(BlockingRedisConnection(self._pool))
        return self._connections

    def _checkpoint_keys(self, shard: Shard, partitions: Iterable[Partition]) -> list[bytes]:
        return [self._keys.checkpoint(shard, partition).encode() for partition in partitions]


def _within_batch(checkpoints: _ShardCheckpoints, ends: _ShardCheckpoints) -> _ShardCheckpoints:
    """Return the checkpoints of a shard that has applied only a part of the batch.

    It must already have the batch's LSN: a list that is built now must have the effect of that
    part. Its offset stays, so that the part is applied again after a failure. The id of the chunk
    makes sure that no other worker goes on in the middle of this batch, nor this one in the middle
    of another's.
    """
    chunk_id = secrets.token_hex(8)
    return {
        partition: replace(checkpoint, lsn=ends[partition].lsn, chunk_id=chunk_id)
        for partition, checkpoint in checkpoints.items()
    }


def _raise_mismatch(shards: Sequence[Shard]) -> None:
    METRICS.add(Metric.CHECKPOINT_MISMATCH)
    raise CheckpointMismatch(f"checkpoints changed in Redis in shards {shards}")
