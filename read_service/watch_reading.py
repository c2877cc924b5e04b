"""Reads watched pages, so that every later change of them is reported.

Redis reports the next change of a key after it has answered a tracked read of it, and nothing
before and nothing after. So a page is read in this order:

1. The page is in the index under its lists, and counts as not stale.
2. A tracked read of the lists. From then on a change makes the page stale.
3. The page is read, by whatever path. It shows every change that was not reported in step 2.
4. The tweets are compared with the local tweet cache, which holds what a tracked read has found and
   what has not been reported as changed. If they are not the same, one has changed in between, or
   may come from a replica that lags: the page is not shown, and is read again at once.
5. In the same step of the event loop the page is put into the index under its tweets, and is shown.
   If it was merged from other lists than were tracked, it is read again at once.

A page that is not stale after step 5 is what any read would show, until a report says otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from read_service.first_pages import FirstPages
from read_service.freshness import PRIMARY
from read_service.held_tweets import HeldTweets
from read_service.home_timelines import HomeTimelines
from read_service.local_tweet_cache import LocalTweetCache
from read_service.metrics import WATCH_READS
from read_service.pages import FROM_THE_TOP
from read_service.protocols import CacheUnavailableError, TimelineCache, TweetPage
from read_service.watched_pages import WatchedPage, WatchIndex

# After this many reads in a row that could not be tracked, a page is read in Postgres.
MAX_IN_VAIN = 3


class WatchReader:
    """Reads watched pages."""

    def __init__(  # noqa: PLR0913 - what a page is read from, and who is told
        self,
        cache: TimelineCache,
        first: FirstPages,
        home: HomeTimelines,
        local: LocalTweetCache,
        index: WatchIndex,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read from these.

        Args:
            cache: the lists in Redis.
            first: the fast path for first pages.
            home: the other paths.
            local: has the tweets whose changes are reported.
            index: hears of the changes.
            clock: seconds; tests pass their own.
        """
        self._cache = cache
        self._first = first
        self._home = home
        self._local = local
        self._index = index
        self._clock = clock

    async def read_fast(self, pages: Sequence[WatchedPage], limit: int) -> list[WatchedPage]:
        """Read pages with this limit by the fast path; return those that it does not give."""
        started = self._clock()
        usual: list[WatchedPage] = []
        others: list[WatchedPage] = []
        for page in pages:
            is_usual = not page.authors and page.tracked_in_vain < MAX_IN_VAIN
            (usual if is_usual else others).append(page)
        try:
            await self._track(usual)
        except CacheUnavailableError:
            return list(pages)
        found = await self._first.pages([page.user_id for page in usual], limit)
        for page, answer in zip(usual, found, strict=True):
            if isinstance(answer, TweetPage):
                self._accept(page, answer, started)
            else:
                others.append(page)
        return others

    async def read_lists(self, page: WatchedPage) -> bool:
        """Read a page from lists in Redis; return whether that was possible.

        Raises:
            UserNotFoundError: there is no such user.
        """
        started = self._clock()
        if page.tracked_in_vain >= MAX_IN_VAIN:
            return False
        try:
            await self._track([page])
        except CacheUnavailableError:
            return False
        found = await self._home.page_from_lists(page.user_id, page.limit)
        if found is None:
            return False
        self._accept(page, found, started)
        return True

    async def read_postgres(self, page: WatchedPage) -> None:
        """Read a page from the primary, which is never behind what the watchers have seen.

        Raises:
            UserNotFoundError: there is no such user.
            DatabaseUnavailableError: the primary does not answer.
            OverloadedError: Postgres has too much to do.
        """
        started = self._clock()
        page.tracked_in_vain = 0
        page.begin_read()
        found = await self._home.page(page.user_id, FROM_THE_TOP, 0, page.limit, PRIMARY)
        self._show(page, found, page.authors, started)

    async def _track(self, pages: Sequence[WatchedPage]) -> None:
        """Have the next changes of the lists of pages reported."""
        for page in pages:
            page.begin_read()
        lists = {list_ for page in pages for list_ in page.lists}
        if lists:
            await self._cache.heads([(list_, 1) for list_ in lists], tracked=lists)

    def _accept(self, page: WatchedPage, found: TweetPage, started: float) -> None:
        """Show a page that was read from lists, and note whether its changes are reported."""
        known = self._local.page(found.ids)
        if known is None or known.tweets != found.tweets:
            # Some tweets may come from a replica that lags behind what the clients hold.
            page.tracked_in_vain += 1
            return
        page.is_tracked = tuple(found.pulled) == tuple(page.authors)
        page.tracked_in_vain = 0 if page.is_tracked else page.tracked_in_vain + 1
        self._show(page, found, found.pulled, started)

    def _show(
        self, page: WatchedPage, found: TweetPage, authors: Sequence[int], started: float
    ) -> None:
        WATCH_READS.inc()
        if not page.watchers:
            return  # the last one has left meanwhile
        newest = HeldTweets.of(found.ids, found.tweets)
        self._index.update(page, page.newest if newest == page.newest else newest, authors)
        page.tweets = found.tweets
        page.read_at = page.shown_at = started
        page.error = None
