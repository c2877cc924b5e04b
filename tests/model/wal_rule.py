"""The WAL rule: take the position first, then read a replica that has it, else the primary."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from model.postgres import Snapshot
from model.world import Steps, World

T = TypeVar("T")


def read_at(world: World, position: int | None, query: Callable[[Snapshot], T]) -> Steps[T]:
    """Return the query's answer from a Postgres that has the position, if there is one."""
    postgres = world.postgres
    needed = position or 0
    if world.rules.position_checked_before_read:
        has = postgres.replayed >= needed
        yield
        return query(postgres.replica if has else postgres.primary)
    answer = query(postgres.replica)
    yield
    return answer if postgres.replayed >= needed else query(postgres.primary)
