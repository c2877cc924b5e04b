"""Pipelined connections to Redis: one for asyncio, one for a thread.

redis-py opens the connections, since it knows Redis URLs, TLS and passwords. It does not pipeline
the commands of independent callers, and it parses replies one at a time, which costs more than the
command costs Redis. So the two classes here write to the socket of the open connection themselves,
and parse the replies with hiredis.

This is the only module that uses private attributes of redis-py. A unit test fails when a new
version of redis-py no longer has them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import hiredis
from redis import ConnectionPool as BlockingConnectionPool
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from core.runtime.tracing import client_span
from core.storage.redis_pipeline import (
    PARTS_OF_TIMEOUT,
    Command,
    OnInvalidate,
    OnReplies,
    RedisPipeline,
    Replies,
)
from core.storage.resp import pack

_RECEIVE_BYTES = 1 << 20
_INCOMPLETE = object()


class RedisConnection:
    """One connection to Redis that all coroutines of a process share.

    Commands from all callers within one turn of the event loop are sent in one write, and all
    replies that have arrived are parsed together. This saves each call the cost of a connection
    pool, a lock, a timeout, and a task switch per reply. Redis executes the commands in the order
    of the calls of execute().

    The connection speaks RESP3 with client-side caching in the OPTIN mode: when a key changes that
    was read by a command right after TRACK_NEXT_COMMAND, Redis sends an invalidation message
    (https://valkey.io/topics/client-side-caching/).

    The connection is opened by the first call, and again by the first call after a failure.
    """

    def __init__(self, url: str, timeout_seconds: float, on_invalidate: OnInvalidate) -> None:
        """Use the Redis at the URL.

        Args:
            url: the address, in redis-py's format.
            timeout_seconds: how long connecting may take, and how long a reply may take. Time in
                which the event loop does other work counts only in part.
            on_invalidate: called with the tracked keys that have changed, and with None when the
                connection is lost, since changes are no longer reported then. A call gets a reply
                only after the changes that Redis reported before it were passed to on_invalidate.
        """
        pool = ConnectionPool.from_url(
            url,
            protocol=3,
            # redis-py's timeouts would include the time in which the event loop does other work.
            socket_timeout=None,
            socket_connect_timeout=None,
            # redis-py's own retries would take seconds. Callers fall back to Postgres sooner.
            retry=Retry(NoBackoff(), 0),
        )
        self._new_connection: Callable[[], Any] = partial(
            pool.connection_class, **pool.connection_kwargs
        )
        self._timeout_seconds = timeout_seconds
        self._on_invalidate = on_invalidate
        self._open: RedisPipeline | None = None
        self._connecting: asyncio.Task[RedisPipeline] | None = None

    async def execute(
        self, commands: Sequence[Command], on_replies: OnReplies | None = None
    ) -> Replies:
        """Execute commands and return their replies.

        Args:
            commands: sent together, in this order.
            on_replies: called with the replies as soon as they are parsed, before any invalidation
                message that Redis sent after them. (The coroutine that awaits this call may resume
                only after such a message.) Error replies are in the list as exceptions.

        Raises:
            RedisError: an error reply, a broken connection, or no reply in time.
            OSError: Redis cannot be reached.
        """
        with client_span("redis"):
            connection = self._open or await self._connect()
            replies = await connection.execute(commands, on_replies)
        for reply in replies:
            if isinstance(reply, RedisError):
                raise reply
        return replies

    async def barrier(self) -> None:
        """Wait until all changes that Redis reported before this call were passed to on_invalidate.

        That is so once the reply to a command has come that was sent after the call. All calls that
        arrive before it is sent share one PING, and only one is on its way at a time. Its reply may
        be an error, because only its place counts. (Redis refuses PING, but not reads, when it
        cannot save its data.)

        Raises:
            RedisError: a broken connection, or no reply in time.
            OSError: Redis cannot be reached.
        """
        with client_span("redis"):
            connection = self._open or await self._connect()
            await connection.barrier()

    def close(self) -> None:
        """Close the connection. Calls in progress fail; the next call connects again."""
        if self._open is not None:
            self._open.fail(RedisConnectionError("closed"))

    async def _connect(self) -> RedisPipeline:
        # All callers share one attempt and its failure. If each made its own, they would wait for
        # one timeout after another.
        if self._connecting is None:
            self._connecting = asyncio.ensure_future(self._attempt())
            self._connecting.add_done_callback(self._on_attempted)
        return await asyncio.shield(self._connecting)

    async def _attempt(self) -> RedisPipeline:
        connection = self._new_connection()
        opening = asyncio.ensure_future(connection.connect())
        try:
            await _wait_patiently(opening, self._timeout_seconds)
        except BaseException:
            opening.cancel()
            await asyncio.wait({opening})
            await connection.disconnect(nowait=True)
            raise
        # redis-py has no public access to the transport, and closes a connection that is no longer
        # referenced.
        self._open = RedisPipeline(
            connection._writer.transport,  # noqa: SLF001
            self._timeout_seconds,
            self._on_invalidate,
            partial(self._on_failure, connection),
        )
        return self._open

    def _on_attempted(self, attempt: asyncio.Task[RedisPipeline]) -> None:
        self._connecting = None
        if not attempt.cancelled():
            attempt.exception()  # asyncio logs an exception that nobody has asked for

    def _on_failure(self, connection: Any, pipeline: RedisPipeline) -> None:
        if self._open is pipeline:
            self._open = None
        # The public method is a coroutine, and would wait for the transport.
        connection._close()  # noqa: SLF001


async def _wait_patiently(opening: asyncio.Task[None], timeout_seconds: float) -> None:
    """Wait for a task.

    Raises:
        RedisTimeoutError: it took longer than timeout_seconds, while the event loop was not busy.
    """
    for _ in range(PARTS_OF_TIMEOUT):
        await asyncio.wait({opening}, timeout=timeout_seconds / PARTS_OF_TIMEOUT)
        if opening.done():
            opening.result()
            return
    raise RedisTimeoutError("Redis did not accept the connection in time")


class BlockingRedisConnection:
    """A connection for a thread that sends many commands before it reads their replies.

    Every method raises RedisError or OSError when Redis does not reply in time, or the connection
    breaks.
    """

    def __init__(self, pool: BlockingConnectionPool) -> None:
        """Take a connection from the pool, and keep it until close()."""
        self._pool = pool
        # redis-py leaves the methods of its connections without annotations.
        self._connection: Any = pool.get_connection()
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._ignored_replies = 0

    def send(self, packed: bytes, *, ignored_replies: int = 0) -> None:
        """Send packed commands without waiting for their replies.

        Args:
            packed: the commands, in RESP.
            ignored_replies: how many of the next unread replies read() skips. They must not be
                errors.
        """
        self._connection.send_packed_command([packed])
        self._ignored_replies += ignored_replies

    def read(self, count: int) -> Replies:
        """Return the next replies; raises ResponseError if one of them is an error."""
        replies: Replies = []
        gets = self._reader.gets
        while len(replies) < count:
            reply = gets()
            # Nearly all replies of a large transaction say that a command is queued.
            if type(reply) is bytes and not self._ignored_replies:
                replies.append(reply)
            elif reply is _INCOMPLETE:
                self._receive()
            elif isinstance(reply, hiredis.ReplyError):
                raise ResponseError(str(reply))
            elif isinstance(reply, hiredis.PushNotification):
                continue
            elif self._ignored_replies:
                self._ignored_replies -= 1
            else:
                replies.append(reply)
        return replies

    def execute(self, *command: bytes) -> Any:
        """Execute one command and return its reply."""
        self.send(pack(*command))
        return self.read(1)[0]

    def close(self) -> None:
        """Close the connection and return it to the pool, which reopens it when it is needed."""
        self._connection.disconnect()
        self._pool.release(self._connection)

    def _receive(self) -> None:
        # redis-py has no public way to read bytes.
        received = self._connection._sock.recv(_RECEIVE_BYTES)  # noqa: SLF001
        if not received:
            raise RedisConnectionError("lost the connection to Redis: closed by Redis")
        self._reader.feed(received)
