"""Rate limits: how many calls of a method each caller may make per minute.

Redis counts the calls of all processes together, for each minute of the clock. A process leases a
tenth of the limit at a time and counts those calls itself, so that most calls do not ask Redis.
Leased calls that a process does not use are lost when the minute ends. With several processes a
caller may therefore be refused early, by up to a tenth of the limit for each process.

While Redis does not answer, calls are not limited, because a lost cache must not stop the service.
Password hashing, the most expensive work, is limited separately, without Redis.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from core.errors import RateLimitedError
from core.storage.circuit_breaker import CircuitBreaker

LOG = logging.getLogger(__name__)
WINDOW_SECONDS = 60
LEASES_PER_WINDOW = 10
TIMEOUT_SECONDS = 0.2
CONNECTIONS = 10
OPEN_SECONDS = 1.0


class RateLimiter:
    """Counts calls and refuses those above their limit."""

    def __init__(self, url: str, prefix: str, clock: Callable[[], float] = time.time) -> None:
        """Prepare to count; this does not connect yet.

        Args:
            url: the address of Redis.
            prefix: the prefix of all keys.
            clock: returns seconds since 1970.
        """
        self._prefix = prefix
        self._redis: Redis = Redis.from_pool(
            # A lease waits for a free connection: after an error its calls would pass uncounted.
            BlockingConnectionPool.from_url(
                url,
                max_connections=CONNECTIONS,
                timeout=TIMEOUT_SECONDS,
                socket_timeout=TIMEOUT_SECONDS,
                socket_connect_timeout=TIMEOUT_SECONDS,
                retry=Retry(NoBackoff(), 0),
            )
        )
        self._clock = clock
        self._window = 0
        # How many leased calls are left; None if Redis has no more for this window.
        self._left: dict[tuple[str, str], int | None] = {}
        self._leasing: dict[tuple[str, str], asyncio.Lock] = {}
        self._breaker = CircuitBreaker(1, OPEN_SECONDS, _note_open_breaker)

    async def take(self, method: str, caller: str, per_minute: int) -> None:
        """Count a call.

        Args:
            method: the name of the method.
            caller: a user id, or an address.
            per_minute: the limit.

        Raises:
            RateLimitedError: the caller has reached the limit.
        """
        now = self._clock()
        window = int(now // WINDOW_SECONDS)
        if window != self._window:
            self._window = window
            self._left.clear()
            self._leasing.clear()
        key = (method, caller)
        if self._left.get(key, 0) == 0:
            # One lease at a time: a burst in this process must not use up the whole limit.
            async with self._leasing.setdefault(key, asyncio.Lock()):
                if window == self._window and self._left.get(key, 0) == 0:
                    leased = await self._lease(key, window, per_minute)
                    if window == self._window:
                        self._left[key] = leased or None
        if window != self._window:
            return  # the minute ended meanwhile, and the lease with it
        left = self._left[key]
        if left is None:
            raise RateLimitedError(per_minute, WINDOW_SECONDS - now % WINDOW_SECONDS)
        self._left[key] = left - 1

    async def close(self) -> None:
        """Close the connections to Redis."""
        await self._redis.aclose()

    async def _lease(self, key: tuple[str, str], window: int, per_minute: int) -> int:
        """Return how many calls this process may let pass before it asks Redis again."""
        size = max(1, per_minute // LEASES_PER_WINDOW)
        if self._breaker.is_open:
            return size
        name = f"{self._prefix}limit:{key[0]}:{key[1]}:{window}"
        try:
            async with (
                asyncio.timeout(2 * TIMEOUT_SECONDS),
                self._redis.pipeline(transaction=False) as pipeline,
            ):
                pipeline.incrby(name, size)
                pipeline.expire(name, 2 * WINDOW_SECONDS)
                taken, _ = await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            self._breaker.record_failure(error)
            return size
        self._breaker.record_success()
        return max(0, min(size, per_minute - (int(taken) - size)))


def _note_open_breaker(error: Exception) -> None:
    # The error's text may repeat the Redis command, whose key names the caller.
    kind = type(error).__name__
    LOG.warning("Redis circuit breaker opened; calls are not rate limited: error=%s", kind)
