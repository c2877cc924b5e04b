"""How many users one user may follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from fanfare.common.v1.common_pb2 import User
from fanfare.write.v1 import write_pb2 as w
from helpers.fanfare import Fanfare
from helpers.grpc_client import failure, reason

from ops.system import System

LIMIT = 120
# Follows that are made at the same time by one user.
CALLERS = 16


@pytest.fixture(scope="module", name="own")
def _own(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system in which one user may follow LIMIT users."""
    with Fanfare(start_system(FANFARE_MAX_FOLLOWING=str(LIMIT))) as clients:
        yield clients


def _follower(own: Fanfare, following: int) -> User:
    """Return a user who follows this many users."""
    follower = own.user()
    own.sql(
        "WITH made AS (INSERT INTO users (username)"
        " SELECT left(gen_random_uuid()::text, 8) || %s || n FROM generate_series(1, %s) AS n"
        " RETURNING id) INSERT INTO follows (follower_id, followed_id) SELECT %s, id FROM made",
        f"_{follower.id}_",
        following,
        follower.id,
    )
    return follower


def _following(own: Fanfare, user: User) -> int:
    ((count,),) = own.sql("SELECT count(*) FROM follows WHERE follower_id = %s", user.id)
    return int(count)


def test_a_user_may_follow_up_to_the_limit(own: Fanfare) -> None:
    """Beyond it a new follow is refused; one that exists is not, and an unfollow makes room."""
    follower = _follower(own, LIMIT - 1)
    one, other = own.user(), own.user()
    own.follow(follower, one)
    refused = failure(lambda: own.follow(follower, other))
    assert (refused.code, refused.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "FOLLOWING_LIMIT_REACHED",
    )
    own.follow(follower, one)
    own.unfollow(follower, one)
    own.follow(follower, other)
    assert _following(own, follower) == LIMIT
    own.follow(one, follower)  # the limit is not one of followers


@pytest.mark.parametrize("following", [0, LIMIT - 110, LIMIT - 5])
def test_the_limit_is_exact_when_follows_are_made_at_the_same_time(
    own: Fanfare, following: int
) -> None:
    """As many follows succeed as the limit has room for, and not one more."""
    follower = _follower(own, following)
    followed = [own.user() for _ in range(CALLERS)]

    def follow(user: User) -> str:
        request = w.FollowUserRequest(follower_id=follower.id, followed_id=user.id)
        while True:
            try:
                own.write.FollowUser(request)
            except grpc.RpcError as error:
                if reason(error) != "USER_BUSY":
                    return reason(error)
            else:
                return ""

    with ThreadPoolExecutor(CALLERS) as pool:
        reasons = list(pool.map(follow, followed))
    room = min(CALLERS, LIMIT - following)
    assert sorted(reasons) == [""] * room + ["FOLLOWING_LIMIT_REACHED"] * (CALLERS - room)
    assert _following(own, follower) == following + room


def test_a_user_above_the_limit_keeps_the_follows(own: Fanfare) -> None:
    """A user who followed more before the limit was set may only unfollow."""
    follower = _follower(own, LIMIT + 5)
    other = own.user()
    assert failure(lambda: own.follow(follower, other)).reason == "FOLLOWING_LIMIT_REACHED"
    assert _following(own, follower) == LIMIT + 5
