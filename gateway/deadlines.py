"""The time that a call over HTTP may take."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

from core.errors import DeadlineExceededError

CALL_SECONDS = 10.0

Result = TypeVar("Result")


class Deadlines:
    """Cancels calls that take longer than CALL_SECONDS.

    asyncio.timeout() would set and cancel a timer for each call, which costs more than to find its
    route. All calls have the same time, so the oldest is the first to be late, and one timer is
    enough.
    """

    def __init__(self) -> None:
        # When each call under way is late, in the event loop's time; the oldest call is first.
        self._late_at: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._is_timer_set = False

    async def run(self, call: Coroutine[Any, Any, Result]) -> Result:
        """Return the result of a call, which the current task runs.

        Raises:
            DeadlineExceededError: the call was late, and was cancelled.
        """
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - this is a coroutine
        self._late_at[task] = late_at = loop.time() + CALL_SECONDS
        if not self._is_timer_set:
            self._is_timer_set = True
            loop.call_at(late_at, self._cancel_late)
        try:
            return await call
        except asyncio.CancelledError:
            # If the client has left as well, the task stays cancelled.
            if task in self._late and task.cancelling() == 1:
                raise DeadlineExceededError from None
            raise
        finally:
            self._late_at.pop(task, None)
            if task in self._late:
                self._late.discard(task)
                # Even if the call has ended otherwise: the task serves the next request, too.
                task.uncancel()

    def _cancel_late(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._late_at:
            task, late_at = next(iter(self._late_at.items()))
            if late_at > now:
                loop.call_at(late_at, self._cancel_late)
                return
            del self._late_at[task]
            self._late.add(task)
            task.cancel()
        self._is_timer_set = False


async def in_time(late_at: float | None, call: Awaitable[Result]) -> Result:
    """Return the result of a call, or of a part of it, if that is there in time.

    Args:
        late_at: when its client no longer waits, in the event loop's time; None if it did not say.
        call: the call.

    Raises:
        DeadlineExceededError: it was late, and was cancelled.
    """
    if late_at is None:
        return await call
    try:
        async with asyncio.timeout_at(late_at):
            return await call
    except TimeoutError:
        raise DeadlineExceededError from None
