"""The rules of the contract, checked by a gRPC client."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from fanfare.read.v1 import read_pb2 as r
from fanfare.write.v1 import write_pb2 as w
from google.protobuf.message import Message
from helpers.fanfare import Fanfare
from helpers.grpc_client import Failure, details, failure, ids
from helpers.grpc_server import GRPC_SERVER, GRPC_SERVERS
from helpers.leaks import SECRET

from core.runtime.metrics import Metric

INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture(scope="module", params=GRPC_SERVERS)
def fanfare(request: pytest.FixtureRequest, fanfare: Fanfare, native_fanfare: Fanfare) -> Fanfare:
    """Return clients of a system with each gRPC server."""
    return fanfare if request.param is GRPC_SERVER else native_fanfare


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (w.CreateUserRequest(username="a b", email="a@b.co", password="p"), ("username",)),
        (w.CreateUserRequest(username="x" * 33, email="a@b.co", password="p"), ("username",)),
        (w.CreateUserRequest(username="x", email="nobody", password="p"), ("email",)),
        (w.CreateUserRequest(username="x", email="a" * 250 + "@b.co", password="p"), ("email",)),
        (w.CreateUserRequest(username="x", email="a@b.co", password=""), ("password",)),
        (w.CreateUserRequest(username="x", email="a@b.co", password="p" * 129), ("password",)),
        (w.CreateUserRequest(username="x", email="a@b.co", password="p\0"), ("password",)),
        (w.CreateUserRequest(username="x", email="a@b.co", password="p", bio="\r"), ("bio",)),
        (
            w.CreateUserRequest(username="x", email="a@b.co", password="p", bio="b" * 161),
            ("bio",),
        ),
        (w.UpdateUserRequest(user_id=1), ("",)),
        (w.UpdateUserRequest(user_id=1, username=""), ("username",)),
        (w.DeleteUserRequest(), ("user_id",)),
        (w.CreateTweetRequest(user_id=1, content=" \n "), ("content",)),
        (w.CreateTweetRequest(user_id=1, content="x" * 281), ("content",)),
        (w.CreateTweetRequest(user_id=1, content="x" * 8193), ("content",)),
        (w.CreateTweetRequest(user_id=1, content="a\0b"), ("content",)),
        (w.CreateTweetRequest(user_id=-1, content="x"), ("user_id",)),
        (w.CreateTweetRequest(user_id=1, content="x", request_id="no"), ("request_id",)),
        (w.BatchCreateTweetsRequest(requests=[w.CreateTweetRequest()] * 1001), ("requests",)),
        (w.FollowUserRequest(follower_id=1, followed_id=1), ("",)),
        (r.GetHomeTimelineRequest(user_id=1, limit=-1), ("limit",)),
        (r.GetHomeTimelineRequest(user_id=1, offset=10_001), ("offset",)),
        (r.GetHomeTimelineRequest(user_id=1, offset=1, page_token="x"), ("",)),
        (r.BatchGetUsersRequest(user_ids=[1] * 1001), ("user_ids",)),
        (r.BatchGetTweetsRequest(tweet_ids=[1] * 1001), ("tweet_ids",)),
        (r.BatchGetHomeTimelinesRequest(user_ids=[1] * 101), ("user_ids",)),
        (r.GetUserByUsernameRequest(username="%"), ("username",)),
    ],
)
def test_a_broken_rule_names_the_field(
    fanfare: Fanfare, request_: Message, fields: tuple[str, ...]
) -> None:
    """A request that breaks a rule is refused, and the error names the field."""
    stub = fanfare.write if ".write." in request_.DESCRIPTOR.full_name else fanfare.read
    method = getattr(stub, request_.DESCRIPTOR.name.removesuffix("Request"))
    assert failure(lambda: method(request_)) == Failure(INVALID, "INVALID_REQUEST", fields)


def test_usernames_and_email_addresses_are_unique_ignoring_case(fanfare: Fanfare) -> None:
    """A name or address that is taken is refused, in CreateUser and in UpdateUser."""
    name = f"Case_{uuid.uuid4().hex[:12]}"

    def create(username: str, email: str) -> object:
        return fanfare.write.CreateUser(
            w.CreateUserRequest(username=username, email=email, password=SECRET)
        )

    create(name, f"{name}@example.com")
    taken = grpc.StatusCode.ALREADY_EXISTS
    assert failure(lambda: create(name.upper(), "other@example.com")) == Failure(
        taken, "USERNAME_TAKEN"
    )
    assert failure(lambda: create("other", f"{name}@EXAMPLE.com")) == Failure(taken, "EMAIL_TAKEN")
    user = fanfare.user()
    change = w.UpdateUserRequest(user_id=user.id, username=name.lower())
    assert failure(lambda: fanfare.write.UpdateUser(change)) == Failure(taken, "USERNAME_TAKEN")
    found = r.GetUserByUsernameRequest(username=name.swapcase())
    assert fanfare.read.GetUserByUsername(found).user.username == name


def test_an_update_changes_only_the_fields_that_are_set(fanfare: Fanfare) -> None:
    """An empty bio clears the old one, other fields stay, and updated_at moves."""
    user = fanfare.user()
    changed = fanfare.write.UpdateUser(w.UpdateUserRequest(user_id=user.id, bio="hello")).user
    assert (changed.username, changed.bio) == (user.username, "hello")
    assert changed.updated_at.ToNanoseconds() > user.updated_at.ToNanoseconds()
    assert changed.created_at == user.created_at
    cleared = fanfare.write.UpdateUser(w.UpdateUserRequest(user_id=user.id, bio="")).user
    assert cleared.bio == ""


def test_passwords_are_kept_as_argon2id_hashes(fanfare: Fanfare) -> None:
    """Postgres has an argon2id hash, and a new password replaces it."""
    user = fanfare.user()
    ((password_hash,),) = fanfare.sql("SELECT password_hash FROM users WHERE id = %s", user.id)
    assert password_hash.startswith("$argon2id$")
    fanfare.write.UpdateUser(w.UpdateUserRequest(user_id=user.id, password=f"{SECRET}another"))
    ((changed,),) = fanfare.sql("SELECT password_hash FROM users WHERE id = %s", user.id)
    assert changed != password_hash


def test_a_retried_tweet_is_created_once(fanfare: Fanfare) -> None:
    """Retries return the first answer: one after another, at the same time, and in one batch."""
    before = fanfare.metrics()
    user = fanfare.user()
    request = w.CreateTweetRequest(user_id=user.id, content="once", request_id=str(uuid.uuid4()))
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: fanfare.write.CreateTweet(request).tweet, range(64)))
    padded = w.CreateTweetRequest(
        user_id=user.id, content=" once ", request_id=request.request_id.upper()
    )
    batch = fanfare.write.BatchCreateTweets(w.BatchCreateTweetsRequest(requests=[padded, request]))
    answers += [result.tweet for result in batch.results]
    assert {answer.SerializeToString() for answer in answers} == {answers[0].SerializeToString()}
    assert fanfare.sql("SELECT count(*) FROM tweets WHERE user_id = %s", user.id) == [(1,)]
    fanfare.wait_counted(Metric.REQUEST_REPEATED, before)


def test_a_request_id_cannot_be_reused_for_other_content(fanfare: Fanfare) -> None:
    """In a batch, only the item that reuses the request_id with other content fails."""
    user = fanfare.user()
    rid = str(uuid.uuid4())
    items = [
        w.CreateTweetRequest(user_id=user.id, content=content, request_id=rid)
        for content in ("a", "b", "a")
    ]
    results = fanfare.write.BatchCreateTweets(w.BatchCreateTweetsRequest(requests=items)).results
    assert results[0].tweet == results[2].tweet
    assert details(results[1].error)[0] == "REQUEST_ID_REUSED"
    assert failure(lambda: fanfare.write.CreateTweet(items[1])).reason == "REQUEST_ID_REUSED"
    other = fanfare.user()
    theirs = w.CreateTweetRequest(user_id=other.id, content="b", request_id=rid)
    assert fanfare.write.CreateTweet(theirs).tweet.content == "b"


def test_a_request_id_outlives_its_tweet(fanfare: Fanfare) -> None:
    """A retry after the deletion does not create the tweet again."""
    user = fanfare.user()
    request = w.CreateTweetRequest(user_id=user.id, content="x", request_id=str(uuid.uuid4()))
    tweet = fanfare.write.CreateTweet(request).tweet
    fanfare.write.DeleteTweet(w.DeleteTweetRequest(tweet_id=tweet.id))
    assert fanfare.write.CreateTweet(request).tweet == tweet
    assert fanfare.sql("SELECT count(*) FROM tweets WHERE user_id = %s", user.id) == [(0,)]


def test_a_batch_keeps_its_order_and_each_item_stands_alone(fanfare: Fanfare) -> None:
    """Ids grow in request order, and an error is in the result of its own item."""
    user = fanfare.user()
    items = [w.CreateTweetRequest(user_id=user.id, content=f"n{n}") for n in range(998)]
    items.insert(3, w.CreateTweetRequest(user_id=2**62, content="nobody's"))
    items.insert(7, w.CreateTweetRequest(user_id=user.id, content=""))
    results = fanfare.write.BatchCreateTweets(w.BatchCreateTweetsRequest(requests=items)).results
    assert details(results[3].error) == ("USER_NOT_FOUND", ())
    assert details(results[7].error) == ("INVALID_REQUEST", ("content",))
    created = [result.tweet for n, result in enumerate(results) if n not in {3, 7}]
    assert [tweet.content for tweet in created] == [f"n{n}" for n in range(998)]
    assert ids(created) == sorted(ids(created))


def test_malformed_requests_and_unknown_methods_are_refused(fanfare: Fanfare) -> None:
    """Garbage gets INVALID_ARGUMENT, an unknown method UNIMPLEMENTED, both with a reason."""
    with grpc.insecure_channel(fanfare.settings.write_service_target()) as channel:
        create: Any = channel.unary_unary("/fanfare.write.v1.WriteService/CreateTweet")
        assert failure(lambda: create(b"\xff\xff\xff")) == Failure(INVALID, "MALFORMED_REQUEST")
        unknown: Any = channel.unary_unary("/fanfare.write.v1.WriteService/Retweet")
        assert failure(lambda: unknown(b"")) == Failure(
            grpc.StatusCode.UNIMPLEMENTED, "METHOD_NOT_FOUND"
        )


def test_lists_of_users_page_by_token_and_by_offset(fanfare: Fanfare) -> None:
    """Pages together have every follow once, newest first."""
    star = fanfare.user()
    fans = [fanfare.user(star) for _ in range(7)]
    seen: list[int] = []
    token = ""
    while True:
        page = fanfare.read.ListFollowers(
            r.ListFollowersRequest(user_id=star.id, limit=3, page_token=token)
        )
        seen += [user.id for user in page.users]
        token = page.next_page_token
        if not token:
            break
    assert seen == [fan.id for fan in reversed(fans)]
    second = r.ListFollowersRequest(user_id=star.id, limit=3, offset=3)
    assert [user.id for user in fanfare.read.ListFollowers(second).users] == seen[3:6]
    following = fanfare.read.ListFollowing(r.ListFollowingRequest(user_id=fans[0].id)).users
    assert [user.id for user in following] == [star.id]
    everybody = fanfare.read.ListUsers(r.ListUsersRequest(limit=2))
    more = r.ListUsersRequest(limit=2, page_token=everybody.next_page_token)
    assert everybody.users[1].id < fanfare.read.ListUsers(more).users[0].id
    foreign = r.ListFollowingRequest(user_id=star.id, page_token=everybody.next_page_token)
    assert failure(lambda: fanfare.read.ListFollowing(foreign)).reason == "INVALID_PAGE_TOKEN"


def test_batches_of_users_and_tweets_leave_out_what_is_missing(fanfare: Fanfare) -> None:
    """Items that exist come in request order, each once."""
    one, two = fanfare.user(), fanfare.user()
    users = r.BatchGetUsersRequest(user_ids=[two.id, 2**62, one.id, two.id])
    assert list(fanfare.read.BatchGetUsers(users).users) == [two, one]
    first, second = fanfare.tweets(one, 2)
    tweets = r.BatchGetTweetsRequest(tweet_ids=[second.id, 2**62, first.id, second.id])
    assert list(fanfare.read.BatchGetTweets(tweets).tweets) == [second, first]
    assert not fanfare.read.BatchGetTweets(r.BatchGetTweetsRequest()).tweets


def test_follows_are_idempotent_and_their_beginning_is_kept(fanfare: Fanfare) -> None:
    """Following again keeps the first created_at, and unfollowing again is OK."""
    bob = fanfare.user()
    alice = fanfare.user(bob)
    request = r.GetFollowRequest(follower_id=alice.id, followed_id=bob.id)
    since = fanfare.read.GetFollow(request).created_at
    fanfare.follow(alice, bob)
    assert fanfare.read.GetFollow(request).created_at == since
    fanfare.unfollow(alice, bob)
    fanfare.unfollow(alice, bob)
    assert failure(lambda: fanfare.read.GetFollow(request)).reason == "FOLLOW_NOT_FOUND"


def test_a_tweet_that_was_asked_for_before_its_creation_is_found(fanfare: Fanfare) -> None:
    """An id that does not exist yet is not cached as deleted."""
    guess = fanfare.tweet(fanfare.user()).id + 2**40
    ask = r.GetTweetRequest(tweet_id=guess)
    assert failure(lambda: fanfare.read.GetTweet(ask)).reason == "TWEET_NOT_FOUND"
    assert not fanfare.redis.exists(fanfare.keys.tweet(guess))
