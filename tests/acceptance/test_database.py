"""The bounds of waiting for Postgres."""

from __future__ import annotations

import asyncio

import pytest
from helpers.fanfare import Fanfare

from core.errors import DatabaseUnavailableError, OverloadedError
from core.storage import postgres


async def test_callers_above_the_limit_do_not_wait(
    fanfare: Fanfare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One has the only connection, one waits for it as long as it may, one is refused at once."""
    monkeypatch.setattr(postgres, "MAX_WAITING", 1)
    monkeypatch.setattr(postgres, "WAIT_SECONDS", 0.5)
    database = postgres.Database(fanfare.settings.primary_dsn(), "test", max_size=1)
    await database.open()

    async def use() -> None:
        async with database.connection():
            pass

    try:
        async with database.connection():
            waiting = asyncio.create_task(use())
            await asyncio.sleep(0)  # until it stands in the queue
            with pytest.raises(OverloadedError):
                await use()
            with pytest.raises(DatabaseUnavailableError):
                await waiting
        await use()
    finally:
        await database.close()
