"""The limits on callers that wait for a connection to Postgres."""

from __future__ import annotations

import asyncio

import pytest
from helpers.fanfare import Fanfare

from core.errors import DatabaseUnavailableError, OverloadedError
from core.storage import postgres_pool, shares


async def test_callers_above_the_limit_do_not_wait(
    fanfare: Fanfare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that finds the queue for connections full is refused immediately.

    One caller has the only connection, a second waits until its time is up, a third is refused.
    """
    monkeypatch.setattr(postgres_pool, "MAX_WAITING", 1)
    monkeypatch.setattr(shares, "STANDSTILL_SECONDS", 0.5)
    database = postgres_pool.Database(fanfare.settings.primary_dsn(), "test", max_size=1)
    await database.open()

    async def use() -> None:
        async with database.connection():
            pass

    try:
        async with database.connection():
            waiting = asyncio.create_task(use())
            await asyncio.sleep(0)  # so that it joins the queue
            with pytest.raises(OverloadedError):
                await use()
            with pytest.raises(DatabaseUnavailableError):
                await waiting
        await use()
    finally:
        await database.close()
