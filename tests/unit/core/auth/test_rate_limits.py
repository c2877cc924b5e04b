"""Rate limits of one process, with a Redis that answers or does not."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ConnectionError as RedisConnectionError

from core.auth import rate_limits
from core.auth.rate_limits import RateLimiter
from core.errors import RateLimitedError

NOW = 1_800_000_015.0


class FakeRedis:
    """Counts like Redis, unless it is down."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.is_down = False

    async def execute(self, commands: Sequence[tuple[Any, ...]]) -> list[int]:
        """Execute INCRBY and EXPIRE."""
        await asyncio.sleep(0)
        if self.is_down:
            raise RedisConnectionError
        (_, key, size), _ = commands
        self.counts[key] += size
        return [self.counts[key], 1]

    def close(self) -> None:
        """Do nothing."""


def _limiter(redis: FakeRedis) -> RateLimiter:
    limits = RateLimiter("redis://127.0.0.1:1/0", "test:", lambda: NOW)
    limits._redis = redis  # type: ignore[assignment]
    return limits


async def _passes(limits: RateLimiter, caller: str, per_minute: int, cost: int = 1) -> bool:
    try:
        await limits.take("Method", caller, per_minute, cost)
    except RateLimitedError:
        return False
    return True


@given(
    per_minute=st.integers(1, 100),
    calls=st.lists(st.tuples(st.integers(1, 30), st.booleans()), max_size=60),
)
def test_a_call_passes_as_long_as_its_cost_is_left(
    per_minute: int, calls: list[tuple[int, bool]]
) -> None:
    """One process never passes more than the limit, nor refuses what is left of it."""

    async def run() -> None:
        redis = FakeRedis()
        limits = _limiter(redis)
        used = 0
        for cost, is_down in calls:
            redis.is_down = is_down
            limits._breaker._open_until = 0.0
            passes = await _passes(limits, "caller", per_minute, cost)
            assert passes == (used + cost <= per_minute)
            used += cost * passes

    asyncio.run(run())


@given(
    per_minute=st.integers(1, 50),
    calls=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 10)), max_size=60),
)
def test_processes_together_pass_no_more_than_the_limit(
    per_minute: int, calls: list[tuple[int, int]]
) -> None:
    """Whatever three processes lease from one Redis, a caller has the limit once."""

    async def run() -> None:
        redis = FakeRedis()
        processes = [_limiter(redis) for _ in range(3)]
        taking = [_passes(processes[n], "caller", per_minute, cost) for n, cost in calls]
        passed = await asyncio.gather(*taking)
        assert sum(c for (_, c), ok in zip(calls, passed, strict=True) if ok) <= per_minute

    asyncio.run(run())


async def test_random_addresses_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond MAX_COUNTS the oldest counts are forgotten; Redis still knows them."""
    monkeypatch.setattr(rate_limits, "MAX_COUNTS", 10)
    limits = _limiter(FakeRedis())
    used = [await _passes(limits, "caller", 6) for _ in range(6)]
    for number in range(1000):
        assert await _passes(limits, f"address {number}", 6)
    assert len(limits._counts) == 10
    assert used == [True] * 6
    assert not await _passes(limits, "caller", 6)
