"""Consistency tokens: a read with the token of a command sees the effect of that command."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import grpc
import pytest
from fanfare.read.v1 import read_pb2 as r
from fanfare.write.v1 import write_pb2 as w
from google.protobuf.message_factory import GetMessageClass
from helpers.fanfare import Fanfare
from helpers.grpc_client import Failure, details, failure, ids
from helpers.waiting import wait_until

from core.feed.consistency_tokens import encode_token
from core.feed.history import Lsn, Moment
from ops.system import System


def _at(fanfare: Fanfare, lsn: int) -> Moment:
    """Return a moment of the current history."""
    ((history,),) = fanfare.sql("SELECT valid_history()")
    return Moment(history, Lsn(lsn))


@pytest.fixture(scope="module")
def halted(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system whose fan-out is stopped, so that Redis stays as it is."""
    with Fanfare(start_system()) as clients:
        yield clients


def test_a_timeline_with_a_token_shows_what_redis_does_not_know_yet(halted: Fanfare) -> None:
    """A read with the token of a command shows its change at once, for every kind of change."""
    bob, carol = halted.user(), halted.user()
    alice = halted.user(bob)
    first = halted.tweet(bob)
    theirs = halted.tweet(carol)
    halted.wait_drained()
    halted.wait_cached(alice)
    halted.system.processes["worker"].stop()

    def seen(token: str) -> list[int]:
        return ids(halted.timeline(alice, consistency_token=token).tweets)

    create = w.CreateTweetRequest(user_id=bob.id, content="new")
    created = halted.write.CreateTweet(create)
    wait_until(lambda: seen("") == [first.id], "Redis answers, which has no new tweet")
    assert seen(created.consistency_token) == [created.tweet.id, first.id]
    update = w.UpdateTweetRequest(tweet_id=first.id, content="changed")
    token = halted.write.UpdateTweet(update).consistency_token
    page = halted.timeline(alice, consistency_token=token)
    assert [tweet.content for tweet in page.tweets] == ["new", "changed"]
    ask = r.GetTweetRequest(tweet_id=first.id, consistency_token=token)
    assert halted.read.GetTweet(ask).tweet.content == "changed"
    gone = halted.write.DeleteTweet(w.DeleteTweetRequest(tweet_id=first.id))
    assert seen(gone.consistency_token) == [created.tweet.id]
    edge = {"follower_id": alice.id, "followed_id": carol.id}
    token = halted.write.FollowUser(w.FollowUserRequest(**edge)).consistency_token
    assert seen(token) == [created.tweet.id, theirs.id]
    token = halted.write.UnfollowUser(w.UnfollowUserRequest(**edge)).consistency_token
    assert seen(token) == [created.tweet.id]
    token = halted.write.DeleteUser(w.DeleteUserRequest(user_id=bob.id)).consistency_token
    assert seen(token) == []
    batch = r.BatchGetHomeTimelinesRequest(user_ids=[alice.id], consistency_token=token)
    assert not halted.read.BatchGetHomeTimelines(batch).timelines[0].tweets
    wait_until(lambda: seen("") == [first.id], "Redis answers, which knows of no deletion")


def test_every_command_gives_a_token_that_every_query_takes(fanfare: Fanfare) -> None:
    """Each query answers when it is given the token of the last command."""
    bob, alice = fanfare.user(), fanfare.user()
    batch = w.BatchCreateTweetsRequest(requests=[w.CreateTweetRequest(user_id=bob.id, content="x")])
    tweet = fanfare.write.BatchCreateTweets(batch).results[0].tweet
    edge: dict[str, Any] = {"follower_id": alice.id, "followed_id": bob.id}
    fanfare.write.FollowUser(w.FollowUserRequest(**edge))
    change = w.UpdateUserRequest(user_id=bob.id, bio="new")
    token = fanfare.write.UpdateUser(change).consistency_token
    at: dict[str, Any] = {"consistency_token": token}
    read = fanfare.read
    assert read.GetUser(r.GetUserRequest(user_id=bob.id, **at)).user.bio == "new"
    by_name = r.GetUserByUsernameRequest(username=bob.username, **at)
    assert read.GetUserByUsername(by_name).user.bio == "new"
    assert read.BatchGetUsers(r.BatchGetUsersRequest(user_ids=[bob.id], **at)).users[0].bio == "new"
    assert read.ListUsers(r.ListUsersRequest(limit=1, **at)).users
    assert read.BatchGetTweets(r.BatchGetTweetsRequest(tweet_ids=[tweet.id], **at)).tweets
    assert read.GetFollow(r.GetFollowRequest(**edge, **at)).created_at.seconds
    assert read.ListUserTweets(r.ListUserTweetsRequest(user_id=bob.id, **at)).tweets
    assert read.ListFollowers(r.ListFollowersRequest(user_id=bob.id, **at)).users
    assert read.ListFollowing(r.ListFollowingRequest(user_id=alice.id, **at)).users
    assert ids(fanfare.timeline(alice, **at).tweets) == [tweet.id]


