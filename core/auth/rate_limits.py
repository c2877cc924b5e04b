"""Rate limits: how many calls of a method each caller may make per minute.

Redis counts the calls of all processes together, for each minute of the clock. A process leases a
tenth of the limit at a time and counts those calls itself, so that most calls do not ask Redis.
Leased calls that a process does not use are lost when the minute ends. With several processes a
caller may therefore be refused early, by up to a tenth of the limit for each process.

While Redis does not answer, each process grants itself the leases, up to the whole limit. A caller
then has the limit once for each process, instead of once for all.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable

from redis.exceptions import RedisError

from core.errors import RateLimitedError
from core.storage.circuit_breaker import CircuitBreaker
from core.storage.redis import RedisConnection

LOG = logging.getLogger(__name__)
WINDOW_SECONDS = 60
LEASES_PER_WINDOW = 10
TIMEOUT_SECONDS = 0.2
OPEN_SECONDS = 1.0
# How many counts a process keeps, at some 500 bytes each: one for each caller and method. Beyond
# that the oldest is forgotten. While Redis answers, that costs its caller the rest of a lease.
MAX_COUNTS = 100_000


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
        # However many callers need a lease at once, none of them waits for a connection.
        self._redis = RedisConnection(url, TIMEOUT_SECONDS, _ignore_changes)
        self._clock = clock
        self._window = 0
        self._counts: OrderedDict[tuple[str, str], _Count] = OrderedDict()
        self._breaker = CircuitBreaker(1, OPEN_SECONDS, _note_open_breaker)

    async def take(self, method: str, caller: str, per_minute: int, cost: int = 1) -> None:
        """Count a call.

        Args:
            method: the name of the method.
            caller: a user id, or an address.
            per_minute: the limit.
            cost: how many calls this one counts as.

        Raises:
            RateLimitedError: the caller has reached the limit.
        """
        now = self._clock()
        window = int(now // WINDOW_SECONDS)
        if window != self._window:
            self._window = window
            self._counts.clear()
        count = self._counts.get((method, caller)) or self._add(method, caller)
        if count.left < cost and not count.is_used_up:
            # One lease at a time: a burst in this process must not use up the whole limit.
            async with count.leasing:
                if count.left < cost and not count.is_used_up:
                    await self._lease(count, f"{method}:{caller}:{window}", per_minute, cost)
        if count.left < cost:
            raise RateLimitedError(per_minute, WINDOW_SECONDS - now % WINDOW_SECONDS)
        count.left -= cost

    @property
    def is_up(self) -> bool:
        """Whether Redis answers, as far as the last calls tell."""
        return not self._breaker.is_failing

    def close(self) -> None:
        """Close the connection to Redis."""
        self._redis.close()

    def _add(self, method: str, caller: str) -> _Count:
        if len(self._counts) >= MAX_COUNTS:
            self._counts.popitem(last=False)
        count = self._counts[method, caller] = _Count()
        return count

    async def _lease(self, count: _Count, name: str, per_minute: int, cost: int) -> None:
        """Let this process pass more calls before it asks Redis again."""
        wanted = max(1, per_minute // LEASES_PER_WINDOW, cost - count.left)
        size = min(wanted, per_minute - count.leased)
        taken = None if self._breaker.is_open else await self._increase(name, size)
        # Without Redis, this process knows only what it has leased itself.
        before = count.leased if taken is None else taken - size
        granted = max(0, min(size, per_minute - before))
        count.leased += granted
        count.left += granted
        count.is_used_up = granted < size or count.leased >= per_minute

    async def _increase(self, name: str, size: int) -> int | None:
        """Return the count in Redis after it grew by size; None if Redis does not answer."""
        key = f"{self._prefix}limit:{name}"
        try:
            taken, _ = await self._redis.execute(
                [("INCRBY", key, size), ("EXPIRE", key, 2 * WINDOW_SECONDS)]
            )
        except (RedisError, OSError) as error:
            self._breaker.record_failure(error)
            return None
        self._breaker.record_success()
        return int(taken)


class _Count:
    """The calls of one method that one caller makes in one minute, as this process knows them."""

    __slots__ = ("is_used_up", "leased", "leasing", "left")

    def __init__(self) -> None:
        self.leased = 0
        """How many calls were leased so far."""
        self.left = 0
        """How many of them are left."""
        self.is_used_up = False
        """Whether no more can be leased."""
        self.leasing = asyncio.Lock()


def _ignore_changes(_keys: object) -> None:
    """Do nothing: this connection tracks no keys."""


def _note_open_breaker(error: Exception) -> None:
    # The error's text may repeat the Redis command, whose key names the caller.
    LOG.warning(
        "Redis circuit breaker opened; each process applies the rate limits by itself: error=%s",
        type(error).__name__,
    )
