"""Counts of rare events: what happens only when something went wrong or grew large.

A code path that no test and no operator has ever seen taken is a path that nobody knows to work.
Each counts itself here. Its process logs the counts once a second while there are any, as in
`metrics: list_compacted=3 checkpoint_mismatch=1`. They are increments, so the lines of a process's
log add up over its restarts.
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
    """The rare paths, by the process that takes them."""

    # The write service and its relay.
    REQUEST_REPEATED = "request_repeated"
    """A request_id came again and got the first answer."""
    AUTHOR_CROSSED = "author_crossed"
    """A tweet found its author above the threshold for the first time: pulled from now on."""
    RELAY_STARTED = "relay_started"
    """A relay took the lock and an epoch."""
    PRODUCER_REBUILT = "producer_rebuilt"
    """Kafka did not take everything: a new producer with a new epoch sends it again."""
    HISTORY_BEGUN = "history_begun"
    """The relay goes on in a new history: Postgres was restarted, restored or failed over."""
    RELAY_FENCED = "relay_fenced"
    """A relay was not allowed to mark rows as sent: its successor had begun."""

    # The fan-out worker.
    CHECKPOINT_CREATED = "checkpoint_created"
    """A progress key was absent and was created."""
    CHECKPOINT_MISMATCH = "checkpoint_mismatch"
    """A progress key was not where this worker believed: the partition's place is sought anew."""
    SEEK_BACK = "seek_back"
    """A partition goes on from before where this worker had been."""
    LOST_RECORDS_NOTICED = "lost_records_noticed"
    """Kafka lacks records that a shard lacks too, or has others in their place: the progress key
    was removed, and all cached timelines with it."""
    HISTORY_MOVED = "history_moved"
    """The database is at a new history: timelines are built anew for it."""
    FOREIGN_RECORD_SKIPPED = "foreign_record_skipped"
    """A record of a history that the database has left behind was skipped."""
    NAMESPACE_REMOVED = "namespace_removed"
    """The keys of a history that the database has left behind were removed from Redis."""
    OFFSET_GONE = "offset_gone"
    """Kafka did not have the offset that was asked for."""
    STALE_EPOCH_SKIPPED = "stale_epoch_skipped"
    """A record of a relay that had been replaced was skipped."""
    BATCH_CUT = "batch_cut"
    """A batch was cut into parts."""
    LIST_TRIMMED = "list_trimmed"
    """A list outgrew its cap and was trimmed."""
    CROSSING_DROPPED = "crossing_dropped"
    """An author's crossing dropped the lists of the followers."""
    DEAD_LETTER = "dead_letter"
    """A record could not be read and went to the dead letters."""
    CACHE_DROPPED = "cache_dropped"
    """All lists and bodies were dropped, for nobody can tell which ones a dead letter touches."""
    REPLAYED = "replayed"
    """A dead letter was replayed: it drops what it touches."""
    FANOUT_RESTARTED = "fanout_restarted"
    """The fan-out failed and started again from its fences."""
    REDIS_FULL = "redis_full"
    """Redis had no memory for the fan-out's write: all cached lists and bodies were dropped."""

    # The read service.
    LIST_COMPACTED = "list_compacted"
    """A list's log was sorted into its base."""
    LIST_OVERGROWN = "list_overgrown"
    """A list that had lost its base was deleted."""
    BUILD_REFUSED = "build_refused"
    """A list was dropped while it was being built: what was read is thrown away."""
    BUILD_ABANDONED = "build_abandoned"
    """A list whose builder had died was removed."""
    CHECKPOINT_MISSING = "checkpoint_missing"
    """A list was not built because a progress key was absent."""
    PAGE_REFILLED = "page_refilled"
    """Deleted tweets fell from a page, and more were read."""
    DUPLICATE_DROPPED = "duplicate_dropped"
    """A list held an id twice."""
    TWEET_FILLED = "tweet_filled"
    """A body was absent and was filled from Postgres."""
    FILL_LEASE_LOST = "fill_lease_lost"
    """A body changed while it was being filled: what was read is thrown away."""
    PULLED_MERGED = "pulled_merged"
    """Lists of pulled authors were merged into a timeline."""
    REPLICA_BEHIND = "replica_behind"
    """The replica had not replayed what a read needs: the primary answered."""
    REPLICA_LACKED = "replica_lacked"
    """The replica lacked a row, and the primary was asked whether it is gone."""
    REPLICA_DOWN = "replica_down"
    """The replica did not answer: the primary did."""
    TOKEN_LOST = "token_lost"  # noqa: S105 - a name
    """A consistency token was refused: its command may be lost with a former history."""
    HISTORY_UNKNOWN = "history_unknown"
    """Postgres was restarted or restored: Redis is not trusted until a new history is known."""
    REPLICA_LEFT_OUT = "replica_left_out"
    """The replica lagged too far, or is at another history: the primary answers alone."""
    REDIS_PAUSED = "redis_paused"
    """Redis failed several times: it was left alone for a while."""
    CACHE_REFUSED = "cache_refused"
    """Redis had no memory for a list or a body: Postgres answered."""


class Metrics:
    """Counts of this process, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[Metric] = Counter()

    def add(self, path: Metric, times: int = 1) -> None:
        """Count a path as taken so many times."""
        if times:
            with self._lock:
                self._counts[path] += times

    def take(self) -> dict[Metric, int]:
        """Return what was counted since the last call."""
        with self._lock:
            taken, self._counts = self._counts, Counter()
        return dict(taken)


METRICS = Metrics()


async def report() -> None:
    """Log what is counted, once a second, until cancelled; then once more."""
    try:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            _log()
    finally:
        _log()


def _log() -> None:
    if taken := METRICS.take():
        LOG.info("metrics: %s", " ".join(f"{path}={n}" for path, n in sorted(taken.items())))
