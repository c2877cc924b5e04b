"""Which moment it is in the database's history, for the tokens of commands just committed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from core.history import Moment


class Positions:
    """Reads moments; those who ask while a query is under way share the next one."""

    def __init__(self, read: Callable[[], Awaitable[Moment]]) -> None:
        self._read = read
        self._under_way: asyncio.Task[Moment] | None = None
        self._next: asyncio.Task[Moment] | None = None

    async def now(self) -> Moment:
        """Return a moment not before any commit that was answered before this call.

        Raises DatabaseUnavailableError when Postgres does not answer.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._read_next(self._under_way))
        # Shielded: one caller who goes must not take the answer from the others.
        return await asyncio.shield(self._next)

    async def _read_next(self, before: asyncio.Task[Moment] | None) -> Moment:
        if before is not None:
            await asyncio.wait([before])
        # Whoever asks from here on may have committed after the query was sent.
        self._under_way, self._next = self._next, None
        return await self._read()
