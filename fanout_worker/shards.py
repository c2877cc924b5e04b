"""The shards of Redis, as the fan-out writes them: every write is fenced by the progress keys."""

from __future__ import annotations

import logging
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
from fanout_worker.rounds import Part, Wave

LOG = logging.getLogger(__name__)

# By partition.
Fences = dict[int, Checkpoint]


class Shards:
    """One connection for each shard, so that the shards' round trips overlap.

    The last wave that was sent is under way until settle(): what comes next is prepared while
    Redis works. The other methods are for when nothing is under way.
    """

    def __init__(self, url: str, length: int, silence_seconds: float) -> None:
        """Use the Redis at the URL.

        length: how many ids a list keeps. silence_seconds: how long an answer may take.
        """
        # Those of the history that is applied; nothing is asked before it is known.
        self.keys = Keys.of("", "")
        self._pool = ConnectionPool.from_url(
            url,
            max_connections=SHARDS + 1,
            socket_timeout=silence_seconds,
            socket_connect_timeout=2.0,
            retry=Retry(NoBackoff(), 0),
        )
        self._redis = Redis(connection_pool=self._pool)
        self._connections: list[BlockingRedisConnection] = []
        self._longest = length + TRIM_SLACK
        self._under_way: Wave = {}
        self._moves = 0

    def close(self) -> None:
        """Drop the connections, and what is under way; the next use makes new ones."""
        for connection in self._connections:
            connection.close()
        self._connections.clear()
        self._under_way = {}

    def fences(self, partitions: Sequence[int]) -> list[dict[int, Checkpoint | None]]:
        """Return, by shard, what the progress keys of the partitions hold.

        Raises redis.RedisError or OSError, as every method here, when Redis does not answer.
        """
        connections = self._open()
        for shard, connection in enumerate(connections):
            connection.send(pack(b"MGET", *self._checkpoints(shard, partitions)))
        return [
            {
                partition: Checkpoint.decode(value) if value is not None else None
                for partition, value in zip(partitions, connection.read(1)[0], strict=True)
            }
            for connection in connections
        ]

    def create_fence(self, shard: int, partition: int, progress: Checkpoint) -> None:
        """Create a progress key, if it is not there."""
        (key,) = self._checkpoints(shard, [partition])
        created = self._open()[shard].execute(b"SET", key, progress.encode(), b"NX")
        METRICS.add(Metric.CHECKPOINT_CREATED, created is not None)

    def remove_fence(self, shard: int, partition: int, fence: Checkpoint) -> None:
        """Remove a progress key, if it still says this.

        For when the records after it are lost: nobody can tell what the lists lack. They go when
        the key is created again; until then no list is built.
        """
        connection = self._open()[shard]
        (key,) = self._checkpoints(shard, [partition])
        connection.execute(b"WATCH", key)
        if connection.execute(b"GET", key) != fence.encode():
            connection.execute(b"UNWATCH")
            return
        connection.execute(b"MULTI")
        connection.execute(b"UNLINK", key)
        METRICS.add(Metric.LOST_RECORDS_NOTICED, connection.execute(b"EXEC") is not None)

    def drop_all(self) -> None:
        """Remove all lists and all bodies, which readers then build and fill anew."""
        keys = self.keys
        unlink_all(
            self._redis, keys.home_lists_pattern, keys.author_lists_pattern, keys.tweets_pattern
        )

    def remove_histories(self, prefix: str, histories: Collection[str]) -> int:
        """Remove all keys of these histories under the prefix; return how many there were."""
        ended = {history.encode() for history in histories}
        start = len(prefix)
        return unlink_all(
            self._redis,
            f"{prefix}*",
            only=lambda key: key[start:].partition(b":")[0] in ended,
        )

    def make_room(self) -> None:
        """Drop all lists and bodies because Redis has no memory for what they need.

        They no longer grow, so readers must not trust them. Removing needs no memory and frees
        some, perhaps enough for the fan-out to go on.
        """
        try:
            self.drop_all()
        except (RedisError, OSError) as error:
            LOG.warning("cached timelines cannot be dropped now: %s", error)
            return
        METRICS.add(Metric.REDIS_FULL)
        LOG.error(
            "Redis is at its memory limit and refused a write, all cached timelines were dropped: "
            "raise maxmemory, or remove what else is in Redis"
        )

    def apply(
        self, waves: Iterable[Wave], before: Sequence[Fences], after: Sequence[Fences]
    ) -> bool:
        """Apply waves, and move the shards' fences from where they are to where they end.

        before, after: by shard. Each part writes the WAL position, only a shard's last one moves
        offset and epoch, and redoing parts is harmless. Each wave is made while the one before is
        under way; the last is still under way at the end. Return False, and do no more, when a
        progress key says something else, now or in what was under way before.
        """
        believed = list(before)
        for wave in waves:
            if not (self.settle() and self._watch(wave, believed)):
                return False
            for shard, part in wave.items():
                if part.last:
                    believed[shard] = after[shard]
                else:
                    believed[shard] = _wal_moved(believed[shard], after[shard])
            self._send(wave, believed)
        return True

    def settle(self) -> bool:
        """Wait until nothing is under way; return False if a watched key had been touched."""
        wave, self._under_way = self._under_way, {}
        settled = True
        for shard, part in wave.items():
            connection = self._connections[shard]
            # OK for MULTI, then QUEUED for each command.
            answers = connection.read(part.commands + self._moves + 2)[-1]
            if answers is None:
                settled = False
                continue
            for answer in answers:
                if isinstance(answer, hiredis.ReplyError):
                    raise ResponseError(str(answer))
            self._trim(connection, part, answers)
        return settled

    def _watch(self, wave: Wave, believed: Sequence[Fences]) -> bool:
        """Watch the progress keys; return whether all are what is believed, else watch none."""
        connections = self._open()
        for shard in wave:
            keys = self._checkpoints(shard, believed[shard])
            connections[shard].send(pack(b"WATCH", *keys) + pack(b"MGET", *keys))
        mismatched = [
            shard
            for shard in wave
            if connections[shard].read(2)[1]
            != [fence.encode() for fence in believed[shard].values()]
        ]
        if mismatched:
            for shard in wave:
                connections[shard].send(pack(b"UNWATCH"), ignored_replies=1)
        return not mismatched

    def _send(self, wave: Wave, fences: Sequence[Fences]) -> None:
        """Send each shard's transaction, which sets the fences."""
        for shard, part in wave.items():
            keys = self._checkpoints(shard, fences[shard])
            moves = zip(keys, fences[shard].values(), strict=True)
            sets = [pack(b"SET", key, fence.encode()) for key, fence in moves]
            self._moves = len(sets)
            self._connections[shard].send(
                b"".join([pack(b"MULTI"), part.packed, *sets, pack(b"EXEC")])
            )
        self._under_way = wave

    def _trim(
        self, connection: BlockingRedisConnection, part: Part, answers: Sequence[Any]
    ) -> None:
        """Cut the lists that outgrew their cap: nobody reads them, or a reader would compact."""
        first = part.commands - len(part.pushed)
        end = b"%d" % (self._longest - 1)
        trims = [
            pack(b"LTRIM", key, b"0", end)
            for key, length in zip(part.pushed, answers[first : part.commands], strict=True)
            if length > self._longest
        ]
        if trims:
            METRICS.add(Metric.LIST_TRIMMED, len(trims))
            connection.send(b"".join(trims), ignored_replies=len(trims))

    def _open(self) -> list[BlockingRedisConnection]:
        # One by one: those made before one that fails must be given back by close().
        while len(self._connections) < SHARDS:
            self._connections.append(BlockingRedisConnection(self._pool))
        return self._connections

    def _checkpoints(self, shard: int, partitions: Iterable[int]) -> list[bytes]:
        return [
            self.keys.checkpoint(Shard(shard), Partition(partition)).encode()
            for partition in partitions
        ]


def _wal_moved(fences: Fences, ends: Mapping[int, Checkpoint]) -> Fences:
    return {
        partition: replace(fence, lsn=ends[partition].lsn) for partition, fence in fences.items()
    }
