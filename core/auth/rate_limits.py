"""How many calls of a method a caller may make in a minute, counted in Redis for all processes.

Windows are the minutes of the clock. A process takes a tenth of a window's calls at a time and
counts them by itself, so that most calls ask nobody; what it has not used when the minute ends is
lost, so with several processes a caller may be refused early by a tenth for each. When Redis does
not answer, calls pass: a lost cache must not stop the service, and what costs most, hashing, has a
bound of its own.
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

LOG = logging.getLogger(__name__)
WINDOW_SECONDS = 60
PARTS = 10
TIMEOUT_SECONDS = 0.2
CONNECTIONS = 10
PAUSE_SECONDS = 1.0


class Limits:
    """The counts of this process, and those of all in Redis."""

    def __init__(self, url: str, prefix: str, clock: Callable[[], float] = time.time) -> None:
        """Count in the Redis at the URL; prefix: of all keys; clock: seconds since 1970."""
        self._prefix = prefix
        self._redis: Redis = Redis.from_pool(
            # Leases wait for a connection: an error would let calls pass uncounted.
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
        # How many calls may still be made before Redis is asked; None: no more in this window.
        self._left: dict[tuple[str, str], int | None] = {}
        self._leasing: dict[tuple[str, str], asyncio.Lock] = {}
        self._paused_until = 0.0

    async def take(self, method: str, caller: str, per_minute: int) -> None:
        """Count a call; raises RateLimitedError when the caller has made as many as they may."""
        now = self._clock()
        window = int(now // WINDOW_SECONDS)
        if window != self._window:
            self._window = window
            self._left.clear()
            self._leasing.clear()
        key = (method, caller)
        if self._left.get(key, 0) == 0:
            # One lease at a time: a burst must not take what Redis has for all.
            async with self._leasing.setdefault(key, asyncio.Lock()):
                if window == self._window and self._left.get(key, 0) == 0:
                    leased = await self._lease(key, window, per_minute, now)
                    if window == self._window:
                        self._left[key] = leased or None
        if window != self._window:
            return  # the minute ended meanwhile, and with it the lease
        left = self._left[key]
        if left is None:
            raise RateLimitedError(per_minute, WINDOW_SECONDS - now % WINDOW_SECONDS)
        self._left[key] = left - 1

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _lease(self, key: tuple[str, str], window: int, per_minute: int, now: float) -> int:
        """Return how many calls more may be made."""
        part = max(1, per_minute // PARTS)
        if now < self._paused_until:
            return part
        name = f"{self._prefix}limit:{key[0]}:{key[1]}:{window}"
        try:
            async with (
                asyncio.timeout(2 * TIMEOUT_SECONDS),
                self._redis.pipeline(transaction=False) as pipeline,
            ):
                pipeline.incrby(name, part)
                pipeline.expire(name, 2 * WINDOW_SECONDS)
                taken, _ = await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            self._paused_until = now + PAUSE_SECONDS
            # Not its text, in which redis repeats the command, and so whose calls it counts.
            kind = type(error).__name__
            LOG.warning("calls are not limited, as Redis does not count them: %s", kind)
            return part
        return max(0, min(part, per_minute - (int(taken) - part)))
