"""Rare cases of reads: each is forced in a running system, and a metric counts it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from fanfare.common.v1.common_pb2 import User
from fanfare.read.v1 import read_pb2 as r
from fanfare.write.v1 import write_pb2 as w
from helpers.fanfare import Fanfare
from helpers.grpc_client import ids
from helpers.waiting import wait_until

from core.feed.sharding import Partition
from core.feed.timeline_lists import TRIM_SLACK, home_list
from core.feed.tweet_cache import DELETED
from core.runtime.metrics import Metric
from read_service.list_building import MAX_BUILDERS
from read_service.lists import LOG_ROOM


def test_a_cached_timeline_takes_pushes(fanfare: Fanfare) -> None:
    """A tweet is pushed to a list that is already in Redis; the list is not built again."""
    bob, alice = fanfare.cached_pair(0)
    built = fanfare.redis.lrange(fanfare.keys.for_list(home_list(alice.id)), 0, -1)
    tweet = fanfare.tweet(bob)
    wait_until(lambda: ids(fanfare.timeline(alice).tweets) == [tweet.id], "the tweet shows")
    pushed = [str(tweet.id).encode(), *built]
    assert fanfare.redis.lrange(fanfare.keys.for_list(home_list(alice.id)), 0, -1) == pushed


@pytest.fixture
def alice(fanfare: Fanfare) -> User:
    """Return a reader who follows one author, and whose timeline of three tweets is in Redis."""
    reader = fanfare.user(fanfare.user())
    fanfare.tweets(_author(fanfare, reader), 3)
    fanfare.wait_drained()
    fanfare.wait_cached(reader)
    return reader


def _author(fanfare: Fanfare, reader: User) -> User:
    ((author,),) = fanfare.sql("SELECT followed_id FROM follows WHERE follower_id = %s", reader.id)
    return User(id=author)


@contextmanager
def _postgres_holds_reads_of_tweets(fanfare: Fanfare) -> Iterator[None]:
    with psycopg.connect(fanfare.settings.primary_dsn()) as connection:
        connection.execute("LOCK TABLE tweets IN ACCESS EXCLUSIVE MODE")
        yield


def _while_reading(fanfare: Fanfare, reader: User, interfere: Callable[[], None]) -> None:
    """Interfere while a read waits for Postgres. The read must still be exact."""
    before = fanfare.oracle(reader)
    answers: list[list[int]] = []
    reading = threading.Thread(target=lambda: answers.append(ids(fanfare.timeline(reader).tweets)))
    with _postgres_holds_reads_of_tweets(fanfare):
        reading.start()
        interfere()
    reading.join()
    assert answers == [before]


def test_a_limited_number_of_lists_is_built_at_a_time(fanfare: Fanfare) -> None:
    """When many lists are lost at once, the other readers get their pages from Postgres."""
    author = fanfare.user()
    # As many readers as the read service opens connections to Postgres for expensive queries.
    readers = [fanfare.user(author) for _ in range(MAX_BUILDERS + 1)]
    tweet = fanfare.tweet(author)
    fanfare.wait_drained()
    keys = [fanfare.keys.for_list(home_list(reader.id)) for reader in readers]
    fanfare.redis.delete(*keys)
    with _postgres_holds_reads_of_tweets(fanfare):
        pages = [
            fanfare.read.GetHomeTimeline.future(r.GetHomeTimelineRequest(user_id=reader.id))
            for reader in readers
        ]
        # A call that came after the others had ended would build too.
        wait_until(
            lambda: fanfare.waiting_for_locks("read") == len(readers), "all wait for Postgres"
        )
    assert [ids(page.result().tweets) for page in pages] == [[tweet.id]] * len(readers)
    assert fanfare.redis.exists(*keys) == MAX_BUILDERS


def test_a_long_log_is_compacted(fanfare: Fanfare, alice: User) -> None:
    """When the log fills the window, it is sorted into the base."""
    before = fanfare.metrics()
    fanfare.tweets(_author(fanfare, alice), 20 + LOG_ROOM + 1)
    fanfare.wait_drained()

    def read() -> None:
        assert ids(fanfare.timeline(alice).tweets) == fanfare.oracle(alice)[:20]

    fanfare.wait_counted(Metric.LIST_COMPACTED, before, read)


def test_a_list_that_outgrew_its_cap_is_trimmed_and_built_again(
    fanfare: Fanfare, alice: User
) -> None:
    """Trimming removes the base of a list that nobody reads; the next reader builds the list."""
    before = fanfare.metrics()
    fanfare.tweets(_author(fanfare, alice), 800 + TRIM_SLACK + 1)
    fanfare.wait_drained()
    assert fanfare.redis.llen(fanfare.keys.for_list(home_list(alice.id))) == 800 + TRIM_SLACK
    fanfare.wait_exact(alice)
    for path in (Metric.LIST_TRIMMED, Metric.LIST_OVERGROWN):
        fanfare.wait_counted(path, before)


def test_a_build_is_refused_when_its_list_was_dropped(fanfare: Fanfare, alice: User) -> None:
    """A list that was dropped while it was built is not stored, since it may lack the change."""
    before = fanfare.metrics()
    key = fanfare.keys.for_list(home_list(alice.id))
    fanfare.redis.delete(key)

    def drop() -> None:
        wait_until(lambda: fanfare.redis.exists(key), "the build has begun")
        fanfare.redis.delete(key)

    _while_reading(fanfare, alice, drop)
    assert not fanfare.redis.exists(key)
    fanfare.wait_counted(Metric.BUILD_REFUSED, before)


def test_a_fill_is_refused_when_its_lease_was_lost(fanfare: Fanfare, alice: User) -> None:
    """A tweet that changes while it is read from Postgres keeps the change."""
    before = fanfare.metrics()
    newest = fanfare.oracle(alice)[0]
    key = fanfare.keys.tweet(newest)
    fanfare.redis.delete(key)

    def change() -> None:
        wait_until(lambda: fanfare.redis.exists(key), "the lease is taken")
        fanfare.redis.set(key, DELETED)

    _while_reading(fanfare, alice, change)
    assert fanfare.redis.get(key) == DELETED
    fanfare.wait_counted(Metric.FILL_LEASE_LOST, before)
    fanfare.redis.delete(key)


def test_an_absent_tweet_is_filled_in(fanfare: Fanfare, alice: User) -> None:
    """A read that takes a tweet from Postgres stores it in Redis for the next read."""
    before = fanfare.metrics()
    key = fanfare.keys.tweet(fanfare.oracle(alice)[0])
    value = fanfare.redis.get(key)
    fanfare.redis.delete(key)

    def filled_in() -> bool:
        fanfare.timeline(alice)
        return bool(fanfare.redis.get(key) == value)

    wait_until(filled_in, "the tweet is in Redis again")
    fanfare.wait_counted(Metric.TWEET_FILLED, before)


def test_the_list_of_a_builder_that_died_is_removed(fanfare: Fanfare, alice: User) -> None:
    """A reader removes a list that has been under construction for too long, whatever its TTL."""
    before = fanfare.metrics()
    key = fanfare.keys.for_list(home_list(alice.id))
    fanfare.redis.delete(key)
    fanfare.redis.rpush(key, "=", f"B{int(time.time()) - 60}-dead")

    def removed() -> bool:
        assert ids(fanfare.timeline(alice).tweets) == fanfare.oracle(alice)
        return not fanfare.redis.exists(key)

    wait_until(removed, "the list is removed")
    fanfare.wait_counted(Metric.BUILD_ABANDONED, before)


def test_nothing_is_built_while_a_checkpoint_is_absent(fanfare: Fanfare, alice: User) -> None:
    """Nobody would keep the list up to date: Postgres answers until the checkpoint is back."""
    before = fanfare.metrics()
    list_, keys = home_list(alice.id), fanfare.keys

    def read() -> None:
        fanfare.redis.delete(keys.checkpoint(list_.shard, Partition(0)), keys.for_list(list_))
        assert ids(fanfare.timeline(alice).tweets) == fanfare.oracle(alice)

    fanfare.wait_counted(Metric.CHECKPOINT_MISSING, before, read)
    fanfare.wait_exact(alice)
    fanfare.wait_counted(Metric.CHECKPOINT_CREATED, before)


def test_an_id_that_was_pushed_twice_shows_once(fanfare: Fanfare, alice: User) -> None:
    """Duplicates in a list, as redelivery leaves them, do not show."""
    before = fanfare.metrics()
    expected = fanfare.oracle(alice)
    fanfare.redis.lpushx(fanfare.keys.for_list(home_list(alice.id)), *expected[:2], expected[0])

    def read() -> None:
        assert fanfare.whole_timeline(alice) == expected

    fanfare.wait_counted(Metric.DUPLICATE_DROPPED, before, read)


def test_a_page_that_lost_deleted_tweets_is_refilled(fanfare: Fanfare, alice: User) -> None:
    """The ids of deleted tweets stay in the list, but the page is full."""
    before = fanfare.metrics()
    for tweet in fanfare.tweets(_author(fanfare, alice), 10):
        fanfare.write.DeleteTweet(w.DeleteTweetRequest(tweet_id=tweet.id))
    fanfare.wait_drained()

    def read() -> None:
        assert ids(fanfare.timeline(alice, 3).tweets) == fanfare.oracle(alice)

    fanfare.wait_counted(Metric.PAGE_REFILLED, before, read)
