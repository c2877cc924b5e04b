"""Applies batches of messages from Kafka to Redis."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import psycopg
from redis.exceptions import RedisError

from core.feed.checkpoints import Checkpoint
from core.feed.history import Moment, OtherHistoryError
from core.feed.sharding import Partition
from core.runtime.metrics import METRICS, Metric
from core.storage.redis_memory import is_out_of_memory
from fanout_worker.checkpoints import CheckpointMismatch, CheckpointTable, earliest, group_shards
from fanout_worker.chunks import Round
from fanout_worker.fetched import FetchedBatch, RecordReader
from fanout_worker.followers import FollowerIndex
from fanout_worker.metrics import BATCH_RECORDS, BATCH_SECONDS
from fanout_worker.progress import Progress
from fanout_worker.protocols import (
    CheckpointRows,
    DeadLetterQueue,
    FollowerStore,
    Message,
    TimelineShards,
)
from fanout_worker.records import Record, advance, select_effective
from fanout_worker.rounds import make_rounds

# What the methods of BatchApplier raise, besides KafkaException, when a server does not answer.
SERVER_ERRORS = (RedisError, OSError, psycopg.Error, OtherHistoryError)


class BatchApplier:
    """Applies messages to Redis, starting at the checkpoints.

    The last round of a batch may still be under way in Redis while the next batch is prepared.
    Until it is done, the checkpoint table is one round ahead of Redis. If Redis refuses a round, a
    method raises CheckpointMismatch; the caller must then abandon() the batch under way and
    resume() from the checkpoints.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - its collaborators
        self,
        shards: TimelineShards,
        store: FollowerStore,
        dead_letters: DeadLetterQueue,
        checkpoints: CheckpointTable,
        followers: FollowerIndex,
        progress: Progress,
        tweet_ttl_seconds: int,
    ) -> None:
        """Apply to these shards; tweet_ttl_seconds is how long tweets stay in the tweet cache."""
        self._shards = shards
        self._store = store
        self._dead_letters = dead_letters
        self._checkpoints = checkpoints
        self._followers = followers
        self._progress = progress
        self._tweet_ttl_seconds = tweet_ttl_seconds
        self._reader = RecordReader()
        # The end offsets of the batch that is under way.
        self._ends: dict[Partition, int] = {}
        # When it was read, as time.monotonic() says.
        self._read_at = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether a batch is under way."""
        return bool(self._ends)

    def resume(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Load the checkpoints of partitions; return the offsets at which to consume.

        Raises:
            CheckpointMismatch: A checkpoint was not what was expected; try again.
            KafkaException, SERVER_ERRORS: A server does not answer.
        """
        self.settle()
        self.forget(partitions)
        self._checkpoints.load(partitions)
        self._reader.reset()
        rows = self._checkpoints.rows(partitions)
        return {partition: earliest(row).offset for partition, row in rows.items()}

    def forget(self, partitions: Iterable[Partition]) -> None:
        """Forget the checkpoints of partitions, and the followers of the authors in them."""
        forgotten = list(partitions)
        self._checkpoints.forget(forgotten)
        for partition in forgotten:
            self._followers.drop(partition)

    def abandon(self, partitions: Iterable[Partition]) -> None:
        """Forget the partitions and the batch under way, whether or not Redis applies it."""
        self._ends = {}
        self.forget(partitions)

    def reconnect(self, error: Exception) -> None:
        """Close all connections after a failure. If Redis is out of memory, drop all caches."""
        self._shards.close()
        self._store.close()
        self._dead_letters.close()
        if is_out_of_memory(error):
            self._shards.drop_caches_for_memory()

    def settle(self) -> None:
        """Wait until no batch is under way, and report its progress.

        Raises:
            CheckpointMismatch: Redis refused it.
            RedisError, OSError: Redis does not answer.
        """
        self._shards.settle()
        self._report()

    def apply(self, messages: Sequence[Message]) -> None:
        """Apply messages; the last round is still under way on return.

        Messages of partitions without known checkpoints are skipped.

        Raises:
            CheckpointMismatch: Redis refused a round.
            KafkaException, SERVER_ERRORS: A server does not answer.
        """
        partitions = self._checkpoints.partitions
        fetched = self._reader.read(messages, partitions, self._checkpoints.history)
        self._progress.fetched(fetched.ends, fetched.committed_at)
        if fetched.unreadable:
            self._pass_unreadable(fetched)
        if fetched.records:
            # Records that _pass_unreadable() applied are below the checkpoints now, and are
            # skipped.
            BATCH_RECORDS.observe(len(messages))
            self._advance(fetched, fetched.records, fetched.ends)
        self.forget(fetched.interrupted)

    def _pass_unreadable(self, fetched: FetchedBatch) -> None:
        """Apply each partition up to its last unreadable record, then drop everything cached.

        An unreadable record may have changed anything, so nothing cached can be trusted. The
        records before it are applied first. If they were applied after the drop, they would bring
        back what the unreadable record has ended: an older text, a deleted tweet, a follower.
        """
        for message, reason in fetched.dead_letters:
            self._dead_letters.add(message, reason)
        self._dead_letters.flush()
        ends = fetched.unreadable
        before = {
            partition: [record for record in fetched.records[partition] if record.offset < end]
            for partition, end in ends.items()
        }
        self._advance(fetched, before, ends)
        self._drop_everything(ends)

    def _drop_everything(self, partitions: Iterable[Partition]) -> None:
        """Drop everything cached, and the known followers of the authors in these partitions.

        The primary's current LSN is stored in the checkpoints first. Everything built afterwards is
        then read from a Postgres that has the effect of the unreadable records.
        """
        now, _ = self._store.now()
        if now.history != self._checkpoints.history:
            METRICS.add(Metric.CHECKPOINT_MISMATCH)
            raise CheckpointMismatch(f"the database left history {self._checkpoints.history}")
        before = self._checkpoints.rows(partitions)
        after = {
            partition: [replace(old, lsn=max(old.lsn, now.lsn)) for old in row]
            for partition, row in before.items()
        }
        self._move(make_rounds((), {}, self._shards.keys, self._tweet_ttl_seconds), before, after)
        self.settle()
        self._shards.drop_caches()
        for partition in before:
            self._followers.drop(partition)
        METRICS.add(Metric.CACHE_DROPPED)

    def _advance(
        self,
        fetched: FetchedBatch,
        records: Mapping[Partition, Sequence[Record]],
        ends: Mapping[Partition, int],
    ) -> None:
        """Apply some of the fetched records, and move their partitions to the end offsets."""
        before = self._checkpoints.rows(records)
        after: dict[Partition, list[Checkpoint]] = {}
        for partition, row in before.items():
            end = ends[partition]
            last_event_id = fetched.last_event_ids[partition, end]
            # Computed once per distinct checkpoint, because most shards have the same.
            moved = {old: advance(old, records[partition], end, last_event_id) for old in set(row)}
            after[partition] = [moved[old] for old in row]
        self._move(self._rounds(records, before), before, after)
        self._ends = dict(ends)
        self._read_at = fetched.read_at

    def _move(self, rounds: Iterable[Round], before: CheckpointRows, after: CheckpointRows) -> None:
        self._shards.apply(rounds, before, after)
        self._report()
        self._checkpoints.update(after)

    def _report(self) -> None:
        """Report that the batch that was under way is done."""
        known = self._checkpoints.partitions
        done = {partition: end for partition, end in self._ends.items() if partition in known}
        self._ends = {}
        if done:
            self._progress.applied(done)
            BATCH_SECONDS.observe(time.monotonic() - self._read_at)

    def _rounds(
        self, records: Mapping[Partition, Sequence[Record]], rows: CheckpointRows
    ) -> Iterator[Round]:
        """Yield rounds that apply the records to each shard from its checkpoints on.

        Raises:
            psycopg.Error, OtherHistoryError: Followers cannot be read.
        """
        needed: dict[Partition, list[Record]] = {}
        lsns = []
        for partition, fetched in records.items():
            start = earliest(rows[partition])
            lsns += [record.lsn for record in fetched]
            lsns += [checkpoint.lsn for checkpoint in rows[partition]]
            needed[partition] = select_effective(fetched, start.offset, start.epoch)
            fresh = sum(record.offset >= start.offset for record in fetched)
            METRICS.add(Metric.STALE_EPOCH_SKIPPED, fresh - len(needed[partition]))
            METRICS.add(Metric.REPLAYED, sum(record.is_replayed for record in needed[partition]))
        moment = Moment(self._checkpoints.history, max(lsns))
        followers = self._followers.followers_after(needed, moment)
        for progress, shards in group_shards(rows).items():
            effective = [
                record
                for (offset, epoch), of_partition in zip(progress, needed.values(), strict=True)
                for record in select_effective(of_partition, offset, epoch)
            ]
            for round_ in make_rounds(
                effective, followers, self._shards.keys, self._tweet_ttl_seconds, shards
            ):
                self._progress.watchdog.alive()
                yield round_
