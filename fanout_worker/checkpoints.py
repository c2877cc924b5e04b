"""The checkpoint table: what a worker expects Redis to hold for its partitions.

The table is loaded from Redis when the worker gets partitions, and is updated with each batch. Each
batch is applied only if the stored checkpoints are those of the table. If they differ, for whatever
reason, the consumer gets a CheckpointMismatch, loads the table again, and seeks to its offsets.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import psycopg

from core.feed.checkpoints import Checkpoint
from core.feed.history import OtherHistoryError
from core.feed.sharding import Partition, Shard
from core.runtime.metrics import METRICS, Metric
from fanout_worker.chunks import ALL_SHARDS
from fanout_worker.protocols import CheckpointRows, FollowerStore, TimelineShards, TopicInspector

LOG = logging.getLogger(__name__)

# By partition: what was found in Redis for each shard.
_FoundRows = Mapping[Partition, Sequence[Checkpoint | None]]
# A checkpoint, and where it was found.
_Located = tuple[Shard, Partition, Checkpoint]


class CheckpointMismatch(Exception):  # noqa: N818 - it reports a state, as StopIteration does
    """A checkpoint in Redis, or what it refers to, is not what the worker expected.

    The worker can recover by itself: it must load the checkpoints and seek to their offsets. The
    message gives the reason.
    """


class CheckpointTable:
    """The expected checkpoints, by partition and then by shard."""

    def __init__(self, shards: TimelineShards, topic: TopicInspector, store: FollowerStore) -> None:
        """Start empty."""
        self._shards = shards
        self._topic = topic
        self._store = store
        self._topic_id = ""
        self._rows: dict[Partition, Sequence[Checkpoint]] = {}
        self.history = ""
        """The history that is applied to Redis; empty before the first load()."""

    @property
    def partitions(self) -> set[Partition]:
        """The partitions whose checkpoints are known."""
        return set(self._rows)

    def rows(self, partitions: Iterable[Partition]) -> CheckpointRows:
        """Return the checkpoints of some partitions, all of which must be known."""
        return {partition: self._rows[partition] for partition in partitions}

    def update(self, rows: CheckpointRows) -> None:
        """Replace the checkpoints of some partitions."""
        self._rows |= rows

    def forget(self, partitions: Iterable[Partition]) -> None:
        """Forget the checkpoints of partitions."""
        for partition in list(partitions):
            self._rows.pop(partition, None)

    def load(self, partitions: Sequence[Partition]) -> None:
        """Load the checkpoints of partitions from Redis, for the database's current history.

        Creates those that are absent, and removes those whose next records Kafka has lost.

        Raises:
            CheckpointMismatch: Some were removed, or changed during the call; load again.
            OtherHistoryError: No history has begun on this Postgres yet.
            RedisError, OSError, psycopg.Error, KafkaException: A server does not answer.
        """
        self._enter_current_history()
        # Checkpoints are read before the offset ranges. In the other order, another worker could
        # move a checkpoint beyond the end that was read, which would look like lost records.
        found = self._shards.read_checkpoints(partitions)
        topic_id = self._topic.topic_id()
        ranges = self._topic.offset_ranges(partitions)
        if lost := self._find_lost(found, topic_id, ranges):
            for shard, partition, checkpoint in lost:
                self._shards.remove_checkpoint(shard, partition, checkpoint)
            raise CheckpointMismatch("Kafka lost records; their checkpoints were removed")
        if any(checkpoint is None for row in found.values() for checkpoint in row):
            self._create_absent(found, topic_id, ranges)
            found = self._shards.read_checkpoints(partitions)
            if any(checkpoint.topic_id != topic_id for _, _, checkpoint in _each(found)):
                raise CheckpointMismatch("another worker created checkpoints of another topic")
        rows = {
            partition: [checkpoint for checkpoint in row if checkpoint is not None]
            for partition, row in found.items()
        }
        if any(len(row) < len(ALL_SHARDS) for row in rows.values()):
            raise CheckpointMismatch("checkpoints were removed while they were loaded")
        self._topic_id = topic_id
        self.update(rows)

    def verify(self) -> None:
        """Compare the table with the stored checkpoints, and the history with the database's.

        Must not be called while a batch is under way. Does nothing while Postgres does not answer:
        the worker could not load checkpoints then, but can still deliver to followers that it
        knows.

        Raises:
            CheckpointMismatch: They differ.
            RedisError, OSError: Redis does not answer.
        """
        if not self._rows:
            return
        try:
            moment, _ = self._store.now()
        except (psycopg.Error, OtherHistoryError):
            return
        if moment.history != self.history:
            raise CheckpointMismatch(f"the database left history {self.history}")
        found = self._shards.read_checkpoints(sorted(self._rows))
        changed = [p for p, row in found.items() if list(row) != list(self._rows[p])]
        if changed:
            METRICS.add(Metric.CHECKPOINT_MISMATCH, len(changed))
            raise CheckpointMismatch(f"checkpoints changed in Redis for partitions {changed}")

    def verify_topic(self) -> None:
        """Compare the topic's id with the one that load() found.

        If a recreated topic already has the next offset, fetching from it does not raise an error.

        Raises:
            CheckpointMismatch: They differ.
            KafkaException: Kafka does not answer.
        """
        if self._topic_id and self._topic.topic_id() != self._topic_id:
            raise CheckpointMismatch("topic was recreated (topic id changed)")

    def _enter_current_history(self) -> None:
        moment, _ = self._store.now()
        if moment.history == self.history:
            return
        LOG.info("applying events of history=%s", moment.history)
        METRICS.add(Metric.HISTORY_MOVED, bool(self.history))
        self.history = moment.history
        self._shards.enter_history(moment.history)

    def _create_absent(
        self, found: _FoundRows, topic_id: str, ranges: Mapping[Partition, tuple[int, int]]
    ) -> None:
        """Create the absent checkpoints at the ends of their partitions.

        The order of the steps matters. Cached data must be dropped first, because lists that
        outlived their checkpoint may lack anything. The end offsets must be read before the LSN:
        then every Postgres that has reached the LSN has the effect of all events below those
        offsets.
        """
        self._remove_ended_histories()
        self._shards.drop_caches()
        last_event_ids = self._topic.event_ids(
            {partition: end - 1 for partition, (start, end) in ranges.items() if end > start}
        )
        moment, epoch = self._store.now()
        if moment.history != self.history:
            raise CheckpointMismatch(f"the database left history {self.history}")
        for partition, row in found.items():
            _, end = ranges[partition]
            last_event_id = last_event_ids.get(partition, 0)
            created = Checkpoint(end, moment.lsn, epoch, topic_id, last_event_id)
            for shard, checkpoint in zip(ALL_SHARDS, row, strict=True):
                if checkpoint is None:
                    self._shards.create_checkpoint(shard, partition, created)

    def _remove_ended_histories(self) -> None:
        ended = self._store.ended_histories()
        removed = self._shards.remove_histories(ended) if ended else 0
        if removed:
            LOG.info("removed keys of ended histories: keys=%d", removed)
            METRICS.add(Metric.NAMESPACE_REMOVED)

    def _find_lost(
        self, found: _FoundRows, topic_id: str, ranges: Mapping[Partition, tuple[int, int]]
    ) -> list[_Located]:
        """Return the checkpoints whose next records Kafka has lost or replaced by others."""
        lost: list[_Located] = []
        # Checkpoints whose last event is still to be compared with the record before their offset,
        # by partition and the offset of that record.
        unconfirmed: dict[tuple[Partition, int], list[_Located]] = {}
        for shard, partition, checkpoint in _each(found):
            start, end = ranges[partition]
            if checkpoint.topic_id != topic_id or not start <= checkpoint.offset <= end:
                lost.append((shard, partition, checkpoint))
            elif checkpoint.last_event_id and checkpoint.offset > start:
                before = (partition, checkpoint.offset - 1)
                unconfirmed.setdefault(before, []).append((shard, partition, checkpoint))
        while unconfirmed:
            # event_ids() takes one offset per partition, so dict() leaves one of each. A partition
            # has several only after a failure in the middle of a batch.
            offsets = dict(unconfirmed.keys())
            event_ids = self._topic.event_ids(offsets)
            for before in offsets.items():
                event_id = event_ids.get(before[0])
                for shard, partition, checkpoint in unconfirmed.pop(before):
                    if event_id not in {None, checkpoint.last_event_id}:
                        lost.append((shard, partition, checkpoint))
        for shard, partition, checkpoint in lost:
            LOG.error(
                "Kafka lost records; all cached timelines will be rebuilt: "
                "partition=%d shard=%d offset=%d last_event_id=%d",
                *(partition, shard, checkpoint.offset, checkpoint.last_event_id),
            )
        return lost


def earliest(row: Sequence[Checkpoint]) -> Checkpoint:
    """Return a checkpoint to start from: a record that counts for any shard counts for it too.

    It has the lowest offset and the lowest epoch of the row. These may come from different shards:
    a checkpoint that was created later may have a lower offset and a higher epoch.
    """
    lowest = min(row, key=lambda checkpoint: checkpoint.offset)
    return replace(lowest, epoch=min(checkpoint.epoch for checkpoint in row))


def of_shard(rows: CheckpointRows, shard: Shard) -> dict[Partition, Checkpoint]:
    """Return the checkpoints of one shard by partition."""
    return {partition: row[shard] for partition, row in rows.items()}


def group_shards(rows: CheckpointRows) -> dict[tuple[tuple[int, int], ...], list[Shard]]:
    """Group the shards by their progress, which is their offset and epoch in each partition.

    There is more than one group only after a failure in the middle of a batch.
    """
    groups: dict[tuple[tuple[int, int], ...], list[Shard]] = {}
    for shard in ALL_SHARDS:
        progress = tuple((row[shard].offset, row[shard].epoch) for row in rows.values())
        groups.setdefault(progress, []).append(shard)
    return groups


def _each(found: _FoundRows) -> Iterator[_Located]:
    """Yield the checkpoints that are not absent, each with its shard and partition."""
    for partition, row in found.items():
        for shard, checkpoint in zip(ALL_SHARDS, row, strict=True):
            if checkpoint is not None:
                yield shard, partition, checkpoint
