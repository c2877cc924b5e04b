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
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import hiredis
from redis import ConnectionPool as BlockingConnectionPool
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from core.storage.resp import pack

Command = tuple[str | bytes | int, ...]
Replies = list[Any]
OnReplies = Callable[[Replies], None]
"""Called with the replies to a call's commands."""
OnInvalidate = Callable[[Sequence[bytes] | None], None]
"""Called with the tracked keys that have changed; with None when any of them may have changed."""

# Put before a command, this asks Redis to report when a key that the command reads changes.
TRACK_NEXT_COMMAND: Command = ("CLIENT", "CACHING", "YES")
_ENABLE_TRACKING: Command = ("CLIENT", "TRACKING", "ON", "OPTIN")

_RECEIVE_BYTES = 1 << 20
# A timeout is this many waits of the event loop, each of a part of the time. In each of them the
# event loop reads what has arrived. So if it is busy for longer than the timeout, with other work
# than reading replies, that is not taken for a failure of Redis.
_PARTS_OF_TIMEOUT = 4
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
        self._open: _OpenConnection | None = None
        self._connecting: asyncio.Task[_OpenConnection] | None = None

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
        connection = self._open or await self._connect()
        replies = await connection.execute(commands, on_replies)
        for reply in replies:
            if isinstance(reply, RedisError):
                raise reply
        return replies

    def close(self) -> None:
        """Close the connection. Calls in progress fail; the next call connects again."""
        if self._open is not None:
            self._open.fail(RedisConnectionError("closed"))

    async def _connect(self) -> _OpenConnection:
        # All callers share one attempt and its failure. If each made its own, they would wait for
        # one timeout after another.
        if self._connecting is None:
            self._connecting = asyncio.ensure_future(self._attempt())
            self._connecting.add_done_callback(self._on_attempted)
        return await asyncio.shield(self._connecting)

    async def _attempt(self) -> _OpenConnection:
        connection = self._new_connection()
        opening = asyncio.ensure_future(connection.connect())
        try:
            await _wait_patiently(opening, self._timeout_seconds)
        except BaseException:
            opening.cancel()
            await asyncio.wait({opening})
            await connection.disconnect(nowait=True)
            raise
        self._open = _OpenConnection(
            connection, self._timeout_seconds, self._on_invalidate, self._on_failure
        )
        return self._open

    def _on_attempted(self, attempt: asyncio.Task[_OpenConnection]) -> None:
        self._connecting = None
        if not attempt.cancelled():
            attempt.exception()  # asyncio logs an exception that nobody has asked for

    def _on_failure(self, connection: _OpenConnection) -> None:
        if self._open is connection:
            self._open = None


async def _wait_patiently(opening: asyncio.Task[None], timeout_seconds: float) -> None:
    """Wait for a task.

    Raises:
        RedisTimeoutError: it took longer than timeout_seconds, while the event loop was not busy.
    """
    for _ in range(_PARTS_OF_TIMEOUT):
        await asyncio.wait({opening}, timeout=timeout_seconds / _PARTS_OF_TIMEOUT)
        if opening.done():
            opening.result()
            return
    raise RedisTimeoutError("Redis did not accept the connection in time")


class _Call:
    """Commands that were sent, and the replies to them so far."""

    __slots__ = ("future", "missing", "on_replies", "part_sent", "replies")

    def __init__(
        self,
        future: asyncio.Future[Replies],
        missing: int,
        on_replies: OnReplies | None,
        part_sent: int,
    ) -> None:
        self.future = future
        self.missing = missing
        self.on_replies = on_replies
        self.part_sent = part_sent
        """The number of the part of a timeout in which the commands were sent."""
        self.replies: Replies = []


