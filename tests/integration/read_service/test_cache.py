"""The cache between two histories."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from helpers.fanfare import Fanfare

from core.feed import tweet_cache as bodies
from core.feed.keys import Keys
from core.feed.timeline_lists import home_list
from read_service.cache import Cache, CacheUnavailableError

PREFIX = "test-cache:"
FORMER, CURRENT = "aaaaaaaaaa", "bbbbbbbbbb"


def _cache(fanfare: Fanfare) -> Cache:
    return Cache(fanfare.settings.redis_address(), PREFIX, ttl_seconds=60, build_seconds=10.0)


async def test_nothing_is_asked_while_no_history_is_known(fanfare: Fanfare) -> None:
    """Redis may hold what the database has lost."""
    cache = _cache(fanfare)
    with pytest.raises(CacheUnavailableError):
        await cache.bodies([1])
    cache.enter(CURRENT)
    assert await cache.bodies([1]) == [None]
    cache.enter(None)
    with pytest.raises(CacheUnavailableError):
        await cache.bodies([1])
    cache.close()


@pytest.mark.parametrize("is_connected", [False, True])
async def test_what_was_asked_of_a_former_history_is_not_kept(
    fanfare: Fanfare, *, is_connected: bool
) -> None:
    """Neither in process nor as an answer, also while the connection is only being made."""
    cache = _cache(fanfare)
    id_ = uuid.uuid4().int >> 66
    former = Keys.of(PREFIX, FORMER)
    fanfare.redis.set(former.tweet(id_), bodies.encode_entry(1, b"lost"), ex=60)
    fanfare.redis.rpush(former.for_list(home_list(7)), "=", "5", "0")
    cache.enter(FORMER)
    if is_connected:
        assert await cache.heads([(home_list(7), None)]) == [[b"=", b"5", b"0"]]
    asked = [
        asyncio.create_task(cache.bodies([id_])),
        asyncio.create_task(cache.heads([(home_list(7), None)])),
    ]
    await asyncio.sleep(0)
    cache.enter(CURRENT)
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(error) for error in found] == [CacheUnavailableError] * 2
    assert cache.hot.unknown([id_]) == [id_]
    assert await cache.heads([(home_list(7), None)]) == [[]]
    assert await cache.bodies([id_]) == [None]
    cache.close()
    fanfare.redis.delete(former.for_list(home_list(7)))
