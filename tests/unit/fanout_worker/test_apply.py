"""Which records take effect, and in which order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from confluent_kafka import KafkaException
from helpers.fakes.worker import FakeServers, FakeWorker
from helpers.fakes.worker_events import created, followed, stamped, unfollowed, updated
from redis.exceptions import ConnectionError as RedisConnectionError

from core.feed.events import REPLAYED_HEADER
from core.feed.sharding import Shard
from core.feed.timeline_lists import author_list, home_list
from core.runtime.metrics import Metric
from fanout_worker import chunks

Counted = Callable[[], Counter[Metric]]

AUTHOR, READER = 1, 20
UNREADABLE = b"not an event"


@pytest.fixture
def delivering(worker: FakeWorker) -> FakeWorker:
    """Return a worker with partition 0, an author there, and a follower with a cached list."""
    worker.servers.store.followers_of = {AUTHOR: [READER]}
    worker.assign(0)
    worker.cache(home_list(READER))
    worker.shards.calls.clear()
    return worker


def test_records_of_a_replaced_relay_are_skipped(delivering: FakeWorker, counted: Counted) -> None:
    """Such records are out of order, and the new relay has sent the same events again."""
    kafka = delivering.servers.kafka
    kafka.send(0, created(100, AUTHOR, epoch=2))
    kafka.send(0, created(101, AUTHOR, epoch=1))
    delivering.drain()
    kafka.send(0, created(102, AUTHOR, epoch=1))
    delivering.drain()
    assert delivering.cached(home_list(READER)) == {100}
    assert {c.epoch for c in delivering.stored(0) if c is not None} == {2}
    assert counted()[Metric.STALE_EPOCH_SKIPPED] == 2


def test_records_of_another_history_are_skipped(delivering: FakeWorker, counted: Counted) -> None:
    """The commits of such records are lost; the checkpoint passes them, without LSN and epoch."""
    foreign = created(100, AUTHOR, epoch=9, lsn=999)
    foreign.history = "fedcba9876"
    delivering.servers.kafka.send(0, foreign)
    delivering.drain()
    (checkpoint,) = delivering.stored(0)
    assert checkpoint is not None
    assert (checkpoint.epoch, checkpoint.lsn, checkpoint.last_event_id) == (1, 0, 100)
    assert delivering.cached(home_list(READER)) == set()
    assert counted()[Metric.FOREIGN_RECORD_SKIPPED] == 1


def test_followers_are_read_at_the_batchs_lsn(delivering: FakeWorker) -> None:
    """Postgres must have all commits of the batch, and all that the shards have applied."""
    delivering.servers.kafka.send(0, created(100, AUTHOR, lsn=40))
    delivering.servers.kafka.send(0, created(101, AUTHOR, lsn=30))
    delivering.drain()
    assert [moment.lsn for _, moment in delivering.servers.store.reads] == [40]


def test_a_follow_drops_the_list_before_the_tweets_of_its_batch(delivering: FakeWorker) -> None:
    """Once the list is rebuilt, it gets later tweets, because the index knows the new follower."""
    kafka = delivering.servers.kafka
    kafka.send(0, created(100, AUTHOR))
    delivering.drain()
    newcomer = READER + 16
    delivering.cache(home_list(newcomer))
    kafka.send(0, created(101, AUTHOR))
    kafka.send(0, followed(newcomer, AUTHOR))
    delivering.drain()
    assert delivering.cached(home_list(newcomer)) is None
    delivering.cache(home_list(newcomer))
    kafka.send(0, created(102, AUTHOR))
    kafka.send(0, unfollowed(READER, AUTHOR))
    delivering.drain()
    assert delivering.cached(home_list(newcomer)) == {102}
    assert delivering.cached(home_list(READER)) is None


def test_an_unreadable_record_drops_everything(delivering: FakeWorker, counted: Counted) -> None:
    """The record becomes a dead letter; the records after it are applied after the drop."""
    kafka = delivering.servers.kafka
    kafka.send(0, created(100, AUTHOR))
    kafka.send(0, UNREADABLE)
    kafka.send(0, created(101, AUTHOR))
    delivering.drain()
    assert [where for where, _ in kafka.dead_letters] == [(0, 1)]
    assert delivering.cached(home_list(READER)) is None
    tweets = {key for key in delivering.servers.redis.strings if b":tweet:" in key}
    assert tweets == {delivering.shards.keys.tweet(101).encode()}
    assert counted()[Metric.CACHE_DROPPED] == 1


def test_an_unreadable_record_moves_the_lsn_before_the_drop(delivering: FakeWorker) -> None:
    """What is built after the drop must have the effect of the unreadable record."""
    store = delivering.servers.store
    drop, lsns = delivering.shards.drop_caches, []

    def note_and_drop() -> None:
        lsns.append({c.lsn for c in delivering.stored(0) if c is not None})
        drop()

    delivering.shards.drop_caches = note_and_drop  # type: ignore[method-assign]
    store.lsn = 70
    delivering.servers.kafka.send(0, created(100, AUTHOR, lsn=10))
    delivering.servers.kafka.send(0, UNREADABLE)
    delivering.drain()
    assert lsns == [{70}]


def test_an_unreadable_record_drops_the_known_followers(delivering: FakeWorker) -> None:
    """The record may have been a follow, so the followers are read again."""
    delivering.servers.kafka.send(0, created(100, AUTHOR))
    delivering.drain()
    delivering.servers.kafka.send(0, UNREADABLE)
    delivering.servers.kafka.send(0, created(101, AUTHOR))
    delivering.drain()
    assert [users for users, _ in delivering.servers.store.reads] == [[AUTHOR], [AUTHOR]]


def test_an_unreadable_record_is_not_passed_without_its_copy(delivering: FakeWorker) -> None:
    """While the dead-letter topic refuses the copy, the worker stays before the record."""
    kafka = delivering.servers.kafka
    kafka.send(0, UNREADABLE)
    kafka.failure = KafkaException("away")
    delivering.step()
    delivering.step()
    assert {c.offset for c in delivering.stored(0) if c is not None} == {0}
    kafka.failure = None
    delivering.drain()
    assert [where for where, _ in kafka.dead_letters] == [(0, 0)]


def test_a_crash_before_the_drop_repeats_it(delivering: FakeWorker, servers: FakeServers) -> None:
    """The offset passes the unreadable record only after the caches have been dropped.

    If the drop fails, the offset stays at the unreadable record, and the worker starts there again.
    """
    servers.kafka.send(0, UNREADABLE)
    servers.kafka.send(0, created(101, AUTHOR))

    def fail() -> None:
        raise RedisConnectionError

    drop = delivering.shards.drop_caches
    delivering.shards.drop_caches = fail  # type: ignore[method-assign]
    delivering.step()
    assert {c.offset for c in delivering.stored(0) if c is not None} == {0}
    delivering.shards.drop_caches = drop  # type: ignore[method-assign]
    delivering.drain()
    assert delivering.cached(home_list(READER)) is None
    assert len(servers.kafka.dead_letters) == 2


def test_a_replayed_record_only_drops(delivering: FakeWorker, counted: Counted) -> None:
    """The record may be older than what is cached, so the tweet is neither cached nor pushed."""
    kafka, redis = delivering.servers.kafka, delivering.servers.redis
    kafka.send(0, created(100, AUTHOR))
    kafka.send(0, updated(100, AUTHOR, 3, "newest"))
    delivering.drain()
    assert redis.strings[delivering.shards.keys.tweet(100).encode()].startswith(b"3:")
    delivering.cache(author_list(AUTHOR), 100)
    kafka.send(0, created(100, AUTHOR), [(REPLAYED_HEADER, b"feed/0/0")])
    delivering.drain()
    assert delivering.shards.keys.tweet(100).encode() not in redis.strings
    assert delivering.cached(home_list(READER)) is None
    assert delivering.cached(author_list(AUTHOR)) is None
    assert len(delivering.servers.store.reads) == 2
    assert counted()[Metric.REPLAYED] == 1


def test_a_part_of_a_batch_moves_only_the_lsn(
    delivering: FakeWorker, monkeypatch: pytest.MonkeyPatch, counted: Counted
) -> None:
    """If a worker dies between two chunks, the offset has not moved, and the batch is repeated."""
    monkeypatch.setattr(chunks, "MAX_COMMANDS", 1)
    monkeypatch.setattr(chunks, "PIECE_COMMANDS", 1)
    kafka = delivering.servers.kafka
    for number in range(3):
        kafka.send(0, created(96 + 16 * number, AUTHOR, lsn=40))  # all in shard 0
    execute = delivering.shards._execute
    executed: list[Shard] = []

    def execute_first_then_die(transaction: object) -> None:
        if executed:
            raise RedisConnectionError
        executed.append(Shard(0))
        execute(transaction)  # type: ignore[arg-type]  # as it was called

    with monkeypatch.context() as patch:
        patch.setattr(delivering.shards, "_execute", execute_first_then_die)
        delivering.step()
    (moved, *others) = sorted(
        (c for c in delivering.stored(0) if c is not None), key=lambda c: -c.lsn
    )
    assert (moved.offset, moved.lsn) == (0, 40)
    assert {c.offset for c in others} == {0}
    delivering.drain()
    assert delivering.cached(home_list(READER)) == {96, 112, 128}
    assert counted()[Metric.BATCH_CUT] > 0


def test_an_event_of_a_relay_without_a_history_counts(delivering: FakeWorker) -> None:
    """Relays of older versions, which had no histories, leave the field empty."""
    event = stamped(created(100, AUTHOR), 100)
    event.history = ""
    delivering.servers.kafka.send(0, event)
    delivering.drain()
    assert delivering.cached(home_list(READER)) == {100}
