"""Cold reads: the first read of a timeline that is not in Redis, against the SQL that it needs."""

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
from read_service.pages import FROM_THE_TOP

FACTOR, EXTRA_MS = 2, 1
# psycopg prepares a statement after a few executions, here as in the read service.
UNTIL_PREPARED = 10


def cold(bench: Bench) -> list[Figure]:
    """Measure the latency of cold reads, with and without the tweets in the tweet cache."""
    bench.warm()
    users = spread(bench.graph.followings, bench.size(150, quick=40, smoke=5))
    query = load_queries("read_service")["newest_ids"]
    length = bench.settings.timeline_length
    figures = []
    with (
        bench.read_stub() as stub,
        Redis.from_url(bench.settings.redis_address()) as redis,
        psycopg.connect(bench.settings.primary_dsn(), autocommit=True) as connection,
    ):

        def first_page(user: int) -> list[int]:
            request = r.GetHomeTimelineRequest(user_id=user, limit=20)
            answer = stub.GetHomeTimeline(request, timeout=CALL_SECONDS)
            return [tweet.id for tweet in answer.tweets]

        def sql(user: int) -> None:
            page = {"user_ids": [user], "before": FROM_THE_TOP, "count": length}
            cursor = connection.execute(query, page)
            cursor.fetchall()

        def forget(user: int, ids: Sequence[int]) -> None:
            redis.delete(bench.keys.for_list(home_list(user)), *map(bench.keys.tweet, ids))

        for user in users[:1] * UNTIL_PREPARED:
            sql(user)
            forget(user, [])
            first_page(user)
        for case, without_tweets, share in (
            ("tweets in Redis", False, 0.6),
            ("tweets absent too", True, 1.0),
        ):
            reads: list[list[float]] = []
            sql_only: list[list[float]] = []
            warm: list[list[float]] = []
            for number in bench.repeat(share):
                bench.step(f"{len(users)} cold timelines, {case}, {number}")
                reads.append([])
                sql_only.append([])
                warm.append([])
                for user in users:
                    before = first_page(user)
                    forget(user, before if without_tweets else [])
                    sql_only[-1].append(_measure_milliseconds(sql, user))
                    reads[-1].append(_measure_milliseconds(first_page, user))
                    if first_page(user) != before:
                        raise BenchError(
                            f"user {user} got another page from the cold read than before"
                        )
                    warm[-1].append(_measure_milliseconds(first_page, user))
            figures += _figures(case, reads, sql_only, goal=not without_tweets)
    return [*figures, Figure("cold", "warm", "latency, p50", "ms", tuple(map(median, warm)))]


def _figures(
    case: str, reads: Sequence[Sequence[float]], sql_only: Sequence[Sequence[float]], *, goal: bool
) -> list[Figure]:
    limit = "the SQL alone, 800 rows"
    p50 = Figure(
        "cold",
        case,
        "latency, p50",
        "ms",
        tuple(map(median, reads)),
        limit,
        tuple(map(median, sql_only)),
        note="timed by a Python client; the last figure is a warm read by the same client",
    )
    p95 = Figure(
        "cold",
        case,
        "latency, p95",
        "ms",
        tuple(map(_p95, reads)),
        limit,
        tuple(map(_p95, sql_only)),
    )
    # The median of each user's repetitions, so that one slow repetition does not count.
    of_users = [median(times) for times in zip(*reads, strict=True)]
    sql_of_users = [median(times) for times in zip(*sql_only, strict=True)]
    within = sum(
        read <= FACTOR * sql + EXTRA_MS for read, sql in zip(of_users, sql_of_users, strict=True)
    )
    share = within / len(of_users) * 100
    if not goal:
        return [p50, p95]
    reached = p50.median <= FACTOR * (p50.limit_median or 0) + EXTRA_MS
    return [
        p50.with_goal(f"at most {FACTOR} times the SQL + {EXTRA_MS} ms", reached=reached),
        p95,
        Figure("cold", case, f"timelines within {FACTOR} times + {EXTRA_MS} ms", "%", (share,)),
    ]


def spread(followings: Mapping[int, Sequence[int]], count: int) -> list[int]:
    """Return readers at even distances, from the one with the fewest followings to the most.

    Args:
        followings: the followings of each reader.
        count: how many readers to return at most.
    """
    ordered = sorted(followings, key=lambda user: (len(followings[user]), user))
    if len(ordered) <= count:
        return ordered
    return [ordered[n * (len(ordered) - 1) // (count - 1)] for n in range(count)]


def _measure_milliseconds(work: Callable[[int], object], user: int) -> float:
    started = time.perf_counter()
    work(user)
    return (time.perf_counter() - started) * 1000


def _p95(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[int(0.95 * (len(ordered) - 1))]
