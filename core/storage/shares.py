"""Fair shares: which of the waiting statements may use one of a few connections next.

Whoever asks gets a slot at once while one is free. Otherwise callers take turns: each turn serves
one statement of the caller who has waited longest for a turn, however many more that caller has
waiting. So a caller with a thousand statements delays another caller by one of them.

Expensive statements may hold only some of the slots. However many callers send them, the other
slots serve the cheap statements.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from enum import Enum, auto

from core.errors import DatabaseUnavailableError, FanfareError, OverloadedError
from core.runtime.metrics import METRICS, Metric

# How long the slots may stand still before waiting callers are told that the database is
# unavailable: if no statement ends in this time, it is not the number of callers that delays them.
STANDSTILL_SECONDS = 2.0
# How long a caller waits for a turn at most, while other statements end.
MAX_WAIT_SECONDS = 6.0


class Cost(Enum):
    """How much of the database a statement may need."""

    CHEAP = auto()
    """It reads or writes a few rows, or one row for each item of its request."""
    EXPENSIVE = auto()
    """It reads rows for each of the users that somebody follows."""


_Waiting = asyncio.Future[None]


class _Ring:
    """The callers who wait for slots of one kind, in the order of their turns."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str | None, deque[_Waiting]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._queues)

    def add(self, caller: str | None) -> _Waiting:
        """Return a new future at the end of the caller's queue."""
        waiting = asyncio.get_running_loop().create_future()
        self._queues.setdefault(caller, deque()).append(waiting)
        return waiting

    def remove(self, caller: str | None, waiting: _Waiting) -> None:
        """Remove a future that has not been served."""
        queue = self._queues[caller]
        queue.remove(waiting)
        if not queue:
            del self._queues[caller]

    def take(self) -> _Waiting:
        """Remove and return the future whose turn it is.

        The process's own work comes first: there is little of it, and callers depend on it.
        """
        caller = None if None in self._queues else next(iter(self._queues))
        queue = self._queues[caller]
        waiting = queue.popleft()
        if queue:
            self._queues.move_to_end(caller)
        else:
            del self._queues[caller]
        return waiting

    def take_all(self) -> list[_Waiting]:
        """Remove and return all futures."""
        found = [waiting for queue in self._queues.values() for waiting in queue]
        self._queues.clear()
        return found

    def length(self, caller: str | None) -> int:
        """Return how many futures a caller has waiting."""
        return len(self._queues.get(caller, ()))

    def longest(self) -> int:
        """Return the length of the longest queue of a caller."""
        return max(map(len, self._queues.values()), default=0)

    def drop_of_longest(self) -> _Waiting:
        """Remove and return the last future of the longest queue, which has at least two."""
        return max(self._queues.values(), key=len).pop()


class Shares:
    """Hands out the slots of one database."""

    def __init__(self, slots: int, max_waiting: int) -> None:
        """Begin with all slots free.

        Args:
            slots: how many statements may run at a time. Expensive ones may use a third of them.
            max_waiting: how many statements may wait for a slot.
        """
        self._slots = slots
        self._expensive_slots = max(1, slots // 3)
        self._max_waiting = max_waiting
        self._used = 0
        self._expensive_used = 0
        self._released = 0
        self._waiting = 0
        self._rings = {cost: _Ring() for cost in Cost}

    async def acquire(self, caller: str | None, cost: Cost) -> None:
        """Take a slot, as soon as it is this caller's turn. The slot must be released.

        Raises:
            OverloadedError: this caller has too many statements waiting, or there were too many
                other callers for too long.
            DatabaseUnavailableError: no statement has ended for too long.
        """
        # If a slot of this kind is free, nobody waits for it: release() serves all it can.
        if self._is_free(cost):
            self._take(cost)
        else:
            await self._wait(caller, cost)

    def release(self, cost: Cost) -> None:
        """Give a slot back."""
        self._used -= 1
        self._expensive_used -= cost is Cost.EXPENSIVE
        self._released += 1
        # Expensive statements first: otherwise cheap ones could keep them from their share.
        for next_cost in (Cost.EXPENSIVE, Cost.CHEAP):
            ring = self._rings[next_cost]
            while ring and self._is_free(next_cost):
                self._take(next_cost)
                self._waiting -= 1
                ring.take().set_result(None)

    def refuse_waiting(self, error: type[FanfareError]) -> None:
        """Raise an error in all callers who wait for a slot."""
        for ring in self._rings.values():
            for waiting in ring.take_all():
                waiting.set_exception(error())
        self._waiting = 0

    def _is_free(self, cost: Cost) -> bool:
        return self._used < self._slots and (
            cost is Cost.CHEAP or self._expensive_used < self._expensive_slots
        )

    def _take(self, cost: Cost) -> None:
        self._used += 1
        self._expensive_used += cost is Cost.EXPENSIVE

    async def _wait(self, caller: str | None, cost: Cost) -> None:
        if self._waiting >= self._max_waiting:
            self._make_room(caller, cost)
        waiting = self._rings[cost].add(caller)
        self._waiting += 1
        try:
            await self._turn(waiting)
        except BaseException:
            self._give_up(waiting, caller, cost)
            raise

    def _make_room(self, caller: str | None, cost: Cost) -> None:
        """Refuse the last statement of the caller who has the most waiting.

        Raises:
            OverloadedError: that is the statement for which room is needed.
        """
        METRICS.add(Metric.POSTGRES_OVERLOADED)
        ring = max(self._rings.values(), key=_Ring.longest)
        if self._rings[cost].length(caller) + 1 >= ring.longest():
            raise OverloadedError
        ring.drop_of_longest().set_exception(OverloadedError())
        self._waiting -= 1

    async def _turn(self, waiting: _Waiting) -> None:
        """Return when the future is served."""
        until = time.monotonic() + MAX_WAIT_SECONDS
        while not waiting.done():
            released = self._released
            # asyncio.wait() leaves the future as it is when the time is over.
            await asyncio.wait({waiting}, timeout=STANDSTILL_SECONDS)
            if waiting.done():
                break
            if self._released == released:
                raise DatabaseUnavailableError
            if time.monotonic() > until:
                METRICS.add(Metric.POSTGRES_OVERLOADED)
                raise OverloadedError
        waiting.result()

    def _give_up(self, waiting: _Waiting, caller: str | None, cost: Cost) -> None:
        if not waiting.done():
            self._rings[cost].remove(caller, waiting)
            self._waiting -= 1
        elif waiting.exception() is None:
            self.release(cost)
