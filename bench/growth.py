"""How the cost of a warm read grows with the data, and how much memory a timeline list takes.

A warm read only reads the cached window of the timeline, so its cost should not grow. The users and
tweets are made for this benchmark and have higher ids than those of the graph.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from redis import Redis

from bench.figures import Figure
from bench.harness import Bench
from bench.load_generators import GET_HOME_TIMELINE, ghz, home_requests
from core.feed.timeline_lists import COMPLETE, encode_separator, home_list

FLAT = 1.2
KILOBYTES_GOAL = 10.0
READERS = 50
TWEETS_EACH = 5
PAGE = 21
# How many lists are measured for their memory.
LISTS = 5
CHUNK = 1000


@dataclass(frozen=True)
class Group:
    """The readers at one size of the data."""

    case: str
    readers: Sequence[int]


def growth(bench: Bench) -> list[Figure]:
    """Measure the CPU of a warm read as followings, depth and users grow, and a list's memory."""
    followings = bench.size((10, 100, 1000, 4000), quick=(10, 4000), smoke=(10, 30))
    depths = bench.size((20, 1000, 10_000, 100_000), quick=(20, 20_000), smoke=(20, 500))
    users = bench.size((1000, 10_000, 100_000, 1_000_000), quick=(1000, 20_000), smoke=(1000, 2000))
    calls = bench.size(3000, quick=2000, smoke=50)
    with psycopg.connect(bench.settings.primary_dsn(), autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")  # no checks of foreign keys
        bench.step(f"making users who follow up to {followings[-1]:,}")
        by_followings = _make_followings(connection, followings)
        by_depth = _make_depths(connection, depths)
        by_users = _make_users(connection, bench, users)
    return [
        *_measure_series(bench, by_followings, calls, share=0.6),
        *_measure_series(bench, by_depth, calls, share=0.8),
        *_measure_series(bench, by_users, calls, share=1.0),
        _memory(bench, by_followings[-1].readers),
    ]


def _measure_series(
    bench: Bench, groups: Sequence[Group], calls: int, share: float
) -> list[Figure]:
    """Measure the reads of each group, against those of the first group.

    Args:
        bench: the system.
        groups: the smallest first.
        calls: how many reads of each group to make.
        share: the part of the benchmark's time after which the series has to be over.
    """
    taken: dict[str, list[float]] = {group.case: [] for group in groups}
    requests = {}
    for group in groups:
        readers = random.Random(7).sample(  # noqa: S311 - chance, not a secret
            group.readers, min(calls, len(group.readers))
        )
        bench.warm(readers)
        requests[group.case] = home_requests(readers, seed=7)
    for number in bench.repeat(share):
        for group in groups:
            bench.step(f"{calls:,} calls, {group.case}, {number}")
            target = bench.settings.read_service_target()
            with bench.cpu() as used:
                ghz(bench.folder, target, GET_HOME_TIMELINE, requests[group.case], calls)
            taken[group.case].append(used["read"] / calls * 1e6)
    smallest = groups[0].case
    figures = [
        Figure(
            "growth",
            case,
            "server CPU per call",
            "µs",
            tuple(values),
            limit_name=f"with {smallest}" if case != smallest else "",
            limits=tuple(taken[smallest]) if case != smallest else (),
        )
        for case, values in taken.items()
    ]
    ratio = figures[-1].ratio
    figures[-1] = figures[-1].with_goal(
        f"flat: at most {FLAT} times that with {smallest}",
        reached=ratio is not None and ratio <= FLAT,
    )
    return figures


def _make_followings(connection: psycopg.Connection, counts: Sequence[int]) -> list[Group]:
    authors = _new_users(connection, counts[-1])
    _tweet(connection, authors, TWEETS_EACH)
    groups = []
    for count in counts:
        readers = _new_users(connection, READERS)
        _follow(connection, readers, authors[:count])
        groups.append(Group(f"{count:,} followings", readers))
    connection.execute("VACUUM ANALYZE")
    return groups


def _make_depths(connection: psycopg.Connection, counts: Sequence[int]) -> list[Group]:
    groups = []
    for count in counts:
        readers, authors = _new_users(connection, READERS), _new_users(connection, 1)
        _tweet(connection, authors, count)
        _follow(connection, readers, authors)
        groups.append(Group(f"{count:,} tweets deep", readers))
    connection.execute("VACUUM ANALYZE")
    return groups


def _make_users(connection: psycopg.Connection, bench: Bench, counts: Sequence[int]) -> list[Group]:
    """Make readers, and write a page of each timeline into Redis as a first read would."""
    authors = _new_users(connection, 1)
    _tweet(connection, authors, PAGE)
    rows = connection.execute("SELECT id FROM tweets WHERE user_id = ANY(%s)", (list(authors),))
    ids = sorted((row[0] for row in rows), reverse=True)
    elements = [encode_separator([]), *ids, COMPLETE]
    readers = _new_users(connection, counts[-1])
    _follow(connection, readers, authors)
    with Redis.from_url(bench.settings.redis_address()) as redis:
        for at in range(0, len(readers), CHUNK):
            bench.step(f"making {at:,} of {len(readers):,} timelines")
            pipeline = redis.pipeline(transaction=False)
            for reader in readers[at : at + CHUNK]:
                key = bench.keys.for_list(home_list(reader))
                pipeline.rpush(key, *elements)
                pipeline.expire(key, bench.settings.timeline_ttl_seconds())
            pipeline.execute()
    return [Group(f"{count:,} users", readers[:count]) for count in counts]


def _new_users(connection: psycopg.Connection, count: int) -> range:
    row = connection.execute("SELECT max(id) FROM users").fetchone()
    first = (row[0] or 0) + 1 if row else 1
    connection.execute(
        "INSERT INTO users (id, username) SELECT id, 'growth' || id"
        " FROM generate_series(%s::bigint, %s::bigint) AS id",
        (first, first + count - 1),
    )
    connection.execute("SELECT setval(pg_get_serial_sequence('users', 'id'), max(id)) FROM users")
    return range(first, first + count)


def _follow(connection: psycopg.Connection, readers: range, authors: range) -> None:
    connection.execute(
        "INSERT INTO follows (follower_id, followed_id) SELECT reader, author"
        " FROM generate_series(%s::bigint, %s::bigint) AS reader,"
        " generate_series(%s::bigint, %s::bigint) AS author",
        (readers[0], readers[-1], authors[0], authors[-1]),
    )


def _tweet(connection: psycopg.Connection, authors: range, each: int) -> None:
    connection.execute(
        "INSERT INTO tweets (id, user_id, content, created_at, updated_at)"
        " SELECT next_tweet_id(), author,"
        " 'a text of about the length that texts have, number ' || n, now(), now()"
        " FROM generate_series(1, %s) AS n, generate_series(%s::bigint, %s::bigint) AS author",
        (each, authors[0], authors[-1]),
    )


def _memory(bench: Bench, readers: Sequence[int]) -> Figure:
    """Measure the memory of lists of the maximum length."""
    with Redis.from_url(bench.settings.redis_address()) as redis:
        sizes = []
        lengths = set()
        for reader in readers[:LISTS]:
            key = bench.keys.for_list(home_list(reader))
            lengths.add(redis.llen(key))
            sizes.append(float(redis.memory_usage(key, samples=0) or 0) / 1024)
    figure = Figure("growth", f"{max(lengths):,} elements", "memory of a list", "KB", (max(sizes),))
    return figure.with_goal(
        f"at most {KILOBYTES_GOAL:g} KB for 800 ids", reached=figure.median <= KILOBYTES_GOAL
    )
