"""First reads of timelines that are not in Redis, beside the SQL that they cannot do without."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median

import psycopg
from fanfare.read.v1 import read_pb2 as r
from redis import Redis

from bench.figures import Figure
from bench.harness import CALL_SECONDS, Bench, BenchError
from core.feed.timeline_lists import home_list
from core.storage.queries import load_queries

FACTOR, EXTRA_MS, P50_GOAL_MS = 1.5, 2.0, 10.0
# psycopg prepares a statement when it has run a few times; so do the read service's connections.
UNTIL_PREPARED = 10


def cold(bench: Bench) -> list[Figure]:
    """Return how long the first read of an absent timeline takes, with and without its bodies."""
    bench.warm()
    users = spread(bench.graph.followings, bench.size(150, quick=40, smoke=5))
    query = load_queries("read_service")["newest_ids"]
    length = bench.settings.timeline_length
    figures = []
    with (
        bench.reading() as stub,
        Redis.from_url(bench.settings.redis_address()) as redis,
        psycopg.connect(bench.settings.primary_dsn(), autocommit=True) as connection,
    ):

        def first_page(user: int) -> list[int]:
            request = r.GetHomeTimelineRequest(user_id=user, limit=20)
            answer = stub.GetHomeTimeline(request, timeout=CALL_SECONDS)
            return [tweet.id for tweet in answer.tweets]

        def sql(user: int) -> None:
            cursor = connection.execute(query, {"user_id": user, "limit": length})
            cursor.fetchall()

        def forget(user: int, ids: Sequence[int]) -> None:
            redis.delete(bench.keys.for_list(home_list(user)), *map(bench.keys.tweet, ids))

        for user in users[:1] * UNTIL_PREPARED:
            sql(user)
            forget(user, [])
            first_page(user)
        for case, without_bodies in (("bodies in Redis", False), ("bodies absent too", True)):
            reads: list[list[float]] = []
            bare: list[list[float]] = []
            warm: list[list[float]] = []
            for number in range(bench.repetitions):
                bench.step(f"{len(users)} cold timelines, {case}, {number + 1}")
                reads.append([])
                bare.append([])
                warm.append([])
                for user in users:
                    before = first_page(user)
                    forget(user, before if without_bodies else [])
                    bare[-1].append(_milliseconds(sql, user))
                    reads[-1].append(_milliseconds(first_page, user))
                    if first_page(user) != before:
                        raise BenchError(f"user {user} was given another page when it was cold")
                    warm[-1].append(_milliseconds(first_page, user))
            figures += _figures(case, reads, bare, goal=not without_bodies)
    return [*figures, Figure("cold", "warm", "latency, p50", "ms", tuple(map(median, warm)))]


def _figures(
    case: str, reads: Sequence[Sequence[float]], bare: Sequence[Sequence[float]], *, goal: bool
) -> list[Figure]:
    limit = "the bare SQL of 800 rows"
    p50 = Figure(
        "cold",
        case,
        "latency, p50",
        "ms",
        tuple(map(median, reads)),
        limit,
        tuple(map(median, bare)),
        note="timed by a Python client; what a warm read costs with it is the last of the figures",
    )
    p95 = Figure(
        "cold",
        case,
        "latency, p95",
        "ms",
        tuple(map(_p95, reads)),
        limit,
        tuple(map(_p95, bare)),
    )
    # Of each user, over the repetitions: one hiccup is not the user's doing.
    of_users = [median(times) for times in zip(*reads, strict=True)]
    sql_of_users = [median(times) for times in zip(*bare, strict=True)]
    within = sum(
        read <= FACTOR * sql + EXTRA_MS for read, sql in zip(of_users, sql_of_users, strict=True)
    )
    share = within / len(of_users) * 100
    if not goal:
        return [p50, p95]
    reach = f"{FACTOR} times the SQL + {EXTRA_MS:g} ms; p50 under {P50_GOAL_MS:g} ms"
    reached = p50.median <= FACTOR * (p50.limit_median or 0) + EXTRA_MS
    return [
        p50.with_goal(reach, reached=reached and p50.median < P50_GOAL_MS),
        p95,
        Figure("cold", case, f"timelines within {FACTOR} times + {EXTRA_MS:g} ms", "%", (share,)),
    ]


def spread(followings: Mapping[int, Sequence[int]], count: int) -> list[int]:
    """Return so many readers, from the one who follows fewest to the one who follows most."""
    ordered = sorted(followings, key=lambda user: (len(followings[user]), user))
    if len(ordered) <= count:
        return ordered
    return [ordered[n * (len(ordered) - 1) // (count - 1)] for n in range(count)]


def _milliseconds(work: Callable[[int], object], user: int) -> float:
    started = time.perf_counter()
    work(user)
    return (time.perf_counter() - started) * 1000


def _p95(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[int(0.95 * (len(ordered) - 1))]
