"""Redis, as the queries see it: windows, builds and bodies, each call bounded in time.

When Redis fails a few times in a row, nobody asks it for a second: callers then have their answer
from Postgres at once instead of after a timeout each.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from core import bodies, timeline
from core.counters import COUNTERS, Rare
from core.progress import progress_keys, required_wal_position
from core.shards import shard_of
from core.timeline import TimelineList

LOG = logging.getLogger(__name__)
TIMEOUT_SECONDS = 0.2
MAX_CONNECTIONS = 64
FAILURES_TO_PAUSE = 3
PAUSE_SECONDS = 1.0


class CacheUnavailableError(Exception):
    """Redis does not answer: Postgres must."""


@dataclass(frozen=True)
class Base:
    """What Postgres says for the base of a list."""

    ids: Sequence[int]
    """The newest, newest first; fewer than the list's cap are all there are."""
    pulled: Sequence[int] = ()
    """The pulled authors to be merged with it."""


class Cache:
    """The timelines and bodies in Redis."""

    def __init__(
        self,
        url: str,
        ttl_seconds: int,
        build_seconds: float,
        lease_seconds: int = 5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use the Redis at the URL.

        ttl_seconds: of lists and bodies after their last read. build_seconds, lease_seconds: how
        long a builder or filler may take before another one may begin.
        """
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=TIMEOUT_SECONDS,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            # redis-py's default retries take seconds; Postgres answers sooner.
            retry=Retry(NoBackoff(), 0),
        )
        self._redis = Redis(connection_pool=pool)
        self._ttl_seconds = ttl_seconds
        self._build_seconds = build_seconds
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._failures = 0
        self._paused_until = 0.0

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()

    async def heads(self, wanted: Sequence[tuple[TimelineList, int | None]]) -> list[list[bytes]]:
        """Return, for each (list, length), the list's first elements; all of them for None."""
        with self._asking():
            pipeline = self._redis.pipeline(transaction=False)
            for list_, length in wanted:
                pipeline.lrange(list_.key, 0, -1 if length is None else length - 1)
            return await pipeline.execute()

    async def compact(self, list_: TimelineList, cap: int) -> None:
        """Sort a list's log into its base, or delete a list that has lost its base."""
        with self._asking():
            answer = await _result(self._redis.eval(timeline.COMPACT, 1, list_.key, str(cap)))
        COUNTERS.add(Rare.LIST_COMPACTED, answer == timeline.REPLACED)
        COUNTERS.add(Rare.LIST_OVERGROWN, answer == timeline.DELETED)

    async def begin_builds(
        self, lists: Sequence[TimelineList], token: str
    ) -> tuple[list[bool], int | None]:
        """Begin to build lists.

        Return for each whether the caller is now its builder, and the WAL position of which a
        Postgres must be for what is read to be right (None: nothing may be built). In this order,
        on one connection: whatever is applied after the position was taken finds the lists to
        push to.
        """
        with self._asking():
            pipeline = self._redis.pipeline(transaction=False)
            for list_ in lists:
                ttl = str(int(self._build_seconds * 1000))
                pipeline.eval(timeline.BEGIN_BUILD, 1, list_.key, token, ttl)
            for shard in sorted({list_.shard for list_ in lists}):
                pipeline.mget(progress_keys(shard))
            answers = await pipeline.execute()
            values = [value for answer in answers[len(lists) :] for value in answer]
            return [answer == 1 for answer in answers[: len(lists)]], required_wal_position(values)

    async def finish_builds(
        self, bases: Mapping[TimelineList, Base], token: str, cap: int
    ) -> list[bool]:
        """Give lists their bases; return for each whether it was not overtaken."""
        with self._asking():
            pipeline = self._redis.pipeline(transaction=False)
            for list_, base in bases.items():
                arguments: list[Any] = [token, str(cap), str(self._ttl_seconds)]
                arguments += [str(int(len(base.ids) < cap)), timeline.separator(base.pulled)]
                arguments += [str(id_) for id_ in base.ids]
                pipeline.eval(timeline.FINISH_BUILD, 1, list_.key, *arguments)
            answers = await pipeline.execute()
        COUNTERS.add(Rare.BUILD_REFUSED, answers.count(0))
        return [answer == timeline.REPLACED for answer in answers]

    async def abandon_builds(self, lists: Iterable[TimelineList], token: str) -> int:
        """Remove lists that this builder will not finish; return how many there were."""
        with self._asking():
            pipeline = self._redis.pipeline(transaction=False)
            for list_ in lists:
                pipeline.eval(timeline.ABANDON_BUILD, 1, list_.key, token)
            return sum(await pipeline.execute())

    async def keep(self, lists: Iterable[TimelineList]) -> None:
        """Let lists live for their whole TTL from now on."""
        with self._asking():
            pipeline = self._redis.pipeline(transaction=False)
            for list_ in lists:
                pipeline.expire(list_.key, self._ttl_seconds)
            await pipeline.execute()

    async def applied_wal_position(self, shard: int) -> int | None:
        """Return up to where in the WAL a shard has been told; None if nobody tells it."""
        with self._asking():
            values = await _result(self._redis.mget(progress_keys(shard)))
        return required_wal_position(values)

    async def bodies(self, ids: Sequence[int]) -> list[bytes | None]:
        """Return the values of the tweets' bodies, in order; None for those not there."""
        with self._asking():
            pipeline = self._redis.pipeline(transaction=False)
            for tweet_id in ids:
                pipeline.get(bodies.body_key(tweet_id))
            return await pipeline.execute()

    async def lease_bodies(self, ids: Sequence[int], token: str) -> tuple[list[bool], int | None]:
        """Take leases to fill bodies.

        Return for each whether it was taken, and the WAL position of which a Postgres must be
        for what is filled in to be right (None: nothing may be filled).
        """
        with self._asking():
            pipeline = self._redis.pipeline(transaction=False)
            for tweet_id in ids:
                lease = bodies.lease(token)
                pipeline.set(bodies.body_key(tweet_id), lease, nx=True, ex=self._lease_seconds)
            shards = sorted({shard_of(tweet_id) for tweet_id in ids})
            for shard in shards:
                pipeline.mget(progress_keys(shard))
            answers = await pipeline.execute()
            values = [value for answer in answers[len(ids) :] for value in answer]
            return [answer is True for answer in answers[: len(ids)]], required_wal_position(values)

    async def fill_bodies(self, values: Sequence[tuple[int, bytes]], token: str) -> None:
        """Fill the bodies whose leases are still held; an empty value gives the lease up."""
        with self._asking():
            pipeline = self._redis.pipeline(transaction=False)
            for tweet_id, value in values:
                key = bodies.body_key(tweet_id)
                arguments: list[Any] = [bodies.lease(token), value, str(self._ttl_seconds)]
                pipeline.eval(bodies.FILL, 1, key, *arguments)
            answers = await pipeline.execute()
        COUNTERS.add(Rare.LEASE_LOST, answers.count(0))
        COUNTERS.add(Rare.BODY_FILLED, answers.count(1))

    @contextmanager
    def _asking(self) -> Iterator[None]:
        if self._clock() < self._paused_until:
            raise CacheUnavailableError
        try:
            yield
        except (RedisError, OSError, TimeoutError) as error:
            self._failures += 1
            if self._failures >= FAILURES_TO_PAUSE:
                self._paused_until = self._clock() + PAUSE_SECONDS
                COUNTERS.add(Rare.REDIS_PAUSED)
                LOG.warning("Redis fails, Postgres answers for a while: %s", error)
            raise CacheUnavailableError from error
        self._failures = 0


async def _result(answer: Any) -> Any:
    # redis-py's annotations cover its synchronous and asynchronous clients at once.
    return await cast("Awaitable[Any]", answer)
