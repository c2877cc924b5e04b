"""The verification of cached timelines in the simulation: the worker's coroutines, on the model.

Each command of Redis, each transaction on Postgres and each request to Kafka is one atomic step,
after which any other actor may go on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from helpers.fakes.steps import others_run
from model.checks import is_paged
from model.events import PARTITIONS
from model.postgres import Postgres, SessionLostError
from model.production_reader import drive, value_of
from model.redis import ListKey, RedisAwayError
from model.world import Steps, ViolationError, World

from core.feed.checkpoints import Checkpoint
from core.feed.sharding import Partition, Shard
from core.feed.timeline_lists import ListKind, TimelineList
from fanout_worker.verification import (
    PAUSE_SECONDS,
    Difference,
    NotVerifiableError,
    Oracle,
    StoredRow,
    Verification,
)


@dataclass(frozen=True)
class Precautions:
    """What keeps a lawful difference from being reported; each can be left out."""

    waits_until_sent: bool = True
    """The events of the snapshot are waited for until they are marked as sent."""
    waits_until_applied: bool = True
    """The checkpoints are waited for until they have reached the ends of the partitions."""
    of_the_topic: bool = True
    """Checkpoints of another topic do not count."""
    watched_before_snapshot: bool = True
    """The list is read before the snapshot."""
    differences_read_again: bool = True
    """Tweets that leave the timeline after the snapshot do not count."""


ALL = Precautions()
# For each precaution, the seed and the focus of a run in which a lawful difference is reported
# without it, and none with it.
BROKEN = {
    "waits_until_sent": (9, "all"),
    "waits_until_applied": (0, "relay"),
    "of_the_topic": (74, "kafka"),
    "watched_before_snapshot": (95, "all"),
    "differences_read_again": (391, "all"),
}


def without(name: str) -> Precautions:
    """Return all precautions but one."""
    return replace(ALL, **{name: False})


def verify(world: World, precautions: Precautions = ALL) -> Steps[None]:
    """Verify a random list; a difference breaks a promise.

    Nothing is checked if the history or a server was replaced meanwhile, as in check_pagination().
    """
    postgres, incarnation = world.postgres, world.redis.incarnation
    history = postgres.valid_history()
    if history is None or not is_paged(world, history):
        return
    lists = list(world.space(history).lists)
    if not lists:
        return
    key = world.rng.choice(lists)
    verification = _verification(world, precautions)
    list_ = TimelineList(key.user, ListKind(key.kind))
    try:
        difference: Difference | None = yield from drive(verification.verify(history, list_))
    except (NotVerifiableError, RedisAwayError, SessionLostError):
        world.figures["verifications given up"] += 1
        return
    world.figures["verifications"] += 1
    is_same = (postgres, incarnation) == (world.postgres, world.redis.incarnation)
    if difference is not None and is_same and is_paged(world, history):
        raise ViolationError(f"verified: {key} is called wrong: {difference.text}")


def _verification(world: World, precautions: Precautions) -> Verification:
    slept = [0.0]

    async def sleep(seconds: float) -> None:
        slept[0] += seconds
        for _ in range(3):
            await others_run()

    cache, store = _Cache(world, precautions), _Store(world, precautions)
    topic = _Topic(world, precautions)
    return Verification(cache, store, topic, sleep=sleep, clock=lambda: slept[0] / PAUSE_SECONDS)


class _Cache:
    """The `Cache`."""

    def __init__(self, world: World, precautions: Precautions) -> None:
        self._world = world
        self._precautions = precautions

    @asynccontextmanager
    async def watch(self, history: str, list_: TimelineList) -> AsyncIterator[_WatchedList]:
        self._world.redis.check()
        key = ListKey(list_.kind.value, list_.user_id)
        yield await _WatchedList.begin(self._world, self._precautions, history, key)

    async def random_list(self, history: str) -> TimelineList | None:
        raise NotImplementedError


class _WatchedList:
    """The `WatchedList`."""

    def __init__(self, world: World, precautions: Precautions, history: str, key: ListKey) -> None:
        self._world = world
        self._precautions = precautions
        self._space = world.space(history)
        self._key = key
        self._incarnation = world.redis.incarnation
        self._changes = self._space.changes.get(key)
        self.elements: Sequence[bytes] = list(self._space.lists.get(key, []))

    @classmethod
    async def begin(
        cls, world: World, precautions: Precautions, history: str, key: ListKey
    ) -> _WatchedList:
        watched = cls(world, precautions, history, key)
        await others_run()
        return watched

    async def checkpoints(self) -> Mapping[tuple[Shard, Partition], Checkpoint]:
        self._world.redis.check(self._incarnation)
        found = {
            (Shard(shard), Partition(partition)): (
                checkpoint
                if self._precautions.of_the_topic
                else replace(checkpoint, topic_id=str(self._world.kafka.topic_id))
            )
            for (shard, partition), checkpoint in self._space.checkpoints.items()
        }
        await others_run()
        return found

    async def finish(self, ids: Sequence[int]) -> Mapping[int, bytes]:
        self._world.redis.check(self._incarnation)
        if self._space.changes.get(self._key) != self._changes:
            raise NotVerifiableError("the list has changed")
        if self._space.lists.get(self._key, []) != self.elements:
            raise NotVerifiableError("the list is another one")
        values = {id_: value_of(self._space.tweet_cache.get(id_)) for id_ in ids}
        await others_run()
        return {id_: value for id_, value in values.items() if value is not None}


class _Store:
    """The `Store`."""

    def __init__(self, world: World, precautions: Precautions) -> None:
        self._world = world
        self._precautions = precautions
        # Only if the precaution is left out: the snapshot of the moment before the list was read.
        self._early = world.postgres.lsn
        self._first: Oracle | None = None

    async def history(self) -> str | None:
        raise NotImplementedError

    async def oracle(self, list_: TimelineList, floor: int, ids: Sequence[int]) -> Oracle:
        postgres = self._world.postgres
        postgres.check()
        if self._first is not None and not self._precautions.differences_read_again:
            return self._first
        at = postgres.lsn
        if not self._precautions.watched_before_snapshot:
            at = min(at, self._early)
        now = postgres.snapshots[at]
        oracle = self._first = Oracle(
            postgres.valid_history(),
            [row for row in _rows(postgres, at, list_) if row.id >= floor],
            [id_ for id_ in ids if id_ in now.tweets],
            [row.id for row in now.outbox.values() if row.sent_at is None],
        )
        await others_run()
        return oracle

    async def are_sent(self, events: Sequence[int]) -> bool:
        self._world.postgres.check()
        outbox = self._world.postgres.now.outbox
        are_sent = all(id_ not in outbox or outbox[id_].sent_at is not None for id_ in events)
        await others_run()
        return are_sent or not self._precautions.waits_until_sent


def _rows(postgres: Postgres, at: int, list_: TimelineList) -> list[StoredRow]:
    now = postgres.snapshots[at]
    is_home = list_.kind is ListKind.HOME
    tweets = (
        now.timeline(list_.user_id)
        if is_home
        else [now.tweets[id_] for id_ in now.tweets_of(list_.user_id)]
    )
    return [
        StoredRow(
            *(tweet.id, tweet.author, f"{tweet.version} {tweet.text}", tweet.version),
            _followed_since(postgres, at, (list_.user_id, tweet.author)) if is_home else 0,
        )
        for tweet in tweets
    ]


def _followed_since(postgres: Postgres, at: int, edge: tuple[int, int]) -> int:
    """Return the LSN since which an edge exists without a break."""
    while at and edge in postgres.snapshots[at - 1].follows:
        at -= 1
    return at


class _Topic:
    """The `Topic`."""

    def __init__(self, world: World, precautions: Precautions) -> None:
        self._world = world
        self._precautions = precautions

    async def ends(self) -> tuple[str, Mapping[Partition, int]]:
        kafka = self._world.kafka
        topic_id = kafka.topic_id
        await others_run()
        ends = {Partition(number): kafka.end(number) for number in range(PARTITIONS)}
        await others_run()
        if topic_id != kafka.topic_id:
            raise NotVerifiableError("the topic was recreated")
        if not self._precautions.waits_until_applied:
            ends = dict.fromkeys(ends, 0)
        return str(topic_id), ends
