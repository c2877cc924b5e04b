"""One connection to Redis that all calls of the process share.

What the calls ask within one turn of the event loop leaves in one write, and what has arrived is
parsed in one go: a call pays for its commands, and not for a connection of a pool, a lock, a
timeout and a task switch for each answer. Redis executes the commands in the order of asking.

The connection is redis-py's, made by its URL with TLS and password; only the bytes on it are read
and written here. It speaks RESP3, in which Redis also pushes the keys that were changed after a
tracked read (client-side caching, https://valkey.io/topics/client-side-caching/).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import hiredis
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

Command = tuple[str | bytes | int, ...]
Replies = list[Any]
# Told which keys changed; of None: any may have.
Changed = Callable[[Sequence[bytes] | None], None]

# The next command's keys, and no others, are reported when they change.
TRACKED: Command = ("CLIENT", "CACHING", "YES")
_TRACKING: Command = ("CLIENT", "TRACKING", "ON", "OPTIN")

_NOTHING = object()


class RedisConnection:
    """Asks Redis; connects when asked, and anew after a failure."""

    def __init__(self, url: str, timeout_seconds: float, changed: Changed) -> None:
        """Use the Redis at the URL.

        timeout_seconds: how long connecting, and an answer, may take. changed: called when keys
        of tracked reads have changed, and when nobody can know any more because the connection is
        lost; never late: what is parsed after a change has not been seen before it is told.
        """
        pool = ConnectionPool.from_url(
            url,
            protocol=3,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            # redis-py's default retries take seconds; Postgres answers sooner.
            retry=Retry(NoBackoff(), 0),
        )
        self._connection: Callable[[], Any] = partial(
            pool.connection_class, **pool.connection_kwargs
        )
        self._timeout_seconds = timeout_seconds
        self._changed = changed
        self._link: _Link | None = None
        self._connecting = asyncio.Lock()

    async def ask(
        self, commands: Sequence[Command], parsed: Callable[[Replies], None] | None = None
    ) -> Replies:
        """Return the answers to the commands.

        parsed: called with them before anything that Redis says later is looked at, which a
        caller's own turn may be too late for. Raises RedisError or OSError: when Redis does not
        answer in time, when the connection breaks, and when an answer is an error.
        """
        link = self._link or await self._connect()
        replies = await link.ask(commands, parsed)
        for reply in replies:
            if isinstance(reply, RedisError):
                raise reply
        return replies

    def close(self) -> None:
        """Close the connection."""
        if self._link is not None:
            self._link.fail(RedisConnectionError("closed"))

    async def _connect(self) -> _Link:
        async with self._connecting:
            if self._link is None:
                connection = self._connection()
                try:
                    await connection.connect()
                except BaseException:
                    await connection.disconnect(nowait=True)
                    raise
                self._link = _Link(connection, self._timeout_seconds, self._changed, self._forget)
            return self._link

    def _forget(self, link: _Link) -> None:
        if self._link is link:
            self._link = None


class _Waiter:
    """A call that waits for its answers."""

    __slots__ = ("asked_at", "future", "missing", "parsed", "replies")

    def __init__(
        self,
        future: asyncio.Future[Replies],
        missing: int,
        parsed: Callable[[Replies], None] | None,
        asked_at: float,
    ) -> None:
        self.future = future
        self.missing = missing
        self.parsed = parsed
        self.asked_at = asked_at
        self.replies: Replies = []


class _Link(asyncio.Protocol):
    """A connection, until it breaks."""

    def __init__(
        self,
        connection: Any,
        timeout_seconds: float,
        changed: Changed,
        failed: Callable[[_Link], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        # Kept, because redis-py closes what nobody keeps.
        self._connection = connection
        # There is no public way to the bytes on the connection.
        self._transport = connection._writer.transport  # noqa: SLF001
        self._timeout_seconds = timeout_seconds
        self._changed = changed
        self._failed = failed
        self._reader = hiredis.Reader(notEnoughData=_NOTHING, replyError=ResponseError)
        self._outgoing: list[bytes] = []
        self._waiting: deque[_Waiter] = deque()
        self._watched = False
        self._broken: Exception | None = None
        self._transport.set_protocol(self)
        self.ask([_TRACKING], self._tracking)

    def ask(
        self, commands: Sequence[Command], parsed: Callable[[Replies], None] | None
    ) -> asyncio.Future[Replies]:
        """Send the commands at the end of this turn of the loop; return what they will answer."""
        future: asyncio.Future[Replies] = self._loop.create_future()
        if self._broken is not None:
            future.set_exception(self._broken)
            return future
        if not self._outgoing:
            self._loop.call_soon(self._send)
        self._outgoing += map(hiredis.pack_command, cast("Sequence[tuple[Any]]", commands))
        self._waiting.append(_Waiter(future, len(commands), parsed, self._loop.time()))
        if not self._watched:
            self._watched = True
            self._loop.call_later(self._timeout_seconds, self._watch)
        return future

    def fail(self, error: Exception) -> None:
        """Close the connection; every call that waits gets the error."""
        if self._broken is not None:
            return
        self._broken = error
        self._failed(self)
        self._changed(None)
        for waiter in self._waiting:
            if not waiter.future.done():
                waiter.future.set_exception(error)
        self._waiting.clear()
        self._transport.abort()
        self._connection._close()  # noqa: SLF001 - the public one waits

    def data_received(self, data: bytes) -> None:
        """Give the answers in the data to those who wait for them."""
        self._reader.feed(data)
        try:
            while self._broken is None and (reply := self._reader.gets()) is not _NOTHING:
                if isinstance(reply, hiredis.PushNotification):
                    self._pushed(reply)
                else:
                    self._answered(reply)
        except hiredis.ProtocolError as error:
            self.fail(RedisConnectionError(f"Redis sent what is not RESP: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all who wait."""
        self.fail(RedisConnectionError(f"the connection to Redis was lost: {exc or 'closed'}"))

    def _tracking(self, replies: Replies) -> None:
        # Without it, nobody would say that a body in process is old.
        if isinstance(replies[0], RedisError):
            self.fail(replies[0])

    def _send(self) -> None:
        if self._broken is None:
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def _pushed(self, push: Sequence[Any]) -> None:
        if push[0] == b"invalidate":
            self._changed(push[1])

    def _answered(self, reply: object) -> None:
        waiter = self._waiting[0]
        waiter.replies.append(reply)
        waiter.missing -= 1
        if waiter.missing:
            return
        self._waiting.popleft()
        if waiter.parsed is not None:
            waiter.parsed(waiter.replies)
        if not waiter.future.done():  # its call may have been cancelled
            waiter.future.set_result(waiter.replies)

    def _watch(self) -> None:
        # One timer for all: the oldest who waits is the first to be answered.
        self._watched = bool(self._waiting)
        if not self._waiting:
            return
        left = self._waiting[0].asked_at + self._timeout_seconds - self._loop.time()
        if left <= 0:
            self.fail(RedisTimeoutError("Redis did not answer in time"))
        else:
            self._loop.call_later(left, self._watch)
