"""Reads from a streaming replica, which may lag and may die: nothing wrong is cached."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc
import psycopg
import pytest
from fanfare.read.v1 import read_pb2 as r
from fanfare.write.v1 import write_pb2 as w
from helpers.fanfare import Fanfare
from helpers.grpc_client import Failure, failure, ids
from helpers.waiting import wait_until

from core.feed.timeline_lists import home_list
from core.feed.tweet_cache import DELETED
from core.runtime.metrics import Metric
from ops.system import System


@pytest.fixture(scope="module")
def replicated(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system with a replica."""
    with Fanfare(start_system(replica=True)) as clients:
        yield clients


def _on_replica(clients: Fanfare, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(clients.settings.replica_dsn(), autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall()


@contextmanager
def _paused(clients: Fanfare) -> Iterator[None]:
    """Pause the replay on the replica, after the read service has begun to use it."""
    wait_until(lambda: _is_used(clients), "the read service uses the replica")
    _on_replica(clients, "SELECT pg_wal_replay_pause()")
    paused = "SELECT pg_get_wal_replay_pause_state()"
    wait_until(lambda: _on_replica(clients, paused) == [("paused",)], "replay is paused")
    try:
        yield
    finally:
        _on_replica(clients, "SELECT pg_wal_replay_resume()")


def _caught_up(clients: Fanfare) -> bool:
    ((written,),) = clients.sql("SELECT pg_current_wal_lsn()::text")
    query = f"SELECT pg_last_wal_replay_lsn() >= '{written}'"
    return _on_replica(clients, query) == [(True,)]


def _is_used(clients: Fanfare) -> bool:
    """Return whether the read service uses the replica, and Redis for the current history."""
    log = clients.system.processes["read"].log_path.read_text()
    return clients.reads_current_history() and log.rfind("queries again") >= log.rfind(
        "replica is left out"
    )


def test_plain_queries_go_to_the_replica(replicated: Fanfare) -> None:
    """A list does not show what the replica has not replayed yet; a look-up by id finds it."""
    bob = replicated.user()
    wait_until(lambda: _caught_up(replicated), "the replica has caught up")
    with _paused(replicated):
        tweet = replicated.tweet(bob)
        own = r.ListUserTweetsRequest(user_id=bob.id)
        assert not replicated.read.ListUserTweets(own).tweets
        assert replicated.read.GetTweet(r.GetTweetRequest(tweet_id=tweet.id)).tweet == tweet
        before = replicated.metrics()
        carol = replicated.user()
        assert replicated.read.GetUser(r.GetUserRequest(user_id=carol.id)).user == carol
        replicated.wait_counted(Metric.REPLICA_LACKED, before)
        assert replicated.timeline(carol).tweets == []
    wait_until(lambda: replicated.read.ListUserTweets(own).tweets, "the replica has caught up")


def test_a_replica_that_lags_too_far_is_left_out(replicated: Fanfare) -> None:
    """A replica is not used while it lags by more than the bound, and is used again afterwards."""
    before = replicated.metrics()
    bob = replicated.user()
    wait_until(lambda: _caught_up(replicated), "the replica has caught up")
    log = replicated.system.processes["read"].log_path
    own = r.ListUserTweetsRequest(user_id=bob.id)
    with _paused(replicated):
        tweet = replicated.tweet(bob)
        assert not replicated.read.ListUserTweets(own).tweets
        wait_until(lambda: replicated.read.ListUserTweets(own).tweets, "the primary answers")
        assert ids(replicated.read.ListUserTweets(own).tweets) == [tweet.id]
        replicated.wait_counted(Metric.REPLICA_LEFT_OUT, before)
        assert "answers queries again" not in log.read_text()
    wait_until(lambda: "answers queries again" in log.read_text(), "the replica is used again")
    with _paused(replicated):
        replicated.tweet(bob)
        assert ids(replicated.read.ListUserTweets(own).tweets) == [tweet.id]


def test_a_list_is_not_built_from_a_replica_that_lags(replicated: Fanfare) -> None:
    """Every list that is built has what was applied to Redis, even if the replica lacks it."""
    before = replicated.metrics()
    bob = replicated.user()
    alice = replicated.user(bob)
    tweets = replicated.tweets(bob, 3)
    replicated.wait_drained()
    wait_until(lambda: _caught_up(replicated), "the replica has caught up")
    with _paused(replicated):
        tweets += replicated.tweets(bob, 3)
        carol = replicated.user()
        replicated.follow(alice, carol)
        tweets += replicated.tweets(carol, 2)
        replicated.wait_drained()
        replicated.redis.delete(replicated.keys.for_list(home_list(alice.id)))
        expected = [tweet.id for tweet in reversed(tweets)]
        wait_until(
            lambda: ids(replicated.timeline(alice).tweets) == expected, "the list is built right"
        )
        replicated.wait_cached(alice)
    replicated.wait_exact(alice)
    replicated.wait_counted(Metric.REPLICA_BEHIND, before)


def test_after_flushall_nothing_is_built_from_a_replica_that_lags(replicated: Fanfare) -> None:
    """New checkpoints have the primary's LSN, so a replica that lags is not read to build lists."""
    bob = replicated.user()
    alice = replicated.user(bob)
    wait_until(lambda: _caught_up(replicated), "the replica has caught up")
    with _paused(replicated):
        replicated.tweets(bob, 3)
        replicated.wait_drained()
        wait_until(
            lambda: all(p.committed in {None, p.end} for p in replicated.feed.partitions()),
            "nothing will be applied again",
        )
        replicated.redis.flushall()
        replicated.wait_drained()
        assert replicated.whole_timeline(alice) == replicated.oracle(alice)


def test_the_change_of_a_dead_letter_is_not_read_from_a_replica_that_lags(
    replicated: Fanfare,
) -> None:
    """The LSN of an unreadable record is unknown, so the primary's current one is required."""
    bob = replicated.user()
    alice = replicated.user(bob)
    replicated.tweets(bob, 3)
    replicated.wait_drained()
    replicated.wait_exact(alice)
    wait_until(lambda: _caught_up(replicated), "the replica has caught up")
    with _paused(replicated):
        replicated.sql(
            "WITH event AS (INSERT INTO outbox (key, type, payload)"
            " VALUES (%s, 'tweet.created', '\\xffff'))"
            " INSERT INTO tweets (id, user_id, content, created_at, updated_at)"
            " VALUES (next_tweet_id(), %s, 'poison', now(), now())",
            bob.id,
            bob.id,
        )
        replicated.wait_drained()
        assert replicated.whole_timeline(alice) == replicated.oracle(alice)


def test_pages_below_the_list_are_as_new_as_the_list(replicated: Fanfare) -> None:
    """A replica that lags would still show tweets that are already removed from the list above."""
    bob = replicated.user()
    alice = replicated.user(bob)
    oldest = replicated.tweets(bob, 850)[0]
    replicated.wait_drained()
    replicated.wait_exact(alice)
    wait_until(lambda: _caught_up(replicated), "the replica has caught up")
    with _paused(replicated):
        replicated.write.DeleteTweet(w.DeleteTweetRequest(tweet_id=oldest.id))
        replicated.tweets(bob, 3)
        replicated.wait_drained()
        replicated.wait_exact(alice)
        replicated.system.stack.postgres.kill()
        try:
            assert replicated.whole_timeline(alice)[-1] == oldest.id  # old is better than nothing
        finally:
            replicated.system.stack.postgres.start()
    replicated.wait_exact(alice)


def test_a_tweet_is_not_filled_in_from_a_replica_that_lags(replicated: Fanfare) -> None:
    """Updated, new and deleted tweets are filled in as the primary has them."""
    before = replicated.metrics()
    bob, alice = replicated.cached_pair(0)
    changed, gone = replicated.tweets(bob, 2)
    replicated.wait_drained()
    wait_until(lambda: _caught_up(replicated), "the replica has caught up")
    with _paused(replicated):
        update = w.UpdateTweetRequest(tweet_id=changed.id, content="changed")
        replicated.write.UpdateTweet(update)
        replicated.write.DeleteTweet(w.DeleteTweetRequest(tweet_id=gone.id))
        new = replicated.tweet(bob, "new")
        replicated.wait_drained()
        keys = replicated.keys
        replicated.redis.delete(*(keys.tweet(tweet.id) for tweet in (changed, gone, new)))

        def filled_in() -> bool:
            page = replicated.timeline(alice).tweets
            assert [tweet.content for tweet in page] == ["new", "changed"]
            return bool(replicated.redis.get(keys.tweet(gone.id)) == DELETED)

        wait_until(filled_in, "the deleted tweet is stored as deleted")
    replicated.wait_exact(alice)
    replicated.wait_counted(Metric.REPLICA_BEHIND, before)


def test_a_token_is_honoured_while_the_replica_lags(replicated: Fanfare) -> None:
    """The primary answers instead; while it is down, a read with a token is refused."""
    bob = replicated.user()
    alice = replicated.user(bob)
    old = replicated.tweet(bob)
    replicated.wait_drained()
    replicated.wait_exact(alice)
    wait_until(lambda: _caught_up(replicated), "the replica has caught up")
    with _paused(replicated):
        request = w.CreateTweetRequest(user_id=bob.id, content="new")
        created = replicated.write.CreateTweet(request)
        token = created.consistency_token
        both = [created.tweet.id, old.id]
        assert ids(replicated.timeline(alice, consistency_token=token).tweets) == both
        replicated.system.stack.postgres.kill()
        try:
            error = failure(lambda: replicated.timeline(alice, consistency_token=token))
            assert error == Failure(grpc.StatusCode.UNAVAILABLE, "NOT_YET_CONSISTENT")
            own = r.ListUserTweetsRequest(user_id=bob.id)
            assert ids(replicated.read.ListUserTweets(own).tweets) == [old.id]
        finally:
            replicated.system.stack.postgres.start()
    replicated.wait_exact(alice)


def test_the_primary_does_the_work_of_a_dead_replica(replicated: Fanfare) -> None:
    """The primary serves all reads, builds and fills until the replica is back."""
    before = replicated.metrics()
    bob = replicated.user()
    alice = replicated.user(bob)
    replicated.tweets(bob, 60)
    replicated.wait_drained()
    wait_until(lambda: _is_used(replicated), "the read service uses the replica")
    replicated.system.stack.replica.kill()
    try:
        replicated.redis.delete(replicated.keys.for_list(home_list(alice.id)))
        assert replicated.whole_timeline(alice) == replicated.oracle(alice)
        tweet = replicated.tweet(bob)
        wait_until(
            lambda: tweet.id in ids(replicated.timeline(alice).tweets), "the tweet is pushed"
        )
    finally:
        replicated.system.stack.replica.start()
    wait_until(lambda: _caught_up(replicated), "the replica has caught up")
    replicated.wait_exact(alice)
    replicated.wait_counted(Metric.REPLICA_DOWN, before)
