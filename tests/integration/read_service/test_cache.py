"""The connection to Redis when the database changes from one history to another."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass

import pytest
from helpers.fanfare import Fanfare

from core.feed.keys import Keys
from core.feed.timeline_lists import home_list
from core.feed.tweet_cache import encode_entry
from read_service.cache import CacheConnection
from read_service.local_tweet_cache import LocalTweetCache
from read_service.protocols import CacheUnavailableError
from read_service.timeline_cache import RedisTimelineCache
from read_service.tweet_cache import RedisTweetCache

PREFIX = "test-cache:"
FORMER, CURRENT = "aaaaaaaaaa", "bbbbbbbbbb"


@dataclass
class Caches:
    """A connection and what uses it."""

    connection: CacheConnection
    lists: RedisTimelineCache
    tweets: RedisTweetCache
    local: LocalTweetCache


@pytest.fixture
def caches(fanfare: Fanfare) -> Caches:
    """Return a connection that has no history yet."""
    local = LocalTweetCache(10)
    connection = CacheConnection(fanfare.settings.redis_address(), PREFIX, local.forget)
    lists = RedisTimelineCache(connection, ttl_seconds=60, build_seconds=10.0)
    return Caches(connection, lists, RedisTweetCache(connection, local, ttl_seconds=60), local)


async def test_redis_is_not_asked_while_no_history_is_known(caches: Caches) -> None:
    """Without a history every call fails, because Redis may hold what the database has lost."""
    with pytest.raises(CacheUnavailableError):
        await caches.tweets.read([1])
    caches.connection.enter(CURRENT)
    assert await caches.tweets.read([1]) == [None]
    caches.connection.enter(None)
    with pytest.raises(CacheUnavailableError):
        await caches.tweets.read([1])
    caches.connection.close()


@pytest.mark.parametrize("is_connected", [False, True])
async def test_answers_of_a_former_history_are_dropped(
    fanfare: Fanfare, caches: Caches, *, is_connected: bool
) -> None:
    """A call during which the history changes fails, and the local tweet cache learns nothing."""
    id_ = uuid.uuid4().int >> 66
    former = Keys.of(PREFIX, FORMER)
    fanfare.redis.set(former.tweet(id_), encode_entry(1, b"lost"), ex=60)
    fanfare.redis.rpush(former.for_list(home_list(7)), "=", "5", "0")
    caches.connection.enter(FORMER)
    wanted = [(home_list(7), None)]
    if is_connected:
        assert await caches.lists.heads(wanted) == [[b"=", b"5", b"0"]]
    asked = [
        asyncio.create_task(caches.tweets.read([id_])),
        asyncio.create_task(caches.lists.heads(wanted)),
    ]
    await asyncio.sleep(0)
    caches.connection.enter(CURRENT)
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(error) for error in found] == [CacheUnavailableError] * 2
    assert caches.local.missing([id_]) == [id_]
    assert await caches.lists.heads(wanted) == [[]]
    assert await caches.tweets.read([id_]) == [None]
    caches.connection.close()
    fanfare.redis.delete(former.for_list(home_list(7)))


async def test_an_error_reply_to_a_tracked_read_fails_only_that_read(
    fanfare: Fanfare, caches: Caches
) -> None:
    """Nothing is remembered of it, and the connection stays open."""
    caches.connection.enter(CURRENT)
    keys = Keys.of(PREFIX, CURRENT)
    list_ = home_list(uuid.uuid4().int >> 66)
    fanfare.redis.set(keys.for_list(list_), "no list", ex=60)
    (id_,) = await caches.connection.ask([("CLIENT", "ID")])
    parsed: list[object] = []
    with pytest.raises(CacheUnavailableError):
        await caches.lists.heads([(list_, 1)], tracked={list_}, parsed=parsed.append)
    assert parsed == []
    await caches.lists.barrier()
    assert await caches.connection.ask([("CLIENT", "ID")]) == [id_]
    caches.connection.close()


async def test_a_barrier_needs_a_history(caches: Caches) -> None:
    """It fails while no history is known, and when another one is entered meanwhile."""
    with pytest.raises(CacheUnavailableError):
        await caches.lists.barrier()
    caches.connection.enter(FORMER)
    barrier = asyncio.ensure_future(caches.lists.barrier())
    await asyncio.sleep(0)
    caches.connection.enter(CURRENT)
    with pytest.raises(CacheUnavailableError):
        await barrier
    await caches.lists.barrier()
    caches.connection.close()
