"""Watched pages: the newest tweets of timelines, which watchers share, and who hears of changes.

A page is read again when Redis reports a change of something that it depends on: the list, the
lists of the pull authors that are merged with it, and its tweets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from core.feed.timeline_lists import ListKind, TimelineList, author_list, home_list
from read_service.held_tweets import NOTHING, HeldTweets

_HOME, _AUTHOR = ListKind.HOME.encode(), ListKind.AUTHOR.encode()
_TWEET = b"tweet"


class Watching(Protocol):
    """One who watches a page."""

    held: HeldTweets
    """What the client holds."""
    heartbeat_at: float
    """When a heartbeat is due."""

    def wake(self) -> None:
        """Look at the page again."""


class WatchedPage:
    """The newest tweets of one home timeline."""

    __slots__ = (
        "_on_stale",
        "authors",
        "caller",
        "error",
        "is_queued",
        "is_stale",
        "is_tracked",
        "limit",
        "newest",
        "read_at",
        "shown_at",
        "tracked_in_vain",
        "tweets",
        "user_id",
        "watchers",
    )

    def __init__(
        self,
        user_id: int,
        limit: int,
        caller: tuple[str, ...],
        on_stale: Callable[[WatchedPage], None],
    ) -> None:
        """Begin without tweets, and unread.

        Args:
            user_id: whose timeline.
            limit: how many tweets the page has at most.
            caller: who pays for statements to Postgres, as in core/runtime/callers.py.
            on_stale: called when the page must be read again, unless it is about to be.
        """
        self.user_id = user_id
        self.limit = limit
        self.caller = caller
        self._on_stale = on_stale
        self.watchers: list[Watching] = []
        """Empty once the last one has left: then the page is not read any more."""
        self.newest = NOTHING
        """What a client holds that has got the page."""
        self.tweets: Sequence[bytes] = ()
        """The tweets of the page, each preceded by its length; empty once all have got them."""
        self.authors: Sequence[int] = ()
        """The pull authors whose lists were merged."""
        self.read_at = -math.inf
        """When the last read began that was good, or ended that failed, by the reader's clock."""
        self.shown_at = -math.inf
        """When the last good read began: what the page shows was right then."""
        self.is_tracked = False
        """Whether the last read was one after which Redis reports every change of the page."""
        self.is_stale = True
        """Whether something may have changed since the last read began."""
        self.tracked_in_vain = 0
        """How many reads in a row have found lists or tweets that were not tracked."""
        self.is_queued = False
        """Whether the page waits for its turn to be read, or is being read."""
        self.error: Exception | None = None
        """Why the last read failed."""

    @property
    def is_followed(self) -> bool:
        """Whether the page is what a read would show, unless a change is still to be reported."""
        return self.is_tracked and not self.is_stale

    @property
    def lists(self) -> list[TimelineList]:
        """The lists that the page depends on."""
        return [home_list(self.user_id), *map(author_list, self.authors)]

    def note_change(self) -> None:
        """Have the page read again."""
        self.is_stale = True
        if not self.is_queued:
            self._on_stale(self)

    def begin_read(self) -> None:
        """Have changes noted from now on. Until the read ends, the page is not followed."""
        self.is_stale = self.is_tracked = False

    def note_failure(self, error: Exception, now: float) -> None:
        """Note that a read has failed; the page stays as it was."""
        self.error, self.read_at = error, now
        self.tracked_in_vain = 0

    def wake_watchers(self) -> None:
        """Have all watchers look at the page again."""
        for watcher in self.watchers:
            watcher.wake()

    def drop_tweets_if_sent(self) -> None:
        """Forget the tweets if all watchers have got them."""
        if self.tweets and all(watcher.held is self.newest for watcher in self.watchers):
            self.tweets = ()


class _Dependents:
    """Pages by the id of what they depend on. Most ids have one page, which needs no set."""

    def __init__(self) -> None:
        self._pages: dict[int, WatchedPage | set[WatchedPage]] = {}

    def add(self, id_: int, page: WatchedPage) -> None:
        found = self._pages.setdefault(id_, page)
        if isinstance(found, set):
            found.add(page)
        elif found is not page:
            self._pages[id_] = {found, page}

    def remove(self, id_: int, page: WatchedPage) -> None:
        found = self._pages[id_]
        if isinstance(found, set):
            found.remove(page)
        if found is page or not found:
            del self._pages[id_]

    def of(self, id_: int) -> Iterable[WatchedPage]:
        found = self._pages.get(id_, ())
        return (found,) if isinstance(found, WatchedPage) else found


class WatchIndex:
    """Knows which watched pages depend on a key of Redis."""

    def __init__(self) -> None:
        """Begin without pages."""
        self._pages: set[WatchedPage] = set()
        self._homes, self._authors, self._tweets = _Dependents(), _Dependents(), _Dependents()
        self._by_kind = {_HOME: self._homes, _AUTHOR: self._authors, _TWEET: self._tweets}

    def add(self, page: WatchedPage) -> None:
        """Add a page, which depends on the list of its user at first."""
        self._pages.add(page)
        self._homes.add(page.user_id, page)

    def remove(self, page: WatchedPage) -> None:
        """Remove a page."""
        self.update(page, NOTHING, ())
        self._homes.remove(page.user_id, page)
        self._pages.remove(page)

    def update(self, page: WatchedPage, newest: HeldTweets, authors: Sequence[int]) -> None:
        """Give a page other tweets and pull authors."""
        for ids, former, dependents in (
            (newest.ids, page.newest.ids, self._tweets),
            (authors, page.authors, self._authors),
        ):
            if ids == former:
                continue
            for id_ in set(ids).difference(former):
                dependents.add(id_, page)
            for id_ in set(former).difference(ids):
                dependents.remove(id_, page)
        page.newest, page.authors = newest, authors

    def forget(self, keys: Sequence[bytes] | None) -> None:
        """Have pages read again that depend on these keys of Redis; None: all pages.

        This is called for all that Redis reports, so it costs nothing while nobody watches.
        """
        if not self._pages:
            return
        if keys is None:
            for page in self._pages:
                # What Redis was to report is lost with the connection.
                page.is_tracked = False
                page.note_change()
            return
        for key in keys:
            _, kind, id_ = key.rsplit(b":", 2)
            for page in self._by_kind[kind].of(int(id_)):
                page.note_change()
