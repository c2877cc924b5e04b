"""Redis, Postgres and Kafka, as the verification of cached timelines reads them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from psycopg import IsolationLevel
from psycopg.rows import args_row, scalar_row
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import WatchError

from core.feed.checkpoints import Checkpoint
from core.feed.keys import Keys
from core.feed.sharding import PARTITIONS, SHARDS, Partition, Shard
from core.feed.timeline_lists import ListKind, TimelineList
from core.storage.postgres import ORACLE_TIMELINE, Connection
from core.storage.postgres_pool import Database
from core.storage.queries import load_queries
from fanout_worker.protocols import TopicInspector
from fanout_worker.verification import NotVerifiableError, Oracle, StoredRow

SQL = load_queries("fanout_worker")
# How many keys Redis looks at in one step of a search for lists, and how many steps one search has.
SCAN_KEYS = 1000
SCAN_STEPS = 20
# More tweets than this are not read for one list, nor more events waited for.
MAX_ROWS = 10_000


class RedisVerificationCache:
    """The `Cache` in Redis."""

    def __init__(self, url: str, prefix: str, timeout_seconds: float) -> None:
        """Connect when first used.

        Args:
            url: where Redis is.
            prefix: FANFARE_REDIS_PREFIX.
            timeout_seconds: how long Redis may take to answer.
        """
        # As redis-py's annotations have it, replies may be text.
        self._redis: Any = Redis.from_url(
            url,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            retry=Retry(NoBackoff(), 0),
        )
        self._prefix = prefix
        self._cursor = 0

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def random_list(self, history: str) -> TimelineList | None:
        """Return a list among those that come next in the order in which Redis scans its keys."""
        keys = Keys.of(self._prefix, history)
        for _ in range(SCAN_STEPS):
            # Lists are the only keys of this type. A tweet's key would take a look-up for nothing.
            self._cursor, found = await self._redis.scan(
                self._cursor, f"{keys.prefix}*", SCAN_KEYS, _type="list"
            )
            if found:
                key: bytes = random.choice(found)  # noqa: S311 - no secret
                _, kind, user_id = key.decode().rsplit(":", 2)
                return TimelineList(int(user_id), ListKind(kind))
        return None

    @asynccontextmanager
    async def watch(self, history: str, list_: TimelineList) -> AsyncIterator[_WatchedList]:
        """Watch a list until the context ends."""
        keys = Keys.of(self._prefix, history)
        key = keys.for_list(list_)
        async with self._redis.pipeline() as pipeline:
            await pipeline.watch(key)
            elements = await pipeline.lrange(key, 0, -1)
            yield _WatchedList(pipeline, keys, key, elements)


class _WatchedList:
    """The `WatchedList` in Redis."""

    def __init__(self, pipeline: Any, keys: Keys, key: str, elements: Sequence[bytes]) -> None:
        """Take a pipeline of redis-py that watches the key; it sends each command at once."""
        self.elements = elements
        self._pipeline = pipeline
        self._keys = keys
        self._key = key

    async def checkpoints(self) -> Mapping[tuple[Shard, Partition], Checkpoint]:
        """Return the checkpoints of the history, without those that are absent."""
        places = [
            (Shard(shard), Partition(partition))
            for shard in range(SHARDS)
            for partition in range(PARTITIONS)
        ]
        values: list[bytes | None] = await self._pipeline.mget(
            [self._keys.checkpoint(*place) for place in places]
        )
        return {
            place: Checkpoint.decode(value)
            for place, value in zip(places, values, strict=True)
            if value is not None
        }

    async def finish(self, ids: Sequence[int]) -> Mapping[int, bytes]:
        """Return the tweet cache entries of these ids, without those that are absent."""
        self._pipeline.multi()
        # Some versions of Redis do not count it as a change of the list that its TTL has ended.
        self._pipeline.lrange(self._key, 0, -1)
        if ids:
            self._pipeline.mget([self._keys.tweet(id_) for id_ in ids])
        try:
            elements, *rest = await self._pipeline.execute()
        except WatchError as error:
            raise NotVerifiableError("the list has changed") from error
        if elements != self.elements:
            raise NotVerifiableError("the list has expired")
        entries: list[bytes | None] = rest[0] if ids else []
        return {id_: entry for id_, entry in zip(ids, entries, strict=True) if entry is not None}


class PostgresVerificationStore:
    """The `Store` on the primary."""

    def __init__(self, primary: Database) -> None:
        """Read from this server, whose connections nobody else may use."""
        self._primary = primary

    async def history(self) -> str | None:
        """Return the valid history; None if none has begun since Postgres started."""
        async with self._transaction() as connection:
            return await _history(connection)

    async def oracle(self, list_: TimelineList, floor: int, ids: Sequence[int]) -> Oracle:
        """Return what the list must contain down to the floor, in one snapshot."""
        is_home = list_.kind is ListKind.HOME
        text = ORACLE_TIMELINE if is_home else SQL["author_timeline"]
        parameters = {"reader": list_.user_id, "floor": floor, "limit": MAX_ROWS + 1}
        async with self._transaction() as connection:
            history = await _history(connection)
            cursor = connection.cursor(row_factory=args_row(StoredRow))
            await cursor.execute(text, parameters)
            rows = await cursor.fetchall()
            existing = await _values(connection, "existing_tweets", ids=list(ids))
            unsent = await _values(connection, "unsent_event_ids", limit=MAX_ROWS + 1)
        if len(rows) > MAX_ROWS or len(unsent) > MAX_ROWS:
            raise NotVerifiableError(f"{len(rows)} tweets and {len(unsent)} events are too many")
        return Oracle(history, rows, set(existing), unsent)

    async def are_sent(self, events: Sequence[int]) -> bool:
        """Return whether none of these events is unsent."""
        if not events:
            return True
        async with self._transaction() as connection:
            return not await _values(connection, "still_unsent", ids=list(events))

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection whose statements all see one snapshot."""
        async with self._primary.connection() as connection:
            await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
            await connection.set_read_only(True)
            async with connection.transaction():
                await connection.execute(SQL["limit_verification"])
                yield connection


class KafkaVerificationTopic:
    """The `Topic` in Kafka."""

    def __init__(self, inspector: TopicInspector) -> None:
        """Ask this inspector, in a thread."""
        self._inspector = inspector

    async def ends(self) -> tuple[str, Mapping[Partition, int]]:
        """Return the topic's id, and the offset that the next record of each partition will get."""
        return await asyncio.to_thread(self._ends)

    def _ends(self) -> tuple[str, Mapping[Partition, int]]:
        partitions = [Partition(number) for number in range(PARTITIONS)]
        topic_id = self._inspector.topic_id()
        ranges = self._inspector.offset_ranges(partitions)
        if self._inspector.topic_id() != topic_id:
            raise NotVerifiableError("the topic was recreated")
        return topic_id, {partition: end for partition, (_, end) in ranges.items()}


async def _history(connection: Connection) -> str | None:
    (history,) = await _values(connection, "valid_history")
    return None if history is None else str(history)


async def _values(connection: Connection, query: str, **parameters: Any) -> list[Any]:
    """Return the only column of a statement."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(SQL[query], parameters)
    return await cursor.fetchall()
