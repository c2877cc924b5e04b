"""Home timelines: read from Redis, built there when absent, and from Postgres otherwise.

The protocol is DESIGN's; why each step is where it is stands in docs/timelines.md.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Sequence

from fanfare.common.v1.common_pb2 import Tweet

from core.errors import UserNotFoundError
from core.timeline import Window, WindowState, read_window
from read_service.cache import BUILD_SECONDS, Cache, CacheUnavailableError
from read_service.pages import FROM_THE_TOP
from read_service.store import Store
from read_service.tweets import Tweets

# How much longer than the page the first window is: room for the log since the last compaction.
LOG_ROOM = 64
# How many bodies are read at least, to refill a page from which deleted tweets fell.
REFILL = 50
# A read that meets more obstacles than this (others compact, drop and build the list meanwhile)
# is better served by Postgres.
TRIES = 8


class HomeTimelines:
    """Reads pages of home timelines."""

    def __init__(self, cache: Cache, store: Store, tweets: Tweets, length: int) -> None:
        self._cache = cache
        self._store = store
        self._tweets = tweets
        self._length = length

    async def page(
        self, user_id: int, before: int, offset: int, limit: int, token: int | None = None
    ) -> Sequence[Tweet]:
        """Return at most limit tweets with ids below before, newest first, after the offset.

        token: the position of a consistency token; then Postgres answers, which knows what it has.
        Raises UserNotFoundError and NotYetConsistentError.
        """
        page = None
        if token is None:
            with contextlib.suppress(CacheUnavailableError):
                page = await self._cached(user_id, before, offset, limit)
        if page is None:
            page = await self._store.home_timeline(user_id, before, offset, limit, token)
            if not page:
                await self._check_user(user_id, token)
        return page

    async def _cached(
        self, user_id: int, before: int, offset: int, limit: int
    ) -> Sequence[Tweet] | None:
        """Return the page from Redis; None when the list cannot give it, at least not now."""
        wanted = offset + limit
        if wanted > self._length:
            return None
        # Where a page that does not begin at the top lies in the list is not known beforehand.
        length = wanted + LOG_ROOM if before == FROM_THE_TOP else None
        for _ in range(TRIES):
            elements = await self._cache.head(user_id, length)
            whole = length is None or len(elements) < length
            window = read_window(elements, whole=whole)
            if window.state is WindowState.READABLE:
                page = await self._readable(window, before, wanted)
                if page is not None:
                    await self._cache.keep(user_id)
                    return page[offset:]
                if whole:
                    return None
            elif not await self._prepare(user_id, window):
                return None
            length = None
        return None

    async def _prepare(self, user_id: int, window: Window) -> bool:
        """Do what a list needs to be readable; return False if it will not be for now."""
        match window.state:
            case WindowState.ABSENT:
                return await self._build(user_id)
            case WindowState.BUILDING:
                await self._clear_if_abandoned(user_id, window.token)
                return False
            case WindowState.UNSORTED:
                await self._cache.compact(user_id, self._length)
        return True

    async def _readable(self, window: Window, before: int, wanted: int) -> list[Tweet] | None:
        """Return the wanted tweets of a window, or None if it does not reach down to them."""
        ids = [id_ for id_ in window.ids if id_ < before]
        page: list[Tweet] = []
        at = 0
        while len(page) < wanted and at < len(ids):
            # Some of those before were deleted; where they were, more may have been.
            chunk = ids[at : at + max(wanted - len(page), REFILL if at else 0)]
            at += len(chunk)
            found = await self._tweets.get(chunk, issued=True)
            page += [found[id_] for id_ in chunk if id_ in found]
        return page[:wanted] if len(page) >= wanted or window.floor == 0 else None

    async def _build(self, user_id: int) -> bool:
        """Build the list; return False when it could not be, or somebody else is at it.

        Raises UserNotFoundError.
        """
        token = f"{int(time.time())}-{secrets.token_hex(8)}"
        begun, wal_position = await self._cache.begin_build(user_id, token)
        if not begun:
            return False
        try:
            if wal_position is None:
                return False
            ids = await self._store.newest_ids(user_id, self._length, wal_position)
            if not ids:
                await self._check_user(user_id)
            complete = len(ids) < self._length
            return await self._cache.finish_build(
                user_id, token, ids, self._length, complete=complete
            )
        finally:
            # Does nothing after a build that was finished or overtaken.
            await self._cache.abandon_build(user_id, token)

    async def _clear_if_abandoned(self, user_id: int, token: str) -> None:
        # The short TTL of a list being built does this too, unless a reader's refresh of the
        # list before it made it long.
        begun = int(token.partition("-")[0])
        if time.time() - begun > BUILD_SECONDS:
            await self._cache.abandon_build(user_id, token)

    async def _check_user(self, user_id: int, token: int | None = None) -> None:
        if not await self._store.user_exists(user_id, token):
            raise UserNotFoundError(user_id)
