"""The queue for password work, in which a caller who sends much makes nobody else wait longer.

Kinds of work take turns, within a kind the addresses, and within an address the callers. So a
sign-in waits for one turn of each address that signs in, and not for the sign-ups and password
changes that were sent before it.

All work but sign-ins leaves one slot free, so that a sign-in finds it, however much other work
waits.

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
            slots: how many may be lent at a time; to other work than sign-ins, one fewer if there
                are several.
            max_waiting: how many calls may wait for one.
        """
        self._free = slots
        self._free_for_others = max(1, slots - 1)
        """How many slots may still be lent to other work than sign-ins."""
        self._max_waiting = max_waiting
        self._waiting: dict[Kind, FairQueue[asyncio.Future[None]]] = {
            kind: FairQueue() for kind in Kind
        }
        self._turns = list(Kind)
        """The kind that was served last comes last."""

    @asynccontextmanager
    async def slot(self, kind: Kind, caller: Path) -> AsyncIterator[None]:
        """Lend a slot.

        Args:
            kind: the kind of the work.
            caller: who makes the call: its address, and what tells callers of one apart.

        Raises:
            OverloadedError: too many calls wait, and none of them had to make room.
        """
        await self._acquire(kind, caller)
        try:
            yield
        finally:
            self._release(kind)

    async def _acquire(self, kind: Kind, caller: Path) -> None:
        # If a slot is free for this kind, nobody waits for it: _release() serves all it can.
        if self._is_free(kind):
            self._take(kind)
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting[kind].add(caller, waiter)
        if sum(waiting.count for waiting in self._waiting.values()) > self._max_waiting:
            self._refuse_one(kind, caller)
        try:
            # Unlike `await waiter`, this leaves the future as it is when the caller is cancelled.
            await asyncio.wait({waiter})
        except asyncio.CancelledError:
            if not waiter.done():
                self._waiting[kind].remove(caller, waiter)
            elif waiter.exception() is None:
                self._release(kind)
            raise
        waiter.result()

    def _refuse_one(self, kind: Kind, caller: Path) -> None:
        """Refuse the newest call of the address that has the most in the kind that has the most."""
        most = max(Kind, key=lambda each: (self._waiting[each].count, each is kind))
        path = caller if most is kind else ()
        self._waiting[most].remove_newest_of_largest(path).set_exception(OverloadedError())

    def _release(self, kind: Kind) -> None:
        self._free += 1
        self._free_for_others += kind is not Kind.SIGN_IN
        while served := next(filter(self._can_be_served, self._turns), None):
            self._turns.remove(served)
            self._turns.append(served)
            self._take(served)
            self._waiting[served].remove_next().set_result(None)

    def _can_be_served(self, kind: Kind) -> bool:
        return self._waiting[kind].count > 0 and self._is_free(kind)

    def _is_free(self, kind: Kind) -> bool:
        return self._free > 0 and (kind is Kind.SIGN_IN or self._free_for_others > 0)

    def _take(self, kind: Kind) -> None:
        self._free -= 1
        self._free_for_others -= kind is not Kind.SIGN_IN
