"""Where the partitions stand: the progress keys of the current history, looked up or created."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from core.feed.checkpoints import Checkpoint
from core.feed.history import Moment
from core.feed.keys import Keys
from core.feed.sharding import SHARDS
from core.runtime.metrics import METRICS, Metric
from fanout_worker.shards import Shards
from fanout_worker.store import Store
from fanout_worker.topic import Topic

LOG = logging.getLogger(__name__)

# By partition, the first offset that Kafka has, and the one after its last.
Ranges = Mapping[int, tuple[int, int]]
# By partition, then shard.
Places = dict[int, list[Checkpoint]]
# (shard, partition, what the key says)
_Key = tuple[int, int, Checkpoint]


class Checkpoints:
    """Finds out where partitions stand, and notices when that is no longer true."""

    def __init__(self, shards: Shards, topic: Topic, store: Store, prefix: str) -> None:
        """Use these; prefix: FANFARE_REDIS_PREFIX."""
        self._shards = shards
        self._topic = topic
        self._store = store
        self._prefix = prefix
        self._topic_id = ""
        self.history = ""
        """The history that is applied to Redis; empty before the first load()."""

    def load(self, partitions: Sequence[int]) -> Places | None:
        """Return where the partitions stand; None if that changed meanwhile, so look again.

        Moves to the history that the database is at now. Creates the progress keys that are absent,
        and removes those whose records Kafka has lost.

        Raises:
            RedisError, OSError, psycopg.Error, KafkaException: a server does not answer.
            OtherHistoryError: no history has begun on this Postgres yet.
        """
        self._enter(self._store.now()[0])
        # The keys before the ranges: another worker may move them on meanwhile, and a key beyond
        # the end that Kafka had before looks like one whose records are lost.
        found = self._shards.fences(partitions)
        topic_id = self._topic.id()
        ranges = self._topic.ranges(partitions)
        if lost := self._lost(found, topic_id, ranges):
            for shard, partition, fence in lost:
                self._shards.remove_fence(shard, partition, fence)
            return None
        absent = [(shard, partition) for shard, partition, fence in _each(found) if fence is None]
        if absent:
            self._remove_ended_histories()
            # Lists that outlived their fence may lack anything.
            self._shards.drop_all()
            # At the log's end, which is noted first, and the WAL read after it: what is in Kafka
            # before the end is then in every Postgres that a list may be built from.
            last = self._topic.event_ids(
                {p: high - 1 for p, (low, high) in ranges.items() if high > low}
            )
            moment, epoch = self._store.now()
            if moment.history != self.history:
                return None
            for shard, partition in absent:
                _, end = ranges[partition]
                progress = Checkpoint(end, moment.lsn, epoch, topic_id, last.get(partition, 0))
                self._shards.create_fence(shard, partition, progress)
            found = self._shards.fences(partitions)
            # Another worker, which knew the topic before this one, may have created some of them.
            if any(fence and fence.topic_id != topic_id for _, _, fence in _each(found)):
                return None
        self._topic_id = topic_id
        places = {
            partition: [held for shard in range(SHARDS) if (held := found[shard][partition])]
            for partition in partitions
        }
        # Fewer than shards: Redis was emptied in between.
        return places if all(len(fences) == SHARDS for fences in places.values()) else None

    def moved(self, places: Places) -> set[int]:
        """Return the partitions that are no longer where they were left in Redis.

        All of them when the database has come to another history. Raises what load() raises.
        """
        if self._store.now()[0].history != self.history:
            LOG.warning("the database has left history=%s", self.history)
            return set(places)
        moved = set()
        for shard, partition, fence in _each(self._shards.fences(sorted(places))):
            if places[partition][shard] != fence:
                moved.add(partition)
        if moved:
            LOG.warning("progress keys in Redis have changed: partitions=%s", sorted(moved))
            METRICS.add(Metric.CHECKPOINT_MISMATCH, len(moved))
        return moved

    def is_topic_recreated(self) -> bool:
        """Return whether the topic is another one than load() found; raises KafkaException.

        Kafka need not say so by itself: a topic made anew may have the offset that is next.
        """
        is_other = bool(self._topic_id) and self._topic.id() != self._topic_id
        if is_other:
            LOG.warning("topic was recreated (topic id changed)")
        return is_other

    def _enter(self, moment: Moment) -> None:
        if moment.history == self.history:
            return
        LOG.info("applying events of history=%s", moment.history)
        METRICS.add(Metric.HISTORY_MOVED, bool(self.history))
        self.history = moment.history
        self._shards.keys = Keys.of(self._prefix, moment.history)

    def _remove_ended_histories(self) -> None:
        ended = self._store.ended_histories()
        removed = self._shards.remove_histories(self._prefix, ended) if ended else 0
        if removed:
            LOG.info("removed the keys of ended histories: keys=%d", removed)
            METRICS.add(Metric.NAMESPACE_REMOVED)

    def _lost(
        self, found: Sequence[Mapping[int, Checkpoint | None]], topic_id: str, ranges: Ranges
    ) -> list[_Key]:
        """Return the keys whose next records Kafka has lost, or has others in the place of."""
        lost: list[_Key] = []
        # By partition and offset: the keys that say which record is the one before the offset.
        checked: dict[tuple[int, int], list[_Key]] = {}
        for shard, partition, fence in _each(found):
            if fence is None:
                continue
            key = (shard, partition, fence)
            low, high = ranges[partition]
            if fence.topic_id != topic_id or not low <= fence.offset <= high:
                lost.append(key)
            elif fence.last_event_id and fence.offset > low:
                checked.setdefault((partition, fence.offset - 1), []).append(key)
        while checked:
            # One offset of each partition at a time; more than one only after a failure.
            offsets = dict(checked.keys())
            stand = self._topic.event_ids(offsets)
            for place in offsets.items():
                keys = checked.pop(place)
                lost += [
                    key
                    for key in keys
                    if stand.get(place[0], key[2].last_event_id) != key[2].last_event_id
                ]
        for shard, partition, fence in lost:
            LOG.error(
                "Kafka lost records; cached timelines are built anew: partition=%d shard=%d "
                "offset=%d last_event_id=%d",
                *(partition, shard, fence.offset, fence.last_event_id),
            )
        return lost


def _each(
    found: Sequence[Mapping[int, Checkpoint | None]],
) -> Iterable[tuple[int, int, Checkpoint | None]]:
    """Yield (shard, partition, fence)."""
    for shard, fences in enumerate(found):
        for partition, fence in fences.items():
            yield shard, partition, fence
