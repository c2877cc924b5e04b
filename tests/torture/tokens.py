"""Checks of reads with a consistency token: they must show the effect of the token's command."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from fanfare.read.v1 import read_pb2 as r
from helpers.grpc_client import reason
from torture.calls import CALL
from torture.oracle import timelines
from torture.world import World

# The reasons with which a read may fail if a restore has lost the command of its token.
REFUSALS = {"CONSISTENCY_TOKEN_LOST", "NOT_YET_CONSISTENT"}


@dataclass(frozen=True)
class LastCommand:
    """The last command of a story, remembered until something else changes the same tweets.

    A read with its token shows this command and all earlier ones. It may lack later changes, so a
    check needs to know that nothing else has changed the same tweets.
    """

    author: int
    """The author whose tweets it changed, or whom somebody followed or unfollowed."""
    tweet: int | None
    token: str
    created: bool = False
    """Whether the command created the tweet."""


def check_author(
    world: World, last: LastCommand, reader: int, page: r.GetHomeTimelineResponse
) -> None:
    """Check that a page, read with the command's token, has the author's tweets as SQL has them."""
    floor = page.tweets[-1].id if page.next_page_token else 0
    expected = [
        (id_, content)
        for id_, author, content in timelines(world, [reader])[reader]
        if author == last.author and id_ >= floor
    ]
    read = [(tweet.id, tweet.content) for tweet in page.tweets if tweet.user_id == last.author]
    assert read == expected, (
        f"with a token, user {reader} sees {read} of author {last.author} instead of {expected}"
    )


def check_tweet(world: World, last: LastCommand) -> None:
    """Check that the command's tweet, read with its token, is as SQL has it."""
    if last.tweet is None:
        return
    expected = world.clients.sql("SELECT content FROM tweets WHERE id = %s", last.tweet)
    request = r.GetTweetRequest(tweet_id=last.tweet, consistency_token=last.token)
    try:
        read = [(world.read.GetTweet(request, **CALL).tweet.content,)]
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.NOT_FOUND:
            raise
        read = []
    assert read == expected, f"with a token, tweet {last.tweet} is {read} instead of {expected}"


def refuses_lost(world: World, last: LastCommand) -> bool:
    """Return whether a restore has lost the command's tweet; fail if a read accepts its token."""
    if not last.created:
        return False
    if world.clients.sql("SELECT 1 FROM tweets WHERE id = %s", last.tweet):
        return False
    request = r.GetTweetRequest(tweet_id=last.tweet or 0, consistency_token=last.token)
    try:
        world.read.GetTweet(request, **CALL)
    except grpc.RpcError as error:
        code, why = error.code(), reason(error)
        if why in REFUSALS or code == grpc.StatusCode.UNAVAILABLE:
            return True
        raise AssertionError(f"the token of a lost tweet is answered by {code}, {why}") from None
    raise AssertionError("a read with the token of a lost tweet shows the tweet")
