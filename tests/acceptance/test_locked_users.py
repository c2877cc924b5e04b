"""One locked user makes nobody else wait, and the user's own calls fail with an error to retry."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import psycopg
import pytest
from fanfare.common.v1.common_pb2 import User
from fanfare.write.v1 import write_pb2 as w
from helpers.fanfare import Fanfare
from helpers.grpc_client import failure

# More than the write service has connections.
CALLERS = 16


@contextmanager
def _held(fanfare: Fanfare, statement: str, *parameters: object) -> Iterator[None]:
    """Hold what a statement has locked or inserted."""
    with psycopg.connect(fanfare.settings.primary_dsn()) as connection:
        connection.execute(statement.encode(), parameters)
        yield
        connection.rollback()


_USER = "SELECT FROM users WHERE id = %s FOR UPDATE"


def test_a_locked_author_does_not_hold_up_other_authors(fanfare: Fanfare) -> None:
    """While the author's tweets wait, singly and in a batch, all others are created."""
    locked, other = fanfare.user(), fanfare.user()
    items = [w.CreateTweetRequest(user_id=user.id, content="x") for user in (other, locked)]
    batch = w.BatchCreateTweetsRequest(requests=items)
    with ThreadPoolExecutor() as pool, _held(fanfare, _USER, locked.id):
        waiting = pool.submit(failure, lambda: fanfare.tweet(locked))
        mixed = pool.submit(fanfare.write.BatchCreateTweets, batch)
        created = 0
        while not waiting.done():
            fanfare.tweet(other)
            created += 1
        assert waiting.result().reason == "USER_BUSY"
        done, busy = mixed.result().results
        assert done.tweet.user_id == other.id
        assert busy.HasField("error")
    assert created > 1
    assert fanfare.tweet(locked).user_id == locked.id


def test_a_tweet_waits_for_a_short_lock(fanfare: Fanfare) -> None:
    """Callers do not notice a lock that ends soon."""
    author = fanfare.user()
    with ThreadPoolExecutor() as pool:
        with _held(fanfare, _USER, author.id):
            waiting = pool.submit(fanfare.tweet, author)
            fanfare.tweet(fanfare.user())
        assert waiting.result().user_id == author.id


@pytest.mark.parametrize("command", ["follow", "unfollow", "update", "delete"])
def test_callers_of_a_locked_user_do_not_use_up_the_connections(
    fanfare: Fanfare, command: str
) -> None:
    """However many callers wait for one user, the commands of others go on."""
    locked, other = fanfare.user(), fanfare.user()
    followers = [fanfare.user() for _ in range(CALLERS)]
    calls: dict[str, Callable[[User], object]] = {
        "follow": partial(fanfare.follow, followed=locked),
        "unfollow": partial(fanfare.unfollow, followed=locked),
        "update": lambda _: fanfare.write.UpdateUser(
            w.UpdateUserRequest(user_id=locked.id, bio="x")
        ),
        "delete": lambda _: fanfare.write.DeleteUser(w.DeleteUserRequest(user_id=locked.id)),
    }
    with ThreadPoolExecutor(CALLERS) as pool, _held(fanfare, _USER, locked.id):
        waiting = [
            pool.submit(failure, partial(calls[command], follower)) for follower in followers
        ]
        done = 0
        while not all(future.done() for future in waiting):
            fanfare.follow(other, followers[done % CALLERS])
            done += 1
        assert {future.result().reason for future in waiting} == {"USER_BUSY"}
    assert done > 1


def test_a_request_id_that_a_stalled_process_has_claimed_holds_up_its_author_only(
    fanfare: Fanfare,
) -> None:
    """A group does not wait for the transaction in which the request_id was used first."""
    author, other = fanfare.user(), fanfare.user()
    request = w.CreateTweetRequest(user_id=author.id, content="x", request_id=str(uuid.uuid4()))
    claim = (
        "INSERT INTO tweet_requests (user_id, request_id, content_sha256, tweet_id, created_at)"
        " VALUES (%s, %s, '', 1, now())"
    )
    with (
        ThreadPoolExecutor() as pool,
        _held(fanfare, claim, author.id, request.request_id),
    ):
        waiting = pool.submit(failure, lambda: fanfare.write.CreateTweet(request))
        created = 0
        while not waiting.done():
            fanfare.tweet(other)
            created += 1
        assert waiting.result().reason == "USER_BUSY"
    assert created > 1
    assert fanfare.write.CreateTweet(request).tweet.user_id == author.id
