"""Positions for the tokens of commands."""

from __future__ import annotations

import asyncio
import random

from core.history import Moment
from write_service.positions import Positions


class _Log:
    """Stands for Postgres: a position is read some time after it was asked for."""

    def __init__(self) -> None:
        self.written = 0
        self.queries = 0
        self.chance = random.Random(1)

    async def read(self) -> Moment:
        self.queries += 1
        position = self.written
        await _steps(self.chance)
        return Moment("0123456789", position)


async def _steps(chance: random.Random) -> None:
    """Let others run, for a few turns of the event loop."""
    for _ in range(chance.randrange(6)):
        await asyncio.sleep(0)


async def test_a_position_is_never_before_the_callers_commit() -> None:
    """Many callers share queries, and none gets the answer of one sent before its commit."""
    log = _Log()
    positions = Positions(log.read)

    async def command() -> bool:
        await _steps(log.chance)
        log.written += 1
        committed = log.written
        return (await positions.now()).lsn >= committed

    async def caller() -> bool:
        return all([await command() for _ in range(20)])

    assert all(await asyncio.gather(*(caller() for _ in range(30))))
    assert log.queries < 300


async def test_a_caller_who_goes_does_not_take_the_answer_away() -> None:
    """A cancelled call leaves those who share its query with their answer."""
    log = _Log()
    positions = Positions(log.read)
    gone = asyncio.create_task(positions.now())
    stays = asyncio.create_task(positions.now())
    await asyncio.sleep(0)
    gone.cancel()
    assert await stays == Moment("0123456789", 0)
