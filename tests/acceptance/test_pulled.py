"""Pull authors: with more followers than FANFARE_PULL_FOLLOWERS, their tweets are not pushed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from fanfare.write.v1 import write_pb2 as w
from helpers.fanfare import Fanfare
from helpers.grpc_client import ids
from helpers.waiting import wait_until

from core.feed.timeline_lists import author_list, encode_separator, home_list
from core.runtime.metrics import Metric
from ops.system import System

THRESHOLD = 2


@pytest.fixture(scope="module")
def own(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system in which authors with more than THRESHOLD followers are pulled."""
    with Fanfare(start_system(FANFARE_PULL_FOLLOWERS=str(THRESHOLD))) as clients:
        yield clients


def _pulled(own: Fanfare, user_id: int) -> bool:
    ((pulled,),) = own.sql("SELECT pulled FROM users WHERE id = %s", user_id)
    return bool(pulled)


def test_followers_since_the_last_count_are_seen(own: Fanfare) -> None:
    """An author who tweeted without followers becomes a pull author once there are enough."""
    author = own.user()
    own.tweet(author)
    for _ in range(THRESHOLD + 1):
        assert not _pulled(own, author.id)
        own.user(author)
    own.tweet(author)
    assert _pulled(own, author.id)


def test_an_author_crosses_while_tweets_flow(own: Fanfare) -> None:
    """Lists from before the crossing are dropped; those built afterwards name the pull author."""
    before = own.metrics()
    author, other = own.user(), own.user()
    readers = [own.user(author, other) for _ in range(THRESHOLD)]
    own.tweets(author, 5)
    own.tweets(other, 5)
    own.wait_drained()
    own.wait_cached(*readers)
    assert not _pulled(own, author.id)
    pushed = own.redis.lrange(own.keys.for_list(home_list(readers[0].id)), 0, -1)
    assert encode_separator([]) in pushed
    last = own.user(author)
    own.wait_exact(last)
    assert not _pulled(own, author.id)  # crossing is decided when the author tweets
    crossing = own.tweet(author)
    assert _pulled(own, author.id)
    for path in (Metric.AUTHOR_CROSSED, Metric.CROSSING_DROPPED):
        own.wait_counted(path, before)
    own.wait_drained()
    own.wait_cached(*readers, last)
    for reader in (*readers, last):
        elements = own.redis.lrange(own.keys.for_list(home_list(reader.id)), 0, -1)
        assert encode_separator([author.id]) in elements
    own.wait_counted(Metric.PULLED_MERGED, before)
    assert str(crossing.id).encode() in own.redis.lrange(
        own.keys.for_list(author_list(author.id)), 0, -1
    )


def test_a_pulled_tweet_is_pushed_to_its_authors_list_alone(own: Fanfare) -> None:
    """A tweet is pushed to one list however many followers there are, and all of them see it."""
    author = own.user()
    readers = [own.user(author) for _ in range(THRESHOLD + 1)]
    own.tweet(author)
    own.wait_drained()
    own.wait_cached(*readers)
    keys = [own.keys.for_list(home_list(reader.id)) for reader in readers]
    lists = [own.redis.lrange(key, 0, -1) for key in keys]
    tweet = own.tweet(author)
    for reader in readers:
        wait_until(lambda r=reader: tweet.id in ids(own.timeline(r).tweets), "the tweet shows")  # type: ignore[misc]  # mypy cannot infer a lambda with a default
    assert lists == [
        own.redis.lrange(own.keys.for_list(home_list(reader.id)), 0, -1) for reader in readers
    ]


def test_pages_reach_below_the_lists_of_pulled_authors(own: Fanfare) -> None:
    """The merge is exact down to the highest floor of its lists; Postgres has what is below."""
    pulled, pushed = own.user(), own.user()
    readers = [own.user(pulled) for _ in range(THRESHOLD)]
    reader = own.user(pulled, pushed)
    own.tweets(pushed, 30)
    own.tweets(pulled, 900)
    own.tweets(pushed, 30)
    own.wait_exact(reader)
    expected = own.oracle(reader)
    assert len(expected) == 960
    for limit in (7, 100):
        assert own.whole_timeline(reader, limit) == expected
    for offset in (0, 25, 700, 850, 950):
        page = own.timeline(reader, 30, offset=offset)
        assert ids(page.tweets) == expected[offset : offset + 30]
    own.wait_exact(*readers)


def test_what_a_pulled_author_changes_shows(own: Fanfare) -> None:
    """Readers see deleted and updated tweets, an unfollow, and the deletion of the author."""
    author = own.user()
    readers = [own.user(author) for _ in range(THRESHOLD + 1)]
    tweets = own.tweets(author, 40)
    own.wait_exact(*readers)
    for tweet in tweets[10:]:
        own.write.DeleteTweet(w.DeleteTweetRequest(tweet_id=tweet.id))
    own.write.UpdateTweet(w.UpdateTweetRequest(tweet_id=tweets[0].id, content="changed"))
    wait_until(lambda: own.timeline(readers[0]).tweets[-1].content == "changed", "the change shows")
    own.wait_exact(*readers)
    own.unfollow(readers[0], author)
    own.wait_exact(*readers)
    own.wait_drained()
    assert own.whole_timeline(readers[0]) == []
    own.write.DeleteUser(w.DeleteUserRequest(user_id=author.id))
    own.wait_drained()
    assert all(own.whole_timeline(reader) == [] for reader in readers)
    assert not own.redis.exists(own.keys.for_list(author_list(author.id)))


def test_once_pulled_always_pulled(own: Fanfare) -> None:
    """A pull author whose followers leave stays one, so lists that name the author stay right."""
    author = own.user()
    readers = [own.user(author) for _ in range(THRESHOLD + 1)]
    own.tweet(author)
    assert _pulled(own, author.id)
    for reader in readers[1:]:
        own.unfollow(reader, author)
    own.tweet(author)
    assert _pulled(own, author.id)
    own.wait_exact(*readers)


def test_a_locked_author_crosses_with_a_later_tweet(own: Fanfare) -> None:
    """The crossing does not wait for the author's row; meanwhile the tweets are pushed."""
    author = own.user()
    readers = [own.user(author) for _ in range(THRESHOLD + 1)]
    with psycopg.connect(own.settings.primary_dsn()) as connection:
        connection.execute("SELECT FROM users WHERE id = %s FOR NO KEY UPDATE", [author.id])
        own.tweet(author)
        assert not _pulled(own, author.id)
    own.tweet(author)
    assert _pulled(own, author.id)
    own.wait_exact(*readers)


def test_a_reader_of_more_authors_than_are_built_at_once_is_served(own: Fanfare) -> None:
    """Postgres answers until the lists of many pull authors are built; then Redis does."""
    authors = [own.user() for _ in range(40)]
    own.sql("UPDATE users SET pulled = true WHERE id = ANY(%s)", [a.id for a in authors])
    reader = own.user(*authors)
    for author in authors:
        own.tweet(author)
    own.wait_exact(reader)

    def merged() -> bool:
        before = own.metrics()[Metric.PULLED_MERGED]
        assert own.whole_timeline(reader) == own.oracle(reader)
        return own.metrics()[Metric.PULLED_MERGED] > before

    wait_until(merged, "all lists are built and merged")
