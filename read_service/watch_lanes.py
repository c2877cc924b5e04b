"""Which watched page is read next: three lanes, from the cheapest path to the dearest.

A page waits in one lane at most, and is read once at a time. However often it changes meanwhile, it
is read once more. So what waits is bounded by the number of pages.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable

from core.errors import FanfareError
from core.runtime.callers import CALLER
from core.runtime.tasks import run_together
from read_service.watch_reading import WatchReader
from read_service.watched_pages import WatchedPage

LOG = logging.getLogger(__name__)
# How many pages are read together by the fast path.
FAST_BATCH = 64
# How many pages are read at a time from lists that must be merged, compacted or built, and how many
# in Postgres. However many watchers there are, other calls get their turns at it.
LIST_READERS = 16
POSTGRES_READERS = 3
# How soon a page that keeps changing is read again, after the last read began.
CHANGING_SECONDS = 0.05
# The same for a page whose changes are not reported.
POLL_SECONDS = 1.0


class ReadLanes:
    """Reads pages that are due."""

    def __init__(self, reader: WatchReader, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with empty lanes.

        Args:
            reader: reads pages.
            clock: the same as the reader's.
        """
        self._reader = reader
        self._clock = clock
        self._fast: asyncio.Queue[WatchedPage] = asyncio.Queue()
        self._lists: asyncio.Queue[WatchedPage] = asyncio.Queue()
        self._postgres: asyncio.Queue[WatchedPage] = asyncio.Queue()

    def put(self, page: WatchedPage) -> None:
        """Have a page read that is not queued, but not too soon after its last read."""
        page.is_queued = True
        if page.tracked_in_vain:
            wait = 0.0
        elif page.is_tracked:
            wait = CHANGING_SECONDS
        else:
            wait = POLL_SECONDS
        seconds = page.read_at + wait - self._clock()
        if seconds > 0:
            asyncio.get_running_loop().call_later(seconds, self._fast.put_nowait, page)
        else:
            self._fast.put_nowait(page)

    async def run(self) -> None:
        """Read the pages that are put, until cancelled."""
        await run_together(
            self._run_fast(),
            *(self._run_slow(self._lists, self._read_lists) for _ in range(LIST_READERS)),
            *(self._run_slow(self._postgres, self._read_postgres) for _ in range(POSTGRES_READERS)),
        )

    async def _run_fast(self) -> None:
        while True:
            pages = [await self._fast.get()]
            while len(pages) < FAST_BATCH and not self._fast.empty():
                pages.append(self._fast.get_nowait())
            by_limit: dict[int, list[WatchedPage]] = defaultdict(list)
            for page in pages:
                if page.watchers:
                    by_limit[page.limit].append(page)
            for limit, together in by_limit.items():
                await self._read_fast(together, limit)

    async def _read_fast(self, pages: list[WatchedPage], limit: int) -> None:
        try:
            others = await self._reader.read_fast(pages, limit)
        except Exception as error:  # noqa: BLE001 - it is logged
            for page in pages:
                self._note_unexpected(page, error)
            return
        for page in others:
            self._lists.put_nowait(page)
        for page in set(pages).difference(others):
            self._end(page)

    async def _run_slow(
        self,
        lane: asyncio.Queue[WatchedPage],
        read: Callable[[WatchedPage], Awaitable[bool]],
    ) -> None:
        while True:
            page = await lane.get()
            if not page.watchers:
                continue
            CALLER.set(page.caller)
            try:
                if not await read(page):
                    self._postgres.put_nowait(page)
                    continue
            except FanfareError as error:
                self._end(page, error)
            except Exception as error:  # noqa: BLE001 - it is logged
                self._note_unexpected(page, error)
            else:
                self._end(page)

    def _read_lists(self, page: WatchedPage) -> Awaitable[bool]:
        return self._reader.read_lists(page)

    async def _read_postgres(self, page: WatchedPage) -> bool:
        # Redis may be back by now: then those who still wait are soon served.
        if not await self._reader.read_lists(page):
            await self._reader.read_postgres(page)
        return True

    def _note_unexpected(self, page: WatchedPage, error: Exception) -> None:
        LOG.error("reading a watched page failed: user_id=%d", page.user_id, exc_info=error)
        self._end(page, error)

    def _end(self, page: WatchedPage, error: Exception | None = None) -> None:
        """Tell the watchers of a page that was read, and put it again if it must be read again."""
        page.is_queued = False
        if error is not None:
            page.note_failure(error, self._clock())
        page.wake_watchers()
        if not page.is_followed and page.watchers:
            self.put(page)
