"""Watches of home timelines: streams of events that keep what a client holds up to date.

A watch compares what its client holds with the newest tweets whenever it is asked for the next
event. Nothing is queued for a client that is slow: at most it has a group of changes to send, and
compares again after them.

A heartbeat says that what the client holds was right within the last second. So it is sent only
when the page was read within that time, or Redis has answered a barrier and reported no change.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

from core.errors import FanfareError, UserNotFoundError
from core.runtime.callers import CALLER
from core.runtime.tasks import run_together
from read_service.freshness import ANY, Freshness
from read_service.held_tweets import HeldTweets
from read_service.home_timelines import HomeTimelines
from read_service.pages import FROM_THE_TOP
from read_service.protocols import CacheUnavailableError, TimelineCache
from read_service.resume_tokens import decode_resume_token
from read_service.watch_events import changes, heartbeat
from read_service.watch_lanes import ReadLanes
from read_service.watched_pages import WatchedPage, WatchIndex

# How long after a page was right a heartbeat may say so.
RIGHT_SECONDS = 1.0
# How often Redis is asked for a barrier, for all watches together, and heartbeats are sent. It is
# also how soon a broken connection to Redis is noticed.
BEAT_SECONDS = 0.5
# How often at most a page is read with the consistency token of a call, at least a second apart,
# until the lists in Redis show the same.
MAX_CONSISTENT_READS = 10
CONSISTENT_READ_SECONDS = 1.0


class _Watcher:
    """One stream."""

    __slots__ = ("_is_woken", "_waiting", "heartbeat_at", "held")

    def __init__(self, held: HeldTweets) -> None:
        self.held = held
        """What the client holds."""
        self.heartbeat_at = -math.inf
        """When a heartbeat is due."""
        self._is_woken = False
        self._waiting: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """Have woken() return, now or when it is called next."""
        self._is_woken = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def woken(self, seconds: float | None = None) -> None:
        """Wait until wake() is called, or was since the last time, or some seconds have passed."""
        if not self._is_woken:
            self._waiting = asyncio.get_running_loop().create_future()
            if seconds is None:
                await self._waiting  # takes less memory while a watch is idle
            else:
                await asyncio.wait([self._waiting], timeout=seconds)
        self._is_woken = False


class Watches:
    """The watches of this process."""

    def __init__(  # noqa: PLR0913 - what watches need, and the interval
        self,
        cache: TimelineCache,
        home: HomeTimelines,
        index: WatchIndex,
        lanes: ReadLanes,
        heartbeat_seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin without watches.

        Args:
            cache: answers barriers.
            home: reads pages that must show the effect of a command.
            index: hears what Redis reports.
            lanes: read pages; the same clock as theirs is needed.
            heartbeat_seconds: how long a watch may be without an event.
            clock: seconds; tests pass their own.
        """
        self._cache = cache
        self._home = home
        self._index = index
        self._lanes = lanes
        # Heartbeats are sent a beat late at most.
        self._heartbeat_seconds = max(heartbeat_seconds - 2 * BEAT_SECONDS, heartbeat_seconds / 2)
        self._clock = clock
        self._pages: dict[tuple[int, int], WatchedPage] = {}
        self._barrier_at = -math.inf
        """When the last barrier was asked for that Redis has answered."""

    async def run(self) -> None:
        """Read pages and send heartbeats, until cancelled."""
        await run_together(self._lanes.run(), self._beat())

    async def watch(
        self, user_id: int, limit: int, resume_token: str, freshness: Freshness
    ) -> AsyncGenerator[bytes, None]:
        """Yield the events of a watch, serialised.

        Args:
            user_id: whose timeline.
            limit: how many of the newest tweets the client shows.
            resume_token: names what the client holds; empty for nothing.
            freshness: what the first state must show.

        Raises:
            InvalidResumeTokenError: the token is damaged, or belongs to another user.
            UserNotFoundError: there is no such user, or no longer.
            DatabaseUnavailableError: neither Redis nor Postgres has answered the first read.
            OverloadedError: the same, because Postgres has too much to do.
            NotYetConsistentError: no server that answers has what the freshness requires.
            ConsistencyTokenLostError: what the freshness requires may be lost.
        """
        watcher = _Watcher(decode_resume_token(resume_token, user_id))
        page = self._open(user_id, limit, watcher)
        began = self._clock()
        has_state = False
        try:
            if freshness is not ANY:
                async for event in self._consistent(page, watcher, freshness):
                    yield event
                has_state = True
            while True:
                if page.shown_at >= began:
                    has_state = True
                    for event in self._news(page, watcher):
                        yield event
                is_gone = isinstance(page.error, UserNotFoundError)
                if page.error is not None and page.read_at >= began and (is_gone or not has_state):
                    raise page.error
                await watcher.woken()
        finally:
            self._close(page, watcher)

    def _open(self, user_id: int, limit: int, watcher: _Watcher) -> WatchedPage:
        """Return the page of a new watcher, which will be read."""
        page = self._pages.get((user_id, limit))
        if page is None:
            page = WatchedPage(user_id, limit, CALLER.get(), self._lanes.put)
            self._pages[user_id, limit] = page
            self._index.add(page)
        page.watchers.append(watcher)
        page.note_change()
        return page

    def _close(self, page: WatchedPage, watcher: _Watcher) -> None:
        page.watchers.remove(watcher)
        if not page.watchers:
            self._index.remove(page)
            del self._pages[page.user_id, page.limit]

    async def _consistent(
        self, page: WatchedPage, watcher: _Watcher, freshness: Freshness
    ) -> AsyncGenerator[bytes, None]:
        """Yield the events of states that are fresh enough, until the watched page shows the same.

        Otherwise a tweet would show, and vanish until its event has been applied to the lists.
        """
        for number in range(MAX_CONSISTENT_READS):
            started = self._clock()
            try:
                found = await self._home.page(page.user_id, FROM_THE_TOP, 0, page.limit, freshness)
            except FanfareError:
                if number:
                    return  # the client has had a state that is fresh enough
                raise
            wanted = HeldTweets.of(found.ids, found.tweets)
            for event in _changes(page, watcher, wanted, found.tweets):
                yield event
            until = started + CONSISTENT_READ_SECONDS
            while (seconds := until - self._clock()) > 0:
                if page.shown_at >= started and page.newest == wanted:
                    return
                await watcher.woken(seconds)

    def _news(self, page: WatchedPage, watcher: _Watcher) -> Iterator[bytes]:
        """Yield the events that bring a client up to date, and a heartbeat if it is due."""
        wanted = page.newest
        if watcher.held is not wanted:
            yield from _changes(page, watcher, wanted, page.tweets)
            watcher.heartbeat_at = -math.inf
        page.drop_tweets_if_sent()
        now = self._clock()
        is_right = now - self._right_at(page) <= RIGHT_SECONDS
        if watcher.heartbeat_at <= now and is_right and page.newest is wanted:
            # Not all at the same time, though many watchers may have got the same tweet.
            watcher.heartbeat_at = now + self._heartbeat_seconds * random.uniform(0.75, 1)  # noqa: S311
            yield heartbeat(page.user_id, watcher.held)

    def _right_at(self, page: WatchedPage) -> float:
        """Return when a page was last known to show what a read would."""
        return max(page.shown_at, self._barrier_at) if page.is_followed else page.shown_at

    async def _beat(self) -> None:
        """Ask for barriers, and wake watchers whose heartbeats are due."""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            if not self._pages:
                continue
            asked = self._clock()
            try:
                await self._cache.barrier()
            except CacheUnavailableError:
                continue
            self._barrier_at = asked
            for page in self._pages.values():
                for watcher in page.watchers:
                    if watcher.heartbeat_at <= asked:
                        watcher.wake()


def _changes(
    page: WatchedPage, watcher: _Watcher, wanted: HeldTweets, tweets: Sequence[bytes]
) -> Iterator[bytes]:
    """Yield the events that bring a client to a state, and note what it holds after each."""
    for event, held in changes(page.user_id, watcher.held, wanted, tweets, page.limit):
        watcher.held = held
        yield event
    watcher.held = wanted
