"""Watches: how soon a tweet is with the clients that watch, and what a watch costs that waits."""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice, product
from statistics import median, quantiles
from typing import Any

import grpc
from fanfare.read.v1 import read_pb2 as r
from fanfare.read.v1.read_pb2_grpc import ReadServiceStub
from fanfare.write.v1.write_pb2 import CreateTweetRequest
from fanfare.write.v1.write_pb2_grpc import WriteServiceStub

from bench.backlog import DRAIN_SECONDS
from bench.cpu import cpu_seconds, cpu_used, resident_bytes
from bench.figures import Figure
from bench.harness import CALL_SECONDS, Bench, BenchError
from bench.read import noop_server
from core.rpc.tls import CHANNEL_OPTIONS
from read_service.pages import DEFAULT_LIMIT

# How many streams a connection carries. A connection takes 256 calls at a time.
PER_CONNECTION = 200
# How many streams are opened at a time.
OPENING = 100
CONNECTION = [*CHANNEL_OPTIONS, ("grpc.use_local_subchannel_pool", 1)]
P50_GOAL_MS, P99_GOAL_MS = 25, 100
RAW = "a server that sends the same three stored events to each once a second"


@dataclass
class Watchers:
    """Clients that watch timelines."""

    arrived: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    """When each tweet came to each client that got it, by time.perf_counter()."""
    deliveries: int = 0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def open(
        self, stub: ReadServiceStub, user_id: int, limit: int, opening: asyncio.Semaphore
    ) -> None:
        """Open a watch, and return once its client has the first page."""
        is_there = asyncio.Event()
        async with opening:
            self.tasks.append(asyncio.create_task(self._watch(stub, user_id, limit, is_there)))
            async with asyncio.timeout(CALL_SECONDS):
                await is_there.wait()

    async def _watch(
        self, stub: ReadServiceStub, user_id: int, limit: int, is_there: asyncio.Event
    ) -> None:
        request = r.WatchHomeTimelineRequest(user_id=user_id, limit=limit)
        events: Any = stub.WatchHomeTimeline(request)
        async for event in events:
            if event.HasField("tweet"):
                self.deliveries += 1
                self.arrived[event.tweet.id].append(time.perf_counter())
            elif event.HasField("heartbeat"):
                is_there.set()


