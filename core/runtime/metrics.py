"""Counters of rare events: those that happen only when something fails or grows large.

They show operators, and the tests, that such a code path was taken. Each process logs the counters
that changed, at most once a second, as in `metrics: list_compacted=3 checkpoint_mismatch=1`. The
values are increments, so they can be added up over the restarts of a process.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from enum import StrEnum

LOG = logging.getLogger(__name__)
REPORT_SECONDS = 1.0


class Metric(StrEnum):
    """The rare events, by the process that counts them."""

    # The write service and its relay.
    REQUEST_REPEATED = "request_repeated"
    """A request_id was repeated, and got the first answer again."""
    AUTHOR_CROSSED = "author_crossed"
    """An author passed FANFARE_PULL_FOLLOWERS, and is a pull author from then on."""
    RELAY_STARTED = "relay_started"
    """A relay took the lock and began a new epoch."""
    PRODUCER_REBUILT = "producer_rebuilt"
    """Kafka did not accept every record; a new producer sends them again in a new epoch."""
    HISTORY_BEGUN = "history_begun"
    """The relay began a new history: Postgres was restarted, restored or failed over."""
    RELAY_FENCED = "relay_fenced"
    """A relay could not mark rows as sent, because another relay had begun a later epoch."""

    # The fan-out worker.
    CHECKPOINT_CREATED = "checkpoint_created"
    """A checkpoint was absent from Redis and was created."""
    CHECKPOINT_MISMATCH = "checkpoint_mismatch"
    """A checkpoint in Redis was not what this worker expected; the worker loads it again."""
    SEEK_BACK = "seek_back"
    """A worker went back to an earlier offset of a partition."""
    LOST_RECORDS_NOTICED = "lost_records_noticed"
    """Kafka lost or replaced records that a shard still needed; the shard's checkpoint and cached
    timelines were removed."""
    HISTORY_MOVED = "history_moved"
    """The database is at a new history, for which timelines are built again."""
    FOREIGN_RECORD_SKIPPED = "foreign_record_skipped"
    """A record of an earlier history of the database was skipped."""
    NAMESPACE_REMOVED = "namespace_removed"
    """The keys of an earlier history of the database were removed from Redis."""
    OFFSET_GONE = "offset_gone"
    """Kafka no longer had the requested offset."""
    STALE_EPOCH_SKIPPED = "stale_epoch_skipped"
    """A record of a relay that had already been replaced was skipped."""
    BATCH_CUT = "batch_cut"
    """A batch was too large for one round and was split."""
    LIST_TRIMMED = "list_trimmed"
    """A list exceeded its maximum length and was trimmed."""
    CROSSING_DROPPED = "crossing_dropped"
    """An author became a pull author, so the followers' lists were removed."""
    DEAD_LETTER = "dead_letter"
    """A record could not be read and went to the dead letter topic."""
    CACHE_DROPPED = "cache_dropped"
    """All lists and cached tweets were removed, since a dead letter could concern any of them."""
    REPLAYED = "replayed"
    """A dead letter was replayed; the lists and cached tweets that it concerns were removed."""
    FANOUT_RESTARTED = "fanout_restarted"
    """The fan-out failed and started again from its checkpoints."""
    REDIS_FULL = "redis_full"
    """Redis had no memory for the fan-out's writes; all lists and cached tweets were removed."""

    # The read service.
    LIST_COMPACTED = "list_compacted"
    """The log of a list was merged into its sorted base."""
    LIST_OVERGROWN = "list_overgrown"
    """A list without its base was removed."""
    BUILD_REFUSED = "build_refused"
    """A list was removed while it was being built, so the result was discarded."""
    BUILD_ABANDONED = "build_abandoned"
    """A list was removed because its builder had stopped before it was complete."""
    CHECKPOINT_MISSING = "checkpoint_missing"
    """A list was not built because a checkpoint was absent from Redis."""
    PAGE_REFILLED = "page_refilled"
    """A page was filled up because some of its tweets had been deleted."""
    DUPLICATE_DROPPED = "duplicate_dropped"
    """A list held the same id twice."""
    TWEET_FILLED = "tweet_filled"
    """A tweet was absent from the tweet cache and was read from Postgres."""
    FILL_LEASE_LOST = "fill_lease_lost"
    """A tweet changed while the tweet cache was being filled, so the result was discarded."""
    PULLED_MERGED = "pulled_merged"
    """The tweets of pull authors were merged into a timeline."""
    REPLICA_BEHIND = "replica_behind"
    """The replica had not replayed what a read needed, so the primary answered."""
    REPLICA_LACKED = "replica_lacked"
    """The replica lacked a row, so the primary was asked whether it exists."""
    REPLICA_DOWN = "replica_down"
    """The replica did not answer, so the primary did."""
    TOKEN_LOST = "token_lost"  # noqa: S105 - a name
    """A consistency token was refused, because its command may be lost with an earlier history."""
    HISTORY_UNKNOWN = "history_unknown"
    """Postgres was restarted or restored; Redis is not used until a new history begins."""
    REPLICA_LEFT_OUT = "replica_left_out"
    """The replica lagged too far or is at another history, so only the primary answers."""
    REDIS_PAUSED = "redis_paused"
    """Redis failed several times and is not used for a while."""
    CACHE_REFUSED = "cache_refused"
    """Redis had no memory for a list or a tweet, so Postgres answered."""


class Metrics:
    """The counters of this process; any thread may use them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[Metric] = Counter()

    def add(self, metric: Metric, times: int = 1) -> None:
        """Add to a counter."""
        if times:
            with self._lock:
                self._counts[metric] += times

    def take(self) -> dict[Metric, int]:
        """Return the counters that changed since the last call, and reset them."""
        with self._lock:
            taken, self._counts = self._counts, Counter()
        return dict(taken)


METRICS = Metrics()


async def report() -> None:
    """Log the counters once a second until cancelled, then once more."""
    try:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            _log()
    finally:
        _log()


def _log() -> None:
    if taken := METRICS.take():
        LOG.info("metrics: %s", " ".join(f"{name}={n}" for name, n in sorted(taken.items())))
