"""Redis, as the queries see it: windows, builds and bodies, each call bounded in time.

When Redis fails a few times in a row, nobody asks it for a second: callers then have their answer
from Postgres at once instead of after a timeout each.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from core import bodies, timeline
from core.progress import progress_keys, required_wal_position
from core.shards import shard_of

LOG = logging.getLogger(__name__)
TIMEOUT_SECONDS = 0.2
MAX_CONNECTIONS = 64
FAILURES_TO_PAUSE = 3
PAUSE_SECONDS = 1.0
BUILD_SECONDS = 10
LEASE_SECONDS = 5


class CacheUnavailableError(Exception):
    """Redis does not answer: Postgres must."""


class Cache:
    """The timelines and bodies in Redis."""

    def __init__(
        self, url: str, ttl_seconds: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
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
        self._clock = clock
        self._failures = 0
        self._paused_until = 0.0

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()

    async def head(self, user_id: int, length: int | None) -> list[bytes]:
        """Return the first elements of a home timeline; all of them for None."""
        with self._asking():
            key = timeline.timeline_key(user_id)
            end = -1 if length is None else length - 1
            return cast("list[bytes]", await _result(self._redis.lrange(key, 0, end)))

    async def compact(self, user_id: int, cap: int) -> None:
        """Sort a home timeline's log into its base."""
        with self._asking():
            key = timeline.timeline_key(user_id)
            await _result(self._redis.eval(timeline.COMPACT, 1, key, str(cap)))

    async def begin_build(self, user_id: int, token: str) -> tuple[bool, int | None]:
        """Begin to build a home timeline.

        Return whether the caller is now its builder, and the WAL position of which a Postgres
        must be for what is read to be right (None: nothing may be built). In this order, on one
        connection: whatever is applied after the position was taken finds the list to push to.
        """
        with self._asking():
            pipeline = self._redis.pipeline(transaction=False)
            key = timeline.timeline_key(user_id)
            pipeline.eval(timeline.BEGIN_BUILD, 1, key, token, str(BUILD_SECONDS * 1000))
            pipeline.mget(progress_keys(shard_of(user_id)))
            begun, values = await pipeline.execute()
            return begun == 1, required_wal_position(values)

    async def finish_build(
        self, user_id: int, token: str, ids: Sequence[int], cap: int, *, complete: bool
    ) -> bool:
        """Make the ids the home timeline's base; return False if the build was overtaken."""
        with self._asking():
            key = timeline.timeline_key(user_id)
            arguments = [token, str(cap), str(self._ttl_seconds), str(int(complete))]
            arguments += [str(id_) for id_ in ids]
            built = await _result(self._redis.eval(timeline.FINISH_BUILD, 1, key, *arguments))
            return bool(built)

    async def abandon_build(self, user_id: int, token: str) -> None:
        """Remove a home timeline that this builder will not finish."""
        with self._asking():
            key = timeline.timeline_key(user_id)
            await _result(self._redis.eval(timeline.ABANDON_BUILD, 1, key, token))

    async def keep(self, user_id: int) -> None:
        """Let a home timeline live for its whole TTL from now on."""
        with self._asking():
            await self._redis.expire(timeline.timeline_key(user_id), self._ttl_seconds)

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
                pipeline.set(bodies.body_key(tweet_id), lease, nx=True, ex=LEASE_SECONDS)
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
            await pipeline.execute()

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
                LOG.warning("Redis fails, Postgres answers for a while: %s", error)
            raise CacheUnavailableError from error
        self._failures = 0


async def _result(answer: Any) -> Any:
    # redis-py's annotations cover its synchronous and asynchronous clients at once.
    return await cast("Awaitable[Any]", answer)
