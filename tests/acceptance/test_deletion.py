"""DeleteUser: at once for readers, in the background for what is too much for one transaction."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import grpc
import psycopg
import pytest
from fanfare.common.v1.common_pb2 import User
from fanfare.read.v1 import read_pb2 as r
from fanfare.write.v1 import write_pb2 as w
from helpers.fanfare import Fanfare
from helpers.grpc_client import failure
from helpers.waiting import wait_until

from core.runtime.metrics import Metric
from ops.system import System
from write_service.erasure import FIRST_STEP_ROWS, STEP_ROWS

TWEETS = FIRST_STEP_ROWS + 5 * STEP_ROWS
_LEFT = """
SELECT
    (SELECT count(*) FROM users WHERE id = %s), (SELECT count(*) FROM tweets WHERE user_id = %s),
    (SELECT count(*) FROM follows WHERE %s IN (follower_id, followed_id)),
    (SELECT count(*) FROM tweet_requests WHERE user_id = %s),
    (SELECT count(*) FROM sessions WHERE user_id = %s)
"""
_INSERT_TWEETS = """
WITH made AS (
    INSERT INTO tweets (id, user_id, content, created_at, updated_at)
    SELECT id, %s, 'x', now(), now()
    FROM (SELECT next_tweet_id() AS id FROM generate_series(1, %s)) AS drawn
    ON CONFLICT DO NOTHING RETURNING id
)
INSERT INTO tweet_requests (user_id, request_id, content_sha256, tweet_id, created_at)
SELECT %s, gen_random_uuid(), '', id, now() FROM made
"""


@pytest.fixture(scope="module", name="own")
def _own(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system whose processes these tests kill."""
    with Fanfare(start_system()) as clients:
        yield clients


def _left(own: Fanfare, user: User) -> tuple[int, ...]:
    """Return how many rows of each kind are left of a user."""
    (counts,) = own.sql(_LEFT, *[user.id] * 5)
    return counts


def _delete(own: Fanfare, user: User) -> None:
    own.write.DeleteUser(w.DeleteUserRequest(user_id=user.id))


@contextmanager
def _tweet_held(own: Fanfare, author: User) -> Iterator[int]:
    """Lock the author's oldest tweet, which keeps the erasure from ending; yield its id."""
    with psycopg.connect(own.settings.primary_dsn()) as connection:
        query = "SELECT id FROM tweets WHERE user_id = %s ORDER BY id LIMIT 1 FOR UPDATE"
        row = connection.execute(query, [author.id]).fetchone()
        assert row is not None
        yield row[0]


def _erased_events(own: Fanfare, user: User) -> list[str]:
    query = "SELECT type FROM outbox WHERE key = %s AND type <> 'tweet.created' ORDER BY id"
    return [row[0] for row in own.sql(query, user.id)]


def test_a_user_with_few_rows_is_gone_with_the_call(own: Fanfare) -> None:
    """Everything, request ids too, is erased in one transaction, and the user's event is last."""
    carol = own.user()
    bob = own.user(carol)
    for _ in range(3):
        own.follow(own.user(), bob)
    own.sql(_INSERT_TWEETS, bob.id, 900, bob.id)
    own.tweet(bob)
    _delete(own, bob)
    assert _left(own, bob) == (0, 0, 0, 0, 0)
    changes = _erased_events(own, bob)
    assert changes.count("tweet.deleted") > 800
    assert changes.count("user.deleted") == 1
    assert changes[-1] == "user.deleted"


def test_users_who_follow_each_other_can_be_deleted_at_the_same_time(own: Fanfare) -> None:
    """Both are gone when their calls return; there is no deadlock."""
    with ThreadPoolExecutor(2) as pool:
        for _ in range(10):
            alice = own.user()
            bob = own.user(alice)
            own.follow(alice, bob)
            list(pool.map(partial(_delete, own), (alice, bob)))
            assert _left(own, alice) == _left(own, bob) == (0, 0, 0, 0, 0)


