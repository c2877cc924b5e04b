"""The shards of Redis, as the fan-out writes them: every write is fenced by the progress keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redis import ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from core.bodies import ALL_BODIES
from core.counters import COUNTERS, Rare
from core.progress import Progress, progress_key
from core.scan import unlink_all
from core.shards import SHARDS
from core.timeline import ALL_AUTHOR_LISTS, ALL_TIMELINES, TRIM_SLACK
from fanout_worker.batch import Command

# A transaction of so many commands keeps Redis from others for about two milliseconds.
PART = 1000
TIMEOUT_SECONDS = 10.0

# By partition.
Fences = dict[int, Progress]


class Shards:
    """One connection for each shard, so that the shards' round trips overlap."""

    def __init__(self, url: str, length: int) -> None:
        self._pool = ConnectionPool.from_url(
            url,
            max_connections=SHARDS + 1,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=2.0,
            retry=Retry(NoBackoff(), 0),
        )
        self._redis = Redis(connection_pool=self._pool)
        # Any: redis-py leaves the methods of its connections without annotations.
        self._connections: list[Any] = []
        self._longest = length + TRIM_SLACK

    def close(self) -> None:
        """Drop the connections; the next use makes new ones."""
        for connection in self._connections:
            connection.disconnect()
            self._pool.release(connection)
        self._connections.clear()

    def fences(self, partitions: Sequence[int]) -> list[dict[int, Progress | None]]:
        """Return, by shard, what the progress keys of the partitions hold.

        Raises redis.RedisError, as every method here, when Redis does not answer.
        """
        connections = self._open()
        for shard, connection in enumerate(connections):
            keys = [progress_key(shard, partition) for partition in partitions]
            connection.send_command("MGET", *keys)
        return [
            {
                partition: Progress.decode(value) if value is not None else None
                for partition, value in zip(partitions, connection.read_response(), strict=True)
            }
            for connection in connections
        ]

    def create_fence(self, shard: int, partition: int, progress: Progress) -> None:
        """Create a progress key, if it is not there."""
        connection = self._open()[shard]
        connection.send_command("SET", progress_key(shard, partition), progress.encode(), "NX")
        COUNTERS.add(Rare.FENCE_CREATED, connection.read_response() is not None)

    def wipe(self, shard: int, partition: int, fence: Progress) -> None:
        """Empty the shard's node, if the progress key still says this.

        For when the records after it are lost: what the lists lack nobody can tell.
        """
        connection = self._open()[shard]
        key = progress_key(shard, partition)
        connection.send_command("WATCH", key)
        connection.read_response()
        connection.send_command("GET", key)
        if connection.read_response() != fence.encode():
            connection.send_command("UNWATCH")
            connection.read_response()
            return
        for command in ("MULTI", "FLUSHALL", "EXEC"):
            connection.send_command(command)
            answer = connection.read_response()
        COUNTERS.add(Rare.SHARD_WIPED, answer is not None)

    def drop_all(self) -> None:
        """Remove all lists and all bodies, which readers then build and fill anew."""
        unlink_all(self._redis, ALL_TIMELINES, ALL_AUTHOR_LISTS, ALL_BODIES)

    def apply(
        self,
        work: Mapping[int, Sequence[Command]],
        fences: Sequence[Fences],
        ends: Sequence[Fences],
    ) -> set[int]:
        """Apply commands, by shard, and move the shard's fences from where they are to the ends.

        fences, ends: by shard. Return the shards whose progress keys say something else: those
        were left as they are, from the part on that found it. A long transaction is cut into
        parts; each writes the WAL position, only the last moves offset and epoch, and redoing
        parts is harmless.
        """
        believed = {shard: dict(fences[shard]) for shard in work}
        parts = {
            shard: [commands[i : i + PART] for i in range(0, len(commands), PART)] or [[]]
            for shard, commands in work.items()
        }
        COUNTERS.add(Rare.BATCH_CUT, any(len(rest) > 1 for rest in parts.values()))
        mismatched: set[int] = set()
        while parts:
            mismatched |= self._watch({shard: believed[shard] for shard in parts})
            parts = {shard: rest for shard, rest in parts.items() if shard not in mismatched}
            after = {
                shard: ends[shard] if len(rest) == 1 else _wal_moved(believed[shard], ends[shard])
                for shard, rest in parts.items()
            }
            now = {shard: rest[0] for shard, rest in parts.items()}
            mismatched |= self._execute(now, after)
            believed |= after
            parts = {
                shard: rest[1:]
                for shard, rest in parts.items()
                if len(rest) > 1 and shard not in mismatched
            }
        return mismatched

    def _watch(self, believed: Mapping[int, Fences]) -> set[int]:
        """Watch the progress keys; return the shards where they are not what is believed."""
        connections = self._open()
        for shard, fences in believed.items():
            keys = [progress_key(shard, partition) for partition in fences]
            connections[shard].send_packed_command(
                connections[shard].pack_commands([("WATCH", *keys), ("MGET", *keys)])
            )
        mismatched = set()
        for shard, fences in believed.items():
            connections[shard].read_response()
            if connections[shard].read_response() != [f.encode() for f in fences.values()]:
                connections[shard].send_command("UNWATCH")
                connections[shard].read_response()
                mismatched.add(shard)
        return mismatched

    def _execute(
        self, commands: Mapping[int, Sequence[Command]], after: Mapping[int, Fences]
    ) -> set[int]:
        """Run each shard's transaction; return the shards where a watched key was touched."""
        connections = self._open()
        for shard, part in commands.items():
            moves = [
                ("SET", progress_key(shard, partition), fence.encode())
                for partition, fence in after[shard].items()
            ]
            connections[shard].send_packed_command(
                connections[shard].pack_commands([("MULTI",), *part, *moves, ("EXEC",)])
            )
        mismatched = set()
        for shard, part in commands.items():
            connection = connections[shard]
            for _ in range(1 + len(part) + len(after[shard])):
                connection.read_response()
            answers = connection.read_response()
            if answers is None:
                mismatched.add(shard)
                continue
            for answer in answers:
                if isinstance(answer, RedisError):
                    raise answer
            self._trim(connection, part, answers)
        return mismatched

    def _trim(self, connection: Any, part: Sequence[Command], answers: Sequence[object]) -> None:
        """Cut the lists that outgrew their cap: nobody reads them, or a reader would compact."""
        trims = [
            ("LTRIM", command[1], 0, self._longest - 1)
            for command, answer in zip(part, answers, strict=False)
            if command[0] == "LPUSHX" and isinstance(answer, int) and answer > self._longest
        ]
        if trims:
            COUNTERS.add(Rare.LIST_TRIMMED, len(trims))
            connection.send_packed_command(connection.pack_commands(trims))
            for _ in trims:
                connection.read_response()

    def _open(self) -> list[Any]:
        # One by one: those made before one that fails must be given back by close().
        while len(self._connections) < SHARDS:
            self._connections.append(self._pool.get_connection())
        return self._connections


def _wal_moved(fences: Fences, ends: Fences) -> Fences:
    return {
        partition: Progress(fence.offset, ends[partition].wal_position, fence.epoch, fence.topic_id)
        for partition, fence in fences.items()
    }
