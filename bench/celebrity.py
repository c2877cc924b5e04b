"""A tweet by an author with a million followers: once pushed to them, once pulled by readers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
from fanfare.read.v1.read_pb2 import GetHomeTimelineRequest
from redis import Redis

from bench import backlog
from bench.figures import Figure
from bench.harness import CALL_SECONDS, Bench, BenchError
from bench.raw_valkey import replay_commands
from core.feed.timeline_lists import COMPLETE, author_list, encode_separator, home_list
from ops.feed_status import Feed

# User ids above those of any graph: three stars, then the crowd that follows them.
FIRST = 1_000_000_000
PUSHED, PULLED, PULLED_WITH_FEW_FOLLOWERS = FIRST, FIRST + 1, FIRST + 2
CROWD = FIRST + 10
FEW = 10
CHUNK = 100_000
CHECKED_READERS = 20
GOAL = 1.3

_CREATE = (
    b"""INSERT INTO users (id, username, pulled)
    SELECT n, 'star' || n, n = ANY(%(pulled)s) FROM unnest(%(stars)s::bigint[]) AS n""",
    b"""INSERT INTO users (id, username)
    SELECT n, 'crowd' || n FROM generate_series(%(first)s, %(last)s) AS n""",
    b"""INSERT INTO follows (follower_id, followed_id)
    SELECT n, star FROM generate_series(%(first)s, %(last)s) AS n,
    unnest(%(stars)s::bigint[]) AS star WHERE star <> %(by_few)s OR n <= %(few)s""",
)
_REMOVE = (
    b"DELETE FROM follows WHERE followed_id = ANY(%(stars)s)",
    b"DELETE FROM tweets WHERE user_id = ANY(%(stars)s)",
    b"DELETE FROM users WHERE id BETWEEN %(first)s AND %(last)s OR id = ANY(%(stars)s)",
)


def celebrity(bench: Bench) -> list[Figure]:
    """Measure how long it takes until all followers can read a tweet, by push and by pull."""
    size = bench.size(1_000_000, quick=50_000, smoke=2000)
    crowd = range(CROWD, CROWD + size)
    with (
        Redis.from_url(bench.settings.redis_address()) as redis,
        Feed(bench.settings) as feed,
        _crowd(bench, redis, crowd),
    ):

        def measure_tweet(author: int, *, pulled: bool) -> tuple[int, float]:
            """Write a tweet; return its id and the seconds until all shards have applied it."""
            dsn = bench.settings.primary_dsn()
            offset = sum(backlog.end_offsets(feed))
            (tweet_id,) = backlog.write_tweets(dsn, [(author, "hello, everybody")], pulled=pulled)
            written = time.time()
            while sum(ends := backlog.end_offsets(feed)) == offset:
                time.sleep(backlog.POLL_SECONDS)
            return tweet_id, backlog.wait_applied(redis, bench.keys, ends) - written

        bench.step("having the worker read the followers")
        for star in (PUSHED, PULLED, PULLED_WITH_FEW_FOLLOWERS):
            measure_tweet(star, pulled=star != PUSHED)
        pushed, limits, pulled, few = [], [], [], []
        for number in bench.repeat():
            bench.step(f"a tweet to {size:,} timelines, {number}")
            tweet_id, seconds = measure_tweet(PUSHED, pulled=False)
            pushed.append(seconds)
            _check_visible(bench, crowd, tweet_id)
            bench.step(f"the raw limit, {number}")
            limits.append(_repeat_pushes(bench, crowd, tweet_id))
            pulled.append(1000 * measure_tweet(PULLED, pulled=True)[1])
            tweet_id, seconds = measure_tweet(PULLED_WITH_FEW_FOLLOWERS, pulled=True)
            few.append(1000 * seconds)
            _check_visible(bench, crowd[:FEW], tweet_id)
    case = f"{size:,} followers"
    push = Figure(
        *("celebrity", f"push, {case}", "written to the last timeline", "s", tuple(pushed)),
        *("the same LPUSHX commands, sent over one socket", tuple(limits)),
    )
    pull = Figure("celebrity", f"pull, {case}", "written to the author's list", "ms", tuple(pulled))
    pull_few = Figure("celebrity", f"pull, {FEW} followers", pull.metric, "ms", tuple(few))
    return [
        push.with_goal(
            f"at most {GOAL} times the raw commands", reached=(push.ratio or GOAL + 1) <= GOAL
        ),
        pull.with_goal("as with few followers", reached=pull.median < 2 * pull_few.median),
        pull_few,
    ]


@contextmanager
def _crowd(bench: Bench, redis: Redis, crowd: Sequence[int]) -> Iterator[None]:
    """Make three stars, two of them pull authors, and their followers, with timelines in Redis."""
    bench.step(f"making {len(crowd):,} users and their timelines")
    stars = [PUSHED, PULLED, PULLED_WITH_FEW_FOLLOWERS]
    parameters = {
        "stars": stars,
        "pulled": stars[1:],
        "by_few": PULLED_WITH_FEW_FOLLOWERS,
        "first": crowd[0],
        "few": crowd[FEW - 1],
        "last": crowd[-1],
    }
    with psycopg.connect(bench.settings.primary_dsn(), autocommit=True) as connection:
        # Switches off the checks of foreign keys, which would take most of the time.
        connection.execute("SET session_replication_role = replica")
        try:
            for query in _CREATE:
                connection.execute(query, parameters)
            for start in range(0, len(crowd), CHUNK):
                pipeline = redis.pipeline(transaction=False)
                for user in crowd[start : start + CHUNK]:
                    merged = (
                        [PULLED] if user >= crowd[0] + FEW else [PULLED, PULLED_WITH_FEW_FOLLOWERS]
                    )
                    pipeline.rpush(
                        bench.keys.for_list(home_list(user)), encode_separator(merged), COMPLETE
                    )
                pipeline.execute()
            for star in stars[1:]:
                redis.rpush(bench.keys.for_list(author_list(star)), encode_separator([]), COMPLETE)
            yield
        finally:
            bench.step("removing them")
            for query in _REMOVE:
                connection.execute(query, parameters)
            connection.execute("VACUUM (ANALYZE)")
            for start in range(0, len(crowd), CHUNK):
                redis.unlink(
                    *(bench.keys.for_list(home_list(user)) for user in crowd[start : start + CHUNK])
                )
            redis.unlink(*(bench.keys.for_list(author_list(star)) for star in stars))


def _repeat_pushes(bench: Bench, crowd: Sequence[int], tweet_id: int) -> float:
    """Push the id to all timelines again, with prepared commands; return the seconds it took."""
    id_ = str(tweet_id)
    commands = [
        f"*3\r\n$6\r\nLPUSHX\r\n${len(key)}\r\n{key}\r\n${len(id_)}\r\n{id_}\r\n"
        for key in (bench.keys.for_list(home_list(user)) for user in crowd)
    ]
    return replay_commands(bench.settings.redis_address(), "".join(commands).encode())


def _check_visible(bench: Bench, crowd: Sequence[int], tweet_id: int) -> None:
    """Raise BenchError if the newest tweet of a sampled reader is not this one."""
    with bench.read_stub() as stub:
        for user in crowd[:: max(1, len(crowd) // CHECKED_READERS)]:
            request = GetHomeTimelineRequest(user_id=user, limit=1)
            answer = stub.GetHomeTimeline(request, timeout=CALL_SECONDS)
            if [tweet.id for tweet in answer.tweets] != [tweet_id]:
                raise BenchError(f"user {user} does not see tweet {tweet_id}")