@asynccontextmanager
async def _watching(target: str, watched: Sequence[tuple[int, int]]) -> AsyncIterator[Watchers]:
    """Watch timelines, given as user ids and limits; each client has the first page."""
    watchers = Watchers()
    opening = asyncio.Semaphore(OPENING)
    connect = grpc.aio.insecure_channel  # noqa: TID251 - asynchronous
    async with AsyncExitStack() as stack:
        stubs = [
            ReadServiceStub(await stack.enter_async_context(connect(target, CONNECTION)))
            for _ in range(len(watched) // PER_CONNECTION + 1)
        ]
        try:
            await asyncio.gather(
                *(
                    watchers.open(stubs[at // PER_CONNECTION], user_id, limit, opening)
                    for at, (user_id, limit) in enumerate(watched)
                )
            )
            yield watchers
        finally:
            for task in watchers.tasks:
                task.cancel()
            await asyncio.gather(*watchers.tasks, return_exceptions=True)


def watch(bench: Bench) -> list[Figure]:
    """Measure deliveries to clients that watch, and what clients cost to which nothing happens."""
    bench.warm()
    return asyncio.run(_measure(bench))


async def _measure(bench: Bench) -> list[Figure]:
    return [*await _deliveries(bench), *await _idle(bench)]


async def _deliveries(bench: Bench) -> list[Figure]:
    """Measure how soon a tweet is with those who watch, and the CPU that each delivery takes."""
    count = bench.size(1000, quick=1000, smoke=20)
    seconds = bench.size(8.0, quick=1.5, smoke=0.5)
    rate = bench.size(20, quick=20, smoke=10)
    chance = random.Random(11)  # noqa: S311 - not a secret
    readers = chance.sample(list(bench.graph.readers), min(count, len(bench.graph.readers)))
    authors = [author for reader in readers for author in bench.graph.followings[reader]]
    watched = [(reader, DEFAULT_LIMIT) for reader in readers]
    p50, p99, rates, used, raw = [], [], [], [], []
    bench.step(f"{len(readers):,} watches are opened")
    async with _watching(bench.settings.read_service_target(), watched) as watchers:
        for number in bench.repeat(0.5):
            bench.step(f"{rate} tweets a second to {len(readers):,} who watch, {number}")
            chosen = chance.choices(authors, k=int(rate * seconds))
            with bench.cpu() as cpu:
                took = await _deliver(bench, watchers, chosen, set(readers), rate)
            cuts = quantiles([1000 * each for each in took], n=100, method="inclusive")
            p50.append(cuts[49])
            p99.append(cuts[98])
            rates.append(len(took) / seconds)
            used.append(cpu["read"] / len(took) * 1e6)
    with noop_server(bench) as (server, target):
        async with _watching(target, watched) as watchers:
            for _ in used:
                before = watchers.deliveries
                with cpu_used({"noop": server}) as cpu:
                    await asyncio.sleep(seconds)
                raw.append(cpu["noop"] / max(1, watchers.deliveries - before) * 1e6)
    case = f"{len(readers):,} watches"
    return [
        Figure("watch", case, "acknowledged to client, p50", "ms", tuple(p50)).with_goal(
            f"under {P50_GOAL_MS} ms", reached=median(p50) < P50_GOAL_MS
        ),
        Figure("watch", case, "acknowledged to client, p99", "ms", tuple(p99)).with_goal(
            f"under {P99_GOAL_MS} ms", reached=median(p99) < P99_GOAL_MS
        ),
        Figure("watch", case, "deliveries", "1/s", tuple(rates)),
        Figure("watch", case, "read CPU per delivery", "µs", tuple(used), RAW, tuple(raw)),
    ]


async def _deliver(
    bench: Bench, watchers: Watchers, authors: Sequence[int], readers: set[int], rate: float
) -> list[float]:
    """Write tweets; return the seconds from each acknowledgement until a client has the tweet.

    Args:
        bench: the system.
        watchers: the clients.
        authors: the author of each tweet.
        readers: whose timelines are watched.
        rate: how many tweets are written in a second.

    Raises:
        BenchError: a tweet does not come to all who watch.
    """
    acknowledged: dict[int, tuple[float, int]] = {}
    connect = grpc.aio.insecure_channel  # noqa: TID251 - asynchronous
    async with connect(bench.settings.write_service_target(), CHANNEL_OPTIONS) as channel:
        writing = WriteServiceStub(channel)

        async def tweet(author: int) -> None:
            request = CreateTweetRequest(user_id=author, content="watched")
            created = (await writing.CreateTweet(request, timeout=CALL_SECONDS)).tweet.id
            expected = len(readers.intersection(bench.graph.followers[author]))
            acknowledged[created] = time.perf_counter(), expected

        started = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for number, author in enumerate(authors):
                await asyncio.sleep(started + number / rate - time.perf_counter())
                tasks.create_task(tweet(author))
    deadline = time.perf_counter() + DRAIN_SECONDS
    while any(len(watchers.arrived[id_]) < count for id_, (_, count) in acknowledged.items()):
        if time.perf_counter() > deadline:
            raise BenchError("some tweets did not come to all who watch")
        await asyncio.sleep(0.01)
    return [
        max(0.0, arrived - at)
        for id_, (at, _) in acknowledged.items()
        for arrived in watchers.arrived[id_]
    ]


async def _idle(bench: Bench) -> list[Figure]:
    """Measure the memory and the CPU of watches to which nothing happens, in a new process."""
    count = bench.size(10_000, quick=1000, smoke=20)
    seconds = bench.size(20.0, quick=3.0, smoke=0.5)
    bench.wait_drained(DRAIN_SECONDS)
    # Each watches a page of its own.
    limits = range(DEFAULT_LIMIT, 0, -1)
    watched = [(reader, limit) for limit, reader in product(limits, bench.graph.readers)]
    server, target = bench.system.another_read_service(1)
    try:
        async with _watching(target, watched[:20]):
            pass
        before = resident_bytes(server.pid)
        chosen = list(islice(watched, count))
        bench.step(f"{len(chosen):,} watches are opened")
        async with _watching(target, chosen):
            grown = (resident_bytes(server.pid) - before) / len(chosen)
            bench.step(f"nothing happens to {len(chosen):,} watches for {seconds:g} s")
            used = cpu_seconds([server.pid])
            await asyncio.sleep(seconds)
            used = (cpu_seconds([server.pid]) - used) / seconds * 100
    finally:
        server.stop()
    case = f"{len(chosen):,} idle watches"
    note = f"each of up to {DEFAULT_LIMIT} tweets; with the tweets that the process keeps of them"
    return [
        Figure("watch", case, "memory per watch", "KB", (grown / 1000,), note=note),
        Figure("watch", case, "read CPU", "% of a core", (used,)),
    ]
