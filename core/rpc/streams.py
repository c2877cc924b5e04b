"""The open streams of one process, over gRPC and REST: their limits, and how a drain ends them.

Streams last for hours and mostly wait, so they do not count against the limit of calls. Each takes
some memory instead, so their number has a limit of its own, for the process and for each caller.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

from core.watch_errors import TooManyWatchesError, WatchEndedError

DEFAULT_MAX_STREAMS = 10_000
DEFAULT_STREAMS_PER_CALLER = 20
# How long an event that is being sent may take once its stream is to end. A client that does not
# read would otherwise hold up the drain.
SENDING_SECONDS = 1.0
# An event that its client has not read for this long, or for up to twice as long, ends its stream.
# A stream that is held up does not notice that its access token has ended: it would keep its place.
UNREAD_SECONDS = 75.0


class Streams:
    """Counts the open streams, and ends them when the process drains."""

    def __init__(
        self, most: int = DEFAULT_MAX_STREAMS, most_per_caller: int = DEFAULT_STREAMS_PER_CALLER
    ) -> None:
        """Start without a stream.

        Args:
            most: how many streams may be open.
            most_per_caller: how many of them each caller may have.
        """
        self._most = most
        self._most_per_caller = most_per_caller
        self._open: set[OpenStream] = set()
        self._by_caller: Counter[str] = Counter()
        self._is_closed = False
        self._is_timer_set = False

    @property
    def count(self) -> int:
        """The number of open streams."""
        return len(self._open)

    @contextmanager
    def opened(self, caller: str) -> Iterator[OpenStream]:
        """Count a stream, which the current task serves, while the context lasts.

        Args:
            caller: whose stream it is; empty for a caller without a limit.

        Raises:
            TooManyWatchesError: the limit of the caller or of the process is reached.
            WatchEndedError: the process is draining.
        """
        if self._is_closed:
            raise WatchEndedError
        if len(self._open) >= self._most:
            raise TooManyWatchesError("all callers together have", self._most)
        if caller and self._by_caller[caller] >= self._most_per_caller:
            raise TooManyWatchesError("the caller has", self._most_per_caller)
        stream = OpenStream()
        self._open.add(stream)
        self._by_caller[caller] += 1
        if not self._is_timer_set:
            self._set_timer()
        try:
            yield stream
        finally:
            self._open.remove(stream)
            stream.is_over = True
            self._by_caller[caller] -= 1
            if not self._by_caller[caller]:
                del self._by_caller[caller]

    def end_all(self) -> None:
        """End the open streams with WatchEndedError; later ones may begin."""
        for stream in self._open:
            stream.end()

    def close(self) -> None:
        """End the open streams, and refuse later ones, with WatchEndedError."""
        self._is_closed = True
        self.end_all()

    def _set_timer(self) -> None:
        # One timer for all streams; none while there are no streams.
        self._is_timer_set = bool(self._open)
        if self._is_timer_set:
            asyncio.get_running_loop().call_later(UNREAD_SECONDS, self._end_unread)

    def _end_unread(self) -> None:
        for stream in self._open:
            stream.end_if_unread()
        self._set_timer()


class OpenStream:
    """A stream that is counted; the task that serves it takes its events from here."""

    __slots__ = ("_is_ended", "_is_unread", "_is_waiting", "_task", "is_over")

    def __init__(self) -> None:
        self._task = asyncio.current_task()
        self._is_waiting = False
        self._is_ended = False
        self._is_unread = False
        self.is_over = False
        """Whether the stream is no longer counted."""

    async def next(self, events: AsyncGenerator[bytes, None]) -> bytes | None:
        """Return the next event; None if there are no more.

        Raises:
            WatchEndedError: end() was called.
        """
        if self._is_ended:
            raise WatchEndedError
        self._is_waiting, self._is_unread = True, False
        try:
            return await anext(events, None)
        except asyncio.CancelledError:
            # If the client has left as well, the task stays cancelled.
            if self._is_ended and self._task is not None and self._task.uncancel() == 0:
                raise WatchEndedError from None
            raise
        finally:
            self._is_waiting = False

    def end(self) -> None:
        """Have next() raise WatchEndedError, now or once the latest event has been sent."""
        if self._is_ended:
            return
        self._is_ended = True
        if self._is_waiting:
            self._cancel()
        else:
            asyncio.get_running_loop().call_later(SENDING_SECONDS, self._cancel)

    def end_if_unread(self) -> None:
        """Cancel the task if it was already sending its latest event at the last call of this."""
        if self._is_waiting:
            return
        if self._is_unread:
            self._cancel()
        self._is_unread = True

    def _cancel(self) -> None:
        if not self.is_over and self._task is not None:
            self._task.cancel()
