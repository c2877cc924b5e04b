"""The logic of the read service on fake servers, and a fan-out that applies events when told to."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from helpers.fakes.read_postgres import EPOCH, FakePostgres, Tweet
from helpers.fakes.timeline_redis import FakeRedis, FakeTimelineCache, FakeTweetCache

from core.feed.history import Lsn
from core.feed.sharding import SHARDS
from core.feed.timeline_lists import TimelineList, author_list, home_list
from core.feed.tweet_cache import DELETED, encode_entry
from read_service.databases import Databases
from read_service.first_pages import FirstPages
from read_service.home_timelines import HomeTimelines
from read_service.list_building import ListBuilder
from read_service.lists import ListReader
from read_service.local_timelines import MAX_BYTES, LocalTimelines
from read_service.local_tweet_cache import LocalTweetCache
from read_service.protocols import TweetPage
from read_service.rows import VersionedTweetRow
from read_service.store import PostgresStore
from read_service.tweets import TweetReader

HISTORY = "aaaaaaaaaa"
NOW = 1_800_000_000
"""What the clock says, in seconds since the epoch."""


class Reading:
    """A read service, its servers, and events that wait for the fan-out."""

    def __init__(self, *, length: int = 4, slack: int = 2, has_replica: bool = False) -> None:
        """Begin empty; lists have at most length ids, or slack more until the fan-out trims."""
        self.length = length
        self._slack = slack
        self.local = LocalTweetCache(100)
        self.timelines = LocalTimelines(self.local, MAX_BYTES)
        self.redis = FakeRedis(HISTORY, self.local, self.timelines)
        self.steps = self.redis.steps
        self.primary = FakePostgres(HISTORY, self.steps)
        self.replica = self.primary.copy() if has_replica else self.primary
        self.databases = Databases(self.primary, self.replica)
        self.store = PostgresStore(self.databases)
        self.cache = FakeTimelineCache(self.redis)
        self.tweet_cache = FakeTweetCache(self.redis)
        self.tweets = TweetReader(self.tweet_cache, self.local, self.store)
        self.builder = ListBuilder(self.cache, self.store, length, clock=lambda: NOW)
        self.lists = ListReader(self.cache, self.builder, length)
        self.first = FirstPages(self.cache, self.tweets, self.timelines)
        self.home = HomeTimelines(self.cache, self.lists, self.store, self.tweets, self.first)
        self._pending: deque[tuple[Lsn, Callable[[], None]]] = deque()
        self._followers: set[tuple[int, int]] = set()

    # Commands: each commits, and enqueues an event for the fan-out.

    def user(self) -> int:
        """Return the id of a new user."""
        return self.primary.create_user()

    def users(self, count: int) -> list[int]:
        """Return the ids of new users."""
        return [self.user() for _ in range(count)]

    def tweet(self, author: int, content: str = "text") -> int:
        """Return the id of a new tweet."""
        tweet_id = self.primary.create_tweet(author, content)
        value = _value(self.primary.state.tweets[tweet_id])
        is_pulled = author in self.primary.state.pull_authors

        def apply() -> None:
            self.redis.apply_tweet(tweet_id, value)
            readers = [] if is_pulled else sorted(f for f, a in self._followers if a == author)
            for list_ in (author_list(author), *map(home_list, readers)):
                self.redis.push(list_, tweet_id)
                self.redis.trim(list_, self.length + self._slack)

        self._leave(apply)
        return tweet_id

    def feed_of(self, author: int, count: int) -> list[int]:
        """Return the ids of new tweets of an author, newest first."""
        return [self.tweet(author, f"text {n}") for n in range(count)][::-1]

    def update(self, tweet_id: int, content: str) -> None:
        """Change the text of a tweet."""
        self.primary.update_tweet(tweet_id, content)
        value = _value(self.primary.state.tweets[tweet_id])
        self._leave(lambda: self.redis.apply_tweet(tweet_id, value))

    def delete(self, tweet_id: int) -> None:
        """Delete a tweet."""
        self.primary.delete_tweet(tweet_id)
        self._leave(lambda: self.redis.apply_tweet(tweet_id, DELETED))

    def follow(self, follower: int, followed: int) -> None:
        """Make one user follow another."""
        self.primary.follow(follower, followed)

        def apply() -> None:
            self._followers.add((follower, followed))
            self.redis.drop(home_list(follower))

        self._leave(apply)

    def unfollow(self, follower: int, followed: int) -> None:
        """Make one user unfollow another."""
        self.primary.unfollow(follower, followed)

        def apply() -> None:
            self._followers.discard((follower, followed))
            self.redis.drop(home_list(follower))

        self._leave(apply)

    def pull(self, author: int) -> None:
        """Let an author become a pull author."""
        self.primary.pull(author)

        def apply() -> None:
            for follower, followed in self._followers:
                if followed == author:
                    self.redis.drop(home_list(follower))

        self._leave(apply)

    def reader_of(self, *authors: int) -> int:
        """Return the id of a new user who follows these."""
        reader = self.user()
        for author in authors:
            self.follow(reader, author)
        return reader

    # The fan-out.

    def apply_next(self) -> None:
        """Apply the oldest event that has not been applied."""
        if self._pending:
            lsn, apply = self._pending.popleft()
            apply()
            for shard in range(SHARDS):
                self.redis.set_applied(shard, lsn)

    def drain(self) -> None:
        """Apply all events."""
        while self._pending:
            self.apply_next()

    @property
    def is_drained(self) -> bool:
        """Whether all events have been applied."""
        return not self._pending

    def forget_pending(self) -> None:
        """Count all events as applied, as after checkpoints were created at the end of Kafka."""
        self._pending.clear()
        self._followers = set(self.primary.state.follows)

    def _leave(self, apply: Callable[[], None]) -> None:
        self._pending.append((self.primary.state.lsn, apply))

    # What tests look at.

    def oracle(self, reader: int) -> list[int]:
        """Return the ids of a home timeline as they are in the primary."""
        return [tweet.id for tweet in self.primary.state.timeline(reader)]

    def elements(self, list_: TimelineList) -> list[bytes]:
        """Return the elements of a list in Redis."""
        return self.redis.elements(list_)

    def steps_of(self, server: str) -> list[str]:
        """Return the steps that were taken on a Postgres server."""
        return [step for step in self.steps.taken if step.startswith(server)]


def content(page: TweetPage) -> list[bytes]:
    """Return what a page shows of each tweet, without the length before each."""
    return [bytes(tweet[1:]) for tweet in page.tweets]


def message(tweet: Tweet) -> bytes:
    """Return a tweet as it is serialised."""
    return _row(tweet).serialise()


def _row(tweet: Tweet) -> VersionedTweetRow:
    return VersionedTweetRow(tweet.id, tweet.author, tweet.content, EPOCH, EPOCH, tweet.version)


def _value(tweet: Tweet) -> bytes:
    return encode_entry(tweet.version, _row(tweet).serialise())
