"""A fake of TimelineShards: a dictionary that executes the worker's commands."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import hiredis

from core.feed import tweet_cache
from core.feed.checkpoints import Checkpoint
from core.feed.keys import Keys
from core.feed.sharding import Partition, Shard
from core.feed.timeline_lists import TRIM_SLACK
from fanout_worker.checkpoints import CheckpointMismatch, of_shard
from fanout_worker.chunks import ALL_SHARDS, Chunk, Round
from fanout_worker.protocols import CheckpointRows


@dataclass
class FakeRedis:
    """The keys of a Redis server, which several workers may share."""

    strings: dict[bytes, bytes] = field(default_factory=dict)
    lists: dict[bytes, list[bytes]] = field(default_factory=dict)
    writes: Counter[bytes] = field(default_factory=Counter)
    """How often each key was written, as WATCH sees it."""
    failure: Exception | None = None
    """What every use raises, as if Redis were away."""

    def check(self) -> None:
        """Raise the failure, if there is one."""
        if self.failure is not None:
            raise self.failure

    def set(self, key: str | bytes, value: bytes) -> None:
        """Set a string."""
        key = key.encode() if isinstance(key, str) else key
        self.strings[key] = value
        self.writes[key] += 1

    def unlink(self, key: str | bytes) -> int:
        """Remove a key; return how many keys were removed."""
        key = key.encode() if isinstance(key, str) else key
        self.writes[key] += 1
        return sum(keys.pop(key, None) is not None for keys in (self.strings, self.lists))

    def flush(self) -> None:
        """Remove all keys."""
        for key in (*self.strings, *self.lists):
            self.unlink(key)

    def execute(self, command: Sequence[bytes]) -> int:
        """Execute a command; return its reply if that is a number, otherwise 0."""
        match command:
            case [b"UNLINK", key]:
                return self.unlink(key)
            case [b"LPUSHX", key, *ids]:
                return self._push(key, ids)
            case [b"SET", key, value, b"NX", b"EX", _]:
                if key not in self.strings:
                    self.set(key, value)
            case [b"EVAL", script, b"1", key, value, _]:
                assert script == tweet_cache.SET_IF_NEWER.encode()
                if _is_newer(value, self.strings.get(key)):
                    self.set(key, value)
            case _:
                raise NotImplementedError(command)
        return 0

    def _push(self, key: bytes, ids: Iterable[bytes]) -> int:
        if key not in self.lists:
            return 0
        for id_ in ids:
            self.lists[key].insert(0, id_)
        return len(self.lists[key])


def _is_newer(value: bytes, old: bytes | None) -> bool:
    if old == tweet_cache.DELETED:
        return False
    if old is None or value == tweet_cache.DELETED or tweet_cache.is_lease(old):
        return True
    return int(value.partition(b":")[0]) > int(old.partition(b":")[0])


@dataclass(frozen=True)
class _Transaction:
    """A chunk under way."""

    chunk: Chunk
    watched: Mapping[bytes, int]
    """The checkpoints' keys, and how often they had been written."""
    checkpoints: Mapping[bytes, bytes]


