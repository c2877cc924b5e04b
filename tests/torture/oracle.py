"""Compare every page of a story's timelines, and all its tweets, with SQL."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import groupby
from typing import Any

import grpc
from fanfare.read.v1 import read_pb2 as r
from helpers.waiting import wait_until
from helpers.watch_client import WatchClient
from torture.world import CALL_SECONDS, WATCHED, Cast, World

from core.feed.timeline_lists import home_list

PAGE_SIZES = (3, 20, 1, 100)
# The most pages that are read of a timeline. With a small page size, the end of a long timeline is
# not compared.
MOST_PAGES = 70
BATCH = 1000

# A tweet's id, author and content.
Row = tuple[int, int, str]

TIMELINES = """
SELECT follower_id, tweets.id, user_id, content
FROM follows JOIN tweets ON user_id = followed_id
WHERE follower_id = ANY(%s)
ORDER BY follower_id, tweets.id DESC
"""
TWEETS = "SELECT id, user_id, content FROM tweets WHERE id = ANY(%s)"


def timelines(world: World, users: list[int]) -> dict[int, list[Row]]:
    """Return the timelines that users must see, by user id."""
    rows = world.clients.sql(TIMELINES, users)
    found = {user: [row[1:] for row in group] for user, group in groupby(rows, lambda row: row[0])}
    return {user: found.get(user, []) for user in users}


def compare(world: World, cast: Cast) -> None:
    """Compare every page of every timeline, and every tweet; fail with the first difference."""
    for user, expected in timelines(world, cast.users).items():
        for size in PAGE_SIZES:
            _compare_timeline(world, user, size, expected)
        _compare_offset(world, user, expected)
        world.figures.timelines += 1
    query = "SELECT id FROM users WHERE id = ANY(%s) AND deleted_at IS NULL"
    there = {row[0] for row in world.clients.sql(query, cast.deleted)}
    for user in cast.deleted:
        if user in there:
            continue  # a restore has lost the user, and the id was given out again
        try:
            page = world.read.GetHomeTimeline(
                r.GetHomeTimelineRequest(user_id=user), timeout=CALL_SECONDS
            )
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.NOT_FOUND, error  # noqa: PT017 - another raises
        else:
            raise AssertionError(f"the deleted user {user} has a timeline: {page}")
    _compare_tweets(world, cast)
    world.figures.comparisons += 1


def compare_watched(world: World, cast: Cast, watchers: Mapping[int, WatchClient]) -> None:
    """Compare what watchers hold, who have not been told that the system is drained."""
    users = [user for user in watchers if user in cast.users]
    for user, rows in timelines(world, users).items():
        expected = [(id_, content) for id_, _, content in rows[:WATCHED]]
        watcher = watchers[user]
        wait_until(
            partial(_shows, watcher, expected),
            f"the watcher of {user} holds {expected}, and not {watcher.shown()}",
        )
        world.figures.operations["watch compared"] += 1


def _shows(watcher: WatchClient, expected: list[tuple[int, str]]) -> bool:
    return watcher.shown() == expected


def _compare_timeline(world: World, user: int, size: int, expected: list[Row]) -> None:
    token = ""
    for number in range(MOST_PAGES):
        request = r.GetHomeTimelineRequest(user_id=user, limit=size, page_token=token)
        page = world.read.GetHomeTimeline(request, timeout=CALL_SECONDS)
        read = [(tweet.id, tweet.user_id, tweet.content) for tweet in page.tweets]
        right = expected[number * size : (number + 1) * size]
        assert read == right, _difference(world, user, f"page {number} of {size}", read, right)
        token = page.next_page_token
        world.figures.pages += 1
        world.figures.tweets += len(read)
        if not token:
            end = (number + 1) * size >= len(expected)
            assert end, f"the timeline of {user} ends at page {number} of {size}"
            return


def _compare_offset(world: World, user: int, expected: list[Row]) -> None:
    request = r.GetHomeTimelineRequest(user_id=user, limit=5, offset=7)
    page = world.read.GetHomeTimeline(request, timeout=CALL_SECONDS)
    read = [(tweet.id, tweet.user_id, tweet.content) for tweet in page.tweets]
    assert read == expected[7:12], _difference(world, user, "offset 7", read, expected[7:12])
    world.figures.pages += 1


def _compare_tweets(world: World, cast: Cast) -> None:
    for start in range(0, len(cast.all_tweets), BATCH):
        ids = cast.all_tweets[start : start + BATCH]
        found = world.read.BatchGetTweets(
            r.BatchGetTweetsRequest(tweet_ids=ids), timeout=CALL_SECONDS
        )
        read = {(tweet.id, tweet.user_id, tweet.content) for tweet in found.tweets}
        right = set(world.clients.sql(TWEETS, ids))
        assert read == right, f"tweets differ: {sorted(read - right)} for {sorted(right - read)}"
        world.figures.tweets += len(read)


def _difference(world: World, user: int, where: str, read: list[Row], right: list[Row]) -> str:
    redis: Any = world.clients.redis
    keys = world.clients.keys
    missing = [row for row in right if row not in read]
    extra = [row for row in read if row not in right]
    elements = redis.lrange(keys.for_list(home_list(user)), 0, -1)
    cached = {row[0]: redis.get(keys.tweet(row[0])) for row in [*missing, *extra][:5]}
    return (
        f"the timeline of {user} is wrong at {where}: read {read}, right is {right}; missing "
        f"{missing}, extra {extra}; its list {elements[:300]}; cached tweets {cached}"
    )