def test_a_user_with_many_rows_is_gone_for_everybody_at_once(own: Fanfare) -> None:
    """While the erasure goes on, and after a crash, nobody sees the user; timelines are exact."""
    carol = own.user()
    bob = own.user(carol)
    alice = own.user(bob, carol)
    own.tweet(carol)
    own.sql(_INSERT_TWEETS, bob.id, TWEETS, bob.id)
    assert len(own.timeline(alice).tweets) == 20
    assert len(own.timeline(bob).tweets) == 1  # the list is cached
    before = own.metrics()
    with _tweet_held(own, bob) as oldest:
        _delete(own, bob)
        assert own.sql("SELECT email, password_hash, bio FROM users WHERE id = %s", bob.id) == [
            (None, None, "")
        ]
        _assert_gone(own, bob, alice, carol, oldest)
        own.wait_counted(Metric.ERASURE_STEP, before)
        status = own.command("status").stdout
        assert "users being erased" in status
        own.system.processes["write"].kill()
        own.system.processes["write"].start()
        _assert_gone(own, bob, alice, carol, oldest)
    wait_until(lambda: _left(own, bob) == (0, 0, 0, 0, 0), "the user is erased")
    own.wait_exact(alice, carol)
    own.wait_counted(Metric.USER_ERASED, before)
    changes = _erased_events(own, bob)
    assert changes.count("tweet.deleted") > TWEETS * 0.9
    assert changes.count("user.deleted") == 2
    assert changes[-1] == "user.deleted"


def _address() -> str:
    return f"{uuid.uuid4().hex}@example.com"


def _assert_gone(own: Fanfare, bob: User, alice: User, carol: User, tweet: int) -> None:
    """Bob, whom Alice follows and who follows Carol, does not exist for any method."""
    edge = {"follower_id": bob.id, "followed_id": carol.id}
    calls: list[tuple[Callable[[Any], Any], Any, str]] = [
        (own.read.GetUser, r.GetUserRequest(user_id=bob.id), "USER"),
        (own.read.GetUserByUsername, r.GetUserByUsernameRequest(username=bob.username), "USER"),
        (own.read.ListUserTweets, r.ListUserTweetsRequest(user_id=bob.id), "USER"),
        (own.read.ListFollowers, r.ListFollowersRequest(user_id=bob.id), "USER"),
        (own.read.ListFollowing, r.ListFollowingRequest(user_id=bob.id), "USER"),
        (
            own.read.GetFollow,
            r.GetFollowRequest(follower_id=bob.id, followed_id=carol.id),
            "FOLLOW",
        ),
        (
            own.read.GetFollow,
            r.GetFollowRequest(follower_id=alice.id, followed_id=bob.id),
            "FOLLOW",
        ),
        (own.write.CreateTweet, w.CreateTweetRequest(user_id=bob.id, content="x"), "USER"),
        (own.write.UpdateTweet, w.UpdateTweetRequest(tweet_id=tweet, content="x"), "TWEET"),
        (own.write.DeleteTweet, w.DeleteTweetRequest(tweet_id=tweet), "TWEET"),
        (own.write.FollowUser, w.FollowUserRequest(**edge), "USER"),
        (own.write.UnfollowUser, w.UnfollowUserRequest(**edge), "USER"),
        (
            own.write.FollowUser,
            w.FollowUserRequest(follower_id=alice.id, followed_id=bob.id),
            "USER",
        ),
        (own.write.UpdateUser, w.UpdateUserRequest(user_id=bob.id, bio="x"), "USER"),
        (own.write.DeleteUser, w.DeleteUserRequest(user_id=bob.id), "USER"),
    ]
    for call, request, kind in calls:
        assert failure(partial(call, request)).reason == f"{kind}_NOT_FOUND", request
    wait_until(partial(_has_no_timeline, own, bob), "the cached timeline is gone")
    users = own.read.BatchGetUsers(r.BatchGetUsersRequest(user_ids=[bob.id, alice.id])).users
    assert [user.id for user in users] == [alice.id]
    listed = own.read.ListUsers(r.ListUsersRequest(limit=100)).users
    assert bob.id not in [user.id for user in listed]
    followers = own.read.ListFollowers(r.ListFollowersRequest(user_id=carol.id)).users
    assert [user.id for user in followers] == [alice.id]
    following = own.read.ListFollowing(r.ListFollowingRequest(user_id=alice.id)).users
    assert [user.id for user in following] == [carol.id]
    taken = w.CreateUserRequest(username=bob.username, email=_address(), password=_address())
    assert failure(lambda: own.write.CreateUser(taken)).reason == "USERNAME_TAKEN"


def _has_no_timeline(own: Fanfare, user: User) -> bool:
    try:
        own.timeline(user)
    except grpc.RpcError:
        return failure(lambda: own.timeline(user)).reason == "USER_NOT_FOUND"
    return False
