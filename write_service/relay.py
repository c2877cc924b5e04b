"""The relay publishes the events of the outbox to Kafka.

Every event is published at least once, in commit order for each tweet, follow and user.

Each write process runs a relay, but only the one that holds an advisory lock in Postgres is active.
A relay that stalls can lose the lock without noticing, so the lock is backed by fencing: a relay
that becomes active takes an epoch, a number above all earlier epochs. It stamps the epoch on its
records, and may mark events as sent only while its epoch is the newest. Workers skip records of an
older epoch than they have seen; the relay of the newer epoch publishes those events again.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

import psycopg
from confluent_kafka import KafkaException

from core.feed.history import Lsn
from core.runtime.metrics import METRICS, Metric
from core.runtime.watchdog import Watchdog
from write_service.metrics import RELAY_BATCH_EVENTS, RELAY_BATCH_SECONDS

LOG = logging.getLogger(__name__)

BATCH_EVENTS = 10_000
# While batches are small, they begin at least this far apart, so that each has more events: a batch
# costs Postgres, Kafka and the worker much the same, whether it has one event or ten. The first
# event after a pause is sent at once (docs/decisions/0037-a-relay-that-gathers.md).
GATHER_SECONDS = 0.01
# Nothing is gained by waiting after a batch of this size.
LARGE_BATCH_EVENTS = 500
# How long the events of the last batch stay unmarked if no others follow. They are marked together
# with the next fetch, so a relay with few events needs one round trip per event instead of two.
MARK_SECONDS = 0.05
IDLE_SECONDS = 1.0
RETRY_SECONDS = 1.0
HEARTBEAT_SECONDS = 1.0
# How long the relay waits to purge again once no expired rows are left.
PURGE_INTERVAL_SECONDS = 10.0
# How many rows are purged between two batches; this takes a few milliseconds. After a large batch,
# twice as many rows as it had events are purged, so that the outbox shrinks at any rate of events.
PURGE_ROWS = 500
# The relay's own name in the gRPC health service: commands work without it.
HEALTH_NAME = "fanfare.relay"


class UnsentEvent(NamedTuple):
    """A row of the outbox that has not been marked as sent."""

    id: int
    key: int
    type: str
    payload: bytes
    created_at: datetime


@dataclass(frozen=True)
class EventBatch:
    """Events to publish together, by ascending id."""

    events: Sequence[UnsentEvent]
    lsn: Lsn
    """An LSN at or after the commit of every event in the batch."""


NO_EVENTS = EventBatch([], Lsn(0))


@dataclass(frozen=True)
class Epoch:
    """The period in which one relay, with one Kafka producer, is the active one."""

    number: int
    """Higher than that of every earlier epoch of the same history."""
    history: str
    """The history of the database in which the epoch began."""


class RelayFencedError(Exception):
    """Another relay has begun a newer epoch, or the history has ended."""

    def __init__(self) -> None:
        super().__init__("another relay has taken over, or the database began a new history")


class PublishError(Exception):
    """Kafka did not confirm all events of a batch; a new producer is needed."""


class Outbox(Protocol):
    """A relay's session with Postgres. Every method raises psycopg.Error when the session fails."""

    def close(self) -> None:
        """End the session, which releases the relay lock."""

    def try_lock(self) -> bool:
        """Return whether this session holds the relay lock, after trying to take it."""

    def listen(self) -> None:
        """Have wait_for_events() return early whenever events have been committed."""

    def wait_for_events(self, seconds: float) -> None:
        """Wait until events have been committed, but no longer than this many seconds."""

    def begin_epoch(self) -> Epoch:
        """Begin a new epoch, durably: no later one has the same number and history.

        If Postgres was restarted, restored or failed over, a new history begins first.
        """

    def heartbeat(self, epoch: Epoch) -> None:
        """Record that the epoch's history has reached the current LSN.

        A replica that has replayed the record has every commit up to that LSN.

        Raises:
            RelayFencedError: the epoch is not the newest.
        """

    def mark_and_fetch(self, sent: EventBatch, limit: int, epoch: Epoch) -> EventBatch:
        """Mark a batch as sent, and return the unsent events with the lowest ids, at most limit.

        Raises:
            RelayFencedError: the epoch is not the newest; nothing was marked.
        """

    def purge(self, limit: int) -> bool:
        """Delete events and request_ids whose retention has expired, the oldest first.

        Args:
            limit: how many rows of each kind to delete at most.

        Returns:
            Whether there may be more of them.
        """


class Publisher(Protocol):
    """Sends events to Kafka."""

    def publish(self, batch: EventBatch, epoch: Epoch, stopping: threading.Event) -> None:
        """Send the events, in order, and return when Kafka has confirmed all of them.

        Raises:
            PublishError: some events were not confirmed in time, or before stopping was set. They
                may still arrive. The publisher must not be used again.
        """


