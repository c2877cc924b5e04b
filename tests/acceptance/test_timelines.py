"""Home timelines: each event takes effect, and every page is exact.

Every test runs with authors pushed, with authors pulled, and with authors that change from one to
the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import grpc
import pytest
from fanfare.read.v1 import read_pb2 as r
from fanfare.write.v1 import write_pb2 as w
from helpers.fanfare import Fanfare
from helpers.grpc_client import Failure, details, failure, ids
from helpers.waiting import wait_until
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.system import System


@pytest.fixture(scope="module", params=["0", "1", "2", "everybody"])
def fanfare(
    request: pytest.FixtureRequest, start_system: Callable[..., System]
) -> Iterator[Fanfare]:
    """Return clients of a system with this FANFARE_PULL_FOLLOWERS, or with all authors pulled."""
    everybody = request.param == "everybody"
    system = start_system(FANFARE_PULL_FOLLOWERS="1" if everybody else request.param)
    with Fanfare(system) as clients:
        if everybody:
            clients.sql("ALTER TABLE users ALTER COLUMN pulled SET DEFAULT true")
        yield clients
    system.stop()


def test_a_timeline_has_the_followed_authors_tweets(fanfare: Fanfare) -> None:
    """A timeline is newest first, and does not contain the reader's own tweets."""
    bob, carol = fanfare.user(), fanfare.user()
    alice = fanfare.user(bob, carol)
    first, second = fanfare.tweet(bob, "first"), fanfare.tweet(carol, "second")
    fanfare.tweet(alice, "my own")
    wait_until(
        lambda: ids(fanfare.timeline(alice).tweets) == [second.id, first.id], "both tweets show"
    )
    assert list(fanfare.timeline(alice).tweets) == [second, first]


def test_pages_reach_the_oldest_tweet(fanfare: Fanfare) -> None:
    """Pages of any size continue below the list in Redis, without a gap or a duplicate."""
    bob, carol = fanfare.user(), fanfare.user()
    alice = fanfare.user(bob, carol)
    fanfare.tweets(bob, 300)
    fanfare.tweets(carol, 300)
    fanfare.wait_drained()
    fanfare.wait_cached(alice)
    expected = fanfare.oracle(alice)
    assert len(expected) == 600
    for limit in (1, 7, 49, 50, 51, 100, 1000):
        if limit == 1:
            assert ids(fanfare.timeline(alice, 1).tweets) == expected[:1]
        else:
            assert fanfare.whole_timeline(alice, limit) == expected


@pytest.mark.parametrize("offset", [0, 1, 30, 49, 50, 51, 120, 599, 600, 10_000])
def test_offset_pages_equal_slices_of_the_oracle(fanfare: Fanfare, offset: int) -> None:
    """An offset skips that many tweets, inside the list in Redis and below it."""
    bob = fanfare.user()
    alice = fanfare.user(bob)
    fanfare.tweets(bob, 600)
    fanfare.wait_exact(alice)
    page = fanfare.timeline(alice, 30, offset=offset)
    assert ids(page.tweets) == fanfare.oracle(alice)[offset : offset + 30]


def test_the_last_page_has_no_token(fanfare: Fanfare) -> None:
    """The last page has no token even if it is full and ends exactly at the oldest tweet."""
    bob = fanfare.user()
    alice = fanfare.user(bob)
    fanfare.tweets(bob, 20)
    fanfare.wait_exact(alice)
    assert fanfare.timeline(alice, 20).next_page_token == ""
    assert fanfare.timeline(alice, 19).next_page_token


def test_deleted_tweets_leave_and_the_page_stays_full(fanfare: Fanfare) -> None:
    """Older tweets take the place of deleted ones."""
    bob = fanfare.user()
    alice = fanfare.user(bob)
    tweets = fanfare.tweets(bob, 60)
    fanfare.wait_exact(alice)
    for tweet in tweets[30:]:
        fanfare.write.DeleteTweet(w.DeleteTweetRequest(tweet_id=tweet.id))
    expected = ids(tweets[29::-1])
    wait_until(
        lambda: ids(fanfare.timeline(alice, 20).tweets) == expected[:20], "the page is full again"
    )
    fanfare.wait_exact(alice)
    gone = w.DeleteTweetRequest(tweet_id=tweets[-1].id)
    assert failure(lambda: fanfare.write.DeleteTweet(gone)).reason == "TWEET_NOT_FOUND"


def test_an_updated_tweet_shows_its_new_text(fanfare: Fanfare) -> None:
    """Readers see an update, although it changes no list."""
    bob = fanfare.user()
    alice = fanfare.user(bob)
    tweet = fanfare.tweet(bob, "old")
    fanfare.wait_exact(alice)
    request = w.UpdateTweetRequest(tweet_id=tweet.id, content="  new  ")
    updated = fanfare.write.UpdateTweet(request).tweet
    assert (updated.content, updated.created_at) == ("new", tweet.created_at)
    wait_until(lambda: list(fanfare.timeline(alice).tweets) == [updated], "the new text shows")


