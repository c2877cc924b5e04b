"""Local timelines: first pages of home timelines, kept in the process until Redis says otherwise.

A timeline enters only from the reply to a tracked read of its list, at the instant at which the
reply is parsed. Redis reports the next change of the list after that reply, on the same connection,
and the timeline is then forgotten. So after a barrier, which is the reply to any command that was
sent after a call had arrived, a timeline in here is what the list would give to that call
(docs/timelines.md, "Lists and pages in the process").

A page also depends on its tweets. The local tweet cache counts the changes that Redis reports; a
page is used again only as long as there are no new ones, and else put together again, which takes
some microseconds.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.feed.timeline_lists import ListKind
from read_service.local_tweet_cache import LocalTweetCache
from read_service.protocols import TweetPage

MAX_BYTES = 128 << 20
# How many lists are known at most that are worth tracking.
MAX_WORTH_TRACKING = 100_000
_HOME, _AUTHOR = ListKind.HOME.encode(), ListKind.AUTHOR.encode()
# At most what a timeline takes: the entry and its page, and for each tweet its id, its places in
# the page, its own object, and the names of the fields in its JSON. The text counts four times: in
# the tweet, which the local tweet cache may have dropped, and in the answers over gRPC, over REST
# and in a batch. Without REST most take about a quarter of it: 5,395 pages of 20 tweets made a
# process 25 MB larger.
_TIMELINE_BYTES = 600
_TWEET_BYTES = 260
_TEXT_COPIES = 4


class _LocalTimeline:
    """The newest tweets of a home timeline."""

    __slots__ = ("changes", "count", "ids", "is_used", "page", "size")

    def __init__(self, ids: Sequence[int], count: int) -> None:
        self.ids = ids
        self.count = count
        """How many ids were asked for: if there are fewer, the timeline has no more."""
        self.is_used = False
        self.page: TweetPage | None = None
        self.changes = 0
        """How many changes of tweets had been reported when the page was put together."""
        self.size = _TIMELINE_BYTES + len(ids) * _TWEET_BYTES


class LocalTimelines:
    """The newest tweets of home timelines, and the pages that they make.

    Not every list is worth tracking. The TTL of a list is extended by a command that counts as a
    change, so its first read, after which that happens, is not tracked. And if a timeline was
    forgotten before it was used, its list changes more often than it is read: then the next read is
    not tracked either, only the one after it.
    """

    def __init__(self, tweets: LocalTweetCache, max_bytes: int) -> None:
        """Keep at most max_bytes; what has been here longest is dropped first."""
        self._tweets = tweets
        self._max_bytes = max_bytes
        self._bytes = 0
        self._timelines: dict[int, _LocalTimeline] = {}
        self._worth_tracking: set[int] = set()
        self._period = 0

    @property
    def count(self) -> int:
        """How many timelines are here."""
        return len(self._timelines)

    @property
    def size(self) -> int:
        """How many bytes they are estimated to take."""
        return self._bytes

    def begin_period(self, period: int) -> None:
        """Forget all timelines if this is another period of touches than the last time.

        A list that is read only here would expire in Redis. In each period its first read goes
        there, and extends its TTL.
        """
        if period != self._period:
            self._period = period
            self._forget_timelines()

    def has(self, user_id: int, count: int) -> bool:
        """Return whether the newest ids of a timeline are here, count of them or all."""
        timeline = self._timelines.get(user_id)
        return timeline is not None and timeline.count >= count

    def ids(self, user_id: int, count: int) -> Sequence[int] | None:
        """Return the newest ids of a timeline; None if they are not here.

        The caller has waited for a barrier since its call arrived.
        """
        timeline = self._timelines.get(user_id)
        if timeline is None or timeline.count < count:
            return None
        timeline.is_used = True
        return timeline.ids[:count]

    def page(self, user_id: int, count: int) -> TweetPage | None:
        """Return a first page; None if its ids or some of its tweets are not here.

        The caller has waited for a barrier since its call arrived.
        """
        timeline = self._timelines.get(user_id)
        if timeline is None or timeline.count < count:
            return None
        timeline.is_used = True
        page = timeline.page
        changes = self._tweets.changes
        if page is not None and timeline.changes == changes and timeline.count == count:
            return page
        page = self._tweets.page(timeline.ids[:count])
        if page is not None:
            self._tweets.hits += len(page.ids)
        if page is not None and timeline.count == count:
            self._keep_page(timeline, page, changes)
        return page

    def is_worth_tracking(self, user_id: int) -> bool:
        """Return whether the next read of the user's list is to be a tracked one."""
        return user_id in self._worth_tracking

    def note_read(self, user_id: int) -> None:
        """Note that the first page was read from the list, by a read that was not tracked."""
        if len(self._worth_tracking) >= MAX_WORTH_TRACKING:
            self._worth_tracking.clear()
        self._worth_tracking.add(user_id)

    def remember(self, user_id: int, ids: Sequence[int] | None, count: int) -> None:
        """Remember what a tracked read found, at the instant at which its reply is parsed.

        Args:
            user_id: whose timeline.
            ids: the newest ids, newest first; None if the list needs more than a look at its head.
            count: how many were asked for; with fewer, the timeline has no more.
        """
        self._forget_timeline(user_id)
        if ids is None:
            self._worth_tracking.discard(user_id)
            return
        timeline = self._timelines[user_id] = _LocalTimeline(ids, count)
        self._bytes += timeline.size
        self._make_room()

    def forget(self, keys: Sequence[bytes] | None) -> None:
        """Forget the timelines and tweets with these keys of Redis; None forgets all."""
        if keys is None:
            self._forget_timelines()
            self._tweets.forget(None)
            return
        for key in keys:
            _, kind, id_ = key.rsplit(b":", 2)
            if kind == _HOME:
                user_id = int(id_)
                timeline = self._forget_timeline(user_id)
                if timeline is not None and not timeline.is_used:
                    self._worth_tracking.discard(user_id)
            elif kind != _AUTHOR:  # those lists are tracked for watches, and not kept here
                self._tweets.forget([key])

    def _keep_page(self, timeline: _LocalTimeline, page: TweetPage, changes: int) -> None:
        texts = sum(map(len, page.tweets))
        size = _TIMELINE_BYTES + len(page.ids) * _TWEET_BYTES + _TEXT_COPIES * texts
        self._bytes += size - timeline.size
        timeline.page, timeline.changes, timeline.size = page, changes, size
        self._make_room()

    def _make_room(self) -> None:
        while self._bytes > self._max_bytes:
            self._forget_timeline(next(iter(self._timelines)))

    def _forget_timeline(self, user_id: int) -> _LocalTimeline | None:
        timeline = self._timelines.pop(user_id, None)
        if timeline is not None:
            self._bytes -= timeline.size
        return timeline

    def _forget_timelines(self) -> None:
        self._timelines.clear()
        self._worth_tracking.clear()
        self._bytes = 0