class Relay:
    """A thread that publishes the outbox to Kafka while it holds the relay lock."""

    def __init__(
        self,
        connect: Callable[[], Outbox],
        new_publisher: Callable[[], Publisher],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare a relay that start() runs.

        Args:
            connect: opens a session with Postgres; raises psycopg.Error.
            new_publisher: returns a publisher with a Kafka producer of its own.
            clock: seconds from any start.
        """
        self._connect = connect
        self._new_publisher = new_publisher
        self._clock = clock
        self.watchdog = Watchdog()
        self.is_leader = False
        """Whether this relay holds the lock, as far as it knows."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self.run, name="relay")
        self._next_purge = -math.inf
        self._history = ""

    def start(self) -> None:
        """Start the thread; it retries until Postgres and Kafka are reachable."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the current batch, and end the thread."""
        self.request_stop()
        self._thread.join()

    def request_stop(self) -> None:
        """Have run() return after the current batch."""
        self._stopping.set()

    def run(self) -> None:
        """Compete for the relay lock and relay events, until asked to stop."""
        while not self._stopping.is_set():
            try:
                outbox = self._connect()
                try:
                    self._relay(outbox)
                finally:
                    self.is_leader = False
                    outbox.close()
            except RelayFencedError as error:
                METRICS.add(Metric.RELAY_FENCED)
                LOG.warning("relay fenced; restarting: error=%s", error)
                self._pause_after(error)
            except (psycopg.Error, KafkaException) as error:
                LOG.warning("relay failed; restarting: error=%s", error)
                self._pause_after(error)
            except Exception as error:
                LOG.exception("relay failed unexpectedly; restarting")
                self._pause_after(error)

    def _pause_after(self, error: Exception) -> None:
        self.watchdog.failed(error)
        self._stopping.wait(RETRY_SECONDS)

    def _relay(self, outbox: Outbox) -> None:
        while not outbox.try_lock():
            self.watchdog.worked()  # another relay is active
            if self._stopping.wait(IDLE_SECONDS):
                return
        # Before the first fetch. Otherwise a commit between the two would be noticed a second late.
        outbox.listen()
        METRICS.add(Metric.RELAY_STARTED)
        self.is_leader = True
        while not self._stopping.is_set():
            try:
                self._relay_epoch(outbox)
            except PublishError as error:
                LOG.warning("publishing failed; retrying with a new producer: error=%s", error)
                METRICS.add(Metric.PRODUCER_REBUILT)
                self._pause_after(error)

    def _relay_epoch(self, outbox: Outbox) -> None:
        """Relay events under one epoch, until asked to stop."""
        epoch = outbox.begin_epoch()
        LOG.info("relay started: history=%s epoch=%d", epoch.history, epoch.number)
        METRICS.add(Metric.HISTORY_BEGUN, epoch.history != (self._history or epoch.history))
        self._history = epoch.history
        publisher = self._new_publisher()
        sent = NO_EVENTS
        last_heartbeat = -math.inf
        while sent.events or not self._stopping.is_set():
            began = self._clock()
            # When stopping, mark the last batch, and fetch no other.
            limit = 0 if self._stopping.is_set() else BATCH_EVENTS
            batch = outbox.mark_and_fetch(sent, limit, epoch)
            if batch.events:
                publisher.publish(batch, epoch, self._stopping)
                RELAY_BATCH_EVENTS.observe(len(batch.events))
                RELAY_BATCH_SECONDS.observe(self._clock() - began)
            sent = batch
            if self._clock() - last_heartbeat > HEARTBEAT_SECONDS:
                outbox.heartbeat(epoch)
                last_heartbeat = self._clock()
            self.watchdog.worked()
            more_expired = self._purge_if_due(outbox, len(sent.events))
            if not more_expired and len(sent.events) < LARGE_BATCH_EVENTS:
                self._wait_for_events(outbox, sent, began)

    def _wait_for_events(self, outbox: Outbox, sent: EventBatch, began: float) -> None:
        """Wait until the next batch should be fetched, or until asked to stop.

        Args:
            outbox: notices when events have been committed.
            sent: the last batch, which is not marked yet.
            began: when that batch was fetched.
        """
        if sent.events:
            self._stopping.wait(began + GATHER_SECONDS - self._clock())
        if not self._stopping.is_set():
            outbox.wait_for_events(MARK_SECONDS if sent.events else IDLE_SECONDS)

    def _purge_if_due(self, outbox: Outbox, sent: int) -> bool:
        """Purge a little if it is time to; return whether more may have expired.

        Args:
            outbox: where to purge.
            sent: how many events the last batch had.
        """
        if self._clock() < self._next_purge:
            return False
        if outbox.purge(max(PURGE_ROWS, 2 * sent)):
            return True
        self._next_purge = self._clock() + PURGE_INTERVAL_SECONDS
        return False