class _OpenConnection(asyncio.Protocol):
    """An open connection. After a failure it is closed for good, and another one replaces it."""

    def __init__(
        self,
        connection: Any,
        timeout_seconds: float,
        on_invalidate: OnInvalidate,
        on_failure: Callable[[_OpenConnection], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        # redis-py closes a connection that is no longer referenced.
        self._connection = connection
        # redis-py has no public access to the transport.
        self._transport = connection._writer.transport  # noqa: SLF001
        self._part_seconds = timeout_seconds / _PARTS_OF_TIMEOUT
        self._part = 0
        """How many parts of a timeout have passed while there were calls."""
        self._on_invalidate = on_invalidate
        self._on_failure = on_failure
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE, replyError=ResponseError)
        self._outgoing: list[bytes] = []
        self._calls: deque[_Call] = deque()
        self._is_timer_set = False
        self._error: Exception | None = None
        self._transport.set_protocol(self)
        # The command is sent, but nobody awaits its future. It is cancelled, because asyncio would
        # log an exception that nobody retrieves.
        self.execute([_ENABLE_TRACKING], self._check_tracking).cancel()

    def execute(
        self, commands: Sequence[Command], on_replies: OnReplies | None
    ) -> asyncio.Future[Replies]:
        """Send commands in the next turn of the event loop; return a future with their replies."""
        future: asyncio.Future[Replies] = self._loop.create_future()
        if self._error is not None:
            future.set_exception(self._error)
            return future
        if not self._outgoing:
            self._loop.call_soon(self._send)
        self._outgoing += map(hiredis.pack_command, cast("Sequence[tuple[Any]]", commands))
        self._calls.append(_Call(future, len(commands), on_replies, self._part))
        if not self._is_timer_set:
            self._is_timer_set = True
            self._loop.call_later(self._part_seconds, self._end_part)
        return future

    def fail(self, error: Exception) -> None:
        """Close the connection, and raise the error in every call that waits for replies."""
        if self._error is not None:
            return
        self._error = error
        self._on_failure(self)
        self._on_invalidate(None)
        for call in self._calls:
            if not call.future.done():
                call.future.set_exception(error)
        self._calls.clear()
        self._transport.abort()
        # The public method is a coroutine, and would wait for the transport.
        self._connection._close()  # noqa: SLF001

    def data_received(self, data: bytes) -> None:
        """Deliver the replies and invalidation messages in the data, in the order they came."""
        self._reader.feed(data)
        try:
            while self._error is None and (reply := self._reader.gets()) is not _INCOMPLETE:
                if isinstance(reply, hiredis.PushNotification):
                    self._receive_push(reply)
                else:
                    self._receive_reply(reply)
        except hiredis.ProtocolError as error:
            self.fail(RedisConnectionError(f"Redis sent data that is not RESP: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail all calls, since Redis or the network has closed the connection."""
        self.fail(RedisConnectionError(f"lost the connection to Redis: {exc or 'closed by Redis'}"))

    def _check_tracking(self, replies: Replies) -> None:
        # Without tracking, Redis would not report changes, and callers would keep stale values.
        if isinstance(replies[0], RedisError):
            self.fail(replies[0])

    def _send(self) -> None:
        if self._error is None:
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def _receive_push(self, push: Sequence[Any]) -> None:
        if push[0] == b"invalidate":
            self._on_invalidate(push[1])

    def _receive_reply(self, reply: object) -> None:
        call = self._calls[0]
        call.replies.append(reply)
        call.missing -= 1
        if call.missing:
            return
        self._calls.popleft()
        if call.on_replies is not None:
            call.on_replies(call.replies)
        if not call.future.done():  # it is done if the caller was cancelled
            call.future.set_result(call.replies)

    def _end_part(self) -> None:
        # One timer is enough for all calls, since the oldest call is the first to get its replies.
        self._is_timer_set = bool(self._calls)
        if not self._calls:
            return
        self._part += 1
        # A call may be sent at the end of a part, so that part does not count.
        if self._part - self._calls[0].part_sent > _PARTS_OF_TIMEOUT:
            self.fail(RedisTimeoutError("Redis did not reply in time"))
        else:
            self._loop.call_later(self._part_seconds, self._end_part)


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
        while len(replies) < count:
            reply = self._reader.gets()
            if reply is _INCOMPLETE:
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
