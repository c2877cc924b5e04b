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
    """The rare events, grouped by the process that counts them."""

    # The write service and its relay.
    REQUEST_REPEATED = "request_repeated"
    """A request_id came again and got the first answer."""
    AUTHOR_CROSSED = "author_crossed"
    """An author became a pull author with this tweet."""
    RELAY_STARTED = "relay_started"
    """A relay took the lock and a new epoch."""
    PRODUCER_REBUILT = "producer_rebuilt"
    """Kafka did not accept everything: a new producer with a new epoch sends it again."""
    HISTORY_BEGUN = "history_begun"
    """The relay works in a new history: Postgres was restarted, restored or failed over."""
    RELAY_FENCED = "relay_fenced"
    """A relay was not allowed to mark rows as sent, because its successor had started."""

    # The fan-out worker.
    CHECKPOINT_CREATED = "checkpoint_created"
    """A checkpoint was missing and was created."""
    CHECKPOINT_MISMATCH = "checkpoint_mismatch"
    """A checkpoint was not what the worker expected: the checkpoints are loaded again."""
    SEEK_BACK = "seek_back"
    """A partition is consumed again from before the offset that this worker had reached."""
    LOST_RECORDS_NOTICED = "lost_records_noticed"
    """Kafka lacks records that a shard has not applied, or has others in their place: the
    checkpoint was removed, and all cached timelines with it."""
    HISTORY_MOVED = "history_moved"
    """The database is in a new history: timelines are built again for it."""
    FOREIGN_RECORD_SKIPPED = "foreign_record_skipped"
    """A record of an ended history was skipped."""
    NAMESPACE_REMOVED = "namespace_removed"
    """The keys of an ended history were removed from Redis."""
    OFFSET_GONE = "offset_gone"
    """Kafka did not have the requested offset."""
    STALE_EPOCH_SKIPPED = "stale_epoch_skipped"
    """A record of a relay that had been replaced was skipped."""
    BATCH_CUT = "batch_cut"
    """A batch needed more than one chunk for a shard."""
    LIST_TRIMMED = "list_trimmed"
    """A list exceeded its maximum length and was trimmed."""
    CROSSING_DROPPED = "crossing_dropped"
    """An author became a pull author: the lists of all followers were dropped."""
    DEAD_LETTER = "dead_letter"
    """A record could not be read and went to the dead letters."""
    CACHE_DROPPED = "cache_dropped"
    """All lists and cached tweets were dropped, because a dead letter may affect any of them."""
    REPLAYED = "replayed"
    """A replayed dead letter dropped what it affects."""
    FANOUT_RESTARTED = "fanout_restarted"
    """The fan-out failed and started again from its checkpoints."""
    REDIS_FULL = "redis_full"
    """Redis had no memory for a write of the worker: all lists and cached tweets were dropped."""

    # The read service.
    LIST_COMPACTED = "list_compacted"
    """A list's log was sorted into its base."""
    LIST_OVERGROWN = "list_overgrown"
    """A list that had lost its base was deleted."""
    BUILD_REFUSED = "build_refused"
    """A list was dropped while it was being built: what was read was discarded."""
    BUILD_ABANDONED = "build_abandoned"
    """A list whose builder had died was removed."""
    CHECKPOINT_MISSING = "checkpoint_missing"
    """A list was not built because one of the shard's checkpoints was missing."""
    PAGE_REFILLED = "page_refilled"
    """A page lacked deleted tweets, and more were read."""
    DUPLICATE_DROPPED = "duplicate_dropped"
    """A list contained an id twice."""
    TWEET_FILLED = "tweet_filled"
    """A tweet was missing in the tweet cache and was read from Postgres."""
    FILL_LEASE_LOST = "fill_lease_lost"
    """A tweet changed while it was filled into the cache: what was read was discarded."""
    PULLED_MERGED = "pulled_merged"
    """Lists of pull authors were merged into a timeline."""
    REPLICA_BEHIND = "replica_behind"
    """The replica had not replayed what a read requires: the primary answered."""
    REPLICA_LACKED = "replica_lacked"
    """The replica lacked a row: the primary was asked whether it exists."""
    REPLICA_DOWN = "replica_down"
    """The replica did not answer: the primary did."""
    TOKEN_LOST = "token_lost"  # noqa: S105 - a name
    """A consistency token was refused, because its command may be lost."""
    HISTORY_UNKNOWN = "history_unknown"
    """Postgres was restarted or restored: Redis is not used until the new history is known."""
    REPLICA_LEFT_OUT = "replica_left_out"
    """The replica lagged too far, or is in another history: only the primary is used."""
    REDIS_PAUSED = "redis_paused"
    """Redis failed several times in a row: it is not asked for a while."""
    CACHE_REFUSED = "cache_refused"
    """Redis had no memory for a list or a tweet: Postgres answered."""


class Metrics:
    """The counts of this process, usable from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[Metric] = Counter()

    def add(self, metric: Metric, times: int = 1) -> None:
        """Count an event, or several of its kind."""
        if times:
            with self._lock:
                self._counts[metric] += times

    def take(self) -> dict[Metric, int]:
        """Return the counts since the last call, and reset them."""
        with self._lock:
            taken, self._counts = self._counts, Counter()
        return dict(taken)


METRICS = Metrics()


async def report() -> None:
    """Log the counts once a second until cancelled, and then a last time."""
    try:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            _log()
    finally:
        _log()


def _log() -> None:
    if taken := METRICS.take():
        LOG.info("metrics: %s", " ".join(f"{path}={n}" for path, n in sorted(taken.items())))
