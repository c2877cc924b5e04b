"""Rate limits that several processes count together in a real Redis."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from helpers.fanfare import Fanfare

from core.auth.rate_limits import RateLimiter
from core.errors import RateLimitedError

# Within a minute, far from its ends.
NOW = 1_800_000_015.0


async def _passed(limits: RateLimiter, caller: str, calls: int, per_minute: int) -> int:
    passed = 0
    for _ in range(calls):
        try:
            await limits.take("Method", caller, per_minute)
        except RateLimitedError:
            continue
        passed += 1
    return passed


async def test_processes_share_the_limit_of_a_caller(fanfare: Fanfare) -> None:
    """Calls above the limit are refused until the minute ends; the error says when that is."""
    now = NOW
    one, two = (
        RateLimiter(fanfare.settings.redis_address(), "test:", lambda: now) for _ in range(2)
    )
    caller = uuid.uuid4().hex
    try:
        assert await _passed(one, caller, 12, 20) == 12
        assert await _passed(two, caller, 100, 20) == 8
        with pytest.raises(RateLimitedError) as refused:
            await two.take("Method", caller, 20)
        assert refused.value.retry_after == 60 - NOW % 60
        assert await _passed(one, uuid.uuid4().hex, 30, 20) == 20
        now += 60
        assert await _passed(one, caller, 30, 20) == 20
        ttls = [fanfare.redis.ttl(key) for key in fanfare.redis.scan_iter("test:limit:*")]
        assert ttls
        assert min(ttls) > 0
    finally:
        one.close()
        two.close()


async def test_a_burst_is_counted(fanfare: Fanfare, caplog: pytest.LogCaptureFixture) -> None:
    """However many callers call at once, each gets their limit, and Redis is not blamed."""
    limits = RateLimiter(fanfare.settings.redis_address(), "test:", lambda: NOW)
    callers = [uuid.uuid4().hex for _ in range(1000)]
    try:
        passed = await asyncio.gather(
            *(_passed(limits, caller, 10, 6) for caller in callers),
            *(_passed(limits, "same", 1, 60) for _ in range(1000)),
        )
    finally:
        limits.close()
    assert passed[:1000] == [6] * 1000
    assert sum(passed[1000:]) == 60
    assert not caplog.records
    counted = fanfare.redis.mget(
        f"test:limit:Method:{caller}:{int(NOW // 60)}" for caller in callers
    )
    assert set(counted) == {b"6"}


async def test_without_redis_each_process_counts(caplog: pytest.LogCaptureFixture) -> None:
    """While Redis is down, a caller has the limit once for each process."""
    one, two = (RateLimiter("redis://127.0.0.1:1/0", "test:", lambda: NOW) for _ in range(2))
    try:
        for limits in (one, two):
            assert await _passed(limits, "caller", 100, 20) == 20
            assert await _passed(limits, "another", 100, 20) == 20
    finally:
        one.close()
        two.close()
    assert "each process applies the rate limits by itself" in caplog.text
