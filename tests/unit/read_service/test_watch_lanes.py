"""How the lanes end that read the pages of watches."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, cast

import pytest

from core.runtime import tasks
from core.runtime.tasks import running
from read_service.watch_lanes import ReadLanes
from read_service.watch_reading import WatchReader
from read_service.watched_pages import WatchedPage


class _Reader:
    """Reads no page; a read that is cancelled returns, as a statement of psycopg may."""

    def __init__(self) -> None:
        self.reading = asyncio.Event()

    async def read_fast(self, pages: list[WatchedPage], _limit: int) -> list[WatchedPage]:
        return pages

    async def read_lists(self, page: WatchedPage) -> bool:
        with suppress(asyncio.CancelledError):
            self.reading.set()
            await asyncio.Event().wait()
        page.watchers.clear()
        return True


async def test_a_lane_ends_even_if_its_cancellation_gets_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is cancelled again until it ends."""
    monkeypatch.setattr(tasks, "CANCEL_AGAIN_SECONDS", 0.01)
    reader = _Reader()
    lanes = ReadLanes(cast("WatchReader", reader))
    page = WatchedPage(1, 20, (), lanes.put)
    page.watchers.append(cast("Any", object()))
    lanes.put(page)
    async with asyncio.timeout(20), running(lanes.run()):
        await reader.reading.wait()
