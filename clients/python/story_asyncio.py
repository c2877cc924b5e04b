"""The conformance story with asyncio: `python story_asyncio.py WRITE_TARGET READ_TARGET`.

It is that of story.py, which says more.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

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

from fanfare_client.aio import AsyncClient, pages
from fanfare_client.errors import FanfareError

NOBODY = 2**53 + 1


async def main(write_target: str, read_target: str) -> None:
    """Play the story."""
    async with AsyncClient(write_target, read_target) as client:
        author, reader = await asyncio.gather(sign_up(client), sign_up(client))
        done("sign up")
        await client.write.FollowUser(
            FollowUserRequest(follower_id=reader.id, followed_id=author.id)
        )
        done("follow")
        await read_and_page(client, author, reader)
        await watch(client, author, reader)
        await fail(client)
        await post_twice(client, author)


async def sign_up(client: AsyncClient) -> User:
    """Create a user."""
    name = f"u{uuid.uuid4().hex[:16]}"
    request = CreateUserRequest(
        username=name, email=f"{name}@example.com", password=uuid.uuid4().hex
    )
    return (await client.write.CreateUser(request)).user


async def post(client: AsyncClient, author: User, content: str) -> Tweet:
    """Create a tweet."""
    request = CreateTweetRequest(user_id=author.id, content=content)
    return (await client.write.CreateTweet(request)).tweet


async def read_and_page(client: AsyncClient, author: User, reader: User) -> None:
    """Post, and read what was posted."""
    posted = await client.write.CreateTweet(
        CreateTweetRequest(user_id=author.id, content="the first")
    )
    first_page = await client.read.GetHomeTimeline(
        GetHomeTimelineRequest(user_id=reader.id, consistency_token=posted.consistency_token)
    )
    assert [tweet.id for tweet in first_page.tweets] == [posted.tweet.id]
    done("post and read with the token")

    items = [
        CreateTweetRequest(user_id=author.id, content=f"tweet {number}") for number in range(250)
    ]
    batch = await client.write.BatchCreateTweets(BatchCreateTweetsRequest(requests=items))
    request = GetHomeTimelineRequest(
        user_id=reader.id, limit=100, consistency_token=batch.consistency_token
    )
    found = [page.tweets async for page in pages(client.read.GetHomeTimeline, request)]
    assert [len(tweets) for tweets in found] == [100, 100, 51]
    expected = [posted.tweet.id, *(result.tweet.id for result in batch.results)]
    assert [tweet.id for tweets in found for tweet in tweets] == expected[::-1]
    done("page to the end")


async def watch(client: AsyncClient, author: User, reader: User) -> None:
    """Watch the timeline while it changes, and while the connection is cut."""
    async with aclosing(client.watch(reader.id)) as timelines:
        assert len(await anext(timelines)) == 20

        tweet = await post(client, author, "seen live")
        await wait_for(timelines, lambda tweets: tweets[0].id == tweet.id)
        done("watch sees a new tweet")

        edit = UpdateTweetRequest(tweet_id=tweet.id, content="seen edited")
        await client.write.UpdateTweet(edit)
        await wait_for(timelines, lambda tweets: tweets[0].content == "seen edited")
        done("watch sees an edit")

        await client.write.DeleteTweet(DeleteTweetRequest(tweet_id=tweet.id))
        await wait_for(timelines, lambda tweets: tweets[0].id < tweet.id)
        done("watch sees a removal")

        await asyncio.to_thread(sys.stdin.readline)
        again = await post(client, author, "seen after the cut")
        await wait_for(timelines, lambda tweets: tweets[0].id == again.id)
    done("watch resumes after its connection is cut")


async def wait_for(
    timelines: AsyncIterator[list[Tweet]], shows: Callable[[list[Tweet]], bool]
) -> None:
    """Wait until a watched timeline, which always has 20 tweets, shows something."""
    async for tweets in timelines:
        assert len(tweets) == 20
        if shows(tweets):
            return


async def fail(client: AsyncClient) -> None:
    """Make calls that fail."""
    error = await error_of(client.read.GetUser(GetUserRequest(user_id=NOBODY)))
    assert error.code is grpc.StatusCode.NOT_FOUND
    assert error.reason == ERROR_REASON_USER_NOT_FOUND
    assert error.metadata == {"user_id": str(NOBODY)}
    done("typed error")

    error = await error_of(client.read.GetUser(GetUserRequest(user_id=NOBODY), timeout=-1))
    assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED
    done("deadline exceeded")


async def error_of(call: Awaitable[object]) -> FanfareError:
    """Return the error of a call, which must fail."""
    try:
        await call
    except FanfareError as error:
        return error
    raise AssertionError("the call succeeded")


async def post_twice(client: AsyncClient, author: User) -> None:
    """Repeat a command."""
    request = CreateTweetRequest(
        user_id=author.id, content="only once", request_id=str(uuid.uuid4())
    )
    first, second = [await client.write.CreateTweet(request) for _ in range(2)]
    assert first.tweet == second.tweet
    done("request_id makes a retry safe")


def done(step: str) -> None:
    """Say that a step is done."""
    print(f"ok {step}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
