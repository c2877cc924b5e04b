"""Creating tweets, one by one and in batches, against what Postgres alone can insert."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
from fanfare.write.v1 import write_pb2 as w

from bench import python_load
from bench.figures import Figure
from bench.go_demo import CREATES, compare_with_demo
from bench.harness import Bench, BenchError
from bench.load_generators import BATCH_CREATE_TWEETS, CREATE_TWEET, ghz
from bench.tools import find_tool

CREATE_GOAL = 0.55
DEMO_GOAL = 5
BATCH_GOAL = 0.5
CREATE_CALLERS = 64
BATCH = 500
BATCH_CALLERS = 6
DRAIN_SECONDS = 300.0
MICRO = 1e6
WRITE_CPU = "CPU of the write process, including its relay, per tweet"

# Copies of the tables, for rows that must not appear in timelines.
_TABLES = """
CREATE TABLE raw_tweets (LIKE tweets INCLUDING ALL, FOREIGN KEY (user_id) REFERENCES users);
CREATE TABLE raw_outbox (LIKE outbox_0 INCLUDING ALL);
"""
_PAYLOAD = r"'\x" + "ab" * 150 + "'"
_INSERT = f"""
\\set author random(1, {{users}})
BEGIN;
INSERT INTO raw_tweets (id, user_id, content, created_at, updated_at)
VALUES (next_tweet_id(), :author, '{{content}}', now(), now());
INSERT INTO raw_outbox (key, type, payload) VALUES (:author, 'tweet.created', {_PAYLOAD});
COMMIT;
"""  # noqa: S608 - our own numbers


def create(bench: Bench) -> list[Figure]:
    """Measure CreateTweet calls per second, against the same inserts with pgbench."""
    bench.warm()
    calls = bench.size(12_000, quick=4000, smoke=100)
    requests = tweet_requests(bench, 5000)
    target = bench.settings.write_service_target()
    rates, limits, p50, p99, cpu = [], [], [], [], []
    with _raw_tables(bench):
        for number in bench.repeat():
            bench.step(f"{calls:,} creates of {CREATE_CALLERS} callers, {number}")
            with bench.cpu() as used:
                load = ghz(
                    bench.folder, target, CREATE_TWEET, requests, calls, callers=CREATE_CALLERS
                )
            rates.append(load.per_second)
            p50.append(load.p50)
            p99.append(load.p99)
            cpu.append(used["write"] / calls * MICRO)
            bench.wait_drained(DRAIN_SECONDS)
            bench.step(f"the same rows by pgbench, {number}")
            limits.append(_pgbench(bench, calls))
    case = f"{CREATE_CALLERS} callers"
    figure = Figure(
        "create",
        case,
        "acknowledged tweets",
        "1/s",
        tuple(rates),
        "pgbench, one transaction for each tweet and its event",
        tuple(limits),
    )
    figure = compare_with_demo(bench, figure, CREATES)
    return [
        figure.with_goal(
            f"at least {CREATE_GOAL:.0%} of pgbench and {DEMO_GOAL} times the Go demo",
            reached=(figure.ratio or 0) >= CREATE_GOAL and (figure.times_demo or 0) >= DEMO_GOAL,
        ),
        Figure("create", case, "latency, p50", "ms", tuple(p50)),
        Figure("create", case, "latency, p99", "ms", tuple(p99)),
        Figure("create", case, WRITE_CPU, "µs", tuple(cpu)),
    ]


def create_batch(bench: Bench) -> list[Figure]:
    """Measure tweets per second in batches, against COPY."""
    bench.warm()
    calls = bench.size(120, quick=40, smoke=2)
    singles = tweet_requests(bench, 20 * BATCH)
    requests = [
        w.BatchCreateTweetsRequest(requests=singles[at : at + BATCH])
        for at in range(0, len(singles), BATCH)
    ]
    target = bench.settings.write_service_target()
    rates, limits, end_to_end, cpu = [], [], [], []
    with _raw_tables(bench):
        for number in bench.repeat():
            bench.step(f"{calls * BATCH:,} tweets in batches of {BATCH}, {number}")
            started = time.perf_counter()
            with bench.cpu() as used:
                load = ghz(
                    bench.folder,
                    target,
                    BATCH_CREATE_TWEETS,
                    requests,
                    calls,
                    callers=BATCH_CALLERS,
                )
            rates.append(load.per_second * BATCH)
            cpu.append(used["write"] / calls / BATCH * MICRO)
            bench.wait_drained(DRAIN_SECONDS)
            end_to_end.append(calls * BATCH / (time.perf_counter() - started))
            bench.step(f"the same rows by COPY, {number}")
            limits.append(_copy(bench, requests, calls))
    case = f"{BATCH} a call, {BATCH_CALLERS} callers"
    figure = Figure(
        "create-batch",
        case,
        "acknowledged tweets",
        "1/s",
        tuple(rates),
        "COPY of the tweets and their events, one commit for each batch",
        tuple(limits),
    )
    reached = (figure.ratio or 0) >= BATCH_GOAL
    return [
        figure.with_goal(f"at least {BATCH_GOAL:.0%} of COPY", reached=reached),
        Figure(
            "create-batch", case, "tweets, until all are in timelines", "1/s", tuple(end_to_end)
        ),
        Figure(
            "create-batch",
            case,
            WRITE_CPU,
            "µs",
            tuple(cpu),
        ),
    ]


def tweet_requests(bench: Bench, count: int) -> list[w.CreateTweetRequest]:
    """Return requests that create the newest posts of the graph."""
    # Some of the real posts contain control characters, which the contract forbids.
    posts = [post for post in bench.graph.posts if post[1].isprintable()][-count:]
    return [w.CreateTweetRequest(user_id=author, content=text) for author, text in posts]


@contextmanager
def _raw_tables(bench: Bench) -> Iterator[None]:
    with psycopg.connect(bench.settings.primary_dsn(), autocommit=True) as connection:
        connection.execute(_TABLES)
        try:
            yield
        finally:
            connection.execute("DROP TABLE raw_tweets, raw_outbox")


def _pgbench(bench: Bench, transactions: int) -> float:
    """Return how many transactions per second pgbench commits with CREATE_CALLERS clients."""
    content = "x" * _mean_length(bench)
    script = bench.folder / "insert.sql"
    script.write_text(_INSERT.format(users=bench.graph.users, content=content))
    generator = find_tool("pgbench")
    if generator is None:
        return python_load.execute(
            bench.settings.primary_dsn(), _as_plain_sql(script), transactions
        )
    command = [
        *(str(generator), "--no-vacuum", "--client", str(CREATE_CALLERS), "--jobs", "1"),
        *("--transactions", str(-(-transactions // CREATE_CALLERS)), "--protocol", "prepared"),
        *("--file", str(script), bench.settings.primary_dsn()),
    ]
    done = subprocess.run(  # noqa: S603 - our own command
        command, capture_output=True, text=True, check=False
    )
    rate = re.search(r"tps = ([0-9.]+)", done.stdout)
    if done.returncode != 0 or rate is None:
        raise BenchError(f"pgbench failed: {done.stderr.strip()[-500:]}")
    return float(rate[1])


def _as_plain_sql(script: Path) -> str:
    """Return the statements of a pgbench script, with 1 as the author."""
    lines = script.read_text().splitlines()
    statements = [line for line in lines if not line.startswith("\\")]
    return "\n".join(statements).replace(":author", "1")


def _mean_length(bench: Bench) -> int:
    posts = bench.graph.posts
    return sum(len(text) for _, text in posts) // len(posts)


def _copy(bench: Bench, requests: Sequence[w.BatchCreateTweetsRequest], calls: int) -> float:
    """Return how many tweets per second COPY inserts, each with its event."""
    payload = b"\xab" * 150
    with psycopg.connect(bench.settings.primary_dsn()) as connection:
        cursor = connection.execute("SELECT next_tweet_id(), now()")
        first, now = cursor.fetchone() or (0, None)
        cursor = connection.execute("SELECT coalesce(max(id), 0) FROM raw_outbox")
        (event,) = cursor.fetchone() or (0,)
        connection.commit()
        started = time.perf_counter()
        tweet = first
        for number in range(calls):
            items = requests[number % len(requests)].requests
            with cursor.copy(
                "COPY raw_tweets (id, user_id, content, created_at, updated_at) FROM STDIN"
            ) as copy:
                for item in items:
                    tweet += 1
                    copy.write_row((tweet, item.user_id, item.content, now, now))
            with cursor.copy("COPY raw_outbox (id, key, type, payload) FROM STDIN") as copy:
                for item in items:
                    event += 1
                    copy.write_row((event, item.user_id, "tweet.created", payload))
            connection.commit()
        return calls * BATCH / (time.perf_counter() - started)
