"""Which checkpoints the worker creates, removes, and refuses to go on from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

import pytest
from helpers.fakes.worker import FakeServers, FakeWorker
from helpers.fakes.worker_events import created
from helpers.fakes.worker_kafka import FakeTopicInspector

from core.feed.checkpoints import Checkpoint
from core.feed.history import Lsn, OtherHistoryError
from core.feed.sharding import SHARDS, Partition, Shard
from core.feed.timeline_lists import home_list
from core.runtime.metrics import Metric
from fanout_worker.checkpoints import CheckpointMismatch, group_shards, of_shard
from fanout_worker.chunks import ALL_SHARDS

Counted = Callable[[], Counter[Metric]]
P0 = Partition(0)


@pytest.fixture
def loaded(worker: FakeWorker) -> FakeWorker:
    """Return a worker at offset 3 of partition 0, with a cached list."""
    for number in range(3):
        worker.servers.kafka.send(0, created(100 + number, 1))
    worker.assign(0)
    worker.cache(home_list(20))
    worker.shards.calls.clear()
    return worker


def _offsets(worker: FakeWorker) -> set[int]:
    return {checkpoint.offset for checkpoint in worker.stored(0) if checkpoint is not None}


def test_absent_checkpoints_are_created_at_the_end(worker: FakeWorker) -> None:
    """A new checkpoint has the primary's LSN and epoch, and the id of the last event in Kafka."""
    worker.servers.kafka.send(0, created(100, 1))
    worker.servers.store.lsn, worker.servers.store.epoch = 70, 4
    worker.assign(0)
    assert worker.stored(0) == {Checkpoint(1, Lsn(70), 4, "topic-1", 100)}


def test_caches_are_dropped_before_checkpoints_are_created(worker: FakeWorker) -> None:
    """A list that outlived its checkpoint may lack anything."""
    worker.assign(0)
    assert worker.shards.calls == ["drop_caches", *["create_checkpoint"] * SHARDS]


