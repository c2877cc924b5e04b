"""Rate limits that several processes count together in a real Redis."""

from __future__ import annotations

import asyncio
import time
import uuid

import pytest
from helpers.fanfare import Fanfare

from core.auth.rate_limits import RateLimiter
from core.errors import RateLimitedError

# Within a minute, far from its ends.
NOW = 1_800_000_015.0


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a busy machine Redis may be late, and then calls pass uncounted.
    monkeypatch.setattr("core.auth.rate_limits.TIMEOUT_SECONDS", 5.0)


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
        await one.close()
        await two.close()


async def test_a_burst_does_not_exceed_the_limit(fanfare: Fanfare) -> None:
    """Calls are counted even if more arrive at once than there are connections to Redis."""
    limits = RateLimiter(fanfare.settings.redis_address(), "test:", lambda: NOW)
    caller = uuid.uuid4().hex
    try:
        passed = await asyncio.gather(*(_passed(limits, caller, 1, 60) for _ in range(500)))
    finally:
        await limits.close()
    assert sum(passed) == 60


async def test_without_redis_calls_pass() -> None:
    """While Redis is down, calls are neither limited nor delayed for long."""
    limits = RateLimiter("redis://127.0.0.1:1/0", "test:")
    try:
        started = time.monotonic()
        assert await _passed(limits, "caller", 100, 20) == 100
        assert time.monotonic() - started < 10
    finally:
        await limits.close()