def test_a_follow_adds_earlier_tweets_and_an_unfollow_removes_them(fanfare: Fanfare) -> None:
    """Follows and unfollows take effect even if the timeline list is already in Redis."""
    bob, carol = fanfare.user(), fanfare.user()
    alice = fanfare.user(bob)
    fanfare.tweets(bob, 5)
    earlier = fanfare.tweets(carol, 5)
    fanfare.wait_exact(alice)
    fanfare.follow(alice, carol)
    fanfare.follow(alice, carol)
    wait_until(lambda: earlier[-1].id in ids(fanfare.timeline(alice).tweets), "earlier tweets show")
    fanfare.wait_exact(alice)
    fanfare.unfollow(alice, carol)
    fanfare.unfollow(alice, carol)
    wait_until(
        lambda: earlier[-1].id not in ids(fanfare.timeline(alice).tweets), "they are removed"
    )
    fanfare.wait_exact(alice)
    assert len(fanfare.whole_timeline(alice)) == 5


def test_a_deleted_user_leaves_nothing_behind(fanfare: Fanfare) -> None:
    """The tweets leave timelines, the follows are gone, and the user is not found."""
    bob, carol = fanfare.user(), fanfare.user()
    alice = fanfare.user(bob, carol)
    fanfare.follow(bob, alice)
    kept = fanfare.tweet(carol)
    fanfare.tweets(bob, 30)
    fanfare.wait_exact(alice, bob)
    fanfare.write.DeleteUser(w.DeleteUserRequest(user_id=bob.id))
    wait_until(lambda: ids(fanfare.timeline(alice).tweets) == [kept.id], "Bob's tweets left")
    assert fanfare.read.ListFollowers(r.ListFollowersRequest(user_id=alice.id)).users == []
    for call in (
        lambda: fanfare.timeline(bob),
        lambda: fanfare.read.GetUser(r.GetUserRequest(user_id=bob.id)),
        lambda: fanfare.tweet(bob),
        lambda: fanfare.follow(alice, bob),
        lambda: fanfare.write.DeleteUser(w.DeleteUserRequest(user_id=bob.id)),
        lambda: fanfare.read.ListUserTweets(r.ListUserTweetsRequest(user_id=bob.id)),
        lambda: fanfare.read.ListFollowers(r.ListFollowersRequest(user_id=bob.id)),
    ):
        wait_until(partial(_not_found, call), "the deleted user is not found")


def _not_found(call: Callable[[], object]) -> bool:
    try:
        call()
    except grpc.RpcError:
        return failure(call) == Failure(grpc.StatusCode.NOT_FOUND, "USER_NOT_FOUND")
    return False


def test_a_batch_of_timelines_answers_each_alone(fanfare: Fanfare) -> None:
    """Answers keep the order of the request, each once; only a missing user has an error."""
    bob = fanfare.user()
    alice, carol = fanfare.user(bob), fanfare.user()
    tweets = fanfare.tweets(bob, 3)
    fanfare.wait_exact(alice)
    request = r.BatchGetHomeTimelinesRequest(
        user_ids=[carol.id, alice.id, 2**62, alice.id], limit=2
    )
    answer = fanfare.read.BatchGetHomeTimelines(request).timelines
    assert [timeline.user_id for timeline in answer] == [carol.id, alice.id, 2**62]
    assert answer[0].tweets == []
    assert ids(answer[1].tweets) == [tweets[2].id, tweets[1].id]
    assert details(answer[2].error)[0] == "USER_NOT_FOUND"
    page = fanfare.timeline(alice, 2, page_token=answer[1].next_page_token)
    assert ids(page.tweets) == [tweets[0].id]
    many = r.BatchGetHomeTimelinesRequest(user_ids=range(1, 101), limit=21)
    assert failure(lambda: fanfare.read.BatchGetHomeTimelines(many)).fields == ("limit",)


def test_an_emptied_redis_is_filled_again(fanfare: Fanfare) -> None:
    """After FLUSHALL the worker creates the checkpoints again, and readers the lists."""
    bob = fanfare.user()
    alice = fanfare.user(bob)
    fanfare.tweets(bob, 30)
    fanfare.wait_exact(alice)
    fanfare.redis.flushall()
    fanfare.wait_exact(alice)
    tweet = fanfare.tweet(bob)
    wait_until(lambda: tweet.id in ids(fanfare.timeline(alice).tweets), "the new tweet shows")

    def cached() -> bool:
        fanfare.timeline(alice)
        return fanfare.has_list(alice)

    wait_until(cached, "the timeline is in Redis again")
    fanfare.wait_exact(alice)


COMMANDS = st.lists(
    st.tuples(
        st.sampled_from(["tweet", "tweet", "follow", "unfollow", "delete", "update", "read"]),
        st.integers(0, 3),
        st.integers(0, 3),
    ),
    min_size=5,
    max_size=40,
)


@settings(max_examples=15)
@given(commands=COMMANDS)
def test_any_commands_end_with_exact_timelines(
    fanfare: Fanfare, commands: list[tuple[str, int, int]]
) -> None:
    """After random commands and reads, every page of every timeline equals the oracle."""
    users = [fanfare.user() for _ in range(4)]
    tweets: list[int] = []
    for command, one, other in commands:
        user, second = users[one], users[other]
        match command:
            case "tweet":
                tweets.append(fanfare.tweet(user).id)
            case "follow" if one != other:
                fanfare.follow(user, second)
            case "unfollow" if one != other:
                fanfare.unfollow(user, second)
            case "delete" if tweets:
                gone = tweets.pop(other % len(tweets))
                fanfare.write.DeleteTweet(w.DeleteTweetRequest(tweet_id=gone))
            case "update" if tweets:
                changed = tweets[other % len(tweets)]
                fanfare.write.UpdateTweet(
                    w.UpdateTweetRequest(tweet_id=changed, content=f"changed {one}")
                )
            case "read":
                fanfare.timeline(user)
    fanfare.wait_exact(*users)
