"""The pipeline of commands and replies on an open connection to Redis.

RedisConnection in core/storage/redis.py opens the connection, and another one after a failure.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

Command = tuple[str | bytes | int, ...]
Replies = list[Any]
OnReplies = Callable[[Replies], None]
"""Called with the replies to a call's commands."""
OnInvalidate = Callable[[Sequence[bytes] | None], None]
"""Called with the tracked keys that have changed; with None when any of them may have changed."""

# Put before a command, this asks Redis to report when a key that the command reads changes.
TRACK_NEXT_COMMAND: Command = ("CLIENT", "CACHING", "YES")
_ENABLE_TRACKING: Command = ("CLIENT", "TRACKING", "ON", "OPTIN")
_PING: Command = ("PING",)

# A timeout is this many waits of the event loop, each of a part of the time. In each of them the
# event loop reads what has arrived. So if it is busy for longer than the timeout, with other work
# than reading replies, that is not taken for a failure of Redis.
PARTS_OF_TIMEOUT = 4
_INCOMPLETE = object()


class _SharedFuture(asyncio.Future[Replies]):
    """A future that several tasks wait for: when one of them is cancelled, the others go on."""

    def cancel(self, msg: object = None) -> bool:  # noqa: ARG002 - the signature of asyncio
        """Do nothing. The cancelled task notices it when the future is done."""
        return False


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


class RedisPipeline(asyncio.Protocol):
    """An open connection. After a failure it is closed for good, and another one replaces it."""

    def __init__(
        self,
        transport: asyncio.Transport,
        timeout_seconds: float,
        on_invalidate: OnInvalidate,
        on_failure: Callable[[RedisPipeline], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._part_seconds = timeout_seconds / PARTS_OF_TIMEOUT
        self._part = 0
        """How many parts of a timeout have passed while there were calls."""
        self._on_invalidate = on_invalidate
        self._on_failure = on_failure
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE, replyError=ResponseError)
        self._outgoing: list[bytes] = []
        self._barrier: _SharedFuture | None = None
        """The reply to the next PING, which is not sent yet; calls may still join it."""
        self._is_ping_sent = False
        """Whether the reply to a PING is still to come."""
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
        self._enqueue(commands, on_replies, future)
        return future

    def barrier(self) -> asyncio.Future[Replies]:
        """Return the future of the reply to a PING that is not sent yet.

        Only one PING is on its way at a time. Calls that arrive meanwhile share the next one, which
        is sent when its reply has come: a busy process sends fewer of them.
        """
        if self._barrier is None:
            self._barrier = _SharedFuture(loop=self._loop)
            if not self._is_ping_sent:
                self._ping(self._barrier)
        return self._barrier

    def _ping(self, barrier: _SharedFuture) -> None:
        self._enqueue([_PING], self._end_barrier, barrier)

    def _end_barrier(self, _replies: Replies) -> None:
        self._is_ping_sent = False
        if self._barrier is not None:
            self._ping(self._barrier)

    def fail(self, error: Exception) -> None:
        """Close the connection, and raise the error in every call that waits for replies."""
        if self._error is not None:
            return
        self._error = error
        self._on_invalidate(None)
        for call in self._calls:
            if not call.future.done():
                call.future.set_exception(error)
        self._calls.clear()
        if self._barrier is not None and not self._barrier.done():
            self._barrier.set_exception(error)
        self._transport.abort()
        self._on_failure(self)

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

    def _enqueue(
        self,
        commands: Sequence[Command],
        on_replies: OnReplies | None,
        future: asyncio.Future[Replies],
    ) -> None:
        if self._error is not None:
            future.set_exception(self._error)
            return
        if not self._outgoing:
            self._loop.call_soon(self._send)
        self._outgoing += map(hiredis.pack_command, cast("Sequence[tuple[Any]]", commands))
        self._calls.append(_Call(future, len(commands), on_replies, self._part))
        if not self._is_timer_set:
            self._is_timer_set = True
            self._loop.call_later(self._part_seconds, self._end_part)

    def _send(self) -> None:
        if self._error is None:
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()
        if self._barrier is not None and not self._is_ping_sent:
            self._is_ping_sent, self._barrier = True, None

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
        if self._part - self._calls[0].part_sent > PARTS_OF_TIMEOUT:
            self.fail(RedisTimeoutError("Redis did not reply in time"))
        else:
            self._loop.call_later(self._part_seconds, self._end_part)
