"""The fan-out worker: consumes the topic, applies batches, and keeps its place by the fences.

Where a partition stands is what its progress keys in Redis say. The group's committed offsets are
for those who look at the group's lag.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import psycopg
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from redis.exceptions import RedisError

from core.feed.checkpoints import Checkpoint
from core.feed.history import OtherHistoryError
from core.feed.sharding import SHARDS
from core.runtime.metrics import METRICS, Metric
from core.runtime.watchdog import Watchdog
from core.settings import Settings
from core.storage.kafka import GROUP, client_settings
from core.storage.redis_memory import is_out_of_memory
from fanout_worker.apply import Applier
from fanout_worker.checkpoints import Checkpoints
from fanout_worker.dead_letters import DeadLetters
from fanout_worker.fetched import Fetched, Reader
from fanout_worker.followers import FollowerArrays
from fanout_worker.records import (
    Record,
    advanced,
    base_of,
)
from fanout_worker.rounds import Wave
from fanout_worker.shards import Fences, Shards
from fanout_worker.store import Store
from fanout_worker.topic import Topic

LOG = logging.getLogger(__name__)

BATCH = 5000
IDLE_SECONDS = 1.0
# A failure is tried again after so long, twice as long each time, at most the latter.
RETRY_SECONDS = 0.1
MAX_RETRY_SECONDS = 5.0


class Worker:
    """A thread that applies the partitions which the consumer group gives it."""

    def __init__(
        self, settings: Settings, store: Store, shards: Shards, followers: FollowerArrays
    ) -> None:
        bootstrap_servers, topic = settings.kafka_address(), settings.topic
        self._name = topic
        self._store = store
        self._shards = shards
        self._checkpoints = Checkpoints(
            shards,
            Topic(bootstrap_servers, topic, settings.silence_seconds),
            store,
            settings.redis_prefix,
        )
        self._followers = followers
        self._applier = Applier(followers, settings.timeline_ttl_seconds())
        self._dead_letters = DeadLetters(bootstrap_servers, topic)
        self._assigned: set[int] = set()
        # By partition, then shard: as they are when what is under way has been done. A partition
        # whose place is not known is not in it.
        self._fences: dict[int, list[Checkpoint]] = {}
        # By partition, where the batch that is under way in Redis ends.
        self._under_way: dict[int, int] = {}
        self._reader = Reader()
        # By partition, the highest offset that this worker has applied up to.
        self._reached: dict[int, int] = {}
        self._checked = 0.0
        self._failures = 0
        self._kafka_answers = True
        self._is_disconnected = False
        self.watchdog = Watchdog()
        self._consumer = Consumer(
            client_settings(bootstrap_servers, settings.silence_seconds)
            | {
                "group.id": GROUP,
                "partition.assignment.strategy": "range",
                "enable.auto.offset.store": False,
                # Short: another worker takes over soon, and one that was only slow is harmless,
                # because the fences keep it from writing.
                "session.timeout.ms": 6000,
                "heartbeat.interval.ms": 1500,
                # Never silently elsewhere than where the fences say.
                "auto.offset.reset": "error",
                "error_cb": self._note_client_error,
            }
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fanout")

    def start(self) -> None:
        """Start the thread; it waits for its servers as long as it takes."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the batch under way, commit the offsets, and stop."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        self._consumer.subscribe([self._name], on_assign=self._on_assign, on_revoke=self._on_revoke)
        while not self._stopping.is_set():
            try:
                self._step()
            except (
                *(RedisError, OSError, psycopg.Error, KafkaException, OtherHistoryError),
            ) as error:
                self._start_again(error)
            except Exception as error:
                LOG.exception("an unforeseen failure, which is a bug")
                self._start_again(error)
        with suppress(RedisError, OSError, KafkaException):
            self._settle()
        self._consumer.close()
        self._shards.close()
        self._store.close()

    def _step(self) -> None:
        if self._assigned - self._fences.keys():
            self._find_place()
        if messages := self._fetch():
            self._apply(messages)
        else:
            self._settle()
        if time.monotonic() - self._checked > IDLE_SECONDS:
            self._check_fences()
        has_places = self._assigned <= self._fences.keys()
        if has_places and self._kafka_answers and not self._under_way:
            self._note_success()

    def _note_success(self) -> None:
        self._failures = 0
        self.watchdog.worked()

    def _start_again(self, error: Exception) -> None:
        """Wait, and find the place anew; nothing is skipped, however often this fails."""
        METRICS.add(Metric.FANOUT_RESTARTED)
        wait = retry_seconds(self._failures)
        self._failures += 1
        LOG.warning("the fan-out starts again from its fences in %.1f s: %s", wait, error)
        self.watchdog.failed(error)
        self._forget(self._assigned)
        self._under_way = {}
        self._shards.close()
        self._store.close()
        self._dead_letters.close()
        if is_out_of_memory(error):
            self._shards.make_room()
        # Polling goes on, or the group would think this worker dead. What comes is dropped: the
        # partitions will be assigned anew, from where their fences say.
        again = time.monotonic() + wait
        while time.monotonic() < again and not self._stopping.is_set():
            self._consumer.poll(0.1)

    def _note_client_error(self, error: KafkaError) -> None:
        # Called within poll(). A Kafka that was away may come back as an older copy of itself.
        self._is_disconnected |= error.code() in {
            KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001 - librdkafka's own names
            KafkaError._TRANSPORT,  # noqa: SLF001
        }

    def _on_assign(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._assigned = {assigned.partition for assigned in partitions}
        self._forget(self._assigned)

    def _on_revoke(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Callbacks run within poll. What is under way was sent before, and counts or not as the
        # fences say: whoever has the partitions next looks at those.
        revoked = {partition.partition for partition in partitions}
        self._forget(revoked)
        self._assigned -= revoked

    def _forget(self, partitions: Iterable[int]) -> None:
        """Forget where the partitions stand, and the follower arrays as of there."""
        for partition in list(partitions):
            self._fences.pop(partition, None)
            self._followers.drop(partition)

    # Finding the place ---------------------------------------------------------------------

    def _find_place(self) -> None:
        """Look where the partitions stand, and seek to there; the next step tries again if not."""
        self._settle()
        partitions = sorted(self._assigned)
        self._forget(partitions)
        places = self._checkpoints.load(partitions)
        if places is None:
            return
        self._fences |= places
        for partition in partitions:
            offset = base_of(self._fences[partition]).offset
            METRICS.add(Metric.SEEK_BACK, offset < self._reached.get(partition, 0))
            self._reached[partition] = offset
        self._reader.forget()
        self._consumer.assign(
            [
                TopicPartition(self._name, partition, self._reached[partition])
                for partition in partitions
            ]
        )
        LOG.info("%d partitions go on from their fences", len(partitions))

    def _check_fences(self) -> None:
        """Forget the partitions that are not where they were left."""
        self._settle()
        if self._fences:
            # Reads go on while Postgres is away, and so does what needs no answer of it here.
            with suppress(psycopg.Error, OtherHistoryError):
                self._forget(self._checkpoints.moved(self._fences))
        # poll() does not tell a Kafka that is away from one that has nothing to send.
        try:
            self._kafka_answers = True
            if self._checkpoints.is_topic_recreated():
                self._forget(self._fences)
        except KafkaException as error:
            self._kafka_answers = False
            self.watchdog.failed(error)
        self._checked = time.monotonic()

    # Applying ------------------------------------------------------------------------------

    def _fetch(self) -> list[Message]:
        """Return what has come; wait for it if nothing else is to be done."""
        first = self._consumer.poll(0 if self._under_way else IDLE_SECONDS)
        fetched = []
        if first is not None:  # and not by its truth: a message without a value counts as false
            fetched = [first, *self._consumer.consume(BATCH - 1, timeout=0)]
        if self._is_disconnected:
            # What was fetched may be from before and after: it is fetched again, from the place.
            self._is_disconnected = False
            self._forget(self._assigned)
            return []
        return fetched

    def _apply(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if (error := message.error()) is not None:
                self._note_error(message.partition(), error)
        fetched = self._reader.read(messages, self._fences, self._checkpoints.history)
        records = fetched.records
        if unreadable := fetched.unreadable:
            for message, reason in fetched.dead_letters:
                self._dead_letters.add(message, reason)
            self._dead_letters.flush()
            # Applied after the drop, what stood before would bring back what an unreadable record
            # has ended: an older text, a deleted tweet, a follower.
            before = {p: [r for r in records[p] if r.offset < end] for p, end in unreadable.items()}
            if not (
                self._advance(fetched, before, unreadable) and self._drop_everything(unreadable)
            ):
                return
            for partition, end in unreadable.items():
                records[partition] = [r for r in records[partition] if r.offset > end]
        if records:
            self._advance(fetched, records, fetched.ends)
        self._forget(fetched.interrupted)

    def _advance(
        self, fetched: Fetched, records: Mapping[int, Sequence[Record]], ends: Mapping[int, int]
    ) -> bool:
        """Begin to apply some of the fetched records and to move to the ends.

        Return False if the place was lost.
        """
        moved = {}
        for partition, read in records.items():
            last = fetched.last_event_id(partition, end := ends[partition])
            moved[partition] = {
                fence: advanced(fence, read, end, last) for fence in set(self._fences[partition])
            }
        before = self._by_shard(records)
        after = [
            {partition: moved[partition][fence] for partition, fence in fences.items()}
            for fences in before
        ]
        if not self._move(self._waves(records), before, after):
            return False
        self._under_way = dict(ends)
        return True

    def _drop_everything(self, partitions: Iterable[int]) -> bool:
        """Drop what unreadable records may have touched, which is anything.

        The positions go first: whatever is built from then on has what those records tell of.
        Return False if the partitions are not where they were left.
        """
        now, _ = self._store.now()
        if now.history != self._checkpoints.history:
            self._lose_place()
            return False
        before = self._by_shard(partitions)
        after = [
            {
                partition: replace(fence, lsn=max(fence.lsn, now.lsn))
                for partition, fence in fences.items()
            }
            for fences in before
        ]
        nothing = self._applier.nothing(self._shards.keys)
        if not (self._move(nothing, before, after) and self._settle()):
            return False
        self._shards.drop_all()
        for partition in partitions:
            self._followers.drop(partition)
        METRICS.add(Metric.CACHE_DROPPED)
        return True

    def _by_shard(self, partitions: Iterable[int]) -> list[Fences]:
        return [
            {partition: self._fences[partition][shard] for partition in partitions}
            for shard in range(SHARDS)
        ]

    def _move(
        self, waves_: Iterable[Wave], before: Sequence[Fences], after: Sequence[Fences]
    ) -> bool:
        """Begin to apply waves and to move the fences; return False if the place was lost."""
        if not self._shards.apply(waves_, before, after):
            self._lose_place()
            return False
        self._confirm()
        for partition in before[0]:
            self._fences[partition] = [fences[partition] for fences in after]
        return True

    def _settle(self) -> bool:
        """Wait until nothing is under way; return False if the place was lost."""
        if not self._shards.settle():
            self._lose_place()
            return False
        self._confirm()
        return True

    def _lose_place(self) -> None:
        LOG.warning("Redis is not where it was left")
        METRICS.add(Metric.CHECKPOINT_MISMATCH)
        self._under_way = {}
        # Of all partitions: what was fetched is thrown away, and must be fetched again.
        self._forget(self._assigned)

    def _confirm(self) -> None:
        """Note that what was under way is done."""
        done = {p: end for p, end in self._under_way.items() if p in self._fences}
        self._under_way = {}
        if done:
            self._note_success()
            self._reached |= done
            self._consumer.store_offsets(
                offsets=[TopicPartition(self._name, p, end) for p, end in done.items()]
            )

    def _waves(self, records: Mapping[int, Sequence[Record]]) -> Iterator[Wave]:
        history = self._checkpoints.history
        for wave in self._applier.waves(records, self._fences, self._shards.keys, history):
            self.watchdog.alive()
            yield wave

    def _note_error(self, partition: int | None, error: KafkaError) -> None:
        if error.code() == KafkaError._AUTO_OFFSET_RESET and partition is not None:  # noqa: SLF001 - librdkafka's own name
            METRICS.add(Metric.OFFSET_GONE, partition in self._fences)
            self._forget([partition])  # Kafka does not have the offset: look what it has
        else:
            raise KafkaException(error)


def retry_seconds(failures: int) -> float:
    """Return how long to wait after so many failures in a row, in seconds."""
    # After a night of failures the power would be beyond any float.
    return min(RETRY_SECONDS * 2.0 ** min(failures, 16), MAX_RETRY_SECONDS)
