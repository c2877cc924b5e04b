"""The tweets that are kept in the process."""

from __future__ import annotations

import pytest
from fanfare.common.v1.common_pb2 import Tweet

from core.feed.tweet_cache import DELETED, encode_entry, encode_lease
from core.rpc.messages import delimited
from read_service import local_tweet_cache
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


def _tweet(id_: int, content: str) -> bytes:
    return Tweet(id=id_, content=content).SerializeToString()


def _count_prints(monkeypatch: pytest.MonkeyPatch) -> list[Tweet]:
    """Return a list that gets every tweet that is printed from now on."""
    printed: list[Tweet] = []
    plain = local_tweet_cache.print_tweet

    def print_tweet(tweet: Tweet) -> str:
        printed.append(tweet)
        return plain(tweet)

    monkeypatch.setattr(local_tweet_cache, "print_tweet", print_tweet)
    return printed


def test_the_json_of_a_tweet_is_kept_as_long_as_the_tweet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tweet is printed once, until it is forgotten, replaced or dropped."""
    printed = _count_prints(monkeypatch)
    local = LocalTweetCache(2)
    one, two = _tweet(1, "one"), _tweet(2, "two")
    ids, tweets = [1, 2], [delimited(one), delimited(two)]
    local.remember(ids, [encode_entry(1, one), encode_entry(1, two)])
    assert local.json(ids, tweets) == local.json(ids, tweets)
    assert len(printed) == 2
    local.forget([b"fanfare:0123456789:{1}:tweet:1"])
    assert local.json(ids, tweets)[0].startswith(b'{"id": "1", "content": "one"')
    assert [tweet.id for tweet in printed] == [1, 2, 1]
    local.remember([2], [encode_entry(2, _tweet(2, "changed"))])
    local.json([2], [delimited(two)])
    assert [tweet.id for tweet in printed] == [1, 2, 1, 2]
    local.remember([2, 3, 4], [encode_entry(1, _tweet(id_, "x")) for id_ in (2, 3, 4)])
    local.json([2, 3], [delimited(_tweet(id_, "x")) for id_ in (2, 3)])
    assert len(printed) == 6
    local.json([2, 3], [delimited(_tweet(id_, "x")) for id_ in (2, 3)])
    assert [tweet.id for tweet in printed[6:]] == [2]
    local.forget(None)
    local.json([3], [delimited(_tweet(3, "x"))])
    assert len(printed) == 8


def test_the_json_of_tweets_that_are_not_here_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise pages from Postgres would fill the memory. A deleted tweet is not here either."""
    printed = _count_prints(monkeypatch)
    local = LocalTweetCache(10)
    local.remember([1], [DELETED])
    for _ in range(2):
        local.json([1, 2], [delimited(_tweet(1, "x")), delimited(_tweet(2, "x"))])
    assert [tweet.id for tweet in printed] == [1, 2, 1, 2]
