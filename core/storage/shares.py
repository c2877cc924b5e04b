"""Fair shares: which of the waiting statements may use one of a few connections next.

A caller gets a slot at once while one is free. Otherwise addresses take turns, and within an
address its callers: each turn serves one statement, however many more are waiting. So an address
with a thousand statements, or with a thousand users, delays a caller elsewhere by one statement.
The work of the process itself comes first: there is little of it, and callers depend on it.

Expensive statements may hold only some of the slots. However many callers send them, the other
slots serve the cheap statements. Among them, builds come first: each saves many other statements.
"""

from __future__ import annotations

import asyncio
import time
from enum import Enum, auto

from core.errors import DatabaseUnavailableError, FanfareError, OverloadedError
from core.runtime.fair_queue import FairQueue, Path
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
    BUILD = auto()
    """It is expensive, and what it reads is cached."""


class Shares:
    """Hands out the slots of one database."""

    def __init__(self, slots: int, max_waiting: int) -> None:
        """Begin with all slots free.

        Args:
            slots: how many statements may run at a time. Expensive ones may use a third of them,
                and builds all of these but one.
            max_waiting: how many statements may wait for a slot.
        """
        self._slots = slots
        self._expensive_slots = max(1, slots // 3)
        self._build_slots = max(1, self._expensive_slots - 1)
        self._max_waiting = max_waiting
        self._used = 0
        self._expensive_used = 0
        self._builds = 0
        self._released = 0
        self._waiting: dict[Cost, FairQueue[asyncio.Future[None]]] = {
            cost: FairQueue() for cost in Cost
        }

    @property
    def used(self) -> int:
        """How many slots are taken."""
        return self._used

    @property
    def waiting(self) -> int:
        """How many statements wait for a slot."""
        return sum(waiting.count for waiting in self._waiting.values())

    async def acquire(self, caller: Path, cost: Cost) -> None:
        """Take a slot, as soon as it is this caller's turn. The slot must be released.

        Args:
            caller: whose statement it is, as a path of groups; empty for the process's own work.
            cost: how much of the database the statement may need.

        Raises:
            OverloadedError: this caller or its address has too many statements waiting, or there
                were too many other callers for too long.
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
        self._expensive_used -= cost is not Cost.CHEAP
        self._builds -= cost is Cost.BUILD
        self._released += 1
        # Expensive statements first: otherwise cheap ones could keep them from their share.
        for next_cost in (Cost.BUILD, Cost.EXPENSIVE, Cost.CHEAP):
            waiting = self._waiting[next_cost]
            while waiting.count and self._is_free(next_cost):
                self._take(next_cost)
                waiting.remove_next().set_result(None)

    def refuse_waiting(self, error: type[FanfareError]) -> None:
        """Raise an error in all callers who wait for a slot."""
        for waiting in self._waiting.values():
            while waiting.count:
                waiting.remove_next().set_exception(error())

    def _is_free(self, cost: Cost) -> bool:
        if self._used >= self._slots:
            return False
        if cost is Cost.BUILD and self._builds >= self._build_slots:
            return False
        return cost is Cost.CHEAP or self._expensive_used < self._expensive_slots

    def _take(self, cost: Cost) -> None:
        self._used += 1
        self._expensive_used += cost is not Cost.CHEAP
        self._builds += cost is Cost.BUILD

    async def _wait(self, caller: Path, cost: Cost) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting[cost].add(caller, turn)
        if self.waiting > self._max_waiting:
            self._refuse_newest(caller, cost)
        try:
            await self._wait_for(turn)
        except BaseException:
            self._give_up(turn, caller, cost)
            raise

    def _refuse_newest(self, caller: Path, cost: Cost) -> None:
        """Refuse the newest statement of the address that has the most waiting of one cost."""
        METRICS.add(Metric.POSTGRES_OVERLOADED)
        most = max(Cost, key=lambda each: (self._waiting[each].largest, each is cost))
        path = caller if most is cost else ()
        self._waiting[most].remove_newest_of_largest(path).set_exception(OverloadedError())

    async def _wait_for(self, turn: asyncio.Future[None]) -> None:
        """Return when the turn has come.

        Raises:
            OverloadedError: it was refused, or did not come within MAX_WAIT_SECONDS.
            DatabaseUnavailableError: no statement has ended for STANDSTILL_SECONDS.
        """
        until = time.monotonic() + MAX_WAIT_SECONDS
        while not turn.done():
            released = self._released
            # asyncio.wait() leaves the future as it is when the time is over.
            await asyncio.wait({turn}, timeout=STANDSTILL_SECONDS)
            if turn.done():
                break
            if self._released == released:
                raise DatabaseUnavailableError
            if time.monotonic() > until:
                METRICS.add(Metric.POSTGRES_OVERLOADED)
                raise OverloadedError
        turn.result()

    def _give_up(self, turn: asyncio.Future[None], caller: Path, cost: Cost) -> None:
        if not turn.done():
            self._waiting[cost].remove(caller, turn)
        elif turn.exception() is None:
            self.release(cost)
