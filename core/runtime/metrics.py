"""The metrics of a process: counters of rare events, and what other modules define metrics with.

Rare events are failures, cache misses, lists that grow. They show operators, and the tests, which
uncommon code paths were taken. `METRICS.add()` counts one. They are exported as
`fanfare_events_total{event="list_compacted"}`, and each process logs those that changed, at most
once a second, as in `metrics: list_compacted=3 batch_cut=1`. The values in the log are increments
since the last such line, so they can be added up across restarts.

Everything else that is measured is a metric of prometheus_client in its default registry, defined
once, in the module `metrics.py` of the package that counts it, with LATENCY_BUCKETS where it is a
time. A value of a label comes from the code and never from a user, and its series exists from the
start: `labels()` is called for each value when the module is imported, or when the thing it names
is created. What is counted for every call is a Tally or the like, because prometheus_client takes
0.4 µs for an increment and 0.8 µs for an observation, and a read takes 60 µs.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum

from prometheus_client import REGISTRY, disable_created_metrics
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector

LOG = logging.getLogger(__name__)
REPORT_SECONDS = 1.0
# The upper bounds of all histograms of times, in seconds.
LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

# Otherwise each counter has a second series, with the time when it was created.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metric(StrEnum):
    """The rare events, grouped by the process that counts them. Several processes count a few."""

    # The write service and its relay.
    REQUEST_REPEATED = "request_repeated"
    """A request_id was repeated, and got the first answer again."""
    TWEET_ID_REPEATED = "tweet_id_repeated"
    """A new tweet drew an id that exists, because the clock was set back: ids are drawn again."""
    AUTHOR_LOCKED = "author_locked"
    """An author's row or request_id was locked, so the author's tweets wait by themselves."""
    AUTHOR_CROSSED = "author_crossed"
    """An author became a pull author with this tweet."""
    ERASURE_STEP = "erasure_step"
    """Some of the tweets and follows of a deleted user were erased in the background."""
    USER_ERASED = "user_erased"
    """The last of a deleted user was erased in the background."""
    RELAY_STARTED = "relay_started"
    """A relay took the lock and a new epoch."""
    PRODUCER_REBUILT = "producer_rebuilt"
    """Kafka did not accept all events: a new producer with a new epoch sends them again."""
    HISTORY_BEGUN = "history_begun"
    """The relay has moved to a new history: Postgres was restarted, restored or failed over."""
    RELAY_FENCED = "relay_fenced"
    """A relay was not allowed to mark rows as sent, because its successor had started."""

    # The fan-out worker.
    CHECKPOINT_CREATED = "checkpoint_created"
    """A checkpoint was missing and was created."""
    CHECKPOINT_MISMATCH = "checkpoint_mismatch"
    """A checkpoint was not what the worker expected: the checkpoints are loaded again."""
    SEEK_BACK = "seek_back"
    """A partition is consumed again from an earlier offset than this worker had reached."""
    LOST_RECORDS_NOTICED = "lost_records_noticed"
    """Kafka has lost records that a shard has not applied, or has replaced some: the shard's
    checkpoint was removed, and all cached timelines are dropped."""
    HISTORY_MOVED = "history_moved"
    """The database is in a new history: timelines are built again for it. The read service counts
    this as well."""
    FOREIGN_RECORD_SKIPPED = "foreign_record_skipped"
    """A record of an ended history was skipped."""
    NAMESPACE_REMOVED = "namespace_removed"
    """The keys of an ended history were removed from Redis."""
    OFFSET_GONE = "offset_gone"
    """Kafka did not have the requested offset."""
    STALE_EPOCH_SKIPPED = "stale_epoch_skipped"
    """A record of a relay that had already been replaced was skipped."""
    BATCH_CUT = "batch_cut"
    """A batch needed more than one chunk for a shard."""
    LIST_TRIMMED = "list_trimmed"
    """A list exceeded its maximum length and was trimmed."""
    CROSSING_DROPPED = "crossing_dropped"
    """An author became a pull author: the lists of all followers were dropped."""
    DEAD_LETTER = "dead_letter"
    """A record could not be read and went to the dead letter topic."""
    CACHE_DROPPED = "cache_dropped"
    """All lists and cached tweets were dropped, because a dead letter may affect any of them."""
    REPLAYED = "replayed"
    """A dead letter was replayed: the lists and tweets that it affects were dropped."""
    FANOUT_RESTARTED = "fanout_restarted"
    """The fan-out failed and started again from its checkpoints."""
    REDIS_FULL = "redis_full"
    """Redis had no memory for a write of the worker: all lists and cached tweets were dropped."""

    # The read service.
    LIST_COMPACTED = "list_compacted"
    """The log of a list was sorted into its base."""
    LIST_OVERGROWN = "list_overgrown"
    """A list was removed because its base had been trimmed away."""
    BUILD_REFUSED = "build_refused"
    """A list was dropped while it was being built: the ids that were read were discarded."""
    BUILD_ABANDONED = "build_abandoned"
    """A list was removed because its builder had stopped before it was complete."""
    CHECKPOINT_MISSING = "checkpoint_missing"
    """A list was not built because one of the shard's checkpoints was missing."""
    PAGE_REFILLED = "page_refilled"
    """Some tweets of a page were deleted, so more were read to fill it."""
    DUPLICATE_DROPPED = "duplicate_dropped"
    """A list contained an id twice."""
    TWEET_FILLED = "tweet_filled"
    """A tweet was missing in the tweet cache and was read from Postgres."""
    FILL_LEASE_LOST = "fill_lease_lost"
    """A tweet changed while it was read for the tweet cache: the copy was discarded."""
    PULLED_MERGED = "pulled_merged"
    """Lists of pull authors were merged into a timeline."""
    REPLICA_BEHIND = "replica_behind"
    """The replica had not replayed what a query requires, so the primary answered."""
    REPLICA_LACKED = "replica_lacked"
    """The replica did not have a row, so the primary was asked for it."""
    REPLICA_DOWN = "replica_down"
    """The replica did not answer, so the primary did."""
    TOKEN_LOST = "token_lost"  # noqa: S105 - a name
    """A consistency token was refused, because its command may be lost."""
    HISTORY_UNKNOWN = "history_unknown"
    """Postgres was restarted or restored: Redis is not used until the new history is known."""
    REPLICA_LEFT_OUT = "replica_left_out"
    """The replica lagged too far, or was in another history: only the primary is used."""
    REDIS_PAUSED = "redis_paused"
    """Redis failed several times in a row: the circuit breaker stops calls to it for a while."""
    CACHE_REFUSED = "cache_refused"
    """Redis had no memory for a list or a tweet, so Postgres answered."""

    # Both services.
    POSTGRES_OVERLOADED = "postgres_overloaded"
    """A caller got no connection to Postgres: too many statements waited, or for too long."""


