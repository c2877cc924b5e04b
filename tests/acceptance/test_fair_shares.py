"""Callers of expensive queries do not keep others from Postgres."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from fanfare.common.v1.common_pb2 import User
from fanfare.read.v1 import read_pb2 as r
from helpers.fanfare import Fanfare
from helpers.grpc_client import ids
from helpers.waiting import wait_until

from core.feed.timeline_lists import home_list

# More than the read service has connections.
READERS = 30


@contextmanager
def _home_queries_wait(fanfare: Fanfare) -> Iterator[None]:
    """Let every query wait that reads who follows whom; those about users go on."""
    with psycopg.connect(fanfare.settings.primary_dsn()) as connection:
        connection.execute("LOCK TABLE follows IN ACCESS EXCLUSIVE MODE")
        yield


def _readers(fanfare: Fanfare, author: User) -> list[User]:
    """Return readers of the author whose lists are not in Redis."""
    readers = [fanfare.user(author) for _ in range(READERS)]
    fanfare.wait_drained()
    return readers


def test_cheap_queries_pass_by_expensive_ones(fanfare: Fanfare) -> None:
    """While more home timelines are read from Postgres than it has connections, users are found."""
    author = fanfare.user()
    readers = _readers(fanfare, author)
    tweet = fanfare.tweet(author)
    fanfare.wait_drained()
    with _home_queries_wait(fanfare):
        timelines = [
            fanfare.read.GetHomeTimeline.future(r.GetHomeTimelineRequest(user_id=reader.id))
            for reader in readers
        ]
        wait_until(
            lambda: fanfare.waiting_for_locks("read") > 1, "home timelines wait for the lock"
        )
        for _ in range(20):
            request = r.GetUserRequest(user_id=author.id)
            assert fanfare.read.GetUser(request, timeout=20).user.id == author.id
    for timeline in timelines:
        assert ids(timeline.result().tweets) == [tweet.id]


def test_lists_that_are_dropped_while_they_are_read_fail_no_read(fanfare: Fanfare) -> None:
    """Readers who all find their lists absent, again and again, get their pages from Postgres."""
    author = fanfare.user()
    readers = _readers(fanfare, author)
    tweet = fanfare.tweet(author)
    fanfare.wait_drained()
    is_over = threading.Event()
    keys = [fanfare.keys.for_list(home_list(reader.id)) for reader in readers]

    def drop() -> None:
        while not is_over.is_set():
            fanfare.redis.unlink(*keys)

    dropping = threading.Thread(target=drop)
    dropping.start()
    try:
        for _ in range(5):
            timelines = [
                fanfare.read.GetHomeTimeline.future(r.GetHomeTimelineRequest(user_id=reader.id))
                for reader in readers
            ]
            for timeline in timelines:
                assert ids(timeline.result().tweets) == [tweet.id]
    finally:
        is_over.set()
        dropping.join()