def test_the_lsn_is_read_after_the_end_of_the_log(
    worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise lists would be built without events below the offset."""

    def read_then_commit(
        _inspector: FakeTopicInspector, partitions: Collection[Partition]
    ) -> dict[Partition, tuple[int, int]]:
        worker.servers.store.lsn += 50
        return dict.fromkeys(partitions, (0, 0))

    monkeypatch.setattr(FakeTopicInspector, "offset_ranges", read_then_commit)
    worker.assign(0)
    assert {checkpoint.lsn for checkpoint in worker.stored(0) if checkpoint} == {50}


def test_checkpoints_are_read_before_the_end_of_the_log(
    loaded: FakeWorker, monkeypatch: pytest.MonkeyPatch, counted: Counted
) -> None:
    """In the other order another worker's progress would look like lost records."""
    servers = loaded.servers
    read = FakeTopicInspector.offset_ranges
    other = FakeWorker(servers)
    other.assign(0)

    def read_while_another_worker_moves_on(
        inspector: FakeTopicInspector, partitions: Collection[Partition]
    ) -> dict[Partition, tuple[int, int]]:
        ranges = read(inspector, partitions)
        monkeypatch.undo()
        servers.kafka.send(0, created(200, 1))
        other.drain()
        return ranges

    monkeypatch.setattr(FakeTopicInspector, "offset_ranges", read_while_another_worker_moves_on)
    loaded.checkpoints.forget([P0])
    loaded.checkpoints.load([P0])
    assert counted()[Metric.CHECKPOINT_MISMATCH] == 0
    assert _offsets(loaded) == {4}
    assert "remove_checkpoint" not in loaded.shards.calls


def test_one_absent_checkpoint_is_created_beside_the_others(loaded: FakeWorker) -> None:
    """The others keep their offsets, and all lists are built again."""
    loaded.servers.kafka.send(0, created(200, 1))
    loaded.servers.redis.unlink(loaded.shards.keys.checkpoint(Shard(5), P0))
    loaded.checkpoints.load([P0])
    assert [checkpoint.offset for checkpoint in loaded.checkpoints.rows([P0])[P0]] == [
        4 if shard == 5 else 3 for shard in ALL_SHARDS
    ]
    assert loaded.cached(home_list(20)) is None


def test_lost_records_remove_the_checkpoint_and_the_caches(loaded: FakeWorker) -> None:
    """Kafka was restored from a copy that ends before the checkpoint."""
    loaded.servers.kafka.lose_newest(0, end=1)
    with pytest.raises(CheckpointMismatch):
        loaded.checkpoints.load([P0])
    assert loaded.stored(0) == {None}
    loaded.checkpoints.load([P0])
    assert _offsets(loaded) == {1}
    assert loaded.cached(home_list(20)) is None


def test_replaced_records_count_as_lost(loaded: FakeWorker) -> None:
    """Kafka was restored from an older copy, and has another event before the offset."""
    loaded.servers.kafka.lose_newest(0, end=1)
    loaded.servers.kafka.send(0, created(301, 1))
    loaded.servers.kafka.send(0, created(302, 1))
    with pytest.raises(CheckpointMismatch):
        loaded.checkpoints.load([P0])
    assert loaded.stored(0) == {None}


def test_an_unreadable_record_before_the_offset_counts_as_another(loaded: FakeWorker) -> None:
    """A known event cannot have become unreadable, so it was replaced."""
    loaded.servers.kafka.lose_newest(0, end=2)
    loaded.servers.kafka.send(0, b"not an event")
    with pytest.raises(CheckpointMismatch):
        loaded.checkpoints.load([P0])


def test_a_record_that_retention_deleted_counts_as_the_same(loaded: FakeWorker) -> None:
    """Only the record before the offset is gone, which has been applied."""
    loaded.servers.kafka.starts[P0] = 3
    loaded.checkpoints.load([P0])
    assert _offsets(loaded) == {3}


def test_shards_at_different_offsets_are_all_compared(loaded: FakeWorker) -> None:
    """Only the shard that went past a replaced record has lost something."""
    behind = Checkpoint(1, Lsn(0), 1, "topic-1", 100)
    loaded.servers.redis.set(loaded.shards.keys.checkpoint(Shard(5), P0), behind.encode())
    loaded.servers.kafka.lose_newest(0, end=2)
    loaded.servers.kafka.send(0, created(302, 1))
    with pytest.raises(CheckpointMismatch):
        loaded.checkpoints.load([P0])
    assert loaded.stored(0) == {None, behind}


def test_checkpoints_of_a_recreated_topic_are_removed(loaded: FakeWorker) -> None:
    """Their offsets belong to the former topic, even if the new one has such offsets."""
    loaded.servers.kafka.topic_id = "topic-2"
    with pytest.raises(CheckpointMismatch):
        loaded.checkpoints.load([P0])
    assert loaded.stored(0) == {None}


def test_another_workers_checkpoints_of_another_topic_are_refused(
    loaded: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers create checkpoints while the topic is recreated: the later one loads again."""
    stale = Checkpoint(0, Lsn(0), 1, "topic-0")
    key = loaded.shards.keys.checkpoint(Shard(5), P0)
    loaded.servers.redis.unlink(key)
    drop = loaded.shards.drop_caches

    def drop_while_another_worker_creates() -> None:
        drop()
        loaded.servers.redis.set(key, stale.encode())

    monkeypatch.setattr(loaded.shards, "drop_caches", drop_while_another_worker_creates)
    loaded.checkpoints.forget([P0])
    with pytest.raises(CheckpointMismatch):
        loaded.checkpoints.load([P0])
    assert loaded.checkpoints.partitions == set()


@pytest.mark.parametrize("history", ["fedcba9876", None])
def test_nothing_is_created_when_the_history_ends_meanwhile(
    worker: FakeWorker, monkeypatch: pytest.MonkeyPatch, history: str | None
) -> None:
    """The LSN would be of another history than the keys."""
    store = worker.servers.store
    event_ids = FakeTopicInspector.event_ids

    def end_history(*arguments: Any) -> dict[Partition, int]:
        store.history = history
        return event_ids(*arguments)

    monkeypatch.setattr(FakeTopicInspector, "event_ids", end_history)
    with pytest.raises((CheckpointMismatch, OtherHistoryError)):
        worker.checkpoints.load([P0])
    assert "create_checkpoint" not in worker.shards.calls


def test_checkpoints_that_vanish_while_they_are_loaded_are_refused(
    worker: FakeWorker, servers: FakeServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis was emptied between creating them and reading them again."""
    create = worker.shards.create_checkpoint

    def create_and_lose(shard: Shard, partition: Partition, checkpoint: Checkpoint) -> None:
        create(shard, partition, checkpoint)
        if shard == 7:
            servers.redis.flush()

    monkeypatch.setattr(worker.shards, "create_checkpoint", create_and_lose)
    with pytest.raises(CheckpointMismatch):
        worker.checkpoints.load([P0])
    assert worker.checkpoints.partitions == set()


def test_rows_have_a_view_by_shard() -> None:
    """Each shard's checkpoints by partition, and the shards that are equally far."""
    behind, ahead = Checkpoint(1, Lsn(0), 1, "t"), Checkpoint(4, Lsn(9), 1, "t")
    rows = {P0: [behind] * SHARDS, Partition(3): [ahead] * SHARDS}
    assert of_shard(rows, Shard(2)) == {P0: behind, Partition(3): ahead}
    assert group_shards(rows) == {((1, 1), (4, 1)): [*ALL_SHARDS]}
    rows[P0] = [ahead, *[behind] * (SHARDS - 1)]
    assert group_shards(rows) == {
        ((4, 1), (4, 1)): [Shard(0)],
        ((1, 1), (4, 1)): [*ALL_SHARDS[1:]],
    }
