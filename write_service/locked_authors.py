"""Drafts whose authors are locked, set aside until the lock is gone or has lasted too long."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

from core.runtime.metrics import METRICS, Metric
from write_service.user_locks import LOCK_POLL_SECONDS, LOCK_SECONDS

# How many locked authors are tried at a time, each with a connection for the time of a transaction.
MAX_TRIES_AT_A_TIME = 2


class OfAuthor(Protocol):
    """Something that waits for an author."""

    @property
    def author_id(self) -> int:
        """The author."""


Waiting = TypeVar("Waiting", bound=OfAuthor)


class LockedAuthors(Generic[Waiting]):
    """The drafts of locked authors; one draft of each author is tried again and again."""

    def __init__(
        self,
        attempt: Callable[[Waiting], Awaitable[bool]],
        give_up: Callable[[Sequence[Waiting]], None],
        resume: Callable[[Sequence[Waiting]], None],
    ) -> None:
        """Start without any.

        Args:
            attempt: creates a tweet and answers its caller; returns False, and answers nobody, if
                the author is locked.
            give_up: answers the callers of drafts whose author was locked for too long.
            resume: takes drafts back whose author is not locked any more.
        """
        self._attempt = attempt
        self._give_up = give_up
        self._resume = resume
        self._by_author: dict[int, deque[Waiting]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Semaphore(MAX_TRIES_AT_A_TIME)

    def __len__(self) -> int:
        """Return how many drafts wait."""
        return sum(map(len, self._by_author.values()))

    def hold(self, waiting: Waiting) -> None:
        """Set a draft aside whose author is locked."""
        author_id = waiting.author_id
        if not self.hold_if_locked(waiting):
            METRICS.add(Metric.AUTHOR_LOCKED)
            self._by_author[author_id] = deque([waiting])
            task = asyncio.create_task(self._retry(author_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def hold_if_locked(self, waiting: Waiting) -> bool:
        """Set a draft aside if its author is known to be locked; return whether that is so."""
        others = self._by_author.get(waiting.author_id)
        if others is None:
            return False
        others.append(waiting)
        return True

    async def settle(self) -> None:
        """Wait until no author is known to be locked."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _retry(self, author_id: int) -> None:
        """Try the author's first draft until its author is not locked, or time is up."""
        waiting = self._by_author[author_id]
        deadline = time.monotonic() + LOCK_SECONDS
        done = False
        try:
            while not done and time.monotonic() < deadline:
                await asyncio.sleep(LOCK_POLL_SECONDS)
                async with self._turn:
                    done = await self._attempt(waiting[0])
        finally:
            del self._by_author[author_id]
            if done:
                waiting.popleft()
                self._resume(waiting)
            else:
                self._give_up(waiting)
