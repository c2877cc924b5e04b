"""A whole fan-out worker on fakes, driven step by step, without threads and sockets."""

from __future__ import annotations

from helpers.fakes.worker_kafka import (
    FakeClock,
    FakeDeadLetterQueue,
    FakeGroupConsumer,
    FakeKafka,
    FakeTopicInspector,
)
from helpers.fakes.worker_postgres import FakeFollowerStore
from helpers.fakes.worker_redis import FakeRedis, FakeShards

from core.feed.checkpoints import Checkpoint
from core.feed.sharding import Partition
from core.feed.timeline_lists import SEPARATOR, TimelineList
from core.runtime.watchdog import Watchdog
from fanout_worker.apply import BatchApplier
from fanout_worker.checkpoints import CheckpointTable
from fanout_worker.consumer import FanoutConsumer
from fanout_worker.followers import FollowerIndex
from fanout_worker.lag import Lag
from fanout_worker.progress import Progress

MAX_STEPS = 50
TWEET_TTL_SECONDS = 60


class FakeServers:
    """Redis, Postgres and Kafka, which several workers may share."""

    def __init__(self) -> None:
        self.redis = FakeRedis()
        self.store = FakeFollowerStore()
        self.kafka = FakeKafka()


class FakeWorker:
    """A worker of the production code on fake servers."""

    def __init__(self, servers: FakeServers) -> None:
        self.servers = servers
        self.clock = FakeClock()
        self.shards = FakeShards(servers.redis)
        self.group = FakeGroupConsumer(servers.kafka, self.clock)
        self.inspector = FakeTopicInspector(servers.kafka)
        self.checkpoints = CheckpointTable(self.shards, self.inspector, servers.store)
        self.followers = FollowerIndex(servers.store, 1000)
        self.watchdog = Watchdog(self.clock)
        self.lag = Lag()
        progress = Progress(self.group, self.watchdog, self.lag)
        self.applier = BatchApplier(
            self.shards,
            servers.store,
            FakeDeadLetterQueue(servers.kafka),
            self.checkpoints,
            self.followers,
            progress,
            TWEET_TTL_SECONDS,
        )
        self.consumer = FanoutConsumer(
            self.group, self.checkpoints, self.applier, progress, self.clock
        )
        self.consumer.subscribe()

    def assign(self, *partitions: int) -> None:
        """Assign these partitions to the worker, and load their checkpoints."""
        self.group.rebalance(*partitions)
        self.step()  # polls, and learns of the partitions
        self.step()  # loads
        assert self.checkpoints.partitions == {Partition(number) for number in partitions}

    def step(self) -> None:
        """Do one step of the worker's loop."""
        self.consumer.run_once()

    def drain(self) -> None:
        """Do steps until everything in the partitions is in Redis."""
        for _ in range(MAX_STEPS):
            if self._is_drained():
                return
            self.step()
        raise AssertionError("the worker does not come to the end of its partitions")

    def stored(self, partition: int) -> set[Checkpoint | None]:
        """Return the distinct checkpoints in Redis, over all shards."""
        found = self.shards.read_checkpoints([Partition(partition)])
        return set(found[Partition(partition)])

    def cache(self, list_: TimelineList, *ids: int) -> None:
        """Put a timeline list into Redis, as a reader builds it."""
        key = self.shards.keys.for_list(list_).encode()
        elements = [SEPARATOR, *(b"%d" % id_ for id_ in ids), b"0"]
        self.servers.redis.lists[key] = elements

    def cached(self, list_: TimelineList) -> set[int] | None:
        """Return the ids in a list, or None if it is not in Redis."""
        elements = self.servers.redis.lists.get(self.shards.keys.for_list(list_).encode())
        if elements is None:
            return None
        return {int(element) for element in elements if element not in {SEPARATOR, b"0"}}

    def _is_drained(self) -> bool:
        ends = {p: self.servers.kafka.range_of(p)[1] for p in self.checkpoints.partitions}
        checkpoints = self.shards.read_checkpoints(list(ends))
        return bool(ends) and all(
            checkpoint is not None and checkpoint.offset == ends[partition]
            for partition, row in checkpoints.items()
            for checkpoint in row
        )