def test_rest_passes_the_token_in_a_header_and_a_parameter(fanfare: Fanfare) -> None:
    """The token in the header of a response, even one without a body, works as a parameter."""
    bob = fanfare.user()
    alice = fanfare.user(bob)
    tweet = {"user_id": bob.id, "content": "x"}
    _, answer, headers = fanfare.rest("POST", "/tweets", tweet)
    token = headers["Fanfare-Consistency-Token"]
    assert answer["consistency_token"] == token
    path = f"/timeline/{alice.id}?consistency_token={token}"
    assert len(fanfare.rest("GET", path)[1]["tweets"]) == 1
    status, _, headers = fanfare.rest("DELETE", f"/tweets/{answer['tweet']['id']}")
    assert status == 204
    path = f"/timeline/{alice.id}?consistency_token={headers['Fanfare-Consistency-Token']}"
    assert fanfare.rest("GET", path)[1]["tweets"] == []


def _first(call: Callable[[], Iterator[object]]) -> object:
    """Return the first message of a stream."""
    return next(call())


def test_no_query_answers_before_its_token(fanfare: Fanfare) -> None:
    """Every query that takes a token refuses one that no server has reached."""
    bob = fanfare.user()
    alice = fanfare.user(bob)
    tweet = fanfare.tweet(bob)
    values: dict[str, Any] = {
        "user_id": bob.id,
        "user_ids": [bob.id],
        "username": bob.username,
        "tweet_id": tweet.id,
        "tweet_ids": [tweet.id],
        "follower_id": alice.id,
        "followed_id": bob.id,
        "consistency_token": encode_token(_at(fanfare, 2**62)),
    }
    # BatchGetHomeTimelines is below; GetAccount needs a session, so test_sessions.py calls it.
    elsewhere = {"BatchGetHomeTimelines", "GetAccount"}
    asked = 0
    for method in r.DESCRIPTOR.services_by_name["ReadService"].methods:
        fields = {name: values[name] for name in method.input_type.fields_by_name if name in values}
        if "consistency_token" not in fields or method.name in elsewhere:
            continue
        request = GetMessageClass(method.input_type)(**fields)
        call = partial(getattr(fanfare.read, method.name), request)
        error = failure(partial(_first, call) if method.server_streaming else call)
        assert (method.name, error.reason) == (method.name, "NOT_YET_CONSISTENT")
        asked += 1
    assert asked >= 12
    batch = r.BatchGetHomeTimelinesRequest(
        user_ids=[alice.id], consistency_token=values["consistency_token"]
    )
    (timeline,) = fanfare.read.BatchGetHomeTimelines(batch).timelines
    assert details(timeline.error)[0] == "NOT_YET_CONSISTENT"


def test_a_token_that_nobody_gave_out_is_refused(fanfare: Fanfare) -> None:
    """A mangled token is an invalid argument; one with a future LSN is not consistent yet."""
    alice = fanfare.user()
    token = encode_token(_at(fanfare, 10**6))
    mangled = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
    for bad in (mangled, "x", "é", token[:-1]):
        call = partial(fanfare.timeline, alice, consistency_token=bad)
        assert failure(call) == Failure(
            grpc.StatusCode.INVALID_ARGUMENT, "INVALID_CONSISTENCY_TOKEN"
        )
    future = encode_token(_at(fanfare, 2**62))
    assert failure(lambda: fanfare.timeline(alice, consistency_token=future)) == Failure(
        grpc.StatusCode.UNAVAILABLE, "NOT_YET_CONSISTENT"
    )
