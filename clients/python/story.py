"""The conformance story of Fanfare's clients: `python story.py WRITE_TARGET READ_TARGET`.

Prints `ok STEP` after each step. After `ok watch sees a removal` it reads a line, so that its
connections can be cut in the meantime.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator

import grpc
from fanfare.common.v1.common_pb2 import Tweet, User
from fanfare.errors.v1.errors_pb2 import ERROR_REASON_USER_NOT_FOUND
from fanfare.read.v1.read_pb2 import GetHomeTimelineRequest, GetUserRequest
from fanfare.write.v1.write_pb2 import (
    BatchCreateTweetsRequest,
    CreateTweetRequest,
    CreateUserRequest,
    DeleteTweetRequest,
    FollowUserRequest,
    UpdateTweetRequest,
)

from fanfare_client.client import Client, pages
from fanfare_client.errors import FanfareError

NOBODY = 2**53 + 1  # no user has this id, and a language that rounds integers shows it


def main(write_target: str, read_target: str) -> None:
    """Play the story."""
    with Client(write_target, read_target) as client:
        author, reader = sign_up(client), sign_up(client)
        done("sign up")
        client.write.FollowUser(FollowUserRequest(follower_id=reader.id, followed_id=author.id))
        done("follow")
        read_and_page(client, author, reader)
        watch(client, author, reader)
        fail(client)
        post_twice(client, author)


def sign_up(client: Client) -> User:
    """Create a user."""
    name = f"u{uuid.uuid4().hex[:16]}"
    request = CreateUserRequest(
        username=name, email=f"{name}@example.com", password=uuid.uuid4().hex
    )
    return client.write.CreateUser(request).user


def read_and_page(client: Client, author: User, reader: User) -> None:
    """Post, and read what was posted."""
    posted = client.write.CreateTweet(CreateTweetRequest(user_id=author.id, content="the first"))
    first_page = client.read.GetHomeTimeline(
        GetHomeTimelineRequest(user_id=reader.id, consistency_token=posted.consistency_token)
    )
    assert [tweet.id for tweet in first_page.tweets] == [posted.tweet.id]
    done("post and read with the token")

    batch = client.write.BatchCreateTweets(
        BatchCreateTweetsRequest(
            requests=[
                CreateTweetRequest(user_id=author.id, content=f"tweet {number}")
                for number in range(250)
            ]
        )
    )
    request = GetHomeTimelineRequest(
        user_id=reader.id, limit=100, consistency_token=batch.consistency_token
    )
    found = [page.tweets for page in pages(client.read.GetHomeTimeline, request)]
    assert [len(tweets) for tweets in found] == [100, 100, 51]
    expected = [posted.tweet.id, *(result.tweet.id for result in batch.results)]
    assert [tweet.id for tweets in found for tweet in tweets] == expected[::-1]
    done("page to the end")


def watch(client: Client, author: User, reader: User) -> None:
    """Watch the timeline while it changes, and while the connection is cut."""
    timelines = client.watch(reader.id)
    assert len(next(timelines)) == 20

    tweet = client.write.CreateTweet(
        CreateTweetRequest(user_id=author.id, content="seen live")
    ).tweet
    wait_for(timelines, lambda tweets: tweets[0].id == tweet.id)
    done("watch sees a new tweet")

    client.write.UpdateTweet(UpdateTweetRequest(tweet_id=tweet.id, content="seen edited"))
    wait_for(timelines, lambda tweets: tweets[0].content == "seen edited")
    done("watch sees an edit")

    client.write.DeleteTweet(DeleteTweetRequest(tweet_id=tweet.id))
    wait_for(timelines, lambda tweets: tweets[0].id < tweet.id)
    done("watch sees a removal")

    sys.stdin.readline()
    again = client.write.CreateTweet(
        CreateTweetRequest(user_id=author.id, content="seen after the cut")
    ).tweet
    wait_for(timelines, lambda tweets: tweets[0].id == again.id)
    timelines.close()
    done("watch resumes after its connection is cut")


def wait_for(timelines: Iterator[list[Tweet]], shows: Callable[[list[Tweet]], bool]) -> None:
    """Wait until a watched timeline, which always has 20 tweets, shows something."""
    for tweets in timelines:
        assert len(tweets) == 20
        if shows(tweets):
            return


def fail(client: Client) -> None:
    """Make calls that fail."""
    error = error_of(lambda: client.read.GetUser(GetUserRequest(user_id=NOBODY)))
    assert error.code is grpc.StatusCode.NOT_FOUND
    assert error.reason == ERROR_REASON_USER_NOT_FOUND
    assert error.metadata == {"user_id": str(NOBODY)}
    done("typed error")

    error = error_of(lambda: client.read.GetUser(GetUserRequest(user_id=NOBODY), timeout=-1))
    assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED
    done("deadline exceeded")


def error_of(call: Callable[[], object]) -> FanfareError:
    """Return the error of a call, which must fail."""
    try:
        call()
    except FanfareError as error:
        return error
    raise AssertionError("the call succeeded")


def post_twice(client: Client, author: User) -> None:
    """Repeat a command."""
    request = CreateTweetRequest(
        user_id=author.id, content="only once", request_id=str(uuid.uuid4())
    )
    first, second = client.write.CreateTweet(request), client.write.CreateTweet(request)
    assert first.tweet == second.tweet
    done("request_id makes a retry safe")


def done(step: str) -> None:
    """Say that a step is done."""
    print(f"ok {step}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
