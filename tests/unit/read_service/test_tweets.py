"""Tweets by id: from Redis and the local cache, and what is filled in from Postgres."""

from __future__ import annotations

from functools import partial

import pytest
from helpers.fakes.reading import Reading, message

from core.errors import DatabaseUnavailableError, NotYetConsistentError
from core.feed.history import Lsn, Moment
from core.feed.sharding import shard_of
from core.feed.tweet_cache import DELETED, encode_entry, is_lease
from core.rpc.messages import delimited
from read_service.freshness import TokenFreshness


@pytest.fixture
def reading() -> Reading:
    """Return a read service with an author (user 1), one tweet (2) and an empty tweet cache."""
    reading = Reading()
    reading.tweet(reading.user())
    reading.drain()
    reading.redis.remove_tweet(2)
    return reading


def _stored(reading: Reading, tweet_id: int) -> bytes:
    return message(reading.primary.state.tweets[tweet_id])


async def test_an_absent_tweet_is_filled_in(reading: Reading) -> None:
    """The first reader stores what Postgres says, and the next one does not ask Postgres."""
    expected = {2: delimited(_stored(reading, 2))}
    assert await reading.tweets.tweets([2]) == expected
    assert reading.redis.value(2) == encode_entry(1, _stored(reading, 2))
    assert reading.steps.taken == [
        "read tweets",
        "primary: existing tweets",
        "take fill leases",
        "read checkpoints",
        "primary: tweets by id",
        "fill",
    ]
    reading.steps.taken.clear()
    assert await reading.tweets.tweets([2]) == expected
    assert reading.steps.taken == ["read tweets"]


async def test_a_listed_tweet_comes_from_the_local_cache(reading: Reading) -> None:
    """It does so once Redis has returned the tweet, until Redis says that the tweet has changed."""
    await reading.tweets.listed_tweets([2])
    await reading.tweets.listed_tweets([2])
    reading.steps.taken.clear()
    assert await reading.tweets.listed_tweets([2]) == {2: delimited(_stored(reading, 2))}
    assert reading.steps.taken == []
    reading.update(2, "new")
    reading.drain()
    assert await reading.tweets.listed_tweets([2]) == {2: delimited(_stored(reading, 2))}
    assert reading.steps.taken == ["read tweets"]


async def test_a_tweet_by_its_id_does_not_come_from_the_local_cache(reading: Reading) -> None:
    """Unless a list was just read, nothing shows that the local tweet cache is up to date."""
    for _ in range(2):
        await reading.tweets.listed_tweets([2])
    reading.steps.taken.clear()
    await reading.tweets.tweets([2])
    assert reading.steps.taken == ["read tweets"]


def _change(reading: Reading, change: str) -> None:
    """Update or delete tweet 2, and apply that to Redis."""
    if change == "update":
        reading.update(2, "new")
    else:
        reading.delete(2)
    reading.drain()


@pytest.mark.parametrize("step", ["primary: tweets by id", "fill"])
@pytest.mark.parametrize("change", ["update", "delete"])
async def test_a_fill_never_overwrites_a_newer_version(
    reading: Reading, change: str, step: str
) -> None:
    """A tweet that changes while it is filled in has the change afterwards."""
    reading.steps.before(step, partial(_change, reading, change))
    await reading.tweets.tweets([2])
    kept = DELETED if change == "delete" else encode_entry(2, _stored(reading, 2))
    assert reading.redis.value(2) == kept


async def test_what_another_reader_fills_in_is_read_from_postgres(reading: Reading) -> None:
    """The second reader does not wait, and does not fill."""
    reading.redis.set_if_absent(2, b"Lother")
    assert await reading.tweets.tweets([2]) == {2: delimited(_stored(reading, 2))}
    assert reading.redis.value(2) == b"Lother"
    assert "fill" not in reading.steps.taken


async def test_a_listed_tweet_that_does_not_exist_is_deleted(reading: Reading) -> None:
    """Its id was in a list, so it did exist; the next reader need not ask Postgres."""
    reading.delete(2)
    assert await reading.tweets.listed_tweets([2]) == {}
    assert reading.redis.value(2) == DELETED


async def test_any_other_tweet_that_does_not_exist_is_not_remembered(reading: Reading) -> None:
    """It may be created later: the lease is given up."""
    assert await reading.tweets.tweets([99]) == {}
    assert reading.redis.value(99) is None


async def test_ids_that_no_tweet_has_cost_redis_one_read(reading: Reading) -> None:
    """No lease is taken of them, however many there are, and even if others of the call exist."""
    assert await reading.tweets.tweets(range(100, 200)) == {}
    assert reading.steps.taken == ["read tweets", "primary: existing tweets"]
    reading.steps.taken.clear()
    assert set(await reading.tweets.tweets([2, *range(100, 200)])) == {2}
    assert reading.steps.taken.count("fill") == 1
    assert set(reading.redis.tweets) == {2}


