"""The queue for password work, in which a caller who sends much makes nobody else wait longer.

Kinds of work get their turns one after another, and within a kind the addresses do. So a sign-in
waits for one turn of each address that signs in, and not for the sign-ups and password changes that
were sent before it.

When too many calls wait, the address with the most waiting calls loses its newest one. So a flood
is refused, and those who came without one are not.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum, auto

from core.errors import OverloadedError


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
        self._waiting = _Group()

    @asynccontextmanager
    async def slot(self, kind: Kind, address: str) -> AsyncIterator[None]:
        """Lend a slot.

        Args:
            kind: the kind of the work.
            address: the address that the call is counted by.

        Raises:
            OverloadedError: too many calls wait, and none of them had to make room.
        """
        await self._acquire((kind, address))
        try:
            yield
        finally:
            self._release()

    async def _acquire(self, path: _Path) -> None:
        if self._free:
            self._free -= 1
            return
        waiter: _Waiter = asyncio.get_running_loop().create_future()
        self._waiting.add(path, waiter)
        if self._waiting.count > self._max_waiting:
            self._waiting.remove_newest_of_most(path).set_exception(OverloadedError())
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


_Waiter = asyncio.Future[None]
_Path = tuple[object, ...]


class _Group:
    """Waiters, or groups of waiters in the order of their turns."""

    __slots__ = ("count", "groups", "waiters")

    def __init__(self) -> None:
        self.count = 0
        """How many wait, in all groups below together."""
        self.groups: OrderedDict[object, _Group] = OrderedDict()
        self.waiters: deque[_Waiter] = deque()

    def add(self, path: _Path, waiter: _Waiter) -> None:
        """Add a waiter behind the others of the group at this path."""
        self.count += 1
        if path:
            self.groups.setdefault(path[0], _Group()).add(path[1:], waiter)
        else:
            self.waiters.append(waiter)

    def remove(self, path: _Path, waiter: _Waiter) -> None:
        """Remove a waiter that gives up."""
        self.count -= 1
        if path:
            self.groups[path[0]].remove(path[1:], waiter)
            self._drop_if_empty(path[0])
        else:
            self.waiters.remove(waiter)

    def remove_next(self) -> _Waiter:
        """Remove and return the waiter whose turn it is."""
        self.count -= 1
        if not self.groups:
            return self.waiters.popleft()
        key, group = next(iter(self.groups.items()))
        self.groups.move_to_end(key)
        waiter = group.remove_next()
        self._drop_if_empty(key)
        return waiter

    def remove_newest_of_most(self, path: _Path) -> _Waiter:
        """Remove and return the newest waiter of the group that has the most.

        Among groups of the same size it is the one on the path, so that earlier waiters may stay.
        """
        self.count -= 1
        if not self.groups:
            return self.waiters.pop()
        key = max(self.groups, key=lambda key: (self.groups[key].count, key in path[:1]))
        waiter = self.groups[key].remove_newest_of_most(path[1:] if key in path[:1] else ())
        self._drop_if_empty(key)
        return waiter

    def _drop_if_empty(self, key: object) -> None:
        if not self.groups[key].count:
            del self.groups[key]
