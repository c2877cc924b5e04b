"""The consumer: polls Kafka, follows rebalances, and starts again after failures.

Only the checkpoints in Redis decide where to consume. The offsets committed to the consumer group
are for tools that show its lag.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from confluent_kafka import KafkaError, KafkaException

from core.feed.sharding import Partition
from core.runtime.metrics import METRICS, Metric
from fanout_worker.apply import SERVER_ERRORS, BatchApplier
from fanout_worker.checkpoints import CheckpointMismatch, CheckpointTable
from fanout_worker.progress import Progress
from fanout_worker.protocols import GroupConsumer, Message

LOG = logging.getLogger(__name__)

# How long one poll waits for messages.
POLL_SECONDS = 1.0
# How often the checkpoints and the topic's id are compared with what the worker expects.
VERIFY_SECONDS = 1.0
# How often the ends of the partitions are looked at for the metrics.
LAG_SECONDS = 1.0
# How long one poll takes while a retry is awaited.
RETRY_POLL_SECONDS = 0.1


class FanoutConsumer:
    """A thread that applies the records of the partitions that the consumer group assigns to it."""

    def __init__(
        self,
        group: GroupConsumer,
        checkpoints: CheckpointTable,
        applier: BatchApplier,
        progress: Progress,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Consume from the group; clock returns seconds, as time.monotonic() does."""
        self._group = group
        self._checkpoints = checkpoints
        self._applier = applier
        self._progress = progress
        self._clock = clock
        self._assigned: set[Partition] = set()
        self._verified_at = self._ends_noted_at = -math.inf
        self._kafka_answers = True
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fanout")

    def start(self) -> None:
        """Start the thread, which waits for its servers without a time limit."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, after the batch under way is finished."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        self.subscribe()
        while not self._stopping.is_set():
            self.run_once()
        with suppress(CheckpointMismatch, KafkaException, *SERVER_ERRORS):
            self._applier.settle()

    def subscribe(self) -> None:
        """Join the consumer group; the thread does this first."""
        self._group.subscribe(self._on_assign, self._on_revoke)

    def run_once(self) -> None:
        """Do one step of the thread's loop: fetch, apply and verify, or recover from a failure.

        No record is skipped, however often this fails.
        """
        try:
            self._step()
        except CheckpointMismatch as mismatch:
            self._reload(mismatch)
        except (KafkaException, *SERVER_ERRORS) as error:
            self._retry(error)
        except Exception as error:
            LOG.exception("unexpected error in the fan-out; this is a bug")
            self._retry(error)

    def _step(self) -> None:
        if self._clock() - self._ends_noted_at > LAG_SECONDS:
            # In this thread: confluent-kafka lets one thread at a time use a client, and while the
            # fan-out waits for records, another one would wait too, looking again all the time.
            self._progress.note_ends()
            self._ends_noted_at = self._clock()
        if self._assigned - self._checkpoints.partitions:
            self._resume()
        if messages := self._fetch():
            self._apply(messages)
        else:
            self._applier.settle()
        if self._clock() - self._verified_at > VERIFY_SECONDS:
            self._verify()
        has_checkpoints = self._assigned <= self._checkpoints.partitions
        if has_checkpoints and self._kafka_answers and not self._applier.is_busy:
            self._progress.succeeded()

    def _resume(self) -> None:
        """Load the checkpoints of all assigned partitions, and seek to them."""
        offsets = self._applier.resume(sorted(self._assigned))
        self._progress.resumed(offsets)
        self._group.seek(offsets)
        # Loading has compared everything that _verify() compares.
        self._verified_at = self._clock()
        LOG.info("consuming from the checkpoints: partitions=%d", len(offsets))

    def _fetch(self) -> Sequence[Message]:
        """Return new messages; wait for them only if no batch is under way."""
        messages = self._group.fetch(0 if self._applier.is_busy else POLL_SECONDS)
        if self._group.take_disconnected():
            # Kafka may have been restored from an older copy meanwhile: some of the messages may be
            # from before the restore, others from after it. All are dropped, and fetched again
            # once the checkpoints are loaded.
            self._applier.forget(self._assigned)
            return []
        return messages

    def _apply(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if (error := message.error()) is not None:
                self._handle_error(message.partition(), error)
        self._applier.apply(messages)

    def _handle_error(self, partition: int | None, error: KafkaError) -> None:
        if error.code() != KafkaError._AUTO_OFFSET_RESET or partition is None:  # noqa: SLF001 - librdkafka's own name
            raise KafkaException(error)
        # Kafka does not have the offset. Loading the checkpoints shows which records are lost.
        METRICS.add(Metric.OFFSET_GONE, partition in self._checkpoints.partitions)
        self._applier.forget([Partition(partition)])

    def _verify(self) -> None:
        """Compare what the worker expects with Redis, the database and Kafka."""
        self._applier.settle()
        self._checkpoints.verify()
        try:
            # An empty poll() may mean that Kafka is away, or that there are no new messages.
            self._checkpoints.verify_topic()
            self._kafka_answers = True
        except KafkaException as error:
            self._kafka_answers = False
            self._progress.watchdog.failed(error)
        self._verified_at = self._clock()

    def _reload(self, mismatch: CheckpointMismatch) -> None:
        """Forget all checkpoints, so that the next step loads them and seeks.

        All partitions are forgotten, because the batch that is thrown away may have messages of any
        of them.
        """
        LOG.warning("checkpoint mismatch; reloading checkpoints from Redis: reason=%s", mismatch)
        self._applier.abandon(self._assigned)
        # Polling must go on even if mismatches repeat: it keeps the worker in the group, and
        # reports rebalances.
        self._group.discard(0)

    def _retry(self, error: Exception) -> None:
        """Wait, so that the next step starts again from the checkpoints with new connections."""
        seconds = self._progress.failed(error)
        LOG.warning(
            "fan-out failed; retrying from the checkpoints: retry_in_seconds=%.1f error=%s",
            *(seconds, error),
        )
        self._applier.abandon(self._assigned)
        self._applier.reconnect(error)
        # Polling keeps the worker in the group. Messages are dropped, because the next step seeks
        # to the checkpoints anyway.
        retry_at = self._clock() + seconds
        while self._clock() < retry_at and not self._stopping.is_set():
            self._group.discard(RETRY_POLL_SECONDS)

    def _on_assign(self, partitions: set[Partition]) -> None:
        self._assigned = partitions
        self._applier.forget(partitions)

    def _on_revoke(self, partitions: set[Partition]) -> None:
        # A round under way may still take effect, or be refused if the next owner has moved the
        # checkpoints. The next owner starts from the checkpoints, so both outcomes are correct.
        self._applier.forget(partitions)
        self._progress.revoked(partitions)
        self._assigned -= partitions