class FakeShards:
    """One worker's view of a FakeRedis; fulfils TimelineShards."""

    def __init__(
        self, redis: FakeRedis, prefix: str = "fanfare:", timeline_length: int = 800
    ) -> None:
        self.redis = redis
        self.calls: list[str] = []
        """The names of the methods that changed something, in order."""
        self._prefix = prefix
        self._keys = Keys.of(prefix, "")
        self._max_list_length = timeline_length + TRIM_SLACK
        self._under_way: dict[Shard, _Transaction] = {}

    @property
    def keys(self) -> Keys:
        """See TimelineShards."""
        return self._keys

    def enter_history(self, history: str) -> None:
        """See TimelineShards."""
        self._keys = Keys.of(self._prefix, history)

    def close(self) -> None:
        """See TimelineShards."""
        self._under_way = {}

    def read_checkpoints(
        self, partitions: Sequence[Partition]
    ) -> dict[Partition, list[Checkpoint | None]]:
        """See TimelineShards."""
        self.redis.check()
        return {
            partition: [self._checkpoint(shard, partition) for shard in ALL_SHARDS]
            for partition in partitions
        }

    def create_checkpoint(self, shard: Shard, partition: Partition, checkpoint: Checkpoint) -> None:
        """See TimelineShards."""
        self.redis.check()
        self.calls.append("create_checkpoint")
        if self._checkpoint(shard, partition) is None:
            self.redis.set(self._keys.checkpoint(shard, partition), checkpoint.encode())

    def remove_checkpoint(self, shard: Shard, partition: Partition, checkpoint: Checkpoint) -> None:
        """See TimelineShards."""
        self.redis.check()
        self.calls.append("remove_checkpoint")
        if self._checkpoint(shard, partition) == checkpoint:
            self.redis.unlink(self._keys.checkpoint(shard, partition))

    def drop_caches(self) -> None:
        """See TimelineShards."""
        self.redis.check()
        self.calls.append("drop_caches")
        start = self._keys.prefix.encode()
        for key in [*self.redis.lists, *self.redis.strings]:
            kind = key.removeprefix(start).split(b":")[1]
            if key.startswith(start) and kind in {b"timeline", b"author", b"tweet"}:
                self.redis.unlink(key)

    def drop_caches_for_memory(self) -> None:
        """See TimelineShards."""
        self.redis.failure = None
        self.drop_caches()

    def remove_histories(self, histories: Collection[str]) -> int:
        """See TimelineShards."""
        self.redis.check()
        starts = tuple(f"{self._prefix}{history}:".encode() for history in histories)
        keys = [*self.redis.lists, *self.redis.strings]
        return sum(self.redis.unlink(key) for key in keys if key.startswith(starts))

    def apply(self, rounds: Iterable[Round], before: CheckpointRows, after: CheckpointRows) -> None:
        """See TimelineShards."""
        expected = [of_shard(before, shard) for shard in ALL_SHARDS]
        for round_ in rounds:
            self.settle()
            self.redis.check()
            for shard in round_:
                for partition, checkpoint in expected[shard].items():
                    if self._checkpoint(shard, partition) != checkpoint:
                        raise CheckpointMismatch(f"in shard {shard}")
            for shard, chunk in round_.items():
                ends = of_shard(after, shard)
                if not chunk.is_last:
                    chunk_id = uuid.uuid4().hex
                    ends = {
                        p: replace(c, lsn=ends[p].lsn, chunk_id=chunk_id)
                        for p, c in expected[shard].items()
                    }
                expected[shard] = ends
                stored = {self._key(shard, p): c.encode() for p, c in ends.items()}
                watched = {key: self.redis.writes[key] for key in stored}
                self._under_way[shard] = _Transaction(chunk, watched, stored)

    def settle(self) -> None:
        """See TimelineShards."""
        under_way, self._under_way = self._under_way, {}
        changed = []
        for shard, transaction in under_way.items():
            self.redis.check()
            if any(self.redis.writes[key] != n for key, n in transaction.watched.items()):
                changed.append(shard)
                continue
            self.calls.append("execute")
            self._execute(transaction)
        if changed:
            raise CheckpointMismatch(f"in shards {changed}")

    def _execute(self, transaction: _Transaction) -> None:
        reader = hiredis.Reader()
        reader.feed(b"".join(transaction.chunk.packed))
        for _ in range(transaction.chunk.commands):
            command: list[bytes] = reader.gets()
            if self.redis.execute(command) > self._max_list_length:
                del self.redis.lists[command[1]][self._max_list_length :]
        for key, value in transaction.checkpoints.items():
            self.redis.set(key, value)

    def _checkpoint(self, shard: Shard, partition: Partition) -> Checkpoint | None:
        value = self.redis.strings.get(self._key(shard, partition))
        return None if value is None else Checkpoint.decode(value)

    def _key(self, shard: Shard, partition: Partition) -> bytes:
        return self._keys.checkpoint(shard, partition).encode()
