"""Pages of home timelines: from the lists in Redis, else from Postgres."""

from __future__ import annotations

import asyncio
import contextlib
from bisect import bisect_right
from collections.abc import Sequence
from operator import neg

from core.errors import DatabaseUnavailableError, FanfareError, UserNotFoundError
from core.feed.history import OtherHistoryError
from core.feed.timeline_lists import (
    Window,
    WindowState,
    author_list,
    home_list,
    merge_windows,
)
from core.runtime.metrics import METRICS, Metric
from read_service.first_pages import FirstPages, Found
from read_service.freshness import ANY, AppliedFreshness, Freshness
from read_service.lists import ListReader, head_length
from read_service.metrics import BUILT, POSTGRES, READS, REDIS
from read_service.pages import FROM_THE_TOP
from read_service.protocols import CacheUnavailableError, TimelineCache, TimelineStore, TweetPage
from read_service.tweets import TweetReader

# At least this many tweets are read at once to refill a page that lost deleted tweets.
MIN_REFILL = 50
# At most this many elements are read from the lists of pull authors for one page. Postgres merges
# more than that faster.
MAX_MERGED = 50_000
# How many timelines of one batch are read at a time, of those that the fast path cannot answer.
BATCH_CONCURRENCY = 16


class HomeTimelines:
    """Reads pages of home timelines."""

    def __init__(
        self,
        cache: TimelineCache,
        lists: ListReader,
        store: TimelineStore,
        tweets: TweetReader,
        first: FirstPages,
    ) -> None:
        """Read from these; first: the fast path for first pages."""
        self._cache = cache
        self._lists = lists
        self._store = store
        self._tweets = tweets
        self._first = first

    async def page(
        self, user_id: int, before: int, offset: int, limit: int, freshness: Freshness
    ) -> TweetPage:
        """Return a page of one home timeline, newest tweet first.

        Args:
            user_id: whose timeline.
            before: only tweets with ids below this one.
            offset: how many of these to skip.
            limit: at most this many tweets.
            freshness: ANY, or what a consistency token requires; then only Postgres answers.

        Raises:
            UserNotFoundError: there is no such user.
            NotYetConsistentError: no server that answers has reached the consistency token.
            ConsistencyTokenLostError: what the consistency token stands for may be lost.
        """
        state = None
        if before == FROM_THE_TOP and not offset and freshness is ANY:
            first = await self._first.page(user_id, limit)
            if isinstance(first, TweetPage):
                return first
            state = first
        return await self._any_page(user_id, before, offset, limit, freshness, state=state)

    async def first_pages(
        self, user_ids: Sequence[int], limit: int, freshness: Freshness
    ) -> list[TweetPage | FanfareError]:
        """Return the first page of each home timeline, or the error that kept it from being read.

        See page() for the arguments and the errors.
        """
        pages: Sequence[Found] = [None] * len(user_ids)
        if freshness is ANY and user_ids:
            pages = await self._first.pages(user_ids, limit)
        turn = asyncio.Semaphore(BATCH_CONCURRENCY)

        async def page(user_id: int, first: Found) -> TweetPage | FanfareError:
            if isinstance(first, TweetPage):
                return first
            async with turn:
                try:
                    return await self._any_page(
                        user_id, FROM_THE_TOP, 0, limit, freshness, state=first
                    )
                except FanfareError as error:
                    return error

        return await asyncio.gather(*map(page, user_ids, pages))

    async def page_from_lists(self, user_id: int, limit: int) -> TweetPage | None:
        """Return a first page from lists in Redis; None if they cannot give it now.

        Raises:
            UserNotFoundError: there is no such user.
        """
        with contextlib.suppress(CacheUnavailableError, OtherHistoryError):
            return await self._from_lists(user_id, FROM_THE_TOP, 0, limit, None)
        return None

    async def _any_page(  # noqa: PLR0913 - a page, and what is known
        self,
        user_id: int,
        before: int,
        offset: int,
        limit: int,
        freshness: Freshness,
        *,
        state: WindowState | None,
    ) -> TweetPage:
        """Return any page, from Redis if it can give the page, else from Postgres.

        state: in which this call has found the list, if it has looked.
        """
        if freshness is ANY:
            with contextlib.suppress(CacheUnavailableError, OtherHistoryError):
                page = await self._from_lists(user_id, before, offset, limit, state)
                if page is not None:
                    return page
            page = await self._from_postgres(user_id, before, offset, limit)
        else:
            page = await self._store.home_timeline(user_id, before, offset, limit, freshness)
        READS.counts[POSTGRES] += 1
        if not page.ids and not await self._store.user_exists(user_id, freshness):
            raise UserNotFoundError(user_id)
        return page

    async def _from_postgres(self, user_id: int, before: int, offset: int, limit: int) -> TweetPage:
        """Return a page from Postgres that may follow a page from Redis.

        A replica that lags could lack tweets that the page from Redis already showed, or still
        have tweets that were already missing from it. But an old page is better than none.
        """
        # Redis may not answer, or be at another history, or only the replica may be up.
        with contextlib.suppress(
            CacheUnavailableError, OtherHistoryError, DatabaseUnavailableError
        ):
            applied = await self._cache.applied(home_list(user_id).shard)
            if applied is not None:
                freshness = AppliedFreshness(applied)
                return await self._store.home_timeline(user_id, before, offset, limit, freshness)
        return await self._store.home_timeline(user_id, before, offset, limit, ANY)

    async def _from_lists(
        self, user_id: int, before: int, offset: int, limit: int, state: WindowState | None
    ) -> TweetPage | None:
        """Return the page from lists in Redis; None if it reaches below them.

        Raises:
            CacheUnavailableError: Redis cannot answer now.
            OtherHistoryError: Redis is at another history than the database.
        """
        wanted = offset + limit
        if wanted > self._lists.length:
            return None
        # A page from the top is usually in the first elements of the list, unless deleted tweets
        # are missing from it. Any other page, and the second try, take the whole list.
        is_built = False
        for length in (head_length(wanted), None) if before == FROM_THE_TOP else (None,):
            window = await self._window(user_id, length, state)
            state = None
            if window is None:
                return None
            is_built |= window.is_built
            page = await self._read_tweets(window, before, wanted)
            if page is not None:
                READS.counts[BUILT if is_built else REDIS] += 1
                pulled = window.pulled
                return TweetPage(page.ids[offset:], page.tweets[offset:], pulled=pulled)
        return None

    async def _window(
        self, user_id: int, length: int | None, state: WindowState | None
    ) -> Window | None:
        """Return a window on the user's list, merged with the lists of the pull authors.

        None if there are too many pull authors to be merged here.
        """
        own = home_list(user_id)
        known = {} if state is None else {own: state}
        (window,) = await self._lists.windows([own], length, known)
        if not window.pulled:
            await self._cache.touch([own])
            return window
        if len(window.pulled) * (length or self._lists.length) > MAX_MERGED:
            return None
        lists = [author_list(author) for author in window.pulled]
        windows = [window, *await self._lists.windows(lists, length)]
        METRICS.add(Metric.PULLED_MERGED)
        await self._cache.touch([own, *lists])
        return merge_windows(windows)

    async def _read_tweets(self, window: Window, before: int, wanted: int) -> TweetPage | None:
        """Return the wanted number of tweets below an id, or fewer if there are no more.

        None if the window does not reach down to them.
        """
        ids = window.ids[bisect_right(window.ids, -before, key=neg) :]
        page: dict[int, bytes] = {}
        at = 0
        while len(page) < wanted and at < len(ids):
            # After the first chunk: some of it was deleted, and so may be many of the next.
            METRICS.add(Metric.PAGE_REFILLED, at > 0)
            chunk = ids[at : at + max(wanted - len(page), MIN_REFILL if at else 0)]
            at += len(chunk)
            found = await self._tweets.listed_tweets(chunk)
            page |= {id_: found[id_] for id_ in chunk if id_ in found}
        if len(page) < wanted and window.floor > 0:
            return None
        return TweetPage([*page][:wanted], [*page.values()][:wanted])
