"""Watched pages on fake servers."""

from __future__ import annotations

from collections.abc import Sequence

from helpers.fakes.reading import Reading, message

from core.rpc.messages import delimited
from read_service.held_tweets import HeldTweets
from read_service.watch_reading import WatchReader
from read_service.watched_pages import WatchedPage, WatchIndex


class Nobody:
    """A watcher whose client is away."""

    def __init__(self) -> None:
        self.held = HeldTweets()
        self.heartbeat_at = 0.0

    def wake(self) -> None:
        """Do nothing."""


class Watching:
    """The pages that are watched in a read service, and those that are to be read again."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.index = WatchIndex()
        self.due: list[WatchedPage] = []
        reading.redis.forget = self.forget
        self.reader = WatchReader(
            reading.cache, reading.first, reading.home, reading.local, self.index
        )

    def forget(self, keys: Sequence[bytes] | None) -> None:
        """Hear of changes."""
        self.reading.timelines.forget(keys)
        self.index.forget(keys)

    def page(self, user_id: int, limit: int) -> WatchedPage:
        """Return a page that is watched from now on."""
        page = WatchedPage(user_id, limit, (), self.due.append)
        page.watchers.append(Nobody())
        self.index.add(page)
        return page

    async def read(self, page: WatchedPage) -> None:
        """Read a page as the lanes do."""
        others = await self.reader.read_fast([page], page.limit)
        if others and not await self.reader.read_lists(page):
            await self.reader.read_postgres(page)

    async def follow(self, page: WatchedPage) -> None:
        """Read a page until its changes are reported."""
        for _ in range(8):
            await self.read(page)
            if page.is_followed:
                return
        raise AssertionError("the changes of the page are not reported")

    def expected(self, page: WatchedPage) -> HeldTweets:
        """Return what the page must show once all is applied."""
        tweets = self.reading.primary.state.timeline(page.user_id)[: page.limit]
        return HeldTweets.of(
            [tweet.id for tweet in tweets], [delimited(message(tweet)) for tweet in tweets]
        )
