"""The memory of each process, and what a cached timeline and a cached tweet take of it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from fanfare.read.v1.read_pb2 import BatchGetHomeTimelinesRequest
from redis import Redis

from bench.cpu import resident_bytes
from bench.figures import Figure
from bench.harness import CALL_SECONDS, WARM_BATCH, Bench
from bench.load_generators import GET_HOME_TIMELINE, ghz, home_requests
from core.feed.timeline_lists import home_list

PAGE = 20
SAMPLE = 500
# Calls that let a new process allocate what it needs for any read.
FIRST_CALLS = 500
Pages = Mapping[int, Sequence[int]]
"""The tweet ids on the first page of each reader."""


@dataclass(frozen=True)
class Growth:
    """By how much a read process grew while it read timelines for the first time."""

    grown: int
    """Bytes."""
    timelines: int
    tweets: int
    """How many tweets were on these timelines and not on earlier ones."""


def memory(bench: Bench) -> list[Figure]:
    """Measure the memory of each process, of cached timelines and of cached tweets."""
    bench.warm()
    bench.step("measuring the memory of all processes")
    stack = bench.system.stack
    servers = {"Postgres": stack.postgres, "Valkey": stack.valkey, "Kafka": stack.kafka}
    sizes = {
        name: resident_bytes(server.pid) / 2**20
        for name, server in (bench.system.processes | servers).items()
    }
    bench.step("reading all timelines")
    pages = _read_pages(bench)
    in_read = solve(_measure_growth(bench, pages))
    in_valkey = _in_valkey(bench, pages)
    note = (
        "memory shared by processes counts in equal parts (PSS); "
        "the worker's part depends on which authors it has seen, and so on the benchmarks before"
    )
    return [
        *(
            Figure("memory", name, "resident memory", "MB", (size,), note=note)
            for name, size in sizes.items()
        ),
        *(
            Figure("memory", place, f"a cached {what}", "bytes", (size,))
            for place, found in (("Valkey", in_valkey), ("a read process", in_read))
            for what, size in zip(("timeline", "tweet"), found, strict=True)
        ),
    ]


def _read_pages(bench: Bench) -> dict[int, list[int]]:
    pages = {}
    readers = list(bench.graph.readers)
    with bench.read_stub() as stub:
        for at in range(0, len(readers), WARM_BATCH):
            request = BatchGetHomeTimelinesRequest(user_ids=readers[at : at + WARM_BATCH])
            answer = stub.BatchGetHomeTimelines(request, timeout=CALL_SECONDS)
            for timeline in answer.timelines:
                pages[timeline.user_id] = [tweet.id for tweet in timeline.tweets]
    return pages


def _in_valkey(bench: Bench, pages: Pages) -> tuple[float, float]:
    """Return the mean bytes of a reader's list and of a tweet, with their keys."""
    chance = random.Random(10)  # noqa: S311 - not a secret
    readers = chance.sample(list(pages), min(SAMPLE, len(pages)))
    shown = sorted({tweet for page in pages.values() for tweet in page})
    tweets = chance.sample(shown, min(SAMPLE, len(shown)))
    with Redis.from_url(bench.settings.redis_address()) as redis:

        def mean_size(keys: Sequence[str]) -> float:
            pipeline = redis.pipeline(transaction=False)
            for key in keys:
                pipeline.memory_usage(key, samples=0)
            return fmean(size for size in pipeline.execute() if size is not None)

        return (
            mean_size([bench.keys.for_list(home_list(reader)) for reader in readers]),
            mean_size([bench.keys.tweet(tweet) for tweet in tweets]),
        )


def split(pages: Pages) -> tuple[list[int], list[int]]:
    """Split readers into those who bring many tweets, and those whose tweets others have, too."""
    seen: set[int] = set()
    bringing, others = [], []
    for reader, page in pages.items():
        if len(set(page) - seen) > PAGE // 4:
            bringing.append(reader)
            seen.update(page)
        else:
            others.append(reader)
    return bringing, others


def _measure_growth(bench: Bench, pages: Pages) -> list[Growth]:
    """Have a new read process read the timelines of both groups of split()."""
    found = []
    seen: set[int] = set()
    server, target = bench.system.another_read_service(1)
    try:
        first = home_requests(list(pages)[:1], seed=10)
        ghz(bench.folder, target, GET_HOME_TIMELINE, first, FIRST_CALLS)
        for readers in split(pages):
            before = resident_bytes(server.pid)
            requests = home_requests(readers, seed=10)
            ghz(bench.folder, target, GET_HOME_TIMELINE, requests, len(requests))
            shown = {tweet for reader in readers for tweet in pages[reader]}
            grown = resident_bytes(server.pid) - before
            found.append(Growth(grown, len(readers), len(shown - seen)))
            seen |= shown
    finally:
        server.stop()
    return found


def solve(growth: Sequence[Growth]) -> tuple[float, float]:
    """Return the bytes of a timeline and of a tweet, from two growths with unlike shares of them.

    Memory is allocated in pages, so a share of next to nothing may come out below zero; it is zero
    then.
    """
    one, two = growth
    determinant = one.tweets * two.timelines - two.tweets * one.timelines
    timeline = (one.tweets * two.grown - two.tweets * one.grown) / determinant
    tweet = (two.timelines * one.grown - one.timelines * two.grown) / determinant
    return max(0.0, timeline), max(0.0, tweet)
