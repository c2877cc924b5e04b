"""Where the write-ahead log is, for the tokens of commands that were just committed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Positions:
    """Reads positions; those who ask while a query is under way share the next one."""

    def __init__(self, read: Callable[[], Awaitable[int]]) -> None:
        self._read = read
        self._under_way: asyncio.Task[int] | None = None
        self._next: asyncio.Task[int] | None = None

    async def now(self) -> int:
        """Return a position not before any commit that was answered before this call.

        Raises DatabaseUnavailableError when Postgres does not answer.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._read_next(self._under_way))
        # Shielded: one caller who goes must not take the answer from the others.
        return await asyncio.shield(self._next)

    async def _read_next(self, before: asyncio.Task[int] | None) -> int:
        if before is not None:
            await asyncio.wait([before])
        # Whoever asks from here on may have committed after the query was sent.
        self._under_way, self._next = self._next, None
        return await self._read()
