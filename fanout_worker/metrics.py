"""The metrics of the fan-out worker."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from prometheus_client import Counter, Histogram

from core.runtime.metrics import LATENCY_BUCKETS
from core.runtime.pulled_metrics import PulledMetric, gauge, gauges
from fanout_worker.lag import Lag

FRESHNESS = Histogram(
    "fanfare_fanout_freshness_seconds",
    "Time from the commit of a command until its event is in Redis: in each batch, of the oldest "
    "event of each partition.",
    buckets=LATENCY_BUCKETS,
)
BATCH_RECORDS = Histogram(
    "fanfare_fanout_batch_records",
    "Records that were fetched and applied together.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000),
)
BATCH_SECONDS = Histogram(
    "fanfare_fanout_batch_seconds",
    "Time from the fetch of a batch until all of it is in Redis.",
    buckets=LATENCY_BUCKETS,
)
DELIVERIES = Counter(
    "fanfare_fanout_deliveries",
    "Pushes of a tweet to a follower, whether the follower's timeline is cached or not.",
)
ROUNDS = Counter("fanfare_fanout_rounds", "Rounds of transactions that were sent to Redis.")
BYTES = Counter("fanfare_fanout_bytes", "Bytes of the transactions that were sent to Redis.")
VERIFICATIONS = Counter(
    "fanfare_timeline_verifications",
    "Cached timelines that were compared with SQL; `wrong` must stay 0.",
    ["result"],
)
for result in ("exact", "wrong", "skipped"):
    VERIFICATIONS.labels(result)


def worker_metrics(
    lag: Lag, count_authors: Callable[[], int], dead_letters: Callable[[], int | None]
) -> Iterator[PulledMetric]:
    """Yield the metrics that are read from their owners.

    Args:
        lag: how far the worker is behind.
        count_authors: returns how many authors' followers are held.
        dead_letters: returns how many dead letters wait; None if that is not known.
    """
    yield gauges(
        "fanfare_consumer_lag_events",
        "Records of a partition of this worker that are not applied yet.",
        "partition",
        lambda: {(str(partition),): events for partition, events in lag.events().items()},
    )
    yield gauges(
        "fanfare_consumer_lag_seconds",
        "Age of the oldest record of a partition of this worker that is not applied yet.",
        "partition",
        lambda: {(str(partition),): seconds for partition, seconds in lag.seconds().items()},
    )
    yield gauge(
        "fanfare_authors_in_memory",
        "Authors whose followers the worker holds in memory.",
        count_authors,
    )

    def waiting() -> float:
        count = dead_letters()
        return math.nan if count is None else count

    yield gauge(
        "fanfare_dead_letters",
        "Dead letters that were not replayed; NaN if Kafka does not say.",
        waiting,
    )
