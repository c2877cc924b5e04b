"""A running system with the graph in it, which the rows of a run share."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import grpc
from fanfare.read.v1 import read_pb2 as r
from fanfare.read.v1.read_pb2_grpc import ReadServiceStub
from redis import Redis

from bench.cpu import cpu_used
from bench.graph import Graph, load
from core.feed.keys import Keys
from core.feed.timeline_lists import home_list
from core.settings import Settings
from embedded.server import ServerProcess
from embedded.stack import default_parts_dir
from ops.feed_status import Feed, current_keys
from ops.system import System

CALL_SECONDS = 60.0
WARM_SECONDS = 300.0
WARM_BATCH = 20
_Size = TypeVar("_Size")


class Profile(Enum):
    """How thorough a run is: its value is the number of repetitions."""

    FULL = 5
    QUICK = 3
    SMOKE = 1


class BenchError(Exception):
    """A row cannot be measured; the text is one sentence with the cause."""


class Bench:
    """One running system, and what the rows need to measure it."""

    def __init__(
        self,
        system: System,
        graph: Graph,
        profile: Profile,
        folder: Path,
        step: Callable[[str], None],
    ) -> None:
        self.system = system
        self.graph = graph
        self.profile = profile
        self.folder = folder
        """For whatever a row writes; gone after the run."""
        self.step = step
        """Tells the person who waits what is being done."""

    @property
    def settings(self) -> Settings:
        """The addresses of everything."""
        return self.system.settings

    @cached_property
    def keys(self) -> Keys:
        """The keys in Redis."""
        return current_keys(self.settings)

    @property
    def repetitions(self) -> int:
        """How often each figure is taken."""
        return self.profile.value

    def size(self, full: _Size, *, quick: _Size, smoke: _Size) -> _Size:
        """Return the size for this run's profile."""
        return {Profile.FULL: full, Profile.QUICK: quick, Profile.SMOKE: smoke}[self.profile]

    def cpu(self, **others: ServerProcess) -> AbstractContextManager[dict[str, float]]:
        """Return a context whose dict holds, at its end, the CPU seconds used meanwhile.

        By name: "write", "read", "worker", "postgres", "valkey", "kafka", and the
        others by theirs. User and system time, of Postgres with all its backends.
        """
        stack = self.system.stack
        servers = {"postgres": stack.postgres, "valkey": stack.valkey, "kafka": stack.kafka}
        return cpu_used(self.system.processes | servers | others)

    def drained(self, seconds: float) -> None:
        """Wait until outbox and Kafka are applied to Redis; raises BenchError after the time."""
        deadline = time.monotonic() + seconds
        with Feed(self.settings) as feed:
            while (remaining := feed.remaining()) != 0:
                if time.monotonic() > deadline:
                    raise BenchError(f"{remaining} events have not drained in {seconds:.0f} s")
                time.sleep(0.02)

    def warm(self, users: Sequence[int] | None = None) -> None:
        """Have these users' timelines built in Redis, or those of all the graph's readers.

        Raises BenchError when some are not in the end.
        """
        deadline = time.monotonic() + WARM_SECONDS
        with Redis.from_url(self.settings.redis_address()) as redis, self.reading() as stub:

            def read(users: list[int]) -> None:
                request = r.BatchGetHomeTimelinesRequest(user_ids=users, limit=20)
                stub.BatchGetHomeTimelines(request, timeout=CALL_SECONDS)

            absent = list(self.graph.readers if users is None else users)
            while absent:
                if time.monotonic() > deadline:
                    raise BenchError(f"{len(absent)} timelines are not built")
                batches = [absent[at : at + WARM_BATCH] for at in range(0, len(absent), WARM_BATCH)]
                with ThreadPoolExecutor(4) as pool:
                    for number, _ in enumerate(pool.map(read, batches), 1):
                        self.step(f"reading {number * WARM_BATCH:,} timelines once")
                absent = _not_built(redis, self.keys, absent)

    @contextmanager
    def reading(self) -> Iterator[ReadServiceStub]:
        """Yield a client of the read service."""
        with grpc.insecure_channel(self.settings.read_service_target()) as channel:
            yield ReadServiceStub(channel)


def _not_built(redis: Redis, keys: Keys, users: list[int]) -> list[int]:
    pipeline = redis.pipeline(transaction=False)
    for user in users:
        pipeline.lindex(keys.for_list(home_list(user)), -1)
    return [
        user
        for user, tail in zip(users, pipeline.execute(), strict=True)
        if tail is None or tail.startswith(b"B")
    ]


@contextmanager
def started(
    graph: Graph,
    profile: Profile,
    step: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
) -> Iterator[Bench]:
    """Yield a running system of its own, with the graph in it; stop and delete it at the end.

    Its data are in a folder below FANFARE_STATE_DIR and so on a disk: the system's temporary
    folder may be in memory, where making a commit durable costs nothing.
    """
    parts_dir = default_parts_dir()
    state_dir = parts_dir.parent
    state_dir.mkdir(parents=True, exist_ok=True)
    # Never a server that the environment names: what is in it is somebody's.
    nobodys = Settings.model_construct()
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir=state_dir) as name,
        System(
            Path(name), parts_dir, given=nobodys, environment=environment, progress=step
        ) as system,
    ):
        if graph.users:
            edges, posts = graph.edges, len(graph.posts)
            step(f"loading {graph.users:,} users, {edges:,} follows, {posts:,} posts")
            load(system.settings.primary_dsn(), graph)
        yield Bench(system, graph, profile, Path(name), step)
