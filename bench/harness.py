"""The harness of a run: a system of its own, with the graph loaded, that all benchmarks share."""

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

from fanfare.read.v1 import read_pb2 as r
from fanfare.read.v1.read_pb2_grpc import ReadServiceStub
from redis import Redis

from bench.cpu import cpu_used
from bench.graph import Graph, load
from bench.schedule import Repetitions
from core.feed.keys import Keys
from core.feed.timeline_lists import home_list
from core.rpc.tls import open_channel
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
    """How thorough a run is. The value is the number of repetitions of each measurement.

    On a slow machine there are fewer (bench/schedule.py).
    """

    FULL = 5
    QUICK = 3
    SMOKE = 1


class BenchError(Exception):
    """A benchmark could not be measured; the message is one sentence with the cause."""


class Bench:
    """A running system and the tools to measure it; the argument of every benchmark."""

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
        """For files of benchmarks; deleted after the run."""
        self.step = step
        """Shows the user what is being done."""
        self._repetitions = Repetitions(profile.value)
        self.noop_microseconds: float | None = None
        """The CPU of a call to the no-op server in this run, once it has been measured."""

    @property
    def settings(self) -> Settings:
        """The settings of the system, with all addresses."""
        return self.system.settings

    @cached_property
    def keys(self) -> Keys:
        """The names of the system's keys in Redis."""
        return current_keys(self.settings)

    def begin(self, seconds: float) -> None:
        """Begin a benchmark, which should not take longer than the given seconds."""
        self._repetitions = Repetitions(self.profile.value, seconds)

    def repeat(self, share: float = 1.0) -> Iterator[int]:
        """Yield 1, 2, … for each repetition of a series of measurements.

        There are fewer on a slow machine, but at least one.

        Args:
            share: the part of the benchmark's time after which this series has to be over.
        """
        return self._repetitions.series(share)

    @property
    def shortfall(self) -> str:
        """That the current benchmark had fewer repetitions than wanted, in words, or ""."""
        return self._repetitions.shortfall

    def size(self, full: _Size, *, quick: _Size, smoke: _Size) -> _Size:
        """Return the size for the profile of this run."""
        return {Profile.FULL: full, Profile.QUICK: quick, Profile.SMOKE: smoke}[self.profile]

    def cpu(self, **others: ServerProcess) -> AbstractContextManager[dict[str, float]]:
        """Measure CPU time: return a context manager whose dict is filled at its end.

        It then has the CPU seconds, user and system, that each process used in the context, by
        name: "write", "read", "worker", "postgres" with all its backends, "valkey",
        "kafka", and the names of the given servers.

        Args:
            others: further servers to measure.
        """
        stack = self.system.stack
        servers = {"postgres": stack.postgres, "valkey": stack.valkey, "kafka": stack.kafka}
        return cpu_used(self.system.processes | servers | others)

    def wait_drained(self, seconds: float) -> None:
        """Wait until every event in the outbox and in Kafka has been applied to Redis.

        Raises:
            BenchError: that takes longer than the given seconds.
        """
        deadline = time.monotonic() + seconds
        with Feed(self.settings) as feed:
            while (remaining := feed.remaining()) != 0:
                if time.monotonic() > deadline:
                    raise BenchError(f"{remaining} events were not applied within {seconds:.0f} s")
                time.sleep(0.02)

    def warm(self, users: Sequence[int] | None = None) -> None:
        """Read timelines until all of them are built in Redis.

        Args:
            users: whose timelines; by default those of all the graph's readers.

        Raises:
            BenchError: some could not be built within five minutes.
        """
        deadline = time.monotonic() + WARM_SECONDS
        with Redis.from_url(self.settings.redis_address()) as redis, self.read_stub() as stub:

            def read(users: list[int]) -> None:
                request = r.BatchGetHomeTimelinesRequest(user_ids=users, limit=20)
                stub.BatchGetHomeTimelines(request, timeout=CALL_SECONDS)

            absent = list(self.graph.readers if users is None else users)
            while absent:
                if time.monotonic() > deadline:
                    raise BenchError(f"{len(absent)} timelines could not be built")
                batches = [absent[at : at + WARM_BATCH] for at in range(0, len(absent), WARM_BATCH)]
                with ThreadPoolExecutor(4) as pool:
                    for number, _ in enumerate(pool.map(read, batches), 1):
                        self.step(f"reading {number * WARM_BATCH:,} timelines once")
                absent = _not_built(redis, self.keys, absent)

    @contextmanager
    def read_stub(self) -> Iterator[ReadServiceStub]:
        """Yield a gRPC client of the read service."""
        with open_channel(self.settings.read_service_target(), None) as channel:
            yield ReadServiceStub(channel)


def _not_built(redis: Redis, keys: Keys, users: list[int]) -> list[int]:
    """Return the users whose home timelines are absent or still being built."""
    pipeline = redis.pipeline(transaction=False)
    for user in users:
        pipeline.lindex(keys.for_list(home_list(user)), -1)
    return [
        user
        for user, tail in zip(users, pipeline.execute(), strict=True)
        if tail is None or tail.startswith(b"B")
    ]


@contextmanager
def start_bench(
    graph: Graph,
    profile: Profile,
    step: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
) -> Iterator[Bench]:
    """Start a system with the graph loaded; stop and delete it at the end of the context.

    Its data are below FANFARE_STATE_DIR, and not in the machine's folder for temporary files: that
    folder may be in memory, where making a commit durable costs nothing.

    Args:
        graph: what to load.
        profile: how thorough the run is.
        step: called with a line about each step.
        environment: further settings of the processes.
    """
    parts_dir = default_parts_dir()
    state_dir = parts_dir.parent
    state_dir.mkdir(parents=True, exist_ok=True)
    # Servers that the environment names are not used, because somebody needs their data.
    no_servers = Settings.model_construct()
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir=state_dir) as name,
        System(
            Path(name), parts_dir, given=no_servers, environment=environment, progress=step
        ) as system,
    ):
        if graph.users:
            edges, posts = graph.edges, len(graph.posts)
            step(f"loading {graph.users:,} users, {edges:,} follows, {posts:,} posts")
            load(system.settings.primary_dsn(), graph)
        yield Bench(system, graph, profile, Path(name), step)