async def test_a_tweet_is_absent_only_if_the_primary_lacks_it() -> None:
    """A replica may not have replayed its creation."""
    reading = Reading(has_replica=True)
    new = reading.tweet(reading.user())
    assert set(await reading.tweets.tweets([new])) == {new}
    reading.primary.is_up = False
    reading.redis.remove_tweet(new)
    with pytest.raises(DatabaseUnavailableError):
        await reading.tweets.tweets([new])


@pytest.mark.parametrize("change", ["update", "delete"])
async def test_what_was_seen_before_the_lease_is_not_stored(reading: Reading, change: str) -> None:
    """A change that is applied, and has expired, before the lease is taken must not be lost."""

    def interfere() -> None:
        _change(reading, change)
        reading.redis.remove_tweet(2)

    reading.steps.before("take fill leases", interfere)
    await reading.tweets.tweets([2])
    kept = None if change == "delete" else encode_entry(2, _stored(reading, 2))
    assert reading.redis.value(2) == kept


async def test_nothing_is_filled_in_without_checkpoints(reading: Reading) -> None:
    """Later changes might not be applied, so the leases are given up; the reader gets the tweet."""
    reading.redis.set_applied(shard_of(2), None)
    for read in (reading.tweets.tweets, reading.tweets.listed_tweets):
        assert await read([2]) == {2: delimited(_stored(reading, 2))}
        assert reading.redis.value(2) is None


async def test_a_tweet_is_not_filled_in_from_a_replica_that_lags() -> None:
    """A new text, a new tweet and a deletion are filled in as the primary has them."""
    reading = Reading(has_replica=True)
    author = reading.user()
    changed, gone = reading.tweet(author), reading.tweet(author)
    reading.replica.replay(reading.primary)
    reading.update(changed, "new")
    reading.delete(gone)
    new = reading.tweet(author)
    reading.drain()
    for tweet_id in (changed, gone, new):
        reading.redis.remove_tweet(tweet_id)
    assert set(await reading.tweets.listed_tweets([changed, gone, new])) == {changed, new}
    assert reading.redis.value(changed) == encode_entry(2, _stored(reading, changed))
    assert reading.redis.value(gone) == DELETED
    assert reading.redis.value(new) == encode_entry(1, _stored(reading, new))


async def test_postgres_answers_while_redis_is_down(reading: Reading) -> None:
    """This holds also when Redis goes down during a fill, and when it is at another history."""
    expected = {2: delimited(_stored(reading, 2))}
    reading.redis.is_up = False
    assert await reading.tweets.tweets([2]) == expected
    assert await reading.tweets.listed_tweets([2]) == expected
    reading.redis.is_up = True

    def go_down() -> None:
        reading.redis.is_up = False

    reading.steps.before("fill", go_down)
    assert await reading.tweets.tweets([2]) == expected
    lease = reading.redis.value(2)
    assert lease is not None
    assert is_lease(lease)
    reading.redis.is_up = True
    reading.redis.remove_tweet(2)
    reading.primary.begin_history("bbbbbbbbbb")
    assert await reading.tweets.tweets([2]) == expected


async def test_a_tweet_that_cannot_be_stored_is_not_read_again_from_a_replica_that_lags() -> None:
    """What was read for a fill is as new as the list, and the replica may not be."""
    reading = Reading(has_replica=True)
    tweet = reading.tweet(reading.user())
    reading.replica.replay(reading.primary)
    reading.update(tweet, "new")
    reading.drain()
    reading.redis.remove_tweet(tweet)

    def go_down() -> None:
        reading.redis.is_up = False

    reading.steps.before("fill", go_down)
    expected = {tweet: delimited(_stored(reading, tweet))}
    assert await reading.tweets.listed_tweets([tweet]) == expected


async def test_a_token_is_answered_by_postgres_alone(reading: Reading) -> None:
    """Redis cannot say whether it has what the consistency token stands for."""
    token = TokenFreshness(reading.primary.moment())
    assert await reading.tweets.tweets([2], token) == {2: delimited(_stored(reading, 2))}
    assert reading.steps.taken == ["primary: tweets by id"]
    future = TokenFreshness(Moment(token.moment.history, Lsn(token.moment.lsn + 1)))
    with pytest.raises(NotYetConsistentError):
        await reading.tweets.tweets([2], future)


async def test_pages_need_every_tweet_in_redis(reading: Reading) -> None:
    """A page with an absent or a deleted tweet is left to the general path."""
    other = reading.tweet(1)
    reading.drain()
    assert await reading.tweets.listed_pages([[2, other], [other], []]) == [
        None,
        reading.local.page([other]),
        reading.local.page([]),
    ]
    reading.delete(other)
    reading.drain()
    assert await reading.tweets.listed_pages([[other]]) == [None]
    assert reading.steps_of("primary") == []