class Metrics(Collector):
    """The counts of this process, usable from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[Metric] = Counter()
        self._taken: Counter[Metric] = Counter()

    def add(self, metric: Metric, times: int = 1) -> None:
        """Count an event, or several of its kind."""
        if times:
            with self._lock:
                self._counts[metric] += times

    def take(self) -> dict[Metric, int]:
        """Return the counts since the last call."""
        with self._lock:
            since = self._counts - self._taken
            self._taken = self._counts.copy()
        return dict(since)

    def collect(self) -> Iterable[CounterMetricFamily]:
        """Return the counts since the process started, as prometheus_client asks for them."""
        with self._lock:
            counts = {metric.value: self._counts[metric] for metric in Metric}
        return [
            _family("fanfare_events", "Events that are rare in normal operation.", "event", counts)
        ]


class Tally(Collector):
    """A counter for what happens in every call; only one thread may count.

    It is exported like a counter of prometheus_client, but counting is as cheap as it can be:

        READS = Tally("fanfare_timeline_reads", "…", "source", ("local", "redis"))
        READS.counts["local"] += 1
    """

    def __init__(self, name: str, help_text: str, label: str, values: Iterable[str]) -> None:
        """Start at zero, and export the counts.

        Args:
            name: the name of the metric, without `_total`.
            help_text: what is counted, as one sentence.
            label: the name of the label.
            values: all values that the label can have.
        """
        self._name, self._help_text, self._label = name, help_text, label
        self.counts = dict.fromkeys(values, 0)
        """The counts so far, by the value of the label."""
        REGISTRY.register(self)

    def collect(self) -> Iterable[CounterMetricFamily]:
        """Return the counts, as prometheus_client asks for them."""
        return [_family(self._name, self._help_text, self._label, self.counts)]


def _family(
    name: str, help_text: str, label: str, counts: Mapping[str, int]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, help_text, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


METRICS = Metrics()
REGISTRY.register(METRICS)


async def report() -> None:
    """Log the counts once a second, and a last time when cancelled."""
    try:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            _log()
    finally:
        _log()


def _log() -> None:
    if taken := METRICS.take():
        LOG.info("metrics: %s", " ".join(f"{name}={n}" for name, n in sorted(taken.items())))
