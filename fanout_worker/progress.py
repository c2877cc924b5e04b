"""The progress of the fan-out, as the consumer group and the health check see it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from core.feed.sharding import Partition
from core.runtime.metrics import METRICS, Metric
from core.runtime.watchdog import Watchdog
from fanout_worker.lag import Lag
from fanout_worker.metrics import FRESHNESS
from fanout_worker.protocols import GroupConsumer

RETRY_SECONDS = 0.1
MAX_RETRY_SECONDS = 5.0


class Progress:
    """Reports what was applied and what failed, and counts failures in a row."""

    def __init__(self, group: GroupConsumer, watchdog: Watchdog, lag: Lag) -> None:
        """Report to the group, the watchdog and the lag."""
        self.watchdog = watchdog
        self._lag = lag
        self._group = group
        self._failures = 0
        # The highest offset up to which this worker has applied each partition.
        self._reached: dict[Partition, int] = {}

    def resumed(self, offsets: Mapping[Partition, int]) -> None:
        """Note that partitions continue at the offsets of their checkpoints."""
        for partition, offset in offsets.items():
            METRICS.add(Metric.SEEK_BACK, offset < self._reached.get(partition, 0))
            self._reached[partition] = offset
        self._lag.resume(offsets)

    def revoked(self, partitions: Iterable[Partition]) -> None:
        """Note that another worker has these partitions now."""
        self._lag.revoke(partitions)

    def note_ends(self) -> None:
        """Note up to which offsets Kafka has records."""
        self._lag.observe(self._group.known_ends(self._lag.partitions))

    def fetched(
        self, ends: Mapping[Partition, int], committed_at: Mapping[Partition, float]
    ) -> None:
        """Note that a batch was fetched; see Lag.fetch()."""
        self._lag.fetch(ends, committed_at)

    def applied(self, ends: Mapping[Partition, int]) -> None:
        """Note that all records below these offsets are in Redis."""
        self.succeeded()
        self._reached |= ends
        for seconds in self._lag.apply(ends):
            FRESHNESS.observe(seconds)
        self._group.store_offsets(ends)

    def succeeded(self) -> None:
        """Note that the worker is up to date, or has just applied a batch."""
        self._failures = 0
        self.watchdog.worked()

    def failed(self, error: Exception) -> float:
        """Note a failure; return how many seconds to wait before the next attempt."""
        METRICS.add(Metric.FANOUT_RESTARTED)
        self.watchdog.failed(error)
        seconds = retry_seconds(self._failures)
        self._failures += 1
        return seconds


def retry_seconds(failures: int) -> float:
    """Return the wait after this many failures in a row; it doubles each time, up to a limit."""
    # The exponent is capped: after a long outage the power would not fit into a float.
    return min(RETRY_SECONDS * 2.0 ** min(failures, 16), MAX_RETRY_SECONDS)
