"""The connection to Redis that all calls share, on a real Valkey."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence

import pytest
from helpers.support import Fanfare
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from core.feed import tweet_cache as bodies
from read_service.local_tweet_cache import LocalTweetCache
from read_service.stream import TRACKED, Stream

TIMEOUT_SECONDS = 2.0
Changes = list[Sequence[bytes] | None]


@pytest.fixture
def changes() -> Changes:
    """Return what the stream tells of changes."""
    return []


@pytest.fixture
async def stream(fanfare: Fanfare, changes: Changes) -> AsyncIterator[Stream]:
    """Return a stream of the test's own."""
    stream = Stream(fanfare.settings.redis_address(), TIMEOUT_SECONDS, changes.append)
    yield stream
    stream.close()


@pytest.fixture
def key() -> str:
    """Return a key that nobody else uses."""
    return f"test:{uuid.uuid4()}"


async def test_each_call_gets_its_own_answers(stream: Stream) -> None:
    """Calls of one moment, each of several commands, do not get one another's answers."""
    calls = [stream.ask([("ECHO", f"{n}/{part}") for part in range(n % 4 + 1)]) for n in range(200)]
    answers = await asyncio.gather(*calls)
    for n, answer in enumerate(answers):
        assert answer == [f"{n}/{part}".encode() for part in range(n % 4 + 1)]


async def test_a_cancelled_call_takes_its_answer_with_it(stream: Stream) -> None:
    """Those who asked behind a call that was given up still get theirs."""
    await stream.ask([("PING",)])
    given_up = asyncio.ensure_future(stream.ask([("ECHO", "given up")]))
    await asyncio.sleep(0)  # it has asked
    next_ = asyncio.ensure_future(stream.ask([("ECHO", "next")]))
    given_up.cancel()
    assert await next_ == [b"next"]


async def test_an_error_is_its_callers_alone(stream: Stream, key: str) -> None:
    """A command that Redis refuses fails its own call, and no other."""
    wrong = stream.ask([("SET", key, "text"), ("LRANGE", key, 0, -1)])
    good = stream.ask([("GET", key)])
    refused, answer = await asyncio.gather(wrong, good, return_exceptions=True)
    assert isinstance(refused, ResponseError)
    assert answer == [b"text"]


async def test_a_change_is_told_before_any_later_answer(
    fanfare: Fanfare, stream: Stream, changes: Changes, key: str
) -> None:
    """Once another answer is there, so is the news of what was changed before it."""
    await stream.ask([TRACKED, ("MGET", key)])
    fanfare.redis.set(key, "new")
    await stream.ask([("PING",)])
    assert changes == [[key.encode()]]


async def test_only_what_is_asked_for_is_tracked(
    fanfare: Fanfare, stream: Stream, changes: Changes, key: str
) -> None:
    """Lists, which change with every push, are read untracked."""
    await stream.ask([TRACKED, ("MGET", f"{key}:other"), ("LRANGE", key, 0, -1)])
    fanfare.redis.rpush(key, "pushed")
    await stream.ask([("PING",)])
    assert changes == []


async def test_what_changes_at_once_is_not_kept(fanfare: Fanfare) -> None:
    """A body that is changed right behind the answer that holds it is forgotten, not kept."""
    hot = LocalTweetCache(10)
    stream = Stream(fanfare.settings.redis_address(), TIMEOUT_SECONDS, hot.forget)
    id_ = uuid.uuid4().int >> 66
    key = fanfare.keys.tweet(id_)
    fanfare.redis.set(key, bodies.body(1, b"old"))
    await stream.ask([("PING",)])
    read = stream.ask([TRACKED, ("MGET", key)], lambda answers: hot.remember([id_], answers[1]))
    # In the same write: answer, change and the next answer arrive together.
    change = stream.ask([("SET", key, bodies.body(2, b"new"))])
    (_, values), _ = await asyncio.gather(read, change)
    assert values == [bodies.body(1, b"old")]
    assert hot.missing([id_]) == [id_]
    stream.close()


async def test_a_redis_that_hangs_is_not_waited_for(
    fanfare: Fanfare, changes: Changes, key: str
) -> None:
    """All who wait fail after the time, nothing is trusted any more, and the next call works."""
    stream = Stream(fanfare.settings.redis_address(), 0.1, changes.append)
    await stream.ask([TRACKED, ("MGET", key)])
    fanfare.redis.client_pause(500, all=False)
    calls = [stream.ask([("SET", key, n)]) for n in range(3)]
    failures = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(failure) for failure in failures] == [RedisTimeoutError] * 3
    assert changes == [None]
    assert await stream.ask([("PING",)]) == [b"PONG"]
    stream.close()


async def test_a_broken_connection_is_replaced(
    fanfare: Fanfare, stream: Stream, changes: Changes
) -> None:
    """Whoever waits fails, nothing is trusted any more, and the next call connects anew."""
    await stream.ask([("CLIENT", "SETNAME", "broken")])
    (id_,) = await stream.ask([("CLIENT", "ID")])
    waiting = asyncio.ensure_future(stream.ask([("BLPOP", "nothing comes", 0)]))
    await asyncio.sleep(0)
    fanfare.redis.client_kill_filter(_id=str(id_))
    with pytest.raises(RedisError):
        await waiting
    assert changes == [None]
    assert await stream.ask([("CLIENT", "ID")]) != [id_]


async def test_nobody_listens(changes: Changes) -> None:
    """A Redis that is not there fails each call, at once."""
    stream = Stream("redis://127.0.0.1:1", TIMEOUT_SECONDS, changes.append)
    for _ in range(2):
        with pytest.raises((RedisError, OSError)):
            await stream.ask([("PING",)])
    stream.close()
