"""The fast path for first pages of home timelines: from what this process keeps, or from Redis.

It handles only the usual case. A long log, a deleted tweet, a pull author, an absent list or tweet,
and a Redis that does not answer are left to HomeTimelines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.feed.timeline_lists import home_list, newest_ids
from core.runtime.metrics import METRICS, Metric
from read_service.lists import head_length
from read_service.local_timelines import LocalTimelines
from read_service.protocols import CacheUnavailableError, TimelineCache, TweetPage
from read_service.tweets import TweetReader


class FirstPages:
    """Reads first pages of home timelines."""

    def __init__(self, cache: TimelineCache, tweets: TweetReader, local: LocalTimelines) -> None:
        self._cache = cache
        self._tweets = tweets
        self._local = local

    async def page(self, user_id: int, limit: int) -> TweetPage | None:
        """Return a first page; None if it must be read in another way.

        This is the hot path. A timeline that is kept in this process costs no more than a barrier,
        which it shares with all calls of the same turn of the event loop.
        """
        local = self._local
        local.begin_period(self._cache.touch_period)
        if not local.has(user_id, limit):
            return (await self.pages([user_id], limit))[0]
        try:
            await self._cache.barrier()
            page = local.page(user_id, limit)
            if page is None and local.has(user_id, limit):  # a tweet has changed
                page = (await self._pages([user_id], {}, limit))[0]
            elif page is None:  # the list has changed
                page = (await self.pages([user_id], limit))[0]
        except CacheUnavailableError:
            return None
        return page

    async def pages(self, user_ids: Sequence[int], limit: int) -> Sequence[TweetPage | None]:
        """Return first pages; None for each that must be read in another way.

        The lists that are not kept in this process are read in one round trip, which is also the
        barrier for the others. Tweets that are not in the local tweet cache cost another one.
        """
        local = self._local
        local.begin_period(self._cache.touch_period)
        absent = [user_id for user_id in user_ids if not local.has(user_id, limit)]
        found: Mapping[int, Sequence[int] | None] = {}
        try:
            if absent:
                found = await self._read_lists(absent, limit)
            else:
                await self._cache.barrier()
            return await self._pages(user_ids, found, limit)
        except CacheUnavailableError:
            return [None] * len(user_ids)

    async def _pages(
        self, user_ids: Sequence[int], found: Mapping[int, Sequence[int] | None], limit: int
    ) -> Sequence[TweetPage | None]:
        """Return pages of the ids that were found in lists, and for other users of those kept here.

        The caller has waited for a barrier since its call arrived.
        """
        pages: dict[int, TweetPage | None] = {}
        ids: dict[int, Sequence[int]] = {}
        for user_id in user_ids:
            if user_id in found:
                newest = found[user_id]
            elif (page := self._local.page(user_id, limit)) is not None:
                pages[user_id] = page
                continue
            else:  # the list has changed, or one of the tweets
                newest = self._local.ids(user_id, limit)
            if newest is not None:
                ids[user_id] = newest
        made = await self._tweets.listed_pages(list(ids.values()))
        pages.update(zip(ids, made, strict=True))
        return [pages.get(user_id) for user_id in user_ids]

    async def _read_lists(
        self, user_ids: Sequence[int], limit: int
    ) -> Mapping[int, Sequence[int] | None]:
        """Return the newest ids of timelines from their lists; None for each that needs more."""
        local = self._local
        lists = [home_list(user_id) for user_id in user_ids]
        tracked = {list_ for list_ in lists if local.is_worth_tracking(list_.user_id)}
        found: dict[int, Sequence[int] | None] = {}

        def parsed(heads: Sequence[Sequence[bytes]]) -> None:
            for list_, elements in zip(lists, heads, strict=True):
                newest = newest_ids(elements, limit)
                found[list_.user_id] = ids = None if newest is None else newest[0]
                METRICS.add(Metric.DUPLICATE_DROPPED, 0 if newest is None else newest[1])
                if list_ in tracked:
                    local.remember(list_.user_id, ids, limit)

        wanted = [(list_, head_length(limit)) for list_ in lists]
        await self._cache.heads(wanted, tracked=tracked, parsed=parsed)
        readable = [list_ for list_ in lists if found[list_.user_id] is not None]
        await self._cache.touch(readable)
        for list_ in readable:
            local.note_read(list_.user_id)
        return found
