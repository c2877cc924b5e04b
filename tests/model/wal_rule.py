"""The WAL rule: take an LSN, then read from a replica that has reached it, else from the primary.

An LSN belongs to a history. A Postgres of another history has not reached it, whatever its own LSN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from model.postgres import SessionLostError, Snapshot
from model.world import Steps, World

T = TypeVar("T")


class HistoryEndedError(Exception):
    """No Postgres that answers is at this history."""


def read_at(
    world: World, history: str, lsn: int | None, query: Callable[[Snapshot], T]
) -> Steps[T]:
    """Return the query's result from a Postgres that has reached the LSN of the history.

    Raises:
        HistoryEndedError: No Postgres that answers is at the history.
    """
    rules = world.rules
    replica, primary = world.replica, world.postgres
    needed = lsn or 0

    def has() -> bool:
        same = replica.history(rules) == history or not rules.history_checked_before_build
        return same and replica.replayed >= needed

    try:
        if not rules.lsn_checked_before_read:
            answer = query(replica.now)
            yield
            return answer if has() else query(primary.now)
        on_replica = has()
        yield
        if on_replica:
            replica.check()
            return query(replica.now)
        if rules.history_checked_before_build and primary.valid_history() != history:
            raise HistoryEndedError
        yield
        primary.check()
        return query(primary.now)
    except SessionLostError:
        raise HistoryEndedError from None
