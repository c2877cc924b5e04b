"""The progress of the fan-out, as the consumer group and the health check see it."""

from __future__ import annotations

from collections.abc import Mapping

from core.feed.sharding import Partition
from core.runtime.metrics import METRICS, Metric
from core.runtime.watchdog import Watchdog
from fanout_worker.protocols import GroupConsumer

RETRY_SECONDS = 0.1
MAX_RETRY_SECONDS = 5.0


class Progress:
    """Records what was applied, what failed, and how often in a row."""

    def __init__(self, group: GroupConsumer, watchdog: Watchdog) -> None:
        """Report to the group and the watchdog."""
        self.watchdog = watchdog
        self._group = group
        self._failures = 0
        # The highest offset up to which this worker has applied each partition.
        self._reached: dict[Partition, int] = {}

    def resumed(self, offsets: Mapping[Partition, int]) -> None:
        """Note that partitions continue at the offsets of their checkpoints."""
        for partition, offset in offsets.items():
            METRICS.add(Metric.SEEK_BACK, offset < self._reached.get(partition, 0))
            self._reached[partition] = offset

    def applied(self, ends: Mapping[Partition, int]) -> None:
        """Note that all records below these offsets are in Redis."""
        self.succeeded()
        self._reached |= ends
        self._group.store_offsets(ends)

    def succeeded(self) -> None:
        """Note that the worker has nothing left to do, or has done something."""
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
