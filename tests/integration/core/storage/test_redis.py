"""The pipelined connections, with a real Valkey."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest
import redis
from helpers.fanfare import Fanfare
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from core.storage.redis import BlockingRedisConnection, RedisConnection
from core.storage.redis_pipeline import TRACK_NEXT_COMMAND
from core.storage.resp import pack

TIMEOUT_SECONDS = 2.0
Invalidations = list[Sequence[bytes] | None]


@pytest.fixture
def invalidations() -> Invalidations:
    """Return the list to which the connection adds its invalidations."""
    return []


@pytest.fixture
async def connection(
    fanfare: Fanfare, invalidations: Invalidations
) -> AsyncIterator[RedisConnection]:
    """Return a connection for one test."""
    connection = RedisConnection(
        fanfare.settings.redis_address(), TIMEOUT_SECONDS, invalidations.append
    )
    yield connection
    connection.close()


@pytest.fixture
def pool(fanfare: Fanfare) -> Iterator[redis.ConnectionPool]:
    """Return a pool of one blocking connection."""
    pool = redis.ConnectionPool.from_url(
        fanfare.settings.redis_address(), max_connections=1, socket_timeout=TIMEOUT_SECONDS
    )
    yield pool
    pool.close()


@pytest.fixture
def key() -> str:
    """Return a key that no other test uses."""
    return f"test:{uuid.uuid4()}"


async def test_each_call_gets_its_own_replies(connection: RedisConnection) -> None:
    """Concurrent calls of one or more commands each get the replies to their own commands."""
    calls = [
        connection.execute([("ECHO", f"{n}/{part}") for part in range(n % 4 + 1)])
        for n in range(200)
    ]
    for n, replies in enumerate(await asyncio.gather(*calls)):
        assert replies == [f"{n}/{part}".encode() for part in range(n % 4 + 1)]


async def test_replies_to_a_cancelled_call_are_dropped(connection: RedisConnection) -> None:
    """The calls that were made after a cancelled call still get their own replies."""
    await connection.execute([("PING",)])
    cancelled = asyncio.ensure_future(connection.execute([("ECHO", "cancelled")]))
    await asyncio.sleep(0)  # its command is in the pipeline now
    next_ = asyncio.ensure_future(connection.execute([("ECHO", "next")]))
    cancelled.cancel()
    assert await next_ == [b"next"]


async def test_an_error_reply_fails_only_its_own_call(
    connection: RedisConnection, key: str
) -> None:
    """A command that Redis refuses raises in the call that sent it, and in no other."""
    wrong = connection.execute([("SET", key, "text"), ("LRANGE", key, 0, -1)])
    right = connection.execute([("GET", key)])
    refused, replies = await asyncio.gather(wrong, right, return_exceptions=True)
    assert isinstance(refused, ResponseError)
    assert replies == [b"text"]


async def test_a_change_is_reported_before_later_replies(
    fanfare: Fanfare, connection: RedisConnection, invalidations: Invalidations, key: str
) -> None:
    """When a reply arrives, all changes that preceded it have been reported."""
    await connection.execute([TRACK_NEXT_COMMAND, ("MGET", key)])
    fanfare.redis.set(key, "new")
    await connection.execute([("PING",)])
    assert invalidations == [[key.encode()]]


async def test_only_the_next_command_is_tracked(
    fanfare: Fanfare, connection: RedisConnection, invalidations: Invalidations, key: str
) -> None:
    """Keys that other commands read are not reported."""
    await connection.execute([TRACK_NEXT_COMMAND, ("MGET", f"{key}:other"), ("LRANGE", key, 0, -1)])
    fanfare.redis.rpush(key, "pushed")
    await connection.execute([("PING",)])
    assert invalidations == []


async def test_on_replies_runs_before_later_invalidations(fanfare: Fanfare, key: str) -> None:
    """The replies of a read are delivered before the invalidation that a later change causes."""
    events: list[str] = []
    connection = RedisConnection(
        fanfare.settings.redis_address(),
        TIMEOUT_SECONDS,
        lambda _: events.append("invalidation"),
    )
    fanfare.redis.set(key, "old")
    await connection.execute([("PING",)])
    # Both go out in the same write, so that the replies and the invalidation arrive together.
    read = connection.execute(
        [TRACK_NEXT_COMMAND, ("GET", key)], lambda replies: events.append(replies[1].decode())
    )
    change = connection.execute([("SET", key, "new")])
    (_, value), _ = await asyncio.gather(read, change)
    assert value == b"old"
    assert events == ["old", "invalidation"]
    connection.close()


async def test_calls_fail_when_redis_does_not_reply_in_time(
    fanfare: Fanfare, invalidations: Invalidations, key: str
) -> None:
    """All waiting calls fail, all tracked keys are invalidated, and the next call reconnects."""
    connection = RedisConnection(fanfare.settings.redis_address(), 0.1, invalidations.append)
    await connection.execute([TRACK_NEXT_COMMAND, ("MGET", key)])
    fanfare.redis.client_pause(500, all=False)
    calls = [connection.execute([("SET", key, n)]) for n in range(3)]
    failures = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(failure) for failure in failures] == [RedisTimeoutError] * 3
    assert invalidations == [None]
    assert await connection.execute([("PING",)]) == [b"PONG"]
    connection.close()


async def test_a_lost_connection_is_replaced(
    fanfare: Fanfare, connection: RedisConnection, invalidations: Invalidations
) -> None:
    """Waiting calls fail, all tracked keys are invalidated, and the next call reconnects."""
    (id_,) = await connection.execute([("CLIENT", "ID")])
    waiting = asyncio.ensure_future(connection.execute([("BLPOP", "missing", 0)]))
    await asyncio.sleep(0)
    fanfare.redis.client_kill_filter(_id=str(id_))
    with pytest.raises(RedisError):
        await waiting
    assert invalidations == [None]
    assert await connection.execute([("CLIENT", "ID")]) != [id_]


async def test_every_call_fails_at_once_where_no_redis_listens(
    invalidations: Invalidations,
) -> None:
    """Each call tries to connect, and raises the error when it is refused."""
    connection = RedisConnection("redis://127.0.0.1:1", TIMEOUT_SECONDS, invalidations.append)
    for _ in range(2):
        with pytest.raises((RedisError, OSError)):
            await connection.execute([("PING",)])
    connection.close()


def test_blocking_replies_come_in_the_order_of_the_commands(pool: redis.ConnectionPool) -> None:
    """Commands may be sent long before their replies are read."""
    connection = BlockingRedisConnection(pool)
    for n in range(100):
        connection.send(pack(b"ECHO", b"%d" % n))
    assert connection.read(60) == [b"%d" % n for n in range(60)]
    assert connection.read(40) == [b"%d" % n for n in range(60, 100)]
    connection.close()


def test_ignored_replies_are_skipped(pool: redis.ConnectionPool) -> None:
    """read() returns the first reply after the ignored ones."""
    connection = BlockingRedisConnection(pool)
    connection.send(pack(b"ECHO", b"1") + pack(b"ECHO", b"2"), ignored_replies=2)
    assert connection.execute(b"ECHO", b"3") == b"3"
    connection.close()


def test_a_blocking_error_reply_is_raised(pool: redis.ConnectionPool) -> None:
    """The error reply to a command is raised when the reply is read."""
    connection = BlockingRedisConnection(pool)
    with pytest.raises(ResponseError, match="unknown command"):
        connection.execute(b"NONSENSE")
    connection.close()


def test_a_lost_blocking_connection_is_an_error(
    fanfare: Fanfare, pool: redis.ConnectionPool
) -> None:
    """Reading from a connection that Redis has closed raises, and the pool can be used again."""
    connection = BlockingRedisConnection(pool)
    id_ = connection.execute(b"CLIENT", b"ID")
    connection.send(pack(b"BLPOP", b"missing", b"0"))
    fanfare.redis.client_kill_filter(_id=str(id_))
    with pytest.raises((RedisConnectionError, OSError)):
        connection.read(1)
    connection.close()
    connection = BlockingRedisConnection(pool)
    assert connection.execute(b"PING") == b"PONG"
    connection.close()


async def test_a_busy_event_loop_is_not_a_failure_of_redis(fanfare: Fanfare) -> None:
    """Neither a reply nor a connection is given up because this process was too busy to read it."""
    connection = RedisConnection(fanfare.settings.redis_address(), 0.1, lambda _: None)
    try:
        for calls in (1, 200):  # the first one connects
            replies = asyncio.gather(*(connection.execute([("PING",)]) for _ in range(calls)))
            for _ in range(8):
                await asyncio.sleep(0)
                time.sleep(0.12)  # noqa: ASYNC251 - other work, which keeps the event loop busy
            assert await replies == [[b"PONG"]] * calls
    finally:
        connection.close()


async def test_callers_share_an_attempt_to_connect() -> None:
    """However many calls wait for a server that is silent, they all fail after one timeout."""
    accepted = []
    server = await asyncio.start_server(lambda *both: accepted.append(both), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connection = RedisConnection(f"redis://127.0.0.1:{port}/0", 0.1, lambda _: None)
    try:
        calls = (connection.execute([("PING",)]) for _ in range(200))
        failures = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(failure) for failure in failures} == {RedisTimeoutError}
        assert len(accepted) == 1
    finally:
        connection.close()
        for _, writer in accepted:
            writer.close()
        server.close()
