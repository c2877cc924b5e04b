"""The first pages that are kept in the process."""

from __future__ import annotations

import pytest

from core.feed.tweet_cache import DELETED, encode_entry
from core.rpc.messages import delimited
from read_service.local_timelines import LocalTimelines
from read_service.local_tweet_cache import LocalTweetCache
from read_service.protocols import TweetPage

READER = 7
LIST_KEY = b"fanfare:0123456789:{7}:timeline:7"


def _tweet_key(tweet_id: int) -> bytes:
    return b"fanfare:0123456789:{%d}:tweet:%d" % (tweet_id % 16, tweet_id)


@pytest.fixture
def tweets() -> LocalTweetCache:
    """Return a local tweet cache with the tweets 1 to 9."""
    tweets = LocalTweetCache(100)
    tweets.remember(range(1, 10), [encode_entry(1, b"%d" % id_) for id_ in range(1, 10)])
    return tweets


@pytest.fixture
def local(tweets: LocalTweetCache) -> LocalTimelines:
    """Return local timelines, none of which is known."""
    return LocalTimelines(tweets, 1 << 20)


def _page(*ids: int) -> TweetPage:
    return TweetPage(list(ids), [delimited(b"%d" % id_) for id_ in ids])


def test_a_timeline_answers_up_to_what_was_asked_for(local: LocalTimelines) -> None:
    """It has the page for the same count and smaller ones, also if the timeline is shorter."""
    local.remember(READER, [3, 2, 1], 3)
    assert local.page(READER, 3) == _page(3, 2, 1)
    assert local.page(READER, 2) == _page(3, 2)
    assert local.ids(READER, 1) == [3]
    assert local.page(READER, 4) is None
    assert not local.has(READER, 4)
    local.remember(READER, [3, 2, 1], 9)
    assert local.page(READER, 8) == _page(3, 2, 1)
    assert local.page(8, 1) is None
    assert local.ids(8, 1) is None


def test_a_page_is_made_once(local: LocalTimelines) -> None:
    """The next call gets the same page, with the answers that were made of it."""
    local.remember(READER, [2, 1], 2)
    page = local.page(READER, 2)
    assert page is not None
    page.batch_field = b"answer"
    assert local.page(READER, 2) is page
    assert local.page(READER, 1) == _page(2)
    assert local.page(READER, 2) is page


@pytest.mark.parametrize("value", [encode_entry(2, b"new"), DELETED])
def test_a_page_is_not_older_than_its_tweets(
    local: LocalTimelines, tweets: LocalTweetCache, value: bytes
) -> None:
    """When one of them changes, the page is made again, or not at all until the tweet is here."""
    local.remember(READER, [2, 1], 2)
    local.page(READER, 2)
    local.forget([_tweet_key(1)])
    assert local.page(READER, 2) is None
    assert local.has(READER, 2)
    tweets.remember([1], [value])
    expected = None if value == DELETED else _page(2, 1)
    if expected is not None:
        expected.tweets = [delimited(b"2"), delimited(b"new")]
    assert local.page(READER, 2) == expected


def test_a_change_of_a_dropped_tweet_counts(local: LocalTimelines) -> None:
    """A tweet for which the local tweet cache had no room is still in the pages."""
    tweets = LocalTweetCache(2)
    local = LocalTimelines(tweets, 1 << 20)
    tweets.remember([1, 2], [encode_entry(1, b"1"), encode_entry(1, b"2")])
    local.remember(READER, [2, 1], 2)
    assert local.page(READER, 2) == _page(2, 1)
    tweets.remember([3, 4], [encode_entry(1, b"3"), encode_entry(1, b"4")])
    assert local.page(READER, 2) == _page(2, 1)
    local.forget([_tweet_key(1)])
    assert local.page(READER, 2) is None


def test_a_changed_list_is_forgotten(local: LocalTimelines, tweets: LocalTweetCache) -> None:
    """The list is known by its key; an author list or a tweet with the same number is another."""
    local.remember(READER, [1], 1)
    local.forget([b"fanfare:0123456789:{7}:author:7"])
    assert tweets.missing([READER]) == []
    assert tweets.changes == 0
    local.forget([_tweet_key(READER)])
    assert local.has(READER, 1)
    assert tweets.missing([READER]) == [READER]
    local.forget([LIST_KEY])
    assert not local.has(READER, 1)
    assert tweets.missing([READER, 1]) == [READER]
    local.forget([LIST_KEY])


def test_everything_is_forgotten_with_the_connection(
    local: LocalTimelines, tweets: LocalTweetCache
) -> None:
    """Timelines, tweets, and which lists are worth tracking."""
    local.remember(READER, [1], 1)
    local.note_read(READER)
    local.forget(None)
    assert not local.has(READER, 1)
    assert not local.is_worth_tracking(READER)
    assert tweets.missing([1]) == [1]


def test_all_lists_are_read_again_in_each_period(local: LocalTimelines) -> None:
    """Otherwise a list that is read only here would expire in Redis."""
    local.begin_period(1)
    local.remember(READER, [1], 1)
    local.note_read(READER)
    local.begin_period(1)
    assert local.has(READER, 1)
    local.begin_period(2)
    assert not local.has(READER, 1)
    assert not local.is_worth_tracking(READER)


def test_a_list_is_tracked_from_its_second_read_on(local: LocalTimelines) -> None:
    """The first read extends the TTL afterwards, which would count as a change."""
    assert not local.is_worth_tracking(READER)
    local.note_read(READER)
    assert local.is_worth_tracking(READER)


def test_a_list_that_changes_unused_is_not_tracked_at_once(local: LocalTimelines) -> None:
    """If it was used before it changed, it is tracked again at the next read."""
    local.note_read(READER)
    local.remember(READER, [1], 1)
    local.page(READER, 1)
    local.forget([LIST_KEY])
    assert local.is_worth_tracking(READER)
    local.remember(READER, [2, 1], 2)
    local.forget([LIST_KEY])
    assert not local.is_worth_tracking(READER)


def test_a_list_that_is_not_readable_is_not_kept(local: LocalTimelines) -> None:
    """This is so for one with pull authors or a long log, which is not tracked any more."""
    local.note_read(READER)
    local.remember(READER, [1], 1)
    local.remember(READER, None, 1)
    assert not local.has(READER, 1)
    assert not local.is_worth_tracking(READER)


def test_memory_is_bounded_by_bytes(tweets: LocalTweetCache) -> None:
    """The timelines that came first are dropped first, and pages count too."""
    local = LocalTimelines(tweets, 10_000)
    for user_id in range(1, 30):
        local.remember(user_id, [1], 1)
    kept = [user_id for user_id in range(1, 30) if local.has(user_id, 1)]
    assert kept == list(range(kept[0], 30))
    assert 5 < len(kept) < 29
    long = b"x" * 1500
    tweets.remember([1], [encode_entry(2, long)])
    assert local.page(29, 1) == TweetPage([1], [delimited(long)])
    assert not local.has(kept[0], 1)
    assert local.has(29, 1)
    tweets.remember([1], [encode_entry(2, b"x" * 20_000)])
    local.remember(99, [1], 1)
    assert local.page(99, 1) is not None  # it is answered, and not kept
    assert not local.has(99, 1)
