"""The tweets that are kept in the process."""

from __future__ import annotations

from core.feed.tweet_cache import DELETED, encode_entry, encode_lease
from core.rpc.messages import delimited
from read_service.local_tweet_cache import LocalTweetCache
from read_service.protocols import TweetPage


def test_tweets_and_deletions_are_remembered() -> None:
    """Values of tweets and of deleted tweets are kept; absent values and fill leases are not."""
    local = LocalTweetCache(10)
    local.remember([1, 2, 3, 4], [encode_entry(7, b"one"), DELETED, None, encode_lease("t")])
    assert local.missing([1, 2, 3, 4]) == [3, 4]
    assert local.known([1, 2, 3]) == {1: delimited(b"one"), 2: None}


def test_a_page_needs_all_of_its_tweets() -> None:
    """There is no page if one of its tweets is deleted or not here."""
    local = LocalTweetCache(10)
    local.remember([1, 2, 3], [encode_entry(1, b"one"), encode_entry(1, b"two"), DELETED])
    assert local.page([2, 1]) == TweetPage([2, 1], [delimited(b"two"), delimited(b"one")])
    assert local.page([]) == TweetPage([], [])
    assert local.page([1, 3]) is None
    assert local.page([1, 4]) is None


def test_changed_tweets_are_forgotten() -> None:
    """A tweet is forgotten by its Redis key, whether it is here or not; None forgets all."""
    local = LocalTweetCache(10)
    local.remember([1, 2], [encode_entry(1, b"one"), encode_entry(1, b"two")])
    local.forget([b"fanfare:0123456789:{1}:tweet:1", b"fanfare:0123456789:{9}:tweet:9"])
    assert local.missing([1, 2]) == [1]
    local.forget(None)
    assert local.missing([1, 2]) == [1, 2]


def test_the_tweets_that_came_first_are_dropped_first() -> None:
    """No more tweets than the limit are kept."""
    local = LocalTweetCache(3)
    local.remember(range(5), [encode_entry(1, b"x")] * 5)
    assert local.missing(range(5)) == [0, 1]
