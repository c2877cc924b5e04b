"""How far the worker is behind, in each of its partitions.

The age of the oldest record that is not applied is known exactly once the record was fetched, since
it holds the time of its commit. Before that, it is known since when Kafka has had a record that is
not applied. So a worker that does not even get to fetch is noticed as well.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from core.feed.sharding import Partition

# How many observations of a partition's end are kept at most. More are made only while nothing is
# applied, and then the oldest one counts.
MAX_OBSERVATIONS = 100


class _Fetched(NamedTuple):
    """The records of a partition in one batch."""

    end: int
    """The offset after the last one."""
    committed_at: float
    """When the first one was committed, in seconds since 1970."""


class _PartitionLag:
    """How far the worker is behind in one partition."""

    def __init__(self, applied: int) -> None:
        self.applied = applied
        """The offset of the first record that is not applied."""
        self.end = applied
        """The offset that the next record in Kafka will get."""
        self.fetched: deque[_Fetched] = deque()
        """The batches that are not applied yet."""
        self.observed: deque[tuple[int, float]] = deque()
        """Ends that are not reached yet, and when each was first seen."""

    def take_over(self, before: _PartitionLag) -> None:
        """Continue with what was known before the worker resumed."""
        self.end, self.observed = before.end, before.observed
        if before.fetched:
            oldest = before.fetched[0]
            if not self.observed or oldest.committed_at < self.observed[0][1]:
                self.observed.appendleft((oldest.end, oldest.committed_at))

    def apply(self, end: int) -> list[float]:
        """Note that the records below an offset are applied; return the commit times of batches."""
        self.applied = end
        self.end = max(self.end, end)
        while self.observed and self.observed[0][0] <= end:
            self.observed.popleft()
        done = []
        while self.fetched and self.fetched[0].end <= end:
            done.append(self.fetched.popleft().committed_at)
        return done

    def observe(self, end: int, now: float) -> None:
        """Note that Kafka has records up to this offset."""
        if end > self.end and len(self.observed) < MAX_OBSERVATIONS:
            self.observed.append((end, now))
        self.end = max(end, self.applied)

    def seconds(self, now: float) -> float:
        """Return the age of the oldest record that is not applied; 0 if there is none."""
        since = [self.fetched[0].committed_at] if self.fetched else []
        if self.observed:
            since.append(self.observed[0][1])
        return max(0.0, now - min(since)) if since else 0.0


class Lag:
    """The lag of all partitions of a worker, usable from any thread."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Start without partitions; clock returns seconds since 1970."""
        self._clock = clock
        self._lock = threading.Lock()
        self._partitions: dict[Partition, _PartitionLag] = {}

    @property
    def partitions(self) -> list[Partition]:
        """The partitions that the worker has."""
        with self._lock:
            return list(self._partitions)

    def resume(self, offsets: Mapping[Partition, int]) -> None:
        """Note that exactly these partitions continue at these offsets.

        What was observed of their ends before stays, because nothing was applied since. So does
        the age of the oldest batch that was fetched: until it is fetched again, it is an end that
        was observed when its first record was committed.
        """
        with self._lock:
            before, self._partitions = self._partitions, {}
            for partition, offset in offsets.items():
                lag = self._partitions[partition] = _PartitionLag(offset)
                if partition in before:
                    lag.take_over(before[partition])
                    lag.apply(offset)

    def revoke(self, partitions: Iterable[Partition]) -> None:
        """Forget partitions that another worker has now."""
        with self._lock:
            for partition in partitions:
                self._partitions.pop(partition, None)

    def fetch(self, ends: Mapping[Partition, int], committed_at: Mapping[Partition, float]) -> None:
        """Note that a batch was fetched.

        Args:
            ends: the offsets after its last records.
            committed_at: when its first record of each partition was committed, in seconds since
                1970. A partition where that is not known is left out.
        """
        with self._lock:
            for partition, end in ends.items():
                lag = self._partitions.get(partition)
                if lag is not None:
                    lag.end = max(lag.end, end)
                    if partition in committed_at:
                        lag.fetched.append(_Fetched(end, committed_at[partition]))

    def apply(self, ends: Mapping[Partition, int]) -> list[float]:
        """Note that the records below these offsets are applied.

        Returns:
            How old the first record of each partition in each batch was, in seconds.
        """
        now = self._clock()
        with self._lock:
            return [
                max(0.0, now - committed_at)
                for partition, end in ends.items()
                if partition in self._partitions
                for committed_at in self._partitions[partition].apply(end)
            ]

    def observe(self, ends: Mapping[Partition, int]) -> None:
        """Note which offsets the next records in Kafka will get."""
        now = self._clock()
        with self._lock:
            for partition, end in ends.items():
                if partition in self._partitions:
                    self._partitions[partition].observe(end, now)

    def events(self) -> dict[Partition, int]:
        """Return how many records are not applied yet, by partition."""
        with self._lock:
            return {
                partition: max(0, lag.end - lag.applied)
                for partition, lag in self._partitions.items()
            }

    def seconds(self) -> dict[Partition, float]:
        """Return the age of the oldest record that is not applied yet, by partition."""
        now = self._clock()
        with self._lock:
            return {partition: lag.seconds(now) for partition, lag in self._partitions.items()}
