"""The queue for password work, in which a caller who sends much makes nobody else wait longer.

Kinds of work take turns, within a kind the addresses, and within an address the callers. So a
sign-in waits for one turn of each address that signs in, and not for the sign-ups and password
changes that were sent before it.

When too many calls wait, one of the kind with the most is refused: the newest of the address that
has the most. So a flood is refused, and those who came without one are not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum, auto

from core.errors import OverloadedError
from core.runtime.fair_queue import FairQueue, Path


class Kind(Enum):
    """What a password is hashed or verified for."""

    SIGN_IN = auto()
    SIGN_UP = auto()
    CHANGE = auto()


class PasswordQueue:
    """Lends a few slots to the callers who wait, in fair turns."""

    def __init__(self, slots: int, max_waiting: int) -> None:
        """Start with all slots free.

        Args:
            slots: how many may be lent at a time.
            max_waiting: how many calls may wait for one.
        """
        self._free = slots
        self._max_waiting = max_waiting
        self._waiting: FairQueue[asyncio.Future[None]] = FairQueue()

    @asynccontextmanager
    async def slot(self, kind: Kind, caller: Path) -> AsyncIterator[None]:
        """Lend a slot.

        Args:
            kind: the kind of the work.
            caller: who makes the call: its address, and what tells callers of one apart.

        Raises:
            OverloadedError: too many calls wait, and none of them had to make room.
        """
        await self._acquire((kind, *caller))
        try:
            yield
        finally:
            self._release()

    async def _acquire(self, path: Path) -> None:
        if self._free:
            self._free -= 1
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.add(path, waiter)
        if self._waiting.count > self._max_waiting:
            self._waiting.remove_newest_of_largest(path).set_exception(OverloadedError())
        try:
            # Unlike `await waiter`, this leaves the future as it is when the caller is cancelled.
            await asyncio.wait({waiter})
        except asyncio.CancelledError:
            if not waiter.done():
                self._waiting.remove(path, waiter)
            elif waiter.exception() is None:
                self._release()
            raise
        waiter.result()

    def _release(self) -> None:
        if self._waiting.count:
            self._waiting.remove_next().set_result(None)
        else:
            self._free += 1
