"""The fast path for first pages of home timelines: from what this process keeps, or from Redis.

It handles only the usual case. A long log, a deleted tweet, a pull author, an absent list or tweet,
and a Redis that does not answer are left to HomeTimelines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, auto

from core.feed.timeline_lists import home_list, newest_ids
from core.runtime.metrics import METRICS, Metric
from read_service.lists import head_length
from read_service.local_timelines import LocalTimelines
from read_service.metrics import LOCAL, READS, REDIS
from read_service.protocols import CacheUnavailableError, TimelineCache, TweetPage
from read_service.tweets import TweetReader


class Missing(Enum):
    """Why there is no page, where that is worth knowing."""

    LIST = auto()
    """The list is absent."""


Found = TweetPage | Missing | None
"""A page; None or the reason if it must be read in another way."""
Ids = Sequence[int] | Missing | None
"""The newest ids of a timeline; None or the reason if its list must be read in another way."""


class FirstPages:
    """Reads first pages of home timelines."""

    def __init__(self, cache: TimelineCache, tweets: TweetReader, local: LocalTimelines) -> None:
        self._cache = cache
        self._tweets = tweets
        self._local = local

    async def page(self, user_id: int, limit: int) -> Found:
        """Return a first page, unless it must be read in another way.

        This is the hot path. A timeline that is kept in this process costs no more than a barrier,
        which it shares with all calls of the same turn of the event loop.
        """
        local = self._local
        local.begin_period(self._cache.touch_period)
        if not local.has(user_id, limit):
            return (await self.pages([user_id], limit))[0]
        try:
            await self._cache.barrier()
            page: Found = local.page(user_id, limit)
            if page is not None:
                READS.counts[LOCAL] += 1
            elif local.has(user_id, limit):  # a tweet has changed
                page = (await self._pages([user_id], {}, limit))[0]
            else:  # the list has changed
                page = (await self.pages([user_id], limit))[0]
        except CacheUnavailableError:
            return None
        return page

    async def pages(self, user_ids: Sequence[int], limit: int) -> Sequence[Found]:
        """Return first pages, but those that must be read in another way.

        The lists that are not kept in this process are read in one round trip, which is also the
        barrier for the others. Tweets that are not in the local tweet cache cost another one.
        """
        local = self._local
        local.begin_period(self._cache.touch_period)
        absent = [user_id for user_id in user_ids if not local.has(user_id, limit)]
        found: Mapping[int, Ids] = {}
        try:
            if absent:
                found = await self._read_lists(absent, limit)
            else:
                await self._cache.barrier()
            return await self._pages(user_ids, found, limit)
        except CacheUnavailableError:
            return [None] * len(user_ids)

    async def _pages(
        self, user_ids: Sequence[int], found: Mapping[int, Ids], limit: int
    ) -> Sequence[Found]:
        """Return pages of the ids that were found in lists, and for other users of those kept here.

        The caller has waited for a barrier since its call arrived.
        """
        pages: dict[int, Found] = {}
        ids: dict[int, Sequence[int]] = {}
        for user_id in user_ids:
            newest: Ids
            if user_id in found:
                newest = found[user_id]
            elif (page := self._local.page(user_id, limit)) is not None:
                pages[user_id] = page
                READS.counts[LOCAL] += 1
                continue
            else:  # the list has changed, or one of the tweets
                newest = self._local.ids(user_id, limit)
            if newest is Missing.LIST:
                pages[user_id] = Missing.LIST
            elif newest is not None:
                ids[user_id] = newest
        made = await self._tweets.listed_pages(list(ids.values()))
        for user_id, made_page in zip(ids, made, strict=True):
            pages[user_id] = made_page
            if made_page is not None:
                READS.counts[REDIS if user_id in found else LOCAL] += 1
        return [pages.get(user_id) for user_id in user_ids]

    async def _read_lists(self, user_ids: Sequence[int], limit: int) -> Mapping[int, Ids]:
        """Return the newest ids of timelines, but of lists that must be read in another way."""
        local = self._local
        lists = [home_list(user_id) for user_id in user_ids]
        tracked = {list_ for list_ in lists if local.is_worth_tracking(list_.user_id)}
        found: dict[int, Ids] = {}

        def parsed(heads: Sequence[Sequence[bytes]]) -> None:
            for list_, elements in zip(lists, heads, strict=True):
                newest = newest_ids(elements, limit)
                ids = None if newest is None else newest[0]
                found[list_.user_id] = ids if elements else Missing.LIST
                METRICS.add(Metric.DUPLICATE_DROPPED, 0 if newest is None else newest[1])
                if list_ in tracked:
                    local.remember(list_.user_id, ids, limit)

        wanted = [(list_, head_length(limit)) for list_ in lists]
        await self._cache.heads(wanted, tracked=tracked, parsed=parsed)
        readable = [list_ for list_ in lists if isinstance(found[list_.user_id], list)]
        await self._cache.touch(readable)
        for list_ in readable:
            local.note_read(list_.user_id)
        return found
