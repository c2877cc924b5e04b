"""Home timelines: from lists in Redis, with those of pulled authors merged, else from Postgres."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from core.errors import DatabaseUnavailableError, UserNotFoundError
from core.feed.history import Moment, OtherHistoryError
from core.feed.timeline_lists import Window, author_list, home_list, merged, newest
from core.runtime.metrics import METRICS, Metric
from read_service.cache import Cache, CacheUnavailableError
from read_service.lists import Lists
from read_service.pages import FROM_THE_TOP
from read_service.store import Item, Store
from read_service.tweets import Tweets

# How much longer than the page the first window is: room for the log since the last compaction.
LOG_ROOM = 64
# How many bodies are read at least, to refill a page from which deleted tweets fell.
REFILL = 50
# A read takes at most so many elements from the lists of pulled authors: Postgres does the merge
# of more sooner.
MAX_MERGED = 50_000


class HomeTimelines:
    """Reads pages of home timelines."""

    def __init__(
        self, cache: Cache, lists: Lists, store: Store, tweets: Tweets, length: int
    ) -> None:
        self._cache = cache
        self._lists = lists
        self._store = store
        self._tweets = tweets
        self._length = length

    async def first_pages(
        self, user_ids: Sequence[int], limit: int
    ) -> Sequence[Sequence[Item] | None]:
        """Return the first limit tweets of home timelines; None for each that page() must give.

        The hot path: one round trip to Redis for all of them, when the bodies are in process.
        """
        lists = [home_list(user_id) for user_id in user_ids]
        try:
            heads = await self._cache.heads([(list_, limit + LOG_ROOM) for list_ in lists])
            found = [newest(elements, limit) for elements in heads]
            pages = await self._tweets.pages([ids for ids, _ in filter(None, found)])
            await self._cache.keep(
                [list_ for list_, ids in zip(lists, found, strict=True) if ids is not None]
            )
        except CacheUnavailableError:
            return [None] * len(user_ids)
        METRICS.add(Metric.DUPLICATE_DROPPED, sum(twice for _, twice in filter(None, found)))
        given = iter(pages)
        return [next(given) if ids is not None else None for ids in found]

    async def page(
        self, user_id: int, before: int, offset: int, limit: int, token: Moment | None = None
    ) -> Sequence[Item]:
        """Return at most limit tweets with ids below before, newest first, after the offset.

        token: what a consistency token names; then Postgres answers, which knows what it has.
        Raises UserNotFoundError, NotYetConsistentError and ConsistencyTokenLostError.
        """
        page = None
        if token is None:
            with contextlib.suppress(CacheUnavailableError, OtherHistoryError):
                page = await self._cached(user_id, before, offset, limit)
        if page is None:
            page = await self._from_postgres(user_id, before, offset, limit, token)
            if not page and not await self._store.user_exists(user_id, token):
                raise UserNotFoundError(user_id)
        return page

    async def _from_postgres(
        self, user_id: int, before: int, offset: int, limit: int, token: Moment | None
    ) -> Sequence[Item]:
        """Return the page from Postgres, as new as what Redis has applied.

        Else a page from a replica that lags would lack, or still have, what the page before it,
        from Redis, knew of.
        """
        applied = None
        if token is None:
            with contextlib.suppress(CacheUnavailableError):
                applied = await self._cache.applied(home_list(user_id).shard)
        try:
            return await self._store.home_timeline(
                user_id, before, offset, limit, token, moment=applied
            )
        except (DatabaseUnavailableError, OtherHistoryError):
            if applied is None:
                raise
            # The replica's past is better than no answer while the primary is away. And what Redis
            # has applied of another history says nothing about this one.
            return await self._store.home_timeline(user_id, before, offset, limit)

    async def _cached(
        self, user_id: int, before: int, offset: int, limit: int
    ) -> Sequence[Item] | None:
        """Return the page from Redis; None when the lists cannot give it, at least not now."""
        wanted = offset + limit
        if wanted > self._length:
            return None
        # Where a page that does not begin at the top lies in a list is not known beforehand; nor
        # is how far down a page goes from which deleted tweets fall.
        for length in (wanted + LOG_ROOM, None) if before == FROM_THE_TOP else (None,):
            window = await self._window(user_id, length)
            if window is None:
                return None
            page = await self._readable(window, before, wanted)
            if page is not None:
                return page[offset:]
        return None

    async def _window(self, user_id: int, length: int | None) -> Window | None:
        """Return what the user's list and those of the pulled authors say together, or None."""
        own = home_list(user_id)
        windows = await self._lists.windows([own], length)
        if windows is None:
            return None
        lists = [author_list(author) for author in windows[0].pulled]
        if lists:
            if len(lists) * (length or self._length) > MAX_MERGED:
                return None
            pulled = await self._lists.windows(lists, length)
            if pulled is None:
                return None
            windows += pulled
            METRICS.add(Metric.PULLED_MERGED)
        await self._cache.keep([own, *lists])
        return merged(windows) if lists else windows[0]

    async def _readable(self, window: Window, before: int, wanted: int) -> list[Item] | None:
        """Return the wanted tweets of a window, or None if it does not reach down to them."""
        ids = [id_ for id_ in window.ids if id_ < before]
        page: list[Item] = []
        at = 0
        while len(page) < wanted and at < len(ids):
            # Some of those before were deleted; where they were, more may have been.
            METRICS.add(Metric.PAGE_REFILLED, at > 0)
            chunk = ids[at : at + max(wanted - len(page), REFILL if at else 0)]
            at += len(chunk)
            found = await self._tweets.get(chunk, listed=True)
            page += [(id_, found[id_]) for id_ in chunk if id_ in found]
        return page[:wanted] if len(page) >= wanted or window.floor == 0 else None
